"""One number is answered as an array of it, by a number."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from outlay.physics import num
from outlay.physics.queueing import experts_touched
from outlay.physics.roofline import Grid, look_up

NUMBERS = (0.25, 1.0, 3, 7.5, 1e6)
ODD = (*NUMBERS, -2.0, 0.0, math.inf, math.nan)


@pytest.mark.parametrize("name", ["exp", "expm1", "log", "log1p", "log2", "sqrt", "ceil", "floor"])
def test_functions_of_one(name: str) -> None:
    of: Callable[[Any], Any] = getattr(num, name)
    for each in NUMBERS[:4]:
        alone = of(each)
        assert type(alone) is float
        assert alone == pytest.approx(float(getattr(np, name)(np.array([each], dtype=float))[0]), rel=1e-15)
        assert np.array_equal(of(np.array([each, 2.0])), getattr(np, name)(np.array([each, 2.0])))


@pytest.mark.parametrize("name", ["maximum", "minimum"])
def test_larger_and_smaller(name: str) -> None:
    of: Callable[[Any, Any], Any] = getattr(num, name)
    for a, b in itertools.product(ODD, ODD):
        alone, many = of(a, b), getattr(np, name)(np.array([a]), np.array([b]))
        assert isinstance(alone, (float, int))
        assert np.array_equal([alone], many, equal_nan=True), (a, b)
        assert np.array_equal(of(np.array([a]), b), many, equal_nan=True)


def test_conditions() -> None:
    assert num.where(2.0 > 1.0, 3.0, 4.0) == 3.0
    assert num.where(np.float64(1.0) > 2.0, 3.0, 4.0) == 4.0
    assert num.where(True, np.ones(2), 0.0).tolist() == [1.0, 1.0]
    assert num.where(np.array([True, False]), 1.0, 2.0).tolist() == [1.0, 2.0]
    assert [num.any(each) for each in (0.0, 2.0, False, np.zeros(2), np.array([0, 1]))] == [False, True, False, False,
                                                                                            True]
    assert num.power(2.0, 3.0) == 8.0 and num.power(np.array([4.0, 9.0]), 0.5).tolist() == [2.0, 3.0]
    assert num.clip(np.array([-1.0, 5.0]), 0.0, 2.0).tolist() == [0.0, 2.0]
    assert num.like(np.zeros(2), 1.0).tolist() == [1.0, 1.0]
    assert (num.clip(5, 0.0, 2.0), num.mean(np.array([1.0, 3.0])), num.like(7.0, 1.0)) == (2.0, 2.0, 1.0)


def test_formulas_of_one_number_are_those_of_many() -> None:
    draw = np.random.default_rng(0)
    grid = Grid(0.0, 1.0, 10.0, 2.0, np.log(draw.uniform(0.1, 0.9, (8, 6))))
    rows, size = draw.uniform(0.1, 2000.0, 64), 2.0 ** draw.uniform(5.0, 25.0, 64)
    many = look_up(grid, rows, size)
    alone = [look_up(grid, float(m), float(s)) for m, s in zip(rows, size, strict=True)]
    assert all(type(each) is float for each in alone)
    assert alone == pytest.approx(many.tolist(), rel=1e-14)
    assert [look_up(grid, float(m), size)[at] for at, m in enumerate(rows)] == pytest.approx(alone, rel=1e-14)
    touched = experts_touched(256, 8, rows, 0.8)
    assert [experts_touched(256, 8, float(m), 0.8) for m in rows] == pytest.approx(touched.tolist(), rel=1e-14)
