"""An option under a load by the hour: what an hour of it takes on average, as its scaling says, nominal.

Starts of replicas are left to the plan of the option that is named; they weigh little between options.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from outlay.account import unit_value
from outlay.account_rates import Rates
from outlay.derive import value_of
from outlay.planner.serve.hours import Standing, best_split, mean_power_w
from outlay.planner.serve.times import HOUR_S
from outlay.resolve.hourly import YEARS_S
from outlay.resolve.record import Resolved
from outlay.resolve.serve.phase import ServePhase


class MeanHour(NamedTuple):
    """Means over the cycle: power of a device (None where unknown), devices, requests/s, money an hour."""

    power_w: float | None
    devices: float
    answered_per_s: float
    usd_per_hour: float


def mean_hour(resolved: Resolved, phase: ServePhase, standing: Standing) -> MeanHour:
    """Of an option whose replicas stand, or follow the hours."""
    asked, tenures, rates = phase.asked, phase.tenures, resolved.rates
    assert asked.hourly is not None and tenures is not None and rates is not None
    wanted = standing.followed
    follows = asked.hourly.scaling != "fixed" and tenures.by_hour is not None
    base, term = 0, ""
    if follows and asked.hourly.scaling == "mixed" and tenures.by_hour is not None:
        lasts = 0.0 if asked.hours is None else value_of(asked.hours) * HOUR_S
        reserved = {name: value_of(kept.usd_per_device_s) for name, kept in tenures.reserved.items()
                    if lasts >= YEARS_S[name] and kept.usd_per_device_s is not None}
        if tenures.by_hour.usd_per_device_s is not None:
            base, term = best_split(wanted, value_of(tenures.by_hour.usd_per_device_s), reserved, 0.0, 1.0)
    counts = np.maximum(wanted, float(base)) if follows else np.full_like(wanted, float(standing.count))
    hours, each = standing.hours(counts), standing.each
    power = None if resolved.power is None else mean_power_w(hours)
    devices = float(counts.mean()) * each

    def usd(of: Rates, count: float) -> float:
        value = unit_value(of, 0.0 if power is None else power)["usd"]
        return float("nan") if value is None else float(value) * HOUR_S * count

    money = usd(tenures.by_hour if follows and tenures.by_hour is not None else rates, devices - base * each)
    if base:
        money += usd(tenures.reserved[term], float(base * each))
    return MeanHour(power, devices, float(hours.answered_per_s.mean()), money)
