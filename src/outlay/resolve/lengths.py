"""Lengths of prompts and answers: a number, or a mapping that says how they are spread."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import Any

from msgspec import Struct

from outlay.errors import BadValue, Inconsistent, UnknownField, suggestion
from outlay.units import parse

QUANTILES = 512  # at which a log-normal that is cut is summed up
KEYS = ("mean", "cv", "std", "min", "max", "values", "weights")
EXAMPLES = ("1024, {mean: 1024, cv: 0.8}, {mean: 1024, std: 800}, {min: 100, max: 2000} or "
            "{values: [128, 1024], weights: [3, 1]}")


class Lengths(Struct, frozen=True):
    """Token counts: all the mean (cv 0), log-normal (mean, cv), even between low and high, or drawn from values.

    A log-normal with low or high is cut there.
    """

    mean: float
    cv: float = 0.0
    low: float = 1.0
    high: float = math.inf
    even: bool = False
    values: tuple[float, ...] = ()
    weights: tuple[float, ...] = ()

    @property
    def constant(self) -> bool:
        return self.cv == 0 and not self.even and not self.values

    @property
    def spread(self) -> float:
        """Deviation over mean, of what is drawn.

        >>> round(Lengths(200.0, low=100.0, high=300.0, even=True).spread, 3), Lengths(100.0, 0.5).spread
        (0.289, 0.5)
        >>> round(Lengths(20.0, values=(10.0, 40.0), weights=(2.0, 1.0)).spread, 3), Lengths(100.0).spread
        (0.707, 0.0)
        >>> 0.4 < Lengths(100.0, 0.5, high=200.0).spread < 0.5
        True
        """
        if self.values:
            shares = self.weights or (1.0,) * len(self.values)
            return _spread(self.values, shares)
        if self.even:
            return (self.high - self.low) / math.sqrt(12.0) / self.mean
        if self.cv == 0.0 or (self.low <= 1.0 and math.isinf(self.high)):
            return self.cv
        sigma = math.sqrt(math.log1p(self.cv**2))
        drawn = [self.mean * math.exp(sigma * NormalDist().inv_cdf((i + 0.5) / QUANTILES) - 0.5 * sigma**2)
                 for i in range(QUANTILES)]
        return _spread([min(max(each, self.low), self.high) for each in drawn], (1.0,) * QUANTILES)


def _spread(values: Sequence[float], shares: Sequence[float]) -> float:
    whole = sum(shares)
    mean = sum(x * y for x, y in zip(values, shares, strict=True)) / whole
    return math.sqrt(sum(y * (x - mean) ** 2 for x, y in zip(values, shares, strict=True)) / whole) / mean


def parse_lengths(value: Any, field: str) -> Lengths:
    """What `input:` or `output:` of a workload says.

    >>> parse_lengths("2k", "serve.workload.input").mean
    2000.0
    >>> parse_lengths({"min": 100, "max": 300}, "serve.workload.input").mean
    200.0
    >>> parse_lengths({"mean": 1000, "std": 500}, "serve.workload.input").cv
    0.5
    >>> parse_lengths({"values": [10, 40], "weights": [2, 1]}, "serve.workload.input").mean
    20.0
    """
    if not isinstance(value, Mapping):
        return Lengths(_count(value, field))
    for key in value:
        if key not in KEYS:
            raise UnknownField(f"{field}.{key}: not a way to spread lengths; write {EXAMPLES}"
                               f"{suggestion(str(key), KEYS)}", f"{field}.{key}")
    if "values" in value:
        return _drawn(value, field)
    if "weights" in value:
        raise Inconsistent(f"{field}.weights: needs values beside it", f"{field}.weights")
    low = _count(value["min"], f"{field}.min") if "min" in value else None
    high = _count(value["max"], f"{field}.max") if "max" in value else None
    if low is not None and high is not None and low > high:
        raise Inconsistent(f"{field}: min {low:g} is more than max {high:g}", field)
    if "mean" not in value:
        if low is None or high is None or "cv" in value or "std" in value:
            raise BadValue(f"{field}: says neither mean nor both min and max; write {EXAMPLES}", field)
        return Lengths(0.5 * (low + high), 0.0, low, high, even=low < high)
    mean = _count(value["mean"], f"{field}.mean")
    if "cv" in value and "std" in value:
        raise Inconsistent(f"{field}.std: cv says the same, as a share of the mean; give one of them", f"{field}.std")
    cv = parse(value.get("cv", 0.0), "fraction", f"{field}.cv")
    if "std" in value:
        cv = parse(value["std"], "count", f"{field}.std") / mean
    if not 0.0 <= cv <= 10.0:
        spread = "std" if "std" in value else "cv"
        raise BadValue(f"{field}.{spread}: {cv:g} of the mean is not between 0 and 10", f"{field}.{spread}")
    if not (low or 1.0) <= mean <= (high or math.inf):
        raise Inconsistent(f"{field}: mean {mean:g} is not between min and max", field)
    return Lengths(mean, cv, low or 1.0, high or math.inf)


def _count(value: Any, field: str) -> float:
    number = parse(value, "count", field)
    if not 1.0 <= number <= 1e9:
        raise BadValue(f"{field}: {number:g} tokens are not between 1 and 1e9", field)
    return number


def _drawn(value: Mapping[str, Any], field: str) -> Lengths:
    others = sorted(set(value) - {"values", "weights"})
    if others:
        raise Inconsistent(f"{field}: values are drawn as they are; {others[0]} has no meaning beside them", field)
    values, weights = value["values"], value.get("weights")
    if not isinstance(values, Sequence) or isinstance(values, str) or not values:
        raise BadValue(f"{field}.values: expected a list of lengths such as [128, 1024]", f"{field}.values")
    found = tuple(_count(one, f"{field}.values") for one in values)
    if weights is None:
        return Lengths(sum(found) / len(found), values=found)
    if not isinstance(weights, Sequence) or isinstance(weights, str) or len(weights) != len(found):
        raise Inconsistent(f"{field}.weights: as many as values, {len(found)}", f"{field}.weights")
    shares = tuple(parse(one, "fraction", f"{field}.weights") for one in weights)
    if min(shares) < 0 or sum(shares) <= 0:
        raise BadValue(f"{field}.weights: at least 0 each, and one above", f"{field}.weights")
    mean = sum(x * y for x, y in zip(found, shares, strict=True)) / sum(shares)
    return Lengths(mean, values=found, weights=shares)
