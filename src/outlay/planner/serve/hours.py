"""A load by the hour on equal replicas, nominal: how many stand, what they answer, what they do and draw."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import NDArray

from outlay.planner.capacity.rate import Most, most_load
from outlay.planner.serve.replicas import Replicas
from outlay.planner.serve.times import load_of
from outlay.resolve.workload import Asked
from outlay.steps.power_inputs import PowerFacts
from outlay.steps.serve.power import phases, serve_power

Floats = NDArray[np.float64]
ITEMS = ("prefill", "decode")
SPLITS = 512  # sizes of a reserved base that are tried


class Hours(Struct, frozen=True, eq=False):
    """By hour: what stands, requests/s answered by all, shares of their time and watts of a device."""

    counts: Floats
    answered_per_s: Floats
    shares: Mapping[str, Floats]
    watts: Mapping[str, Floats]

    def share(self, item: str) -> float:
        """Of the time of all that stand."""
        return float((self.counts * self.shares[item]).sum() / max(self.counts.sum(), 1e-12))

    def watt(self, item: str) -> float:
        """Mean power within an item."""
        time = self.counts * self.shares[item]
        return float((time * self.watts[item]).sum() / max(time.sum(), 1e-300))


class Standing(Struct, frozen=True, eq=False):
    """What can stand by the hour: equal replicas, or the devices of two pools."""

    count: int  # there are, of as many devices `each`
    each: int
    wanted: Floats  # by hour, with no end to them
    hours: Callable[[Floats], Hours]  # what so many do
    unit: str = "replicas"
    shown: Mapping[str, Any] = {}  # of the result, beside
    short: int = 0  # hours that need more than there are

    @property
    def followed(self) -> Floats:
        """By hour, as many as are wanted and there are."""
        return np.minimum(self.wanted, self.count)


def standing_of(asked: Asked, whole: Replicas, facts: PowerFacts | None, most: Most | None = None) -> Standing:
    """Equal replicas by the hour. most: what one of them takes, where it is known."""
    most = one_holds(asked, whole) if most is None else most
    wanted = wanted_of(asked, most)
    return Standing(
        whole.count, int(whole.layout.devices), wanted, lambda counts: hours_of(asked, whole, counts, facts),
        shown={"requests_per_s_per_replica": most.rate_per_s, "replicas_needed": [int(n) for n in wanted]},
        short=int((wanted > whole.count).sum()))


def one_holds(asked: Asked, whole: Replicas) -> Most:
    """What one replica takes within its promises; what it sustains where no load keeps them."""
    one = replace(whole, count=1)
    most = most_load(asked, one)
    if most is None:
        most = most_load(replace(asked, slo={}), one)
    assert most is not None
    return most


def wanted_of(asked: Asked, most: Most) -> Floats:
    """Replicas that each hour needs, with no end to them; none in an hour that asks nothing."""
    assert asked.hourly is not None
    loads = np.array(asked.hourly.loads)
    each = asked.rate / most.rate_per_s if asked.kind == "open" else asked.concurrency / most.concurrency
    counts: Floats = np.ceil(loads * each * (1.0 - 1e-9))
    return counts


def hours_of(asked: Asked, whole: Replicas, counts: Floats, facts: PowerFacts | None) -> Hours:
    """What replicas do in each hour; distinct loads in one pass of the time model."""
    assert asked.hourly is not None
    loads = np.array(asked.hourly.loads)
    of_all = asked.rate if asked.kind == "open" else asked.concurrency
    each, back = np.unique(loads * of_all / np.maximum(counts, 1.0), return_inverse=True)
    base = load_of(asked, replace(whole, count=1))
    if asked.kind == "open":
        load, part = replace(base, rate=each), np.ones_like(each)
    else:  # less than one in flight on a replica: one, part of the time
        load, part = replace(base, concurrency=np.maximum(each, 1.0)), np.minimum(each, 1.0)
    found = whole.own(load)
    speed, rate = whole.speed, np.asarray(found["output_tokens_per_s"], dtype=float)
    given = (whole.arch, speed.device, speed.engine, whole.layout, load)
    running = np.maximum(found["running"], 1e-12)
    watts: dict[str, Floats] = {}
    if facts is None:
        spent, _ = phases(*given, np.maximum(rate, 1e-12), running)
        shares = {name: np.asarray(spent[name].share) * part for name in ITEMS}
    else:
        drawn = serve_power(*given, {"output_tokens_per_s": rate, "running": running}, facts)
        shares = {name: np.asarray(drawn[f"{name}_share"]) * part for name in ITEMS}
        watts = {name: np.broadcast_to(drawn[f"{name}_w"], each.shape)[back] for name in (*ITEMS, "idle")}
    answered = rate * part / asked.output
    return Hours(counts, counts * answered[back], {name: value[back] for name, value in shares.items()}, watts)


def mean_power_w(hours: Hours) -> float:
    """Of a device, over all the time its replica stands."""
    busy = sum(hours.shares[item] * hours.watts[item] for item in ITEMS)
    idle = np.maximum(1.0 - sum(hours.shares[item] for item in ITEMS), 0.0) * hours.watts["idle"]
    return float((hours.counts * (busy + idle)).sum() / max(hours.counts.sum(), 1e-12))


def starts(counts: Floats, base: float = 0.0) -> float:
    """Replicas started in one cycle, which begins as it ended, above those that always stand.

    >>> starts(np.array([1.0, 3.0, 2.0]))
    2.0
    """
    above = np.maximum(counts, base)
    return float(np.maximum(above - np.roll(above, 1), 0.0).sum())


def mean_devices(counts: Floats, base: float, cycle_s: float) -> tuple[float, float]:
    """Replicas held by the hour above the base: their mean over the cycle, and how many start a second."""
    return float(np.maximum(counts - base, 0.0).mean()), starts(counts, base) / cycle_s


def best_split(
    counts: Floats, by_hour: float, reserved: Mapping[str, float], start_s: float, cycle_s: float
) -> tuple[int, str]:
    """Replicas to reserve, and for how long, so that base and rest together cost least.

    by_hour, reserved: money of a replica-second. (0, "") where no reservation is worth it.
    """
    best, least = (0, ""), _cost(counts, 0.0, by_hour, 0.0, start_s, cycle_s)
    most = int(counts.max(initial=0.0))
    for base in np.unique(np.linspace(1, most, min(most, SPLITS)).astype(int)) if most else ():
        for term, price in reserved.items():
            cost = _cost(counts, float(base), by_hour, price, start_s, cycle_s)
            if cost < least * (1.0 - 1e-12):
                best, least = (int(base), term), cost
    return best


def _cost(counts: Floats, base: float, by_hour: float, reserved: float, start_s: float, cycle_s: float) -> float:
    standing, per_s = mean_devices(counts, base, cycle_s)
    return base * reserved + (standing + per_s * start_s) * by_hour
