"""The time one device spends on one layer, and on the ends of the model, for one micro-batch.

Keys of the result end in the number of the layer kind (`arch.groups` order). Everything here depends on few
distinct tuples of (tensor, context, expert, expert_tensor, micro_batch): a layout search evaluates those and
gathers, see `train_time`.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from outlay.architecture import Architecture, LayerKind
from outlay.derive import add_all, derive
from outlay.physics import roofline
from outlay.steps import layers
from outlay.steps.inputs import Hardware, Recipe
from outlay.steps.layers import HALF, Shape, Split
from outlay.steps.train.time_device import Device, product
from outlay.steps.train.time_links import layer_communication
from outlay.steps.tune.time import PLAIN, TunedLayer, tuned_layer

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


class _Work(Struct, frozen=True, eq=False):
    """What one layer has to do for one micro-batch: products, attention core, bytes moved."""

    dense: tuple[Shape, ...]
    experts: tuple[Shape, ...]
    core_flop: Num
    core_forward_bytes: Num
    core_backward_bytes: Num
    moved: Num
    routed: Num
    forward_cast: Num
    backward_cast: Num
    causal: bool
    tuned: TunedLayer


def _work(device: Device, arch: Architecture, kind: LayerKind, split: Split) -> _Work:
    recipe, hidden = device.recipe, arch.hidden
    dense = layers.mixer_shapes(kind, hidden, split) + layers.mlp_shapes(kind, hidden, split)
    experts = layers.expert_shapes(kind, hidden, split, arch.expert_imbalance)
    causal = recipe.attention != "unfused"
    wide = device.activation_bytes / HALF
    core_bytes = layers.core_bytes(kind, recipe, split)
    cast = _cast_bytes(device, dense + experts)
    return _Work(
        dense, experts, layers.core_flop(kind, recipe, split, causal), wide * core_bytes[0], wide * core_bytes[1],
        wide * layers.traffic_bytes(kind, hidden, split), wide * layers.routing_bytes(kind, hidden, split), *cast,
        causal, tuned_layer(device, kind, hidden, split) if recipe.tuning is not None else PLAIN)


def _layer(
    device: Device, arch: Architecture, kind: LayerKind, split: Split, recompute: str
) -> dict[str, Num]:
    work = _work(device, arch, kind, split)
    matmul_forward = device.matmuls(work.dense, "projections, forward")
    core_forward = device.core(kind, work.core_flop, work.core_forward_bytes, split.context, "forward")
    traffic_forward = device.traffic(work.moved + work.forward_cast, work.routed,
                                     "norms, activations and casts, forward")
    launches = _launches(kind, work)
    on_device = add_all("layer on the device, forward", "s", matmul_forward,
                        device.matmuls(work.experts, "experts, forward", "experts"), core_forward, traffic_forward,
                        work.tuned.forward)
    forward = derive(roofline.host_bound_s, "layer, forward", "s", device_s=on_device, kernels=launches,
                     launch_s=device.constant("host.layer_s"))
    weight_gradient = _weight_gradient(device, work)
    backward = _backward(device, kind, split, work, weight_gradient, launches)
    again = _recompute(device, recompute, forward, core_forward, matmul_forward, traffic_forward)
    if work.tuned.live_share != 1.0:
        backward, again = (derive(product, "layers above the frozen ones", "s", a=time, b=work.tuned.live_share)
                           for time in (backward, again))
    return {
        "forward": forward,
        "backward": backward,
        "recompute": again,
        "weight_gradient": weight_gradient,
        **_amounts(device, work, recompute),
        **layer_communication(device, arch, kind, split, recompute, matmul_forward, core_forward),
    }


def _launches(kind: LayerKind, work: _Work) -> Num:
    """Layers' worth of kernels that the host launches one way: half for the mixer, the rest for the MLP."""
    own = 0.5 * float(kind.mixer != "none") + {"none": 0.0, "dense": 0.5, "moe": 0.8}[kind.mlp]
    return add_all("layers to launch, forward", "", own, work.tuned.launches)


def _weight_gradient(device: Device, work: _Work) -> Num:
    """Products that give the gradients of the weights that are trained."""
    gradient_bytes = device.recipe.gradient_bytes
    whole = add_all(
        "weight gradients", "s",
        device.matmuls(layers.weight_gradient_shapes(work.dense, gradient_bytes), "projections, weight gradient"),
        device.matmuls(layers.weight_gradient_shapes(work.experts, gradient_bytes), "experts, weight gradient",
                       "experts"))
    if work.tuned.weight_share == 1.0:
        return whole
    return derive(product, "weight gradients of what is trained", "s", a=whole, b=work.tuned.weight_share)


def _backward(device: Device, kind: LayerKind, split: Split, work: _Work, weight_gradient: Num, launches: Num) -> Num:
    """One layer's backward pass, bounded by the device or by the host that launches it."""
    core_flop = 2.5 * work.core_flop if work.causal else 2.0 * work.core_flop
    on_device = add_all(
        "layer on the device, backward", "s",
        device.matmuls(layers.data_gradient_shapes(work.dense), "projections, data gradient"),
        device.matmuls(layers.data_gradient_shapes(work.experts), "experts, data gradient", "experts"),
        weight_gradient, work.tuned.backward,
        device.core(kind, core_flop, work.core_backward_bytes, split.context, "backward"),
        device.traffic(NORM_BACKWARD * work.moved + work.backward_cast, NORM_BACKWARD * work.routed,
                       "norms, activations and casts, backward"))
    kernels = derive(product, "layers to launch, backward", "", a=device.constant("host.backward"), b=launches)
    return derive(roofline.host_bound_s, "layer, backward", "s", device_s=on_device, kernels=kernels,
                  launch_s=device.constant("host.layer_s"))


def _amounts(device: Device, work: _Work, recompute: str) -> dict[str, Num]:
    """FLOP and bytes of a layer, for activity and power, and the weights it holds."""
    products = work.dense + work.experts
    repeats = {"full": 1.0, "selective": 0.0}.get(recompute, 0.0)
    return {
        "flop": (2.0 + work.tuned.weight_share + repeats) * roofline.matmul_flop(products)
        + (3.5 + repeats) * work.core_flop,
        "bytes": (3.0 + repeats) * roofline.matmul_bytes(products, device.element_bytes)
        + (2.5 + repeats) * (work.moved + work.routed)
        + work.core_forward_bytes
        + work.core_backward_bytes,
        "weights": layers.weights_of(work.dense),
        "expert_weights": layers.weights_of(work.experts),
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
