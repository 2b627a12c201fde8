"""A trace's text a block of lines at a time, and the numbers of a plain block all at once.

A row read by itself costs ten times as much as one of a block; what is odd in a block (quotes, blank lines, a number
that is none) leaves it to the reader of rows, which says what is wrong with which line.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from outlay.errors import BadValue, Unreadable
from outlay.simulate.trace_columns import FIELD, LONGEST_DATE, Format

BLOCK = 2**20  # characters
LONGEST_LINE = 4 * 2**20  # characters; a request with a million prefix blocks has fewer
MOST = 1e9  # tokens of a request
MOST_BLOCKS = 2**48  # numbers of blocks of prompts
ODD = ('"', "\0")


class Text:
    """An open file by its lines or by blocks of them; `line` is the number of the last that was handed out."""

    def __init__(self, file: io.TextIOBase, name: str) -> None:
        self.file, self.name, self.line = file, name, 0
        self.begun = ""  # of a line that the last block ended in

    def next_line(self) -> str:
        """The next line with its end; nothing at the end of the file."""
        text = self.begun + self._read(self.file.readline, LONGEST_LINE)
        self.begun = ""
        self.line += 1
        if len(text) >= LONGEST_LINE:
            raise self._too_long()
        return text

    def next_block(self) -> str:
        """Some whole lines; nothing at the end of the file."""
        text, cut, more = self.begun, 0, "more"
        while more and not cut:
            more = self._read(self.file.read, BLOCK)
            text += more
            cut = max(text.rfind("\n"), text.rfind("\r", 0, -1)) + 1
            if not cut and len(text) >= LONGEST_LINE:
                self.line += 1
                raise self._too_long()
        cut = cut if more else len(text)
        self.begun, text = text[cut:], text[:cut]
        self.line += ends(text)
        return text

    def again(self, block: str, on: bool) -> Iterator[str]:
        """The lines of the block that was handed out last, counted anew; `on`: and those after it."""
        self.line -= ends(block)
        for text in io.StringIO(block, newline=""):
            self.line += 1
            yield text
        if on:
            yield from iter(self.next_line, "")

    def _read(self, read: Callable[[int], str], most: int) -> str:
        try:
            return read(most)
        except UnicodeDecodeError:
            raise Unreadable(f"{FIELD}: {self.name} after line {self.line}: no text in UTF-8", FIELD) from None
        except (OSError, EOFError, zlib.error) as problem:
            raise Unreadable(f"{FIELD}: {self.name} after line {self.line}: {problem}", FIELD) from None

    def _too_long(self) -> BadValue:
        return BadValue(f"{FIELD}: {self.name} line {self.line}: longer than {LONGEST_LINE:,} characters; not a trace "
                        "of requests", FIELD)


def ends(text: str) -> int:
    """Lines of a text, the last of which may lack its end.

    >>> ends("a\\r\\nb\\n"), ends("a\\rb"), ends("")
    (2, 2, 0)
    """
    marks = text.count("\n") + text.count("\r") - text.count("\r\n")
    return marks + (text[-1:] not in ("", "\n", "\r"))


class Columns:
    """The three columns of a table that are read, by their places."""

    def __init__(self, known: Format, places: tuple[int, int, int], between: str) -> None:
        self.known, self.places, self.between = known, places, between
        self.dated = False  # as in the block before

    def read(self, block: str) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]] | None:
        """Seconds, tokens in and tokens out of every line; None where a line is not plain."""
        if any(mark in block for mark in ODD) or block.isspace():
            return None
        for dated in (self.dated, not self.dated):
            found = self._dated(block) if dated else self._numbered(block)
            if found is not None:
                self.dated = dated
                times, inputs, outputs = found
                fine = np.isfinite(times).all() and _whole(inputs) and _whole(outputs) and len(times) == ends(block)
                return (times, inputs.astype(np.int64), outputs.astype(np.int64)) if fine else None
        return None

    def _numbered(self, block: str) -> tuple[NDArray[np.float64], Any, Any] | None:
        rows = self._cells(block, np.dtype(np.float64))
        return None if rows is None else (self.known.seconds.of_numbers(rows[:, 0]), rows[:, 1], rows[:, 2])

    def _dated(self, block: str) -> tuple[NDArray[np.float64], Any, Any] | None:
        rows = self._cells(block, np.dtype([("time", f"S{LONGEST_DATE}"), ("in", "f8"), ("out", "f8")]))
        times = None if rows is None else self.known.seconds.of_dates(rows["time"])
        return None if rows is None or times is None else (times, rows["in"], rows["out"])

    def _cells(self, block: str, kind: np.dtype[Any]) -> Any:
        try:
            return np.loadtxt(io.StringIO(block), dtype=kind, delimiter=self.between, usecols=self.places,
                              comments=None, ndmin=2 if kind.names is None else 1)
        except ValueError:
            return None


class Objects:
    """What is read of lines of JSON, by their keys."""

    def __init__(self, known: Format) -> None:
        import msgspec

        self.known = known
        keys = {"time": known.time, "input": known.input, "output": known.output, "ids": known.prefix}
        row = msgspec.defstruct("Request", [("time", float), ("input", float), ("output", float),
                                            ("ids", list[int] | None, None)], rename=keys)
        self.decoder: Any = msgspec.json.Decoder(row)
        self.wrong: Any = msgspec.MsgspecError

    def read(self, block: str) -> tuple[Any, Any, Any, tuple[Any, Any]] | None:
        """Seconds, tokens in and out, and blocks of the prompts (how many, which) of every line; None where a line is
        not plain."""
        try:
            rows = self.decoder.decode_lines(block)
            ids = np.array([one for row in rows for one in row.ids or ()], dtype=np.int64)
        except (self.wrong, UnicodeError, OverflowError, RecursionError):
            return None
        times = self.known.seconds.of_numbers(np.array([row.time for row in rows], dtype=np.float64))
        inputs, outputs = (np.array([getattr(row, name) for row in rows]) for name in ("input", "output"))
        fine = len(rows) == ends(block) and np.isfinite(times).all() and _whole(inputs) and _whole(outputs)
        if not fine or (len(ids) and not 0 <= ids.min() <= ids.max() < MOST_BLOCKS):
            return None
        counts = np.array([len(row.ids or ()) for row in rows], dtype=np.int64)
        return times, inputs.astype(np.int64), outputs.astype(np.int64), (counts, ids)


def _whole(tokens: NDArray[np.float64]) -> bool:
    """Whether all are numbers of tokens that a request may have."""
    with np.errstate(invalid="ignore"):
        return bool(((tokens >= 0.0) & (tokens <= MOST) & (tokens == np.floor(tokens))).all())
