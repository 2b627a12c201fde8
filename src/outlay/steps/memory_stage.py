"""Memory of one pipeline stage: what is alive at each candidate peak, and the parts at the highest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from outlay.architecture import Architecture, LayerKind
from outlay.derive import add_all, derive
from outlay.model_size import layer_parts
from outlay.physics import activations as act
from outlay.physics import memory as mem
from outlay.steps.inputs import Layout, Recipe
from outlay.steps.layers import Split
from outlay.steps.memory_layers import LayerBytes
from outlay.steps.memory_policy import MemoryPolicy
from outlay.steps.memory_states import Stage, States

Value = Any  # a number, an array or a Quantity
PARTS = (
    "weights",
    "gradients",
    "optimizer",
    "activations",
    "logits",
    "buffers",
    "framework",
    "fragmentation",
)


@dataclass(frozen=True, eq=False, slots=True)
class StageMemory:
    """One device of a stage at its peak; `parts` add up to memory_per_device_bytes.

    allocated and reserved are the framework allocator's peaks; resident is what stays between steps.
    """

    stage: Value
    parts: Mapping[str, Value]
    memory_per_device_bytes: Value
    memory_allocated_bytes: Value
    memory_reserved_bytes: Value
    memory_resident_bytes: Value
    memory_peak_moment: str | Value


def stage_memory(
    arch: Architecture,
    recipe: Recipe,
    layout: Layout,
    stage: Stage,
    states: States,
    layers: Mapping[LayerKind, LayerBytes],
    split: Split,
    policy: MemoryPolicy,
    micro_batches: Value,
) -> StageMemory:
    """Everything on one device of a stage."""
    held = derive(
        act.in_flight,
        "micro-batches in flight",
        "",
        pipeline=layout.pipeline,
        stage=stage.index,
        micro_batches=micro_batches,
        virtual_pipeline=layout.virtual_pipeline,
        schedule=layout.schedule,
    )
    one = _one_micro_batch(arch, stage, layers, split, policy)
    working = _largest_working(layers, stage)
    loss = _loss(arch, stage, layers, split, policy)
    table = derive(
        mem.table_gradient_bytes,
        "embedding gradient",
        "bytes",
        first=stage.first,
        vocab=arch.vocab,
        hidden=arch.hidden,
        tensor=layout.tensor,
    )
    peak = derive(
        mem.peak_above_states,
        "above states at the peak",
        "bytes",
        held=held,
        one=one,
        working=working,
        loss=loss,
        table=table,
    )
    activations = derive(
        mem.activations_at_peak,
        "activations",
        "bytes",
        held=held,
        one=one,
        working=working,
        loss=loss,
        table=table,
    )
    logits = derive(
        mem.logits_at_peak, "logits", "bytes", held=held, one=one, working=working, loss=loss, table=table
    )
    transient = derive(
        mem.rest_at_peak, "working set", "bytes", peak=peak, activations=activations, logits=logits
    )
    standing = _standing_buffers(arch, recipe, layout, stage, states, policy)
    buffers = add_all("buffers", "bytes", transient, *standing)
    return _with_driver(stage, states, activations, logits, buffers, policy, recipe)


def _with_driver(
    stage: Stage,
    states: States,
    activations: Value,
    logits: Value,
    buffers: Value,
    policy: MemoryPolicy,
    recipe: Recipe,
) -> StageMemory:
    """Add what the allocator loses and the driver takes; the residual, if any, is spread as fragmentation."""
    constants = policy.constants
    resident = add_all(
        "resident between steps",
        "bytes",
        states.weights,
        states.gradients,
        states.optimizer,
        constants.workspace_bytes,
    )
    counted = add_all(
        "allocated at the peak",
        "bytes",
        states.weights,
        states.gradients,
        states.optimizer,
        activations,
        logits,
        buffers,
    )
    allocated = derive(
        mem.with_residual,
        "memory allocated",
        "bytes",
        counted=counted,
        residual=recipe.options.get("memory_residual", 1.0),
    )
    lost = derive(
        mem.fragmentation_bytes,
        "fragmentation",
        "bytes",
        allocated=allocated,
        fraction=constants.fragmentation_fraction,
    )
    reserved = add_all("memory reserved", "bytes", allocated, lost)
    framework = add_all("framework", "bytes", constants.context_bytes, constants.communication_bytes)
    total = add_all("memory per device", "bytes", reserved, framework)
    fragmentation = derive(mem.difference, "fragmentation", "bytes", whole=reserved, part=counted)
    parts = {
        "weights": states.weights,
        "gradients": states.gradients,
        "optimizer": states.optimizer,
        "activations": activations,
        "logits": logits,
        "buffers": buffers,
        "framework": framework,
        "fragmentation": fragmentation,
    }
    return StageMemory(stage.index, parts, total, allocated, reserved, resident, "backward")


def _one_micro_batch(
    arch: Architecture,
    stage: Stage,
    layers: Mapping[LayerKind, LayerBytes],
    split: Split,
    policy: MemoryPolicy,
) -> Value:
    """Kept bytes of one micro-batch on a stage; its input is the first layer's norm input, counted there."""
    kept = [
        derive(mem.times, "kept by layers", "bytes", count=count, each=layers[kind].kept)
        for kind, count in stage.counts
    ]
    if policy.dropout:
        kept.append(
            derive(
                mem.mask_bytes,
                "embedding dropout mask",
                "bytes",
                tokens=split.tokens,
                by=split.row_split,
                hidden=arch.hidden,
                first=stage.first,
            )
        )
    return add_all("activations of one micro-batch", "bytes", *kept)


def _largest_working(layers: Mapping[LayerKind, LayerBytes], stage: Stage) -> Value:
    largest: Value = 0.0
    for kind, count in stage.counts:
        largest = derive(
            mem.larger_if_held,
            "largest working set",
            "bytes",
            so_far=largest,
            count=count,
            working=layers[kind].working,
        )
    return largest


def _loss(
    arch: Architecture,
    stage: Stage,
    layers: Mapping[LayerKind, LayerBytes],
    split: Split,
    policy: MemoryPolicy,
) -> Value:
    """Alive at the loss beyond the layers of the stage: logits, their rows, prediction layers."""
    logits = derive(
        act.logits_bytes,
        "logits",
        "bytes",
        tokens=split.tokens,
        vocab=arch.vocab,
        tensor=split.tensor,
        bytes_per_logit=policy.logit_bytes,
    )
    rows = derive(
        mem.loss_rows_bytes,
        "rows around the head",
        "bytes",
        tokens=split.tokens,
        by=split.row_split,
        tensor=split.tensor,
        hidden=arch.hidden,
        sequence_parallel=split.sequence_parallel,
    )
    terms = [logits, rows]
    if arch.mtp_layers:
        terms.append(
            derive(
                mem.prediction_bytes,
                "prediction layers",
                "bytes",
                layers=arch.mtp_layers,
                kept=layers[arch.runs[-1][0]].kept,
                tokens=split.tokens,
                by=split.row_split,
                hidden=arch.hidden,
                vocab=arch.vocab,
                tensor=split.tensor,
                bytes_per_logit=policy.kept_logit_bytes,
            )
        )
    return derive(
        mem.times,
        "alive at the loss",
        "bytes",
        count=stage.last,
        each=add_all("alive at the loss", "bytes", *terms),
    )


def _standing_buffers(
    arch: Architecture, recipe: Recipe, layout: Layout, stage: Stage, states: States, policy: MemoryPolicy
) -> list[Value]:
    """Buffers that stay through a step."""
    buffers: list[Value] = [policy.constants.workspace_bytes]
    if policy.gradient_dummies:
        buffers.append(_gradient_dummies(arch, layout, stage))
    if layout.zero >= 3:
        buffers.append(_gathered(arch, layout, stage, states, policy))
    elif recipe.framework == "deepspeed":
        buffers.append(
            derive(
                mem.bucket_bytes, "reduce and gather buckets", "bytes", parameters=states.dense, largest=5e8
            )
        )
    return buffers


def _gradient_dummies(arch: Architecture, layout: Layout, stage: Stage) -> Value:
    """One 16-bit gradient a matrix shape, reused by all layers (Transformer Engine's fused accumulation)."""
    terms: list[Value] = [
        derive(
            mem.head_dummy_bytes,
            "head gradient buffer",
            "bytes",
            last=stage.last,
            vocab=arch.vocab,
            hidden=arch.hidden,
            tensor=layout.tensor,
        )
    ]
    for kind, count in stage.counts:
        parts = layer_parts(kind, arch.hidden, arch.norm)
        one_expert = parts.experts / kind.experts if kind.experts else 0.0
        terms.append(
            derive(
                mem.layer_dummy_bytes,
                "gradient buffer a shape",
                "bytes",
                count=count,
                split=parts.attention + parts.mlp + parts.shared,
                replicated=parts.attention_replicated,
                expert=one_expert,
                tensor=layout.tensor,
                expert_tensor=layout.expert_tensor,
            )
        )
    return add_all("weight-gradient buffers", "bytes", *terms)


def _gathered(
    arch: Architecture, layout: Layout, stage: Stage, states: States, policy: MemoryPolicy
) -> Value:
    """Weights gathered under full sharding: the ends for the whole step, and a layer with the next one's buffers."""
    largest: Value = 0.0
    for kind, count in stage.counts:
        parts = layer_parts(kind, arch.hidden, arch.norm)
        largest = derive(
            mem.larger_layer,
            "largest layer",
            "",
            so_far=largest,
            count=count,
            split=parts.attention + parts.mlp + parts.shared,
            replicated=parts.attention_replicated + parts.router + parts.norms,
            experts=parts.experts,
            tensor=layout.tensor,
            expert=layout.expert,
            expert_tensor=layout.expert_tensor,
        )
    ends = derive(
        mem.ends_gathered_bytes,
        "gathered embedding and head",
        "bytes",
        first=stage.first,
        last=stage.last,
        vocab=arch.vocab,
        hidden=arch.hidden,
        tied=arch.tied_embeddings,
        tensor=layout.tensor,
        element=policy.element,
    )
    whole = add_all("parameters of a device", "", states.dense, states.experts)
    return derive(
        mem.gathered_bytes,
        "gathered weights",
        "bytes",
        layer=largest,
        ends=ends,
        whole=whole,
        pipeline=layout.pipeline,
        element=policy.element,
    )
