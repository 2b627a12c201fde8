"""How far planned fine-tunes are off measured ones, by software: the tune_memory and tune_time residuals.

    python tools/tune_residuals.py FOLDER            print every class (FOLDER holds the tables of measurements)
    python tools/tune_residuals.py FOLDER --write    put it into the catalogue

No constant of the fine-tuning model is fitted to these runs, so every error is one of a run never seen.
"""

from __future__ import annotations

import argparse
import csv
from collections import defaultdict
from pathlib import Path

import numpy as np

from outlay.catalog import load
from outlay.errors import OutlayError
from outlay.planner.run import run_plan
from outlay.scenario_io import scenario_from
from outlay.validate import tune_cases

OUT = Path(__file__).parent.parent / "src" / "outlay" / "catalog" / "data" / "tune_constants.csv"
DATE = "2026-11-23"
SOURCE = "errors against torchtune, litgpt and Qwen profiles and MLPerf Training LoRA results"
ASSUMED = {"tune_memory": (0.82, 1.15), "tune_time": (0.55, 1.9)}
SAME = {"nemo": ("nemo", "megatron", "megatron-bridge")}  # one library under several names
FEWEST = 5


def ratios(folder: Path) -> dict[str, list[float]]:
    """Measured over planned by residual name; the residual itself has the nominal value 1."""
    catalog = load()
    found: dict[str, list[float]] = defaultdict(list)
    for table in tune_cases.TABLES:
        with open(folder / f"{table}.csv", encoding="utf-8", newline="") as handle:
            rows = list(csv.DictReader(handle))
        for case in tune_cases.tune_cases(table, rows):
            try:
                planned = run_plan(scenario_from(case.scenario), catalog).explain(case.number).value
            except OutlayError as error:
                print(f"{case.id}: {error}")
                continue
            family = "tune_memory" if "memory" in case.number else "tune_time"
            found[f"{family}.{case.scenario['finetune']['framework']}"].append(case.measured / planned)
    return dict(found)


def interval(values: list[float]) -> tuple[float, float]:
    """10th and 90th percentile of a sample (Hazen positions), with 1 inside."""
    low, high = np.quantile(values, [0.1, 0.9], method="hazen")
    return min(float(low), 0.99), max(float(high), 1.01)


def residual_rows(found: dict[str, list[float]]) -> list[list[str]]:
    rows = []
    for name, values in sorted(found.items()):
        if len(values) < FEWEST:
            continue
        low, high = interval(values)
        family, _, framework = name.partition(".")
        for same in SAME.get(framework, (framework,)):
            rows.append(["residual", f"{family}.{same}", "1", "ratio", f"{low:.3f}", f"{high:.3f}", SOURCE, DATE,
                         "derived", f"10th to 90th percentile of measured over planned, {len(values)} runs"])
    for family, (low, high) in ASSUMED.items():
        rows.append(["residual", family, "1", "ratio", f"{low}", f"{high}",
                     "no measured run; a choice of this catalogue", DATE, "assumed",
                     "software without a measured run: as wide as the widest measured class"])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    rows = residual_rows(ratios(args.folder))
    for row in rows:
        print(f"{row[1]:28s} {row[4]} .. {row[5]}  {row[9]}")
    if args.write:
        with open(OUT, encoding="utf-8", newline="") as handle:
            header, *kept = csv.reader(handle)
        with open(OUT, "w", encoding="utf-8", newline="") as handle:
            writer = csv.writer(handle, lineterminator="\n")
            writer.writerow(header)
            writer.writerows([row for row in kept if row[0] != "residual"] + rows)


if __name__ == "__main__":
    main()
