"""What runs of one's own make of later plans, as a page: the factor before and after, and what gave none."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from outlay.catalog import Catalog
from outlay.ledger.calibration import Measured, spread_of
from outlay.physics.calibration import load_point
from outlay.report.blocks import Block, Bullets, Commands, Note, Table, Verdict
from outlay.resolve.own_runs import KIND, LOAD, SHARES, OwnRuns

LABELS = {"ttft_s": "time to the first token", "tpot_s": "time per output token",
          "output_tokens_per_s": "output tokens a second", "power_w_per_device": "power of a device"}


def document(runs: Sequence[Measured], left: Sequence[str], catalog: Catalog, folder: str, kept: int) -> dict[str, Any]:
    """By model, device and engine: each number's factors, and the plan's before and after, at these loads and not."""
    shares = catalog.find(KIND, SHARES)
    groups: dict[str, list[Measured]] = defaultdict(list)
    for run in runs:
        groups[run.key].append(run)
    return {"folder": folder, "kept_rows": kept, "left_out": list(left),
            "groups": [_group(key, mine, {n: float(shares.value(n)) for n in shares.facts})
                       for key, mine in groups.items()]}


def _group(key: str, runs: Sequence[Measured], shares: Mapping[str, float]) -> dict[str, Any]:
    ratios: dict[str, list[float]] = defaultdict(list)
    points: dict[str, list[tuple[float, ...]]] = defaultdict(list)
    prior: dict[str, tuple[float, float, float]] = {}
    for run in runs:
        place = load_point(*(run.factors.load[name] for name in LOAD))
        for number, ratio in run.factors.ratios.items():
            ratios[number].append(ratio)
            points[number].append(place)
            prior[number] = run.factors.prior[number]
    own = OwnRuns(key, ratios, points, shares)
    numbers = {}
    for number, (least, mean, most) in spread_of(ratios).items():
        low, _, high = prior[number]
        here = own.factor(number, prior[number], points[number][-1])
        other = own.factor(number, prior[number], None)
        assert here is not None and other is not None
        numbers[number] = {
            "runs": len(ratios[number]), "least": least, "mean": mean, "most": most,
            "before": {"value": min(max(1.0, low), high), "low": low, "high": high, "unit": "ratio"},
            "here": {"value": here.value, "low": here.low, "high": here.high, "unit": "ratio"},
            "elsewhere": {"value": other.value, "low": other.low, "high": other.high, "unit": "ratio"},
            "narrower": 1.0 - math.log(here.high / here.low) / math.log(high / low)}
    model, device, engine = runs[0].factors.key
    return {"key": key, "model": model, "device": device, "engine": engine, "asked": runs[-1].asked, "runs": len(runs),
            "numbers": numbers}


def page(found: Mapping[str, Any]) -> list[Block]:
    """Verdict, a table for each model, device and engine, what gave no factor, what to run next."""
    groups = found["groups"]
    count = sum(group["runs"] for group in groups)
    where = f"written to {found['folder']}" if found["folder"] else "nothing written: give -o FOLDER"
    named = groups[0]["key"] if len(groups) == 1 else f"{len(groups)} of model, device and engine"
    details = [f"{found['kept_rows']} rows of others kept."] if found["kept_rows"] else []
    blocks: list[Block] = [Verdict(f"{count} run{'s' * (count > 1)} of {named}: {where}",
                                   "good" if found["folder"] else "plain", tuple(details))]
    for group in groups:
        rows = tuple(
            (LABELS[name], str(n["runs"]), _ratios(n), *(_factor(n[kind]) for kind in ("before", "here", "elsewhere")))
            for name, n in group["numbers"].items())
        head = ("", "runs", "measured/model", "published runs", "this load", "loads unlike")
        blocks.append(Table(f"Factors on the model: {group['key']}", head, rows))
    if found["left_out"]:
        blocks.append(Bullets("Without a factor", tuple(dict.fromkeys(found["left_out"]))))
    blocks.append(Note("Brackets: 80 % of runs to come. Each run counts by how alike its load is to the plan's."))
    if found["folder"]:
        blocks.append(Commands((f"outlay serve {groups[0]['asked']} --catalog {found['folder']}",)))
    return blocks


def _ratios(number: Mapping[str, Any]) -> str:
    if number["runs"] == 1:
        return f"{number['mean']:.2f}"
    return f"{number['mean']:.2f} ({number['least']:.2f}–{number['most']:.2f})"


def _factor(value: Mapping[str, Any]) -> str:
    return f"{value['value']:.2f} [{value['low']:.2f}–{value['high']:.2f}]"
