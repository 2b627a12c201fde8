"""Parameter counts equal published exact totals, model by model; parts add up; formulas take arrays."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
    if case["name"] == "google/gemma-4-26B-A4B":
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
