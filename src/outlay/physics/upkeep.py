"""Work that comes back: how often over a time, when drift makes it due, how traffic and its replicas grow."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Num = float | NDArray[np.float64]

YEAR_S = 31_557_600.0
MONTH_S = YEAR_S / 12


def times(duration_s: Num, every_s: Num) -> Num:
    """How often something due at every interval falls within a duration; the last part counts in proportion.

    Models are shut down a median 553 days after release (own reading of public dates): in five years

    >>> round(times(5 * YEAR_S, 553 * 86_400.0), 2)
    3.3
    """
    return duration_s / every_s


def drift_interval_s(tolerance: Num, drift_per_year: Num) -> Num:
    """Time until quality has drifted as far as is allowed, at a steady drift.

    A loss of 8 % a year with 4 % allowed: half a year.

    >>> drift_interval_s(0.04, 0.08) / YEAR_S
    0.5
    """
    return tolerance / drift_per_year * YEAR_S


def growth(years: Num, growth_per_year: Num) -> Num:
    """Traffic over today's after so many years of steady relative growth: (1 + g)^t.

    >>> round(float(growth(2.0, 0.5)), 2)
    2.25
    """
    factor: Num = (1.0 + np.asarray(growth_per_year)) ** years
    return factor


def replicas_needed(replicas: Num, growth: Num, load: Num = 1.0, most_load: Num = 1.0) -> Num:
    """Whole replicas for traffic that has grown: those there are, until they are as full as they may be; at least one.

    load: share of what the replicas sustain that today's traffic takes; most_load: share at which one is added. Where
    today's load is higher than that already, it is kept. Traffic that shrinks gives replicas back in proportion.
    Two replicas at half load that may be 70 % full carry 1.4 times the traffic, and need a third one for 1.5 times:

    >>> [float(replicas_needed(2.0, g, 0.5, 0.7)) for g in (1.0, 1.4, 1.5, 0.4)]
    [2.0, 2.0, 3.0, 1.0]
    """
    kept = np.ceil(np.asarray(replicas) * np.minimum(growth, 1.0) - 1e-9)
    full = np.ceil(np.asarray(replicas) * load * growth / np.maximum(load, most_load) - 1e-9)
    needed: Num = np.maximum(1.0, np.maximum(kept, full))
    return needed


def present_value(amount: Num, discount_per_year: Num, years: Num) -> Num:
    """What a payment after so many years is worth today: a / (1 + r)^t.

    >>> round(present_value(121.0, 0.10, 2.0), 6)
    100.0
    """
    return amount / (1.0 + discount_per_year) ** years


def person_s(people: Num, duration_s: Num, hours_per_year: Num) -> Num:
    """Working seconds of so many full-time people over a calendar duration.

    >>> person_s(2.0, YEAR_S, 1760.0) / 3600
    3520.0
    """
    return people * duration_s / YEAR_S * hours_per_year * 3600.0
