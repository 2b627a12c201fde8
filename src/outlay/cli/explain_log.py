"""`outlay explain LOG`: a start-up log beside the plan of what it says it runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from outlay.errors import BadValue, UnknownName, Unreadable

if TYPE_CHECKING:
    from outlay.advise.log import Comparison
    from outlay.catalog import Catalog
    from outlay.result import Result
    from outlay.subject import Subject

_LINE = 16_000


def log_of(subject: str | None) -> Subject | None:
    """The subject as a log, where it is one: `-` is always read as one, a file when its lines say so."""
    from outlay.subject import SETTINGS, subject_of

    if subject is None:
        return None
    if subject == "-":
        return _standard_input()
    path = Path(subject).expanduser()
    try:
        plain = path.suffix.lower() not in (*SETTINGS, ".gguf", ".safetensors") and path.is_file()
    except (OSError, ValueError):
        return None
    if not plain and path.suffix.lower() != ".log":
        return None
    found = subject_of(subject)
    return found if found.kind == "log" else None


def _standard_input() -> Subject:
    from outlay.readers.log.file import parts_of, read_log
    from outlay.subject import Subject

    reading = read_log(_lines())
    if not reading.engine:
        raise Unreadable(
            "standard input: no start-up message of vLLM, SGLang, llama.cpp or TensorRT-LLM is in it", "LOG"
        )
    return Subject("log", parts_of(reading), reading.engine, "from standard input", log=reading)


def _lines() -> Iterator[str]:
    """Bounded lines of standard input, whatever bytes they are."""
    with os.fdopen(os.dup(sys.stdin.fileno()), "rb") as stream:
        while line := stream.readline(_LINE):
            yield line.decode("utf-8", "replace")


def explain_log(found: Subject, flags: dict[str, Any]) -> int:
    """Plan what the log says it runs and write expected beside seen."""
    from outlay.advise.log import compare_log
    from outlay.cli.answer import form_of, to_json, write, write_blocks
    from outlay.cli.ask import ask
    from outlay.report import logged

    assert found.log is not None
    result = ask(_scenario(found, flags), flags)
    document = _document(found, result, compare_log(found.log, result))
    if form_of(flags) == "json":
        write(to_json(document) + "\n", flags)
    elif flags.get("opt_quiet"):
        write_blocks([logged.verdict(document)], flags)
    else:
        write_blocks(logged.page(document, bool(flags.get("opt_verbose"))), flags)
    return 0


def _scenario(found: Subject, flags: dict[str, Any]) -> dict[str, Any]:
    """What the log says, with the flags over it; what neither says is asked for by name, all at once."""
    from outlay.catalog import load
    from outlay.cli.ask import plan_options, whole_scenario
    from outlay.cli.subjects import merged
    from outlay.subject import VERBS, with_fleet

    document = merged(found.scenario, whole_scenario(None, flags, "serve"))
    printed = found.log.first("model") if found.log is not None else None
    if not document.get("model") and printed is not None:
        document["model"] = printed.value  # llama.cpp prints the name kept in the file
    named = document.get("model")
    lacking = [] if named else ["the model: --set model=NAME"]
    if not document.get("fleet"):
        lacking.append("the devices: -g FLEET, for example -g 1xh100-sxm")
    if lacking:
        raise BadValue(f"the {found.title} does not name {', nor '.join(lacking)}", "fleet" if named else "model")
    if named == found.scenario.get("model", printed.value if printed else None):
        document["model"] = known_model(str(named), load(tuple(plan_options(flags).get("extra", ()))), found.title)
    document = {k: v for k, v in document.items() if k not in VERBS or k == "serve"}
    return with_fleet(document, [found], "serve")


def known_model(named: str, catalog: Catalog, title: str) -> str:
    """The model a file names, by its id or the last parts of its path; UnknownName says how to name it."""
    parts = [part for part in named.rstrip("/").split("/") if part]
    cached = next((p.removeprefix("models--").replace("--", "/") for p in parts if p.startswith("models--")), "")
    tries = [named, cached, "/".join(parts[-2:]), *parts[-1:], named.replace(" ", "-")]
    for name in filter(None, tries):
        try:
            return catalog.find("model", name, "model").id
        except UnknownName:
            continue
    raise UnknownName(
        f"the {title} names the model {named[:80]!r}, which is not in the catalogue; give one with "
        "--set model=NAME or the path of its config.json",
        "model",
    )


def _document(found: Subject, result: Result, compared: Comparison) -> dict[str, Any]:
    """The comparison as plain values: what --json writes and the page shows."""
    from outlay.result import plain_values
    from outlay.subject import NAMES

    log = found.log
    assert log is not None
    fleet = result.scenario.get("fleet") or {}
    most = compared.most
    assumed = [a for a in result.assumptions if str(a.get("what")).startswith("serve.")]
    document: dict[str, Any] = plain_values({
        "log": found.where,
        "engine": NAMES.get(compared.engine, compared.engine),
        "version": compared.version,
        "model": result.model.get("name"),
        "fleet": f"{fleet.get('devices')}×{fleet.get('device')}",
        "failed": compared.failed,
        "rows": [row.to_dict() for row in compared.rows],
        "differs_most": most.name if most else None,
        "unexplained_bytes": compared.unexplained_bytes,
        "assumed": [dict(a) for a in assumed],
        "lines": log.lines,
        "lines_understood": log.lines_understood,
        "lines_not_understood": log.lines_not_understood,
        "not_understood": [{"line": number, "text": text} for number, text in log.not_understood],
        "remarks": list(log.remarks),
        "scenario": result.scenario,
    })
    return document
