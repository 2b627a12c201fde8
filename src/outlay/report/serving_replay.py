"""The part of a serving page that is about a replay: what was replayed, how much of it was good, who stood when."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from outlay.report.blocks import Table
from outlay.report.numbers import number, one

BARS = "▁▂▃▄▅▆▇█"


def replay(phase: Mapping[str, Any]) -> Table | None:
    """What the times come from, where they are those of requests replayed one by one."""
    found = phase.get("replay") or {}
    if not found.get("own"):
        return None
    rows = [("requests", f"{found['requests']:,} in {one(found['seconds'], 's')}, seed {found['seed']}"),
            ("to the replica", f"{found['router'].replace('_', ' ')}, of {found['replicas']:,}"),
            *_good(found), *_cache(found), ("devices at work", _percent(found["utilization"])), *_standing(found),
            *_power(found)]
    return Table("The replay", ("", ""), tuple(rows), text_columns=frozenset({0, 1}))


def _good(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Goodput under the promises, and what was refused or had to give way."""
    rows = []
    if "goodput_share" in found:
        rate = f"{found['goodput_per_s']:,.3g} requests a second"
        rows.append(("within all promises", f"{_percent(found['goodput_share'])}, {rate}"))
    if found.get("dropped") or found.get("preemptions"):
        rows.append(("refused, gave way", f"{found['dropped']:,.0f}, {found['preemptions']:,.0f}"))
    return rows


def _cache(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    share = found.get("cached_share") or 0.0
    return [("prompt tokens cached", _percent(share))] if share else []


def _standing(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Replicas that come and go."""
    mean = number(found.get("replicas_mean"))
    if mean is None:
        return []
    share = f"{100.0 * mean / max(found['replicas'], 1):.0f} % of all the time"
    return [
        ("replicas paid for", f"{_count(found['replicas_mean'])} mean, {found['replicas_most']} at most; {share}"),
        ("starts", f"{found['starts']}; until one answers {one(found['cold_start_s'], 's')}"),
        ("another starts at", f"{found['target_requests']:,.0f} requests inside each"),
    ]


def _count(value: Any) -> str:
    low, high = (number(value.get(key)) for key in ("low", "high")) if isinstance(value, Mapping) else (None, None)
    text = f"{number(value) or 0.0:.1f}"
    return text if low is None or high is None or f"{low:.1f}" == f"{high:.1f}" else f"{text} [{low:.1f}–{high:.1f}]"


def _power(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Power of the devices over the time of the replay, as bars, the lowest at their least."""
    watts = (found.get("over_time") or {}).get("power_w") or []
    if not watts:
        return []
    low, high = min(watts), max(watts)
    bars = "".join(BARS[min(int((w - low) / max(high - low, 1e-9) * len(BARS)), len(BARS) - 1)] for w in watts)
    return [("power over time", bars), ("", f"{one(low, 'W')} to {one(high, 'W')}")]


def _percent(share: float) -> str:
    return f"{100.0 * share:.1f} %" if 0.0005 < share < 0.9995 else f"{100.0 * share:.0f} %"
