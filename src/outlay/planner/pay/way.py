"""One way to pay as the result shows it: a month, a million tokens, a request, by part of the bill."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from outlay.account import totals, why_no_price
from outlay.derive import Quantity, add_all, derive
from outlay.planner.influence import least_certain
from outlay.planner.pay.api import tagged
from outlay.resolve.pay.phase import Work
from outlay.usage import Line
from outlay.valuation.ways import MTOK

PARTS = ("input", "cached input", "cache writes", "output", "fees", "training tokens", "machines", "purchase",
         "interest", "upkeep", "spares", "building", "electricity", "resale", "storage", "idle", "interruptions",
         "people")


def way_values(name: str, kind: str, lines: Sequence[Line], work: Work | None, **more: Any) -> dict[str, Any]:
    """Sums of a way's lines; money is None where a price is not known, with the reason."""
    lines = tagged(list(lines), name)
    sums = totals(lines)
    usd = sums["usd"]
    found: dict[str, Any] = {"name": name, "kind": kind, "usd": usd, "parts": _parts(lines)}
    named = least_certain(usd) if usd is not None else None
    found["least_certain"] = None if named is None else {"name": named[0].label, "share": named[1]}
    if usd is None:
        found["why_no_price"] = why_no_price(lines)
    if work is not None:
        found |= unit_costs(usd, work)
    impacts = {k: sums[k] for k in ("energy_j", "co2e_kg", "water_l")} if kind != "api" else dict.fromkeys(
        ("energy_j", "co2e_kg", "water_l"))
    return found | impacts | more | {"lines": [line.to_dict() for line in lines], "_lines": lines}


def unit_costs(usd: Quantity | None, work: Work) -> dict[str, Any]:
    """A month's money over its requests and its tokens."""
    if usd is None:
        return {"usd_per_request": None, "usd_per_million_tokens": None}
    each = derive(_per, "a request", "USD", usd=usd, count=work.requests_per_month)
    tokens = work.input + work.output
    return {"usd_per_request": each,
            "usd_per_million_tokens": derive(_million, "a million tokens, in and out together", "USD", each=each,
                                             tokens=tokens)}


def _parts(lines: Sequence[Line]) -> dict[str, Quantity]:
    groups: dict[str, list[Quantity]] = {}
    for line in lines:
        if line.usd is not None:
            groups.setdefault(line.usage.tags.get("part", line.usage.item), []).append(line.usd)
    ordered = sorted(groups, key=lambda p: PARTS.index(p) if p in PARTS else len(PARTS))
    return {part: add_all(part, "USD", *groups[part]) for part in ordered}


def _per(usd: Any, count: Any) -> Any:
    """Money over what it was paid for."""
    return usd / count


def _million(each: Any, tokens: Any) -> Any:
    """Money of a request over its tokens, for a million of them."""
    return each / tokens * MTOK
