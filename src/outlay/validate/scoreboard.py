"""Predicted against published: every shipped case planned, scored by source, with the baseline beside it.

A case is planned with the constants fitted without its own group, so what was fitted is never what is scored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from outlay.catalog import load
from outlay.validate.case import Case, Outcome, Score
from outlay.validate.case import score as score_of
from outlay.validate.predict import predict
from outlay.validate.tables import CASES, Row, read_rows

if TYPE_CHECKING:
    from outlay.validate.fit_cases import FitOutcome

MEMORY_TABLES = ("simumax_b200", "torchtitan", "megatron_golden_memory", "korthikanti_2022")
LARGE = ("vtrain_single", "silicon", "Splitwise", "TensorRT-LLM")
SAMPLE_EVERY = 10  # of the source whose rows are hundreds of near-repeats, when a quick answer is wanted


def cases(folder: Path = CASES) -> list[Case]:
    """Every case of every table in the folder, in a stable order."""
    from outlay.validate import (
        cost_cases,
        impact_cases,
        power_cases,
        serve_cases,
        serve_time_cases,
        time_cases,
        tune_cases,
    )

    found: list[Case] = []
    for table in time_cases.ADAPTERS:
        found += [_time_case(c, i) for i, c in enumerate(time_cases.time_cases(table, read_rows(table, folder)))]
    for table in MEMORY_TABLES:
        found += _memory_cases(table, read_rows(table, folder))
    for table in impact_cases.TABLES:
        found += impact_cases.impact_cases(table, read_rows(table, folder))
    for table in tune_cases.TABLES:
        found += tune_cases.tune_cases(table, read_rows(table, folder))
    for table in serve_cases.TABLES:
        found += serve_cases.serve_cases(table, read_rows(table, folder))
    for table in power_cases.TABLES:
        found += power_cases.power_cases(table, read_rows(table, folder))
    for table in serve_time_cases.TABLES:
        found += serve_time_cases.serve_time_cases(table, read_rows(table, folder))
    for table in cost_cases.TABLES:
        found += cost_cases.cost_cases(table, read_rows(table, folder))
    return merge_repeats(found)


def _time_case(c: Any, index: int) -> Case:
    return Case(source=c.source, id=f"{c.source} {index}: {c.left_out}", scenario=c.scenario,
                number="pretrain.step_time_s", measured=c.step_time_s, unit="s", group=f"{c.source}/{c.left_out}",
                evidence=f"time {c.evidence}")


def _memory_cases(table: str, rows: list[Row]) -> Iterator[Case]:
    from outlay.validate.memory_cases import memory_case

    for row in rows:
        c = memory_case(table, row)
        if c is None or c.excluded:
            continue
        number = f"pretrain.{c.field}" if c.stage == "fullest" else f"pretrain.stages.-1.{c.field}"
        yield Case(source=f"{c.source} memory", id=c.name, scenario=dict(c.scenario), number=number,
                   measured=c.measured_bytes, unit="bytes", group=f"{c.source}/{c.name}",
                   evidence=f"memory {c.evidence_class}")


def merge_repeats(found: Iterable[Case]) -> list[Case]:
    """One case for each configuration that was measured several times, at the median of its measurements."""
    from statistics import median

    by_key: dict[str, list[Case]] = {}
    for case in found:
        by_key.setdefault(repr((case.source, case.number, case.scenario)), []).append(case)
    return [replace(same[0], measured=median(c.measured for c in same)) if len(same) > 1 else same[0]
            for same in by_key.values()]


def outcomes(
    folder: Path = CASES, quick: bool = False, progress: Callable[[int, int], None] | None = None
) -> list[Outcome]:
    """Every case predicted. quick takes each tenth row of the largest source."""
    catalog = load()
    wanted = [
        c for i, c in enumerate(cases(folder)) if not (quick and c.source.startswith(LARGE) and i % SAMPLE_EVERY)
    ]
    found: list[Outcome] = []
    planned: dict[str, Any] = {}
    for index, case in enumerate(wanted):
        found.append(predict(case, catalog, planned))
        if progress is not None:
            progress(index + 1, len(wanted))
    logs = read_rows("llmservingsim_requests", folder)
    if logs:
        from outlay.validate import log_cases

        found += log_cases.log_outcomes(logs)
    rows = read_rows("mlperf_inference_v4_1", folder)
    if rows:
        from outlay.validate import mlperf_cases

        found += mlperf_cases.mlperf_outcomes(rows)
    given = read_rows("mlenergy_v3_llm", folder)  # only where a folder holds it: its rows may not be shipped
    if given:
        from outlay.validate import power_cases

        found += power_cases.given_outcomes(given)
    return found


def fits(folder: Path = CASES) -> list[FitOutcome]:
    """Verdicts on memory beside runs that ran, and that ran out of it."""
    from outlay.validate.fit_cases import fit_outcomes

    return fit_outcomes(folder, load())


def by_source(found: list[Outcome]) -> list[Score]:
    """A row a source, in the order of first appearance."""
    return [score_of(name, [o for o in found if o.case.source == name])
            for name in dict.fromkeys(o.case.source for o in found)]


def by_evidence(found: list[Outcome]) -> list[Score]:
    """A row an evidence class: how often the interval held, where it matters."""
    names = sorted({o.case.evidence for o in found if o.case.evidence})
    return [score_of(name, [o for o in found if o.case.evidence == name]) for name in names]


def row(s: Score) -> dict[str, Any]:
    """A score as one row of a table, shares in per cent."""
    def percent(value: float | None) -> str:
        return "" if value is None or value != value else f"{100 * value:.1f} %"

    return {"source": s.name, "n": s.n, "failed": s.failed, "median": percent(s.median), "mean": percent(s.mean),
            "p90": percent(s.p90), "bias": percent(s.bias), "inside 80 %": percent(s.inside),
            "high/low": "" if s.width != s.width else f"{s.width:.2f}", "baseline": percent(s.baseline)}


def score(folder: Path = CASES, quick: bool = False) -> list[dict[str, Any]]:
    """The scoreboard: a row a source, then a row an evidence class, then everything pooled."""
    found = outcomes(folder, quick)
    rows = [row(s) for s in by_source(found)]
    rows += [row(replace(s, name=f"interval: {s.name}")) for s in by_evidence(found)]
    return [*rows, row(score_of("all", found))]
