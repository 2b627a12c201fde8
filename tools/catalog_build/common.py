"""What every table builder shares: the row, its checks, reading raw files and writing the shipped ones.

A table is a module with a constant `KIND` (the catalogue kind, which is also the file name) and a function
`build(data_dir: Path, models_dir: Path) -> list[Row]`. Modules may share a kind; their rows are merged.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

COLUMNS = ("id", "parameter", "value", "unit", "low", "high", "source", "retrieved", "how", "note")
HOW = ("measured", "vendor", "published", "derived", "assumed")
TEXT_UNITS = ("text", "date", "list")  # value is a string; a list is separated by "|"
CATALOG_DATE = "2026-11-23"

_ID = re.compile(r"[a-z0-9][a-z0-9._:+/@-]*")
_PARAMETER = re.compile(r"[a-z0-9][a-z0-9_.]*")
_DATE = re.compile(r"\d{4}(-\d{2}(-\d{2})?)?")


class Row(NamedTuple):
    """One fact. `low` and `high` are the 10th and 90th percentile (an 80 % interval), both or neither.

    unit: an SI unit ("byte", "flop/s", "W", "usd", "kg", "kg/kWh", "", ...), or text | date | list for
    strings; booleans are 1/0 with unit "bool". source: who says so, with a URL or arXiv id. retrieved: when
    it was read, ISO (a year, month or day). how: measured | vendor | published | derived | assumed. note: the
    reason, or a trap.
    """

    id: str
    parameter: str
    value: float | str
    unit: str
    source: str
    retrieved: str
    how: str
    low: float | None = None
    high: float | None = None
    note: str = ""


def read_csv(path: Path) -> Iterator[dict[str, str]]:
    """Rows of a raw CSV, plain or gzipped, with surrounding blanks removed."""
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8", newline="") as handle:
        for row in csv.DictReader(handle):
            yield {key: (value or "").strip() for key, value in row.items() if key}


def shippable(path: Path) -> list[dict[str, str]]:
    """Rows of a raw CSV that may go into the package."""
    return [row for row in read_csv(path) if row.get("ship") == "yes"]


def check(rows: Iterable[Row], kind: str) -> list[Row]:
    """The rows, sorted by id (order of parameters kept), or a ValueError that lists what is wrong."""
    kept, seen, faults = list(rows), set(), []
    for row in kept:
        where = f"{kind}: {row.id}.{row.parameter}"
        faults += [f"{where}: {fault}" for fault in faults_of(row)]
        if (row.id, row.parameter) in seen:
            faults.append(f"{where}: twice")
        seen.add((row.id, row.parameter))
    if faults:
        more = f"\n... and {len(faults) - 40} more" if len(faults) > 40 else ""
        raise ValueError("\n".join(faults[:40]) + more)
    return sorted(kept, key=lambda row: row.id)


def faults_of(row: Row) -> list[str]:
    faults = []
    if not _ID.fullmatch(row.id):
        faults.append("id is not lower-case letters, digits and . _ : + / @ -")
    if not _PARAMETER.fullmatch(row.parameter):
        faults.append("parameter is not a lower-case name")
    if isinstance(row.value, str) != (row.unit in TEXT_UNITS):
        faults.append(f"value {row.value!r} does not go with unit {row.unit!r}")
    if isinstance(row.value, str):
        if not row.value.strip():
            faults.append("empty value")
    elif not abs(float(row.value)) < 1e30:
        faults.append(f"value {row.value!r} is not finite")
    if (row.low is None) != (row.high is None):
        faults.append("low without high, or high without low")
    elif (
        row.low is not None
        and row.high is not None
        and (isinstance(row.value, str) or not row.low <= row.value <= row.high)
    ):
        faults.append(f"{row.low} <= {row.value} <= {row.high} does not hold")
    if not row.source.strip():
        faults.append("no source")
    if not _DATE.fullmatch(row.retrieved):
        faults.append(f"retrieved {row.retrieved!r} is not a date")
    if row.how not in HOW:
        faults.append(f"how {row.how!r} is not one of {', '.join(HOW)}")
    if any("\n" in cell or "\r" in cell for cell in map(str, row)):
        faults.append("a line break inside a cell")
    return faults


def number(value: float | str | None) -> str:
    """A number as short as it can be without losing twelve digits.

    >>> number(989.4e12), number(8.0), number(None)
    ('989400000000000', '8', '')
    """
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    value = float(value)
    short = f"{value:.12g}"
    return str(int(value)) if value == int(value) and abs(value) < 1e16 else short


def table_text(rows: Iterable[Row]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for r in rows:
        writer.writerow(
            [
                r.id,
                r.parameter,
                number(r.value),
                r.unit,
                number(r.low),
                number(r.high),
                r.source,
                r.retrieved,
                r.how,
                r.note,
            ]
        )
    return out.getvalue()


def write_if_changed(path: Path, text: str) -> bool:
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return False
    path.write_text(text, encoding="utf-8")
    return True
