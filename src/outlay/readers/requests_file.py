"""A file of requests, one a row: how long each prompt and answer was. Read as a stream, with a bound."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path
from typing import Any, NamedTuple

from outlay.errors import BadValue, Unreadable

MOST_ROWS = 5_000_000
# what people's exports call these columns
NAMES = {
    "input": ("input", "input_tokens", "prompt_tokens", "contexttokens", "request tokens", "prompt"),
    "output": ("output", "output_tokens", "completion_tokens", "generatedtokens", "response tokens", "completion"),
    "cached": ("cached", "cached_tokens", "cache_read_tokens", "cached_input_tokens"),
    "written": ("written", "cache_write_tokens", "cache_creation_input_tokens"),
    "reasoning": ("reasoning", "reasoning_tokens"),
}


class RequestLengths(NamedTuple):
    """Tokens of each request, arrays of one length; `output` has the hidden reasoning in it."""

    input: Any
    cached: Any
    written: Any
    output: Any


def read_requests(path: str, field: str) -> RequestLengths:
    """Lengths of every request of a CSV file, plain or gzipped.

    Columns: input and output tokens, and if there are any cached, written and reasoning ones, under the names of
    usual exports. Raises Unreadable or BadValue with file, line and column.
    """
    import numpy as np

    place = Path(path)
    if not place.is_file():
        raise Unreadable(f"{field}: {path}: no such file", field)
    columns: dict[str, list[float]] = {name: [] for name in NAMES}
    opener: Any = gzip.open if place.suffix == ".gz" else open
    try:
        with opener(place, "rt", encoding="utf-8-sig", newline="") as handle:
            reader = csv.reader(handle)
            at = _positions(next(reader, []), path, field)
            for row in reader:
                if row:
                    _take(row, at, columns, f"{path}:{reader.line_num}", field)
                if len(columns["input"]) > MOST_ROWS:
                    raise BadValue(f"{field}: {path}: more than {MOST_ROWS:,} requests; give a sample of them", field)
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise Unreadable(f"{field}: {path}: {getattr(error, 'strerror', None) or error}", field) from None
    if not columns["input"]:
        raise BadValue(f"{field}: {path}: holds no requests", field)
    found = {name: np.array(values, dtype=float) for name, values in columns.items()}
    return RequestLengths(found["input"], found["cached"], found["written"], found["output"] + found["reasoning"])


def _positions(header: list[str], path: str, field: str) -> dict[str, int]:
    spelled = {name.strip().lower(): i for i, name in enumerate(header)}
    at = {name: spelled[known] for name, several in NAMES.items() for known in several if known in spelled}
    missing = [name for name in ("input", "output") if name not in at]
    if missing:
        shown = ", ".join(header[:12]) or "nothing"
        raise BadValue(f"{field}: {path}: no column of {' or '.join(missing)} tokens; wanted one of "
                       f"{', '.join(NAMES[missing[0]])}, found {shown[:200]}", field)
    return at


def _take(row: list[str], at: dict[str, int], columns: dict[str, list[float]], where: str, field: str) -> None:
    values = {}
    for name in NAMES:
        text = row[at[name]].strip() if name in at and at[name] < len(row) else ""
        try:
            values[name] = float(text) if text else 0.0
        except ValueError:
            raise BadValue(f"{field}: {where}: {name} {text[:40]!r} is not a number of tokens", field) from None
        if not 0 <= values[name] < 1e9:
            raise BadValue(f"{field}: {where}: {name} {text[:40]!r} is not a number of tokens", field)
    if values["cached"] + values["written"] > values["input"]:
        raise BadValue(f"{field}: {where}: more cached tokens than the {values['input']:g} of the input", field)
    for name, value in values.items():
        columns[name].append(value)
