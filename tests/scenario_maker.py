"""Random scenarios over every section, made from the contract's lines and the published schema.

A field fuzzes itself: once it is in `docs/scenario.schema.json` it is given any value the schema allows, and once it
has a line in `contract/*.jsonl` it is mixed into scenarios that a person could mean.
"""

from __future__ import annotations

import copy
import json
import math
import random
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from outlay.scenario_io import set_path

HERE = Path(__file__).parent
CONTRACT = HERE / "contract"
BOOKS = {"fields": "bases", "branches": "bases", "finetune": "finetune_bases", "serve": "serve_bases",
         "life": "life_bases", "pay": "pay_bases"}
FILES = {"TRACE": str(HERE / "fixtures" / "requests.csv")}
SHARED = ("model", "fleet", "site")
HUMAN = (1e-3, 1e7)  # what people write, mostly, where the limits are far wider
EXTRAS: tuple[tuple[str, Any], ...] = (
    ("goal", {"minimize": "money"}), ("goal", {"deadline": "30d"}), ("goal", {"budget": 1e6}), ("site", None),
    ("site", {"location": "DE", "pue": 1.3}), ("site", "FR"), ("currency", {"code": "EUR", "per_usd": 0.9}),
    ("fleet.tenure", "own"), ("fleet.usd_per_device_hour", 2.5), ("fleet.commitment", "spot"), ("seed", 3),
    ("tags", {"team": "a"}), ("goal", {"budgets": {"total": {"usd": 10, "co2e_kg": 1}}}), ("life", {"years": 2}),
)


class Case(NamedTuple):
    """One line of the contract: a base scenario and what is set in it."""

    book: str
    base: str
    changes: tuple[tuple[str, Any], ...]


@cache
def bases(book: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = json.loads((CONTRACT / f"{BOOKS[book]}.json").read_text())
    return found


@cache
def cases() -> tuple[Case, ...]:
    """Every line that needs no file of its own."""
    found = []
    for book in BOOKS:
        for text in (CONTRACT / f"{book}.jsonl").read_text().splitlines():
            line = json.loads(text)
            value = FILES.get(line["value"], line["value"]) if isinstance(line["value"], str) else line["value"]
            if value == "ROWS" or "without" in line:
                continue
            changes = {**line.get("beside", {}), **line.get("more", {}), line.get("path", line["field"]): value}
            found.append(Case(book, line["base"], tuple(changes.items())))
    return tuple(found)


@cache
def leaves() -> dict[str, dict[str, Any]]:
    """Path → what the schema says of each field that holds a value itself."""
    schema = json.loads((HERE.parent / "docs" / "scenario.schema.json").read_text())
    found: dict[str, dict[str, Any]] = {}

    def walk(node: dict[str, Any], path: str) -> None:
        for option in node.get("anyOf", [node]):
            if "$ref" in option:
                inner = schema["$defs"][option["$ref"].rsplit("/", 1)[-1]]
                for name, field in inner["properties"].items():
                    walk(field, f"{path}.{name}")
            elif path not in found:
                found[path] = option

    for name, field in schema["properties"].items():
        walk(field, name)
    return found


def allowed(pick: random.Random, node: dict[str, Any]) -> Any:
    """A value that the schema allows: a choice, a limit, or a number people might write."""
    if "enum" in node:
        return pick.choice(node["enum"])
    kind = node.get("type")
    if kind == "boolean":
        return pick.random() < 0.5
    if kind in ("number", "integer"):
        low, high = node.get("minimum", 0), node.get("maximum", 1e9)
        if pick.random() < 0.15:
            return pick.choice((int(low), int(high)) if kind == "integer" else (low, high))
        start, end = max(low, min(HUMAN[0], high)), min(high, max(HUMAN[1], low))
        start = max(start, 1) if kind == "integer" else start
        value = math.exp(pick.uniform(math.log(start), math.log(max(end, start))))
        return round(value) if kind == "integer" else float(f"{value:.4g}")
    return pick.choice(("none", "all", "bf16", "adamw", [], ["q"], {}, 7))


def legal(pick: random.Random) -> dict[str, Any]:
    """A scenario a person could mean: lines of the contract mixed, at times with a second section beside."""
    case = pick.choice(cases())
    scenario = copy.deepcopy(bases(case.book)[case.base])
    alike = [c for c in cases() if (c.book, c.base) == (case.book, case.base)]
    for chosen in [case, *(pick.choice(alike) for _ in range(pick.randrange(3)))][: pick.randrange(4)]:
        for path, value in chosen.changes:
            scenario = set_path(scenario, path, value)
    if pick.random() < 0.25:
        other = pick.choice(cases())
        beside = copy.deepcopy(bases(other.book)[other.base])
        for path, value in other.changes if pick.random() < 0.5 else ():
            beside = set_path(beside, path, value)
        scenario = {**{k: v for k, v in beside.items() if k not in SHARED}, **scenario}
    while pick.random() < 0.3:
        scenario = set_path(scenario, *pick.choice(EXTRAS))
    return scenario


def stretched(pick: random.Random) -> dict[str, Any]:
    """A scenario with a few fields of its sections set to anything the schema allows, or scaled."""
    scenario = legal(pick)
    sections = tuple(f"{name}." for name in scenario)
    paths = [p for p in leaves() if p.startswith(sections)]
    for _ in range(pick.choice((1, 1, 2, 3))):
        path = pick.choice(paths)
        now = at(scenario, path)
        if isinstance(now, (int, float)) and not isinstance(now, bool) and pick.random() < 0.5:
            scaled = now * pick.choice((0.1, 0.25, 0.5, 2, 4, 10))
            scenario = set_path(scenario, path, max(1, int(scaled)) if isinstance(now, int) else scaled)
        else:
            scenario = set_path(scenario, path, allowed(pick, leaves()[path]))
    return scenario


def spoiled(pick: random.Random, wrong: tuple[Any, ...]) -> dict[str, Any]:
    """A scenario with one field, of a section it has or any other, set to what a stranger might write."""
    scenario = legal(pick)
    sections = tuple(f"{name}." for name in scenario)
    paths = [p for p in leaves() if p.startswith(sections)] if pick.random() < 0.7 else list(leaves())
    return set_path(scenario, pick.choice(paths), pick.choice(wrong))


def at(scenario: Any, path: str) -> Any:
    """The value at a dotted path; None where there is none."""
    for key in path.split("."):
        if not isinstance(scenario, dict):
            return None
        scenario = scenario.get(key)
    return scenario
