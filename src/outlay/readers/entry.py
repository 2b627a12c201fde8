"""A catalogue entry of kind `model` → the scenario's model fields."""

from __future__ import annotations

import json
from typing import Any

from outlay.catalog.records import Entry
from outlay.readers.mapping import MODEL_FIELDS

_NAMES = ("name", "hf_id", "aliases")


def mapping_from_entry(entry: Entry) -> dict[str, Any]:
    """The entry's facts as plain values: whole numbers, booleans, text, and mappings kept as JSON text."""
    fields = {}
    for fact in entry:
        if fact.parameter in MODEL_FIELDS and fact.parameter not in _NAMES:
            fields[fact.parameter] = _plain(fact.value, fact.unit)
    return fields


def _plain(value: float | str, unit: str) -> Any:
    if isinstance(value, str):
        return json.loads(value) if value[:1] in "{[" else value
    if unit == "bool":
        return bool(value)
    return int(value) if float(value).is_integer() else value
