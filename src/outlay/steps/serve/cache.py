"""Cache and state of a model by layer: bytes of a token, of a sequence, and what one rank keeps of them."""

from __future__ import annotations

from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from outlay.architecture import Architecture, LayerKind
from outlay.derive import add_all, derive
from outlay.physics import kvcache as kv
from outlay.steps.serve.inputs import ServeLayout, ServeRecipe

Value = Any
_SPARSE_LATENT_BYTES = (
    656.0  # fp8 latent with scales and a 16-bit rotary key, as sparse-attention kernels store it
)
_INDEX_SCALE_BYTES = 4.0


class LayerCache(Struct, frozen=True, eq=False):
    """One layer's cache and state: of a token and of the longest sequence, on all ranks and on one."""

    token_bytes: Value  # before any split
    token_bytes_per_rank: Value
    sequence_bytes_per_rank: Value  # at the longest sequence, in whole blocks
    state_bytes_per_rank: Value  # a sequence
    state_bytes: Value


def entry_bytes(kind: LayerKind, recipe: ServeRecipe) -> tuple[Value, bool]:
    """Bytes one cached token takes in one layer, and whether tensor ranks share it out by heads."""
    if kind.mixer == "mla":
        if kind.indexer_heads and recipe.cache_precision == "fp8":
            latent: Value = _SPARSE_LATENT_BYTES
        else:
            latent = derive(
                _bytes,
                "latent cache of a token in one layer",
                "bytes",
                elements=kv.latent_elements(kind.kv_lora_rank, kind.qk_rope_head_dim),
                element_bytes=recipe.cache_bytes,
            )
        return latent + index_key_bytes(kind), False
    if kind.mixer == "attention":
        once = int(kind.shared_kv and kind.o_lora_rank > 0)  # elsewhere keys are rotated, so both are kept
        elements = kv.attention_elements(kind.kv_heads, kind.head_dim, kind.v_head_dim, once)
        own = derive(
            _bytes,
            "cache of a token in one layer",
            "bytes",
            elements=elements,
            element_bytes=recipe.cache_bytes,
        )
        return own + index_key_bytes(kind), True
    return 0.0, False


def index_key_bytes(kind: LayerKind) -> float:
    """A key of a sparse-attention selector: one byte an element and a scale (DeepSeek-V3.2 inference code); two bytes
    where whole blocks are selected for grouped queries (MiniMax-M3: 45 to 51 ps a key and sequence in modules timed
    alone on B200, 73 on H200, whatever the cache's precision; aiconfigurator-core 0.12.0)."""
    if not kind.indexer_heads:
        return 0.0
    blocks = kind.mixer == "attention" and not kind.compress
    return kind.indexer_head_dim * 2.0 if blocks else kind.indexer_head_dim + _INDEX_SCALE_BYTES


def state_bytes(kind: LayerKind) -> float:
    """Bytes of one sequence's recurrent and convolution state in one layer."""
    if kind.mixer not in ("mamba1", "mamba2", "gdn", "kda", "lightning"):
        return 0.0
    width = kind.head_dim if kind.mixer == "lightning" else kind.state
    state = kv.mamba_state_elements(kind.heads, kind.head_dim, width) * kv.STATE_BYTES
    inner = kind.heads * kind.head_dim
    channels = {
        "mamba1": inner,
        "mamba2": inner + 2 * kind.groups * kind.state,
        "gdn": inner + 2 * kind.groups * kind.state,
        "kda": inner + 2 * kind.heads * kind.state,
        "lightning": 0,
    }[kind.mixer]
    return float(state + kv.conv_state_elements(channels, kind.conv) * kv.CONV_BYTES)


def layer_cache(kind: LayerKind, recipe: ServeRecipe, layout: ServeLayout) -> LayerCache:
    """What one layer keeps of a token and of the longest sequence, on one rank."""
    token, by_heads = entry_bytes(kind, recipe)
    heads = kind.kv_heads if by_heads else 1
    share = derive(
        _rank_share,
        "share of the cache on one rank",
        "",
        kv_heads=heads,
        tensor=layout.tensor,
        context=layout.context,
    )
    rank_token = (
        token * share
        if isinstance(token, float)
        else derive(
            _times, "cache of a token in one layer of a rank", "bytes", token_bytes=token, share=share
        )
    )
    label = "cache of the longest sequence in one layer of a rank"
    sequence = _context_bytes(label, rank_token, kind, kind.window, recipe)
    state = state_bytes(kind)
    return LayerCache(token, rank_token, sequence, state / layout.tensor, state)


def tokens_at(arch: Architecture, recipe: ServeRecipe, layout: ServeLayout, tokens: float, length: float) -> float:
    """Tokens that the cache holds in sequences of `length`, of `tokens` counted in those of max_model_len.

    Layers with a window keep all of a short sequence and little of a long one.
    """
    longest = float(_plain(recipe.max_model_len))
    if not any(kind.window for kind, _ in arch.groups) or not 0.0 < length < longest:
        return tokens

    def bytes_of(context: float) -> float:
        at = replace(recipe, max_model_len=context)
        return sum(count * float(_plain(layer_cache(kind, at, layout).sequence_bytes_per_rank))
                   for kind, count in arch.groups)

    return tokens * length / longest * bytes_of(longest) / bytes_of(length)


def _plain(value: Value) -> Value:
    return getattr(value, "value", value)


def shared_bytes(kind: LayerKind, recipe: ServeRecipe, layout: ServeLayout) -> Value:
    """Bytes on one rank of one layer's cache of a context that all sequences share: every sequence has its own
    window in it, and a layer that pools its past does so for every sequence (llama.cpp, unified cache)."""
    token = layer_cache(kind, recipe, layout).token_bytes_per_rank
    label = "cache of the shared context in one layer of a rank"
    if kind.compress:
        one = _context_bytes(label, token, kind, kind.window, recipe)
        return derive(_times, label, "bytes", token_bytes=one, share=recipe.sequences)
    return _context_bytes(label, token, kind, kind.window * recipe.sequences, recipe)


def _context_bytes(label: str, token: Value, kind: LayerKind, window: Value, recipe: ServeRecipe) -> Value:
    ahead = recipe.max_num_batched_tokens if recipe.flag("window_ahead") else 0.0
    return derive(
        _sequence_bytes,
        label,
        "bytes",
        token_bytes=token,
        context=recipe.max_model_len,
        window=0.0 if recipe.flag("window_whole") else window,
        compress=kind.compress,
        ahead=ahead,
        block_tokens=recipe.constant("block_tokens", 1.0),
    )


def tokens_bytes(kind: LayerKind, recipe: ServeRecipe, layout: ServeLayout, tokens: Value) -> Value:
    """Bytes on one rank of one layer's cache of a sequence of `tokens`, without rounding to blocks."""
    token, by_heads = entry_bytes(kind, recipe)
    share = derive(
        _rank_share,
        "share of the cache on one rank",
        "",
        kv_heads=kind.kv_heads if by_heads else 1,
        tensor=layout.tensor,
        context=layout.context,
    )
    return derive(
        _sequence_bytes,
        "cache of a sequence in one layer of a rank",
        "bytes",
        token_bytes=derive(_times, "cache of a token on a rank", "bytes", token_bytes=token, share=share),
        context=tokens,
        window=kind.window,
        compress=kind.compress,
        ahead=0.0,
        block_tokens=1.0,
    )


def model_token_bytes(arch: Architecture, recipe: ServeRecipe) -> Value:
    """Bytes of one token's cache in the whole model, before any split: every layer that keeps tokens."""
    terms = []
    for kind, times in (*arch.groups, *recipe.draft_kinds):
        token, _ = entry_bytes(kind, recipe)
        if kind.compress:
            label = "cache of a token in a pooling layer"
            token = derive(_pooled, label, "bytes", token_bytes=token, rate=kind.compress)
        label = "cache of a token in layers of a kind"
        terms.append(derive(_layers, label, "bytes", token_bytes=token, layers=times))
    return add_all("cache of a token", "bytes", *terms) if terms else 0.0


def model_state_bytes(arch: Architecture) -> float:
    """Bytes of one sequence's state in the whole model."""
    return sum(times * state_bytes(kind) for kind, times in arch.groups)


def _bytes(elements: Value, element_bytes: Value) -> Value:
    """Elements times the bytes of one."""
    return elements * element_bytes


def _times(token_bytes: Value, share: Value) -> Value:
    """A layer's cache times the share of one rank."""
    return token_bytes * share


def _layers(token_bytes: Value, layers: Value) -> Value:
    """One layer's cache of a token times the layers of its kind."""
    return token_bytes * layers


def _pooled(token_bytes: Value, rate: Value) -> Value:
    """An entry for each so many tokens, once a sequence is longer than its window."""
    return token_bytes / rate


def _rank_share(kv_heads: Value, tensor: Value, context: Value) -> Value:
    """Whole heads a rank, copied beyond as many ranks as heads; shared out by context parallelism."""
    return kv.rank_share(kv_heads, tensor) / context


def _sequence_bytes(
    token_bytes: Value, context: Value, window: Value, compress: Value, ahead: Value, block_tokens: Value
) -> Value:
    """Entries a sequence keeps in one layer, in whole blocks."""
    if compress:
        entries = kv.compressed_entries(context, window, compress)
    else:
        entries = kv.kept_tokens(context, window, ahead)
    return token_bytes * kv.whole_blocks(entries, block_tokens)
