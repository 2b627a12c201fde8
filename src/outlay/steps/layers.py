"""What one decoder layer makes a device do for one micro-batch: matrix multiplications, attention, traffic.

Shapes are (rows m, columns n, reduction k, how many, bytes per result element) on one rank. Widths are split
by tensor parallelism; tokens are those of one micro-batch after the context split.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from msgspec import Struct

from outlay.architecture import LayerKind
from outlay.physics import num
from outlay.physics.flops import attention_flop, attention_span, chunked_scan_flop
from outlay.physics.sparse import attended_span
from outlay.steps.inputs import Recipe

Num = Any  # a float or an array; layouts carry no Quantity
Shape = tuple[Any, Any, Any, Any, Any]
SCAN_CHUNK = 256.0  # positions in one chunk of a state-space kernel
UNFUSED_SCORE_BYTES = (
    13.0,
    17.0,
)  # written and read per attention score, forward and backward, 16-bit scores
HALF = 2.0  # bytes of a 16-bit element


class Split(Struct, frozen=True, eq=False):
    """How one micro-batch of one layer is cut; numbers or arrays of one shape."""

    tokens: Num  # of the micro-batch on this rank after the context split
    tensor: Num
    context: Num
    expert: Num
    expert_tensor: Num
    sequence_parallel: bool

    @property
    def row_split(self) -> Any:
        """By how much norms and residuals are split."""
        return self.tensor if self.sequence_parallel else 1.0


def mixer_shapes(kind: LayerKind, hidden: int, split: Split) -> tuple[Shape, ...]:
    """Projections of the token mixer."""
    rows, t = split.tokens, split.tensor
    if kind.mixer == "attention":
        return _attention_shapes(kind, hidden, split)
    if kind.mixer == "mla":
        return _mla_shapes(kind, hidden, split)
    if kind.mixer == "none":
        return ()
    inner = kind.heads * kind.head_dim
    if kind.mixer in ("mamba1", "mamba2"):
        entry = (2 * inner + 2 * kind.groups * kind.state + kind.heads) / t
    else:  # linear attention: keys and queries of `groups` heads, values and gate of `heads`
        entry = (2 * (kind.groups or kind.heads) * kind.state + 2 * inner + 2 * kind.heads) / t
    return ((rows, entry, hidden, 1.0, HALF), (rows, hidden, inner / t, 1.0, HALF))


def _attention_shapes(kind: LayerKind, hidden: int, split: Split) -> tuple[Shape, ...]:
    """Queries, keys and values in one product and the output; either end may pass through a low rank."""
    rows, t = split.tokens, split.tensor
    value_dim = kind.v_head_dim or kind.head_dim
    kv = num.maximum(kind.kv_heads / t, 1.0) * (kind.head_dim if kind.shared_kv else kind.head_dim + value_dim)
    queries = kind.heads * kind.head_dim / t * (1.0 if kind.output_gate == "none" else 2.0)
    out = kind.heads * value_dim / t
    if kind.q_lora_rank:
        entry: tuple[Shape, ...] = (
            (rows, kind.q_lora_rank + kv, hidden, 1.0, HALF),
            (rows, queries, kind.q_lora_rank, 1.0, HALF),
        )
    else:
        entry = ((rows, queries + kv, hidden, 1.0, HALF),)
    if kind.o_lora_rank:
        groups = max(kind.o_groups, 1) / t
        return (
            *entry,
            (rows, kind.o_lora_rank, out / groups, groups, HALF),
            (rows, hidden, groups * kind.o_lora_rank, 1.0, HALF),
        )
    return (*entry, (rows, hidden, out, 1.0, HALF))


def _mla_shapes(kind: LayerKind, hidden: int, split: Split) -> tuple[Shape, ...]:
    rows, t = split.tokens, split.tensor
    nope = kind.head_dim - kind.qk_rope_head_dim
    query_in = kind.q_lora_rank or hidden
    down = kind.kv_lora_rank + kind.qk_rope_head_dim + kind.q_lora_rank
    return (
        (rows / split.row_split, down, hidden, 1.0, HALF),
        (rows, kind.heads * kind.head_dim / t, query_in, 1.0, HALF),
        (rows, kind.heads * (nope + kind.v_head_dim) / t, kind.kv_lora_rank, 1.0, HALF),
        (rows, hidden, kind.heads * kind.v_head_dim / t, 1.0, HALF),
    )


def mlp_shapes(kind: LayerKind, hidden: int, split: Split) -> tuple[Shape, ...]:
    """The dense feed-forward part: a dense MLP, or the shared experts of a mixture."""
    width = kind.ffn if kind.mlp == "dense" else kind.shared_ffn if kind.mlp == "moe" else 0
    rows, t = split.tokens, split.tensor
    latent: tuple[Shape, ...] = ()
    if kind.mlp == "moe" and kind.expert_hidden:  # experts work in a narrower space
        narrow = kind.expert_hidden
        latent = ((rows / t, narrow, hidden, 1.0, HALF), (rows / t, hidden, narrow, 1.0, HALF))
    if not width:
        return latent
    return (
        *latent,
        (rows, (2.0 if kind.gated else 1.0) * width / t, hidden, 1.0, HALF),
        (rows, hidden, width / t, 1.0, HALF),
    )


def expert_shapes(kind: LayerKind, hidden: int, split: Split, imbalance: float) -> tuple[Shape, ...]:
    """Routed experts held by one rank, on the tokens its expert group sends them; the fullest rank by
    imbalance.
    """
    if kind.mlp != "moe":
        return ()
    sent = split.tokens / split.tensor * kind.experts_per_token  # token copies leaving one rank
    held = kind.experts / split.expert
    rows = sent * split.expert * split.expert_tensor / kind.experts * imbalance
    wide = (2.0 if kind.gated else 1.0) * kind.expert_ffn / split.expert_tensor
    return (
        (rows, wide, hidden, held, HALF),
        (rows, hidden, kind.expert_ffn / split.expert_tensor, held, HALF),
    )


def backward_shapes(shapes: tuple[Shape, ...], gradient_bytes: Num) -> tuple[Shape, ...]:
    """Data gradients (m x k over n) and weight gradients (n x k over m, added into gradient_bytes each)."""
    return data_gradient_shapes(shapes) + weight_gradient_shapes(shapes, gradient_bytes)


def data_gradient_shapes(shapes: tuple[Shape, ...]) -> tuple[Shape, ...]:
    return tuple((m, k, n, count, HALF) for m, n, k, count, _ in shapes)


def weight_gradient_shapes(shapes: tuple[Shape, ...], gradient_bytes: Num) -> tuple[Shape, ...]:
    return tuple((n, k, m, count, 2.0 * gradient_bytes) for m, n, k, count, _ in shapes)


def weights_of(shapes: tuple[Shape, ...]) -> Num:
    """Parameters behind the shapes on this rank."""
    total: Num = 0.0
    for _, n, k, count, _ in shapes:
        total = total + n * k * count
    return total


def core_flop(kind: LayerKind, recipe: Recipe, split: Split, causal: bool) -> Num:
    """Forward arithmetic between positions: attention scores and sums, or the chunked scan."""
    if kind.mixer in ("attention", "mla"):
        span = _span(kind, recipe) if causal else float(recipe.sequence_length)
        value_dim = kind.v_head_dim or kind.head_dim
        flop = attention_flop(split.tokens, kind.heads / split.tensor, kind.head_dim, value_dim, span)
        index_span = attention_span(float(recipe.sequence_length)) / max(kind.compress, 1)
        return flop + attention_flop(split.tokens, kind.indexer_heads, kind.indexer_head_dim, 0.0, index_span)
    if kind.mixer == "none":
        return 0.0 * split.tokens
    groups = kind.groups or kind.heads
    return chunked_scan_flop(
        split.tokens, kind.heads / split.tensor, kind.head_dim, kind.state, groups / split.tensor, SCAN_CHUNK
    )


def _span(kind: LayerKind, recipe: Recipe) -> Num:
    """Mean positions a query attends: causal, within packed documents, in a window, of a compressed past."""
    length = float(recipe.sequence_length)
    mean, mean_square = recipe.packed_lengths
    if recipe.packing and mean > 0:
        length = mean_square / mean
    return attended_span(length, float(kind.window), float(kind.compress), float(kind.indexer_topk))


def core_bytes(kind: LayerKind, recipe: Recipe, split: Split) -> tuple[Num, Num]:
    """Traffic of the part between positions, (forward, backward)."""
    if kind.mixer == "none":
        return 0.0 * split.tokens, 0.0 * split.tokens
    heads = kind.heads / split.tensor
    value_dim = kind.v_head_dim or kind.head_dim
    if kind.mixer in ("attention", "mla"):
        kv = np.maximum(kind.kv_heads / split.tensor, 1.0)
        operands = (
            HALF * split.tokens * (heads * (kind.head_dim + value_dim) + kv * (kind.head_dim + value_dim))
        )
        if recipe.attention == "unfused":
            scores = split.tokens * heads * float(recipe.sequence_length)
            return operands + UNFUSED_SCORE_BYTES[0] * scores, 2 * operands + UNFUSED_SCORE_BYTES[1] * scores
        return operands, 2.5 * operands
    inner = heads * kind.head_dim
    moved = (
        HALF * split.tokens * (12.0 * inner + 6.0 * (kind.groups or kind.heads) * kind.state / split.tensor)
    )
    return moved, 2.0 * moved


def traffic_bytes(kind: LayerKind, hidden: int, split: Split) -> Num:
    """Forward bytes of kernels that only move: two norms, two residual sums, rotation, activation function.

    Norm 2h in, 2h out; residual sum 4h in, 2h out; both split only under sequence parallelism. Queries and
    keys are read and written once more by the rotation; a gated activation reads two widths and writes one.
    """
    parts = int(kind.mixer != "none") + int(kind.mlp != "none")
    rows = 10.0 * hidden * parts * max(kind.streams, 1) / split.row_split
    inner: Num = 0.0
    if kind.mixer in ("attention", "mla"):
        inner = (
            4.0 * (kind.heads + np.maximum(kind.kv_heads / split.tensor, 1.0) * split.tensor) * kind.head_dim
        )
    if kind.mlp == "dense":
        inner = inner + (6.0 if kind.gated else 4.0) * kind.ffn
    elif kind.mlp == "moe":
        inner = inner + (6.0 if kind.gated else 4.0) * kind.shared_ffn
    return split.tokens * (rows + inner / split.tensor)


def routing_bytes(kind: LayerKind, hidden: int, split: Split) -> Num:
    """Forward bytes of a mixture around its experts: router, permutation there and back, activation
    function.
    """
    if kind.mlp != "moe":
        return 0.0 * split.tokens
    copies = split.tokens / split.tensor * kind.experts_per_token
    activation = (6.0 if kind.gated else 4.0) * kind.expert_ffn
    if kind.mlp_bias:  # added to each product in a pass of its own
        wide = (2.0 if kind.gated else 1.0) * kind.expert_ffn
        activation = activation + 4.0 * (wide + (kind.expert_hidden or hidden))
    router = 4.0 * 4.0 * kind.experts * split.tokens / split.tensor
    return copies * (16.0 * (kind.expert_hidden or hidden) + activation) + router
