"""Activation bytes of one layer for one micro-batch on one rank: what it keeps, what its backward needs."""

from __future__ import annotations

from typing import Any

import numpy as np
from msgspec import Struct

from outlay.architecture import Architecture, LayerKind
from outlay.derive import add_all, derive
from outlay.physics import activations as act
from outlay.steps.inputs import Recipe
from outlay.steps.layers import Split
from outlay.steps.train.memory_policy import MemoryPolicy
from outlay.steps.tune.memory import layer_difference

Value = Any  # a number, an array or a Quantity


class LayerBytes(Struct, frozen=True, eq=False):
    """kept: from its forward to its backward; working: on top of that while its backward runs."""

    kept: Value
    working: Value


def layer_bytes(kind: LayerKind, arch: Architecture, recipe: Recipe, split: Split, recompute: str,
                policy: MemoryPolicy) -> LayerBytes:
    """Bytes of one layer under a recomputation policy (none, selective or full)."""
    rows = derive(_divide, "rows of a rank", "", value=split.tokens, by=split.row_split)
    whole = _kept(kind, arch, recipe, split, rows, policy, frozenset())
    working = _backward(kind, arch, split, rows)
    kept = whole
    if recompute == "full":
        kept = derive(_checkpoint_bytes, "layer input", "bytes", tokens=rows, hidden=arch.hidden)
    elif recompute == "selective":
        kept = _selective(kind, arch, recipe, split, rows, policy)
    if recompute != "none":
        working = derive(_recomputed_bytes, "recomputed layer", "bytes", whole=whole, kept=kept,
                         working=working)
    scale = policy.element / act.HALF
    if scale == 1.0:
        return LayerBytes(kept, working)
    return LayerBytes(derive(_times, "kept by one layer", "bytes", value=kept, by=scale),
                      derive(_times, "working set of one layer", "bytes", value=working, by=scale))


def _kept(kind: LayerKind, arch: Architecture, recipe: Recipe, split: Split, rows: Value,
          policy: MemoryPolicy, again: frozenset[str]) -> Value:
    """Tensors of a layer but for those of the modules computed again."""
    return add_all("kept by one layer", "bytes", *_mixer(kind, arch, recipe, split, rows, policy, again),
                   *_mlp(kind, arch, split, rows, policy, again), *_masks(kind, arch, rows, policy),
                   *_tuned(kind, arch, recipe, split, rows, policy))


def _tuned(kind: LayerKind, arch: Architecture, recipe: Recipe, split: Split, rows: Value,
           policy: MemoryPolicy) -> list[Value]:
    """What a fine-tune keeps more or less."""
    if recipe.tuning is None:
        return []
    row_bytes, token_bytes = layer_difference(kind, arch, recipe, policy)
    return [derive(_difference_bytes, "frozen operands and adapters", "bytes", rows=rows, row_bytes=row_bytes,
                   tokens=split.tokens, token_bytes=token_bytes, tensor=split.tensor)]


def _difference_bytes(rows: Value, row_bytes: Value, tokens: Value, token_bytes: Value, tensor: Value) -> Value:
    """Bytes kept beyond those of training every matrix under fused kernels; negative where frozen."""
    return rows * row_bytes + tokens * token_bytes / tensor


def _selective(kind: LayerKind, arch: Architecture, recipe: Recipe, split: Split, rows: Value,
               policy: MemoryPolicy) -> Value:
    if policy.operator_recompute and kind.mlp != "none" and kind.mixer in ("attention", "mla"):
        return derive(_saved_products_bytes, "saved operators", "bytes", kind=kind, hidden=arch.hidden,
                      tokens=split.tokens, rows=rows, tensor=split.tensor, dead=not policy.split_gate,
                      expert_tensor=split.expert_tensor, imbalance=arch.expert_imbalance)
    return _kept(kind, arch, recipe, split, rows, policy, frozenset(policy.recompute_modules))


def _saved_products_bytes(
    kind: LayerKind,
    hidden: int,
    tokens: Value,
    rows: Value,
    tensor: Value,
    dead: bool,
    expert_tensor: Value,
    imbalance: Value,
) -> Value:
    """Layer input, every second product of the layer, the fused attention's output, reduced outputs.

    torchtitan's per-operator checkpointing counts products q, k, v, o, gate, up, down and keeps the odd ones.
    Compilation drops what no backward reads (the last product).
    """
    value = kind.v_head_dim or kind.head_dim
    heads = kind.heads * kind.head_dim + kind.kv_heads * value + kind.heads * value
    per_token = act.HALF * heads + act.SINGLE * kind.heads
    if kind.mlp == "moe":
        routed = act.routed_tokens(rows, kind.experts_per_token, expert_tensor, imbalance)
        inner = routed * (act.HALF * hidden + act.HALF * kind.expert_ffn / expert_tensor)
        inner = inner + act.HALF * tokens * kind.shared_ffn / tensor
    else:
        inner = act.HALF * tokens * kind.ffn / tensor
    reduced = np.where(np.asarray(tensor) > 1, act.HALF * rows * hidden, 0.0)
    last = 0.0 if dead else act.HALF * tokens * hidden
    return act.HALF * rows * hidden + tokens * per_token / tensor + inner + reduced + last


def _mixer(kind: LayerKind, arch: Architecture, recipe: Recipe, split: Split, rows: Value,
           policy: MemoryPolicy, again: frozenset[str]) -> list[Value]:
    """Tensors of the token mixer."""
    if kind.mixer == "none":
        return []
    norm = derive(act.norm_saved_bytes, "mixer norm", "bytes", row_tokens=rows, hidden=arch.hidden,
                  operand=0.0 if "layernorm" in again else policy.operand)
    fused, core_kept = recipe.attention != "unfused", "core_attn" not in again
    if kind.mixer == "attention":
        core = derive(_attention_bytes, "attention tensors", "bytes", kind=kind,
                      value=kind.v_head_dim or kind.head_dim, tokens=split.tokens, tensor=split.tensor,
                      context=split.context, fused=fused and core_kept, operand=policy.operand)
    elif kind.mixer == "mla":
        core = derive(act.mla_saved_bytes, "latent attention tensors", "bytes", tokens=split.tokens,
                      row_tokens=rows, heads=kind.heads, query_width=kind.head_dim,
                      value_width=kind.v_head_dim, latent_width=kind.q_lora_rank + kind.kv_lora_rank,
                      rope_width=kind.qk_rope_head_dim, tensor=split.tensor, context=split.context,
                      fused=fused and core_kept, operand=policy.operand, expanded="mla_up_proj" not in again)
    else:
        return [norm, _linear_mixer(kind, split)]
    if fused or not core_kept:
        return [norm, core]
    return [norm, core, derive(act.unfused_scores_bytes, "attention scores", "bytes", tokens=split.tokens,
                               sequence=recipe.row_tokens, heads=kind.heads, tensor=split.tensor,
                               dropout=policy.dropout)]


def _attention_bytes(
    kind: LayerKind, value: int, tokens: Value, tensor: Value, context: Value, fused: bool, operand: float
) -> Value:
    """Attention tensors of one rank; a rank holds at least one key-value head."""
    kv_width = np.maximum(kind.kv_heads, tensor) * (kind.head_dim + value)
    return act.attention_saved_bytes(
        tokens,
        kind.heads * kind.head_dim,
        kv_width,
        kind.heads * value,
        kind.heads,
        tensor,
        context,
        fused,
        operand,
    )


def _linear_mixer(kind: LayerKind, split: Split) -> Value:
    """State-space and linear-attention mixers."""
    inner = kind.heads * kind.head_dim
    keys = (kind.groups or kind.heads) * kind.state
    return derive(
        act.ssm_saved_bytes,
        "state-space tensors",
        "bytes",
        tokens=split.tokens,
        inner=inner,
        state_width=keys,
        heads=kind.heads,
        head_dim=kind.head_dim,
        state=kind.state,
        tensor=split.tensor,
    )


def _mlp(kind: LayerKind, arch: Architecture, split: Split, rows: Value, policy: MemoryPolicy,
         again: frozenset[str]) -> list[Value]:
    if kind.mlp == "none":
        return []
    operand = 0.0 if "layernorm" in again else policy.operand if kind.mlp == "dense" else act.HALF
    parts = [derive(act.norm_saved_bytes, "channel norm", "bytes", row_tokens=rows, hidden=arch.hidden,
                    operand=operand)]
    module = "mlp" if kind.mlp == "dense" else "shared_experts"
    width = kind.ffn if kind.mlp == "dense" else kind.shared_ffn
    if width and module not in again and not (kind.mlp == "moe" and "moe" in again):
        parts.append(derive(act.mlp_saved_bytes, "feed-forward tensors", "bytes", tokens=split.tokens,
                            ffn=width, gated=kind.gated, tensor=split.tensor, split_gate=policy.split_gate,
                            operand=policy.operand))
    return parts + (_experts(kind, arch, split, rows, policy, again) if kind.mlp == "moe" else [])


def _experts(kind: LayerKind, arch: Architecture, split: Split, rows: Value, policy: MemoryPolicy,
             again: frozenset[str]) -> list[Value]:
    if "moe" in again:
        return []
    routed = _routed(kind, arch, split, rows)
    return [derive(act.experts_saved_bytes, "expert tensors", "bytes", routed=routed,
                   hidden=kind.expert_hidden or arch.hidden, ffn=kind.expert_ffn, gated=kind.gated,
                   expert_tensor=split.expert_tensor, split_gate=policy.split_gate, operand=policy.operand,
                   activated="moe_act" not in again),
            derive(act.routing_saved_bytes, "routing tensors", "bytes", row_tokens=rows, experts=kind.experts,
                   experts_per_token=kind.experts_per_token)]


def _routed(kind: LayerKind, arch: Architecture, split: Split, rows: Value) -> Value:
    return derive(
        act.routed_tokens,
        "rows of the experts of a rank",
        "",
        row_tokens=rows,
        experts_per_token=kind.experts_per_token,
        expert_tensor=split.expert_tensor,
        imbalance=arch.expert_imbalance,
    )


def _masks(kind: LayerKind, arch: Architecture, rows: Value, policy: MemoryPolicy) -> list[Value]:
    """Residual dropout masks."""
    if not policy.dropout:
        return []
    mask = derive(act.dropout_masks_bytes, "dropout masks", "bytes", row_tokens=rows, hidden=arch.hidden)
    both = kind.mixer != "none" and kind.mlp != "none"
    return [mask] if both else [derive(_times, "dropout mask", "bytes", value=mask, by=0.5)]


def _backward(kind: LayerKind, arch: Architecture, split: Split, rows: Value) -> Value:
    width = kind.ffn if kind.mlp == "dense" else kind.shared_ffn if kind.mlp == "moe" else 0
    if kind.mlp == "none":
        width = kind.heads * kind.head_dim  # the mixer's own entry projection stands in
    dense = derive(
        act.mlp_backward_bytes,
        "gradients inside a layer",
        "bytes",
        tokens=split.tokens,
        row_tokens=rows,
        hidden=arch.hidden,
        ffn=width,
        gated=kind.gated,
        tensor=split.tensor,
        sequence_parallel=split.sequence_parallel,
    )
    if kind.mlp != "moe":
        return dense
    experts = derive(
        act.experts_backward_bytes,
        "gradients inside the experts",
        "bytes",
        routed=_routed(kind, arch, split, rows),
        hidden=kind.expert_hidden or arch.hidden,
        ffn=kind.expert_ffn,
        gated=kind.gated,
        expert_tensor=split.expert_tensor,
    )
    return add_all("gradients inside a layer", "bytes", dense, experts)


def _divide(value: Value, by: Value) -> Value:
    """Divide."""
    return value / by


def _times(value: Value, by: Value) -> Value:
    """Multiply."""
    return value * by


def _checkpoint_bytes(tokens: Value, hidden: int) -> Value:
    """The input of a layer, all that full recomputation keeps (2sbh, Korthikanti et al. 2022)."""
    return act.HALF * tokens * hidden


def _recomputed_bytes(whole: Value, kept: Value, working: Value) -> Value:
    """One layer's tensors come back before its backward runs."""
    return np.maximum(whole - kept, 0.0) + working
