"""Older versions of an engine: which age a version is of, and what it takes."""

from __future__ import annotations

from outlay.api import plan
from outlay.resolve.serve.time import dated_scope, time_constants


def test_an_older_vllm_takes_more_of_the_host():
    assert dated_scope("vllm", (0, 11, 1)) == "vllm@0.11" == dated_scope("vllm", (0, 12))
    assert dated_scope("vllm", (0, 14)) == dated_scope("vllm", ()) == "vllm"
    assert dated_scope("sglang", (0, 11)) == "sglang"
    old, new = (time_constants(name, "hopper") for name in ("vllm@0.11", "vllm"))
    assert all(old[name] > new[name] for name in ("layer_s", "sequence_s", "experts"))
    assert old["flow"] == new["flow"]
    assert time_constants("vllm@0.11", "hopper", without="qwen3-8b")["layer_s"] != old["layer_s"]


def test_a_plan_takes_the_version_that_is_told():
    serve = {"engine": "vllm", "workload": {"concurrency": 64, "input": 300, "output": 400}}
    found = {}
    for version in ("0.11.1", "0.15"):
        scenario = {"model": "llama-3.1-8b", "fleet": "1xh100-sxm5-80gb", "serve": {**serve, "engine_version": version}}
        found[version] = plan(scenario).phases["serve"]
    assert found["0.11.1"]["tpot_s"].value > 1.2 * found["0.15"]["tpot_s"].value
