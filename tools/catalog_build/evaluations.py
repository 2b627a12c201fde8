"""What one run of an evaluation suite costs for one model."""

from __future__ import annotations

from pathlib import Path

from catalog_build.common import Row, shippable

KIND = "evaluation"
HAL_MODELS = 9  # the sweep's price is for nine models on nine benchmarks
SUITES = (
    # id, name, row, parameter, unit, divided by
    ("helm", "HELM", "HELM full run per model", "usd", "usd", 1),
    ("hal", "Holistic Agent Leaderboard", "Holistic Agent Leaderboard sweep", "usd", "usd", HAL_MODELS),
    ("gaia", "GAIA", "GAIA single frontier run", "usd", "usd", 1),
    ("paperbench", "PaperBench", "PaperBench evaluation", "usd", "usd", 1),
    ("mle-bench", "MLE-bench", "MLE-bench one seed 75 competitions", "device_hours", "h", 1),
)


def build(data_dir: Path, models_dir: Path) -> list[Row]:
    raw = {row["item"]: row for row in shippable(data_dir / "people_and_process_costs.csv")}
    rows = []
    for me, name, item, parameter, unit, parts in SUITES:
        row = raw[item]
        low, value, high = (float(row[k]) / parts for k in ("low", "typical", "high"))
        source, when = row["verified_from"], row["year"]
        certain = low == high
        note = "; ".join(filter(None, (f"{item}, {row['unit']}", row["notes"])))
        rows.append(Row(me, "name", name, "text", source, when, "published"))
        rows.append(
            Row(
                me,
                parameter,
                value,
                unit,
                source,
                when,
                "derived" if parts > 1 else "published",
                None if certain else low,
                None if certain else high,
                note,
            )
        )
    return rows
