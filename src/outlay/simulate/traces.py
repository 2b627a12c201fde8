"""Request traces of others and one's own, read a batch at a time, plain or gzip.

| format | columns or keys | time |
| --- | --- | --- |
| azure | TIMESTAMP, ContextTokens, GeneratedTokens | date and time |
| apex | StartTimeOffset_ns, ContextTokens, GeneratedTokens | nanoseconds |
| burstgpt | Timestamp, Request tokens, Response tokens | seconds |
| engine log | input_toks, output_toks, queued_ts | seconds |
| one's own | arrival_s, input_tokens, output_tokens, or as in `OWN`; prefix_ids where known | seconds, or as named |
| mooncake (JSON lines) | timestamp, input_length, output_length, hash_ids | milliseconds |

Times count from the first request. prefix_ids and hash_ids are numbers of blocks of a prompt, from its beginning,
`prefix_tokens` tokens each (512 in Mooncake's); equal numbers hold equal text after equal text.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import Struct

from outlay.errors import BadValue, UnknownField, Unreadable, suggestion
from outlay.simulate.workload import ROWS, Batch, batch

FIELD = "serve.workload.trace"
MOST = 1e9
LONGEST_LINE = 4 * 2**20  # characters; a request with a million prefix blocks has fewer


class Format(Struct, frozen=True):
    """Names of a format's columns, and how its time is read into seconds."""

    name: str
    time: str
    input: str
    output: str
    seconds: Callable[[str], float]
    prefix: str = ""


# What people call the columns of traces of their own, without case and signs; the first is the name to write.
OWN: dict[str, tuple[str, ...]] = {
    "arrival_s": ("arrival", "arrivaltime", "arrivaltimes", "arrivedat", "time", "times", "timestamp", "timestamps",
                  "starttime", "requesttime", "senttime", "second", "seconds"),
    "input_tokens": ("input", "inputs", "inputlen", "inputlength", "inputtoks", "numinputtokens", "isl", "prompt",
                     "prompttokens", "promptlen", "promptlength", "numprompttokens", "numprefilltokens",
                     "prefilltokens", "contexttokens", "requesttokens"),
    "output_tokens": ("output", "outputs", "outputlen", "outputlength", "outputtoks", "numoutputtokens", "osl",
                      "completion", "completiontokens", "completionlength", "generatedtokens", "numdecodetokens",
                      "decodetokens", "responsetokens", "responselength"),
}
UNITS_S = {"ms": 1e-3, "us": 1e-6, "ns": 1e-9}  # at the end of a time's name; seconds else
EPOCH_MS = 1e11  # a count of seconds as large is of the year 5138, of milliseconds of 1973


class _Clock:
    """Dates and times to seconds; the date part is parsed once a minute of trace."""

    def __init__(self) -> None:
        self.known, self.start = "", 0.0
        self.zones: dict[str, float] = {}

    def __call__(self, text: str) -> float:
        minute, rest = text[:16].replace("T", " "), text[16:]
        if minute != self.known:
            self.start = (datetime.fromisoformat(minute) - datetime(2000, 1, 1)).total_seconds()
            self.known = minute
        seconds, sign, zone = rest.removeprefix(":").partition("-" if "-" in rest else "+")
        seconds = seconds.strip().removesuffix("Z")
        ahead = self._ahead_s(sign + zone) if sign else 0.0
        return self.start - ahead + (float(seconds) if seconds else 0.0)

    def _ahead_s(self, zone: str) -> float:
        """Seconds that a zone is ahead of Greenwich, whose time is meant where none is named."""
        if zone not in self.zones:
            self.zones[zone] = datetime.fromisoformat("2000-01-01 00:00:00" + zone).utcoffset().total_seconds()  # type: ignore[union-attr]
        return self.zones[zone]


class _Times:
    """Times of a trace of one's own to seconds: a number, or a date and time."""

    def __init__(self, each_s: float) -> None:
        self.each_s, self.clock = each_s, _Clock()

    def __call__(self, text: Any) -> float:
        try:
            number = float(text)
        except (ValueError, TypeError):
            return self.clock(str(text))
        if self.each_s == 1.0 and abs(number) > EPOCH_MS:  # since 1970, in ms, us or ns
            return number * 1e-3 ** (1 + (abs(number) > 1e3 * EPOCH_MS) + (abs(number) > 1e6 * EPOCH_MS))
        return number * self.each_s


def _own_columns(names: list[str]) -> tuple[dict[str, str], float]:
    """What of `OWN` a trace's columns are, in any case; and seconds of one step of its time."""
    plain = {"".join(c for c in name.lower() if c.isalnum()): name for name in reversed(names)}
    each_s, found = 1.0, {}
    for name, others in OWN.items():
        known = dict.fromkeys(("".join(c for c in name if c.isalnum()), *others), 1.0)
        if name == "arrival_s":
            known |= {spelling + unit: size for unit, size in UNITS_S.items() for spelling in others}
        hit = next((spelling for spelling in known if spelling in plain), None)
        if hit is not None:
            found[name] = plain[hit]
            each_s = known[hit] if name == "arrival_s" else each_s
    return found, each_s


def _own_format(names: list[str]) -> Format | None:
    found, each_s = _own_columns(names)
    if len(found) < len(OWN):
        return None
    time, inputs, outputs = found.values()
    return Format("own", time, inputs, outputs, _Times(each_s), "prefix_ids")


def _formats() -> tuple[Format, ...]:
    return (
        Format("azure", "TIMESTAMP", "ContextTokens", "GeneratedTokens", _Clock()),
        Format("apex", "StartTimeOffset_ns", "ContextTokens", "GeneratedTokens", lambda t: float(t) * 1e-9),
        Format("burstgpt", "Timestamp", "Request tokens", "Response tokens", float),
        Format("engine log", "queued_ts", "input_toks", "output_toks", float),
        Format("own", "arrival_s", "input_tokens", "output_tokens", float, "prefix_ids"),
    )


class Trace(Struct, frozen=True):
    """A trace in a file. speed: how many times faster it is replayed; limit: the first so many requests."""

    path: str
    speed: float = 1.0
    limit: int | None = None
    prefix_tokens: int = 512
    closed: tuple[int, float] = (0, 0.0)

    def batches(self, seed: int, notes: list[str]) -> Iterator[Batch]:
        """Requests in the order they came; what was put right or left out goes into notes."""
        reader = _Reader(self, notes)
        yield from reader.batches()


class _Reader:
    def __init__(self, trace: Trace, notes: list[str]) -> None:
        self.trace, self.notes, self.name = trace, notes, Path(trace.path).name
        self.first: float | None = None
        self.latest = -math.inf
        self.unsorted, self.empty, self.line = 0, 0, 0

    def error(self, text: str, line: int | None = None) -> BadValue:
        at = self.line if line is None else line
        return BadValue(f"{FIELD}: {self.name} line {at}: {text}", FIELD)

    def batches(self) -> Iterator[Batch]:
        rows: list[tuple[float, int, int, list[int], int]] = []
        count = 0
        with _opened(self.trace.path) as file:
            for row in self.rows(file):
                rows.append(row)
                count += 1
                if len(rows) == ROWS:
                    yield self.batch(rows)
                    rows = []
                if count == self.trace.limit:
                    self.notes.append(f"the first {count:,} requests of {self.name} are replayed")
                    break
        if rows:
            yield self.batch(rows)
        if count == 0:
            raise Unreadable(f"{FIELD}: {self.name} holds no requests", FIELD)
        if self.unsorted:
            self.notes.append(f"{self.unsorted:,} requests of the trace were not in the order of time; sorted")
        if self.empty:
            self.notes.append(f"{self.empty:,} requests of the trace have no answer (0 tokens); left out")

    def batch(self, rows: list[tuple[float, int, int, list[int], int]]) -> Batch:
        times = np.asarray([row[0] for row in rows])
        late = int(np.count_nonzero(np.diff(times) < 0))
        if late:
            self.unsorted += late
            order = np.argsort(times, kind="stable")
            rows, times = [rows[i] for i in order], times[order]
        if times[0] < self.latest:
            raise self.error(f"its time is {self.latest - times[0]:g} s before that of a request {ROWS:,} lines above; "
                             "sort the trace by time", rows[0][4])
        self.latest = float(times[-1])
        if self.first is None:
            self.first = float(times[0])
        counts = [len(row[3]) for row in rows]
        ids = [one for row in rows for one in row[3]]
        return batch((times - self.first) / self.trace.speed, [r[1] for r in rows], [r[2] for r in rows], counts, ids)

    def rows(self, file: io.TextIOBase) -> Iterator[tuple[float, int, int, list[int], int]]:
        head = self.next_line(file)
        while head and not head.strip():
            head = self.next_line(file)
        if not head:
            return
        if head.lstrip().startswith("{"):
            yield from self.objects(file, head)
        else:
            yield from self.table(file, head)

    def next_line(self, file: io.TextIOBase) -> str:
        try:
            text = file.readline(LONGEST_LINE)
        except UnicodeDecodeError:
            raise Unreadable(f"{FIELD}: {self.name} after line {self.line}: no text in UTF-8", FIELD) from None
        except (OSError, EOFError) as problem:
            raise Unreadable(f"{FIELD}: {self.name} after line {self.line}: {problem}", FIELD) from None
        self.line += 1
        if len(text) >= LONGEST_LINE:
            raise self.error(f"longer than {LONGEST_LINE:,} characters; not a trace of requests")
        return text

    def lines(self, file: io.TextIOBase) -> Iterator[str]:
        while True:
            text = self.next_line(file)
            if not text:
                return
            yield text

    def table(self, file: io.TextIOBase, head: str) -> Iterator[tuple[float, int, int, list[int], int]]:
        between = max(",;\t", key=head.count)
        names = [name.strip().lstrip("\ufeff") for name in next(csv.reader([head], delimiter=between))]
        known = _format_of(names, self.name)
        columns = [names.index(name) for name in (known.time, known.input, known.output)]
        last = max(columns)
        prefix = names.index(known.prefix) if known.prefix in names else -1
        for cells in csv.reader(self.lines(file), delimiter=between):
            if not cells:
                continue
            if len(cells) <= last:
                raise self.error(f"has {len(cells)} columns, the first line {len(names)}")
            ids = self.ids(cells[prefix].replace(";", " ").split()) if 0 <= prefix < len(cells) else []
            row = self.row(known, cells[columns[0]], cells[columns[1]], cells[columns[2]], ids)
            if row is not None:
                yield row

    def objects(self, file: io.TextIOBase, head: str) -> Iterator[tuple[float, int, int, list[int], int]]:
        known = Format("mooncake", "timestamp", "input_length", "output_length", lambda t: float(t) * 1e-3, "hash_ids")
        text = head.lstrip("\ufeff")
        while text:
            if text.strip():
                try:
                    found = json.loads(text)
                    if text is head and isinstance(found, dict) and not {known.input, known.output} <= set(found):
                        known = _own_format(list(found)) or known
                    cells = [found[name] for name in (known.time, known.input, known.output)]
                except ValueError:
                    raise self.error("is no JSON object") from None
                except (KeyError, TypeError) as missing:
                    raise UnknownField(
                        f"{FIELD}: {self.name} line {self.line}: no {missing.args[0]} in it; it is to be "
                        '{"timestamp": ms, "input_length": …, "output_length": …, "hash_ids": […]}', FIELD) from None
                row = self.row(known, cells[0], cells[1], cells[2], self.ids(found.get(known.prefix) or []))
                if row is not None:
                    yield row
            text = self.next_line(file)

    def ids(self, cells: Any) -> list[int]:
        try:
            found = [int(cell) for cell in cells]
        except (ValueError, TypeError):
            raise self.error("prefix blocks are whole numbers") from None
        if found and not 0 <= min(found) <= max(found) < 2**48:
            raise self.error("prefix blocks are numbers from 0 to 2^48")
        return found

    def row(self, known: Format, time: Any, inputs: Any, outputs: Any, ids: list[int]
            ) -> tuple[float, int, int, list[int], int] | None:
        try:
            seconds = known.seconds(time)
        except (ValueError, TypeError):
            raise self.error(f"{known.time} {time!r} is no time") from None
        if not math.isfinite(seconds):
            raise self.error(f"{known.time} {time!r} is no time")
        counts = []
        for name, cell in ((known.input, inputs), (known.output, outputs)):
            try:
                number = float(cell)
                whole = int(number)
            except (ValueError, TypeError, OverflowError):
                raise self.error(f"{name} {str(cell)[:40]!r} is no number of tokens") from None
            if number < 0 or number > MOST or whole != number:
                raise self.error(f"{name} {str(cell)[:40]} is not a whole number of tokens from 0 to {MOST:,.0f}")
            counts.append(whole)
        if counts[1] == 0:
            self.empty += 1
            return None
        return seconds, max(counts[0], 1), counts[1], ids, self.line


def _format_of(names: list[str], file: str) -> Format:
    """The format whose columns are all there."""
    formats = _formats()
    for one in formats:
        if {one.time, one.input, one.output} <= set(names):
            return one
    if own := _own_format(names):
        return own
    if {"num_prefill_tokens", "num_decode_tokens"} <= set(names):
        raise UnknownField(f"{FIELD}: {file} holds lengths without times; a trace has a time for each request", FIELD)
    columns, _ = _own_columns(names)
    missing = [name for name in OWN if name not in columns]
    raise UnknownField(
        f"{FIELD}: {file} has no column {' and no '.join(missing)}; its columns are {', '.join(names)[:200]}; a trace "
        f"has arrival_s, input_tokens, output_tokens (or timestamp, prompt_tokens, completion_tokens and the like), or "
        f"the columns of Azure, BurstGPT or Mooncake{suggestion(missing[0], names)}", FIELD)


def _opened(path: str) -> io.TextIOBase:
    """A text file, unpacked on the way where it is gzip."""
    try:
        file = open(path, "rb")  # noqa: SIM115
    except OSError as problem:
        raise Unreadable(f"{FIELD}: cannot read {path}: {problem.strerror}", FIELD) from None
    try:
        packed = file.read(2) == b"\x1f\x8b"
        file.close()
        if packed:
            return gzip.open(path, "rt", encoding="utf-8", newline="")
        return open(path, encoding="utf-8", newline="")
    except OSError as problem:
        raise Unreadable(f"{FIELD}: cannot read {path}: {problem.strerror}", FIELD) from None
