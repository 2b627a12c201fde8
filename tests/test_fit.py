"""`outlay fit`: what hardware can do with a model, and one stream's speed behind it."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from outlay import plan
from outlay.catalog import load
from outlay.cli.fit import command
from outlay.planner.fit import best_way, fit_fleet, fit_model, run_way, smallest

CATALOG = load()


def test_a_small_card_and_a_model_of_its_size() -> None:
    found = fit_model("llama-3.1-8b", "rtx-4090", CATALOG)
    by_precision = {way["precision"]: way for way in found["run"]}
    assert {"bf16", "q4_k_m", "awq-int4"} <= set(by_precision)
    assert by_precision["q4_k_m"]["output_tokens_per_s"].value > by_precision["q8_0"]["output_tokens_per_s"].value
    assert by_precision["q4_k_m"]["users"] >= by_precision["q8_0"]["users"] >= by_precision["bf16"]["users"] >= 1
    tune = {way["method"]: way["fits"] for way in found["tune"]}
    assert tune == {"full": False, "lora": True, "qlora": True}


def test_what_fit_says_is_what_serve_says() -> None:
    way = run_way("qwen3-14b", "rtx-4090", "vllm", "awq-int4", CATALOG)
    assert way is not None
    phase = plan(
        {
            "model": "qwen3-14b",
            "fleet": "rtx-4090",
            "serve": {"engine": "vllm", "precision": "awq-int4", "max_model_len": 8192},
        }
    ).to_dict()["serve"]
    assert way["fits"] == phase["fits"]
    assert way["users"] == int(phase["max_concurrency"]["value"])


def test_too_large_a_model_has_no_best_way() -> None:
    found = fit_model("deepseek-v3", "rtx-4090", CATALOG)
    assert best_way(found["run"]) is None


def test_smallest_devices_grow_with_precision() -> None:
    found = {way["precision"]: way["memory_bytes"] for way in smallest("llama-3.1-8b", CATALOG)}
    assert found["q4_k_m"] <= found["fp8"] <= found["bf16"]


def test_without_a_model_the_largest_that_run_well() -> None:
    models = fit_fleet("rtx-3060-12gb", CATALOG, most=3)["models"]
    assert len(models) == 3
    assert all(way["fits"] and way["output_tokens_per_s"].value >= 10 for way in models)


# GPU-Benchmarks-on-LLM-Inference (2024), one request: tokens a second on one device; the fit's own runs, so loose.
@pytest.mark.parametrize(
    ("device", "precision", "speed"), [("rtx-3090", "q4_k_m", 111.7), ("a100-pcie-80gb", "f16", 54.6)]
)
def test_one_stream(device: str, precision: str, speed: float) -> None:
    phase = plan(
        {
            "model": "llama-3-8b",
            "fleet": device,
            "serve": {
                "engine": "llama.cpp",
                "precision": precision,
                "max_model_len": 2048,
                "workload": {"batch": 1, "input": 1, "output": 1024},
            },
        }
    ).to_dict()["serve"]
    assert phase["output_tokens_per_s"]["value"] == pytest.approx(speed, rel=0.15)
    whole = phase["ttft_s"]["value"] + 1023 * phase["tpot_s"]["value"]
    assert phase["e2e_s"]["value"] == pytest.approx(whole)


def test_command_line() -> None:
    page = CliRunner().invoke(command, ["llama-3.1-8b", "-g", "rtx-4090", "-g", "rtx-3060-12gb"], standalone_mode=False)
    assert page.exit_code == 0
    assert "Side by side" in page.output
    document = json.loads(
        CliRunner().invoke(command, ["llama-3.1-8b", "-g", "rtx-4090", "--json"], standalone_mode=False).output
    )
    assert document["fleets"][0]["best"]["fits"] is True


def test_the_longest_request_is_exact() -> None:
    """All lengths are tried together; one step longer, planned alone, does not fit."""
    from msgspec.structs import replace

    from outlay.planner.serve.nearest import longest
    from outlay.planner.serve.trial import Trial, headroom_bytes, nominal_recipe, run
    from outlay.resolve import resolve
    from outlay.scenario_io import scenario_from

    for engine in ("vllm", "sglang", "llama.cpp"):
        asked = {"model": "llama-3.1-8b", "fleet": "rtx-4090", "serve": {"engine": engine, "max_model_len": 4096}}
        resolved = resolve(scenario_from(asked), CATALOG)
        assert resolved.serve is not None and resolved.architecture is not None
        start = Trial(resolved.architecture, 23e9, nominal_recipe(resolved.serve.recipe), resolved.serve.layout)
        best = longest(start, 131072)
        assert best is not None

        def spare(length: float, start: Trial = start) -> float:
            tokens = length if start.recipe.pool == "grows" else start.recipe.sequence_tokens
            recipe = replace(start.recipe, max_model_len=length, needed_tokens=length, sequence_tokens=tokens)
            one = replace(start, recipe=recipe)
            assert run(one).headroom_bytes == headroom_bytes(one)
            return run(one).headroom_bytes

        assert spare(float(best)) >= 0 > spare(best + 256.0)
