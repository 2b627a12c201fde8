"""Request traces: every format read, bad ones named by line, long ones in bounded memory."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from outlay.errors import BadValue, OutlayError, UnknownField, Unreadable
from outlay.simulate import Batch, Pool, StepTime, System, Trace, simulate

STEP = StepTime((0.0, *(0.01 + 1e-5 * n for n in range(1, 17))), 1e-7, (0, 1, 4096), (0, 1, 16),
                ((0.01, 0.01, 0.1), (0.0, 3e-5, 0.1), (0.0, 3e-5, 0.1)))
SYSTEM = System(Pool(1, 16, 4096, 10**6), 100_000)


def read(path: Path, **more: Any) -> tuple[Batch, list[str]]:
    notes: list[str] = []
    (found,) = Trace(str(path), **more).batches(0, notes)
    return found, notes


FORMATS = {
    "azure": "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6805900,374,44\n"
             "2023-11-16 18:16:50.9951690,396,109\n",
    "azure with a zone": "TIMESTAMP,ContextTokens,GeneratedTokens\n2024-05-10 00:00:00.000000+00:00,374,44\n"
                         "2024-05-10 00:01:04.314579+00:00,396,109\n",
    "apex": "StartTimeOffset_ns,ContextTokens,GeneratedTokens\n618518284,374,44\n64933097284,396,109\n",
    "burstgpt": "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n5,ChatGPT,374,44,418,"
                "Conversation log\n69.314579,GPT-4,396,109,505,API log\n",
    "own": "input_tokens,output_tokens,arrival_s,prefix_ids\n374,44,10,1 2\n396,109,74.314579,1\n",
    "mooncake": '{"timestamp": 1000, "input_length": 374, "output_length": 44, "hash_ids": [1, 2]}\n\n'
                '{"timestamp": 65314.579, "input_length": 396, "output_length": 109, "hash_ids": [1]}\n',
}


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("packed", [False, True])
def test_every_format_is_read(name: str, packed: bool, tmp_path: Path) -> None:
    path = tmp_path / "trace"
    path.write_bytes(gzip.compress(FORMATS[name].encode()) if packed else FORMATS[name].encode())
    found, notes = read(path)
    np.testing.assert_allclose(found.arrival_s, [0.0, 64.314579], atol=1e-6)
    assert found.input_tokens.tolist() == [374, 396] and found.output_tokens.tolist() == [44, 109]
    if name in ("own", "mooncake"):
        assert found.prefix_ids.tolist() == [1, 2, 1] and found.prefix_counts.tolist() == [2, 1]
    assert notes == []
    assert read(path, speed=2.0)[0].arrival_s[1] == pytest.approx(32.1572895)


BAD = {
    "arrival_s,input_tokens\n0,5\n": (UnknownField, "output_tokens"),
    "arrival_s,inptu_tokens,output_tokens\n0,5,5\n": (UnknownField, "did you mean inptu_tokens"),
    "a,b\n0,5\n": (UnknownField, "arrival_s"),
    "num_prefill_tokens,num_decode_tokens\n5,5\n": (UnknownField, "without times"),
    "arrival_s,input_tokens,output_tokens\n0,5,5\n1,-5,5\n": (BadValue, "line 3: input_tokens -5"),
    "arrival_s,input_tokens,output_tokens\n0,5,2.5\n": (BadValue, "line 2: output_tokens 2.5"),
    "arrival_s,input_tokens,output_tokens\n0,5,many\n": (BadValue, "line 2: output_tokens 'many'"),
    "arrival_s,input_tokens,output_tokens\n0,5\n": (BadValue, "line 2: has 2 columns"),
    "arrival_s,input_tokens,output_tokens\nsoon,5,5\n": (BadValue, "line 2: arrival_s 'soon'"),
    "arrival_s,input_tokens,output_tokens\nnan,5,5\n": (BadValue, "line 2: arrival_s 'nan'"),
    "arrival_s,input_tokens,output_tokens\n0,1e30,5\n": (BadValue, "line 2: input_tokens 1e30"),
    "arrival_s,input_tokens,output_tokens,prefix_ids\n0,5,5,a\n": (BadValue, "line 2: prefix blocks"),
    "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-13-16 18:15:46,3,4\n": (BadValue, "line 2: TIMESTAMP"),
    "arrival_s,input_tokens,output_tokens\n": (Unreadable, "no requests"),
    "": (Unreadable, "no requests"),
    '{"timestamp": 0, "input_length": 5}\n': (UnknownField, "line 1: no output_length"),
    '{"timestamp": 0,\n': (BadValue, "line 1: is no JSON"),
}


@pytest.mark.parametrize("text", BAD)
def test_a_bad_trace_is_named_by_its_line(text: str, tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(text)
    kind, words = BAD[text]
    with pytest.raises(kind) as caught:
        read(path)
    assert words in str(caught.value) and caught.value.field == "serve.workload.trace"


def test_what_is_no_text_or_no_file_is_said(tmp_path: Path) -> None:
    for content in (b"\x1f\x8b broken gzip", b"arrival_s\xff\xfe\x00,1\n", b"x" * 5_000_000):
        path = tmp_path / "trace"
        path.write_bytes(content)
        with pytest.raises(OutlayError) as caught:
            read(path)
        assert caught.value.field == "serve.workload.trace"
    with pytest.raises(Unreadable):
        read(tmp_path / "missing.csv")
    with pytest.raises(Unreadable):
        read(tmp_path)


def test_an_unsorted_trace_is_sorted_and_said_and_empty_answers_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text("arrival_s,input_tokens,output_tokens\n7,1,10\n5,2,20\n6,3,0\n9,4,40\n")
    found, notes = read(path)
    assert found.arrival_s.tolist() == [0.0, 2.0, 4.0] and found.input_tokens.tolist() == [2, 1, 4]
    assert "1 requests of the trace were not in the order" in notes[0] and "1 requests" in notes[1]


def test_disorder_beyond_reach_names_the_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("outlay.simulate.traces.ROWS", 500)
    path = tmp_path / "trace.csv"
    rows = "".join(f"{100 + i},1,1\n" for i in range(500))
    path.write_text("arrival_s,input_tokens,output_tokens\n" + rows + "3,1,1\n")
    with pytest.raises(BadValue, match="line 502"):
        list(Trace(str(path)).batches(0, []))


def test_a_long_trace_passes_in_bounded_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three times as many requests take the same memory; nothing of the trace is lost."""
    monkeypatch.setattr("outlay.simulate.traces.ROWS", 500)
    monkeypatch.setattr("outlay.simulate.state.ROOM", 500)
    peaks = []
    for count in (3_000, 9_000):
        path = tmp_path / "trace.jsonl"
        with path.open("w") as file:
            for i in range(count):
                file.write(json.dumps({"timestamp": i * 100, "input_length": 1 + i % 7, "output_length": 1,
                                       "hash_ids": []}) + "\n")
        tracemalloc.start()
        found = simulate(Trace(str(path)), SYSTEM, STEP, keep="measures", fast=False)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert found.counts["completed"] == count and found.counts["input_tokens"] == sum(
            1 + i % 7 for i in range(count))
        assert found.requests == {}
    assert peaks[1] < 1.3 * peaks[0]
