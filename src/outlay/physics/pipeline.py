"""Pipeline schedules: how long stages wait for each other.

Narayanan et al. 2021 (arXiv:2104.04473) for 1F1B and interleaving, Qi et al. 2024 (arXiv:2401.10241) for zero
bubble, DeepSeek-V3 (arXiv:2412.19437) for DualPipe.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Value = Any
DUAL_PIPE_COPIES = 2.0  # of the parameters: each rank holds a stage of both directions (arXiv:2412.19437, table 2)


def bubble_fraction(pipeline: Value, micro_batches: Value, virtual_pipeline: Value = 1) -> Value:
    """Idle over ideal time of 1F1B or the interleaved schedule with equal stages: (p - 1)/(v · m).

    >>> bubble_fraction(8, 64), bubble_fraction(8, 64, 2)
    (0.109375, 0.0546875)
    """
    return (pipeline - 1) / (virtual_pipeline * micro_batches)


def fill_and_drain_s(all_stages_s: Value, slowest_stage_s: Value, virtual_pipeline: Value) -> Value:
    """Time the slowest stage waits while one micro-batch crosses the others, forward and back.

    With p equal stages of T seconds this is (p - 1) · T / v, as `bubble_fraction` says.

    >>> fill_and_drain_s(8.0, 1.0, 2)
    3.5
    """
    return (all_stages_s - slowest_stage_s) / virtual_pipeline


def zero_bubble_fill_s(
    all_forward_s: Value, all_backward_s: Value, all_weight_gradient_s: Value, pipeline: Value
) -> Value:
    """ZB-H1: weight gradients fill part of the wait, (p - 1)(Tf + Tb - 2Tw) with Tb holding Tw.

    >>> float(zero_bubble_fill_s(4.0, 8.0, 4.0, 4))  # Tf = Tw = 1, Tb = 2 a stage
    3.0
    """
    wait = all_forward_s + all_backward_s - 2 * all_weight_gradient_s
    return np.maximum(wait, 0.0) * (pipeline - 1) / pipeline


def dual_pipe_fill_s(
    all_forward_s: Value, all_backward_s: Value, all_weight_gradient_s: Value, pipeline: Value
) -> Value:
    """DualPipe: (p/2 - 1)(F&B + B - 3W), with the overlapped pair as long as its two parts.

    >>> float(dual_pipe_fill_s(4.0, 8.0, 4.0, 4))
    2.0
    """
    wait = all_forward_s + 2 * all_backward_s - 3 * all_weight_gradient_s
    return np.maximum(wait, 0.0) * np.maximum(pipeline / 2 - 1, 0.0) / pipeline


def stage_layers(layers: Value, pipeline: Value) -> tuple[Value, Value, Value]:
    """Layers of the (first, fullest, last) stage when all hold the same and the ends give up the remainder.

    126 layers on 16 stages go 7, 8 … 8, 7: the embedding and the head stand for a layer each.

    >>> [int(v) for v in stage_layers(126, 16)], [int(v) for v in stage_layers(80, 8)]
    ([7, 8, 7], [10, 10, 10])
    """
    full = np.ceil(layers / pipeline)
    missing = full * pipeline - layers
    first = np.maximum(full - np.floor(missing / 2), 0)
    last = np.maximum(full - np.ceil(missing / 2), 0)
    alone = np.equal(pipeline, 1)
    return np.where(alone, layers, first), full, np.where(alone, layers, last)
