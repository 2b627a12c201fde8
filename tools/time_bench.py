"""Published step times made ready for the fit: scenarios into the model's inputs, scores, one line a case."""

from __future__ import annotations

import csv
import statistics
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from time_constants import CONSTANTS

from outlay.catalog import load
from outlay.catalog.utilization import matmul_grids
from outlay.readers import architecture_from_mapping, mapping_from_entry
from outlay.steps.efficiency import Efficiency, device_efficiency
from outlay.steps.inputs import Hardware, Layout, Recipe
from outlay.steps.train.time import PARTS, train_time
from outlay.validate.time_cases import ADAPTERS, TimeCase, time_cases

Key = tuple[str, str]
Keep = Callable[[TimeCase], bool]
RECIPE_FIELDS = ("sequence_length", "global_batch", "precision", "framework", "attention", "compile")
PEAKS = {"fp8": "peak_fp8_flop_per_s", "mxfp8": "peak_fp8_flop_per_s", "nvfp4": "peak_fp4_flop_per_s"}


def architecture(model: Any) -> Any:
    fields = {"name": model} if isinstance(model, str) else dict(model)
    if "name" in fields:
        name = fields.pop("name")
        fields = {**mapping_from_entry(load().find("model", name, "model")), **fields}
    return architecture_from_mapping(fields, str(model)[:40])[0]


def hardware(fleet: dict[str, Any], precision: str) -> Hardware:
    entry = load().find("device", fleet["device"], "fleet.device")
    value = entry.value
    bf16, rated = value("peak_bf16_flop_per_s"), value("power_w")
    family = str(value("utilization_family"))
    constants = {key: constant.value for key, constant in CONSTANTS.items()}
    return Hardware(
        device=entry.id,
        vendor=value("vendor"),
        peak_flop_per_s=value(PEAKS.get(precision, ""), bf16) or bf16,
        peak_flop_per_s_16bit=bf16,
        memory_bytes=value("memory_bytes"),
        memory_bytes_per_s=value("memory_bytes_per_s"),
        devices=fleet["devices"],
        devices_per_node=int(value("devices_per_node") or 8),
        scale_up_devices=int(fleet.get("scale_up_devices") or value("scale_up_devices") or 8),
        fast_bytes_per_s=value("link_bytes_per_s"),
        slow_bytes_per_s=value("inter_node_bytes_per_s"),
        host_link_bytes_per_s=value("host_link_bytes_per_s", 25e9),
        host_memory_bytes=1e12,
        power_w=rated,
        power_limit_ratio=fleet.get("device_power_limit_w", rated) / rated,
        efficiency=device_efficiency(
            family, str(value("vendor")), matmul_grids(family), constants, str(value("architecture", ""))
        ),
    )


def problem(case: TimeCase) -> tuple[Any, Hardware, Recipe, Layout] | None:
    """The model's inputs, or None where the layout is the search's to find."""
    pretrain = case.scenario["pretrain"]
    laid = pretrain.get("layout")
    if laid is None:
        return None
    given = {name: pretrain[name] for name in (*RECIPE_FIELDS, "fused_cross_entropy") if name in pretrain}
    short = laid.get("zero", 0) >= 2 or pretrain["framework"] == "deepspeed"
    short = short or pretrain.get("gradient_precision") == "bf16"
    recipe = Recipe(**given, gradient_bytes=2.0 if short else 4.0)
    return (
        architecture(case.scenario["model"]),
        hardware(case.scenario["fleet"], recipe.precision),
        recipe,
        Layout(**laid),
    )


class Bench:
    """Cases made ready once; step times under any constants."""

    def __init__(self, truth: Path, single_every: int = 1) -> None:
        self.items: list[tuple[TimeCase, tuple[Any, Hardware, Recipe, Layout]]] = []
        self.failed: set[str] = set()
        for table in ADAPTERS:
            with open(truth / f"{table}.csv", newline="") as file:
                cases = time_cases(table, list(csv.DictReader(file)))
            for case in median_of_repeats(cases[::single_every] if table == "vtrain_single" else cases):
                try:
                    made = problem(case)
                except Exception as error:  # a model the catalogue lacks
                    self.failed.add(f"{table}: {case.scenario['model']}: {error}"[:150])
                    continue
                if made:
                    self.items.append((case, made))
        self._known: dict[int, dict[tuple[float, ...], float]] = defaultdict(dict)
        self.used: dict[int, list[Key]] = {}

    def ratios(self, constants: dict[Key, float], keep: Keep | None = None) -> dict[int, float]:
        """Measured over predicted by case; no case is computed twice for the same constants."""
        found = {}
        for i, (case, _) in enumerate(self.items):
            if keep is not None and not keep(case):
                continue
            if i not in self.used:
                seen = Seen(constants)
                self.predict(i, seen)
                self.used[i] = sorted(seen.found)
            state = tuple(constants[key] for key in self.used[i])
            known = self._known[i]
            if state not in known:
                known[state] = case.step_time_s / float(self.predict(i, constants)["step_time_s"])
            found[i] = known[state]
        return found

    def predict(self, i: int, constants: Any) -> dict[str, Any]:
        arch, hw, recipe, layout = self.items[i][1]
        efficiency = Efficiency(hw.efficiency.generation, hw.efficiency.grids, constants)
        return train_time(arch, msgspec.structs.replace(hw, efficiency=efficiency), recipe, layout)


class Seen(dict[Key, float]):
    """Constants that remember which of them were asked for and found."""

    def __init__(self, constants: dict[Key, float]) -> None:
        super().__init__(constants)
        self.found: set[Key] = set()

    def get(self, key: Any, default: Any = None) -> Any:
        if key in self:
            self.found.add(key)
        return super().get(key, default)


def median_of_repeats(cases: list[TimeCase]) -> list[TimeCase]:
    groups: dict[str, list[TimeCase]] = defaultdict(list)
    for case in cases:
        groups[case.repeat_key].append(case)
    return [
        msgspec.structs.replace(same[0], step_time_s=statistics.median(case.step_time_s for case in same))
        for same in groups.values()
    ]


def report(bench: Bench, ratios: dict[int, float]) -> None:
    """Error of predicted over measured by source, and by device within it."""
    groups: dict[str, list[float]] = defaultdict(list)
    for i, ratio in ratios.items():
        case = bench.items[i][0]
        groups[case.source].append(1 / ratio)
        groups[f"{case.source}/{case.device}"].append(1 / ratio)
    print(f"{'source':42s} {'n':>4s} {'median':>7s} {'mean':>7s} {'p90':>7s} {'bias':>7s}")
    for name, values in sorted(groups.items()):
        errors = [abs(value - 1) for value in values]
        figures = (np.median(errors), np.mean(errors), np.quantile(errors, 0.9))
        print(
            f"{name:42s} {len(values):4d}",
            *(f"{100 * f:6.1f}%" for f in figures),
            f"{100 * (np.median(values) - 1):+6.1f}%",
        )


def show(bench: Bench, values: dict[Key, float], source: str) -> None:
    """One line a case: layout, seconds, predicted over measured, where the time goes."""
    for i, (case, (_, hw, recipe, lay)) in enumerate(bench.items):
        if not case.source.startswith(source):
            continue
        times = bench.predict(i, values)
        step = float(times["step_time_s"])
        shares = {name: 100 * float(times[name]) / step for name in PARTS}
        parts = " ".join(f"{name[:9]}={share:.0f}" for name, share in shares.items() if share > 0.4)
        split = (
            f"t{lay.tensor} p{lay.pipeline} v{lay.virtual_pipeline} d{lay.data} c{lay.context} e{lay.expert}"
        )
        work = f"mb{lay.micro_batch} gb{recipe.global_batch} s{recipe.sequence_length} {recipe.precision}"
        print(
            f"{case.left_out[:26]:26s} {case.device[:6]:6s} n{hw.devices:<5d} {split} {work} z{lay.zero}",
            lay.recompute[:4],
            f"{case.step_time_s:8.3f} {step / case.step_time_s:5.2f} | {parts}",
        )
