"""A person's own exchange rates: CSV `currency,per_usd,as_of,source`, units of a currency for one dollar."""

from __future__ import annotations

import math
import re
from datetime import date
from pathlib import Path

from msgspec import Struct

from outlay.catalog.store import read_checked
from outlay.errors import BadValue

COLUMNS = ("currency", "per_usd", "as_of", "source")
NEEDED = ("currency", "per_usd", "as_of")
CODE = re.compile(r"[A-Z]{3}")
_DAY = re.compile(r"\d{4}(-\d{2}(-\d{2})?)?")


class ExchangeRate(Struct, frozen=True):
    """`per_usd` units of `code` bought one dollar on `as_of`."""

    code: str
    per_usd: float
    as_of: str
    source: str


def is_rates(path: Path) -> bool:
    """Whether a file is one of rates: its first line names the column per_usd."""
    try:
        with open(path, encoding="utf-8-sig", errors="replace") as handle:
            return "per_usd" in handle.readline(4096)
    except OSError:
        return False


def read_rates(path: Path) -> list[ExchangeRate]:
    """Every row checked, or an error that names the line."""
    found = []
    for line, (code, per_usd, as_of, source) in read_checked(path, COLUMNS, NEEDED):
        where = f"{path}:{line}"
        try:
            rate = float(per_usd)
        except ValueError:
            raise BadValue(f"{where}: per_usd {per_usd!r} is not a number", "prices") from None
        if not 0 < rate < math.inf:
            raise BadValue(f"{where}: per_usd {per_usd} is not above zero", "prices")
        if not CODE.fullmatch(code.upper()):
            raise BadValue(f"{where}: currency {code!r} is not a code of three letters, such as EUR", "prices")
        fault = fault_of_date(as_of)
        if fault:
            raise BadValue(f"{where}: as_of {fault}", "prices")
        found.append(ExchangeRate(code.upper(), rate, as_of, source or path.name))
    return found


def fault_of_date(text: str) -> str:
    """What is wrong with the date of a price: not a date, or after today; empty when nothing is.

    >>> fault_of_date("2026-02"), fault_of_date("soon"), fault_of_date("2999-01-01")
    ('', "'soon' is not a date (2026-11-23)", '2999-01-01 is in the future')
    """
    if not _DAY.fullmatch(text):
        return f"{text!r} is not a date (2026-11-23)"
    whole = f"{text}-01-01"[:10] if len(text) == 4 else f"{text}-01"[:10]
    try:
        day = date.fromisoformat(whole)
    except ValueError:
        return f"{text!r} is not a date (2026-11-23)"
    return f"{text} is in the future" if day > date.today() else ""
