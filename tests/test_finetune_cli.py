"""`outlay tune` over the real planner: its flags are fields, its verdict is the exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import outlay
from outlay.cli.shell import run

ASK = ["tune", "llama-3.1-8b", "-g", "1xrtx-4090", "-s", "FR", "--seq", "2048", "--examples", "10k"]


def test_flags_are_fields(capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--method", "qlora", "--rank", "8", "--targets", "q,v", "--epochs", "2", "--checkpointing", "yes"]
    assert run([*ASK, *flags, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    planned = outlay.plan({"model": "llama-3.1-8b", "fleet": "1xrtx-4090", "site": "FR", "finetune": {
        "method": "qlora", "rank": 8, "target_modules": ["q", "v"], "epochs": 2, "gradient_checkpointing": True,
        "sequence_length": 2048, "examples": 10_000}}).to_dict()
    assert told["finetune"] == planned["finetune"]
    assert told["totals"] == planned["totals"]


def test_what_does_not_fit_says_what_would(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*ASK, "--method", "full"]) == 1
    page = capsys.readouterr().out
    assert "Does not fit" in page
    assert "Nearest changes that fit" in page
    assert "outlay tune llama-3.1-8b" in page


def test_the_screen_says_what_is_trained(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*ASK, "--method", "qlora"]) == 0
    page = capsys.readouterr().out
    assert "Trains 41.94M parameters, adapters of" in page
    assert max(len(line) for line in page.splitlines() if not line.lstrip().startswith(("Next", "outlay"))) <= 100


def test_lengths_come_from_the_file_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = tmp_path / "chats.jsonl"
    rows.write_text("".join(json.dumps({"text": "x" * size}) + "\n" for size in (400, 800, 1200)))
    asked = [*ASK[:-2], "--method", "qlora", "--data", str(rows), "--json"]
    assert run(asked) == 0
    assert json.loads(capsys.readouterr().out)["finetune"]["tokens"] == 600
    assert run([*asked[:-2], str(tmp_path / "missing.jsonl")]) == 2
    assert "finetune.data_file" in capsys.readouterr().err


def test_methods_side_by_side(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*ASK, "--vary", "method=lora,qlora,full", "--csv"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(",")[:2] for line in lines[1:]] == [["lora", "yes"], ["qlora", "yes"], ["full", "no"]]
