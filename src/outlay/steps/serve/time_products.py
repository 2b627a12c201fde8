"""Matrix products of a step that every token of a rank passes, on one device.

What they compute and move goes by a token and by a step; that is told once (`Products`), and asked for each number of
tokens that a step carries.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from outlay.architecture import Architecture
from outlay.physics import num
from outlay.physics.roofline import Grid, Place, bytes_place, kernel_time_s, row_place, utilisation_at
from outlay.steps.layers import HALF, Shape, Split, mixer_shapes, mlp_shapes
from outlay.steps.serve.attention import index_shapes
from outlay.steps.serve.inputs import ServeLayout, part_names
from outlay.steps.serve.time_inputs import TimeDevice

Num = Any  # float or array
LARGE_BYTES = 2.0**28  # weights of a kernel beyond its launch
# Small products of 8 and 4 bits: tables of others hold a kernel beside each that quantises, which engines fuse away.
SMALL = "fp8-block"
FEW_ROWS, MANY_ROWS = 64.0, 1024.0  # to which reading weights, and from which arithmetic, is what was measured
READ_SHARE = 0.95  # of a memory's bandwidth that its longest reads reach: no engine flows faster

Taken = tuple[Num, Num, Num, Num]


class Kernel(Struct, frozen=True, eq=False):
    """One product: what it computes and moves for a token and, weights, whatever their number."""

    rows: Num | None  # its own of one token; None: as many as the step carries
    flop: Num
    token_bytes: Num
    weight_bytes: Num
    size: Place  # of its weights in the table of small kernels


class Job(Struct, frozen=True, eq=False):
    """Products one after another in each of `count` layers, and what they compute and move together."""

    count: int
    kernels: tuple[Kernel, ...]
    flop: Num
    token_bytes: Num
    weight_bytes: Num


class Products(Struct, frozen=True, eq=False):
    """All of one precision: its peak, and what is reached of it by large products and by small ones."""

    peak_flop_per_s: Num
    large: Grid
    small: Grid
    jobs: tuple[Job, ...]


class OwnProducts(Struct, frozen=True, eq=False):
    """Of a model on a rank: those of its layers, and the head's of tokens that are answered."""

    layers: tuple[Products, ...]
    head: tuple[Products, ...]


def own_products(
    arch: Architecture, device: TimeDevice, part_bytes: Mapping[str, Num], layout: ServeLayout
) -> OwnProducts:
    """What passes through a rank's own weights, of mixers, dense MLPs and shared experts, and the head."""
    one = Split(1.0, layout.tensor, 1.0, 1.0, 1.0, False)
    layers = [((*mixer_shapes(kind, arch.hidden, one), *index_shapes(kind, arch.hidden, 1.0)),
               part_bytes[part_names(kind)[0]], count) for kind, count in arch.mixer_groups]
    layers += [(mlp_shapes(kind, arch.hidden, one), part_bytes[part_names(kind)[1]], count)
               for kind, count in arch.mlp_groups]
    head = ((1.0, arch.vocab / layout.tensor, arch.hidden, 1.0, HALF),), part_bytes["head"], 1
    return OwnProducts(_by_precision(layers, device), _by_precision([head], device))


def _by_precision(
    asked: Sequence[tuple[tuple[Shape, ...], Num, int]], device: TimeDevice
) -> tuple[Products, ...]:
    """Products of shapes of one token, bytes of a weight, and layers that have them."""
    found: dict[str, tuple[Num, Grid, Grid, list[Job]]] = {}
    for shapes, element_bytes, count in asked:
        if shapes:
            name = precision_of(element_bytes, device)
            if name not in found:
                found[name] = (*arithmetic(element_bytes, device), small_grid(element_bytes, device), [])
            found[name][3].append(_job(shapes, element_bytes, count, found[name][2]))
    return tuple(Products(peak, large, small, tuple(jobs)) for peak, large, small, jobs in found.values())


def _job(shapes: tuple[Shape, ...], element_bytes: Num, count: int, small: Grid) -> Job:
    kernels = []
    flop: Num = 0.0
    token_bytes: Num = 0.0
    weight_bytes: Num = 0.0
    for m, n, k, many, result in shapes:
        weights = many * n * k * element_bytes
        one = Kernel(None if isinstance(m, float) and m == 1.0 else m, 2.0 * many * m * n * k,
                     many * m * (k * element_bytes + n * result), weights, bytes_place(small, weights))
        flop, token_bytes = flop + one.flop, token_bytes + one.token_bytes
        weight_bytes = weight_bytes + one.weight_bytes
        kernels.append(one)
    return Job(count, tuple(kernels), flop, token_bytes, weight_bytes)


def arithmetic(element_bytes: Num, device: TimeDevice) -> tuple[Num, Grid]:
    """Peak and utilisation of the precision that weights of this width are multiplied in on this device."""
    name = precision_of(element_bytes, device)
    return device.peaks[name], device.grids.get(name) or device.grids["bf16"]


def small_grid(element_bytes: Num, device: TimeDevice) -> Grid:
    """What small kernels reach: narrow ones as the block-scaled 8-bit products do, where they are known."""
    _, grid = arithmetic(element_bytes, device)
    return grid if precision_of(element_bytes, device) == "bf16" else device.grids.get(SMALL, grid)


def precision_of(element_bytes: Num, device: TimeDevice) -> str:
    """bf16, fp8 or nvfp4, as the width of weights says and the device can."""
    size = num.mean(element_bytes)
    wanted = "nvfp4" if size < 0.9 else "fp8" if size < 1.5 else "bf16"
    return wanted if wanted in device.peaks else "bf16"


def taken(products: tuple[Products, ...], device: TimeDevice, rows: Num) -> Taken:
    """Of so many tokens: reading weights, the same at the memory's best, arithmetic, what small kernels take beyond.

    What is bound by reading flows as a 16-bit product of as many bytes, whatever its precision; what is bound by
    arithmetic runs at the share of its own peak that many rows reach.
    """
    read_share = _large(device.grids["bf16"], num.minimum(rows, FEW_ROWS))
    rate = device.memory_bytes_per_s
    bare: Num = 0.0
    work: Num = 0.0
    floor: Num = 0.0
    for each in products:
        place = row_place(each.small, rows)
        busy = each.peak_flop_per_s * _large(each.large, num.maximum(rows, MANY_ROWS))
        for job in each.jobs:
            moved, computed = (job.weight_bytes + job.token_bytes * rows) / rate, job.flop * rows / busy
            whole: Num = 0.0
            for one in job.kernels:
                at = place if one.rows is None else row_place(each.small, one.rows * rows)
                reached = num.minimum(utilisation_at(each.small, at, one.size), 1.0)
                moved_bytes = one.weight_bytes + one.token_bytes * rows
                whole = whole + kernel_time_s(one.flop * rows, moved_bytes, each.peak_flop_per_s, rate, reached)
            bare, work = bare + job.count * moved, work + job.count * computed
            floor = floor + job.count * num.maximum(whole - num.maximum(moved / read_share, computed), 0.0)
    return bare / read_share, bare / READ_SHARE, work, floor


def _large(grid: Grid, rows: Num) -> Num:
    """Utilisation of products whose weights are beyond a launch."""
    return utilisation_at(grid, row_place(grid, rows), bytes_place(grid, LARGE_BYTES))
