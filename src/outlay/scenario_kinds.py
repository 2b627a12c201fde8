"""The kinds of numbers a scenario holds, with their limits, and the base of every record."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct


def number(kind: str, low: float, high: float, *, integer: bool = False) -> Meta:
    """A number of one kind, allowed from `low` to `high`, both included."""
    return Meta(extra={"kind": kind, "low": low, "high": high, "integer": integer})


# Limits are far outside anything built or sold, so that no answer overflows on its way.
Positive = Annotated[float, number("count", 1, 1e24)]
Count = Annotated[int, number("count", 1, 1e15, integer=True)]
CountOrZero = Annotated[int, number("count", 0, 1e15, integer=True)]
Axis = Annotated[int, number("count", 1, 1e9, integer=True)]
Layers = Annotated[int, number("count", 0, 10_000, integer=True)]
Width = Annotated[int, number("count", 1, 1e8, integer=True)]
Degree = Annotated[int, number("count", 1, 1e7, integer=True)]
Bytes = Annotated[float, number("bytes", 1, 1e21)]
BytesPerS = Annotated[float, number("bytes_per_s", 1, 1e18)]
Seconds = Annotated[float, number("seconds", 1e-9, 1e11)]
SecondsOrZero = Annotated[float, number("seconds", 0, 1e11)]
Watts = Annotated[float, number("power_w", 1e-3, 1e7)]
Fraction = Annotated[float, number("fraction", 0, 1)]
Share = Annotated[float, number("fraction", 1e-4, 1)]
Part = Annotated[float, number("fraction", 0, 0.99)]  # of a whole that is never nothing
Usd = Annotated[float, number("usd", 0, 1e15)]
UsdPerHour = Annotated[float, number("usd_per_hour", 0, 1e6)]
UsdPerKwh = Annotated[float, number("usd_per_kwh", 0, 1e4)]
Rate = Annotated[float, number("rate_per_s", 1e-12, 1e12)]
Factor = Annotated[float, number("count", 0, 1e6)]
PerMonth = Annotated[float, number("per_month", 1, 1e24)]
Fte = Annotated[float, number("count", 0, 1e5)]
FlopPerS = Annotated[float, number("flop_per_s", 1e6, 1e21)]
Throughput = Annotated[float, number("count", 1e-6, 1e9)]  # tokens a second
Years = Annotated[float, number("count", 0.01, 100)]
Change = Annotated[float, number("fraction", -0.99, 100)]  # a year: 0.5 grows by half, -0.2 shrinks by a fifth
Cadence = Annotated[float, number("seconds", 3600, 1e11)]
Length = Annotated[Any, Meta(extra={"length": True})]  # a number or a distribution; read by the serving plan

# hours of a day, week or year over the busiest; read by the serving plan
Hourly = Annotated[Any, Meta(extra={"length": True, "words": "24, 168 or 8760 loads, a CSV file of them, or the "
                                    "name of a shape"})]


class Record(Struct, frozen=True, omit_defaults=True):
    """Base of every record."""
