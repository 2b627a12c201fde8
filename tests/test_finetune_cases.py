"""Fine-tuning against published runs: no constant is fitted to them, so the bounds are those of runs never seen."""

from __future__ import annotations

from functools import cache

import pytest

from outlay.catalog import load
from outlay.validate.case import Outcome, score
from outlay.validate.scoreboard import predict, read_rows
from outlay.validate.tune_cases import TABLES, tune_cases


@cache
def outcomes() -> tuple[Outcome, ...]:
    catalog = load()
    return tuple(predict(case, catalog) for table in TABLES for case in tune_cases(table, read_rows(table)))


@pytest.mark.parametrize(("source", "median", "p90"), [
    ("torchtune memory", 0.07, 0.20), ("litgpt memory", 0.07, 0.20), ("qwen memory", 0.07, 0.20),
    ("mlperf lora", 0.15, 0.45), ("torchtune time", 0.20, 0.90), ("litgpt time", 0.20, 0.45), ("qwen time", 0.20, 0.65),
])
def test_published_runs(source: str, median: float, p90: float) -> None:
    found = score(source, [o for o in outcomes() if o.case.source == source])
    assert found.failed == 0
    assert found.median <= median
    assert found.p90 <= p90


def test_intervals_hold() -> None:
    found = score("all", outcomes())
    assert 0.65 <= found.inside <= 0.95
