"""Runs of one's own at rest: rows of measured over modelled in a catalogue folder, and what they make of a plan."""

from __future__ import annotations

import csv
import io
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from outlay.catalog.records import COLUMNS
from outlay.catalog.store import read_checked
from outlay.planner.serve.factors import Factors
from outlay.resolve.own_runs import KIND, key_of, parameter_of

FILE = f"{KIND}.csv"
NEEDED = ("id", "parameter", "value", "source")
Row = list[str]


class Measured(Struct, frozen=True):
    """One run set against the model of it."""

    factors: Factors
    source: str  # the file, and which run of it
    date: str
    note: str = ""
    asked: str = ""  # the deployment and load, as a command says it

    @property
    def key(self) -> str:
        return key_of(*self.factors.key)


def rows_of(runs: Sequence[Measured], catalog_date: str) -> list[Row]:
    """Catalogue rows, one a run and number; a second run of one load gets a number of its own."""
    rows: list[Row] = []
    times: dict[tuple[str, str], int] = defaultdict(int)
    for key in dict.fromkeys(run.key for run in runs):
        rows.append([key, "planned_with", catalog_date, "date", "", "", "outlay calibrate", catalog_date, "derived",
                     "the catalogue that these runs were set against"])
    for run in runs:
        for number, ratio in run.factors.ratios.items():
            plain = parameter_of(number, run.factors.load)
            times[run.key, plain] += 1
            parameter = parameter_of(number, run.factors.load, times[run.key, plain])
            rows.append([run.key, parameter, f"{ratio:.5g}", "ratio", "", "", run.source, run.date, "measured",
                         run.note])
    return rows


def kept_rows(folder: Path, replaced: Iterable[str]) -> list[Row]:
    """Rows of a folder that is there already, without those of the keys that are written anew."""
    path, gone = folder / FILE, set(replaced)
    if not path.exists():
        return []
    return [row for _, row in read_checked(path, COLUMNS, NEEDED) if row[0] not in gone]


def as_csv(rows: Sequence[Row]) -> str:
    """A catalogue table."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(rows)
    return out.getvalue()


def spread_of(ratios: Mapping[str, Sequence[float]]) -> dict[str, tuple[float, float, float]]:
    """Least, geometric mean and most of each number's factors."""
    return {name: (min(found), math.exp(sum(map(math.log, found)) / len(found)), max(found))
            for name, found in ratios.items()}
