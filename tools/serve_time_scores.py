"""What the fit of the serving time model reports and writes: scores, residuals of left-out groups, tables."""

from __future__ import annotations

import csv
import datetime
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np

from outlay.catalog import load
from outlay.resolve.serve import time as tables_read
from outlay.resolve.serve.time import CONSTANTS, GROUPS, LEFT_OUT
from outlay.scenario_io import scenario_from
from outlay.validate.serve_time_cases import asked, group_of

SOURCE = "fit to AIConfigurator silicon, Splitwise and TensorRT-LLM overview rows; tools/fit_serve_time.py TRUTH"
TODAY = datetime.date.today().isoformat()
SHAPES = ("dense", "moe", "mla")
FEW = 30  # rows below which a kind of model has no percentiles of its own
COLUMNS = ["id", "parameter", "value", "unit", "low", "high", "source", "retrieved", "how", "note"]


def report(title: str, items: list[Any], found: dict[str, Any]) -> None:
    print(f"-- {title}")
    classes: dict[str, list[int]] = defaultdict(list)
    for place, item in enumerate(items):
        case = item.case
        kind = case["kind"] if case["kind"] in ("agg", "disagg") else "static" if "static" in case["kind"] else \
            "queued" if "offline" in case["kind"] else "steady"
        shape = case["shape"]
        classes[f"{kind} {shape}"].append(place)
        if kind == "agg":
            classes["agg all"].append(place)
            classes["agg engine " + case["engine"]].append(place)
            classes["agg device " + case["device"]].append(place)
            classes["agg model " + case["model"]].append(place)
        if kind == "disagg":
            classes["disagg all"].append(place)
    for name, places in sorted(classes.items()):
        line = f"{name:34s} n={len(places):4d}"
        for number in ("tpot_s", "ttft_s", "output_tokens_per_s"):
            seen = np.array([items[i].case["measured"].get(number, np.nan) for i in places])
            ratio = found[number][places] / seen
            ratio = ratio[np.isfinite(ratio)]
            if len(ratio):
                e = np.abs(ratio - 1)
                middle, high, bias = np.median(e), np.quantile(e, 0.9), np.median(ratio)
                line += f" | {number[:6]} {middle:6.1%} p90 {high:6.1%} bias {bias:5.2f}"
        print(line)


def residuals(ratios: Callable[[str, str], Any], scope: str, what: str, tail: str = "") -> list[list[str]]:
    """Measured over predicted of a group left out, 10th to 90th percentile: what intervals are.

    A kind of model with too few rows of its own takes those of all kinds.
    """
    rows = []
    for shape in SHAPES:
        for number in ("tpot_s", "ttft_s", "output_tokens_per_s"):
            ratio, note = ratios(number, shape), what
            if len(ratio) < FEW:
                ratio = np.concatenate([ratios(number, s) for s in SHAPES])
                note += "; too few rows of this kind, all kinds"
            low, value, high = np.quantile(ratio, (0.1, 0.5, 0.9))
            span = [f"{value:.4g}", "ratio", f"{low:.4g}", f"{high:.4g}"]
            rows.append([f"residual.{scope}", f"{number}.{shape}{tail}", *span, SOURCE, TODAY, "derived",
                         f"measured over predicted, {note}, {len(ratio)} rows"])
    return rows


def age_residuals(items: list[Any], found: dict[str, Any], what: str, tail: str = "") -> list[list[str]]:
    """The same of engines of an age that was measured, which are of one kind of model and of one kind of load.

    Its only model left out is the whole age left out (`tail` says so); another device's rows tell how an age was.
    """
    rows = []
    for engine in sorted({i.case["engine"] for i in items if "@" in i.case["engine"] and i.weight > 0.0}):
        for number in ("tpot_s", "ttft_s"):
            ratio = np.array([i.case["measured"][number] / found[number][place] for place, i in enumerate(items)
                              if i.case["engine"] == engine and number in i.case["measured"]])
            low, value, high = np.quantile(ratio[np.isfinite(ratio)], (0.1, 0.5, 0.9))
            span = [f"{value:.4g}", "ratio", f"{low:.4g}", f"{high:.4g}"]
            note = f"measured over predicted, {what}, {len(ratio)} rows"
            rows += [[f"residual.{engine}{tail}", f"{number}.{shape}", *span, SOURCE, TODAY, "derived", note]
                     for shape in SHAPES]
    return rows


def pool_ratios(items: list[Any], what: str) -> Callable[[str, str], Any]:
    """Measured over planned, of two pools whose replicas are told: how prompts wait for a pool is the planner's."""
    from outlay.planner.run import run_plan

    catalog, found = load(), defaultdict(list)
    for item in items:
        case = item.case
        if case["kind"] != "disagg" or not case["told"]:
            continue
        group = f"{GROUPS}{what}/{group_of(case, what)}"
        result = run_plan(scenario_from(asked(case["scenario"])), catalog, without=group)
        for number, seen in with_throughput(case).items():
            found[number, case["shape"]].append(seen / result.explain(f"serve.{number}").value)
    return lambda number, shape: np.array(found[number, shape])


def with_throughput(case: dict[str, Any]) -> dict[str, float]:
    """What was measured, and the throughput that a closed loop's own latencies tell where the table prints none."""
    seen, work = dict(case["measured"]), case["scenario"]["serve"]["workload"]
    if "output_tokens_per_s" not in seen and {"tpot_s", "ttft_s"} <= set(seen) and "concurrency" in work:
        stay = seen["ttft_s"] + (work["output"] - 1) * seen["tpot_s"]
        seen["output_tokens_per_s"] = work["concurrency"] * work["output"] / stay
    return seen


def ratios_of(items: list[Any], found: dict[str, Any]) -> Callable[[str, str], Any]:
    """Measured over predicted, of one pool, by number and kind of model.

    Throughput is that of everything queued at once, which is what a replica sustains; a loop's follows from its times.
    """

    def ratios(number: str, shape: str) -> Any:
        ratio = [
            item.case["measured"][number] / found[number][place]
            for place, item in enumerate(items)
            if item.case["shape"] == shape and item.first is None and number in item.case["measured"]
            and (item.load.kind == "queued" if number == "output_tokens_per_s" else item.load.kind == "closed")
        ]
        return np.array([r for r in ratio if np.isfinite(r)])

    return ratios


def write(table: dict[tuple[str, str], float], base: dict[str, Any], extra: list[list[str]]) -> None:
    with open(CONSTANTS, "w", newline="", encoding="utf-8") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(COLUMNS)
        for (scope, name), value in table.items():
            unit = base[name][1] if scope == "all" else "ratio"
            wide = 1.15 if scope == "all" else 1.0
            note = base[name][3] if scope == "all" else "factor on that of all"
            span = [f"{value / wide:.4g}", f"{value * wide:.4g}"]
            out.writerow([scope, name, f"{value:.4g}", unit, *span, SOURCE, TODAY, "derived", note])
        out.writerows(extra)


def write_left_out(tables: dict[str, dict[tuple[str, str], float]]) -> None:
    with open(LEFT_OUT, "w", newline="", encoding="utf-8") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(["id", "parameter", "value"])
        for group, table in tables.items():
            out.writerows([f"{scope}@without/{group}", name, f"{value:.4g}"] for (scope, name), value in table.items())


def pools_like(extra: list[list[str]]) -> list[list[str]]:
    """Rows that stand in for those of two pools until these are known."""
    return [[row[0], row[1] + ".pools", *row[2:]] for row in extra]


def forget() -> None:
    """What was read of the tables before they were written."""
    for kept in (tables_read._rows, tables_read._left_out, tables_read._spans):
        kept.cache_clear()
