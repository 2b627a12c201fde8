"""Published serving runs are read as their public configurations say, and what those say is priced as it runs."""

from __future__ import annotations

import pytest

from outlay.catalog import load
from outlay.resolve import resolve
from outlay.scenario_io import scenario_from
from outlay.validate.latency_cases import latency_case

SILICON = {"gpu": "b200_sxm", "model": "deepseek-ai/DeepSeek-R1", "engine_version": "trtllm 1.2.0rc6.post3",
           "scenario": "agg", "precision": "fp4", "tp": "8", "pp": "1", "ep": "1", "dp": "1", "n_gpus": "8",
           "input_len": "1024", "output_len": "1024", "concurrency": "8", "batch": "8", "request_rate": "",
           "ttft_ms": "200", "tpot_ms": "10", "itl_ms": "", "output_tok_s_total": "",
           "notes": "moe_tp=; src=source_file=2026-03-25.csv; measured=2026-02-06T17:21:58Z"}


@pytest.mark.parametrize(("changed", "tokens", "told", "cache"), [
    ({}, 3, True, "fp8"),
    ({"tp": "1", "dp": "8", "ep": "8"}, 1, True, "fp8"),
    ({"engine_version": "trtllm 1.2.0rc6.post2"}, 0, True, "fp8"),
    ({"engine_version": "sglang 0.5.9", "precision": "fp8"}, 0, False, "fp8"),
    ({"engine_version": "sglang 0.5.9", "precision": "fp8", "concurrency": "128"}, 2, True, "fp8"),
    ({"model": "openai/gpt-oss-120b"}, 0, True, "fp8"),
    ({"model": "openai/gpt-oss-120b", "gpu": "h200_sxm"}, 0, True, None),
    ({"gpu": "gb200", "tp": "36", "n_gpus": "36", "notes": ""}, 1, False, None),
])
def test_a_run_is_read_as_its_public_configuration_says(
    changed: dict[str, str], tokens: int, told: bool, cache: str | None
) -> None:
    case = latency_case("aiconfigurator_silicon", SILICON | changed)
    serve = case["scenario"]["serve"]
    assert serve.get("speculative", {}).get("tokens", 0) == tokens and case["told"] == told
    assert serve.get("kv_precision") == cache


def test_a_completed_row_says_ranks_and_drafting() -> None:
    row = SILICON | {"scenario": "disagg", "tp": "P4/D8", "ep": "P4/D4", "dp": "P1/D1", "pp": "P1/D1", "notes":
                     "prefill_workers=1; decode_workers=3; prefill_ranks=4; decode_ranks=8; drafted=3; src=x"}
    case = latency_case("aiconfigurator_silicon", row)
    pools = case["scenario"]["serve"]["disaggregated"]
    assert case["told"] and case["scenario"]["serve"]["speculative"]["tokens"] == 3
    assert [(side["tensor"], side["data"], side["replicas"]) for side in pools.values()] == [(1, 4, 1), (1, 8, 3)]


def test_drafting_costs_what_the_drafter_reads() -> None:
    """A prediction layer of DeepSeek-V3 reads one of 61 layers and the head, not its 256 experts."""
    plain = {"model": "deepseek-v3", "fleet": {"device": "b200-sxm", "devices": 8},
             "serve": {"engine": "tensorrt-llm", "precision": "fp8", "speculative": {"method": "mtp", "tokens": 1}}}
    phase = resolve(scenario_from(plain), load()).serve
    assert phase is not None and 0.05 < phase.speed.engine.draft_share < 0.12


def test_the_second_four_bit_checkpoints_keep_less_of_latent_attention_wide() -> None:
    """Output projection 117.4 of 187.1 million weights a layer (DeepSeek-V3 config) at 4.5 bits, the rest at 16."""
    found = resolve(scenario_from({"model": "deepseek-v3", "fleet": {"device": "b200-sxm", "devices": 8},
                                   "serve": {"engine": "tensorrt-llm", "precision": "nvfp4"}}), load()).serve
    assert found is not None
    assert found.recipe.part_bytes["latent"] == pytest.approx((117.4 * 0.5625 + 69.7 * 2.0) / 187.1, rel=1e-3)
