"""Tables of published measurements, shipped or in a folder that is given."""

from __future__ import annotations

import csv
from pathlib import Path

CASES = Path(__file__).parent / "cases"
Row = dict[str, str]
OPEN_ORCA = 5463976 / 24576  # tokens of a prompt in MLPerf's set of these questions, on average


def read_rows(table: str, folder: Path = CASES) -> list[Row]:
    """Rows of one shipped (or given) table of measurements; empty where it is not shipped."""
    path = folder / f"{table}.csv"
    if not path.exists():
        return []
    with open(path, encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))
