"""A file of loads by the hour: one number a row, or the hour and its load."""

from __future__ import annotations

import csv
from pathlib import Path

from outlay.errors import BadValue, Unreadable

MOST_ROWS = 8785  # a leap year and a head


def read_hourly(path: str, field: str) -> list[float]:
    """Loads in the order of the file. A first row without a number is its head.

    Raises Unreadable for a file that cannot be read, BadValue naming the line that holds no load.
    """
    place = Path(path)
    if not place.is_file():
        raise Unreadable(f"{field}: {path}: no such file", field)
    loads: list[float] = []
    try:
        with place.open(encoding="utf-8-sig", newline="") as handle:
            reader = csv.reader(handle)
            for row in reader:
                cells = [cell.strip() for cell in row]
                if not any(cells):
                    continue
                load = _load(cells, f"{path}:{reader.line_num}", field, head=not loads and reader.line_num == 1)
                loads += [] if load is None else [load]
                if len(loads) > MOST_ROWS:
                    raise BadValue(f"{field}: {path}: more than {MOST_ROWS:,} rows; give 24, 168 or 8760 loads", field)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise Unreadable(f"{field}: {path}: {getattr(error, 'strerror', None) or error}", field) from None
    return loads


def _load(cells: list[str], where: str, field: str, head: bool) -> float | None:
    """The last of one or two cells; None for a head."""
    if len(cells) > 2:
        raise BadValue(f"{field}: {where}: {len(cells)} columns; expected the load, or the hour and the load", field)
    try:
        return float(cells[-1])
    except ValueError:
        if head:
            return None
        raise BadValue(f"{field}: {where}: {cells[-1][:40]!r} is not a load", field) from None
