"""Tokens of every row of a person's own data file: JSON Lines, a JSON array, Parquet or Arrow.

A row's length is one that it states (`length`, `num_tokens`, ...), the number of its `input_ids`, or else all of its
text at a usual number of characters a token. Files are read row by row, or row group by row group: memory does not
grow with them, since only how often each length occurs is kept.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from msgspec import Struct

from outlay.errors import Unreadable, Unsupported

CHARACTERS_A_TOKEN = 4.0  # English text, byte-pair vocabularies of 32k to 128k
LENGTH_KEYS = ("length", "tokens", "num_tokens", "n_tokens")
ID_KEYS = ("input_ids", "token_ids", "tokens")
MOST_LINE = 4_000_000  # characters of one row
MOST_LENGTH = 10**9
BLOCK = 1 << 20
EXACT = 10_000  # longer rows are counted to four digits, so that few lengths are kept
BATCH_ROWS = 512
COLUMNAR = (".parquet", ".arrow", ".feather")


class RowLengths(Struct, frozen=True):
    """How often each length occurs, shortest first; `longest` is exact."""

    sizes: tuple[int, ...]
    counts: tuple[int, ...]
    longest: int

    @property
    def rows(self) -> int:
        return sum(self.counts)

    def moment(self, power: int, most: int) -> float:
        """Mean of lengths, cut at `most`, to a power.

        >>> RowLengths((1, 3), (1, 1), 3).moment(1, 10), RowLengths((1, 3), (1, 1), 3).moment(2, 2)
        (2.0, 2.5)
        """
        return math.fsum(n * min(s, most) ** power for s, n in zip(self.sizes, self.counts)) / self.rows

    def padded_mean(self, together: int, most: int) -> float:
        """Mean of the longest of `together` rows drawn at random: what each of them is padded to.

        >>> four = RowLengths((1, 2, 3, 4), (1, 1, 1, 1), 4)
        >>> four.padded_mean(1, 9), four.padded_mean(2, 9), four.padded_mean(1, 2)
        (2.5, 3.125, 1.75)
        """
        total, below, found = self.rows, 0, 0.0
        for size, number in zip(self.sizes, self.counts):
            share = ((below + number) / total) ** together - (below / total) ** together
            found, below = found + min(size, most) * share, below + number
        return found

    def longer_than(self, most: int) -> int:
        """Rows that are cut at `most`."""
        return sum(n for s, n in zip(self.sizes, self.counts) if s > most)


def row_lengths(path: str, field: str) -> RowLengths:
    """Lengths of the rows of a file; Unreadable naming `field` when there are none or one is broken."""
    place = Path(path).expanduser()
    try:
        stamp = place.stat()
        return _read(place, field, stamp.st_size, stamp.st_mtime_ns)
    except OSError as error:
        raise Unreadable(f"{field}: {path}: {error.strerror or error}", field) from None


@lru_cache(maxsize=8)
def _read(path: Path, field: str, size: int, changed: int) -> RowLengths:
    """One reading of a file as it is; a plan and all its variations ask for the same."""
    kind = path.suffix.lower()
    sizes = _columnar(path, kind, field) if kind in COLUMNAR else _text(path, field)
    seen: Counter[int] = Counter()
    longest = 0
    for length in sizes:
        longest = max(longest, length)
        seen[max(_kept(length), 1)] += 1
    if not seen:
        raise Unreadable(f"{field}: {path} holds no rows", field)
    if not longest:
        raise Unreadable(f"{field}: no row of {path} holds text, {ID_KEYS[0]} or a length", field)
    ordered = sorted(seen)
    return RowLengths(tuple(ordered), tuple(seen[s] for s in ordered), longest)


def _kept(length: int) -> int:
    """A length as it is counted: exact, or to four digits.

    >>> _kept(4097), _kept(1234567)
    (4097, 1235000)
    """
    if length <= EXACT:
        return length
    step: int = 10 ** (len(str(length)) - 4)
    return round(length / step) * step


def row_size(row: Any) -> int:
    """Tokens of one row.

    >>> row_size({"length": 812, "text": "..."}), row_size({"input_ids": [1, 2, 3]}), row_size({"text": "x" * 41})
    (812, 3, 11)
    """
    if isinstance(row, dict):
        for key in LENGTH_KEYS:
            value = row.get(key)
            if isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 1:
                return int(min(value, MOST_LENGTH))
        for key in ID_KEYS:
            if isinstance(row.get(key), list):
                return len(row[key])
    return math.ceil(_characters(row) / CHARACTERS_A_TOKEN)


def _characters(value: Any) -> int:
    """Characters of all text inside a row, without recursion."""
    total, stack = 0, [value]
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            total += len(item)
        elif isinstance(item, dict):
            stack.extend(item.values())
        elif isinstance(item, (list, tuple)):
            stack.extend(item)
    return total


def _text(path: Path, field: str) -> Iterator[int]:
    """Rows of a JSON Lines file, or of one JSON array."""
    try:
        with open(path, encoding="utf-8-sig") as handle:
            head = handle.read(BLOCK).lstrip()
            handle.seek(0)
            yield from _array(handle, path, field) if head.startswith("[") else _lines(handle, path, field)
    except UnicodeDecodeError:
        raise Unreadable(f"{field}: {path}: not UTF-8 text", field) from None


def _lines(handle: Any, path: Path, field: str) -> Iterator[int]:
    number = 0
    while line := handle.readline(MOST_LINE + 1):
        number += 1
        if len(line) > MOST_LINE:
            raise Unreadable(f"{field}: {path}:{number}: a line of more than {MOST_LINE} characters", field)
        if not line.strip():
            continue
        try:
            yield row_size(json.loads(line))
        except (ValueError, RecursionError):
            raise Unreadable(f"{field}: {path}:{number}: not JSON; one object a line, or one array of them, is read",
                             field) from None


def _array(handle: Any, path: Path, field: str) -> Iterator[int]:
    """Items of one JSON array, a block at a time."""
    decoder = json.JSONDecoder()
    text, number, more = handle.read(BLOCK).lstrip()[1:], 0, True
    while True:
        text = text.lstrip(" \t\r\n,")
        if text.startswith("]"):
            if (text[1:] + handle.read(BLOCK)).strip():
                raise Unreadable(f"{field}: {path}: more follows the array of {number} items", field)
            return
        try:
            row, end = decoder.raw_decode(text)
        except (ValueError, RecursionError):
            if not more or len(text) > MOST_LINE:
                raise Unreadable(f"{field}: {path}: item {number + 1} of the array is not JSON, or has more than "
                                 f"{MOST_LINE} characters", field) from None
            block = handle.read(BLOCK)
            text, more = text + block, bool(block)
            continue
        if end == len(text) and more:  # a number may go on in the next block
            block = handle.read(BLOCK)
            text, more = text + block, bool(block)
            if block:
                continue
        number += 1
        yield row_size(row)
        text = text[end:]


def _columnar(path: Path, kind: str, field: str) -> Iterator[int]:
    """Rows of a Parquet or Arrow file, with only the columns that tell a length."""
    try:
        import pyarrow as pa
    except ImportError:
        raise Unsupported(f"{field}: {path.name}: reading {kind} files needs pyarrow; pip install 'outlay[parquet]', "
                          "or write one JSON object a line", field) from None
    try:
        batches = _parquet(path) if kind == ".parquet" else _arrow(path)
        for batch in batches:
            yield from _batch_sizes(batch)
    except (pa.ArrowException, OSError, ValueError) as error:
        words = " ".join(str(error).split())[:200]
        raise Unreadable(f"{field}: {path}: not a readable {kind} file: {words}", field) from None


def _parquet(path: Path) -> Iterator[Any]:
    """Batches of a Parquet file, one row group in memory at a time."""
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        columns = _telling(file.schema_arrow)
        for group in range(file.num_row_groups):
            yield from file.iter_batches(BATCH_ROWS, row_groups=[group], columns=columns, use_threads=False)


def _arrow(path: Path) -> Iterator[Any]:
    """Batches of an Arrow file or stream."""
    import pyarrow as pa

    with pa.memory_map(str(path)) as source:
        try:
            file = pa.ipc.open_file(source)
            names = _telling(file.schema)
            for number in range(file.num_record_batches):
                yield file.get_batch(number).select(names)
        except pa.ArrowInvalid:
            source.seek(0)
            stream = pa.ipc.open_stream(source)
            names = _telling(stream.schema)
            for batch in stream:
                yield batch.select(names)


def _telling(schema: Any) -> list[str]:
    """The columns of a table that tell its rows' lengths: a stated length, token ids, or whatever holds text."""
    kinds = {column.name: str(column.type) for column in schema}
    for name in LENGTH_KEYS:
        if kinds.get(name, "").startswith(("int", "uint", "float", "double")):
            return [name]
    for name in ID_KEYS:
        if "list" in kinds.get(name, ""):
            return [name]
    return [name for name, kind in kinds.items() if "string" in kind]


def _batch_sizes(batch: Any) -> Iterator[int]:
    """Tokens of each row of a batch; of token ids only how many there are is looked at."""
    names = batch.schema.names
    if len(names) == 1 and names[0] in ID_KEYS and "list" in str(batch.schema.types[0]):
        from pyarrow import compute

        yield from (int(n or 0) for n in compute.list_value_length(batch.column(0)).to_pylist())
        return
    rows = batch.to_pylist() if names else ({} for _ in range(batch.num_rows))
    yield from (row_size(row) for row in rows)
