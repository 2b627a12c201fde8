"""How much of its limits a device reaches: measured grids and fitted constants, from the catalogue."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outlay.catalog import Catalog, Entry, Fact
from outlay.derive import Num, Quantity, exact, uncertain
from outlay.errors import UnknownName
from outlay.physics.roofline import half_rate_grid
from outlay.resolve.fleet import DeviceFacts
from outlay.resolve.notes import Notes

if TYPE_CHECKING:
    from outlay.steps.efficiency import Efficiency

CONSTANTS = "efficiency_constants"
INT8_OVER_HALF = 2.0  # of data-centre and workstation cards
DEFAULT_FAMILY, UNKNOWN_WIDENING = "h100_sxm", 2.0
RESIDUAL, EVIDENCE = "residual", "evidence"
RESIDUAL_TABLES = ("efficiency_constants", "memory_constants", "tune_constants")


def resolve_efficiency(facts: DeviceFacts, catalog: Catalog, notes: Notes, seed: int, without: str = "") -> Efficiency:
    """Grids of the device's family or its donor, and the constants by scope.

    without: a group (a model, a device) left out of the fit, so that validation never scores what was fitted.
    """
    entry = facts.entry
    family = str(entry.value("utilization_family", DEFAULT_FAMILY)) if entry is not None else DEFAULT_FAMILY
    if borrowed(facts) > 1.0:
        notes.assume("utilisation", family, f"no kernel measurements of {facts.id}: borrowed, and the interval widened",
                     "reference: aiconfigurator-core 0.12.0 tables")
    architecture = str(entry.value("architecture", "")) if entry is not None else ""
    found = _efficiency(family, facts.vendor, architecture, catalog, seed, without)
    times = rate_below_full(facts)
    if times <= 1.0 or borrowed(facts) <= 1.0:
        return found
    notes.assume("utilisation", f"{times:g} times the borrowed share of peak", "a rate halved by fp32 accumulation "
                 "leaves the memory and power that bound the measured card",
                 "vendor white papers: int8 rate over bf16 rate")
    return found.with_grids({name: half_rate_grid(grid, times) for name, grid in found.grids.items()})


def rate_below_full(facts: DeviceFacts) -> float:
    """How far fp32 accumulation holds a card's 16-bit rate below its tensor cores: int8 is twice a full rate."""
    int8, half = facts.peaks.get("int8"), facts.peaks.get("bf16")
    if int8 is None or half is None or facts.vendor.lower() != "nvidia":
        return 1.0
    return max(int8.value / (INT8_OVER_HALF * half.value), 1.0)


def efficiency_of(catalog: Catalog, device: Entry, *, seed: int = 0) -> Efficiency:
    """Efficiency of a catalogued device, constants as quantities."""
    return _efficiency(str(device.value("utilization_family", DEFAULT_FAMILY)), str(device.value("vendor", "")),
                       str(device.value("architecture", "")), catalog, seed, "")


def _efficiency(family: str, vendor: str, architecture: str, catalog: Catalog, seed: int,
                without: str) -> Efficiency:
    """Constants of all scopes, those fitted without a group replacing the others where it is named."""
    from outlay.catalog.utilization import matmul_grids
    from outlay.steps.efficiency import device_efficiency

    constants: dict[tuple[str, str], Num] = {}
    entries = [entry for entry in catalog.entries(CONSTANTS) if entry.id not in (RESIDUAL, EVIDENCE)]
    for entry in sorted(entries, key=lambda e: "@" in e.id):
        scope, _, group = entry.id.partition("@")
        if not group or group == without:
            for fact in entry:
                constants[(scope, fact.parameter)] = fact.quantity(seed)
    return device_efficiency(family, vendor, matmul_grids(family), constants, architecture)


def borrowed(facts: DeviceFacts) -> float:
    """How much wider a borrowed curve makes the interval; 1 where the device itself was measured."""
    if facts.entry is None:
        return UNKNOWN_WIDENING
    return float(facts.entry.value("utilization_donor_widening", UNKNOWN_WIDENING))


def residual(family: str, evidence: str, catalog: Catalog, seed: int, widening: float = 1.0) -> Quantity:
    """What left-out published runs took beyond the model, for one family of outputs and evidence class.

    A catalogue row written only from left-out errors; a borrowed device widens it in both directions.
    """
    for table in RESIDUAL_TABLES:
        entry = catalog.get(table, RESIDUAL)
        for name in (f"{family}.{evidence}", family):
            if entry is not None and name in entry:
                return _widened(entry.fact(name), widening, seed)
    return exact(1.0, "", f"residual of {family}", "none measured", basis="assumed")


def was_published(family: str, evidence: str, generation: str, precision: str, catalog: Catalog) -> bool:
    """Whether any published run of this class, device generation and width of arithmetic stands behind the fit."""
    from outlay.steps.efficiency import width_of

    try:
        entry = catalog.find(CONSTANTS, EVIDENCE)
    except UnknownName:
        return True
    return f"{family}.{evidence}.{generation}.{width_of(precision)}" in entry


def _widened(fact: Fact, widening: float, seed: int) -> Quantity:
    """A residual, wider in both directions where the device's curves are borrowed."""
    if widening == 1.0 or fact.low is None or fact.high is None:
        return fact.quantity(seed)
    return uncertain(float(fact.value), fact.low / widening, fact.high * widening, "", fact.parameter,
                     f"{fact.key}: {fact.source}; widened x{widening:g} for a borrowed curve", seed=seed, key=fact.key,
                     basis="assumed")
