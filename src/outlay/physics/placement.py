"""Where layers lie when pipeline stages cut a model."""

from __future__ import annotations

from typing import Any

import numpy as np

Value = Any


def layers_before(position: Value, stage: Value, pipeline: Value, chunk: Value) -> Value:
    """How many of the first `position` layers lie on pipeline stage `stage` when chunks go round the stages.

    >>> int(layers_before(10, 0, 4, 2)), int(layers_before(10, 1, 4, 2))  # stage 0: layers 0 1 8 9
    (4, 2)
    """
    lap = chunk * pipeline
    rest = position - np.floor(position / lap) * lap
    return np.floor(position / lap) * chunk + np.clip(rest - stage * chunk, 0, chunk)


def overlap(start: Value, end: Value, low: Value, high: Value) -> Value:
    """Length of the part of [start, end) inside [low, high).

    >>> int(overlap(0, 3, 2, 10)), int(overlap(0, 3, 5, 10))
    (1, 0)
    """
    return np.maximum(np.minimum(end, high) - np.maximum(start, low), 0)


def run_on_stage(start: Value, end: Value, layers: Value, stage: Value, pipeline: Value,
                 virtual_pipeline: Value = 1, first: int = 0, last: int = 0) -> Value:
    """How many layers of a run [start, end) lie on a stage.

    Stages hold ceil(layers / stages) with the ends giving up the remainder, half each, unless the layers of
    the first or last are stated (first, last; 0 = not stated). Interleaved chunks go round the stages.

    >>> [int(run_on_stage(0, 126, 126, r, 16)) for r in (0, 1, 15)]  # Llama 3 405B
    [7, 8, 7]
    >>> [int(run_on_stage(0, 3, 61, r, 4, first=16, last=15)) for r in (0, 1)]
    [3, 0]
    """
    if first or last:
        return _run_on_stated_stage(start, end, layers, stage, pipeline, first, last)
    chunk = np.ceil(layers / (pipeline * virtual_pipeline))
    missing = np.where(np.asarray(virtual_pipeline) > 1, 0.0, chunk * pipeline - layers)
    shift = np.floor(missing / 2)
    before = layers_before(start + shift, stage, pipeline, chunk)
    return layers_before(end + shift, stage, pipeline, chunk) - before


def _run_on_stated_stage(start: Value, end: Value, layers: Value, stage: Value, pipeline: Value, first: int,
                         last: int) -> Value:
    """The same with stated layers at an end; the other stages share the rest evenly."""
    middle = (layers - first - last) / np.maximum(pipeline - (first > 0) - (last > 0), 1)
    head, tail = first or middle, last or middle
    is_first, is_last = np.equal(stage, 0), np.equal(stage, pipeline - 1)
    low = np.where(is_first, 0.0, np.where(is_last, layers - tail, head + (stage - 1) * middle))
    high = np.where(is_last, layers, np.where(is_first, head, low + middle))
    return overlap(start, end, low, high)


def is_last(stage: Value, pipeline: Value) -> Value:
    """1 on the last stage, else 0."""
    return np.where(np.equal(stage, pipeline - 1), 1.0, 0.0)


def is_first(stage: Value) -> Value:
    """1 on the first stage, else 0."""
    return np.where(np.equal(stage, 0), 1.0, 0.0)
