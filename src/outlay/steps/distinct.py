"""Distinct rows of a few columns of small whole numbers, so that a search evaluates each once."""

from __future__ import annotations

from typing import Any

import numpy as np


def distinct_rows(*columns: Any) -> tuple[list[Any], Any]:
    """Distinct rows of equal-length columns (or plain numbers), and where each original row is found among them.

    >>> (a, b), inverse = distinct_rows(np.array([2, 2, 4]), np.array([1, 1, 8]))
    >>> a.tolist(), b.tolist(), inverse.tolist()
    ([2.0, 4.0], [1.0, 8.0], [0, 0, 1])
    """
    shaped = [np.atleast_1d(np.asarray(c, dtype=float)) for c in np.broadcast_arrays(*columns)]
    key = np.zeros(shaped[0].shape, dtype=np.int64)
    for column in shaped:
        found, place = _few_values(column)
        key = key * len(found) + place
    _, first, inverse = _unique_keys(key)
    return [column[first] for column in shaped], inverse


def _few_values(column: Any) -> tuple[Any, Any]:
    """Distinct values of a column of small whole numbers and their places, without sorting it."""
    whole = column.astype(np.int64)
    seen = np.zeros(int(whole.max()) + 1, dtype=bool)
    seen[whole] = True
    place = np.cumsum(seen) - 1
    return np.flatnonzero(seen), place[whole]


def _unique_keys(key: Any) -> tuple[Any, Any, Any]:
    if key.max() > 4_000_000:
        return np.unique(key, return_index=True, return_inverse=True)
    first_at = np.full(int(key.max()) + 1, -1, dtype=np.int64)
    first_at[key[::-1]] = np.arange(len(key) - 1, -1, -1)
    found = np.flatnonzero(first_at >= 0)
    place = np.empty(len(first_at), dtype=np.int64)
    place[found] = np.arange(len(found))
    return found, first_at[found], place[key]
