"""What a machine of one piece is not charged for twice, and what is said where nothing is known."""

from __future__ import annotations

from typing import Any

import pytest

from outlay import plan
from outlay.planner.serve.launch import launch
from outlay.readers.launch.line import read_launch
from outlay.report import serving

SERVE = {"max_model_len": 8192, "workload": {"rate": 0.02, "input": 512, "output": 128}, "hours": 1000}
MAC = {"model": "llama-3.1-8b", "fleet": "m2-max-32gb", "site": {"location": "US", "pue": 1.0}, "serve": SERVE}
OWN = {"name": "mychip", "memory_bytes": "80GB", "memory_bytes_per_s": 2e12, "flops_per_s": {"bf16": 4e14}}


def test_power_at_the_wall_gets_no_host_on_top() -> None:
    told = plan(MAC).to_dict()
    items = {line["item"] for line in told["lines"] if line["resource"] == "energy_j"}
    assert items == {"prefill", "decode", "waiting", "cooling"}
    held_s = sum(line["quantity"]["value"] for line in told["lines"] if line["resource"] == "device_s")
    assert told["totals"]["energy_j"]["value"] <= 145.0 * held_s  # Apple: 145 W at most, at the wall
    assert any(a["what"] == "host power" and a["value"] == 0 for a in told["assumptions"])
    made_kg = told["totals"]["co2e_embodied_kg"]["value"]
    assert 0.0 < made_kg < 100.0  # 1000 of some 35,000 hours of a desktop machine, no server around it


def test_other_devices_keep_their_host() -> None:
    told = plan({**MAC, "fleet": "rtx-4090", "serve": {**SERVE, "precision": "fp8"}}).to_dict()
    assert {"host", "network"} <= {line["item"] for line in told["lines"]}


def test_fine_tuning_on_an_apple_chip_is_said_to_be_borrowed() -> None:
    tune = {"method": "lora", "examples": 1000, "sequence_length": 512}
    told = plan({"model": "llama-3.1-8b", "fleet": "m2-max-64gb", "finetune": tune}).to_dict()
    assert any("m2-max-64gb" in w and w.startswith("finetune.framework") for w in told["warnings"])
    told = plan({"model": "llama-3.1-8b", "fleet": "rtx-4090", "finetune": {**tune, "method": "qlora"}}).to_dict()
    assert not any(w.startswith("finetune.framework") for w in told["warnings"])


def test_unknown_power_is_unknown_not_zero() -> None:
    told = plan({"model": "llama-3.1-8b", "fleet": {"device": OWN, "devices": 1}, "serve": SERVE}).to_dict()
    assert told["serve"]["facility_energy_per_output_token_j"] is None
    assert told["serve"]["co2e_per_request_kg"] is None and told["totals"]["energy_j"] is None
    assert sum("power" in w for w in told["warnings"]) == 1
    text = "\n".join(str(block) for block in serving.page(told))
    assert " 0 Wh" not in text and "'0 Wh'" not in text


@pytest.mark.parametrize("shared", [True, False])
def test_llama_cpp_slots_share_a_context_or_have_their_own(shared: bool) -> None:
    section: dict[str, Any] = {"max_model_len": 8192, "max_num_seqs": 4, "kv_unified": shared, "precision": "bf16"}
    line = launch("llama.cpp", "model.gguf", section)
    assert line is not None
    assert line["words"][line["words"].index("-c") + 1] == ("8192" if shared else "32768")
    read = read_launch(line["words"])[0]["serve"]
    assert {name: read[name] for name in ("max_model_len", "max_num_seqs", "kv_unified")} == {
        "max_model_len": 8192, "max_num_seqs": 4, "kv_unified": shared}
    assert launch("llama.cpp", "org/model", section)["notes"]  # type: ignore[index]


def test_what_is_short_is_needs_less_has() -> None:
    told = plan({"model": "deepseek-r1", "fleet": "8xrtx-4090", "serve": {}}).to_dict()["serve"]["binding"]
    assert told["needed_bytes"] - told["limit_bytes"] == pytest.approx(told["short_bytes"])
    assert told["limit_bytes"] > 0


def test_a_search_times_a_device_as_its_plan_does() -> None:
    """A device without time constants of its own is held to one stream of it, in the search as in the plan."""
    load = {"max_model_len": 8192, "workload": {"concurrency": 4, "input": 512, "output": 128}}
    found = plan({"model": "llama-3.1-70b", "serve": {
        **load, "slo": {"tpot": "90ms"}, "options": {"devices": ["h100-pcie-80gb"]}}}).to_dict()["serve"]
    row = found["search"]["best"][0]
    assert row["tpot_s"] == pytest.approx(found["tpot_s"]["value"], rel=0.01)
    assert row["output_tokens_per_s"] == pytest.approx(found["output_tokens_per_s"]["value"], rel=0.03)


@pytest.mark.parametrize("percentile", [95, 99.9])
def test_a_promise_is_held_against_the_percentile_promised(percentile: float) -> None:
    slo = {"ttft": "1s", "percentile": percentile}
    asked = {"max_model_len": 8192, "precision": "fp8", "slo": slo,
             "workload": {"rate": 1, "input": 1024, "output": 128}}
    told = plan({"model": "llama-3.1-8b", "fleet": "rtx-4090", "serve": asked}).to_dict()["serve"]
    assert told["slo"]["ttft"]["of"] == f"p{percentile:g}"
    seen = told["slo"]["ttft"]["value"]["value"]
    assert told["ttft_p90_s"]["value"] < seen
    assert (seen < told["ttft_p99_s"]["value"]) == (percentile < 99)


def test_fit_and_serve_name_the_same_rent() -> None:
    from outlay.catalog import load
    from outlay.planner.fit import facts

    for device in ("rtx-4090", "h100-sxm5-80gb", "l40s"):
        told = plan({"model": "llama-3.1-8b", "fleet": device, "serve": {**SERVE, "precision": "fp8"}}).to_dict()
        rent = next(a["value"] for a in told["assumptions"] if a["what"] == "fleet.usd_per_device_hour")
        assert facts(load().find("device", device), device, load())["usd_per_hour"] == pytest.approx(rent)


def test_a_field_is_named_once(capsys: pytest.CaptureFixture[str]) -> None:
    from outlay.cli.shell import run

    assert run(["serve", "llama-3.1-8b", "-g", "rtx-4090", "--users", "5", "--rate", "3"]) == 2
    assert capsys.readouterr().err.startswith("serve.workload.users: rate and users are 2 loads; give one of")
    assert run(["serve", "llama-3.1-8b", "-g", "rtx-4090", "--users", "-3"]) == 2
    assert capsys.readouterr().err.strip() == "serve.workload.users: -3 must be at least 1"


def test_a_report_names_its_subject_in_what_to_run_next(capsys: pytest.CaptureFixture[str]) -> None:
    from outlay.cli.shell import run

    assert run(["report", "llama-3.1-8b", "-g", "64xh100-sxm", "-n", "1T"]) == 0
    assert "$ outlay explain llama-3.1-8b -g 64xh100-sxm -n 1T device_hours" in capsys.readouterr().out
