"""Parameter counts equal published exact totals, model by model; parts add up; formulas take arrays."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outlay.catalog import load
from outlay.model_size import layer_parts, model_parts
from outlay.physics import parameters as count
from outlay.readers import architecture_from_mapping, read_hf_config

HERE = Path(__file__).parent
SHIPPED = HERE.parent / "tools" / "catalog_build" / "model_configs.jsonl"
COUNTS = HERE / "fixtures" / "model_counts.jsonl"

# Totals that count something else than the text model with its head (classes built with a vision tower and
# without a head); Step's was taken with its class's default tower and a vocabulary 81 rows smaller.
HEADLESS = ("Qwen/Qwen3-VL-32B-Instruct", "moonshotai/Kimi-K2.5", "stepfun-ai/Step-3.7-Flash")
STEP_TOWER = 1_981_014_784
# Active counts that differ for a reason: idle experts' biases counted as active (the cards' 5.13B and 3.61B
# without embeddings agree with ours), and a dense layer's experts taken off (the card says 15B, as ours).
ACTIVE_APART = {"openai/gpt-oss-120b": 5_711_982_912, "openai/gpt-oss-20b": 4_187_440_704,
                "XiaomiMiMo/MiMo-V2-Flash": 15_445_924_288}


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


SHIPPED_CONFIGS = {entry["id"]: entry["config"] for entry in lines(SHIPPED)}


@pytest.mark.parametrize("case", lines(COUNTS), ids=lambda case: case["name"])
def test_count_equals_the_known_total(case: dict[str, Any]) -> None:
    """Counts taken by building each transformers class without weights (4.57.1, 5.x for the newest)."""
    config = case.get("config") or SHIPPED_CONFIGS[case["id"]]
    fields, _ = read_hf_config(config)
    arch, assumed = architecture_from_mapping(fields, case["name"])
    total = arch.parameters
    if case["name"] in HEADLESS:
        total += arch.vision_parameters - arch.vocab * arch.hidden
    if case["name"].startswith("stepfun"):
        total += STEP_TOWER - 81 * arch.hidden
    if case["name"] == "google/gemma-4-26B-A4B" or case.get("tower"):
        total += arch.vision_parameters
    assert total == case["parameters"]
    assert not assumed, "a configuration states everything"
    if case["name"] in ACTIVE_APART:
        assert arch.active_parameters == ACTIVE_APART[case["name"]]
    elif "active" in case and total == arch.parameters:
        assert arch.active_parameters == case["active"]


def test_every_shipped_configuration_is_read_without_assumption() -> None:
    for identifier, config in SHIPPED_CONFIGS.items():
        fields, notes = read_hf_config(config)
        arch, assumed = architecture_from_mapping(fields, identifier)
        parts = model_parts(arch)
        assert (parts.total, parts.active) == (arch.parameters, arch.active_parameters)
        assert not assumed, identifier
        assert arch.layers == fields["layers"]
        assert not [n for n in notes if n["what"] == "model.model_type"], identifier


# What makers state of a model, in billions: in all and for a token, and whether tables of the vocabulary are in it.
STATED: dict[str, tuple[float, float | None, bool]] = {
    "qwen2-57b-a14b": (57.0, 14.0, True),  # arXiv:2407.10671
    "moonlight-16b-a3b": (15.29, 2.24, False),  # arXiv:2502.16982, Table 5
    "ling-mini-2.0": (16.0, 1.4, True),  # inclusionAI/Ling-V2 README; 0.789 without embeddings
    "ling-flash-2.0": (100.0, 6.1, True), "ling-1t": (1000.0, 50.0, True),
    "minimax-text-01": (456.0, None, True),  # MiniMax-AI/MiniMax-01 README
    "kimi-linear-48b-a3b": (48.0, None, True), "ernie-4.5-300b-a47b": (300.0, 47.0, True),
    "granite-4.0-h-small": (32.0, 9.0, True), "phi-3.5-moe": (42.0, 6.6, True),  # cards
    "snowflake-arctic": (480.0, 17.0, True), "hunyuan-a13b": (80.0, 13.0, True),  # READMEs
    "dots.llm1": (142.0, 14.0, True), "step-3.5-flash": (196.0, 11.0, True), "ling-lite-1.5": (16.8, 2.75, True),
    "solar-10.7b": (10.73, None, True), "command-r7b": (8.03, None, True),  # load logs of llama.cpp
    "command-r-plus": (104.0, None, True), "llama-3.1-nemotron-ultra-253b": (253.0, None, True),
    "nemotron-4-340b": (340.0, None, True), "nemotron-4-15b": (15.6, None, True),  # arXiv:2402.16819
    "nemotron-h-8b": (8.1, None, True), "nemotron-h-47b": (47.0, None, True),  # arXiv:2504.03624
    "deepseek-llm-67b": (67.0, None, True), "deepseek-coder-33b": (33.0, None, True), "yi-34b": (34.0, None, True),
}


@pytest.mark.parametrize("identifier", STATED)
def test_counts_meet_what_the_makers_state(identifier: str) -> None:
    billions, active, tables = STATED[identifier]
    arch, _ = architecture_from_mapping(read_hf_config(SHIPPED_CONFIGS[identifier])[0])
    off = 0 if tables else 2 * arch.vocab * arch.hidden
    assert arch.parameters - off == pytest.approx(billions * 1e9, rel=0.03)
    if active is not None:
        assert arch.active_parameters - off == pytest.approx(active * 1e9, rel=0.03)


def test_a_shape_without_a_configuration_meets_what_its_maker_states() -> None:
    (grok,) = (shape for shape in load().entries("model") if shape.id == "grok-1")
    assert float(grok.value("parameters")) == pytest.approx(314e9, rel=0.01)  # xai-org/grok-1 README


def test_published_vision_towers() -> None:
    """Qwen3-VL 595M, Kimi-K2.5 471M with its projector, Gemma 4 573M."""
    known = {"qwen3-vl-32b": 595_266_800, "kimi-k2.5": 471_143_920, "gemma-4-26b-a4b": 572_792_112}
    for identifier, parameters in known.items():
        assert read_hf_config(SHIPPED_CONFIGS[identifier])[0]["vision_parameters"] == parameters


def test_prediction_layer_of_deepseek_v3() -> None:
    """The V3 report gives 14B for the prediction module with its embedding and head copies, 11.6B without."""
    arch, _ = architecture_from_mapping(read_hf_config(SHIPPED_CONFIGS["deepseek-v3"])[0])
    copies = 2 * arch.vocab * arch.hidden
    assert arch.mtp_layers == 1
    assert arch.mtp_parameters + copies == pytest.approx(14e9, rel=0.05)


def test_layer_parts_of_a_mixture_of_experts() -> None:
    arch, _ = architecture_from_mapping(read_hf_config(SHIPPED_CONFIGS["deepseek-v3"])[0])
    (dense, dense_count), (sparse, sparse_count) = arch.groups
    assert (dense_count, sparse_count) == (3, 58)
    parts = layer_parts(sparse, arch.hidden)
    assert parts.experts == 256 * 3 * 7168 * 2048
    assert parts.experts_active == 8 * 3 * 7168 * 2048
    assert parts.shared == 3 * 7168 * 2048
    assert parts.router == 7168 * 256
    assert parts.mlp == 0
    assert layer_parts(dense, arch.hidden).mlp == 3 * 7168 * 18432


@settings(deadline=None)
@given(hidden=st.integers(1, 20000), heads=st.integers(1, 200), head_dim=st.integers(1, 256),
       ffn=st.integers(1, 100000))
def test_formulas_take_arrays(hidden: int, heads: int, head_dim: int, ffn: int) -> None:
    pair = np.array([hidden, 2 * hidden], dtype=float)
    for formula, rest in ((count.attention_parameters, (heads, heads, head_dim)),
                          (count.mlp_parameters, (ffn,)), (count.router_parameters, (heads,)),
                          (count.mamba2_parameters, (heads, head_dim, 128, 4, 1))):
        both = formula(pair, *rest)  # type: ignore[operator]
        assert both[0] == formula(hidden, *rest)  # type: ignore[operator]
        assert both[1] > both[0]
