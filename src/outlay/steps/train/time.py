"""One training step: layers into stages, stages into a pipeline, gradients over the data ranks, the
optimiser.

Two stages so that a search stays cheap: `micro_batch_time` and `model_times` on the distinct (tensor,
context, expert, expert_tensor, micro_batch) tuples, gathered to the rows; `schedule_time` on every row.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from outlay.architecture import Architecture
from outlay.derive import add_all, derive
from outlay.physics import collectives, pipeline, roofline
from outlay.steps import layers
from outlay.steps.distinct import distinct_rows
from outlay.steps.inputs import Hardware, Layout, Recipe
from outlay.steps.layers import Split
from outlay.steps.train.time_data import (
    data_parallel_time,
    optimizer_time,
    sharded_gather_time,
    stage_weights,
    streamed_weights_time,
)
from outlay.steps.train.time_device import Device
from outlay.steps.train.time_micro import micro_batch_time
from outlay.steps.train.time_model import CROSSING, model_times, stage_counts, weighted

Num = Any  # float, array or Quantity

MICRO_FIELDS = ("tensor", "context", "expert", "expert_tensor", "micro_batch")
PARTS = (
    "forward_s",
    "backward_s",
    "recompute_s",
    "tensor_comm_s",
    "expert_comm_s",
    "context_comm_s",
    "pipeline_bubble_s",
    "pipeline_comm_s",
    "data_comm_s",
    "optimizer_s",
    "overhead_s",
)


def train_time(arch: Architecture, hw: Hardware, recipe: Recipe, layout: Layout) -> dict[str, Num]:
    """Seconds of one optimiser step and what they go to; the PARTS add up to step_time_s."""
    fields: dict[str, Any] = {name: getattr(layout, name) for name in MICRO_FIELDS}
    fixed: dict[str, Any] = {"sequence_parallel": layout.sequence_parallel, "recompute": layout.recompute}
    if not any(isinstance(value, np.ndarray) for value in fields.values()):
        once = model_times(arch, micro_batch_time(arch, hw, recipe, **fields, **fixed))
        return schedule_time(arch, hw, recipe, layout, once)
    columns, rows = distinct_rows(*fields.values())
    unique: dict[str, Any] = dict(zip(fields, columns))
    few = model_times(arch, micro_batch_time(arch, hw, recipe, **unique, **fixed))
    micro = {
        name: value.take(rows) if isinstance(value, np.ndarray) and value.ndim else value
        for name, value in few.items()
    }
    return schedule_time(arch, hw, recipe, layout, micro)


def schedule_time(
    arch: Architecture, hw: Hardware, recipe: Recipe, layout: Layout, micro: Mapping[str, Num]
) -> dict[str, Num]:
    """Put the times of a micro-batch (from `model_times`) on stages and ranks: few operations a row."""
    device = Device(hw, recipe)
    gathers = sharded_gather_time(device, arch, layout, micro)
    everything = add_all("a micro-batch through all stages, sharding in", "s", micro["crossing"], gathers)
    counts = stage_counts(arch, layout)
    extra = _slow_stages(arch, counts, micro)

    stages = np.asarray(layout.pipeline) * 1.0
    micro_batches = recipe.global_batch / (np.asarray(layout.data) * np.asarray(layout.micro_batch) * 1.0)
    rounds = micro_batches / stages
    parts: dict[str, Num] = {
        name: derive(_share, name, "s", value=micro[name], rounds=rounds) for name in CROSSING
    }
    slowest = derive(
        _slowest, "slowest stage, one micro-batch", "s", everything=everything, pipeline=stages, **extra
    )
    parts["pipeline_bubble_s"] = _bubble(
        layout,
        micro_batches,
        stages,
        everything,
        slowest,
        micro["forward_s"],
        micro["backward_s"],
        micro["weight_gradient"],
    )
    parts["pipeline_comm_s"] = _pipeline_messages(device, arch, layout, micro_batches, stages)
    sharded = derive(_share, "sharded weights, exposed", "s", value=gathers, rounds=rounds)
    backward = micro["backward_s"]
    window = derive(_share, "backward of one micro-batch", "s", value=backward, rounds=1.0 / stages)
    held = stage_weights(arch, layout, micro, counts[1])
    copies = 1.0
    if layout.schedule == "dualpipe":
        copies = pipeline.DUAL_PIPE_COPIES
        parts["expert_comm_s"] = derive(
            _hidden, "expert all-to-all behind the other direction's compute", "s", time=parts["expert_comm_s"],
            behind=add_all("forward and backward", "s", parts["forward_s"], parts["backward_s"]))
    reduced = data_parallel_time(device, layout, (copies * held[0], copies * held[1]), window)
    parts["data_comm_s"] = add_all("data-parallel communication, exposed", "s", sharded, reduced)
    if recipe.offload == "all":
        compute = derive(_share, "compute of one micro-batch", "s", value=micro["crossing"], rounds=1.0 / stages)
        parts["data_comm_s"] = add_all("communication and weights from the host, exposed", "s", parts["data_comm_s"],
                                       streamed_weights_time(device, layout, held, micro_batches, compute))
    parts["optimizer_s"] = optimizer_time(device, layout, held)
    if recipe.tuning is not None and recipe.tuning.optimizer_in_backward:
        parts["optimizer_s"] = derive(_hidden, "optimiser behind the backward pass", "s", time=parts["optimizer_s"],
                                      behind=parts["backward_s"])
    parts["overhead_s"] = _overhead(device, parts, stages)
    return _with_totals(device, arch, micro, parts, rounds)


def _share(value: Any, rounds: Any) -> Any:
    """A stage's mean part of what the whole model takes; rounds: micro-batches over stages."""
    return value * rounds


def _slow_stages(
    arch: Architecture, counts: tuple[list[Num], list[Num], list[Num]], micro: Mapping[str, Num]
) -> dict[str, Num]:
    """Times of the first, fullest and last stage for one micro-batch."""
    layer = [micro[f"layer.{i}"] for i in range(len(arch.groups))]
    first, full, last = (weighted("layers of a stage", "s", count, layer) for count in counts)
    return {
        "first": add_all("first stage", "s", first, micro["embedding"]),
        "full": full,
        "last": add_all("last stage", "s", last, micro["head"]),
    }


def _slowest(everything: Any, pipeline: Any, first: Any, full: Any, last: Any) -> Any:
    """The longest stage; with one stage, the whole model."""
    return np.where(
        np.equal(pipeline, 1),
        everything,
        np.maximum(np.maximum(np.maximum(first, full), last), everything / pipeline),
    )


def _bubble(
    layout: Layout,
    micro_batches: Num,
    stages: Num,
    everything: Num,
    slowest: Num,
    forward: Num,
    backward: Num,
    weight_gradient: Num,
) -> Num:
    """Waiting: filling and draining, and all stages keeping the slowest one's pace."""
    pace = derive(
        _pace,
        "waiting for the slowest stage",
        "s",
        slowest=slowest,
        everything=everything,
        micro_batches=micro_batches,
        pipeline=stages,
    )
    if layout.schedule in ("zero_bubble", "dualpipe"):
        formula = (
            pipeline.zero_bubble_fill_s if layout.schedule == "zero_bubble" else pipeline.dual_pipe_fill_s
        )
        fill = derive(
            formula,
            "filling and draining the pipeline",
            "s",
            all_forward_s=forward,
            all_backward_s=backward,
            all_weight_gradient_s=weight_gradient,
            pipeline=stages,
        )
    else:
        fill = derive(
            pipeline.fill_and_drain_s,
            "filling and draining the pipeline",
            "s",
            all_stages_s=everything,
            slowest_stage_s=slowest,
            virtual_pipeline=layout.virtual_pipeline,
        )
    return add_all("pipeline bubble", "s", pace, fill)


def _pace(slowest: Any, everything: Any, micro_batches: Any, pipeline: Any) -> Any:
    """What the slowest stage takes beyond the mean stage, for every micro-batch."""
    return micro_batches * (slowest - everything / pipeline)


def _pipeline_messages(
    device: Device, arch: Architecture, layout: Layout, micro_batches: Num, stages: Num
) -> Num:
    """Activations forward and gradients backward over every boundary a stage has."""
    hw = device.hw
    stride = np.asarray(layout.tensor) * np.asarray(layout.context) * np.asarray(layout.data)
    leaves = collectives.leaves_fast_domain(stages, stride, hw.scale_up_devices)
    # Megatron and DeepSpeed send a tensor rank's share, gathered on arrival (arXiv:2104.04473, section 4.1)
    scattered = layout.sequence_parallel or device.framework in ("legacy", "megatron", "tune-megatron")
    split = np.asarray(layout.tensor) if scattered else 1.0
    size = (
        device.activation_bytes
        * np.asarray(layout.micro_batch)
        * device.recipe.sequence_length
        / np.asarray(layout.context)
        * arch.hidden
        / split
    )
    one = derive(
        collectives.point_to_point_s,
        "message between stages",
        "s",
        sent_bytes=size,
        leaves=leaves,
        **device.links("message"),
    )
    return derive(
        _messages,
        "pipeline messages, exposed",
        "s",
        one=one,
        micro_batches=micro_batches,
        pipeline=stages,
        virtual_pipeline=layout.virtual_pipeline,
        overlap=device.constant("overlap.pipeline"),
    )


def _messages(one: Any, micro_batches: Any, pipeline: Any, virtual_pipeline: Any, overlap: Any) -> Any:
    """Two messages a chunk and micro-batch in the steady state (partly hidden), and while filling (not
    hidden).
    """
    steady = 2.0 * virtual_pipeline * micro_batches * one * (1.0 - overlap)
    return np.where(np.greater(pipeline, 1), steady + 2.0 * (pipeline - 1) * one, 0.0)


def _overhead(device: Device, parts: dict[str, Num], stages: Num) -> Num:
    """A step's fixed cost (data, logging, norms of gradients) and what many devices wait for the
    slowest of them.
    """
    busy = add_all("busy time", "s", *(v for k, v in parts.items() if k != "overhead_s"))
    return derive(
        _jitter,
        "fixed cost and stragglers",
        "s",
        busy=busy,
        fixed=device.constant("step.fixed_s"),
        jitter=device.constant("step.jitter"),
        nodes=np.maximum(device.hw.devices / device.hw.devices_per_node, 1.0),
    )


def _jitter(busy: Any, fixed: Any, jitter: Any, nodes: Any) -> Any:
    """Fixed seconds, and a share of the step for each doubling of nodes that step together."""
    return fixed + busy * jitter * np.log2(nodes)


def _hidden(time: Any, behind: Any) -> Any:
    """What is left of a time that runs behind another."""
    return np.maximum(time - behind, 0.0)


def model_flop(arch: Architecture, recipe: Recipe) -> float:
    """Model FLOPs of a step, causal attention, recomputation left out, heads and prediction layers in."""
    tokens = float(recipe.global_batch) * recipe.sequence_length
    split = Split(tokens, 1.0, 1.0, 1.0, 1.0, False)
    total = 0.0
    for kind, count in arch.groups:
        dense = layers.mixer_shapes(kind, arch.hidden, split) + layers.mlp_shapes(kind, arch.hidden, split)
        experts = layers.expert_shapes(kind, arch.hidden, split, 1.0)
        total += count * (
            float(roofline.matmul_flop(dense + experts)) + float(layers.core_flop(kind, recipe, split, True))
        )
    head = (1 + arch.mtp_layers) * 2.0 * tokens * arch.hidden * arch.vocab
    if recipe.tuning is None:
        return 3.0 * (total + head)
    tuning = recipe.tuning  # forward, data gradients above the frozen layers, weight gradients of what is trained
    whole = (2.0 + float(tuning.head_trained)) * head
    return float(total * (1.0 + tuning.live_share + tuning.trained_share) + whole)


def _with_totals(
    device: Device, arch: Architecture, micro: Mapping[str, Num], parts: dict[str, Num], rounds: Num
) -> dict[str, Num]:
    step = add_all("step time", "s", *(parts[name] for name in PARTS))

    def activity(label: str, work: Num, rate: Num) -> Num:
        return derive(_activity, label, "", work=work, rounds=rounds, rate=rate, step_s=step)

    return {
        "step_time_s": step,
        **parts,
        "flop_per_step": model_flop(arch, device.recipe),
        "compute_activity": activity(
            "share of the step at the arithmetic peak", micro["flop"], device.hw.peak_flop_per_s
        ),
        "memory_activity": activity(
            "share of the step at the memory bandwidth", micro["bytes"], device.hw.memory_bytes_per_s
        ),
    }


def _activity(work: Any, rounds: Any, rate: Any, step_s: Any) -> Any:
    """Work of a stage over what the device could do in the step."""
    return np.minimum(work * rounds / (rate * step_s), 1.0)
