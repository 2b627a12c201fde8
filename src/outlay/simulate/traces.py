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
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from outlay.errors import BadValue, UnknownField, Unreadable
from outlay.simulate.trace_blocks import MOST, MOST_BLOCKS, Columns, Objects, Text
from outlay.simulate.trace_columns import FIELD, Format, format_of, mooncake, own_format
from outlay.simulate.workload import ROWS, Batch, batch

PACKED = {b"\x28\xb5\x2f\xfd": "zstd", b"\xfd7zX": "xz", b"PK\x03\x04": "zip", b"BZh": "bzip2", b"PAR1": "Parquet"}
Row = tuple[float, int, int, list[int], int]


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


class Part(Struct, frozen=True, eq=False):
    """Requests as they stand in the file, and the line of each."""

    time: NDArray[np.float64]
    input: NDArray[np.int64]
    output: NDArray[np.int64]
    line: NDArray[np.int64]
    counts: NDArray[np.int64]
    ids: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.time)

    def cut(self, at: int) -> tuple[Part, Part]:
        """The first so many requests, and the others."""
        ids = int(self.counts[:at].sum())
        return self._at(slice(at), self.ids[:ids]), self._at(slice(at, None), self.ids[ids:])

    def taken(self, order: NDArray[np.int64]) -> Part:
        """Requests by their places."""
        ids = self.ids
        if len(ids):
            counts = self.counts[order]
            begin, made = (np.cumsum(self.counts) - self.counts)[order], np.cumsum(counts)
            ids = ids[np.repeat(begin - made + counts, counts) + np.arange(int(made[-1]))]
        return self._at(order, ids)

    def _at(self, which: Any, ids: NDArray[np.int64]) -> Part:
        return Part(self.time[which], self.input[which], self.output[which], self.line[which], self.counts[which], ids)


def joined(parts: list[Part]) -> Part:
    """Several parts as one."""
    return Part(*(np.concatenate([getattr(part, name) for part in parts]) for name in Part.__struct_fields__))


class _Reader:
    def __init__(self, trace: Trace, notes: list[str]) -> None:
        self.trace, self.notes, self.name = trace, notes, Path(trace.path).name
        self.first: float | None = None
        self.latest = -math.inf
        self.unsorted, self.empty, self.unprompted = 0, 0, 0
        self.text: Text

    def error(self, text: str, line: int | None = None) -> BadValue:
        at = self.text.line if line is None else line
        return BadValue(f"{FIELD}: {self.name} line {at}: {text}", FIELD)

    def batches(self) -> Iterator[Batch]:
        count, most = 0, self.trace.limit
        with _opened(self.trace.path) as file:
            self.text = Text(file, self.name)
            for part in self.filled():
                count += len(part)
                if most is not None and count >= most:
                    self.notes.append(f"the first {most:,} requests of {self.name} are replayed")
                    yield self.batch(part.cut(len(part) - count + most)[0])
                    break
                yield self.batch(part)
        if count == 0:
            raise Unreadable(f"{FIELD}: {self.name} holds no requests", FIELD)
        if self.unsorted:
            self.notes.append(f"{self.unsorted:,} requests of the trace were not in the order of time; sorted")
        if self.empty:
            self.notes.append(f"{self.empty:,} requests of the trace have no answer (0 tokens); left out")
        if self.unprompted:
            self.notes.append(f"{self.unprompted:,} requests of the trace have no prompt (0 tokens); taken as 1 token")

    def filled(self) -> Iterator[Part]:
        """Parts of so many requests as a batch has; the last of fewer."""
        held: list[Part] = []
        for part in self.parts():
            held.append(part)
            while sum(map(len, held)) >= ROWS:
                full, rest = joined(held).cut(ROWS)
                held = [rest]
                yield full
        if sum(map(len, held)):
            yield joined(held)

    def batch(self, part: Part) -> Batch:
        late = int(np.count_nonzero(np.diff(part.time) < 0))
        if late:
            self.unsorted += late
            part = part.taken(np.argsort(part.time, kind="stable"))
        if part.time[0] < self.latest:
            raise self.error(f"its time is {self.latest - part.time[0]:g} s before that of a request {ROWS:,} lines "
                             "above; sort the trace by time", int(part.line[0]))
        self.latest = float(part.time[-1])
        if self.first is None:
            self.first = float(part.time[0])
        return batch((part.time - self.first) / self.trace.speed, part.input, part.output, part.counts, part.ids)

    def parts(self) -> Iterator[Part]:
        head = self.text.next_line()
        while head and not head.strip():
            head = self.text.next_line()
        if not head:
            return
        begin = head.lstrip("\ufeff \t")
        if begin.startswith("["):
            raise self.error("begins a list in JSON; write one object a line (jq -c '.[]')")
        if begin.startswith("{"):
            yield from self.objects(head)
        else:
            yield from self.table(head)

    def table(self, head: str) -> Iterator[Part]:
        between = max(",;\t|", key=head.count)
        names = [name.strip().lstrip("\ufeff") for name in next(csv.reader([head], delimiter=between))]
        known = format_of(names, self.name)
        columns = [names.index(name) for name in (known.time, known.input, known.output)]
        prefix = names.index(known.prefix) if known.prefix in names else -1
        plain = Columns(known, (columns[0], columns[1], columns[2]), between)
        while block := self.text.next_block():
            found = None if prefix >= 0 else plain.read(block)
            if found is not None:
                yield self.plain(*found)
                continue
            cells = csv.reader(self.text.again(block, '"' in block), delimiter=between)
            yield from self.gathered(self.rows(cells, known, [*columns, prefix], len(names)))

    def plain(self, times: NDArray[np.float64], inputs: NDArray[np.int64], outputs: NDArray[np.int64],
              prefixes: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None) -> Part:
        """A part of requests that were read at once, the last of them in the line that was handed out last."""
        last, none = self.text.line, np.zeros(len(times), dtype=np.int64)
        counts, ids = prefixes or (none, none[:0])
        part = Part(times, np.maximum(inputs, 1), outputs, np.arange(last - len(times), last) + 1, counts, ids)
        kept = outputs > 0
        self.unprompted += int(np.count_nonzero(kept & (inputs == 0)))
        if kept.all():
            return part
        self.empty += int(np.count_nonzero(~kept))
        return part.taken(np.flatnonzero(kept))

    def gathered(self, rows: Iterator[Row]) -> Iterator[Part]:
        """Rows that were read one by one, some at a time."""
        while some := list(islice(rows, ROWS)):
            times, inputs, outputs, ids, lines = zip(*some, strict=True)
            yield Part(np.asarray(times, dtype=np.float64), *(np.asarray(column, dtype=np.int64) for column in (
                inputs, outputs, lines, [len(each) for each in ids], [one for each in ids for one in each])))

    def rows(self, table: Iterator[list[str]], known: Format, columns: list[int], wide: int) -> Iterator[Row]:
        time, inputs, outputs, prefix = columns
        last = max(time, inputs, outputs)
        while True:
            try:
                cells = next(table)
            except StopIteration:
                return
            except csv.Error as problem:
                raise self.error(str(problem)) from None
            if not cells:
                continue
            if len(cells) <= last:
                raise self.error(f"has {len(cells)} columns, the first line {wide}")
            ids = self.ids(cells[prefix]) if 0 <= prefix < len(cells) else []
            row = self.row(known, cells[time], cells[inputs], cells[outputs], ids)
            if row is not None:
                yield row

    def objects(self, head: str) -> Iterator[Part]:
        begin = head.lstrip("\ufeff")
        known = _object_format(begin)
        yield from self.gathered(self.object_rows(iter([begin]), known))
        plain = Objects(known)
        while block := self.text.next_block():
            found = plain.read(block)
            if found is not None:
                yield self.plain(*found)
            else:
                yield from self.gathered(self.object_rows(self.text.again(block, False), known))

    def object_rows(self, lines: Iterator[str], known: Format) -> Iterator[Row]:
        for text in lines:
            if not text.strip():
                continue
            try:
                found = json.loads(text)
                cells = [found[name] for name in (known.time, known.input, known.output)]
            except (ValueError, RecursionError):
                raise self.error("is no JSON object") from None
            except (KeyError, TypeError) as missing:
                raise UnknownField(
                    f"{FIELD}: {self.name} line {self.text.line}: no {missing.args[0]} in it; it is to be "
                    '{"timestamp": ms, "input_length": …, "output_length": …, "hash_ids": […]}', FIELD) from None
            row = self.row(known, cells[0], cells[1], cells[2], self.ids(found.get(known.prefix) or []))
            if row is not None:
                yield row

    def ids(self, cells: Any) -> list[int]:
        try:
            found = [int(cell) for cell in (cells.replace(";", " ").split() if isinstance(cells, str) else cells)]
        except (ValueError, TypeError, OverflowError):
            raise self.error("prefix blocks are whole numbers") from None
        if found and not 0 <= min(found) <= max(found) < MOST_BLOCKS:
            raise self.error("prefix blocks are numbers from 0 to 2^48")
        return found

    def row(self, known: Format, time: Any, inputs: Any, outputs: Any, ids: list[int]) -> Row | None:
        try:
            seconds = known.seconds(time)
        except (ValueError, TypeError, OverflowError):
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
        self.unprompted += counts[0] == 0
        return seconds, max(counts[0], 1), counts[1], ids, self.text.line


def _object_format(head: str) -> Format:
    """By the keys of the first line: Mooncake's, or one's own."""
    known = mooncake()
    try:
        found = json.loads(head)
    except (ValueError, RecursionError):
        return known  # said where the line is read
    if isinstance(found, dict) and not {known.input, known.output} <= set(found):
        return own_format(list(found)) or known
    return known


def _opened(path: str) -> io.TextIOBase:
    """A text file, unpacked on the way where it is gzip."""
    try:
        if Path(path).exists() and not Path(path).is_file():
            raise Unreadable(f"{FIELD}: {path} is no file; a trace is read twice, so save what comes through a pipe "
                             "and name the file", FIELD)
        with open(path, "rb") as file:
            begin = file.read(4)
        if begin[:2] == b"\x1f\x8b":
            return gzip.open(path, "rt", encoding="utf-8", newline="")
        kind = next((name for mark, name in PACKED.items() if begin.startswith(mark)), None)
        if kind is not None:
            raise Unreadable(f"{FIELD}: {path} is {kind}; a trace is CSV or JSON Lines, plain or gzip", FIELD)
        return open(path, encoding="utf-8", newline="")
    except (OSError, ValueError) as problem:
        why = getattr(problem, "strerror", None) or problem
        raise Unreadable(f"{FIELD}: cannot read {path}: {why}", FIELD) from None
