"""What differs between two scenarios, field by field, in the words of the scenario."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from outlay.scenario_io import expand_short, scenario_from, set_path, to_plain

WHOLE = ("model",)  # compared as one: half a model's shape is no model
UNSAID = ("name", "seed", "currency", "tags")  # labels; no number depends on them


class Change(Struct, frozen=True):
    """One field: `+` given only in the second, `-` only in the first, `~` in both with another value."""

    sign: str
    path: str
    before: Any
    after: Any
    set_to: Any = None  # what the second scenario gives; None takes the field out

    def to_dict(self) -> dict[str, Any]:
        return {"sign": self.sign, "path": self.path, "before": self.before, "after": self.after}


def flat(document: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted path to value; lists and models whole.

    >>> flat({"fleet": {"device": "h100", "devices": 8}, "model": {"layers": 2}})
    {'fleet.device': 'h100', 'fleet.devices': 8, 'model': {'layers': 2}}
    """
    found: dict[str, Any] = {}

    def walk(value: Any, path: str) -> None:
        if isinstance(value, Mapping) and path not in WHOLE:
            for key, inner in value.items():
                walk(inner, f"{path}.{key}" if path else str(key))
        elif path:
            found[path] = value

    walk(document, "")
    return found


def given_by(document: Mapping[str, Any]) -> dict[str, Any]:
    """The fields a scenario gives, in SI, short spellings written out."""
    plain: dict[str, Any] = to_plain(scenario_from(document))
    for head in ("fleet", "site"):
        if isinstance(plain.get(head), str):
            plain[head] = expand_short(head, plain[head])
    return flat(plain)


def changes_of(a: Mapping[str, Any], b: Mapping[str, Any], resolved_a: Mapping[str, Any],
               resolved_b: Mapping[str, Any]) -> tuple[list[Change], list[Change]]:
    """Fields that were given differently, and those that follow from them as defaults.

    A field that one scenario gives and the other leaves to the same default has not changed.
    """
    mine, others = given_by(a), given_by(b)
    old, new = flat(resolved_a), flat(resolved_b)
    given: list[Change] = []
    follows: list[Change] = []
    for path in dict.fromkeys((*mine, *others, *old, *new)):
        if path.partition(".")[0] in UNSAID:
            continue
        was, becomes = old.get(path, mine.get(path)), new.get(path, others.get(path))
        if was == becomes:
            continue
        sign = "+" if path not in {**mine, **old} else "-" if path not in {**others, **new} else "~"
        change = Change(sign, path, was, becomes, others.get(path))
        (given if path in mine or path in others else follows).append(change)
    return given, follows


def apply(scenario: Mapping[str, Any], change: Change) -> dict[str, Any]:
    """The first scenario with one change made."""
    return set_path(dict(scenario), change.path, change.set_to)
