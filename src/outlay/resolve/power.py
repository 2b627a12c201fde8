"""The inputs of device power: rated power, cap, and the few constants of the power model."""

from __future__ import annotations

from dataclasses import dataclass

from outlay.catalog import Catalog
from outlay.derive import Num, Quantity
from outlay.resolve.fleet import DeviceFacts, given
from outlay.resolve.record import Notes
from outlay.scenario import Fleet


@dataclass(frozen=True, slots=True)
class PowerInputs:
    """Mean power of a device follows from these and its activity; `measured_it_w` replaces all of it."""

    rated_w: Quantity
    cap_w: Num
    idle_share: Quantity
    ceiling_share: Quantity
    compute_weight: Quantity
    memory_weight: Quantity
    memory_exponent: Quantity
    residual: Quantity
    training_compute_activity: Quantity
    training_memory_activity: Quantity
    measured_it_w: Quantity | None = None


def resolve_power(fleet: Fleet, facts: DeviceFacts, catalog: Catalog, notes: Notes, seed: int) -> PowerInputs | None:
    """None when the device's power is not known and none was measured."""
    constants = catalog.find("power_constants", "power")

    def constant(name: str) -> Quantity:
        return constants.fact(name).quantity(seed)

    measured = fleet.power_w_per_device
    rated = facts.power_w
    if rated is None:
        if measured is None:
            notes.warn(f"fleet.device: no rated power is known for {facts.id}; energy and carbon are left out; "
                       "give power_w_per_device")
            return None
        rated = given(measured, "W", "rated power")
    cap = fleet.device_power_limit_w
    return PowerInputs(
        rated_w=rated, cap_w=given(cap, "W", "power cap") if cap is not None else rated,
        idle_share=constant("idle_share"), ceiling_share=constant("ceiling_share"),
        compute_weight=constant("compute_weight"), memory_weight=constant("memory_weight"),
        memory_exponent=constant("memory_exponent"), residual=constant("residual"),
        training_compute_activity=constant("training_compute_activity"),
        training_memory_activity=constant("training_memory_activity"),
        measured_it_w=given(measured, "W", "measured IT power") if measured is not None else None)
