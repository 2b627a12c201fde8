"""The serving plan: weights, cache, what else the engine takes, what it holds, and whether it fits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from outlay.architecture import Architecture
from outlay.derive import DRAWS, Num, Quantity, derive, exact, value_of
from outlay.planner.capacity_rate import most_load
from outlay.planner.serve_extras import with_extras
from outlay.planner.serve_launch import launch
from outlay.planner.serve_nearest import changes_that_fit, room_left
from outlay.planner.serve_replay import of_trace
from outlay.planner.serve_speed import alone, loads_shown, replicas_of, under_load
from outlay.planner.serve_times import Replicas
from outlay.planner.serve_trial import Trial, nominal_recipe, tensor_degrees, trial
from outlay.resolve.record import Resolved
from outlay.resolve.serve import ServePhase
from outlay.resolve.serve_defaults import STARTS_WITH_LESS
from outlay.steps.serve_cache import model_state_bytes
from outlay.steps.serve_inputs import ServeLayout
from outlay.steps.serve_memory import ServeMemory, ServeStage, serve_memory
from outlay.usage import Line

SURE = 0.9
BYTES = "bytes"


def plan_serve(resolved: Resolved, under: bool = True) -> tuple[dict[str, Any], list[Line]]:
    """Everything the result says of the serving phase, and its lines; without the load when that is not asked."""
    phase, arch, hw = resolved.serve, resolved.architecture, resolved.hardware
    assert phase is not None and arch is not None and hw is not None
    if phase.pools:
        from outlay.planner.serve_pools import plan_pools

        return plan_pools(resolved)
    if phase.asked.trace is not None:
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
    if kept > used:
        resolved.notes.warn(
            f"serve: {kept - used} of {kept} devices are left over by the layout; they idle and are billed"
        )
    values |= memory_values(arch, phase, memory)
    values |= verdict(phase, memory)
    single = alone(arch, phase, layout)
    values["one_stream"] = single
    lines: list[Line] = []
    if under:
        whole = replicas_of(arch, phase, layout, replicas, memory, single)
        found, lines, _ = under_load(resolved, phase, whole, hw.devices)
        values |= found | loads_shown(phase, whole)
    held, length = memory.kv_cache_tokens, phase.recipe.max_model_len
    if values["fits"] and value_of(held) < length and phase.recipe.pool in STARTS_WITH_LESS:
        resolved.notes.warn(
            f"serve.max_model_len: the cache holds {value_of(held):,.0f} tokens, so longer requests than "
            f"that are refused, though {length:,.0f} is the limit"
        )
    values |= _around(phase, arch, layout, hw.devices, values)
    values["launch"] = launch(phase.engine.id, phase.model_id, _as_started(resolved, layout))
    return values, lines


def _as_started(resolved: Resolved, layout: ServeLayout) -> dict[str, Any]:
    """The serving section with the degrees of the plan."""
    started: dict[str, Any] = resolved.scenario["serve"] | shown_layout(layout)
    return started


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
    holds: dict[int, float] = {}
    for tensor, tokens in fitting.items():
        own = replace(layout, tensor=tensor)
        most = most_load(phase.asked, Replicas(arch, phase.speed, own, 1, tokens))
        if most is not None:
            holds[tensor] = most.rate_per_s * (phase.replicas or devices // int(own.devices))
    return max(holds, key=lambda t: (holds[t], -t)) if holds else None


def shown_layout(layout: ServeLayout) -> dict[str, int]:
    """A layout as the scenario writes it."""
    return {
        "tensor": int(layout.tensor),
        "pipeline": layout.pipeline,
        "expert": int(layout.expert),
        "data": int(layout.data),
        "decode_context_parallel": int(layout.context),
    }


def memory_values(arch: Architecture, phase: ServePhase, memory: ServeMemory) -> dict[str, Any]:
    """Weights, cache and the rest, of the fullest device and of every stage."""
    full, tight = memory.fullest, memory.tightest
    concurrency, tokens = memory.max_concurrency, memory.kv_cache_tokens
    found: dict[str, Any] = {
        "weights_bytes_per_device": _q(full.parts["weights"], BYTES, "weights of a device"),
        "kv_bytes_per_token": _q(memory.kv_bytes_per_token, BYTES, "cache of a token, whole model"),
        "kv_cache_bytes_per_device": _q(tight.pool_bytes, BYTES, "KV cache of a device"),
        "kv_cache_tokens": _finite(tokens, "tokens", "tokens in the cache of a replica"),
        "max_concurrency": _finite(concurrency, "sequences", "longest sequences the cache holds"),
        "max_num_seqs": int(phase.shown["max_num_seqs"]),
        "state_bytes_per_sequence": model_state_bytes(arch),
        "sequence_bytes_per_device": _q(
            tight.sequence_bytes, BYTES, "cache of the longest sequence on a device"
        ),
        "memory_per_device_bytes": _q(full.memory_per_device_bytes, BYTES, "memory of a device"),
        "memory_allocated_bytes": _q(full.memory_allocated_bytes, BYTES, "allocated"),
        "memory_reserved_bytes": _q(full.memory_reserved_bytes, BYTES, "reserved"),
        "memory_generating_bytes": derive(
            _less,
            "allocated between steps, while generating",
            BYTES,
            limit_bytes=_q(full.memory_allocated_bytes, BYTES, "allocated"),
            needed_bytes=_q(full.parts["activations"], BYTES, "activations"),
        ),
        "memory_parts": {name: _q(value, BYTES, name) for name, value in full.parts.items()},
        "memory_peak_moment": "forward",
        "stages": [_stage_values(stage) for stage in memory.stages],
        "host_memory_bytes": exact(
            sum(s.host_bytes for s in memory.stages), BYTES, "weights the host keeps", basis="derived"
        ),
    }
    return found


def _stage_values(stage: ServeStage) -> dict[str, Any]:
    return {
        "memory_per_device_bytes": _q(stage.memory_per_device_bytes, BYTES, "memory of a device"),
        "memory_allocated_bytes": _q(stage.memory_allocated_bytes, BYTES, "allocated"),
        "memory_reserved_bytes": _q(stage.memory_reserved_bytes, BYTES, "reserved"),
        "parts": {name: _q(value, BYTES, name) for name, value in stage.parts.items()},
    }


def verdict(phase: ServePhase, memory: ServeMemory) -> dict[str, Any]:
    """Fits when the cache holds one longest sequence, or all asked for, and the device everything."""
    import numpy as np

    limit = _draws(phase.usable_bytes)
    yes = np.ones(DRAWS, dtype=bool)
    for stage in memory.stages:
        yes &= _draws(stage.room_bytes) >= _draws(stage.need_bytes)
        yes &= _draws(stage.memory_per_device_bytes) <= limit
    probability = float(yes.mean())
    tight, full = memory.tightest, memory.fullest
    spare = _q(tight.room_bytes, BYTES, "room for cache").value - _q(tight.need_bytes, BYTES, "needed").value
    over = (
        _q(full.memory_per_device_bytes, BYTES, "memory").value
        - _q(phase.usable_bytes, BYTES, "usable").value
    )
    by_cache = spare < -over
    head = (
        _difference(tight.room_bytes, tight.need_bytes)
        if by_cache
        else _difference(phase.usable_bytes, full.memory_per_device_bytes)
    )
    found: dict[str, Any] = {
        "fits": probability >= 0.5,
        "fits_probability": probability,
        "headroom_bytes": head,
        "device_memory_bytes": _q(phase.usable_bytes, BYTES, "memory left by the driver").value,
        "verdict": "borderline"
        if 0.1 <= probability <= 0.9
        else "fits"
        if probability >= 0.5
        else "does not fit",
    }
    if not found["fits"]:
        found["binding"] = _binding(phase, tight, full, by_cache)
    return found


def _binding(phase: ServePhase, tight: ServeStage, full: ServeStage, by_cache: bool) -> dict[str, Any]:
    if by_cache and phase.recipe.pool not in ("context", "grows"):
        needed, limit = value_of(tight.need_bytes), max(0.0, value_of(tight.room_bytes))
        return {
            "constraint": "KV cache for one sequence of max_model_len",
            "needed_bytes": needed,
            "limit_bytes": limit,
            "short_bytes": needed - value_of(tight.room_bytes),
        }
    needed, limit = value_of(full.memory_per_device_bytes), value_of(phase.usable_bytes)
    return {
        "constraint": "device memory",
        "needed_bytes": needed,
        "limit_bytes": limit,
        "short_bytes": needed - limit,
    }


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


def _difference(a: Num, b: Num) -> Quantity:
    found: Quantity = derive(
        _less, "headroom", BYTES, limit_bytes=_q(a, BYTES, "limit"), needed_bytes=_q(b, BYTES, "needed")
    )
    return found


def _less(limit_bytes: Any, needed_bytes: Any) -> Any:
    """What is left; negative when it is too small."""
    return limit_bytes - needed_bytes


def _q(value: Num, unit: str, label: str) -> Quantity:
    return (
        value.named(label, unit)
        if isinstance(value, Quantity)
        else exact(float(value), unit, label, basis="derived")
    )


def _finite(value: Num, unit: str, label: str) -> Quantity | None:
    """None where there is no limit: a model that keeps only state, asked without one."""
    found = _q(value, unit, label)
    return found if found.value != float("inf") else None



def _draws(value: Num) -> Any:
    if isinstance(value, Quantity):
        return value.value if value.samples is None else value.samples
    return value


def _low(value: Num) -> float:
    return float(value.low) if isinstance(value, Quantity) else float(value)
