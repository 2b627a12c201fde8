"""Weights of one pipeline stage on one device, part by part, and adapters beside them."""

from __future__ import annotations

from typing import Any

import numpy as np
from msgspec import Struct

from outlay.architecture import Architecture, LayerKind
from outlay.derive import Quantity, add_all, derive, exact, value_of
from outlay.model_size import layer_parts, model_parts
from outlay.physics import weights as w
from outlay.physics.parameters import mlp_parameters
from outlay.steps.serve.inputs import ServeLayout, ServeRecipe, part_names

Value = Any


class StageLayers(Struct, frozen=True):
    """Which layers a pipeline stage holds."""

    index: int
    counts: tuple[tuple[LayerKind, int], ...]
    first: int
    last: int

    @property
    def layers(self) -> int:
        return self.last - self.first


def stage_layers(arch: Architecture, pipeline: int, index: int, head_counts: bool = False) -> StageLayers:
    """Layers of one stage, cut as evenly as whole layers allow.

    head_counts: the engine deals the output matrix out as one more layer; else what is left over goes to the
    stages before the last, which has the head.
    """
    if head_counts:
        first, last = (min(arch.layers, i * (arch.layers + 1) // pipeline) for i in (index, index + 1))
    else:
        each, over = divmod(arch.layers, pipeline)
        sizes = [each + (pipeline - 1 - over <= i < pipeline - 1) for i in range(pipeline)]
        first, last = sum(sizes[:index]), sum(sizes[: index + 1])
    return StageLayers(index, slice_kinds(arch, first, last), first, last)


def slice_kinds(arch: Architecture, first: int, last: int) -> tuple[tuple[LayerKind, int], ...]:
    """Kinds of the layers [first, last) with how many there are of each."""
    counts: dict[LayerKind, int] = {}
    start = 0
    for kind, run in arch.runs:
        held = min(last, start + run) - max(first, start)
        if held > 0:
            counts[kind] = counts.get(kind, 0) + held
        start += run
    return tuple(counts.items())


def kind_bytes(kind: LayerKind, arch: Architecture, recipe: ServeRecipe, layout: ServeLayout) -> Value:
    """Weights of one layer on one device."""
    parts = layer_parts(kind, arch.hidden, arch.norm)
    mixer, _ = part_names(kind)
    terms = [
        _part(parts.attention, mixer, recipe, layout.tensor),
        _part(parts.attention_replicated, mixer, recipe, 1),
        _part(parts.mlp - _biases(kind, arch.hidden), "mlp", recipe, layout.tensor),
        _part(_biases(kind, arch.hidden), "bias", recipe, layout.tensor),
        _part(parts.shared, "shared", recipe, layout.tensor),
        _part(parts.router, "router", recipe, 1),
        _part(parts.norms, "norms", recipe, 1),
    ]
    if kind.experts:
        terms += _experts(kind, arch, recipe, layout)
    return add_all("weights of a layer", "bytes", *[t for t in terms if not _is_zero(t)])


def _experts(kind: LayerKind, arch: Architecture, recipe: ServeRecipe, layout: ServeLayout) -> list[Value]:
    """Expert matrices and biases, dealt out over ranks; padded where the engine's kernels need it."""
    inner = kind.expert_hidden or arch.hidden
    matrices = mlp_parameters(inner, kind.expert_ffn, kind.gated)
    biases = mlp_parameters(inner, kind.expert_ffn, kind.gated, kind.mlp_bias) - matrices
    ranks = layout.tensor * layout.data
    pad = _padding(kind, inner, recipe)
    held = derive(
        w.expert_parameters_held,
        "expert parameters on a device",
        "parameters",
        experts=kind.experts,
        parameters_each=exact(matrices * pad, "parameters", "parameters of an expert", basis="derived")
        if _explained(recipe)
        else matrices * pad,
        expert_split=layout.expert,
        tensor_split=ranks / layout.expert,
    )
    found = [
        derive(
            w.weight_bytes, "experts", "bytes", parameters=held, bytes_per_weight=recipe.part_bytes["experts"]
        )
    ]
    if biases:
        found.append(_part(kind.experts * biases, "bias", recipe, ranks))
    return found


def _padding(kind: LayerKind, inner: int, recipe: ServeRecipe) -> float:
    """How much longer experts become when kernels need whole multiples; scales may stay as they are."""
    if recipe.precision != "mxfp4":
        return 1.0
    ffn, hidden = (float(recipe.constant(f"expert_{side}_multiple", 1.0)) for side in ("ffn", "hidden"))
    pad = float(w.padded_share(kind.expert_ffn, ffn) * w.padded_share(inner, hidden))
    if recipe.flag("expert_scale_padded"):
        return pad
    own = w.FORMATS["mxfp4"].bits
    return (w.MXFP4_ELEMENT_BITS * pad + own - w.MXFP4_ELEMENT_BITS) / own


def _biases(kind: LayerKind, hidden: int) -> int:
    if kind.mlp != "dense" or not kind.mlp_bias:
        return 0
    return int(mlp_parameters(hidden, kind.ffn, kind.gated, 1) - mlp_parameters(hidden, kind.ffn, kind.gated))


def _part(parameters: Value, part: str, recipe: ServeRecipe, split: Value) -> Value:
    count = (
        exact(float(parameters), "parameters", f"{part} parameters", basis="derived")
        if _explained(recipe)
        else float(parameters)
    )
    return derive(
        w.weight_bytes,
        f"{part} weights",
        "bytes",
        parameters=count,
        bytes_per_weight=recipe.part_bytes[part],
        split=split,
    )


def _explained(recipe: ServeRecipe) -> bool:
    """Whether lineage is wanted: engine constants come as quantities then."""
    return any(isinstance(v, Quantity) for v in recipe.constants.values())


def _is_zero(value: Value) -> bool:
    nominal = value.value if isinstance(value, Quantity) else value
    return isinstance(nominal, (int, float)) and nominal == 0


def stage_weights(
    arch: Architecture, recipe: ServeRecipe, layout: ServeLayout, stage: StageLayers, host_layers: int = 0
) -> tuple[Value, Value]:
    """Weights of a stage on one of its devices, and what stays on the host.

    host_layers: layers of this stage that the host keeps (its first ones).
    """
    held = slice_kinds(arch, stage.first + host_layers, stage.last)
    away = slice_kinds(arch, stage.first, stage.first + host_layers)
    ends, ends_away = _ends(arch, recipe, layout, stage, host_layers)
    device, host = list(ends), list(ends_away)
    if recipe.layer_bytes:
        device.append(sum(recipe.layer_bytes[stage.first + host_layers : stage.last]) / layout.tensor)
        host.append(sum(recipe.layer_bytes[stage.first : stage.first + host_layers]))
    else:
        device += (
            [kind_bytes(k, arch, recipe, layout) * n for k, n in held]
            if not _explained(recipe)
            else [
                derive(
                    _layers_of,
                    "weights of layers of a kind",
                    "bytes",
                    layer_bytes=kind_bytes(k, arch, recipe, layout),
                    layers=n,
                )
                for k, n in held
            ]
        )
        host += [value_of(kind_bytes(k, arch, recipe, layout)) * n for k, n in away]
    if recipe.flag("rotary_table"):
        device.append(_rotary_table(arch))
    if not _is_zero(recipe.extra_bytes) and stage.last == arch.layers:
        device.append(recipe.extra_bytes / layout.tensor)
    counted = add_all("weights as counted", "bytes", *(device or [0.0]))
    share = recipe.constant("loaded_share", 1.0)
    weights = derive(_loaded, "weights", "bytes", counted_bytes=counted, share=share)
    if recipe.host_weight_bytes:
        away = _away(arch, recipe, layout, held)
        host.append(away * layout.tensor * layout.data)
        weights = derive(_less, "weights on the device", "bytes", weights_bytes=weights, host_bytes=away)
    return weights, sum(host)


def _away(
    arch: Architecture, recipe: ServeRecipe, layout: ServeLayout, held: tuple[tuple[LayerKind, int], ...]
) -> Value:
    """Bytes of a device's layers that stay on the host: what is asked, as far as layers have as many."""
    layers: Value = 0.0
    for kind, count in held:
        one = kind_bytes(kind, arch, recipe, layout)
        layers = layers + (one.value if isinstance(one, Quantity) else one) * count
    return np.minimum(recipe.host_weight_bytes, layers)


def _less(weights_bytes: Value, host_bytes: Value) -> Value:
    """Weights without those that stay on the host."""
    return weights_bytes - host_bytes


def _rotary_table(arch: Architecture) -> float:
    """Cosines and sines of every position in 16 bits, one table for each width there is."""
    widths = {k.qk_rope_head_dim or k.head_dim for k, _ in arch.groups if k.mixer in ("attention", "mla")}
    return float(sum(widths) * arch.max_positions * w.WIDE_BYTES) if arch.positions == "rope" else 0.0


def _ends(
    arch: Architecture, recipe: ServeRecipe, layout: ServeLayout, stage: StageLayers, host_layers: int
) -> tuple[list[Value], list[float]]:
    """Embedding, final norm and head; an engine may keep the embedding on the host."""
    parts = model_parts(arch)
    whole, on_host = [], []
    embedding = _part(parts.embedding, "embedding", recipe, layout.tensor)
    last = stage.last == arch.layers
    keeps_head = host_layers < stage.layers or not host_layers
    if stage.first == 0:
        if recipe.flag("embedding_on_host"):
            on_host.append(value_of(embedding))
        else:
            whole.append(embedding)
    if last:
        tied_copy = arch.tied_embeddings and (stage.first > 0 or recipe.flag("embedding_on_host"))
        head = (
            _part(parts.embedding, "head", recipe, layout.tensor)
            if tied_copy
            else _part(parts.head, "head", recipe, layout.tensor)
        )
        end = [head, _part(parts.final_norm, "norms", recipe, 1)]
        if keeps_head:
            whole += [t for t in end if not _is_zero(t)]
        else:
            on_host += [value_of(t) for t in end]
    return whole, on_host


def _layers_of(layer_bytes: Value, layers: Value) -> Value:
    """Weights of one layer times the layers of its kind."""
    return layer_bytes * layers


def _loaded(counted_bytes: Value, share: Value) -> Value:
    """Weights as counted, and what an engine keeps beside them."""
    return counted_bytes * share



def adapter_bytes(arch: Architecture, recipe: ServeRecipe, layout: ServeLayout, stage: StageLayers) -> Value:
    """Low-rank adapters of every linear layer, in 16 bits, for as many as are loaded at once."""
    if not recipe.adapters:
        return 0.0
    each = 0
    for kind, layers in stage.counts:
        for inputs, outputs in adapted_matrices(kind, arch.hidden):
            each += layers * int(w.adapter_parameters(recipe.adapter_rank, inputs, outputs))
    return w.weight_bytes(recipe.adapters * float(each), w.WIDE_BYTES, layout.tensor)


def adapted_matrices(kind: LayerKind, hidden: int) -> list[tuple[int, int]]:
    """Inputs and outputs of the matrices adapters sit on: attention and dense feed-forward."""
    found: list[tuple[int, int]] = []
    if kind.mixer == "attention":
        value_dim = kind.v_head_dim or kind.head_dim
        found += [
            (hidden, kind.heads * kind.head_dim),
            (hidden, kind.kv_heads * kind.head_dim),
            (hidden, kind.kv_heads * value_dim),
            (kind.heads * value_dim, hidden),
        ]
    if kind.mlp == "dense":
        found += [(hidden, kind.ffn)] * (1 + kind.gated) + [(kind.ffn, hidden)]
    return found
