"""Fit the constants of device power to measured serving, leaving groups out; score; write the table.

python tools/fit_power.py TRUTH [--write]

Two tables of measured accelerator power: mean watts of steady-state serving (H100, B200) and the mean share of
rated power over static batches (A100). What arithmetic and memory do in each
phase is `steps.serve.power` at the measured throughput, so times are not what is scored here.
"""

from __future__ import annotations

import argparse
import csv
import datetime
from collections import defaultdict
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from msgspec import Struct

from outlay.catalog import load
from outlay.catalog.store import DATA
from outlay.errors import OutlayError
from outlay.physics import power as pw
from outlay.resolve import resolve
from outlay.resolve.serve.time import time_constants, time_device
from outlay.scenario_io import scenario_from
from outlay.steps.serve.inputs import ServeLayout
from outlay.steps.serve.power import NARROW_BYTES, phases
from outlay.steps.serve.time_inputs import EngineTime, Load
from outlay.validate.latency_cases import latency_case
from outlay.validate.power_cases import PROMPTS, energy_scenario, power_share, task

CONSTANTS = DATA / "power_constants.csv"
# name: (start, what it is)
BASE = {
    "ceiling_share": (0.96, "mean power under full work over rated power"),
    "compute_weight": (1.7, "power level per share of dense peak to its exponent"),
    "compute_exponent": (0.64, "power level grows with the share of dense peak to this power"),
    "memory_weight": (0.7, "power level at full memory bandwidth"),
    "memory_exponent": (0.5, "power level grows with the share of bandwidth to this power"),
    "busy_plain": (0.29, "power level that experts of 16-bit weights add on one tensor rank"),
    "busy_narrow": (0.77, "power level that experts of 8-bit and narrower weights add on one tensor rank"),
    "split_exponent": (0.5, "what experts add falls with the tensor degree to this power"),
}
NAMES = tuple(BASE)
WHAT_SOURCE = ("fit to mean accelerator power of serving (ML.ENERGY leaderboard v3; Splitwise, ISCA 2024); "
               "python tools/fit_power.py TRUTH --write")
LONG_PROMPT = 4096  # from here the static table's mean share drops below that of its own answers
SCALE = 0.1  # error from which on a row counts linearly
PRIOR = 0.3  # deviation of a constant's logarithm from its start


class Sample(Struct, frozen=True):
    """A measured share of rated power, and what the device did: (share of time, compute, memory) by phase."""

    model: str
    device: str
    source: str
    spent: tuple[tuple[float, float, float], ...]
    expert_bytes: float  # 0 without experts
    tensor: int
    measured: float


def build(scenario: dict[str, Any], engine_id: str, rate: float, running: float, kind: str, kept: dict[Any, Any],
          catalog: Any) -> tuple[Any, ...]:
    """Architecture and phases of a measured run."""
    serve, fleet = scenario["serve"], scenario["fleet"]
    key = (scenario["model"], serve["precision"], fleet["device"])
    if key not in kept:
        plain = {n: serve[n] for n in ("engine", "engine_version", "precision") if n in serve} | {"tensor": 1}
        kept[key] = (resolve(scenario_from({**scenario, "serve": plain}), catalog),
                     time_device(catalog.find("device", fleet["device"])))
    resolved, device = kept[key]
    recipe, arch = resolved.serve.recipe, resolved.architecture
    number = lambda x: float(getattr(x, "value", x))  # noqa: E731
    engine = EngineTime({k: number(v) for k, v in recipe.part_bytes.items()}, number(recipe.cache_bytes),
                        time_constants(engine_id, device.generation))
    tensor, data = int(serve["tensor"]), int(serve.get("data", 1))
    layout = ServeLayout(tensor, int(serve.get("pipeline", 1)), min(int(serve["expert"]), tensor * data), data)
    work = serve["workload"]
    load_ = Load(kind, work["input"], work["output"], running)
    spent, _ = phases(arch, device, engine, layout, load_, rate, running)
    moe = any(layer.mlp == "moe" for layer, _ in arch.groups)
    return (tuple((float(p.share), float(p.compute), float(p.memory)) for p in spent.values()),
            engine.part_bytes["experts"] if moe else 0.0, tensor)


def serving(path: Path, catalog: Any, kept: dict[Any, Any]) -> list[Sample]:
    found: list[Sample] = []
    with open(path, newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if task(row) not in PROMPTS:
                continue
            scenario = energy_scenario(row)
            try:
                parts = build(scenario, "vllm", float(row["output_tok_s_total"]), float(row["batch"]), "closed", kept,
                              catalog)
            except OutlayError:
                continue
            model = catalog.find("model", row["model"]).id
            rated = float(catalog.find("device", scenario["fleet"]["device"]).value("power_w"))
            share = float(row["avg_power_w"]) / int(row["n_gpus"]) / rated
            found.append(Sample(model, scenario["fleet"]["device"], task(row), *parts, share))
    return found


def static(path: Path, catalog: Any, kept: dict[Any, Any]) -> list[Sample]:
    """One batch at a time; repeats of a configuration by their median."""
    runs: dict[str, list[tuple[dict[str, Any], float, float]]] = defaultdict(list)
    with open(path, newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            share = power_share(row)
            if share == 0.0 or int(row["input_len"]) >= LONG_PROMPT or row["gpu"].endswith("pcap"):
                continue
            case = latency_case("splitwise_perf_model", row)
            measured = case["measured"]
            output, count = float(row["output_len"]), float(row["batch"])
            whole = measured["ttft_s"] + measured["tpot_s"] * (output - 1.0)
            runs[repr(case["scenario"])].append((case, share, count * output / whole))
    found = []
    for same in runs.values():
        case = same[0][0]
        rate, share = (median(column) for column in list(zip(*same, strict=True))[:0:-1])
        work = case["scenario"]["serve"]["workload"]
        parts = build(case["scenario"], case["engine"], rate, float(work["batch"]), "batch", kept, catalog)
        found.append(Sample(case["model"], case["device"], "static", *parts, share))
    return found


def predicted(constants: dict[str, float], idle: float, sample: Sample) -> float:
    """Mean power over rated, phase by phase."""
    busy = 0.0
    if sample.expert_bytes:
        narrow = sample.expert_bytes < NARROW_BYTES
        busy = constants["busy_narrow" if narrow else "busy_plain"] / sample.tensor ** constants["split_exponent"]
    total = 0.0
    for share, compute, memory in sample.spent:
        level = pw.activity_level(compute, memory, constants["compute_weight"], constants["memory_weight"],
                                  constants["memory_exponent"], constants["compute_exponent"], busy)
        total += share * float(pw.device_power_w(1.0, level, idle, constants["ceiling_share"], 1.0))
    return total


def fit(samples: list[Sample], idle: float) -> dict[str, float]:
    """Reweighted least squares of logarithms, every source-device pair of equal weight, near the start."""
    start = np.log([BASE[name][0] for name in NAMES])
    groups = [(s.device, s.source) for s in samples]
    weight = np.sqrt([1.0 / groups.count(g) * len(groups) / len(set(groups)) for g in groups])
    theta = start.copy()

    def errors(at: Any) -> Any:
        constants = dict(zip(NAMES, np.exp(at), strict=True))
        constants["ceiling_share"] = min(constants["ceiling_share"], 0.99)
        return np.array([np.log(predicted(constants, idle, s) / s.measured) for s in samples])

    damping = 1e-3
    for _ in range(25):
        now = errors(theta)
        robust = weight / np.sqrt(1.0 + (now / SCALE) ** 2) ** 0.5
        slope = np.stack([(errors(theta + 1e-4 * unit) - now) / 1e-4 for unit in np.eye(len(theta))], axis=1)
        a = np.vstack([slope * robust[:, None], np.eye(len(theta)) * SCALE / PRIOR])
        b = np.concatenate([now * robust, (theta - start) * SCALE / PRIOR])
        step = np.linalg.solve(a.T @ a + damping * np.eye(len(theta)), a.T @ b)
        theta = theta - np.clip(step, -0.3, 0.3)
        if np.abs(step).max() < 1e-4:
            break
    found = dict(zip(NAMES, (float(x) for x in np.exp(theta)), strict=True))
    return found | {"ceiling_share": min(found["ceiling_share"], 0.99)}


def left_out(samples: list[Sample], idle: float, field: str) -> tuple[list[float], dict[str, dict[str, float]]]:
    """Measured over predicted, each group of a field by a fit without it; and those fits."""
    ratios = [0.0] * len(samples)
    fits = {}
    for group in sorted({getattr(s, field) for s in samples}):
        constants = fit([s for s in samples if getattr(s, field) != group], idle)
        fits[group] = constants
        for place, sample in enumerate(samples):
            if getattr(sample, field) == group:
                ratios[place] = sample.measured / predicted(constants, idle, sample)
    return ratios, fits


def say(name: str, ratios: list[float]) -> None:
    error = np.abs(1.0 / np.array(ratios) - 1.0)
    print(f"{name}: {len(ratios)} rows, median error {np.median(error):.1%}, p90 {np.quantile(error, 0.9):.1%}, "
          f"bias {np.median(1.0 / np.array(ratios)) - 1.0:+.1%}, measured over model "
          f"{np.round(np.quantile(ratios, [0.1, 0.5, 0.9]), 3)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("truth", type=Path, help="folder of published measurements")
    parser.add_argument("--write", action="store_true", help="replace the rows of the catalogue")
    given = parser.parse_args()
    catalog, kept = load(), {}
    idle = float(catalog.find("power_constants", "power").value("idle_share"))
    samples = serving(given.truth / "mlenergy_v3_llm.csv", catalog, kept)
    samples += static(given.truth / "splitwise_perf_model.csv", catalog, kept)
    spread = {}
    for field in ("model", "device", "source"):
        ratios, fits = left_out(samples, idle, field)
        say(f"a {field} left out", ratios)
        for group in fits:
            say(f"  {group}", [r for r, s in zip(ratios, samples, strict=True) if getattr(s, field) == group])
        spread[field] = ratios, fits
    constants = fit(samples, idle)
    say("fitted", [s.measured / predicted(constants, idle, s) for s in samples])
    print({name: round(value, 3) for name, value in constants.items()})
    if given.write:
        write(constants, spread)


def write(constants: dict[str, float], spread: dict[str, Any]) -> None:
    """The fitted constants, their range over the fits with a device left out, and the residual."""
    with open(CONSTANTS, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    today = datetime.date.today().isoformat()
    others = list(spread["device"][1].values())
    ratios = spread["model"][0] + spread["device"][0]
    low, middle, high = (float(x) for x in np.quantile(ratios, [0.1, 0.5, 0.9]))
    for row in rows:
        name = row["parameter"]
        if row["id"] != "power" or (name not in constants and name != "residual"):
            continue
        told = {"source": WHAT_SOURCE, "retrieved": today, "how": "derived"}
        if name == "residual":
            note = "multiplies device power; measured over model with each row's own model, then device, left out"
            row |= told | {"value": f"{middle:.4g}", "low": f"{low:.4g}", "high": f"{high:.4g}", "note": note}
            continue
        edges = [one[name] for one in others]  # not an interval of its own: the residual holds it already
        note = f"{BASE[name][1]}; {min(edges):.3g} to {max(edges):.3g} with one device left out"
        row |= told | {"value": f"{constants[name]:.4g}", "low": "", "high": "", "note": note}
    rows = [row for row in rows if "@" not in row["id"]]
    for group, apart in spread["model"][1].items():
        for name, value in apart.items():
            rows.append({"id": f"power@{group}", "parameter": name, "value": f"{value:.4g}", "unit": "", "low": "",
                         "high": "", "source": WHAT_SOURCE, "retrieved": today, "how": "derived",
                         "note": "fitted without the rows of this model, for validation"})
    with open(CONSTANTS, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
