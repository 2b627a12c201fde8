"""The JSON Schema of a scenario, from the records that read it; editors complete and check YAML with it."""

from __future__ import annotations

import json
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

from outlay.scenario import Scenario
from outlay.scenario_io import field_types
from outlay.scenario_kinds import Record
from outlay.units import EXAMPLES


def schema() -> dict[str, Any]:
    """One document: the scenario, every record under `$defs`, no unknown keys."""
    definitions: dict[str, Any] = {}
    root = _record(Scenario, definitions)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "outlay scenario",
        **root,
        "$defs": dict(sorted(definitions.items())),
    }


def text() -> str:
    return json.dumps(schema(), indent=1, ensure_ascii=False) + "\n"


def _record(record: type[Record], definitions: dict[str, Any]) -> dict[str, Any]:
    properties = {name: _field(hint, definitions) for name, hint in field_types(record).items()}
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _reference(record: type[Record], definitions: dict[str, Any]) -> dict[str, Any]:
    name = record.__name__
    if name not in definitions:
        definitions[name] = {}  # holds the place while a record names itself
        definitions[name] = _record(record, definitions)
    return {"$ref": f"#/$defs/{name}"}


def _field(hint: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    if get_origin(hint) is Annotated:
        return _number(hint.__metadata__[0].extra or {})
    if get_origin(hint) is Literal:
        return {"enum": list(get_args(hint))}
    if isinstance(hint, type) and issubclass(hint, Record):
        return _reference(hint, definitions)
    if get_origin(hint) is list:
        return {"type": ["array", "string"], "items": _field(get_args(hint)[0], definitions)}
    if get_origin(hint) is dict:
        return {"type": "object", "additionalProperties": _field(get_args(hint)[1], definitions)}
    plain = {bool: {"type": "boolean"}, str: {"type": ["string", "number"]}}
    if hint in plain:
        return plain[hint]
    options = [_field(a, definitions) for a in get_args(hint) if a is not NoneType]
    if not options:
        return {}
    return options[0] if len(options) == 1 else {"anyOf": options}


def _number(extra: dict[str, Any]) -> dict[str, Any]:
    """A number, or text with a unit of its kind."""
    if "kind" not in extra:
        return {}
    limits: dict[str, Any] = {}
    if extra.get("low") is not None:
        limits["exclusiveMinimum" if extra.get("above") else "minimum"] = extra["low"]
    if extra.get("high") is not None:
        limits["maximum"] = extra["high"]
    kind = "integer" if extra.get("integer") else "number"
    examples = [x.strip() for x in EXAMPLES[extra["kind"]].split(",")]
    return {"anyOf": [{"type": kind, **limits}, {"type": "string", "examples": examples}]}
