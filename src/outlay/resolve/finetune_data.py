"""Lengths of fine-tuning rows: given, or read from a person's own JSON Lines file."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from outlay.errors import BadValue, Unreadable, Unsupported
from outlay.resolve.record import Notes
from outlay.scenario import Finetune

MOST_ROWS = 1_000_000
MOST_LINE = 4_000_000
CHARACTERS_A_TOKEN = 4.0  # English text, byte-pair vocabularies of 32k to 128k
LENGTH_KEYS = ("length", "tokens", "num_tokens", "n_tokens")


@dataclass(frozen=True, slots=True)
class Lengths:
    """Tokens of the rows a step sees: what memory must hold and what time is spent on."""

    longest: int
    mean: float  # tokens of a row as computed, padding to the longest of its micro-batch included
    document: float  # tokens of one example before packing
    mean_square: float
    rows: float | None  # examples in an epoch


def lengths_of(given: Finetune, sequence: int, packing: bool, micro_batch: int, notes: Notes) -> Lengths:
    """Lengths of rows. Packed rows are full; others are cut at the sequence length and padded to their batch."""
    if given.data_file is not None:
        for name in ("longest", "mean", "examples", "tokens"):
            if getattr(given, name) is not None:
                raise BadValue(f"finetune.{name}: the lengths come from finetune.data_file; give one of the two",
                               f"finetune.{name}")
        return _from_file(given.data_file, sequence, packing, micro_batch, notes)
    longest = min(given.longest or sequence, sequence)
    mean = given.mean
    if mean is None:
        mean = float(sequence) if packing else float(longest)
        if not packing and given.longest is None:
            notes.assume("finetune.mean", sequence, "every row taken as long as sequence_length; give mean and "
                         "longest, or a data_file, where rows are shorter")
    if mean > longest and not packing:
        raise BadValue(f"finetune.mean: {mean:g} is above the longest row of {longest:g} tokens", "finetune.mean")
    if packing:
        return Lengths(sequence, float(sequence), min(mean, sequence), min(mean, sequence) ** 2, given.examples)
    return Lengths(int(longest), float(mean), float(mean), float(mean) ** 2, given.examples)


def _from_file(path: str, sequence: int, packing: bool, micro_batch: int, notes: Notes) -> Lengths:
    sizes = sorted(min(size, sequence) for size in _sizes(Path(path).expanduser()))
    if not sizes:
        raise Unreadable(f"finetune.data_file: {path} holds no rows", "finetune.data_file")
    number = len(sizes)
    mean, square = math.fsum(sizes) / number, math.fsum(s * s for s in sizes) / number
    notes.assume("finetune.data_file", number, f"rows read, {mean:.0f} tokens on average and {sizes[-1]} at most; text "
                 f"counted at {CHARACTERS_A_TOKEN:g} characters a token where the file gives no length")
    if packing:
        return Lengths(sequence, float(sequence), mean, square, float(number))
    return Lengths(sizes[-1], padded_mean(sizes, micro_batch), mean, square, float(number))


def padded_mean(sizes: list[int], micro_batch: int) -> float:
    """Mean of the longest of `micro_batch` rows drawn at random: what each of them is padded to.

    >>> padded_mean([1, 2, 3, 4], 1), padded_mean([1, 2, 3, 4], 2)
    (2.5, 3.125)
    """
    number = len(sizes)
    shares = (((i + 1) / number) ** micro_batch - (i / number) ** micro_batch for i in range(number))
    return math.fsum(size * share for size, share in zip(sizes, shares, strict=True))


def _sizes(path: Path) -> Iterator[int]:
    """Tokens of each row of a JSON Lines file."""
    if path.suffix.lower() in (".parquet", ".arrow"):
        raise Unsupported(f"finetune.data_file: {path.suffix} is not read in this version; write one JSON object a "
                          "line",
                          "finetune.data_file")
    try:
        with open(path, encoding="utf-8") as handle:
            for number in range(1, MOST_ROWS + 1):
                line = handle.readline(MOST_LINE + 1)
                if not line:
                    return
                if len(line) > MOST_LINE:
                    raise Unreadable(f"finetune.data_file: {path}:{number}: a line of more than {MOST_LINE} characters",
                                     "finetune.data_file")
                if line.strip():
                    yield _size(line, path, number)
    except UnicodeDecodeError:
        raise Unreadable(f"finetune.data_file: {path}: not UTF-8 text", "finetune.data_file") from None
    except OSError as error:
        raise Unreadable(f"finetune.data_file: {path}: {error.strerror or error}", "finetune.data_file") from None


def _size(line: str, path: Path, number: int) -> int:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        raise Unreadable(f"finetune.data_file: {path}:{number}: not JSON; one object a line is read",
                         "finetune.data_file") from None
    if isinstance(row, dict):
        for key in LENGTH_KEYS:
            if isinstance(row.get(key), (int, float)) and not isinstance(row[key], bool) and row[key] >= 1:
                return int(min(row[key], 1e9))
        if isinstance(row.get("input_ids"), list):
            return max(len(row["input_ids"]), 1)
    return max(math.ceil(_characters(row) / CHARACTERS_A_TOKEN), 1)


def _characters(value: Any) -> int:
    """Characters of all text inside a row, without recursion."""
    total, stack = 0, [value]
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            total += len(item)
        elif isinstance(item, dict):
            stack.extend(item.values())
        elif isinstance(item, list):
            stack.extend(item)
    return total
