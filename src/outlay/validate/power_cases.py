"""Published power and energy of serving as scenarios: joules an answered token, watts at the wall.

Energy rows print neither their prompts' lengths nor how long each answer was; `PROMPTS` is an assumption. Rows
whose prompts hold images or video are left out: what their towers and frames take is not printed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from outlay.validate.case import Case
from outlay.validate.latency_cases import DEVICES

Row = Mapping[str, str]
TABLES = ("mlenergy_v3_llm", "mlperf_llm_power")
ENERGY = "serve.energy_per_output_token_j"
WALL = "totals.energy_j"
# Tokens of a prompt by task, assumed: questions of a chat arena with their turns before, graduate questions with
# four choices (some 150 words, arXiv:2311.12022), files around a gap to fill.
PROMPTS = {"lm-arena-chat": 300.0, "gpqa": 300.0, "sourcegraph-fim": 2000.0}


def power_cases(table: str, rows: Iterable[Row]) -> list[Case]:
    """All cases of one table.

    >>> power_cases("mlenergy_v3_llm", [])
    []
    """
    if table == "mlenergy_v3_llm":
        return [case for row in rows if (case := _energy(table, row)) is not None]
    if table != "mlperf_llm_power":
        raise ValueError(f"no such table: {table}")
    return []


def task(row: Row) -> str:
    """What was asked, as the row calls it."""
    return row["scenario"].removeprefix("steady-state ")


def _energy(table: str, row: Row) -> Case | None:
    """Joules of the accelerators an output token, at the concurrency that was kept."""
    if task(row) not in PROMPTS:
        return None
    scenario = energy_scenario(row)
    name = f"{row['model']} {row['gpu']} x{row['n_gpus']} {task(row)} {row['concurrency']}"
    return Case(table, name, scenario, ENERGY, float(row["joules_per_token"]), "J", scenario["model"],
                "energy per token", "prompt length assumed")


def energy_scenario(row: Row) -> dict[str, Any]:
    """The scenario of one row of serving energy."""
    tensor, ranks = max(int(row["tp"] or 1), 1), max(int(row["dp"] or 1), 1)
    expert = max(int(row["ep"] or 1), 1)
    if expert > tensor * ranks:  # experts over all devices, attention split like them
        tensor = expert
    serve = {
        "engine": "vllm", "precision": {"bfloat16": "bf16"}.get(row["precision"], row["precision"]),
        "tensor": tensor, "data": ranks, "expert": min(expert, tensor * ranks),
        "workload": {"concurrency": float(row["concurrency"]), "input": PROMPTS[task(row)],
                     "output": float(row["output_len"])},
    }
    fleet = {"device": DEVICES[row["gpu"].lower()], "devices": int(row["n_gpus"])}
    return {"model": row["model"], "fleet": fleet, "serve": serve}


def power_share(row: Row) -> float:
    """Mean share of rated power of a static batch, where it was measured; zero means it was not."""
    found = re.search(r"average_power_frac=([\d.]+)", row["notes"])
    return float(found[1]) if found else 0.0
