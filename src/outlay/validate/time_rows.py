"""A published step time as a case: the record, the cells of a table row, the shapes of models."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

Row = Mapping[str, str]


class TimeCase(Struct, frozen=True):
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


def recompute_of(row: Row) -> str:
    text = (row.get("recompute") or "").lower()
    return (
        "full"
        if text.startswith("full")
        else "selective"
        if ("selective" in text or "sac" in text)
        else "none"
    )


def layout_of(row: Row, **more: Any) -> dict[str, Any]:
    tensor, pipeline, context = count(row, "tp"), count(row, "pp"), count(row, "cp")
    return {
        "tensor": tensor,
        "pipeline": pipeline,
        "context": context,
        "virtual_pipeline": count(row, "vpp"),
        "data": max(count(row, "n_gpus") // (tensor * pipeline * context), 1),
        "micro_batch": count(row, "micro_batch"),
        "recompute": recompute_of(row),
        **more,
    }


def variant_free(model: str) -> str:
    """A model's name without how it was run, so that its variants are left out together.

    >>> variant_free("DeepSeekV3 (w/o MTP)"), variant_free("LLAMA3_8B")
    ('DeepSeekV3', 'LLAMA3_8B')
    """
    return model.split(" (")[0]


def case_of(
    source: str,
    row: Row,
    model: Any,
    evidence: str,
    pretrain: dict[str, Any],
    fleet: dict[str, Any] | None = None,
    step_s: float = 0.0,
    left_out: str = "",
) -> TimeCase | None:
    """The case of a row; left_out names its group where the model alone would hold the whole source."""
    step_s = step_s or number(row, "step_time_s")
    device = DEVICES.get(row["gpu"])
    if not step_s or device is None:
        return None
    scenario = {
        "model": model,
        "fleet": {"device": device, "devices": count(row, "n_gpus"), **(fleet or {})},
        "pretrain": pretrain,
    }
    left_out = left_out or "-".join(
        [variant_free(row.get("model") or ""), *(row.get(k) or "" for k in ("layers", "hidden"))]
    )
    return TimeCase(source, scenario, step_s, left_out, device, evidence)
