"""Reading catalogue tables: a CSV a kind, read when first asked for; facts are made when first looked at."""

from __future__ import annotations

import csv
import math
import os
from pathlib import Path

from outlay.catalog import names
from outlay.catalog.records import COLUMNS, HOW, TEXT_UNITS, Entry, Fact
from outlay.errors import BadValue, Unreadable

DATA = Path(__file__).with_name("data")
MAX_BYTES = 64_000_000


class Table:
    """The rows of one kind, grouped by id; files are read in order, a later row replaces an earlier one."""

    def __init__(self, kind: str, shipped: Path | None, own: tuple[Path, ...]) -> None:
        self.kind = kind
        self.rows: dict[str, dict[str, list[str]]] = {}
        self._entries: dict[str, Entry] = {}
        self._index: dict[str, list[str]] | None = None
        self._spelled: dict[str, list[str]] | None = None
        if shipped is not None:
            self._read_shipped(shipped)
        for path in own:
            self._read_own(path)

    def _read_shipped(self, path: Path) -> None:
        with open(path, encoding="utf-8", newline="") as handle:
            reader = csv.reader(handle)
            next(reader)
            rows = self.rows
            for row in reader:
                group = rows.get(row[0])
                if group is None:
                    group = rows[row[0]] = {}
                group[row[1]] = row

    def _read_own(self, path: Path) -> None:
        for line, row in read_checked(path, COLUMNS, ("id", "parameter", "value", "source")):
            check_fact(row, f"{path}:{line}")
            self.rows.setdefault(row[0], {})[row[1]] = row

    def entry(self, identifier: str) -> Entry:
        entry = self._entries.get(identifier)
        if entry is None:
            facts = {p: fact_from(row, identifier) for p, row in self.rows[identifier].items()}
            name = str(facts["name"].value) if "name" in facts else identifier
            entry = Entry(identifier, self.kind, name, self.aliases(identifier), facts)
            self._entries[identifier] = entry
        return entry

    def aliases(self, identifier: str) -> tuple[str, ...]:
        row = self.rows[identifier].get("aliases")
        return tuple(row[2].split("|")) if row else ()

    def spelled(self, name: str) -> list[str]:
        """Ids one of whose names is spelled just so, case aside: AWS's us-east-1 is not Google's us-east1."""
        if self._spelled is None:
            self._spelled = {}
            for identifier, row in self.rows.items():
                name_of = [row["name"][2]] if "name" in row else []
                spellings = (identifier, *self.aliases(identifier), *name_of)
                for spelling in dict.fromkeys(s.lower() for s in spellings):
                    self._spelled.setdefault(spelling, []).append(identifier)
        return self._spelled.get(name.lower(), [])

    def index(self) -> dict[str, list[str]]:
        """Plain names to ids; an id's own spelling beats another entry's alias."""
        if self._index is None:
            index: dict[str, list[str]] = {}
            own: dict[str, list[str]] = {}
            for i in self.rows:  # opt-1.3b and opt-13b are one plain name: ambiguous, never the last of them
                own.setdefault(names.plain(i), []).append(i)
            for identifier, row in self.rows.items():
                spellings = [*self.aliases(identifier)]
                if "name" in row:
                    spellings.append(row["name"][2])
                for spelling in spellings:
                    found = index.setdefault(names.plain(spelling), [])
                    if identifier not in found:
                        found.append(identifier)
            self._index = index | own
        return self._index


def fact_from(row: list[str], where: str) -> Fact:
    identifier, parameter, value, unit, low, high, source, retrieved, how, note = row
    if unit in TEXT_UNITS:
        return Fact(identifier, parameter, value, unit, None, None, source, retrieved, how, note)
    return Fact(
        identifier,
        parameter,
        _number(value, where),
        unit,
        _number(low, where) if low else None,
        _number(high, where) if high else None,
        source,
        retrieved,
        how,
        note,
    )


def _number(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise BadValue(
            f"{where}: {text[:40]!r} is not a number (text needs the unit 'text')", "catalog"
        ) from None
    if not math.isfinite(value):
        raise BadValue(f"{where}: {text[:40]!r} is not finite", "catalog")
    return value


def read_checked(
    path: Path, columns: tuple[str, ...], needed: tuple[str, ...]
) -> list[tuple[int, list[str]]]:
    """Rows of a person's own file with their line numbers, in the order of `columns`, or a named error."""
    try:
        if os.path.getsize(path) > MAX_BYTES:
            raise Unreadable(f"{path}: more than {MAX_BYTES // 1_000_000} MB", "catalog")
        with open(path, encoding="utf-8-sig", newline="") as handle:
            reader = csv.reader(handle)
            header = [name.strip() for name in next(reader, [])]
            missing = [c for c in needed if c not in header]
            unknown = [c for c in header if c not in columns]
            if missing or unknown:
                told = f"no column {missing[0]!r}" if missing else f"unknown column {unknown[0]!r}"
                raise Unreadable(f"{path}:1: {told}; the columns are {','.join(columns)}", "catalog")
            return [
                (reader.line_num, _aligned(row, header, columns, f"{path}:{reader.line_num}"))
                for row in reader
                if row
            ]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise Unreadable(f"{path}: {error}", "catalog") from None


def _aligned(row: list[str], header: list[str], columns: tuple[str, ...], where: str) -> list[str]:
    if len(row) != len(header):
        raise Unreadable(f"{where}: {len(row)} cells, the header has {len(header)}", "catalog")
    cells = dict(zip(header, (cell.strip() for cell in row), strict=True))
    return [cells.get(column, "") for column in columns]


def check_fact(row: list[str], where: str) -> None:
    """What a person's own row must hold; the same rules as the shipped tables."""
    fact = fact_from(row, where)
    if not fact.id or not fact.parameter:
        raise BadValue(f"{where}: id and parameter are needed", "catalog")
    if fact.how and fact.how not in HOW:
        raise BadValue(f"{where}: how is {fact.how!r}, not one of {', '.join(HOW)}", "catalog")
    if not fact.source:
        raise BadValue(f"{where}: no source; write who says so, or 'own measurement'", "catalog")
    if (fact.low is None) != (fact.high is None):
        raise BadValue(f"{where}: low and high come together or not at all", "catalog")
    if fact.low is not None and fact.high is not None and not fact.low <= float(fact.value) <= fact.high:
        raise BadValue(f"{where}: {fact.low} <= {fact.value} <= {fact.high} does not hold", "catalog")
