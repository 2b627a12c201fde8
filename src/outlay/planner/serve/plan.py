"""The serving plan: weights, cache, what else the engine takes, what it holds, and whether it fits."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from outlay.architecture import Architecture
from outlay.derive import Num, Quantity, value_of
from outlay.planner.replay.told import unfit
from outlay.planner.serve.extras import with_extras
from outlay.planner.serve.launch import launch
from outlay.planner.serve.launch_more import as_started
from outlay.planner.serve.memory import memory_values, replica_weights, shown_layout, verdict
from outlay.planner.serve.nearest import changes_that_fit, room_left
from outlay.planner.serve.replicas import Replicas
from outlay.planner.serve.speed import alone, held_to_one_stream, held_tokens, replicas_of, under_load
from outlay.planner.serve.trial import Trial, nominal_recipe, tensor_degrees, trial
from outlay.resolve.record import Resolved
from outlay.resolve.serve.defaults import STARTS_WITH_LESS
from outlay.resolve.serve.phase import ServePhase
from outlay.steps.serve.inputs import ServeLayout
from outlay.steps.serve.memory import serve_memory
from outlay.usage import Line

SURE = 0.9


def plan_serve(resolved: Resolved, under: bool = True) -> tuple[dict[str, Any], list[Line]]:
    """Everything the result says of the serving phase, and its lines; without the load when that is not asked."""
    phase, arch, hw = resolved.serve, resolved.architecture, resolved.hardware
    assert phase is not None and arch is not None and hw is not None
    if phase.pools:
        from outlay.planner.serve.pools import plan_pools

        return plan_pools(resolved)
    if phase.asked.trace is not None:
        from outlay.planner.replay.spread import of_trace

        phase = replace(phase, asked=of_trace(phase.asked, resolved.notes))
    layout = choose_layout(phase, arch, hw.devices, hw.scale_up_devices, resolved)
    phase = with_extras(phase, arch, layout)
    memory = serve_memory(arch, phase.usable_bytes, phase.recipe, layout)
    replicas = phase.replicas or max(1, hw.devices // int(layout.devices))
    used = replicas * int(layout.devices)
    values: dict[str, Any] = {
        "layout": shown_layout(layout),
        "replicas": replicas,
        "devices_used": used,
        "devices_idle": hw.devices - used,
        "engine": f"{phase.engine.name} {phase.engine.version}",
    }
    resolved.scenario["serve"] |= {
        "tensor": int(layout.tensor),
        "pipeline": layout.pipeline,
        "replicas": replicas,
    }
    kept = min(hw.devices, (resolved.life and resolved.life.serve_devices) or hw.devices)
    if kept > used and not phase.asked.replay.scales:
        resolved.notes.warn(
            f"serve: {kept - used} of {kept} devices are left over by the layout; they idle and are billed"
        )
    values |= memory_values(arch, phase, memory)
    values |= verdict(phase, memory)
    phase = phase if values["fits"] else unfit(phase, resolved.notes)
    single = alone(arch, phase, layout)
    values["one_stream"] = single
    lines: list[Line] = []
    if under:
        whole = replicas_of(arch, phase, layout, replicas, memory, single)
        found, lines, _ = under_load(resolved, phase, whole, hw.devices, replica_weights(values, int(layout.devices)))
        values |= found
    held, length = memory.kv_cache_tokens, phase.recipe.max_model_len
    if values["fits"] and value_of(held) < length and phase.recipe.pool in STARTS_WITH_LESS:
        resolved.notes.warn(
            f"serve.max_model_len: the cache holds {value_of(held):,.0f} tokens, so longer requests than "
            f"that are refused, though {length:,.0f} is the limit"
        )
    values |= _around(phase, arch, layout, hw.devices, values)
    values["launch"] = launch(phase.engine.id, phase.model_id, as_started(resolved, phase) | shown_layout(layout),
                              phase.checkpoint)
    return values, lines


def choose_layout(
    phase: ServePhase, arch: Architecture, devices: int, fast: int, resolved: Resolved
) -> ServeLayout:
    """The degrees given; else the smallest tensor degree that surely fits, replicas filling the fleet."""
    layout = phase.layout
    if phase.tensor_given or phase.engine.number("layer_split"):
        return layout
    each = devices // max(1, phase.replicas) // (layout.pipeline * int(layout.data))
    recipe = nominal_recipe(phase.recipe)
    options = [
        t
        for t in tensor_degrees(arch)
        if t <= max(1, min(each, fast))
        and t % int(layout.context) == 0
        and (t * int(layout.data)) % int(layout.expert) == 0
    ]
    if not options:
        return layout
    limit = _low(phase.usable_bytes)
    found = [trial(arch, limit, recipe, replace(layout, tensor=t)) for t in options]
    chosen = next(
        (t for t, one in zip(options, found, strict=True) if one.headroom_bytes > 0.01 * limit), None
    )
    if chosen is None:
        chosen = max(zip(options, found, strict=True), key=lambda pair: pair[1].headroom_bytes)[0]
    why = "the fewest devices a replica fits on" if devices > 1 else "one device"
    if phase.asked.slo and devices > 1:
        fitting = {t: one.tokens for t, one in zip(options, found, strict=True) if one.headroom_bytes > 0.01 * limit}
        best = best_under_promises(phase, arch, layout, devices, fitting)
        if best is not None:
            chosen, why = best, "takes the most load on these devices while it keeps what is promised"
    resolved.notes.assume("serve.tensor", chosen, why)
    return replace(layout, tensor=chosen)


def best_under_promises(
    phase: ServePhase, arch: Architecture, layout: ServeLayout, devices: int, fitting: dict[int, float]
) -> int | None:
    """The tensor degree whose replicas together take the most load within the promises; None where none keeps them.

    fitting: tokens in the cache of a replica, by tensor degree.
    """
    from outlay.planner.capacity.rate import most_load

    holds: dict[int, float] = {}
    for tensor, tokens in fitting.items():
        own = replace(layout, tensor=tensor)
        one = Replicas(arch, phase.speed, own, 1, held_tokens(arch, phase, own, tokens), single=alone(arch, phase, own))
        most = most_load(phase.asked, held_to_one_stream(one, phase))
        if most is not None:
            holds[tensor] = most.rate_per_s * (phase.replicas or devices // int(own.devices))
    return max(holds, key=lambda t: (holds[t], -t)) if holds else None


def _around(
    phase: ServePhase, arch: Architecture, layout: ServeLayout, devices: int, values: dict[str, Any]
) -> dict[str, Any]:
    """Changes that fit when it does not; what could grow when it does."""
    head = values["headroom_bytes"]
    margin = max(0.0, head.value - head.low)
    start = Trial(arch, value_of(phase.usable_bytes), nominal_recipe(phase.recipe), layout, margin)
    if values["fits_probability"] < SURE:
        return {"nearest": changes_that_fit(start, devices)}
    return {"nearest": [], "room": room_left(start)}


def _low(value: Num) -> float:
    return float(value.low) if isinstance(value, Quantity) else float(value)
