"""Fine-tuning against published runs: no constant is fitted to them, so the bounds are those of runs never seen."""

from __future__ import annotations

from functools import cache

import pytest

from outlay import plan
from outlay.catalog import load
from outlay.validate.case import Outcome, score
from outlay.validate.predict import predict
from outlay.validate.tables import read_rows
from outlay.validate.tune_cases import TABLES, tune_cases


@cache
def outcomes() -> tuple[Outcome, ...]:
    catalog = load()
    return tuple(predict(case, catalog) for table in TABLES for case in tune_cases(table, read_rows(table)))


@pytest.mark.parametrize(("source", "median", "p90"), [
    ("torchtune memory", 0.07, 0.20), ("litgpt memory", 0.07, 0.20), ("qwen memory", 0.07, 0.20),
    ("mlperf lora", 0.15, 0.45), ("torchtune time", 0.20, 0.90), ("litgpt time", 0.20, 0.45), ("qwen time", 0.15, 0.55),
])
def test_published_runs(source: str, median: float, p90: float) -> None:
    found = score(source, [o for o in outcomes() if o.case.source == source])
    assert found.failed == 0
    assert found.median <= median
    assert found.p90 <= p90


def test_intervals_hold() -> None:
    found = score("all", outcomes())
    assert 0.65 <= found.inside <= 0.95


def test_a_published_out_of_memory_does_not_fit() -> None:
    """litgpt: Llama-2 7B, LoRA, four rows of up to 1,304 tokens ran out of the 40 GB that two rows leave room in."""
    def fits(micro_batch: int) -> bool:
        phase = plan({"model": "llama-2-7b", "fleet": "1xa100-sxm4-40gb", "finetune": {
            "method": "lora", "rank": 8, "target_modules": ["q", "v"], "framework": "litgpt", "sequence_length": 1304,
            "micro_batch": micro_batch, "gradient_checkpointing": False}}).phases["finetune"]
        return bool(phase["fits"])

    assert fits(2)
    assert not fits(4)
