"""A distribution seen once: exact where all values are kept, else a histogram of bounded size."""

from __future__ import annotations

from typing import Any

import numpy as np
from msgspec import Struct, field
from numpy.typing import NDArray

ITL = "itl_s"
LOW_S, HIGH_S, BINS = 1e-6, 1e7, 6000  # bins half a percent wide


class Measure(Struct, eq=False):
    """Weighted values in seconds: their mean, and percentiles by interpolation between bins 0.5 % wide."""

    weight: float = 0.0
    total: float = 0.0
    least: float = float("inf")
    most: float = 0.0
    bins: NDArray[np.float64] = field(default_factory=lambda: np.zeros(BINS))

    def add(self, values: NDArray[Any], weights: NDArray[Any] | None = None) -> None:
        if not len(values):
            return
        each = np.ones(len(values)) if weights is None else np.asarray(weights, dtype=np.float64)
        self.weight += float(each.sum())
        self.total += float((values * each).sum())
        self.least = min(self.least, float(values.min()))
        self.most = max(self.most, float(values.max()))
        at = np.log(np.clip(values, LOW_S, HIGH_S) / LOW_S) / np.log(HIGH_S / LOW_S) * (BINS - 1)
        self.bins += np.bincount(at.astype(np.int64), weights=each, minlength=BINS)

    @property
    def mean(self) -> float:
        return self.total / self.weight if self.weight > 0 else float("nan")

    def percentile(self, percent: float) -> float:
        """The value below which so many percent lie; NaN of nothing."""
        if self.weight == 0:
            return float("nan")
        below = np.cumsum(self.bins)
        wanted = percent / 100.0 * self.weight
        at = min(int(np.searchsorted(below, wanted)), BINS - 1)
        before = below[at - 1] if at else 0.0
        inside = (wanted - before) / self.bins[at] if self.bins[at] > 0 else 0.5
        ratio = (HIGH_S / LOW_S) ** (1.0 / (BINS - 1))
        found = LOW_S * ratio ** (at + inside)
        return float(min(max(found, self.least), self.most))
