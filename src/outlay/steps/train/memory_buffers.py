"""Buffers of a training step that are neither states nor activations, and what is alive at the loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from outlay.architecture import Architecture, LayerKind
from outlay.derive import add_all, derive
from outlay.model_size import layer_parts
from outlay.physics import activations as act
from outlay.physics import memory as mem
from outlay.steps.inputs import Layout, Recipe
from outlay.steps.layers import Split
from outlay.steps.train.memory_layers import LayerBytes
from outlay.steps.train.memory_policy import MemoryPolicy
from outlay.steps.train.memory_states import Stage, prediction_kinds

Value = Any  # a number, an array or a Quantity
BUCKET_ELEMENTS = 5e8  # DeepSpeed's default reduce and gather bucket


def alive_at_loss(arch: Architecture, layers: Mapping[LayerKind, LayerBytes], split: Split,
                  policy: MemoryPolicy) -> Value:
    """Alive at the loss beyond the layers of the last stage: logits, their rows, prediction layers."""
    logits = derive(act.logits_bytes, "logits", "bytes", tokens=split.tokens, vocab=arch.vocab,
                    tensor=split.tensor, bytes_per_logit=policy.logit_bytes)
    rows = derive(mem.loss_rows_bytes, "rows around the head", "bytes", tokens=split.tokens,
                  by=split.row_split, tensor=split.tensor, hidden=arch.hidden,
                  sequence_parallel=split.sequence_parallel)
    terms = [logits, rows]
    if policy.tuned is not None and policy.tuned.head_gradient_bytes:
        terms.append(derive(mem.head_gradient_bytes, "head gradient by chunks", "bytes", vocab=arch.vocab,
                            hidden=arch.hidden, tensor=split.tensor, each=policy.tuned.head_gradient_bytes))
    if arch.mtp_layers:
        kept = add_all("kept by a prediction layer", "bytes",
                       *(layers[kind].kept for kind in prediction_kinds(arch)))
        terms.append(derive(mem.prediction_bytes, "prediction layers", "bytes", layers=arch.mtp_layers,
                            kept=kept, tokens=split.tokens, by=split.row_split, hidden=arch.hidden,
                            vocab=arch.vocab,
                            tensor=split.tensor, bytes_per_logit=policy.kept_logit_bytes))
    return add_all("alive at the loss", "bytes", *terms)


def kept_buffers(arch: Architecture, layout: Layout, stage: Stage, policy: MemoryPolicy) -> Value:
    """Buffers that outlive a step: workspaces and reused weight-gradient buffers."""
    kept: list[Value] = [policy.constants.workspace_bytes]
    if policy.megatron:
        if any(kind.mlp == "moe" for kind, _ in arch.groups):
            kept.append(policy.constants.grouped_workspace_bytes)
        kept.append(_gradient_dummies(arch, layout, stage))
    return add_all("standing buffers", "bytes", *kept)


def sharding_buffers(arch: Architecture, recipe: Recipe, layout: Layout, stage: Stage,
                     policy: MemoryPolicy) -> tuple[Value, Value]:
    """Weights gathered under full sharding, or buckets; and the gradients of one gathered layer."""
    if layout.zero >= 3:
        largest = _largest_layer(arch, layout, stage)
        trained = policy.tuned.trained_share if policy.tuned is not None else 1.0
        gradients = derive(mem.layer_gradient_bytes, "gradients of a gathered layer", "bytes", layer=largest,
                           pipeline=layout.pipeline, element=policy.element, trained=trained)
        return _gathered(arch, layout, stage, largest, policy), gradients
    if recipe.framework == "deepspeed":
        trained = policy.tuned.reduce_share if policy.tuned is not None else 1.0
        return derive(mem.bucket_bytes, "reduce and gather buckets", "bytes", parameters=stage.dense,
                      largest=BUCKET_ELEMENTS, trained=trained), 0.0
    return 0.0, 0.0


def _gradient_dummies(arch: Architecture, layout: Layout, stage: Stage) -> Value:
    """One 16-bit gradient a matrix shape, reused by all layers (Transformer Engine's fused accumulation)."""
    terms: list[Value] = [derive(mem.table_gradient_bytes, "head gradient buffer", "bytes", held=stage.last,
                                 vocab=arch.vocab, hidden=arch.hidden, tensor=layout.tensor)]
    for kind, count in stage.counts:
        parts = layer_parts(kind, arch.hidden, arch.norm)
        terms.append(derive(mem.layer_dummy_bytes, "gradient buffer a shape", "bytes", count=count,
                            split=parts.attention + parts.mlp + parts.shared,
                            replicated=parts.attention_replicated,
                            expert=parts.experts / kind.experts if kind.experts else 0.0,
                            tensor=layout.tensor, expert_tensor=layout.expert_tensor))
    return add_all("weight-gradient buffers", "bytes", *terms)


def _largest_layer(arch: Architecture, layout: Layout, stage: Stage) -> Value:
    """Parameters of the largest layer of a device."""
    largest: Value = 0.0
    for kind, count in stage.counts:
        parts = layer_parts(kind, arch.hidden, arch.norm)
        largest = derive(mem.larger_layer, "largest layer", "", so_far=largest, count=count,
                         split=parts.attention + parts.mlp + parts.shared,
                         replicated=parts.attention_replicated + parts.router + parts.norms,
                         experts=parts.experts, tensor=layout.tensor, expert=layout.expert,
                         expert_tensor=layout.expert_tensor)
    return largest


def _gathered(arch: Architecture, layout: Layout, stage: Stage, largest: Value,
              policy: MemoryPolicy) -> Value:
    """The ends gathered for the whole step, and a layer with the next one's buffers."""
    tuned = policy.tuned
    ends = derive(mem.ends_gathered_bytes, "gathered embedding and head", "bytes", first=stage.first,
                  last=stage.last, vocab=arch.vocab, hidden=arch.hidden, tied=arch.tied_embeddings,
                  tensor=layout.tensor, element=policy.element,
                  head_trained=tuned is None or tuned.head_trained)
    if tuned is not None and not tuned.gathers_root:
        ends = 0.0
    whole = add_all("parameters of a device", "", stage.dense, stage.experts)
    return derive(mem.gathered_bytes, "gathered weights", "bytes", layer=largest, ends=ends, whole=whole,
                  pipeline=layout.pipeline, element=policy.element if tuned is None else tuned.gathered_bytes)
