"""What the phases around a run share: a usage in few words, work on the fleet, hours summed from lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from outlay.derive import Num, Quantity, add_all, derive, exact
from outlay.errors import BadValue
from outlay.planner.use import busy_power, device_usage, idle_power
from outlay.resolve.record import Resolved
from outlay.steps.inputs import Hardware
from outlay.usage import Line, Resource, Scope, Usage

HOUR_S = 3600.0


def use(
    phase: str,
    item: str,
    resource: Resource,
    amount: Quantity,
    unit: str,
    place: str,
    start_s: float,
    duration_s: float,
    rate: str = "",
    run: str = "",
) -> Usage:
    """A usage whose id says phase, item, price and resource; `rate` names its price, `run` its overheads."""
    tags = {k: v for k, v in (("rate", rate), ("run", run)) if v}
    name = ".".join(filter(None, (phase, item.replace(" ", "-"), rate.replace(" ", "-"), resource)))
    return Usage(
        name,
        phase,
        item,
        resource,
        "facility",
        amount,
        unit,
        start_s,
        duration_s,
        place,
        basis="assumed" if amount.basis == "assumed" else "derived",
        tags=tags,
    )


def busy(resolved: Resolved, field: str) -> Hardware:
    """The devices that work is done on; BadValue when no fleet is named."""
    if resolved.hardware is None:
        raise BadValue(f"fleet: needed for {field}; for example 8xh100-sxm5-80gb", "fleet")
    return resolved.hardware


def busy_watts(resolved: Resolved) -> tuple[Quantity | None, Scope]:
    """Mean power of a device at the activity of training, where nothing closer is known."""
    power = resolved.power
    if power is None:
        return None, "device"
    return busy_power(power, power.training_compute_activity, power.training_memory_activity)


def device_work(
    resolved: Resolved,
    phase: str,
    item: str,
    held: Quantity,
    start_s: float,
    duration_s: float,
    idle: bool = False,
    run: str = "",
) -> list[Usage]:
    """Device-seconds of some work, and the energy drawn in them."""
    busy(resolved, f"{phase}: {item}")
    watts, scope = (idle_power(resolved.power), "device") if idle else busy_watts(resolved)
    found = device_usage(item, held, watts, scope, start_s, duration_s, resolved.place, phase)  # type: ignore[arg-type]
    found = [replace(u, id=u.id.replace(" ", "-")) for u in found]
    return [replace(u, tags={**u.tags, "run": run}) for u in found] if run else found


def hours_of(lines: Sequence[Line], resource: str, label: str) -> Quantity:
    """Hours of one resource over all lines."""
    terms = [line.usage.quantity for line in lines if line.usage.resource == resource]
    total: Quantity = add_all(label, "s", exact(0.0, "s", "nothing", basis="derived"), *terms)
    hours: Quantity = derive(_hours, label, "h", seconds=total)
    return hours


def _hours(seconds: Any) -> Any:
    """Seconds as hours."""
    return seconds / HOUR_S


def scaled(usage: Usage, factor: Num, **changes: Any) -> Usage:
    """A usage times a factor, with other fields changed beside."""
    amount = derive(_times, usage.quantity.label, usage.unit, amount=usage.quantity, factor=factor)
    return replace(usage, quantity=amount, **changes)


def _times(amount: Any, factor: Any) -> Any:
    """An amount, so many times over."""
    return amount * factor
