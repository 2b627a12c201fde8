"""Communication over the data ranks and the optimiser: what happens once a step, or per micro-batch
when sharded.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from outlay.architecture import Architecture, LayerKind
from outlay.derive import add_all, derive, value_of
from outlay.physics import collectives, roofline
from outlay.physics.memory import expert_data_group
from outlay.steps.inputs import Layout
from outlay.steps.layers import HALF
from outlay.steps.train.time_device import Device, product
from outlay.steps.tune.trained import weight_tensors

Num = Any  # float, array or Quantity


def _stage_weights(arch: Architecture, micro: Mapping[str, Num], counts: list[Num], name: str) -> Num:
    return sum((count * micro[f"{name}.{i}"] for i, count in enumerate(counts)), 0.0)


def _sizes(layout: Layout) -> tuple[Any, Any, Any]:
    """Ranks that hold the same dense weights, the same experts, and the stride between the latter."""
    stride = np.asarray(layout.expert) * np.asarray(layout.expert_tensor)
    return *_ranks(layout, np.asarray(layout.data) * 1.0), stride


def _ranks(layout: Layout, data: Any) -> tuple[Any, Any]:
    """Ranks with the same dense weights and with the same experts, among `data` of the data-parallel ranks."""
    context = np.asarray(layout.context) * 1.0
    return context * data, expert_data_group(layout.tensor, context, data, layout.expert, layout.expert_tensor)


def _groups(layout: Layout, scale_up: Any) -> tuple[tuple[Any, Any, Any], tuple[Any, Any, Any]]:
    """(size, inside, outside) of the ranks that hold the same dense weights, and the same experts."""
    dense, experts, stride = _sizes(layout)
    return (
        (dense, *collectives.span(dense, np.asarray(layout.tensor), scale_up)),
        (experts, *collectives.span(experts, stride, scale_up)),
    )


def _shards(layout: Layout) -> tuple[Any, Any]:
    """ZeRO/FSDP groups of dense weights and of experts: all data-parallel ranks unless fewer are given."""
    data = np.asarray(layout.data) * 1.0
    given = np.asarray(layout.shard) * 1.0
    return _ranks(layout, np.where(given > 1, np.minimum(given, data), data))


def sharded_gather_time(device: Device, arch: Architecture, layout: Layout, micro: Mapping[str, Num]) -> Num:
    """ZeRO-3/FSDP, one micro-batch through all layers: gather forward, gather backward, reduce-scatter;
    exposed.

    Each layer's gather hides behind the neighbouring layer's compute, so the longer of the two counts per
    layer.
    """
    if layout.zero < 3:
        return 0.0
    dense, experts = _shards(layout)
    expert_stride = np.asarray(layout.expert) * np.asarray(layout.expert_tensor)
    total: Num = 0.0
    for i, (kind, count) in enumerate(arch.groups):
        hidden_by: dict[str, Num] = {"forward": micro[f"forward.{i}"], "backward": micro[f"backward.{i}"]}
        for name, shard, stride in (
            ("weights", dense, layout.tensor),
            ("expert_weights", experts, expert_stride),
        ):
            inside, outside = collectives.span(shard, stride, device.hw.scale_up_devices)
            links = device.links("gather")
            gather = derive(
                collectives.gather_time_s,
                "gather of a layer's weights",
                "s",
                total_bytes=_wire_bytes(device) * micro[f"{name}.{i}"],
                inside=inside,
                outside=outside,
                **links,
            )
            scatter = derive(
                collectives.gather_time_s,
                "reduce-scatter of a layer's gradients",
                "s",
                total_bytes=_reduce_bytes(device) * micro[f"{name}.{i}"],
                inside=inside,
                outside=outside,
                **links,
            )
            back = add_all("sharding traffic, backward", "s", gather, scatter)
            ahead = device.exposed(gather, micro[f"forward.{i}"], "overlap.shard", "gather, forward, exposed")
            behind = device.exposed(back, micro[f"backward.{i}"], "overlap.shard", "gather and reduce, exposed")
            exposed = add_all("sharding traffic, exposed", "s", ahead, behind)
            hidden_by = {"forward": add_all("forward and its gathers", "s", hidden_by["forward"], ahead),
                         "backward": add_all("backward and its gathers", "s", hidden_by["backward"], behind)}
            total = add_all(
                "sharding traffic of all layers, exposed",
                "s",
                total,
                derive(product, "layers of this kind", "s", a=exposed, b=float(count)),
            )
        hooks = _gather_hooks(device, arch, kind, layout.recompute, hidden_by)
        if hooks is not None:
            total = add_all("sharding traffic and the host behind it", "s", total,
                            derive(product, "layers of this kind", "s", a=hooks, b=float(count)))
    return total


def _gather_hooks(device: Device, arch: Architecture, kind: LayerKind, recompute: str,
                  hidden_by: Mapping[str, Num]) -> Num | None:
    """What a layer waits for a host that gathers its weights one by one, beyond its own work and traffic.

    None for software that gathers a layer at once. Recomputation gathers as the forward pass does.
    """
    tuning = device.recipe.tuning
    if tuning is None or value_of(tuning.software.gather_launch) == 0.0:
        return None
    tensors = weight_tensors(kind, arch.hidden, tuning.fused)
    host = derive(_hook_s, "host time of a layer that gathers its weights", "s", tensors=tensors,
                  each=tuning.software.gather_launch, layer_s=device.constant("host.layer_s"))
    back = derive(product, "the same, backward", "s", a=host, b=device.constant("host.backward"))
    ahead = derive(_beyond, "host, forward, exposed", "s", time=host, behind=hidden_by["forward"])
    passes = derive(product, "forward and recomputation", "s", a=ahead, b=2.0 if recompute == "full" else 1.0)
    return add_all("host behind gathers, exposed", "s", passes,
                   derive(_beyond, "host, backward, exposed", "s", time=back, behind=hidden_by["backward"]))


def _hook_s(tensors: Any, each: Any, layer_s: Any) -> Any:
    """A layer's own launches and those of gathering each of its tensors.

    BERT of 64 layers with six matrices each under ZeRO-3: 270 ms forward (deepspeedai/DeepSpeed#1188).

    >>> round(64 * _hook_s(6.0, 0.61, 0.0009), 3)
    0.268
    """
    return layer_s * (1.0 + tensors * each)


def _beyond(time: Any, behind: Any) -> Any:
    """What is left of a time that runs beside another."""
    return np.maximum(time - behind, 0.0)


def _reduce_bytes(device: Device) -> float:
    """Bytes a gradient has on the wire."""
    if device.recipe.tuning is not None:
        return max(float(device.recipe.gradient_bytes), HALF * float(device.recipe.tuning.reduce_share))
    return min(max(float(device.recipe.gradient_bytes), HALF), 4.0)


def _wire_bytes(device: Device) -> Num:
    """Bytes a sharded weight has on the wire."""
    return device.activation_bytes if device.recipe.tuning is None else device.recipe.tuning.wire_bytes


def _trained(device: Device) -> float:
    """Trained parameters over all."""
    return 1.0 if device.recipe.tuning is None else float(device.recipe.tuning.reduce_share)


def stage_weights(
    arch: Architecture, layout: Layout, micro: Mapping[str, Num], counts: list[Num]
) -> tuple[Num, Num]:
    """Dense and expert parameters one rank of the fullest stage works with, the model's ends included."""
    end = micro["head_weights"] * (
        1.0 if arch.tied_embeddings else np.where(np.equal(np.asarray(layout.pipeline), 1), 2.0, 1.0)
    )
    dense = _stage_weights(arch, micro, counts, "weights") + end
    return dense, _stage_weights(arch, micro, counts, "expert_weights")


def data_parallel_time(device: Device, layout: Layout, held: tuple[Num, Num], window: Num) -> Num:
    """Gradients over the data ranks once a step, and weights back under ZeRO-1 and 2; exposed."""
    hw = device.hw
    (dense, din, dout), (experts, ein, eout) = _groups(layout, hw.scale_up_devices)
    wire = _reduce_bytes(device)
    sizes = ((held[0], din, dout), (held[1], ein, eout))
    if layout.zero >= 3:
        return _hybrid_reduce(device, layout, sizes, (dense, experts), wire, window)
    terms: list[Num] = []
    for weights, inside, outside in sizes:
        if layout.zero == 0:
            terms.append(
                derive(
                    collectives.all_reduce_time_s,
                    "all-reduce of gradients",
                    "s",
                    total_bytes=wire * weights,
                    inside=inside,
                    outside=outside,
                    **device.links("reduce"),
                )
            )
        else:
            terms.append(
                derive(
                    collectives.gather_time_s,
                    "reduce-scatter of gradients",
                    "s",
                    total_bytes=wire * weights,
                    inside=inside,
                    outside=outside,
                    **device.links("gather"),
                )
            )
            terms.append(
                derive(
                    collectives.gather_time_s,
                    "gather of weights",
                    "s",
                    total_bytes=device.activation_bytes * _trained(device) * weights,
                    inside=inside,
                    outside=outside,
                    **device.links("gather"),
                )
            )
    return device.exposed(
        add_all("data-parallel communication", "s", *terms),
        window,
        "overlap.data",
        "data-parallel communication, exposed",
    )


def _hybrid_reduce(device: Device, layout: Layout, sizes: Any, groups: Any, wire: float, window: Num) -> Num:
    """Hybrid sharding: what a shard group has reduced is summed over its replicas once a step."""
    terms: list[Num] = []
    strides = np.asarray(layout.tensor), np.asarray(layout.expert) * np.asarray(layout.expert_tensor)
    for (weights, _, _), group, shard, stride in zip(sizes, groups, _shards(layout), strides):
        replicas = np.maximum(group / shard, 1.0)
        inside, outside = collectives.span(replicas, shard * stride, device.hw.scale_up_devices)
        terms.append(
            derive(
                collectives.all_reduce_time_s,
                "all-reduce between shard groups",
                "s",
                total_bytes=wire * weights / shard,
                inside=inside,
                outside=outside,
                **device.links("reduce"),
            )
        )
    return device.exposed(
        add_all("replica communication", "s", *terms), window, "overlap.data", "replicas, exposed"
    )


def optimizer_time(device: Device, layout: Layout, held: tuple[Num, Num]) -> Num:
    """Read and write every state the rank holds once, in device memory or over the host link."""
    recipe = device.recipe
    dense, experts = _shards(layout) if layout.zero >= 1 else (1.0, 1.0)
    weights = held[0] / dense + held[1] / experts
    written = recipe.weight_bytes if recipe.tuning is None else HALF * _trained(device)
    each = 2 * recipe.gradient_bytes + 2 * (recipe.master_bytes + recipe.optimizer_bytes) + written
    paged = recipe.optimizer.startswith("paged")  # pages come to the device, which updates them
    if recipe.offload in ("optimizer", "all"):
        return derive(
            _host_update,
            "optimiser over the host link",
            "s",
            weights=weights,
            wire_bytes=2 * recipe.optimizer_bytes if paged else recipe.gradient_bytes + written,
            state_bytes=0.0 if paged else each,
            host_memory_bytes_per_s=device.constant("host.memory_bytes_per_s"),
            host_link_bytes_per_s=device.hw.host_link_bytes_per_s,
        )
    return derive(
        roofline.traffic_time_s,
        "optimiser",
        "s",
        traffic_bytes=each * weights,
        memory_bytes_per_s=device.hw.memory_bytes_per_s,
        memory_utilisation=device.constant("memory.utilisation"),
    )


def _host_update(
    weights: Any,
    wire_bytes: Any,
    state_bytes: Any,
    host_link_bytes_per_s: Any,
    host_memory_bytes_per_s: Any,
) -> Any:
    """Gradients down and weights up the host link, and the processor's pass over its states, one by one."""
    return weights * (wire_bytes / host_link_bytes_per_s + state_bytes / host_memory_bytes_per_s)


def streamed_weights_time(device: Device, layout: Layout, held: tuple[Num, Num], micro_batches: Num,
                          window: Num) -> Num:
    """Weights kept on the host, brought over its link before each forward and each backward; exposed.

    Gradients of what is trained go back once a micro-batch. The link works behind the device's own compute.
    """
    dense, experts = _shards(layout) if layout.zero >= 3 else (1.0, 1.0)
    weights = held[0] / dense + held[1] / experts
    moved = derive(_streamed, "weights from the host", "s", weights=weights, wire_bytes=_wire_bytes(device),
                   back_bytes=HALF * _trained(device), host_link_bytes_per_s=device.hw.host_link_bytes_per_s)
    exposed = device.exposed(moved, window, "overlap.shard", "weights from the host, exposed")
    return derive(product, "weights from the host, every micro-batch", "s", a=exposed, b=micro_batches)


def _streamed(weights: Any, wire_bytes: Any, back_bytes: Any, host_link_bytes_per_s: Any) -> Any:
    """Two passes of weights up and one of gradients down the host link."""
    return weights * (2.0 * wire_bytes + back_bytes) / host_link_bytes_per_s
