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
    """Devices of a stage that hold the same experts: tensor · context · data / (expert · its tensor).

    >>> float(expert_data_group(1, 1, 128, 64, 1))
    2.0
    """
    return np.maximum(tensor * context * data / (expert * expert_tensor), 1.0)


def sharded_parameters(dense: Value, experts: Value, tensor: Value, context: Value, data: Value, shard: Value,
                       expert: Value, expert_tensor: Value) -> Value:
    """Parameters whose state one device keeps: dense ones over context · shard, experts over their own group.

    >>> float(sharded_parameters(1e9, 0.0, 1, 1, 8, 8, 1, 1))
    125000000.0
    """
    same = expert_data_group(tensor, context, np.minimum(shard, data), expert, expert_tensor)
    return dense / (context * shard) + experts / same


def table_state_bytes(tables: Value, each: Value, context: Value, shard: Value, sharded: bool) -> Value:
    """States of embedding and head beyond those of the other matrices."""
    return tables * each / (context * shard) if sharded else tables * each


def table_parameters(first: Value, last: Value, vocab: int, hidden: int, tied: bool, mtp: int, tensor: Value,
                     pad: bool) -> Value:
    """Embedding on the first stage, head on the last; tied, another last stage holds a copy.

    A prediction layer embeds tokens too, so its stage holds the embedding.

    >>> float(table_parameters(1.0, 1.0, 128256, 4096, False, 0, 1, False)) / 1e6
    1050.673152
    """
    rows = padded_vocabulary(vocab, tensor) if pad else vocab
    elsewhere = last * (1 - first)
    head = elsewhere if tied else last
    again = elsewhere if mtp and not tied else 0.0
    return rows * hidden * (first + again + head)


def loose_parameters(first: Value, last: Value, positions: int, norm: int) -> Value:
    """Learned positions and the final norm, whole on every rank of their stage."""
    return first * positions + last * norm


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


def mask_bytes(tokens: Value, by: Value, hidden: int) -> Value:
    """Byte mask of the dropout after the embedding."""
    return tokens / by * hidden


def larger_if_held(so_far: Value, count: Value, working: Value) -> Value:
    """The larger working set among kinds the stage holds."""
    return np.maximum(so_far, np.where(np.asarray(count) > 0, working, 0.0))


def loss_rows_bytes(tokens: Value, by: Value, tensor: Value, hidden: int, sequence_parallel: bool) -> Value:
    """Final norm's input and output, the head's input gradient; gathered rows under sequence parallelism."""
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


def table_gradient_bytes(held: Value, vocab: int, hidden: int, tensor: Value) -> Value:
    """The 16-bit gradient of an embedding or a head, where a stage holds it (held 1, else 0).

    >>> table_gradient_bytes(1.0, 128256, 4096, 1) / 2**20
    1002.0
    """
    return held * HALF * vocab * hidden / tensor


def peak_above_states(held: Value, one: Value, working: Value, loss: Value, table: Value,
                      step: Value) -> Value:
    """The most bytes alive beyond states and buffers, over the moments of `peak_moment`.

    >>> float(peak_above_states(2.0, 10.0, 3.0, 0.0, 5.0, 1.0))
    23.0
    """
    late = np.maximum(held - 1, 0) * one + table
    return np.maximum(held * one + np.maximum(working, loss), np.maximum(late, step))


def peak_moment(held: Value, one: Value, working: Value, loss: Value, table: Value, step: Value) -> Value:
    """Which moment is highest: 0 a layer's backward, 1 the loss, 2 the embedding's backward, 3 the step.

    held micro-batches of `one` byte count each are alive at 0 and 1, one fewer at 2, none at 3.

    >>> int(peak_moment(2.0, 10.0, 3.0, 0.0, 5.0, 1.0)), int(peak_moment(1.0, 10.0, 3.0, 4.0, 5.0, 1.0))
    (0, 1)
    """
    full = held * one
    layer = full + np.maximum(working, loss)
    late = np.maximum(held - 1, 0) * one + table
    inside = np.where(layer >= late, np.where(loss > working, 1, 0), 2)
    return np.where(step > np.maximum(layer, late), 3, inside)


def activations_at(moment: Value, held: Value, one: Value) -> Value:
    """Kept activations at a moment of `peak_moment`."""
    return np.where(moment <= 1, held, np.where(moment == 2, np.maximum(held - 1, 0), 0.0)) * one


def shared_bytes(elements: Value, tensor: Value) -> Value:
    """A 16-bit matrix divided by tensor parallelism.

    >>> shared_bytes(4096 * 14336, 1) / 2**20
    112.0
    """
    return HALF * elements / tensor


def gradients_at(moment: Value, gradients: Value, late: Value) -> Value:
    """Gradients alive at a moment: those not made yet are missing during a layer's backward and the loss."""
    return gradients - np.where(moment <= 1, late, 0.0)


def logits_at(moment: Value, loss: Value) -> Value:
    """What is alive at the loss, where the loss is the highest moment."""
    return np.where(moment == 1, loss, 0.0)


def working_at(moment: Value, working: Value, table: Value, step: Value) -> Value:
    """Gradients inside a layer or of the embedding, or the optimiser's temporaries, at a moment."""
    return np.where(moment == 0, working, np.where(moment == 2, table, np.where(moment == 3, step, 0.0)))


def difference(whole: Value, part: Value) -> Value:
    """What is left."""
    return whole - part


def bucket_bytes(parameters: Value, largest: float, trained: float = 1.0) -> Value:
    """Two 16-bit buckets, one reduced while one fills; never more than what is trained."""
    return 2 * HALF * np.minimum(parameters * trained, largest)


def head_gradient_bytes(vocab: int, hidden: int, tensor: Value, each: float) -> Value:
    """Gradients of the head alive while the loss runs over chunks: the sum and one chunk's.

    >>> head_gradient_bytes(128256, 3072, 1, 4.0) / 2**30
    1.4677734375
    """
    return each * vocab * hidden / tensor


def not_yet(gradients: Value, micro_batches: Value) -> Value:
    """Gradients that the first backward of a step has not made yet, while its activations are alive.

    With several micro-batches a step, all but the first meet the gradients of those before.

    >>> float(not_yet(8.0, 1.0)), float(not_yet(8.0, 2.0))
    (8.0, 0.0)
    """
    return np.where(np.asarray(micro_batches) > 1, 0.0, gradients)


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
    first: Value, last: Value, vocab: int, hidden: int, tied: bool, tensor: Value, element: float,
    head_trained: bool = True,
) -> Value:
    """Embedding and head gathered for the whole step, and the head's gradient where it is trained."""
    tables = np.maximum(first, last) if tied else first + last
    return element * (tables + (last if head_trained else 0.0)) * vocab * hidden / tensor


def layer_gradient_bytes(layer: Value, pipeline: Value, element: float, trained: float = 1.0) -> Value:
    """Gradients of one gathered layer, whole, and the fp32 buffer that reduces the one before it.

    >>> float(layer_gradient_bytes(218e6, 1, 2.0)) / 1e9
    1.308
    """
    return np.where(np.asarray(pipeline) > 1, 0.0, trained * layer * (element + SINGLE))


def gathered_bytes(layer: Value, ends: Value, whole: Value, pipeline: Value, element: float) -> Value:
    """One layer in use, the next in a buffer and its copy; under a pipeline all layers and fp32 gradients."""
    return np.where(np.asarray(pipeline) > 1, whole * (element + SINGLE), 3 * element * layer + ends)
