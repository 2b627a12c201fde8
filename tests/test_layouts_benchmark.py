"""The benchmark's measurements run, on a small case, and what they evaluate is every legal layout."""

from __future__ import annotations

from pathlib import Path
from runpy import run_path
from types import SimpleNamespace

CHILD = Path(__file__).parents[1] / "benchmarks" / "search_child.py"
SCENARIO = {"model": "llama-3.1-8b", "fleet": "16xh100-sxm5-80gb",
            "pretrain": {"sequence_length": 4096, "global_batch": 64}}


def test_benchmark_evaluates_every_layout_and_equals_the_scalar_plan() -> None:
    child = SimpleNamespace(**run_path(str(CHILD)))
    given = child.inputs(SCENARIO)
    found, every = child.run_search(*given), child.run_every(*given)
    assert 0 < found["fitting"] <= found["legal"] == every["legal"] == every["fitting"]
    equal = child.run_equal(*given, rows=20)
    assert equal["rows"] == 20 and equal["largest"] < 1e-9
