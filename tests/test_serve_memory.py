"""Serving memory against published start-up logs and formats, and the properties it must keep."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from outlay import OutlayError, plan
from outlay.catalog import load
from outlay.physics.weights import FORMATS
from outlay.planner.serve.trial import nominal_recipe, trial
from outlay.resolve import resolve
from outlay.resolve.engines import find_engine
from outlay.resolve.gguf_mix import MIXES
from outlay.scenario_io import scenario_from, set_path
from outlay.steps.serve.inputs import ServeLayout
from outlay.steps.serve.memory import serve_memory

GIB = 2.0**30


def served(model: Any, fleet: Any, **serve: Any) -> dict[str, Any]:
    phase: dict[str, Any] = plan({"model": model, "fleet": fleet, "serve": serve}).to_dict()["serve"]
    return phase


def h100(devices: int = 1) -> dict[str, Any]:
    return {"device": "h100-sxm5-80gb", "devices": devices, "device_memory_bytes": 79.18 * GIB}


# Bytes a token that vLLM's own start-up logs imply (vllm-project/vllm#10517, #22291; arXiv:2412.19437).
@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("llama-3.1-8b", 131072),
        ("llama-3.1-70b", 327680),
        ("qwen2.5-7b", 57344),
        ("qwen3-32b", 262144),
        ("deepseek-v3", 70272),
        ("gpt-oss-120b", 73728),
    ],
)
def test_cache_bytes_of_a_token(model: str, expected: int) -> None:
    assert served(model, "8xb200-sxm", tensor=4, max_model_len=4096)["kv_bytes_per_token"]["value"] == expected


# llm-d-planner, empirical vLLM memory results: vLLM 0.11.0, H100 that shows 79.18 GiB, utilisation 0.9.
@pytest.mark.parametrize(
    ("model", "tensor", "weights", "pool"),
    [("llama-3.1-8b", 1, 14.99, 51.38), ("qwen3-32b", 1, 61.03, 4.45), ("qwen3-32b", 2, 30.59, 34.49)],
)
def test_vllm_start_up(model: str, tensor: int, weights: float, pool: float) -> None:
    phase = served(model, h100(tensor), engine="vllm", engine_version="0.11.0", tensor=tensor, max_model_len=16000)
    assert phase["weights_bytes_per_device"]["value"] / GIB == pytest.approx(weights, rel=0.005)
    assert phase["kv_cache_bytes_per_device"]["value"] / GIB == pytest.approx(pool, rel=0.02)


def test_old_vllm_profiled_whole_prompts_and_longer_ones_in_chunks() -> None:
    """vllm#10517: at 29,000 tokens less is left than at 20,000, and at 35,000 more again."""
    card = {"device": "rtx-3090", "devices": 1, "device_memory_bytes": 23.58 * GIB}
    pools = {
        n: served("llama-3.1-8b", card, engine_version="0.6", max_model_len=n)["kv_cache_bytes_per_device"]["value"]
        for n in (20000, 29000, 35000)
    }
    assert pools[20000] / GIB == pytest.approx(3.81, rel=0.02)
    assert pools[29000] / GIB == pytest.approx(2.89, rel=0.02)
    assert pools[35000] > pools[20000]


def test_gpt_oss_does_not_fit_at_defaults() -> None:
    """vllm#23278: 65.97 GiB of weights, and 2.14 GiB too few for any cache."""
    phase = served("gpt-oss-120b", h100(), engine_version="0.10.1")
    assert phase["weights_bytes_per_device"]["value"] / GIB == pytest.approx(65.97, rel=0.005)
    assert phase["fits"] is False
    assert phase["fits_probability"] < 0.1
    assert phase["kv_cache_tokens"]["value"] == 0


# File sizes in GiB of the llama.cpp quantize tool's own table, for Llama 3 8B.
@pytest.mark.parametrize(
    ("mix", "gib"),
    [
        ("q4_0", 4.34),
        ("q4_1", 4.78),
        ("q5_0", 5.21),
        ("q5_1", 5.65),
        ("q2_k", 2.96),
        ("q3_k_s", 3.41),
        ("q3_k_m", 3.74),
        ("q3_k_l", 4.03),
        ("q4_k_s", 4.37),
        ("q4_k_m", 4.58),
        ("q5_k_s", 5.21),
        ("q5_k_m", 5.33),
        ("q6_k", 6.14),
        ("q8_0", 7.96),
    ],
)
def test_gguf_mixes(mix: str, gib: float) -> None:
    phase = served("llama-3-8b", "a100-sxm4-80gb", engine="llama.cpp", precision=mix, max_model_len=8192)
    on_device, on_host = phase["weights_bytes_per_device"]["value"], phase["host_memory_bytes"]["value"]
    assert (on_device + on_host) / GIB == pytest.approx(gib, rel=0.01)


@pytest.mark.parametrize("precision", [*FORMATS, *MIXES])
def test_every_precision_is_planned(precision: str) -> None:
    phase = served("qwen3-30b-a3b", "b200-sxm", precision=precision, max_model_len=8192)
    whole = served("qwen3-30b-a3b", "b200-sxm", precision="fp32", max_model_len=8192)
    assert 0 < phase["weights_bytes_per_device"]["value"] <= whole["weights_bytes_per_device"]["value"]


def test_unknown_precision_names_the_nearest() -> None:
    with pytest.raises(OutlayError, match="q4_k_m") as caught:
        served("llama-3.1-8b", "b200-sxm", precision="q4_km")
    assert (caught.value.to_dict()["kind"], caught.value.field) == ("unknown_name", "serve.precision")


def test_latent_cache_is_copied_over_tensor_ranks_unless_shared_out() -> None:
    one = served("deepseek-v3", "8xb200-sxm", tensor=8, max_model_len=8192)
    shared = served("deepseek-v3", "8xb200-sxm", tensor=8, max_model_len=8192, decode_context_parallel=8)
    assert one["sequence_bytes_per_device"]["value"] == pytest.approx(70272 * 8192)
    assert shared["kv_cache_tokens"]["value"] == pytest.approx(8 * one["kv_cache_tokens"]["value"], rel=0.01)


def test_heads_are_copied_beyond_as_many_ranks_as_heads() -> None:
    """Qwen3 30B-A3B has four key-value heads: more ranks than that copy them."""
    sizes = [
        served("qwen3-30b-a3b", "8xb200-sxm", tensor=t, max_model_len=4096)["sequence_bytes_per_device"]["value"]
        for t in (1, 2, 4, 8)
    ]
    assert sizes[1] == sizes[0] / 2
    assert sizes[2] == sizes[3] == sizes[0] / 4


def test_a_window_caps_what_is_kept() -> None:
    shape = {
        "layers": 32,
        "hidden": 4096,
        "heads": 32,
        "kv_heads": 8,
        "ffn": 14336,
        "vocab": 32000,
        "max_positions": 131072,
    }
    full = served(shape, "b200-sxm", max_model_len=65536, engine="sglang")
    local = served({**shape, "sliding_window": 4096}, "b200-sxm", max_model_len=65536, engine="sglang")
    assert local["sequence_bytes_per_device"]["value"] == pytest.approx(
        full["sequence_bytes_per_device"]["value"] / 16, rel=0.01
    )


def test_state_is_a_sequence_s_not_a_token_s() -> None:
    phase = served("nemotron-3-nano-30b-a3b", "b200-sxm", max_model_len=8192)
    assert phase["state_bytes_per_sequence"] > 40e6
    assert phase["kv_bytes_per_token"]["value"] == 6144


def test_parts_add_up_on_every_stage() -> None:
    phase = served("llama-3.1-70b", "8xh100-sxm5-80gb", tensor=2, pipeline=4, max_model_len=8192)
    assert len(phase["stages"]) == 4
    for stage in phase["stages"]:
        total = sum(part["value"] for part in stage["parts"].values())
        assert total == pytest.approx(stage["memory_per_device_bytes"]["value"])


def test_layers_left_on_the_host_leave_the_device() -> None:
    """llama.cpp -ngl: each layer less on the device is one more on the host, cache included."""
    all_layers = served("llama-3.1-8b", "rtx-4090", engine="llama.cpp", precision="q8_0", max_model_len=8192)
    half = served("llama-3.1-8b", "rtx-4090", engine="llama.cpp", precision="q8_0", max_model_len=8192, gpu_layers=16)
    moved = all_layers["weights_bytes_per_device"]["value"] - half["weights_bytes_per_device"]["value"]
    assert half["host_memory_bytes"]["value"] - all_layers["host_memory_bytes"]["value"] == pytest.approx(
        moved, rel=0.01
    )
    assert half["kv_cache_bytes_per_device"]["value"] == pytest.approx(
        all_layers["kv_cache_bytes_per_device"]["value"] / 2
    )


@pytest.mark.parametrize(
    ("model", "fleet"),
    [("gpt-oss-120b", "h100-sxm5-80gb"), ("qwen3-32b", "rtx-4090"), ("llama-3.1-70b", "2xh100-sxm5-80gb")],
)
def test_every_change_offered_fits_when_planned_again(model: str, fleet: str) -> None:
    start = {
        "model": model,
        "fleet": {
            "device": fleet.split("x", 1)[-1] if fleet[0].isdigit() else fleet,
            "devices": int(fleet[0]) if fleet[0].isdigit() else 1,
        },
        "serve": {},
    }
    first = plan(start).to_dict()["serve"]
    assert first["fits"] is False
    assert first["nearest"]
    for change in first["nearest"]:
        document = start
        for path, value in change["set"].items():
            document = set_path(document, path, value)
        assert plan(document).to_dict()["serve"]["fits"] is True, change["change"]


def test_more_devices_come_with_the_degree_that_uses_them() -> None:
    start = {"model": "qwen3-32b", "fleet": {"device": "rtx-4090", "devices": 1}, "serve": {"tensor": 1}}
    change = next(c for c in plan(start).to_dict()["serve"]["nearest"] if c["kind"] == "devices")
    document: dict[str, Any] = start
    for path, value in change["set"].items():
        document = set_path(document, path, value)
    assert plan(document).to_dict()["serve"]["fits"] is True


def test_versions_differ_by_range() -> None:
    catalog = load()
    old, new = find_engine("vllm", "0.6.3", catalog), find_engine("vLLM", "0.11.0", catalog)
    assert old.number("logit_bytes") < new.number("logit_bytes")
    with pytest.raises(OutlayError):
        find_engine("vllm", "mine", catalog)
    with pytest.raises(OutlayError, match="engine"):
        find_engine("vlm2000", None, catalog)


CATALOG = load()
_BASE = resolve(scenario_from({"model": "llama-3.1-70b", "fleet": "8xh100-sxm5-80gb", "serve": {"tensor": 8}}), CATALOG)
assert _BASE.serve is not None
assert _BASE.architecture is not None
RECIPE, ARCH = nominal_recipe(_BASE.serve.recipe), _BASE.architecture
SETTINGS = st.fixed_dictionaries(
    {
        "max_model_len": st.integers(256, 131072).map(float),
        "memory_utilization": st.floats(0.3, 0.97),
        "max_num_seqs": st.integers(1, 2048).map(float),
        "max_num_batched_tokens": st.integers(64, 65536).map(float),
    }
)


@given(st.lists(SETTINGS, min_size=2, max_size=4), st.sampled_from([1.0, 2.0, 4.0, 8.0]))
@settings(max_examples=25, deadline=None)
def test_a_search_s_rows_are_the_scalar_plan(rows: list[dict[str, float]], tensor: float) -> None:
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    together = serve_memory(ARCH, 80 * GIB, replace(RECIPE, **columns), ServeLayout(tensor=tensor))
    for index, row in enumerate(rows):
        alone = trial(ARCH, 80 * GIB, replace(RECIPE, **row), ServeLayout(tensor=tensor))
        assert np.broadcast_to(together.max_concurrency, len(rows))[index] == pytest.approx(alone.concurrency)
        assert np.broadcast_to(together.kv_cache_tokens, len(rows))[index] == pytest.approx(alone.tokens)


@given(SETTINGS, st.integers(1, 8))
@settings(max_examples=25, deadline=None)
def test_longer_requests_never_make_room(row: dict[str, float], times: int) -> None:
    short = trial(ARCH, 80 * GIB, replace(RECIPE, **row), ServeLayout(tensor=8))
    longer = {**row, "max_model_len": row["max_model_len"] * times}
    assert trial(ARCH, 80 * GIB, replace(RECIPE, **longer), ServeLayout(tensor=8)).concurrency <= short.concurrency


@given(SETTINGS, st.sampled_from([1, 2, 4, 8]))
@settings(max_examples=25, deadline=None)
def test_cache_tokens_fit_in_the_pool(row: dict[str, float], tensor: int) -> None:
    memory = serve_memory(ARCH, 80 * GIB, replace(RECIPE, **row), ServeLayout(tensor=tensor))
    stage = memory.stages[0]
    assert float(memory.kv_cache_tokens) * float(stage.token_bytes) <= float(stage.pool_bytes) * (1 + 1e-9)


def _slots(model: str, **serve: object) -> dict[str, float]:
    document = {"model": model, "fleet": "rtx-4090", "serve": {"engine": "llama.cpp", "precision": "q4_0", **serve}}
    found = plan(document).to_dict()["serve"]
    return {
        "cache": found["kv_cache_bytes_per_device"]["value"],
        "tokens": found["kv_cache_tokens"]["value"],
        "held": found["max_concurrency"]["value"],
    }


def test_slots_of_llama_cpp_have_a_context_each_or_share_one() -> None:
    token = 131_072.0  # Llama 3.1 8B in 16 bits
    four = _slots("llama-3.1-8b", max_model_len=2048, max_num_seqs=4)
    assert four == {"cache": 4 * 2048 * token, "tokens": 4 * 2048, "held": 4}
    shared = _slots("llama-3.1-8b", max_model_len=8192)
    assert shared == {"cache": 8192 * token, "tokens": 8192, "held": 1}
    assert _slots("llama-3.1-8b", max_model_len=8192, max_num_seqs=4, kv_unified=True) == shared
    assert _slots("llama-3.1-8b", max_model_len=1000, max_num_seqs=3)["tokens"] == 3 * 1024  # rounded to 256


def test_windows_of_llama_cpp_by_slot_and_version() -> None:
    """gpt-oss-20b: 12 of 24 layers keep 128 tokens and a physical batch of 512, in cells of 256 (its own log: 768
    cells, 18 MiB); four sequences in one cache need 4 x 128 + 512; before May 2025 every layer kept all."""
    cell = 12 * 2 * 8 * 64 * 2
    alone = _slots("gpt-oss-20b", max_model_len=8192, max_num_seqs=1)
    assert alone["cache"] == (8192 + 768) * cell
    assert _slots("gpt-oss-20b", max_model_len=8192)["cache"] == (8192 + 1024) * cell
    assert _slots("gpt-oss-20b", max_model_len=8192, max_num_seqs=4)["cache"] == 4 * alone["cache"]
    assert _slots("gpt-oss-20b", max_model_len=8192, engine_version="b5000")["cache"] == 2 * 8192 * cell


def test_slots_are_only_for_an_engine_that_allocates_contexts() -> None:
    with pytest.raises(OutlayError, match="kv_unified"):
        plan({"model": "llama-3.1-8b", "fleet": "rtx-4090", "serve": {"engine": "vllm", "kv_unified": True}})
