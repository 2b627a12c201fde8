"""A provider's bill in FOCUS form (1.0 to 1.3), read row by row and summed: bounded memory whatever its length."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from msgspec import Struct

from outlay.errors import BadValue, Unreadable, suggestion

NEEDED = ("ServiceCategory", "BillingCurrency")
COSTS = {"effective": "EffectiveCost", "billed": "BilledCost", "contracted": "ContractedCost", "list": "ListCost"}
PERIODS = ("ChargePeriodStart", "BillingPeriodStart")
# what a charge is told apart by; moments first
CELLS = (*PERIODS, "ServiceCategory", "Tags", "ResourceId", "ServiceName", "ProviderName", "ServiceProviderName",
         "RegionId", "ChargeCategory")
SHORT = 7  # characters of a date that say the month
MAX_KEYS = 1_000_000
Rate = Callable[[str], float]  # units of a currency for one dollar; raises where none is known


class Key(Struct, frozen=True):
    """What rows of a bill are summed by."""

    month: str
    category: str
    resource: str
    service: str
    provider: str
    region: str
    charge: str


class Bill(Struct, frozen=True):
    """Dollars by key, with the rows read and the currencies they were in."""

    usd: Mapping[Key, float]
    rows: int
    currencies: tuple[str, ...]


def read_invoice(path: str | Path, cost: str, rate: Rate) -> Bill:
    """Sum a FOCUS file. cost: effective | billed | contracted | list.

    Raises Unreadable for what is no such file, BadValue for a cell that cannot be used, each with file and line.
    """
    if cost not in COSTS:
        raise BadValue(f"--cost: {cost!r} is not one of {', '.join(COSTS)}{suggestion(cost, COSTS)}", "--cost")
    sums: dict[Key, float] = {}
    rates: dict[str, float] = {}
    keys: dict[tuple[str, ...], Key] = {}  # rows of a bill repeat their names; each is read once
    count = 0
    for where, amount, code, cells in _rows(Path(path), COSTS[cost]):
        if code not in rates:
            rates[code] = 1.0 if code == "USD" else rate(code)
        key = keys.get(cells)
        if key is None:
            key = _key(dict(zip(CELLS, cells, strict=True)), where)
            if len(keys) < MAX_KEYS:
                keys[cells] = key
        sums[key] = sums.get(key, 0.0) + amount / rates[code]
        count += 1
        if len(sums) > MAX_KEYS:
            raise Unreadable(f"{where}: more than {MAX_KEYS:,} different resources; split the bill", "--invoice")
    if not count:
        raise Unreadable(f"{path}: no charges in it", "--invoice")
    return Bill(sums, count, tuple(rates))


def _rows(path: Path, cost: str) -> Iterator[tuple[str, float, str, tuple[str, ...]]]:
    """(file:line, amount, currency, the cells of `CELLS`) of each row; a month is all that is kept of a moment."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as handle:
            reader = csv.reader(handle)
            head = [name.strip() for name in next(reader, [])]
            missing = [name for name in (*NEEDED, cost) if name not in head]
            if not any(name in head for name in PERIODS):
                missing.append(PERIODS[0])
            if missing:
                raise Unreadable(f"{path}:1: no column {missing[0]}; a bill in FOCUS form has it", "--invoice")
            places = [head.index(name) if name in head else None for name in CELLS]
            money, currency, width = head.index(cost), head.index("BillingCurrency"), len(head)
            for row in reader:
                if not row:
                    continue
                where = f"{path}:{reader.line_num}"
                if len(row) != width:
                    raise Unreadable(f"{where}: {len(row)} cells, the header has {width}", "--invoice")
                cells = tuple("" if at is None else row[at] for at in places)
                moments = tuple(text.strip()[:SHORT] for text in cells[: len(PERIODS)])
                yield where, _amount(row[money], cost, where), row[currency].strip().upper(), moments + cells[2:]
    except OSError as error:
        raise Unreadable(f"{path}: {error.strerror or error}", "--invoice") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise Unreadable(f"{path}: {error}", "--invoice") from None


def _amount(text: str, name: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise BadValue(f"{where}: {name} {text[:40]!r} is not a number", name) from None
    if not math.isfinite(value):
        raise BadValue(f"{where}: {name} {text[:40]!r} is not finite", name)
    return value


def _key(row: Mapping[str, str], where: str) -> Key:
    def cell(*names: str) -> str:
        return next((row[name].strip() for name in names if row.get(name, "").strip()), "")

    moment = cell(*PERIODS)
    if len(moment) < 7 or not (moment[:4] + moment[5:7]).isdigit() or moment[4] != "-":
        raise BadValue(f"{where}: ChargePeriodStart {moment[:40]!r} is not a date", "ChargePeriodStart")
    return Key(moment[:7], cell("ServiceCategory"), _planned_line(cell("Tags")) or cell("ResourceId"),
               cell("ServiceName"), cell("ProviderName", "ServiceProviderName"), cell("RegionId"),
               cell("ChargeCategory") or "Usage")


def _planned_line(tags: str) -> str:
    """The line of a plan that a resource was tagged with: `outlay_line`."""
    if "outlay_line" not in tags:
        return ""
    try:
        found = json.loads(tags)
    except ValueError:
        return ""
    return str(found.get("outlay_line", "")) if isinstance(found, dict) else ""
