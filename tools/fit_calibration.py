"""How the spread of left-out errors divides between groups, loads and runs: python tools/fit_calibration.py TRUTH.

What `outlay calibrate` makes of a few runs rests on five numbers (`physics.calibration.Spreads`, as shares of the
residual that a plan has anyway). They are chosen from a few on published runs of models left out of the time model's
fit, a group being a model on a device with an engine: from one, three or eight runs of a group the others are
predicted, and the narrowest choice whose intervals hold 80 % of them is taken. What is reported is of models that had
no part in choosing. `--write` writes the catalogue's rows.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import math
from collections import defaultdict
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from outlay.catalog import load
from outlay.catalog.store import DATA
from outlay.errors import OutlayError
from outlay.physics.calibration import Spreads, load_point, posterior
from outlay.planner.serve.factors import serve_factors
from outlay.resolve import resolve
from outlay.resolve.own_runs import LOAD
from outlay.resolve.serve.time import GROUPS
from outlay.scenario_io import scenario_from
from outlay.validate.latency_cases import latency_case, merge_copies
from outlay.validate.serve_time_cases import asked, group_of

TABLE = "aiconfigurator_silicon"
EVERY = 2  # of the table's rows
NUMBERS = ("tpot_s", "ttft_s", "output_tokens_per_s")
RUNS = (1, 3, 8)
SPLITS = ((0.4, 0.85, 0.35), (0.5, 0.8, 0.35), (0.5, 0.75, 0.43), (0.6, 0.7, 0.4))  # group, load, run
WIDER = (1.0, 1.15, 1.3)  # all three: at one their squares add to that of the residual
ALIKE, FREEDOM = (1.0, 2.0, 4.0), 2.0
HOLDS = 0.8
DRAWN = 10  # sets of runs drawn of each group
Z_EDGE = 1.2815515655446004
SOURCE = "AIConfigurator silicon, runs of models left out of the fit; tools/fit_calibration.py TRUTH"
NAMES = {"group": "of the residual's spread, what a model, device and engine have in common",
         "load": "of the residual's spread, what loads alike share",
         "run": "of the residual's spread, what one run adds",
         "alike": "distance of loads, in logarithms, at which what they share falls to 1/e",
         "freedom": "degrees of freedom of the offset's Student's t: some groups are farther off than a normal law has"}


def gathered(truth: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """Measured over modelled with the model left out, by number and group: ratios, points, the prior."""
    catalog = load()
    (path,) = truth.rglob(f"{TABLE}.csv")
    with open(path, newline="", encoding="utf-8") as file:
        rows = merge_copies(list(csv.DictReader(file)))
    found: dict[tuple[str, str], dict[str, Any]] = defaultdict(lambda: {"ratios": [], "points": []})
    for row in rows[::EVERY]:
        one = latency_case(TABLE, row)
        if one["kind"] != "agg":
            continue
        try:
            left = f"{GROUPS}model/{group_of(one, 'model')}"
            resolved = resolve(scenario_from(asked(one["scenario"])), catalog, left)
            factors = serve_factors(resolved, one["measured"])
        except OutlayError:
            continue
        point = load_point(*(factors.load[name] for name in LOAD))
        for number, ratio in factors.ratios.items():
            kept = found[number, " ".join(factors.key)]
            kept["ratios"].append(ratio)
            kept["points"].append(point)
            kept |= {"prior": factors.prior[number], "left": group_of(one, "model")}
    return {key: kept for key, kept in found.items() if len(kept["ratios"]) >= 4}


def predicted(kept: dict[str, Any], split: tuple[float, ...], alike: float) -> list[tuple[Any, ...]]:
    """Runs left out of a group from others of it, those most alike or any: errors before and after, inside, width."""
    low, middle, high = kept["prior"]
    wide = math.log(high / low) / (2 * Z_EDGE)
    spreads = Spreads(*(share * wide for share in split), alike, FREEDOM)
    ratios, points = np.array(kept["ratios"]), np.array(kept["points"])
    rng, rows = np.random.default_rng(7), []
    for near, count in product((True, False), RUNS):
        if len(ratios) <= count:
            continue
        for _ in range(DRAWN):
            target = int(rng.integers(len(ratios)))
            others = rng.permutation([i for i in range(len(ratios)) if i != target])
            if near:
                others = others[np.argsort([np.linalg.norm(points[i] - points[target]) for i in others], kind="stable")]
            chosen = others[:count]
            at, seen = tuple(points[target]), float(ratios[target])
            got = posterior(list(ratios[chosen]), [tuple(points[i]) for i in chosen], at, middle, spreads)
            before = min(max(1.0, low), high)
            rows.append((near, count, abs(before / seen - 1), abs(got.value / seen - 1), got.low <= seen <= got.high,
                         math.log(got.high / got.low) / (2 * Z_EDGE * wide)))
    return rows


def report(rows: dict[str, list[tuple[Any, ...]]]) -> None:
    for number, all_of in rows.items():
        for near, count in product((True, False), RUNS):
            mine = [row for row in all_of if row[0] is near and row[1] == count]
            if mine:
                before, after, inside, width = (np.array([row[i] for row in mine], dtype=float) for i in (2, 3, 4, 5))
                print(f"{number:20s} {count} runs {'most alike' if near else 'any':10s} n={len(mine):4d} median error "
                      f"{np.median(before):6.1%} → {np.median(after):6.1%}, p90 {np.quantile(before, .9):6.1%} → "
                      f"{np.quantile(after, .9):6.1%}, inside {inside.mean():4.0%}, width {width.mean():.2f} of it")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("truth", type=Path)
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    data = gathered(given.truth)
    print(f"{sum(len(k['ratios']) for k in data.values())} numbers of {len(data)} groups")
    splits = [tuple(round(share * wider, 3) for share in split) for split, wider in product(SPLITS, WIDER)]
    tried = {(split, alike): {key: predicted(kept, split, alike) for key, kept in data.items()}
             for split, alike in product(splits, ALIKE)}

    def score(choice: Any, left: str) -> tuple[float, float]:
        """How far short of 80 % the intervals hold runs of models other than the one left out, then their width."""
        mine = [row for key, rows in tried[choice].items() if data[key]["left"] != left for row in rows]
        inside, width = (float(np.mean([row[i] for row in mine])) for i in (4, 5))
        return max(HOLDS - inside, 0.0), width

    apart: dict[str, list[tuple[Any, ...]]] = {number: [] for number in NUMBERS}
    for left in sorted({kept["left"] for kept in data.values()}):
        best = min(tried, key=lambda choice: score(choice, left))
        print(f"without {left}: {best}")
        for key, rows in tried[best].items():
            if data[key]["left"] == left:
                apart[key[0]] += rows
    report(apart)
    best = min(tried, key=lambda choice: score(choice, ""))
    print("of all:", best, score(best, ""))
    if given.write:
        today = datetime.date.today().isoformat()
        with open(DATA / "calibration.csv", "w", newline="", encoding="utf-8") as file:
            out = csv.writer(file, lineterminator="\n")
            out.writerow(["id", "parameter", "value", "unit", "low", "high", "source", "retrieved", "how", "note"])
            for (name, note), value in zip(NAMES.items(), (*best[0], best[1], FREEDOM), strict=True):
                unit = "count" if name == "freedom" else "ratio"
                out.writerow(["shares", name, f"{value:g}", unit, "", "", SOURCE, today, "derived", note])


if __name__ == "__main__":
    main()
