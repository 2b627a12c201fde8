"""The inputs of device power: rated power, cap, and the few constants of the power model; clocks under a cap."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from msgspec import Struct

from outlay.catalog import Catalog, load
from outlay.derive import Num, Quantity, value_of
from outlay.physics.power import clock_share
from outlay.resolve.fleet import DeviceFacts, given
from outlay.resolve.notes import Notes
from outlay.scenario import Fleet
from outlay.steps.power_inputs import PowerFacts


class PowerInputs(Struct, frozen=True):
    """Mean power of a device follows from these and its activity; `measured_it_w` replaces all of it."""

    rated_w: Quantity
    cap_w: Num
    idle_share: Quantity
    ceiling_share: Quantity
    compute_weight: Quantity
    memory_weight: Quantity
    memory_exponent: Quantity
    compute_exponent: Quantity
    busy_plain: Quantity
    busy_narrow: Quantity
    split_exponent: Quantity
    residual: Quantity
    training_compute_activity: Quantity
    training_memory_activity: Quantity
    measured_it_w: Quantity | None = None


def resolve_power(
    fleet: Fleet, facts: DeviceFacts, catalog: Catalog, notes: Notes, seed: int, without: str = ""
) -> PowerInputs | None:
    """None when the device's power is not known and none was measured.

    without: a group of measured rows whose part in the fit is left out (validation only).
    """
    constants = catalog.find("power_constants", "power")
    apart = next((e for e in catalog.entries("power_constants") if without and e.id == f"power@{without}"), constants)

    def constant(name: str) -> Quantity:
        return (apart if name in apart else constants).fact(name).quantity(seed)

    measured = fleet.power_w_per_device
    rated = facts.power_w
    if rated is None:
        if measured is None:
            notes.warn(f"fleet.device: no rated power is known for {facts.id}; energy and carbon are left out; give "
                       "device.power_w (its rating) or power_w_per_device (measured)")
            return None
        rated = given(measured, "W", "rated power")
    cap = fleet.device_power_limit_w
    return PowerInputs(
        rated_w=rated, cap_w=given(cap, "W", "power cap") if cap is not None else rated,
        idle_share=constant("idle_share"), ceiling_share=constant("ceiling_share"),
        compute_weight=constant("compute_weight"), memory_weight=constant("memory_weight"),
        memory_exponent=constant("memory_exponent"), compute_exponent=constant("compute_exponent"),
        busy_plain=constant("busy_plain"), busy_narrow=constant("busy_narrow"),
        split_exponent=constant("split_exponent"), residual=constant("residual"),
        training_compute_activity=constant("training_compute_activity"),
        training_memory_activity=constant("training_memory_activity"),
        measured_it_w=given(measured, "W", "measured IT power") if measured is not None else None)


def serve_power_facts(power: PowerInputs, nominal: bool = True) -> PowerFacts:
    """What `steps.serve.power` is given of a device: nominal numbers, or the Quantities themselves to derive with."""
    pick: Any = value_of if nominal else (lambda number: number)
    measured = power.measured_it_w
    return PowerFacts(
        rated_w=pick(power.rated_w), cap_w=pick(power.cap_w), idle_share=pick(power.idle_share),
        ceiling_share=pick(power.ceiling_share), compute_weight=pick(power.compute_weight),
        compute_exponent=pick(power.compute_exponent), memory_weight=pick(power.memory_weight),
        memory_exponent=pick(power.memory_exponent), busy_plain=pick(power.busy_plain),
        busy_narrow=pick(power.busy_narrow), split_exponent=pick(power.split_exponent),
        residual=pick(power.residual), measured_w=None if measured is None else pick(measured))


@lru_cache(maxsize=256)
def capped_clock(rated_w: float, cap_w: float) -> float:
    """Share of its clock, and so of its arithmetic peaks, that a device under full work keeps below a power cap.

    Bandwidth, links and the host keep their rates: memory has its own clock, and what waits for it draws less
    than the cap (decode rows of a capped H100, Splitwise, ISCA 2024).

    >>> round(capped_clock(700.0, 350.0), 2), capped_clock(700.0, 700.0)
    (0.7, 1.0)
    """
    constants = load().find("power_constants", "power")
    idle, full = (float(constants.value(name)) * rated_w for name in ("idle_share", "ceiling_share"))
    return float(clock_share(cap_w, full, idle, float(constants.value("clock_exponent"))))
