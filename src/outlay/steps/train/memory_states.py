"""Which layers and parameters a pipeline stage holds, and the bytes of its model states."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from outlay.architecture import Architecture, LayerKind
from outlay.derive import add_all, derive
from outlay.model_size import layer_parts, norm_parameters
from outlay.physics import memory as mem
from outlay.physics import placement
from outlay.physics.pipeline import DUAL_PIPE_COPIES
from outlay.steps.inputs import Layout, Recipe
from outlay.steps.train.memory_policy import MemoryPolicy

Value = Any  # a number, an array or a Quantity


class Stage(Struct, frozen=True, eq=False):
    """One pipeline stage: its layers by kind, and the parameters of one of its devices."""

    index: Value
    first: Value  # 1 where it holds the embedding, else 0
    last: Value  # 1 where it holds the head and the loss
    counts: tuple[tuple[LayerKind, Value], ...]
    dense: Value  # parameters of one device outside experts, before data-parallel sharding
    experts: Value
    tables: Value  # of `dense`, those of embedding and head


class States(Struct, frozen=True, eq=False):
    """Bytes of model states on one device, and what of them lives on the host."""

    weights: Value
    gradients: Value
    optimizer: Value
    host: Value
    step: Value  # temporaries of the optimiser step


def stage_of(arch: Architecture, layout: Layout, index: Value, policy: MemoryPolicy) -> Stage:
    """Layers and parameters of stage `index`."""
    last = derive(placement.is_last, "holds the head", "", stage=index, pipeline=layout.pipeline)
    first = derive(placement.is_first, "holds the embedding", "", stage=index)
    counts = _counts(arch, layout, index)
    split, replicated, experts = _layer_parameters(arch, (*counts, *_prediction_layers(arch, last)))
    split.append(derive(mem.times, "joining projections", "", count=last,
                        each=arch.mtp_layers * 2 * arch.hidden**2))
    tables = derive(mem.table_parameters, "embedding and head", "", first=first, last=last, vocab=arch.vocab,
                    hidden=arch.hidden, tied=arch.tied_embeddings, mtp=arch.mtp_layers, tensor=layout.tensor,
                    pad=policy.megatron)
    norm = arch.final_norm * norm_parameters(arch.norm, arch.hidden)
    replicated.append(derive(mem.loose_parameters, "positions and final norm", "", first=first, last=last,
                             positions=arch.position_rows * arch.hidden, norm=norm))
    dense = derive(mem.device_parameters, "dense parameters of a device", "",
                   split=add_all("split parameters", "", *split, tables),
                   replicated=add_all("replicated parameters", "", *replicated), tensor=layout.tensor)
    routed = derive(mem.expert_parameters, "expert parameters of a device", "",
                    experts=add_all("expert parameters", "", *experts) if experts else 0.0,
                    expert=layout.expert, expert_tensor=layout.expert_tensor)
    own_tables = derive(mem.device_parameters, "tables of a device", "", split=tables, replicated=0.0,
                        tensor=layout.tensor)
    return Stage(index, first, last, counts, dense, routed, own_tables)


def _layer_parameters(
        arch: Architecture,
        counts: tuple[tuple[LayerKind, Value], ...]) -> tuple[list[Value], list[Value], list[Value]]:
    """Parameters of each kind: divided by tensor parallelism, whole on every rank, of routed experts."""
    split: list[Value] = []
    replicated: list[Value] = []
    experts: list[Value] = []
    for kind, count in counts:
        parts = layer_parts(kind, arch.hidden, arch.norm)
        whole = parts.attention_replicated + parts.router + parts.norms
        split.append(derive(mem.times, "layer parameters", "", count=count,
                            each=parts.attention + parts.mlp + parts.shared))
        replicated.append(derive(mem.times, "replicated parameters", "", count=count, each=whole))
        if parts.experts:
            experts.append(derive(mem.times, "expert parameters", "", count=count, each=parts.experts))
    return split, replicated, experts


def prediction_kinds(arch: Architecture) -> tuple[LayerKind, ...]:
    """The kinds one prediction layer is made of: the last kind, and the last with what it lacks."""
    last = arch.runs[-1][0]
    kinds = [last]
    if last.mixer == "none":
        kinds += [kind for kind, _ in reversed(arch.runs) if kind.mixer in ("attention", "mla")][:1]
    return tuple(kinds)


def _prediction_layers(arch: Architecture, last: Value) -> tuple[tuple[LayerKind, Value], ...]:
    """The multi-token-prediction layers, all on the last stage."""
    if not arch.mtp_layers:
        return ()
    count = derive(mem.times, "prediction layers", "", count=last, each=arch.mtp_layers)
    return tuple((kind, count) for kind in prediction_kinds(arch))


def _counts(arch: Architecture, layout: Layout, index: Value) -> tuple[tuple[LayerKind, Value], ...]:
    """Layers of each kind on a stage."""
    totals: dict[LayerKind, list[Value]] = {}
    start, layers = 0, arch.layers
    for kind, count in arch.runs:
        totals.setdefault(kind, []).append(derive(
            placement.run_on_stage, "layers of a run", "", start=start, end=start + count, layers=layers,
            stage=index, pipeline=layout.pipeline, virtual_pipeline=layout.virtual_pipeline,
            first=layout.first_stage_layers, last=layout.last_stage_layers))
        start += count
    return tuple((kind, add_all("layers", "", *found)) for kind, found in totals.items())


def states_of(stage: Stage, recipe: Recipe, layout: Layout, policy: MemoryPolicy) -> States:
    """Weights, gradients and optimiser states of one device of a stage."""
    whole = add_all("parameters of a device", "", stage.dense, stage.experts)
    share = whole
    if layout.zero:
        share = derive(mem.sharded_parameters, "sharded parameters of a device", "", dense=stage.dense,
                       experts=stage.experts, tensor=layout.tensor, context=layout.context, data=layout.data,
                       shard=layout.shard, expert=layout.expert, expert_tensor=layout.expert_tensor)
    held = [share if layout.zero >= level else whole for level in (3, 2, 1)]
    copies = policy.weight_copies
    if policy.tuned is not None and policy.tuned.weight_copies is not None:
        copies = policy.tuned.weight_copies
    kept = recipe.weight_bytes + copies
    weights, gradients, optimizer = (
        derive(mem.state_bytes, label, "bytes", parameters=parameters, bytes_per_parameter=each)
        for label, parameters, each in zip(
            ("weights", "gradients", "optimizer"), held,
            (kept, recipe.gradient_bytes, recipe.master_bytes + recipe.optimizer_bytes), strict=True))
    if layout.schedule == "dualpipe":
        weights, gradients = (_twice(part) for part in (weights, gradients))
        optimizer = optimizer if layout.zero else _twice(optimizer)  # shared by twice the ranks otherwise
    if recipe.optimizer == "muon":
        optimizer = add_all("optimizer", "bytes", optimizer, _table_states(stage, recipe, layout))
    step: Value = 0.0
    if policy.tuned is not None:
        step = derive(mem.state_bytes, "step temporaries", "bytes", parameters=held[2],
                      bytes_per_parameter=policy.tuned.step_temporary_bytes * recipe.tuning.reduce_share)
    elif policy.separate_step and recipe.offload == "none":
        step = derive(mem.state_bytes, "step temporaries", "bytes", parameters=held[2],
                      bytes_per_parameter=4.0)
    host: Value = 0.0
    if recipe.offload != "none":
        host, optimizer = optimizer, 0.0
    if recipe.offload == "all":
        host, weights = add_all("offloaded states", "bytes", host, weights), 0.0
        if policy.tuned is not None and layout.zero >= 3:  # sharded gradients follow their weights
            host, gradients = add_all("offloaded states", "bytes", host, gradients), 0.0
    return States(weights, gradients, optimizer, host, step)


def _twice(part: Value) -> Value:
    return derive(mem.times, "a stage of both directions", "bytes", count=DUAL_PIPE_COPIES, each=part)


def _table_states(stage: Stage, recipe: Recipe, layout: Layout) -> Value:
    """Muon leaves embedding and head to AdamW, which keeps 8 bytes a parameter."""
    return derive(mem.table_state_bytes, "AdamW states of the tables", "bytes", tables=stage.tables,
                  each=max(8.0 - recipe.optimizer_bytes, 0.0), context=layout.context, shard=layout.shard,
                  sharded=layout.zero >= 1)
