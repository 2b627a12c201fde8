"""A run already done: its device-hours priced, without predicting how long it took."""

from __future__ import annotations

from typing import Any

from outlay.account import account
from outlay.derive import Quantity, derive, exact
from outlay.errors import BadValue
from outlay.physics import goodput as gp
from outlay.plan.use import busy_power, device_usage
from outlay.resolve.record import Resolved, TrainingPhase
from outlay.usage import Line

HOUR_S = 3600.0


def plan_device_hours(resolved: Resolved, phase: TrainingPhase) -> tuple[dict[str, Any], list[Line]]:
    """Energy, money, carbon and water of a given number of device-hours at typical training activity."""
    assert phase.device_hours is not None
    if resolved.rates is None or resolved.hardware is None:
        raise BadValue("fleet: needed to price device-hours; name the device", "fleet")
    hours = exact(phase.device_hours, "device-hours", "device-hours", "given in the scenario", basis="given")
    held: Quantity = derive(_seconds, "device-seconds", "s", hours=hours)
    power = resolved.power
    watts, scope = (None, "device") if power is None else busy_power(
        power, power.training_compute_activity, power.training_memory_activity)
    usages = device_usage("training", held, watts, scope, 0.0, 0.0, resolved.place)  # type: ignore[arg-type]
    if phase.calendar.experiments.value > 1:
        extra = derive(gp.experiments_device_s, "device-seconds of experiments and failed runs", "s", device_s=held,
                       multiplier=phase.calendar.experiments)
        usages += device_usage("experiments", extra, watts, scope, 0.0, 0.0, resolved.place)  # type: ignore[arg-type]
    values: dict[str, Any] = {"fits": None, "device_hours": hours}
    if watts is not None:
        values["power_w_per_device"] = watts
    if resolved.fleet_given_devices:
        values["elapsed_s"] = derive(_elapsed, "elapsed time on this fleet", "s", held_s=held,
                                     devices=resolved.hardware.devices)
    return values, account(usages, resolved.rates)


def _seconds(hours: Any) -> Any:
    """Hours as seconds."""
    return hours * HOUR_S


def _elapsed(held_s: Any, devices: Any) -> Any:
    """Device-seconds over the devices that work side by side."""
    return held_s / devices
