"""Memory of a serving engine on one device of every pipeline stage, part by part, and what its cache holds.

The same lines serve a scalar plan, an explained one (`Quantity` constants) and a search over arrays,
grouped by pipeline degree.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from msgspec import Struct

from outlay.architecture import Architecture, LayerKind
from outlay.derive import Quantity, add_all, derive
from outlay.physics import kvcache as kv
from outlay.steps.serve.cache import layer_cache, model_token_bytes, shared_bytes, tokens_bytes
from outlay.steps.serve.inputs import ServeLayout, ServeRecipe
from outlay.steps.serve.pool import cache_pool, has_lineage, least, most, nominal
from outlay.steps.serve.weights import StageLayers, adapter_bytes, stage_layers, stage_weights

Value = Any
Kinds = tuple[tuple[LayerKind, int], ...]
PARTS = (
    "weights",
    "adapters",
    "kv_cache",
    "state",
    "activations",
    "cuda_graphs",
    "communication",
    "framework",
    "fragmentation",
)
__all__ = ["PARTS", "POOLED", "ServeMemory", "ServeStage", "serve_memory"]
EXPANDED = ("nf4", "nf4-dq", "fp4", "fp4-dq")  # widened as a whole before more than one row is multiplied
POOLED = ("utilization", "static", "free")


class ServeStage(Struct, frozen=True, eq=False):
    """One device of one stage. pool_bytes: cache and state together; need_bytes: of one longest sequence."""

    parts: Mapping[str, Value]
    memory_per_device_bytes: Value
    memory_allocated_bytes: Value
    memory_reserved_bytes: Value
    pool_bytes: Value
    room_bytes: Value  # what cache and state may take: the pool, or all that is left
    token_bytes: Value
    sequence_bytes: Value
    need_bytes: Value
    host_bytes: float
    token_layers: int


class ServeMemory(Struct, frozen=True, eq=False):
    """All stages of one replica and what its cache holds."""

    stages: tuple[ServeStage, ...]
    kv_bytes_per_token: Value
    kv_cache_tokens: Value
    max_concurrency: Value
    room_sequences: Value  # of the greatest length that the room for cache could hold

    @property
    def fullest(self) -> ServeStage:
        return max(self.stages, key=lambda s: nominal(s.memory_per_device_bytes))

    @property
    def tightest(self) -> ServeStage:
        """The stage whose cache holds the fewest sequences."""
        return min(self.stages, key=lambda s: nominal(s.room_bytes) - nominal(s.need_bytes))


def serve_memory(
    arch: Architecture, usable_bytes: Value, recipe: ServeRecipe, layout: ServeLayout
) -> ServeMemory:
    """Memory of one replica; usable_bytes is what the driver leaves to programs on one device."""
    stages = tuple(
        _stage(
            arch,
            usable_bytes,
            recipe,
            layout,
            stage_layers(arch, layout.pipeline, index, recipe.flag("layer_split")),
        )
        for index in range(layout.pipeline)
    )
    holding = [s for s in stages if nominal(s.sequence_bytes) > 0]
    concurrency: Value = float("inf")
    for stage in holding:
        one = derive(
            _replica_sequences,
            "longest sequences the cache holds",
            "sequences",
            room_bytes=stage.room_bytes,
            sequence_bytes=stage.sequence_bytes,
            data=layout.data,
        )
        concurrency = least(concurrency, one)
    token = model_token_bytes(arch, recipe)
    held = concurrency
    if recipe.pool == "context" and recipe.cache_given_bytes is None and holding:
        held = 1.0 if recipe.shared_cache else recipe.sequences  # as allocated, whatever room is left
    return ServeMemory(stages, token, _tokens(arch, recipe, layout, stages, held), held, concurrency)


def _stage(
    arch: Architecture, usable: Value, recipe: ServeRecipe, layout: ServeLayout, stage: StageLayers
) -> ServeStage:
    away = _host_layers(arch, recipe, stage)
    weights, host = stage_weights(arch, recipe, layout, stage, away)
    held = StageLayers(stage.index, stage.counts, stage.first + away, stage.last)
    adapters = adapter_bytes(arch, recipe, layout, stage)
    activations = _activations(arch, recipe, layout, stage)
    constants = _engine_parts(recipe, layout)
    drafted = recipe.draft_kinds if stage.last == arch.layers else ()
    token, sequence, state, need = _cache_sizes(recipe, layout, stage, held, drafted)
    used = {"weights": weights, "adapters": adapters, "activations": activations, **constants}
    pool, room = cache_pool(usable, recipe, used, need)
    fragmentation = derive(
        _share_of, "fragmentation", "bytes", whole_bytes=pool, share=recipe.constant("cache_copies")
    )
    state_pool = derive(
        _state_part,
        "state in the cache",
        "bytes",
        pool_bytes=pool,
        state_bytes=state,
        sequence_bytes=sequence,
    )
    parts = {
        **used,
        "state": state_pool,
        "kv_cache": _rest(pool, state_pool)
        if not has_lineage(pool, state_pool)
        else derive(_rest, "KV cache", "bytes", pool_bytes=pool, state_bytes=state_pool),
        "fragmentation": fragmentation,
    }
    parts = {name: parts[name] for name in PARTS}
    in_allocator = ("weights", "adapters", "kv_cache", "state", "activations", "cuda_graphs")
    allocated = add_all("allocated", "bytes", *[parts[p] for p in in_allocator])
    reserved = add_all("reserved", "bytes", allocated, fragmentation)
    total = add_all("memory of a device", "bytes", *parts.values())
    return ServeStage(
        parts, total, allocated, reserved, pool, room, token, sequence, need, host, len(stage.counts)
    )


def _host_layers(arch: Architecture, recipe: ServeRecipe, stage: StageLayers) -> int:
    """Layers of this stage the host keeps: the first ones of the model, as many as do not go on devices."""
    if recipe.device_layers is None:
        return 0
    kept = max(0, arch.layers - recipe.device_layers)
    return max(0, min(kept, stage.last) - stage.first)


def _engine_parts(recipe: ServeRecipe, layout: ServeLayout) -> dict[str, Value]:
    """What the engine and the driver take beside the model: graphs, communicators, context."""
    several = layout.tensor * layout.data * layout.pipeline
    graphs = recipe.constant("graphs_bytes") if recipe.graphs else 0.0
    communication = derive(
        _if_several,
        "communicators",
        "bytes",
        devices=several,
        size_bytes=recipe.constant("communicator_bytes"),
    )
    framework = add_all(
        "framework", "bytes", recipe.constant("context_bytes"), recipe.constant("non_torch_bytes")
    )
    return {"cuda_graphs": graphs, "communication": communication, "framework": framework}


def _activations(arch: Architecture, recipe: ServeRecipe, layout: ServeLayout, stage: StageLayers) -> Value:
    """The most that is alive in one step: the widest layer, or on the last stage the sampler."""
    peak: Value = 0.0
    for kind, _ in stage.counts:
        one = derive(
            kv.layer_activation_bytes,
            "activations of the widest layer",
            "bytes",
            tokens=recipe.max_num_batched_tokens,
            hidden=arch.hidden,
            widest=_widest(kind, arch.hidden) / layout.tensor,
        )
        peak = most(peak, one)
    if recipe.precision in EXPANDED:
        widest = max((k.ffn or k.expert_ffn) for k, _ in stage.counts)
        whole = derive(
            kv.expanded_matrix_bytes, "a matrix widened to 16 bits", "bytes", rows=arch.hidden, columns=widest
        )
        peak = add_all("activations of the widest layer", "bytes", peak, whole)
    if stage.last == arch.layers:
        sampler = derive(
            kv.sampler_bytes,
            "logits and sampling",
            "bytes",
            sequences=recipe.max_num_seqs,
            vocab=arch.vocab,
            bytes_per_logit=recipe.constant("logit_bytes"),
        )
        peak = most(peak, sampler)
    return derive(
        _share_of, "activations", "bytes", whole_bytes=peak, share=recipe.constant("activation_share", 1.0)
    )


def _widest(kind: LayerKind, hidden: int) -> float:
    """Elements a token takes at the widest moment of a layer, all tensor ranks together."""
    value_dim = kind.v_head_dim or kind.head_dim
    block: float
    mixer = kind.heads * (kind.head_dim + value_dim) + kind.kv_heads * (kind.head_dim + value_dim)
    if kind.mlp == "moe":
        inner = kind.expert_hidden or hidden
        block = kind.experts_per_token * (max((1 + kind.gated) * kind.expert_ffn, inner) + kind.expert_ffn)
        block = max(block, (2 + kind.gated) * kind.shared_ffn)
    else:
        block = (2 + kind.gated) * kind.ffn
    return float(max(mixer, block))


def _cache_sizes(
    recipe: ServeRecipe, layout: ServeLayout, stage: StageLayers, held: StageLayers, drafted: Kinds
) -> tuple[Value, Value, Value, Value]:
    """On one rank of a stage: bytes of a token, of a longest sequence with its state, of that state, and of
    what must be held at once."""
    scale = held.layers / stage.layers if stage.layers else 0.0  # the host's layers keep their cache there
    tokens, sequences, states, needs = [], [], [], []
    for kind, here in (*((k, n * scale) for k, n in stage.counts), *drafted):
        one = layer_cache(kind, recipe, layout)
        tokens.append(_scaled(one.token_bytes_per_rank, here))
        sequences.append(_scaled(one.sequence_bytes_per_rank, here))
        states.append(one.state_bytes_per_rank * here)
        if recipe.pool in ("grows", "static", "free"):
            length = recipe.sequence_tokens if recipe.pool == "grows" else recipe.needed_tokens
            needs.append(_scaled(tokens_bytes(kind, recipe, layout, length), here))
    state = sum(states)
    token = add_all("cache of a token on a rank", "bytes", *tokens)
    sequence = add_all("cache of the longest sequence on a rank", "bytes", *sequences, state)
    need = sequence
    if recipe.pool == "grows":
        each = add_all("cache of a sequence", "bytes", *needs, state)
        need = derive(_times, "cache of the sequences at hand", "bytes", each=each, count=recipe.sequences)
    elif needs:
        need = add_all("cache of the request that must fit", "bytes", *needs, state)
    elif recipe.pool == "context":
        need = _contexts(recipe, layout, stage, scale, drafted, sequence, state)
    return token, sequence, state, need


def _contexts(
    recipe: ServeRecipe,
    layout: ServeLayout,
    stage: StageLayers,
    scale: float,
    drafted: Kinds,
    sequence: Value,
    state: Value,
) -> Value:
    """What is allocated at start: a context for every sequence, or one for all of them with their windows."""
    if not recipe.shared_cache:
        return derive(_times, "cache of every slot's context", "bytes", each=sequence, count=recipe.sequences)
    kinds = (*((k, n * scale) for k, n in stage.counts), *drafted)
    shared = [_scaled(shared_bytes(kind, recipe, layout), here) for kind, here in kinds]
    return add_all("cache of the shared context", "bytes", *shared, state * recipe.sequences)


def _tokens(
    arch: Architecture,
    recipe: ServeRecipe,
    layout: ServeLayout,
    stages: tuple[ServeStage, ...],
    concurrency: Value,
) -> Value:
    """Tokens a replica's cache holds: in blocks where layers keep every token, else in longest sequences."""
    plain = all(not k.window and not k.compress for k, _ in arch.groups) and not any(
        nominal(s.parts["state"]) > 0 for s in stages
    )
    if not plain:
        return derive(
            _long_tokens,
            "tokens in the cache, in longest sequences",
            "tokens",
            sequences=concurrency,
            length=recipe.max_model_len,
        )
    fewest: Value = float("inf")
    for stage in stages:
        if nominal(stage.token_bytes) > 0:
            one = derive(
                _replica_tokens,
                "tokens in the cache",
                "tokens",
                pool_bytes=stage.pool_bytes,
                token_bytes=stage.token_bytes,
                block_tokens=recipe.constant("block_tokens", 1.0),
                data=layout.data,
            )
            fewest = least(fewest, one)
    return fewest


def _replica_tokens(pool_bytes: Value, token_bytes: Value, block_tokens: Value, data: Value) -> Value:
    """Tokens in whole blocks on one rank, times the ranks with sequences of their own."""
    return kv.pool_tokens(pool_bytes, token_bytes, block_tokens) * data


def _long_tokens(sequences: Value, length: Value) -> Value:
    """Sequences of the greatest length, as tokens: what engines print where layers keep different lengths."""
    return np.floor(sequences * length)


def _replica_sequences(room_bytes: Value, sequence_bytes: Value, data: Value) -> Value:
    """Longest sequences on one rank, times the ranks with sequences of their own."""
    return kv.sequences_that_fit(room_bytes, sequence_bytes) * data


def _if_several(devices: Value, size_bytes: Value) -> Value:
    """A size where more than one device works together."""
    return np.where(np.asarray(devices) > 1, size_bytes, 0.0)


def _share_of(whole_bytes: Value, share: Value) -> Value:
    """A share of a whole."""
    return whole_bytes * share


def _state_part(pool_bytes: Value, state_bytes: Value, sequence_bytes: Value) -> Value:
    """The part of the cache that recurrent state takes when it is full of longest sequences."""
    return pool_bytes * state_bytes / np.maximum(sequence_bytes, 1.0)


def _rest(pool_bytes: Value, state_bytes: Value) -> Value:
    """The cache less the state in it."""
    return np.maximum(pool_bytes - state_bytes, 0.0)


def _times(each: Value, count: Value) -> Value:
    """One times how many."""
    return each * count


def _scaled(size: Value, times: Value) -> Value:
    if isinstance(size, Quantity):
        return derive(_times, size.label, size.unit, each=size, count=times)
    return size * times
