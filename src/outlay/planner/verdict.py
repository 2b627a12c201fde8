"""Memory of a plan against what the devices have: fits, with what probability, by how much."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from outlay.derive import COUNTED_FROM, DRAWS, Num, Quantity, derive, exact, value_of
from outlay.steps.inputs import Hardware

if TYPE_CHECKING:
    from outlay.steps.train.memory import MemoryResult, StageMemory

STAGE_NUMBERS = ("memory_per_device_bytes", "memory_allocated_bytes", "memory_reserved_bytes", "memory_resident_bytes")


def memory_verdict(memory: MemoryResult, hw: Hardware, residual: Quantity) -> dict[str, Any]:
    """Every memory value of the result. The residual widens the whole; parts are scaled alike, so they add up."""
    fullest = _stage_values(memory.fullest, residual)
    host = _as_quantity(memory.host_memory_bytes, "host memory of a node")
    found: dict[str, Any] = {
        **{name: fullest[name] for name in STAGE_NUMBERS},
        "memory_parts": fullest["parts"],
        "memory_peak_moment": str(memory.memory_peak_moment),
        "stages": [_stage_values(stage, residual) for stage in memory.stages],
        "host_memory_bytes": host,
    }
    return found | fit_verdict(found["memory_per_device_bytes"], host, hw)


def fit_verdict(needed: Quantity, host: Quantity, hw: Hardware) -> dict[str, Any]:
    """fits, its probability over the draws, headroom, and what binds when it does not fit."""
    limit, host_limit = value_of(hw.memory_bytes), value_of(hw.host_memory_bytes)
    headroom = derive(_headroom, "headroom", "bytes", limit_bytes=hw.memory_bytes, needed_bytes=needed)
    host_short = host.value - host_limit if host_limit > 0 else 0.0
    probability = share_below(needed, limit)
    fits = probability >= 0.5 and host_short <= 0
    found: dict[str, Any] = {"fits": fits, "fits_probability": probability if host_short <= 0 else 0.0,
                             "headroom_bytes": headroom, "device_memory_bytes": limit}
    found["verdict"] = ("borderline" if 0.1 <= found["fits_probability"] <= 0.9
                        else "fits" if fits else "does not fit")
    if host_limit > 0:
        found["host_headroom_bytes"] = host_limit - host.value
    if not fits:
        found["binding"] = ({"constraint": "host memory", "needed_bytes": host.value, "limit_bytes": host_limit,
                             "short_bytes": host_short} if host_short > 0 and probability >= 0.5 else
                            {"constraint": "device memory", "needed_bytes": _told(needed, limit), "limit_bytes": limit,
                             "short_bytes": _told(needed, limit) - limit})
    return found


def _told(needed: Quantity, limit: float) -> float:
    """What is needed: the nominal value, or the median of the draws where only that is over the limit."""
    if needed.samples is None or needed.value > limit:
        return needed.value
    import numpy as np

    return float(np.median(needed.samples))


def share_below(quantity: Quantity, limit: float) -> float:
    """The share of draws at or below a limit."""
    if quantity.samples is None:
        return 1.0 if quantity.value <= limit else 0.0
    return float((quantity.samples <= limit).sum()) / DRAWS


def _stage_values(stage: StageMemory, residual: Quantity) -> dict[str, Any]:
    values: dict[str, Any] = {
        name: _scaled(getattr(stage, name), residual, name.removesuffix("_bytes").replace("_", " "))
        for name in STAGE_NUMBERS
    }
    values["parts"] = {part: _scaled(value, residual, part) for part, value in stage.parts.items()}
    return values


def _scaled(value: Num, residual: Quantity, label: str) -> Quantity:
    scaled: Quantity = derive(with_residual, label, "bytes", size_bytes=_as_quantity(value, label), residual=residual)
    return scaled


def with_residual(size_bytes: Any, residual: Any) -> Any:
    """Counted bytes and what measured runs of this class took beyond them."""
    return size_bytes * residual


def _headroom(limit_bytes: Any, needed_bytes: Any) -> Any:
    """What the device has left; negative when it is too small."""
    return limit_bytes - needed_bytes


def _as_quantity(value: Num, label: str) -> Quantity:
    return value if isinstance(value, Quantity) else exact(float(value), "bytes", label, COUNTED_FROM, basis="derived")
