"""Published step times as scenarios: one adapter a source, from its table row to the contract's words.

A case holds what a person who ran that job would have typed, and the seconds of one step that were measured.
Rows without a time, and kinds of run the tool does not plan, give None.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from outlay.validate.time_rows import (
    PUBLISHED_NAMES,
    Row,
    TimeCase,
    case_of,
    count,
    gpt,
    layout_of,
    llama,
    number,
)
from outlay.validate.time_tpu import maxtext


def vtrain(row: Row) -> TimeCase | None:
    """Megatron-DeepSpeed of 2022: no flash attention, all-reduce data parallelism, layers recomputed in all
    runs.

    The repository's configuration turns checkpointing on; the table of single-node runs leaves the cell
    blank.
    """
    source = "vtrain_single" if "single" in row["source"] else "vtrain_multi"
    return case_of(
        source,
        row,
        gpt(row),
        "dense-legacy",
        {
            "sequence_length": count(row, "seq"),
            "global_batch": count(row, "global_batch"),
            "precision": "fp16",
            "framework": "deepspeed",
            "attention": "unfused",
            "layout": layout_of(row, zero=0, sequence_parallel=False, recompute="full"),
        },
    )


def megatron_papers(row: Row) -> TimeCase | None:
    """Narayanan 2021 and Korthikanti 2022; the first does not state its micro-batch and pipeline."""
    text = (row.get("recompute") or "").lower()
    source = "narayanan_2021_table1" if row["source"].startswith("Narayanan") else "korthikanti_2022"
    layout = layout_of(row, zero=0, sequence_parallel="sequence parallel" in text)
    return case_of(
        source,
        row,
        gpt(row),
        "dense-legacy",
        {
            "sequence_length": count(row, "seq"),
            "global_batch": count(row, "global_batch"),
            "precision": "fp16",
            "framework": "megatron",
            "attention": "unfused",
            "layout": layout,
        },
    )


def mosaic(row: Row) -> TimeCase | None:
    """llm-foundry with FSDP: FULL_SHARD or SHARD_GRAD_OP (weights gathered once a micro-batch)."""
    fp8 = "fp8" in row["precision"]
    full = "FULL" in (row.get("fsdp") or "")
    return case_of(
        "mosaic_llmfoundry",
        row,
        gpt(row, positions="alibi", biases="none"),
        "fsdp",
        {
            "sequence_length": count(row, "seq"),
            "global_batch": count(row, "global_batch"),
            "precision": "fp8" if fp8 else "bf16",
            "framework": "llm-foundry",
            "attention": "flash",
            "layout": layout_of(row, zero=3 if full else 2),
        },
    )


def torchtitan(row: Row) -> TimeCase | None:
    notes = row["notes"].lower()
    layout = layout_of(row, zero=3, sequence_parallel=count(row, "tp") > 1)
    batch = count(row, "global_batch", layout["data"] * layout["micro_batch"])
    rate = number(row, "tokens_per_s_per_gpu")
    step = batch * count(row, "seq") / (rate * count(row, "n_gpus")) if rate else 0.0
    capped = "500W" in row["gpu"]
    setup = f"{row['model']} {count(row, 'seq')} {'tensor' if count(row, 'tp') > 1 else 'sharded'}"
    gpu = {**row, "gpu": "H100" if row["gpu"].startswith("H100") else row["gpu"]}
    return case_of(
        "torchtitan",
        gpu,
        llama(row),
        "fsdp-compile",
        {
            "sequence_length": count(row, "seq"),
            "global_batch": batch,
            "precision": "bf16" if row["precision"] == "bf16" else "fp8",
            "framework": "torchtitan",
            "attention": "flash",
            "compile": "compile" in notes,
            "layout": layout,
        },
        {"device_power_limit_w": 500} if capped else None,
        step,
        setup,
    )


def bridge(row: Row) -> TimeCase | None:
    """Megatron-Bridge; layout cells as the page prints them, the distributed optimiser throughout.

    Its performance recipes reduce gradients in bf16 (grad_reduce_in_fp32 = False).
    """
    precision = row["precision"].lower().split(" ")[0]
    precision = {"fp8-cs": "fp8", "fp8-mx": "mxfp8"}.get(precision, precision)
    if precision.startswith("(2"):
        precision = "fp8"
    name = row["model"].split(" (")[0]
    moe = not number(row, "layers")
    model: Any = PUBLISHED_NAMES.get(name) if moe else llama(row)
    if model is None:
        return None
    if name == "DeepSeekV3" and "w/o MTP" in row["model"]:
        model = {"name": model, "mtp_layers": 0}
    tensor = count(row, "tp")
    sharded = number(row, "fsdp") > 0
    layout = layout_of(row, zero=3 if sharded else 1, sequence_parallel=tensor > 1, expert=count(row, "ep"))
    return case_of(
        "megatron_bridge_moe" if moe else "megatron_bridge_dense",
        row,
        model,
        "moe" if moe else "dense-megatron",
        {
            "sequence_length": count(row, "seq"),
            "global_batch": count(row, "global_batch"),
            "precision": precision,
            "framework": "megatron",
            "attention": "flash",
            "fused_cross_entropy": True,
            "gradient_precision": "bf16",
            "layout": layout,
        },
    )


def simumax(row: Row) -> TimeCase | None:
    tensor = count(row, "tp")
    return case_of(
        "simumax_b200",
        row,
        llama(row),
        "dense-megatron",
        {
            "sequence_length": count(row, "seq"),
            "global_batch": count(row, "global_batch"),
            "precision": "bf16",
            "framework": "megatron",
            "attention": "flash",
            "fused_cross_entropy": True,
            "layout": layout_of(row, zero=1, sequence_parallel=tensor > 1),
        },
    )


def mlperf(row: Row) -> TimeCase | None:
    """Llama 3.1 405B pretraining steps; the layout is left to the search."""
    if row["benchmark"] != "llama31_405b":
        return None
    device = {
        "NVIDIA H100-SXM5-80GB": "h100-sxm5-80gb",
        "NVIDIA H200-SXM5-141GB": "h200-sxm-141gb",
        "NVIDIA Blackwell GPU (GB200)": "gb200",
    }.get(row["accelerator"])
    step = number(row, "median_tracked_step_s")
    if device is None or not step:
        return None
    model = {
        "layers": 126,
        "hidden": 16384,
        "heads": 128,
        "kv_heads": 8,
        "ffn": 53248,
        "gated": True,
        "vocab": 128256,
        "tied_embeddings": False,
        "biases": "none",
        "positions": "rope",
    }
    scenario = {
        "model": model,
        "fleet": {"device": device, "devices": count(row, "n_accel")},
        "pretrain": {
            "sequence_length": count(row, "seq"),
            "global_batch": count(row, "global_batch"),
            "precision": "fp8",
            "framework": "megatron",
            "attention": "flash",
            "fused_cross_entropy": True,
        },
    }
    return TimeCase("mlperf_405b", scenario, step, "llama31_405b", device, "dense-megatron")


ADAPTERS: dict[str, Callable[[Row], TimeCase | None]] = {
    "vtrain_multi": vtrain,
    "vtrain_single": vtrain,
    "mosaic_llmfoundry": mosaic,
    "megatron_bridge": bridge,
    "simumax_b200": simumax,
    "torchtitan": torchtitan,
    "maxtext_tpu": maxtext,
    "narayanan_2021_table1": megatron_papers,
    "korthikanti_2022": megatron_papers,
    "mlperf_training": mlperf,
}


def time_cases(table: str, rows: Iterable[Row]) -> list[TimeCase]:
    """All cases of one published table."""
    return [case for case in map(ADAPTERS[table], rows) if case is not None]
