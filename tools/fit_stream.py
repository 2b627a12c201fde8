"""Fit the constants of one-stream speed to published runs, with and without each model; writes stream_constants.csv.

    python tools/fit_stream.py TRUTH_FOLDER

Few constants, each held near a prior by its own width, so that a constant no run speaks of stays where it was.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from outlay.catalog import load
from outlay.planner.serve.trial import nominal_recipe
from outlay.resolve import resolve
from outlay.resolve.stream import memory_kind
from outlay.scenario_io import scenario_from
from outlay.steps.serve.stream import one_stream
from outlay.validate.case import Case
from outlay.validate.serve_cases import serve_cases

OUT = Path(__file__).parent / "catalog_build" / "stream_constants.csv"
# constant: prior, width of the prior in logarithms
TABLES: dict[str, tuple[str, dict[str, tuple[float, float]]]] = {
    "single_stream_qwen3_h20": (
        "sglang",
        {
            "stream_layer_s": (1.1e-5, 0.5),
            "stream_expert_layer_s": (3e-5, 0.7),
            "stream_packed_share": (0.75, 0.4),
            "stream_prompt_ratio": (1.1, 0.3),
        },
    ),
    "single_stream_llamacpp": (
        "llama.cpp",
        {
            "stream_utilization_gddr": (0.8, 0.3),
            "stream_utilization_hbm": (0.6, 0.3),
            "stream_layer_s": (6e-5, 0.7),
            "stream_utilization_unified": (0.8, 0.3),
            "stream_layer_unified_s": (6e-5, 0.7),
            "stream_hop_s": (1.5e-4, 0.7),
        },
    ),
}
# one kernel of that version is known to be far slower than its kind
LEFT_OUT = ("GPTQ",)
RUN_NOISE, STEP = 0.08, 1e-4


class Run(Struct, frozen=True):
    case: Case
    arch: Any
    device: Any
    recipe: Any
    layout: Any
    stream: tuple[float, float]
    memory: str  # hbm, gddr or unified

    def log_ratio(self, constants: dict[str, float]) -> float:
        own = {**self.recipe.constants, **constants}
        if f"stream_utilization_{self.memory}" in own:
            own["stream_utilization"] = own[f"stream_utilization_{self.memory}"]
            if self.memory == "unified":
                own["stream_layer_s"] = own["stream_layer_unified_s"]
        prompt, output = self.stream
        found = one_stream(
            self.arch,
            self.device,
            replace(self.recipe, constants=own),
            self.layout,
            prompt,
            prompt + output / 2,
        )
        time = (
            found.token_s
            if self.case.number.endswith("tpot_s")
            else found.first_s + found.token_s * (output - 1)
        )
        return float(np.log(time / self.case.measured))


def runs_of(table: str, folder: Path) -> Iterator[Run]:
    catalog = load()
    with open(folder / f"{table}.csv", encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    for case in serve_cases(table, rows):
        if case.unit != "s" or any(word in case.id for word in LEFT_OUT):
            continue
        resolved = resolve(scenario_from(case.scenario), catalog)
        phase = resolved.serve
        assert phase is not None
        device = replace(
            phase.device,
            memory_bytes_per_s=phase.device.memory_bytes_per_s.value,
            peak_flop_per_s=phase.device.peak_flop_per_s.value,
        )
        fleet = case.scenario["fleet"]
        name = fleet["device"] if isinstance(fleet, dict) else fleet
        entry = catalog.find_device(name).entry
        memory = memory_kind(SimpleNamespace(entry=entry))
        recipe, stream = nominal_recipe(phase.recipe), (float(phase.asked.input), float(phase.asked.output))
        yield Run(case, resolved.architecture, device, recipe, phase.layout, stream, memory)


def fit(runs: list[Run], priors: dict[str, tuple[float, float]]) -> dict[str, float]:
    names = list(priors)
    centre = np.log([priors[n][0] for n in names])
    width = np.array([priors[n][1] for n in names])

    def residuals(x: Any) -> Any:
        constants = dict(zip(names, np.exp(x), strict=True))
        return np.array([run.log_ratio(constants) for run in runs])

    x = centre.copy()
    for _ in range(25):
        base = residuals(x)
        slopes = np.array([(residuals(x + STEP * unit) - base) / STEP for unit in np.eye(len(names))]).T
        weight = 1 / np.sqrt(RUN_NOISE * np.maximum(np.abs(base), RUN_NOISE))  # absolute errors, softly
        rows = np.vstack([slopes * weight[:, None], np.diag(1 / width)])
        target = np.concatenate([base * weight, (x - centre) / width])
        x = x - np.clip(np.linalg.lstsq(rows, target, rcond=None)[0], -0.5, 0.5)
    return dict(zip(names, np.exp(x).tolist(), strict=True))


def main() -> None:
    folder = Path(sys.argv[1])
    with open(OUT, "w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(["engine", "without", "constant", "value", "low", "high", "runs"])
        for table, (engine, priors) in TABLES.items():
            runs = list(runs_of(table, folder))
            apart: list[tuple[str, float]] = []
            for group in ("", *sorted({run.case.group for run in runs})):
                used = [run for run in runs if run.case.group != group]
                found = fit(used, priors)
                writer.writerows(
                    [engine, group, name, f"{value:.4g}", "", "", len(used)] for name, value in found.items()
                )
                held = [run for run in runs if run.case.group == group]
                left = [run.log_ratio(found) for run in held or runs]
                apart += [(run.memory, log) for run, log in zip(held, left, strict=False)]
                for run, log in zip(held, left, strict=False):
                    print("   ", run.case.id, f"{np.expm1(log):+.2f}")
                print(
                    table,
                    group or "(all)",
                    {k: float(f"{v:.3g}") for k, v in found.items()},
                    f"median error {np.median(np.abs(np.expm1(left))):.3f} of {len(left)}",
                )
            for name, kinds in (("stream_residual", ("hbm", "gddr")), ("stream_residual_unified", ("unified",))):
                logs = [log for memory, log in apart if memory in kinds]
                if logs:
                    low, high = np.quantile(np.exp(-np.array(logs)), (0.1, 0.9))
                    low, high = min(low, 1.0), max(high, 1.0)
                    writer.writerow([engine, "", name, 1, f"{low:.3g}", f"{high:.3g}", len(logs)])
                    print(table, name, f"median left-out error {np.median(np.abs(np.expm1(logs))):.3f} of {len(logs)}")


if __name__ == "__main__":
    main()
