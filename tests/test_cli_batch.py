"""`outlay batch` and the pipes around the program."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from outlay.cli import batch
from outlay.cli.shell import run
from outlay.errors import BadValue

OUTLAY = [sys.executable, "-m", "outlay"]


def test_same_order_and_errors_in_place(planner: Any) -> None:
    lines = [b'{"name": "a"}\n', b"not json\n", b"\n", b'{"name": "b"}']
    found = list(batch.answers(lines))
    assert [sorted(f)[:1] for f in found] == [["assumptions"], ["error"], ["assumptions"]]
    assert [a["name"] for a in planner.asked] == ["a", "b"]


@pytest.mark.parametrize(
    "line",
    [b"{", b"[]", b"3", b'"x"', b"\xff\xfe{}", b'{"a": NaN}', b'{"a": 1, "a": 2}', b"[" * 100_000, b"{}{}",
     b'{"a": ' + b"9" * 5000 + b"}", b'{"a": -Infinity}'],
    ids=lambda b: b[:20].decode("latin-1"),
)  # fmt: skip
def test_hostile_lines_are_unreadable(planner: Any, line: bytes) -> None:
    (found,) = batch.answers([line + b"\n"])
    assert found["error"]["kind"] == "unreadable" and set(found["error"]) == {"kind", "message", "field"}
    assert planner.asked == []


def test_defects_do_not_stop_the_batch(planner: Any) -> None:
    planner.error = ZeroDivisionError("oops")
    (found,) = batch.answers([b"{}"])
    assert found["error"]["kind"] == "internal"
    planner.error = BadValue("tokens: no", "tokens")
    (found,) = batch.answers([b"{}"])
    assert found == {"error": {"kind": "bad_value", "message": "tokens: no", "field": "tokens"}}


def test_lines_are_answered_as_they_come(planner: Any) -> None:
    taken = []

    def lines() -> Iterator[bytes]:
        for i in range(3):
            taken.append(i)
            yield b"{}"

    stream = batch.answers(lines())
    next(stream)
    assert taken == [0]


def test_overlong_line_is_refused_in_bounded_memory(planner: Any, monkeypatch: pytest.MonkeyPatch,
                                                    tmp_path: Path) -> None:  # fmt: skip
    monkeypatch.setattr(batch, "MAX_LINE", 100)
    path = tmp_path / "in.jsonl"
    path.write_bytes(b'{"name": "' + b"x" * 1000 + b'"}\n{"name": "b"}\n')
    with path.open("rb") as stream:
        first, second = batch.answers(batch._lines(stream))
    assert "longer than" in first["error"]["message"] and "error" not in second


def test_file_in_file_out(planner: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in.jsonl").write_text("{}\nbad\n")
    assert run(["batch", str(tmp_path / "in.jsonl"), "-o", str(tmp_path / "out.jsonl")]) == 0
    answers = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert len(answers) == 2 and answers[1]["error"]["kind"] == "unreadable"
    assert "1 of 2 lines could not be planned" in capsys.readouterr().err


def test_empty_input_is_an_empty_answer() -> None:
    done = subprocess.run([*OUTLAY, "batch"], stdin=subprocess.DEVNULL, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_reader_that_leaves_early() -> None:
    process = subprocess.Popen(
        [*OUTLAY, "batch"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdin and process.stdout and process.stderr
    process.stdout.close()
    process.stdin.write(b"bad\n" * 10)
    process.stdin.close()
    assert process.wait(20) == 141
    assert process.stderr.read() == b""
    process.stderr.close()


def test_stopped_by_the_person() -> None:
    process = subprocess.Popen(
        [*OUTLAY, "batch"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdin and process.stdout and process.stderr
    process.stdin.write(b"bad\n")
    process.stdin.flush()
    assert b"error" in process.stdout.readline()  # answered before the input ends
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (130, b"", b"stopped\n")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_full_disk_is_said_and_refused() -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run([*OUTLAY], stdout=full, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 2
    assert done.stderr.decode() == "error: No space left on device\n"


def test_ascii_terminal_does_not_break_the_guide() -> None:
    done = subprocess.run(
        [*OUTLAY], capture_output=True, check=False, env={**os.environ, "PYTHONIOENCODING": "ascii"}
    )
    assert done.returncode == 0 and b"outlay train" in done.stdout
