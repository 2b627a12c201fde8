"""One training step: layers into stages, stages into a pipeline, gradients over the data ranks, the
optimiser.

Two stages so that a search stays cheap: `micro_batch_time` on the distinct (tensor, context, expert,
expert_tensor, micro_batch) tuples, gathered to the rows; `schedule_time` on every row.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from outlay.architecture import Architecture
from outlay.derive import add_all, derive
from outlay.physics import collectives, pipeline, roofline
from outlay.steps import layers
from outlay.steps.inputs import Hardware, Layout, Recipe
from outlay.steps.layers import HALF, Split
from outlay.steps.time_data import data_parallel_time, optimizer_time, sharded_gather_time
from outlay.steps.time_device import Device
from outlay.steps.time_micro import micro_batch_time

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
    if any(isinstance(value, np.ndarray) for value in fields.values()):
        unique, rows = _distinct(fields)
        micro = {
            name: np.broadcast_to(value, _shape(unique))[rows] if isinstance(value, np.ndarray) else value
            for name, value in micro_batch_time(arch, hw, recipe, **unique, **fixed).items()
        }
    else:
        micro = micro_batch_time(arch, hw, recipe, **fields, **fixed)
    return schedule_time(arch, hw, recipe, layout, micro)


def _shape(unique: dict[str, Any]) -> Any:
    return next(iter(unique.values())).shape


def _distinct(fields: dict[str, Any]) -> tuple[dict[str, Any], NDArray[np.int64]]:
    """Distinct tuples of the fields and, for each row, which one it is."""
    columns = np.broadcast_arrays(*(np.asarray(value, dtype=np.int64) for value in fields.values()))
    key = np.zeros(columns[0].shape, dtype=np.int64)
    for column in columns:
        key = key * (int(column.max()) + 1) + column
    _, first, rows = np.unique(key, return_index=True, return_inverse=True)
    return {name: column[first].astype(float) for name, column in zip(fields, columns)}, rows


@lru_cache(maxsize=64)
def window_counts(arch: Architecture) -> NDArray[np.float64]:
    """counts[w, kind]: layers of each kind in the heaviest run of w consecutive layers.

    Heaviest by matrix parameters used for a token; the model's order of layers decides what a stage can hold.
    """
    kinds = [kind for kind, _ in arch.groups]
    order = [kinds.index(kind) for kind, count in arch.runs for _ in range(count)]
    whole = Split(1.0, 1.0, 1.0, 1.0, 1.0, False)
    weight = [
        float(
            layers.weights_of(
                layers.mixer_shapes(k, arch.hidden, whole) + layers.mlp_shapes(k, arch.hidden, whole)
            )
        )
        + 3.0 * (k.expert_hidden or arch.hidden) * k.expert_ffn * k.experts_per_token
        for k in kinds
    ]
    onehot = np.zeros((len(order) + 1, len(kinds)))
    onehot[np.arange(1, len(order) + 1), order] = 1.0
    running = np.cumsum(onehot, axis=0)
    counts = np.zeros((len(order) + 1, len(kinds)))
    for width in range(1, len(order) + 1):
        windows = running[width:] - running[:-width]
        counts[width] = windows[int(np.argmax(windows @ np.array(weight)))]
    return counts


def _stage_counts(arch: Architecture, layout: Layout) -> tuple[list[Num], list[Num], list[Num]]:
    """Layers of each kind on the first, the fullest and the last stage."""
    total = arch.layers
    first, full, last = pipeline.stage_layers(total, np.asarray(layout.pipeline) * 1.0)
    if layout.first_stage_layers or layout.last_stage_layers:
        given = [n for n in (layout.first_stage_layers, layout.last_stage_layers) if n]
        full = np.ceil((total - sum(given)) / np.maximum(np.asarray(layout.pipeline) * 1.0 - len(given), 1.0))
        first = np.where(layout.first_stage_layers, layout.first_stage_layers, full)
        last = np.where(layout.last_stage_layers, layout.last_stage_layers, full)
    table = window_counts(arch)
    middle = table[np.minimum(full, total).astype(np.int64)]
    share = middle / np.maximum(full, 1.0)[..., None]
    return (
        [share[..., i] * first for i in range(table.shape[1])],
        [middle[..., i] for i in range(table.shape[1])],
        [share[..., i] * last for i in range(table.shape[1])],
    )


def _weighted(label: str, unit: str, counts: list[Num], values: list[Num]) -> Num:
    """Sum of count times value, as one formula of its values."""
    return derive(
        _sum_products, label, unit, counts=tuple(counts), **{f"kind{i}": v for i, v in enumerate(values)}
    )


def _sum_products(counts: tuple[Any, ...], **values: Any) -> Any:
    """Layers of each kind times what one of them takes."""
    return sum(count * value for count, value in zip(counts, values.values()))


def schedule_time(
    arch: Architecture, hw: Hardware, recipe: Recipe, layout: Layout, micro: dict[str, Num]
) -> dict[str, Num]:
    """Put a micro-batch's layer times on stages and ranks: about fifty cheap array operations a row."""
    device = Device(hw, recipe)
    kinds = [count for _, count in arch.groups]
    whole = [float(count) for count in kinds]

    def over_model(name: str) -> Num:
        return _weighted(
            f"{name} of all layers", "s", whole, [micro[f"{name}.{i}"] for i in range(len(kinds))]
        )

    forward = add_all(
        "forward of all stages", "s", over_model("forward"), micro["head_forward"], micro["embedding"]
    )
    backward = add_all("backward of all stages", "s", over_model("backward"), micro["head_backward"])
    names = {
        "recompute_s": "recompute",
        "tensor_comm_s": "tensor_comm",
        "context_comm_s": "context_comm",
        "expert_comm_s": "expert_comm",
    }
    crossing = {"forward_s": forward, "backward_s": backward, **{k: over_model(v) for k, v in names.items()}}
    gathers = sharded_gather_time(device, arch, layout, micro)
    everything = add_all("a micro-batch through all stages", "s", *crossing.values(), gathers)
    extra = _slow_stage_extra(arch, layout, micro, gathers)

    stages = np.asarray(layout.pipeline) * 1.0
    micro_batches = recipe.global_batch / (np.asarray(layout.data) * np.asarray(layout.micro_batch) * 1.0)
    parts: dict[str, Num] = {}
    for name, value in crossing.items():
        parts[name] = derive(_share, name, "s", value=value, micro_batches=micro_batches, pipeline=stages)
    slowest = derive(
        _slowest, "slowest stage, one micro-batch", "s", everything=everything, pipeline=stages, **extra
    )
    parts["pipeline_bubble_s"] = _bubble(
        layout, micro_batches, stages, everything, slowest, forward, backward, over_model("weight_gradient")
    )
    parts["pipeline_comm_s"] = _pipeline_messages(device, arch, layout, micro_batches, stages)
    sharded = derive(
        _share, "sharded weights, exposed", "s", value=gathers, micro_batches=micro_batches, pipeline=stages
    )
    counts = _stage_counts(arch, layout)[1]
    parts["data_comm_s"] = add_all(
        "data-parallel communication, exposed",
        "s",
        sharded,
        data_parallel_time(
            device,
            arch,
            layout,
            micro,
            counts,
            derive(
                _share, "backward of one micro-batch", "s", value=backward, micro_batches=1.0, pipeline=stages
            ),
        ),
    )
    parts["optimizer_s"] = optimizer_time(device, arch, layout, micro, counts)
    parts["overhead_s"] = _overhead(device, parts, stages)
    return _with_totals(device, arch, layout, micro, parts, micro_batches, stages, whole)


def _share(value: Any, micro_batches: Any, pipeline: Any) -> Any:
    """A stage's mean part of what a micro-batch takes in the whole model, over all micro-batches."""
    return value * micro_batches / pipeline


def _slow_stage_extra(
    arch: Architecture, layout: Layout, micro: dict[str, Num], gathers: Num
) -> dict[str, Num]:
    """Times of the first, fullest and last stage for one micro-batch."""
    names = ("forward", "backward", "recompute", "tensor_comm", "context_comm", "expert_comm")
    layer = [add_all("one layer", "s", *(micro[f"{n}.{i}"] for n in names)) for i in range(len(arch.groups))]
    first, full, last = _stage_counts(arch, layout)
    return {
        "first": add_all(
            "first stage", "s", _weighted("layers of the first stage", "s", first, layer), micro["embedding"]
        ),
        "full": _weighted("layers of the fullest stage", "s", full, layer),
        "last": add_all(
            "last stage",
            "s",
            _weighted("layers of the last stage", "s", last, layer),
            micro["head_forward"],
            micro["head_backward"],
        ),
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
    scattered = (
        layout.sequence_parallel or "megatron" in device.recipe.framework.lower()
    )  # section 4.1 of the paper
    split = np.asarray(layout.tensor) if scattered else 1.0
    size = (
        HALF
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
        nodes=max(device.hw.devices / device.hw.devices_per_node, 1.0),
    )


def _jitter(busy: Any, fixed: Any, jitter: Any, nodes: Any) -> Any:
    """Fixed seconds, and a share of the step for each doubling of nodes that step together."""
    return fixed + busy * jitter * np.log2(nodes)


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
    return 3.0 * (total + (1 + arch.mtp_layers) * 2.0 * tokens * arch.hidden * arch.vocab)


def _with_totals(
    device: Device,
    arch: Architecture,
    layout: Layout,
    micro: dict[str, Num],
    parts: dict[str, Num],
    micro_batches: Num,
    stages: Num,
    whole: list[float],
) -> dict[str, Num]:
    step = add_all("step time", "s", *(parts[name] for name in PARTS))
    flop = sum(n * micro[f"flop.{i}"] for i, n in enumerate(whole)) + micro["head_flop"]
    moved = sum(n * micro[f"bytes.{i}"] for i, n in enumerate(whole))
    return {
        "step_time_s": step,
        **parts,
        "flop_per_step": model_flop(arch, device.recipe),
        "compute_activity": derive(
            _activity,
            "share of the step at the arithmetic peak",
            "",
            work=flop,
            micro_batches=micro_batches,
            pipeline=stages,
            rate=device.hw.peak_flop_per_s,
            step_s=step,
        ),
        "memory_activity": derive(
            _activity,
            "share of the step at the memory bandwidth",
            "",
            work=moved,
            micro_batches=micro_batches,
            pipeline=stages,
            rate=device.hw.memory_bytes_per_s,
            step_s=step,
        ),
    }


def _activity(work: Any, micro_batches: Any, pipeline: Any, rate: Any, step_s: Any) -> Any:
    """Work of a stage over what the device could do in the step."""
    return np.minimum(work * micro_batches / pipeline / (rate * step_s), 1.0)
