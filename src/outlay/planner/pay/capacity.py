"""What one replica of a served model carries: requests a second when it is always busy, and what it draws."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from outlay.derive import Quantity, derive, exact
from outlay.planner.serve.memory import verdict
from outlay.planner.serve.plan import choose_layout, plan_serve
from outlay.planner.serve.speed import alone, replicas_of
from outlay.planner.serve.times import times
from outlay.planner.use import idle_power
from outlay.resolve.record import Resolved
from outlay.steps.serve.memory import serve_memory

UNSURE = 0.5


class Capacity(Struct, frozen=True, eq=False):
    """One replica at work. `fits` False: the model does not fit on this fleet, and `why` says so."""

    fits: bool
    devices: int
    requests_per_s: Quantity
    busy_w: Quantity | None
    idle_w: Quantity | None
    why: str = ""


def capacity(resolved: Resolved) -> Capacity:
    """Of one replica, from the serving plan of a fleet that is asked for all it can do."""
    hw, arch = resolved.hardware, resolved.architecture
    assert hw is not None and arch is not None
    values, _ = plan_serve(resolved)
    replicas = 1 if values.get("pools") else max(int(values["replicas"]), 1)  # prompts and answers apart: one whole
    devices = int(values["devices_used"]) // replicas
    whole = values.get("capacity_requests_per_s")
    if values["fits_probability"] < UNSURE or whole is None or whole.value <= 0:
        return Capacity(False, devices, exact(0.0, "1/s"), None, None, f"{arch.name} does not fit on {hw.devices} "
                        f"{hw.device}")
    rate = derive(_each, "requests a replica carries when always busy", "1/s", whole=whole, replicas=float(replicas))
    return Capacity(True, devices, rate, values.get("power_w_per_device"), idle_power(resolved.power))


def quick_capacity(resolved: Resolved) -> Capacity:
    """The same without power and all else a plan says: for choosing between fleets."""
    hw, arch, phase = resolved.hardware, resolved.architecture, resolved.serve
    assert hw is not None and arch is not None and phase is not None
    layout = choose_layout(phase, arch, hw.devices, hw.scale_up_devices, resolved)
    memory = serve_memory(arch, phase.usable_bytes, phase.recipe, layout)
    fits = verdict(phase, memory)["fits_probability"] >= UNSURE
    whole = replicas_of(arch, phase, layout, 1, memory, alone(arch, phase, layout))
    rate = times(phase.asked, whole)[0]["capacity_requests_per_s"]
    return Capacity(fits, int(layout.devices), rate, None, None)


def _each(whole: Any, replicas: Any) -> Any:
    """Of all replicas, one."""
    return whole / replicas
