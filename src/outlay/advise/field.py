"""Who holds training compute and accelerators over time; the frontier's ticket and the price of a fixed capability."""

from __future__ import annotations

import math
from typing import Any

from outlay.catalog import Catalog

PREFIX = "notable-training-"


def field(catalog: Catalog) -> dict[str, Any]:
    """`{years: [...], stock, clusters, ticket, fixed_capability, academia}` from the catalogue's distilled rows."""
    entries = {entry.id: entry for entry in catalog.entries("concentration")}
    years = [
        {name: _plain(entry.value(name)) for name in (
            "year", "models", "organisations", "training_flop", "top_share", "cr4", "hhi", "gini", "hhi_country",
            "ticket_usd")} | {"top": str(entry.value("top", "")).split("|"),
                              "ticket": entry.facts["ticket_usd"].note if "ticket_usd" in entry else ""}
        for me, entry in sorted(entries.items()) if me.startswith(PREFIX)]
    found: dict[str, Any] = {"years": years, "ticket_growth": growth(
        [(y["year"], y["ticket_usd"]) for y in years if y["ticket_usd"]])}
    for me, entry in entries.items():
        if not me.startswith(PREFIX):
            found[me.replace("-", "_")] = {fact.parameter: fact.to_dict() for fact in entry if fact.parameter != "name"}
    return found


def growth(points: list[tuple[float, float]]) -> float | None:
    """Yearly factor of a least-squares line through logarithms.

    >>> round(growth([(2020, 1.0), (2021, 2.0), (2022, 4.0)]), 3)
    2.0
    """
    if len(points) < 2:
        return None
    n = len(points)
    mean_x, mean_y = sum(x for x, _ in points) / n, sum(math.log(y) for _, y in points) / n
    slope = sum((x - mean_x) * (math.log(y) - mean_y) for x, y in points) / sum((x - mean_x) ** 2 for x, _ in points)
    return math.exp(slope)


def _plain(value: Any) -> Any:
    return None if value is None else float(value)
