"""Writing responses for reinforcement learning: many sequences at once, their long tail, weights sent to the engine.

Every formula takes floats or arrays.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Value = Any
POINTS = 48  # moments of a rollout at which the batch is looked at


def exponential_scale(mean: Value, longest: Value) -> Value:
    """Scale of exponential lengths, cut at the longest, that have this mean: mean = s (1 - exp(-longest/s)).

    >>> round(float(exponential_scale(1000.0, 1e9)), 3), round(float(exponential_scale(432.3324, 1000.0)), 1)
    (1000.0, 500.0)
    """
    mean = np.minimum(np.asarray(mean, dtype=float), 0.999 * np.asarray(longest, dtype=float))
    scale = mean * 1.0
    for _ in range(60):
        scale = mean / -np.expm1(-np.asarray(longest) / scale)
    return scale


def decode_s(sequences: Value, prompt: Value, mean: Value, longest: Value, weights_bytes: Value, kv_token_bytes: Value,
             token_flop: Value, memory_bytes_per_s: Value, flop_per_s: Value, step_s: Value) -> Value:
    """Time one engine replica writes `sequences` responses together, the batch thinning out as they end.

    Each step reads the weights once and the cache of every live sequence, or computes their tokens, whichever
    takes longer, and costs the engine `step_s`. Lengths are exponential, cut at `longest`, so the last steps
    serve few sequences: the long tail. All sizes are of one device of the replica.

    >>> round(float(decode_s(1, 0, 999.0, 1000, 16e9, 0.0, 0.0, 2e12, 1e15, 0.0)), 2)  # 8B in bf16 at 2 TB/s
    8.0
    """
    share = (np.arange(POINTS) + 0.5) / POINTS
    longest = np.asarray(longest, dtype=float)[..., None]
    live = np.asarray(sequences)[..., None] * np.exp(-longest * share / np.asarray(
        exponential_scale(mean, longest[..., 0]))[..., None])
    held = live * np.asarray(kv_token_bytes)[..., None] * (np.asarray(prompt)[..., None] + longest * share)
    reading = (np.asarray(weights_bytes)[..., None] + held) / np.asarray(memory_bytes_per_s)[..., None]
    computing = live * np.asarray(token_flop)[..., None] / np.asarray(flop_per_s)[..., None]
    each = np.maximum(reading, computing) + np.asarray(step_s)[..., None]
    return (each * longest / POINTS).sum(axis=-1)


def rounds(sequences: Value, at_once: Value) -> Value:
    """How often a replica fills its cache anew; never less than once.

    >>> float(rounds(256, 100)), float(rounds(10, 100))
    (2.56, 1.0)
    """
    return np.maximum(sequences / np.maximum(at_once, 1.0), 1.0)


def prefill_s(tokens: Value, token_flop: Value, flop_per_s: Value) -> Value:
    """Reading all prompts of a replica.

    >>> prefill_s(1e6, 16e9, 4e14)
    40.0
    """
    return tokens * token_flop / flop_per_s


def sync_s(weights_bytes: Value, link_bytes_per_s: Value) -> Value:
    """Weights of one engine device, gathered from the training shards over a device's link.

    >>> sync_s(16e9, 200e9)
    0.08
    """
    return weights_bytes / link_bytes_per_s
