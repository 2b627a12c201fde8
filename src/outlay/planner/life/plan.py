"""All phases of a model on one calendar: what each month takes, paid as cash or spread over use, and what moves it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from outlay.account import account, totals
from outlay.derive import Quantity, add_all, derive, exact, value_of
from outlay.errors import BadValue
from outlay.physics import upkeep as up
from outlay.physics.storage import byte_seconds
from outlay.physics.upkeep import MONTH_S, YEAR_S
from outlay.planner.life import sums
from outlay.planner.life.calendar import TRAINING, Span, calendar, months_of, placed
from outlay.planner.life.cash import cash_lines
from outlay.planner.life.growth import growing, grown
from outlay.planner.maintain import WEEKS, plan_maintain
from outlay.planner.needs import use
from outlay.resolve.life import LifePhase
from outlay.resolve.record import Resolved
from outlay.usage import Line, Usage

PHASE = "life"
DONE = ("data", "pretrain", "finetune")


class Lived(Struct, frozen=True):
    """Every line of a life, when its phases are, and what maintenance says of itself."""

    lines: list[Line]
    spans: dict[str, Span]
    maintain: dict[str, Any]


def plan_life(
    resolved: Resolved, phases: Mapping[str, Mapping[str, Any]], lines: Sequence[Line]
) -> tuple[dict[str, Any], dict[str, Any], list[Line]]:
    """(the life, its maintenance, all lines on the calendar) from phases already planned.

    Raises Inconsistent when the years given do not hold the phases, BadValue for training without an end.
    """
    life = resolved.life
    assert life is not None
    for name in TRAINING:
        if name in phases and not any(x.usage.phase == name for x in lines):
            field = f"{name}.tokens"
            raise BadValue(f"{field}: needed for a life, because without it only one step is planned", field)
    lived = live(resolved, life, phases, lines)
    months = months_of(lived.lines, life.horizon_s)
    table = sums.Table(lived.lines, months)
    whole = totals(lived.lines)
    cash = cash_lines(resolved, life, lived.lines)
    values: dict[str, Any] = {
        "years": life.years,
        "start": life.start.isoformat() if life.start is not None else None,
        "calendar": [{"phase": name, "start_s": s.start_s, "end_s": s.end_s} for name, s in lived.spans.items()],
        "months": sums.by_month(table, life.start, _discounts(months, life)),
        "by_year": sums.by_year(table, life.start),
        "by_phase": sums.by_phase(table),
        "by_item": sums.by_item(table),
        "percentiles": sums.percentiles(whole),
        "sensitivity": sums.sensitivity(whole["usd"]),
        "choices": _choices(resolved, life, phases, lines, whole["usd"]),
        "budgets": sums.of_budgets(whole["usd"], life.years, life.personas),
    }
    values |= _paid(values["months"], cash, months, life)
    return values, lived.maintain, lived.lines


def live(resolved: Resolved, life: LifePhase, phases: Mapping[str, Mapping[str, Any]], lines: Sequence[Line]) -> Lived:
    """The lines of all phases, placed, grown and kept up."""
    spans = calendar(resolved, life, phases, lines)
    found = placed([x for x in lines if x.usage.phase in DONE], spans)
    rates = resolved.rates
    assert rates is not None
    if "serve" in phases:
        found += account(_served(resolved, life, phases["serve"], lines, spans["serve"]), rates)
    maintain: dict[str, Any] = {}
    if resolved.maintain is not None:
        span = spans["maintain"]
        maintain, kept = plan_maintain(resolved, found, span.start_s, span.long_s)
        found += kept
    own = replace(rates, usd_per_unit={**rates.usd_per_unit, **life.prices})
    return Lived(found + account(_own(resolved, life, phases, spans), own), spans, maintain)


def _served(
    resolved: Resolved, life: LifePhase, serve: Mapping[str, Any], lines: Sequence[Line], span: Span
) -> list[Usage]:
    mine = [x for x in lines if x.usage.phase == "serve"]
    if not mine:
        resolved.notes.warn(
            "life: the serve phase says nothing of its use; give it a workload, or it costs nothing here"
        )
    how = growing(life, serve, resolved.scenario.get("serve") or {})
    found, most = grown(mine, span, how), how.most(span)
    idle = int(value_of(serve.get("devices_idle") or 0))
    follows = resolved.serve is not None and resolved.serve.asked.replay.scales
    if idle and life.serve_devices is None and not follows:
        resolved.notes.warn(
            f"life: {idle} devices of the fleet wait and are paid for as long as it serves; "
            "life.serve_devices says how many are kept"
        )
    if found and most > how.replicas:
        why = f"grown from {how.replicas}; one is added when those there are {100 * how.most_load:.0f} % full"
        resolved.notes.assume("replicas in the busiest month", most, f"{why}, on more devices where the fleet is full")
    if found and how.period_s is not None:
        why = "the hours, requests or batch of the serve phase are one year's, and come again every year"
        resolved.notes.assume("serving of a year", 1.0, why)
    return found


def _own(
    resolved: Resolved, life: LifePhase, phases: Mapping[str, Mapping[str, Any]], spans: Mapping[str, Span]
) -> list[Usage]:
    """People who build the model, weights kept, and the end."""
    place, usages = resolved.place, []
    ready_s = max((s.end_s for name, s in spans.items() if name in (*DONE, "experiments")), default=0.0)
    if life.engineers:
        long_s = ready_s or life.horizon_s
        usages.append(_people("people", life.engineers, long_s, 0.0, long_s, life, place))
    weights = _weights(phases)
    if weights is not None:
        kept_s = max(0.0, life.horizon_s - ready_s)
        held = derive(byte_seconds, "weights, bytes times time", "byte·s", stored_bytes=weights, stored_s=kept_s)
        usages.append(use(PHASE, "weights kept", "storage_byte_s", held, "byte·s", place, ready_s, kept_s))
        if life.archive_s:
            held = derive(
                byte_seconds, "archive, bytes times time", "byte·s", stored_bytes=weights, stored_s=life.archive_s
            )
            usages.append(
                use(PHASE, "archive", "storage_byte_s", held, "byte·s", place, life.horizon_s, life.archive_s)
            )
    if life.retire_weeks:
        long_s = life.retire_weeks / WEEKS * YEAR_S
        usages.append(_people("retirement", 1.0, long_s, max(0.0, life.horizon_s - long_s), long_s, life, place))
    return usages


def _people(
    item: str, people: float, paid_s: float, start_s: float, long_s: float, life: LifePhase, place: str
) -> Usage:
    worked = derive(
        up.person_s,
        f"working time, {item}",
        "s",
        people=exact(people, "", "people", basis="given"),
        duration_s=paid_s,
        hours_per_year=life.hours_per_year,
    )
    return use(PHASE, item, "person_s", worked, "s", place, start_s, long_s)


def _weights(phases: Mapping[str, Mapping[str, Any]]) -> Quantity | None:
    """Bytes of what training leaves: the last checkpoint and the fine-tuned weights."""
    sizes = [
        phases[p].get(k)
        for p, k in (("pretrain", "checkpoint_bytes"), ("finetune", "saved_model_bytes"))
        if p in phases
    ]
    known = [s for s in sizes if isinstance(s, Quantity)]
    whole: Quantity | None = add_all("weights kept", "bytes", *known) if known else None
    return whole


# ---------------------------------------------------------------- money in time


def _discounts(months: int, life: LifePhase) -> Any:
    """Present value of one dollar in the middle of each month."""
    years = np.asarray((np.arange(months) + 0.5) * MONTH_S / YEAR_S, dtype=float)
    return up.present_value(1.0, life.discount_per_year.value, years)


def _paid(months: list[dict[str, Any]], cash: list[Line] | None, count: int, life: LifePhase) -> dict[str, Any]:
    """Spread over use and as cash, each at its sum and discounted to the start."""
    found: dict[str, Any] = {"discount_per_year": life.discount_per_year}
    if cash is None or any(row["usd"] is None for row in months):
        return found | {"amortised_usd": None, "cash_usd": None, "present_value_usd": None}
    paid = sums.Table(cash, max(count, months_of(cash, life.horizon_s)))
    rows = [paid.sums(paid.shares[:, m], "cash")["usd"] for m in range(paid.months)]
    for row, one in zip(months, rows, strict=False):
        row["cash_usd"] = one
    years = [(m + 0.5) * MONTH_S / YEAR_S for m in range(paid.months)]
    worth = [
        derive(up.present_value, "present value", "USD", amount=one, discount_per_year=life.discount_per_year, years=y)
        for one, y in zip(rows, years, strict=True)
    ]
    items: dict[str, list[Quantity]] = {}
    for line in cash:
        if "cash" in line.usage.tags and line.usd is not None:
            items.setdefault(line.usage.item, []).append(line.usd)
    return found | {
        "amortised_usd": add_all("money, spread over use", "USD", *(row["usd"] for row in months)),
        "cash_usd": add_all("money, as cash", "USD", *(one for one in rows if one is not None)),
        "present_value_usd": add_all("money, as cash, discounted to the start", "USD", *worth),
        "ownership_cash": {item: add_all(item, "USD", *parts) for item, parts in items.items()},
    }


# ---------------------------------------------------------------- choices


def _choices(
    resolved: Resolved,
    life: LifePhase,
    phases: Mapping[str, Mapping[str, Any]],
    lines: Sequence[Line],
    total: Quantity | None,
) -> list[dict[str, Any]]:
    """What a year more or less, and faster growth, would change: the calendar lived again with that alone changed."""
    if total is None:
        return []
    tried = [("a year more", replace(life, years=life.years + 1))]
    if life.years > 1:
        tried.append(("a year less", replace(life, years=life.years - 1)))
    if "serve" in phases:
        tried.append(
            ("traffic growing 10 points a year faster", replace(life, growth_per_year=life.growth_per_year + 0.1))
        )
    found = []
    quiet = replace(resolved, notes=type(resolved.notes)())
    for what, other in tried:
        usd = _tried(quiet, life, other, phases, lines)
        if usd is not None and abs(usd - total.value) > 1e-6 * abs(total.value):
            found.append({"choice": what, "usd_change": usd - total.value})
    return found


def _tried(
    resolved: Resolved,
    life: LifePhase,
    other: LifePhase,
    phases: Mapping[str, Mapping[str, Any]],
    lines: Sequence[Line],
) -> float | None:
    """Money of the life with another calendar; None where that cannot be."""
    from outlay.errors import OutlayError
    from outlay.planner.data import plan_data

    kept, data = list(lines), resolved.data
    if data is not None and data.storage.retention_s.value == life.horizon_s:  # the corpus lasts as long as the life
        store = replace(data.storage, retention_s=exact(other.horizon_s, "s", "retention", basis="given"))
        resolved = replace(resolved, data=replace(data, storage=store))
        kept = [x for x in lines if x.usage.phase != "data"] + plan_data(resolved, dict(phases.get("serve") or {}))[1]
    try:
        return sums.total_usd(live(resolved, other, phases, kept).lines)
    except OutlayError:
        return None
