"""Bytes a decoder keeps of past tokens: keys and values, latents, state, and the blocks they come in.

Every function counts one thing from its widths and works for floats and arrays alike.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Value = Any  # float or array

ELEMENT_BYTES = {
    "bf16": 2.0,
    "fp16": 2.0,
    "fp8": 1.0,
    "int8": 1.0,
    "q8_0": 34.0 / 32.0,  # blocks of 32 with a 16-bit scale (ggml)
    "q4_0": 18.0 / 32.0,
}
STATE_BYTES = 4.0  # recurrent state is kept in fp32
CONV_BYTES = 2.0


def attention_elements(
    kv_heads: Value, head_dim: Value, v_head_dim: Value = 0, shared_kv: Value = 0
) -> Value:
    """Cached elements of one token in one layer of multi-head, grouped-query or multi-query attention.

    g·(d + d_v), d_v = d when v_head_dim is 0; once only where values reuse the keys. Source: Shazeer 2019
    (arXiv:1911.02150); Ainslie et al. 2023 (arXiv:2305.13245).

    Llama 3.1 8B, 32 layers of 8 heads of 128, bf16: 131,072 bytes a token (what vLLM's start-up log implies):

    >>> 32 * attention_elements(8, 128) * ELEMENT_BYTES["bf16"]
    131072.0
    """
    return kv_heads * (head_dim + (1 - shared_kv) * (v_head_dim + (v_head_dim == 0) * head_dim))


def latent_elements(kv_lora_rank: Value, qk_rope_head_dim: Value) -> Value:
    """Cached elements of one token in one layer of latent attention: the latent and one rotary key.

    Source: DeepSeek-V2 (arXiv:2405.04434) section 2.1.3. DeepSeek-V3, 61 layers in bf16:

    >>> 61 * latent_elements(512, 64) * 2
    70272
    """
    return kv_lora_rank + qk_rope_head_dim


def rank_share(kv_heads: Value, tensor: Value) -> Value:
    """Share of a layer's cache on one tensor-parallel rank: heads are dealt out whole, and copied once there
    are more ranks than heads.

    >>> float(rank_share(8, 4)), float(rank_share(8, 16)), float(rank_share(1, 8))
    (0.25, 0.125, 1.0)
    """
    return np.ceil(kv_heads / tensor) / kv_heads


def kept_tokens(context: Value, window: Value, ahead: Value = 0.0) -> Value:
    """Tokens of a sequence a sliding-window layer keeps: the window and what one step computes ahead.

    window 0 keeps everything. Source: Beltagy et al. 2020 (arXiv:2004.05150); Jiang et al. 2023
    (arXiv:2310.06825).

    >>> float(kept_tokens(32768, 4096)), float(kept_tokens(1000, 4096)), float(kept_tokens(32768, 0))
    (4096.0, 1000.0, 32768.0)
    """
    return np.where(np.asarray(window) > 0, np.minimum(context, window + ahead), context)


def compressed_entries(context: Value, window: Value, rate: Value) -> Value:
    """Entries kept when the past beyond a window is pooled, one entry for each `rate` tokens.

    Source: DeepSeek-V4 (its config and the public model code).

    >>> float(compressed_entries(4096 + 128, 128, 4))
    1152.0
    """
    recent = np.minimum(context, np.where(np.asarray(window) > 0, window, context))
    return recent + np.floor((context - recent) / np.maximum(rate, 1))


def whole_blocks(tokens: Value, block_tokens: Value) -> Value:
    """Tokens rounded up to whole cache blocks (Kwon et al. 2023, arXiv:2309.06180).

    >>> float(whole_blocks(1000, 16))
    1008.0
    """
    return np.ceil(tokens / block_tokens) * block_tokens


def mamba_state_elements(heads: Value, head_dim: Value, state: Value) -> Value:
    """Recurrent state of one sequence in one state-space or linear-attention layer.

    Source: Dao and Gu 2024 (arXiv:2405.21060); for a gated delta net Yang et al. 2024 (arXiv:2412.06464).
    Mamba2-2.7B keeps 80 heads of 64 by 128:

    >>> mamba_state_elements(80, 64, 128)
    655360
    """
    return heads * head_dim * state


def conv_state_elements(channels: Value, conv: Value) -> Value:
    """Last inputs a causal convolution needs: its width less one, of every channel.

    >>> int(conv_state_elements(5376, 4))
    16128
    """
    return channels * np.maximum(conv - 1, 0)


def pool_by_utilization(total_bytes: Value, utilization: Value, used_bytes: Value) -> Value:
    """Cache of an engine that takes a share of the device and subtracts everything else it measured.

    Source: vLLM documentation, gpu_memory_utilization. Llama 3.1 8B on an H100 that shows 79.18 GiB, with
    14.99 GiB of weights, a profiled peak of 4.76 and 0.13 outside the allocator: 51.38 GiB as logged.

    >>> round(float(pool_by_utilization(79.18, 0.9, 14.99 + 4.76 + 0.13)), 2)
    51.38
    """
    return total_bytes * utilization - used_bytes


def pool_of_free(total_bytes: Value, used_bytes: Value, fraction: Value) -> Value:
    """Cache of an engine that takes a share of what is free once the model is loaded and has run once.

    Source: TensorRT-LLM documentation, free_gpu_memory_fraction.

    >>> float(pool_of_free(80.0, 30.0, 0.9))
    45.0
    """
    return (total_bytes - used_bytes) * fraction


def sequences_that_fit(pool_bytes: Value, sequence_bytes: Value) -> Value:
    """Sequences of one length the cache holds at once, whole or not.

    >>> float(sequences_that_fit(51.0, 2.0))
    25.5
    """
    return np.maximum(pool_bytes, 0.0) / sequence_bytes


def pool_tokens(pool_bytes: Value, token_bytes: Value, block_tokens: Value) -> Value:
    """Tokens in the whole blocks that fit the cache.

    Llama 3.1 8B in 3.81 GiB, blocks of 16: 31,200 (31,232 logged, where the pool is rounded to two digits).

    >>> float(pool_tokens(3.81 * 2**30, 131072.0, 16))
    31200.0
    """
    return np.floor(np.maximum(pool_bytes, 0.0) / (token_bytes * block_tokens)) * block_tokens


def layer_activation_bytes(tokens: Value, hidden: Value, widest: Value, element_bytes: Value = 2.0) -> Value:
    """Activations alive in the widest moment of a layer: the block's own and three of the stream.

    The stream's three are input, residual and norm. Llama 3.1 8B has 57,344 + 28,672 + 24,576 bytes a token:
    for 20,000 tokens 2.06 GiB, and vLLM profiled 2.07.

    >>> round(layer_activation_bytes(20000, 4096, 3 * 14336) / 2**30, 2)
    2.06
    """
    return tokens * (widest + 3.0 * hidden) * element_bytes


def sampler_bytes(sequences: Value, vocab: Value, bytes_per_logit: Value) -> Value:
    """Logits of every running sequence and what sampling makes of them: copies, a sort, probabilities.

    1,024 sequences of Llama 3.1's 128,256 words at 39 bytes: 4.77 GiB; vLLM 0.11 profiled 4.76.

    >>> round(sampler_bytes(1024, 128256, 39) / 2**30, 2)
    4.77
    """
    return sequences * vocab * bytes_per_logit


def expanded_matrix_bytes(rows: Value, columns: Value) -> Value:
    """A quantised matrix widened to 16 bits before it is multiplied (bitsandbytes, for more than one row).

    >>> expanded_matrix_bytes(4096, 11008)
    90177536.0
    """
    return rows * columns * 2.0
