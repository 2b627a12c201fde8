"""Tables of fitted constants as they are shipped: by what a row holds for and what it says."""

from __future__ import annotations

import csv
from pathlib import Path

Key = tuple[str, str]  # id, parameter
Span = tuple[float, float, float]  # low, value, high


def written(path: Path) -> dict[Key, str]:
    """Values as they are written: a row may hold a version.

    >>> from outlay.catalog.store import DATA
    >>> written(DATA / "serve_version_constants.csv")["vllm@0.11", "version_before"]
    '0.14'
    """
    return {key: value for key, (_, value, _) in _rows(path).items()}


def values(path: Path) -> dict[Key, float]:
    """Values of a table that holds numbers alone."""
    return {key: float(value) for key, value in written(path).items()}


def spans(path: Path) -> dict[Key, Span]:
    """Low, value and high of the rows that have an interval.

    >>> from outlay.catalog.store import DATA
    >>> low, value, high = spans(DATA / "serve_pool_constants.csv")["residual.untold", "tpot_s"]
    >>> low < value < high
    True
    """
    return {key: (float(low), float(value), float(high)) for key, (low, value, high) in _rows(path).items()
            if low and high}


def _rows(path: Path) -> dict[Key, tuple[str, str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return {(row["id"], row["parameter"]): (row.get("low") or "", row["value"], row.get("high") or "")
                for row in csv.DictReader(file)}
