"""MaxText's published TFLOP/s on TPUs as step times; its synthetic models by their launch scripts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from outlay.validate.time_rows import PUBLISHED_NAMES, Row, TimeCase, case_of, count, number

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
    return case_of(
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
