"""One step of a serving engine on one replica, by part: matrix products, experts, attention, exchange.

A step carries `rows` tokens on every attention rank. Times are of the device alone; what an engine's host adds
is put on by `serve_time`. Everything is a float or an array of one shape.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from outlay.architecture import Architecture, LayerKind
from outlay.physics import num
from outlay.physics.queueing import busiest_rank, busiest_touched, experts_touched
from outlay.physics.roofline import look_up
from outlay.steps.layers import HALF
from outlay.steps.serve.inputs import ServeLayout
from outlay.steps.serve.time_inputs import Links, TimeDevice
from outlay.steps.serve.time_products import LARGE_BYTES, OwnProducts, Taken, arithmetic, precision_of, taken

Num = Any
HALF_TILE = 64.0  # rows by which the last tile of an expert is padded, of tiles of 128
WIDENED_S = 2e-5  # a layer's experts of 4 bits take longer, whatever their rows, where they are multiplied in 16: 30 to
# 60 us beside 20 (moe_perf tables of H100 and H200, as engine.widened_experts)
FULL_ROWS = 4096.0  # of a product that fills the device
WIDE = 8  # ranks up to which every rank is handed all tokens, beyond which only those of its experts


def own_pass(own: OwnProducts, device: TimeDevice, rows: Num, sampled: Num, flight: Num = 1.0) -> Taken:
    """Of a `Pass` what goes with `rows` tokens of a rank, `sampled` of them answered: flow, least, work, floor.

    flight: passes in the pipeline at once; each waits for the last stage, which has the head beside its layers.
    """
    layers, head = taken(own.layers, device, rows), taken(own.head, device, sampled)
    flow, least, work, floor = (flight * last + each for last, each in zip(head, layers, strict=True))
    return flow, least, work, floor


def routed_pass(
    arch: Architecture, device: TimeDevice, part_bytes: Mapping[str, Num], layout: ServeLayout, rows: Num, spread: Num,
    widened: float = 1.0,
) -> Taken:
    """What goes with the tokens of all ranks, `rows` on each: experts, expert_work, copies, exchange."""
    experts: Num = 0.0
    expert_work: Num = 0.0
    copies: Num = 0.0
    exchange: Num = 0.0
    reduce = all_reduce_s(rows * arch.hidden * HALF, layout.tensor, device)
    for kind, count in arch.routed_groups:
        if kind.mlp == "moe":
            read, busy, moved = expert_s(kind, arch, device, part_bytes["experts"], layout, rows, spread, widened)
            experts, expert_work, copies = experts + count * read, expert_work + count * busy, copies + count * moved
        exchange = exchange + count * exchange_s(kind, arch.hidden, device, layout, rows, reduce)
    return experts, expert_work, copies, exchange


def is_widened(element_bytes: Num, device: TimeDevice) -> bool:
    """Whether weights of 4 bits are multiplied in 16, since the device has no arithmetic as narrow."""
    return num.mean(element_bytes) < 0.9 and precision_of(element_bytes, device) == "bf16"


def expert_s(
    kind: LayerKind,
    arch: Architecture,
    device: TimeDevice,
    element_bytes: Num,
    layout: ServeLayout,
    rows: Num,
    spread: Num,
    widened: float = 1.0,
) -> tuple[Num, Num, Num]:
    """Routed experts of one layer on one device: reading weights, arithmetic, what passes with each token's copy.

    All ranks wait for the busiest. widened: how much longer a row takes where weights of 4 bits are multiplied in 16;
    filling an expert's last tile takes as long as ever. A copy is read and written when it is sorted in and quantised,
    read by the first product, which writes both halves for the activation, which writes its own for the second; that
    writes what is read when copies are joined.
    """
    tokens = rows * layout.data
    touched = experts_touched(kind.experts, kind.experts_per_token, tokens, spread)
    held = num.maximum(touched / layout.expert, 1.0)
    most = num.maximum(busiest_touched(touched, kind.experts, layout.expert), 1.0)
    each = tokens * kind.experts_per_token / layout.expert / held
    cut = layout.tensor * layout.data / layout.expert
    inner, gates, narrow = kind.expert_hidden or arch.hidden, 2.0 if kind.gated else 1.0, kind.expert_ffn / cut
    peak, grid = arithmetic(element_bytes, device)
    weights = inner * narrow * (gates + 1.0)
    # A grouped kernel is launched once: what it reads flows as in a 16-bit product of as many bytes.
    share = look_up(device.grids["bf16"], each, 0.5 * weights * held * element_bytes)
    wide = is_widened(element_bytes, device)
    flop = 2.0 * ((widened if wide else 1.0) * each + HALF_TILE) * weights * held
    busiest = busiest_rank(kind.experts, layout.expert, spread)
    call = WIDENED_S if wide else 0.0
    operand = num.minimum(element_bytes, HALF)
    copy = inner * (3.0 * HALF + 2.0 * operand) + narrow * (2.0 * gates * HALF + 2.0 * operand)
    return (
        call + weights * most * element_bytes / (device.memory_bytes_per_s * share),
        call + busiest * flop / (peak * look_up(grid, FULL_ROWS, LARGE_BYTES)),
        busiest * each * held * copy / device.copied_bytes_per_s,
    )


def exchange_s(
    kind: LayerKind, hidden: int, device: TimeDevice, layout: ServeLayout, rows: Num, reduce: Num
) -> Num:
    """Collectives of one layer: a reduction after attention and one after the MLP, or tokens sent to experts."""
    size = rows * hidden * HALF
    parts = int(kind.mixer != "none") + int(kind.mlp != "none")
    if kind.mlp == "moe":
        ranks = layout.tensor * layout.data
        copies = num.where(ranks > WIDE, num.minimum(kind.experts_per_token, layout.expert), ranks)
        sent = num.where(
            layout.data > 1,
            2.0 * all_to_all_s(size * copies, layout.tensor * layout.data, device),
            reduce,
        )
        return (parts - 1) * reduce + sent
    return parts * reduce


def all_reduce_s(size_bytes: Num, devices: Num, device: TimeDevice) -> Num:
    """Latency and 2(n-1)/n of the bytes at the measured bus rate; further out, the links between domains."""
    latency, rate = measured(device.reduce, num.minimum(devices, device.scale_up_devices))
    inside = latency + 2.0 * (1.0 - 1.0 / num.maximum(devices, 1)) * size_bytes / rate
    outside = device.slow_latency_s + 2.0 * size_bytes / device.slow_bytes_per_s / device.scale_up_devices
    found = inside + num.where(devices > device.scale_up_devices, outside, 0.0)
    return num.where(devices > 1, found, 0.0)


def all_to_all_s(size_bytes: Num, devices: Num, device: TimeDevice) -> Num:
    """Each rank sends its tokens' copies to the ranks that hold their experts."""
    latency, rate = measured(device.exchange, num.minimum(devices, device.scale_up_devices))
    away = num.clip(1.0 - device.scale_up_devices / num.maximum(devices, 1), 0.0, 1.0)
    inside = latency + (1.0 - 1.0 / num.maximum(devices, 1)) * size_bytes / rate
    return inside + num.where(
        away > 0, device.slow_latency_s + away * size_bytes / device.slow_bytes_per_s, 0.0
    )


def measured(links: Links, devices: Num) -> tuple[Num, Num]:
    """Latency and rate at a number of devices: linear in its logarithm, latency growing beyond the measured."""
    return _measured_at(links, devices) if isinstance(devices, num.ONE) else _measured(links, devices)


def _measured(links: Links, devices: Num) -> tuple[Num, Num]:
    at, known = num.log2(num.maximum(devices, 1)), num.log2(links.devices)
    latency = np.interp(at, known, links.latency_s) * num.maximum(1.0, at / known[-1])
    return latency, np.interp(at, known, links.bytes_per_s)


_measured_at = lru_cache(maxsize=256)(_measured)
