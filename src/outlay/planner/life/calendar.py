"""When each phase happens: data and experiments first, then training, then serving and keeping it up to the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import NDArray

from outlay.derive import value_of
from outlay.errors import Inconsistent
from outlay.physics.upkeep import MONTH_S, YEAR_S
from outlay.resolve.life import LifePhase
from outlay.resolve.record import Resolved
from outlay.usage import Line, Usage

TRAINING = ("pretrain", "finetune")


class Span(Struct, frozen=True):
    start_s: float
    end_s: float

    @property
    def long_s(self) -> float:
        return self.end_s - self.start_s


def calendar(
    resolved: Resolved, life: LifePhase, phases: Mapping[str, Mapping[str, Any]], lines: Sequence[Line]
) -> dict[str, Span]:
    """Start and end of every phase there is; "experiments" stands before the pre-training it belongs to.

    Raises Inconsistent when the life ends before training is done or serving begins.
    """
    found: dict[str, Span] = {}
    at_s = 0.0
    if "data" in phases:
        found["data"] = Span(0.0, value_of(phases["data"]["elapsed_s"]))
        at_s = found["data"].end_s
    trial_s = _experiments_s(resolved, lines)
    at_s = max(at_s, trial_s)
    if trial_s:
        found["experiments"] = Span(at_s - trial_s, at_s)
    for name in TRAINING:
        if name in phases:
            found[name] = Span(at_s, at_s + value_of(phases[name].get("elapsed_s") or 0.0))
            at_s = found[name].end_s
    if at_s > life.horizon_s * (1 + 1e-9):
        raise Inconsistent(
            f"life.years: {life.years:g}, but data and training alone take {at_s / YEAR_S:.2f} years; give "
            "more years or devices",
            "life.years",
        )
    ready_s = at_s
    if life.serve_from_s is not None:
        if life.serve_from_s < ready_s * (1 - 1e-9):
            raise Inconsistent(
                f"life.serve_from: serving cannot begin after {life.serve_from_s / MONTH_S:.1f} months, "
                f"because the model is ready after {ready_s / MONTH_S:.1f}",
                "life.serve_from",
            )
        if life.serve_from_s >= life.horizon_s:
            raise Inconsistent(
                f"life.serve_from: {life.serve_from_s / YEAR_S:.2f} years is not before the end of the life, "
                f"{life.years:g} years",
                "life.serve_from",
            )
        ready_s = life.serve_from_s
    for name in ("serve", "maintain"):
        if name in phases or (name == "maintain" and resolved.maintain is not None):
            found[name] = Span(ready_s, life.horizon_s)
    return found


def _experiments_s(resolved: Resolved, lines: Sequence[Line]) -> float:
    """How long the experiments keep the whole fleet busy."""
    held = sum(
        x.usage.quantity.value for x in lines if x.usage.item == "experiments" and x.usage.resource == "device_s"
    )
    return held / resolved.hardware.devices if resolved.hardware is not None else 0.0


def placed(lines: Sequence[Line], spans: Mapping[str, Span]) -> list[Line]:
    """Lines of data and training moved to their place; money and energy stay as accounted."""
    found = []
    for line in lines:
        usage = line.usage
        span = spans.get("experiments" if usage.item == "experiments" else usage.phase)
        if span is None or usage.phase == "data":
            found.append(line)
            continue
        long_s = span.long_s if usage.item == "experiments" else usage.duration_s
        found.append(replace(line, usage=replace(usage, start_s=span.start_s + usage.start_s, duration_s=long_s)))
    return found


# ---------------------------------------------------------------- months


def month_shares(usage: Usage, months: int) -> NDArray[np.float64]:
    """What part of a usage falls in each month; adds up to one."""
    shares = np.zeros(months)
    if usage.duration_s <= 0:
        shares[min(months - 1, int(usage.start_s / MONTH_S))] = 1.0
        return shares
    weights = np.asarray(usage.profile or (1.0,), dtype=float)
    edges = usage.start_s + usage.duration_s * np.arange(len(weights) + 1) / len(weights)
    done = np.concatenate(([0.0], np.cumsum(weights / weights.sum())))
    borders = np.arange(months + 1) * MONTH_S
    at = np.interp(borders, edges, done, left=0.0, right=1.0)
    at[-1] = 1.0
    found: NDArray[np.float64] = np.diff(at)
    found[0] += at[0]
    return found


def months_of(lines: Sequence[Line], horizon_s: float) -> int:
    """Months until everything has ended."""
    last_s = max([horizon_s, *(x.usage.start_s + x.usage.duration_s for x in lines)])
    return max(1, int(np.ceil(last_s / MONTH_S - 1e-6)))


def label(month: int, start: date | None) -> str:
    """A month by its date, or by its number.

    >>> label(0, None), label(13, date(2027, 1, 1))
    ('month 1', '2028-02')
    """
    if start is None:
        return f"month {month + 1}"
    count = start.month - 1 + month
    return f"{start.year + count // 12}-{count % 12 + 1:02d}"
