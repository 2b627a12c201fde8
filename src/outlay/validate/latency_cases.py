"""Published serving latency and throughput as scenarios in the contract's vocabulary."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from outlay.validate.serving_runs import Row, cache_precision, drafted

TABLES = ("aiconfigurator_silicon", "splitwise_perf_model", "tensorrt_llm_perf_overview", "mlenergy_v3_llm")
DEVICES = {
    "b200_sxm": "b200-sxm",
    "h200_sxm": "h200-sxm-141gb",
    "h100_sxm": "h100-sxm5-80gb",
    "gb200": "gb200",
    "gb300": "gb300",
    "a100-80gb": "a100-sxm4-80gb",
    "h100-80gb": "h100-sxm5-80gb",
    "h100-80gb-pcap": "h100-sxm5-80gb",
    "h100": "h100-sxm5-80gb",
    "b200": "b200-sxm",
    "h100 sxm 80gb": "h100-sxm5-80gb",
    "h200 sxm 141gb": "h200-sxm-141gb",
    "b200 180gb": "b200-sxm",
    "gb200 192gb nvl72": "gb200",
    "rtx 6000 pro blackwell server edition": "rtx-pro-6000-server",
}
MODELS = {
    "zhipuai/glm-5": "glm-5",
    "meta-llama/llama-3.1-8b-instruct": "llama-3.1-8b",
    "nvidia/llama-3.1-8b-instruct-fp8": "llama-3.1-8b",
    "qwen/qwen3-235b-a22b-fp8": "qwen3-235b-a22b",
    "nvidia/deepseek-r1-nvfp4": "deepseek-r1",
    "nvidia/deepseek-v3.1-nvfp4": "deepseek-v3",
    "llama2-70b": "llama-2-70b",
    "deepseek r1 0528": "deepseek-r1",
}
ENGINES = {"trtllm": "tensorrt-llm", "tensorrt-llm": "tensorrt-llm", "vllm": "vllm", "sglang": "sglang"}
COPIED = ("gpu", "input_len", "output_len", "ttft_ms", "tpot_ms", "concurrency")
WORKERS = re.compile(r"prefill_workers=(\d+).*decode_workers=(\d+)")
# Of a table that tools/complete_silicon.py completed.
RANKS = re.compile(r"prefill_ranks=(\d+).*decode_ranks=(\d+)")
DRAFTED = re.compile(r"drafted=(\d+)")
# How many requests were queued for each pair of lengths, as TensorRT-LLM's performance overview says.
REQUESTS = {("128", "128"): 30000, ("128", "2048"): 3000, ("128", "4096"): 1500, ("500", "2000"): 3000,
            ("1000", "1000"): 3000, ("1000", "2000"): 1500, ("2048", "128"): 3000, ("2048", "2048"): 1500,
            ("5000", "500"): 1500, ("20000", "2000"): 1000, ("1024", "1024"): 3000, ("8192", "1024"): 1500,
            ("1024", "8192"): 1500, ("32768", "1024"): 1000, ("1024", "32768"): 1000}
# That page runs mixtures with attention ranks; the table of 1.0 prints their number as TP (the next one as DEP).
RANKED = ("TensorRT-LLM 1.0 docs", ("llama-4", "qwen3"))
# What the recipes of these runs set and no column says (SemiAnalysisAI/InferenceX, benchmarks): model, engine,
# precision, lengths, fewer devices than, fields. hold_steps: decode steps let pass before requests are taken up.
SET: tuple[tuple[str, str, str, tuple[str, ...], int, dict[str, Any]], ...] = (
    ("llama-3.1-70b", "tensorrt-llm", "", ("1024", "1024"), 8, {"hold_steps": 20}),
    ("llama-3.1-70b", "vllm", "", (), 0, {"kv_precision": "fp8"}),
    ("glm-5", "sglang", "fp4", (), 0, {"hold_steps": 10}),
    ("glm-5", "sglang", "fp8", (), 0, {"hold_steps": 1}),
)
CAPPED_W = 350.0  # of the capped H100, as its study set it
OLDER = re.compile(r"vllm (0\.1[1-4])\b")
AGES = {f"0.{minor}": "0.11" for minor in range(11, 15)}  # versions whose host work is that of one age
EARLY = "0.4"  # of vLLM: a step launched kernel by kernel
WIDEST = 8  # tensor ranks of one group in these runs


def merge_copies(rows: Sequence[Row]) -> list[Row]:
    """One row a measurement: sources of one table copy each other, and copies print less of how it was run.

    The copy that names the workers of each pool stays; without one, the first.
    """
    found: dict[tuple[str, ...], list[Row]] = {}
    for place, row in enumerate(rows):
        key = tuple(row.get(name, "") for name in COPIED)
        alone = not (row.get("ttft_ms") and row.get("tpot_ms")) or row["scenario"].startswith("static")
        found.setdefault((*key, str(place)) if alone else key, []).append(row)
    return [max(same, key=lambda r: bool(WORKERS.search(r.get("notes", ""))))
            for same in found.values()]


def latency_case(table: str, row: Row) -> dict[str, Any]:
    """scenario, measured (ttft_s, tpot_s, output_tokens_per_s where published), kind, model, device, engine."""
    device = DEVICES[row["gpu"].lower()]
    model = model_name(row["model"])
    engine = ENGINES[re.split(r"[ -]?based| ", row["engine_version"].lower())[0].strip("-")]
    serve: dict[str, Any] = {"engine": engine, "precision": precision(row, model)}
    serve |= _parallel(row) if row["scenario"] != "disagg" else {"disaggregated": pools(row)}
    serve["workload"] = _workload(table, row)
    serve |= _set(row, model, engine)
    fleet: dict[str, Any] = {"device": device}
    if "replicas" in serve.get("disaggregated", {"prefill": {"replicas": 1}})["prefill"]:
        fleet["devices"] = _devices(row, serve)
    told = "disaggregated" not in serve or bool(WORKERS.search(row.get("notes", "")))
    found = DRAFTED.search(row.get("notes", ""))
    tokens = int(found[1]) if found else 0
    if "tensor" in serve:
        one = drafted(row, model, serve["tensor"], serve["data"], serve["expert"])
        told, tokens = one is not None and not _both_pools(row), one or 0
    if tokens:
        serve["speculative"] = {"method": "mtp", "tokens": tokens}
    age = _age(table, row)
    if age:
        serve |= {"engine_version": age, "sampling": "greedy"}  # as the clients of these benchmarks ask
    if table == "tensorrt_llm_perf_overview" and model.startswith("gpt-oss") and not row["gpu"].startswith("H"):
        serve["kv_precision"] = "fp8"  # as that page sets it, but on Hopper
    short = cache_precision(row, model)
    if short:
        serve["kv_precision"] = short
    if row["gpu"].endswith("pcap"):
        fleet["device_power_limit_w"] = CAPPED_W
    scenario = {"model": model, "fleet": fleet, "serve": serve}
    return {
        "scenario": scenario,
        "measured": _measured(row),
        "kind": row["scenario"],
        "model": model,
        "device": device,
        "engine": f"{engine}@{AGES.get(age, age)}" if age else engine,
        "table": table,
        "told": told,
    }


def _set(row: Row, model: str, engine: str) -> dict[str, Any]:
    """What the recipe of a run set; nothing where it is silent or there is none."""
    found: dict[str, Any] = {}
    for start, of, kept, lengths, devices, fields in SET:
        alike = model.startswith(start) and engine == of and kept in ("", row["precision"])
        same = not lengths or lengths == (row["input_len"], row["output_len"])
        if alike and same and row["scenario"] == "agg" and (not devices or int(row["tp"]) < devices):
            found |= fields
    return found


def _both_pools(row: Row) -> bool:
    """Runs of 2025 on GB200 with two pools are listed as one of as many tensor ranks as both have devices."""
    return row["gpu"] == "gb200" and int(row["tp"] or 1) > WIDEST and int(row["ep"] or 1) == 1


def _age(table: str, row: Row) -> str:
    """The version, where it is of an age with constants of its own."""
    if table == "splitwise_perf_model":
        return EARLY
    told = OLDER.match(row["engine_version"])
    return told[1] if told else ""


def _devices(row: Row, serve: dict[str, Any]) -> int:
    return int(row["n_gpus"]) if "tensor" not in serve else serve["tensor"] * serve["pipeline"] * serve["data"]


def model_name(text: str) -> str:
    """The catalogue's name or the id it knows."""
    plain = text.lower()
    if plain in MODELS:
        return MODELS[plain]
    name = plain.split("/")[-1].replace(" ", "-")
    for old, new in (("llama-v", "llama-"), ("llama-3.3-70b-instruct", "llama-3.3-70b"), ("-instruct", ""),
                     ("-2507", ""), ("-fp8", "")):
        name = name.replace(old, new)
    return name


def precision(row: Row, model: str) -> str:
    """As printed; gpt-oss is published in mxfp4 and rows name the precision it is multiplied in."""
    text = row["precision"].lower() or "bf16"
    if model.startswith("gpt-oss"):
        return "mxfp4"
    return {"fp4": "nvfp4", "bfloat16": "bf16", "float16": "fp16"}.get(text, text)


def _parallel(row: Row) -> dict[str, int]:
    names = (("tp", "tensor"), ("pp", "pipeline"), ("dp", "data"), ("ep", "expert"))
    found = {name: max(int(row.get(field) or 1), 1) for field, name in names}
    if found["expert"] > found["tensor"] * found["data"]:  # experts over all devices, attention split like them
        found["tensor"] = found["expert"]
    told = re.search(r"moe_tp=(\d+)", row.get("notes", ""))
    if told and int(told[1]) == found["expert"] > 1:  # the table multiplied both splits of the experts; its
        twice = found["expert"]  # own identifiers say tp8_ep8 where it prints 64 devices
        found["data" if found["data"] > 1 else "tensor"] //= twice
        if found["data"] == 1 and found["tensor"] == 1:
            found["data"] = twice
    found["data"] *= _ranks_beside(row)
    if row["engine_version"] == RANKED[0] and model_name(row["model"]).startswith(RANKED[1]):
        ranks = found["tensor"]
        return found | {"tensor": 1, "data": ranks, "expert": ranks}
    return _attention_ranks(found)


def _ranks_beside(row: Row) -> int:
    """Attention ranks of which the table prints one, its devices and its concurrency: experts are cut over all."""
    told = re.search(r"moe_tp=(\d+)", row.get("notes", ""))
    if not told or row["scenario"] != "agg":
        return 1
    printed = int(row["tp"] or 1) * int(row["dp"] or 1)
    return max(int(told[1]) * int(row["ep"] or 1) // printed, 1)


def _attention_ranks(side: dict[str, int]) -> dict[str, int]:
    """A pool too wide for one tensor group is one of attention ranks with their own requests, experts dealt out."""
    wide = side["tensor"]
    if wide > WIDEST or wide & (wide - 1):
        return side | {"tensor": 1, "data": wide * side["data"], "expert": wide * side["data"]}
    return side


def pools(row: Row) -> dict[str, Any]:
    """Prefill and decode pools. Where the workers of each are not printed and the devices are those of one of each,
    how many there were is not told."""
    sides: dict[str, dict[str, int]] = {"prefill": {}, "decode": {}}
    for field, name in (("tp", "tensor"), ("pp", "pipeline"), ("ep", "expert"), ("dp", "data")):
        first, _, second = row[field].partition("/")
        sides["prefill"][name], sides["decode"][name] = max(int(first[1:]), 1), max(int(second[1:]), 1)
    ranks = RANKS.search(row.get("notes", ""))
    for place, name in enumerate(sides):
        side = sides[name]
        if ranks:
            wide, count = side["tensor"] * side["data"], int(ranks[place + 1])
            experts = wide if count > 1 else side["expert"]
            sides[name] = side | {"tensor": wide // count, "data": count, "expert": experts}
        else:
            sides[name] = _attention_ranks(side)
    sizes = [side["tensor"] * side["pipeline"] * side["data"] for side in sides.values()]
    told = WORKERS.search(row.get("notes", ""))
    if told:
        sides["prefill"]["replicas"], sides["decode"]["replicas"] = int(told[1]), int(told[2])
        return dict(sides)
    if int(row["n_gpus"]) == sum(sizes):
        return dict(sides)
    ways = [
        (x, (int(row["n_gpus"]) - x * sizes[0]) // sizes[1])
        for x in range(1, 33)
        if int(row["n_gpus"]) > x * sizes[0] and (int(row["n_gpus"]) - x * sizes[0]) % sizes[1] == 0
    ]
    prompts = float(row["input_len"]) / (float(row["input_len"]) + 2.0 * float(row["output_len"]))
    wanted = prompts * int(row["n_gpus"])
    best = min(ways or [(1, 1)], key=lambda way: abs(way[0] * sizes[0] - wanted))
    sides["prefill"]["replicas"], sides["decode"]["replicas"] = best
    return dict(sides)


def _workload(table: str, row: Row) -> dict[str, Any]:
    lengths: dict[str, Any] = {
        "input": float(row["input_len"] or 512.0),
        "output": float(row["output_len"] or 512.0),
    }
    if table == "splitwise_perf_model":
        return lengths | {"batch": int(row["batch"])}
    if row.get("request_rate") == "inf":
        queued = REQUESTS.get((row["input_len"], row["output_len"]))
        return lengths | {"rate": float("inf")} | ({"requests": queued} if queued else {})
    each = float(row.get("concurrency") or row.get("batch") or 1.0)
    return lengths | {"concurrency": each * _ranks_beside(row)}


def _measured(row: Row) -> dict[str, float]:
    found = {}
    for name, column, unit in (
        ("ttft_s", "ttft_ms", 1e-3),
        ("tpot_s", "tpot_ms", 1e-3),
        ("output_tokens_per_s", "output_tok_s_total", 1.0),
    ):
        if row.get(column):
            found[name] = float(row[column]) * unit
    if not row.get("tpot_ms") and row.get("itl_ms"):
        found["tpot_s"] = float(row["itl_ms"]) * 1e-3
    return found
