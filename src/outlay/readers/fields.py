"""Reading a mapping of model fields: types, ranges and choices checked, defaults noted."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from outlay.errors import BadValue, Inconsistent, UnknownField, suggestion

Note = dict[str, Any]  # what, value, why, source

_TRUE, _FALSE = ("true", "yes", "1"), ("false", "no", "0")


def reject_unknown(given: Iterable[Any], known: Iterable[str], path: str) -> None:
    names = sorted(known)
    for key in given:
        if key not in names:
            text = str(key)[:80]
            raise UnknownField(f"{path} has no field {text!r}{suggestion(text, names)}", f"{path}.{text}")


def show(value: Any) -> str:
    """A value as a message prints it: short."""
    try:
        text = repr(value)
    except RecursionError:
        return "a deeply nested value"
    return text if len(text) <= 60 else text[:57] + "..."


class Fields:
    """Typed look-ups in one mapping; each error names field, value and what is allowed."""

    def __init__(self, given: Mapping[str, Any], path: str, notes: list[Note]) -> None:
        self.given, self.path, self.notes = given, path, notes

    def at(self, field: str) -> str:
        return f"{self.path}.{field}" if self.path else field

    def note(self, field: str, value: Any, why: str, source: str = "") -> None:
        self.notes.append({"what": self.at(field), "value": value, "why": why, "source": source})

    def has(self, field: str) -> bool:
        return field in self.given

    def count(self, field: str, default: int | None = None, least: int = 1, most: int = 10**9,
              why: str = "", silent: bool = False) -> int:
        """A whole number in [least, most]."""
        if field not in self.given:
            return int(self._default(field, default, why, silent))
        value = self.given[field]
        number = _number(value)
        if number is None or number != math.floor(number) or not least <= number <= most:
            raise BadValue(f"{self.at(field)} is {show(value)}; it must be a whole number from {least:,} to "
                           f"{most:,}", self.at(field))
        return int(number)

    def real(self, field: str, default: float, least: float, most: float) -> float:
        if field not in self.given:
            return default
        number = _number(self.given[field])
        if number is None or not least <= number <= most:
            raise BadValue(f"{self.at(field)} is {show(self.given[field])}; it must be a number from "
                           f"{least:g} to {most:g}", self.at(field))
        return float(number)

    def flag(self, field: str, default: bool, why: str = "", silent: bool = False) -> bool:
        if field not in self.given:
            return bool(self._default(field, default, why, silent or not why))
        value = self.given[field]
        if isinstance(value, (bool, int, float)) and value in (0, 1):
            return bool(value)
        if isinstance(value, str) and value.strip().lower() in _TRUE + _FALSE:
            return value.strip().lower() in _TRUE
        raise BadValue(f"{self.at(field)} is {show(value)}; it must be true or false", self.at(field))

    def choice(self, field: str, allowed: tuple[str, ...], default: str, silent: bool = True) -> str:
        if field not in self.given:
            return str(self._default(field, default, "the usual choice", silent))
        value = self.given[field]
        if isinstance(value, str) and value in allowed:
            return value
        raise BadValue(f"{self.at(field)} is {show(value)}; allowed: {', '.join(allowed)}"
                       f"{suggestion(str(value)[:80], allowed)}", self.at(field))

    def mapping(self, field: str) -> Fields | None:
        """A nested mapping, also as JSON text (as catalogue rows keep it)."""
        if field not in self.given:
            return None
        value = _parsed(self.given[field])
        if not isinstance(value, Mapping):
            raise BadValue(f"{self.at(field)} is {show(value)}; it must be a mapping", self.at(field))
        return Fields({k: v for k, v in value.items() if v is not None}, self.at(field), self.notes)

    def items(self, field: str) -> list[Any] | None:
        if field not in self.given:
            return None
        value = _parsed(self.given[field])
        if not isinstance(value, (list, tuple)):
            raise BadValue(f"{self.at(field)} is {show(value)}; it must be a list", self.at(field))
        return list(value)

    def _default(self, field: str, default: Any, why: str, silent: bool) -> Any:
        if default is None:
            raise Inconsistent(f"{self.at(field)} is missing", self.at(field))
        if not silent:
            self.note(field, default, why or "default")
        return default


def _number(value: Any) -> float | int | None:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    if isinstance(value, int):
        return value
    try:
        number = float(value) if len(str(value)) <= 40 else math.nan
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _parsed(value: Any) -> Any:
    if isinstance(value, str) and value[:1] in "{[":
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value
