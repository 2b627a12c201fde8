"""What a month of requests costs on machines, rented or owned: idle hours and people are lines of their own."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from outlay.account import account
from outlay.derive import Quantity, derive, exact
from outlay.planner.pay.api import PHASE, people_lines
from outlay.planner.pay.capacity import Capacity
from outlay.resolve.pay.phase import MONTH_S, PayPhase
from outlay.resolve.pay.rates import Tenure
from outlay.usage import Line, Usage
from outlay.valuation import ways

# item and resource of a line → the part of the bill it belongs to
BOUGHT = {"device": "purchase", "host": "purchase", "network": "purchase", "building": "building", "spares": "spares",
          "interest": "interest", "upkeep": "upkeep", "resale": "resale"}


class Machines(Struct, frozen=True, eq=False):
    """The machines of one way: units of so many devices, each with whole replicas of the model."""

    units: Quantity
    unit_devices: int
    unit_rate: Quantity  # requests a second that a unit does when always busy
    busy: Quantity  # part of what they could do that is asked of them
    shared: bool  # the rest of the time others use and pay for them

    @property
    def devices(self) -> Quantity:
        found: Quantity = derive(_product, "devices", "", a=self.units, b=float(self.unit_devices))
        return found


def machines_for(phase: PayPhase, cap: Capacity, step: int, fleet_devices: int, utilization: float | None) -> Machines:
    """As many as the busiest hour needs; where `utilization` is given, only the part of shared ones that is used."""
    assert phase.work is not None
    least = max(fleet_devices, cap.devices)
    unit = -(-least // step) * step
    held = unit // cap.devices
    unit_rate = derive(_product, "requests a machine does when always busy", "1/s", a=cap.requests_per_s, b=float(held))
    rate = derive(_over, "requests a second, mean of the month", "1/s", whole=phase.work.requests_per_month,
                  parts=MONTH_S)
    if utilization is not None:
        used = derive(_over, "machines kept busy", "", whole=rate, parts=unit_rate)
        return Machines(used, unit, unit_rate, exact(1.0, "", "busy share"), True)
    units = derive(ways.units_needed, "machines", "", rate=rate, peak=phase.peak, unit_rate=unit_rate, load=phase.load)
    whole = derive(_product, "requests they could do", "1/s", a=units, b=unit_rate)
    busy = derive(_share, "part of what they could do", "", part=rate, whole=whole)
    return Machines(units, unit, unit_rate, busy, False)


def machine_lines(phase: PayPhase, tenure: Tenure, cap: Capacity, machines: Machines, place: str) -> list[Line]:
    """Lines of a month: at work, idle, lost to interruptions, people."""
    paid = derive(_product, "device-seconds of a month", "s", a=machines.devices, b=MONTH_S)
    work = derive(_product, "device-seconds at work", "s", a=paid, b=machines.busy)
    lines = _group("machines", work, cap.busy_w, tenure, place)
    if not machines.shared:
        idle = derive(_rest_of, "device-seconds paid for while idle", "s", whole=paid, part=machines.busy)
        lines += _group("idle", idle, cap.idle_w, tenure, place)
    if tenure.commitment == "spot":
        lost = derive(ways.interrupted_share, "time lost to interruptions", "",
                      interruptions_per_s=phase.interruptions_per_s, lost_s=phase.restart_s)
        extra = derive(_extra, "device-seconds lost to interruptions", "s", useful_s=paid, lost=lost)
        lines += _group("interruptions", extra, cap.idle_w, tenure, place)
    return lines + people_lines(phase, tenure.kind)


def _group(part: str, held: Quantity, watts: Quantity | None, tenure: Tenure, place: str) -> list[Line]:
    """Accounted lines of some device-seconds, each tagged with the part of the bill it is."""
    usages = [Usage(f"{PHASE}.{part}.device_s", PHASE, part, "device_s", "device", held, "s", 0.0, MONTH_S, place)]
    if watts is not None:
        joules = derive(_product, f"device energy, {part}", "J", a=held, b=watts)
        usages.append(Usage(f"{PHASE}.{part}.energy_j", PHASE, part, "energy_j", "device", joules, "J", 0.0, MONTH_S,
                            place))
    found = []
    for line in account(usages, tenure.rates):
        tag = part if part != "machines" else part_of(line, tenure.kind)
        line.usage.tags["part"] = tag
        found.append(line)
    return found


def part_of(line: Line, kind: str) -> str:
    """The part of an owner's or a renter's bill."""
    if kind == "rent":
        return "machines"
    if line.usage.resource == "energy_j":
        return "electricity"
    return BOUGHT.get(line.usage.item, "purchase")


def upfront_usd(tenure: Tenure, machines: Machines) -> Quantity | None:
    """What is paid for owned machines on the first day; shared ones are bought for all who use them."""
    owned = tenure.rates.owned
    if owned is None:
        return None
    count = machines.devices
    if machines.shared:
        count = derive(_over, "devices, for all who share them", "", whole=machines.devices, parts=owned.utilization)
    price: Quantity = derive(_product, "paid on the first day", "USD", a=count, b=owned.purchase_usd())
    return price


def _product(a: Any, b: Any) -> Any:
    """One times the other."""
    return a * b


def _over(whole: Any, parts: Any) -> Any:
    """One over the other."""
    return whole / parts


def _share(part: Any, whole: Any) -> Any:
    """Part of a whole, at most one."""
    import numpy as np

    return np.minimum(part / whole, 1.0)


def _rest_of(whole: Any, part: Any) -> Any:
    """What a share leaves of a whole."""
    return whole * (1.0 - part)


def _extra(useful_s: Any, lost: Any) -> Any:
    """Time paid beside the useful time when a share of all is lost."""
    return useful_s * lost / (1.0 - lost)
