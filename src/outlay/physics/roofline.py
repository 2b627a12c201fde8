"""How long one device takes over arithmetic and over moving bytes.

A kernel cannot beat the slower of two limits, arithmetic at the dense peak and traffic at the memory
bandwidth; `utilisation` is the share of that limit measured for kernels of its size. Williams, Waterman and
Patterson, "Roofline", CACM 52(4), 2009.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from outlay.physics import num

Value = Any  # float or array: every formula here takes both
Place = tuple[Value, Any]  # how far beyond a line of a table, of the way to the next, and which line


class Grid(Struct, frozen=True, eq=False):
    """Measured utilisation on a regular grid: log2 rows by log2 weight bytes; natural logs inside."""

    first_row_log2: float
    row_step_log2: float
    first_bytes_log2: float
    bytes_step_log2: float
    log_utilisation: NDArray[np.float64]
    source: str = ""


def half_rate_grid(grid: Grid, times: float, most: float = 0.95, full_rows: float = 0.0) -> Grid:
    """A grid measured at the full tensor rate, for a device of the same kind whose rate is a part of it.

    times: the full rate over the device's. What memory, power and launches let the donor reach is reached by
    the slower device too, so its share of its own peak is that many times as large, up to `most`. full_rows: from
    which arithmetic bounds the donor; with fewer than its part of them, memory bounds both and the share stays.

    >>> half = half_rate_grid(flat_grid(0.4), 2.0)
    >>> round(float(np.exp(half.log_utilisation[0, 0])), 3)
    0.8
    >>> [round(float(look_up(half_rate_grid(Grid(0.0, 8.0, 20.0, 1.0, np.log(np.full((2, 2), 0.4))), 2.0,
    ...                                     full_rows=200.0), rows, 2.0**20)), 2) for rows in (1.0, 256.0)]
    [0.4, 0.8]
    """
    table = grid.log_utilisation
    rows = 2.0 ** (grid.first_row_log2 + grid.row_step_log2 * np.arange(table.shape[0]))
    more = np.clip(times * rows / full_rows, 1.0, times) if full_rows else np.full(table.shape[0], times)
    raised = np.minimum(table + np.log(more)[:, None], np.maximum(table, np.log(most)))
    return Grid(grid.first_row_log2, grid.row_step_log2, grid.first_bytes_log2, grid.bytes_step_log2, raised,
                f"{grid.source}; at 1/{times:g} of the donor's rate")


def flat_grid(utilisation: float, source: str = "") -> Grid:
    """The same utilisation at every size, where no table was measured."""
    return Grid(0.0, 1.0, 0.0, 1.0, np.full((2, 2), np.log(utilisation)), source)


def look_up(grid: Grid, rows: Value, weight_bytes: Value) -> Value:
    """Utilisation at (rows, weight_bytes): bilinear in logarithms, held flat outside the measured range.

    >>> grid = Grid(0.0, 1.0, 20.0, 1.0, np.log(np.array([[0.1, 0.2], [0.4, 0.8]])))
    >>> round(float(look_up(grid, 2.0, 2.0**21)), 3), round(float(look_up(grid, 1e6, 1.0)), 3)
    (0.8, 0.4)
    """
    return utilisation_at(grid, row_place(grid, rows), bytes_place(grid, weight_bytes))


def row_place(grid: Grid, rows: Value) -> Place:
    """Between which lines of rows."""
    return _position(rows, grid.first_row_log2, grid.row_step_log2, grid.log_utilisation.shape[0])


def bytes_place(grid: Grid, weight_bytes: Value) -> Place:
    """Between which lines of weight bytes."""
    return _position(weight_bytes, grid.first_bytes_log2, grid.bytes_step_log2, grid.log_utilisation.shape[1])


def utilisation_at(grid: Grid, row: Place, size: Place) -> Value:
    """`look_up` where both places are known, of which one may stand for many of the other."""
    (x, i), (y, j), table = row, size, grid.log_utilisation
    if isinstance(j, int) and not isinstance(i, int):  # many rows of one size
        line = table[:, j] + (table[:, j + 1] - table[:, j]) * y
        low, high = line.take(i), line.take(i + 1)
        return num.exp(low + (high - low) * x)
    width = table.shape[1]
    at = i * width + j
    take = table.item if isinstance(at, int) else table.ravel().take
    low, high = take(at), take(at + width)
    low += (take(at + 1) - low) * y
    high += (take(at + width + 1) - high) * y
    return num.exp(low + (high - low) * x)


def _position(value: Value, first: float, step: float, size: int) -> Place:
    at = num.log2(num.maximum(value, 1.0))
    if isinstance(at, float):
        at = min(max((at - first) / step, 0.0), size - 1.0)
        place = min(int(at), size - 2)
        return at - place, place
    at -= first
    at /= step
    np.minimum(np.maximum(at, 0.0, out=at), size - 1.0, out=at)
    index = np.minimum(at, size - 2).astype(np.int64)
    at -= index
    return at, index


def kernel_time_s(
    flop: Value, traffic_bytes: Value, peak_flop_per_s: Value, memory_bytes_per_s: Value, utilisation: Value
) -> Value:
    """One kernel: the slower of arithmetic and traffic, over its measured utilisation.

    An H100 at 989.4 TFLOP/s and 3.352 TB/s: 4096 cubed takes 0.139 ms at the limit.

    >>> t = kernel_time_s(2 * 4096.0**3, 3 * 2 * 4096.0**2, 989.4e12, 3.352e12, 1.0)
    >>> round(float(t) * 1e3, 3)
    0.139
    """
    return num.maximum(flop / peak_flop_per_s, traffic_bytes / memory_bytes_per_s) / utilisation


TYPICAL_EXPERT = 4096.0 * 4096.0  # weights of the product that rows_half is told for


def matmul_time_s(
    shapes: Sequence[tuple[Value, Value, Value, Value, Value]],
    element_bytes: Value,
    peak_flop_per_s: Value,
    memory_bytes_per_s: Value,
    sustained_flop_per_s: Value,
    grid: Grid,
    ratio: Value,
    kernel_gap_s: Value,
    rows_half: Value = 0.0,
) -> Value:
    """Matrix multiplications one after another: roofline over looked-up utilisation, never faster than power
    allows.

    shapes holds (rows m, columns n, reduction k, how many in one grouped kernel, bytes moved per result
    element); a group is looked up at its summed weight bytes. element_bytes of the operands; ratio scales
    the table; sustained_flop_per_s is what the device's power feeds hour after hour, which short benchmark
    loops do not meet; kernel_gap_s passes before each. The arithmetic of a grouped kernel of rows_half rows on
    weights of TYPICAL_EXPERT reaches half of a single one's utilisation; larger products need fewer rows for it,
    and what reads weights for few rows is as fast as they are read.
    """
    total: Value = 0.0
    for m, n, k, count, result_bytes in shapes:
        traffic = (m * k + n * k) * element_bytes + m * n * result_bytes
        utilisation = num.minimum(look_up(grid, m, n * k * count * element_bytes) * ratio, 1.0)
        flop = 2.0 * m * n * k
        padded = flop + 2.0 * rows_half * TYPICAL_EXPERT
        one = kernel_time_s(padded, traffic, peak_flop_per_s, memory_bytes_per_s, utilisation)
        total = total + count * num.maximum(one, flop / sustained_flop_per_s) + kernel_gap_s
    return total


def sustained_flop_per_s(power_w: Value, power_limit_ratio: Value, flop_per_joule: Value) -> Value:
    """Arithmetic a power budget feeds: power times operations per joule; no limit where power is unknown (0).

    A B200 at 1000 W and 1.06 TFLOP/J in bf16 sustains 1.06 PFLOP/s of its 2.25.

    >>> float(sustained_flop_per_s(1000.0, 1.0, 1.06e12))
    1060000000000000.0
    """
    return np.where(np.greater(power_w, 0), power_w * power_limit_ratio * flop_per_joule, np.inf)


def matmul_flop(shapes: Iterable[tuple[Value, Value, Value, Value, Value]]) -> Value:
    """Multiply-adds count two.

    >>> matmul_flop([(2.0, 3.0, 4.0, 1.0, 2.0)])
    48.0
    """
    return sum(2.0 * m * n * k * count for m, n, k, count, _ in shapes)


def matmul_bytes(shapes: Iterable[tuple[Value, Value, Value, Value, Value]], element_bytes: Value) -> Value:
    """Operands once and results with their own element size."""
    return sum(
        count * ((m * k + n * k) * element_bytes + m * n * result) for m, n, k, count, result in shapes
    )


def attention_time_s(
    flop: Value,
    traffic_bytes: Value,
    peak_flop_per_s: Value,
    memory_bytes_per_s: Value,
    utilisation: Value,
    memory_utilisation: Value,
) -> Value:
    """Attention core: arithmetic at its own utilisation, or its traffic where that is slower."""
    return np.maximum(
        flop / (peak_flop_per_s * utilisation), traffic_bytes / (memory_bytes_per_s * memory_utilisation)
    )


def traffic_time_s(traffic_bytes: Value, memory_bytes_per_s: Value, memory_utilisation: Value) -> Value:
    """Kernels that only move bytes: norms, activations, residuals, casts, optimiser.

    >>> traffic_time_s(1.6e12, 2.0e12, 0.8)
    1.0
    """
    return traffic_bytes / (memory_bytes_per_s * memory_utilisation)


def host_bound_s(device_s: Value, kernels: Value, launch_s: Value) -> Value:
    """Device time, or the time the host needs to launch its kernels, whichever is longer.

    >>> float(host_bound_s(1e-3, 400, 5e-6))
    0.002
    """
    return np.maximum(device_s, kernels * launch_s)


def power_capped_peak(peak_flop_per_s: Value, power_limit_ratio: Value, exponent: Value) -> Value:
    """Peak under a power cap: clocks fall as a power of the cap's ratio to rated power.

    Dynamic power goes as f·V², voltage rising with frequency, so f ~ P^(1/2 … 1/3) above idle power.

    >>> round(float(power_capped_peak(1.0, 500 / 700, 0.5)), 3)
    0.845
    """
    return peak_flop_per_s * np.power(power_limit_ratio, exponent)
