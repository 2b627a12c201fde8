"""Two pools of devices, or an engine, without measured kernels: held to one stream, as one server for both is."""

from __future__ import annotations

from typing import Any

import pytest

from outlay import plan

BARE = "h100-pcie-80gb"  # whose kernels are borrowed


def served(serve: dict[str, Any], model: str = "llama-3.1-70b", fleet: str | None = f"8x{BARE}") -> dict[str, Any]:
    asked = {"model": model, "serve": {"precision": "fp8", "max_model_len": 8192, **serve}}
    found: dict[str, Any] = plan(asked if fleet is None else asked | {"fleet": fleet}).to_dict()["serve"]
    return found


def pools(tensor: int = 4, replicas: int = 1) -> dict[str, Any]:
    own = {"tensor": tensor, "replicas": replicas}
    return {"disaggregated": {"prefill": dict(own), "decode": dict(own)}}


@pytest.mark.parametrize("load", [{"concurrency": 1}, {"rate": 0.01}])
def test_a_request_alone_is_answered_as_one_stream_is(load: dict[str, float]) -> None:
    work = {"workload": {**load, "input": 1024, "output": 256}}
    two, whole = served(pools() | work), served({"tensor": 4, "replicas": 1} | work)
    alone = two["pools"]["decode"]["one_stream"]["tpot_s"]
    assert two["tpot_s"]["value"] == pytest.approx(alone["value"], rel=0.01)
    assert two["tpot_s"]["value"] == pytest.approx(whole["tpot_s"]["value"], rel=0.01)


def test_what_an_engine_takes_for_prompts_is_the_prompt_pools() -> None:
    """llama.cpp has no constants of its own: its prompts are as much longer in a pool as they are in one server."""
    work = {"engine": "llama.cpp", "precision": "q4_k_m", "max_num_seqs": 4,
            "workload": {"concurrency": 1, "input": 2048, "output": 64}}
    both = {"disaggregated": {"prefill": {"replicas": 1}, "decode": {"replicas": 1}}}
    two = served(both | work, "llama-3.1-8b", "2xrtx-4090")
    whole = served({"replicas": 1} | work, "llama-3.1-8b", "1xrtx-4090")
    assert two["tpot_s"]["value"] == pytest.approx(whole["tpot_s"]["value"], rel=0.02)
    assert two["ttft_s"]["value"] > whole["one_stream"]["ttft_s"]["value"]  # the cache is moved, too


def test_a_replay_is_as_slow_as_the_closed_form() -> None:
    work = {"replay": True, "workload": {"rate": 1.0, "input": 1024, "output": 256}}
    replayed, closed = served(pools() | work), served(pools() | work | {"replay": False})
    assert replayed["tpot_s"]["value"] == pytest.approx(closed["tpot_s"]["value"], rel=0.05)
    assert replayed["ttft_s"]["value"] == pytest.approx(closed["ttft_s"]["value"], rel=0.1)


def test_what_they_sustain_falls_as_answers_slow() -> None:
    """A pool of answers that is slower by a factor sustains as much less, and the search sizes it by that."""
    work = {"workload": {"rate": 4.0, "input": 512, "output": 512}}
    asked = {"slo": {"tpot": "90ms"}, "options": {"devices": [BARE], "disaggregated": "only"}}
    found = served(work | asked, fleet=None)
    row = found["search"]["best"][0]
    assert row["tpot_s"] == pytest.approx(found["tpot_s"]["value"], rel=0.01)
    assert row["load"] == pytest.approx(found["load"]["value"], rel=0.1)
