"""What a serving plan says of memory: parts, what the cache holds, whether it fits and what binds."""

from __future__ import annotations

from typing import Any

import numpy as np

from outlay.architecture import Architecture
from outlay.derive import DRAWS, Num, Quantity, derive, drawn_of, exact, value_of
from outlay.resolve.serve.phase import ServePhase
from outlay.steps.serve.cache import model_state_bytes
from outlay.steps.serve.inputs import ServeLayout
from outlay.steps.serve.memory import ServeMemory, ServeStage

BYTES = "bytes"


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
        "weights_bytes_per_device": as_q(full.parts["weights"], BYTES, "weights of a device"),
        "kv_bytes_per_token": as_q(memory.kv_bytes_per_token, BYTES, "cache of a token, whole model"),
        "kv_cache_bytes_per_device": as_q(tight.pool_bytes, BYTES, "KV cache of a device"),
        "kv_cache_tokens": _finite(tokens, "tokens", "tokens in the cache of a replica"),
        "max_concurrency": _finite(concurrency, "sequences", "longest sequences the cache holds"),
        "max_num_seqs": int(phase.shown["max_num_seqs"]),
        "state_bytes_per_sequence": model_state_bytes(arch),
        "sequence_bytes_per_device": as_q(
            tight.sequence_bytes, BYTES, "cache of the longest sequence on a device"
        ),
        "memory_per_device_bytes": as_q(full.memory_per_device_bytes, BYTES, "memory of a device"),
        "memory_allocated_bytes": as_q(full.memory_allocated_bytes, BYTES, "allocated"),
        "memory_reserved_bytes": as_q(full.memory_reserved_bytes, BYTES, "reserved"),
        "memory_generating_bytes": derive(
            _less,
            "allocated between steps, while generating",
            BYTES,
            limit_bytes=as_q(full.memory_allocated_bytes, BYTES, "allocated"),
            needed_bytes=as_q(full.parts["activations"], BYTES, "activations"),
        ),
        "memory_parts": {name: as_q(value, BYTES, name) for name, value in full.parts.items()},
        "memory_peak_moment": "forward",
        "stages": [_stage_values(stage) for stage in memory.stages],
        "host_memory_bytes": exact(
            sum(s.host_bytes for s in memory.stages), BYTES, "weights the host keeps", basis="derived"
        ),
    }
    return found


def _stage_values(stage: ServeStage) -> dict[str, Any]:
    return {
        "memory_per_device_bytes": as_q(stage.memory_per_device_bytes, BYTES, "memory of a device"),
        "memory_allocated_bytes": as_q(stage.memory_allocated_bytes, BYTES, "allocated"),
        "memory_reserved_bytes": as_q(stage.memory_reserved_bytes, BYTES, "reserved"),
        "parts": {name: as_q(value, BYTES, name) for name, value in stage.parts.items()},
    }


def verdict(phase: ServePhase, memory: ServeMemory) -> dict[str, Any]:
    """Fits when the cache holds one longest sequence, or all asked for, and the device everything."""
    limit = drawn_of(phase.usable_bytes)
    yes = np.ones(DRAWS, dtype=bool)
    for stage in memory.stages:
        yes &= drawn_of(stage.room_bytes) >= drawn_of(stage.need_bytes)
        yes &= drawn_of(stage.memory_per_device_bytes) <= limit
    probability = float(yes.mean())
    tight, full = memory.tightest, memory.fullest
    spare = as_q(tight.room_bytes, BYTES, "room for cache").value - as_q(tight.need_bytes, BYTES, "needed").value
    over = (
        as_q(full.memory_per_device_bytes, BYTES, "memory").value
        - as_q(phase.usable_bytes, BYTES, "usable").value
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
        "device_memory_bytes": as_q(phase.usable_bytes, BYTES, "memory left by the driver").value,
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
        needed, room = value_of(tight.need_bytes), value_of(tight.room_bytes)
        if room < 0.0:  # no cache is left at all: what is in its way is the limit
            usable = value_of(phase.usable_bytes)
            return {
                "constraint": "device memory for weights and work, and the KV cache of one longest sequence",
                "needed_bytes": usable + needed - room,
                "limit_bytes": usable,
                "short_bytes": needed - room,
            }
        return {
            "constraint": "KV cache for one sequence of max_model_len",
            "needed_bytes": needed,
            "limit_bytes": room,
            "short_bytes": needed - room,
        }
    needed, limit = value_of(full.memory_per_device_bytes), value_of(phase.usable_bytes)
    return {
        "constraint": "device memory",
        "needed_bytes": needed,
        "limit_bytes": limit,
        "short_bytes": needed - limit,
    }


def _difference(a: Num, b: Num) -> Quantity:
    found: Quantity = derive(
        _less, "headroom", BYTES, limit_bytes=as_q(a, BYTES, "limit"), needed_bytes=as_q(b, BYTES, "needed")
    )
    return found


def _less(limit_bytes: Any, needed_bytes: Any) -> Any:
    """What is left; negative when it is too small."""
    return limit_bytes - needed_bytes


def as_q(value: Num, unit: str, label: str) -> Quantity:
    """A number as a quantity of this name."""
    return (
        value.named(label, unit)
        if isinstance(value, Quantity)
        else exact(float(value), unit, label, basis="derived")
    )


def _finite(value: Num, unit: str, label: str) -> Quantity | None:
    """None where there is no limit: a model that keeps only state, asked without one."""
    found = as_q(value, unit, label)
    return found if found.value != float("inf") else None


def replica_weights(values: dict[str, Any], devices: int) -> Quantity:
    """Weights that a replica reads from storage when it starts."""
    found: Quantity = derive(_all_of, "weights of a replica", "bytes", each=values["weights_bytes_per_device"],
                             devices=devices)
    return found


def _all_of(each: Any, devices: Any) -> Any:
    """What every device holds, over all of them."""
    return each * devices
