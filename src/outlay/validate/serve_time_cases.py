"""Published serving latency and throughput as cases of the scoreboard, each with the group that is left out for it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from outlay.resolve.serve.time import GROUPS
from outlay.validate.case import Case
from outlay.validate.latency_cases import latency_case, merge_copies
from outlay.validate.serving_runs import Row

TABLES = ("aiconfigurator_silicon", "splitwise_perf_model", "tensorrt_llm_perf_overview")
NAMES = {"aiconfigurator_silicon": "silicon", "splitwise_perf_model": "Splitwise",
         "tensorrt_llm_perf_overview": "TensorRT-LLM overview"}
NUMBERS = {"ttft_s": ("TTFT", "s"), "tpot_s": ("TPOT", "s"), "output_tokens_per_s": ("throughput", "tokens/s")}
EVERY = 3  # of a table's rows, in its order: several hundred near-repeats tell no more
APART_EVERY = 12  # of the rows that are predicted once more with their device, or their engine, left out
# Models of one architecture are left out together.
SAME = (("deepseek", "deepseek"), ("llama-3.1-70b", "llama-3-70b"), ("llama-3.3-70b", "llama-3-70b"))
ELEMENT_BYTES = {"fp8": 1.0, "nvfp4": 0.5, "mxfp4": 0.5}


def serve_time_cases(table: str, rows: list[dict[str, str]]) -> list[Case]:
    """Every case of one table: by model left out, and a part of them by device and by engine left out."""
    found: list[Case] = []
    for place, row in enumerate(merge_copies(rows)):
        if place % EVERY:
            continue
        one = latency_case(table, row)
        found += _cases(table, row, one, place, "model")
        if place % APART_EVERY == 0 and table == "aiconfigurator_silicon" and one["told"] and one["kind"] == "agg":
            found += _cases(table, row, one, place, "device")
            found += _cases(table, row, one, place, "engine")
    return found


def _cases(table: str, row: Row, one: dict[str, Any], place: int, left: str) -> Iterator[Case]:
    kind = _kind(row, one)
    source = NAMES[table] if left == "model" else f"{NAMES[table]}, {left} left out:"
    scenario = asked(one["scenario"])
    for number, (name, unit) in NUMBERS.items():
        if number not in one["measured"] or (number == "output_tokens_per_s" and table == "splitwise_perf_model"):
            continue
        yield Case(
            source=f"{source} {name}{'' if kind == 'static' else ' ' + kind}",
            id=f"{table} {place} {name}: {one['model']} on {one['device']}, {one['engine']}",
            scenario=scenario,
            number=f"serve.{number}",
            measured=one["measured"][number],
            unit=unit,
            group=f"{GROUPS}{left}/{group_of(one, left)}",
            evidence=f"serving {name}, {kind}" if left == "model" else "",
        )


def _kind(row: Row, one: dict[str, Any]) -> str:
    """dense, moe or mla of one pool; two pools told or untold; static batches have one model only."""
    if "static" in one["kind"]:
        return "static"
    if one["kind"] == "disagg":
        return "two pools" if one["told"] else "two pools, replicas not printed"
    return row.get("shape") or "any"


def group_of(one: dict[str, Any], left: str) -> str:
    """What is left out for a row: its model with those of the same architecture, its device, or its engine."""
    if left == "model":
        return next((group for start, group in SAME if one["model"].startswith(start)), str(one["model"]))
    return str(one[left])


def asked(scenario: dict[str, Any]) -> dict[str, Any]:
    """As the contract writes it: whole numbers where they are, and no field that says nothing."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: plain(each) for name, each in value.items()}
        if isinstance(value, float) and not math.isinf(value) and value == int(value):
            return int(value)
        return "inf" if value == math.inf else value

    return dict(plain(scenario))


def baseline(case: Case, result: Any) -> float | None:
    """The data sheet: active weights read once a token at full bandwidth; 2 operations a weight at the full peak."""
    from outlay.catalog import load

    work, fleet, serve = case.scenario["serve"]["workload"], case.scenario["fleet"], case.scenario["serve"]
    if "disaggregated" in serve or not result.model:
        return None
    device = load().find("device", fleet["device"])
    active = float(result.model["active_parameters"].value)
    size = ELEMENT_BYTES.get(serve["precision"], 2.0)
    peak = float(device.value("peak_fp8_flop_per_s" if size <= 1.0 else "peak_bf16_flop_per_s", 0.0) or 0.0)
    devices = float(fleet["devices"])
    prompts = float(work.get("batch", 1))
    if case.number == "serve.tpot_s":
        return active * size / (devices * float(device.value("memory_bytes_per_s")))
    if not peak:
        return None
    if case.number == "serve.ttft_s":
        return 2.0 * active * float(work["input"]) * prompts / (devices * peak)
    return devices * peak / (2.0 * active) * float(work["output"]) / (float(work["input"]) + float(work["output"]))
