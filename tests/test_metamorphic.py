"""Random good scenarios of each phase move the way causes say: what is doubled doubles, what is more is never less."""

from __future__ import annotations

import json
import random
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from outlay.scenario_io import set_path

HERE = Path(__file__).parent
support = SimpleNamespace(**run_path(str(HERE / "fuzz_support.py")))
maker = SimpleNamespace(**run_path(str(HERE / "scenario_maker.py")))
FEW = settings(max_examples=3, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
MODELS = ("llama-3.1-8b", "llama-3.2-1b", "qwen3-30b-a3b", "gpt-oss-20b", "gemma-3-4b", "mixtral-8x7b")
DEVICES = ("h100-sxm5-80gb", "h200-sxm-141gb", "b200-sxm", "mi300x")
TRACE = str(HERE / "fixtures" / "requests.csv")


def one_of(*values: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from(values)


@st.composite
def deployments(draw: st.DrawFn) -> dict[str, Any]:
    return {"model": draw(one_of(*MODELS)), "site": {"location": "DE", "pue": 1.2},
            "fleet": {"device": draw(one_of(*DEVICES)), "devices": 4, "usd_per_device_hour": 2.0},
            "serve": {"engine": draw(one_of("vllm", "sglang")), "tensor": draw(one_of(1, 2)), "max_model_len": 8192,
                      "workload": {"input": draw(one_of(128, 2000)), "output": draw(one_of(64, 500))}}}


@st.composite
def tunings(draw: st.DrawFn) -> dict[str, Any]:
    return {"model": draw(one_of(*MODELS)), "site": {"location": "DE", "pue": 1.2},
            "fleet": {"device": draw(one_of(*DEVICES)), "devices": draw(one_of(1, 4)), "usd_per_device_hour": 2.0},
            "finetune": {"method": draw(one_of("lora", "qlora")), "sequence_length": draw(one_of(512, 2048)),
                         "examples": 20_000, "micro_batch": draw(one_of(1, 2)), "gradient_checkpointing": True}}


@lru_cache(maxsize=200)
def _answered(text: str) -> dict[str, Any]:
    found: dict[str, Any] = support.answer(json.loads(text))
    assert support.faults_of(found) == [], text
    assert "error" not in found, (found["error"], text)
    return found


def numbers(scenario: dict[str, Any], changes: dict[str, Any], *wanted: str) -> list[float]:
    for path, value in changes.items():
        scenario = set_path(scenario, path, value)
    found = _answered(json.dumps(scenario))
    values = []
    for name in wanted:
        at: Any = found
        for key in name.split("."):
            at = at[key]
        values.append(float(at["value"]))
    return values


def never_less(scenario: dict[str, Any], path: str, values: tuple[Any, ...], *wanted: str) -> None:
    """Each number wanted does not fall along these values of one field."""
    rows = [numbers(scenario, {path: value}, *wanted) for value in values]
    for name, column in zip(wanted, zip(*rows, strict=True), strict=True):
        for before, after in pairwise(column):
            assert after >= before * (1 - 1e-9), (name, path, column, scenario)


@FEW
@given(deployments(), tunings())
def test_prices_and_sites_scale_what_they_price(deployment: dict[str, Any], tuning: dict[str, Any]) -> None:
    for scenario in (set_path(deployment, "serve.workload.rate", 0.5), tuning):
        usd, energy = numbers(scenario, {}, "totals.usd", "totals.energy_j")
        doubled = numbers(scenario, {"site.pue": 2.4}, "totals.usd", "totals.energy_j")
        assert doubled == pytest.approx([usd, 2 * energy], rel=1e-6)
        clean, dirty = (numbers(scenario, {"site.grid_kgco2e_per_kwh": x}, "totals.co2e_operational_kg")[0]
                        for x in (0.1, 0.3))
        assert dirty == pytest.approx(3 * clean, rel=1e-6)
    scenario = set_path(deployment, "serve.workload.rate", 0.5)
    names = ("totals.usd", "serve.usd_per_million_output_tokens", "serve.usd_per_million_input_tokens_allocated")
    before = numbers(scenario, {}, *names)
    assert numbers(scenario, {"fleet.usd_per_device_hour": 4.0}, *names) == pytest.approx([2 * x for x in before])


@FEW
@given(deployments())
def test_more_load_is_never_answered_sooner(scenario: dict[str, Any]) -> None:
    capacity = numbers(scenario, {"serve.workload.rate": 0.01}, "serve.capacity_requests_per_s")[0]
    rates = tuple(capacity * share for share in (0.05, 0.4, 0.8))
    never_less(scenario, "serve.workload.rate", rates, "serve.ttft_s", "serve.tpot_s", "serve.e2e_s", "serve.load",
               "serve.concurrency", "totals.energy_j")


@FEW
@given(deployments())
def test_more_at_once_is_never_less_throughput(scenario: dict[str, Any]) -> None:
    for field in ("concurrency", "batch"):
        never_less(scenario, f"serve.workload.{field}", (2, 16, 128), "serve.output_tokens_per_s", "serve.e2e_s")


@FEW
@given(deployments())
def test_memory_follows_length_and_width(scenario: dict[str, Any]) -> None:
    never_less(scenario, "serve.max_model_len", (4096, 8192, 32768), "serve.sequence_bytes_per_device")
    never_less(scenario, "serve.precision", ("int4", "fp8", "bf16", "fp32"), "serve.weights_bytes_per_device")
    never_less(scenario, "serve.kv_precision", ("fp8", "bf16"), "serve.kv_bytes_per_token")
    never_less(scenario, "serve.memory_utilization", (0.8, 0.9, 0.95), "serve.kv_cache_tokens")
    never_less(scenario, "serve.adapters", ({"count": 1, "rank": 8}, {"count": 4, "rank": 8}, {"count": 4, "rank": 64}),
               "serve.memory_parts.adapters")


@FEW
@given(tunings())
def test_a_larger_fine_tune_takes_more(scenario: dict[str, Any]) -> None:
    memory, step = "finetune.memory_per_device_bytes", "finetune.step_time_s"
    never_less(scenario, "finetune.rank", (8, 16, 64), "finetune.trainable_parameters", memory)
    never_less(scenario, "finetune.sequence_length", (128, 512, 2048), memory, step)
    never_less(scenario, "finetune.micro_batch", (1, 2, 4), memory, step)
    never_less(scenario, "finetune.gradient_checkpointing", (False, True), step)
    never_less(scenario, "finetune.gradient_checkpointing", (True, False), memory)
    never_less(scenario, "finetune.method", ("qlora", "lora"), "finetune.memory_parts.weights")
    never_less(scenario, "finetune.epochs", (1, 2), "finetune.elapsed_s", "totals.usd")


@pytest.mark.parametrize("model", ["qwen3-30b-a3b", "gpt-oss-20b", "mixtral-8x7b"])
def test_few_rows_an_expert_are_not_slower_than_many(model: str) -> None:
    """32 tokens on 128 experts once took a hundred times as long as 4,096 did."""
    scenario = {"model": model, "fleet": "b200-sxm", "finetune": {
        "method": "lora", "examples": 1000, "micro_batch": 1, "gradient_checkpointing": True}}
    never_less(scenario, "finetune.sequence_length", (32, 128, 512, 2048, 8192), "finetune.step_time_s")


@FEW
@given(one_of("llama-3.1-8b", "mixtral-8x7b"), one_of(256, 1024))
def test_more_devices_never_train_slower(model: str, batch: int) -> None:
    base = {"model": model, "fleet": {"device": "h100-sxm5-80gb"},
            "pretrain": {"tokens": 1e10, "sequence_length": 4096, "global_batch": batch}}
    steps = [numbers(base, {"fleet.devices": n}, "pretrain.step_time_s")[0] for n in (128, 64, 32)]
    assert steps == sorted(steps)


def test_twice_the_users_never_need_fewer_devices() -> None:
    base = {"model": "llama-3.1-8b", "serve": {"max_model_len": 8192, "options": {"devices": ["l40s"]},
                                               "workload": {"input": 1000, "output": 200}, "slo": {"tpot": "50ms"}}}
    needed = [_answered(json.dumps(set_path(base, "serve.workload.users", users)))["scenario"]["fleet"]["devices"]
              for users in (200, 400, 3200, 6400)]
    assert needed == sorted(needed)


@pytest.mark.parametrize("kind", ["legal", "stretched", "spoiled"])
def test_any_section_gives_an_answer_or_an_error(kind: str) -> None:
    """A few of what `tools/fuzz_scenarios.py` asks by the thousand."""
    for seed in range(25):
        pick = random.Random(f"{kind}/{seed}")
        scenario = maker.spoiled(pick, support.WRONG_VALUES) if kind == "spoiled" else getattr(maker, kind)(pick)
        assert support.faults_of(support.answer(scenario)) == [], scenario


FOUND = [  # what fuzzing once broke
    ({"fleet.tenure": "own", "fleet.lifetime": 1e-9}, "fleet.lifetime"),
    ({"fleet.device_power_limit_w": 1}, "fleet.device_power_limit_w"),
    ({"fleet.devices": 2_000_000, "serve": {"disaggregated": {
        "prefill": {"tensor": 1, "replicas": 1_000_000}, "decode": {"tensor": 1, "replicas": 1_000_000}},
        "workload": {"trace": TRACE}}}, "serve.workload.trace"),
]


@pytest.mark.parametrize(("changes", "field"), FOUND, ids=[field for _, field in FOUND])
def test_what_cannot_be_is_named(changes: dict[str, Any], field: str) -> None:
    scenario: dict[str, Any] = {"model": "llama-3.1-8b", "fleet": {"device": "h100-sxm5-80gb", "devices": 8},
                                "serve": {"workload": {"rate": 1}}}
    for path, value in changes.items():
        scenario = set_path(scenario, path, value)
    assert support.answer(scenario)["error"]["field"] == field


def test_free_machines_no_hours_and_many_replicas_are_answered() -> None:
    free = _answered(json.dumps({"model": "llama-3.1-8b", "fleet": {
        "device": "h100-sxm5-80gb", "usd_per_device_hour": 0}, "pay": {
            "requests_per_month": "3M", "input": 1200, "output": 250, "ways": ["rent", "own"]}}))
    assert free["pay"]
    _answered(json.dumps({"model": "llama-3.1-8b", "fleet": "h100-sxm5-80gb", "serve": {"hours": 0}}))
    wide = {"model": "llama-3.1-8b", "fleet": {"device": "h100-sxm5-80gb", "devices": 1_000_000},
            "serve": {"tensor": 1, "max_model_len": 8192, "workload": {"trace": TRACE}}}
    found = _answered(json.dumps(wide))["serve"]
    assert found["replicas"] == 1_000_000 and found["e2e_s"]["value"] > 0


@pytest.mark.parametrize("work", [{"rate": 0.5, "requests": 2}, {"trace": TRACE}, {"rate": "inf", "requests": 50}])
def test_requests_answered_are_those_asked(work: dict[str, Any]) -> None:
    lengths = {} if "trace" in work else {"input": 500, "output": 100}
    found = _answered(json.dumps({"model": "llama-3.1-8b", "fleet": "h100-sxm5-80gb", "serve": {
        "max_model_len": 8192, "workload": {**work, **lengths}}}))["serve"]
    asked = work.get("requests", len(Path(TRACE).read_text().splitlines()) - 1)
    assert found["requests"]["value"] == asked
    assert found["output_tokens"]["value"] == pytest.approx(asked * found["output"])
