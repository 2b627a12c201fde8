"""What one replica of a served model carries: requests a second when it is always busy, and what it draws."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from outlay.derive import Quantity, derive, exact, uncertain, value_of
from outlay.planner.serve import choose_layout
from outlay.planner.serve_trial import nominal_recipe
from outlay.resolve.record import Resolved


@dataclass(frozen=True, eq=False, slots=True)
class Capacity:
    """One replica at work. `fits` False: the model does not fit on this fleet, and `why` says so."""

    fits: bool
    devices: int
    requests_per_s: Quantity
    busy_w: Quantity | None
    idle_w: Quantity | None
    why: str = ""


def capacity(resolved: Resolved, prompt: float, answer: float, cached_share: float) -> Capacity:
    """Of one replica on a resolved fleet, prompts and answers of these mean lengths."""
    from outlay.planner.use import busy_power, idle_power
    from outlay.steps.serve_memory import serve_memory

    phase, arch, hw = resolved.serve, resolved.architecture, resolved.hardware
    assert phase is not None and arch is not None and hw is not None
    layout = choose_layout(phase, arch, hw.devices, hw.scale_up_devices, resolved)
    memory = serve_memory(arch, value_of(phase.usable_bytes), nominal_recipe(phase.recipe), layout)
    held = value_of(memory.kv_cache_tokens)
    if held < prompt + answer:
        return Capacity(False, int(layout.devices), exact(0.0, "1/s"), None, None,
                        f"{arch.name} does not fit on {hw.devices} {hw.device}")
    rate = _rate(resolved, layout, prompt, answer, cached_share, held)
    busy, _ = busy_power(resolved.power, exact(0.2, "", "compute activity"), exact(0.5, "", "memory activity"))
    return Capacity(True, int(layout.devices), rate, busy, idle_power(resolved.power))


def _rate(resolved: Resolved, layout: Any, prompt: float, answer: float, cached_share: float,
          held: float) -> Quantity:
    from outlay.catalog import load
    from outlay.resolve.serve_time import is_seen, shape_of, time_constants, time_device, time_residual
    from outlay.steps.serve_time import serve_time
    from outlay.steps.serve_time_inputs import EngineTime, Load

    phase, arch, hw = resolved.serve, resolved.architecture, resolved.hardware
    assert phase is not None and arch is not None and hw is not None
    device = time_device(load().find("device", hw.device))
    recipe = phase.recipe
    engine = EngineTime({k: value_of(v) for k, v in recipe.part_bytes.items()}, value_of(recipe.cache_bytes),
                        time_constants(recipe.engine, device.generation), value_of(recipe.max_num_batched_tokens),
                        value_of(recipe.max_num_seqs), prefix_hit=cached_share)
    found = serve_time(arch, device, engine, replace(layout), Load("queued", prompt, answer, cache_tokens=held))
    low, _, high = time_residual("output_tokens_per_s", shape_of(arch), False,
                                      is_seen(recipe.engine, device.generation))
    spread = uncertain(1.0, min(low, 1.0), max(high, 1.0), "", "throughput, measured over predicted",
                       seed=resolved.seed, key="residual.serve_throughput")
    nominal = exact(float(found["output_tokens_per_s"]) / answer, "1/s", "requests a replica carries")
    rate: Quantity = derive(_scaled, "requests a replica carries when always busy", "1/s", nominal=nominal,
                            spread=spread)
    return rate


def _scaled(nominal: Any, spread: Any) -> Any:
    """Prediction times how measurements spread around it."""
    return nominal * spread
