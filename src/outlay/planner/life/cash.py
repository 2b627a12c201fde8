"""Money when it is paid: owned machines are bought, kept and sold; everything else is paid as it is used."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Any

import numpy as np

from outlay.account import account
from outlay.derive import Num, Quantity, derive, exact, value_of
from outlay.physics.upkeep import MONTH_S, YEAR_S
from outlay.planner.life.calendar import month_shares
from outlay.planner.needs import use
from outlay.resolve.life import LifePhase
from outlay.resolve.record import Resolved
from outlay.usage import Line, Usage
from outlay.valuation.money import depreciated_usd

PHASE = "ownership"
SPREAD = ("host", "network", "building")  # with the devices: what account spreads over used seconds


def cash_lines(resolved: Resolved, life: LifePhase, lines: Sequence[Line]) -> list[Line] | None:
    """The lines by when they are paid; None where a price is not known."""
    rates = resolved.rates
    assert rates is not None
    if any(x.usd is None for x in lines):
        return None
    owned = rates.owned
    if owned is None:
        return list(lines)
    paid = [x for x in lines if not _spread(x)]
    held = [x for x in lines if x.usage.resource == "device_s"]
    if not held:
        return paid
    return paid + account(_bought(resolved, life, held), rates)


def _spread(line: Line) -> bool:
    """Whether a line is a part of the machines' price, spread over their use."""
    usage = line.usage
    return usage.resource == "device_s" or (
        usage.resource == "usd" and usage.item in SPREAD and "overhead" in usage.tags
    )


def _bought(resolved: Resolved, life: LifePhase, held: Sequence[Line]) -> list[Usage]:
    """Purchase at first use and again when worn out, upkeep and building while owned, sale at the end."""
    rates, hw = resolved.rates, resolved.hardware
    assert rates is not None and rates.owned is not None and hw is not None
    owned, place = rates.owned, resolved.place
    months = max(1, ceil(life.horizon_s / MONTH_S - 1e-6))
    busy = np.sum([x.usage.quantity.value * month_shares(x.usage, months) for x in held], axis=0) / MONTH_S
    devices = max(hw.devices, ceil(float(busy.max()) - 1e-6))
    used = np.nonzero(busy)[0]
    first_s, end_s, wear_s = float(used[0]) * MONTH_S, life.horizon_s, value_of(owned.lifetime_s)
    whole = derive(_all, "price of all machines", "USD", price=owned.purchase_usd(), devices=devices)
    starts = [float(s) for s in np.arange(first_s, end_s - 1e-6, wear_s)]
    usages = [_usage("purchase", whole, at_s, 0.0, place, f"{number + 1}") for number, at_s in enumerate(starts)]
    age_years = (end_s - starts[-1]) / YEAR_S
    sold = derive(_sold, "sold at the end", "USD", price=whole, age_years=age_years, oom_per_year=life.oom_per_year)
    kept_years = (end_s - first_s) / YEAR_S
    upkeep = derive(_yearly, "repair and operation", "USD", price=whole, share=owned.upkeep_per_year, years=kept_years)
    space = derive(
        _space,
        "building and cooling",
        "USD",
        usd_per_kw_month=owned.usd_per_kw_month,
        power_w=owned.provisioned_w,
        devices=devices,
        months=kept_years * 12,
    )
    return [
        *usages,
        _usage("upkeep", upkeep, first_s, end_s - first_s, place),
        _usage("building", space, first_s, end_s - first_s, place),
        _usage("resale", sold, end_s - 1.0, 0.0, place),
    ]


def _usage(item: str, usd: Any, start_s: float, long_s: float, place: str, which: str = "") -> Usage:
    amount = usd if isinstance(usd, Quantity) else exact(float(usd), "USD", item, basis="derived")
    found = use(PHASE, item, "usd", amount, "USD", place, start_s, long_s)
    found.tags["cash"] = which or "1"
    return found


def _all(price: Num, devices: Any) -> Any:
    """The price of one, for all."""
    return price * devices


def _sold(price: Any, age_years: Any, oom_per_year: Any) -> Any:
    """What used machines bring, as money coming in."""
    return -depreciated_usd(price, age_years, oom_per_year)


def _yearly(price: Any, share: Any, years: Any) -> Any:
    """A share of the price each year."""
    return price * share * years


def _space(usd_per_kw_month: Any, power_w: Any, devices: Any, months: Any) -> Any:
    """Power capacity of all machines, by the kilowatt and month."""
    return usd_per_kw_month * power_w / 1000.0 * devices * months
