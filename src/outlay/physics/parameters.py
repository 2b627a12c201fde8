"""How many parameters each part of a decoder has.

Every function counts one part from its widths; flags (bias, gated, …) are 0 or 1 so that floats and arrays
pass alike. The doctests rebuild published exact counts of whole models out of the parts.
"""

from __future__ import annotations

from typing import Any

Num = Any  # int, float or an array of either


def attention_parameters(hidden: Num, heads: Num, kv_heads: Num, head_dim: Num, v_head_dim: Num = 0,
                         qkv_bias: Num = 0, out_bias: Num = 0, shared_kv: Num = 0) -> Num:
    """Query, key, value and output projections of multi-head, grouped-query or multi-query attention.

    q: h·n·d, k: h·g·d, v: h·g·d_v, o: n·d_v·h, with d_v = d when v_head_dim is 0; `shared_kv` means that
    values reuse the key projection. Source: Vaswani et al. 2017 (arXiv:1706.03762); Ainslie et al. 2023
    (arXiv:2305.13245).

    Llama 2 7B, 6,738,415,616 parameters (meta-llama/Llama-2-7b-hf):

    >>> layer = attention_parameters(4096, 32, 32, 128) + mlp_parameters(4096, 11008, gated=1) + 2 * 4096
    >>> 2 * embedding_parameters(32000, 4096) + 32 * layer + 4096
    6738415616
    """
    value_dim = v_head_dim + (v_head_dim == 0) * head_dim
    key, value = kv_heads * head_dim, kv_heads * value_dim * (1 - shared_kv)
    return (hidden * (heads * head_dim + key + value) + heads * value_dim * hidden
            + qkv_bias * (heads * head_dim + key + value) + out_bias * hidden)


def mla_parameters(hidden: Num, heads: Num, qk_head_dim: Num, v_head_dim: Num, kv_lora_rank: Num,
                   q_lora_rank: Num, qk_rope_head_dim: Num) -> Num:
    """Multi-head latent attention without its two latent norms.

    q through rank r_q (directly when r_q = 0), keys and values through rank r_kv plus one shared rotary key.
    Source: DeepSeek-V2 (arXiv:2405.04434) section 2.1.

    DeepSeek-V3 main model, 671,026,404,352 parameters (arXiv:2412.19437 rounds to 671B):

    >>> attention = mla_parameters(7168, 128, 192, 128, 512, 1536, 64) + 512 + 1536
    >>> expert = mlp_parameters(7168, 2048, gated=1)
    >>> moe = 257 * expert + router_parameters(7168, 256)
    >>> dense = mlp_parameters(7168, 18432, gated=1)
    >>> 61 * (attention + 2 * 7168) + 3 * dense + 58 * moe + 2 * embedding_parameters(129280, 7168) + 7168
    671026404352
    """
    return (mla_down_parameters(hidden, kv_lora_rank, q_lora_rank, qk_rope_head_dim)
            + mla_up_parameters(hidden, heads, qk_head_dim, v_head_dim, kv_lora_rank, q_lora_rank,
                                qk_rope_head_dim))


def mla_down_parameters(hidden: Num, kv_lora_rank: Num, q_lora_rank: Num, qk_rope_head_dim: Num) -> Num:
    """The latent (down) projections, which tensor parallelism replicates.

    >>> mla_down_parameters(7168, 512, 1536, 64)
    15138816
    """
    return hidden * (q_lora_rank + kv_lora_rank + qk_rope_head_dim)


def mla_up_parameters(hidden: Num, heads: Num, qk_head_dim: Num, v_head_dim: Num, kv_lora_rank: Num,
                      q_lora_rank: Num, qk_rope_head_dim: Num) -> Num:
    """The per-head projections out of the latents and the output projection, which tensor parallelism splits.

    >>> mla_up_parameters(7168, 128, 192, 128, 512, 1536, 64)
    171966464
    """
    query_in = q_lora_rank + (q_lora_rank == 0) * hidden
    nope = qk_head_dim - qk_rope_head_dim
    return heads * (query_in * qk_head_dim + kv_lora_rank * (nope + v_head_dim) + v_head_dim * hidden)


def indexer_parameters(hidden: Num, q_lora_rank: Num, index_heads: Num, index_head_dim: Num) -> Num:
    """The key selector of DeepSeek sparse attention: queries from the query latent, one key, head weights,
    key norm.

    Source: DeepSeek-V3.2 (its inference code and config). The difference to DeepSeek-V3 over 61 layers is
    671,877,929,216 - 671,026,404,352:

    >>> 61 * indexer_parameters(7168, 1536, 64, 128)
    851524864
    """
    return (q_lora_rank * index_heads * index_head_dim + hidden * index_head_dim + 2 * index_head_dim
            + hidden * index_heads)


def block_indexer_parameters(hidden: Num, index_heads: Num, index_head_dim: Num) -> Num:
    """A block selector beside grouped-query attention: queries, one key and a norm on each.

    Source: MiniMax-M3 (its config and the public model code).

    >>> block_indexer_parameters(6144, 4, 128)
    3932416
    """
    return hidden * (index_heads + 1) * index_head_dim + 2 * index_head_dim


def mlp_parameters(hidden: Num, ffn: Num, gated: Num = 1, bias: Num = 0) -> Num:
    """A feed-forward block: two matrices, three when gated (SwiGLU, GeGLU).

    Source: Shazeer 2020 (arXiv:2002.05202). GPT-2 124M, 124,439,808 parameters:

    >>> layer = attention_parameters(768, 12, 12, 64, qkv_bias=1, out_bias=1) + 4 * 768
    >>> layer += mlp_parameters(768, 3072, gated=0, bias=1)
    >>> embedding_parameters(50257, 768) + 1024 * 768 + 12 * layer + 2 * 768
    124439808
    """
    return (2 + gated) * hidden * ffn + bias * ((1 + gated) * ffn + hidden)


def router_parameters(hidden: Num, experts: Num, bias: Num = 0) -> Num:
    """The gate that scores experts. Mixtral 8x7B, 46,702,792,704 parameters (arXiv:2401.04088):

    >>> moe = 8 * mlp_parameters(4096, 14336) + router_parameters(4096, 8)
    >>> 32 * (attention_parameters(4096, 32, 8, 128) + moe + 2 * 4096) + 2 * 32000 * 4096 + 4096
    46702792704
    """
    return hidden * experts + bias * experts


def embedding_parameters(vocab: Num, hidden: Num) -> Num:
    """A token embedding or an untied head.

    >>> embedding_parameters(128256, 8192)
    1050673152
    """
    return vocab * hidden


def mamba1_parameters(hidden: Num, inner: Num, state: Num, conv: Num, dt_rank: Num, bias: Num = 0,
                      conv_bias: Num = 1, inner_norms: Num = 0) -> Num:
    """A Mamba block: input, depthwise convolution, selection, step size, A, D, output.

    Source: Gu and Dao 2023 (arXiv:2312.00752). mamba-130m, 129,135,360 parameters:

    >>> 50280 * 768 + 24 * (mamba1_parameters(768, 1536, 16, 4, 48) + 768) + 768
    129135360
    """
    return (2 * hidden * inner + inner * (conv + conv_bias) + inner * (dt_rank + 2 * state)
            + dt_rank * inner + inner + inner * state + inner + inner * hidden
            + bias * (2 * inner + hidden) + inner_norms * (dt_rank + 2 * state))


def mamba2_parameters(hidden: Num, heads: Num, head_dim: Num, state: Num, conv: Num, groups: Num,
                      bias: Num = 0, conv_bias: Num = 1) -> Num:
    """A Mamba-2 block: one input projection for z, x, B, C and dt, convolution over x, B, C, gated norm,
    output.

    Source: Dao and Gu 2024 (arXiv:2405.21060). mamba2-2.7b, 2,702,599,680 parameters:

    >>> 50288 * 2560 + 64 * (mamba2_parameters(2560, 80, 64, 128, 4, 1) + 2560) + 2560
    2702599680
    """
    inner = heads * head_dim
    mixed = inner + 2 * groups * state
    return (hidden * (inner + mixed + heads) + mixed * (conv + conv_bias) + 3 * heads + inner
            + inner * hidden + bias * (inner + mixed + heads + hidden))


def gdn_parameters(hidden: Num, heads: Num, head_dim: Num, state: Num, conv: Num, groups: Num) -> Num:
    """A gated delta net: `groups` key heads `state` wide, `heads` value heads `head_dim` wide.

    q, k, v, z and the two gates a, b; convolution over q, k, v; dt bias, A; a norm of one value head; output.
    Source: Yang et al. 2024 (arXiv:2412.06464), as in Qwen3-Next and Qwen3.5.

    >>> gdn_parameters(2048, 32, 128, 128, 4, 16)
    33718464
    """
    key, value = groups * state, heads * head_dim
    return (hidden * (2 * key + 2 * value + 2 * heads) + (2 * key + value) * conv + 2 * heads + head_dim
            + value * hidden)


def kda_parameters(hidden: Num, heads: Num, head_dim: Num, state: Num, conv: Num, full_gate: Num = 0) -> Num:
    """Kimi delta attention: q, k, v with convolutions, a low-rank decay and output gate (rank head_dim),
    beta.

    `full_gate` replaces the low-rank output gate by a full projection. Source: Kimi Linear
    (arXiv:2510.26692); widths as in its released model (k and v heads alike).

    >>> kda_parameters(2304, 32, 128, 128, 4)
    39514272
    """
    key, value = heads * state, heads * head_dim
    rank = head_dim
    return (hidden * (2 * key + value) + (2 * key + value) * conv
            + rank * (hidden + key) + (1 - full_gate) * rank * (hidden + value) + full_gate * hidden * value
            + hidden * heads + heads + key + head_dim + value * hidden)


def lightning_parameters(hidden: Num, heads: Num, head_dim: Num) -> Num:
    """Lightning (linear) attention: fused q, k, v, an output gate, a norm and the output projection.

    Source: MiniMax-01 (arXiv:2501.08313).

    >>> lightning_parameters(6144, 64, 96)
    188749824
    """
    inner = heads * head_dim
    return hidden * 3 * inner + hidden * inner + inner + inner * hidden


def compressed_attention_parameters(hidden: Num, heads: Num, head_dim: Num, q_lora_rank: Num, o_groups: Num,
                                    o_lora_rank: Num) -> Num:
    """Attention with one shared key-value head, a query latent and a grouped low-rank output.

    Norms of the query latent and of the shared head are included, and one sink a head. Source: DeepSeek-V4
    (its config and the public model code).

    >>> compressed_attention_parameters(4096, 64, 512, 1024, 8, 1024)
    106956352
    """
    inner = heads * head_dim
    return (hidden * q_lora_rank + q_lora_rank + q_lora_rank * inner + hidden * head_dim + head_dim
            + inner * o_lora_rank + o_groups * o_lora_rank * hidden + heads)


def compressor_parameters(hidden: Num, head_dim: Num, rate: Num, overlap: Num = 1) -> Num:
    """Pools `rate` past tokens into one entry: key-value and gate projections, position bias and a norm.

    `overlap` is 2 where neighbouring windows overlap. Source: as `compressed_attention_parameters`.

    >>> compressor_parameters(4096, 512, 128)
    4260352
    """
    return overlap * head_dim * (2 * hidden + rate) + head_dim


def hyper_connection_parameters(hidden: Num, streams: Num) -> Num:
    """One hyper-connection: the projection of `streams` residual streams to pre, post and mixing weights.

    Source: Xie et al. (manifold-constrained hyper-connections), as in DeepSeek-V4.

    >>> hyper_connection_parameters(4096, 4)
    393243
    """
    mixed = (2 + streams) * streams
    return mixed * streams * hidden + mixed + 3
