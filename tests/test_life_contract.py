"""Every field of data, maintain and life: accepted, and never ignored."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from outlay import plan
from outlay.scenario_io import field_paths, set_path

HERE = Path(__file__).parent / "contract"
BASES: dict[str, dict[str, Any]] = json.loads((HERE / "life_bases.json").read_text())
FIELDS = [json.loads(line) for line in (HERE / "life.jsonl").read_text().splitlines()]
SECTIONS = ("data", "maintain", "life")
support = SimpleNamespace(**run_path(str(Path(__file__).with_name("fuzz_support.py"))))


def changed(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    scenario = copy.deepcopy(base)
    for path, value in changes.items():
        scenario = set_path(scenario, path, value)
    return scenario


def told(scenario: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in plan(scenario).to_dict().items() if k != "scenario"}


@pytest.mark.parametrize("case", FIELDS, ids=[c["field"] for c in FIELDS])
def test_no_field_is_ignored(case: dict[str, Any]) -> None:
    """`beside` is what the base is given too, so that the field alone differs; `path` where a list is set whole."""
    base = changed(BASES[case["base"]], case.get("beside", {}))
    other = changed(base, {**case.get("more", {}), case.get("path", case["field"]): case["value"]})
    assert told(other) != told(base), f"{case['field']} changes nothing"


def test_every_field_has_a_line() -> None:
    paths = [p for p in field_paths() if p.split(".")[0] in SECTIONS]
    leaves = {p for p in paths if not any(q.startswith(p + ".") for q in paths)}
    assert leaves | {"data.datasets", "data.licences"} == {c["field"] for c in FIELDS}


@pytest.mark.parametrize("name", BASES)
def test_the_resolved_scenario_gives_the_same_again(name: str) -> None:
    first = plan(BASES[name]).to_dict()
    again = plan(first).to_dict()
    assert again["totals"] == first["totals"]
    assert again.get("life") == first.get("life")


@settings(max_examples=80, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(FIELDS), st.sampled_from(support.WRONG_VALUES))
def test_any_value_gives_an_answer_or_an_error(case: dict[str, Any], wrong: Any) -> None:
    base = changed(BASES[case["base"]], case.get("beside", {}))
    assert support.faults_of(support.answer(set_path(base, case.get("path", case["field"]), wrong))) == []
