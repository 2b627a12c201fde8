"""Arithmetic of training, by published equations. A multiply-add counts two."""

from __future__ import annotations

from typing import Any

from outlay.physics import num

Value = Any


def attention_span(sequence: Value, window: Value = 0) -> Value:
    """Mean number of positions a query attends under a causal mask, with or without a sliding window w.

    s/2 for full attention; w(1 - w/2s) inside a window.

    >>> float(attention_span(4096)), float(attention_span(4096, 128))
    (2048.0, 126.0)
    """
    w = num.where((window == 0) | (window > sequence), sequence, window)
    return w * (1 - w / (2.0 * sequence))


def attention_flop(tokens: Value, heads: Value, key_dim: Value, value_dim: Value, span: Value) -> Value:
    """Forward scores and weighted sum: 2 · tokens · heads · span · (d_qk + d_v).

    >>> attention_flop(1.0, 32.0, 128.0, 128.0, 2048.0)  # 2 s h for a causal mask, s = 4096, h = 4096
    33554432.0
    """
    return 2.0 * tokens * heads * span * (key_dim + value_dim)


def transformer_step_flop(
    batch: Value, sequence: Value, layers: Value, hidden: Value, vocab: Value, recompute: bool = True
) -> Value:
    """A GPT step with full (not causal) attention and f = 4h: 96·B·s·L·h²·(1 + s/6h + V/16Lh), 72 without
    recomputation.

    Narayanan et al. 2021, equation 3. Their 175B example, batch 1536 on 1,024 A100 at 140 TFLOP/s: 300 G
    tokens in 34 days (section 5.1, which rounds this equation to 8 FLOP per parameter and token).

    >>> flop = transformer_step_flop(1536, 2048, 96, 12288, 51200)
    >>> days = flop / (1024 * 140e12) * 300e9 / (1536 * 2048) / 86400
    >>> bool(33.5 < days < 35.5)
    True
    """
    if recompute:
        return (
            96.0
            * batch
            * sequence
            * layers
            * hidden**2
            * (1 + sequence / (6.0 * hidden) + vocab / (16.0 * layers * hidden))
        )
    return (
        72.0
        * batch
        * sequence
        * layers
        * hidden**2
        * (1 + sequence / (6.0 * hidden) + vocab / (12.0 * layers * hidden))
    )


def six_n_d(parameters: Value, tokens: Value) -> Value:
    """Kaplan et al. 2020 (arXiv:2001.08361): 6 FLOP per parameter and token, attention left out.

    >>> six_n_d(175e9, 300e9)
    3.15e+23
    """
    return 6.0 * parameters * tokens


def chunked_scan_flop(
    tokens: Value, heads: Value, head_dim: Value, state: Value, groups: Value, chunk: Value
) -> Value:
    """State-space duality in chunks, forward: within a chunk (causal) and through the state.

    Dao and Gu 2024 (arXiv:2405.21060), section 6: C·B and its product with x inside a chunk of Q positions,
    2·tokens·(Q/2)(G·N + H·P); states in and out, 4·tokens·H·P·N.

    >>> chunked_scan_flop(1.0, 64.0, 64.0, 128.0, 8.0, 256.0)
    3407872.0
    """
    return 2.0 * tokens * (chunk / 2.0 * (groups * state + heads * head_dim) + 2.0 * heads * head_dim * state)
