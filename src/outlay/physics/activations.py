"""Bytes a layer keeps for its backward pass, tensor by tensor, and the bytes alive only while it runs.

`tokens` are those of one micro-batch on one rank after the context split; `row_tokens` the same divided by
tensor parallelism when sequence parallelism is on, the number of rows norms and residuals hold. Widths are of
the whole layer; `tensor` divides them. Everything works on floats and on arrays.

Korthikanti et al. 2022 (arXiv:2205.05198) count a layer of a GPT with fp16, dropout and unfused attention as
sbh(34 + 5as/h): here `attention_saved_bytes` + `unfused_scores_bytes` + `mlp_saved_bytes` + two norms and two
dropout masks. What later kernels changed: fused attention keeps its output and one fp32 log-sum-exp a head
and query (Dao 2022, arXiv:2205.14135) and no scores; SwiGLU keeps both halves of its first product.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Value = Any
HALF = 2.0  # bytes of a bf16 or fp16 element
SINGLE = 4.0  # bytes of an fp32 element


def norm_saved_bytes(row_tokens: Value, hidden: Value, operand: Value = HALF) -> Value:
    """A norm's input and its output, which is the next product's operand: 4 bytes a row and channel in bf16.

    >>> norm_saved_bytes(1, 4096)
    16384.0
    """
    return (HALF + operand) * row_tokens * hidden


def dropout_masks_bytes(row_tokens: Value, hidden: Value) -> Value:
    """The byte masks of the two residual dropouts of a layer.

    >>> dropout_masks_bytes(1, 4096)
    8192
    """
    return 2 * row_tokens * hidden


def attention_saved_bytes(
    tokens: Value,
    query_width: Value,
    key_value_width: Value,
    output_width: Value,
    heads: Value,
    tensor: Value,
    context: Value = 1,
    fused: bool = True,
    operand: Value = HALF,
) -> Value:
    """q, k, v and the attention output; fused kernels add the fp32 log-sum-exp.

    Split over a context group, or with 8-bit products, the kernel's own output and the projection's operand
    are separate copies.

    >>> float(attention_saved_bytes(1, 12288, 2 * 12288, 12288, 96, 1, fused=False))  # 8 of the 11 sbh
    98304.0
    """
    copy = np.where(np.asarray(context) > 1, operand, operand if operand < HALF else 0.0)
    wide = HALF * (query_width + key_value_width + output_width) + copy * output_width
    return tokens * (wide + (SINGLE * heads if fused else 0.0)) / tensor


def unfused_scores_bytes(
    tokens: Value, sequence: Value, heads: Value, tensor: Value, dropout: bool = True
) -> Value:
    """Softmax output, and with dropout its byte mask and result: the 5as/h term of Korthikanti et al.

    >>> unfused_scores_bytes(1, 2048, 96, 1)
    983040.0
    """
    per_score = 2 * HALF + 1 if dropout else HALF
    return tokens * sequence * heads * per_score / tensor


def mlp_saved_bytes(
    tokens: Value, ffn: Value, gated: bool, tensor: Value, split_gate: bool = False, operand: Value = HALF
) -> Value:
    """First product's output and second product's input; a gated one that is not fused keeps the gate's too.

    >>> mlp_saved_bytes(1, 4 * 12288, False, 1) / 12288  # 16 of Korthikanti's 19
    16.0
    """
    first = (3 if split_gate else 2) if gated else 1
    return tokens * ffn * (HALF * first + operand) / tensor


def mla_saved_bytes(tokens: Value, row_tokens: Value, heads: Value, query_width: Value, value_width: Value,
                    latent_width: Value, rope_width: Value, tensor: Value, context: Value = 1,
                    fused: bool = True, operand: Value = HALF, expanded: bool = True) -> Value:
    """Latents with their norms, the expanded q, k, v a head, and the output.

    The expanded key repeats its rotary part in every head. DeepSeek-V2 (arXiv:2405.04434) section 2.1.
    expanded is False where q, k and v are made again from the latents.

    >>> float(mla_saved_bytes(1, 1, 128, 192, 128, 2048, 64, 1, fused=False)) / 1e3
    172.16
    """
    copy = np.where(np.asarray(context) > 1, operand, operand if operand < HALF else 0.0)
    widths = (2 * query_width + value_width if expanded else 0.0) + value_width
    per_head = HALF * widths + copy * value_width + (SINGLE if fused else 0.0)
    latents = row_tokens * ((HALF + operand) * latent_width + HALF * rope_width)
    return tokens * heads * per_head / tensor + latents


def ssm_saved_bytes(
    tokens: Value,
    inner: Value,
    state_width: Value,
    heads: Value,
    head_dim: Value,
    state: Value,
    tensor: Value,
    chunk: float = 128.0,
) -> Value:
    """A fused state-space scan: its input projection (z, x, B, C, dt), its output and one state a chunk.

    Dao and Gu 2024 (arXiv:2405.21060): the memory-efficient kernel recomputes the convolution and the scan,
    so it keeps the projection and the gated norm's result.

    >>> round(ssm_saved_bytes(1, 4096, 1024, 64, 64, 128, 1, chunk=1e12))
    28800
    """
    projection = 2 * inner + 2 * state_width + heads
    states = SINGLE * heads * head_dim * state / chunk
    return tokens * (HALF * (projection + inner) + states) / tensor


def routed_tokens(
    row_tokens: Value, experts_per_token: Value, expert_tensor: Value, imbalance: Value
) -> Value:
    """Rows one rank's experts hold after dispatch.

    >>> routed_tokens(4096, 8, 1, 1.0)
    32768.0
    """
    return row_tokens * experts_per_token * expert_tensor * imbalance


def experts_saved_bytes(routed: Value, hidden: Value, ffn: Value, gated: bool, expert_tensor: Value,
                        split_gate: bool = False, operand: Value = HALF, activated: bool = True) -> Value:
    """Dispatched rows, first product's output and second product's input of the routed experts.

    activated is False where the activation's output is made again.

    >>> experts_saved_bytes(32768, 7168, 2048, True, 1) / 1e9
    0.872415232
    """
    first = (3 if split_gate else 2) if gated else 1
    second = operand if activated else 0.0
    return routed * (operand * hidden + ffn * (HALF * first + second) / expert_tensor)


def routing_saved_bytes(row_tokens: Value, experts: Value, experts_per_token: Value) -> Value:
    """Router scores in fp32 with their map, and a row index and weight for each choice.

    >>> routing_saved_bytes(1, 256, 8)
    2368.0
    """
    return row_tokens * ((2 * SINGLE + 1) * experts + 8.0 * experts_per_token)


def mlp_backward_bytes(
    tokens: Value,
    row_tokens: Value,
    hidden: Value,
    ffn: Value,
    gated: bool,
    tensor: Value,
    sequence_parallel: bool,
) -> Value:
    """Alive while an MLP runs backward, beyond what it kept: residual gradient and first product's gradient.

    Under sequence parallelism the output gradient is gathered whole first.

    >>> mlp_backward_bytes(4096, 4096, 8192, 28672, True, 1, False) / 2**30
    0.5
    """
    gathered = np.where(np.asarray(tensor) > 1, HALF * tokens * hidden, 0.0) if sequence_parallel else 0.0
    return HALF * (row_tokens * hidden + tokens * ffn * (2 if gated else 1) / tensor) + gathered


def experts_backward_bytes(
    routed: Value, hidden: Value, ffn: Value, gated: bool, expert_tensor: Value
) -> Value:
    """Alive while routed experts run backward: gradients on both sides of the exchange, or of a product.

    >>> float(experts_backward_bytes(32768, 7168, 2048, True, 1)) / 1e9
    0.939524096
    """
    inner = ffn / expert_tensor
    return HALF * routed * np.maximum(2 * hidden, np.maximum(hidden + inner, inner * (2 if gated else 1)))


def logits_bytes(tokens: Value, vocab: Value, tensor: Value, bytes_per_logit: Value) -> Value:
    """Logits, their probabilities and gradients where they are largest together.

    bytes_per_logit: 2 when one kernel turns logits into their gradient in place; 6 for a 16-bit product and
    its fp32 softmax; 16 for an fp32 copy, its log-softmax and two gradients (eager PyTorch).

    >>> logits_bytes(4096, 128256, 1, 2) / 2**30
    0.978515625
    """
    return tokens * vocab * bytes_per_logit / tensor


def in_flight(
    pipeline: Value, stage: Value, micro_batches: Value, virtual_pipeline: Value = 1, schedule: str = "1f1b"
) -> Value:
    """Micro-batches whose activations stage `stage` (from 0) holds at once, in whole-stage equivalents.

    1F1B: p - r (Narayanan 2021, arXiv:2104.04473). Interleaved: 2(p - r - 1) + (v - 1)p + 1 chunks of 1/v, so
    the first stage holds p(1 + (p - 1)/(pv)) as in Korthikanti et al. GPipe: all. DualPipe: p + 1
    (DeepSeek-V3, arXiv:2412.19437, table 2). Never more than there are.

    >>> float(in_flight(8, 0, 64)), float(in_flight(8, 7, 64)), float(in_flight(8, 0, 4))
    (8.0, 1.0, 4.0)
    >>> float(in_flight(8, 0, 64, 3)) == 8 * (1 + 7 / 24)
    True
    """
    if schedule == "gpipe":
        return np.asarray(micro_batches, dtype=float) * 1.0
    if schedule == "dualpipe":
        return np.minimum(np.where(np.asarray(pipeline) > 1, pipeline + 1.0, 1.0), micro_batches)
    if schedule == "zero_bubble":
        return np.minimum(np.asarray(pipeline, dtype=float), micro_batches)
    plain = np.minimum(pipeline - stage, micro_batches)
    chunks = 2 * (pipeline - stage - 1) + (virtual_pipeline - 1) * pipeline + 1
    interleaved = np.minimum(chunks / virtual_pipeline, micro_batches)
    return np.where(np.asarray(virtual_pipeline) > 1, interleaved, plain)
