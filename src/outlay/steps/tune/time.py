"""How fine-tuning changes the time of a layer: weight gradients not made, adapters run, bases made whole."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from outlay.architecture import LayerKind
from outlay.derive import add_all, derive
from outlay.physics.adapters import dequantise_bytes
from outlay.steps.layers import HALF, Shape, Split, data_gradient_shapes, weight_gradient_shapes
from outlay.steps.train.time_device import Device
from outlay.steps.tune.trained import Tuning, adapted_shapes, matrices, passes

Num = Any  # float, array or Quantity
ADD_BYTES = 10.0  # an adapted output element: the update written, scaled, and added to the base's result


class TunedLayer(Struct, frozen=True, eq=False):
    """Seconds beside the plain layer's, and shares of it that are left."""

    forward: Num
    backward: Num
    launches: Num  # host time of the adapters, in layers
    weight_share: float  # of the plain weight gradients
    live_share: float  # of the backward pass


PLAIN = TunedLayer(0.0, 0.0, 0.0, 1.0, 1.0)  # every parameter trained, nothing added


def tuned_layer(device: Device, kind: LayerKind, hidden: int, split: Split) -> TunedLayer:
    """What a fine-tune adds to one layer and leaves out of it."""
    tuning: Tuning = device.recipe.tuning
    small, widths, count = _adapter_shapes(kind, hidden, tuning, split)
    ways = 2.0 if tuning.method == "dora" else 1.0  # the update once more for the norm of the weight
    adapters = device.matmuls(small, "adapters, forward", low=False)
    joined = device.traffic(ways * ADD_BYTES * split.tokens * widths / split.tensor, 0.0, "adapter sums")
    whole = _made_whole(device, kind, hidden, split, tuning)
    back = device.matmuls(data_gradient_shapes(small) + weight_gradient_shapes(small, HALF), "adapters, backward",
                          low=False)
    return TunedLayer(
        add_all("adapters and bases, forward", "s", adapters, joined, whole),
        add_all("adapters and bases, backward", "s", back, joined, whole),
        _host(kind, hidden, tuning, count), tuning.trained_share, tuning.live_share)


def _adapter_shapes(kind: LayerKind, hidden: int, tuning: Tuning,
                    split: Split) -> tuple[tuple[Shape, ...], float, float]:
    """Products of all adapters of a layer, their output width and how many they are."""
    shapes: list[Shape] = []
    widths = number = 0.0
    for name, inputs, outputs, count in adapted_shapes(kind, hidden, tuning):
        often = passes(kind, count)
        fed, given = (inputs / split.tensor, outputs) if name in ("o", "down") else (inputs, outputs / split.tensor)
        shapes += [(split.tokens * often, tuning.rank, fed, 1.0, HALF),
                   (split.tokens * often, given, tuning.rank, 1.0, HALF)]
        widths += outputs * often
        number += 1.0
    return tuple(shapes), widths, number


def _made_whole(device: Device, kind: LayerKind, hidden: int, split: Split, tuning: Tuning) -> Num:
    """Quantised matrices of a layer written out in 16 bits before their products."""
    if not tuning.made_whole:
        return 0.0
    weights = sum(i * o * n for shapes in matrices(kind, hidden).values() for i, o, n in shapes)
    moved = derive(dequantise_bytes, "base matrices made whole", "bytes", parameters=weights / split.tensor,
                   stored_bytes=tuning.stored_bytes)
    times = derive(_times, "traffic of making them whole", "bytes", moved=moved,
                   ratio=tuning.software.dequantise_ratio)
    return derive(_stream, "base matrices made whole", "s", moved=times,
                  memory_bytes_per_s=device.hw.memory_bytes_per_s, utilisation=device.constant("memory.utilisation"))


def _host(kind: LayerKind, hidden: int, tuning: Tuning, adapters: float) -> Num:
    """Host time of adapters and quantised products of a layer, in layers."""
    products = float(len(matrices(kind, hidden))) if tuning.made_whole else 0.0
    if tuning.method == "adapter":
        adapters = 1.0
    elif tuning.method == "adapter-v2":
        adapters = 1.0 + 0.3 * len(matrices(kind, hidden))  # two of an adapter's six kernels a product
    if not products and not adapters:
        return 0.0
    return derive(_launches, "adapters and quantised products to launch, in layers", "", adapters=adapters,
                  adapter=tuning.software.adapter_launch, products=products, product=tuning.software.quantised_launch)


def _launches(adapters: float, adapter: Any, products: float, product: Any) -> Any:
    """What adapters and quantised products cost the host, in layers."""
    return adapters * adapter + products * product


def _times(moved: Any, ratio: Any) -> Any:
    """Least traffic times what the kernels move beyond it."""
    return moved * ratio


def _stream(moved: Any, memory_bytes_per_s: Any, utilisation: Any) -> Any:
    """Bytes at the memory bandwidth streaming kernels reach."""
    return moved / (memory_bytes_per_s * utilisation)
