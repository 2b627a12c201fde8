"""Published wall power against the plan, and how rows of serving energy become scenarios."""

from __future__ import annotations

import pytest

from outlay.catalog import load
from outlay.validate.case import score
from outlay.validate.power_cases import PROMPTS, given_rate, power_cases, predict_given_rate
from outlay.validate.predict import predict
from outlay.validate.tables import read_rows

CATALOG = load()
# One steady state in the words of its table; its values are made up but for their sizes.
ROW = {
    "model": "meta-llama/Llama-3.1-8B-Instruct", "gpu": "H100", "n_gpus": "1", "precision": "bfloat16", "tp": "1",
    "ep": "1", "dp": "1", "concurrency": "64", "batch": "64", "output_len": "400", "output_tok_s_total": "5000",
    "avg_power_w": "600", "joules_per_token": "0.12", "scenario": "steady-state lm-arena-chat", "notes": "",
}


def test_power_at_the_plug():
    found = [predict(case, CATALOG) for case in power_cases("mlperf_llm_power", read_rows("mlperf_llm_power"))]
    assert len(found) == 10 and not any(o.error for o in found)
    whole = score("wall", found)
    assert whole.median <= 0.06 and whole.p90 <= 0.12
    assert whole.inside >= 0.7 and whole.width < 1.5


def test_a_row_of_energy_is_a_scenario_with_its_prompts_assumed():
    (case,) = power_cases("mlenergy_v3_llm", [ROW])
    assert case.group == "llama-3.1-8b" and case.measured == 0.12
    assert case.scenario["serve"]["workload"]["input"] == PROMPTS["lm-arena-chat"]
    assert power_cases("mlenergy_v3_llm", [ROW | {"scenario": "steady-state image-chat"}]) == []


def test_experts_over_all_devices():
    (case,) = power_cases("mlenergy_v3_llm", [ROW | {"ep": "8", "n_gpus": "8"}])
    assert case.scenario["serve"]["tensor"] == 8 and case.scenario["serve"]["expert"] == 8


def test_power_at_the_measured_throughput_uses_constants_without_the_model():
    (one,) = given_rate([ROW])
    apart = predict_given_rate(*one)
    assert not apart.error and apart.low < apart.value < apart.high
    assert apart.value == pytest.approx(apart.case.measured, rel=0.25)
    everything = predict_given_rate(type(one[0])(**{**_fields(one[0]), "group": ""}), *one[1:])
    assert everything.value != apart.value


def _fields(case):
    return {name: getattr(case, name) for name in case.__struct_fields__}


def test_other_tables_are_refused():
    with pytest.raises(ValueError, match="no such table"):
        power_cases("other", [])
