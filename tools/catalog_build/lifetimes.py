"""How long models stay on sale: days from release to announced shutdown, by provider and over all."""

from __future__ import annotations

from pathlib import Path
from statistics import median, quantiles

from catalog_build.common import CATALOG_DATE, Row, shippable

KIND = "lifetime"
LEAST = 5  # models of a provider below which its own median is not told
SOURCE = "anomalyco/models.dev release dates (MIT) and litellm 1.106.2 deprecation dates (MIT)"


def build(data_dir: Path, models_dir: Path) -> list[Row]:
    by: dict[str, list[float]] = {"all": []}
    for row in shippable(data_dir / "model_lifetimes.csv"):
        days = float(row["days_available"])
        by["all"].append(days)
        by.setdefault(row["provider"], []).append(days)
    rows = []
    for provider, days in by.items():
        if len(days) < LEAST:
            continue
        tenths = quantiles(days, n=10, method="inclusive")
        note = (
            f"median, 10th and 90th percentile of {len(days)} models; announced, not actual; models still on sale "
            "are missing, so it is biased low"
        )
        rows.append(
            Row(
                provider,
                "name",
                "all providers" if provider == "all" else provider,
                "text",
                SOURCE,
                CATALOG_DATE,
                "derived",
            )
        )
        rows.append(
            Row(provider, "days", median(days), "day", SOURCE, CATALOG_DATE, "derived", tenths[0], tenths[-1], note)
        )
    return rows
