"""Fit the few constants of the training-time model to published step times; report left-out errors.

    python tools/fit_time.py TRUTH_FOLDER [--fit] [--leave-out] [--write] [--rows SOURCE]
    python tools/fit_time.py TRUTH_FOLDER --residuals

Without --fit it scores the constants as shipped. A coordinate search in log space lowers the mean and median
absolute log ratio over sources; --leave-out refits with each model of a source held back and scores it there;
--write puts the constants, their spread over those refits, and the residuals into the catalogue; --residuals writes
the last alone, from plans with the refits that are there.
"""

from __future__ import annotations

import argparse
import csv
import math
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from time_bench import Bench, Keep, Key, report, show
from time_constants import CONSTANTS
from write_validation import tables_with

from outlay.catalog import load
from outlay.steps.efficiency import width_of
from outlay.validate import scoreboard
from outlay.validate.predict import predict
from outlay.validate.time_cases import TimeCase

OUT = Path(__file__).parents[1] / "src/outlay/catalog/data/efficiency_constants.csv"
HEADER = ["id", "parameter", "value", "unit", "low", "high", "source", "retrieved", "how", "note"]
DATE = "2026-11-23"
SOURCE = (
    "fit to vTrain, llm-foundry, Megatron-Bridge, SimuMax, torchtitan, MaxText, Narayanan 2021 and "
    "Korthikanti 2022 step times; python tools/fit_time.py TRUTH --fit --leave-out --write"
)
Constants = dict[Key, float]
TIME = "time "  # what the evidence of a case of the scoreboard starts with


def loss(bench: Bench, constants: Constants, keep: Keep | None = None) -> float:
    """Median and bounded mean absolute log ratio; a source on a device weighs the root of its size."""
    by_source: dict[str, list[float]] = defaultdict(list)
    for i, ratio in bench.ratios(constants, keep).items():
        case = bench.items[i][0]
        by_source[f"{case.source}/{case.device}"].append(abs(math.log(ratio)))
    weights = {name: math.sqrt(len(values)) for name, values in by_source.items()}
    scores = {name: np.mean(np.minimum(v, 0.7)) + np.median(v) for name, v in by_source.items()}
    return float(sum(weights[name] * scores[name] for name in scores) / sum(weights.values()))


def fit(
    bench: Bench,
    start: Constants,
    free: list[Key],
    keep: Keep | None = None,
    rounds: int = 3,
    step: float = 0.2,
    verbose: bool = False,
) -> Constants:
    """Coordinate search with shrinking steps inside each constant's range."""
    best, score = dict(start), loss(bench, start, keep)
    used = {key for keys in bench.used.values() for key in keys}
    for turn in range(rounds):
        for key in (key for key in free if key in used):
            for factor in (1 + step, 1 / (1 + step)):
                best, score = _walk(bench, best, score, key, factor, keep)
        if verbose:
            print(f"round {turn}: {score:.4f}", flush=True)
        step /= 2
    return best


def _walk(
    bench: Bench, best: Constants, score: float, key: Key, factor: float, keep: Keep | None
) -> tuple[Constants, float]:
    """Multiply one constant as long as that helps."""
    limits = CONSTANTS[key]
    while True:
        trial = {**best, key: min(max(best[key] * factor, limits.minimum), limits.maximum)}
        if trial[key] == best[key]:
            return best, score
        value = loss(bench, trial, keep)
        if value >= score - 1e-5:
            return best, score
        best, score = trial, value


def leave_out(
    bench: Bench, values: Constants, free: list[Key]
) -> tuple[dict[int, float], dict[str, Constants]]:
    """Refit without each (source, model), from the fit, and predict what was held back.

    A constant that only the held-back cases use goes back to its starting value.
    """
    ratios: dict[int, float] = {}
    refits: dict[str, Constants] = {}
    folds: dict[str, list[int]] = defaultdict(list)
    for i, (case, _) in enumerate(bench.items):
        folds[fold_of(case)].append(i)
    for fold, members in sorted(folds.items()):
        mine = {key for i in members for key in bench.used[i]}

        def others(case: TimeCase, fold: str = fold) -> bool:
            return fold_of(case) != fold

        kept = {key for i, (case, _) in enumerate(bench.items) if others(case) for key in bench.used[i]}
        start = {key: value if key in kept else CONSTANTS[key].value for key, value in values.items()}
        loose = [key for key in free if key in mine & kept]
        refits[fold] = fit(bench, start, loose, others, rounds=2, step=0.1)
        ratios.update(bench.ratios(refits[fold], lambda case, f=fold: fold_of(case) == f))  # type: ignore
    return ratios, refits


def fold_of(case: TimeCase) -> str:
    """What is held back together: a model within its source."""
    return f"{case.source}/{case.left_out}"


def constant_rows(values: Constants, refits: dict[str, Constants]) -> list[list[str]]:
    rows = []
    for key, constant in CONSTANTS.items():
        value = values[key]
        spread = [value, *(refit[key] for refit in refits.values())] if constant.free else [value]
        how = "derived" if constant.free else constant.how
        source = {
            "derived": SOURCE,
            "measured": "NCCL curves of aiconfigurator-core 0.12.0 (Apache-2.0, NVIDIA)",
        }
        figures = [f"{v:.5g}" for v in (value, min(spread), max(spread))]
        rows.append(
            [
                *key,
                figures[0],
                constant.unit,
                *figures[1:],
                source.get(how, "chosen, not fitted"),
                DATE,
                how,
                constant.note,
            ]
        )
    return rows


def refit_rows(values: Constants, refits: dict[str, Constants]) -> list[list[str]]:
    """Constants that came out otherwise without a group, as scope@group: validation scores with these."""
    rows = []
    for fold, refit in sorted(refits.items()):
        for (scope, name), value in refit.items():
            if value != values[scope, name]:
                figure = f"{value:.5g}"
                unit = CONSTANTS[scope, name].unit
                source = "the fit repeated without this group"
                figures = [figure, unit, figure, figure]
                rows.append([f"{scope}@{fold}", name, *figures, source, DATE, "derived", ""])
    return rows


def residual_rows(bench: Bench, ratios: dict[int, float]) -> list[list[str]]:
    """The residuals of left-out cases."""
    by_class: dict[str, list[float]] = defaultdict(list)
    for i, ratio in ratios.items():
        by_class[bench.items[i][0].evidence].append(ratio)
    return spans(by_class)


def spans(by_class: dict[str, list[float]]) -> list[list[str]]:
    """The spread of left-out measured over predicted by evidence class: what holds 80 % of them."""
    rows = []
    for name, found in sorted(by_class.items()):
        low, high = (float(edge) for edge in np.quantile(found, [0.1, 0.9]))
        note = f"10th to 90th percentile of measured over predicted, {len(found)} left-out cases"
        edges = [f"{min(low, 0.999):.4f}", f"{max(high, 1.001):.4f}"]
        rows.append(["residual", f"train_time.{name}", "1", "ratio", *edges, SOURCE, DATE, "derived", note])
    return rows


def evidence_rows(bench: Bench) -> list[list[str]]:
    """How many published steps stand behind each class on each device generation and width of arithmetic."""
    counts: dict[str, int] = defaultdict(int)
    for case, (_, hardware, recipe, _) in bench.items:
        width = width_of(recipe.precision)
        counts[f"train_time.{case.evidence}.{hardware.efficiency.generation}.{width}"] += 1
    note = "published steps of this class, generation and width of arithmetic"
    return [["evidence", name, str(n), "", "", "", SOURCE, DATE, "derived", note] for name, n in sorted(counts.items())]


def write(rows: list[list[str]]) -> None:
    with open(OUT, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(HEADER)
        writer.writerows(rows)


def shipped() -> Constants:
    """Constants as the catalogue has them, starting values where it lacks one."""
    values = {key: constant.value for key, constant in CONSTANTS.items()}
    with open(OUT, newline="") as file:
        for row in csv.DictReader(file):
            if (row["id"], row["parameter"]) in values:
                values[row["id"], row["parameter"]] = float(row["value"])
    return values


def shipped_residuals(bench: Bench, truth: Path) -> None:
    """The residuals and the counts behind them written anew: every case planned as the scoreboard plans it, with the
    constants fitted without its group."""
    with tables_with([truth]) as folder:
        cases = [case for case in scoreboard.cases(folder) if case.evidence.startswith(TIME)]
    catalog = load()
    by_class: dict[str, list[float]] = defaultdict(list)
    for case in cases:
        by_class[case.evidence.removeprefix(TIME)].append(case.measured / predict(case, catalog).value)
    with open(OUT, newline="") as file:
        kept = [row for row in list(csv.reader(file))[1:] if row[0] not in ("residual", "evidence")]
    before, after = [row for row in kept if "@" not in row[0]], [row for row in kept if "@" in row[0]]
    write(before + spans(by_class) + after + evidence_rows(bench))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("truth", type=Path)
    for name in ("--fit", "--leave-out", "--write", "--warm", "--residuals"):
        parser.add_argument(name, action="store_true")
    parser.add_argument("--rows", default="")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--single-every", type=int, default=15)
    args = parser.parse_args()
    bench = Bench(args.truth, args.single_every)
    for line in sorted(bench.failed):
        print("not made:", line)
    values = (
        shipped()
        if args.warm or not args.fit
        else {key: constant.value for key, constant in CONSTANTS.items()}
    )
    if args.rows:
        show(bench, values, args.rows)
        return
    if args.residuals:
        shipped_residuals(bench, args.truth)
        return
    free = [key for key, constant in CONSTANTS.items() if constant.free]
    bench.ratios(values)
    if args.fit:
        values = fit(bench, values, free, rounds=args.rounds, verbose=True)
        for key in free:
            print(f"{key[0]:24s} {key[1]:28s} {values[key]:.5g}")
    report(bench, bench.ratios(values))
    ratios, refits = leave_out(bench, values, free) if args.leave_out else ({}, {})
    if ratios:
        print("left out: each model of a source predicted by constants fitted without it")
        report(bench, ratios)
    if args.write:
        rows = constant_rows(values, refits) + residual_rows(bench, ratios) + refit_rows(values, refits)
        write(rows + evidence_rows(bench))


if __name__ == "__main__":
    main()
