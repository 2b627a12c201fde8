"""Serving plans as a stranger checks them: every answer is whole, and moves the way queues and devices do."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace
from typing import Any

import pytest

from outlay.scenario_io import set_path

HERE = Path(__file__).parent
support = SimpleNamespace(**run_path(str(HERE / "fuzz_support.py")))
DENSE = {"layers": 16, "hidden": 2048, "heads": 32, "kv_heads": 8, "ffn": 8192, "gated": True, "vocab": 128256}
STATES = {"layers": 32, "hidden": 2560, "vocab": 50280, "ssm": {"kind": "mamba2", "every": 1}}
SERVE = {"max_model_len": 16384, "workload": {"concurrency": 8, "input": 1000, "output": 64}}
BASES: dict[str, dict[str, Any]] = {
    "vllm": {"model": DENSE, "fleet": "2xa100-sxm4-80gb", "site": "FR", "serve": SERVE},
    "states": {"model": STATES, "fleet": "rtx-4090", "serve": {**SERVE, "engine": "sglang"}},
    "mixture": {"model": "qwen3-30b-a3b", "fleet": "h100-sxm5-80gb", "serve": SERVE},
    "totals": {"model": {"parameters": "8B"}, "fleet": "2xt4", "serve": SERVE},
    "pools": {"model": DENSE, "fleet": "3xh100-sxm5-80gb", "serve": {
        **SERVE, "disaggregated": {"prefill": {"tensor": 1}, "decode": {"tensor": 2}}}},
}


def answered(base: str, **work: Any) -> dict[str, Any]:
    scenario = set_path(BASES[base], "serve.workload", {"input": 1000, "output": 64, **work})
    found: dict[str, Any] = support.answer(scenario)
    assert support.faults_of(found) == []
    phase: dict[str, Any] = found["serve"]
    return phase


@pytest.mark.parametrize("output", [1, 64])
@pytest.mark.parametrize("base", BASES)
def test_a_rate_is_sustained_with_finite_times_or_is_not(base: str, output: int) -> None:
    """An offered load >= 1, saturated and null latency are one and the same, up to the edge and with one token out."""
    capacity = answered(base, concurrency=2, output=output)["capacity_requests_per_s"]["value"]
    last = 0.0
    for share in (0.3, 0.97, 1.05):
        found = answered(base, rate=capacity * share, output=output)
        assert found["offered_load"]["value"] == pytest.approx(share, rel=1e-3)
        assert found["load"]["value"] == pytest.approx(min(share, 1.0), rel=1e-3)
        assert found["saturated"] is (share >= 1) and (found["e2e_s"] is None) is (share >= 1)
        assert (found["ttft_s"] is None) is (found["concurrency"] is None) is (share >= 1)
        if share < 1:
            assert found["e2e_s"]["value"] >= last
            last = found["e2e_s"]["value"]


@pytest.mark.parametrize("output", [2, 64])
@pytest.mark.parametrize("base", [base for base in BASES if base != "pools"])
def test_no_loop_is_answered_faster_than_what_is_sustained(base: str, output: int) -> None:
    rates = []
    for count in (2, 32, 4096):
        found = answered(base, concurrency=count, output=output)
        rates.append(found["rate"]["value"])
        assert rates[-1] <= found["capacity_requests_per_s"]["value"] * 1.0001
    assert all(more >= fewer * 0.97 for fewer, more in pairwise(rates)), rates


@pytest.mark.parametrize("base", BASES)
def test_an_echo_is_the_same_plan(base: str) -> None:
    for work in ({"users": 100}, {"batch": 4}, {"rate": "inf", "requests": 50}):
        first = support.answer(set_path(BASES[base], "serve.workload", {"input": 500, "output": 32, **work}))
        again = support.answer(first)
        numbers = [dict(support.quantities(one)) for one in (first, again)]
        assert numbers[0] == numbers[1]
