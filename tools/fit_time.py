"""Fit the few constants of the training-time model to published step times; report left-out errors.

    python tools/fit_time.py TRUTH_FOLDER [--fit] [--leave-out] [--write] [--rows SOURCE]

Without --fit it scores the shipped constants. A coordinate search in log space lowers the mean of per-source
median and mean absolute log ratios; --leave-out refits with each model (or device) of a source held back and
scores it there; --write puts constants with their left-out spread into the catalogue.
"""

from __future__ import annotations

import argparse
import csv
import math
import statistics
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from time_constants import CONSTANTS, Constant

from outlay.catalog import load
from outlay.catalog.utilization import matmul_grids
from outlay.readers import architecture_from_mapping
from outlay.steps.efficiency import device_efficiency
from outlay.steps.inputs import Hardware, Layout, Recipe
from outlay.steps.train_time import train_time
from outlay.validate.time_cases import ADAPTERS, TimeCase, time_cases

OUT = Path(__file__).parents[1] / "src/outlay/catalog/data/efficiency_constants.csv"
LAYOUT_FIELDS = ("tensor", "pipeline", "data", "context", "expert", "expert_tensor", "virtual_pipeline", "shard", "micro_batch",
                 "sequence_parallel", "zero", "recompute", "schedule", "first_stage_layers", "last_stage_layers")
PEAKS = {"fp8": "peak_fp8_flop_per_s", "mxfp8": "peak_fp8_flop_per_s", "nvfp4": "peak_fp4_flop_per_s"}


def architecture(model: Any) -> Any:
    cat = load()
    if isinstance(model, str):
        model = {"name": model}
    fields = dict(model)
    if "name" in fields:
        from outlay.readers import mapping_from_entry

        name = fields.pop("name")
        fields = {**mapping_from_entry(cat.find("model", name, "model")), **fields}
    return architecture_from_mapping(fields, str(model)[:40])[0]


def hardware(fleet: dict[str, Any], precision: str) -> Hardware:
    entry = load().find("device", fleet["device"], "fleet.device")
    value = entry.value
    bf16 = value("peak_bf16_flop_per_s")
    rated = value("power_w")
    family = str(value("utilization_family"))
    efficiency = device_efficiency(family, str(value("vendor")), matmul_grids(family), {k: c.value for k, c in CONSTANTS.items()})
    return Hardware(device=entry.id, vendor=value("vendor"), peak_flop_per_s=value(PEAKS.get(precision, ""), bf16) or bf16,
                    peak_flop_per_s_16bit=bf16, memory_bytes=value("memory_bytes"), memory_bytes_per_s=value("memory_bytes_per_s"),
                    devices=fleet["devices"], devices_per_node=int(value("devices_per_node") or 8),
                    scale_up_devices=int(fleet.get("scale_up_devices") or value("scale_up_devices") or 8),
                    fast_bytes_per_s=value("link_bytes_per_s"), slow_bytes_per_s=value("inter_node_bytes_per_s"),
                    host_link_bytes_per_s=value("host_link_bytes_per_s", 25e9), host_memory_bytes=1e12, power_w=rated,
                    power_limit_ratio=fleet.get("device_power_limit_w", rated) / rated, efficiency=efficiency)


def problem(case: TimeCase) -> tuple[Any, Hardware, Recipe, Layout] | None:
    pre = dict(case.scenario["pretrain"])
    laid = pre.pop("layout", None)
    if laid is None:
        return None
    names = ("sequence_length", "global_batch", "precision", "framework", "attention", "compile", "fused_cross_entropy")
    zero = laid.get("zero", 0)
    recipe = Recipe(**{k: pre[k] for k in names if k in pre}, gradient_bytes=2.0 if zero >= 2 or pre["framework"] == "deepspeed" else 4.0)
    layout = Layout(**{k: v for k, v in laid.items() if k in LAYOUT_FIELDS})
    return architecture(case.scenario["model"]), hardware(case.scenario["fleet"], recipe.precision), recipe, layout


class Bench:
    """Cases made ready once; step times under any constants."""

    def __init__(self, truth: Path, single_every: int = 1) -> None:
        self.items: list[tuple[TimeCase, tuple[Any, Hardware, Recipe, Layout]]] = []
        self.failed: list[str] = []
        for table in ADAPTERS:
            with open(truth / f"{table}.csv", newline="") as file:
                cases = time_cases(table, list(csv.DictReader(file)))
            if table == "vtrain_single":
                cases = cases[::single_every]
            for case in median_of_repeats(cases):
                try:
                    made = problem(case)
                except Exception as error:  # a model not in the catalogue yet
                    self.failed.append(f"{table}: {case.scenario['model']}: {error}"[:150])
                    continue
                if made:
                    self.items.append((case, made))

    def ratios(self, constants: dict[tuple[str, str], float], keep: Any = None) -> dict[int, float]:
        """measured over predicted, by item number."""
        found = {}
        for i, (case, (arch, hw, recipe, layout)) in enumerate(self.items):
            if keep is None or keep(case):
                found[i] = case.step_time_s / float(self.predict(i, constants)["step_time_s"])
        return found

    def predict(self, i: int, constants: dict[tuple[str, str], float]) -> dict[str, Any]:
        arch, hw, recipe, layout = self.items[i][1]
        import dataclasses

        hw = dataclasses.replace(hw, efficiency=hw.efficiency.with_constants(constants))
        return train_time(arch, hw, recipe, layout)


def median_of_repeats(cases: list[TimeCase]) -> list[TimeCase]:
    groups: dict[str, list[TimeCase]] = defaultdict(list)
    for case in cases:
        groups[case.repeat_key].append(case)
    import dataclasses

    return [dataclasses.replace(g[0], step_time_s=statistics.median(c.step_time_s for c in g)) for g in groups.values()]


def loss(bench: Bench, constants: dict[tuple[str, str], float], keep: Any = None) -> float:
    by_source: dict[str, list[float]] = defaultdict(list)
    for i, ratio in bench.ratios(constants, keep).items():
        case = bench.items[i][0]
        by_source[f"{case.source}/{case.device}"].append(abs(math.log(ratio)))
    return sum(math.sqrt(len(v)) * (np.mean(np.minimum(v, 0.7)) + np.median(v)) for v in by_source.values()) / sum(
        math.sqrt(len(v)) for v in by_source.values())


def fit(bench: Bench, start: dict[tuple[str, str], float], free: list[tuple[str, str]], keep: Any = None, rounds: int = 3,
        verbose: bool = False) -> dict[tuple[str, str], float]:
    """Coordinate search with shrinking steps inside each constant's range."""
    best = dict(start)
    score = loss(bench, best, keep)
    step = 0.2
    for turn in range(rounds):
        for key in free:
            limits = CONSTANTS[key]
            for factor in (1 + step, 1 / (1 + step)):
                while True:
                    trial = {**best, key: min(max(best[key] * factor, limits.minimum), limits.maximum)}
                    if trial[key] == best[key]:
                        break
                    value = loss(bench, trial, keep)
                    if value >= score - 1e-5:
                        break
                    best, score = trial, value
        if verbose:
            print(f"round {turn}: {score:.4f}", {k: round(v, 6) for k, v in best.items() if k in free}, flush=True)
        step /= 2
    return best


def report(bench: Bench, ratios: dict[int, float], by: str = "source") -> None:
    groups: dict[str, list[float]] = defaultdict(list)
    for i, r in ratios.items():
        case = bench.items[i][0]
        groups[case.source].append(1 / r)
        groups[f"{case.source}/{case.device}"].append(1 / r)
    print(f"{'source':42s} {'n':>4s} {'median':>7s} {'mean':>7s} {'p90':>7s} {'bias':>7s}")
    for name, v in sorted(groups.items()):
        e = [abs(x - 1) for x in v]
        print(f"{name:42s} {len(v):4d} {100*np.median(e):6.1f}% {100*np.mean(e):6.1f}% {100*np.quantile(e,.9):6.1f}% {100*(np.median(v)-1):+6.1f}%")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("truth", type=Path)
    parser.add_argument("--fit", action="store_true")
    parser.add_argument("--leave-out", action="store_true")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--rows", default="")
    parser.add_argument("--single-every", type=int, default=15)
    args = parser.parse_args()
    bench = Bench(args.truth, args.single_every)
    for line in sorted(set(bench.failed)):
        print("not made:", line)
    values = {key: c.value for key, c in CONSTANTS.items()}
    if args.rows:
        show(bench, values, args.rows)
        return
    if args.fit:
        free = [k for k, c in CONSTANTS.items() if c.free]
        values = fit(bench, values, free, verbose=True)
    report(bench, bench.ratios(values))


def show(bench: Bench, values: dict[tuple[str, str], float], source: str) -> None:
    from outlay.steps.train_time import PARTS

    for i, (case, (arch, hw, recipe, lay)) in enumerate(bench.items):
        if case.source.startswith(source):
            t = bench.predict(i, values)
            step = float(t["step_time_s"])
            parts = " ".join(f"{p[:-2][:9]}={100*float(t[p])/step:.0f}" for p in PARTS if float(t[p]) / step > 0.004)
            print(f"{case.left_out[:26]:26s} {case.device[:6]:6s} n{hw.devices:<5d} t{lay.tensor} p{lay.pipeline} v{lay.virtual_pipeline} d{lay.data} "
                  f"c{lay.context} e{lay.expert} mb{lay.micro_batch} gb{recipe.global_batch} s{recipe.sequence_length} {recipe.precision} z{lay.zero} "
                  f"{lay.recompute[:4]} {case.step_time_s:8.3f} {step/case.step_time_s:5.2f} | {parts}")


if __name__ == "__main__":
    main()
