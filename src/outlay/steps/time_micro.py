"""The time one device spends on one layer, and on the ends of the model, for one micro-batch.

Keys of the result end in the number of the layer kind (`arch.groups` order). Everything here depends on few
distinct tuples of (tensor, context, expert, expert_tensor, micro_batch): a layout search evaluates those and
gathers, see `train_time`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from outlay.architecture import Architecture, LayerKind
from outlay.derive import add_all, derive
from outlay.physics import collectives, roofline
from outlay.steps import layers
from outlay.steps.efficiency import ELEMENT_BYTES, Efficiency, framework_class
from outlay.steps.inputs import Hardware, Recipe
from outlay.steps.layers import HALF, Shape, Split

Num = Any  # float, array or Quantity

LOGIT_BYTES = {
    False: 28.0,
    True: 12.0,
}  # passes over the logits, forward and backward, by fused cross-entropy
NORM_BACKWARD = (
    1.5  # backward over forward traffic of norms and activations: gradient in, input again, gradient out
)


def product(a: Any, b: Any) -> Any:
    """One quantity times another."""
    return a * b


def _passes(moved: Any, passes: Any, routed: Any, routing_passes: Any) -> Any:
    """Bytes moved, by how often this software passes over them; routing tokens to experts apart."""
    return moved * passes + routed * routing_passes


class Device:
    """A device running one kind of software: the formulas with its constants bound."""

    def __init__(self, hw: Hardware, recipe: Recipe) -> None:
        self.hw, self.recipe = hw, recipe
        self.efficiency: Efficiency = hw.efficiency
        self.framework = framework_class(recipe)
        self.core_peak = derive(
            roofline.power_capped_peak,
            "16-bit peak under the power cap",
            "FLOP/s",
            peak_flop_per_s=hw.peak_flop_per_s_16bit,
            power_limit_ratio=hw.power_limit_ratio,
            exponent=self.constant("power.exponent"),
        )
        self.element_bytes = ELEMENT_BYTES.get(recipe.precision, HALF)

    def constant(self, name: str) -> Num:
        return self.efficiency.value(name, self.framework)

    def matmuls(self, shapes: tuple[Shape, ...], label: str, ratio: str = "matmul", low: bool = True) -> Num:
        """Matrix multiplications in the recipe's precision, or in 16 bits where low is False."""
        if not shapes:
            return 0.0
        low = low and self.element_bytes < HALF
        grid = self.efficiency.grid(self.recipe.precision if low else "bf16")
        kind = ratio + (".low" if low else ".16bit")
        width = "16bit" if not low else "8bit" if self.element_bytes > 0.9 else "4bit"
        return derive(
            roofline.matmul_time_s,
            label,
            "s",
            shapes=shapes,
            element_bytes=self.element_bytes if low else HALF,
            peak_flop_per_s=self.hw.peak_flop_per_s if low else self.hw.peak_flop_per_s_16bit,
            sustained_flop_per_s=self.sustained(width),
            memory_bytes_per_s=self.hw.memory_bytes_per_s,
            grid=grid,
            ratio=self.constant(kind),
            kernel_gap_s=self.constant("kernel.gap_s"),
        )

    def sustained(self, width: str) -> Num:
        return derive(
            roofline.sustained_flop_per_s,
            f"arithmetic the power budget feeds, {width}",
            "FLOP/s",
            power_w=self.hw.power_w,
            power_limit_ratio=self.hw.power_limit_ratio,
            flop_per_joule=self.constant(f"flop_per_joule.{width}"),
        )

    def traffic(self, moved: Num, routed: Num, label: str) -> Num:
        """Kernels that only move bytes, as often as this software passes over them."""
        times = derive(
            _passes,
            f"{label}: bytes",
            "B",
            moved=moved,
            passes=self.constant("traffic.ratio"),
            routed=routed,
            routing_passes=self.constant("routing.ratio"),
        )
        return derive(
            roofline.traffic_time_s,
            label,
            "s",
            traffic_bytes=times,
            memory_bytes_per_s=self.hw.memory_bytes_per_s,
            memory_utilisation=self.constant("memory.utilisation"),
        )

    def core(self, kind: LayerKind, flop: Num, moved: Num, context: Num, direction: str) -> Num:
        """Attention or scan, forward or backward."""
        if kind.mixer == "none":
            return 0.0
        flavour = "attention" if kind.mixer in ("attention", "mla") else "scan"
        if flavour == "attention" and self.recipe.attention == "unfused":
            flavour = "unfused"
        flop = derive(
            collectives.slowest_share,
            f"{flavour}, {direction}: arithmetic of the busiest rank",
            "FLOP",
            mean=flop,
            context=context,
            imbalance=self.constant("context.imbalance"),
        )
        return derive(
            roofline.attention_time_s,
            f"{flavour}, {direction}",
            "s",
            flop=flop,
            traffic_bytes=moved,
            peak_flop_per_s=self.core_peak,
            memory_bytes_per_s=self.hw.memory_bytes_per_s,
            utilisation=self._core_utilisation(flavour, direction),
            memory_utilisation=self.constant("memory.utilisation"),
        )

    def _core_utilisation(self, flavour: str, direction: str) -> Num:
        forward = self.constant(f"{flavour}.forward")
        if direction == "forward":
            return forward
        return derive(
            product,
            f"{flavour}, utilisation backward",
            "",
            a=forward,
            b=self.constant("attention.backward_ratio"),
        )

    def links(self, operation: str) -> dict[str, Num]:
        """Link speeds and latencies a collective reaches; operation is reduce, gather, all_to_all or
        message.
        """
        fast = derive(
            product,
            f"fast link, {operation}",
            "B/s",
            a=self.hw.fast_bytes_per_s,
            b=self.constant(f"link.{operation}"),
        )
        slow = derive(
            product,
            f"slow link, {operation}",
            "B/s",
            a=self.hw.slow_bytes_per_s,
            b=self.constant(f"network.{operation}"),
        )
        return {
            "fast_bytes_per_s": fast,
            "slow_bytes_per_s": slow,
            "fast_latency_s": self.constant("link.latency_s"),
            "slow_latency_s": self.constant("network.latency_s"),
        }

    def exposed(self, communication: Num, window: Num, overlap: str, label: str) -> Num:
        return derive(
            collectives.exposed_s,
            label,
            "s",
            communication_s=communication,
            window_s=window,
            overlap=self.constant(overlap),
        )


def micro_batch_time(
    arch: Architecture,
    hw: Hardware,
    recipe: Recipe,
    *,
    tensor: Num,
    context: Num,
    expert: Num,
    expert_tensor: Num,
    micro_batch: Num,
    sequence_parallel: bool,
    recompute: str,
) -> dict[str, Num]:
    """Times of one micro-batch by layer kind, and of the embedding and the head."""
    device = Device(hw, recipe)
    split = Split(
        micro_batch * float(recipe.sequence_length) / context,
        tensor,
        context,
        expert,
        expert_tensor,
        sequence_parallel,
    )
    times: dict[str, Num] = {}
    for number, (kind, _) in enumerate(arch.groups):
        for name, value in _layer(device, arch, kind, split, recompute).items():
            times[f"{name}.{number}"] = value
    times.update(_ends(device, arch, split, recompute))
    return times


def _layer(
    device: Device, arch: Architecture, kind: LayerKind, split: Split, recompute: str
) -> dict[str, Num]:
    recipe, hidden = device.recipe, arch.hidden
    dense = layers.mixer_shapes(kind, hidden, split) + layers.mlp_shapes(kind, hidden, split)
    experts = layers.expert_shapes(kind, hidden, split, arch.expert_imbalance)
    causal = recipe.attention != "unfused"
    core_flop = layers.core_flop(kind, recipe, split, causal)
    core_forward_bytes, core_backward_bytes = layers.core_bytes(kind, recipe, split)
    moved = layers.traffic_bytes(kind, hidden, split)
    routed = layers.routing_bytes(kind, hidden, split)
    forward_cast, backward_cast = _cast_bytes(device, dense + experts)

    matmul_forward = device.matmuls(dense, "projections, forward")
    expert_forward = device.matmuls(experts, "experts, forward", "experts")
    core_forward = device.core(kind, core_flop, core_forward_bytes, split.context, "forward")
    traffic_forward = device.traffic(moved + forward_cast, routed, "norms, activations and casts, forward")
    weight_gradient = add_all(
        "weight gradients",
        "s",
        device.matmuls(
            layers.weight_gradient_shapes(dense, recipe.gradient_bytes), "projections, weight gradient"
        ),
        device.matmuls(
            layers.weight_gradient_shapes(experts, recipe.gradient_bytes),
            "experts, weight gradient",
            "experts",
        ),
    )
    host = device.constant("host.layer_s")
    back = device.constant("host.backward")
    busy = 1.0 + float(kind.mlp == "moe") * 1.5 + 0.5 * float(kind.mixer not in ("attention", "none"))
    forward = derive(
        roofline.host_bound_s,
        "layer, forward",
        "s",
        device_s=add_all(
            "layer on the device, forward", "s", matmul_forward, expert_forward, core_forward, traffic_forward
        ),
        kernels=busy,
        launch_s=host,
    )
    backward = derive(
        roofline.host_bound_s,
        "layer, backward",
        "s",
        device_s=add_all(
            "layer on the device, backward",
            "s",
            device.matmuls(layers.data_gradient_shapes(dense), "projections, data gradient"),
            device.matmuls(layers.data_gradient_shapes(experts), "experts, data gradient", "experts"),
            weight_gradient,
            device.core(
                kind,
                2.5 * core_flop if causal else 2.0 * core_flop,
                core_backward_bytes,
                split.context,
                "backward",
            ),
            device.traffic(
                NORM_BACKWARD * moved + backward_cast,
                NORM_BACKWARD * routed,
                "norms, activations and casts, backward",
            ),
        ),
        kernels=derive(product, "layers to launch, backward", "", a=back, b=busy),
        launch_s=host,
    )
    again = _recompute(device, recompute, forward, core_forward, matmul_forward, traffic_forward)
    flop = roofline.matmul_flop(dense + experts)
    repeats = {"full": 1.0, "selective": 0.0}.get(recompute, 0.0)
    return {
        "forward": forward,
        "backward": backward,
        "recompute": again,
        "weight_gradient": weight_gradient,
        "flop": (3.0 + repeats) * flop + (3.5 + repeats) * core_flop,
        "bytes": (3.0 + repeats) * roofline.matmul_bytes(dense + experts, device.element_bytes)
        + (2.5 + repeats) * (moved + routed)
        + core_forward_bytes
        + core_backward_bytes,
        "weights": layers.weights_of(dense),
        "expert_weights": layers.weights_of(experts),
        **_layer_communication(device, arch, kind, split, recompute, matmul_forward, core_forward),
    }


def _cast_bytes(device: Device, shapes: tuple[Shape, ...]) -> tuple[Num, Num]:
    """Quantising operands: 16-bit in, low precision out twice (as it is and transposed), forward and
    backward.
    """
    if device.element_bytes >= HALF:
        return 0.0, 0.0
    one = HALF + 2 * device.element_bytes
    return (
        sum((m * k * count for m, _, k, count, _ in shapes), 0.0) * one,
        sum((m * n * count for m, n, _, count, _ in shapes), 0.0) * one,
    )


def _recompute(device: Device, recompute: str, forward: Num, core: Num, matmuls: Num, traffic: Num) -> Num:
    if recompute == "full":
        return forward
    if recompute != "selective":
        return 0.0
    share = device.constant("recompute.selective")  # of the other kernels, beside the attention core
    rest = derive(
        product,
        "selective recomputation",
        "s",
        a=add_all("matmuls and traffic", "s", matmuls, traffic),
        b=share,
    )
    return add_all("recomputation", "s", rest, core) if device.framework in ("legacy", "megatron") else rest


def _layer_communication(
    device: Device, arch: Architecture, kind: LayerKind, split: Split, recompute: str, matmuls: Num, core: Num
) -> dict[str, Num]:
    """Exposed communication of one layer, forward, backward and recomputation together."""
    hw, hidden = device.hw, arch.hidden
    passes = 3.0 if recompute == "full" else 2.0
    rows = split.tokens
    inside, outside = collectives.span(split.tensor, 1, hw.scale_up_devices)
    reductions = float(kind.mixer != "none") + float(kind.mlp == "dense")
    tensor = derive(
        collectives.all_reduce_time_s,
        "tensor-parallel all-reduce",
        "s",
        total_bytes=HALF * rows * hidden,
        inside=inside,
        outside=outside,
        **device.links("reduce"),
    )
    tensor = _exposed_times(
        device, tensor, reductions * passes, matmuls, passes, "overlap.tensor", "tensor-parallel"
    )
    context: Num = 0.0
    if kind.mixer in ("attention", "mla"):
        inside, outside = collectives.span(split.context, split.tensor, hw.scale_up_devices)
        width = (
            (kind.kv_heads if kind.mixer == "attention" else kind.heads) * 2 * kind.head_dim / split.tensor
        )
        gathered = derive(
            collectives.gather_time_s,
            "context-parallel keys and values",
            "s",
            total_bytes=HALF * rows * split.context * np.maximum(width, kind.head_dim * 2.0),
            inside=inside,
            outside=outside,
            **device.links("gather"),
        )
        context = _exposed_times(
            device, gathered, passes + 1.0, core, passes + 1.0, "overlap.context", "context-parallel"
        )
    expert: Num = 0.0
    if kind.mlp == "moe":
        inside, outside = collectives.span(split.expert, split.expert_tensor, hw.scale_up_devices)
        moved = derive(
            collectives.all_to_all_time_s,
            "expert all-to-all",
            "s",
            token_bytes=HALF * rows / split.tensor * (kind.expert_hidden or hidden) * arch.expert_imbalance,
            copies=float(kind.experts_per_token) * split.expert_tensor,
            inside=inside,
            outside=outside,
            **device.links("all_to_all"),
        )
        expert = _exposed_times(
            device, moved, 2.0 * passes, matmuls, passes, "overlap.expert", "expert-parallel"
        )
    return {"tensor_comm": tensor, "context_comm": context, "expert_comm": expert}


def _exposed_times(
    device: Device, one: Num, times: float, window: Num, windows: float, overlap: str, label: str
) -> Num:
    total = derive(product, f"{label} communication", "s", a=one, b=times)
    behind = derive(product, "compute it can hide behind", "s", a=window, b=windows)
    return device.exposed(total, behind, overlap, f"{label} communication, exposed")


def _ends(device: Device, arch: Architecture, split: Split, recompute: str) -> dict[str, Num]:
    """The embedding on the first stage; the head, its loss and prediction layers on the last."""
    head: tuple[Shape, ...] = ((split.tokens, arch.vocab / split.tensor, float(arch.hidden), 1.0, HALF),)
    logits = split.tokens * arch.vocab / split.tensor
    loss = device.traffic(LOGIT_BYTES[device.recipe.fused_cross_entropy] * logits, 0.0, "logits and loss")
    forward = device.matmuls(head, "head, forward", low=False)
    backward = device.matmuls(
        layers.backward_shapes(head, device.recipe.gradient_bytes), "head, backward", low=False
    )
    embedding = device.traffic(12.0 * split.tokens * arch.hidden / split.row_split, 0.0, "embedding")
    heads = 1.0 + arch.mtp_layers
    return {
        "embedding": embedding,
        "head_forward": derive(product, "heads, forward", "s", a=forward, b=heads),
        "head_backward": derive(
            product,
            "heads, backward",
            "s",
            a=add_all("head, backward and loss", "s", backward, loss),
            b=heads,
        ),
        "head_flop": heads * 3.0 * roofline.matmul_flop(head),
        "head_weights": 1.0 * arch.vocab * arch.hidden / split.tensor,
    }
