"""Attention that does not look at all before it: windows, pooled pasts, and the keys that an indexer selects.

Sparse attention as DeepSeek-V3.2 has it (arXiv:2512.02556, section 2.1): an indexer of few narrow heads scores every
cached position for each query, and the query attends to the `selected` best of them alone.
"""

from __future__ import annotations

from typing import Any

from outlay.physics import num
from outlay.physics.flops import attention_span

Num = Any
SCORE_PASSES_BYTES = 12.0  # of a score in 32 bits: written once, read twice by a selection by digits


def attended(context: Num, window: float = 0.0, compress: float = 0.0, selected: float = 0.0) -> Num:
    """Cached entries that a query with `context` positions before it attends to; 0 stands for no such limit.

    compress: the past beyond the window is kept as one entry for each so many positions. selected: the most that are
    chosen of all, or of those pooled entries.

    >>> float(attended(65536.0, selected=2048.0)), float(attended(1000.0, selected=2048.0))
    (2048.0, 1000.0)
    >>> float(attended(65536.0, window=128.0, compress=4.0, selected=512.0))  # DeepSeek-V4-Flash
    640.0
    """
    near = num.minimum(context, window) if window else context
    if compress:
        far = num.maximum(context - near, 0.0) / compress
        return near + (num.minimum(far, selected) if selected else far)
    return num.minimum(near, selected) if selected else near


def attended_span(length: Num, window: float = 0.0, compress: float = 0.0, selected: float = 0.0) -> Num:
    """The mean of `attended` over the queries of a prompt, causally masked.

    >>> float(attended_span(8192.0, selected=2048.0)), float(attended_span(8192.0))
    (1792.0, 4096.0)
    """
    if compress:
        far = attention_span(length, selected * compress) if selected else attention_span(length)
        return attention_span(length, window) + far / compress
    return attention_span(length, min(window, selected) if window and selected else window or selected)


def index_bytes(entries: Num, key_bytes: Num) -> Num:
    """Memory traffic of scoring so many index keys for one query and selecting among them.

    >>> float(index_bytes(65536.0, 132.0)) / 65536
    144.0
    """
    return entries * (key_bytes + SCORE_PASSES_BYTES)


def index_flop(queries: Num, entries: Num, heads: Num, key_dim: Num) -> Num:
    """Arithmetic of scoring `entries` index keys for each query, 2 · heads · d a pair.

    >>> float(index_flop(1.0, 4096.0, 64.0, 128.0))
    67108864.0
    """
    return 2.0 * queries * entries * heads * key_dim
