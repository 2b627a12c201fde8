"""Fit how much longer experts took in TensorRT-LLM of 2024; score with a device left out; write the table's rows.

python tools/fit_trtllm_age.py TRUTH [--write]

One factor on the experts' kernels, arithmetic and copies alike: what makes a plan of Mixtral answer as many tokens as
MLPerf inference v4.1 measured. Run after fit_serve_versions.py. Runs under a power cap are not used.
"""

from __future__ import annotations

import argparse
import csv
import datetime
from collections import defaultdict
from pathlib import Path
from statistics import median
from typing import Any

from outlay.catalog import load
from outlay.planner.run import run_plan
from outlay.resolve.serve import time as tables
from outlay.resolve.serve.time import VERSIONS
from outlay.scenario_io import scenario_from
from outlay.validate.mlperf_cases import TABLE, THROUGHPUT, TRT_SCOPE, mlperf_cases, within_promises

MODEL = "mixtral-8x7b"
NAMES = ("expert_work", "copies")
MOST, HALVINGS = 4.0, 12
SOURCE = "fit to Mixtral 8x7B of MLPerf inference v4.1, closed division; python tools/fit_trtllm_age.py TRUTH --write"
NOTE = "factor on the engine's constant: experts' grouped kernels of 2024 over those of today"


def answered(case: Any, factor: float) -> float:
    """Tokens a second where experts take `factor` as long; all of the age's constants are replaced."""
    known = tables._versions()
    kept = dict(known)
    known.update({(each, name): str(factor) for each in {s for s, _ in kept if s.startswith(TRT_SCOPE)} | {TRT_SCOPE}
                  for name in NAMES})
    try:
        if "slo" in case.scenario["serve"]:
            return within_promises(case)[0]
        return float(run_plan(scenario_from(case.scenario), load(), without=case.group).explain(THROUGHPUT).value)
    finally:
        known.clear()
        known.update(kept)


def factor_of(case: Any) -> float:
    """By halving; more time, fewer tokens."""
    low, high = 1.0 / MOST, MOST
    for _ in range(HALVINGS):
        middle = (low * high) ** 0.5
        low, high = (middle, high) if answered(case, middle) > case.measured else (low, middle)
    return (low * high) ** 0.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("truth", type=Path, help="folder of published measurements")
    parser.add_argument("--write", action="store_true", help="replace the rows of the catalogue")
    given = parser.parse_args()
    with open(given.truth / f"{TABLE}.csv", newline="", encoding="utf-8") as file:
        cases = [case for case in mlperf_cases(csv.DictReader(file)) if case.scenario["model"] == MODEL]
    by_device: dict[str, list[float]] = defaultdict(list)
    for case in cases:
        if "device_power_limit_w" not in case.scenario["fleet"]:
            by_device[case.scenario["fleet"]["device"]].append(factor_of(case))
    each = {device: median(found) for device, found in by_device.items()}
    print({device: (round(value, 3), len(by_device[device])) for device, value in each.items()})
    whole = median(each.values())
    apart = {device: median(v for d, v in each.items() if d != device) for device in each}
    for case in cases:
        device = case.scenario["fleet"]["device"]
        print(f"  {case.id}: {answered(case, apart[device]) / case.measured:.2f} with its device left out")
    if given.write:
        write(whole, apart)


def write(whole: float, apart: dict[str, float]) -> None:
    with open(VERSIONS, newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file)
                if not (row["id"].startswith(TRT_SCOPE) and row["parameter"] in NAMES)]
    today = datetime.date.today().isoformat()
    for scope, value in ((TRT_SCOPE, whole), *((f"{TRT_SCOPE}@without/{d}", v) for d, v in apart.items())):
        note = NOTE + ("" if scope == TRT_SCOPE else ", fitted without the rows of this device, for validation")
        rows += [{"id": scope, "parameter": name, "value": f"{value:.4g}", "unit": "ratio", "low": "", "high": "",
                  "source": SOURCE, "retrieved": today, "how": "derived", "note": note} for name in NAMES]
    with open(VERSIONS, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
