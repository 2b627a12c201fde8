"""Published fine-tuning measurements as scenarios in the contract's vocabulary.

What a source does not state is left to the plan's own defaults, which are those of the software named.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from outlay.validate.case import BASELINE_BYTES_PER_PARAMETER, BASELINE_UTILIZATION, Case

Row = dict[str, str]
TABLES = ("finetune_memory", "finetune_memory_time", "mlperf_training")
GIB = 2.0**30
MLPERF_SEQUENCE = 8192  # the benchmark's packed rows, MLCommons training policies
ALPACA_MEAN = 110.0  # tokens of a row, as litgpt's own notes give it
LITGPT_BATCH = 128
QWEN_ACCUMULATION = 8
DEVICES = {"RTX 4090": "rtx-4090", "RTX A6000": "rtx-a6000", "A100": "a100-sxm4-80gb",
           "A100-SXM4-40GB": "a100-sxm4-40gb", "A100-SXM4-80GB": "a100-sxm4-80gb"}
MODELS = {"Llama 3.1 8B": "llama-3.1-8b", "Llama 3.1 70B": "llama-3.1-70b", "Llama 3.1 405B": "llama-3.1-405b",
          "Llama 3.2 3B": "llama-3.2-3b"}
MLPERF_DEVICES = (("GB200", "gb200"), ("H200-NVL", "h200-nvl-141gb"), ("H200", "h200-sxm5-141gb"),
                  ("H100", "h100-sxm5-80gb"), ("MI300X", "mi300x"))


def tune_cases(table: str, rows: list[Row]) -> Iterator[Case]:
    """Cases of one table of measurements."""
    reader = {"finetune_memory": _torchtune, "finetune_memory_time": _profile, "mlperf_training": _mlperf}[table]
    for number, row in enumerate(rows):
        yield from reader(row, number)


def _case(source: str, name: str, scenario: dict[str, Any], number: str, measured: float, unit: str,
          kind: str) -> Case:
    return Case(source=source, id=name, scenario=scenario, number=f"finetune.{number}", measured=measured, unit=unit,
                group=f"{source}/{name}", evidence=f"tune {kind} {scenario['finetune']['framework']}")


def _torchtune(row: Row, number: int) -> Iterator[Case]:
    notes = row["notes"]
    if notes.endswith("baseline"):
        return  # rows of unknown length
    devices, method = int(row["n_gpus"]), row["kind"].removeprefix("finetune_")
    sequence, batch = int(row["seq"]), int(row["micro_batch"])
    phase: dict[str, Any] = {"method": method, "framework": "torchtune", "sequence_length": sequence,
                             "micro_batch": batch, "packing": True, "mean": sequence, "compile": True}
    if "cumulative" in notes:
        phase |= _ladder(notes.partition("step: ")[2], method)
    elif method == "full" and devices == 1:
        phase |= {"optimizer": "paged-adamw-8bit", "optimizer_in_backward": True}
    if "CPU offload" in notes:
        phase["offload"] = "all"
    scenario = {"model": MODELS[row["model"]], "fleet": f"{devices}x{DEVICES[row['gpu']]}", "finetune": phase}
    name = f"{number}: {row['model']} {method} on {devices} {row['gpu']} {notes[-28:]}"
    yield _case("torchtune memory", name, scenario, "memory_allocated_bytes", float(row["mem_gib_per_gpu"]) * GIB,
                "bytes", "memory")
    tokens = float(devices * batch * sequence)  # printed for all devices together: per device it would pass the peak
    seconds = tokens / float(row["tokens_per_s_per_gpu"])
    yield _case("torchtune time", name, scenario, "step_time_s", seconds, "s", "time")


STEPS = ("+packed", "+compile", "+chunked CE", "+activation checkpointing", "+optimizer in bwd",
         "+activation offloading", "+8-bit AdamW")


def _ladder(step: str, method: str) -> dict[str, Any]:
    """Options of one rung: each keeps those before it."""
    at = STEPS.index(step) if step in STEPS else len(STEPS)
    found: dict[str, Any] = {"compile": at >= 1, "fused_cross_entropy": at >= 2, "gradient_checkpointing": at >= 3,
                             "activation_offload": at >= 5}
    if method == "full":
        found |= {"optimizer_in_backward": at >= 4, "optimizer": "adamw-8bit" if at >= 6 else "adamw"}
    return found


def _profile(row: Row, number: int) -> Iterator[Case]:
    reader = _litgpt if row["id"].startswith("litgpt") else _qwen
    yield from reader(row)


def litgpt_scenario(row: Row) -> dict[str, Any]:
    """What a row of litgpt's table ran, or tried to."""
    batch = int(row["micro_batch"])
    method, base = row["method"].lower().replace("_", "-"), row["quantization"].removeprefix("bnb.")
    quantised = base.startswith("nf4")
    phase: dict[str, Any] = {
        "method": "qlora" if method == "lora" and quantised else method, "framework": "litgpt",
        "base_precision": base if quantised else "bf16", "sequence_length": int(row["seq_len_max"]),
        "longest": int(row["seq_len_max"]), "mean": ALPACA_MEAN, "micro_batch": batch,
        "gradient_accumulation": LITGPT_BATCH // batch, "gradient_checkpointing": False}
    if method == "lora":
        phase |= {"rank": int(row["lora_r"]), "target_modules": ["q", "v"]}
    return {"model": "llama-2-7b", "fleet": f"1x{DEVICES[row['hardware']]}", "finetune": phase}


def _litgpt(row: Row) -> Iterator[Case]:
    if not row["out_max_gpu_ram"].endswith("GB"):
        return
    batch, scenario = int(row["micro_batch"]), litgpt_scenario(row)
    yield _case("litgpt memory", row["id"], scenario, "memory_allocated_bytes",
                float(row["out_max_gpu_ram"].split()[0]) * 1e9, "bytes", "memory")
    minutes = float(row["out_time_1k_iters"].split()[0])
    yield _case("litgpt time", row["id"], scenario, "step_time_s", minutes * 60 / 1000 * (LITGPT_BATCH // batch), "s",
                "time")


def _qwen(row: Row) -> Iterator[Case]:
    devices = int(row["n_gpus"])
    quantised, full = row["method"].startswith("Q"), row["method"].startswith("Full")
    phase: dict[str, Any] = {
        "method": "full" if full else "qlora" if quantised else "lora", "sequence_length": int(row["seq_len_max"]),
        "framework": "deepspeed" if devices > 1 or quantised else "transformers", "micro_batch": 1,
        "gradient_accumulation": QWEN_ACCUMULATION, "gradient_checkpointing": True}
    if not full:
        phase |= {"rank": int(row["lora_r"]), "target_modules": ["c_attn", "c_proj", "w1", "w2"]}
    if quantised:
        phase["base_precision"] = "gptq-int4"
    if "emb" in row["method"]:
        phase["modules_to_save"] = ["embedding", "head"]
    if devices > 1:
        phase["layout"] = {"zero": 3 if full else 2}
    fleet: dict[str, Any] = {"device": DEVICES[row["hardware"]], "devices": devices}
    if devices > 2:
        fleet["devices_per_node"] = 2
    model = {"name": "Qwen-7B", "layers": 32, "hidden": 4096, "heads": 32, "kv_heads": 32, "ffn": 11008,
             "vocab": 151936, "tied_embeddings": False, "biases": "qkv", "max_positions": 8192}
    scenario = {"model": model, "fleet": fleet, "finetune": phase}
    yield _case("qwen memory", row["id"], scenario, "memory_per_device_bytes",
                float(row["out_max_gpu_ram"].split()[0]) * 1e9 / devices, "bytes", "memory")
    yield _case("qwen time", row["id"], scenario, "step_time_s", float(row["out_s_per_iter"]), "s", "time")


def _mlperf(row: Row, number: int) -> Iterator[Case]:
    if row["benchmark"] != "llama2_70b_lora" or not row["median_tracked_throughput"]:
        return
    device = next((ours for theirs, ours in MLPERF_DEVICES if theirs in row["accelerator"]), None)
    if device is None:
        return
    batch, steps = int(row["global_batch"]), int(row["grad_accum"])
    phase = {
        "method": "lora",
        "framework": "nemo",
        "rank": 16,
        "target_modules": ["q", "k", "v", "o"],
        "micro_batch": 1,
        "sequence_length": MLPERF_SEQUENCE,
        "packing": True,
        "mean": MLPERF_SEQUENCE,
        "precision": "fp8",
        "global_batch": batch,
        "gradient_accumulation": steps,
    }
    fleet = {"device": device, "devices": int(row["n_accel"]), "devices_per_node": int(row["accel_per_node"])}
    name = f"{row['round']} {row['submitter']} {row['n_accel']}x {device} batch {batch}"
    yield _case("mlperf lora", name, {"model": "llama-2-70b", "fleet": fleet, "finetune": phase}, "step_time_s",
                batch / float(row["median_tracked_throughput"]), "s", "time")


def baseline(case: Case, result: Any) -> float | None:
    """The usual rule of thumb: weights in their type and 16 bytes a trained parameter; 4N or 6N at 35 % of peak."""
    phase, model = result.phases["finetune"], result.model
    trained, total = float(phase["trainable_parameters"].value), float(model["parameters"].value)
    devices = float((result.scenario.get("fleet") or {}).get("devices", 1))
    given = case.scenario["finetune"]
    if "memory" in case.number:
        held = 0.0 if trained >= total else (0.5 if given["method"] == "qlora" else 2.0) * total
        return (held + BASELINE_BYTES_PER_PARAMETER * trained) / (devices if phase["layout"]["zero"] == 3 else 1.0)
    rate = phase["model_flops_utilization"]
    peak = float(rate.inputs[-1].value)
    passes = 6.0 if trained >= total else 4.0
    tokens = float(phase["tokens_per_s_per_device"].value) * float(phase["step_time_s"].value) * devices
    return passes * total * tokens / (devices * peak * BASELINE_UTILIZATION)
