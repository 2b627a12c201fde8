"""The validation page: how far off every model is, source by source, with what is behind the figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from outlay.validate import scoreboard
from outlay.validate.case import Outcome, Score, score

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


def page(found: Sequence[Outcome], notes: str) -> str:
    """The whole page; notes is the hand-written part on what misses and why."""
    parts = [HEAD, "## By source\n", table(scoreboard.by_source(list(found))), "\n## Intervals by evidence class\n",
             table(scoreboard.by_evidence(list(found))), "\n## Furthest off\n", worst(found),
             "\n## Not answered\n", failures(found), "\n## What misses, and why\n", notes.strip()]
    return "\n".join(parts) + "\n"


def summary(found: Sequence[Outcome]) -> Mapping[str, Any]:
    """What every screen says in one line: how many published results fell inside their interval."""
    pooled = score("all", list(found))
    return {"n": pooled.n, "inside": round(pooled.inside, 4), "median_error": round(pooled.median, 4)}
