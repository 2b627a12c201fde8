"""Facts, one value a row, each with its source; look-up by id, alias and the names other tools print."""

from __future__ import annotations

from outlay.catalog.catalog import Catalog, DeviceMatch, load
from outlay.catalog.records import Entry, Fact, Price

__all__ = ["Catalog", "DeviceMatch", "Entry", "Fact", "Price", "load"]
