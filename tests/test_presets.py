"""Ready-made scenarios: valid, planned without error and soon, a reason beside every number, copied as they are."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest

from outlay.cli.shell import run
from outlay.readers.presets import ORDER, presets

NUMBER = re.compile(r"[:\[]\s*[$]?\d")  # at the start of a value: 8, 10%, $2; not llama-3.1 or h100
MOST_S = 4.0  # of one core, on machines that are busy with other things; 1 to 1.5 s on one that is not


def test_every_file_is_listed() -> None:
    folder = Path(__file__).parent.parent / "src" / "outlay" / "presets"
    assert {p.stem for p in folder.iterdir()} == set(ORDER) == {p.name for p in presets()}


@pytest.mark.parametrize("found", presets(), ids=ORDER)
def test_a_reason_stands_beside_every_number(found: Any) -> None:
    assert found.about and found.scenario["name"]
    counted = 0
    for line in found.text.splitlines():
        value, _, reason = line.partition("#")
        if NUMBER.search(value) and not value.startswith("name:"):
            counted += 1
            assert len(reason.split()) >= 3 or "arXiv:" in reason, f"{found.name}: no reason beside {line.strip()!r}"
    assert counted >= 15


@pytest.mark.parametrize("name", ORDER)
@pytest.mark.parametrize("columns", [80, 100])
def test_it_is_planned_and_its_page_fits(name: str, columns: int, monkeypatch: pytest.MonkeyPatch,
                                         capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    before = time.process_time()
    assert run(["life", "--preset", name]) == 0
    assert time.process_time() - before < MOST_S
    out = capsys.readouterr().out
    assert "unknown" not in out and "does not fit" not in out and "Money by year" in out
    assert max(map(len, out.splitlines())) <= columns


@pytest.mark.parametrize("name", ORDER)
def test_a_copy_keeps_the_reasons_and_is_valid(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = tmp_path / "mine.yaml"
    assert run(["life", "--preset", name, "--save", str(mine), "-q"]) == 0
    assert mine.read_text("utf-8") == next(p.text for p in presets() if p.name == name)
    capsys.readouterr()
    assert run(["check", str(mine)]) == 0
    assert run(["life", str(mine), "-q"]) == 0


def test_a_changed_preset_is_saved_as_it_was_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = tmp_path / "mine.yaml"
    assert run(["life", "--preset", "student", "--years", "2", "--save", str(mine), "-q"]) == 0
    assert "comments are left out" in capsys.readouterr().err
    from outlay.scenario_io import load_file

    assert load_file(mine)["life"]["years"] == 2


def test_the_list_and_names_that_are_not_in_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["life", "--preset", "list"]) == 0
    out = capsys.readouterr().out
    assert all(re.search(rf"^  {name} ", out, re.MULTILINE) for name in ORDER)
    assert run(["life", "--preset", "list", "--json"]) == 0
    assert [p["name"] for p in json.loads(capsys.readouterr().out)] == list(ORDER)
    assert run(["life", "--preset", "studnet"]) == 2
    assert "did you mean student?" in capsys.readouterr().err
    assert run(["life", "--preset", "student", "-f", "plan.yaml"]) == 2


def test_the_model_of_a_preset_can_be_replaced(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["life", "qwen3-8b", "--preset", "student", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["model"]["name"] == "qwen3-8b"


def test_the_start_up_is_told_what_buying_tokens_costs(capsys: pytest.CaptureFixture[str]) -> None:
    found = next(p.scenario for p in presets() if p.name == "startup")
    work, pay = found["serve"]["workload"], found["pay"]
    assert (work["input"], work["output"], found["serve"]["prefix_cache_hit"]) == (pay["input"], pay["output"],
                                                                                  pay["cached"])
    assert run(["life", "--preset", "startup"]) == 0
    out = capsys.readouterr().out
    assert "1.5M requests a month, bought, rented or owned" in out and "API, " in out


def test_smaller_purses_hold_their_presets(capsys: pytest.CaptureFixture[str]) -> None:
    """Money rises from a student to the frontier by a hundred thousand times and more."""
    sums = {}
    for name in ("student", "university-7b", "frontier"):
        assert run(["life", "--preset", name, "--json"]) == 0
        sums[name] = json.loads(capsys.readouterr().out)["totals"]["usd"]["value"]
    assert sums["student"] * 100 < sums["university-7b"] and sums["university-7b"] * 100 < sums["frontier"]
