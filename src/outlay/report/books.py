"""Budgets and currency on a page: what each limit allows and the plan takes, and at what rate money is shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from outlay.report.blocks import Block, Note, Table
from outlay.report.numbers import number, one, short

_UNITS = {"usd": "USD", "energy_j": "J", "co2e_kg": "kgCO2e", "water_l": "L", "device_hours": "h"}
_WORDS = {"usd": "money", "energy_j": "energy", "co2e_kg": "CO2e", "water_l": "water", "device_hours": "device-hours"}


def budget(result: Mapping[str, Any]) -> Table | None:
    """Every limit beside the plan; what is broken is said first in the verdict."""
    entries = result.get("budget") or []
    if not entries:
        return None
    rows = tuple(_row(entry) for entry in entries)
    return Table("Budget", ("", "limit", "planned", "left", "likely kept", ""), rows, text_columns=frozenset({0, 5}))


def _row(entry: Mapping[str, Any]) -> tuple[str, ...]:
    unit, measure = _UNITS[entry["measure"]], entry["measure"]
    name = str(entry["name"]) + ("" if measure == "usd" else f", {_WORDS[measure]}")
    planned = number(entry.get("planned"))
    limit = _amount(entry["limit"], unit)
    if planned is None:
        return name, limit, "unknown", "", "", "cannot be told"
    left = entry["limit"] - planned
    chance = f"{100 * (number(entry.get('within_probability')) or 0.0):.0f} %"
    return (name, limit, _amount(entry["planned"], unit), ("-" if left < 0 else "") + _amount(abs(left), unit), chance,
            "kept" if entry.get("within") else "broken")


def _amount(value: Any, unit: str) -> str:
    bare = {"h": ""}.get(unit, unit)
    value = dict(value, unit=bare) if isinstance(value, Mapping) else value
    return one(value, bare)


def broken(result: Mapping[str, Any]) -> str:
    """The limits that are not kept, in words; empty when all are, or none was given."""
    said = []
    for entry in result.get("budget") or []:
        unit, planned = _UNITS[entry["measure"]], number(entry.get("planned"))
        name = "the budget" if entry["name"] == "total" else f"the budget of {entry['name']}"
        if entry["measure"] != "usd":
            name += f" for {_WORDS[entry['measure']]}"
        if entry.get("within") is None:
            said.append(f"{name} cannot be checked: a price is unknown")
        elif not entry["within"]:
            bare = "" if unit == "h" else unit
            over = one((planned or 0) - entry["limit"], bare)
            said.append(f"misses {name}, {short(entry['limit'], bare)}, by {over}")
    return " and ".join(said)


def rate(result: Mapping[str, Any]) -> Note | None:
    """At what rate, of what day, money is shown."""
    currency = result.get("currency")
    if not currency or currency.get("code") == "USD":
        return None
    day = f" of {currency['as_of']}" if currency.get("as_of") else ", no date given"
    return Note(f"Money in {currency['code']} at {currency['per_usd']:g} for a dollar{day} ({currency['source']}); "
                "files and --json keep dollars beside it.")


def blocks(result: Mapping[str, Any]) -> list[Block]:
    """What a page shows of both."""
    found: list[Block | None] = [budget(result), rate(result)]
    return [block for block in found if block is not None]
