"""How much of a device each kind of engine gives its cache."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from outlay.derive import DRAWS, Quantity, add_all, derive
from outlay.physics import kvcache as kv
from outlay.steps.serve.inputs import ServeRecipe

Value = Any


def cache_pool(
    usable: Value, recipe: ServeRecipe, used: Mapping[str, Value], need: Value
) -> tuple[Value, Value]:
    """Bytes the engine gives cache and state, and the most it could give."""
    if recipe.cache_given_bytes is not None:
        return recipe.cache_given_bytes, recipe.cache_given_bytes
    if recipe.pool in ("context", "grows"):
        taken = _sum(used, "all but the cache", *_LOADED, *_RUNNING, "framework", "cuda_graphs")
        room = derive(_left, "room for the cache", "bytes", usable_bytes=usable, used_bytes=taken)
        return need, room
    pool = _POOLS[recipe.pool](usable, recipe, used)
    return derive(_not_negative, "cache", "bytes", size_bytes=pool), pool


_LOADED = ("weights", "adapters")
_RUNNING = ("activations", "communication")


def _by_utilization(usable: Value, recipe: ServeRecipe, used: Mapping[str, Value]) -> Value:
    outside = recipe.constant("non_torch_bytes")
    measured = _sum(used, "weights, profiled peak and outside the allocator", *_LOADED, *_RUNNING)
    return derive(
        kv.pool_by_utilization,
        "cache",
        "bytes",
        total_bytes=usable,
        utilization=recipe.memory_utilization,
        used_bytes=add_all("measured by the engine", "bytes", measured, outside),
    )


def _by_fraction(usable: Value, recipe: ServeRecipe, used: Mapping[str, Value]) -> Value:
    return derive(
        _static_pool,
        "cache",
        "bytes",
        usable_bytes=usable,
        context_bytes=recipe.constant("context_bytes"),
        fraction=recipe.memory_utilization,
        loaded_bytes=_sum(used, "weights and adapters", *_LOADED),
    )


def _of_free(usable: Value, recipe: ServeRecipe, used: Mapping[str, Value]) -> Value:
    return derive(
        kv.pool_of_free,
        "cache",
        "bytes",
        total_bytes=usable,
        used_bytes=_sum(used, "loaded and run once", *_LOADED, *_RUNNING, "framework"),
        fraction=recipe.memory_utilization,
    )


_POOLS = {"utilization": _by_utilization, "static": _by_fraction, "free": _of_free}


def _sum(used: Mapping[str, Value], label: str, *names: str) -> Value:
    return add_all(label, "bytes", *[used[name] for name in names])


def _static_pool(usable_bytes: Value, context_bytes: Value, fraction: Value, loaded_bytes: Value) -> Value:
    """A share of what was free at start is for weights and cache together (SGLang, mem_fraction_static)."""
    return (usable_bytes - context_bytes) * fraction - loaded_bytes


def _left(usable_bytes: Value, used_bytes: Value) -> Value:
    """What is left of a device."""
    return usable_bytes - used_bytes


def _not_negative(size_bytes: Value) -> Value:
    """A size, or nothing where it would be below zero."""
    return np.maximum(size_bytes, 0.0)


def _pick(a: Value, b: Value, rule: Any) -> Value:
    """The larger or smaller of two, draw by draw; the nominal one keeps its lineage."""
    if not has_lineage(a, b):
        return rule(a, b)
    first, second = _as_quantity(a), _as_quantity(b)
    chosen = first if rule(first.value, second.value) == first.value else second
    if first.samples is None and second.samples is None:
        return chosen
    drawn = rule(
        first.samples if first.samples is not None else first.value,
        second.samples if second.samples is not None else second.value,
    )
    return Quantity(
        chosen.value,
        chosen.unit,
        chosen.label,
        chosen.formula,
        chosen.inputs,
        chosen.sources,
        np.broadcast_to(np.asarray(drawn, dtype=float), (DRAWS,)),
        chosen.basis,
    )


def has_lineage(*values: Value) -> bool:
    return any(isinstance(v, Quantity) for v in values)


def _as_quantity(value: Value) -> Quantity:
    return value if isinstance(value, Quantity) else Quantity(float(value))


def nominal(value: Value) -> float:
    return float(value.value) if isinstance(value, Quantity) else float(np.max(value))


def most(a: Value, b: Value) -> Value:
    return _pick(a, b, np.maximum)


def least(a: Value, b: Value) -> Value:
    return _pick(a, b, np.minimum)
