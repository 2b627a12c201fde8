"""A bill beside its plan: joined by month, service category and resource; what has no partner is shown both ways.

First by resource: a row of the bill whose ResourceId, or whose tag `outlay_line`, is the id of a planned line. What is
left of a month and service category on both sides is compared as one sum. The rest stands alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from outlay.derive import Quantity, add_all
from outlay.ledger.focus import Charge
from outlay.ledger.invoice import Bill, Key

REST = "everything else"
Group = tuple[str, str]  # month, service category


class Match(Struct, frozen=True):
    """One comparison. `planned` or `billed` is None when the other side has no partner."""

    month: str
    service: str
    resource: str
    planned: Quantity | None
    billed: float | None

    def to_dict(self) -> dict[str, Any]:
        plan = self.planned
        delta = None if plan is None or self.billed is None else self.billed - plan.value
        return {
            "month": self.month, "service": self.service, "resource": self.resource,
            "planned": plan, "billed": self.billed, "delta": delta,
            "ratio": self.billed / plan.value if delta is not None and plan and self.billed is not None else None,
            "inside": None if delta is None or plan is None else plan.low <= (self.billed or 0.0) <= plan.high}


def reconcile(planned: Sequence[Charge], bill: Bill) -> dict[str, Any]:
    """`{matched, only_planned, only_billed, total}`; dollars throughout."""
    plan = _by_group(planned)
    seen: dict[Group, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for key, usd in bill.usd.items():
        if not usd:
            continue
        seen[key.month, key.category][_name(key, plan)] += usd
    matches = [match for group in sorted({*plan, *seen})
               for match in _matches(group, plan.get(group, {}), seen.get(group, {}))]
    matched = [m for m in matches if m.planned is not None and m.billed is not None]
    return {
        "matched": [m.to_dict() for m in matched],
        "only_planned": [m.to_dict() for m in matches if m.billed is None],
        "only_billed": [m.to_dict() for m in matches if m.planned is None],
        "total": Match("", "", "total", _sum([m.planned for m in matches]), sum(bill.usd.values())).to_dict(),
        "matched_total": Match("", "", "of what has a partner", _sum([m.planned for m in matched]),
                               sum(m.billed or 0.0 for m in matched)).to_dict(),
        "rows": bill.rows, "currencies": list(bill.currencies)}


def _by_group(planned: Sequence[Charge]) -> dict[Group, dict[str, Quantity]]:
    """Dollars of each line by month and service category; lines that cost nothing have no partner to seek."""
    parts: dict[Group, dict[str, list[Quantity]]] = defaultdict(lambda: defaultdict(list))
    for row in planned:
        if row.usd.value or row.usd.high:
            month = str(row.columns["ChargePeriodStart"])[:7]
            parts[month, str(row.columns["ServiceCategory"])][row.line].append(row.usd)
    return {group: {line: add_all(line, "USD", *found) for line, found in lines.items()}
            for group, lines in parts.items()}


def _name(key: Key, plan: Mapping[Group, Mapping[str, Quantity]]) -> str:
    """The planned line it is for, or else what the bill calls it."""
    if key.resource in plan.get((key.month, key.category), {}):
        return key.resource
    return " ".join(filter(None, (key.service or key.category, key.resource))) + (
        "" if key.charge == "Usage" else f" ({key.charge})")


def _matches(group: Group, plan: Mapping[str, Quantity], seen: Mapping[str, float]) -> list[Match]:
    month, category = group
    both = [line for line in plan if line in seen]
    found = [Match(month, category, line, plan[line], seen[line]) for line in both]
    left = {line: usd for line, usd in plan.items() if line not in seen}
    more = {name: usd for name, usd in seen.items() if name not in plan}
    if left and more:
        label = REST if both else "all of it"
        return [*found, Match(month, category, label, _sum(list(left.values())), sum(more.values()))]
    found += [Match(month, category, line, usd, None) for line, usd in left.items()]
    return found + [Match(month, category, name, None, usd) for name, usd in more.items()]


def _sum(parts: Sequence[Quantity | None]) -> Quantity:
    known = [p for p in parts if p is not None]
    total: Quantity = add_all("planned", "USD", Quantity(0.0, "USD", "nothing"), *known)
    return total
