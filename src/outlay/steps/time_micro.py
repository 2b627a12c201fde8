"""The time one device spends on one layer, and on the ends of the model, for one micro-batch.

Keys of the result end in the number of the layer kind (`arch.groups` order). Everything here depends on few
distinct tuples of (tensor, context, expert, expert_tensor, micro_batch): a layout search evaluates those and
gathers, see `train_time`.
"""

from __future__ import annotations

from typing import Any

from outlay.architecture import Architecture, LayerKind
from outlay.derive import add_all, derive
from outlay.physics import roofline
from outlay.steps import layers
from outlay.steps.inputs import Hardware, Recipe
from outlay.steps.layers import HALF, Shape, Split
from outlay.steps.time_device import Device, product
from outlay.steps.time_links import layer_communication
from outlay.steps.tune_time import PLAIN, tuned_layer

Num = Any  # float, array or Quantity

LOGIT_BYTES = {False: 28.0, True: 12.0}  # a logit, forward and backward, by fused cross-entropy
NORM_BACKWARD = 1.5  # traffic of norms and activations backward over forward: the input again, two gradients


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
    wide = device.activation_bytes / HALF
    core_forward_bytes, core_backward_bytes = (wide * moved for moved in layers.core_bytes(kind, recipe, split))
    moved = wide * layers.traffic_bytes(kind, hidden, split)
    routed = wide * layers.routing_bytes(kind, hidden, split)
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
    tuned = tuned_layer(device, kind, hidden, split) if recipe.tuning is not None else PLAIN
    if tuned.weight_share != 1.0:
        weight_gradient = derive(product, "weight gradients of what is trained", "s", a=weight_gradient,
                                 b=tuned.weight_share)
    host = device.constant("host.layer_s")
    back = device.constant("host.backward")
    busy = 0.5 * float(kind.mixer != "none") + {"none": 0.0, "dense": 0.5, "moe": 0.8}[kind.mlp]
    busy = add_all("layers to launch, forward", "", busy, tuned.launches)
    forward = derive(
        roofline.host_bound_s,
        "layer, forward",
        "s",
        device_s=add_all(
            "layer on the device, forward", "s", matmul_forward, expert_forward, core_forward, traffic_forward,
            tuned.forward,
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
            tuned.backward,
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
    if tuned.live_share != 1.0:
        backward, again = (derive(product, "layers above the frozen ones", "s", a=time, b=tuned.live_share)
                           for time in (backward, again))
    flop = roofline.matmul_flop(dense + experts)
    repeats = {"full": 1.0, "selective": 0.0}.get(recompute, 0.0)
    return {
        "forward": forward,
        "backward": backward,
        "recompute": again,
        "weight_gradient": weight_gradient,
        "flop": (2.0 + tuned.weight_share + repeats) * flop + (3.5 + repeats) * core_flop,
        "bytes": (3.0 + repeats) * roofline.matmul_bytes(dense + experts, device.element_bytes)
        + (2.5 + repeats) * (moved + routed)
        + core_forward_bytes
        + core_backward_bytes,
        "weights": layers.weights_of(dense),
        "expert_weights": layers.weights_of(experts),
        **layer_communication(device, arch, kind, split, recompute, matmul_forward, core_forward),
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
    """What a layer computes again. A whole-graph compiler recomputes cheap kernels even when not told to.

    MaxText's lightest policy keeps the matrix products and recomputes the rest; none of its runs keeps all.
    """
    if recompute == "full":
        return forward
    if recompute != "selective" and device.framework != "xla":
        return 0.0
    share = device.constant("recompute.selective")  # of the other kernels, beside the attention core
    rest = derive(
        product,
        "selective recomputation",
        "s",
        a=add_all("matmuls and traffic", "s", matmuls, traffic),
        b=share,
    )
    if device.framework in ("legacy", "megatron", "tune-megatron"):
        return add_all("recomputation", "s", rest, core)
    return rest


def _ends(device: Device, arch: Architecture, split: Split, recompute: str) -> dict[str, Num]:
    """The embedding on the first stage; the head, its loss and prediction layers on the last."""
    head: tuple[Shape, ...] = ((split.tokens, arch.vocab / split.tensor, float(arch.hidden), 1.0, HALF),)
    logits = split.tokens * arch.vocab / split.tensor
    loss = device.traffic(LOGIT_BYTES[device.recipe.fused_cross_entropy] * logits, 0.0, "logits and loss")
    forward = device.matmuls(head, "head, forward", low=False)
    tuning = device.recipe.tuning
    backward = device.matmuls(
        layers.data_gradient_shapes(head) if tuning is not None and not tuning.head_trained
        else layers.backward_shapes(head, device.recipe.gradient_bytes), "head, backward", low=False
    )
    rows = split.tokens / split.row_split
    embedding = device.traffic(6.0 * device.activation_bytes * rows * arch.hidden, 0.0, "embedding")
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
