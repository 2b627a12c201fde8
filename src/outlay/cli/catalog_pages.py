"""What `outlay catalog` shows: rows for programs, blocks for people."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

from outlay.catalog import Catalog, Entry, Fact, Price
from outlay.catalog.prices import STALE_DAYS
from outlay.catalog.token_prices import shipped
from outlay.cli.catalog_values import bare, between, cut, heading, shown
from outlay.errors import UnknownName, suggestion
from outlay.report.blocks import Block, Bullets, Commands, Note, Table

# kind -> (what it holds, the facts of its list)
KINDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "device": (
        "accelerators",
        (
            "memory_bytes",
            "memory_bytes_per_s",
            "dense_16bit_flop_per_s",
            "link_bytes_per_s",
            "power_w",
            "release_date",
        ),
    ),
    "model": ("models and their shapes", ("parameters", "active_parameters", "layers", "hidden")),
    "site": (
        "cloud regions, countries, states, grid zones",
        ("level", "grid_lca_kgco2e_per_kwh", "grid_year", "electricity_usd_per_kwh"),
    ),
    "instance": ("cloud machines and the devices in them", ("provider", "device", "devices")),
    "price": ("rents per device and hour", ()),
    "token": ("prices of tokens by provider and model", ()),
    "tuning": ("prices of fine-tuning by the token", ("provider", "method", "usd_per_training_token")),
    "node": (
        "how devices are built into nodes",
        ("devices_per_node", "scale_up_devices", "inter_node_bytes_per_s", "host_memory_bytes"),
    ),
    "framework": (
        "training frameworks' own choices",
        ("bf16.weight_bytes", "bf16.gradient_bytes", "bf16.master_bytes", "fused_cross_entropy"),
    ),
    "optimizer": ("bytes an optimiser keeps", ("state_bytes", "master_needed")),
    "default": ("what is assumed where you say nothing", ("value",)),
    "provider": (
        "who rents hardware out, and commitments",
        ("commitment_discount_1y", "commitment_discount_3y"),
    ),
    "storage": (
        "where data and checkpoints rest",
        ("provider", "class", "usd_per_byte_month", "egress_usd_per_byte"),
    ),
    "dataset": ("public training corpora", ("tokens", "bytes_on_disk", "licence")),
    "embodied": ("carbon of making things", ("kg",)),
    "technology": ("ways of making electricity", ("lca_kgco2e_per_kwh",)),
    "focus_column": ("columns of a FOCUS 1.2 cost file", ("name", "level", "type", "nulls")),
    "deal": ("what rights holders were paid for text", ("usd", "usd_per_year")),
    "evaluation": ("what a run of an evaluation suite costs", ("usd", "device_hours")),
    "lifetime": ("how long models stay on sale", ("days",)),
    "rung": ("ways from using a model to making one", ("people", "skill", "tie")),
    "concentration": ("who holds training compute and accelerators", ("hhi", "gini", "cr4", "ticket_usd")),
    "calibration": ("what one's own runs measured over what is modelled", ("planned_with",)),
    "persona": ("who wants a model, with the budget of a year", ("budget_usd_per_year", "fleet")),
}
HIDDEN = ("meta", "hole")
_PLAIN = frozenset(("name", "aliases", "price_kind"))
_INHERITED = (
    "grid_lca_kgco2e_per_kwh",
    "grid_direct_kgco2e_per_kwh",
    "grid_mix",
    "water_grid_l_per_kwh",
    "electricity_usd_per_kwh",
    "pue",
    "wue_l_per_kwh",
)


def kinds(known: Catalog) -> list[dict[str, Any]]:
    """Every kind with its number of entries and facts."""
    rows = []
    for kind in [*KINDS, *(k for k in known.kinds() if k not in KINDS and k not in HIDDEN)]:
        if kind == "price":
            listed = known.prices()
            rows.append(
                {
                    "kind": kind,
                    "holds": KINDS[kind][0],
                    "entries": len({(p.device, p.provider) for p in listed}),
                    "facts": len(listed),
                }
            )
        elif kind == "token":
            bought = shipped()
            rows.append({"kind": kind, "holds": KINDS[kind][0], "entries": len({p.name for p in bought}),
                         "facts": len(bought)})
        elif kind in known.kinds():
            table = known.table(kind)
            rows.append(
                {
                    "kind": kind,
                    "holds": KINDS.get(kind, ("constants of the engine", ()))[0],
                    "entries": len(table.rows),
                    "facts": sum(len(r) for r in table.rows.values()),
                }
            )
    return rows


def holes(known: Catalog) -> list[dict[str, str]]:
    return [
        {"id": e.id, "what": str(e.value("what")), "instead": str(e.value("instead"))}
        for e in known.entries("hole")
    ]


def overview(
    known: Catalog, rows: Sequence[dict[str, Any]], missing: Sequence[dict[str, str]]
) -> list[Block]:
    table = Table(
        f"Catalogue of {known.date}",
        ("kind", "entries", "facts", "holds"),
        tuple((r["kind"], f"{r['entries']:,}", f"{r['facts']:,}", r["holds"]) for r in rows),
        text_columns=frozenset({0, 3}),
    )
    lines = tuple(f"{hole['what']} → {hole['instead']}" for hole in missing)
    return [
        table,
        Bullets("Not known, and what to do instead", lines),
        Commands(("outlay catalog list device", "outlay catalog show h100-sxm5-80gb")),
    ]


def kind_of(known: Catalog, name: str) -> str:
    """A kind by its name or its plural."""
    found = known.kinds()
    for candidate in (name, name.removesuffix("s"), name.removesuffix("ies") + "y", name.removesuffix("es")):
        if candidate in found:
            return candidate
    raise UnknownName(
        f"no kind {name!r}{suggestion(name, [*found, 'price'])}; `outlay catalog` lists them", "KIND"
    )


def entries(known: Catalog, kind: str, words: Sequence[str]) -> list[dict[str, Any]]:
    """Id, name and main facts of each entry of a kind; of a kind of single values, all about each value."""
    columns = KINDS.get(kind, ("", ()))[1]
    rows: list[dict[str, Any]] = []
    for entry in known.entries(kind):
        text = " ".join((entry.id, entry.name, *entry.aliases)).lower()
        if not all(word.lower() in text for word in words):
            continue
        if columns and columns != ("value",):
            rows.append({"id": entry.id, "name": entry.name} | {c: _listed(known, entry, c) for c in columns})
        else:
            rows += [{"id": _value_id(entry, fact)} | fact.to_dict() | {"_fact": fact} for fact in entry]
    return rows


def _inherited(known: Catalog, entry: Entry) -> dict[str, Fact]:
    """What a place has from its zone, state, country or operator."""
    from outlay.catalog.sites import resolve_site

    facts = resolve_site(known, entry.id)
    found = {name: getattr(facts, name) for name in _INHERITED}
    return {name: fact for name, fact in found.items() if isinstance(fact, Fact) and fact.id != "world"}


def _value_id(entry: Entry, fact: Fact) -> str:
    return entry.id if fact.parameter == "value" else f"{entry.id}.{fact.parameter}"


def _listed(known: Catalog, entry: Entry, column: str) -> Any:
    if entry.kind == "site" and column not in entry and column in _INHERITED:
        fact = _inherited(known, entry).get(column)
        return None if fact is None else fact.value
    if column == "dense_16bit_flop_per_s":
        return entry.value("peak_bf16_flop_per_s", entry.value("peak_fp16_flop_per_s"))
    return entry.value(column)


def entry_list(kind: str, rows: Sequence[dict[str, Any]], words: Sequence[str]) -> list[Block]:
    if not rows:
        return [Note(f"no {kind} holds {' '.join(words)!r}; `outlay catalog list {kind}` shows all")]
    if "_fact" in rows[0]:
        return value_list(kind, rows)
    columns = [c for c in rows[0] if c not in ("id", "name")]
    named = kind not in ("device", "hole", "instance")
    head = ("id", *(("name",) if named else ()), *(heading(c) for c in columns))
    body = tuple(
        (row["id"], *((cut(row["name"], 34),) if named else ()), *(bare(c, row[c]) for c in columns))
        for row in rows
    )
    title = f"{len(rows)} entries: {KINDS.get(kind, (kind,))[0]}"
    texts = frozenset({0, *((1,) if named else ())})
    return [Table(title, head, body, text_columns=texts), Commands((f"outlay catalog show {rows[0]['id']}",))]


def value_list(kind: str, rows: Sequence[dict[str, Any]]) -> list[Block]:
    """Single values with their interval, how they were obtained and why they are as they are."""
    body = tuple((row["id"], shown(row["_fact"]), between(row["_fact"]), row["how"]) for row in rows)
    title = f"{len(rows)} values: {KINDS.get(kind, ('constants of the engine',))[0]}"
    return [
        Table(title, ("id", "value", "80 %", "how"), body, text_columns=frozenset({0, 1, 2, 3})),
        Note(f"`outlay catalog show {kind} ID` gives the reason and the source of each"),
        Commands((f"outlay catalog show {kind} {rows[0]['_fact'].id}",)),
    ]


def prices(known: Catalog, words: Sequence[str]) -> list[dict[str, Any]]:
    """Rents that hold all words, cheapest first."""
    rows = []
    for price in known.prices():
        text = " ".join((price.device, price.provider, price.region, price.instance, price.kind)).lower()
        if all(word.lower() in text for word in words):
            rows.append(price.to_dict() | {"age_days": _age(price.as_of)})
    return rows


def price_list(rows: Sequence[dict[str, Any]], title: str = "Rents, USD per device and hour") -> list[Block]:
    if not rows:
        return [Note("no price holds these words; `outlay catalog list price` shows all")]
    body = tuple(
        (
            f"{r['usd_per_device_hour']:.2f}",
            r["device"],
            r["provider"],
            r["region"],
            r["kind"].replace("_", "-"),
            cut(r["instance"], 28),
            r["as_of"],
        )
        for r in rows
    )
    old = sum(1 for r in rows if (r["age_days"] or 0) > STALE_DAYS)
    blocks: list[Block] = [
        Table(
            title,
            ("usd", "device", "provider", "region", "kind", "instance", "as of"),
            body,
            text_columns=frozenset({1, 2, 3, 4, 5, 6}),
        )
    ]
    if old:
        blocks.append(
            Note(
                f"older than {STALE_DAYS} days: {old} of {len(rows)}; check them, or give your own with "
                "--prices FILE"
            )
        )
    return blocks


def find(known: Catalog, name: Sequence[str]) -> tuple[Entry, list[str]]:
    """The entry a name stands for, and the other kinds that know it too."""
    if len(name) > 1 and name[0].removesuffix("s") in known.kinds():
        return known.find(name[0].removesuffix("s"), " ".join(name[1:]), "NAME"), []
    whole = " ".join(name)
    found: list[Entry] = []
    ambiguous: UnknownName | None = None
    order = [k for k in KINDS if k in known.kinds()] + [k for k in known.kinds() if k not in KINDS]
    for kind in order:
        try:
            found.append(known.find(kind, whole, "NAME"))
        except UnknownName as error:
            if "can be any of" in error.message:
                ambiguous = ambiguous or error
    exact = [e for e in found if e.id == whole]
    if found:
        first = (exact or found)[0]
        return first, [e.kind for e in found if e is not first]
    if ambiguous is not None:
        raise ambiguous
    names = [i for kind in order for i in known.ids(kind)]
    raise UnknownName(
        f"nothing called {whole!r} in the catalogue{suggestion(whole, names)}; "
        f"`outlay catalog search {whole}` looks wider",
        "NAME",
    )


def page(known: Catalog, entry: Entry, others: Sequence[str], verbose: bool) -> list[Block]:
    """All facts of an entry, its sources numbered, and for a device what it rents for."""
    facts = [fact for fact in entry if fact.parameter not in _PLAIN]
    if entry.kind == "site":
        facts += [fact for name, fact in _inherited(known, entry).items() if name not in entry]
    sources = list(dict.fromkeys(fact.source for fact in facts))
    rows = tuple(
        (_words(f.parameter), shown(f), between(f), f.how, f.retrieved, str(sources.index(f.source) + 1))
        for f in facts
    )
    title = entry.id if entry.name == entry.id else f"{entry.name} ({entry.kind} {entry.id})"
    head = ("fact", "value", "80 %", "how", "read", "source")
    blocks: list[Block] = [Table(title, head, rows, text_columns=frozenset({0, 1, 2, 3, 4}))]
    if entry.aliases:
        named = ", ".join(entry.aliases if verbose else entry.aliases[:8])
        more = "" if verbose or len(entry.aliases) <= 8 else f" and {len(entry.aliases) - 8} more (-v)"
        blocks.append(Note(f"also called: {named}{more}"))
    notes: dict[str, list[str]] = {}
    for fact in facts:
        if fact.note:
            notes.setdefault(fact.note, []).append(fact.parameter)
    if notes:
        lines = (f"{', '.join(map(_words, names))}: {note}" for note, names in notes.items())
        blocks.append(Bullets("Notes", tuple(lines)))
    blocks.append(Bullets("Sources", tuple(f"{i}  {s}" for i, s in enumerate(sources, 1))))
    if entry.kind == "device":
        blocks += _rents(known, entry, verbose)
    if others:
        blocks.append(
            Note(
                f"{entry.id} also stands under: {', '.join(others)} "
                f"(outlay catalog show {others[0]} {entry.id})"
            )
        )
    return blocks


def _rents(known: Catalog, entry: Entry, verbose: bool) -> list[Block]:
    """The cheapest rent of each provider and kind, or all with -v."""
    found = known.prices(entry.id.split(":")[0])
    if not found:
        return [Note("no rent is known; give your own with --prices FILE or fleet.usd_per_device_hour")]
    if not verbose:
        first: dict[tuple[str, str], Price] = {}
        for price in found:
            first.setdefault((price.provider, price.kind), price)
        kept = list(first.values())
        title = f"Cheapest rent by provider, USD per device and hour ({len(found)} known, -v lists them)"
        return price_list([p.to_dict() | {"age_days": _age(p.as_of)} for p in kept], title)
    return price_list([p.to_dict() | {"age_days": _age(p.as_of)} for p in found])


def search(known: Catalog, words: Sequence[str]) -> list[dict[str, str]]:
    """Entries of any kind whose id, name, alias or text facts hold all words; names first."""
    wanted = [w.lower() for w in words]
    named, told = [], []
    for kind in known.kinds():
        if kind in HIDDEN:
            continue
        for identifier, facts in known.table(kind).rows.items():
            name = facts.text("name") or identifier
            text = " ".join((identifier, name, facts.text("aliases") or "")).lower()
            row = {"kind": kind, "id": identifier, "name": name}
            if all(w in text for w in wanted):
                named.append(row)
            elif all(w in " ".join((text, *(facts.text(p) or "" for p in facts))).lower() for w in wanted):
                told.append(row)
    return named + told


def search_list(rows: Sequence[dict[str, str]], words: Sequence[str]) -> list[Block]:
    if not rows:
        return [Note(f"nothing holds {' '.join(words)!r}; `outlay catalog` lists the kinds")]
    shown_rows = rows[:40]
    body = tuple((r["kind"], r["id"], cut(r["name"], 60)) for r in shown_rows)
    blocks: list[Block] = [
        Table(f"{len(rows)} found", ("kind", "id", "name"), body, text_columns=frozenset({0, 1, 2}))
    ]
    if len(rows) > len(shown_rows):
        blocks.append(Note(f"and {len(rows) - len(shown_rows)} more; add a word, or --json for all"))
    return [*blocks, Commands((f"outlay catalog show {rows[0]['kind']} {rows[0]['id']}",))]


def _words(parameter: str) -> str:
    return parameter.replace("_", " ")


def _age(as_of: str) -> int | None:
    """Days since a date; None when only a year or month is known."""
    try:
        return (date.today() - date.fromisoformat(as_of)).days
    except ValueError:
        return None
