"""One step of a serving engine on one replica, by part: matrix products, experts, attention, exchange.

A step carries `rows` tokens on every attention rank. Times are of the device alone; what an engine's host adds
is put on by `serve_time`. Everything is a float or an array of one shape.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from outlay.architecture import Architecture, LayerKind
from outlay.physics import num
from outlay.physics.queueing import busiest_rank, busiest_touched, experts_touched
from outlay.physics.roofline import Grid, look_up, matmul_time_s
from outlay.steps.layers import HALF, Shape, Split, mixer_shapes, mlp_shapes
from outlay.steps.serve.attention import index_shapes
from outlay.steps.serve.inputs import ServeLayout, part_names
from outlay.steps.serve.time_inputs import Links, TimeDevice

Num = Any
LARGE_BYTES = 2.0**28  # weights of a kernel beyond its launch
HALF_TILE = 64.0  # rows by which the last tile of an expert is padded, of tiles of 128
# Small products of 8 and 4 bits: tables of others hold a kernel beside each that quantises, which engines fuse away.
SMALL = "fp8-block"
FEW_ROWS, MANY_ROWS = 64.0, 1024.0  # to which reading weights, and from which arithmetic, is what was measured
WIDENED_S = 2e-5  # a layer's experts of 4 bits take longer, whatever their rows, where they are multiplied in 16: 30 to
# 60 us beside 20 (moe_perf tables of H100 and H200, as engine.widened_experts)
FULL_ROWS = 4096.0  # of a product that fills the device
READ_SHARE = 0.95  # of a memory's bandwidth that its longest reads reach: no engine flows faster
WIDE = 8  # ranks up to which every rank is handed all tokens, beyond which only those of its experts

Job = tuple[tuple[Shape, ...], Num]  # shapes of one number of rows, and bytes of a weight
Taken = tuple[Num, Num, Num, Num]
NOTHING: Taken = (0.0, 0.0, 0.0, 0.0)


def own_pass(
    arch: Architecture, device: TimeDevice, part_bytes: Mapping[str, Num], layout: ServeLayout, rows: Num, sampled: Num,
    flight: Num = 1.0,
) -> Taken:
    """Of a `Pass` what goes with `rows` tokens of a rank, `sampled` of them answered: flow, least, work, floor.

    flight: passes in the pipeline at once; each waits for the last stage, which has the head beside its layers.
    """
    split = Split(rows, layout.tensor, 1.0, 1.0, 1.0, False)
    head = (((sampled, arch.vocab / layout.tensor, arch.hidden, 1.0, HALF),), part_bytes["head"])
    ((flow, least, work, floor),) = products([head], Rates(device, sampled))
    flow, least, work, floor = flight * flow, flight * least, flight * work, flight * floor
    jobs: list[Job] = []
    counts: list[int] = []
    for kind, count in arch.groups:
        mixer, dense = part_names(kind)
        mixing = (*mixer_shapes(kind, arch.hidden, split), *index_shapes(kind, arch.hidden, rows))
        jobs += [(mixing, part_bytes[mixer]),
                 (mlp_shapes(kind, arch.hidden, split), part_bytes[dense])]
        counts += [count, count]
    for count, (read, bare, busy, small) in zip(counts, products(jobs, Rates(device, rows)), strict=True):
        flow, least = flow + count * read, least + count * bare
        work, floor = work + count * busy, floor + count * small
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


def arithmetic(element_bytes: Num, device: TimeDevice) -> tuple[Num, Grid]:
    """Peak and utilisation of the precision that weights of this width are multiplied in on this device."""
    name = precision_of(element_bytes, device)
    return device.peaks[name], device.grids.get(name) or device.grids["bf16"]


def small(element_bytes: Num, device: TimeDevice) -> tuple[Num, Grid]:
    """The same for what small kernels take: narrow ones as the block-scaled 8-bit products do, where they are known."""
    name = precision_of(element_bytes, device)
    peak, grid = arithmetic(element_bytes, device)
    return peak, grid if name == "bf16" else device.grids.get(SMALL, grid)


def precision_of(element_bytes: Num, device: TimeDevice) -> str:
    """bf16, fp8 or nvfp4, as the width of weights says and the device can."""
    size = num.mean(element_bytes)
    wanted = "nvfp4" if size < 0.9 else "fp8" if size < 1.5 else "bf16"
    return wanted if wanted in device.peaks else "bf16"


def is_widened(element_bytes: Num, device: TimeDevice) -> bool:
    """Whether weights of 4 bits are multiplied in 16, since the device has no arithmetic as narrow."""
    return num.mean(element_bytes) < 0.9 and precision_of(element_bytes, device) == "bf16"


class Rates:
    """What products of so many rows reach on a device, each number looked up once for all products of a step."""

    def __init__(self, device: TimeDevice, rows: Num) -> None:
        self.device, self.rows = device, rows
        self._busy: dict[str, Num] = {}

    @cached_property
    def read_share(self) -> Num:
        """Of bandwidth. What is bound by reading flows as a 16-bit product of as many bytes, whatever its precision."""
        return look_up(self.device.grids["bf16"], num.minimum(self.rows, FEW_ROWS), LARGE_BYTES)

    def busy_flop_per_s(self, element_bytes: Num) -> Num:
        """What is bound by arithmetic runs at the share of its own peak that many rows reach."""
        name = precision_of(element_bytes, self.device)
        if name not in self._busy:
            peak, grid = arithmetic(element_bytes, self.device)
            self._busy[name] = peak * look_up(grid, num.maximum(self.rows, MANY_ROWS), LARGE_BYTES)
        return self._busy[name]


def products(jobs: Sequence[Job], rates: Rates) -> Iterable[Taken]:
    """Matrix products: reading weights, the same at the memory's best, arithmetic, what small kernels take beyond.

    Of each job: shapes of `rates.rows` rows, and bytes of one weight.
    """
    return (_product(shapes, element_bytes, rates) for shapes, element_bytes in jobs)


def _product(shapes: tuple[Shape, ...], element_bytes: Num, rates: Rates) -> Taken:
    if not shapes:
        return NOTHING
    peak, grid = small(element_bytes, rates.device)
    rate = rates.device.memory_bytes_per_s
    whole = matmul_time_s(shapes, element_bytes, peak, rate, np.inf, grid, 1.0, 0.0)
    moved: Num = 0.0
    flop: Num = 0.0
    for m, n, k, count, result in shapes:
        moved = moved + count * ((m * k + n * k) * element_bytes + m * n * result)
        flop = flop + 2.0 * count * m * n * k
    return _taken(whole, moved, flop, element_bytes, rates)


def _taken(whole_s: Num, moved_bytes: Num, flop: Num, element_bytes: Num, rates: Rates) -> Taken:
    bare = moved_bytes / rates.device.memory_bytes_per_s
    read, work = bare / rates.read_share, flop / rates.busy_flop_per_s(element_bytes)
    return read, bare / READ_SHARE, work, num.maximum(whole_s - num.maximum(read, work), 0.0)


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
    return _measured_at(links, devices) if isinstance(devices, float) else _measured(links, devices)


def _measured(links: Links, devices: Num) -> tuple[Num, Num]:
    at, known = num.log2(num.maximum(devices, 1)), num.log2(links.devices)
    latency = np.interp(at, known, links.latency_s) * num.maximum(1.0, at / known[-1])
    return latency, np.interp(at, known, links.bytes_per_s)


_measured_at = lru_cache(maxsize=256)(_measured)
