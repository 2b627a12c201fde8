"""A plan's launch line, read back, is the plan."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outlay import plan
from outlay.errors import Inconsistent
from outlay.planner.serve.launch import launch, launch_pools
from outlay.readers.launch.line import read_launch

HUB = "org/some-model"
FIELDS = ("tensor", "pipeline", "data", "expert", "max_model_len", "max_num_seqs", "max_num_batched_tokens",
          "memory_utilization", "precision", "kv_precision", "enforce_eager")
DEFAULTS: dict[str, Any] = {"tensor": 1, "pipeline": 1, "data": 1, "expert": 1, "enforce_eager": False}


@st.composite
def sections(draw: st.DrawFn) -> dict[str, Any]:
    tensor, data = draw(st.sampled_from([(1, 1), (2, 1), (8, 1), (1, 4), (1, 8)]))
    return {
        "tensor": tensor, "data": data, "pipeline": draw(st.sampled_from([1, 2])),
        "expert": draw(st.sampled_from([1, tensor * data])),
        "max_model_len": draw(st.integers(512, 131_072)), "max_num_seqs": draw(st.integers(1, 1024)),
        "max_num_batched_tokens": draw(st.integers(512, 65_536)),
        "memory_utilization": draw(st.sampled_from([0.8, 0.9, 0.95])),
        "precision": draw(st.sampled_from(["bf16", "fp16", "fp8"])),
        "kv_precision": draw(st.sampled_from(["bf16", "fp8"])),
        "enforce_eager": draw(st.booleans()), "replicas": draw(st.integers(1, 3)),
    }


@settings(deadline=None, max_examples=60)
@given(section=sections(), engine=st.sampled_from(["vllm", "sglang"]))
def test_a_written_line_reads_back(section: dict[str, Any], engine: str) -> None:
    line = launch(engine, HUB, section)
    assert line is not None
    scenario, notes = read_launch(line["words"])
    assert scenario["model"] == HUB
    assert scenario["serve"]["engine"] == engine
    assert not notes.unknown
    read = {**DEFAULTS, "kv_precision": "bf16", **scenario["serve"]}
    assert {f: read.get(f) for f in FIELDS} == {f: section[f] for f in FIELDS}


def test_tensorrt_llm_reads_back_what_its_line_can_say() -> None:
    section = {"tensor": 4, "pipeline": 2, "expert": 4, "max_model_len": 8192, "max_num_seqs": 64,
               "max_num_batched_tokens": 4096, "memory_utilization": 0.9, "precision": "bf16", "kv_precision": "fp8"}
    line = launch("tensorrt-llm", HUB, section)
    assert line is not None
    serve = read_launch(line["words"])[0]["serve"]
    assert all(serve[f] == section[f] for f in ("tensor", "pipeline", "expert", "max_model_len", "max_num_seqs"))
    assert any("kv_cache_config" in note for note in line["notes"])


@pytest.mark.parametrize(("spec", "word"), [({"method": "mtp", "tokens": 2}, "num_speculative_tokens"),
                                            ({"method": "draft", "tokens": 4}, "draft_model")])
def test_speculative_decoding_is_written(spec: dict[str, Any], word: str) -> None:
    line = launch("vllm", HUB, {"speculative": spec | {"draft_model": "org/small"}})
    assert line is not None
    assert word in " ".join(line["words"])
    assert read_launch(line["words"])[0]["serve"]["speculative"]["tokens"] == spec["tokens"]


def test_steps_let_pass_are_written_and_read_and_those_of_recipes_told() -> None:
    line = launch("sglang", HUB, {"hold_steps": 30})
    assert line is not None and "--scheduler-recv-interval" in line["words"] and not line["notes"]
    assert read_launch(line["words"])[0]["serve"]["hold_steps"] == 30
    line = launch("sglang", HUB, {})
    assert line is not None and "--scheduler-recv-interval" in line["notes"][0]
    assert read_launch(line["words"])[0]["serve"]["hold_steps"] == 1  # the engine's own default
    line = launch("tensorrt-llm", HUB, {"hold_steps": 20})
    assert line is not None and "batch_wait_timeout_iters: 20" in line["notes"][0]


def test_waiting_for_other_ranks_is_written_read_and_refused_where_nobody_waits() -> None:
    ranks = {"tensor": 1, "data": 8, "expert": 8}
    line = launch("tensorrt-llm", HUB, ranks | {"gather_steps": 30})
    assert line is not None and "attention_dp_config: {enable_balance: true, timeout_iters: 30}" in line["notes"][-1]
    line = launch("tensorrt-llm", HUB, ranks)
    assert line is not None and "gather_steps: 0" in line["notes"][0]
    words = ["trtllm-serve", "org/x", "--tp_size", "8", "--enable_attention_dp"]
    assert read_launch(words)[0]["serve"]["gather_steps"] == 0  # the engine's own default
    balanced = [*words, "--attention_dp_config", '{"enable_balance": true, "timeout_iters": 20}']
    assert read_launch(balanced)[0]["serve"]["gather_steps"] == 20
    for engine, model, data in (("vllm", "qwen3-30b-a3b", 2), ("tensorrt-llm", "llama-3.1-8b", 2)):
        with pytest.raises(Inconsistent) as caught:
            plan({"model": model, "fleet": "2xh100-sxm5-80gb",
                  "serve": {"engine": engine, "data": data, "gather_steps": 5}})
        assert caught.value.field == "serve.gather_steps"


def test_a_plan_carries_its_line() -> None:
    found = plan({"model": "llama-3.1-8b", "fleet": "2xh100-sxm5-80gb", "serve": {"max_model_len": 8192}})
    words = found.phases["serve"]["launch"]["words"]
    assert words[:3] == ["vllm", "serve", "meta-llama/Meta-Llama-3.1-8B"]
    assert words[words.index("--max-model-len") + 1] == "8192"


@pytest.mark.parametrize(("engine", "word", "router"), [
    ("vllm", "--kv-transfer-config", ""), ("sglang", "--disaggregation-mode", "sglang_router.launch_router"),
    ("tensorrt-llm", "", "disaggregated")])
def test_each_pool_has_a_line_and_a_router_sends_between_them(engine: str, word: str, router: str) -> None:
    pools = {"prefill": {"tensor": 2, "replicas": 3}, "decode": {"tensor": 4, "replicas": 1}}
    found = launch_pools(engine, HUB, {"max_model_len": 8192, "precision": "bf16"}, pools)
    assert found is not None and set(found["pools"]) == {"prefill", "decode"}
    roles = set()
    for name, pool in pools.items():
        words = found["pools"][name]["words"]
        scenario, notes = read_launch(words)
        assert scenario["serve"]["tensor"] == pool["tensor"] and not notes.unknown
        roles.add(words[words.index(word) + 1] if word else " ".join(found["pools"][name]["notes"]))
    assert len(roles) == 2
    assert router in found["words"] or not router
    hosts = " ".join(found["words"] + found["notes"])
    assert engine == "vllm" or (hosts.count("http://prefill-") or hosts.count("prefill-")) == 3


def test_an_engine_without_pools_has_no_lines_for_them() -> None:
    assert launch_pools("llama.cpp", HUB, {}, {"prefill": {}, "decode": {}}) is None


@pytest.mark.parametrize(("engine", "method", "told"), [
    ("sglang", "mtp", "--speculative-num-steps 3 --speculative-eagle-topk 1 --speculative-num-draft-tokens 4"),
    ("sglang", "ngram", "--speculative-algorithm NGRAM --speculative-num-draft-tokens 4"),
    ("tensorrt-llm", "mtp", "{decoding_type: MTP, num_nextn_predict_layers: 3}"),
    ("tensorrt-llm", "eagle", "{decoding_type: Eagle, max_draft_len: 3}"),
    ("tensorrt-llm", "ngram", "{decoding_type: NGram, max_draft_len: 3}"),
    ("tensorrt-llm", "draft", "{decoding_type: DraftTarget, max_draft_len: 3, speculative_model_dir: org/small}"),
])
def test_drafting_is_spelled_as_the_engine_takes_it(engine: str, method: str, told: str) -> None:
    """TensorRT-LLM looks kinds up by case; SGLang compares a number of steps with two more that are then missing."""
    spec = {"method": method, "tokens": 3} | ({"draft_model": "org/small"} if method == "draft" else {})
    line = launch(engine, HUB, {"speculative": spec})
    assert line is not None and told in " ".join(line["words"] + line["notes"])
    if engine == "sglang":
        assert read_launch(line["words"])[0]["serve"]["speculative"]["method"] == method
    assert any("EAGLE head" in note for note in line["notes"]) == (method == "eagle")


def test_an_old_vllm_is_told_drafting_and_its_cache_in_its_own_words() -> None:
    section = {"speculative": {"method": "ngram", "tokens": 4}, "kv_cache_bytes_per_device": 30e9}
    old, new = (launch("vllm", HUB, section | {"engine_version": version}) for version in ("0.6.3", "0.19"))
    assert old is not None and new is not None
    assert "--speculative-config" not in old["words"] and "[ngram]" in old["words"]
    assert read_launch(old["words"])[0]["serve"]["speculative"] == {"method": "ngram", "tokens": 4}
    assert "--kv-cache-memory-bytes" not in old["words"]
    assert new["words"][new["words"].index("--kv-cache-memory-bytes") + 1] == "30000000000"


def test_what_a_line_does_not_say_is_told_beside() -> None:
    serve = {"tensor": 8, "pipeline": 2, "decode_context_parallel": 4, "enforce_eager": True,
             "adapters": {"count": 4, "rank": 32}, "speculative": {"method": "draft", "draft_model": "llama-3.2-1b"}}
    notes = {}
    for engine in ("vllm", "sglang", "tensorrt-llm"):
        found = plan({"model": "llama-3.1-70b", "fleet": "16xh100-sxm5-80gb", "serve": serve | {"engine": engine}})
        line = found.phases["serve"]["launch"]
        notes[engine] = " ".join(line["words"] + line["notes"])
        assert "over 2 machines" in notes[engine] and "meta-llama/Llama-3.2-1B" in notes[engine]
        assert ("over 4 devices" in notes[engine]) == (engine != "vllm")
    assert "lora_config: {max_loras: 4, max_lora_rank: 32}" in notes["tensorrt-llm"]
    assert "cuda_graph_config: null" in notes["tensorrt-llm"]


@pytest.mark.parametrize(("engine", "words"), [
    ("vllm", ["--enable-lora", "--max-loras", "4", "--max-lora-rank", "32"]),
    ("sglang", ["--enable-lora", "--max-loras-per-batch", "4", "--max-lora-rank", "24", "--lora-target-modules",
                "all"]),
])
def test_adapters_are_asked_for_as_the_engine_accepts_them(engine: str, words: list[str]) -> None:
    """vLLM takes some ranks only; SGLang without adapters at its start wants to know what they change."""
    found = launch(engine, "meta-llama/Llama-3.1-8B", {"adapters": {"count": 4, "rank": 24}})
    assert found is not None and found["words"][-len(words):] == words


def test_prompts_longer_than_a_step_and_experts_over_some_devices_are_seen_to() -> None:
    lengths = {"max_model_len": 16384, "max_num_batched_tokens": 8192}
    found = launch("tensorrt-llm", "meta-llama/Llama-3.1-8B", lengths)
    assert found is not None and any("enable_chunked_prefill: true" in note for note in found["notes"])
    found = launch("tensorrt-llm", "meta-llama/Llama-3.1-8B", lengths | {"max_model_len": 4096})
    assert found is not None and not found["notes"]
    for expert, told in ((1, False), (4, True), (8, False)):
        found = launch("vllm", "deepseek-ai/DeepSeek-V3", {"precision": "fp8", "tensor": 8, "expert": expert}, "fp8")
        assert found is not None and any("experts over 4 devices" in note for note in found["notes"]) is told
