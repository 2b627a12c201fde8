"""Write what is made from the program: commands, scenario fields, formulas, and the outputs shown in pages.

python tools/build_docs.py           writes them
python tools/build_docs.py --check   leaves with 1 when one is out of date
"""

from __future__ import annotations

import inspect
import os
import pkgutil
import re
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType, NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
MADE = "<!-- made by tools/build_docs.py; change the program, not this page -->\n\n"


def commands_page() -> str:
    """Every verb's own help, word for word."""
    import click

    from outlay.cli.app import JOBS, NOT_BUILT, VERBS, outlay
    from outlay.cli.options import SETTINGS

    os.environ["COLUMNS"] = "100"
    settings: dict[str, Any] = SETTINGS | {"terminal_width": 100}
    parts = [
        "# Commands\n\n"
        + MADE
        + "One grammar for all: `outlay VERB [SUBJECT] [-g FLEET] [-s SITE] [fields] [output]`.\n"
    ]
    parts.append(
        "Exit codes: 0 yes; 1 no (does not fit, misses a deadline or budget); 2 bad input; 130 stopped.\n"
    )
    with outlay.make_context("outlay", [], **settings) as top:
        for job in JOBS:
            parts.append(f"## {job}\n")
            for verb in (v for v, (_, where, _) in VERBS.items() if where == job):
                command = outlay.get_command(top, verb)
                assert command is not None
                parts.append(f"### outlay {verb}\n")
                context = click.Context(command, info_name=f"outlay {verb}", **settings)
                parts.append("```text\n" + command.get_help(context).strip() + "\n```\n")
                for name, inner in sorted(getattr(command, "commands", {}).items()):
                    context = click.Context(inner, info_name=f"outlay {verb} {name}", **settings)
                    parts.append("```text\n" + inner.get_help(context).strip() + "\n```\n")
    parts.append(
        "## Not built in this version\n\n"
        + "\n".join(f"- `{verb}`: {instead}." for verb, instead in NOT_BUILT.items())
        + "\n"
    )
    return "\n".join(parts)


def scenario_page() -> str:
    """Every field of the scenario from the records that read it."""
    from outlay.scenario import Scenario
    from outlay.scenario_io import field_types

    intro = (
        "A scenario is YAML, TOML or JSON. Everything is optional unless said; what is left out takes a\n"
        "default that the result states. Numbers are SI, or carry a unit: `15T`, `80GB`, `24GiB`, `500ms`,\n"
        "`$2.50/h`, `90%`.\n"
        "An unknown field is an error that names the nearest known one.\n"
    )
    rows = ["# Scenario fields\n", MADE + intro]
    queue: list[tuple[str, Any]] = [("", Scenario)]
    while queue:
        path, record = queue.pop(0)
        rows.append(f"## {path or 'The scenario'}\n")
        doc = inspect.getdoc(record)
        if doc and doc != inspect.getdoc(record.__mro__[1]) and not doc.startswith(record.__name__ + "("):
            rows.append(doc + "\n")
        rows.append("| field | takes |\n| --- | --- |")
        for name, hint in field_types(record).items():
            text, inner = describe(hint)
            rows.append(f"| `{name}` | {text} |")
            queue += [(f"{path}.{name}" if path else name, r) for r in inner]
        rows.append("")
    return "\n".join(rows)


def describe(hint: Any) -> tuple[str, list[Any]]:
    """What a field takes, in words, and the records inside it."""
    from outlay.scenario_kinds import Record
    from outlay.units import EXAMPLES

    if get_origin(hint) is Annotated:
        extra = hint.__metadata__[0].extra or {}
        if extra.get("length"):
            return extra.get("words", "a number or a distribution"), []
        if "kind" not in extra:
            return "anything", []
        bounds = [f"at least {extra['low']:g}"] if extra.get("low") is not None else []
        bounds = [f"above {extra['low']:g}"] if extra.get("above") else bounds
        bounds += [f"at most {extra['high']:g}"] if extra.get("high") is not None else []
        kind = "a whole number" if extra.get("integer") else extra["kind"].replace("_", " ")
        example = "" if extra.get("integer") else f", such as {EXAMPLES[extra['kind']]}"
        return f"{kind}{', ' + ', '.join(bounds) if bounds else ''}{example}", []
    if get_origin(hint) is Literal:
        return ", ".join(f"`{a}`" for a in get_args(hint)), []
    if isinstance(hint, type) and issubclass(hint, Record):
        return "a mapping, below", [hint]
    if get_origin(hint) in (list, dict):
        return "a list" if get_origin(hint) is list else "a mapping", []
    if hint is bool:
        return "true or false", []
    if hint is str:
        return "a name", []
    options = [describe(a) for a in get_args(hint) if a is not NoneType]
    return " or ".join(text for text, _ in options), [r for _, inner in options for r in inner]


ARITHMETIC = ("outlay.physics.num",)  # what equations are written with, and none itself


def formulas_page() -> str:
    """Every public formula with its first line, its equation where it has one, and its source."""
    parts = [
        "# Formulas\n",
        MADE + "One function an equation; floats in, floats out, arrays in, arrays out.\n",
    ]
    for package in ("physics", "valuation"):
        for module in modules(f"outlay.{package}"):
            found = list(formulas(module))
            if not found or module.__name__ in ARITHMETIC:
                continue
            parts.append(f"## {package}.{module.__name__.rpartition('.')[2]}\n\n{first_line(module)}\n")
            parts += [f"- `{name}{signature}`: {line}" for name, signature, line in found]
            parts.append("")
    return "\n".join(parts)


def modules(package: str) -> Iterator[ModuleType]:
    where = import_module(package).__path__
    for info in sorted(pkgutil.iter_modules(where), key=lambda i: i.name):
        if not info.name.startswith("_"):
            yield import_module(f"{package}.{info.name}")


def formulas(module: ModuleType) -> Iterator[tuple[str, str, str]]:
    for name, function in vars(module).items():
        if (
            inspect.isfunction(function)
            and function.__module__ == module.__name__
            and not name.startswith("_")
        ):
            arguments = ", ".join(inspect.signature(function).parameters)
            yield name, f"({arguments})", first_line(function)


def first_line(thing: Any) -> str:
    """The first paragraph of a docstring, as one line."""
    doc = inspect.getdoc(thing) or ""
    return re.sub(r"\s+", " ", doc.split("\n\n")[0]).strip()


PAGES = {"commands.md": commands_page, "scenario.md": scenario_page, "formulas.md": formulas_page}


def wanted() -> Iterator[tuple[Path, str]]:
    """Every page with the text it should hold."""
    from docs_console import pages, refreshed
    from scenario_schema import text as schema_text

    yield DOCS / "scenario.schema.json", schema_text()
    for name, make in PAGES.items():
        yield DOCS / name, "\n".join(line.rstrip() for line in make().rstrip().splitlines()) + "\n"
    for path in pages(ROOT):
        if path.name not in PAGES:
            yield path, refreshed(path.read_text(encoding="utf-8"))


def main(arguments: list[str]) -> int:
    stale = []
    for path, text in wanted():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(str(path.relative_to(ROOT)))
            if "--check" not in arguments:
                path.write_text(text, encoding="utf-8")
    if stale:
        print(("out of date: " if "--check" in arguments else "wrote ") + ", ".join(stale))
    return 1 if stale and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
