"""Older versions of an engine: which age a version is of, and what it takes."""

from __future__ import annotations

from typing import Any

import pytest

from outlay.api import plan
from outlay.catalog import load
from outlay.errors import BadValue, Inconsistent
from outlay.resolve import resolve
from outlay.resolve.serve.time import (
    GROUPS,
    PENALTIES,
    dated_scope,
    residual_age,
    time_constants,
    time_residual,
    version_constant,
)
from outlay.scenario_io import scenario_from


def test_an_older_vllm_takes_longer_for_experts():
    assert dated_scope("vllm", (0, 11, 1)) == "vllm@0.11" == dated_scope("vllm", (0, 12))
    assert dated_scope("vllm", (0, 14)) == dated_scope("vllm", ()) == "vllm"
    assert dated_scope("sglang", (0, 11)) == "sglang"
    old, new = (time_constants(name, "hopper") for name in ("vllm@0.11", "vllm"))
    assert old["experts"] > new["experts"]
    assert old["flow"] == new["flow"]
    assert time_constants("vllm@0.11", "hopper", without="qwen3-8b")["experts"] != old["experts"]
    assert 5e-5 < version_constant("vllm@0.11", "experts") < 2e-4
    assert version_constant("vllm", "experts") == 0.0 != version_constant("vllm", PENALTIES)


def served(**changes):
    serve = {"engine": "vllm", "workload": {"concurrency": 64, "input": 300, "output": 400}, **changes}
    return plan({"model": "qwen3-8b", "fleet": "1xh100-sxm5-80gb", "serve": serve})


def test_choosing_tokens_takes_what_kernels_were_measured_to_take():
    """64 sequences of 151,936 logits: 140 ps each by sorting, 16 by a kernel; penalties are fitted."""
    logits = 64 * 151936

    def token_s(**changes):
        return served(**changes).phases["serve"]["tpot_s"].value

    assert token_s(sampling="top-p") - token_s(sampling="greedy") == pytest.approx(logits * 1.6e-11, rel=0.02)
    old = {"engine_version": "0.11.1"}
    assert token_s(**old) - token_s(**old, sampling="greedy") == pytest.approx(logits * 1.4e-10, rel=0.02)
    assert 1e-10 < (token_s(sampling="penalties") - token_s(sampling="top-p")) / logits < 3e-10


def test_how_tokens_are_chosen_is_said():
    told = {a["what"]: a["value"] for a in served().assumptions}
    assert told["serve.sampling"] == "greedy"
    told = {a["what"]: a["value"] for a in served(engine_version="0.12").assumptions}
    assert told["serve.sampling"] == "top-p"
    assert "serve.sampling" not in {a["what"] for a in served(sampling="top-p").assumptions}
    unknown = served(engine="tensorrt-llm", sampling="penalties")
    said = "serve.sampling: what penalties takes in TensorRT-LLM is not known"
    assert any(warning.startswith(said) for warning in unknown.warnings)


def test_a_moving_tag_is_the_newest_known():
    """Published runs name nightly-dev and main: they are answered as today's, and it is said."""
    nightly, today = served(engine_version="nightly-dev"), served()
    assert nightly.phases["serve"]["tpot_s"].value == today.phases["serve"]["tpot_s"].value
    said = {a["what"]: a["why"] for a in nightly.assumptions}
    assert "nightly-dev" in said["serve.engine_version"]
    with pytest.raises(BadValue, match="nightly"):
        served(engine_version="mine")


def test_an_age_that_was_measured_is_uncertain_both_ways():
    """Errors of its devices left out; those of its only model are of an age of which nothing is known: all too fast."""
    found = served(engine_version="0.2").phases["serve"]["tpot_s"]
    assert found.low < 0.9 * found.value < 1.1 * found.value < found.high
    group = GROUPS + "model/llama-2-70b"
    assert residual_age("vllm@0.4", "") == "vllm@0.4" == residual_age("vllm@0.4", GROUPS + "device/h100-sxm5-80gb")
    low, _, high = time_residual("tpot_s", "dense", False, True, residual_age("vllm@0.4", group))
    assert 1.0 < low < high


def test_degrees_that_cannot_be_name_the_nearest():
    for changes, field, told in (({"tensor": 6}, "tensor", "4 and 8"), ({"tensor": 2, "expert": 4}, "expert", "is 2"),
                                 ({"tensor": 4, "decode_context_parallel": 3}, "decode_context_parallel", "2 and 4")):
        with pytest.raises(Inconsistent, match=told) as caught:
            served(**changes)
        assert caught.value.field == f"serve.{field}"


def test_penalties_on_one_device_may_be_paced_by_the_host():
    """vllm-project/vllm#13247: counted anew every step, on the host's own threads; the interval says so."""
    def wide(**changes):
        serve = {"engine": "vllm", "engine_version": "0.11.1", "sampling": "penalties", "tensor": 1,
                 "workload": {"concurrency": 64, "input": 300, "output": 400}, **changes}
        found = plan({"model": "qwen3-8b", "fleet": "2xh100-sxm5-80gb", "serve": serve}).phases["serve"]["tpot_s"]
        return found.high / found.low

    assert wide() > 1.5 * wide(tensor=2)
    assert wide() > 1.5 * wide(sampling="top-p")
    assert wide(engine_version="0.19") > 1.5 * wide(engine_version="0.19", sampling="top-p")


def test_throughput_is_low_where_tokens_are_slow():
    """Both are of the same engine: a draw that is slow a token is slow at its fullest."""
    import numpy as np

    found = served().phases["serve"]
    token, most = found["tpot_s"].samples, found["capacity_requests_per_s"].samples
    assert np.corrcoef(token, most)[0, 1] < -0.9


@pytest.mark.parametrize("device", ["h100-pcie-80gb", "mi300x"])
@pytest.mark.parametrize("concurrency", [1, 64])
def test_an_age_takes_longer_on_devices_whose_kernels_are_borrowed_too(device, concurrency):
    """Steps launched kernel by kernel, and scheduling: the host's, whatever card is behind it."""
    def token_s(version):
        serve = {"engine": "vllm", "engine_version": version, "precision": "fp8", "max_model_len": 4096,
                 "workload": {"concurrency": concurrency, "input": 256, "output": 256}}
        found = plan({"model": "llama-3.1-8b", "fleet": f"1x{device}", "serve": serve}).to_dict()["serve"]
        return found["tpot_s"]["value"]

    assert token_s("0.5.1") > token_s("0.19") + 0.005


@pytest.mark.parametrize(("version", "more", "own"), [
    ("0.6", {}, True), ("0.6", {"max_num_batched_tokens": 512}, False), ("0.6", {"max_model_len": 65536}, False),
    ("0.19", {}, False)])
def test_prompts_of_old_vllm_ran_in_steps_of_their_own_unless_chunked(
    version: str, more: dict[str, Any], own: bool
) -> None:
    serve = {"engine_version": version, "max_model_len": 4096, "workload": {"concurrency": 32}} | more
    document = {"model": "llama-3.1-8b", "fleet": "1xh100-sxm5-80gb", "serve": serve}
    found = resolve(scenario_from(document), load()).serve
    assert found is not None and found.speed.engine.own_steps is own
