"""A day, week or year of load: all replicas kept, followed by the hour, or a reserved base and the rest by the hour.

Each way is accounted from its own device-seconds and joules; the scenario's `serve.scaling` says which of them the
lines of the plan are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from outlay.account import totals
from outlay.account_rates import Rates
from outlay.derive import Quantity, derive, exact, value_of
from outlay.planner.serve.energy import PHASES
from outlay.planner.serve.hours import ITEMS, Hours, Standing, best_split, mean_devices, starts
from outlay.planner.serve.times import HOUR_S, Traffic
from outlay.planner.serve.use import duration, serving_lines
from outlay.resolve.hourly import YEARS_S, Hourly
from outlay.resolve.record import Resolved
from outlay.resolve.serve.phase import ServePhase
from outlay.resolve.serve.scale import Scale
from outlay.resolve.workload import Asked
from outlay.usage import Line


class Work(Struct, frozen=True, eq=False):
    """What devices that are held did: requests answered a second by all, shares of their time and watts by item."""

    answered_per_s: float
    shares: Mapping[str, float]
    watts: Mapping[str, float]


class Way(Struct, frozen=True, eq=False):
    """One way to follow the load: what it holds, the traffic and power means of its devices, and its lines."""

    name: str
    replicas: Quantity
    hours: Hours
    base: int
    term: str
    traffic: Traffic
    watts: dict[str, Quantity]
    lines: list[Line]


def plan_day(
    resolved: Resolved, phase: ServePhase, standing: Standing, values: Mapping[str, Any], traffic: Traffic,
    watts: dict[str, Quantity], idle: int, weights_bytes: Any,
) -> tuple[Way, dict[str, Any]]:
    """The way asked for, and all ways as the result shows them.

    traffic, watts: of the busiest hour; idle: devices that the layout leaves over, billed where all are kept.
    """
    hourly = phase.asked.hourly
    assert hourly is not None and phase.tenures is not None and resolved.rates is not None
    start = start_of(hourly, weights_bytes)
    ways = [_fixed(resolved, phase, standing, values, traffic, watts, idle)]
    if phase.tenures.by_hour is not None:
        by_hour = _Followed(resolved, phase, standing, values, traffic, watts, start, standing.followed)
        ways.append(by_hour.way("autoscale", 0, ""))
        split = by_hour.split()
        ways.append(by_hour.way("mixed", *split))
    chosen = next((w for w in ways if w.name == hourly.scaling), ways[0])
    if standing.short:
        resolved.notes.warn(f"serve.workload.hourly: {standing.short} of {len(hourly.loads)} hours need more than the "
                            f"{standing.count} {standing.unit} there are; the promises, or the load, are not kept in "
                            "them")
    if hourly.scaling != "fixed":
        resolved.notes.assume("serve.scaling", hourly.scaling, "replicas are started so early that they answer when "
                              "their hour begins: a start is paid for, and no request waits for it")
    return chosen, {
        "hours": len(hourly.loads),
        "shape": hourly.name,
        "mean_over_peak": hourly.mean,
        "scaling": chosen.name,
        "unit": standing.unit,
        **standing.shown,
        "hours_short": standing.short,
        "cold_start_s": start,
        "ways": [_shown(w, ways[0]) for w in ways],
        "unpriced": "" if len(ways) > 1 else _why(phase),
    }


def start_of(hourly: Hourly | Scale, weights_bytes: Any) -> Quantity:
    """Until a replica that is started answers: given, or its engine's start and the weights from storage."""
    if hourly.start_s is not None:
        return hourly.start_s
    found: Quantity = derive(_start_s, "start of a replica", "s", engine_s=hourly.start_engine_s,
                             weights_bytes=weights_bytes, bytes_per_s=hourly.start_bytes_per_s)
    return found


def _start_s(engine_s: Any, weights_bytes: Any, bytes_per_s: Any) -> Any:
    """An engine's own start, and its weights from storage into its devices."""
    return engine_s + weights_bytes / bytes_per_s


def _why(phase: ServePhase) -> str:
    assert phase.tenures is not None
    if phase.tenures.owned:
        return "owned devices are paid for whether they run or not"
    return "no price by the hour is known beside the commitment"


def _fixed(resolved: Resolved, phase: ServePhase, standing: Standing, values: Mapping[str, Any], traffic: Traffic,
           watts: dict[str, Quantity], idle: int) -> Way:
    asked = phase.asked
    assert asked.hourly is not None
    hours = standing.hours(np.full(len(asked.hourly.loads), float(standing.count)))
    devices = standing.count * standing.each
    mean, drawn = means(asked, _work(hours, 1.0), traffic, watts, float(devices))
    kept = duration(asked, mean, values.get("e2e_s"))
    assert kept is not None
    lines = serving_lines(resolved, mean, kept, devices, drawn, idle)
    count = exact(float(standing.count), standing.unit, standing.unit, basis="derived")
    return Way("fixed", count, hours, 0, "", mean, drawn, lines)


class _Followed(Struct, frozen=True, eq=False):
    """Replicas that come and go with the load."""

    resolved: Resolved
    phase: ServePhase
    standing: Standing
    values: Mapping[str, Any]
    traffic: Traffic
    watts: dict[str, Quantity]
    start: Quantity
    counts: Any

    def split(self) -> tuple[int, str]:
        """The reserved base that costs least, of commitments no longer than the service."""
        asked, tenures = self.phase.asked, self.phase.tenures
        assert tenures is not None and tenures.by_hour is not None
        kept = duration(asked, self.traffic, self.values.get("e2e_s"))
        lasts = 0.0 if kept is None else kept.value
        prices = {term: value_of(rates.usd_per_device_s) for term, rates in tenures.reserved.items()
                  if lasts >= YEARS_S[term] and rates.usd_per_device_s is not None}
        by_hour = tenures.by_hour.usd_per_device_s
        if by_hour is None:
            return 0, ""
        return best_split(self.counts, value_of(by_hour), prices, self.start.value, len(self.counts) * HOUR_S)

    def way(self, name: str, base: int, term: str) -> Way:
        """Accounted: the base at its commitment's price, the rest by the hour."""
        asked, unit, each, tenures = self.phase.asked, self.standing.unit, self.standing.each, self.phase.tenures
        assert tenures is not None and tenures.by_hour is not None
        standing = np.maximum(self.counts, float(base))
        hours = self.standing.hours(standing)
        above, per_s = mean_devices(self.counts, float(base), len(self.counts) * HOUR_S)
        rest: Quantity = derive(_with_starts, f"{unit} by the hour, mean", unit, standing=above,
                                starts_per_s=per_s, start_s=self.start)
        stands = float(standing.mean())
        kept_share = stands / max(base + rest.value, 1e-12)
        mean, watts = means(asked, _work(hours, kept_share), self.traffic, self.watts, (base + rest.value) * each)
        kept = duration(asked, mean, self.values.get("e2e_s"))
        assert kept is not None
        lines: list[Line] = []
        if base:
            lines += self._lines(tenures.reserved[term], mean, kept, base * each, watts, "reserved")
        if rest.value > 0.0:
            held = derive(_times, "devices by the hour, mean", "devices", count=rest, each=each)
            lines += self._lines(tenures.by_hour, mean, kept, held, watts, "by-hour" if base else "")
        whole_q: Quantity = derive(_sum, f"{unit}, mean", unit, base=float(base), rest=rest)
        return Way(name, whole_q, hours, base, term, mean, watts, lines)

    def _lines(self, rates: Rates, mean: Traffic, kept: Quantity, devices: Any, watts: dict[str, Quantity],
               run: str) -> list[Line]:
        return serving_lines(replace(self.resolved, rates=rates), mean, kept, devices, watts, 0, run)


def _work(hours: Hours, standing: float) -> Work:
    """What was done over a cycle; standing: the share of the devices held that answers."""
    return Work(float(hours.answered_per_s.mean()), {item: hours.share(item) * standing for item in ITEMS},
                {item: hours.watt(item) for item in ITEMS} if hours.watts else {})


def means(
    asked: Asked, work: Work, traffic: Traffic, watts: dict[str, Quantity], devices: float
) -> tuple[Traffic, dict[str, Quantity]]:
    """Traffic and power of what was done: those given, by the nominal ratio of it to them.

    devices: held, mean over the time, starting ones with them.
    """
    rate: Quantity = derive(_times, "requests a second, mean", "requests/s", count=traffic.requests_per_s,
                            each=work.answered_per_s / max(traffic.requests_per_s.value, 1e-300))
    prompts, answers = (work.shares[item] for item in ITEMS)
    mean = Traffic(rate, prompts, min(prompts + answers, 1.0), traffic.running)
    if not watts:
        return mean, {}

    def part(item: str, key: str, now: float) -> Quantity:
        base = watts[key]
        ratio = now / base.value if base.value > 0.0 else 1.0
        found: Quantity = derive(_times, base.label, base.unit, count=base, each=ratio)
        return found

    share = {item: part(item, f"{item}_share", now) for item, now in (("prefill", prompts), ("decode", answers))}
    first, second = (derive(_at_most_all, share[a].label, "", own=share[a], other=share[b])
                     for a, b in (("prefill", "decode"), ("decode", "prefill")))
    found: dict[str, Any] = {"prefill_share": first, "decode_share": second}
    found["idle_share"] = derive(_rest, "share of the devices' time, idle", "", prefill=first, decode=second)
    for item in ("prefill", "decode"):
        found[f"{item}_w"] = part(item, f"{item}_w", work.watts[item])
    found["idle_w"] = watts["idle_w"]
    tokens = derive(_times, "output tokens a second, mean", "tokens/s", count=rate, each=asked.output)
    drawn = []
    for item in PHASES:
        power = derive(_times, f"power of a device, of it {item}", "W", count=found[f"{item}_w"],
                       each=found[f"{item}_share"])
        drawn.append(power)
        found[f"energy_{item}_per_output_token_j"] = derive(
            _per_token, f"device energy an output token, {item}", "J", power_w=power,
            devices=devices, tokens_per_s=tokens)
    found["power_w_per_device"] = derive(_three, "power of a device, mean", "W", **dict(zip("abc", drawn, strict=True)))
    found["energy_per_output_token_j"] = derive(
        _per_token, "device energy an output token", "J", power_w=found["power_w_per_device"],
        devices=devices, tokens_per_s=tokens)
    return mean, found


def _shown(way: Way, fixed: Way) -> dict[str, Any]:
    """A way as the result has it; its parts of time are of the devices it holds."""
    sums = totals(way.lines)
    waits = 1.0 - way.traffic.busy_share
    usd = sums["usd"]
    return {
        "way": way.name,
        "replicas": way.replicas,
        "replicas_most": int(way.hours.counts.max()),
        "reserved_replicas": way.base,
        "commitment": way.term or None,
        "starts": starts(way.hours.counts) if way.name != "fixed" else 0.0,
        "device_hours": sums["device_hours"],
        "usd": usd,
        "idle_share": waits,
        "idle_usd": None if usd is None else derive(_times, "money of devices that wait", "USD", count=usd, each=waits),
        "energy_j": sums["energy_j"],
        "co2e_kg": sums["co2e_kg"],
        "usd_over_fixed": None if usd is None or (all_of := totals(fixed.lines)["usd"]) is None or all_of.value <= 0
        else usd.value / all_of.value,
    }


def _times(count: Any, each: Any) -> Any:
    """So many of each."""
    return count * each


def _sum(base: Any, rest: Any) -> Any:
    """Those that always stand and those by the hour."""
    return base + rest


def _three(a: Any, b: Any, c: Any) -> Any:
    """Prompts, answers and waiting together."""
    return a + b + c


def _with_starts(standing: Any, starts_per_s: Any, start_s: Any) -> Any:
    """Replicas that stand, and those that are being started."""
    return standing + starts_per_s * start_s


def _at_most_all(own: Any, other: Any) -> Any:
    """A share of time that with the other is no more than all of it."""
    return own / np.maximum(own + other, 1.0)


def _rest(prefill: Any, decode: Any) -> Any:
    """What is left of the time."""
    return np.maximum(1.0 - prefill - decode, 0.0)


def _per_token(power_w: Any, devices: Any, tokens_per_s: Any) -> Any:
    """Power of all devices over the tokens they answer a second."""
    return power_w * devices / np.maximum(tokens_per_s, 1e-300)
