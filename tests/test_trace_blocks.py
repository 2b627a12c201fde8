"""Traces read a block at a time: the very requests that reading row by row gives, whatever the file looks like."""

from __future__ import annotations

import gzip
import json
import math
import os
import random
import time
from pathlib import Path
from typing import Any

import pytest

from outlay.api import plan
from outlay.errors import BadValue, OutlayError, Unreadable
from outlay.simulate import Trace
from outlay.simulate.trace_blocks import Columns, Objects

HEAD = "arrival_s,input_tokens,output_tokens\n"


def requests(path: Path, **more: Any) -> tuple[list[tuple[float, int, int]], list[str]]:
    notes: list[str] = []
    batches = list(Trace(str(path), **more).batches(0, notes))
    found = [row for batch in batches for row in zip(
        batch.arrival_s.round(6).tolist(), batch.input_tokens.tolist(), batch.output_tokens.tolist(), strict=True)]
    assert all(int(batch.prefix_counts.sum()) == len(batch.prefix_ids) for batch in batches)
    notes += [str([one for batch in batches for one in batch.prefix_ids.tolist()])] * any(
        len(batch.prefix_ids) for batch in batches)
    return found, notes


def outcome(path: Path) -> Any:
    try:
        return requests(path)
    except OutlayError as error:
        return type(error), error.message


def written(rng: random.Random, count: int, odd: float) -> str:
    """A trace of one of several shapes; with a chance `odd` a row, of what people's files hold."""
    shape, between, end = rng.choice("nded"), rng.choice(",;\t"), rng.choice(["\n", "\r\n", "\r"])
    lines, at = [between.join(("id", "timestamp", "output_tokens", "note", "input_tokens"))], 0.0
    for row in range(count):
        at += rng.expovariate(0.5)
        when = {"n": f"{at:.4f}", "e": f"{1.7e12 + at * 1e3:.0f}",
                "d": f"2024-05-10 {int(at) // 3600 % 24:02d}:{int(at) // 60 % 60:02d}:{at % 60:09.6f}"}[shape]
        cells = [str(row), when, str(rng.randrange(1, 900)), "chat log", str(rng.randrange(1, 9000))]
        if rng.random() < odd:
            which = rng.randrange(9)
            if which == 0:
                cells[rng.choice((1, 2, 4))] = rng.choice(["", "x", "-1", "1.5", "nan", "inf", "1e3", " 7 ", "1_000"])
            elif which == 1:
                cells[3] = f'"a{between}b"'
            elif which == 2:
                cells[3] = '"two\nlines"'
            elif which == 3:
                cells = cells[: rng.randrange(1, 5)]
            elif which == 4:
                lines.append("")
            elif which == 5:
                cells[2] = "0"
            elif which == 6:
                cells[4] = "0"
            elif which == 7:
                cells.append("more")
            else:
                cells[1] = cells[1] + ("+00:00" if shape == "d" else "")
        lines.append(between.join(cells))
    return end.join(lines) + (end if rng.random() < 0.8 else "")


@pytest.mark.parametrize("odd", [0.0, 0.002, 0.05])
def test_blocks_read_what_rows_read(odd: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng, path = random.Random(round(odd * 1000)), tmp_path / "trace.csv"
    monkeypatch.setattr("outlay.simulate.traces.ROWS", 64)
    for _ in range(60):
        path.write_bytes(written(rng, rng.randrange(2, 300), odd).encode())
        monkeypatch.setattr("outlay.simulate.trace_blocks.BLOCK", rng.choice((100, 700, 5000)))
        fast = outcome(path)
        with monkeypatch.context() as patch:
            patch.setattr(Columns, "read", lambda *_: None)
            assert outcome(path) == fast


def lines_of_json(rng: random.Random, count: int, odd: float) -> str:
    """The same in JSON, of Mooncake's keys or one's own, with the blocks that prompts begin with."""
    keys = rng.choice([("timestamp", "input_length", "output_length", "hash_ids"),
                       ("arrival_s", "prompt_tokens", "completion_tokens", "prefix_ids")])
    lines, at = [], 0.0
    for row in range(count):
        at += rng.expovariate(0.01)
        values: list[Any] = [at, rng.randrange(1, 9000), rng.randrange(1, 900),
                             [rng.randrange(2**40) for _ in range(rng.randrange(4))]]
        if rng.random() < odd:
            values[rng.randrange(3)] = rng.choice([None, "x", "7", -1, 1.5, True, 1e99, 0, math.nan, 10**400])
        if rng.random() < odd:
            values[3] = rng.choice([None, "1 2", [-1], ["3"], [1.0], [2**60], [10**30], {}])
        found = dict(zip(keys, values, strict=True)) | {"more": row}
        if rng.random() < odd:
            del found[rng.choice(keys)]
        lines.append(json.dumps(found))
        if rng.random() < odd:
            lines.append(rng.choice(["", "[]", "{", "null"]))
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("odd", [0.0, 0.003])
def test_blocks_of_json_read_what_lines_read(odd: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng, path = random.Random(7), tmp_path / "trace.jsonl"
    monkeypatch.setattr("outlay.simulate.traces.ROWS", 64)
    for _ in range(60):
        path.write_text(lines_of_json(rng, rng.randrange(2, 200), odd))
        monkeypatch.setattr("outlay.simulate.trace_blocks.BLOCK", rng.choice((200, 5000)))
        fast = outcome(path)
        with monkeypatch.context() as patch:
            patch.setattr(Objects, "read", lambda *_: None)
            assert outcome(path) == fast


def test_plain_files_do_go_by_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers, dates with and without a zone, Azure's and BurstGPT's: none of their rows is read by itself."""
    monkeypatch.delattr("outlay.simulate.traces._Reader.row")
    for head, row in (
        (HEAD, "{i}.5,10,20"),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\r\n", "2023-11-16 18:15:{i:02d}.6805900,374,44"),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\n", "2024-05-10 00:00:{i:02d}.009930+00:00,374,44"),
        ("time;prompt_tokens;completion_tokens\n", "2024-05-10T00:00:{i:02d}Z;374;44"),
        ("Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n", "{i},GPT-4,396,109,505,API log"),
        ("\ufeff" + HEAD, "{i},1,3"), ("arrival_s|input|output\n", "{i}|1|3"),
    ):
        path = tmp_path / "trace.csv"
        path.write_text(head + "".join(row.format(i=i) + "\n" for i in range(50)), newline="")
        found, notes = requests(path)
        assert len(found) == 50 and found[-1][0] == pytest.approx(49.0) and notes == []


def test_zones_count(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text("time,input,output\n2024-05-10T02:00:00+02:00,1,1\n2024-05-10T02:00:09+02:00,1,1\n"
                    "2024-05-10T00:00:11Z,1,1\n")
    assert [row[0] for row in requests(path)[0]] == [0.0, 9.0, 11.0]


def test_the_first_so_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("outlay.simulate.traces.ROWS", 8)
    path = tmp_path / "trace.csv"
    path.write_text(HEAD + "".join(f"{i},{i + 1},1\n" for i in range(40)))
    for limit in (1, 8, 9, 40):
        found, notes = requests(path, limit=limit)
        assert [row[1] for row in found] == list(range(1, limit + 1)) and f"first {limit}" in notes[0]


def test_the_last_row_of_a_long_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    body = "".join(f"{i},10,20\n" for i in range(200_000))
    for last, said in (("200000,-5,20\n", "line 200002: input_tokens -5"), ("200000,1", "line 200002: has 2 columns"),
                       ("3,1,1\n", "line 200002: its time is")):
        path.write_text(HEAD + body + last)
        with pytest.raises(BadValue, match=said):
            requests(path)
    path.write_bytes(gzip.compress((HEAD + body).encode())[:-400])
    with pytest.raises(Unreadable, match="after line"):
        requests(path)


def test_reading_is_quick(tmp_path: Path) -> None:
    """A block costs less than half of its rows one by one; the budget is of one against the other, not of a clock."""
    path = tmp_path / "trace.csv"
    body = "".join(f"{i}.25,{i % 900 + 1},{i % 77 + 1}\n" for i in range(100_000))
    took = []
    for head in (HEAD, HEAD.replace("\n", ",prefix_ids\n")):  # prefixes are read row by row
        path.write_text(head + body)
        begun = time.process_time()
        assert len(requests(path)[0]) == 100_000
        took.append(time.process_time() - begun)
    assert took[0] < took[1] / 2


def test_a_pipe_is_refused_before_it_is_read(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(Unreadable, match="read twice"):
        requests(pipe)


@pytest.mark.parametrize(("content", "said"), [
    (b"\x28\xb5\x2f\xfd\x00", "zstd"), (b"PK\x03\x04\x00", "zip"), (b"\xfd7zXZ\x00", "xz"), (b"PAR1\x00", "Parquet"),
    ('arrival_s,input_tokens,output_tokens\n1,2,3\n'.encode("utf-16"), "UTF-8"),
    (b'[{"timestamp": 0, "input_length": 1, "output_length": 1}]', "one object a line"),
    (b"0,10,20\n1,10,20\n", "first line is to name the columns: arrival_s,input_tokens,output_tokens"),
    (HEAD.encode() + b'1,2,"' + b"x" * 200_000 + b'"\n', "line 2"),
    (b'{"timestamp": 0, "input_length": 1, "output_length": 1, "hash_ids": [1e999]}', "prefix blocks"),
    (b'{"timestamp": 1' + b"0" * 400 + b', "input_length": 1, "output_length": 1}', "is no time"),
    (b'{"timestamp": 0, "input_length": ' + b"[" * 100_000, "no JSON"),
])
def test_other_files_say_what_they_are(content: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "trace"
    path.write_bytes(content)
    with pytest.raises(OutlayError, match=said) as caught:
        requests(path)
    assert caught.value.field == "serve.workload.trace"


def test_a_zero_byte_in_a_number(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_bytes(HEAD.encode() + b"0,1,1\n1,2\x00,1\n2,3,1\n")
    with pytest.raises(BadValue, match="line 3"):
        requests(path)


def test_a_plan_of_the_first_so_many_requests(tmp_path: Path) -> None:
    """The load, the replay and what is billed are theirs; more than there are is told."""
    path = tmp_path / "trace.csv"
    path.write_text(HEAD + "".join(f"{i / 4},{100 if i < 80 else 5000},20\n" for i in range(200)))
    work = {"trace": str(path), "requests": 80}
    asked = {"model": "llama-3.1-8b", "fleet": "1xh100-sxm", "serve": {"workload": work, "tensor": 1}}
    result = plan(asked)
    phase = result.phases["serve"]
    assert phase["replay"]["requests"] == 80 and phase["input"] == 100.0
    assert any("the first 80 requests" in text for text in result.warnings)
    path.write_text(HEAD + "".join(f"{i / 4},100,20\n" for i in range(60)))
    result = plan(asked)
    assert result.phases["serve"]["replay"]["requests"] == 60
    assert any("the trace has 60, fewer than the 80 asked for" in text for text in result.warnings)


@pytest.mark.parametrize("more", ["", ",prefix_ids"])
def test_prompts_of_nothing_are_told(more: str, tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(HEAD.strip() + more + "\n0,0,3\n1,0,0\n2,5,3\n")
    found, notes = requests(path)
    assert [row[1] for row in found] == [1, 5]
    assert any("1 requests of the trace have no prompt" in note for note in notes)
    assert any("1 requests of the trace have no answer" in note for note in notes)
