"""Result files of benchmark clients → runs: vLLM's, SGLang's, guidellm's, aiperf's; JSON, or one JSON a line."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from outlay.errors import Unreadable
from outlay.readers.bench.aiperf import is_aiperf, read_aiperf
from outlay.readers.bench.clients import is_client, read_client
from outlay.readers.bench.guidellm import is_guidellm, read_guidellm
from outlay.readers.bench.record import BenchRun, doubts
from outlay.readers.json_file import parse_json, read_bytes

MAX_BYTES = 64 * 2**20
MAX_RUNS = 5_000
WITHOUT_REQUESTS = ("too large: leave out what is kept of each request (vllm bench serve without --save-detailed, "
                    "bench_serving without --output-details, guidellm with a sample size of 0)")
WHAT = "a result of vllm bench serve, SGLang's bench_serving, guidellm, aiperf or genai-perf"
ENDINGS = (".json", ".jsonl", ".ndjson")


class BenchReading(Struct, frozen=True):
    """All runs of one file."""

    name: str
    runs: tuple[BenchRun, ...]

    @property
    def tool(self) -> str:
        return self.runs[0].tool

    @property
    def unknown(self) -> tuple[str, ...]:
        """Fields that no rule reads, of all runs."""
        return tuple(sorted({name for run in self.runs for name in run.unknown}))


def read_bench(path: str | os.PathLike[str]) -> BenchReading:
    """Every run in a file. Raises Unreadable for other files and for those too large."""
    data = read_bytes(path, MAX_BYTES, WITHOUT_REQUESTS)
    runs: list[BenchRun] = []
    for document in _documents(data, str(path)):
        runs += runs_of(document)
        if len(runs) > MAX_RUNS:
            raise Unreadable(f"{path}: more than {MAX_RUNS:,} runs")
    if not runs:
        raise Unreadable(f"{path}: not {WHAT}")
    if len(runs) > 1:
        runs = [replace(run, place=f"run {number}") for number, run in enumerate(runs, 1)]
    return BenchReading(Path(path).name, tuple(runs))


def runs_of(document: Any) -> list[BenchRun]:
    """The runs in a parsed document; none where it is something else."""
    if isinstance(document, list):
        return [run for one in document[: MAX_RUNS + 1] if isinstance(one, Mapping) for run in runs_of(one)]
    if not isinstance(document, Mapping):
        return []
    if is_guidellm(document):
        found = read_guidellm(document)
    elif is_client(document):
        found = [read_client(document)]
    elif is_aiperf(document):
        found = [read_aiperf(document)]
    else:
        return []
    return [replace(run, remarks=(*run.remarks, *doubts(run))) for run in found]


def is_bench(document: Any) -> bool:
    """Whether a parsed document is a benchmark's result."""
    one = document[0] if isinstance(document, list) and document else document
    return isinstance(one, Mapping) and (is_guidellm(one) or is_client(one) or is_aiperf(one))


def _documents(data: bytes, name: str) -> Iterator[Any]:
    """One document, or one a line. Clients append to a file, and write NaN for what they lack."""
    try:
        yield parse_json(data, name, nan=True)
        return
    except Unreadable:
        first = data.lstrip()[:4096].split(b"\n", 1)[0]
        if b"\n" not in data or not _is_line(first, data):
            raise
    for number, line in enumerate(data.splitlines(), 1):
        if line.strip():
            yield parse_json(line, f"{name}:{number}", nan=True)


def _is_line(first: bytes, data: bytes) -> bool:
    """Whether the first line is a document of its own."""
    line = data.lstrip().split(b"\n", 1)[0]
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return first[:1] == b"{"
