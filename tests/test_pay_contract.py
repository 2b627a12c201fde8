"""Every field of `pay`: it changes the answer; every bad value is named."""

from __future__ import annotations

import copy
import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from outlay import OutlayError, plan
from outlay.scenario_io import field_paths, set_path

HERE = Path(__file__).parent / "contract"
BASES: dict[str, dict[str, Any]] = json.loads((HERE / "pay_bases.json").read_text())
FIELDS = [json.loads(line) for line in (HERE / "pay.jsonl").read_text().splitlines()]
ROWS = "ContextTokens,GeneratedTokens\n1200,250\n260000,900\n400,20\n"


@cache
def base(name: str) -> str:
    return json.dumps(told(BASES[name]))


def told(document: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in plan(document).to_dict().items() if k != "scenario"}


@pytest.mark.parametrize("case", FIELDS, ids=[c["field"] for c in FIELDS])
def test_no_field_is_ignored(case: dict[str, Any], tmp_path: Path) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text(ROWS)
    document = copy.deepcopy(BASES[case["base"]])
    for name in case.get("without", ()):
        document["pay"].pop(name)
    document = set_path(document, case["field"], str(rows) if case["value"] == "ROWS" else case["value"])
    found = told(document)
    assert json.dumps(found) != base(case["base"])
    if case["field"] != "pay.date":  # money moves, not only a word
        assert json.dumps(_money(found)) != json.dumps(_money(json.loads(base(case["base"]))))


def _money(result: dict[str, Any]) -> list[Any]:
    return [(w["name"], w["usd"]) for phase in result["pay"].values() if isinstance(phase, dict)
            for w in phase["ways"]]


def test_every_field_has_a_line() -> None:
    covered = {c["field"] for c in FIELDS}
    wanted = {p for p in field_paths() if p.startswith("pay.")} - {"pay.people", "pay.own"}
    assert wanted == covered


BAD = [
    ({"requests_per_month": None}, "bad_value", "pay.requests_per_month"),
    ({"requests_per_month": "many"}, "bad_value", "pay.requests_per_month"),
    ({"input": None}, "bad_value", "pay.input"),
    ({"output": 0}, "bad_value", "pay.output"),
    ({"cached": 1.2}, "bad_value", "pay.cached"),
    ({"cached": 0.8, "cache_written": 0.4}, "inconsistent", "pay.cache_written"),
    ({"api": ["gtp-5-mini"]}, "unknown_name", "pay.api[0]"),
    ({"ways": ["lease"]}, "bad_value", "pay.ways[0]"),
    ({"providers": ["awss"]}, "unknown_name", "pay.providers[0]"),
    ({"peak": 0.5}, "bad_value", "pay.peak"),
    ({"date": "yesterday"}, "bad_value", "pay.date"),
    ({"date": "2026-02-31"}, "bad_value", "pay.date"),
    ({"date": "2099-01-01"}, "bad_value", "pay.date"),
    ({"requests_file": "nowhere.csv", "input": None, "output": None}, "unreadable", "pay.requests_file"),
    ({"requests_file": "nowhere.csv"}, "inconsistent", "pay.input"),
    ({"people": {"renting": 1}}, "unknown_field", "pay.people.renting"),
    ({"colour": 1}, "unknown_field", "pay.colour"),
]


@pytest.mark.parametrize(("change", "kind", "field"), BAD, ids=[f"{f}-{i}" for i, (_, _, f) in enumerate(BAD)])
def test_bad_input_is_named(change: dict[str, Any], kind: str, field: str) -> None:
    document = copy.deepcopy(BASES["plain"])
    for name, value in change.items():
        if value is None:
            document["pay"].pop(name)
        else:
            document["pay"][name] = value
    with pytest.raises(OutlayError) as caught:
        plan(document)
    assert (caught.value.to_dict()["kind"], caught.value.field) == (kind, field)


@pytest.mark.parametrize(("text", "line"), [
    ("input,answer\n1,2\n", ""), ("input,output\n5,-1\n", ":2"), ("input,output\nx,1\n", ":2"),
    ("input,output,cached\n10,1,20\n", ":2"), ("", ""), ("input,output\n", ""), ("\x00,\n", ""),
])
def test_a_bad_file_of_requests_names_its_line(tmp_path: Path, text: str, line: str) -> None:
    path = tmp_path / "requests.csv"
    path.write_text(text)
    document = {"pay": {"requests_per_month": 10, "requests_file": str(path), "api": "gpt-5-mini", "ways": ["api"]}}
    with pytest.raises(OutlayError) as caught:
        plan(document)
    assert caught.value.field == "pay.requests_file"
    assert f"requests.csv{line}" in caught.value.message


def test_resolved_scenario_pays_the_same() -> None:
    first = plan(BASES["plain"]).to_dict()
    assert _money(plan(first).to_dict()) == _money(first)


@pytest.mark.parametrize(("field", "value"), [("precision", "fp8"), ("max_num_seqs", 8), ("engine", "sglang"),
                                              ("prefix_cache_hit", 0.9)])
def test_how_it_is_served_decides_what_machines_cost(field: str, value: Any) -> None:
    """A serving section without a load says how to serve, with or without machines named, and is no phase."""
    document = {**BASES["plain"], "serve": {field: value}}
    found = plan(document).to_dict()
    assert "serve" not in found and found["scenario"]["serve"] == {field: value}
    assert _money(found) != _money(json.loads(base("plain")))


def test_what_check_prints_pays_the_same() -> None:
    from outlay.api import check

    document = {**BASES["plain"], "serve": {"precision": "fp8"}}
    assert _money(plan(check(document)).to_dict()) == _money(plan(document).to_dict())
