"""Published power and energy of serving as scenarios: joules an answered token, watts at the wall.

Energy rows print neither their prompts' lengths nor how much single answers differ; `PROMPTS` is an assumption.
Rows whose prompts hold images or video are left out: what towers and frames take is not printed. Wall rows are
of machines whose devices were held below their rating; the caps are those of the submission's configurations.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from outlay.validate.case import Case, Outcome
from outlay.validate.latency_cases import DEVICES
from outlay.validate.tables import OPEN_ORCA

Row = Mapping[str, str]
TABLES = ("mlenergy_v3_llm", "mlperf_llm_power")
ENERGY = "serve.energy_per_output_token_j"
POWER = "serve.power_w_per_device"
WALL = "+".join(f"lines.serve.{item}.energy_j.energy_j" for item in ("prefill", "decode", "host"))
HOUR_S = 3600.0
# Tokens of a prompt by task, assumed: questions of a chat arena with the turns before, graduate questions with
# four choices (some 150 words, arXiv:2311.12022), files around a gap to fill.
PROMPTS = {"lm-arena-chat": 300.0, "gpqa": 300.0, "sourcegraph-fim": 2000.0}
# Of vLLM, as the benchmark's documentation says of these runs. Its client (ml-energy/benchmark, Apache-2.0) sends all
# requests at once with a repetition penalty to a server that takes the model's own top-p and so many at a time.
VERSION = "0.11.1"
# Caps in watts, tensor degree, mean tokens of prompt and answer: mlcommons/inference_results_v4.1
# closed/NVIDIA/configs (power_limit of H200_SXM_141GBx8_MaxQ); lengths of prompts are assumed, but Open Orca's.
WALL_RUNS = {
    "gptj": ("gpt-j-6b", 350.0, 1, 780.0, 69.0),
    "llama2-70b": ("llama-2-70b", 500.0, 1, OPEN_ORCA, 294.0),
    "mixtral-8x7b": ("mixtral-8x7b", 500.0, 1, 300.0, 145.0),
}


def power_cases(table: str, rows: Iterable[Row]) -> list[Case]:
    """All cases of one table.

    >>> power_cases("mlenergy_v3_llm", [])
    []
    """
    if table not in TABLES:
        raise ValueError(f"no such table: {table}")
    reader = _energy if table == "mlenergy_v3_llm" else _wall
    return [case for row in rows if (case := reader(table, row)) is not None]


def task(row: Row) -> str:
    """What was asked, as the row calls it."""
    return row["scenario"].removeprefix("steady-state ")


def _energy(table: str, row: Row) -> Case | None:
    """Joules of the accelerators an output token, at the concurrency that was kept."""
    if task(row) not in PROMPTS:
        return None
    name = f"{row['model']} {row['gpu']} x{row['n_gpus']} {task(row)} {row['concurrency']}"
    return Case(f"{table} energy", name, energy_scenario(row), ENERGY, float(row["joules_per_token"]), "J",
                _model_id(row["model"]), "energy per token", "prompt length assumed")


def given_rate(rows: Iterable[Row]) -> list[tuple[Case, float, float]]:
    """Mean watts of a device, with the output tokens a second and the running requests that were measured."""
    found = []
    for row in rows:
        if task(row) in PROMPTS:
            name = f"{row['model']} {row['gpu']} x{row['n_gpus']} {task(row)} {row['concurrency']}"
            watts = float(row["avg_power_w"]) / int(row["n_gpus"])
            case = Case("mlenergy_v3_llm power at measured rate", name, energy_scenario(row), POWER, watts, "W",
                        _model_id(row["model"]), "serving power", "throughput given")
            found.append((case, float(row["output_tok_s_total"]), float(row["batch"])))
    return found


def _model_id(name: str) -> str:
    """The group a fit leaves out: the catalogue's model, or the name where it knows none."""
    from outlay.catalog import load
    from outlay.errors import OutlayError

    try:
        return load().find("model", name).id
    except OutlayError:
        return name


def energy_scenario(row: Row) -> dict[str, Any]:
    """The scenario of one row of serving energy."""
    tensor, ranks = max(int(row["tp"] or 1), 1), max(int(row["dp"] or 1), 1)
    expert = max(int(row["ep"] or 1), 1)
    if expert > tensor * ranks:  # experts over all devices, attention split like them
        tensor = expert
    precision = {"bfloat16": "bf16"}.get(row["precision"], row["precision"])
    serve = {
        "engine": "vllm", "engine_version": VERSION, "precision": precision, "sampling": "penalties",
        "tensor": tensor, "data": ranks, "expert": min(expert, tensor * ranks),
        "max_num_seqs": max(int(row["concurrency"]) // ranks, 1), "max_num_batched_tokens": 8192,
        "workload": {"concurrency": float(row["concurrency"]), "input": PROMPTS[task(row)],
                     "output": float(row["output_len"])},
    }
    fleet = {"device": DEVICES[row["gpu"].lower()], "devices": int(row["n_gpus"])}
    return {"model": row["model"], "fleet": fleet, "serve": serve}


def _wall(table: str, row: Row) -> Case | None:
    """Watts of the whole machine at its plug, as the joules of an hour; requests always wait."""
    name = row["model"].removesuffix(".9").removesuffix("-99")
    if name not in WALL_RUNS:
        return None
    model, cap_w, tensor, prompt, output = WALL_RUNS[name]
    scenario = {
        "model": model, "fleet": {"device": "h200-sxm-141gb", "devices": 8, "device_power_limit_w": cap_w},
        "site": {"pue": 1.0},
        "serve": {"engine": "tensorrt-llm", "precision": "fp8", "tensor": tensor, "hours": 1.0,
                  "workload": {"rate": float("inf"), "input": prompt, "output": output}},
    }
    return Case(f"{table} wall", f"{row['model']} {row['scenario'].rpartition(' ')[2]}", scenario, WALL,
                float(row["avg_power_w"]) * HOUR_S, "J", model, "wall power", f"{float(row['avg_power_w']):.0f} W, AC")


def power_share(row: Row) -> float:
    """Mean share of rated power of a static batch, where it was measured; zero means it was not."""
    found = re.search(r"average_power_frac=([\d.]+)", row["notes"])
    return float(found[1]) if found else 0.0


def baseline(case: Case, result: Any) -> float | None:
    """What card-style accounting says: rated power all the time, and nothing for the rest of the machine."""
    from outlay.catalog import load

    rated_w = float(load().find("device", case.scenario["fleet"]["device"]).value("power_w"))
    devices = float(case.scenario["fleet"]["devices"])
    if case.number == ENERGY:
        return rated_w * devices / float(result.explain("serve.output_tokens_per_s").value)
    return rated_w if case.number == POWER else rated_w * devices * HOUR_S


def given_outcomes(rows: Iterable[Row]) -> list[Outcome]:
    """Every row's power at its own measured throughput."""
    return [predict_given_rate(*one) for one in given_rate(rows)]


def predict_given_rate(case: Case, rate: float, running: float) -> Outcome:
    """Power at the measured throughput: what the power model says, times of the serving model apart."""
    from outlay.catalog import load
    from outlay.errors import OutlayError
    from outlay.planner.serve.energy import power_values
    from outlay.resolve import resolve
    from outlay.scenario_io import scenario_from
    from outlay.steps.serve.inputs import ServeLayout
    from outlay.steps.serve.time_inputs import Load

    serve, work = case.scenario["serve"], case.scenario["serve"]["workload"]
    nothing = float("nan")
    try:
        resolved = resolve(scenario_from(case.scenario), load(), case.group)
        speed, arch = resolved.serve.speed, resolved.architecture  # type: ignore[union-attr]
        assert speed is not None and arch is not None
        layout = ServeLayout(serve["tensor"], 1, serve["expert"], serve["data"])
        values = power_values(resolved.power, arch, speed.device, speed.engine, layout,
                              Load("closed", work["input"], work["output"], running), rate, running)
    except OutlayError as error:
        return Outcome(case, nothing, nothing, nothing, error=f"{error.kind}: {error.message}")
    found = values["power_w_per_device"]
    return Outcome(case, found.value, found.low, found.high, baseline(case, None))
