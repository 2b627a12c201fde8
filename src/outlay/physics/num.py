"""numpy's functions of numbers, for one number as well as for arrays.

Of one number numpy takes ten to a hundred times as long as Python's own `math`. Written with these a formula is one
text for one configuration and for a hundred thousand, and both are quick. Names, arguments and answers are numpy's,
to the last digit or the one before; a number is answered by a number.

>>> maximum(2.0, 3.0), round(exp(1.0), 3), exp(np.zeros(2)).tolist()
(3.0, 2.718, [1.0, 1.0])
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

Value = Any  # a number or an array of them
ONE = (float, int)
TRUTH = (bool, np.bool_)


def maximum(a: Value, b: Value) -> Value:
    """The larger; what is not a number (NaN) stays so."""
    if isinstance(a, ONE) and isinstance(b, ONE):
        return b if b > a or b != b else a
    return np.maximum(a, b)


def minimum(a: Value, b: Value) -> Value:
    """The smaller; what is not a number (NaN) stays so."""
    if isinstance(a, ONE) and isinstance(b, ONE):
        return b if b < a or b != b else a
    return np.minimum(a, b)


def clip(a: Value, low: Value, high: Value) -> Value:
    return minimum(maximum(a, low), high)


def where(condition: Value, a: Value, b: Value) -> Value:
    """Both are worked out before one is taken, as numpy does."""
    if isinstance(condition, TRUTH) and isinstance(a, ONE) and isinstance(b, ONE):
        return a if condition else b
    return np.where(condition, a, b)


def exp(a: Value) -> Value:
    return math.exp(a) if isinstance(a, ONE) else np.exp(a)


def expm1(a: Value) -> Value:
    return math.expm1(a) if isinstance(a, ONE) else np.expm1(a)


def log(a: Value) -> Value:
    return math.log(a) if isinstance(a, ONE) else np.log(a)


def log1p(a: Value) -> Value:
    return math.log1p(a) if isinstance(a, ONE) else np.log1p(a)


def log2(a: Value) -> Value:
    return math.log2(a) if isinstance(a, ONE) else np.log2(a)


def sqrt(a: Value) -> Value:
    return math.sqrt(a) if isinstance(a, ONE) else np.sqrt(a)


def ceil(a: Value) -> Value:
    return float(math.ceil(a)) if isinstance(a, ONE) else np.ceil(a)


def floor(a: Value) -> Value:
    return float(math.floor(a)) if isinstance(a, ONE) else np.floor(a)


def power(a: Value, exponent: Value) -> Value:
    """Of what is not negative."""
    return a**exponent if isinstance(a, ONE) and isinstance(exponent, ONE) else np.power(a, exponent)


def any(condition: Value) -> bool:
    """Whether it holds anywhere."""
    return bool(condition) if isinstance(condition, (np.bool_, *ONE)) else bool(np.any(condition))


def mean(a: Value) -> float:
    return float(a if isinstance(a, ONE) else np.mean(a))


def like(a: Value, value: float) -> Value:
    """The value, as often as there are numbers in `a`."""
    return value if isinstance(a, ONE) else np.full_like(a, value)
