"""`outlay batch`: scenarios in, results out, one a line."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TextIO

import click

from outlay.errors import BadValue, Inconsistent, OutlayError, Unreadable

if TYPE_CHECKING:
    from outlay.result import Result

MAX_LINE = 8_000_000
FAILED = '{"error"'


@click.command(name="batch", short_help="One scenario a line in, one result a line out.")
@click.argument("file", required=False, default="-", metavar="[FILE]")
@click.option(
    "--catalog", "catalog", metavar="FOLDER", multiple=True, help="A folder of catalogue rows of your own."
)
@click.option("--prices", "prices", metavar="FILE", multiple=True, help="A file of prices of your own.")
@click.option("-o", "--output", "opt_output", metavar="FILE", help="Write there, whole or not at all.")
@click.option("--cluster", metavar="WHERE", help="Where lines are planned: local, local:4, auto or ray://host:10001.")
@click.option("--tables", metavar="FOLDER", help="Write every request and step of lines that are replayed there.")
@click.option("--tables-as", metavar="FORM", default="csv", help="csv or parquet.")
@click.option("-q", "--quiet", is_flag=True, help="No summary on standard error.")
@click.option("--json", "as_json", is_flag=True, hidden=True, help="JSON Lines is what it always writes.")
def command(
    file: str,
    catalog: tuple[str, ...],
    prices: tuple[str, ...],
    opt_output: str | None,
    cluster: str | None,
    tables: str | None,
    tables_as: str,
    quiet: bool,
    as_json: bool,
) -> int:
    """Read JSON Lines, one scenario a line, and write one result a line in the same order.

    A scenario that cannot be planned gives {"error": {"kind", "message", "field"}} on its line and the batch
    goes on. Blank lines are skipped. Each result is written as soon as it is known, and memory does not grow
    with the number of lines. With --cluster, lines are planned by other processes or a Ray cluster
    (outlay[cluster]); results are the same and in the same order. With --tables, a line whose requests are replayed
    for its times (a trace, serve.replay, router, autoscale) leaves its tables in the folder, named by its number among
    the results: 3.requests.csv and 3.steps.csv.

    \b
    outlay batch < scenarios.jsonl > results.jsonl
    """
    from outlay.cli.shell import check_writable, whole_file

    options: dict[str, Any] = {"extra": (*catalog, *prices)} if catalog or prices else {}
    fn: Callable[[tuple[int, bytes]], str] = partial(_plain, options=options)
    if tables:
        fn = partial(answer_with_tables, options=options, folder=_folder(tables, tables_as, cluster), form=tables_as)
    with _source(file) as source:
        if opt_output:
            check_writable(opt_output)
            with whole_file(opt_output) as target:
                _run(source, target, fn, quiet, cluster)
        else:
            _run(source, sys.stdout, fn, quiet, cluster)
    return 0


def _source(file: str) -> BinaryIO:
    if file == "-":
        return open(sys.stdin.fileno(), "rb", closefd=False)
    try:
        return open(file, "rb")
    except OSError as error:
        raise Unreadable(f"{file}: {error.strerror or error}", "FILE") from None


def _folder(path: str, form: str, cluster: str | None) -> str:
    """The folder for tables, made where it is not there; refused before any planning starts."""
    from outlay.simulate.tables import table_form

    table_form(f"requests.{form}", "--tables-as")
    if cluster is not None and not cluster.startswith("local"):
        raise Inconsistent("--tables are written where a line is planned; use --cluster local, or leave one out",
                           "--tables")
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadValue(f"cannot write to {path}: {error.strerror or error}", "--tables") from None
    return path


def _run(
    source: BinaryIO, target: TextIO, fn: Callable[[tuple[int, bytes]], str], quiet: bool, cluster: str | None
) -> None:
    from outlay.cli.shell import say
    from outlay.workers import run_all

    total = failed = 0
    asked = (line for line in _lines(source) if line.strip())
    for text in run_all(fn, enumerate(asked, start=1), cluster):
        target.write(text)
        target.flush()
        total += 1
        failed += text.startswith(FAILED)
    if failed and not quiet:
        say(f"{failed} of {total} lines could not be planned")


def _lines(source: BinaryIO) -> Iterator[bytes]:
    """Lines without their ending; a line longer than any scenario is cut, so that memory stays bounded."""
    while line := source.readline(MAX_LINE + 1):
        if len(line) > MAX_LINE and not line.endswith(b"\n"):
            while (rest := source.readline(MAX_LINE)) and not rest.endswith(b"\n"):
                pass
        yield line


def answers(lines: Iterable[bytes], options: dict[str, Any] | None = None) -> Iterator[dict[str, Any]]:
    """One result or error mapping for each line that is not blank."""
    for line in lines:
        if line.strip():
            yield answer_one(line, options or {})


def answer_text(line: bytes | str, options: dict[str, Any] | None = None) -> str:
    """The line written for a line read."""
    raw = line.encode() if isinstance(line, str) else line
    return to_line(answer_one(raw, options or {}))


def _plain(item: tuple[int, bytes], options: dict[str, Any]) -> str:
    return answer_text(item[1], options)


def answer_with_tables(item: tuple[int, bytes], options: dict[str, Any], folder: str, form: str) -> str:
    """The line written for a numbered line read, its tables beside."""

    def write(result: Result) -> None:
        from outlay.cli.answer import answered_replay, write_table_file
        from outlay.cli.phase_fields import TABLES

        if (replay := answered_replay(result)) is not None:
            for table in TABLES:
                write_table_file(replay, table, str(Path(folder) / f"{item[0]}.{table}.{form}"), "--tables")

    return to_line(answer_one(item[1], options | {"tables": True}, write))


def answer_one(line: bytes, options: dict[str, Any], seen: Callable[[Result], None] | None = None) -> dict[str, Any]:
    """The result of one line, or its error; nothing a line holds can stop the batch. seen: is shown the result."""
    from outlay.api import plan

    try:
        result = plan(read_line(line), **options)
        if seen is not None:
            seen(result)
        return result.to_dict()
    except OutlayError as error:
        return {"error": error.to_dict()}
    except RecursionError:
        return {"error": Unreadable("nested too deeply").to_dict()}
    except Exception as error:  # a defect of ours must not cost the lines after it
        return {
            "error": {
                "kind": "internal",
                "message": f"defect in outlay: {type(error).__name__}: {error}",
                "field": "",
            }
        }


def read_line(line: bytes) -> Any:
    """The JSON document of one line; Unreadable says what is wrong with it."""
    if len(line) > MAX_LINE:
        raise Unreadable(f"the line is longer than {MAX_LINE // 1_000_000} MB, not a scenario")
    try:
        document = json.loads(
            line.decode("utf-8-sig"), parse_constant=_no_constant, object_pairs_hook=_no_repeats
        )
    except UnicodeDecodeError:
        raise Unreadable("not UTF-8 text") from None
    except RecursionError:
        raise Unreadable("nested too deeply") from None
    except ValueError as error:
        raise Unreadable(f"not JSON: {error}") from None
    if not isinstance(document, dict):
        raise Unreadable("expected a JSON object, a scenario")
    return document


def _no_constant(name: str) -> str:
    """Infinity, as other programs write it: the word, which fields without an end take and others name."""
    if name == "Infinity":
        return "inf"
    raise ValueError(f"{name} is not a JSON number")


def _no_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) < len(pairs):
        seen: set[str] = set()
        twice = next(k for k, _ in pairs if k in seen or seen.add(k))  # type: ignore[func-returns-value]
        raise ValueError(f"key {twice!r} is given twice")
    return document


def to_line(answer: dict[str, Any]) -> str:
    from outlay.cli.answer import to_json

    return to_json(answer, indent=None) + "\n"
