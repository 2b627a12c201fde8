"""The screen of `outlay pay`: word for word where no machine is planned, and never wider than asked."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from outlay.cli.shell import run
from outlay.report import paying
from outlay.report.blocks import Note

GOLDEN = Path(__file__).parent / "golden" / "pay-api.txt"
API = ["pay", "--requests", "3M/month", "--in", "1200", "--out", "250", "--cached", "0.3", "--api", "openai/gpt-5-mini",
       "--api", "anthropic/claude-haiku-4-5", "--can-wait"]
MACHINES = ["pay", "llama-3.1-8b", "--requests", "3M/month", "--in", "1200", "--out", "250", "-g", "h100-sxm"]
JARGON = ("GPU", "TPOT", "TTFT", "WACC", "KV", "on-demand", "on_demand", "spot", "replica", "throughput", "tensor",
          "inference", "batch", "FTE", "utilisation", "amorti")


@pytest.fixture(autouse=True)
def unscored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paying, "brackets", lambda: Note("Brackets hold 80 % intervals."))


def screen(arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
           columns: int = 100) -> str:
    monkeypatch.setenv("COLUMNS", str(columns))
    assert run(arguments) == 0
    return capsys.readouterr().out


def test_providers_word_for_word(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    text = screen(API, capsys, monkeypatch)
    if os.environ.get("OUTLAY_UPDATE_GOLDEN"):
        GOLDEN.write_text(text, encoding="utf-8")
    assert text == GOLDEN.read_text(encoding="utf-8")


@pytest.mark.parametrize("columns", [60, 80, 100])
def test_the_screen_keeps_to_its_columns_and_to_plain_words(
    columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = screen(MACHINES, capsys, monkeypatch, columns)
    lines = [line for line in text.splitlines() if "outlay pay" not in line]
    assert max(map(len, lines)) <= columns
    assert [word for word in JARGON if word in "\n".join(lines)] == []
    for said in ("not the same quality", "people", "machines paid for while idle", "Own", "Rent", "API"):
        assert said in text


def test_csv_adds_up_to_json(capsys: pytest.CaptureFixture[str]) -> None:
    import csv

    assert run([*API, "--json"]) == 0
    ways = json.loads(capsys.readouterr().out)["pay"]["serve"]["ways"]
    assert run([*API, "--csv"]) == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    for way in ways:
        assert sum(float(r["usd"]) for r in rows if r["way"] == way["name"]) == pytest.approx(way["usd"]["value"])


@pytest.mark.parametrize(("budget", "code"), [("1", 1), ("1M", 0)])
def test_a_budget_decides_the_exit_code(budget: str, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*API, "--budget", budget, "-q"]) == code
    assert ("above the budget" in capsys.readouterr().out) is (code == 1)


@pytest.mark.parametrize("wrong", [
    ["--requests", "3M/fortnight"], ["--requests", "some"], ["--cached", "2"], ["--api", "gtp-5-mini"],
    ["--on", "2999-01-01"], ["--way", "lease"], ["--set", "pay.colour=red"], ["--requests-file", "nowhere.csv"],
])
def test_bad_flags_leave_with_two(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*API, *wrong]) == 2
    captured: Any = capsys.readouterr()
    assert "Traceback" not in captured.err and "defect" not in captured.err
    assert captured.err.strip()


def test_token_prices_can_be_looked_up(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["catalog", "list", "token", "gpt-5-mini", "batch"]) == 0
    assert "openai/gpt-5-mini" in capsys.readouterr().out
    assert run(["catalog", "list", "token", "claude-sonnet-4-5", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    found = next(r for r in rows if r["provider"] == "anthropic" and r["mode"] == "base")
    assert (found["input_usd_per_mtok"], found["dearer_above_tokens"]) == (3.0, [200_000.0])
    assert found["source"] and found["checked"]
