"""How published serving runs were set up, where the table does not print it but their public configurations do.

InferenceMAX (SemiAnalysisAI/InferenceX, Apache-2.0, .github/configs and benchmarks, January to March 2026) names each
run's image and whether tokens were drafted; the table prints the image and the day. Nothing here is a measurement.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from msgspec import Struct

Row = Mapping[str, str]
DAY = re.compile(r"measured=(\d{4}-\d{2}-\d{2})")


class Runs(Struct, frozen=True):
    """Runs of one image: tokens drafted a step, on tensor ranks and on attention ranks; None: run with and without."""

    image: str  # as the table prints engine and version
    model: str  # how its name starts
    precision: str  # empty: any
    day: str  # when measured; empty: any
    prompt: str  # tokens of it; empty: any
    least: float  # concurrency
    most: float
    tensor: int  # devices of a tensor group; 0: any
    drafted: int | None
    drafted_ranks: int | None


EVERY = float("inf")
# Models whose cache these runs keep in 8 bits (the mixed-precision ones of Qwen3.5 too), and on which devices.
SHORT_CACHE = (("deepseek", ""), ("glm-5", ""), ("qwen3.5", ""), ("gpt-oss", "b200"), ("gpt-oss", "gb"))
RUNS = (
    # dsr1-fp4/fp8-b200-trt-mtp and -h200-trt-mtp: three prediction layers, one with attention ranks.
    Runs("trtllm 1.1.0rc2.post2", "deepseek", "", "2026-01-14", "", 0, EVERY, 0, 3, 1),
    Runs("trtllm 1.2.0rc6.post3", "deepseek", "", "", "", 0, EVERY, 0, 3, 1),
    # dsr1-fp8-b200-sglang-mtp: two steps of EAGLE, beside dsr1-fp8-b200-sglang up to a concurrency of 64; with long
    # prompts that has eight devices for a concurrency of 4 only.
    Runs("sglang 0.5.9", "deepseek", "fp8", "", "", 65, EVERY, 8, 2, 2),
    Runs("sglang 0.5.9", "deepseek", "fp8", "", "8192", 5, 64, 8, 2, 2),
    Runs("sglang 0.5.9", "deepseek", "fp8", "", "", 0, 64, 8, None, None),
    # qwen3.5-fp8-b200-sglang-mtp, on four devices: three steps; without drafting it has eight, or experts apart.
    Runs("sglang 0.5.9", "qwen3.5", "fp8", "", "", 0, EVERY, 4, 3, 3),
)


def drafted(row: Row, model: str, tensor: int, data: int, expert: int) -> int | None:
    """Tokens drafted a step in a run of one pool, 0 where none were; None where both are published under its name."""
    day = DAY.search(row.get("notes", ""))
    at_once = float(row.get("concurrency") or 0.0)
    for runs in RUNS:
        if (
            row["engine_version"] == runs.image
            and model.startswith(runs.model)
            and runs.precision in ("", row["precision"])
            and runs.day in ("", day[1] if day else None)
            and runs.prompt in ("", row["input_len"])
            and runs.least <= at_once <= runs.most
            and (not runs.tensor or (tensor, data, expert) == (runs.tensor, 1, 1))
        ):
            return runs.drafted_ranks if data > 1 else runs.drafted
    return 0


def cache_precision(row: Row, model: str) -> str:
    """Of a run of that benchmark, as its scripts set it: fp8, or empty where they leave it to the engine."""
    public = "src=source_file=20" in row.get("notes", "") or "src=db-dump" in row.get("notes", "")
    if not public or row["precision"] == "bf16":
        return ""
    return "fp8" if any(model.startswith(m) and row["gpu"].startswith(d) for m, d in SHORT_CACHE) else ""
