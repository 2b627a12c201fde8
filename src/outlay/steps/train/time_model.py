"""What one micro-batch takes in the whole model, and the layers of pipeline stages.

A search evaluates these once for each distinct tuple of a micro-batch and gathers only them to its rows.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from outlay.architecture import Architecture
from outlay.derive import add_all, derive
from outlay.physics import pipeline
from outlay.steps import layers
from outlay.steps.inputs import Layout
from outlay.steps.layers import Split

Num = Any  # float, array or Quantity
CROSSING = {
    "forward_s": "forward",
    "backward_s": "backward",
    "recompute_s": "recompute",
    "tensor_comm_s": "tensor_comm",
    "context_comm_s": "context_comm",
    "expert_comm_s": "expert_comm",
}


def model_times(arch: Architecture, micro: dict[str, Num]) -> dict[str, Num]:
    """The micro-batch's times with their sums over all layers: each part that crosses the model, and all."""
    counts = [float(count) for _, count in arch.groups]
    numbers = range(len(counts))
    whole = {
        part: weighted(f"{name} of all layers", "s", counts, [micro[f"{name}.{i}"] for i in numbers])
        for part, name in (*CROSSING.items(), ("weight_gradient", "weight_gradient"))
    }
    head = add_all("heads, both directions", "s", micro["head_forward"], micro["head_backward"])
    whole["forward_s"] = add_all(
        "forward of all stages", "s", whole["forward_s"], micro["head_forward"], micro["embedding"]
    )
    whole["backward_s"] = add_all(
        "backward of all stages", "s", whole["backward_s"], micro["head_backward"]
    )
    layer = {
        f"layer.{i}": add_all("one layer", "s", *(micro[f"{name}.{i}"] for name in CROSSING.values()))
        for i in numbers
    }
    return {
        **micro,
        **layer,
        **whole,
        "head": head,
        "crossing": add_all("a micro-batch through all stages", "s", *(whole[part] for part in CROSSING)),
        "flop": sum(n * micro[f"flop.{i}"] for i, n in enumerate(counts)) + micro["head_flop"],
        "bytes": sum(n * micro[f"bytes.{i}"] for i, n in enumerate(counts)),
    }


def weighted(label: str, unit: str, counts: list[Num], values: list[Num]) -> Num:
    """Sum of count times value, as one formula of its values."""
    return derive(
        _sum_products, label, unit, counts=tuple(counts), **{f"kind{i}": v for i, v in enumerate(values)}
    )


def _sum_products(counts: tuple[Any, ...], **values: Any) -> Any:
    """Layers of each kind times what one of them takes."""
    return sum(count * value for count, value in zip(counts, values.values()))


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


def stage_counts(arch: Architecture, layout: Layout) -> tuple[list[Num], list[Num], list[Num]]:
    """Layers of each kind on the first, the fullest and the last stage."""
    ends = layout.first_stage_layers, layout.last_stage_layers
    if not isinstance(layout.pipeline, np.ndarray):
        return _counts_of(arch, np.asarray(layout.pipeline) * 1.0, *ends)
    degrees = np.arange(1.0, float(layout.pipeline.max()) + 1.0)  # few: worked out once, gathered to the rows
    place = (layout.pipeline - 1.0).astype(np.intp)
    first, full, last = _counts_of(arch, degrees, *ends)
    return [c.take(place) for c in first], [c.take(place) for c in full], [c.take(place) for c in last]


def _counts_of(
    arch: Architecture, stages: NDArray[np.float64], first_layers: int, last_layers: int
) -> tuple[list[Num], list[Num], list[Num]]:
    total = arch.layers
    first, full, last = pipeline.stage_layers(total, stages)
    if first_layers or last_layers:
        given = [n for n in (first_layers, last_layers) if n]
        full = np.ceil((total - sum(given)) / np.maximum(stages - len(given), 1.0))
        first = np.where(first_layers, first_layers, full)
        last = np.where(last_layers, last_layers, full)
    table = window_counts(arch)
    middle = table[np.minimum(full, total).astype(np.int64)]
    share = middle / np.maximum(full, 1.0)[..., None]
    kinds = range(table.shape[1])
    return (
        [share[..., i] * first for i in kinds],
        [middle[..., i] for i in kinds],
        [share[..., i] * last for i in kinds],
    )
