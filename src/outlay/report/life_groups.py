"""A life by month, year, phase or item: one table on the screen, one row a group in a file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from outlay.report.blocks import Table
from outlay.report.life import NAMES
from outlay.report.numbers import column, number
from outlay.report.parts import words

GROUPS = ("month", "year", "phase", "item")
MEASURES = (("usd", "USD", "money"), ("cash_usd", "USD", "cash"), ("energy_j", "J", "energy"),
            ("co2e_kg", "kgCO2e", "CO2e"), ("water_l", "L", "water"), ("device_hours", "", "device-hours"))


def rows_of(life: Mapping[str, Any], by: str) -> list[tuple[dict[str, str], Mapping[str, Any]]]:
    """The groups: how each is called, and its measures."""
    if by == "month":
        return [({"month": str(row["label"])}, row) for row in life["months"]]
    if by == "year":
        return [({"year": str(row["label"])}, row) for row in life["by_year"]]
    if by == "phase":
        return [({"phase": name}, row) for name, row in life["by_phase"].items()]
    return [({"phase": row["phase"], "item": row["item"]}, row) for row in life["by_item"]]


def table(life: Mapping[str, Any], by: str) -> Table:
    """Every group with what it takes; columns add up to their totals."""
    rows = rows_of(life, by)
    heads, cells, ends = [""], [], ["total"]
    for key, unit, name in MEASURES:
        values = [number(row.get(key)) for _, row in rows]
        if not any(values):
            continue
        shown, total, scale, _ = column(values, unit, digits=4 if unit == "USD" else 0)
        heads.append(", ".join(filter(None, (name, f"{scale.before}{scale.after.strip()}"))))
        cells.append(shown)
        ends.append(total)
    names = [_name(keys) for keys, _ in rows]
    body = tuple((name, *[c[i] for c in cells]) for i, name in enumerate(names))
    return Table(f"By {by}", tuple(heads), body, tuple(ends))


def _name(keys: Mapping[str, str]) -> str:
    """A month or year as it is; phases and items in words."""
    return ": ".join(NAMES.get(v, words(v)) if k in ("phase", "item") else v for k, v in keys.items())


def flat(life: Mapping[str, Any], by: str) -> list[dict[str, Any]]:
    """The groups as flat rows, numbers unrounded; a measure has three columns: itself, _low and _high."""
    found = []
    for keys, row in rows_of(life, by):
        one: dict[str, Any] = dict(keys)
        for key, _, _ in MEASURES:
            value = row.get(key)
            ends = value if isinstance(value, Mapping) else {}
            one |= {key: number(value), f"{key}_low": ends.get("low"), f"{key}_high": ends.get("high")}
        found.append(one)
    return found
