"""`life:` and the catalogue → the calendar's inputs: how long, from when, growth, discount, budgets to compare with."""

from __future__ import annotations

from datetime import date
from typing import Any

from msgspec import Struct, field

from outlay.derive import Num, Quantity
from outlay.errors import BadValue, Inconsistent
from outlay.resolve.calendar import Defaults
from outlay.resolve.people import engineer_price, or_default
from outlay.scenario_io import to_plain
from outlay.scenario_life import Life, Retire

YEAR_S = 31_557_600.0
DAY_S = 86_400.0


class LifePhase(Struct, frozen=True):
    """The years looked at, every input known."""

    years: float
    start: date | None
    growth_per_year: float
    most_load: Quantity
    discount_per_year: Quantity
    serve_from_s: float | None
    serve_devices: int | None
    engineers: float
    archive_s: float
    retire_weeks: float
    hours_per_year: Quantity
    oom_per_year: Quantity  # by which used machines lose value
    personas: tuple[tuple[str, Quantity], ...]
    prices: dict[str, Num] = field(default_factory=dict)

    @property
    def horizon_s(self) -> float:
        return self.years * YEAR_S


def resolve_life(life: Life, defaults: Defaults) -> tuple[LifePhase, dict[str, Any]]:
    """The life and the fields its scenario shows; raises Inconsistent for an end before the start."""
    start = None if life.start is None else _date(life.start, "life.start")
    years = _years(life, start, defaults)
    shown = {k: v for k, v in to_plain(life).items() if k != "end"} | {"years": years}
    growth = life.growth_per_year
    if growth is None:
        growth = defaults.quantity("life.growth_per_year", "life.growth_per_year").value
    shown["growth_per_year"] = growth
    discount = or_default(
        life.discount_per_year, "1/year", "discount rate", "own.wacc_per_year", "life.discount_per_year", defaults
    )
    prices: dict[str, Num] = {}
    retire = life.retire or Retire()
    hours = defaults.quantity("people.hours_per_year")
    if life.engineers or retire.engineer_weeks:
        prices |= engineer_price(life.usd_per_engineer_year, "life.usd_per_engineer_year", defaults)
    if not life.engineers:
        defaults.notes.assume(
            "life.engineers",
            0.0,
            "the people who build the model are not counted; at the frontier they were 29 to 49 % of development cost",
            "Cottier et al. 2024, arXiv:2405.21015",
        )
    personas = [
        (entry.name, entry.fact("budget_usd_per_year").quantity(defaults.seed).named(f"budget, {entry.name}"))
        for entry in defaults.catalog.entries("persona")
    ]
    return LifePhase(
        years,
        start,
        float(growth),
        _load(life, float(growth), defaults),
        discount,
        life.serve_from,
        life.serve_devices,
        life.engineers or 0.0,
        retire.archive or 0.0,
        retire.engineer_weeks or 0.0,
        hours,
        defaults.quantity("own.depreciation_oom_per_year").named("how fast machines lose their price"),
        tuple(sorted(personas, key=lambda p: p[1].value)),
        prices,
    ), shown


def _load(life: Life, growth: float, defaults: Defaults) -> Quantity:
    """How full a replica may be before another one is added."""
    told = "life.load" if growth else ""
    return or_default(life.load, "", "load at which a replica is added", "pay.load", told, defaults)


def _years(life: Life, start: date | None, defaults: Defaults) -> float:
    if life.end is None:
        if life.years is not None:
            return life.years
        return defaults.quantity("life.years", "life.years").value
    if start is None:
        raise BadValue("life.end: needs life.start", "life.end")
    end = _date(life.end, "life.end")
    if end <= start:
        raise Inconsistent(f"life.end: {life.end} is not after life.start, {life.start}", "life.end")
    years = (end - start).days * DAY_S / YEAR_S
    if life.years is not None and abs(life.years - years) > 1 / 24:
        raise Inconsistent(
            f"life.years: {life.years:g}, but from {life.start} to {life.end} are {years:.2f}; give one", "life.years"
        )
    return years


def _date(text: str, field_name: str) -> date:
    """A year, month or day as its first day."""
    parts = text.split("-")
    try:
        numbers = [int(p) for p in parts]
        year, month, day = (*numbers, 1, 1)[:3] if len(numbers) < 3 else numbers
        if not 1990 <= year <= 2200:
            raise ValueError
        return date(year, month, day)
    except ValueError:
        raise BadValue(f"{field_name}: {text!r} is not a date; write 2027, 2027-01 or 2027-01-15", field_name) from None
