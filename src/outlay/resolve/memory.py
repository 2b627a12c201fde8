"""Sizes of training memory that no shape gives, from the catalogue: by framework and vendor, else general."""

from __future__ import annotations

from outlay.catalog import Catalog
from outlay.derive import Quantity

CONSTANTS = "memory_constants"


def memory_constants(framework: str, vendor: str, catalog: Catalog, seed: int) -> dict[str, Quantity]:
    """Every constant of steps.train.memory_policy.MemoryConstants, the most particular row of each.

    >>> from outlay.catalog import load
    >>> round(memory_constants("torchtitan", "nvidia", load(), 0)["fragmentation_fraction"].value, 3)
    0.035
    """
    entries = {entry.id: entry for entry in catalog.entries(CONSTANTS)}
    found: dict[str, Quantity] = {}
    for name in ("memory", f"memory.{vendor.lower()}", f"memory.{framework}"):
        for fact in entries.get(name, ()):
            found[fact.parameter] = fact.quantity(seed)
    return found
