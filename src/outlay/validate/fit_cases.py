"""Fits or does not: configurations that published runs ran on a named device, or ran out of memory on.

What is scored is the plan's own verdict. Nearly every published run is one that fitted, so the few that did not
weigh most: answering "fits" for one of those is the costly mistake, and is counted apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from msgspec import Struct

from outlay.catalog import Catalog
from outlay.errors import OutlayError
from outlay.scenario_io import scenario_from
from outlay.validate import serve_cases, tune_cases

Row = Mapping[str, str]
BORDERLINE = (0.1, 0.9)  # of the probability to fit
FAILED = ("OOM", "fails at", "does not fit")  # how a log's remark says that the engine did not start


class FitCase(Struct, frozen=True):
    """A configuration, and whether it ran."""

    source: str
    id: str
    scenario: dict[str, Any]
    ran: bool
    group: str = ""

    @property
    def phase(self) -> str:
        return "finetune" if "finetune" in self.scenario else "serve"


class FitOutcome(Struct, frozen=True):
    """What the plan says of a case. `error` when it could not be planned."""

    case: FitCase
    fits: bool
    probability: float
    error: str = ""

    @property
    def right(self) -> bool:
        return self.fits == self.case.ran

    @property
    def borderline(self) -> bool:
        return BORDERLINE[0] < self.probability < BORDERLINE[1]


class FitScore(Struct, frozen=True):
    """Verdicts of a set of outcomes; shares of `n`, which holds those that were planned."""

    name: str
    n: int
    failed: int
    ran: int  # of n
    right: float
    false_fits: float  # answered "fits", ran out of memory
    missed: float  # answered "does not fit", ran
    borderline: float


def fit_cases(read: Callable[[str], list[dict[str, str]]]) -> list[FitCase]:
    """Every case that the tables `read` gives can tell of; a table that is not there gives none."""
    found: list[FitCase] = []
    for table in tune_cases.TABLES:
        rows = read(table)
        found += _ran(table, (c for c in tune_cases.tune_cases(table, rows)))
        found += _litgpt_out_of_memory(rows) if table == "finetune_memory_time" else []
    found += _engines(read("engine_memory"))
    for table in ("inference_memory_litgpt", "single_stream_qwen3_h20"):
        found += _ran(table, serve_cases.serve_cases(table, read(table)))
    found += _transformers(read("inference_memory"))
    found += _llamacpp(read("single_stream_llamacpp"))
    return _distinct(found)


def _ran(table: str, cases: Iterable[Any]) -> Iterator[FitCase]:
    """Measured runs, which all fitted."""
    for case in cases:
        yield FitCase(f"fits: {table}", case.id, case.scenario, True, case.group)


def _litgpt_out_of_memory(rows: list[dict[str, str]]) -> Iterator[FitCase]:
    for row in rows:
        if row["id"].startswith("litgpt") and row["out_max_gpu_ram"] == "OOM":
            yield FitCase("fits: finetune_memory_time", row["id"], tune_cases.litgpt_scenario(row), False)


def _engines(rows: list[dict[str, str]]) -> Iterator[FitCase]:
    """Start-up logs on a known device: an engine starts when its cache holds one sequence of max_model_len."""
    for row in rows:
        scenario, tensor = serve_cases.engine_scenario(row)
        fleet = serve_cases.engine_fleet(row, tensor) if row.get("gpu") else None
        ran = _started(row)
        if fleet is not None and ran is not None:
            yield FitCase("fits: engine_memory", row["id"], {**scenario, "fleet": fleet}, ran)


def _started(row: Row) -> bool | None:
    """Whether a log is one of an engine that started; None where it does not tell."""
    if any(word in row.get("ambiguity", "") for word in FAILED):
        return False
    if row.get("out_kv_tokens") and row.get("max_model_len"):
        return float(row["out_kv_tokens"]) >= float(row["max_model_len"])
    return float(row["out_avail_kv_gib"]) > 0.0 if row.get("out_avail_kv_gib") else None


def _transformers(rows: list[dict[str, str]]) -> Iterator[FitCase]:
    """Rows whose hardware is named: memory in use, or OOM."""
    for row in rows:
        found = serve_cases.inference_scenario(row) if row.get("hardware") else None
        if found is not None:
            yield FitCase("fits: inference_memory", row["id"], found[0], row["out_gpu_mem_gb"] != "OOM")


def _llamacpp(rows: list[dict[str, str]]) -> Iterator[FitCase]:
    for row in rows:
        scenario = serve_cases.llamacpp_scenario(row)
        if scenario is not None:
            yield FitCase("fits: single_stream_llamacpp", row["id"], scenario, row["out_tok_s"] != "OOM")


def _distinct(cases: list[FitCase]) -> list[FitCase]:
    """One case a configuration: time and memory of one run are one verdict."""
    return list({repr(case.scenario): case for case in reversed(cases)}.values())[::-1]


def judge(case: FitCase, catalog: Catalog) -> FitOutcome:
    """The verdict on one case, planned without its own group's fit."""
    from outlay.planner.run import run_plan

    try:
        phase = run_plan(scenario_from(case.scenario), catalog, without=case.group).phases[case.phase]
    except OutlayError as error:
        return FitOutcome(case, False, float("nan"), f"{error.kind}: {error.message}")
    return FitOutcome(case, bool(phase["fits"]), float(phase["fits_probability"]))


def fit_score(name: str, outcomes: list[FitOutcome]) -> FitScore:
    """Shares of right and wrong verdicts; failed cases are counted, never dropped in silence.

    >>> ran, burst = (FitCase("s", "i", {}, r) for r in (True, False))
    >>> fit_score("all", [FitOutcome(ran, True, 1.0), FitOutcome(burst, True, 0.6)]).false_fits
    0.5
    """
    good = [o for o in outcomes if not o.error]

    def share(which: Callable[[FitOutcome], bool]) -> float:
        return sum(map(which, good)) / len(good) if good else float("nan")

    return FitScore(name, len(good), len(outcomes) - len(good), sum(o.case.ran for o in good),
                    share(lambda o: o.right), share(lambda o: o.fits and not o.case.ran),
                    share(lambda o: o.case.ran and not o.fits), share(lambda o: o.borderline))


def fit_outcomes(folder: Path, catalog: Catalog) -> list[FitOutcome]:
    """Every case of a folder of tables, judged."""
    from outlay.validate.tables import read_rows

    return [judge(case, catalog) for case in fit_cases(partial(read_rows, folder=folder))]


def fit_scores(found: list[FitOutcome]) -> list[FitScore]:
    """A score a source, and one over all."""
    names = dict.fromkeys(o.case.source for o in found)
    return [*(fit_score(name, [o for o in found if o.case.source == name]) for name in names),
            fit_score("fits: all", found)]


def fit_row(score: FitScore) -> dict[str, Any]:
    """A score as one row of a table, shares in per cent."""
    def percent(value: float) -> str:
        return "" if value != value else f"{100 * value:.1f} %"

    return {"source": score.name, "n": score.n, "ran": score.ran, "failed": score.failed,
            "right": percent(score.right), "false fits": percent(score.false_fits), "missed": percent(score.missed),
            "borderline": percent(score.borderline)}
