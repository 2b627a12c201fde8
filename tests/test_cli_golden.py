"""Every screen, word for word. OUTLAY_UPDATE_GOLDEN=1 rewrites the files; review shows what changed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from outlay.cli.shell import run
from outlay.report.blocks import Note

GOLDEN = Path(__file__).parent / "golden"
ASK = ["train", "llama-3.1-8b", "-g", "64xh100-sxm", "-n", "1T"]
CASES: dict[str, list[str]] = {
    "train": ASK,
    "train-verbose": [*ASK, "-v"],
    "train-quiet": [*ASK, "-q"],
    "train-markdown": [*ASK, "--md"],
    "train-lines": [*ASK, "--csv"],
    "train-vary": [*ASK, "--vary", "precision=bf16,fp8", "--for", "money"],
    "explain": ["explain", "llama-3.1-8b", "-g", "64xh100-sxm", "-n", "1T", "device_hours"],
    "explain-list": ["explain", "llama-3.1-8b", "-g", "64xh100-sxm", "-n", "1T"],
    "guide": [],
    "help": ["--help"],
}


def compare(name: str, text: str) -> None:
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("OUTLAY_UPDATE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text


@pytest.fixture(autouse=True)
def unscored(monkeypatch: pytest.MonkeyPatch) -> None:
    """The share of published runs inside the brackets moves with every fit; screens are held without it."""
    note = Note("Brackets hold 80 % intervals.")
    monkeypatch.setattr("outlay.report.screen.brackets", lambda: note)


@pytest.mark.parametrize("name", CASES)
def test_screens(name: str, planner: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(CASES[name]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    compare(name, out)


def test_narrow_screen(
    planner: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    assert run(ASK) == 0
    compare("train-60-columns", capsys.readouterr().out)


def test_does_not_fit(planner: Any, capsys: pytest.CaptureFixture[str]) -> None:
    gib = 2**30
    planner.answer["pretrain"] |= {
        "fits": False,
        "fits_probability": 0.0,
        "headroom_bytes": {"value": -12.0 * gib, "low": -14.0 * gib, "high": -10.0 * gib, "unit": "bytes"},
        "binding": {
            "constraint": "device memory",
            "needed_bytes": 91.6 * gib,
            "limit_bytes": 79.6 * gib,
            "short_bytes": 12.0 * gib,
        },
        "nearest": [
            {"change": "recompute none → full", "gain": "+21.0 GiB free", "price": "+28 % time"},
            {"change": "tensor 1 → 2, data 64 → 32", "gain": "+14.2 GiB free", "price": "+9 % time"},
        ],
    }
    planner.exit_code = 1
    assert run(ASK) == 1
    compare("train-does-not-fit", capsys.readouterr().out)


def test_borderline(planner: Any, capsys: pytest.CaptureFixture[str]) -> None:
    planner.answer["pretrain"] |= {"fits_probability": 0.61, "verdict": "borderline"}
    assert run([*ASK, "-q"]) == 0
    compare("train-borderline", capsys.readouterr().out)


def test_missed_deadline(planner: Any, capsys: pytest.CaptureFixture[str]) -> None:
    missed = [{"constraint": "deadline", "limit": 777600.0, "value": 1140480.0, "unit": "s"}]
    planner.answer["pretrain"] |= {"within_goal": False, "missed": missed}
    planner.exit_code = 1
    assert run([*ASK, "-q"]) == 1
    compare("train-missed", capsys.readouterr().out)
