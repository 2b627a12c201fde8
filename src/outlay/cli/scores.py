"""How the scoreboard is shown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from outlay.cli.answer import form_of, to_json, write, write_blocks

if TYPE_CHECKING:
    from outlay.report.blocks import Block
    from outlay.validate.case import Outcome, Score
    from outlay.validate.fit_cases import FitOutcome

_NUMBERS = ("n", "failed", "median", "mean", "p90", "bias", "inside", "width", "baseline")


def show(flags: dict[str, Any], quick: bool) -> int:
    """Score every published case, then write the board as screen, JSON, CSV or Markdown."""
    from outlay.cli.progress import waiting
    from outlay.validate import scoreboard

    with waiting("scoring", quiet=bool(flags.get("opt_quiet"))) as tell:
        found = scoreboard.outcomes(quick=quick, progress=tell)
        fits = scoreboard.fits()
    form = form_of(flags)
    if form in ("screen", "md"):
        write_blocks(board(found, fits, flags), flags)
        return 0
    scores = [("source", scoreboard.by_source(found)), ("evidence", scoreboard.by_evidence(found))]
    rows = [_plain(kind, score) for kind, several in scores for score in several]
    cases = [_case(outcome) for outcome in found] if flags.get("opt_verbose") else []
    if form == "json":
        rows += _fit_rows(fits)
        write(to_json({"scores": rows, "cases": cases} if cases else rows) + "\n", flags)
    else:
        from outlay.report.rows import rows_csv

        write(rows_csv(cases or rows), flags)
    return 0


def board(found: Sequence[Outcome], fits: Sequence[FitOutcome], flags: dict[str, Any]) -> list[Block]:
    """The verdict over everything, a row a source, how often the intervals held, and verdicts on memory."""
    from outlay.report.blocks import Bullets, Note, Verdict
    from outlay.validate import scoreboard
    from outlay.validate.case import score

    pooled = score("all", list(found))
    blocks: list[Block] = [
        Verdict(
            f"{pooled.n:,} published results: median error {100 * pooled.median:.1f} %, "
            f"{100 * pooled.inside:.0f} % inside the 80 % interval"
        )
    ]
    if flags.get("opt_quiet"):
        return blocks
    blocks.append(_table("By source", scoreboard.by_source(list(found))))
    blocks.append(_table("Intervals by class of evidence", scoreboard.by_evidence(list(found))))
    blocks.append(_fits(fits))
    failed = tuple(f"{o.case.id}: {o.error}" for o in found if o.error)
    failed += tuple(f"{o.case.id}: {o.error}" for o in fits if o.error)
    if failed:
        shown = failed if flags.get("opt_verbose") else failed[:3]
        blocks.append(Bullets(f"Could not be planned ({len(failed)})", shown))
    if flags.get("opt_verbose"):
        blocks.append(_cases(found))
    blocks.append(
        Note(
            "Errors are |predicted/measured - 1|. Baseline: 6ND at 35 % of dense peak for time,"
            " 16 bytes a parameter for memory. Each case is predicted without its own group's fit."
        )
    )
    return blocks


def _table(title: str, scores: Sequence[Score]) -> Block:
    from outlay.report.blocks import Table
    from outlay.validate import scoreboard

    rows = [scoreboard.row(score) for score in scores]
    head = [name for name in (rows[0] if rows else {}) if name != "failed"]
    cells = tuple(tuple(str(row[name]).replace("-0.0 %", "0.0 %") for name in head) for row in rows)
    return Table(title, ("", *head[1:]), cells)


def _fits(found: Sequence[FitOutcome]) -> Block:
    from outlay.report.blocks import Table
    from outlay.validate.fit_cases import fit_row, fit_scores

    rows = [fit_row(score) for score in fit_scores(list(found))]
    head = [name for name in rows[0] if name != "failed"]
    return Table("Fits or does not: runs that ran, and that ran out of memory", ("", *head[1:]),
                 tuple(tuple(str(row[name]) for name in head) for row in rows))


def _fit_rows(found: Sequence[FitOutcome]) -> list[dict[str, Any]]:
    """Scores of verdicts as plain records."""
    from msgspec.structs import asdict

    from outlay.validate.fit_cases import fit_scores

    return [{"by": "fits", **{k: None if v != v else v for k, v in asdict(score).items()}}
            for score in fit_scores(list(found))]


def _cases(found: Sequence[Outcome]) -> Block:
    from outlay.report.blocks import Table

    rows = tuple(
        (o.case.id, f"{o.case.measured:.4g}", f"{o.value:.4g}", f"{o.low:.4g}–{o.high:.4g}", o.case.unit,
         f"{100 * (o.ratio - 1):+.0f} %")
        for o in found
        if not o.error
    )  # fmt: skip
    return Table("Every case", ("", "measured", "predicted", "80 %", "unit", "off"), rows)


def _plain(kind: str, score: Score) -> dict[str, Any]:
    values = {name: getattr(score, name) for name in _NUMBERS}
    finite = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()}
    return {"by": kind, "name": score.name, **finite}


def _case(outcome: Outcome) -> dict[str, Any]:
    case = outcome.case
    said = {name: getattr(case, name) for name in ("source", "id", "number", "unit", "measured")}
    predicted = {name: getattr(outcome, name) for name in ("value", "low", "high", "baseline")}
    return {**said, **predicted, "group": case.group, "evidence": case.evidence, "error": outcome.error}
