"""Measured utilisation grids as shipped: a device family's tables by precision."""

from __future__ import annotations

import csv
import math
from functools import lru_cache
from typing import TYPE_CHECKING

from outlay.catalog.store import DATA

if TYPE_CHECKING:
    from outlay.physics.roofline import Grid

GRIDS = DATA / "grids"


@lru_cache(maxsize=1)
def _tables() -> dict[tuple[str, str], list[dict[str, str]]]:
    found: dict[tuple[str, str], list[dict[str, str]]] = {}
    with open(GRIDS / "utilization.csv", newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            found.setdefault((row["family"], row["precision"]), []).append(row)
    return found


@lru_cache(maxsize=32)
def matmul_grids(family: str) -> dict[str, Grid]:
    """Grids of one device family by precision; empty where nothing was measured.

    >>> sorted(matmul_grids("h100_sxm"))
    ['bf16', 'fp8', 'fp8-block']
    """
    import numpy as np

    from outlay.physics.roofline import Grid

    grids = {}
    for (name, precision), rows in _tables().items():
        if name == family:
            sizes = [column for column in rows[0] if column.startswith("at_")]
            first = math.log2(float(sizes[0].removeprefix("at_").removesuffix("mib")) * 2**20)
            values = np.array([[float(row[size]) for size in sizes] for row in rows])
            grids[precision] = Grid(
                math.log2(float(rows[0]["rows"])), 1.0, first, 2.0, np.log(values), rows[0]["source"]
            )
    return grids


@lru_cache(maxsize=32)
def decode_attention(family: str, precision: str = "bf16") -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Bandwidth share of decode attention: KV bytes a call reads, and the share at each; empty if not known.

    A call reads no longer than one that reads more: the shortest were measured in calls of their own, whose share is
    raised to that.

    >>> sizes, shares = decode_attention("h100_sxm")
    >>> len(sizes) == len(shares) > 3
    True
    >>> times = [size / share for size, share in zip(sizes, shares)]
    >>> times == sorted(times)
    True
    """
    sizes, shares = [], []
    with open(GRIDS / "utilization_decode.csv", newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if (row["family"], row["precision"]) == (family, precision):
                sizes.append(float(row["kv_mib"]) * 2**20)
                shares.append(float(row["utilization"]))
    for place in range(len(sizes) - 2, -1, -1):
        shares[place] = max(shares[place], sizes[place] / (sizes[place + 1] / shares[place + 1]))
    return tuple(sizes), tuple(shares)


@lru_cache(maxsize=1)
def expert_copies() -> dict[str, float]:
    """Bytes of tokens' copies that pass between the kernels of a grouped product a second, by device family.

    >>> round(expert_copies()["h100_sxm"] / 1e12, 1)
    1.5
    """
    with open(GRIDS / "expert_copies.csv", newline="", encoding="utf-8") as file:
        return {row["family"]: float(row["copied_bytes_per_s"]) for row in csv.DictReader(file)}
