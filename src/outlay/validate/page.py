"""The validation page: how far off every model is, source by source, with what is behind the figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from outlay.validate import scoreboard
from outlay.validate.case import Outcome, Score, score
from outlay.validate.fit_cases import FitOutcome, fit_row, fit_scores

COLUMNS = ("source", "n", "median", "mean", "p90", "bias", "inside 80 %", "high/low", "baseline")
HEAD = """# How far off outlay is

Made by `python tools/write_validation.py`; the same table is printed by `outlay validate`. Errors are
|predicted / measured - 1| of the nominal value. *Inside* is the share of measurements within the printed 80 %
interval, *high/low* the median width of that interval. The baseline is 6ND at 35 % of dense peak for time and
16 bytes a parameter over the devices that split it for memory.

Step times are predicted with the constants fitted without the case's own group (a model within a source), and
their interval widths come from those left-out errors. Memory is counted, with the few sizes that no shape gives;
where those were learnt from rows that are scored, the notes at the end say so.
A configuration that was measured several times is scored once, against the median of its measurements.
"""


def table(scores: Sequence[Score]) -> str:
    """A Markdown table of scores."""
    rows = [scoreboard.row(s) for s in scores]
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    lines += ["| " + " | ".join(str(r[c]) for c in COLUMNS) + " |" for r in rows]
    return "\n".join(lines)


def worst(found: Sequence[Outcome], count: int = 12) -> str:
    """The cases furthest off, so that nobody has to look for them."""
    good = sorted((o for o in found if not o.error), key=lambda o: -abs(o.ratio - 1))[:count]
    lines = ["| case | measured | predicted | off |", "|---|---|---|---|"]
    lines += [f"| {o.case.id} | {o.case.measured:.4g} {o.case.unit} | {o.value:.4g} | {100 * (o.ratio - 1):+.0f} % |"
              for o in good]
    return "\n".join(lines)


def failures(found: Sequence[Outcome]) -> str:
    failed = [o for o in found if o.error]
    if not failed:
        return "Every case was answered."
    return "\n".join(f"* {o.case.source}, {o.case.id}: {o.error}" for o in failed)


FITS = """
## Fits or does not

Configurations that a published run ran on a named device, or ran out of memory on. *Right* is the share of verdicts
that agree, *false fits* those that said it fits and it did not, *missed* the opposite, *borderline* those with a
probability between 10 and 90 %, whatever their verdict. Few published tables say what failed.
"""


def fits_table(found: Sequence[FitOutcome]) -> str:
    """Verdicts on memory, and every case that was wrong."""
    rows = [fit_row(s) for s in fit_scores(list(found))]
    head = list(rows[0])
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(str(row[name]) for name in head) + " |" for row in rows]
    wrong = [f"* {o.case.id}: {'ran' if o.case.ran else 'ran out of memory'}; probability to fit "
             f"{100 * o.probability:.0f} %" for o in found if not o.right and not o.error]
    return "\n".join([*lines, "", "Wrong:" if wrong else "None was wrong.", *wrong])


def page(found: Sequence[Outcome], fits: Sequence[FitOutcome], notes: str) -> str:
    """The whole page; notes is the hand-written part on what misses and why."""
    parts = [HEAD, "## By source\n", table(scoreboard.by_source(list(found))), "\n## Intervals by evidence class\n",
             table(scoreboard.by_evidence(list(found))), FITS, fits_table(fits), "\n## Furthest off\n", worst(found),
             "\n## Not answered\n", failures(found), "\n## What misses, and why\n", notes.strip()]
    return "\n".join(parts) + "\n"


def summary(found: Sequence[Outcome]) -> Mapping[str, Any]:
    """What every screen says in one line: how many published results fell inside their interval."""
    pooled = score("all", list(found))
    return {"n": pooled.n, "inside": round(pooled.inside, 4), "median_error": round(pooled.median, 4)}
