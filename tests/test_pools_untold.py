"""Two pools whose replicas nobody tells: planned with one of each, with the interval of what deployers choose."""

from __future__ import annotations

from typing import Any

import pytest

from outlay import plan


def served(fleet: Any, prefill: dict[str, int], decode: dict[str, int], inside: int = 64,
           prompt: int = 2048) -> dict[str, Any]:
    found: dict[str, Any] = plan({"model": "llama-3.1-70b", "fleet": fleet, "serve": {
        "engine": "vllm", "precision": "fp8",
        "disaggregated": {"prefill": {"tensor": 2, **prefill}, "decode": {"tensor": 4, **decode}},
        "workload": {"concurrency": inside, "input": prompt, "output": 512}}}).to_dict()
    return found


UNCOUNTED = {"device": "h100-sxm5-80gb"}


def width(number: dict[str, float]) -> float:
    return number["high"] / number["low"]


def test_one_of_each_is_planned_and_the_interval_holds_what_else_there_may_be() -> None:
    untold = served(UNCOUNTED, {}, {})
    told = served(UNCOUNTED | {"devices": 6}, {"replicas": 1}, {"replicas": 1})
    for name in ("ttft_s", "tpot_s", "output_tokens_per_s"):
        assert untold["serve"][name]["value"] == pytest.approx(told["serve"][name]["value"])
        assert width(untold["serve"][name]) > 1.5 * width(told["serve"][name])
    assert untold["serve"]["devices_used"] == 6
    assert any("replicas" in each["what"] for each in untold["assumptions"])
    assert not any("replicas" in each["what"] for each in told["assumptions"])
    most = served(UNCOUNTED | {"devices": 18}, {"replicas": 1}, {"replicas": 4})["serve"]
    for name in ("ttft_s", "tpot_s", "output_tokens_per_s"):
        assert untold["serve"][name]["low"] < most[name]["value"] < untold["serve"][name]["high"]


def test_the_interval_leans_to_where_deployers_add_replicas() -> None:
    """More of them answer where answers are the work, so tokens may be faster; slower where prompts hold them back."""
    answers, prompts = (served(UNCOUNTED, {}, {}, 256, prompt)["serve"]["tpot_s"] for prompt in (64, 8192))
    assert answers["value"] / answers["low"] > 1.2 * answers["high"] / answers["value"]
    assert prompts["high"] / prompts["value"] > 1.2 * answers["high"] / answers["value"]


def test_a_fleet_that_holds_no_more_tells_how_many_there_are() -> None:
    exact = served(UNCOUNTED | {"devices": 6}, {}, {})
    told = served(UNCOUNTED | {"devices": 6}, {"replicas": 1}, {"replicas": 1})
    assert exact["serve"]["tpot_s"] == told["serve"]["tpot_s"]
    assert not any("replicas" in each["what"] for each in exact["assumptions"])


def test_one_side_told_is_told() -> None:
    found = served(UNCOUNTED | {"devices": 12}, {"replicas": 2}, {"replicas": 1})
    half = served(UNCOUNTED | {"devices": 12}, {"replicas": 2}, {})
    assert found["serve"]["tpot_s"] == half["serve"]["tpot_s"]
