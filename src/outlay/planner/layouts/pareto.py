"""Which of many candidates are worth a look: the best few, and those no other beats in everything."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]
PIVOTS = 12  # known points a batch is compared with before it is sorted
ROWS_PER_PIVOT = 500
TIE_DIGITS = 9  # values closer than a part in 1e9 are one value; rounding noise must not choose a layout


def front(points: Floats) -> Rows:
    """Rows of `points` (one column an aim, less is better) that no other row beats or equals in all columns.

    Of equal rows the first stays. In order of the first column.

    >>> front(np.array([[1.0, 9.0], [2.0, 5.0], [3.0, 6.0], [4.0, 1.0], [2.0, 5.0]])).tolist()
    [0, 1, 3]
    """
    left = np.lexsort((np.arange(len(points)), *points.T[::-1]))
    if points.shape[1] == 2 and len(points):
        second = points[left, 1]
        lower = np.ones(len(left), dtype=bool)
        lower[1:] = second[1:] < np.minimum.accumulate(second)[:-1]
        return left[lower]
    kept: list[int] = []
    while len(left):
        best = left[0]
        kept.append(int(best))
        rest = left[1:]
        left = rest[(points[rest] < points[best]).any(axis=1)]
    return np.array(kept, dtype=np.int64)


class RunningFront:
    """The front of points that stream by; most of a batch is dropped by comparing it with a few."""

    def __init__(self, aims: int) -> None:
        self.points = np.empty((0, aims))

    def add(self, *aims: Floats) -> Rows:
        """Rows of this batch that may lie on the front of everything, and remember them.

        >>> running = RunningFront(2)
        >>> running.add(np.array([1.0, 3.0]), np.array([5.0, 5.0])).tolist()
        [0]
        >>> running.add(np.array([2.0, 0.5]), np.array([6.0, 9.0])).tolist()
        [1]
        """
        left = np.ones(len(aims[0]), dtype=bool)
        pivots = min(PIVOTS, len(left) // ROWS_PER_PIVOT + 1)
        for pivot in self.points[::max(len(self.points) // pivots, 1)]:
            better = aims[0] < pivot[0]
            for column, value in zip(aims[1:], pivot[1:], strict=True):
                better |= column < value
            left &= better
        rows = np.flatnonzero(left)
        rows = rows[front(np.column_stack([column[rows] for column in aims]))]
        together = np.vstack([self.points, np.column_stack([column[rows] for column in aims])])
        self.points = together[front(together)]
        return rows


def order(values: Floats, ties: Sequence[Floats] = ()) -> Rows:
    """Rows by ascending value, ties by further columns and at last by position: the same answer every time.

    >>> order(np.array([2.0, 1.0, 1.0 + 1e-13]), [np.array([0.0, 5.0, 4.0])]).tolist()
    [2, 1, 0]
    """
    return np.lexsort((np.arange(len(values)), *ties[::-1], rounded(values)))


def rounded(values: Floats) -> Floats:
    """To TIE_DIGITS significant digits."""
    finite = np.where(np.isfinite(values) & (values != 0), np.abs(values), 1.0)
    scale = 10.0 ** (TIE_DIGITS - 1 - np.floor(np.log10(finite)))
    return np.where(np.isfinite(values), np.round(values * scale) / scale, values)


def smallest(values: Floats, count: int) -> Rows:
    """Rows holding the `count` smallest values and all that tie with the last, unordered."""
    if len(values) <= count:
        return np.arange(len(values))
    edge = np.partition(values, count - 1)[count - 1]
    return np.flatnonzero(values <= edge * (1 + 1e-9) if edge > 0 else values <= edge)
