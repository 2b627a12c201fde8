"""`outlay calibrate`: a person's own benchmarks → a catalogue folder that later plans follow."""

from __future__ import annotations

import datetime
import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from outlay.cli.options import shared_flags
from outlay.cli.phase_fields import SERVE
from outlay.cli.subjects import Launching

if TYPE_CHECKING:
    from outlay.ledger.calibration import Measured
    from outlay.planner.serve.factors import Factors
    from outlay.readers.bench.file import BenchReading
    from outlay.readers.bench.record import BenchRun

LEFT_OUT = ("--vary", "--save", "--csv", "-o", "--tokens", "--seq", "--global-batch", "--optimizer", "--framework",
            "--device-hours", "--cp", "--vpp", "--zero", "--micro-batch", "--recompute", "--for", "--deadline",
            "--budget", "--top-k")  # of training, and of a search


@click.command(cls=Launching, name="calibrate", short_help="Own benchmarks into factors.")
@click.argument("files", nargs=-1, required=True, metavar="BENCHMARK... [SUBJECT]")
@click.option("-o", "--output", "folder", metavar="FOLDER",
              help="Write there; give it to --catalog of later plans. Without it nothing is written.")
@shared_flags(*LEFT_OUT)
def command(files: tuple[str, ...], folder: str | None, **flags: Any) -> int:
    """Set results of vllm bench serve, SGLang's bench_serving, guidellm, aiperf or genai-perf against the model.

    What was measured over what is modelled is kept by model, device and engine, one row a run and number. Plans with
    --catalog FOLDER then follow these runs: the more, and the more alike their loads, the closer, and the narrower the
    interval. SUBJECT, -f or a launch line say how the engine ran where the files do not. Rows of a model, device and
    engine that are in FOLDER already are written anew, so give all of their files.

    \b
    outlay calibrate bench-*.json -g 1xh100-sxm -o my-facts
    outlay serve llama-3.1-8b -g 1xh100-sxm --concurrency 32 --catalog my-facts
    """
    from outlay.catalog import load
    from outlay.cli.answer import form_of, to_json, write, write_blocks
    from outlay.cli.ask import plan_options
    from outlay.errors import Inconsistent
    from outlay.report import calibrated
    from outlay.result import plain_values

    readings, subject = _sorted(files)
    target = _target(folder)
    left: list[str] = []
    runs = [found for reading in readings for found in _measured(reading, subject, flags, left)]
    if not runs:
        raise Inconsistent(f"no run gives a factor: {'; '.join(left)}", "BENCHMARK")
    catalog = load(tuple(plan_options(flags).get("extra", ())))
    kept = _write(runs, catalog.date, target) if target is not None else 0
    document = plain_values(calibrated.document(runs, left, catalog, str(folder or ""), kept))
    if form_of(flags) == "json":
        write(to_json(document) + "\n", flags)
    else:
        page = calibrated.page(document)
        write_blocks(page[:1] if flags.get("opt_quiet") else page, flags)
    return 0


def _sorted(files: tuple[str, ...]) -> tuple[list[BenchReading], str | None]:
    """Benchmarks and the one subject among what was given."""
    from outlay.cli.explain_bench import bench_of
    from outlay.errors import Inconsistent, Unreadable
    from outlay.readers.bench.file import ENDINGS, read_bench

    readings, others = [], []
    for name in files:
        reading = bench_of(name)
        if reading is not None:
            readings.append(reading)
        else:
            others.append(name)
    for name in others if len(others) > 1 or not readings else ():
        if Path(name).suffix.lower() in ENDINGS:
            read_bench(name)  # says what is wrong with it
    if len(others) > 1:
        raise Inconsistent(f"{' and '.join(others)} are no benchmarks; give one subject at most", "SUBJECT")
    if not readings:
        raise Unreadable(f"{' '.join(files)}: no benchmark among them", "BENCHMARK")
    return readings, others[0] if others else None


def _target(folder: str | None) -> Path | None:
    """The folder to write to, refused before any planning where it cannot be."""
    from outlay.errors import BadValue

    if folder is None:
        return None
    path = Path(folder).expanduser()
    if path.exists() and not path.is_dir():
        raise BadValue(f"{folder} is a file; name a folder", "-o")
    if not path.exists() and not path.parent.is_dir():
        raise BadValue(f"cannot write {folder}: folder {path.parent} does not exist", "-o")
    return path


def _measured(reading: BenchReading, subject: str | None, flags: dict[str, Any], left: list[str]) -> list[Measured]:
    """The runs of one file with their factors; what gives none goes to `left`."""
    from outlay.cli.explain_bench import runs_to_plan, scenario_of_run
    from outlay.ledger.calibration import Measured

    found = []
    for run in runs_to_plan(reading, left):
        where = f"{reading.name} {run.place}".strip()
        scenario = scenario_of_run(run, reading, flags, subject)
        factors = _factors(run, scenario, flags)
        left += [f"{where}: {why}" for why in factors.without]
        if factors.ratios:
            date = run.date or datetime.date.today().isoformat()
            note = run.tool + (f"; {'; '.join(run.remarks)}" if run.remarks else "")
            found.append(Measured(factors, where, date, note, _asked(factors, scenario)))
        elif not factors.without:
            left.append(f"{where}: no number of it is one that is planned")
    return found


def _asked(factors: Factors, scenario: dict[str, Any]) -> str:
    """The same deployment under the same load, as a command."""
    serve, fleet = scenario["serve"], scenario["fleet"]
    work = serve["workload"]
    devices = fleet if isinstance(fleet, str) else f"{fleet.get('devices', 1)}x{factors.key[1]}"
    words = [factors.key[0], "-g", devices]
    if serve.get("precision"):
        words.append(f"-p {serve['precision']}")
    if serve.get("disaggregated"):
        words.append(f"--set {shlex.quote('disaggregated=' + json.dumps(serve['disaggregated']))}")
    told = serve | {f"workload.{name}": value for name, value in work.items() if name != "requests"}
    for spellings, field, _, _ in SERVE:
        if isinstance(value := told.get(field), (int, float, str)) and not isinstance(value, bool):
            words.append(f"{spellings[0]} {value if isinstance(value, str) else format(value, '.10g')}")
    return " ".join(words)


def _factors(run: BenchRun, scenario: dict[str, Any], flags: dict[str, Any]) -> Factors:
    """A run's factors on the model of it."""
    from outlay.catalog import load
    from outlay.cli.ask import plan_options
    from outlay.errors import BadValue
    from outlay.planner.serve.factors import numbers_seen, serve_factors
    from outlay.resolve import resolve
    from outlay.scenario_io import scenario_from

    resolved = resolve(scenario_from(scenario), load(tuple(plan_options(flags).get("extra", ()))))
    factors = serve_factors(resolved, numbers_seen(run))
    if factors.key[0] in ("", "custom"):
        raise BadValue("model: give the model a name, which its runs are kept under", "model.name")
    return factors


def _write(runs: list[Measured], catalog_date: str, folder: Path) -> int:
    """The rows, whole or not at all, beside those of other models; how many of these were kept."""
    from outlay.cli.shell import whole_file
    from outlay.ledger.calibration import FILE, as_csv, kept_rows, rows_of

    folder.mkdir(exist_ok=True)
    kept = kept_rows(folder, {run.key for run in runs})
    with whole_file(str(folder / FILE)) as stream:
        stream.write(as_csv([*kept, *rows_of(runs, catalog_date)]))
    return len(kept)
