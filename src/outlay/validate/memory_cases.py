"""Published training-memory measurements as scenarios in the contract's vocabulary."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from outlay.validate.memory_megatron import megatron_case
from outlay.validate.memory_rows import GIB, MemoryCase, number, recompute

__all__ = ["MemoryCase", "memory_case"]


def memory_case(table: str, row: Mapping[str, str]) -> MemoryCase | None:
    """The case behind one row of a truth table, or None where the row has no memory figure."""
    reader = {
        "simumax_b200": _simumax,
        "torchtitan": _torchtitan,
        "megatron_golden_memory": megatron_case,
        "korthikanti_2022": _korthikanti,
    }.get(table)
    return reader(row) if reader else None


def _llama(row: Mapping[str, str], seq: int) -> dict[str, Any]:
    return {
        "layers": number(row, "layers"),
        "hidden": number(row, "hidden"),
        "heads": number(row, "heads"),
        "kv_heads": number(row, "kv_heads"),
        "ffn": number(row, "ffn"),
        "gated": True,
        "vocab": number(row, "vocab"),
        "tied_embeddings": False,
        "positions": "rope",
        "max_positions": seq,
    }


def _simumax(row: Mapping[str, str]) -> MemoryCase | None:
    if not row.get("mem_gib_per_gpu"):
        return None
    name = row["source"].rpartition("(")[2].rstrip(")")
    seq, tensor = number(row, "seq"), number(row, "tp", 1)
    pipeline, context = number(row, "pp", 1), number(row, "cp", 1)
    devices = number(row, "n_gpus", 8)
    micro = number(row, "micro_batch", 1)
    batches = re.search(r"mbc(\d+)", name)
    data = devices // (tensor * pipeline * context)
    batch = int(batches.group(1)) * micro * data if batches else number(row, "global_batch")
    layout: dict[str, Any] = {
        "tensor": tensor,
        "sequence_parallel": tensor > 1,
        "pipeline": pipeline,
        "virtual_pipeline": number(row, "vpp", 1),
        "context": context,
        "data": data,
        "zero": 1,
        "micro_batch": micro,
        "recompute": recompute(row.get("recompute", "")),
    }
    model = _llama(row, seq)
    if number(row, "experts"):
        layout |= {"expert": number(row, "ep", 1), "expert_tensor": 1}
        model |= {"experts": number(row, "experts"), "experts_per_token": number(row, "topk")}
    scenario = {
        "model": model,
        "fleet": {"device": "b200-sxm", "devices": devices},
        "pretrain": {
            "sequence_length": seq,
            "global_batch": batch,
            "precision": "bf16",
            "framework": "megatron",
            "attention": "flash",
            "optimizer": "adamw",
            "fused_cross_entropy": name.endswith("cef"),
            "layout": layout,
        },
    }
    kind = "moe-megatron" if number(row, "experts") else "dense-megatron"
    return MemoryCase(
        "simumax_b200",
        name,
        kind,
        scenario,
        float(row["mem_gib_per_gpu"]) * GIB,
        "memory_allocated_bytes",
        "fullest",
    )


def _torchtitan(row: Mapping[str, str]) -> MemoryCase | None:
    if not row.get("mem_gib_per_gpu"):
        return None
    seq, devices, notes = number(row, "seq"), number(row, "n_gpus"), row.get("notes", "")
    tensor, pipeline, context = (number(row, k, 1) for k in ("tp", "pp", "cp"))
    data = devices // (tensor * pipeline * context)
    micro = number(row, "micro_batch", 1)
    late = "202506" in row["source"]  # compiles the loss too, since 2025
    layout = {
        "tensor": tensor,
        "sequence_parallel": tensor > 1,
        "pipeline": pipeline,
        "context": context,
        "data": data,
        "zero": 3,
        "micro_batch": micro,
        "recompute": recompute(row.get("recompute", "")),
    }
    scenario = {
        "model": _llama(row, seq),
        "fleet": {
            "device": "h200-sxm-141gb" if row["gpu"] == "H200" else "h100-sxm5-80gb",
            "devices": devices,
        },
        "pretrain": {
            "sequence_length": seq,
            "global_batch": number(row, "global_batch", data * micro),
            "precision": "fp8" if "8" in row["precision"].split("(")[0] else "bf16",
            "framework": "torchtitan",
            "attention": "flash",
            "optimizer": "adamw",
            "compile": "compile" in notes,
            "fused_cross_entropy": late and "compile" in notes,
            "layout": layout,
        },
    }
    if row["precision"] == "bf16":
        scenario["pretrain"]["precision"] = "bf16"
    name = f"{devices} GPUs seq {seq} {row['precision']} {notes.split(';')[0]}"
    return MemoryCase(
        "torchtitan",
        name,
        "fsdp",
        scenario,
        float(row["mem_gib_per_gpu"]) * GIB,
        "memory_reserved_bytes",
        "fullest",
    )


def _korthikanti(row: Mapping[str, str]) -> MemoryCase | None:
    """Activations alone: the figure's parameters leave embeddings out."""
    found = re.search(r"activations ([\d.]+) GiB", row.get("mem_kind") or "")
    if found is None:
        return None
    seq, devices = number(row, "seq"), number(row, "n_gpus")
    model = _llama(row, seq) | {
        "gated": False,
        "positions": "learned",
        "tied_embeddings": True,
        "biases": "all",
        "norm": "layer",
    }
    parallel = "sequence parallel" in row["recompute"]
    layout = {
        "tensor": number(row, "tp"),
        "sequence_parallel": parallel,
        "pipeline": number(row, "pp"),
        "virtual_pipeline": number(row, "vpp", 1),
        "data": number(row, "dp", 1),
        "zero": 0,
        "micro_batch": number(row, "micro_batch"),
        "recompute": recompute(row["recompute"]),
    }
    scenario = {
        "model": model,
        "fleet": {"device": "a100-sxm4-80gb", "devices": devices},
        "pretrain": {
            "sequence_length": seq,
            "global_batch": number(row, "global_batch"),
            "precision": "fp16",
            "framework": "megatron",
            "attention": "unfused",
            "optimizer": "adamw",
            "layout": layout,
        },
    }
    return MemoryCase(
        "korthikanti_2022",
        f"{row['model']} {row['recompute']}",
        "dense-megatron",
        scenario,
        float(found.group(1)) * GIB,
        "memory_parts.activations",
        "fullest",
    )
