"""Attention over selected keys against modules timed alone (aiconfigurator-core 0.12.0, NVIDIA, Apache-2.0).

SGLang 0.5.14's dsa_generation_module and dsa_context_module of GLM-5 in 8 bits with its layers cut over eight devices,
with the indexer and, of GLM-5.2, without (..._skip_indexer): microseconds of one layer.
"""

from __future__ import annotations

import json

import numpy as np
import pytest
from msgspec.structs import replace

from outlay.api import plan
from outlay.catalog import load
from outlay.resolve import resolve
from outlay.resolve.serve.time import time_device
from outlay.scenario_io import scenario_from
from outlay.steps.serve.attention import decode_attention_s, index_work, prompt_attention_s
from outlay.steps.serve.inputs import ServeLayout

CATALOG = load()
EIGHT = ServeLayout(8, 1, 1, 1)


def architecture(model: str, indexers: bool = True):
    found = resolve(scenario_from({"model": model}), CATALOG).architecture
    if indexers:
        return found
    return replace(found, runs=tuple((replace(kind, indexer_heads=0), count) for kind, count in found.runs))


def device(name: str):
    return time_device(CATALOG.find("device", name, ""))


def layer_s(
    device_name: str, sequences: float, context: float, indexers: bool = True, model: str = "glm-5"
) -> float:
    found = architecture(model, indexers)
    reading, _ = decode_attention_s(found, device(device_name), 1.0, EIGHT, np.array(sequences), context)
    return float(reading) / sum(count for kind, count in found.runs if kind.indexer_topk)


def test_scoring_many_sequences_is_read_at_the_memory_s_rate():
    """TensorRT-LLM and vLLM on B200, 256 sequences: 31 and 22 ps a key more between 65,536 and 131,072 tokens."""
    more = layer_s("b200-sxm", 256, 131072) - layer_s("b200-sxm", 256, 65536)
    assert 22e-12 < more / 256 / 65536 < 31e-12


@pytest.mark.parametrize(("name", "least_ps", "most_ps"), [("b200-sxm", 40, 56), ("h200-sxm-141gb", 60, 85)])
def test_keys_that_select_blocks_have_16_bits(name: str, least_ps: float, most_ps: float) -> None:
    """MiniMax-M3: SGLang and vLLM on B200 51 and 45 ps a key more between 65,536 and 131,072 tokens, on H200 73."""
    def selected(context: float) -> float:
        dense = layer_s(name, 256, context, indexers=False, model="minimax-m3")
        return layer_s(name, 256, context, model="minimax-m3") - dense

    more = (selected(131072) - selected(65536)) / 256 / 65536
    assert least_ps * 1e-12 < more < most_ps * 1e-12


def test_what_is_selected_bounds_what_is_read():
    """One layer without its indexer takes as long at a million tokens as at 8,192 (37 us both)."""
    assert layer_s("b200-sxm", 16, 1e6, False) == layer_s("b200-sxm", 16, 8192, False)
    assert layer_s("b200-sxm", 16, 512, False) < layer_s("b200-sxm", 16, 1024, False)


def test_hopper_attends_to_every_place_of_the_selection():
    """H200, 256 sequences: 228 us at 128 tokens, 251 at 1,024; B200 takes 51 and 80."""
    assert layer_s("h200-sxm-141gb", 256, 128, False) == pytest.approx(layer_s("h200-sxm-141gb", 256, 1024, False))
    # Without the 52 us that one sequence takes.
    assert layer_s("h200-sxm-141gb", 256, 1024, False) == pytest.approx(228e-6 - 52e-6, rel=0.25)


def test_a_prompt_s_indexer_takes_what_it_was_measured_to():
    """B200, 8,192 tokens: 2.35 ms a layer with the indexer and 1.50 without, of which 0.48 scoring and selecting."""
    def prompt_s(indexers: bool) -> float:
        found = architecture("glm-5", indexers)
        return float(prompt_attention_s(found, device("b200-sxm"), EIGHT, 8192.0, np.array(8192.0), 0.5)) / 78

    assert 0.48e-3 * 0.8 < prompt_s(True) - prompt_s(False) < 0.85e-3
    assert prompt_s(False) == pytest.approx(1.1e-3, rel=0.25)


def test_short_prompts_attend_to_all():
    dense, sparse = architecture("deepseek-v3"), architecture("deepseek-v3.2")
    took = [float(prompt_attention_s(a, device("b200-sxm"), EIGHT, 1024.0, np.array(1024.0), 0.5))
            for a in (dense, sparse)]
    assert took[0] == pytest.approx(took[1])


def test_layers_that_share_a_selection_score_nothing():
    kinds = architecture("glm-5.2").groups
    assert {kind.indexer_topk for kind, _ in kinds} == {2048}
    scored = sum(count for kind, count in kinds if index_work(kind, 1.0, 1.0, 4096.0)[1])
    assert scored == 21 < 78


def test_long_contexts_of_attention_ranks_are_where_it_pays():
    """All heads on each rank: dense attention reads and multiplies all, the indexer is no longer one of eight."""
    def tpot_s(model: str, context: int) -> float:
        serve = {"engine": "sglang", "precision": "fp8", "data": 8, "expert": 8,
                 "workload": {"concurrency": 64, "input": context, "output": 1000}}
        return plan({"model": model, "fleet": "8xb200-sxm", "serve": serve}).phases["serve"]["tpot_s"].value

    assert tpot_s("deepseek-v3.2", 1024) > tpot_s("deepseek-v3", 1024)
    assert tpot_s("deepseek-v3.2", 100_000) < tpot_s("deepseek-v3", 100_000)


def test_a_configuration_tells_how_many_keys_are_selected(tmp_path):
    config = {"model_type": "deepseek_v32", "hidden_size": 7168, "num_hidden_layers": 8, "num_attention_heads": 128,
              "vocab_size": 129280, "intermediate_size": 18432, "kv_lora_rank": 512, "q_lora_rank": 1536,
              "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128, "index_n_heads": 64,
              "index_head_dim": 128}

    def tpot_s(name: str, **more: int) -> float:
        (tmp_path / name).write_text(json.dumps(config | more))
        serve = {"data": 8, "workload": {"concurrency": 64, "input": 100_000, "output": 100}}
        scenario = {"model": str(tmp_path / name), "fleet": "8xb200-sxm", "serve": serve}
        return plan(scenario).phases["serve"]["tpot_s"].value

    assert tpot_s("a.json", index_topk=2048) < tpot_s("b.json", index_topk=65536)


@pytest.mark.parametrize(("device_name", "model", "ranks", "tokens", "microseconds"), [
    ("b200-sxm", "qwen3.5-397b-a17b", 8, 8192, 343), ("b200-sxm", "qwen3.5-397b-a17b", 1, 8192, 1066),
    ("h200-sxm-141gb", "qwen3.5-397b-a17b", 8, 8192, 356), ("h200-sxm-141gb", "qwen3.5-397b-a17b", 1, 8192, 1470),
])
def test_a_prompt_s_scan_takes_what_its_kernels_do(device_name, model, ranks, tokens, microseconds):
    """SGLang 0.5.14, causal_conv1d_fn and chunk_gated_delta_rule of one prompt, 64 heads over so many ranks."""
    kinds = tuple((kind, count) for kind, count in architecture(model).runs if kind.mixer == "gdn")
    only = replace(architecture(model), runs=kinds)
    took = prompt_attention_s(only, device(device_name), ServeLayout(ranks, 1, 1, 1), float(tokens), np.array(1.0), 0.5)
    assert float(took) / sum(count for _, count in kinds) == pytest.approx(microseconds * 1e-6, rel=0.25)
