"""Copy the published training costs that may be redistributed and say how long they ran on what.

    python tools/build_cost_cases.py DATA_FOLDER
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

OUT = Path(__file__).parents[1] / "src" / "outlay" / "validate" / "cases" / "training_costs.csv"
COLUMNS = ("model", "published", "hardware", "hardware_quantity", "training_hours", "cost_2023usd_amortised",
           "cost_cloud", "cost_upfront_hardware", "source")
COSTS = COLUMNS[5:8]


def main() -> None:
    folder = Path(sys.argv[1])
    with open(folder / "notable_models_epoch.csv", encoding="utf-8", newline="") as handle:
        rows = [r for r in csv.DictReader(handle) if _told(r)]
    with open(OUT, "w", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, COLUMNS, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows({**row, "source": f"{row['source']} ({row['licence']})"} for row in rows)
    print(f"training_costs: {len(rows)} rows")


def _told(row: dict[str, str]) -> bool:
    """May be shipped, says what it ran on and for how long, and prints a cost."""
    named = row["hardware"] and "," not in row["hardware"]
    ran = row["hardware_quantity"] and row["training_hours"] and row["run_details_blanked"] != "yes"
    return bool(row["ship"] == "yes" and named and ran and any(row[c] for c in COSTS))


if __name__ == "__main__":
    main()
