"""Embodied carbon of a device: a published footprint, else the model anchored to published ones."""

from __future__ import annotations

from typing import Any

from outlay.derive import Quantity, derive, uncertain
from outlay.resolve.calendar import Defaults
from outlay.resolve.fleet import DeviceFacts
from outlay.valuation.embodied import GDDR_OVER_HBM, HBM_KG_PER_GB, accelerator_kg

UNKNOWN_DIE_CM2, UNKNOWN_NODE_NM = 7.0, 5.0


def device_embodied(facts: DeviceFacts, defaults: Defaults) -> Quantity:
    """kgCO2e to make one device, without the server around it."""
    told = f"embodied carbon of {facts.id}"
    entry = defaults.catalog.get("embodied", facts.id.split(":")[0])
    if entry is None or "kg" not in entry:
        return _modelled(facts, defaults, told)
    fact = entry.fact("kg")
    defaults.notes.assume(told, fact.value, fact.note or "published footprint", fact.source)
    return fact.quantity(defaults.seed)


def _modelled(facts: DeviceFacts, defaults: Defaults, told: str) -> Quantity:
    entry = facts.entry
    die = float(entry.value("die_cm2", UNKNOWN_DIE_CM2)) if entry is not None else UNKNOWN_DIE_CM2
    node = float(entry.value("process_nm", UNKNOWN_NODE_NM)) if entry is not None else UNKNOWN_NODE_NM
    kind = str(entry.value("memory_type", "HBM")) if entry is not None else "HBM"
    rate = HBM_KG_PER_GB if "HBM" in kind.upper() else HBM_KG_PER_GB * GDDR_OVER_HBM
    spread = defaults.quantity("embodied.spread_factor")
    power = facts.power_w or uncertain(400.0, 150.0, 1000.0, "W", "rated power", "unknown", basis="assumed")
    sold_gb = entry.value("memory_sold_gb") if entry is not None else None
    memory = float(sold_gb) * 1e9 if sold_gb is not None else facts.memory_bytes
    made: Quantity = derive(_with_spread, "embodied carbon of a device", "kg", die_cm2=die, process_nm=node,
                            memory_bytes=memory, power_w=power, memory_kg_per_gb=rate, spread=spread)
    known = entry is not None and "die_cm2" in entry and "process_nm" in entry
    defaults.notes.assume(told, made.value, "from die area, node, memory and power, anchored to vendor footprints"
                          if known else "die and node unknown: a typical 7 cm2 at 5 nm", "arXiv:2507.01145; NVIDIA PCF")
    return made


def _with_spread(die_cm2: Any, process_nm: Any, memory_bytes: Any, power_w: Any, memory_kg_per_gb: Any,
                 spread: Any) -> Any:
    """Carbon of making an accelerator by its parts, with the model's spread against vendor footprints."""
    return accelerator_kg(die_cm2, process_nm, memory_bytes, power_w, memory_kg_per_gb) * spread
