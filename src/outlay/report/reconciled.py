"""A bill beside its plan, as a page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from outlay.ledger.focus import UNITS
from outlay.report.blocks import Block, Bullets, Table, Verdict
from outlay.report.numbers import number, one

SHOWN = 12


def page(found: Mapping[str, Any], tolerance: float, verbose: bool = False) -> list[Block]:
    """Verdict, matched rows, and what has no partner on either side."""
    blocks: list[Block | None] = [
        verdict(found, tolerance),
        _table("Planned and billed", found["matched"], verbose),
        _alone("Planned, and not on the bill", found["only_planned"], "planned", verbose),
        _alone("On the bill, and not planned", found["only_billed"], "billed", verbose),
    ]
    return [block for block in blocks if block is not None]


def verdict(found: Mapping[str, Any], tolerance: float) -> Verdict:
    """How far the bill is from the plan, over everything."""
    total = found["total"]
    billed, planned = total["billed"], number(total["planned"]) or 0.0
    text = f"Billed {one(billed, 'USD')}, planned {one(total['planned'], 'USD')}"
    text += f": {_over(total)}" if planned else ": nothing was planned here"
    where = "inside" if total["inside"] else "outside"
    matched = found["matched_total"]
    share = 100 * (matched["billed"] / billed) if billed else 0.0
    details = (f"The bill is {where} the plan's 80 % interval.",
               f"{share:.3g} % of the bill has a partner in the plan; {found['rows']:,} rows in "
               f"{', '.join(found['currencies'])} were read.")
    return Verdict(text, "good" if kept(found, tolerance) else "bad", details)


def kept(found: Mapping[str, Any], tolerance: float) -> bool:
    """Whether the bill is inside the interval, or within the tolerance over the plan."""
    total = found["total"]
    planned = number(total["planned"]) or 0.0
    return bool(total["inside"]) or total["billed"] <= planned * (1.0 + tolerance)


def _over(row: Mapping[str, Any]) -> str:
    ratio = number(row.get("ratio"))
    return "" if ratio is None else f"{round(100 * (ratio - 1), 1) + 0.0:+.1f} %"


def _table(title: str, rows: list[Mapping[str, Any]], verbose: bool) -> Table | None:
    if not rows:
        return None
    shown = rows if verbose else sorted(rows, key=lambda r: -abs(r["delta"]))[:SHOWN]
    cells = tuple(
        (r["month"], r["service"], _words(r["resource"]), one(r["planned"], "USD"), one(r["billed"], "USD"), _over(r),
         "inside" if r["inside"] else "outside") for r in shown)
    more = f", {len(shown)} of {len(rows)}" if len(shown) < len(rows) else ""
    return Table(title + more, ("month", "service", "resource", "planned", "billed", "over", "80 %"), cells,
                 text_columns=frozenset({0, 1, 2, 6}))


def _words(line: str) -> str:
    """A planned line as people say it; what a bill calls something stays as it is.

    >>> _words("pretrain.training.device_s"), _words("nat-1")
    ('training of pretrain', 'nat-1')
    """
    phase, _, rest = line.partition(".")
    item, _, resource = rest.rpartition(".")
    return f"{item} of {phase}" if item and resource in UNITS else line


def _alone(title: str, rows: list[Mapping[str, Any]], side: str, verbose: bool) -> Block | None:
    if not rows:
        return None
    ordered = sorted(rows, key=lambda r: -abs(number(r[side]) or 0.0))
    shown = ordered if verbose else ordered[:SHOWN]
    items = [f"{r['month']} {r['service']}, {_words(r['resource'])}: {one(r[side], 'USD')}" for r in shown]
    if len(shown) < len(rows):
        items.append(f"and {len(rows) - len(shown)} more (-v)")
    return Bullets(title, tuple(items))
