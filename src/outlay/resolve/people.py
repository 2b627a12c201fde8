"""What an hour of people costs, and prices of the pieces of work that are bought."""

from __future__ import annotations

from typing import Any

from outlay.derive import Quantity, derive
from outlay.resolve.calendar import Defaults
from outlay.resolve.fleet import given


def engineer_price(usd_per_year: float | None, field: str, defaults: Defaults) -> dict[str, Quantity]:
    """The unit price of a person-second, for `Rates.usd_per_unit`."""
    hours = defaults.quantity("people.hours_per_year", "hours a person works in a year")
    yearly = (
        given(usd_per_year, "USD", "an engineer's year")
        if usd_per_year is not None
        else defaults.quantity("people.usd_per_year", field).named("an engineer's year")
    )
    return {"person_s": derive(_per_working_s, "an engineer's second", "USD/s", usd_per_year=yearly, hours=hours)}


def _per_working_s(usd_per_year: Any, hours: Any) -> Any:
    """A year's cost over the seconds worked in it."""
    return usd_per_year / (hours * 3600.0)


def or_default(value: float | None, unit: str, label: str, default: str, told: str, defaults: Defaults) -> Quantity:
    """What the scenario gives, else the default row, told under its field."""
    if value is not None:
        return given(float(value), unit, label)
    return defaults.quantity(default, told).named(label, unit)
