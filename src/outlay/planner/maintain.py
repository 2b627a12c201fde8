"""The maintenance plan: training again, evaluation, mitigation, migration, people, idle hosting; then accounted.

What comes back at a cadence accrues evenly: a refresh due every two years costs half of itself a year.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from outlay.account import account, totals
from outlay.derive import Num, Quantity, add_all, derive, exact
from outlay.errors import Inconsistent
from outlay.physics import upkeep as up
from outlay.physics.storage import byte_seconds
from outlay.planner.needs import device_work, hours_of, use
from outlay.resolve.maintain import YEAR_S, MaintainPhase, Rerun, Task
from outlay.resolve.record import Resolved
from outlay.usage import Line, Resource, Scope, Usage

PHASE = "maintain"
WEEKS = 52.18  # in a year of 365.25 days
NOT_RUN_AGAIN = ("experiments",)


def plan_maintain(
    resolved: Resolved, trained: Sequence[Line], start_s: float = 0.0, duration_s: float | None = None
) -> tuple[dict[str, Any], list[Line]]:
    """Everything the result says of the maintenance, and its lines.

    trained: lines of the training phases, which refresh and mitigation run again in part.
    """
    phase, rates = resolved.maintain, resolved.rates
    assert phase is not None and rates is not None
    long_s = duration_s if duration_s is not None else (phase.years or 1.0) * YEAR_S
    rates = replace(rates, usd_per_unit={**rates.usd_per_unit, **phase.prices})
    at = _Span(resolved, phase, start_s, long_s)
    usages = [*_reruns(at, trained), *_tasks(at), *_evaluations(at), *_people(at), *_hosting(at)]
    lines = account(usages, rates)
    sums = totals(lines)
    values: dict[str, Any] = {
        "elapsed_s": exact(long_s, "s", "time kept up", basis="given"),
        "cadences": _often(at),
        "person_hours": hours_of(lines, "person_s", "person-hours"),
        "people": add_all("people", "", *phase.people.values()),
        "device_hours": sums["device_hours"],
    }
    if sums["usd"] is not None:
        values["usd_per_year"] = derive(_per_year, "money a year", "USD", usd=sums["usd"], years=long_s / YEAR_S)
    return values, lines


def _often(at: _Span) -> dict[str, dict[str, Quantity]]:
    """By item, its interval and how often it comes; the evaluation comes after every change too."""
    found = {item: {"every_s": every, "times": at.times(every)} for item, every in _cadences(at.phase).items()}
    if at.phase.evaluation is not None:
        found["evaluation"]["times"] = _evaluated(at, at.phase.evaluation)
    return found


def _per_year(usd: Any, years: Any) -> Any:
    """Money over years."""
    return usd / years


class _Span:
    """The time a model is kept up, and short ways to say what is used in it."""

    def __init__(self, resolved: Resolved, phase: MaintainPhase, start_s: float, long_s: float) -> None:
        self.resolved, self.phase, self.start_s, self.long_s = resolved, phase, start_s, long_s

    def times(self, every: Quantity) -> Quantity:
        found: Quantity = derive(up.times, "how often", "", duration_s=self.long_s, every_s=every)
        return found

    def use(self, item: str, resource: Resource, amount: Quantity, unit: str, rate: str = "") -> Usage:
        run = "logs" if resource == "storage_byte_s" else ""
        return use(PHASE, item, resource, amount, unit, self.resolved.place, self.start_s, self.long_s, rate, run)

    def work(self, item: str, held: Quantity, idle: bool = False) -> list[Usage]:
        return device_work(self.resolved, PHASE, item, held, self.start_s, self.long_s, idle)

    def people(self, item: str, people: Num) -> Usage:
        worked = derive(
            up.person_s,
            f"working time, {item}",
            "s",
            people=people,
            duration_s=self.long_s,
            hours_per_year=self.phase.hours_per_year,
        )
        return self.use(item, "person_s", worked, "s")


def _cadences(phase: MaintainPhase) -> dict[str, Quantity]:
    found = {item: rerun.every_s for item, rerun in phase.reruns.items()}
    found |= {task.item: task.every_s for task in phase.tasks}
    return found | ({"evaluation": phase.evaluation.every_s} if phase.evaluation is not None else {})


# ---------------------------------------------------------------- training again


def _reruns(at: _Span, trained: Sequence[Line]) -> list[Usage]:
    usages: list[Usage] = []
    for item, rerun in at.phase.reruns.items():
        often = at.times(rerun.every_s)
        if rerun.device_hours is not None:
            held = derive(_repeated_s, f"device-seconds, {item}", "s", hours=rerun.device_hours, times=often)
            usages += at.work(item, held)
        else:
            usages += _again(at, item, rerun, often, trained)
    return usages


def _repeated_s(hours: Any, times: Any) -> Any:
    """Hours as seconds, so many times over."""
    return hours * 3600.0 * times


def _again(at: _Span, item: str, rerun: Rerun, often: Quantity, trained: Sequence[Line]) -> list[Usage]:
    """A part of a phase's own device-seconds and energy, experiments around it apart."""
    sums: dict[tuple[Resource, Scope, str], list[Quantity]] = {}
    for line in trained:
        was = line.usage
        if (
            was.phase == rerun.phase
            and was.resource in ("device_s", "energy_j")
            and "overhead" not in was.tags
            and was.item not in NOT_RUN_AGAIN
        ):
            sums.setdefault((was.resource, was.scope, was.unit), []).append(was.quantity)
    if not sums:
        raise Inconsistent(
            f"maintain.{'refresh' if item == 'refresh' else 'mitigate'}: the {rerun.phase} phase gives no "
            f"device-hours to run again; say how many tokens it trains on",
            f"{rerun.phase}.tokens",
        )
    found = []
    for (resource, scope, unit), parts in sums.items():
        whole = add_all(f"{rerun.phase} run", unit, *parts)
        amount = derive(_part, f"{item}, {resource}", unit, whole=whole, size=rerun.size, times=often)
        found.append(replace(at.use(item, resource, amount, unit), scope=scope))
    return found


def _part(whole: Any, size: Any, times: Any) -> Any:
    """A part of a run, so many times over."""
    return whole * size * times


# ---------------------------------------------------------------- what comes back


def _tasks(at: _Span) -> list[Usage]:
    return [u for task in at.phase.tasks for u in _task(at, task, at.times(task.every_s))]


def _task(at: _Span, task: Task, often: Quantity) -> list[Usage]:
    found: list[Usage] = []
    if task.device_hours is not None:
        held = derive(_repeated_s, f"device-seconds, {task.item}", "s", hours=task.device_hours, times=often)
        return at.work(task.item, held)
    if task.pieces is not None:
        amount = derive(_over, f"{task.item}, pieces", "items", pieces=task.pieces, times=often)
        found.append(at.use(task.item, "items", amount, "items", task.rate))
    if task.weeks is not None:
        people = derive(
            _people_of, f"{task.item}, people", "", weeks=task.weeks, times=often, weeks_long=at.long_s / YEAR_S * WEEKS
        )
        found.append(at.people(task.item, people))
    return found


def _over(pieces: Any, times: Any) -> Any:
    """Pieces a time, so many times over."""
    return pieces * times


def _people_of(weeks: Any, times: Any, weeks_long: Any) -> Any:
    """Full-time people that so many weeks of work are, spread over the whole time."""
    return weeks * times / weeks_long


def _evaluations(at: _Span) -> list[Usage]:
    """The suite at its cadence and after every change, each time as often as it is repeated."""
    task, phase = at.phase.evaluation, at.phase
    if task is None:
        return []
    return _task(at, task, derive(_over, "evaluation runs", "", pieces=_evaluated(at, task), times=phase.repeats))


def _evaluated(at: _Span, task: Task) -> Quantity:
    """How often the model is evaluated: at the suite's cadence, and after every change."""
    cadences, runs = _cadences(at.phase), at.times(task.every_s)
    if at.phase.after_changes and at.phase.changes:
        runs = add_all("evaluations", "", runs, *(at.times(cadences[name]) for name in at.phase.changes))
    return runs


# ---------------------------------------------------------------- standing


def _people(at: _Span) -> list[Usage]:
    return [at.people(item, people) for item, people in at.phase.people.items() if people.value > 0]


def _hosting(at: _Span) -> list[Usage]:
    """Monitoring by the month, logs at rest, and devices that wait."""
    phase, found = at.phase, []
    if phase.monitor_months:
        months = exact(at.long_s / up.MONTH_S, "months", "months watched", basis="given")
        found.append(at.use("monitoring", "items", months, "items", "monitoring month"))
    if phase.log_bytes is not None:
        held = derive(
            byte_seconds, "logs, bytes times time", "byte·s", stored_bytes=phase.log_bytes, stored_s=at.long_s
        )
        found.append(at.use("logs", "storage_byte_s", held, "byte·s"))
    if phase.idle_devices:
        waits = exact(phase.idle_devices * at.long_s, "s", "device-seconds waiting", basis="given")
        found += at.work("idle hosting", waits, idle=True)
    return found
