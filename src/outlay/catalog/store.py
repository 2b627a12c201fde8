"""Reading catalogue tables: a CSV a kind, read when first asked for; facts are made when first looked at."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from outlay.catalog import names
from outlay.catalog.records import COLUMNS, HOW, TEXT_UNITS, Entry, Fact
from outlay.errors import BadValue, Unreadable

DATA = Path(__file__).with_name("data")
MAX_BYTES = 64_000_000


class Facts(Mapping[str, Fact]):
    """The facts of one entry by parameter. A line stays text until its fact is first looked at."""

    __slots__ = ("_id", "_made", "raw")

    def __init__(self, identifier: str) -> None:
        self._id = identifier
        self.raw: dict[str, str | list[str]] = {}  # the cells after the parameter, parsed or not
        self._made: dict[str, Fact] = {}

    def put(self, parameter: str, cells: str | list[str]) -> None:
        self.raw[parameter] = cells

    def text(self, parameter: str) -> str | None:
        """The value as it is written."""
        cells = self.raw.get(parameter)
        return None if cells is None else _cells(cells)[0]

    def __getitem__(self, parameter: str) -> Fact:
        fact = self._made.get(parameter)
        if fact is None:
            row = [self._id, parameter, *_cells(self.raw[parameter])]
            fact = self._made[parameter] = fact_from(row, self._id)
        return fact

    def get(self, parameter: str, default: Any = None) -> Any:
        return self[parameter] if parameter in self.raw else default

    def __contains__(self, parameter: object) -> bool:
        return parameter in self.raw

    def __iter__(self) -> Iterator[str]:
        return iter(self.raw)

    def __len__(self) -> int:
        return len(self.raw)


def _cells(cells: str | list[str]) -> list[str]:
    if isinstance(cells, list):
        return cells
    return next(csv.reader((cells,))) if '"' in cells else cells.split(",")


class Table:
    """The entries of one kind by id; files are read in order, a later row replaces an earlier one."""

    def __init__(self, kind: str, shipped: Path | None, own: tuple[Path, ...]) -> None:
        self.kind = kind
        self.rows: dict[str, Facts] = {}
        self._entries: dict[str, Entry] = {}
        self._index: dict[str, list[str]] | None = None
        self._spelled: dict[str, list[str]] | None = None
        self._stems: dict[str, list[str]] | None = None
        if shipped is not None:
            self._read_shipped(shipped)
        for path in own:
            self._read_own(path)

    def _read_shipped(self, path: Path) -> None:
        """Our own tables: a row a line, ids and parameters without quotes, so a line need not be parsed to be filed."""
        before = ""
        raw: dict[str, str | list[str]] = {}
        for line in filter(None, path.read_text(encoding="utf-8").split("\n")[1:]):
            identifier, parameter, cells = line.split(",", 2)
            if identifier != before:  # the rows of an entry stand together, a hundred of them
                before, raw = identifier, self.rows.setdefault(identifier, Facts(identifier)).raw
            raw[parameter] = cells

    def _read_own(self, path: Path) -> None:
        for line, row in read_checked(path, COLUMNS, ("id", "parameter", "value", "source")):
            check_fact(row, f"{path}:{line}")
            self.rows.setdefault(row[0], Facts(row[0])).put(row[1], row[2:])

    def entry(self, identifier: str) -> Entry:
        entry = self._entries.get(identifier)
        if entry is None:
            facts = self.rows[identifier]
            name = facts.text("name") or identifier
            entry = Entry(identifier, self.kind, name, self.aliases(identifier), facts)
            self._entries[identifier] = entry
        return entry

    def aliases(self, identifier: str) -> tuple[str, ...]:
        written = self.rows[identifier].text("aliases")
        return () if written is None else tuple(written.split("|"))

    def _name(self, facts: Facts) -> list[str]:
        name = facts.text("name")
        return [] if name is None else [name]

    def spelled(self, name: str) -> list[str]:
        """Ids one of whose names is spelled just so, case aside: AWS's us-east-1 is not Google's us-east1."""
        if self._spelled is None:
            self._spelled = {}
            for identifier, facts in self.rows.items():
                spellings = (identifier, *self.aliases(identifier), *self._name(facts))
                for spelling in dict.fromkeys(s.lower() for s in spellings):
                    self._spelled.setdefault(spelling, []).append(identifier)
        return self._spelled.get(name.lower(), [])

    def stems(self) -> dict[str, list[str]]:
        """Stems of all names to ids: checkpoints of one architecture under anybody's name."""
        if self._stems is None:
            self._stems = {}
            for identifier, facts in self.rows.items():
                spellings = (identifier, *self.aliases(identifier), *self._name(facts))
                for stem in {names.stem(spelling) for spelling in spellings} - {""}:
                    self._stems.setdefault(stem, []).append(identifier)
        return self._stems

    def index(self) -> dict[str, list[str]]:
        """Plain names to ids; an id's own spelling beats another entry's alias."""
        if self._index is None:
            index: dict[str, list[str]] = {}
            own: dict[str, list[str]] = {}
            for i in self.rows:  # opt-1.3b and opt-13b are one plain name: ambiguous, never the last of them
                own.setdefault(names.plain(i), []).append(i)
            for identifier, facts in self.rows.items():
                for spelling in (*self.aliases(identifier), *self._name(facts)):
                    found = index.setdefault(names.plain(spelling), [])
                    if identifier not in found:
                        found.append(identifier)
            self._index = index | own
            for identifier, facts in self.rows.items():  # without the maker, where that leaves more than a word
                for spelling in (*self.aliases(identifier), *self._name(facts)):
                    if len(words := names.tokens(spelling)) > 1:
                        self._index.setdefault("".join(names.plain(w) for w in words), [identifier])
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
