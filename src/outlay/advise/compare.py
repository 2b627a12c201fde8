"""Plans beside each other: what differs in what was asked, in the lines, and which change moves the total how far.

Differences are taken draw by draw: a draw belongs to the same imagined world in every plan, so what the plans share
cancels and the interval is that of the difference itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from outlay.advise.changes import Change, apply, changes_of
from outlay.derive import Quantity, add_all, derive, value_of
from outlay.errors import OutlayError
from outlay.planner.verdict import share_below
from outlay.result import Result
from outlay.usage import Line

SERVED = ("ttft_s", "tpot_s", "output_tokens_per_s", "usd_per_million_output_tokens", "energy_per_output_token_j")
UNITS = {"usd": "USD", "energy_j": "J", "co2e_kg": "kg", "water_l": "l"}
MEASURES = ("usd", "elapsed_s", "device_hours", "energy_j", "co2e_kg", "water_l", *SERVED)
OF_LINES = tuple(UNITS)
MOST_EXPLAINED = 12  # changes whose own effect is planned; each takes a plan
SAME = 1e-9

Planner = Callable[[Mapping[str, Any]], Result]


class Planned(Struct, frozen=True):
    """One subject: its label, the scenario as given, and what it takes."""

    label: str
    scenario: Mapping[str, Any]
    result: Result

    def measures(self) -> dict[str, Quantity | None]:
        """Totals by name, time as the sum of the phases that have one; of serving what users see and a token costs."""
        found: dict[str, Quantity | None] = {name: self.result.totals.get(name) for name in MEASURES}
        times = [p["elapsed_s"] for p in self.result.phases.values() if p.get("elapsed_s") is not None]
        found |= {name: self.result.phases.get("serve", {}).get(name) for name in SERVED}
        found["elapsed_s"] = add_all("time", "s", Quantity(0.0, "s", "start"), *times) if times else None
        return found


def compare(subjects: Sequence[tuple[str, Mapping[str, Any]]], planner: Planner) -> dict[str, Any]:
    """Plan every subject on the same draws and set each against the first.

    `{subjects: [{name, fits, measures}], differences: [{name, measures, inputs, lines, why}]}`; Quantities inside.
    """
    seed = subjects[0][1].get("seed")
    documents = [(label, _with_seed(document, seed)) for label, document in subjects]
    planned = [Planned(label, document, planner(document)) for label, document in documents]
    first = planned[0]
    return {
        "subjects": [{"name": p.label, "fits": p.result.exit_code == 0, "measures": p.measures()} for p in planned],
        "differences": [_difference(first, other, planner) for other in planned[1:]]}


def _with_seed(document: Mapping[str, Any], seed: Any) -> dict[str, Any]:
    """The document with the first one's seed: the same draws for all."""
    kept = {key: value for key, value in document.items() if key != "seed"}
    return kept if seed is None else {**kept, "seed": seed}


def _difference(a: Planned, b: Planned, planner: Planner) -> dict[str, Any]:
    before, after = a.measures(), b.measures()
    given, follows = changes_of(a.scenario, b.scenario, a.result.scenario, b.result.scenario)
    return {
        "name": b.label, "against": a.label,
        "measures": {name: entry for name in MEASURES if (entry := _delta(before[name], after[name], name))},
        "inputs": [c.to_dict() for c in given], "follows": [c.to_dict() for c in follows],
        "lines": line_changes(a.result.lines, b.result.lines),
        "why": _why(a, b, given, planner)}


def _delta(before: Quantity | None, after: Quantity | None, name: str) -> dict[str, Any] | None:
    """The difference of one measure, its ratio and how often the second is the smaller."""
    if before is None or after is None:
        return None
    difference = subtracted(before, after, name)
    return {"before": before, "after": after, "difference": difference,
            "ratio": after.value / before.value if before.value else None,
            "less_probability": share_below(difference, -SAME * abs(before.value)) if difference.value or _spread(
                difference) else 0.0}


def _spread(quantity: Quantity) -> bool:
    return quantity.low != quantity.high


def subtracted(before: Quantity, after: Quantity, name: str) -> Quantity:
    """After less before, draw by draw."""
    found: Quantity = derive(less, f"difference of {name}", before.unit, before=before, after=after)
    return found


def less(before: Any, after: Any) -> Any:
    """What comes after less what was before."""
    return after - before


# ---------------------------------------------------------------- lines

def line_changes(before: Sequence[Line], after: Sequence[Line]) -> list[dict[str, Any]]:
    """Every item of either plan: `+` only in the second, `-` only in the first, `~` in both and not the same."""
    old, new = _items(before), _items(after)
    rows = []
    for key in dict.fromkeys((*old, *new)):
        mine, others = old.get(key, []), new.get(key, [])
        sign = "+" if not mine else "-" if not others else "~"
        row: dict[str, Any] = {"sign": sign, "phase": key[0], "item": key[1]}
        for name in OF_LINES:
            a, b = _sum(mine, name), _sum(others, name)
            row[name] = None if a is None or b is None else {"before": a, "after": b,
                                                             "difference": subtracted(a, b, name)}
        if sign != "~" or any(_moved(row[name]) for name in OF_LINES):
            rows.append({**row, "why": _reasons(mine, others)})
    return sorted(rows, key=_size)


def _items(lines: Sequence[Line]) -> dict[tuple[str, str], list[Line]]:
    found: dict[tuple[str, str], list[Line]] = {}
    for line in lines:
        found.setdefault((line.usage.phase, line.usage.item), []).append(line)
    return found


def _sum(lines: Sequence[Line], name: str) -> Quantity | None:
    unit = UNITS[name]
    parts = [x.co2e_operational_kg + x.co2e_embodied_kg if name == "co2e_kg" else getattr(x, name) for x in lines]
    if any(part is None for part in parts):
        return None
    total: Quantity = add_all(name, unit, Quantity(0.0, unit, "nothing"), *parts)
    return total


def _moved(entry: Mapping[str, Any] | None) -> bool:
    if entry is None:
        return False
    scale = max(abs(entry["before"].value), abs(entry["after"].value))
    return bool(abs(entry["difference"].value) > 1e-6 * scale)


def _size(row: Mapping[str, Any]) -> tuple[float, float]:
    usd, energy = (0.0 if row[n] is None else abs(row[n]["difference"].value) for n in ("usd", "energy_j"))
    return -usd, -energy


def _reasons(before: Sequence[Line], after: Sequence[Line]) -> list[dict[str, Any]]:
    """How far the amount and how far the price of each resource moved the money, the two adding up to it.

    With amounts q and prices p the parts are (q2 - q1)(p1 + p2)/2 and (p2 - p1)(q1 + q2)/2.
    """
    old = {x.usage.resource: x for x in before}
    found = []
    for line in after:
        was = old.get(line.usage.resource)
        if was is None or was.usd is None or line.usd is None or not (was.usd.value or line.usd.value):
            continue
        amounts = was.usage.quantity.value, line.usage.quantity.value
        if not all(amounts):
            continue
        prices = was.usd.value / amounts[0], line.usd.value / amounts[1]
        found.append({"resource": line.usage.resource, "amount_ratio": amounts[1] / amounts[0],
                      "price_ratio": prices[1] / prices[0] if prices[0] else None,
                      "usd_by_amount": (amounts[1] - amounts[0]) * (prices[0] + prices[1]) / 2,
                      "usd_by_price": (prices[1] - prices[0]) * (amounts[0] + amounts[1]) / 2})
    return found


# ---------------------------------------------------------------- which change does it

def _why(a: Planned, b: Planned, given: Sequence[Change], planner: Planner) -> list[dict[str, Any]]:
    """The effect of each change alone on the first plan, and what they do only together."""
    before, after = a.measures(), b.measures()
    names = [n for n in MEASURES if before[n] is not None and after[n] is not None]
    if len(given) == 1:
        return [{"change": given[0].to_dict(), **{n: value_of(after[n]) - value_of(before[n]) for n in names}}]
    rows: list[dict[str, Any]] = []
    for change in given[:MOST_EXPLAINED]:
        try:
            alone = Planned("", {}, planner(apply(a.scenario, change))).measures()
        except OutlayError as error:
            rows.append({"change": change.to_dict(), "error": error.message})
            continue
        rows.append({"change": change.to_dict(), **{n: value_of(alone[n]) - value_of(before[n])
                                                    for n in names if alone[n] is not None}})
    if rows:
        rest = {n: value_of(after[n]) - value_of(before[n]) - sum(r.get(n, 0.0) for r in rows) for n in names}
        rows.append({"change": None, **rest})
    return rows
