"""What makes one degree of a layout possible: the divisors a model, a fleet and a recipe ask for.

With `search` the rules are those of practice as well, see `layout_space`.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import gcd
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from outlay.architecture import Architecture
from outlay.planner.layouts.frameworks import FrameworkRules, rules_of
from outlay.steps.inputs import Hardware, Recipe

Column = NDArray[np.int32]
Mask = NDArray[np.bool_]
MIN_TOKENS_PER_CONTEXT_RANK = 512
SEARCH_RULES = (
    "tensor stays inside the fast domain and divides (or is divided by) the key-value heads",
    f"context leaves at least {MIN_TOKENS_PER_CONTEXT_RANK} tokens a rank, in two balanced chunks",
    "pipeline stages hold equal layers, the ends up to one stage fewer; virtual stages divide them",
    "interleaving needs micro-batches in multiples of the pipeline",
    "expert_tensor is 1 or tensor",
    "ZeRO stages, schedules and combinations of splits are those the framework offers",
)


class Facts(Struct, frozen=True):
    """The divisors a layout meets, taken once from the model, the fleet and the recipe."""

    devices: int
    fast_domain: int
    layers: int
    head_counts: tuple[int, ...]
    kv_counts: tuple[int, ...]
    widths: tuple[int, ...]
    experts: int
    attention: bool
    batch: int
    sequence: int
    rules: FrameworkRules


def layout_facts(arch: Architecture, hw: Hardware, recipe: Recipe) -> Facts:
    kinds = [kind for kind, _ in arch.runs]
    mixers = [k for k in kinds if k.mixer != "none" and k.heads]
    moe = [k for k in kinds if k.mlp == "moe" and k.experts]
    widths = {k.ffn for k in kinds if k.mlp == "dense" and k.ffn}
    shared_heads = {k.kv_heads for k in mixers if k.mixer == "attention" and k.kv_heads}
    shared_heads |= {k.groups for k in mixers if k.groups and k.mixer not in ("attention", "mla")}
    return Facts(
        devices=hw.devices, fast_domain=hw.scale_up_devices, layers=arch.layers,
        head_counts=tuple(sorted({k.heads for k in mixers})), kv_counts=tuple(sorted(shared_heads)),
        widths=tuple(sorted(widths)), experts=gcd(*(k.experts for k in moe)) if moe else 1,
        attention=any(k.mixer in ("attention", "mla") for k in kinds), batch=recipe.global_batch,
        sequence=recipe.sequence_length, rules=rules_of(recipe.framework))


def divisors(n: int) -> Column:
    """Ascending divisors.

    >>> divisors(12).tolist()
    [1, 2, 3, 4, 6, 12]
    """
    low = [d for d in range(1, int(n**0.5) + 1) if n % d == 0]
    return np.array(sorted({*low, *(n // d for d in low)}), dtype=np.int32)


def open_axis(facts: Facts, name: str) -> bool:
    return name in facts.rules.axes


def tensor_allowed(facts: Facts, tensor: Column, search: bool) -> Mask:
    """tensor divides every head count; a search also asks for the fast domain, key-value heads and widths."""
    mask = np.ones(len(tensor), dtype=bool)
    for heads in facts.head_counts:
        mask &= heads % tensor == 0
    if search:
        mask &= tensor <= facts.fast_domain
        for shared in facts.kv_counts:
            mask &= (shared % tensor == 0) | (tensor % shared == 0)
        for width in facts.widths:
            mask &= width % tensor == 0
    return mask


def fullest_stage(facts: Facts, given: Mapping[str, Any], pipeline: Column) -> Column:
    """Layers of a middle stage: what the given ends leave, rounded up."""
    first, last = int(given.get("first_stage_layers", 0)), int(given.get("last_stage_layers", 0))
    middle = np.maximum(pipeline - int(first > 0) - int(last > 0), 1)
    full: Column = -(-(facts.layers - first - last) // middle)
    return full.astype(np.int32)


def pipeline_allowed(facts: Facts, given: Mapping[str, Any], pipeline: Column, search: bool) -> Mask:
    """A layer a stage at least; a search also asks for equal stages, or ends that stay within one stage."""
    mask: Mask = pipeline <= facts.layers
    ends = [name for name in ("first_stage_layers", "last_stage_layers") if given.get(name)]
    if ends:
        rest = facts.layers - sum(given[name] for name in ends)
        middle = pipeline - len(ends)
        mask &= np.where(middle > 0, rest % np.maximum(middle, 1) == 0, rest == 0)
        mask &= (middle >= 0) & (rest >= middle)
        return mask
    if search and "pipeline" not in given:
        full = fullest_stage(facts, given, pipeline)
        missing = full * pipeline - facts.layers
        mask &= (missing + 1) // 2 < full
    return mask


def context_allowed(facts: Facts, context: Column, search: bool) -> Mask:
    """context divides the sequence and needs attention; a search asks for two useful chunks a rank."""
    mask: Mask = (facts.sequence % context == 0) & (facts.attention | (context == 1))
    if search:
        mask &= (context == 1) | ((facts.sequence % (2 * context) == 0)
                                  & (facts.sequence // context >= MIN_TOKENS_PER_CONTEXT_RANK))
    return mask
