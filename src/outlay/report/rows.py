"""A result's lines as CSV: one row a line, flat columns, numbers unrounded."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

_TEXT = ("id", "phase", "item", "resource", "scope", "unit", "place", "basis")
_MEASURES = ("quantity", "usd", "energy_j", "co2e_kg", "co2e_operational_kg", "co2e_embodied_kg", "water_l")
_AFTER = ("start_s", "duration_s", "price_basis", "carbon_basis", "note")


def lines_csv(lines: Sequence[Mapping[str, Any]], currency: Mapping[str, Any] | None = None) -> str:
    """The lines of a result; a measure has three columns: itself, _low and _high.

    With a currency, `money` and `currency` stand at the end, beside the dollars.
    """
    more = ("tags", *(("money", "currency") if currency else ()))
    head = [*_TEXT, *[name + end for name in _MEASURES for end in ("", "_low", "_high")], *_AFTER, *more]
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(head)
    for line in lines:
        row: list[Any] = [_cell(line.get(name, "")) for name in _TEXT]
        for name in _MEASURES:
            value = line.get(name)
            parts = value if isinstance(value, Mapping) else {}
            row += [parts.get("value", ""), parts.get("low", ""), parts.get("high", "")]
        row += [_cell(line.get(name, "")) for name in _AFTER]
        row.append(_cell(";".join(f"{k}={v}" for k, v in (line.get("tags") or {}).items())))
        if currency:
            usd = (line.get("usd") or {}).get("value")
            row += ["" if usd is None else usd * currency["per_usd"], currency["code"]]
        writer.writerow(row)
    return stream.getvalue()


def rows_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Any list of flat mappings, with the keys of the first as the header."""
    stream = io.StringIO()
    if rows:
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n", extrasaction="ignore")
        writer.writeheader()
        for row in rows:
            writer.writerow({k: _cell(v) for k, v in row.items()})
    return stream.getvalue()


def _cell(value: Any) -> Any:
    """Text that a spreadsheet would run as a formula is defused with a leading apostrophe."""
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return "'" + value
    return "" if value is None else value
