"""Published training-memory measurements as scenarios in the contract's vocabulary."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

GIB = 2.0**30
_ENCODERS = re.compile(r"^(bert|t5|vit|mimo|multimodal)")
_ROLLOUT = re.compile(r"grpo")
_TOKENIZER_VOCAB = {"": 50257, "TikTokenizer": 131072, "GPTSentencePieceTokenizer": 256000}


@dataclass(frozen=True, slots=True)
class MemoryCase:
    """One measurement. field: which (dotted) result field to compare; stage: "fullest" or "last"."""

    source: str
    name: str
    evidence_class: str
    scenario: Mapping[str, Any]
    measured_bytes: float
    field: str
    stage: str
    resident_bytes: float | None = None  # allocated between steps, where the source gives it
    excluded: str = ""  # why it is not scored


def memory_case(table: str, row: Mapping[str, str]) -> MemoryCase | None:
    """The case behind one row of a truth table, or None where the row has no memory figure."""
    reader = {
        "simumax_b200": _simumax,
        "torchtitan": _torchtitan,
        "megatron_golden_memory": _megatron,
        "korthikanti_2022": _korthikanti,
    }.get(table)
    return reader(row) if reader else None


def _number(row: Mapping[str, str], key: str, default: int = 0) -> int:
    text = (row.get(key) or "").strip()
    return int(float(text)) if text else default


def _llama(row: Mapping[str, str], seq: int) -> dict[str, Any]:
    return {
        "layers": _number(row, "layers"),
        "hidden": _number(row, "hidden"),
        "heads": _number(row, "heads"),
        "kv_heads": _number(row, "kv_heads"),
        "ffn": _number(row, "ffn"),
        "gated": True,
        "vocab": _number(row, "vocab"),
        "tied_embeddings": False,
        "positions": "rope",
        "max_positions": seq,
    }


def _simumax(row: Mapping[str, str]) -> MemoryCase | None:
    if not row.get("mem_gib_per_gpu"):
        return None
    name = row["source"].rpartition("(")[2].rstrip(")")
    seq, tensor = _number(row, "seq"), _number(row, "tp", 1)
    pipeline, context = _number(row, "pp", 1), _number(row, "cp", 1)
    devices = _number(row, "n_gpus", 8)
    micro = _number(row, "micro_batch", 1)
    batches = re.search(r"mbc(\d+)", name)
    data = devices // (tensor * pipeline * context)
    batch = int(batches.group(1)) * micro * data if batches else _number(row, "global_batch")
    layout: dict[str, Any] = {
        "tensor": tensor,
        "sequence_parallel": tensor > 1,
        "pipeline": pipeline,
        "virtual_pipeline": _number(row, "vpp", 1),
        "context": context,
        "data": data,
        "zero": 1,
        "micro_batch": micro,
        "recompute": _recompute(row.get("recompute", "")),
    }
    model = _llama(row, seq)
    if _number(row, "experts"):
        layout |= {"expert": _number(row, "ep", 1), "expert_tensor": 1}
        model |= {"experts": _number(row, "experts"), "experts_per_token": _number(row, "topk")}
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
    kind = "moe-megatron" if _number(row, "experts") else "dense-megatron"
    return MemoryCase(
        "simumax_b200",
        name,
        kind,
        scenario,
        float(row["mem_gib_per_gpu"]) * GIB,
        "memory_allocated_bytes",
        "fullest",
    )


def _recompute(text: str) -> str:
    lowered = text.lower()
    return next(
        (kind for kind in ("selective", "full") if kind in lowered),
        "selective" if "sac" in lowered else "none",
    )


def _torchtitan(row: Mapping[str, str]) -> MemoryCase | None:
    if not row.get("mem_gib_per_gpu"):
        return None
    seq, devices, notes = _number(row, "seq"), _number(row, "n_gpus"), row.get("notes", "")
    tensor, pipeline, context = (_number(row, k, 1) for k in ("tp", "pp", "cp"))
    data = devices // (tensor * pipeline * context)
    micro = _number(row, "micro_batch", 1)
    late = "202506" in row["source"]  # compiles the loss too, since 2025
    layout = {
        "tensor": tensor,
        "sequence_parallel": tensor > 1,
        "pipeline": pipeline,
        "context": context,
        "data": data,
        "zero": 3,
        "micro_batch": micro,
        "recompute": _recompute(row.get("recompute", "")),
    }
    scenario = {
        "model": _llama(row, seq),
        "fleet": {
            "device": "h200-sxm-141gb" if row["gpu"] == "H200" else "h100-sxm5-80gb",
            "devices": devices,
        },
        "pretrain": {
            "sequence_length": seq,
            "global_batch": _number(row, "global_batch", data * micro),
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
    seq, devices = _number(row, "seq"), _number(row, "n_gpus")
    model = _llama(row, seq) | {
        "gated": False,
        "positions": "learned",
        "tied_embeddings": True,
        "biases": "all",
        "norm": "layer",
    }
    parallel = "sequence parallel" in row["recompute"]
    layout = {
        "tensor": _number(row, "tp"),
        "sequence_parallel": parallel,
        "pipeline": _number(row, "pp"),
        "virtual_pipeline": _number(row, "vpp", 1),
        "data": _number(row, "dp", 1),
        "zero": 0,
        "micro_batch": _number(row, "micro_batch"),
        "recompute": _recompute(row["recompute"]),
    }
    scenario = {
        "model": model,
        "fleet": {"device": "a100-sxm4-80gb", "devices": devices},
        "pretrain": {
            "sequence_length": seq,
            "global_batch": _number(row, "global_batch"),
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


def _megatron(row: Mapping[str, str]) -> MemoryCase | None:
    if not row.get("mem_max_alloc_gib"):
        return None
    args = json.loads(row.get("other_args") or "{}")
    name = row["test"]
    excluded = "encoder or multimodal model" if _ENCODERS.match(name) else ""
    excluded = excluded or ("rollout engine shares the device" if _ROLLOUT.search(name) else "")
    excluded = excluded or ("a teacher model beside the trained one" if "distill" in name else "")
    if not excluded and row.get("kind") == "release_run" and not row.get("n_gpus"):
        excluded = "number of devices not published"
    model = _megatron_model(row, args)
    layout = _megatron_layout(row, args, model)
    devices = layout["tensor"] * layout["pipeline"] * layout["context"] * layout["data"]
    device = {"H100": "h100-sxm5-80gb", "GB200": "gb200", "A100": "a100-sxm4-80gb"}[row["gpu"]]
    local = re.match(r"gpt3_mcore_tp\d", name) is not None  # no Transformer Engine: unfused attention
    pretrain = {
        "sequence_length": _number(row, "seq", 512),
        "global_batch": _number(row, "global_batch"),
        "precision": "fp8" if "--fp8-format" in args and row["precision"] != "fp32" else row["precision"],
        "framework": "megatron",
        "attention": "unfused" if row.get("attn_backend") == "unfused" or local else "flash",
        "optimizer": "muon" if "muon" in str(args.get("--optimizer")) else "adamw",
        "fused_cross_entropy": bool(args.get("--cross-entropy-loss-fusion")),
        "layout": layout,
    }
    scenario = {"model": model, "fleet": {"device": device, "devices": devices}, "pretrain": pretrain}
    return MemoryCase(
        "megatron_golden_memory",
        f"{name} {row['gpu']}",
        "moe-megatron" if model.get("experts") else "dense-megatron",
        scenario,
        float(row["mem_max_alloc_gib"]) * GIB,
        "memory_allocated_bytes",
        "last",
        float(row["mem_alloc_gib"]) * GIB if row.get("mem_alloc_gib") else None,
        excluded,
    )


def _megatron_model(row: Mapping[str, str], args: Mapping[str, Any]) -> dict[str, Any]:
    hidden, heads, gated = _number(row, "hidden"), _number(row, "heads"), bool(row.get("swiglu"))
    modern = row.get("normalization") == "RMSNorm" or gated or "rope" in row["test"]
    ffn = _number(row, "ffn") or (int(4 * hidden * 2 / 3 / 64) * 64 if gated else 4 * hidden)
    model: dict[str, Any] = {
        "layers": _number(row, "layers"),
        "hidden": hidden,
        "heads": heads,
        "gated": gated,
        "ffn": ffn,
        "kv_heads": _number(row, "kv_heads", heads),
        "vocab": _vocab(row, args),
        "tied_embeddings": not row.get("untie"),
        "positions": "rope" if modern else "learned",
        "biases": "none" if args.get("--disable-bias-linear") else "all",
        "norm": "rms" if row.get("normalization") == "RMSNorm" else "layer",
        "max_positions": _number(row, "seq", 512),
    }
    if row.get("kv_channels") and not row.get("mla"):
        model["head_dim"] = _number(row, "kv_channels")
    if row.get("mla"):
        model["mla"] = {
            "kv_lora_rank": _number(row, "kv_lora"),
            "q_lora_rank": _number(row, "q_lora"),
            "qk_rope_head_dim": 64,
            "qk_nope_head_dim": 128,
            "v_head_dim": 128,
        }
    if _number(row, "experts"):
        model |= {
            "experts": _number(row, "experts"),
            "experts_per_token": _number(row, "topk", 2),
            "expert_ffn": _number(row, "moe_ffn") or ffn,
            "dense_layers": _dense_layers(args),
        }
        if _number(row, "shared_expert_ffn"):
            model["shared_expert_ffn"] = _number(row, "shared_expert_ffn")
    if _number(row, "mtp"):
        model["mtp_layers"] = _number(row, "mtp")
    pattern = str(args.get("--hybrid-layer-pattern") or row.get("hybrid_layer_pattern") or "")
    return _hybrid(model, pattern) if pattern else model


def _vocab(row: Mapping[str, str], args: Mapping[str, Any]) -> int:
    """Vocabulary as padded by the run, from its note: a size, or the tokenizer of the test set."""
    size, _, tokenizer = (row.get("vocab_note") or "").partition("tok=")
    vocab = int(size) if size.strip() else _TOKENIZER_VOCAB.get(tokenizer.strip(), 50257)
    multiple = int(args.get("--make-vocab-size-divisible-by", 128)) * _number(row, "tp", 1)
    return math.ceil(vocab / multiple) * multiple


def _dense_layers(args: Mapping[str, Any]) -> int:
    found = re.match(r"\(\[0\]\*(\d+)", str(args.get("--moe-layer-freq", "")))
    return int(found.group(1)) if found else 0


def _hybrid(model: dict[str, Any], pattern: str) -> dict[str, Any]:
    """Layers written M (Mamba-2), - (MLP), * (attention), E (mixture); after / the prediction layers.

    Megatron's Mamba defaults: state 128, head dimension 64, 8 groups, expansion 2, convolution 4.
    """
    main, _, _ = pattern.partition("/")
    kinds = {
        "M": {
            "mixer": "mamba2",
            "heads": 2 * model["hidden"] // 64,
            "head_dim": 64,
            "state": 128,
            "groups": 8,
            "conv": 4,
            "mlp": "none",
            "norms": 1,
        },
        "-": {"mixer": "none", "mlp": "dense", "norms": 1},
        "*": {"mixer": "attention", "mlp": "none", "norms": 1},
        "E": {"mixer": "none", "mlp": "moe", "norms": 1},
    }
    word = main.replace("|", "")
    model = {key: value for key, value in model.items() if key != "dense_layers"}
    return model | {
        "layers": len(word),
        "positions": "none",
        "layer_pattern": word,
        "layer_kinds": {letter: kinds[letter] for letter in sorted(set(word))},
    }


def _megatron_layout(
    row: Mapping[str, str], args: Mapping[str, Any], model: Mapping[str, Any]
) -> dict[str, Any]:
    tensor, pipeline, context, expert = (_number(row, k, 1) for k in ("tp", "pp", "cp", "ep"))
    expert_tensor = _number(row, "etp") or (tensor if expert * tensor > 1 and model.get("experts") else 1)
    smallest = max(1, math.ceil(expert * expert_tensor / (tensor * context)))
    node = 8 if row.get("kind") == "ci_small_model" else 0  # a test machine where the count is missing
    data = max(_number(row, "n_gpus", node) // (tensor * pipeline * context), smallest)
    micro = _number(row, "micro_batch", 1)
    data = min(data, max(1, _number(row, "global_batch") // micro))
    named = re.search(r"_vpp(\d)", row["test"])
    virtual = _number(row, "vpp") or (int(named.group(1)) if named else 0)
    per_stage = virtual and (virtual == 1 or re.search(r"_vp\d", row["test"]) is not None)
    if per_stage and pipeline > 1:
        chunks = model["layers"] / (pipeline * virtual)
        virtual = int(chunks) if chunks == int(chunks) else virtual
    layout: dict[str, Any] = {
        "tensor": tensor,
        "sequence_parallel": bool(row.get("sp")) and tensor > 1,
        "pipeline": pipeline,
        "virtual_pipeline": max(virtual, 1),
        "context": context,
        "data": data,
        "micro_batch": micro,
        "zero": 3 if row.get("fsdp") else 1 if row.get("dist_opt") else 0,
        "recompute": _megatron_recompute(row.get("recompute", "")),
    }
    if model.get("experts"):
        layout |= {"expert": expert, "expert_tensor": expert_tensor}
    copies = int(args.get("--num-distributed-optimizer-instances", 1))
    if copies > 1:
        layout |= {"shard": data // copies} if data > copies else {"zero": 0}
    return layout


def _megatron_recompute(text: str) -> str:
    """Selective recomputation of listed modules keeps the attention core unless it is listed too."""
    listed = re.search(r"\[(.*)\]", text)
    return "none" if listed and "core_attn" not in listed.group(1) else _recompute(text)
