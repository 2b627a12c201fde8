"""`outlay explain BENCHMARK`: a benchmark's runs beside the plans of the same loads."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from outlay.errors import BadValue, Inconsistent, Unreadable

if TYPE_CHECKING:
    from outlay.advise.bench import Comparison
    from outlay.catalog import Catalog
    from outlay.readers.bench.file import BenchReading
    from outlay.readers.bench.record import BenchRun
    from outlay.result import Result

MAX_PLANS = 200
LOADS = ("concurrency", "rate", "batch", "users", "trace")


def bench_of(subject: str | None) -> BenchReading | None:
    """The subject as a benchmark's result, where it is one; None for any other subject."""
    from outlay.readers.bench.file import ENDINGS, read_bench

    if subject is None:
        return None
    path = Path(subject).expanduser()
    try:
        if path.suffix.lower() not in ENDINGS or not path.is_file():
            return None
    except (OSError, ValueError):
        return None
    try:
        return read_bench(path)
    except Unreadable:
        if path.suffix.lower() == ".json":  # a scenario, a result or another program's settings: told by their reader
            return None
        raise


def explain_bench(reading: BenchReading, flags: dict[str, Any]) -> int:
    """Plan each run's load and write expected beside seen."""
    from outlay.advise.bench import compare_bench
    from outlay.cli.answer import form_of, to_json, write, write_blocks
    from outlay.cli.ask import ask
    from outlay.report import benchmarked

    documents: list[dict[str, Any]] = []
    left: list[str] = []
    for run in runs_to_plan(reading, left):
        result = ask(scenario_of_run(run, reading, flags), flags)
        compared = compare_bench(run, result)
        if compared.rows:
            documents.append(document_of(run, reading, result, compared))
        else:
            left.append(f"{reading.name} {run.place}".strip() + ": no number of it is one that is planned")
    if not documents:
        raise Inconsistent(f"no run can be set beside a plan: {'; '.join(left)}", "BENCHMARK")
    if form_of(flags) == "json":
        write(to_json({"file": reading.name, "runs": documents, "left_out": left}) + "\n", flags)
    elif flags.get("opt_quiet"):
        write_blocks([benchmarked.verdict(document) for document in documents], flags)
    else:
        write_blocks(benchmarked.pages(documents, left, bool(flags.get("opt_verbose"))), flags)
    return 0


def runs_to_plan(reading: BenchReading, left: list[str]) -> list[BenchRun]:
    """The runs whose load a plan can have; why not the others goes to `left`."""
    found: list[BenchRun] = []
    for run in reading.runs:
        where = f"{reading.name} {run.place}".strip()
        if run.load in ("", "trace"):
            left.append(f"{where}: {'; '.join(run.remarks) or 'its load is not known'}")
        elif len(found) < MAX_PLANS:
            found.append(run)
        else:
            left.append(f"{where}: more than {MAX_PLANS} runs at once")
    return found


def scenario_of_run(run: BenchRun, reading: BenchReading, flags: dict[str, Any], subject: str | None = None
                    ) -> dict[str, Any]:
    """The run's load and what its file says, with the flags over it; what neither says is asked for by name."""
    from outlay.catalog import load
    from outlay.cli.ask import plan_options, whole_scenario
    from outlay.cli.subjects import merged
    from outlay.readers.bench.record import scenario_parts
    from outlay.subject import Subject, with_fleet

    parts = scenario_parts(run)
    given = whole_scenario(subject, flags, "serve", asked=False)
    serve = dict(given.get("serve") or {})
    work = {k: v for k, v in dict(serve.pop("workload", None) or {}).items() if k not in (*LOADS, "requests")}
    serve.pop("hours", None)  # the run has its own duration
    document = merged(parts, {**{k: v for k, v in given.items() if k in ("model", "fleet", "site", "seed", "name")},
                              "serve": serve})
    document["serve"]["workload"] = {**work, **parts["serve"]["workload"]}
    title = f"{run.tool} result {reading.name}"
    lacking = [] if document.get("model") else ["the model: --set model=NAME"]
    if not document.get("fleet"):
        uses = f"{run.devices}x" if run.devices else ""
        named = f" (it ran on {run.device})" if run.device else ""
        lacking.append(f"the devices{named}: -g FLEET, for example -g {uses or '1x'}h100-sxm")
    if lacking:
        raise BadValue(f"the {title} does not name {', nor '.join(lacking)}",
                       "fleet" if document.get("model") else "model")
    for name, flag in (("input", "--set workload.input=N"), ("output", "--set workload.output=N")):
        if name not in document["serve"]["workload"]:
            raise BadValue(f"the {title} does not say how many tokens of {name} its requests had: {flag}",
                           f"serve.workload.{name}")
    if not given.get("model"):
        catalog = load(tuple(plan_options(flags).get("extra", ())))
        document["model"] = _model_of(run, str(document["model"]), catalog, title)
    return with_fleet(document, [Subject("log", document, run.engine, reading.name)], "serve")


def _model_of(run: BenchRun, named: str, catalog: Catalog, title: str) -> str:
    """By the name the server has for it, or by its tokenizer's, which is the published one."""
    from outlay.cli.explain_log import known_model
    from outlay.errors import UnknownName

    if run.tokenizer and run.tokenizer != named:
        try:
            return known_model(named, catalog, title)
        except UnknownName:
            with suppress(UnknownName):
                return known_model(run.tokenizer, catalog, title)
    return known_model(named, catalog, title)


def document_of(run: BenchRun, reading: BenchReading, result: Result, compared: Comparison) -> dict[str, Any]:
    """The comparison as plain values: what --json writes and the page shows."""
    from outlay.result import plain_values

    fleet, serve = result.scenario.get("fleet") or {}, result.scenario.get("serve") or {}
    named = {"serve.workload", "serve.hours"}
    assumed = [dict(a) for a in result.assumptions
               if str(a.get("what")).startswith("serve") and not any(str(a["what"]).startswith(n) for n in named)]
    document: dict[str, Any] = plain_values({
        "file": reading.name,
        "run": run.place,
        "tool": run.tool,
        "date": run.date,
        "engine": result.phases["serve"].get("engine"),
        "model": result.model.get("name"),
        "fleet": f"{fleet.get('devices')}×{fleet.get('device')}",
        "load": run.load,
        "workload": serve.get("workload"),
        "completed": run.completed,
        "failed": run.failed,
        "rows": [row.to_dict() for row in compared.rows],
        "hints": list(compared.hints),
        "remarks": list(compared.remarks),
        "unknown_fields": list(run.unknown),
        "assumed": assumed,
        "warnings": list(result.warnings),
        "scenario": result.scenario,
    })
    return document
