"""A model's whole life as a page: what it takes, by phase, year and item; whose budget holds it; what moves it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from outlay.report import books, paying, screen
from outlay.report.blocks import Block, Bullets, Commands, Mood, Pair, Table, Verdict
from outlay.report.influence import named
from outlay.report.numbers import adding_up, column, fixed, number, one, share, short, span
from outlay.report.parts import words

MONTH_S = 31_557_600.0 / 12
MEASURES = (
    ("usd", "USD", "money"),
    ("energy_j", "J", "energy"),
    ("co2e_kg", "kgCO2e", "CO2e"),
    ("water_l", "L", "water"),
)
NAMES = {
    "data": "data",
    "experiments": "experiments",
    "pretrain": "pre-training",
    "finetune": "fine-tuning",
    "serve": "serving",
    "maintain": "keeping it up",
    "life": "people, weights, end",
}
ITEMS_SHOWN = 10
INPUTS_SHOWN = 4


def page(result: Mapping[str, Any], verbose: bool = False, following: Sequence[str] = ()) -> list[Block]:
    """The blocks of one life, in the order every page keeps."""
    life = result["life"]
    blocks: list[Block | None] = [
        verdict(result),
        by_phase(result),
        by_year(life),
        items(life, verbose),
        Pair(when(life), spread(life)),
        paying.in_short(result),
        budgets(life),
        moves(life),
        *books.blocks(result),
        unpriced(result),
        screen.warnings(result),
        screen.assumptions(result, verbose),
        screen.brackets(),
    ]
    if following:
        blocks.append(Commands(tuple(following)))
    return [b for b in blocks if b is not None]


def verdict(result: Mapping[str, Any]) -> Verdict:
    """How long, how much, and what most of it is."""
    life, totals = result["life"], result.get("totals") or {}
    years = life["years"]
    name = (result.get("scenario") or {}).get("name") or screen.subject(result)
    cost = one(totals.get("usd"), "USD") if number(totals.get("usd")) is not None else "money unknown"
    text = f"{name}, {years:g} year{'' if years == 1 else 's'}: {cost}"
    missed = books.broken(result)
    mood: Mood = "bad" if missed else "plain"
    text += f", but {missed}" if missed else ""
    details = [_most(life), _paid(life, years), _beside(totals)]
    unfit = [NAMES[p] for p in ("pretrain", "finetune", "serve") if (result.get(p) or {}).get("fits") is False]
    if unfit:
        return Verdict(f"{text}; {' and '.join(unfit)} does not fit", "bad", tuple(d for d in details if d))
    return Verdict(text, mood, tuple(d for d in details if d))


def _most(life: Mapping[str, Any]) -> str:
    """The two phases that take most, by money where it is known, else by energy."""
    for key in ("usd", "energy_j"):
        sizes = {p: number(row.get(key)) for p, row in life["by_phase"].items()}
        if sizes and None not in sizes.values():
            whole = sum(v or 0.0 for v in sizes.values())
            largest = sorted(sizes, key=lambda p: -(sizes[p] or 0.0))[:2]
            said = [f"{NAMES.get(p, p)}, {share(sizes[p] or 0.0, whole)}" for p in largest if sizes[p]]
            return f"Most of it: {'; then '.join(said)}" if said else ""
    return ""


def _paid(life: Mapping[str, Any], years: float) -> str:
    total = number(life.get("amortised_usd"))
    if total is None:
        return ""
    cash, worth = number(life.get("cash_usd")), life.get("present_value_usd")
    paid = f"; paid as cash {one(life['cash_usd'], 'USD', interval=False)}" if cash != total else ""
    rate = number(life.get("discount_per_year")) or 0.0
    return (
        f"A year: {one(total / years, 'USD')}{paid}; worth {one(worth, 'USD', interval=False)} at the start, at "
        f"{100 * rate:.3g} % a year"
    )


def _beside(totals: Mapping[str, Any]) -> str:
    said = [one(totals.get(k), u, interval=False) for k, u, _ in MEASURES[1:] if number(totals.get(k)) is not None]
    hours = number(totals.get("device_hours"))
    if hours:
        said.append(f"{one(hours, interval=False)} device-hours")
    return "Beside it: " + ", ".join(said) if said else ""


# ---------------------------------------------------------------- tables that add up


def by_phase(result: Mapping[str, Any]) -> Table:
    """Money, energy, carbon, water and device-hours by phase."""
    life, totals = result["life"], result.get("totals") or {}
    rows = life["by_phase"]
    heads, columns, ends, belows = [""], [], ["total"], ["80 % interval"]
    for key, unit, name in MEASURES:
        if all(number(row.get(key)) is None for row in rows.values()):
            continue
        cells, total, scale, decimals = column(
            [number(row.get(key)) for row in rows.values()], unit, digits=4 if unit == "USD" else 0
        )
        heads.append(f"{name}, {scale.before}{scale.after.strip()}")
        columns.append(cells)
        ends.append("?" if "?" in cells else total)
        belows.append(span(totals.get(key), scale, decimals).strip())
    hours = [number(row.get("device_hours")) for row in rows.values()]
    if any(hours):
        cells, total, scale, _ = column(hours, "")
        heads.append(f"device-hours{', ' + scale.after.strip() if scale.after.strip() else ''}")
        columns.append(cells)
        ends.append(total)
        belows.append("")
    body = tuple((NAMES.get(p, p), *[c[i] for c in columns]) for i, p in enumerate(rows))
    return Table("By phase", tuple(heads), body, tuple(ends), tuple(belows) if any(belows[1:]) else ())


def by_year(life: Mapping[str, Any]) -> Table | None:
    """Money by year and phase; rounded so that rows and columns add up to the totals by phase."""
    years, phases = life["by_year"], list(life["by_phase"])
    known = [[number((row["phases"] or {}).get(p)) or 0.0 for row in years] for p in phases]
    sums = [number(row.get("usd")) for row in life["by_phase"].values()]
    if None in sums or not any(sums):
        return None
    scale, decimals = column(sums, "USD", digits=4)[2:]
    ends = adding_up([(s or 0.0) / scale.factor for s in sums], decimals)
    columns = [to_total([v / scale.factor for v in part], end, decimals) for part, end in zip(known, ends, strict=True)]

    def told(values: Sequence[float], real: Sequence[float]) -> list[str]:
        return [fixed(v, decimals) if r else "–" for v, r in zip(values, real, strict=True)]

    cells = [told(values, real) for values, real in zip(columns, known, strict=True)]
    rows = tuple(
        (row["label"], *[c[i] for c in cells], fixed(sum(c[i] for c in columns), decimals))
        for i, row in enumerate(years)
    )
    head = ("", *[NAMES.get(p, p) for p in phases], "year")
    total = ("total", *[fixed(e, decimals) for e in ends], fixed(sum(ends), decimals))
    return Table(f"Money by year, {scale.before}{scale.after.strip()}", head, rows, total)


def to_total(parts: Sequence[float], total: float, decimals: int) -> list[float]:
    """Parts rounded so that they add up to a total that was rounded elsewhere; the largest takes what is left over.

    >>> to_total([0.191, 0.277, 0.427], 0.89, 2)
    [0.19, 0.28, 0.42]
    """
    found = [round(p, decimals) for p in parts]
    if found:
        largest = max(range(len(found)), key=lambda i: abs(found[i]))
        found[largest] = round(found[largest] + total - sum(found), decimals)
    return found


def items(life: Mapping[str, Any], verbose: bool) -> Table | None:
    """The items that take most money, the rest in one row."""
    known = [row for row in life["by_item"] if number(row.get("usd"))]
    if not known:
        return None
    ordered = sorted(known, key=lambda row: -abs(number(row["usd"]) or 0.0))
    shown = ordered if verbose or len(ordered) <= ITEMS_SHOWN + 1 else ordered[:ITEMS_SHOWN]
    rest = ordered[len(shown) :]
    sizes = [number(row["usd"]) or 0.0 for row in shown] + (
        [sum(number(r["usd"]) or 0.0 for r in rest)] if rest else []
    )
    cells, total, scale, decimals = column(sizes, "USD", digits=4)
    whole = sum(sizes)
    names = [f"{NAMES.get(row['phase'], row['phase'])}: {words(row['item'])}" for row in shown]
    names += [f"{len(rest)} smaller items"] if rest else []
    ranges = [span(row["usd"], scale, decimals).strip() for row in shown] + ([""] if rest else [])
    rows = tuple(
        (name, cell, bracket, share(size, whole))
        for name, cell, bracket, size in zip(names, cells, ranges, sizes, strict=True)
    )
    return Table(
        _items_title(life, bool(rest)),
        ("", f"money, {scale.before}{scale.after.strip()}", "", ""),
        rows,
        ("total", total, "", ""),
    )


def _items_title(life: Mapping[str, Any], cut: bool) -> str:
    whole = all(number(row.get("usd")) is not None for row in life["by_item"])
    return ("Largest items" if cut else "Items") + ("" if whole else " with a known price")


# ---------------------------------------------------------------- when, how sure, for whom


def when(life: Mapping[str, Any]) -> Table:
    """From which month to which each phase runs."""
    rows = tuple(
        (NAMES.get(row["phase"], row["phase"]), f"{row['start_s'] / MONTH_S:.1f}", f"{row['end_s'] / MONTH_S:.1f}")
        for row in life["calendar"]
    )
    start = f", from {life['start'][:7]}" if life.get("start") else ""
    return Table(f"Calendar, months{start}", ("", "from", "to"), rows)


def spread(life: Mapping[str, Any]) -> Table:
    """Tenth, fiftieth and ninetieth percentile of each total."""
    units = {"usd": "USD", "energy_j": "J", "co2e_kg": "kgCO2e", "water_l": "L"}
    names = {"usd": "money", "energy_j": "energy", "co2e_kg": "CO2e", "water_l": "water"}
    rows = tuple(
        (names[key], *[one(row[p], units[key], interval=False) for p in ("p10", "p50", "p90")])
        for key, row in life["percentiles"].items()
        if key in units
    )
    return Table("How sure", ("", "P10", "P50", "P90"), rows)


def budgets(life: Mapping[str, Any]) -> Table | None:
    """Whose yearly budget a year of this would take, and how much of it."""
    found = life.get("budgets") or []
    if not found:
        return None
    rows = tuple(
        (row["persona"], one({**row["budget_usd_per_year"], "unit": "USD"}), _part(row["share"])) for row in found
    )
    return Table("A year of it in budgets of a year", ("", "budget", "takes"), rows)


def _part(value: Any) -> str:
    """A share of a budget: percent below twice, else times."""
    nominal = number(value) or 0.0
    if nominal >= 2:
        return f"{fixed(nominal, 0, 2)} budgets" if nominal >= 10 else f"{nominal:.1f} budgets"
    if nominal >= 1:
        return f"{100 * nominal:.0f} %"
    return f"{100 * nominal:.2g} %" if nominal >= 1e-4 else "<0.01 %"


def moves(life: Mapping[str, Any]) -> Bullets | None:
    """The uncertain inputs and the choices that move the total most."""
    said = []
    for row in (life.get("sensitivity") or [])[:INPUTS_SHOWN]:
        said.append(
            f"{named(row['input'], row.get('source', ''))} from {_bounds(row)}: "
            f"{_signed(row['usd_change'])}, {100 * row['explains']:.0f} % of the spread"
        )
    said += [f"{row['choice']}: {_signed(row['usd_change'])}" for row in life.get("choices") or []]
    return Bullets("What moves it", tuple(said)) if said else None


def _bounds(row: Mapping[str, Any]) -> str:
    """From where to where an input may lie, money as money."""
    unit = str(row["unit"])
    if unit[:3].lower() == "usd":
        per = "" if "year" in row["input"] else unit[3:].replace("/yr", " a year").replace("/", " a ")
        return " to ".join(f"{short(float(f'{row[k]:.3g}'), 'USD')}" for k in ("low", "high")) + per
    if unit == "1/year":
        return f"{100 * row['low']:.2g} to {100 * row['high']:.2g} % a year"
    unit = "years" if unit == "year" else unit
    return f"{_figure(row['low'])} to {_figure(row['high'])}" + (f" {unit}" if unit else "")


def _figure(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _signed(usd: float) -> str:
    return f"{'+' if usd >= 0 else '−'}{short(abs(float(f'{usd:.3g}')), 'USD')}"


def unpriced(result: Mapping[str, Any]) -> Bullets | None:
    """Why money is not known where a price is missing."""
    lines = result.get("lines") or []
    if number((result.get("totals") or {}).get("usd")) is not None:
        return None
    notes = dict.fromkeys(str(x["note"]) for x in lines if x.get("note") and number(x.get("usd")) is None)
    return Bullets("Money is unknown", tuple(notes)) if notes else None
