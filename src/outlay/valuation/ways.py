"""Ways to pay: a request at a provider's prices, spare capacity that is taken back, owning, and break-even points."""

from __future__ import annotations

from typing import Any

import numpy as np

from outlay.valuation.energy import YEAR_S

Num = Any  # float or array
MTOK = 1e6


def request_usd(input_tokens: Num, cached_tokens: Num, written_tokens: Num, output_tokens: Num,
                input_usd_per_mtok: Num, cached_usd_per_mtok: Num, write_usd_per_mtok: Num, output_usd_per_mtok: Num,
                usd_per_request: Num = 0.0) -> Num:
    """One request: fresh input, input read from and written to the provider's cache, output, and a fee if there is one.

    input_tokens is all of the prompt; the cached and written ones are parts of it. Hidden reasoning is output.
    A request of 150k tokens in and 20k out at 3 and 15 USD a million:

    >>> round(request_usd(150e3, 0.0, 0.0, 20e3, 3.0, 0.3, 3.75, 15.0), 2)
    0.75
    """
    fresh = input_tokens - cached_tokens - written_tokens
    tokens_usd = (fresh * input_usd_per_mtok + cached_tokens * cached_usd_per_mtok
                  + written_tokens * write_usd_per_mtok + output_tokens * output_usd_per_mtok)
    return tokens_usd / MTOK + usd_per_request


def interrupted_share(interruptions_per_s: Num, lost_s: Num) -> Num:
    """Part of the paid time of a machine that is taken back now and then which does no work.

    lost_s: each time, until it works again (and the work to be done again). Once in 50 hours, 10 minutes lost:

    >>> round(float(interrupted_share(1 / 180_000, 600.0)), 5)
    0.00333
    """
    return np.minimum(interruptions_per_s * lost_s, 0.95)


def straight_line_usd_per_s(price_usd: Num, lifetime_s: Num, utilization: Num) -> Num:
    """A purchase spread evenly over its life, for each second in use.

    >>> round(3600 * straight_line_usd_per_s(30_000.0, 5 * YEAR_S, 1.0), 3)
    0.684
    """
    return price_usd / (lifetime_s * utilization)


def resale_usd_per_s(resale_usd: Num, wacc_per_year: Num, lifetime_s: Num, utilization: Num) -> Num:
    """What selling at the end takes off each second in use: the yearly saving that grows to it, r / ((1+r)^n - 1).

    6,000 USD after five years at 10 %:

    >>> round(YEAR_S * resale_usd_per_s(6_000.0, 0.10, 5 * YEAR_S, 1.0))
    983
    """
    years = lifetime_s / YEAR_S
    rate = np.maximum(wacc_per_year, 1e-9)
    return resale_usd * rate / ((1.0 + rate) ** years - 1.0) / (YEAR_S * utilization)


def units_needed(rate: Num, peak: Num, unit_rate: Num, load: Num) -> Num:
    """Machines, whole ones and at least one, for the busiest hour at a load that keeps replies quick.

    3M requests a month at twice the mean in the busiest hour, on machines that do 2 a second, 70 % full:

    >>> float(units_needed(3e6 / 2_629_800, 2.0, 2.0, 0.7))
    2.0
    """
    return np.maximum(np.ceil(rate * peak / (unit_rate * load) - 1e-9), 1.0)


def break_even_volume(price_usd: Num, fixed_usd: Num, unit_usd: Num, unit_capacity: Num) -> Num:
    """Least volume a month from which machines cost no more than paying by use; infinite when they never do.

    price_usd: of one unit of volume by use; fixed_usd: a month of what machines cost beside themselves (people), over
    what paying by use does; unit_usd and unit_capacity: a month of one machine and the most volume it carries. One
    machine at 2,000 USD with 3,000 of people that carries 10M requests, against 0.001 USD a request:

    >>> float(break_even_volume(0.001, 3_000.0, 2_000.0, 10e6))
    5000000.0
    >>> float(break_even_volume(0.0001, 0.0, 2_000.0, 10e6))
    inf
    """
    saved = price_usd * unit_capacity - unit_usd
    able = np.greater(saved, 0.0)
    units = np.maximum(np.ceil(fixed_usd / np.where(able, saved, 1.0) - 1e-9), 1.0)
    least = np.maximum(units * unit_usd + fixed_usd, 0.0) / np.where(able, price_usd, 1.0)
    return np.where(able, least, np.inf)


def payback_months(upfront_usd: Num, running_usd: Num, other_usd: Num) -> Num:
    """Months until what was paid at the start is saved; infinite when nothing is saved. No interest counted.

    >>> float(payback_months(240_000.0, 5_000.0, 15_000.0)), float(payback_months(1.0, 2.0, 1.0))
    (24.0, inf)
    """
    saved = other_usd - running_usd
    able = np.greater(saved, 0.0)
    return np.where(able, upfront_usd / np.where(able, saved, 1.0), np.inf)
