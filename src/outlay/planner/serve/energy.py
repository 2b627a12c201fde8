"""Power and energy of serving as numbers that know their interval and their inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from outlay.architecture import Architecture
from outlay.derive import Num, Quantity, derive
from outlay.resolve.power import PowerInputs, serve_power_facts
from outlay.steps.power_inputs import PowerFacts
from outlay.steps.serve.inputs import ServeLayout
from outlay.steps.serve.power import serve_power
from outlay.steps.serve.time_inputs import EngineTime, Load, TimeDevice

PHASES = ("prefill", "decode", "idle")
UNITS = (
    ("power_w_per_device", "W", "power of a device, mean"),
    *((f"{name}_w", "W", f"power of a device, {name}") for name in PHASES),
    *((f"{name}_share", "", f"share of the devices' time, {name}") for name in PHASES),
    ("energy_per_output_token_j", "J", "device energy an output token"),
    *((f"energy_{name}_per_output_token_j", "J", f"device energy an output token, {name}") for name in PHASES),
)


def power_values(
    power: PowerInputs | None, arch: Architecture, device: TimeDevice, engine: EngineTime, layout: ServeLayout,
    load: Load, output_tokens_per_s: Num, running: Num,
) -> dict[str, Quantity]:
    """What `steps.serve.power` gives of one replica, derived; empty when the device's power is not known.

    output_tokens_per_s and running are the replica's, Quantities or numbers, with what `serve_time` leaves
    uncertain already in them: power and energy then share their draws.
    """
    if power is None:
        return {}
    facts = serve_power_facts(power, nominal=False)
    names = list(PowerFacts.__struct_fields__)
    inputs = {name: getattr(facts, name) for name in names}
    kept: list[tuple[dict[str, Any], Mapping[str, Any]]] = []  # nominal and drawn: one pass for all numbers

    def all_of(given: dict[str, Any]) -> Mapping[str, Any]:
        for before, found in kept:
            if all(before[name] is given[name] for name in given):
                return found
        own = PowerFacts(**{name: given[name] for name in names})
        result = {"output_tokens_per_s": given["output_tokens_per_s"], "running": given["running"]}
        found = serve_power(arch, device, engine, layout, load, result, own)
        kept.append((given, found))
        return found

    def one(name: str) -> Callable[..., Any]:
        def phase_power(**given: Any) -> Any:
            return all_of(given)[name]

        phase_power.__module__, phase_power.__doc__ = serve_power.__module__, serve_power.__doc__
        return phase_power

    rate = {"output_tokens_per_s": output_tokens_per_s, "running": running}
    return {name: derive(one(name), label, unit, **rate, **inputs) for name, unit, label in UNITS}
