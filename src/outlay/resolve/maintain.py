"""`maintain:` and the catalogue → what keeping a model up needs: cadences, sizes of the work, prices."""

from __future__ import annotations

from typing import Any

from msgspec import Struct, field

from outlay.derive import Num, Quantity, derive, exact
from outlay.errors import BadValue, Inconsistent
from outlay.physics.upkeep import drift_interval_s
from outlay.resolve.calendar import Defaults
from outlay.resolve.fleet import given
from outlay.resolve.people import engineer_price, or_default
from outlay.scenario_io import to_plain
from outlay.scenario_life import Evaluate, Maintain, Migrate, Mitigate, Monitor, RedTeam, Refresh

YEAR_S = 31_557_600.0
MONTH_S = YEAR_S / 12
DAY_S = 86_400.0


class Rerun(Struct, frozen=True):
    """A part of a training phase run again, or device-hours that are known."""

    every_s: Quantity
    phase: str = ""  # pretrain or finetune; empty: device_hours
    size: Quantity | None = None  # over the phase's own run
    device_hours: Quantity | None = None


class Task(Struct, frozen=True):
    """Work that comes back: bought by the piece, or weeks of people."""

    item: str
    every_s: Quantity
    pieces: Quantity | None = None
    rate: str = ""
    weeks: Quantity | None = None
    device_hours: Quantity | None = None


class MaintainPhase(Struct, frozen=True):
    """The maintenance of one model, every input known."""

    years: float | None
    reruns: dict[str, Rerun]  # by item: refresh, mitigation
    tasks: tuple[Task, ...]
    evaluation: Task | None
    after_changes: bool
    changes: tuple[str, ...]  # items after which the evaluation runs again
    repeats: float
    people: dict[str, Quantity]  # full-time equivalents by item
    monitor_months: bool
    log_bytes: Quantity | None
    idle_devices: int
    hours_per_year: Quantity
    prices: dict[str, Num] = field(default_factory=dict)


def resolve_maintain(
    own: Maintain, tokens: dict[str, float | None], within_life: bool, defaults: Defaults
) -> tuple[MaintainPhase, dict[str, Any]]:
    """The maintenance and the fields its scenario shows.

    tokens: of the training phases of the scenario, by phase; a phase that is not there is missing.
    """
    prices: dict[str, Num] = {}
    prices |= engineer_price(own.usd_per_engineer_year, "maintain.usd_per_engineer_year", defaults)
    reruns: dict[str, Rerun] = {}
    tasks: list[Task] = []
    if own.refresh is not None:
        reruns["refresh"] = _refresh(own.refresh, tokens, defaults)
    if own.mitigate is not None:
        reruns |= _mitigation(own.mitigate, tokens)
        tasks.append(_mitigation_labels(own.mitigate, prices, defaults))
    if own.red_team is not None:
        tasks.append(_red_team(own.red_team, prices))
    if own.migrate is not None:
        tasks.append(_migration(own.migrate, defaults))
    evaluation, after, repeats = _evaluation(own.evaluate, prices, defaults)
    people = {
        "engineers": or_default(own.engineers, "", "engineers", "maintain.engineers", "maintain.engineers", defaults)
    }
    if own.on_call:
        people["on-call"] = given(own.on_call, "", "people on call")
    monitor = own.monitor or Monitor()
    if monitor.usd_per_month is not None:
        prices["items@monitoring month"] = given(monitor.usd_per_month, "USD", "monitoring a month")
    years = own.years
    if years is None and not within_life:
        years = defaults.quantity("maintain.years", "maintain.years").value
    elif years is not None and within_life:
        defaults.notes.warn("maintain.years: not used, because life says how long the model is kept")
    shown = to_plain(own) | ({"years": years} if years is not None else {})
    changes = tuple(n for n in ("refresh", "mitigation", "migration") if n in reruns or any(t.item == n for t in tasks))
    return MaintainPhase(
        years=None if within_life else years,
        reruns=reruns,
        tasks=tuple(tasks),
        evaluation=evaluation,
        after_changes=after,
        changes=changes,
        repeats=repeats,
        people=people,
        monitor_months=monitor.usd_per_month is not None,
        log_bytes=_logs(monitor, defaults),
        idle_devices=own.idle_devices or 0,
        hours_per_year=defaults.quantity("people.hours_per_year"),
        prices=prices,
    ), shown


# ---------------------------------------------------------------- training again


def _refresh(own: Refresh, tokens: dict[str, float | None], defaults: Defaults) -> Rerun:
    every = _cadence(own)
    if own.device_hours is not None:
        return Rerun(every, device_hours=given(own.device_hours, "h", "device-hours of a refresh"))
    phase: str = own.phase or next(iter(p for p in ("finetune", "pretrain") if p in tokens), "")
    if phase not in tokens:
        what = f"the scenario has no {phase} phase" if phase else "the scenario has no pretrain or finetune phase"
        raise Inconsistent(f"maintain.refresh: {what} to run again; add it or give device_hours", "maintain.refresh")
    if own.phase is None:
        defaults.notes.assume("maintain.refresh.phase", phase, "the last training phase of the scenario")
    if own.tokens is not None and own.share is not None:
        raise Inconsistent("maintain.refresh: tokens and share at once; give one", "maintain.refresh.share")
    whole = tokens[phase]
    if own.tokens is not None:
        if whole is None:
            raise BadValue(f"maintain.refresh.tokens: {phase}.tokens is needed beside it", "maintain.refresh.tokens")
        replay = or_default(own.replay, "", "replay", "maintain.replay", "maintain.refresh.replay", defaults)
        size = derive(_size, "refresh over the first run", "", tokens=own.tokens, replay=replay, whole=whole)
        return Rerun(every, phase, size)
    if own.replay is not None:
        raise Inconsistent("maintain.refresh.replay: only with maintain.refresh.tokens", "maintain.refresh.replay")
    if own.share is None and phase == "pretrain":
        raise BadValue(
            "maintain.refresh.tokens: say how much is trained again: tokens, share or device_hours",
            "maintain.refresh.tokens",
        )
    if own.share is None:
        defaults.notes.assume("maintain.refresh.share", 1.0, "the whole fine-tune is run again")
    return Rerun(every, phase, given(1.0 if own.share is None else own.share, "", "share of the run done again"))


def _size(tokens: Any, replay: Any, whole: Any) -> Any:
    """New tokens and those read again, over the tokens of the first run."""
    return tokens * (1.0 + replay) / whole


def _cadence(own: Refresh) -> Quantity:
    drift = (own.drift_per_year, own.tolerance)
    if own.every is not None:
        if drift != (None, None):
            raise Inconsistent(
                "maintain.refresh: every, and drift_per_year or tolerance, at once; give one", "maintain.refresh.every"
            )
        return given(own.every, "s", "time between refreshes")
    if None in drift:
        missing = "drift_per_year" if drift[0] is None else "tolerance"
        if drift == (None, None):
            raise BadValue("maintain.refresh.every: needed, or drift_per_year and tolerance", "maintain.refresh.every")
        raise BadValue(f"maintain.refresh.{missing}: needed beside the other", f"maintain.refresh.{missing}")
    found: Quantity = derive(
        drift_interval_s,
        "time until drift makes a refresh due",
        "s",
        tolerance=given(drift[1] or 0.0, "", "drift allowed"),
        drift_per_year=given(drift[0] or 0.0, "1/year", "drift"),
    )
    return found


def _mitigation(own: Mitigate, tokens: dict[str, float | None]) -> dict[str, Rerun]:
    every = given(own.every, "s", "time between mitigations")
    if own.device_hours is not None:
        if own.finetune_share is not None:
            raise Inconsistent(
                "maintain.mitigate: finetune_share and device_hours at once; give one", "maintain.mitigate.device_hours"
            )
        return {"mitigation": Rerun(every, device_hours=given(own.device_hours, "h", "device-hours of a mitigation"))}
    if own.finetune_share == 0:
        return {}
    if "finetune" not in tokens:
        raise Inconsistent(
            "maintain.mitigate.finetune_share: the scenario has no finetune phase to run again; add it, "
            "give device_hours, or finetune_share: 0",
            "maintain.mitigate.finetune_share",
        )
    share = 1.0 if own.finetune_share is None else own.finetune_share
    return {"mitigation": Rerun(every, "finetune", given(share, "", "share of the fine-tune run again"))}


def _mitigation_labels(own: Mitigate, prices: dict[str, Num], defaults: Defaults) -> Task:
    if own.preferences is None:
        raise BadValue(
            "maintain.mitigate.preferences: say how many comparisons a round takes (InstructGPT used 33,000)",
            "maintain.mitigate.preferences",
        )
    prices["items@mitigation preference"] = or_default(
        own.usd_per_preference,
        "USD",
        "price of a preference",
        "annotation.usd_per_preference",
        "maintain.mitigate.usd_per_preference",
        defaults,
    )
    return Task(
        "mitigation",
        given(own.every, "s", "time between mitigations"),
        given(float(own.preferences), "items", "preferences a round"),
        "mitigation preference",
    )


# ---------------------------------------------------------------- what comes back


def _red_team(own: RedTeam, prices: dict[str, Num]) -> Task:
    every = given(own.every, "s", "time between red teams")
    if (own.usd is None) == (own.engineer_weeks is None):
        raise BadValue(
            "maintain.red_team.usd: give it or engineer_weeks, one of the two; no price of an engagement with a "
            "source is in the catalogue",
            "maintain.red_team.usd",
        )
    if own.usd is None:
        return Task("red team", every, weeks=given(own.engineer_weeks or 0.0, "weeks", "weeks of red-teaming"))
    prices["items@red team"] = given(own.usd, "USD", "a red-team engagement")
    return Task("red team", every, exact(1.0, "items", "engagements", basis="given"), "red team")


def _migration(own: Migrate, defaults: Defaults) -> Task:
    if own.lifetime is not None:
        if own.provider is not None:
            raise Inconsistent("maintain.migrate: provider and lifetime at once; give one", "maintain.migrate.provider")
        lives = given(own.lifetime, "s", "time a model stays on sale")
    else:
        entry = defaults.catalog.find("lifetime", own.provider or "all", "maintain.migrate.provider")
        fact = entry.fact("days")
        defaults.notes.assume(
            "maintain.migrate.lifetime", float(fact.value) * DAY_S, f"{fact.value:g} days, {fact.note}", fact.source
        )
        lives = derive(_days, "time a model stays on sale", "s", days=fact.quantity(defaults.seed))
    weeks = or_default(
        own.engineer_weeks,
        "weeks",
        "weeks of a migration",
        "maintain.migration_engineer_weeks",
        "maintain.migrate.engineer_weeks",
        defaults,
    )
    return Task("migration", lives, weeks=weeks)


def _days(days: Any) -> Any:
    """Days as seconds."""
    return days * DAY_S


def _evaluation(own: Evaluate | None, prices: dict[str, Num], defaults: Defaults) -> tuple[Task | None, bool, float]:
    if own is None:
        return None, False, 1.0
    every = or_default(
        own.every, "s", "time between evaluations", "maintain.evaluate_every_s", "maintain.evaluate.every", defaults
    )
    repeats = or_default(own.repeats, "", "repeats", "maintain.repeats", "maintain.evaluate.repeats", defaults).value
    given_price = {k: v for k in ("suite", "usd", "device_hours") if (v := getattr(own, k)) is not None}
    if len(given_price) != 1:
        raise BadValue("maintain.evaluate: give one of suite, usd and device_hours", "maintain.evaluate.suite")
    hours = None
    if own.suite is not None:
        entry = defaults.catalog.find("evaluation", own.suite, "maintain.evaluate.suite")
        fact = entry.fact("usd" if "usd" in entry else "device_hours")
        defaults.notes.assume(
            "maintain.evaluate.suite", float(fact.value), f"{fact.unit} a run of {entry.name}: {fact.note}", fact.source
        )
        price = fact.quantity(defaults.seed).named(f"a run of {entry.name}")
        hours = price if "device_hours" in entry else None
    elif own.usd is not None:
        price = given(own.usd, "USD", "a run of the evaluation")
    else:
        price = hours = given(own.device_hours or 0.0, "h", "device-hours of an evaluation")
    if hours is None:
        prices["items@evaluation"] = price
    after = True if own.after_changes is None else own.after_changes
    if own.after_changes is None:
        defaults.notes.assume(
            "maintain.evaluate.after_changes", True, "evaluated again after every refresh, mitigation and migration"
        )
    return (
        Task("evaluation", every, exact(1.0, "items", "runs", basis="given"), "evaluation", device_hours=hours),
        after,
        repeats,
    )


def _logs(own: Monitor, defaults: Defaults) -> Quantity | None:
    """Bytes of logs kept at once."""
    if own.log_bytes_per_day is None:
        if own.retention is not None:
            raise Inconsistent("maintain.monitor.retention: only with log_bytes_per_day", "maintain.monitor.retention")
        return None
    kept = or_default(
        own.retention, "s", "retention of logs", "maintain.monitor_retention_s", "maintain.monitor.retention", defaults
    )
    size: Quantity = derive(_kept, "logs kept", "bytes", bytes_per_day=own.log_bytes_per_day, kept_s=kept)
    return size


def _kept(bytes_per_day: Any, kept_s: Any) -> Any:
    """Daily bytes over the time they are kept."""
    return bytes_per_day * kept_s / DAY_S
