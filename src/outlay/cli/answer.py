"""From a result to what is written: screen, JSON, CSV or Markdown, on standard output or in a file."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from outlay.cli.phase_fields import tables_asked
from outlay.cli.shell import check_writable, say, whole_file
from outlay.errors import Inconsistent

if TYPE_CHECKING:
    from outlay.report.blocks import Block
    from outlay.result import Result
    from outlay.simulate import SimResult

FORMS = ("json", "csv", "md")
OUTPUTS = (("opt_output", "-o"), ("opt_save", "--save"))
ONE_LINE = 10_000


def form_of(flags: Mapping[str, Any]) -> str:
    """json, csv, md or screen: by flag, else by the ending of -o; two at once contradict each other."""
    asked = [f for f in FORMS if flags.get(f"opt_{f}")]
    if len(asked) > 1:
        raise Inconsistent(f"--{asked[0]} and --{asked[1]} at once; choose one", f"--{asked[1]}")
    if asked:
        return asked[0]
    ending = Path(flags.get("opt_output") or "").suffix.lower().lstrip(".")
    return {"json": "json", "csv": "csv", "md": "md", "markdown": "md"}.get(ending, "screen")


def check_outputs(flags: Mapping[str, Any]) -> None:
    """Refuse what cannot be written before any planning starts."""
    form_of(flags)
    for name, field in OUTPUTS:
        if flags.get(name):
            check_writable(flags[name], field)
    if tables_asked(flags):
        _check_tables(flags)


def _check_tables(flags: Mapping[str, Any]) -> None:
    from outlay.simulate.tables import table_form

    if flags.get("opt_vary"):
        raise Inconsistent("--vary plans many, and a table is of one replay; leave one out", "--vary")
    places: dict[str, str] = {str(Path(flags[name]).resolve()): field for name, field in OUTPUTS if flags.get(name)}
    for table, path in tables_asked(flags).items():
        field = f"--{table}-file"
        table_form(path, field)
        check_writable(path, field)
        place = str(Path(path).resolve())
        if place in places:
            raise Inconsistent(f"{path} is where {places[place]} is written too; name another file", field)
        places[place] = field


def write_tables(result: Result, flags: Mapping[str, Any]) -> None:
    """Tables of the replay that the times come from, each whole or not at all."""
    for table, path in tables_asked(flags).items():
        replay = answered_replay(result)
        if replay is None:
            say(f"{path} is not written: what does not fit answers no request")
            continue
        rows = write_table_file(replay, table, path, f"--{table}-file")
        if not flags.get("opt_quiet"):
            say(f"wrote {path}: {rows:,} rows")


def answered_replay(result: Result) -> SimResult | None:
    """The replay of a plan that kept it; none of what does not fit, which answers no request."""
    return None if result.replay is None or result.phases["serve"].get("fits") is False else result.replay


def write_table_file(replay: SimResult, table: str, path: str, field: str) -> int:
    """One table of a replay, whole or not at all; how many rows it has."""
    from outlay.simulate.tables import table_form, write_table

    columns = replay.table(table)
    with whole_file(path, field, binary=True) as stream:
        write_table(stream, columns, table_form(path, field))
    return len(next(iter(columns.values())))


def to_json(value: Any, indent: int | None = 1) -> str:
    """JSON without NaN: what is not a finite number is null."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent)
    except ValueError:
        return json.dumps(_finite(value), ensure_ascii=False, allow_nan=False, indent=indent)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    return value


def write(text: str, flags: Mapping[str, Any]) -> None:
    """To -o, whole or not at all, else to standard output."""
    path = flags.get("opt_output")
    if not path:
        sys.stdout.write(text)
        return
    with whole_file(path) as stream:
        stream.write(text)
    if not flags.get("opt_quiet"):
        say(f"wrote {path}")


def write_blocks(blocks: Sequence[Block], flags: Mapping[str, Any]) -> None:
    """Blocks as a screen, or as Markdown where that was asked for."""
    if form_of(flags) == "md":
        from outlay.report import markdown

        write(markdown.render(blocks), flags)
        return
    from outlay.report import terminal

    to_file = bool(flags.get("opt_output"))
    columns = ONE_LINE if flags.get("opt_quiet") else None  # a verdict that a script reads is one line
    write(terminal.render(blocks, columns, colour=not to_file and terminal.colourful()), flags)


def save_scenario(scenario: Mapping[str, Any], path: str) -> None:
    """Write a scenario by the ending of its file: .json, else YAML."""
    from outlay._version import __version__

    ending = Path(path).suffix.lower()
    if ending == ".toml":
        from outlay.errors import Unsupported

        raise Unsupported(
            "scenarios are read from TOML but written as YAML or JSON; name a .yaml file", "--save"
        )
    if ending == ".json":
        text = to_json(scenario) + "\n"
    else:
        text = f"# a scenario for outlay {__version__}; use it with -f\n" + to_yaml(scenario)
    with whole_file(path, "--save") as stream:
        stream.write(text)
    say(f"saved {path}")


def to_yaml(value: Any) -> str:
    import yaml

    text = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, default_flow_style=False, width=100)
    assert isinstance(text, str)
    return text
