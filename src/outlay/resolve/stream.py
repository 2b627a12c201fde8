"""What one stream needs to know of a device: bandwidth, peak, measured shares; constants of the engine."""

from __future__ import annotations

from msgspec.structs import replace

from outlay.catalog import Catalog
from outlay.catalog.utilization import decode_attention
from outlay.derive import Num
from outlay.physics.stream import core_limit
from outlay.resolve.efficiency import DEFAULT_FAMILY
from outlay.resolve.fleet import DeviceFacts
from outlay.steps.efficiency import Efficiency
from outlay.steps.serve.inputs import ServeRecipe, StreamDevice

_NATIVE = ("fp8", "mxfp8", "nvfp4")  # computed in their own precision; the rest is widened to 16 bits first
_STACKED = "HBM"
_SHARED = "unified"  # with the processor, and kernels of another maker
_VECTOR = "peak_fp32_flop_per_s"


def stream_device(
    facts: DeviceFacts, efficiency: Efficiency, peak_flop_per_s: Num, precision: str, catalog: Catalog
) -> StreamDevice:
    """The device as one stream sees it, by its family's measured kernels or those borrowed."""
    family = str(facts.entry.value("utilization_family", DEFAULT_FAMILY)) if facts.entry else DEFAULT_FAMILY
    sizes, shares = decode_attention(family)
    grid = efficiency.grid(precision if precision in _NATIVE else "bf16")
    if precision == "fp8":  # checkpoints are scaled by blocks
        grid = efficiency.grids.get("fp8-block", grid)
    return StreamDevice(
        facts.memory_bytes_per_s, peak_flop_per_s, grid, sizes, shares, _core_limit(facts, family, catalog)
    )


def _core_limit(facts: DeviceFacts, family: str, catalog: Catalog) -> float:
    """Against the device the curve was measured on, of the same generation and with stacked memory."""
    own = facts.entry
    if own is None or not str(own.value("memory_type", "")).startswith(_STACKED):
        return 1.0
    for entry in catalog.entries("device"):
        if (
            entry.value("utilization_family") == family
            and entry.value("utilization_donor_widening", 2.0) == 1.0
        ):
            if entry.value("architecture") != own.value("architecture"):
                return 1.0
            pair = [float(e.value(p, 0.0)) for e in (own, entry) for p in ("memory_bytes_per_s", _VECTOR)]
            return float(core_limit(*pair)) if all(pair) else 1.0
    return 1.0


def memory_kind(facts: DeviceFacts) -> str:
    """hbm, unified or gddr: what an engine's own kernels reach differs by it."""
    kind = str(facts.entry.value("memory_type", "")) if facts.entry else ""
    return "hbm" if kind.startswith(_STACKED) else _SHARED if kind.endswith(_SHARED) else "gddr"


def with_stream_constants(recipe: ServeRecipe, facts: DeviceFacts) -> ServeRecipe:
    """The engine's share of bandwidth by kind of memory, where it has one of its own."""
    memory = memory_kind(facts)
    found = dict(recipe.constants)
    if f"stream_utilization_{memory}" not in found:
        return recipe
    found["stream_utilization"] = found[f"stream_utilization_{memory}"]
    if memory == _SHARED:
        found["stream_layer_s"] = found.get("stream_layer_unified_s", found["stream_layer_s"])
        found["stream_residual"] = found.get("stream_residual_unified", found["stream_residual"])
    return replace(recipe, constants=found)
