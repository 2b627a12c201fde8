"""Calendar months of a plan: a line that runs from one into the next is split by time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta

from outlay.errors import BadValue

MAX_MONTHS = 1200


def day(text: str, field: str) -> datetime:
    """The start of a day in UTC.

    >>> day("2026-03-15", "--start").isoformat()
    '2026-03-15T00:00:00+00:00'
    """
    try:
        found = date.fromisoformat(text.strip() if len(text.strip()) != 7 else f"{text.strip()}-01")
    except ValueError:
        raise BadValue(f"{field}: {text[:40]!r} is not a date; write for example 2026-12-01", field) from None
    if not 1990 <= found.year <= 2200:
        raise BadValue(f"{field}: {text} is outside the years 1990 to 2200", field)
    return datetime(found.year, found.month, found.day, tzinfo=UTC)


def month_after(text: str) -> datetime:
    """The first day of the month after a date.

    >>> month_after("2026-11-23").date().isoformat()
    '2026-12-01'
    """
    return next_month(day(text, "date"))


def next_month(moment: datetime) -> datetime:
    first = moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return first.replace(year=first.year + first.month // 12, month=first.month % 12 + 1)


def split(
    start: datetime, duration_s: float, profile: Sequence[float] = ()
) -> Iterator[tuple[datetime, datetime, float]]:
    """(from, to, share of the whole) for each calendar month; `to` is not included.

    profile: shares of the whole in equal parts of the duration, as a line that grows has them; empty: evenly.

    >>> parts = list(split(day("2026-01-30", ""), 4 * 86400.0))
    >>> [(a.date().isoformat(), round(share, 2)) for a, _, share in parts]
    [('2026-01-30', 0.5), ('2026-02-01', 0.5)]
    """
    end = start + timedelta(seconds=max(duration_s, 1.0))
    whole = (end - start).total_seconds()
    at = start
    for _ in range(MAX_MONTHS):
        until = min(end, next_month(at))
        before, after = (done_by(profile, (moment - start).total_seconds() / whole) for moment in (at, until))
        yield at, until, after - before
        if until >= end:
            return
        at = until
    raise BadValue(f"the plan runs for more than {MAX_MONTHS} months; export a part of it", "--start")


def done_by(profile: Sequence[float], time: float) -> float:
    """What part of the whole falls before a part of the duration.

    >>> done_by((), 0.25), done_by((0.1, 0.9), 0.75)
    (0.25, 0.55)
    """
    if not profile:
        return time
    at = min(max(time, 0.0), 1.0) * len(profile)
    whole = int(at)
    return sum(profile[:whole]) + (profile[whole] * (at - whole) if whole < len(profile) else 0.0)
