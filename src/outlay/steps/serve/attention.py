"""Attention of one step of a serving engine on one rank: reading caches and states, scoring and selecting, prompts."""

from __future__ import annotations

from typing import Any

from outlay.architecture import Architecture, LayerKind
from outlay.physics import num
from outlay.physics.flops import attention_flop, attention_span
from outlay.physics.sparse import attended, attended_span, index_bytes, index_flop
from outlay.steps.layers import HALF, Shape
from outlay.steps.serve.cache import index_key_bytes
from outlay.steps.serve.inputs import ServeLayout
from outlay.steps.serve.time_inputs import TimeDevice

Num = Any
STATE_BYTES = 4.0  # of an element of recurrent state
STATE_SHARE = 0.7  # of bandwidth where states are read and written
NARROW_CACHE = 1.5  # bytes of an element: below, 8 bits
NARROW_ATTENTION = ("blackwell",)  # generations whose attention multiplies such a cache as it is
DECODE_SHARE = 0.5  # of the peak that attention of answers reaches
# Of a prompt through a recurrent mixer, read off its kernels timed alone (aiconfigurator-core 0.12.0, linear_attention
# and kda of SGLang, vLLM and TensorRT-LLM; NVIDIA, Apache-2.0): chunks follow one another, and each head's tokens pass
# through memory so many bytes for each of its channels. Mixers without a table are taken for the quicker of the two.
SCAN_TOKEN_S = 3e-8  # 28 to 44 ns, convolution and scan, H100 to B200
SCAN_BYTES = 96.0
SCAN_BYTES_OF = {"kda": 180.0}
# Of sparse attention, read off kernels and modules timed alone on H100, H200, B200 and GB200 (aiconfigurator-core
# 0.12.0, sparse_attention of SGLang 0.5.14, TensorRT-LLM 1.3 and vLLM 0.24; NVIDIA, Apache-2.0):
INDEX_KERNELS = 1.25  # small kernels of an indexer over a layer's: 23 to 30 us beside 20
SELECT_S = 8e-6  # of selecting at all, where there is more than is selected: 8 to 30 us a layer
SELECT_ROW_S = 2e-10  # a score of one row, which one block selects from: 0.07 to 0.43 ns
PROMPT_ROW_S = 3e-8  # of selecting for a prompt's token, whose rows fill the device,
PROMPT_SCORE_S = 2.8e-12  # and a score of it
INDEX_READ_SHARE = 0.75  # of bandwidth, where many sequences' keys are scored: 0.6 to 0.83
INDEX_SHARE = 0.45  # of the 8-bit peak that scoring reaches: 0.39 to 0.48
LEAST_HEADS = {"blackwell": 32.0}  # that attention over what is selected takes as long as; other generations pad to
PADDED_HEADS = 64.0


def decode_attention_s(
    arch: Architecture, device: TimeDevice, cache_bytes: Num, layout: ServeLayout, sequences: Num, context: Num,
    queries: Num = 1.0,
) -> tuple[Num, Num]:
    """Reading the cache of `sequences` of one rank at a mean context, and what the calls take beyond it.

    queries: tokens of a sequence that attend at once, drafted ones with it: they share the reading, not the arithmetic.
    """
    reading: Num = 0.0 * sequences
    calls, chosen, peak = 0, 0.0 * context, attention_peak(cache_bytes, device)
    rate = device.memory_bytes_per_s * device.attention_share
    for kind, count in arch.groups:
        if kind.mixer == "none":
            continue
        calls += count
        if kind.mixer not in ("attention", "mla"):
            state = 2.0 * STATE_BYTES * sequences * kind.heads * kind.head_dim * max(kind.state, 1) / layout.tensor
            reading = reading + count * state / (device.memory_bytes_per_s * STATE_SHARE)
            continue
        size, flop = cache_read(kind, layout, sequences * attended_by(kind, context), cache_bytes)
        work = queries * flop * _padded(kind, layout, device, context)
        reading = reading + count * num.maximum(size / rate, work / (DECODE_SHARE * peak))
        if kind.indexer_heads:
            size, work = index_work(kind, sequences, queries, context)
            read_s = size / (device.memory_bytes_per_s * INDEX_READ_SHARE)
            scored = num.maximum(read_s, work / (INDEX_SHARE * _narrow_peak(device)))
            reading, chosen = reading + count * scored, chosen + count * _selecting_s(kind, context)
    return reading, calls * device.attention_floor_s + chosen


def attended_by(kind: LayerKind, context: Num) -> Num:
    """Cached entries of one layer that a token at a context attends to."""
    return attended(context, float(kind.window), float(kind.compress), float(kind.indexer_topk))


def _padded(kind: LayerKind, layout: ServeLayout, device: TimeDevice, context: Num) -> Num:
    """Arithmetic of attention over selected latents, over that of its own heads and positions.

    Hopper's kernel takes 64 heads and every place of the selection, whatever is in it (228 us a layer for 256 sequences
    at 128 tokens as at 1,024, H200); Blackwell's stops where a sequence does.
    """
    if not kind.indexer_topk or kind.mixer != "mla":
        return 1.0
    more = num.maximum(least_heads(device) * layout.tensor / kind.heads, 1.0)
    return more if device.generation in LEAST_HEADS else more * kind.indexer_topk / attended_by(kind, context)


def least_heads(device: TimeDevice) -> float:
    """Heads of a rank that attention over selected latents takes as long as, at least."""
    return LEAST_HEADS.get(device.generation, PADDED_HEADS)


def _selecting_s(kind: LayerKind, context: Num) -> Num:
    """Selecting the best of all cached keys: rows of a step do so side by side, each in one block."""
    keys = index_keys(kind, context)
    return num.where(keys > kind.indexer_topk, SELECT_S + SELECT_ROW_S * keys, 0.0)


def index_work(kind: LayerKind, sequences: Num, queries: Num, context: Num) -> tuple[Num, Num]:
    """Bytes and 8-bit arithmetic of an indexer's scores at a context; its heads are all on every rank."""
    if not kind.indexer_heads:
        return 0.0, 0.0
    keys = index_keys(kind, context)
    flop = index_flop(sequences * queries, keys, float(kind.indexer_heads), float(kind.indexer_head_dim))
    return sequences * index_bytes(keys, index_key_bytes(kind)), flop


def index_keys(kind: LayerKind, context: Num) -> Num:
    """Keys an indexer scores at a context: one a position, or one for each pooled entry."""
    return context / max(kind.compress, 1)


def _narrow_peak(device: TimeDevice) -> Num:
    return device.peaks["fp8" if "fp8" in device.peaks else "bf16"]


def index_shapes(kind: LayerKind, hidden: int, rows: Num) -> tuple[Shape, ...]:
    """An indexer's products: queries from the query latent (or the layer's input), one key and head weights."""
    if not kind.indexer_heads:
        return ()
    return (
        (rows, kind.indexer_heads * kind.indexer_head_dim, kind.q_lora_rank or hidden, 1.0, HALF),
        (rows, kind.indexer_head_dim + kind.indexer_heads, hidden, 1.0, HALF),
    )


def attention_peak(cache_bytes: Num, device: TimeDevice) -> Num:
    """Arithmetic that answers attend with: an 8-bit cache is multiplied as it is by Blackwell's kernels (trtllm-gen,
    which TensorRT-LLM, vLLM and SGLang call there), and widened to 16 bits first by Hopper's (FlashMLA)."""
    narrow = num.mean(cache_bytes) < NARROW_CACHE and device.generation in NARROW_ATTENTION
    return device.peaks["fp8" if narrow and "fp8" in device.peaks else "bf16"]


def cache_read(kind: LayerKind, layout: ServeLayout, positions: Num, cache_bytes: Num) -> tuple[Num, Num]:
    """Bytes and arithmetic of one layer's attention over so many cached positions on one rank."""
    heads = kind.heads / layout.tensor
    if kind.mixer == "mla":
        width = kind.kv_lora_rank + kind.qk_rope_head_dim
        return positions * width * cache_bytes, 2.0 * positions * heads * (width + kind.kv_lora_rank)
    value = kind.v_head_dim or kind.head_dim
    kv = num.maximum(kind.kv_heads / layout.tensor, 1.0)
    return positions * kv * (kind.head_dim + value) * cache_bytes, 2.0 * positions * heads * (
        kind.head_dim + value
    )


def joint_attention_s(
    arch: Architecture, device: TimeDevice, layout: ServeLayout, padded: float, sequences: Num, context: Num, share: Num
) -> Num:
    """Attention of running requests in a step that carries a prompt, where one kernel attends for both.

    Such a kernel (FlashAttention 2) takes each query head by itself in a tile of `padded` rows, as for a prompt, and
    is bound by arithmetic; without a prompt heads that share a cache share the tile. Measured on an RTX PRO 6000 for
    32 heads of 128 over 8 cached ones, 64 requests at 1,024 tokens: 0.31 ms a layer, against 0.22 ms without a prompt.
    """
    total: Num = 0.0 * sequences
    for kind, count in arch.groups:
        if kind.mixer == "attention":
            total = total + count * padded * cache_read(kind, layout, sequences * attended_by(kind, context), 1.0)[1]
    return total / (share * device.peaks["bf16"])


def prompt_attention_s(
    arch: Architecture, device: TimeDevice, layout: ServeLayout, rows: Num, length: Num, share: Num
) -> Num:
    """Attention of `rows` prompt tokens, each over half of a prompt `length` long on average; scans of recurrent mixers
    with it."""
    total: Num = 0.0 * rows
    for kind, count in arch.groups:
        if kind.mixer in ("attention", "mla"):
            total = total + count * _prompt_layer_s(kind, device, layout, rows, length, share)
        elif kind.mixer != "none":
            size = SCAN_BYTES_OF.get(kind.mixer, SCAN_BYTES) * kind.head_dim * kind.heads / layout.tensor
            total = total + count * rows * (SCAN_TOKEN_S + size / device.memory_bytes_per_s)
    return total


def _prompt_layer_s(
    kind: LayerKind, device: TimeDevice, layout: ServeLayout, rows: Num, length: Num, share: Num
) -> Num:
    """One layer's; a prompt no longer than what is selected attends to all of it, as if there were no indexer."""
    value = kind.v_head_dim or kind.head_dim
    window, compress, peak = float(kind.window), float(kind.compress), share * device.peaks["bf16"]
    heads = kind.heads / layout.tensor
    whole = attention_flop(rows, heads, kind.head_dim, value, attended_span(length, window, compress)) / peak
    if not kind.indexer_topk:
        return whole
    span = attended_span(length, window, compress, float(kind.indexer_topk))
    if kind.mixer == "mla":  # selected latents are attended to as they are cached
        width = kind.kv_lora_rank + kind.qk_rope_head_dim
        part = attention_flop(rows, num.maximum(heads, least_heads(device)), width, kind.kv_lora_rank, span) / peak
    else:
        part = attention_flop(rows, heads, kind.head_dim, value, span) / peak
    if kind.indexer_heads:
        before = attention_span(length)
        _, scored = index_work(kind, rows, 1.0, before)
        chosen = PROMPT_ROW_S + PROMPT_SCORE_S * index_keys(kind, before)
        part = part + scored / (INDEX_SHARE * _narrow_peak(device)) + rows * chosen
    return num.where(index_keys(kind, length) > kind.indexer_topk, part, whole)
