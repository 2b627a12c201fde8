"""`outlay data` and `outlay life` from a command line: pages that add up, one phase alone, files, exit codes."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from pathlib import Path
from typing import Any

import pytest

from outlay.cli.shell import run

PLAN: dict[str, Any] = {
    "name": "small lab", "model": "llama-3.1-8b", "site": "FR",
    "fleet": {"device": "h100-sxm5-80gb", "devices": 8, "usd_per_device_hour": 2.0},
    "data": {"tokens": 1e11, "datasets": ["c4-en"], "engineers": 1},
    "pretrain": {"device_hours": 20_000, "tokens": 1e11, "experiments": 1.5},
    "serve": {"max_model_len": 8192, "workload": {"rate": 20, "input": 1024, "output": 256}},
    "maintain": {"evaluate": {"suite": "helm"}, "migrate": {}},
    "life": {"years": 3, "growth_per_year": 0.5, "start": "2027-01"}}


@pytest.fixture
def plan_file(tmp_path: Path) -> str:
    path = tmp_path / "plan.yaml"
    path.write_text(json.dumps(PLAN))
    return str(path)


@pytest.mark.parametrize("columns", [80, 100])
def test_the_page_fits_and_its_tables_add_up(plan_file: str, columns: int, monkeypatch: pytest.MonkeyPatch,
                                             capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    assert run(["life", plan_file]) == 0
    out = capsys.readouterr().out
    assert out.startswith("small lab, 3 years: $")
    commands = out.index("Next:")
    assert max(map(len, out[:commands].splitlines())) <= columns
    if columns == 100:
        years = table(out, "Money by year")
        assert [sum(row) for row in zip(*years[:-1], strict=True)] == pytest.approx(years[-1])
        assert [sum(row[:-1]) for row in years] == pytest.approx([row[-1] for row in years])
        phases = table(out, "By phase")
        assert sum(row[0] for row in phases[:-1]) == pytest.approx(phases[-1][0])
        assert phases[-1][0] == pytest.approx(years[-1][-1])


def table(page: str, title: str) -> list[list[float]]:
    """The numbers of a table's rows, its total last; brackets and the row of intervals left out."""
    lines = page[page.index(title):].splitlines()[2:]
    rows = []
    for line in lines:
        if not line.strip() or "interval" in line:
            break
        cells = re.split(r"\s{2,}", line.strip())[1:]
        rows.append([0.0 if c == "–" else float(c.replace(",", "")) for c in cells])
    return rows


def test_one_phase_alone_has_its_own_lines_and_total(plan_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["life", plan_file, "--only", "maintain", "--json"]) == 0
    alone = json.loads(capsys.readouterr().out)
    assert {line["phase"] for line in alone["lines"]} == {"maintain"}
    assert math.isclose(sum(line["usd"]["value"] for line in alone["lines"]), alone["totals"]["usd"]["value"])
    assert run(["life", plan_file, "--only", "maintain"]) == 0
    assert "What comes back" in capsys.readouterr().out


def test_lines_as_csv_add_up_to_the_total(plan_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["life", plan_file, "--json"]) == 0
    total = json.loads(capsys.readouterr().out)["totals"]["usd"]["value"]
    assert run(["life", plan_file, "--csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert sum(float(row["usd"]) for row in rows) == pytest.approx(total)


def test_flags_are_fields_and_a_result_is_a_scenario_again(plan_file: str, tmp_path: Path,
                                                           capsys: pytest.CaptureFixture[str]) -> None:
    saved = str(tmp_path / "life.json")
    assert run(["life", plan_file, "--years", "4", "--growth", "10%", "--discount-rate", "8%", "--engineers", "2",
                "-o", saved]) == 0
    document = json.loads(Path(saved).read_text())
    section = document["scenario"]["life"]
    assert (section["years"], section["growth_per_year"], section["discount_per_year"]) == (4, 0.1, 0.08)
    capsys.readouterr()
    assert run(["life", saved, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["totals"] == document["totals"]


def test_vary_puts_lives_side_by_side(plan_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["life", plan_file, "--vary", "years=2,5"]) == 0
    out = capsys.readouterr().out
    assert "years" in out and len([x for x in out.splitlines() if "yes" in x]) == 2


def test_a_budget_that_is_missed_is_a_no(plan_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["life", plan_file, "--budget", "1000", "-q"]) == 1
    assert "budget" in capsys.readouterr().out


@pytest.mark.parametrize(("words", "said"), [
    (["life", "llama-3.1-8b"], "has no phase"),
    (["life", "PLAN", "--only", "finetune"], "has no finetune"),
    (["life", "PLAN", "--years", "0"], "life.years"),
    (["life", "PLAN", "--end", "2026-01"], "life.end"),
    (["life", "PLAN", "--set", "maintain.evaluate.every=0"], "maintain.evaluate.every"),
    (["data"], "data.tokens"),
    (["data", "-n", "1T", "--dataset", "finweb"], "did you mean fineweb"),
    (["data", "-n", "1T", "--classifier"], "fleet"),
])
def test_bad_input_is_said_and_leaves_with_2(words: list[str], said: str, plan_file: str,
                                             capsys: pytest.CaptureFixture[str]) -> None:
    assert run([plan_file if word == "PLAN" else word for word in words]) == 2
    assert said in capsys.readouterr().err


def test_data_alone(plan_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["data", "-n", "300B", "--dataset", "c4-en", "--licence", "reddit-google", "-s", "US"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("Data: 300B tokens")
    assert "ODC-BY" in out and "cleaned from the web" in out and "licences" in out
    assert run(["data", plan_file, "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["data"]["tokens"]["value"] == 1e11
    assert "leaves out" in captured.err


def test_training_leaves_the_life_out(plan_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", plan_file, "--json"]) == 0
    captured = capsys.readouterr()
    assert "life" not in json.loads(captured.out)
    assert "leaves out" in captured.err


@pytest.mark.parametrize("by", ["month", "year", "phase", "item"])
def test_groups_are_the_total(by: str, plan_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["life", plan_file, "--json"]) == 0
    total = json.loads(capsys.readouterr().out)["totals"]
    assert run(["life", plan_file, "--by", by, "--csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert len(rows) >= 3
    for key in ("usd", "energy_j", "co2e_kg", "water_l"):
        assert sum(float(row[key]) for row in rows) == pytest.approx(total[key]["value"])
    assert run(["life", plan_file, "--by", by]) == 0
    assert f"By {by}" in capsys.readouterr().out


def test_a_number_of_a_life_can_be_asked(plan_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain", plan_file, "life.present_value_usd", "--depth", "3"]) == 0
    out = capsys.readouterr().out
    assert "discount rate" in out and "lines times the part of them" in out


def test_other_verbs_show_the_life_too(plan_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["report", plan_file, "--as", "md"]) == 0
    assert "small lab, 3 years" in capsys.readouterr().out
    assert run(["life", plan_file, "--vary", "growth_per_year=0,2"]) == 0
    assert "Least money: growth_per_year = 0" in capsys.readouterr().out
