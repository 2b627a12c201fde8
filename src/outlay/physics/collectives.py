"""Collective communication: bytes over links plus a latency, inside a fast domain and between domains.

Alpha-beta model on ring volumes (Thakur, Rabenseifner and Gropp 2005; NCCL's bus bandwidth is the same
count). A group spans `inside` devices of one fast domain and `outside` domains; both levels stream at once,
so the slower one sets the time. Where `inside` devices of a domain take part, each drives its own link
outwards.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Value = Any


def span(group: Value, stride: Value, scale_up_devices: Value) -> tuple[Value, Value]:
    """(devices of the group inside one fast domain, domains spanned); the one answer to "does it leave?".

    stride is the number of devices between neighbours of the group: the product of the dimensions placed
    before it, in the order tensor, context, expert, data, pipeline.

    >>> [tuple(int(v) for v in span(g, s, 8)) for g, s in ((8, 1), (4, 4), (4, 8), (16, 1))]
    [(8, 1), (2, 2), (1, 4), (8, 2)]
    """
    inside = np.clip(np.floor(scale_up_devices / stride), 1, group)
    return inside, np.ceil(group / inside)


def leaves_fast_domain(group: Value, stride: Value, scale_up_devices: Value) -> Value:
    """Whether a communication group has members in more than one fast domain.

    >>> bool(leaves_fast_domain(8, 1, 8)), bool(leaves_fast_domain(2, 8, 8))
    (False, True)
    """
    return span(group, stride, scale_up_devices)[1] > 1


def gather_time_s(
    total_bytes: Value,
    inside: Value,
    outside: Value,
    fast_bytes_per_s: Value,
    slow_bytes_per_s: Value,
    fast_latency_s: Value,
    slow_latency_s: Value,
) -> Value:
    """All-gather (or reduce-scatter) that leaves (starts from) total_bytes on every device.

    Ring volume (n - 1)/n · V; between domains each of the `inside` links carries its share, and a ring pays
    slow_latency_s for every other domain.

    >>> float(gather_time_s(8e9, 8, 1, 100e9, 1e9, 0.0, 0.0))  # 7/8 of 8 GB at 100 GB/s
    0.07
    """
    n = inside * outside
    fast = np.where(inside > 1, (n - 1) / n * total_bytes / fast_bytes_per_s, 0.0)
    slow = (outside - 1) / outside * total_bytes / (inside * slow_bytes_per_s)
    return (
        np.maximum(fast, slow)
        + np.where(inside > 1, fast_latency_s, 0.0)
        + slow_latency_s * (outside - 1)
    )


def all_reduce_time_s(
    total_bytes: Value,
    inside: Value,
    outside: Value,
    fast_bytes_per_s: Value,
    slow_bytes_per_s: Value,
    fast_latency_s: Value,
    slow_latency_s: Value,
) -> Value:
    """All-reduce of total_bytes: a reduce-scatter and an all-gather, 2(n - 1)/n · V over a ring.

    >>> float(all_reduce_time_s(8e9, 8, 1, 100e9, 1e9, 0.0, 0.0))
    0.14
    """
    n = inside * outside
    fast = np.where(inside > 1, 2 * (n - 1) / n * total_bytes / fast_bytes_per_s, 0.0)
    slow = 2 * (outside - 1) / outside * total_bytes / (inside * slow_bytes_per_s)
    return (
        np.maximum(fast, slow)
        + np.where(inside > 1, fast_latency_s, 0.0)
        + 2 * slow_latency_s * np.ceil(np.log2(outside))
    )


def all_to_all_time_s(
    token_bytes: Value,
    copies: Value,
    inside: Value,
    outside: Value,
    fast_bytes_per_s: Value,
    slow_bytes_per_s: Value,
    fast_latency_s: Value,
    slow_latency_s: Value,
) -> Value:
    """Send `copies` of token_bytes each to members chosen at random; one copy at most crosses to a domain.

    Between domains a token goes once to every other domain that wants it, (D - 1)(1 - (1 - 1/D)^copies) of
    them, and is spread inside (DeepSeek-V3, arXiv:2412.19437, section 3.2.2); inside, every copy travels.

    >>> float(all_to_all_time_s(1e9, 8, 8, 1, 100e9, 1e9, 0.0, 0.0))
    0.07
    >>> round(float(all_to_all_time_s(1e9, 8, 8, 2, 1e12, 1e9, 0.0, 0.0)), 3)  # one copy, not four
    0.996
    """
    fast = copies * (inside - 1) / inside * token_bytes / fast_bytes_per_s
    crossing = (outside - 1) * (1 - np.power(1 - 1 / outside, copies))
    slow = crossing * token_bytes / slow_bytes_per_s
    return (
        np.maximum(fast, slow)
        + np.where(inside > 1, fast_latency_s, 0.0)
        + np.where(outside > 1, slow_latency_s, 0.0)
    )


def point_to_point_s(
    sent_bytes: Value,
    leaves: Value,
    fast_bytes_per_s: Value,
    slow_bytes_per_s: Value,
    fast_latency_s: Value,
    slow_latency_s: Value,
) -> Value:
    """One message to a neighbour, inside the fast domain or out of it.

    >>> float(point_to_point_s(1e9, True, 100e9, 10e9, 0.0, 0.0))
    0.1
    """
    return np.where(
        leaves, sent_bytes / slow_bytes_per_s + slow_latency_s, sent_bytes / fast_bytes_per_s + fast_latency_s
    )


def exposed_s(communication_s: Value, window_s: Value, overlap: Value) -> Value:
    """What remains of a communication when `overlap` of the part that fits behind a compute window is hidden.

    >>> float(exposed_s(3.0, 2.0, 0.5)), float(exposed_s(1.0, 2.0, 1.0))
    (2.0, 0.0)
    """
    return communication_s - overlap * np.minimum(communication_s, window_s)


def slowest_share(mean: Value, context: Value, imbalance: Value) -> Value:
    """Attention work of the busiest context rank: cut in order, a causal mask gives the last rank 2 - 1/c of
    the mean.

    imbalance is 0 where sequences are cut in balanced pairs (zigzag) and 1 where they are cut in order.

    >>> slowest_share(1.0, 4, 1.0), slowest_share(1.0, 4, 0.0)
    (1.75, 1.0)
    """
    return mean * (1 + imbalance * (1 - 1 / context))
