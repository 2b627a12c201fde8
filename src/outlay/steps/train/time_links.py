"""What one layer sends to its tensor, context and expert groups, and what of it is not hidden."""

from __future__ import annotations

from typing import Any

import numpy as np

from outlay.architecture import Architecture, LayerKind
from outlay.derive import derive
from outlay.physics import collectives
from outlay.steps.layers import Split
from outlay.steps.train.time_device import Device, product

Num = Any  # float, array or Quantity


def layer_communication(
    device: Device,
    arch: Architecture,
    kind: LayerKind,
    split: Split,
    recompute: str,
    matmuls: Num,
    core: Num,
) -> dict[str, Num]:
    """Exposed communication of one layer, forward, backward and recomputation together."""
    passes = 3.0 if recompute == "full" else 2.0
    return {
        "tensor_comm": _tensor(device, arch, kind, split, passes, matmuls),
        "context_comm": _context(device, kind, split, passes, core),
        "expert_comm": _expert(device, arch, kind, split, passes, matmuls),
    }


def _tensor(
    device: Device, arch: Architecture, kind: LayerKind, split: Split, passes: float, matmuls: Num
) -> Num:
    """An all-reduce per mixer, MLP and pass; a scatter and a gather instead when norms are split too.

    The input gathered again for the weight gradient hides behind it (Korthikanti et al. 2022, section 4.2.2).
    """
    reductions = float(kind.mixer != "none") + float(kind.mlp == "dense")
    inside, outside = collectives.span(split.tensor, 1, device.hw.scale_up_devices)
    formula, operation, times = collectives.all_reduce_time_s, "reduce", passes
    if split.sequence_parallel:
        formula, operation, times = collectives.gather_time_s, "gather", 2.0 * passes
    one = derive(
        formula,
        f"tensor-parallel {operation}",
        "s",
        total_bytes=device.activation_bytes * split.tokens * arch.hidden,
        inside=inside,
        outside=outside,
        **device.links(operation),
    )
    return _exposed(
        device, one, reductions * times, matmuls, passes + 1.0, "overlap.tensor", "tensor-parallel"
    )


def _context(device: Device, kind: LayerKind, split: Split, passes: float, core: Num) -> Num:
    """Keys and values of the whole sequence pass every rank, and their gradients come back."""
    if kind.mixer not in ("attention", "mla"):
        return 0.0
    inside, outside = collectives.span(split.context, split.tensor, device.hw.scale_up_devices)
    heads = kind.kv_heads if kind.mixer == "attention" else kind.heads
    width = np.maximum(heads / split.tensor, 1.0) * 2.0 * kind.head_dim
    one = derive(
        collectives.gather_time_s,
        "context-parallel keys and values",
        "s",
        total_bytes=device.activation_bytes * split.tokens * split.context * width,
        inside=inside,
        outside=outside,
        **device.links("gather"),
    )
    return _exposed(device, one, passes + 1.0, core, passes + 1.0, "overlap.context", "context-parallel")


def _expert(
    device: Device, arch: Architecture, kind: LayerKind, split: Split, passes: float, matmuls: Num
) -> Num:
    """Tokens to their experts and back, each pass."""
    if kind.mlp != "moe":
        return 0.0
    inside, outside = collectives.span(split.expert, split.expert_tensor, device.hw.scale_up_devices)
    width = kind.expert_hidden or arch.hidden
    one = derive(
        collectives.all_to_all_time_s,
        "expert all-to-all",
        "s",
        token_bytes=device.activation_bytes * split.tokens / split.tensor * width * arch.expert_imbalance,
        copies=float(kind.experts_per_token) * split.expert_tensor,
        inside=inside,
        outside=outside,
        **device.links("all_to_all"),
    )
    return _exposed(device, one, 2.0 * passes, matmuls, passes, "overlap.expert", "expert-parallel")


def _exposed(
    device: Device, one: Num, times: float, window: Num, windows: float, overlap: str, label: str
) -> Num:
    total = derive(product, f"{label} communication", "s", a=one, b=times)
    behind = derive(product, "compute it can hide behind", "s", a=window, b=windows)
    return device.exposed(total, behind, overlap, f"{label} communication, exposed")
