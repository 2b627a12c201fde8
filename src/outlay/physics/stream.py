"""How long one request takes when it has the devices to itself: a roofline over the bytes each token reads."""

from __future__ import annotations

from typing import Any

import numpy as np

Value = Any  # float or array


def read_time_s(size_bytes: Value, memory_bytes_per_s: Value, utilisation: Value) -> Value:
    """Time to read bytes once at the share of bandwidth a kernel of that size reaches.

    At batch one every weight is read for every token (Pope et al. 2022, arXiv:2211.05102, section 2).
    15 GB at 936 GB/s and 85 %:

    >>> round(read_time_s(15.0e9, 936e9, 0.85) * 1e3, 1)
    18.9
    """
    return size_bytes / (memory_bytes_per_s * utilisation)


def share_at(size_bytes: Value, sizes: tuple[float, ...], shares: tuple[float, ...]) -> Value:
    """Measured share of bandwidth at a size: linear in both logarithms, flat outside.

    So a read between two measured ones takes a time between theirs.

    >>> round(float(share_at(2.0**25, (2.0**24, 2.0**26), (0.2, 0.45))), 2)
    0.3
    """
    return np.exp(np.interp(np.log(np.maximum(size_bytes, 1.0)), np.log(sizes), np.log(shares)))


def token_time_s(
    reads_s: Value,
    layers: Value,
    layer_s: Value,
    expert_layers: Value,
    expert_layer_s: Value,
    hops: Value,
    hop_s: Value,
) -> Value:
    """One token: reading, the fixed cost of every layer's small kernels, more where experts are chosen, hops.

    >>> round(token_time_s(18.9e-3, 32, 95e-6, 0, 0.0, 0, 0.0) * 1e3, 2)
    21.94
    """
    return reads_s + layers * layer_s + expert_layers * expert_layer_s + hops * hop_s


def host_layers_s(size_bytes: Value, host_memory_bytes_per_s: Value) -> Value:
    """Layers left on the host, computed by its cores: one token reads all of them from its memory.

    4 GB of weights at 60 GB/s:

    >>> round(host_layers_s(4e9, 60e9) * 1e3, 1)
    66.7
    """
    return size_bytes / host_memory_bytes_per_s


def streamed_prompt_s(size_bytes: Value, passes: Value, host_link_bytes_per_s: Value) -> Value:
    """A prompt in layers left on the host: their weights go to the device over its link in every pass.

    Two passes over 4 GB at 25 GB/s:

    >>> streamed_prompt_s(4e9, 2, 25e9)
    0.32
    """
    return passes * size_bytes / host_link_bytes_per_s


def kernel_share(measured: Value, limit: Value, packed: Value) -> Value:
    """Share of bandwidth: as measured, scaled where cores limit it and where weights must be unpacked first.

    >>> round(kernel_share(0.78, 0.55, 1.0), 3)
    0.429
    """
    return measured * limit * packed


def core_limit(
    bandwidth: Value, vector_flop_per_s: Value, donor_bandwidth: Value, donor_vector_flop_per_s: Value
) -> Value:
    """How far cores that feed from more bandwidth each fall behind those a curve was measured on; at most one.

    Cores of one generation load a fixed number of bytes a cycle; vector peak counts cores times clock. The H20
    has 4.0 TB/s for 44 TFLOP/s where the H100 has 3.35 for 67:

    >>> round(float(core_limit(4.0e12, 44e12, 3.352e12, 66.9e12)), 2)
    0.55
    """
    return np.minimum(1.0, (donor_bandwidth / donor_vector_flop_per_s) / (bandwidth / vector_flop_per_s))


def all_reduce_time_s(layers: Value, devices: Value, each_s: Value) -> Value:
    """Two small all-reduces a layer, each bound by latency (Shoeybi et al. 2019, arXiv:1909.08053).

    >>> round(float(all_reduce_time_s(80, 8, 8e-6)) * 1e3, 2), float(all_reduce_time_s(80, 1, 8e-6))
    (1.28, 0.0)
    """
    return np.where(np.asarray(devices) > 1, 2.0 * layers * each_s, 0.0)


def prompt_flop(matrix_parameters: Value, tokens: Value, attention_width: Value, layers: Value) -> Value:
    """Multiply-adds of a prompt: two a parameter and token, and causal attention over it.

    attention_width is heads times head width; half the square of the prompt is computed, twice (scores, values).

    >>> prompt_flop(1e9, 1000.0, 0.0, 32)
    2000000000000.0
    """
    return 2.0 * matrix_parameters * tokens + 2.0 * attention_width * layers * tokens**2


def request_time_s(first_s: Value, token_s: Value, output_tokens: Value) -> Value:
    """From sending to the last token: the prompt, then each further token.

    >>> request_time_s(1.0, 0.01, 101.0)
    2.0
    """
    return first_s + token_s * (output_tokens - 1.0)
