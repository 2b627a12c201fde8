"""The errors outlay raises, each naming the field that is wrong.

    OutlayError
    ├── UnknownName        a model, device, site or choice that is not known
    ├── BadValue           a known field with a value outside what is allowed
    ├── BadUnit            a number whose unit cannot be read or does not fit
    ├── UnknownField       a key that is not part of the scenario
    ├── Inconsistent       fields that are each fine and contradict each other
    ├── Unreadable         a file or document that cannot be parsed
    └── Unsupported        known, but not built in this version
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class OutlayError(Exception):
    """Base of every error a user can cause; `kind` and `field` are stable and machine-readable."""

    kind = "error"

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.field = field

    def to_dict(self) -> dict[str, str]:
        return {"kind": self.kind, "message": self.message, "field": self.field}


class UnknownName(OutlayError):
    kind = "unknown_name"


class BadValue(OutlayError):
    kind = "bad_value"


class BadUnit(OutlayError):
    kind = "bad_unit"


class UnknownField(OutlayError):
    kind = "unknown_field"


class Inconsistent(OutlayError):
    kind = "inconsistent"


class Unreadable(OutlayError):
    kind = "unreadable"


class Unsupported(OutlayError):
    kind = "unsupported"


def nearest(name: str, known: Iterable[str], count: int = 3) -> list[str]:
    """Known names closest to `name`, best first, compared without case.

    >>> nearest("adamW8", ["adamw", "adamw-8bit", "sgd"])
    ['adamw', 'adamw-8bit']
    """
    by_lower = {k.lower(): k for k in known}
    return [by_lower[m] for m in get_close_matches(name.lower()[:80], list(by_lower), n=count, cutoff=0.55)]


def suggestion(name: str, known: Iterable[str]) -> str:
    """A ready half-sentence: "; did you mean …?" or nothing.

    >>> suggestion("tensr", ["tensor", "data"])
    '; did you mean tensor?'
    """
    close = nearest(name, known)
    return f"; did you mean {' or '.join(close)}?" if close else ""


def near(value: int, allowed: Iterable[int]) -> str:
    """The allowed values on both sides, as words.

    >>> near(6, [1, 2, 4, 8]), near(9, [1, 2]), near(3, [])
    ('nearest are 4 and 8', 'nearest is 2', 'no other value works')
    """
    known = sorted({int(v) for v in allowed} - {value})
    below, above = [v for v in known if v < value], [v for v in known if v > value]
    found = [str(v) for v in (*below[-1:], *above[:1])]
    if not found:
        return "no other value works"
    return f"nearest {'are' if len(found) > 1 else 'is'} {' and '.join(found)}"
