"""Lines by month, year, phase and item; percentiles; what moves the total; shares of budgets."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray

from outlay.account import totals
from outlay.derive import DRAWS, Quantity, derive
from outlay.physics.upkeep import MONTH_S
from outlay.planner.influence import LEAST_SHARE, explained, leaves
from outlay.planner.life.calendar import label, month_shares
from outlay.usage import Line

MEASURES = (
    ("usd", "USD", "money"),
    ("energy_j", "J", "facility energy"),
    ("co2e_kg", "kg", "carbon"),
    ("water_l", "l", "water"),
)
MOST_INPUTS = 8


class Table:
    """Every line's measures on every draw, so that any grouping is one product of matrices."""

    def __init__(self, lines: Sequence[Line], months: int) -> None:
        self.lines, self.months = lines, months
        self.shares = np.array([month_shares(x.usage, months) for x in lines]) if lines else np.zeros((0, months))
        self.values: dict[str, NDArray[np.float64]] = {}
        self.draws: dict[str, NDArray[np.float64]] = {}
        self.known: dict[str, bool] = {}
        for key, _, _ in MEASURES:
            found = [_measure(x, key) for x in lines]
            self.known[key] = all(q is not None for q in found)
            self.values[key] = np.array([0.0 if q is None else q.value for q in found])
            self.draws[key] = np.array([_samples(q) for q in found]) if lines else np.zeros((0, DRAWS))

    def sums(self, weights: NDArray[np.float64], what: str) -> dict[str, Quantity | None]:
        """One group: the measures of lines times their weights; money unknown where a part of it is."""
        found: dict[str, Quantity | None] = {}
        for key, unit, name in MEASURES:
            inside = weights != 0
            missing = not self.known[key] and any(
                _measure(x, key) is None for x, kept in zip(self.lines, inside, strict=True) if kept
            )
            found[key] = (
                None
                if missing
                else _quantity(weights @ self.values[key], weights @ self.draws[key], unit, f"{name}, {what}")
            )
        return found

    def held(self, resource: str, weights: NDArray[np.float64]) -> float:
        """The nominal amount of one resource in a group."""
        return float(
            sum(
                w * x.usage.quantity.value
                for w, x in zip(weights, self.lines, strict=True)
                if x.usage.resource == resource
            )
        )


def _measure(line: Line, key: str) -> Quantity | None:
    if key == "co2e_kg":
        both: Quantity = line.co2e_operational_kg + line.co2e_embodied_kg
        return both
    found: Quantity | None = getattr(line, key)
    return found


def _samples(quantity: Quantity | None) -> NDArray[np.float64]:
    if quantity is None or quantity.samples is None:
        return np.full(DRAWS, 0.0 if quantity is None else quantity.value)
    return np.asarray(quantity.samples, dtype=float)


def _quantity(value: Any, draws: Any, unit: str, what: str) -> Quantity:
    certain = float(np.ptp(draws)) == 0.0
    return Quantity(
        float(value),
        unit,
        what,
        "planner.life.sums.Table.sums: lines times the part of them in this group",
        samples=None if certain else draws,
    )


# ---------------------------------------------------------------- groups


def by_month(table: Table, start: date | None, discount: NDArray[np.float64]) -> list[dict[str, Any]]:
    """Every month with what falls in it; `discount` is the present value of a dollar in each."""
    found = []
    for month in range(table.months):
        weights = table.shares[:, month]
        row: dict[str, Any] = {"month": month + 1, "label": label(month, start)}
        row |= table.sums(weights, label(month, start))
        row |= {
            "device_hours": table.held("device_s", weights) / 3600.0,
            "stored_bytes": table.held("storage_byte_s", weights) / MONTH_S,
            "discount_factor": float(discount[month]),
        }
        found.append(row)
    return found


def by_year(table: Table, start: date | None) -> list[dict[str, Any]]:
    found = []
    for first in range(0, table.months, 12):
        weights = table.shares[:, first : first + 12].sum(axis=1)
        words = f"year {first // 12 + 1}" if start is None else f"from {label(first, start)}"
        found.append(
            {
                "year": first // 12 + 1,
                "label": words,
                **table.sums(weights, words),
                "device_hours": table.held("device_s", weights) / 3600.0,
                "phases": {
                    name: table.sums(weights * of, f"{words}, {name}")["usd"] for name, of in _phases(table).items()
                },
            }
        )
    return found


def by_phase(table: Table) -> dict[str, dict[str, Any]]:
    return {
        name: {**table.sums(of, name), "device_hours": table.held("device_s", of) / 3600.0}
        for name, of in _phases(table).items()
    }


def by_item(table: Table) -> list[dict[str, Any]]:
    keys = list(dict.fromkeys((x.usage.phase, x.usage.item) for x in table.lines))
    found: list[dict[str, Any]] = []
    for phase, item in keys:
        of = np.array([float((x.usage.phase, x.usage.item) == (phase, item)) for x in table.lines])
        found.append({"phase": phase, "item": item, **table.sums(of, f"{phase}, {item}")})
    return found


def _phases(table: Table) -> dict[str, NDArray[np.float64]]:
    names = dict.fromkeys(x.usage.phase for x in table.lines)
    return {name: np.array([float(x.usage.phase == name) for x in table.lines]) for name in names}


# ---------------------------------------------------------------- what to make of it


def percentiles(sums: dict[str, Quantity | None]) -> dict[str, dict[str, float]]:
    """P10, P50 and P90 of each total over the draws."""
    found = {}
    for key in ("usd", "energy_j", "co2e_kg", "water_l", "device_hours"):
        quantity = sums.get(key)
        if quantity is not None:
            ends = np.quantile(_samples(quantity), (0.1, 0.5, 0.9))
            found[key] = {name: float(v) for name, v in zip(("p10", "p50", "p90"), ends, strict=True)}
    return found


def sensitivity(total: Quantity | None) -> list[dict[str, Any]]:
    """The uncertain inputs that move a total most: its change from their 10th to their 90th percentile.

    By the slope of the total on the input over the draws, all others varying as they do.
    """
    if total is None or total.samples is None:
        return []
    spread = np.asarray(total.samples, dtype=float)
    found: list[dict[str, Any]] = []
    for leaf in leaves(total).values():
        share = explained(leaf.samples, spread)
        if share < LEAST_SHARE:
            continue
        drawn = np.asarray(leaf.samples, dtype=float)
        slope = float(np.cov(drawn, spread)[0, 1] / np.var(drawn, ddof=1))
        low, high = leaf.low, leaf.high
        found.append(
            {
                "input": leaf.label,
                "value": leaf.value,
                "low": low,
                "high": high,
                "unit": leaf.unit,
                "usd_change": slope * (high - low),
                "explains": share,
                "source": leaf.sources[0] if leaf.sources else "",
            }
        )
    return sorted(found, key=lambda row: -abs(row["usd_change"]))[:MOST_INPUTS]


def of_budgets(total: Quantity | None, years: float, personas: Sequence[tuple[str, Quantity]]) -> list[dict[str, Any]]:
    """Each persona's yearly budget, and what part of it a year of this life would take."""
    if total is None:
        return []
    return [
        {
            "persona": name,
            "budget_usd_per_year": budget,
            "share": derive(_share, f"share of the yearly budget, {name}", "", total=total, years=years, budget=budget),
        }
        for name, budget in personas
    ]


def _share(total: Any, years: Any, budget: Any) -> Any:
    """Money a year over a yearly budget."""
    return total / years / budget


def total_usd(lines: Sequence[Line]) -> float | None:
    """The nominal money of some lines; None where a part is unknown."""
    found = totals(lines)["usd"]
    return None if found is None else found.value
