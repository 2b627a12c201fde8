"""A run already done: its device-hours priced, without predicting how long it took."""

from __future__ import annotations

from typing import Any

from outlay.account import account
from outlay.derive import Quantity, derive, exact
from outlay.errors import BadValue
from outlay.physics import goodput as gp
from outlay.physics.flops import six_n_d
from outlay.physics.power import compute_activity
from outlay.planner.use import busy_power, device_usage
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
    values: dict[str, Any] = {"fits": None, "device_hours": hours}
    compute = _activity_of_run(resolved, phase, held, values)
    watts, scope = (None, "device") if power is None else busy_power(
        power, power.training_compute_activity if compute is None else compute, power.training_memory_activity)
    usages = device_usage("training", held, watts, scope, 0.0, 0.0, resolved.place)
    if phase.calendar.experiments.value > 1:
        extra = derive(gp.experiments_device_s, "device-seconds of experiments and failed runs", "s", device_s=held,
                       multiplier=phase.calendar.experiments)
        usages += device_usage("experiments", extra, watts, scope, 0.0, 0.0, resolved.place)
    if watts is not None:
        values["power_w_per_device"] = watts
    if resolved.fleet_given_devices:
        values["elapsed_s"] = derive(_elapsed, "elapsed time on this fleet", "s", held_s=held,
                                     devices=resolved.hardware.devices)
    return values, account(usages, resolved.rates)


def _activity_of_run(
    resolved: Resolved, phase: TrainingPhase, held: Quantity, values: dict[str, Any]
) -> Quantity | None:
    """Share of the arithmetic peak that the run's own FLOP explain, where its model and tokens are known."""
    arch, hw = resolved.architecture, resolved.hardware
    if arch is None or hw is None or phase.tokens is None:
        return None
    tokens = exact(phase.tokens, "tokens", "tokens", "given in the scenario", basis="given")
    flop = derive(six_n_d, "training FLOP", "FLOP", parameters=float(arch.active_parameters), tokens=tokens)
    activity: Quantity = derive(compute_activity, "compute activity", "", flop=flop, seconds=held,
                                peak_flop_per_s=hw.peak_flop_per_s)
    values |= {"training_flop": flop, "model_flops_utilization": activity.named("model FLOP utilisation (6ND)")}
    return activity


def _seconds(hours: Any) -> Any:
    """Hours as seconds."""
    return hours * HOUR_S


def _elapsed(held_s: Any, devices: Any) -> Any:
    """Device-seconds over the devices that work side by side."""
    return held_s / devices
