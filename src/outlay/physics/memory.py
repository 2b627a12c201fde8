"""What a training step keeps apart from activations: model states, buffers, and what the driver adds.

Rajbhandari et al. 2020 (arXiv:1910.02054): mixed-precision Adam keeps 16 bytes a parameter, and ZeRO shards
the optimiser (stage 1), gradients too (2), weights too (3) over the data-parallel group.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from outlay.physics.activations import HALF, SINGLE, logits_bytes

Value = Any


def state_bytes(parameters: Value, bytes_per_parameter: Value, group: Value = 1) -> Value:
    """One kind of model state of one device: parameters it works on × bytes, shared by `group` devices.

    >>> state_bytes(7.5e9, 2 + 2 + 12) / 1e9, round(state_bytes(7.5e9, 16, 64) / 1e9, 1)  # ZeRO figure 1
    (120.0, 1.9)
    """
    return parameters * bytes_per_parameter / group


def device_parameters(split: Value, replicated: Value, tensor: Value) -> Value:
    """Parameters of one device outside the experts: matrices divided by tensor parallelism, the rest whole.

    >>> device_parameters(16e9, 1e6, 8)
    2001000000.0
    """
    return split / tensor + replicated


def expert_parameters(experts: Value, expert: Value, expert_tensor: Value) -> Value:
    """Routed-expert parameters of one device.

    >>> expert_parameters(653e9, 64, 1)
    10203125000.0
    """
    return experts / (expert * expert_tensor)


def expert_data_group(
    tensor: Value, context: Value, data: Value, expert: Value, expert_tensor: Value
) -> Value:
    """Devices of one pipeline stage that hold the same experts: tensor · context · data / (expert · its tensor).

    >>> float(expert_data_group(1, 1, 128, 64, 1))
    2.0
    """
    return np.maximum(tensor * context * data / (expert * expert_tensor), 1.0)


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


def padded_vocabulary(vocab: Value, tensor: Value, multiple: int = 128) -> Value:
    """Rows of an embedding table padded so that each tensor rank holds a multiple of `multiple`.

    >>> int(padded_vocabulary(50257, 1)), int(padded_vocabulary(50257, 8))
    (50304, 51200)
    """
    return np.ceil(vocab / (multiple * tensor)) * multiple * tensor


def fragmentation_bytes(allocated: Value, fraction: Value) -> Value:
    """Memory the framework's allocator holds and cannot use.

    >>> fragmentation_bytes(80e9, 0.05)
    4000000000.0
    """
    return allocated * fraction


def times(count: Value, each: Value) -> Value:
    """Count times one."""
    return count * each


def mask_bytes(tokens: Value, by: Value, hidden: int, first: Value) -> Value:
    """Byte mask of the dropout after the embedding."""
    return first * tokens / by * hidden


def larger_if_held(so_far: Value, count: Value, working: Value) -> Value:
    """The larger working set among kinds the stage holds."""
    return np.maximum(so_far, np.where(np.asarray(count) > 0, working, 0.0))


def loss_rows_bytes(tokens: Value, by: Value, tensor: Value, hidden: int, sequence_parallel: bool) -> Value:
    """Final norm's input and output, the head's input gradient, and under sequence parallelism their gathered rows."""
    rows = tokens / by
    if not sequence_parallel:
        return HALF * hidden * (2 * rows + tokens)
    return HALF * hidden * (3 * rows + tokens + np.where(np.asarray(tensor) > 1, tokens, 0.0))


def prediction_bytes(
    layers: int,
    kept: Value,
    tokens: Value,
    by: Value,
    hidden: int,
    vocab: int,
    tensor: Value,
    bytes_per_logit: float,
) -> Value:
    """Prediction layers kept to the loss: a layer, its joined input (5 rows of h) and its own logits."""
    logits = logits_bytes(tokens, vocab, tensor, bytes_per_logit)
    return layers * (kept + 5 * HALF * tokens / by * hidden + logits)


def table_gradient_bytes(first: Value, vocab: int, hidden: int, tensor: Value) -> Value:
    """The embedding's 16-bit gradient, made when its micro-batch's activations are gone."""
    return first * HALF * vocab * hidden / tensor


def peak_above_states(held: Value, one: Value, working: Value, loss: Value, table: Value) -> Value:
    """The highest of: a layer running backward, the loss, the embedding's backward."""
    full = held * one
    return np.maximum(full + np.maximum(working, loss), np.maximum(held - 1, 0) * one + table)


def activations_at_peak(held: Value, one: Value, working: Value, loss: Value, table: Value) -> Value:
    """Kept activations at the highest moment."""
    late = np.maximum(held - 1, 0) * one
    return np.where(held * one + np.maximum(working, loss) >= late + table, held * one, late)


def logits_at_peak(held: Value, one: Value, working: Value, loss: Value, table: Value) -> Value:
    """What is alive at the loss, where the loss is the highest moment."""
    late = np.maximum(held - 1, 0) * one + table
    return np.where((loss > working) & (held * one + loss >= late), loss, 0.0)


def rest_at_peak(peak: Value, activations: Value, logits: Value) -> Value:
    """Gradients inside a layer or of the table at the highest moment."""
    return np.maximum(peak - activations - logits, 0.0)


def with_residual(counted: Value, residual: Value) -> Value:
    """Counted bytes times what left-out runs showed them to be off by."""
    return counted * residual


def difference(whole: Value, part: Value) -> Value:
    """What is left."""
    return whole - part


def bucket_bytes(parameters: Value, largest: float) -> Value:
    """Two 16-bit buckets, one reduced while one fills."""
    return 2 * HALF * np.minimum(parameters, largest)


def head_dummy_bytes(last: Value, vocab: int, hidden: int, tensor: Value) -> Value:
    """A 16-bit gradient of the head."""
    return last * HALF * vocab * hidden / tensor


def layer_dummy_bytes(
    count: Value, split: Value, replicated: Value, expert: Value, tensor: Value, expert_tensor: Value
) -> Value:
    """16-bit gradients of a layer's matrices, one expert's once."""
    return np.where(np.asarray(count) > 0, HALF, 0.0) * (split / tensor + replicated + expert / expert_tensor)


def larger_layer(
    so_far: Value,
    count: Value,
    split: Value,
    replicated: Value,
    experts: Value,
    tensor: Value,
    expert: Value,
    expert_tensor: Value,
) -> Value:
    """Parameters of the largest layer of a device."""
    layer = split / tensor + replicated + experts / (expert * expert_tensor)
    return np.maximum(so_far, np.where(np.asarray(count) > 0, layer, 0.0))


def ends_gathered_bytes(
    first: Value, last: Value, vocab: int, hidden: int, tied: bool, tensor: Value, element: float
) -> Value:
    """Embedding and head gathered for the whole step, and the head's gradient."""
    tables = np.maximum(first, last) if tied else first + last
    return element * (tables + last) * vocab * hidden / tensor


def gathered_bytes(layer: Value, ends: Value, whole: Value, pipeline: Value, element: float) -> Value:
    """One layer in use and the next in a buffer and its copy; all layers with fp32 gradients under a pipeline."""
    return np.where(np.asarray(pipeline) > 1, whole * (element + SINGLE), 3 * element * layer + ends)
