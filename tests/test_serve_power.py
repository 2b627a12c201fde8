"""Power of serving by phase: what adds up, what a cap does, what waiting costs."""

from __future__ import annotations

import numpy as np
import pytest
from msgspec.structs import replace

from outlay.api import plan
from outlay.catalog import load
from outlay.planner.serve.energy import power_values
from outlay.resolve import resolve
from outlay.resolve.power import capped_clock, serve_power_facts
from outlay.resolve.serve.time import time_constants, time_device
from outlay.scenario_io import scenario_from
from outlay.steps.serve.inputs import ServeLayout
from outlay.steps.serve.power import serve_power
from outlay.steps.serve.time import serve_time
from outlay.steps.serve.time_inputs import EngineTime, Load

CATALOG = load()
H100 = "h100-sxm5-80gb"
SHARES = ("prefill_share", "decode_share", "idle_share")
ENERGIES = tuple(f"energy_{name}_per_output_token_j" for name in ("prefill", "decode", "idle"))


def setting(model="llama-3.1-8b", tensor=1, expert=1, precision="bf16", cap=None, device=H100, data=1):
    fleet = {"device": device, "devices": tensor * data}
    if cap is not None:
        fleet["device_power_limit_w"] = cap
    serve = {"engine": "vllm", "tensor": tensor, "precision": precision}
    resolved = resolve(scenario_from({"model": model, "fleet": fleet, "serve": serve}), CATALOG)
    kind = time_device(CATALOG.find("device", device), clock=1.0 if cap is None else capped_clock(700.0, cap))
    widths = {name: float(getattr(size, "value", size)) for name, size in resolved.serve.recipe.part_bytes.items()}
    engine = EngineTime(widths, 2.0, time_constants("vllm", kind.generation))
    return resolved, (resolved.architecture, kind, engine, ServeLayout(tensor, 1, expert, data))


def powered(load_, **given):
    resolved, args = setting(**given)
    found = serve_time(*args, load_)
    return serve_power(*args, load_, found, serve_power_facts(resolved.power)) | {"rate": found["output_tokens_per_s"]}


LOADS = [
    Load("closed", 512.0, 256.0, 16.0),
    Load("open", 512.0, 256.0, rate=0.5),
    Load("batch", 512.0, 256.0, 8.0),
    Load("queued", 512.0, 256.0, cache_tokens=3e5),
]


@pytest.mark.parametrize("load_", LOADS, ids=lambda one: one.kind)
@pytest.mark.parametrize("model, tensor", [("llama-3.1-8b", 1), ("qwen3-30b-a3b", 2), ("deepseek-v3", 8)])
def test_phases_add_up(load_, model, tensor):
    found = powered(load_, model=model, tensor=tensor, expert=tensor)
    assert sum(found[name] for name in SHARES) == pytest.approx(1.0)
    assert sum(found[name] for name in ENERGIES) == pytest.approx(found["energy_per_output_token_j"])
    assert found["energy_per_output_token_j"] * found["rate"] == pytest.approx(found["power_w_per_device"] * tensor)
    assert 60.0 < found["power_w_per_device"] <= 700.0
    assert found["idle_w"] < found["decode_w"] <= 700.0 and found["idle_w"] < found["prefill_w"] <= 700.0


def test_a_quiet_replica_draws_idle_power_and_its_tokens_cost_most():
    quiet, steady = (powered(Load("open", 512.0, 256.0, rate=rate)) for rate in (1e-4, 5.0))
    assert quiet["power_w_per_device"] == pytest.approx(quiet["idle_w"], rel=0.01)
    assert quiet["energy_idle_per_output_token_j"] > 0.9 * quiet["energy_per_output_token_j"]
    assert steady["energy_per_output_token_j"] < quiet["energy_per_output_token_j"] / 100
    assert steady["idle_share"] < 0.01


def test_a_cap_slows_prompts_as_measured_and_leaves_answers():
    """Splitwise, ISCA 2024: prompts on an H100 held to half its power take 1.3 times as long, answers as long."""
    load_ = Load("batch", 512.0, 128.0, 16.0)
    free, capped = (serve_time(*setting("llama-2-70b", 8, cap=cap)[1], load_) for cap in (None, 350.0))
    assert 1.2 < capped["ttft_s"] / free["ttft_s"] < 1.4
    assert capped["tpot_s"] == pytest.approx(free["tpot_s"], rel=0.02)
    assert 1 / capped_clock(700.0, 350.0) > 1.3  # of arithmetic, which is a part of a prompt
    found = powered(load_, model="llama-2-70b", tensor=8, cap=350.0)
    assert found["prefill_w"] <= 350.0 + 1e-9


def test_ranks_that_wait_for_one_another_draw_less_each():
    one, many = (powered(Load("closed", 512.0, 256.0, 8.0), tensor=tensor) for tensor in (1, 8))
    assert many["decode_w"] < 0.8 * one["decode_w"]


def test_pools_do_one_phase_each():
    base = Load("closed", 2048.0, 256.0, 4.0)
    resolved, args = setting("llama-3.1-70b", 8)
    facts = serve_power_facts(resolved.power)
    first = serve_power(*args, replace(base, pool="prefill"), {"output_tokens_per_s": 500.0, "running": 1.0}, facts)
    second = serve_power(*args, replace(base, pool="decode"), {"output_tokens_per_s": 500.0, "running": 4.0}, facts)
    assert first["decode_share"] == 0.0 and first["energy_decode_per_output_token_j"] == 0.0
    assert second["prefill_share"] == 0.0 and second["energy_prefill_per_output_token_j"] == 0.0
    assert 0.0 < first["prefill_share"] < 1.0 and 0.0 < second["decode_share"] <= 1.0


def test_arrays_match_scalars():
    resolved, args = setting("qwen3-30b-a3b")
    facts = serve_power_facts(resolved.power)
    counts = np.array([1.0, 16.0, 128.0])
    load_ = Load("closed", 512.0, 256.0, counts)
    whole = serve_power(*args, load_, serve_time(*args, load_), facts)
    for place, count in enumerate(counts):
        one = replace(load_, concurrency=float(count))
        alone = serve_power(*args, one, serve_time(*args, one), facts)
        for name, value in alone.items():
            assert np.broadcast_to(whole[name], counts.shape)[place] == pytest.approx(float(value)), name


def test_derived_numbers_carry_interval_and_lineage():
    resolved, args = setting()
    load_ = Load("closed", 512.0, 256.0, 4.0)
    found = serve_time(*args, load_)
    values = power_values(resolved.power, *args, load_, found["output_tokens_per_s"], found["running"])
    plain = powered(load_)
    for name in ("power_w_per_device", "energy_per_output_token_j", *ENERGIES):
        assert values[name].value == pytest.approx(float(plain[name]))
    energy = values["energy_per_output_token_j"]
    assert energy.low < energy.value < energy.high
    assert any("residual" in one.label for one in energy.inputs)


def test_power_that_was_measured_replaces_the_model():
    resolved, args = setting()
    facts = replace(serve_power_facts(resolved.power), measured_w=500.0)
    found = serve_power(*args, LOADS[0], serve_time(*args, LOADS[0]), facts)
    assert found["power_w_per_device"] == pytest.approx(500.0)


def test_a_plan_under_a_cap_is_slower_at_prompts_and_never_above_it():
    serve = {"engine": "vllm", "tensor": 8, "workload": {"batch": 16, "input": 2048, "output": 128}}
    free, capped = (
        plan({"model": "llama-3.1-70b", "fleet": {"device": H100, "devices": 8, **cap}, "serve": serve}).phases["serve"]
        for cap in ({}, {"device_power_limit_w": 300.0})
    )
    assert capped["ttft_s"].value > 1.15 * free["ttft_s"].value
    assert capped["tpot_s"].value == pytest.approx(free["tpot_s"].value, rel=0.05)
    assert capped["power_w_per_device"].high <= 300.0 + 1e-6
    assert capped["energy_per_output_token_j"].value < free["energy_per_output_token_j"].value


@pytest.mark.parametrize("serve, fleet", [
    ({"workload": {"rate": 0.05, "input": 500, "output": 200}, "hours": 24}, f"1x{H100}"),
    ({"workload": {"concurrency": 32, "input": 500, "output": 200}, "hours": 24}, f"1x{H100}"),
    ({"workload": {"concurrency": 256, "input": 2000, "output": 500}, "hours": 24,
      "disaggregated": {"prefill": {"tensor": 1, "replicas": 2}, "decode": {"tensor": 1, "replicas": 2}}}, f"4x{H100}"),
])
def test_lines_add_up_to_the_energy_of_a_token(serve, fleet):
    result = plan({"model": "llama-3.1-8b", "fleet": fleet, "serve": {"engine": "vllm", **serve}})
    found = result.phases["serve"]
    lines = [x for x in result.lines if x.usage.resource == "energy_j" and x.usage.scope == "device"]
    whole = sum(x.energy_j.value for x in lines)
    assert whole == pytest.approx(found["energy_per_output_token_j"].value * found["output_tokens"].value, rel=0.01)
    held = sum(x.usage.quantity.value for x in result.lines if x.usage.resource == "device_s")
    assert held == pytest.approx(24 * 3600 * int(fleet.partition("x")[0]), rel=1e-6)
