"""Who trains notable models and with how much compute, year by year; the frontier's ticket; accelerator stock.

Distilled from Epoch AI's tables (CC-BY 4.0): sums by organisation and year, never the tables themselves.
"""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

from catalog_build.common import CATALOG_DATE, Row, shippable
from outlay.valuation.concentration import gini, hhi, shares

KIND = "concentration"
MODELS = "Epoch AI, notable models, 2025-11-01 and 2026-04-22, CC-BY 4.0, epoch.ai/data"
SINCE, LEAST = 2015, 5  # fewer models of one year say nothing of shares
STOCK = (
    # metric as the raw table names it -> id, parameter, unit
    ("CR4 AI compute owners", "accelerator-stock", "cr4", ""),
    ("HHI named owners", "accelerator-stock", "hhi", ""),
    ("HHI of tracked clusters by country", "clusters-by-country", "hhi", ""),
    ("HHI of tracked clusters by owner", "clusters-by-owner", "hhi", ""),
    ("private share of tracked cluster compute", "clusters-by-owner", "private_share", ""),
    ("frontier training cost growth", "frontier-ticket", "growth_per_year", ""),
    ("ML GPU price-performance growth", "hardware", "price_performance_growth_per_year", ""),
    ("cost of fixed capability", "fixed-capability", "cheaper_per_year", ""),
    ("price of GPT-3.5-level tokens", "fixed-capability-tokens", "cheaper", ""),
    ("academics with zero cloud budget", "academia", "no_cloud_budget_share", ""),
)
INTERVALS = {"frontier training cost growth": (2.08, 2.78)}  # 80 % from the 90 % interval 2.0-2.9


def build(data_dir: Path, models_dir: Path) -> list[Row]:
    models = [row for row in shippable(data_dir / "notable_models_epoch.csv") if row["published"][:4].isdigit()]
    rows: list[Row] = []
    for year in sorted({row["published"][:4] for row in models}):
        mine = [row for row in models if row["published"][:4] == year and row["training_flop"]]
        if int(year) >= SINCE and len(mine) >= LEAST:
            rows += _year(year, mine)
    return rows + _measured(data_dir)


def _year(year: str, models: list[dict[str, str]]) -> list[Row]:
    """Shares of the year's training compute by organisation (the first named), and the dearest run."""
    flop: dict[str, float] = defaultdict(float)
    country: dict[str, float] = defaultdict(float)
    for row in models:
        flop[row["organization"].split(",")[0].strip()] += float(row["training_flop"])
        country[row["country"].split(",")[0].strip() or "unknown"] += float(row["training_flop"])
    me, amounts = f"notable-training-{year}", list(flop.values())
    top = sorted(flop.items(), key=lambda pair: -pair[1])[:4]

    def number(parameter: str, value: float, unit: str = "", note: str = "") -> Row:
        return Row(me, parameter, value, unit, MODELS, CATALOG_DATE, "derived", note=note)

    found = [
        Row(me, "name", f"training compute of notable models, {year}", "text", MODELS, CATALOG_DATE, "derived"),
        number("year", float(year)), number("models", float(len(models))), number("organisations", float(len(flop))),
        number("training_flop", sum(amounts), "flop", "of those with a known compute: a lower bound"),
        number("top_share", shares(amounts)[0]), number("cr4", sum(shares(amounts)[:4])),
        number("hhi", hhi(amounts)), number("gini", gini(amounts)), number("hhi_country", hhi(list(country.values()))),
        Row(me, "top", "|".join(f"{name} {100 * value / sum(amounts):.0f} %" for name, value in top), "list", MODELS,
            CATALOG_DATE, "derived"),
    ]
    priced = [(float(row["cost_2023usd_amortised"]), row["model"]) for row in models if row["cost_2023usd_amortised"]]
    if priced:
        cost, model = max(priced)
        found.append(number("ticket_usd", cost, "usd", f"dearest final run of the year, amortised, 2023 USD: {model}"))
    return found


def _measured(data_dir: Path) -> list[Row]:
    """Single measurements of stock, clusters and the two curves."""
    table = {row["metric"]: row for row in shippable(data_dir / "access_metrics.csv")}
    found: dict[str, list[Row]] = defaultdict(list)
    for start, me, parameter, unit in STOCK:
        row = next(r for name, r in table.items() if name.startswith(start))
        low, high = INTERVALS.get(start, (None, None))
        note = "; ".join(filter(None, (row["as_of"], row["notes"])))
        how = "derived" if row["computed_or_quoted"] == "computed" else "published"
        value = float(row["value"])
        found[me].append(Row(me, parameter, value, unit, row["source"], CATALOG_DATE, how, low, high, note))
    stock = table[next(n for n in table if n.startswith("CR4"))]
    held = re.findall(r"(Google|Microsoft|Amazon|Meta) ([\d.]+)", stock["notes"])
    found["accelerator-stock"].append(Row("accelerator-stock", "top", "|".join(f"{n} {v} %" for n, v in held), "list",
                                          stock["source"], CATALOG_DATE, "derived"))
    named = {me: Row(me, "name", me.replace("-", " "), "text", rows[0].source, CATALOG_DATE, "derived")
             for me, rows in found.items()}
    return [row for me, rows in found.items() for row in (named[me], *rows)]
