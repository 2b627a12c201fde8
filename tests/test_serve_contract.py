"""Every serving field: it changes the result, is told as an assumption, or is refused by name."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from outlay import OutlayError, plan
from outlay.scenario_io import field_paths, set_path

HERE = Path(__file__).parent / "contract"
TRACE = Path(__file__).parent / "fixtures" / "requests.csv"
BASES: dict[str, dict[str, Any]] = json.loads((HERE / "serve_bases.json").read_text())
FIELDS = [json.loads(line) for line in (HERE / "serve.jsonl").read_text().splitlines()]
_planned: dict[str, Any] = {}


def scenario(base: str, *changes: dict[str, Any]) -> dict[str, Any]:
    found = copy.deepcopy(BASES[base])
    for change in changes:
        for path, value in change.items():
            found = set_path(found, path, value)
    return found


def told(document: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in plan(document).to_dict().items() if k != "scenario"}


@pytest.mark.parametrize("name", BASES)
def test_base_scenarios_fit_and_add_up(name: str) -> None:
    result = plan(BASES[name]).to_dict()
    serve = result["serve"]
    assert serve["fits"] is True
    total = sum(part["value"] for part in serve["memory_parts"].values())
    assert total == pytest.approx(serve["memory_per_device_bytes"]["value"])


@pytest.mark.parametrize("case", FIELDS, ids=[c["field"] for c in FIELDS])
def test_no_field_is_ignored(case: dict[str, Any]) -> None:
    more = case.get("more", {})
    value = str(TRACE) if case["value"] == "TRACE" else case["value"]
    document = scenario(case["base"], more, {case["field"]: value})
    if "unsupported" in case:
        with pytest.raises(OutlayError) as caught:
            plan(document)
        assert (caught.value.to_dict()["kind"], caught.value.field) == ("unsupported", case["unsupported"])
        return
    assert told(document) != told(scenario(case["base"], more, case.get("against", {})))


def test_every_serving_field_has_a_line() -> None:
    covered = {c["field"] for c in FIELDS}
    wanted = {p for p in field_paths() if p.startswith("serve.")}
    assert wanted - covered == set()


@pytest.mark.parametrize("name", BASES)
def test_resolved_scenario_plans_to_the_same(name: str) -> None:
    first = plan(BASES[name]).to_dict()
    again = plan(first).to_dict()
    for number in (
        "weights_bytes_per_device",
        "kv_cache_bytes_per_device",
        "memory_per_device_bytes",
        "fits_probability",
    ):
        assert again["serve"][number] == first["serve"][number]
