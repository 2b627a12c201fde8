"""Published serving memory and one-stream speeds as scenarios in the contract's vocabulary."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from outlay.validate.case import Case

GIB, MIB = 2.0**30, 2.0**20
TABLES = (
    "engine_memory",
    "inference_memory",
    "inference_memory_litgpt",
    "single_stream_qwen3_h20",
    "single_stream_llamacpp",
)
USUAL_BYTES, USUAL_FACTOR = 2.0, 1.2
Row = Mapping[str, str]

_MODELS = {
    "qwen2.5-coder-32b": "qwen2.5-32b",
    "llama-13b": "llama-13b",
    "qwen-7b": "qwen-7b",
    "yi-6b": "yi-6b",
    "7 b llama 2": "llama-2-7b",
    "llama-3-8b": "llama-3-8b",
    "llama-3-70b": "llama-3-70b",
}
# The row prints 0.9; only 0.95 makes its parts add up to its pool.
_UTILIZATION = {"kv_llmd_gpt-oss-120b": 0.95}
# Devices of issue threads, by how they are written there.
_DEVICES = (
    ("h100", "h100-sxm5-80gb"),
    ("3090", "rtx-3090"),
    ("a100 pcie", "a100-pcie-80gb"),
    ("a100-sxm4-40", "a100-sxm4-40gb"),
    ("a100-sxm4-80", "a100-sxm4-80gb"),
    ("h20", "h20-96gb"),
    ("m1 max", "m1-max-64gb"),
    ("m2 ultra", "m2-ultra-192gb"),
    ("m3 max", "m3-max-64gb"),
)


def serve_cases(table: str, rows: list[dict[str, str]]) -> list[Case]:
    """Every case of one table; rows without a measured number give none."""
    reader = {
        "engine_memory": _engine,
        "inference_memory": _inference,
        "inference_memory_litgpt": _litgpt,
        "single_stream_qwen3_h20": _qwen3,
        "single_stream_llamacpp": _llamacpp,
    }[table]
    return [case for row in rows for case in reader(row)]


def _device(text: str) -> str | None:
    plain = text.lower().replace("80gb", "80").replace("80 gb", "80")
    return next((device for word, device in _DEVICES if word in plain or word in text.lower()), None)


def _model(text: str) -> str:
    plain = text.lower()
    found = next((own for start, own in _MODELS.items() if plain.startswith(start)), None)
    return found or re.sub(r"\s.*", "", text.rpartition("/")[2])


def engine_fleet(row: Row, tensor: int) -> Any:
    """The fleet of a start-up log: what the log says the device shows, where it does."""
    shown = re.search(r"\(([\d.]+) GiB", row["gpu"])
    device = _device(row["gpu"])
    if shown and device is None:
        card = {
            "name": "16GB card",
            "memory_bytes": 16 * GIB,
            "memory_bytes_per_s": 4.48e11,
            "flops_per_s": {"bf16": 4e13},
            "power_w": 180,
        }
        return {"device": card, "devices": tensor, "device_memory_bytes": float(shown.group(1)) * GIB}
    if device is None:
        return None
    more = {"device_memory_bytes": float(shown.group(1)) * GIB} if shown else {}
    return {"device": device, "devices": tensor} | more


def half_of_last_digit(text: str) -> float:
    """Half of the last digit of a printed number.

    >>> half_of_last_digit("1.56"), half_of_last_digit("4.5"), half_of_last_digit("120")
    (0.005, 0.05, 0.5)
    """
    return 0.5 * 10.0 ** -len(text.partition(".")[2])


def _engine(row: Row) -> Iterator[Case]:
    scenario, tensor = engine_scenario(row)
    yield from _engine_cases(row, scenario, tensor)


def engine_scenario(row: Row) -> tuple[dict[str, Any], int]:
    """The model and the engine's settings of a start-up log, and its tensor parallelism."""
    name = row["engine"].lower()
    engine = "llama.cpp" if "llama.cpp" in name else "vllm"
    tensor = int(row.get("tp") or 1)
    serve: dict[str, Any] = {"engine": engine, "tensor": tensor}
    version = re.search(r"\d+\.\d+(\.\d+)?", name)
    if version or "v0" in name:
        serve["engine_version"] = version.group() if version else "0.6"
    elif "2025" in name:
        serve["engine_version"] = "0.10"  # any of that year samples alike
    weights = row.get("weight_dtype", "").replace("awq int4", "awq-int4")
    if weights or engine == "llama.cpp":
        serve["precision"] = weights or "q4_0"
    if row.get("kv_dtype") not in (None, "", "auto"):
        serve["kv_precision"] = {"f16": "fp16"}.get(row["kv_dtype"], row["kv_dtype"])
    for field, column in (
        ("max_model_len", "max_model_len"),
        ("max_num_batched_tokens", "max_num_batched_tokens"),
        ("max_num_seqs", "max_num_seqs"),
    ):
        if row.get(column):
            serve[field] = int(float(row[column]))
    share = _UTILIZATION.get(row["id"]) or row.get("gpu_memory_utilization")
    if share and engine == "vllm":
        serve["memory_utilization"] = float(share)
    return {"model": _model(row["model"]), "serve": serve}, tensor


def _engine_cases(row: Row, scenario: dict[str, Any], tensor: int) -> Iterator[Case]:
    group = f"engine_memory/{scenario['model']}"
    fleet = engine_fleet(row, tensor)
    anywhere = {"device": "b200-sxm", "devices": tensor}
    serve = scenario["serve"]

    def case(what: str, number: str, measured: float, unit: str, half: float = 0.0, **changed: Any) -> Case:
        where = changed.pop("fleet", anywhere)
        return Case(
            source=f"engine memory: {what}",
            id=f"{row['id']} {what}",
            scenario={**scenario, "fleet": where, "serve": serve | changed},
            number=f"serve.{number}",
            measured=measured,
            unit=unit,
            group=group,
            evidence=f"serve {what}",
            half=half,
        )

    if row.get("kv_bytes_per_token_per_gpu_formula"):
        yield case(
            "bytes per token",
            "kv_bytes_per_token",
            float(row["kv_bytes_per_token_per_gpu_formula"]) * tensor,
            "bytes",
        )
    if row.get("out_kv_buffer_mib"):
        yield case(
            "cache of a context", "kv_cache_bytes_per_device", float(row["out_kv_buffer_mib"]) * MIB, "bytes"
        )
    if row.get("out_weights_gib"):
        yield case("weights", "weights_bytes_per_device", float(row["out_weights_gib"]) * GIB, "bytes")
    pool = float(row["out_avail_kv_gib"]) * GIB if row.get("out_avail_kv_gib") else 0.0
    if pool > 0 and fleet is not None:
        yield case("pool", "kv_cache_bytes_per_device", pool, "bytes", fleet=fleet)
    if row.get("out_kv_tokens") and pool > 0:
        yield case(
            "tokens of a pool",
            "kv_cache_tokens",
            float(row["out_kv_tokens"]),
            "tokens",
            kv_cache_bytes_per_device=pool,
        )
    elif row.get("out_kv_tokens") and fleet is not None:
        yield case("tokens", "kv_cache_tokens", float(row["out_kv_tokens"]), "tokens", fleet=fleet)
    if row.get("out_max_concurrency") and row.get("kv_bytes_per_token_per_gpu_formula"):
        size = float(row["out_kv_tokens"]) * float(row["kv_bytes_per_token_per_gpu_formula"])
        yield case(
            "concurrency of a pool",
            "max_concurrency",
            float(row["out_max_concurrency"]),
            "sequences",
            half_of_last_digit(row["out_max_concurrency"]),
            kv_cache_bytes_per_device=size,
        )


def _inference(row: Row) -> Iterator[Case]:
    """Transformers of 2023: the driver's figure. Yi rows do not say their length; only single sequences count."""
    try:
        measured = float(row["out_gpu_mem_gb"])
    except ValueError:
        return
    found = inference_scenario(row)
    if found is None:
        return
    scenario, unit = found
    yield Case(
        source="inference memory",
        id=row["id"],
        scenario=scenario,
        number="serve.memory_per_device_bytes",
        measured=measured * unit,
        unit="bytes",
        group=f"inference_memory/{scenario['model']}",
        evidence="serve inference",
        half=half_of_last_digit(row["out_gpu_mem_gb"]) * unit,
    )


def inference_scenario(row: Row) -> tuple[dict[str, Any], float] | None:
    """What a row of a Transformers table ran, or tried to, and the bytes of its unit; None where it is not told."""
    serve: dict[str, Any] = {"engine": "transformers"}
    if row["model"].startswith("Yi"):
        if row["batch"] != "1":
            return None
        serve |= {
            "precision": {"4bits": "awq-int4", "8bits": "gptq-int8"}.get(
                row["model"].rpartition("-")[2], "bf16"
            ),
            "workload": {"batch": 1, "input": 256, "output": 256},
        }
        model, unit, device = "yi-6b", 1e9, "a100-sxm4-40gb"
    else:
        cache = "int8" if row["kv_dtype"].startswith("int8") else "bf16"
        serve |= {
            "precision": "bf16",
            "kv_precision": cache,
            "workload": {"batch": int(row["batch"]), "input": 1, "output": int(row["gen_len"])},
        }
        model, unit, device = "qwen-7b", GIB, "a100-sxm4-80gb"
    return {"model": model, "fleet": device, "serve": serve}, unit


def _litgpt(row: Row) -> Iterator[Case]:
    precision = row["quantization"].removeprefix("bnb.").replace("None", "bf16")
    serve = {
        "engine": "litgpt",
        "precision": precision,
        "workload": {"batch": 1, "input": 16, "output": int(row["gen_len"])},
    }
    yield Case(
        source="inference memory litgpt",
        id=row["id"],
        scenario={"model": "llama-2-7b", "fleet": "a100-sxm4-40gb", "serve": serve},
        number="serve.memory_allocated_bytes",
        measured=float(row["out_max_gpu_ram"].split()[0]) * 1e9,
        unit="bytes",
        group="inference_memory_litgpt/llama-2-7b",
        evidence="serve inference",
        half=half_of_last_digit(row["out_max_gpu_ram"].split()[0]) * 1e9,
    )


def _qwen3(row: Row) -> Iterator[Case]:
    """Speed counts the prompt's tokens and its time. Memory grows by the cache alone, from a prompt of 1 to 30,720
    tokens: it was read while generating, not at the prompt's peak.
    """
    if not row.get("input_len") or not row.get("out_speed_tok_s_incl_prompt"):
        return
    engine = "sglang" if row["engine"].startswith("SGLang") else "transformers"
    prompt, output = int(row["input_len"]), int(row["output_len"])
    serve = {
        "engine": engine,
        "precision": row["weight_dtype"].lower(),
        "tensor": 1,
        "max_model_len": prompt + output,
        "workload": {"batch": 1, "input": prompt, "output": output},
    }
    scenario = {"model": row["model"].strip(), "fleet": "h20-96gb", "serve": serve}
    group = f"single_stream_qwen3_h20/{row['model'].strip().lower()}"
    if engine == "sglang":
        speed = float(row["out_speed_tok_s_incl_prompt"])
        yield Case(
            source="one stream SGLang H20",
            id=row["id"],
            scenario=scenario,
            number="serve.e2e_s",
            measured=(prompt + output) / speed,
            unit="s",
            group=group,
            evidence="serve one stream",
        )
    if row.get("out_gpu_mem_mb"):
        yield Case(
            source="inference memory Qwen3",
            id=row["id"],
            scenario=scenario,
            number="serve.memory_generating_bytes",
            measured=float(row["out_gpu_mem_mb"]) * MIB,
            unit="bytes",
            group=group,
            evidence="serve inference",
        )


def llamacpp_scenario(row: Row) -> dict[str, Any] | None:
    """One stream of a row, whose several devices hold layers in turn; None for devices that are not known."""
    device = _device(row["hardware"])
    if device is None or not row["phase"].startswith("decode"):
        return None
    count = int(row["n_gpus"])
    serve = {
        "engine": "llama.cpp",
        "precision": row["weight_dtype"].lower(),
        "pipeline": count,
        "max_model_len": 2048,
        "workload": {"batch": 1, "input": 1, "output": 1024},
    }
    return {"model": _model(row["model"]), "fleet": {"device": device, "devices": count}, "serve": serve}


def _llamacpp(row: Row) -> Iterator[Case]:
    scenario = llamacpp_scenario(row)
    if scenario is None:
        return
    try:
        speed = float(row["out_tok_s"])
    except ValueError:
        return
    yield Case(
        source="one stream llama.cpp",
        id=row["id"],
        scenario=scenario,
        number="serve.tpot_s",
        measured=1.0 / speed,
        unit="s",
        group=f"single_stream_llamacpp/{_model(row['model'])}",
        evidence="serve one stream",
    )


def baseline(case: Case, result: Any) -> float | None:
    """The usual rules: two bytes a parameter and a fifth more; a token's time as weights over bandwidth."""
    parameters = float(result.model["parameters"].value)
    if "memory" in case.number:
        return USUAL_FACTOR * USUAL_BYTES * parameters
    if case.number == "serve.weights_bytes_per_device":
        return USUAL_BYTES * parameters / float(case.scenario["fleet"]["devices"])
    return None
