"""Reading files that others wrote, within limits: size, depth, encoding, kind of file."""

from __future__ import annotations

import os
import stat
from typing import Any, BinaryIO

from outlay.errors import Unreadable

CONFIG_BYTES = 8 * 2**20


def open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a regular file for reading; a directory, pipe or device is refused without waiting on it."""
    shown = str(path)
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except FileNotFoundError:
        raise Unreadable(f"{shown}: no such file") from None
    except (OSError, ValueError) as error:
        raise Unreadable(f"{shown[:200]}: cannot be opened ({getattr(error, 'strerror', error)})") from None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise Unreadable(f"{shown}: not a regular file")
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def _at_most(path: str | os.PathLike[str], most: int, refusal: str) -> bytes:
    """A whole file of at most `most` bytes; a longer one is refused by its size, before anything is read."""
    with open_regular(path) as file:
        data = b"" if os.fstat(file.fileno()).st_size > most else file.read(most + 1)
        if len(data) > most or os.fstat(file.fileno()).st_size > most:
            raise Unreadable(f"{path}: larger than {most:,} bytes, {refusal}")
        return data


def read_text(path: str | os.PathLike[str], most: int, what: str) -> str:
    """The text of a regular file of at most `most` bytes; Unreadable says it is not `what`."""
    try:
        return _at_most(path, most, f"not {what}").decode("utf-8")
    except UnicodeDecodeError:
        raise Unreadable(f"{path}: not UTF-8 text") from None


def read_json(path: str | os.PathLike[str], most_bytes: int = CONFIG_BYTES) -> Any:
    """The value in a JSON file."""
    return parse_json(_at_most(path, most_bytes, "too large for such a file"), str(path))


def read_bytes(path: str | os.PathLike[str], most_bytes: int, refusal: str) -> bytes:
    """The bytes of a regular file; `refusal` says why a longer one is not read."""
    return _at_most(path, most_bytes, refusal)


def parse_json(data: bytes, name: str, nan: bool = False) -> Any:
    """Parse JSON; deep nesting, duplicate keys, NaN and numbers of absurd length are refused.

    Infinity is allowed: published configurations hold it as an open upper limit. nan: NaN too, for files whose
    writers put it where they have no number.
    """
    import json

    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Unreadable(f"{name}: not UTF-8 text (byte {error.start})") from None
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=float if nan else _constant,
                          parse_int=_integer)
    except _Refused as error:
        raise Unreadable(f"{name}: {error}") from None
    except json.JSONDecodeError as error:
        raise Unreadable(f"{name}: not JSON ({error.msg} at line {error.lineno})") from None
    except RecursionError:
        raise Unreadable(f"{name}: nested too deeply") from None
    except ValueError as error:
        raise Unreadable(f"{name}: not JSON ({str(error)[:100]})") from None


class _Refused(Exception):
    """A construct that JSON parsers take and this one does not."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise _Refused(f"key {key[:60]!r} occurs twice")
            seen.add(key)
    return values


def _constant(text: str) -> float:
    if text == "NaN":
        raise _Refused("NaN is not a number")
    return float(text)


def _integer(text: str) -> int:
    if len(text) > 30:
        raise _Refused(f"a number of {len(text)} digits")
    return int(text)
