"""`outlay explain LOG`: expected beside seen, with the log's lines, and what is missing asked for by name."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from outlay.cli import explain_log
from outlay.cli.shell import BAD_INPUT, YES, run

LOGS = Path(__file__).parent / "fixtures" / "logs"


def document(capsys: pytest.CaptureFixture[str], name: str, *words: str) -> dict[str, Any]:
    assert run(["explain", str(LOGS / f"{name}.log"), *words, "--json"]) == YES
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def rows(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in found["rows"]}


def test_vllm_on_two_devices(capsys: pytest.CaptureFixture[str]) -> None:
    """Qwen3-32B on two H100, the fixture's figures; the plan knows nothing of them but the settings."""
    found = document(capsys, "vllm_v1_tp2", "-g", "h100-sxm")
    assert (found["engine"], found["version"], found["model"]) == ("vLLM", "0.11.0", "qwen3-32b")
    assert found["fleet"] == "2×h100-sxm5-80gb"
    seen = rows(found)
    assert seen["kv_cache"]["line"] == 9 and seen["kv_cache"]["seen"] == pytest.approx(34.49 * 2**30)
    assert seen["kv_cache_tokens"]["seen"] == 282_528 and seen["kv_cache_tokens"]["line"] == 11
    assert abs(seen["weights"]["off"]) < 0.01 and abs(seen["kv_cache"]["off"]) < 0.05
    assert {"activations", "outside", "cuda_graphs", "max_concurrency", "a_token", "usable"} <= set(seen)
    assert seen["memory_utilization"]["given"] and found["differs_most"] in seen
    assert found["lines_not_understood"] == 1 and found["not_understood"][0]["line"] == 16


def test_the_page_says_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain", str(LOGS / "vllm_v1_tp2.log"), "-g", "2xh100-sxm"]) == YES
    page = capsys.readouterr().out
    for word in ("vLLM 0.11.0", "Expected beside seen", "plan is off by", "KV cache", "Differs most",
                 "Assumed, as the log does not say", "14 of 16 lines understood", "not understood: 1"):
        assert word in page
    assert max(map(len, page.splitlines())) <= 100


def test_quiet_is_the_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain", str(LOGS / "vllm_v0_6.log"), "-g", "rtx-3090", "-q"]) == YES
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("As expected: llama-3.1-8b with vLLM 0.6.4.post1") and len(said) == 2


def test_blocks_are_read_as_tokens(capsys: pytest.CaptureFixture[str]) -> None:
    found = rows(document(capsys, "vllm_v0_6", "-g", "rtx-3090"))
    assert found["kv_cache_tokens"]["seen"] == 1952 * 16


def test_a_log_that_failed_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    found = document(capsys, "vllm_no_room", "-g", "1xrtx-5090", "--set", "model=llama-3.1-8b")
    assert "2.63 GiB" in found["failed"] and "5,088 tokens" in found["failed"]


def test_another_model_shows_in_the_bytes_of_a_token(capsys: pytest.CaptureFixture[str]) -> None:
    path = str(LOGS / "vllm_v1_tp2.log")
    assert run(["explain", path, "-g", "h100-sxm", "--set", "model=llama-3.1-8b"]) == YES
    assert "A token takes other bytes in the cache than planned" in capsys.readouterr().out


@pytest.mark.parametrize("name", sorted(path.stem for path in LOGS.glob("*.log")))
def test_every_log_is_explained_once_its_gaps_are_filled(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = document(capsys, name, "-g", "8xh100-sxm", "--set", "model=llama-3.1-8b")
    assert found["rows"] and found["engine"] and found["lines_understood"] > 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("vllm_no_room.log",), ("--set model=NAME", "-g FLEET")),
        (("vllm_v1_tp2.log",), ("-g FLEET",)),
        (("vllm_v0_8.log", "-g", "h100-sxm"), ("org/m-awq", "--set model=NAME")),
        (("missing.log", "-g", "h100-sxm"), ("No such file",)),
    ],
)
def test_what_is_missing_is_asked_for(
    words: tuple[str, ...], says: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["explain", str(LOGS / words[0]), *words[1:]]) == BAD_INPUT
    error = capsys.readouterr().err
    assert all(word in error for word in says)


def test_standard_input(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    data = (LOGS / "vllm_v1_tp2.log").read_text(encoding="utf-8").splitlines(keepends=True)
    monkeypatch.setattr(explain_log, "_lines", lambda: iter(data))
    assert run(["explain", "-", "-g", "h100-sxm", "-q"]) == YES
    assert "As expected" in capsys.readouterr().out
    monkeypatch.setattr(explain_log, "_lines", lambda: iter(["nothing\n", "\x00\xff\n"] * 50))
    assert run(["explain", "-", "-g", "h100-sxm"]) == BAD_INPUT
    assert "no start-up message" in capsys.readouterr().err


def test_standard_input_may_hold_any_bytes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "bytes"
    path.write_bytes(b"\xff\xfe" * 20_000 + b"\n\0\n")
    with path.open("rb") as raw, io.TextIOWrapper(raw) as text:
        monkeypatch.setattr(sys, "stdin", text)
        assert max(map(len, explain_log._lines())) <= 16_000
