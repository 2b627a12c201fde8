"""What bookkeeping asks of a plan: tags on its lines, budgets kept or not, money in another currency."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from outlay.account import totals
from outlay.derive import Quantity, derive
from outlay.errors import BadValue, suggestion
from outlay.planner.verdict import share_below
from outlay.usage import Line

WHOLE = "total"
MEASURES = ("usd", "energy_j", "co2e_kg", "water_l", "device_hours")


def tagged(lines: Sequence[Line], tags: Mapping[str, str] | None) -> list[Line]:
    """The lines with the scenario's tags beside their own."""
    if not tags:
        return list(lines)
    return [replace(line, usage=replace(line.usage, tags={**tags, **line.usage.tags})) for line in lines]


def budgets_kept(goal: Mapping[str, Any], lines: Sequence[Line]) -> list[dict[str, Any]]:
    """Each limit beside what the plan takes of it.

    An entry is `{name, measure, limit, planned, within, within_probability}`; `within` is None where a price is not
    known. Raises BadValue for a name that is neither "total" nor a phase or phase.item of the plan.
    """
    asked: dict[str, Any] = dict(goal.get("budgets") or {})
    if goal.get("budget") is not None and WHOLE not in asked:
        asked[WHOLE] = goal["budget"]
    found: list[dict[str, Any]] = []
    for name, limit in asked.items():
        limits = limit if isinstance(limit, Mapping) else {"usd": limit}
        sums: Mapping[str, Quantity | None] = totals(_lines_of(name, lines)) if lines else dict.fromkeys(MEASURES)
        found += [_entry(name, measure, float(limits[measure]), sums[measure])
                  for measure in MEASURES if limits.get(measure) is not None]
    return found


def _lines_of(name: str, lines: Sequence[Line]) -> list[Line]:
    if name == WHOLE:
        return list(lines)
    phase, _, item = name.partition(".")
    mine = [x for x in lines if x.usage.phase == phase and (not item or x.usage.item == item)]
    if not mine:
        known = {WHOLE, *(x.usage.phase for x in lines), *(f"{x.usage.phase}.{x.usage.item}" for x in lines)}
        hint = suggestion(name, known) or f"; this plan has {', '.join(sorted(known))}"
        raise BadValue(f"goal.budgets.{name}: the plan has no lines of that name{hint}", f"goal.budgets.{name}")
    return mine


def _entry(name: str, measure: str, limit: float, planned: Quantity | None) -> dict[str, Any]:
    within = None if planned is None else planned.value <= limit
    return {"name": name, "measure": measure, "limit": limit, "planned": planned, "within": within,
            "within_probability": None if planned is None else share_below(planned, limit)}


def in_currency(currency: Mapping[str, Any] | None, sums: Mapping[str, Any]) -> dict[str, Any] | None:
    """The currency that was asked for, with the total in it."""
    if currency is None:
        return None
    usd = sums.get("usd")
    total = None if usd is None else derive(
        converted, f"money in {currency['code']}", currency["code"], usd=usd, per_usd=currency["per_usd"])
    return {**currency, "total": total}


def converted(usd: Any, per_usd: Any) -> Any:
    """Dollars as units of another currency at a stated rate."""
    return usd * per_usd
