"""Every field of the scenario: accepted, and never ignored.

`contract/fields.jsonl` has a line a field: a base scenario, a changed value, and what else must change with it.
The result must differ from the base beyond the echoed scenario.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from outlay import plan
from outlay.scenario_io import field_paths, set_path

HERE = Path(__file__).parent / "contract"
BASES: dict[str, dict[str, Any]] = json.loads((HERE / "bases.json").read_text())
FIELDS = [json.loads(line) for line in (HERE / "fields.jsonl").read_text().splitlines()]
# the same fields in other branches: mixtures, FSDP, TPU, state-space layers, a device of one's own, given hours
BRANCHES = [json.loads(line) for line in (HERE / "branches.jsonl").read_text().splitlines()]
TUNE_BASES: dict[str, dict[str, Any]] = json.loads((HERE / "finetune_bases.json").read_text())
TUNE_FIELDS = [json.loads(line) for line in (HERE / "finetune.jsonl").read_text().splitlines()]
# echoed for the reader, no number depends on them
LABELS = {"name"}
SEARCH_ONLY = {"goal.top"}


def changed(case: dict[str, Any]) -> dict[str, Any]:
    scenario = copy.deepcopy(BASES[case["base"]])
    for path, value in {**case.get("more", {}), case["field"]: case["value"]}.items():
        scenario = set_path(scenario, path, value)
    return scenario


_planned: dict[str, Any] = {}


def base_result(name: str) -> dict[str, Any]:
    if name not in _planned:
        _planned[name] = plan(BASES[name]).to_dict()
    result: dict[str, Any] = _planned[name]
    return result


@pytest.mark.parametrize("name", BASES)
def test_base_scenarios_plan(name: str) -> None:
    result = base_result(name)
    assert result["totals"]["energy_j"]["value"] > 0
    assert result["model"]["parameters"]["value"] > 1e9


@pytest.mark.parametrize("case", FIELDS + BRANCHES, ids=[f"{c['base']}-{c['field']}" for c in FIELDS + BRANCHES])
def test_no_field_is_ignored(case: dict[str, Any]) -> None:
    before = base_result(case["base"])
    after = plan(changed(case)).to_dict()
    if case["field"] in LABELS:
        assert after["scenario"][case["field"]] == case["value"]
        return
    told = {k: v for k, v in after.items() if k != "scenario"}
    assert told != {k: v for k, v in before.items() if k != "scenario"}, f"{case['field']} changes nothing"


def tuned(case: dict[str, Any], changes: dict[str, Any], rows: Path) -> dict[str, Any]:
    """A fine-tuning base with changes; `without` names fields that exclude the one changed."""
    scenario = copy.deepcopy(TUNE_BASES[case["base"]])
    for path in case.get("without", []):
        section, name = path.split(".")
        scenario[section].pop(name)
    for path, value in changes.items():
        scenario = set_path(scenario, path, str(rows) if value == "ROWS" else value)
    return scenario


@pytest.mark.parametrize("case", TUNE_FIELDS, ids=[c["field"] for c in TUNE_FIELDS])
def test_no_finetune_field_is_ignored(case: dict[str, Any], tmp_path: Path) -> None:
    """`beside` is what the base is given too, so that the field alone differs."""
    rows = tmp_path / "rows.jsonl"
    rows.write_text("\n".join(json.dumps({"text": "x" * size}) for size in (400, 2000, 4000, 7000)))
    base = TUNE_BASES[case["base"]] if "without" in case else tuned(case, case.get("beside", {}), rows)
    before = plan(base).to_dict()
    after = plan(tuned(case, {**case.get("more", {}), case["field"]: case["value"]}, rows)).to_dict()
    assert {k: v for k, v in after.items() if k != "scenario"} != {k: v for k, v in before.items() if k != "scenario"}


def test_every_field_has_a_line() -> None:
    covered = {c["field"] for c in FIELDS + TUNE_FIELDS}
    sections = ("model", "fleet", "site", "pretrain", "goal", "seed", "name", "finetune", "currency", "tags")
    parents = {"model", "fleet", "pretrain", "goal", "finetune", "finetune.layout", "finetune.rollout", "currency"}
    wanted = {p for p in field_paths() if p.split(".")[0] in sections} - parents
    assert wanted - covered == set()


def test_resolved_scenario_is_a_scenario() -> None:
    """What a result echoes can be planned again and gives the same numbers."""
    first = plan(BASES["dense"]).to_dict()
    again = plan(first).to_dict()
    assert again["pretrain"]["step_time_s"] == first["pretrain"]["step_time_s"]
    assert again["totals"] == first["totals"]


def test_memory_can_be_asked_down_to_shapes() -> None:
    """A part of memory walks to parameters, bytes each and the layout, not to a bare number."""
    from outlay.derive import Quantity

    def labels(quantity: Quantity) -> set[str]:
        return {quantity.label}.union(*(labels(i) for i in quantity.inputs))

    found = labels(plan(BASES["dense"]).explain("memory_parts.weights"))
    assert {"parameters of a device", "tensor of the layout", "bytes_per_parameter"} <= found
