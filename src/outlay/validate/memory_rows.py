"""What the adapters of memory measurements share: the case, and reading a cell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

GIB = 2.0**30


class MemoryCase(Struct, frozen=True):
    """One measurement. field: which (dotted) result field to compare; stage: "fullest" or "last"."""

    source: str
    name: str
    evidence_class: str
    scenario: Mapping[str, Any]
    measured_bytes: float
    field: str
    stage: str
    resident_bytes: float | None = None  # allocated between steps, where the source gives it
    excluded: str = ""  # why it is not scored


def number(row: Mapping[str, str], key: str, default: int = 0) -> int:
    text = (row.get(key) or "").strip()
    return int(float(text)) if text else default


def recompute(text: str) -> str:
    lowered = text.lower()
    return next(
        (kind for kind in ("selective", "full") if kind in lowered),
        "selective" if "sac" in lowered else "none",
    )
