"""Random legal scenarios: every answer is whole, and moves the way physics says when one input moves."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from outlay.scenario_io import set_path

support = SimpleNamespace(**run_path(str(Path(__file__).with_name("fuzz_support.py"))))
BASES: dict[str, dict[str, Any]] = json.loads((Path(__file__).parent / "contract" / "bases.json").read_text())
FAST = settings(max_examples=3, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
QUICK = settings(FAST, max_examples=25)


def one_of(*values: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from(values)


@st.composite
def fixed_plans(draw: st.DrawFn) -> dict[str, Any]:
    """A scenario whose layout is given, on eight to 512 devices."""
    layout = {"tensor": draw(one_of(1, 2, 4, 8)), "pipeline": draw(one_of(1, 2, 4)), "context": draw(one_of(1, 2)),
              "data": draw(one_of(1, 2, 8)), "micro_batch": draw(one_of(1, 2)), "zero": draw(one_of(0, 1)),
              "recompute": draw(one_of("none", "selective", "full"))}
    model = draw(one_of("dense", "moe", "mla", "ssm"))
    devices = layout["tensor"] * layout["pipeline"] * layout["context"] * layout["data"]
    scenario = {"model": BASES[model]["model"], "site": {"location": "DE", "pue": draw(one_of(1.05, 1.6))},
                "fleet": {"device": draw(one_of("h100-sxm5-80gb", "a100-sxm4-80gb", "b200-sxm", "mi300x")),
                          "devices": devices, "devices_per_node": min(devices, 8), "usd_per_device_hour": 2.0},
                "pretrain": {"tokens": draw(one_of(1e9, 3e11)), "sequence_length": draw(one_of(2048, 8192)),
                             "global_batch": 256, "precision": "bf16", "layout": layout}}
    if draw(st.booleans()):
        scenario["fleet"] |= {"tenure": "own", "usd_per_device": 20_000}
        del scenario["fleet"]["usd_per_device_hour"]
    return scenario


def planned(scenario: dict[str, Any], *changes: tuple[str, Any]) -> dict[str, Any]:
    for path, value in changes:
        scenario = set_path(scenario, path, value)
    found: dict[str, Any] = support.answer(scenario)
    assert support.faults_of(found) == [], scenario
    return found


@lru_cache(maxsize=200)
def planned_once(text: str) -> dict[str, Any]:
    return planned(json.loads(text))


def value(found: dict[str, Any], path: str) -> float:
    at: Any = found
    for key in path.split("."):
        at = at[key]
    return float(at["value"])


def moved(scenario: dict[str, Any], path: str, change: Any, number: str) -> float:
    """How many times larger a number becomes with one change."""
    before, after = planned_once(json.dumps(scenario)), planned(scenario, (path, change))
    assert "error" not in before and "error" not in after, (before.get("error"), after.get("error"))
    return value(after, number) / value(before, number)


@QUICK
@given(st.sampled_from(sorted(BASES)), st.sampled_from([*BASES["dense"]["pretrain"], "optimizer", "offload"]),
       st.sampled_from(support.WRONG_VALUES))
def test_any_value_gives_an_answer_or_an_error(base: str, field: str, wrong: Any) -> None:
    scenario = BASES[base] if BASES[base]["pretrain"].get("layout") else BASES["dense"]
    assert support.faults_of(support.answer(set_path(scenario, f"pretrain.{field}", wrong))) == []


@FAST
@given(fixed_plans())
def test_faster_links_and_memory_are_never_slower(scenario: dict[str, Any]) -> None:
    step = "pretrain.step_time_s"
    assert moved(scenario, "fleet.inter_node_bytes_per_s", 1e12, step) <= 1 + 1e-9
    assert moved(scenario, "fleet.intra_node_bytes_per_s", 1e13, step) <= 1 + 1e-9
    device = scenario["fleet"]["device"]
    assert moved(scenario, "fleet.device", {"name": device, "memory_bytes_per_s": 2e13}, step) <= 1 + 1e-9
    faster = {"name": device, "flops_per_s": {"bf16": 1e16}}
    assert moved(scenario, "fleet.device", faster, step) <= 1.02  # less to hide communication behind


@FAST
@given(fixed_plans())
def test_recomputing_saves_memory_for_time(scenario: dict[str, Any]) -> None:
    none = set_path(scenario, "pretrain.layout.recompute", "none")
    assert moved(none, "pretrain.layout.recompute", "full", "pretrain.memory_per_device_bytes") < 1
    assert moved(none, "pretrain.layout.recompute", "full", "pretrain.step_time_s") > 1


@FAST
@given(fixed_plans())
def test_memory_grows_with_the_micro_batch_and_shrinks_with_zero(scenario: dict[str, Any]) -> None:
    memory = "pretrain.memory_per_device_bytes"
    one = set_path(set_path(scenario, "pretrain.layout.micro_batch", 1), "pretrain.layout.zero", 0)
    assert moved(one, "pretrain.layout.micro_batch", 2, memory) > 1
    layout = scenario["pretrain"]["layout"]
    if layout["data"] * layout["context"] > 1:
        assert moved(one, "pretrain.layout.zero", 1, memory) < 1


@FAST
@given(fixed_plans())
def test_costs_follow_their_causes(scenario: dict[str, Any]) -> None:
    assert moved(scenario, "site.pue", 2.5, "totals.energy_j") > 1
    assert moved(scenario, "site.pue", 2.5, "pretrain.step_time_s") == 1
    assert moved(scenario, "site.grid_kgco2e_per_kwh", 5, "totals.co2e_operational_kg") > 1
    owned = scenario["fleet"].get("tenure") == "own"
    price = ("fleet.usd_per_device", 90_000) if owned else ("fleet.usd_per_device_hour", 9)
    assert moved(scenario, *price, "totals.usd") > 1
    steps = moved(scenario, "pretrain.tokens", scenario["pretrain"]["tokens"] * 10, "pretrain.steps")
    assert abs(steps - 10) < 0.1


@FAST
@given(fixed_plans(), st.integers(0, 1000))
def test_answers_are_scenarios_and_seeds_move_only_intervals(scenario: dict[str, Any], seed: int) -> None:
    first = planned(scenario)
    again, other = planned(first), planned(scenario, ("seed", seed))
    numbers = dict(support.quantities({k: v for k, v in first.items() if k != "scenario"}))
    assert numbers == dict(support.quantities({k: v for k, v in again.items() if k != "scenario"}))
    for path, q in support.quantities({k: v for k, v in other.items() if k != "scenario"}):
        assert q["value"] == numbers[path]["value"], path


def test_what_does_not_fit_has_changes_that_do() -> None:
    scenario = set_path(BASES["dense"], "fleet.device_memory_bytes", "30GB")
    found = planned(scenario)["pretrain"]
    assert found["fits"] is False and found["binding"]["short_bytes"] > 0 and found["nearest"]
    for change in found["nearest"]:
        assert planned(scenario, *change["set"].items())["pretrain"]["fits"], change["change"]
