"""Megatron-LM's own test runs as scenarios: arguments of the run, peak bytes of its last pipeline rank."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from outlay.validate.memory_rows import GIB, MemoryCase, number, recompute

_ENCODERS = re.compile(r"^(bert|t5|vit|mimo|multimodal)")
_ROLLOUT = re.compile(r"grpo")
_TOKENIZER_VOCAB = {"": 50257, "TikTokenizer": 131072, "GPTSentencePieceTokenizer": 256000}


def megatron_case(row: Mapping[str, str]) -> MemoryCase | None:
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
        "sequence_length": number(row, "seq", 512),
        "global_batch": number(row, "global_batch"),
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
    hidden, heads, gated = number(row, "hidden"), number(row, "heads"), bool(row.get("swiglu"))
    modern = row.get("normalization") == "RMSNorm" or gated or "rope" in row["test"]
    ffn = number(row, "ffn") or (int(4 * hidden * 2 / 3 / 64) * 64 if gated else 4 * hidden)
    model: dict[str, Any] = {
        "layers": number(row, "layers"),
        "hidden": hidden,
        "heads": heads,
        "gated": gated,
        "ffn": ffn,
        "kv_heads": number(row, "kv_heads", heads),
        "vocab": _vocab(row, args),
        "tied_embeddings": not row.get("untie"),
        "positions": "rope" if modern else "learned",
        "biases": "none" if args.get("--disable-bias-linear") else "all",
        "norm": "rms" if row.get("normalization") == "RMSNorm" else "layer",
        "max_positions": number(row, "seq", 512),
    }
    if row.get("kv_channels") and not row.get("mla"):
        model["head_dim"] = number(row, "kv_channels")
    if row.get("mla"):
        model["mla"] = {
            "kv_lora_rank": number(row, "kv_lora"),
            "q_lora_rank": number(row, "q_lora"),
            "qk_rope_head_dim": 64,
            "qk_nope_head_dim": 128,
            "v_head_dim": 128,
        }
    if number(row, "experts"):
        model |= {
            "experts": number(row, "experts"),
            "experts_per_token": number(row, "topk", 2),
            "expert_ffn": number(row, "moe_ffn") or ffn,
            "dense_layers": _dense_layers(args),
        }
        if number(row, "shared_expert_ffn"):
            model["shared_expert_ffn"] = number(row, "shared_expert_ffn")
    if number(row, "mtp"):
        model["mtp_layers"] = number(row, "mtp")
    pattern = str(args.get("--hybrid-layer-pattern") or row.get("hybrid_layer_pattern") or "")
    return _hybrid(model, pattern) if pattern else model


def _vocab(row: Mapping[str, str], args: Mapping[str, Any]) -> int:
    """Vocabulary as padded by the run, from its note: a size, or the tokenizer of the test set."""
    size, _, tokenizer = (row.get("vocab_note") or "").partition("tok=")
    vocab = int(size) if size.strip() else _TOKENIZER_VOCAB.get(tokenizer.strip(), 50257)
    multiple = int(args.get("--make-vocab-size-divisible-by", 128)) * number(row, "tp", 1)
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
    tensor, pipeline, context, expert = (number(row, k, 1) for k in ("tp", "pp", "cp", "ep"))
    expert_tensor = number(row, "etp") or (tensor if expert * tensor > 1 and model.get("experts") else 1)
    smallest = max(1, math.ceil(expert * expert_tensor / (tensor * context)))
    node = 8 if row.get("kind") == "ci_small_model" else 0  # a test machine where the count is missing
    data = max(number(row, "n_gpus", node) // (tensor * pipeline * context), smallest)
    micro = number(row, "micro_batch", 1)
    data = min(data, max(1, number(row, "global_batch") // micro))
    named = re.search(r"_vpp(\d)", row["test"])
    virtual = number(row, "vpp") or (int(named.group(1)) if named else 0)
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
    return "none" if listed and "core_attn" not in listed.group(1) else recompute(text)
