"""The part of a serving page that is about a replay: what was replayed, how much of it was good, who stood when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
            *_pools(found, phase.get("pools") or {}), *_over_time(found), *_power(found)]
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
        ("another starts at", f"{_inside(found)} requests inside each"),
    ]


def _pools(found: Mapping[str, Any], pools: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The same of two pools, each of which has its own."""
    rows = []
    for name, own in (found.get("pools") or {}).items():
        most = f"{own['replicas_most']} at most, of {pools[name]['replicas']}"
        rows.append((f"{name} replicas paid for", f"{_count(own['replicas_mean'])} mean, {most}"))
        rows.append(("  starts", f"{own['starts']}; until one answers {one(own['cold_start_s'], 's')}"))
        rows.append(("  another starts at", f"{_inside(own)} requests inside each"))
    return rows


def _inside(found: Mapping[str, Any]) -> str:
    target = found["target_requests"]
    return f"{target:,.0f}" if target >= 10.0 else f"{target:.2g}"


def _over_time(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Replicas of each pool over the time of the replay, as bars from none to the most."""
    told = (found.get("over_time") or {}).get("replicas") or {}
    counts = {f"{name} over time": row for name, row in told.items()} if isinstance(told, Mapping) else {
        "replicas over time": told}
    return [(label, _bars(row, 0.0, max(row))) for label, row in counts.items()]


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
    return [("power over time", _bars(watts, low, high)), ("", f"{one(low, 'W')} to {one(high, 'W')}")]


def _bars(values: Sequence[float], low: float, high: float) -> str:
    """Values between two others as bars.

    >>> _bars([0.0, 1.0, 2.0], 0.0, 2.0)
    '▁▅█'
    """
    return "".join(BARS[min(int((v - low) / max(high - low, 1e-9) * len(BARS)), len(BARS) - 1)] for v in values)


def _percent(share: float) -> str:
    return f"{100.0 * share:.1f} %" if 0.0005 < share < 0.9995 else f"{100.0 * share:.0f} %"
