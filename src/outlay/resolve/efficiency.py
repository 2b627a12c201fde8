"""How much of its limits a device reaches: measured grids and fitted constants, from the catalogue."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outlay.catalog import Catalog
from outlay.derive import Num, Quantity, exact, uncertain
from outlay.errors import UnknownName
from outlay.resolve.fleet import DeviceFacts
from outlay.resolve.record import Notes

if TYPE_CHECKING:
    from outlay.steps.efficiency import Efficiency

CONSTANTS = "efficiency_constants"
DEFAULT_FAMILY, UNKNOWN_WIDENING = "h100_sxm", 2.0
RESIDUALS = "residual"


def resolve_efficiency(facts: DeviceFacts, catalog: Catalog, notes: Notes, seed: int, without: str = "") -> Efficiency:
    """Grids of the device's family or its donor, and the constants by scope.

    without: a group (a model, a device) left out of the fit, so that validation never scores what was fitted.
    """
    from outlay.catalog.utilization import matmul_grids
    from outlay.steps.efficiency import device_efficiency

    entry = facts.entry
    family = str(entry.value("utilization_family", DEFAULT_FAMILY)) if entry is not None else DEFAULT_FAMILY
    if borrowed(facts) > 1.0:
        notes.assume("utilisation", family, f"no kernel measurements of {facts.id}: borrowed, and the interval widened",
                     "reference: aiconfigurator-core 0.12.0 tables")
    constants: dict[tuple[str, str], Num] = {}
    table = catalog.entries(CONSTANTS)
    for scope in table:
        if "@" in scope.id:
            continue
        for fact in scope:
            constants[(scope.id, fact.parameter)] = fact.quantity(seed)
    if without:
        for scope in table:
            name, _, group = scope.id.partition("@")
            if group == without:
                for fact in scope:
                    constants[(name, fact.parameter)] = fact.quantity(seed)
    return device_efficiency(family, facts.vendor, matmul_grids(family), constants)


def borrowed(facts: DeviceFacts) -> float:
    """How much wider a borrowed curve makes the interval; 1 where the device itself was measured."""
    if facts.entry is None:
        return UNKNOWN_WIDENING
    return float(facts.entry.value("utilization_donor_widening", UNKNOWN_WIDENING))


def residual(family: str, evidence: str, catalog: Catalog, seed: int, widening: float = 1.0) -> Quantity:
    """What left-out published runs took beyond the model, for one family of outputs and evidence class.

    A catalogue row written only from left-out errors; a borrowed device widens it in both directions.
    """
    for name in (f"{family}.{evidence}", family):
        try:
            fact = catalog.find(RESIDUALS, name).fact("value")
        except UnknownName:
            continue
        if widening == 1.0 or fact.low is None or fact.high is None:
            return fact.quantity(seed)
        value = float(fact.value)
        low, high = value / (value / fact.low * widening), value * (fact.high / value * widening)
        return uncertain(value, low, high, "", f"residual of {name}", f"{fact.source}; widened x{widening:g} for a "
                         "borrowed curve", seed=seed, key=f"{name}.value", basis="assumed")
    return exact(1.0, "", f"residual of {family}", "none measured", basis="assumed")
