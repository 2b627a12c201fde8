"""Published step times as scenarios: one adapter a source, from its table row to the contract's words.

A case holds what a person who ran that job would have typed, and the seconds of one step that were measured.
Rows without a time, and kinds of run the tool does not plan, give None.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Row = Mapping[str, str]
DENSE_TRUTH = (
    "vtrain_multi",
    "vtrain_single",
    "mosaic_llmfoundry",
    "megatron_bridge",
    "simumax_b200",
    "torchtitan",
    "maxtext_tpu",
    "narayanan_2021_table1",
    "korthikanti_2022",
    "mlperf_training",
)


@dataclass(frozen=True, slots=True)
class TimeCase:
    """One measured step. `left_out` names what a fit must not have seen: the model within the source."""

    source: str
    scenario: dict[str, Any]
    step_time_s: float
    left_out: str
    device: str
    evidence: str  # evidence class of the residual

    @property
    def repeat_key(self) -> str:
        return repr((self.source, self.scenario))


DEVICES = {
    "A100": "a100-sxm4-80gb",
    "A100-SXM-80GB": "a100-sxm4-80gb",
    "a100_80gb": "a100-sxm4-80gb",
    "a100_40gb": "a100-sxm4-40gb",
    "h100_80gb": "h100-sxm5-80gb",
    "DGX-H100": "h100-sxm5-80gb",
    "H100": "h100-sxm5-80gb",
    "H200": "h200-sxm-141gb",
    "DGX-GB200": "gb200",
    "DGX-GB300": "gb300",
    "DGX-B200": "b200-sxm",
    "DGX-B300": "b300-sxm",
    "B200-SXM": "b200-sxm",
    "TPU v4": "tpu-v4",
    "TPU v5e": "tpu-v5e",
    "TPU v5p": "tpu-v5p",
    "TPU v6e": "tpu-v6e",
}
PUBLISHED_NAMES = {
    "DeepSeekV3": "deepseek-ai/DeepSeek-V3",
    "DeepSeekV4 Flash": "deepseek-ai/DeepSeek-V4-Flash",
    "GPT OSS 120B": "openai/gpt-oss-120b",
    "GPT OSS 20B": "openai/gpt-oss-20b",
    "Qwen3_30B_a3B": "Qwen/Qwen3-30B-A3B",
    "Qwen3_235B_a22B": "Qwen/Qwen3-235B-A22B",
    "Nemotron_3_Nano": "nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-BF16",
    "Nemotron_3_Ultra": "nvidia/NVIDIA-Nemotron-3-Ultra-550B-A55B-BF16",
    "Kimi_K2": "moonshotai/Kimi-K2-Instruct",
    "Llama 2 70B": "meta-llama/Llama-2-70b-hf",
    "Mixtral 8X7B": "mistralai/Mixtral-8x7B-v0.1",
}


def number(row: Row, name: str, default: float = 0.0) -> float:
    """The first number in a cell; "1 (2)" gives the value outside the parentheses.

    >>> number({"tp": "1 (2)"}, "tp"), number({"tp": ""}, "tp", 1.0)
    (1.0, 1.0)
    """
    found = re.match(r"\s*([-+0-9.eE]+)", row.get(name) or "")
    return float(found.group(1)) if found else default


def count(row: Row, name: str, default: int = 1) -> int:
    return int(number(row, name, float(default)))


def gpt(row: Row, vocab: int = 51200, **more: Any) -> dict[str, Any]:
    """A GPT-2 shaped decoder: learned positions, biases, four times hidden, no gate."""
    return {
        "layers": count(row, "layers"),
        "hidden": count(row, "hidden"),
        "heads": count(row, "heads"),
        "kv_heads": count(row, "kv_heads", count(row, "heads")),
        "ffn": count(row, "ffn", 4 * count(row, "hidden")),
        "gated": False,
        "vocab": count(row, "vocab", vocab),
        "tied_embeddings": True,
        "biases": "all",
        "positions": "learned",
        "max_positions": count(row, "seq"),
        **more,
    }


def llama(row: Row) -> dict[str, Any]:
    return {
        "layers": count(row, "layers"),
        "hidden": count(row, "hidden"),
        "heads": count(row, "heads"),
        "kv_heads": count(row, "kv_heads"),
        "ffn": count(row, "ffn"),
        "gated": True,
        "vocab": count(row, "vocab"),
        "tied_embeddings": False,
        "biases": "none",
        "positions": "rope",
    }


def _recompute(row: Row) -> str:
    text = (row.get("recompute") or "").lower()
    return (
        "full"
        if text.startswith("full")
        else "selective"
        if ("selective" in text or "sac" in text)
        else "none"
    )


def _layout(row: Row, **more: Any) -> dict[str, Any]:
    tensor, pipeline, context = count(row, "tp"), count(row, "pp"), count(row, "cp")
    return {
        "tensor": tensor,
        "pipeline": pipeline,
        "context": context,
        "virtual_pipeline": count(row, "vpp"),
        "data": max(count(row, "n_gpus") // (tensor * pipeline * context), 1),
        "micro_batch": count(row, "micro_batch"),
        "recompute": _recompute(row),
        **more,
    }


def _case(
    source: str,
    row: Row,
    model: Any,
    evidence: str,
    pretrain: dict[str, Any],
    fleet: dict[str, Any] | None = None,
    step_s: float = 0.0,
) -> TimeCase | None:
    step_s = step_s or number(row, "step_time_s")
    device = DEVICES.get(row["gpu"])
    if not step_s or device is None:
        return None
    scenario = {
        "model": model,
        "fleet": {"device": device, "devices": count(row, "n_gpus"), **(fleet or {})},
        "pretrain": pretrain,
    }
    left_out = "-".join(row.get(k) or "" for k in ("model", "layers", "hidden"))
    return TimeCase(source, scenario, step_s, left_out, device, evidence)


def vtrain(row: Row) -> TimeCase | None:
    """Megatron-DeepSpeed of 2022: no flash attention, all-reduce data parallelism, layers recomputed in all
    runs.

    The repository's configuration turns checkpointing on; the table of single-node runs leaves the cell
    blank.
    """
    source = "vtrain_single" if "single" in row["source"] else "vtrain_multi"
    return _case(
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
            "layout": _layout(row, zero=0, sequence_parallel=False, recompute="full"),
        },
    )


def megatron_papers(row: Row) -> TimeCase | None:
    """Narayanan 2021 and Korthikanti 2022; the first does not state its micro-batch and pipeline."""
    text = (row.get("recompute") or "").lower()
    source = "narayanan_2021_table1" if row["source"].startswith("Narayanan") else "korthikanti_2022"
    layout = _layout(row, zero=0, sequence_parallel="sequence parallel" in text)
    return _case(
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
    return _case(
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
            "layout": _layout(row, zero=3 if full else 2),
        },
    )


def torchtitan(row: Row) -> TimeCase | None:
    notes = row["notes"].lower()
    layout = _layout(row, zero=3, sequence_parallel=count(row, "tp") > 1)
    batch = count(row, "global_batch", layout["data"] * layout["micro_batch"])
    rate = number(row, "tokens_per_s_per_gpu")
    step = batch * count(row, "seq") / (rate * count(row, "n_gpus")) if rate else 0.0
    capped = "500W" in row["gpu"]
    gpu = {**row, "gpu": "H100" if row["gpu"].startswith("H100") else row["gpu"]}
    return _case(
        "torchtitan",
        gpu,
        llama(row),
        "fsdp",
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
    layout = _layout(row, zero=3 if sharded else 1, sequence_parallel=tensor > 1, expert=count(row, "ep"))
    return _case(
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
    return _case(
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
            "layout": _layout(row, zero=1, sequence_parallel=tensor > 1),
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


# sequences a chip, tensor split and rematerialisation of the launch scripts (configs/tpu/*/*.sh)
MAXTEXT_RUNS = {
    ("TPU v4", "22B"): (13, 1, "full"),
    ("TPU v4", "52B"): (7, 1, "full"),
    ("TPU v5e", "16B"): (6, 1, "full"),
    ("TPU v5e", "32B"): (4, 1, "full"),
    ("TPU v5e", "64B"): (1, 1, "full"),
    ("TPU v5e", "128B"): (1, 16, "full"),
    ("TPU v5p", "32B"): (7, 4, "selective"),
    ("TPU v5p", "64B"): (3, 4, "selective"),
    ("TPU v5p", "128B"): (1, 8, "selective"),
    ("TPU v5p", "256B"): (1, 8, "selective"),
    ("TPU v5p", "512B"): (2, 8, "full"),
    ("TPU v5p", "1024B"): (2, 16, "full"),
}
MAXTEXT_SCALES = ("16B", "32B", "64B", "128B", "256B", "512B", "1024B")


def maxtext_scaled(scale: int) -> dict[str, Any]:
    """MaxText's synthetic decoder of `global_parameter_scale`: its base shape with dimensions doubled in
    turn.

    >>> maxtext_scaled(32)["layers"], maxtext_scaled(32)["hidden"], maxtext_scaled(32)["ffn"]
    (32, 8192, 28672)
    """
    doublings, rest = divmod(scale.bit_length() - 1, 3)
    hidden = 2048 * 2 ** (doublings + (rest > 1))
    heads = 16 * 2 ** (doublings + (rest > 0))
    return {
        "layers": 16 * 2**doublings,
        "hidden": hidden,
        "heads": heads,
        "kv_heads": heads,
        "head_dim": 128,
        "ffn": 7168 * 2 ** (doublings + (rest > 0)),
        "gated": True,
        "vocab": 32000,
        "tied_embeddings": False,
        "biases": "none",
        "positions": "rope",
    }


def maxtext_model(name: str) -> Any:
    label = name.removeprefix("MaxText ")
    if label in MAXTEXT_SCALES:
        return maxtext_scaled(int(label[:-1]))
    # github.com/AI-Hypercomputer/maxtext configs/tpu/v4/22b.sh and 52b.sh; heads of 256 and a plain MLP give
    # their names
    explicit = {"22B": (6144, 24, 24576, 48), "52B": (12288, 32, 49152, 32)}
    if label in explicit:
        hidden, heads, ffn, layers = explicit[label]
        return {
            "layers": layers,
            "hidden": hidden,
            "heads": heads,
            "kv_heads": heads,
            "head_dim": 256,
            "ffn": ffn,
            "gated": False,
            "vocab": 32000,
            "tied_embeddings": False,
            "biases": "none",
            "positions": "rope",
        }
    return PUBLISHED_NAMES.get(name)


def maxtext(row: Row) -> TimeCase | None:
    """TFLOP/s per chip (or tokens/s) into seconds by the page's own counting of model FLOPs, causal
    attention.
    """
    model = maxtext_model(row["model"])
    if model is None:
        return None
    chips, sequence = count(row, "n_gpus"), count(row, "seq", 2048)
    label = row["model"].removeprefix("MaxText ")
    per_chip, tensor, recompute = MAXTEXT_RUNS.get((row["gpu"], label), (4, 1, "full"))
    tokens = per_chip * sequence
    rate = number(row, "tokens_per_s_per_gpu")
    pod = {"TPU v5p": 8960, "TPU v4": 4096, "TPU v5e": 256, "TPU v6e": 256}.get(row["gpu"], 256)
    slices = re.match(r"\s*(\d+)x", row["notes"])
    size = chips // int(slices.group(1)) if slices else min(pod, chips)
    if rate:
        step = tokens / rate
    elif isinstance(model, dict):
        step = tokens * _model_flop_per_token(model, sequence) / (number(row, "tflops_per_gpu") * 1e12)
    else:
        return None
    return _case(
        "maxtext_tpu",
        row,
        model,
        "tpu",
        {
            "sequence_length": sequence,
            "global_batch": per_chip * chips,
            "precision": "bf16",
            "framework": "maxtext",
            "attention": "flash",
            "layout": {
                "tensor": tensor,
                "data": chips // tensor,
                "zero": 3,
                "shard": size // tensor,
                "sequence_parallel": tensor > 1,
                "micro_batch": per_chip * tensor,
                "recompute": recompute,
            },
        },
        {"scale_up_devices": size},
        step,
    )


def _model_flop_per_token(model: Mapping[str, Any], sequence: int) -> float:
    """6 FLOP per matrix parameter and 6·L·heads·d·s for causal attention."""
    hidden, width = model["hidden"], model["heads"] * model["head_dim"]
    layer = hidden * (4 * width + (3 if model["gated"] else 2) * model["ffn"])
    return 6.0 * float(model["layers"] * (layer + width * sequence) + hidden * model["vocab"])


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
