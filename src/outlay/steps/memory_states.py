"""Which layers and parameters a pipeline stage holds, and the bytes of its model states."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from outlay.architecture import Architecture, LayerKind
from outlay.derive import add_all, derive
from outlay.model_size import LayerParts, layer_parts, norm_parameters
from outlay.physics import memory as mem
from outlay.steps.inputs import Layout, Recipe
from outlay.steps.memory_policy import MemoryPolicy

Value = Any  # a number, an array or a Quantity


@dataclass(frozen=True, eq=False, slots=True)
class Stage:
    """One pipeline stage: its layers by kind, and its parameters before any split."""

    index: Value
    first: Value  # 1 where it holds the embedding, else 0
    last: Value  # 1 where it holds the head and the loss
    counts: tuple[tuple[LayerKind, Value], ...]
    split: Value  # parameters divided by tensor parallelism
    replicated: Value
    experts: Value


@dataclass(frozen=True, eq=False, slots=True)
class States:
    """Bytes of model states on one device, and what of them lives on the host."""

    weights: Value
    gradients: Value
    optimizer: Value
    host: Value
    dense: Value  # parameters of one device outside experts, before data-parallel sharding
    experts: Value


def stage_of(arch: Architecture, layout: Layout, index: Value, policy: MemoryPolicy) -> Stage:
    """Layers and parameters of stage `index`."""
    last = derive(_is_last, "holds the head", "", stage=index, pipeline=layout.pipeline)
    first = derive(_is_first, "holds the embedding", "", stage=index)
    counts = _counts(arch, layout, index)
    split: list[Value] = []
    replicated: list[Value] = []
    experts: list[Value] = []
    for kind, count in (*counts, *_prediction_layers(arch, last)):
        parts = layer_parts(kind, arch.hidden, arch.norm)
        split.append(derive(_count_times, "layer parameters", "", count=count, each=_split(parts)))
        replicated.append(
            derive(_count_times, "replicated parameters", "", count=count, each=_replicated(parts))
        )
        if parts.experts:
            experts.append(derive(_count_times, "expert parameters", "", count=count, each=parts.experts))
    split.append(
        derive(
            _ends_parameters,
            "embedding and head",
            "",
            first=first,
            last=last,
            vocab=arch.vocab,
            hidden=arch.hidden,
            tied=arch.tied_embeddings,
            mtp=arch.mtp_layers,
            tensor=layout.tensor,
            pad=policy.pad_vocabulary,
        )
    )
    replicated.append(
        derive(
            _loose_parameters,
            "positions and final norm",
            "",
            first=first,
            last=last,
            positions=arch.position_rows * arch.hidden,
            norm=arch.final_norm * norm_parameters(arch.norm, arch.hidden),
        )
    )
    return Stage(
        index,
        first,
        last,
        counts,
        add_all("split parameters", "", *split),
        add_all("replicated parameters", "", *replicated),
        add_all("expert parameters", "", *experts) if experts else 0.0,
    )


def _prediction_layers(arch: Architecture, last: Value) -> tuple[tuple[LayerKind, Value], ...]:
    """The multi-token-prediction layers, all on the last stage."""
    if not arch.mtp_layers:
        return ()
    return (
        (arch.runs[-1][0], derive(_count_times, "prediction layers", "", count=last, each=arch.mtp_layers)),
    )


def _counts(arch: Architecture, layout: Layout, index: Value) -> tuple[tuple[LayerKind, Value], ...]:
    """Layers of each kind on a stage."""
    totals: dict[LayerKind, list[Value]] = {}
    start = 0
    for kind, count in arch.runs:
        totals.setdefault(kind, []).append(
            derive(
                _run_on_stage,
                "layers of a run",
                "",
                start=start,
                end=start + count,
                layers=arch.layers,
                stage=index,
                pipeline=layout.pipeline,
                virtual_pipeline=layout.virtual_pipeline,
                first=layout.first_stage_layers,
                last=layout.last_stage_layers,
            )
        )
        start += count
    return tuple((kind, add_all("layers", "", *found)) for kind, found in totals.items())


def _run_on_stage(
    start: Value,
    end: Value,
    layers: Value,
    stage: Value,
    pipeline: Value,
    virtual_pipeline: Value,
    first: int,
    last: int,
) -> Value:
    """How many layers of a run [start, end) lie on a stage.

    Stages hold ceil(layers / stages) with the ends giving up the remainder, half each, unless they are stated.
    """
    if first or last:
        return _run_on_stated_stage(start, end, layers, stage, pipeline, first, last)
    chunk = np.ceil(layers / (pipeline * virtual_pipeline))
    missing = np.where(np.asarray(virtual_pipeline) > 1, 0.0, chunk * pipeline - layers)
    shift = np.floor(missing / 2)
    return mem.layers_before(end + shift, stage, pipeline, chunk) - mem.layers_before(
        start + shift, stage, pipeline, chunk
    )


def _run_on_stated_stage(
    start: Value, end: Value, layers: Value, stage: Value, pipeline: Value, first: int, last: int
) -> Value:
    """The same with a stated number of layers on the first or last stage; the others share the rest evenly."""
    others = np.maximum(pipeline - (first > 0) - (last > 0), 1)
    middle = (layers - first - last) / others
    head = first or middle
    tail = last or middle
    low = np.where(np.equal(stage, 0), 0.0, head + (stage - 1) * middle)
    high = np.where(np.equal(stage, pipeline - 1), layers, np.where(np.equal(stage, 0), head, low + middle))
    low = np.where(np.equal(stage, pipeline - 1) & (np.asarray(pipeline) > 1), layers - tail, low)
    return mem.overlap(start, end, low, high)


def _split(parts: LayerParts) -> int:
    return parts.attention + parts.mlp + parts.shared


def _replicated(parts: LayerParts) -> int:
    return parts.attention_replicated + parts.router + parts.norms


def _is_last(stage: Value, pipeline: Value) -> Value:
    """1 on the last stage."""
    return np.where(np.equal(stage, pipeline - 1), 1.0, 0.0)


def _is_first(stage: Value) -> Value:
    """1 on the first stage."""
    return np.where(np.equal(stage, 0), 1.0, 0.0)


def _count_times(count: Value, each: Value) -> Value:
    """Count times the parameters of one."""
    return count * each


def _ends_parameters(
    first: Value, last: Value, vocab: int, hidden: int, tied: bool, mtp: int, tensor: Value, pad: bool
) -> Value:
    """Embedding on the first stage, head on the last; tied, the last holds a copy when it is another stage.

    A prediction layer embeds tokens too, so its stage holds the embedding; it adds a 2h to h projection.
    """
    table = (mem.padded_vocabulary(vocab, tensor) if pad else vocab) * hidden
    elsewhere = last * (1 - first)
    head = elsewhere if tied else last
    embeddings = first + (0.0 if tied or not mtp else elsewhere)
    return table * (embeddings + head) + last * mtp * 2 * hidden * hidden


def _loose_parameters(first: Value, last: Value, positions: int, norm: int) -> Value:
    """Learned positions and the final norm, whole on every rank of their stage."""
    return first * positions + last * norm


def states_of(stage: Stage, recipe: Recipe, layout: Layout, policy: MemoryPolicy) -> States:
    """Weights, gradients and optimiser states of one device of a stage."""
    dense = derive(
        mem.device_parameters,
        "dense parameters of a device",
        "",
        split=stage.split,
        replicated=stage.replicated,
        tensor=layout.tensor,
    )
    experts = derive(
        mem.expert_parameters,
        "expert parameters of a device",
        "",
        experts=stage.experts,
        expert=layout.expert,
        expert_tensor=layout.expert_tensor,
    )
    weights = _kind_bytes("weights", recipe.weight_bytes, dense, experts, layout, layout.zero >= 3)
    gradients = _kind_bytes("gradients", recipe.gradient_bytes, dense, experts, layout, layout.zero >= 2)
    optimizer = _kind_bytes(
        "optimizer", recipe.master_bytes + _optimizer_bytes(recipe), dense, experts, layout, layout.zero >= 1
    )
    if policy.weight_copies:
        copies = _kind_bytes(
            "8-bit weight copies", policy.weight_copies, dense, experts, layout, layout.zero >= 3
        )
        weights = add_all("weights", "bytes", weights, copies)
    host: Value = 0.0
    if recipe.offload != "none":
        host, optimizer = optimizer, 0.0
    if recipe.offload == "all":
        host, weights = add_all("offloaded states", "bytes", host, weights), 0.0
    return States(weights, gradients, optimizer, host, dense, experts)


def _optimizer_bytes(recipe: Recipe) -> float:
    return recipe.optimizer_bytes


def _kind_bytes(
    label: str, each: Value, dense: Value, experts: Value, layout: Layout, sharded: bool
) -> Value:
    return derive(
        _sharded_bytes,
        label,
        "bytes",
        dense=dense,
        experts=experts,
        each=each,
        tensor=layout.tensor,
        context=layout.context,
        data=layout.data,
        shard=layout.shard,
        expert=layout.expert,
        expert_tensor=layout.expert_tensor,
        sharded=sharded,
    )


def _sharded_bytes(
    dense: Value,
    experts: Value,
    each: Value,
    tensor: Value,
    context: Value,
    data: Value,
    shard: Value,
    expert: Value,
    expert_tensor: Value,
    sharded: bool,
) -> Value:
    """One kind of state: dense parameters shared by context · shard devices, experts by those with the same ones."""
    if not sharded:
        return mem.state_bytes(dense + experts, each)
    group = context * shard
    same = mem.expert_data_group(tensor, context, np.minimum(shard, data), expert, expert_tensor)
    return mem.state_bytes(dense, each, group) + mem.state_bytes(experts, each, same)
