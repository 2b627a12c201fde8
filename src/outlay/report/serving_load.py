"""The part of a serving page that is about a load: latency, how close to saturation, price of a token, other loads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from outlay.report.blocks import Table
from outlay.report.numbers import number, one

_TIMES = (("first token", "ttft"), ("each further token", "tpot"), ("whole request", "e2e"))
_PERCENTILES = ("p50", "p90", "p99")


def latency(phase: Mapping[str, Any]) -> Table | None:
    """Times of a request under the load asked about; percentiles where they are known."""
    if number(phase.get("tpot_s")) is None:
        return None
    promised = {str(kept["of"]) for kept in (phase.get("slo") or {}).values()} - {"mean"}
    told = sorted({*_PERCENTILES, *promised}, key=lambda p: float(p[1:]))
    known = [p for p in told if number(phase.get(f"ttft_{p}_s")) is not None]
    rows = tuple(
        (label, one(phase.get(f"{name}_s"), "s"), *[one(phase.get(f"{name}_{p}_s"), "s") for p in known])
        for label, name in _TIMES
        if number(phase.get(f"{name}_s")) is not None
    )
    title = f"A request of {phase.get('input', 0):,.0f} tokens in, {phase.get('output', 0):,.0f} out"
    return Table(title, ("", "mean", *known), rows)


def load(phase: Mapping[str, Any]) -> Table | None:
    """Users, requests a second and in flight, for the load and for what the deployment sustains."""
    if number(phase.get("capacity_requests_per_s")) is None:
        return None
    rows = [
        ("requests a second", count(phase.get("rate"), 2), count(phase.get("capacity_requests_per_s"), 2)),
        ("in flight", count(phase.get("concurrency"), 1), count(phase.get("capacity_concurrency"))),
        (f"users, busiest hour{_each(phase)}", count(phase.get("users")), count(phase.get("capacity_users"))),
        ("output tokens a second", count(phase.get("output_tokens_per_s")), _capacity_tokens(phase)),
    ]
    within = phase.get("within_slo")
    if not within:
        return Table("The load", ("", "now", "at most"), tuple(rows))
    rate, tokens = within["requests_per_s"], within["requests_per_s"] * phase["output"]
    kept = (f"{rate:,.2f}", f"{within['concurrency']:,.1f}", f"{within['users']:,.0f}", f"{tokens:,.0f}")
    return Table("The load", ("", "now", "promises kept", "at most"),
                 tuple((row[0], row[1], held, row[2]) for row, held in zip(rows, kept, strict=True)))


def _each(phase: Mapping[str, Any]) -> str:
    """How many requests of a person an hour the number of users stands for."""
    most, users = number(phase.get("capacity_requests_per_s")), number(phase.get("capacity_users"))
    return "" if not most or not users else f", {most * 3600.0 / users:.3g} requests each"


def _capacity_tokens(phase: Mapping[str, Any]) -> str:
    rate, output = number(phase.get("capacity_requests_per_s")), number(phase.get("output"))
    return "" if rate is None or output is None else f"{rate * output:,.0f}"


def other_loads(phase: Mapping[str, Any]) -> Table | None:
    """What more or fewer requests at once would do."""
    found = phase.get("loads") or []
    if len(found) < 2:
        return None
    rows = tuple(
        (
            f"{row['concurrency']:,.0f}",
            one(row["ttft_s"], "s"),
            one(row["tpot_s"], "s"),
            f"{row['output_tokens_per_s']:,.0f}",
            f"{row['users']:,.0f}",
        )
        for row in found
    )
    head = ("in flight", "first token", "each token", "tokens/s", "users")
    return Table("Other loads", head, rows)


_WAYS = {"fixed": "all the time", "autoscale": "by the hour"}
_PERIODS = {24: "day", 168: "week", 8760: "year"}


def by_hour(phase: Mapping[str, Any]) -> Table | None:
    """What it comes to when the load is followed by the hour, over the time in service."""
    day = phase.get("day")
    if not day:
        return None
    ways = day["ways"]
    rows = tuple(
        (
            _way(row), _replicas(row), one(row.get("device_hours"), "h"), one(row.get("usd"), "USD"),
            f"{100 * row['idle_share']:.0f} %", one(row.get("energy_j"), "J"), one(row.get("co2e_kg"), "kg"),
        )
        for row in ways
    )
    mean = f"{100 * day['mean_over_peak']:.0f} % of the busiest hour on average"
    title = f"A {_PERIODS.get(day['hours'], 'cycle')} of {day['shape']}: {mean}"
    mark = next((i for i, row in enumerate(ways) if row["way"] == day["scaling"]), 0)
    head = ("", str(day.get("unit") or "replicas"), "device-hours", "money", "idle", "energy", "carbon")
    return Table(title, head, rows, mark=mark)


def _way(row: Mapping[str, Any]) -> str:
    if row["way"] == "mixed":
        return f"{row['reserved_replicas']} for {row['commitment']}" if row.get("commitment") else "none reserved"
    return _WAYS[str(row["way"])]


def _replicas(row: Mapping[str, Any]) -> str:
    mean = number(row.get("replicas")) or 0.0
    return f"{mean:,.1f} of {row['replicas_most']:,}" if row["way"] != "fixed" else f"{mean:,.0f}"


def options(phase: Mapping[str, Any]) -> list[Table]:
    """Deployments a search found: the best by its aim, and what no other beats in everything."""
    found = phase.get("search") or {}
    tables = []
    best, front = found.get("best") or [], found.get("front") or []
    if best:
        aim, many = found.get("aim"), found.get("considered")
        title = f"Best by {aim}, of {many} deployments planned{_replayed(found)}"
        if not any(row.get("meets_slo", True) for row in [*best, *front]):
            title = f"None of {many} deployments planned keeps the promise; the nearest first"
        title += " (a+b: two pools)" if any(row.get("pools") for row in [*best, *front]) else ""
        tables.append(Table(title, _OPTION_HEAD, tuple(_option(row) for row in best), mark=0))
    others = [row for row in front if row not in best]
    if others:
        title = "No other beats these in money, latency, energy and carbon at once"
        tables.append(Table(title, _OPTION_HEAD, tuple(_option(row) for row in others[:FRONT_SHOWN])))
    return tables


def _replayed(found: Mapping[str, Any]) -> str:
    """Whether the first was held against its own requests."""
    by = sorted({of for of in (found.get("verified_by") or {}).values() if of != "mean"})
    return f"; the first replayed at {', '.join(by)}" if found.get("verified") and by else ""


FRONT_SHOWN = 6
_OPTION_HEAD = ("", "in", "TP", "copies", "$/h", "$/M out", "first ms", "token ms", "J a token", "limit first")


def _ranks(row: Mapping[str, Any]) -> str:
    return f"{row['tensor']}" if row.get("data", 1) == 1 else f"DP {row['data']}"


def _option(row: Mapping[str, Any]) -> tuple[str, ...]:
    pools = list((row.get("pools") or {}).values())
    ranks = "+".join(_ranks(own) for own in pools or [row])
    replicas = "+".join(f"{own['replicas']}" for own in pools or [row])
    energy = number(row.get("energy_per_output_token_j"))
    return (
        str(row["fleet"]), str(row["precision"]), ranks, replicas,
        _money(row.get("usd_per_hour")), _money(row.get("usd_per_million_output_tokens")),
        _ms(row["ttft_s"]), _ms(row["tpot_s"]), "–" if energy is None else f"{energy:.2g}",
        str(row["breaks_first"]),
    )


def _money(value: Any) -> str:
    nominal = number(value)
    return "–" if nominal is None else f"{nominal:,.2f}"


def _ms(value: Any) -> str:
    nominal = number(value)
    return "–" if nominal is None else f"{1e3 * nominal:,.0f}" if nominal >= 0.1 else f"{1e3 * nominal:.3g}"


def surer(phase: Mapping[str, Any]) -> str:
    """What keeps the promises more likely than the best does."""
    found = (phase.get("search") or {}).get("surer")
    if not found:
        return ""
    pools = pools_told(found.get("pools") or {}, str(found["device"]))
    return (f"Surer: {pools or found['fleet']} in {found['precision']}, {100 * found['meets_slo_probability']:.0f} % "
            f"likely to keep them, for ${found['usd_per_hour']:,.2f} an hour")


def next_step(phase: Mapping[str, Any]) -> str:
    """What one would take for half as much again."""
    found = (phase.get("search") or {}).get("next_step")
    if not found:
        return ""
    pools = pools_told(found.get("pools") or {}, str(found.get("device", "")))
    return (f"Next step up: {pools or found['fleet']} in {found['precision']}, {found['users']:,.0f} users for "
            f"${found['usd_per_hour']:,.2f} an hour")


def pools_told(pools: Mapping[str, Any], device: str) -> str:
    """Two pools as people write them: 2x prefill 4xh100 + 1x decode 8xh100; empty where there are none."""
    said = []
    for name, pool in pools.items():
        each = int(pool["devices_per_replica"])
        said.append(f"{pool['replicas']}x {name} {f'{each}x{device}' if each > 1 else device}")
    return " + ".join(said)


def prices(phase: Mapping[str, Any]) -> Table | None:
    """Money and energy over what is answered."""
    rows = [
        ("a million output tokens, all cost", one(phase.get("usd_per_million_output_tokens"), "USD")),
        ("  of it a million input tokens", one(phase.get("usd_per_million_input_tokens_allocated"), "USD")),
        ("  of it a million output tokens", one(phase.get("usd_per_million_output_tokens_allocated"), "USD")),
        ("a request", one(phase.get("usd_per_request"), "USD")),
        ("a user active in the busiest hour, a month", one(phase.get("usd_per_user_month"), "USD")),
        ("energy of an output token, devices", _joules(phase.get("energy_per_output_token_j"))),
        ("energy of an output token, facility", _joules(phase.get("facility_energy_per_output_token_j"))),
    ]
    told = tuple(row for row in rows if row[1] and number_in(row[1]))
    return Table("What a token costs", ("", ""), told) if told else None


def _joules(value: Any) -> str:
    """Joules, as energy of a token is spoken of."""
    text = count(value, 2)
    return "" if text == "–" else text + " J"


def number_in(text: str) -> bool:
    """Whether a cell says a number."""
    return any(c.isdigit() for c in text)


def said(phase: Mapping[str, Any]) -> list[str]:
    """The load against what it sustains, and each promise."""
    lines = []
    at = number(phase.get("load"))
    if at is not None and number(phase.get("capacity_requests_per_s")) is not None:
        lines.append(_load_line(phase))
    for name, found in (phase.get("slo") or {}).items():
        value = number(found.get("value"))
        seen = "no latency, saturated" if value is None else f"{one(found['value'], 's')} ({found['of']})"
        word = "kept" if found["met"] else "broken"
        lines.append(f"Promise {name.upper()} ≤ {one(found['limit_s'], 's')}: {word}, {seen}{_likely(found)}"
                     f"{_beyond(phase, name, found)}")
    return [*lines, *filter(None, [_within(phase)])]


def _within(phase: Mapping[str, Any]) -> str:
    """The most users for whom the promises are kept, and what is broken first beyond."""
    found = phase.get("within_slo")
    if not found:
        return ""
    if not found["users"]:
        return f"No load keeps the promised {found['breaks_first'].upper()}"
    first = found["breaks_first"]
    then = "it is full" if first == "capacity" else f"{first.upper()} breaks"
    rate, users = found["requests_per_s"], found["users"]
    return (f"Promises hold up to {rate:,.3g} requests/s, {users:,.0f} users of {rate * 3600.0 / users:.3g} an hour; "
            f"then {then}")


def _beyond(phase: Mapping[str, Any], name: str, found: Mapping[str, Any]) -> str:
    """Where no load is light enough for a promise: what a request takes that is alone."""
    lightest: Mapping[str, Any] = next(iter(phase.get("loads") or ()), {})
    first, token = number(lightest.get("ttft_s")), number(lightest.get("tpot_s"))
    alone = {"ttft": first, "tpot": token}.get(name)
    if name == "e2e" and first is not None and token is not None:
        alone = first + token * max((number(phase.get("output")) or 1.0) - 1.0, 0.0)
    if found["met"] or alone is None or alone <= found["limit_s"] or lightest.get("concurrency") != 1:
        return ""
    return f"; out of reach, {one(alone, 's')} for one request alone"


def _likely(found: Mapping[str, Any]) -> str:
    """How likely a promise is kept, where that is open."""
    chance = float(found["met_probability"])
    return f"; {100 * chance:.0f} % likely{'' if found['met'] else ' kept'}" if 0.02 <= chance < 0.98 else ""


MANY = 10.0  # times what is sustained, from where on a share is no longer read


def times_over(phase: Mapping[str, Any]) -> str:
    """The load over what is sustained, with its interval: a share, or how many times as much."""
    load_q = phase.get("offered_load") or phase.get("load")
    at = number(load_q) or 0.0
    if at < 0.01:
        return "less than 1 % of"
    low, high = (number(load_q.get(k)) for k in ("low", "high")) if isinstance(load_q, Mapping) else (None, None)
    by, unit = (1.0, "times") if at >= MANY else (100.0, "% of")
    if low is None or high is None or round(by * low) == round(by * high):
        return f"{by * at:,.0f} {unit}"
    return f"{by * at:,.0f} {unit.partition(' ')[0]} [{by * low:,.0f}–{by * high:,.0f}]{' of' * (at < MANY)}"


def _load_line(phase: Mapping[str, Any]) -> str:
    text = f"Load: {times_over(phase)} what it sustains"
    if phase.get("sustained") is False:
        return f"Saturated: asked {times_over(phase)} what it sustains; the queue grows without end"
    chance = number(phase.get("saturation_probability")) or 0.0
    return text + (f"; {100 * chance:.0f} % likely saturated" if 0.02 <= chance < 1.0 else "")


def count(value: Any, decimals: int = 0) -> str:
    """A count with its interval, digits as it deserves."""
    nominal = number(value)
    if nominal is None:
        return "–"
    places = decimals if nominal < 100 else 0
    low, high = (number(value.get(k)) for k in ("low", "high")) if isinstance(value, Mapping) else (None, None)
    text = f"{nominal:,.{places}f}"
    if low is None or high is None or f"{low:,.{places}f}" == f"{high:,.{places}f}":
        return text
    return f"{text} [{low:,.{places}f}–{high:,.{places}f}]"
