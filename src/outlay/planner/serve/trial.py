"""One serving plan at nominal numbers, fast enough to try hundreds."""

from __future__ import annotations

from functools import reduce
from typing import Any

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from outlay.architecture import Architecture
from outlay.derive import Num, Quantity
from outlay.steps.serve.inputs import ServeLayout, ServeRecipe
from outlay.steps.serve.memory import serve_memory

MOST_TENSOR = 64


class Trial(Struct, frozen=True):
    """A model, the memory of one device, how it is run and over what."""

    arch: Architecture
    usable_bytes: Any  # a number, or an array for `headroom_bytes`
    recipe: ServeRecipe
    layout: ServeLayout
    margin_bytes: float = 0.0  # kept free so that what fits here fits with confidence


class Outcome(Struct, frozen=True):
    """What a trial takes: spare bytes of the tightest device, its total, and what its cache holds."""

    headroom_bytes: float
    memory_bytes: float
    weights_bytes: float
    tokens: float
    concurrency: float

    @property
    def fits(self) -> bool:
        return self.headroom_bytes >= 0


def run(one: Trial) -> Outcome:
    found = trial(one.arch, one.usable_bytes, one.recipe, one.layout)
    return replace(found, headroom_bytes=found.headroom_bytes - one.margin_bytes)


def headroom_bytes(one: Trial) -> Any:
    """Spare bytes of the tightest device, as `run` has it; one of `one`'s numbers may be an array, so this is too."""
    memory = serve_memory(one.arch, one.usable_bytes, one.recipe, one.layout)
    spare = [stage.room_bytes - stage.need_bytes for stage in memory.stages]
    left = [one.usable_bytes - stage.memory_per_device_bytes for stage in memory.stages]
    return reduce(np.minimum, spare + left) - one.margin_bytes


def trial(arch: Architecture, usable_bytes: float, recipe: ServeRecipe, layout: ServeLayout) -> Outcome:
    """Headroom: the lesser of what cache and device have beyond what they need."""
    memory = serve_memory(arch, usable_bytes, recipe, layout)
    spare = min(float(s.room_bytes) - float(s.need_bytes) for s in memory.stages)
    total = max(float(s.memory_per_device_bytes) for s in memory.stages)
    return Outcome(
        min(spare, usable_bytes - total),
        total,
        float(memory.fullest.parts["weights"]),
        float(memory.kv_cache_tokens),
        float(memory.room_sequences),
    )


def nominal_recipe(recipe: ServeRecipe) -> ServeRecipe:
    """The recipe with plain numbers in place of quantities."""

    def plain(value: Num) -> Num:
        return value.value if isinstance(value, Quantity) else value

    return replace(
        recipe,
        constants={k: plain(v) for k, v in recipe.constants.items()},
        part_bytes={k: plain(v) for k, v in recipe.part_bytes.items()},
        cache_bytes=plain(recipe.cache_bytes),
        cache_given_bytes=None if recipe.cache_given_bytes is None else plain(recipe.cache_given_bytes),
    )


def tensor_degrees(arch: Architecture) -> list[int]:
    """Tensor degrees that divide the heads, powers of two first in use."""
    heads = [k.heads for k, _ in arch.groups if k.mixer in ("attention", "mla")] or [MOST_TENSOR]
    return [t for t in range(1, MOST_TENSOR + 1) if t & (t - 1) == 0 and all(h % t == 0 for h in heads)]
