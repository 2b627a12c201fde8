"""Predicted against published: every shipped case planned, scored by source, with the baseline beside it.

A case is planned with the constants fitted without its own group, so what was fitted is never what is scored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from outlay.catalog import Catalog, load
from outlay.derive import Quantity
from outlay.errors import OutlayError
from outlay.scenario_io import scenario_from
from outlay.validate.case import BASELINE_BYTES_PER_PARAMETER, BASELINE_UTILIZATION, Case, Outcome, Score
from outlay.validate.case import score as score_of
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


def predict(case: Case, catalog: Catalog, planned: dict[str, Any] | None = None) -> Outcome:
    """Plan one case without its own group's fit; an error is an outcome, never dropped.

    planned: keeps the last plan, for cases that ask several numbers of one.
    """
    from outlay.planner.run import run_plan

    kept = {} if planned is None else planned
    key = repr((case.scenario, case.group))
    try:
        if kept.get("key") != key:
            kept["result"] = run_plan(scenario_from(case.scenario), catalog, without=case.group)
            kept["key"] = key
        result = kept["result"]
        quantity = _number(result, case.number)
    except OutlayError as error:
        return Outcome(case, float("nan"), float("nan"), float("nan"), error=f"{error.kind}: {error.message}")
    return Outcome(case, quantity.value, quantity.low, quantity.high, baseline=_baseline(case, result))


def _number(result: Any, name: str) -> Quantity:
    from outlay.derive import add_all

    parts = [_one_number(result, part) for part in name.split("+")]
    total: Quantity = parts[0] if len(parts) == 1 else add_all(name, parts[0].unit, *parts)
    return total


def _one_number(result: Any, name: str) -> Quantity:
    if ".-1." in name:
        name = name.replace(".-1.", f".{len(result.phases['pretrain']['stages']) - 1}.")
    quantity: Quantity = result.explain(name)
    return quantity


def _baseline(case: Case, result: Any) -> float | None:
    """What the usual rule of thumb says: 6ND at 35 % of dense peak, or 16 bytes a parameter over the devices."""
    if case.number.startswith("finetune."):
        from outlay.validate import tune_cases

        return tune_cases.baseline(case, result)
    if case.number in ("serve.energy_per_output_token_j", "serve.power_w_per_device") or "lines.serve" in case.number:
        from outlay.validate import power_cases

        return power_cases.baseline(case, result)
    if case.number.startswith("pay."):
        from outlay.validate import cost_cases

        return cost_cases.baseline(case, result)
    if case.group.startswith("serve-time/"):
        from outlay.validate import serve_time_cases

        return serve_time_cases.baseline(case, result)
    if case.number.startswith("serve."):
        from outlay.validate import serve_cases

        said: float | None = serve_cases.baseline(case, result)
        return said
    phase = case.scenario.get("pretrain") or {}
    model, shown = result.model, result.scenario.get("pretrain") or {}
    devices = float((result.scenario.get("fleet") or {}).get("devices", 1))
    if not model:
        return None
    if case.number == "pretrain.step_time_s":
        tokens = float(shown["global_batch"]) * float(shown["sequence_length"])
        peak: float = result.explain("pretrain.model_flops_utilization").inputs[-1].value
        return 6.0 * float(model["active_parameters"].value) * tokens / (devices * peak * BASELINE_UTILIZATION)
    if "memory" in case.number:
        layout = phase.get("layout") or {}
        split = float(layout.get("tensor", 1)) * float(layout.get("pipeline", 1))
        if layout.get("zero") == 3:
            split *= float(layout.get("data", 1))
        return BASELINE_BYTES_PER_PARAMETER * float(model["parameters"].value) / split
    return None


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
