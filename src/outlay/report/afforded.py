"""What money allows, as a page: the ladder, what the next rung needs, a model's barrier, who holds the field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from outlay.report.blocks import Block, Bullets, Commands, Note, Table, Verdict
from outlay.report.numbers import number, one
from outlay.units import si

PLANS = ("Every rung on machines is a plan that runs; money is for the machines, people stand beside. What was "
         "assumed: -v. Brackets hold 80 % intervals.")


def page(found: Mapping[str, Any], verbose: bool = False) -> list[Block]:
    """The ladder."""
    rungs = found["rungs"]
    people = Bullets("Who does it, and what it ties you to", tuple(map(_who, rungs)))
    blocks: list[Block | None] = [verdict(found), ladder(rungs), people, ups(rungs), scratch(rungs[-1])]
    blocks += [assumptions(found) if verbose else None, Note(PLANS), Commands(tuple(_next(rungs)))]
    return [block for block in blocks if block is not None]


def verdict(found: Mapping[str, Any]) -> Verdict:
    """The highest rung that the money reaches."""
    able = [r for r in found["rungs"] if r["able"]]
    money = one(found["budget_usd"], "USD")
    if not able:
        return Verdict(f"{money} reaches no rung", "bad")
    best = able[-1]
    made = _made(best)
    text = f"{money} reaches {len(able)} of {len(found['rungs'])} rungs; the highest: {best['name']}, {made}"
    days = one(found["deadline_s"], "s")
    where = found["fleet"] or f"rented {', '.join(found['devices'])}"
    return Verdict(text, "good", (f"On {where}; every run within {days}.",))


def _made(rung: Mapping[str, Any]) -> str:
    size = number(rung.get("parameters"))
    name = rung.get("model") or rung.get("offer")
    if name and not size:
        return str(name)
    told = f"{_size(size)} parameters" if size else "a model"
    return f"{name} ({told})" if name else f"a model of {told}"


def _size(value: float | None) -> str:
    return "" if value is None else si(float(f"{value:.3g}"), "").replace(" ", "").replace("G", "B")


def ladder(rungs: Sequence[Mapping[str, Any]]) -> Table:
    """One row a rung: the largest model, on how many tokens, on what, for how long and how much."""
    rows = []
    for rung in rungs:
        if not rung["able"]:
            rows.append((rung["name"], "–", "", "", "", rung.get("why", "")))
            continue
        if rung["rung"] == "api-call":
            rows.append((rung["name"], _made(rung), f"{_size(number(rung['requests']))} requests", "none", "at once",
                         one(rung["usd"], "USD")))
            continue
        time = one(rung["elapsed_s"], "s", interval=False) if rung.get("elapsed_s") else "–"
        rows.append((rung["name"], _made(rung), f"{_size(rung['tokens'])} tokens", rung.get("fleet", "none"), time,
                     one(rung["usd"], "USD")))
    return Table("The largest at each rung", ("", "model", "work", "machines", "time", "money"), tuple(rows),
                 text_columns=frozenset(range(5)))


def _who(rung: Mapping[str, Any]) -> str:
    people = rung["people"]
    text = f"{rung['name']}: {rung['skill']}, {people['value']:.2g} people [{people['low']:.2g}–{people['high']:.2g}]"
    if rung.get("people_usd"):
        text += f", {one(rung['people_usd'], 'USD')} of pay beside"
    text += f"; ties: {rung['tie']}"
    life = rung.get("lifetime_days")
    return text + (f" (models live {life['value']:.0f} days [{life['low']:.0f}–{life['high']:.0f}])" if life else "")


def ups(rungs: Sequence[Mapping[str, Any]]) -> Bullets | None:
    """What the next rung would need."""
    items = []
    names = {r["rung"]: r["name"] for r in rungs}
    for rung in rungs:
        up = rung.get("up")
        if not up:
            continue
        head = f"{rung['name']} → {names[up['rung']]}" + (f" of {up['model']}" if up.get("model") else "")
        if up.get("usd") is None:
            items.append(f"{head}: no plan fits on the candidate machines in time")
            continue
        more = f" on {up['fleet']}" if up.get("fleet") else ""
        more += f" in {one(up['elapsed_s'], 's', interval=False)}" if up.get("elapsed_s") else ""
        items.append(f"{head}: {one(up['usd'], 'USD')}{more}" + ("" if up["able"] else ", beyond this money"))
    return Bullets("One rung up needs", tuple(items)) if items else None


def scratch(rung: Mapping[str, Any]) -> Table | None:
    """Of least loss and over-trained for use, beside each other."""
    if not rung["able"]:
        return None
    rows = [("of least loss", *_scratch_row(rung))]
    if rung.get("overtrained"):
        rows.append(("smaller, trained longer for cheaper use", *_scratch_row(rung["overtrained"])))
    return Table("From scratch", ("", "parameters", "tokens", "tokens a parameter", "loss, nats", "time", "money"),
                 tuple(rows))


def _scratch_row(rung: Mapping[str, Any]) -> tuple[str, ...]:
    return (_size(rung["parameters"]), _size(rung["tokens"]), f"{rung['tokens_per_parameter']:.0f}",
            f"{rung['loss']['value']:.2f}", one(rung["elapsed_s"], "s", interval=False), one(rung["usd"], "USD"))


def assumptions(found: Mapping[str, Any]) -> Bullets | None:
    items = tuple(f"{a['what'].replace('_', ' ')} = {a['value']:,g}: {a['why']}" for a in found["assumptions"])
    return Bullets("Assumed", items) if items else None


def _next(rungs: Sequence[Mapping[str, Any]]) -> list[str]:
    """The plans behind the highest rungs, as commands."""
    said = []
    for rung in [r for r in rungs if r["able"] and r.get("document")][-2:]:
        document = rung["document"]
        if "finetune" in document:
            tune = document["finetune"]
            said.append(f"outlay tune {document['model']} -g {document['fleet']} --method {tune['method']} "
                        f"-n {_size(tune['tokens'])}")
        elif isinstance(document.get("fleet"), Mapping):
            fleet = f"{document['fleet']['devices']}x{document['fleet']['device']}"
            said.append(f"outlay train --set 'model={{parameters: {rung['parameters']:.3g}}}' -g {fleet} "
                        f"-n {_size(rung['tokens'])}")
    return said


# ---------------------------------------------------------------- the barrier of a model

def barrier(found: Mapping[str, Any]) -> list[Block]:
    """Years of each persona's budget by task."""
    personas = found["personas"]
    rows = []
    for task in found["tasks"]:
        if not task["able"]:
            rows.append((task["task"], "–", task["why"], *[""] * len(personas)))
            continue
        years = [_years(task["years"][p["id"]]) for p in personas]
        name = task["task"] + (f", {_size(task['tokens'])} tokens" if task.get("tokens") else "")
        rows.append((name, one(task["usd"], "USD"), task["fleet"], *years))
    hardest = next((t for t in reversed(found["tasks"]) if t["able"]), None)
    first = found["tasks"][0]
    text = f"{found['model']} ({_size(found['parameters'])} parameters)"
    if hardest is not None:
        text += f": {one(hardest['usd'], 'USD')} to {_verb(hardest['task'])}"
        text += f", {one(first['usd'], 'USD')} to {first['task']}" if first["able"] and first is not hardest else ""
    head = ("", "money", "machines", *[p["id"].replace("-", " ") for p in personas])
    budgets = tuple(f"{p['name']}: {one(dict(p['budget_usd_per_year'], unit='USD'))} a year" for p in personas)
    table = Table("Years of a budget it takes", head, tuple(rows), text_columns=frozenset({0, 2}))
    return [Verdict(text, "plain"), table,
            Bullets("Whose budget", budgets),
            Note("Budgets are orders of magnitude with their sources: `outlay catalog show student`. Serving is one "
                 "replica, eight requests at a time.")]


def _verb(task: str) -> str:
    return task if task.startswith(("train", "serve")) else f"do {task} on it"


def _years(value: Mapping[str, Any]) -> str:
    """Years, with as many digits as mean something; less than a hundredth is said so."""
    years = number(value) or 0.0
    if years < 0.01:
        return "<0.01"
    return f"{years:.2g}" if years < 100 else f"{years:,.0f}"


# ---------------------------------------------------------------- the field

def field(found: Mapping[str, Any]) -> list[Block]:
    """Concentration over time, stock today, and the two curves."""
    years = found["years"]
    rows = tuple(map(_year, years))
    last, stock = years[-1], found["accelerator_stock"]
    ticket, fixed = found["frontier_ticket"]["growth_per_year"], found["fixed_capability"]["cheaper_per_year"]
    tokens = found["fixed_capability_tokens"]["cheaper"]
    text = (f"In {last['year']:.0f} four organisations did {100 * last['cr4']:.0f} % of the notable training compute; "
            f"four owners hold {100 * stock['cr4']['value']:.0f} % of accelerators")
    curves = (
        f"The frontier's ticket: {ticket['value']:g} times dearer a year [{ticket['low']:.1f}–{ticket['high']:.1f}], "
        f"2016-2024; {found['ticket_growth']:.1f} times in the dearest runs above",
        f"Fixed capability: training it {fixed['value']:g} times cheaper a year ({fixed['note']})",
        f"Tokens of a fixed capability: {tokens['value']:g} times cheaper ({tokens['note']})",
    )
    return [Verdict(text, "plain"),
            Table("Training compute of notable models, by organisation",
                  ("year", "models", "makers", "largest", "top 4", "HHI", "Gini", "dearest run", "who"), rows,
                  text_columns=frozenset({0, 8})),
            Bullets("Two opposite curves", curves),
            Bullets("Accelerators", _stock(found)), Note(CONCENTRATION)]


CONCENTRATION = ("HHI above 1,800 is called highly concentrated in merger review. Known compute only, so shares are of "
                 "what is published. Epoch AI, CC-BY 4.0, epoch.ai/data.")


def _year(y: Mapping[str, Any]) -> tuple[str, ...]:
    ticket = one(y["ticket_usd"], "USD") if y["ticket_usd"] else "unknown"
    return (f"{y['year']:.0f}", f"{y['models']:.0f}", f"{y['organisations']:.0f}", f"{100 * y['top_share']:.0f} %",
            f"{100 * y['cr4']:.0f} %", f"{y['hhi']:,.0f}", f"{y['gini']:.2f}", ticket, ", ".join(y["top"][:2]))


def _stock(found: Mapping[str, Any]) -> tuple[str, str]:
    stock, owners, places = (found[k] for k in ("accelerator_stock", "clusters_by_owner", "clusters_by_country"))
    return (f"stock: top 4 {100 * stock['cr4']['value']:.0f} %, HHI at least {stock['hhi']['value']:,.0f} "
            f"({stock['cr4']['note']})",
            f"tracked clusters: HHI {owners['hhi']['value']:,.0f} by owner, {places['hhi']['value']:,.0f} by country")
