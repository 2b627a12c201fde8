"""Ways to pay as a page for the person who signs: what a month costs, what it is made of, when another way wins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from outlay.report.blocks import Block, Bullets, Commands, Mood, Table, Verdict, few_of
from outlay.report.numbers import adding_up, fixed, number, one, short
from outlay.report.screen import brackets, sentence

ASSUMPTIONS_SHOWN = 7
Way = Mapping[str, Any]
PART_WORDS = {
    "input": "reading requests", "cached input": "reading repeated text", "cache writes": "keeping text for repeats",
    "output": "writing answers", "fees": "fees a request", "training tokens": "training, by the token",
    "machines": "machines at work", "purchase": "machines, spread over their life", "interest": "cost of capital",
    "upkeep": "repairs and upkeep", "spares": "spare parts", "building": "space and cooling",
    "electricity": "electricity", "resale": "sold at the end", "storage": "storage",
    "idle": "machines paid for while idle", "interruptions": "time lost when taken back", "people": "people",
}
WORK = {"serve": "a month", "pretrain": "the training run", "finetune": "the fine-tuning"}
ASSUMED = ("pay.people", "pay.peak", "pay.load", "pay.requests", "fleet", "pay.own", "cost of capital", "building",
           "pay.spot", "upkeep", "serve.precision", "site.electricity")
SAID = {
    "fleet": "machines", "pay.peak": "busiest hour over the mean", "pay.load": "fullest that machines are run",
    "pay.people.api": "people, buying by use", "pay.people.rent": "people, renting", "pay.people.own": "people, owning",
    "pay.people.train": "people, training", "pay.people.usd_per_year": "a person's year, USD",
    "cost of capital": "cost of capital a year", "pay.own.spares_share": "spares, part of the price",
    "pay.own.resale_share": "resale, part of the price", "pay.spot_interruptions_per_hour": "times an hour taken back",
    "pay.requests_per_month": "requests a month", "building and cooling": "space and cooling, USD a kW and month",
    "site.electricity_usd_per_kwh": "electricity, USD a kWh", "serve.precision": "number format of the model",
    "upkeep over price": "repairs and upkeep a year, part of the price",
}


def page(result: Mapping[str, Any], verbose: bool = False, following: Sequence[str] = ()) -> list[Block]:
    """The blocks: verdict, ways, what they are made of, break-even, notes, assumptions."""
    pay = result["pay"]
    blocks: list[Block | None] = [verdict(result)]
    if pay.get("fits") is False:
        return [verdict(result)]
    for name in ("serve", "finetune", "pretrain"):
        if name in pay:
            blocks += _phase(name, pay[name], pay, verbose)
    blocks += [_warnings(result), _assumptions(result, verbose), brackets()]
    blocks.append(Commands(tuple(following)) if following else None)
    return [b for b in blocks if b is not None]


def verdict(result: Mapping[str, Any]) -> Verdict:
    """The cheapest way and how far the next kind is from it."""
    pay = result["pay"]
    name = next((n for n in ("serve", "finetune", "pretrain") if n in pay), "")
    phase = pay.get(name) or {}
    ways = [w for w in phase.get("ways") or [] if number(w.get("usd")) is not None]
    if not ways:
        return Verdict("No way to pay is left", "bad", tuple(phase.get("notes") or ()))
    best = ways[0]
    text = f"Cheapest for {_of_what(name, phase)}: {_lower(best['name'])}, {one(best['usd'], 'USD')}"
    mood: Mood = "plain" if pay.get("within_goal") is None else "good" if pay["within_goal"] else "bad"
    if pay.get("within_goal") is False:
        text += ", above the budget"
    others = [f"{_lower(w['name'])} {one(w['usd'], 'USD')}" for w in _one_a_kind(ways)[1:]]
    details = [f"Then {'; '.join(others)}"] if others else []
    details += [_work_line(phase, pay)] if name == "serve" else []
    return Verdict(text, mood, (*details, str(pay["quality"])))


def _of_what(name: str, phase: Mapping[str, Any]) -> str:
    if name == "serve":
        return f"{short(number(phase['requests_per_month']))} requests a month"
    return WORK[name]


def _work_line(phase: Mapping[str, Any], pay: Mapping[str, Any]) -> str:
    cached = number(phase.get("cached")) or 0.0
    repeated = f", {cached:.0%} of the input repeated" if cached else ""
    lengths = f"{phase['input']:,.0f} tokens in and {phase['output']:,.0f} out{repeated.replace('%', ' %')}"
    return f"A request: {lengths}; a token is about three quarters of a word. Prices as of {pay['date']}"


def _lower(name: str) -> str:
    return name if name.startswith("API") else name[:1].lower() + name[1:]


def _one_a_kind(ways: Sequence[Way]) -> list[Way]:
    found: dict[str, Way] = {}
    for way in ways:
        found.setdefault(way["kind"], way)
    return list(found.values())


def _phase(name: str, phase: Mapping[str, Any], pay: Mapping[str, Any], verbose: bool) -> list[Block | None]:
    ways = phase.get("ways") or []
    shown = ways if verbose else chosen(ways)
    blocks: list[Block | None] = [_table(name, phase, shown), _made_of(name, _one_a_kind(shown))]
    blocks += [_even(phase), _by_volume(phase), _by_use(phase)] if name == "serve" else [_definitions(phase)]
    notes = [*(phase.get("notes") or ()), *_hangs_on(_one_a_kind(shown)), *_abroad(ways), str(pay["left_out"])]
    if len(shown) < len(ways):
        notes.append(f"{len(ways) - len(shown)} more ways with -v")
    return [*blocks, Bullets("Good to know", tuple(notes))]


def _hangs_on(ways: Sequence[Way]) -> list[str]:
    """What the likely range of each kind comes from most."""
    said = [f"{_short_name(w)}: {found['name']} ({100 * found['share']:.0f} %)" for w in ways
            if (found := w.get("least_certain"))]
    return [f"What the likely range comes from most: {'; '.join(said)}"] if said else []


def _abroad(ways: Sequence[Way]) -> list[str]:
    """The cheapest way in the currency that was asked for."""
    found = [(k.removeprefix("in_").upper(), v) for w in ways[:1] for k, v in w.items() if k.startswith("in_")]
    return [f"In {code}: {_lower(ways[0]['name'])} {number(value) or 0.0:,.0f}" for code, value in found]


def chosen(ways: Sequence[Way]) -> list[Way]:
    """The cheapest few offers, the cheapest of each kind of contract, and owning."""
    kept: dict[tuple[Any, ...], int] = {}
    found = []
    for way in ways:
        key = (way["kind"], way.get("commitment"))
        kept[key] = kept.get(key, 0) + 1
        most = (3 if way.get("same_model", True) else 12) if way["kind"] == "api" else 1
        if kept[key] <= most + (way.get("commitment") == "on_demand"):
            found.append(way)
    return found


def _table(name: str, phase: Mapping[str, Any], ways: Sequence[Way]) -> Table:
    head = ["", WORK[name], "likely range"]
    if name == "serve":
        head += ["a million tokens", "machines, busy"]
    rows = []
    for way in ways:
        usd = way.get("usd") or {}
        row = [_name(way), _money(usd), _range(usd)]
        if name == "serve":
            row += [_cents(way.get("usd_per_million_tokens")), _busy(way)]
        rows.append(tuple(row))
    device = phase.get("device")
    title = f"What {WORK[name]} costs" + (f" (machines: {device})" if device else "")
    return Table(title, tuple(head), tuple(rows), mark=0 if rows else None)


def in_short(result: Mapping[str, Any]) -> Table | None:
    """The cheapest way of each kind for a month of requests, on the page of something larger."""
    phase = (result.get("pay") or {}).get("serve")
    ways = [w for w in _one_a_kind((phase or {}).get("ways") or []) if number(w.get("usd")) is not None]
    if phase is None or not ways:
        return None
    rows = tuple((_name(w), _money(w["usd"]), _range(w["usd"]), _busy(w)) for w in ways)
    title = f"{_of_what('serve', phase)[:1].upper()}{_of_what('serve', phase)[1:]}, bought, rented or owned"
    return Table(title, ("", "a month", "likely range", "machines, busy"), rows, mark=0)


def _name(way: Way) -> str:
    """The way, and what it binds or takes at once."""
    signed, upfront = number(way.get("signed_usd")), number(way.get("upfront_usd"))
    if signed:
        return f"{way['name']} (signs for {_money(float(f'{signed:.3g}'))})"
    return f"{way['name']} ({_money(float(f'{upfront:.3g}'))} on day one)" if upfront else str(way["name"])


def _money(value: Any) -> str:
    found = number(value)
    return "" if found is None else f"${found:,.0f}" if abs(found) < 1e6 else one(found, "USD")


def _range(value: Any) -> str:
    low, high = (number(value.get(k)) for k in ("low", "high"))
    if low is None or high is None or low == high:
        return ""
    return f"{low:,.0f}–{high:,.0f}" if high < 1e6 else f"{one(low, 'USD')}–{one(high, 'USD')}"


def _cents(value: Any) -> str:
    found = number(value)
    return "" if found is None else f"${found:,.2f}"


def _count(value: Any) -> str:
    found = number(value)
    return "–" if found is None else f"{found:,.0f}" if found >= 1 else f"{found:.2g}"


def _busy(way: Way) -> str:
    """How many machines, and the part of their time that they work."""
    busy = number(way.get("busy"))
    return "–" if busy is None else f"{_count(way.get('devices'))} at {100 * busy:.0f} %"


def _made_of(name: str, ways: Sequence[Way]) -> Table | None:
    """Parts of the bill of the cheapest way of each kind, adding up to the whole."""
    priced = [w for w in ways if number(w.get("usd")) is not None]
    if not priced:
        return None
    names = [p for p in PART_WORDS if any(p in w["parts"] for w in priced)]
    columns = [_dollars([number(w["parts"].get(p)) if p in w["parts"] else None for p in names]) for w in priced]
    rows = tuple((PART_WORDS[p], *(cells[i] for cells, _ in columns)) for i, p in enumerate(names))
    head = ("", *(_short_name(w) for w in priced))
    total = ("together", *(whole for _, whole in columns))
    return Table(f"What {WORK[name]} is made of, USD", head, rows, total)


def _dollars(parts: Sequence[float | None]) -> tuple[list[str], str]:
    """Whole dollars that add up, cents where all of it is less than a hundred; what a way does not have is a dash."""
    known = [p or 0.0 for p in parts]
    decimals = 2 if sum(known) < 100 else 0
    rounded = adding_up(known, decimals)
    cells = ["–" if p is None else fixed(r, decimals) for p, r in zip(parts, rounded, strict=True)]
    return cells, fixed(sum(rounded), decimals)


def _short_name(way: Way) -> str:
    if way["kind"] == "api":
        return f"API {str(way['provider']).replace('_', ' ')}"
    return "own" if way["kind"] == "own" else f"rent {way['provider']}"


DEFINED = (("cloud_usd", "cloud: three-year contracts of the large clouds"),
           ("amortised_usd", "amortised: value the hardware loses in it, and electricity"),
           ("acquisition_usd", "hardware acquired: all of it bought"))


def _definitions(phase: Mapping[str, Any]) -> Table | None:
    """What others would print for the same run: published costs differ by definition up to twentyfold."""
    found = phase.get("definitions") or {}
    known = [(k, words) for k, words in DEFINED if number(found.get(k)) is not None]
    rows = tuple((words, _money(found[k]), _range(found[k])) for k, words in known)
    if not rows:
        return None
    return Table("The same run by the definitions that published costs use, people left out",
                 ("", "USD", "likely range"), rows)


# ---------------------------------------------------------------- break-even

def _even(phase: Mapping[str, Any]) -> Bullets | None:
    even, mine = phase.get("break_even") or {}, number(phase.get("tokens_per_month")) or 0.0
    items = []
    for key, word in (("rent_or_api", "Renting"), ("own_or_api", "Owning")):
        found = even.get(key)
        if found:
            items.append(f"{word} {_volume(found, mine)}")
    for key, other in (("own_or_rent", "renting by the hour"), ("own_or_api", "the provider")):
        found = even.get(key) or {}
        if "use" in found:
            items.append(f"Owning {_use(found['use'], other)}; {_months(found['months'])}")
    return Bullets("When another way becomes the cheaper one", tuple(items)) if items else None


def _volume(found: Mapping[str, Any], mine: float) -> str:
    point, other = found["tokens_per_month"], _lower(found["between"][1])
    value, likely = number(point.get("value")), 100 * (number(point.get("probability")) or 0.0)
    if value is None:
        return f"is not cheaper than {other} at any volume; in {likely:.0f} % of cases it can be"
    times = f", {value / mine:,.1f} times yours" if mine else ""
    edges = "–".join("never" if v is None else short(float(f"{v:.2g}")) for v in _edges(point))
    return f"is cheaper than {other} from {short(float(f'{value:.3g}'))} tokens a month [{edges}]{times}"


def _edges(point: Mapping[str, Any]) -> tuple[float | None, float | None]:
    return number(point.get("low")), number(point.get("high"))


def _use(point: Mapping[str, Any], other: str) -> str:
    value = number(point.get("value"))
    low, high = ("never" if v is None else f"{100 * v:.0f} %" for v in _edges(point))
    if value is None:
        doubt = "" if low == "never" else f" [{low}–never]"
        return f"is not cheaper than {other}, however busy the machines are{doubt}"
    return f"is cheaper than {other} when the machines are busy {100 * value:.0f} % of the time or more [{low}–{high}]"


def _months(point: Mapping[str, Any]) -> str:
    value = number(point.get("value"))
    low, high = ("never" if v is None else f"{v:,.0f}" for v in _edges(point))
    if value is None:
        return "its price is not saved again" + ("" if low == "never" else f" [{low} months–never]")
    return f"its price is saved again in {value:,.0f} months [{low}–{high}]"


def _by_volume(phase: Mapping[str, Any]) -> Table | None:
    """A month at other numbers of requests, the cheapest way of each kind."""
    rows = (phase.get("break_even") or {}).get("by_volume") or []
    if not rows:
        return None
    first = {w["kind"]: _short_name(w) for w in reversed(phase.get("ways") or [])}
    names = [k for k in ("api", "rent", "own") if k in rows[0]]
    head = ("requests a month", *(short(float(f"{r['requests_per_month']:.3g}")) for r in rows))
    body = tuple((first.get(n, n), *(_money(r[n]) for r in rows)) for n in names)
    return Table("The same month at other volumes, people as they are", head, body)


def _by_use(phase: Mapping[str, Any]) -> Table | None:
    rows = (phase.get("break_even") or {}).get("by_use") or []
    if not rows:
        return None
    names = [k for k in ("rent", "own") if k in rows[0]]
    head = ("machines busy", *(f"{100 * r['use']:.0f} %" for r in rows))
    body = [({"rent": "rented", "own": "owned"}[n], *(_cents(r[n]) for r in rows)) for n in names]
    api = next((w for w in phase.get("ways") or [] if w["kind"] == "api"), None)
    if api is not None:
        body.append((_short_name(api), *([_cents(api["usd_per_million_tokens"])] * len(rows))))
    return Table("A million tokens, by how busy the machines are, people included", head, tuple(body))


# ---------------------------------------------------------------- below

def _warnings(result: Mapping[str, Any]) -> Bullets | None:
    """What bears on money: ages of prices, and the place where it decides the price of electricity."""
    owned = any(w["kind"] == "own" for n in WORK for w in (result["pay"].get(n) or {}).get("ways") or [])
    kept = []
    for text in map(str, result.get("warnings") or []):
        if text.startswith("site: none given"):
            kept += ["No place was named (-s), so the price of electricity spans the world's"] if owned else []
        elif text.startswith(("price", "rent", "pay", "fleet.usd")) or " takes " in text:
            kept.append(sentence(text))
    return Bullets("Check", tuple(kept)) if kept else None


def _assumptions(result: Mapping[str, Any], verbose: bool) -> Bullets | None:
    found = [a for a in result.get("assumptions") or [] if verbose or str(a.get("what")).startswith(ASSUMED)]
    owned = any(w["kind"] == "own" for n in WORK for w in (result["pay"].get(n) or {}).get("ways") or [])
    found = [a for a in found if verbose or not str(a.get("what")).startswith("fleet.")]
    found = [a for a in found if verbose or owned or not str(a.get("what")).startswith("site.")]
    if not found:
        return None
    items = []
    ranks = {name: i for i, name in enumerate(SAID)}
    found.sort(key=lambda a: ranks.get(str(a["what"]), len(ranks)))
    for entry in found:
        what, value = str(entry["what"]), entry.get("value")
        nominal = number(value)
        shown = str(value) if nominal is None else f"{nominal:,.4g}" if nominal < 1e4 else f"{nominal:,.0f}"
        source = f" ({entry['source']})" if verbose and entry.get("source") else ""
        items.append(f"{SAID.get(what, what)} = {shown}: {entry['why']}{source}")
    return few_of("Assumed", items, verbose, ASSUMPTIONS_SHOWN)


def quiet(result: Mapping[str, Any]) -> list[Block]:
    """The verdict alone."""
    return [Verdict(verdict(result).text, verdict(result).mood)]


def rows(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every line of every way, flat, for CSV."""
    found = []
    for name in ("serve", "finetune", "pretrain"):
        for way in (result["pay"].get(name) or {}).get("ways") or []:
            for line in way["lines"]:
                usd = line.get("usd") or {}
                found.append({
                    "phase": name, "way": way["name"], "kind": way["kind"], "part": line["tags"].get("part", ""),
                    "item": line["item"], "resource": line["resource"], "quantity": line["quantity"]["value"],
                    "unit": line["unit"], "usd": usd.get("value"), "usd_low": usd.get("low"),
                    "usd_high": usd.get("high"), "price_basis": line["price_basis"], "note": line["note"]})
    return found


