"""How much one replica takes while it keeps what was promised, and what breaks first beyond that."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import NDArray

from outlay.derive import value_of
from outlay.physics.queueing import request_s
from outlay.planner.serve.replicas import Replicas
from outlay.planner.serve.times import HOUR_S, load_of
from outlay.resolve.workload import Asked
from outlay.steps.serve.time_inputs import Load

Floats = NDArray[np.float64]
FULLEST = 0.98  # of what it sustains, the most that is looked at
STEPS = np.concatenate([np.geomspace(0.01, 0.5, 12), np.linspace(0.55, FULLEST, 12)])  # of what it sustains
REFINED, ROUNDS = 9, 2  # further steps between the last that keeps the promises and the first that does not
CAPACITY = "capacity"


class Most(Struct, frozen=True):
    """The largest load of one replica: requests/s, requests in flight, and which promise the next step breaks."""

    rate_per_s: float
    concurrency: float
    breaks: str


def most_load(asked: Asked, one: Replicas) -> Most | None:
    """None where even the smallest load breaks a promise."""
    base = replace(load_of(asked, one), kind="queued")
    full = one.own(base)
    sustained, slots = float(full["output_tokens_per_s"]) / asked.output, float(full["running"])
    by_rate = asked.kind == "open"
    points = STEPS * sustained if by_rate else np.unique(np.round(STEPS * slots).clip(1.0))
    if asked.kind == "queued":
        return Most(sustained, slots, CAPACITY)
    quick = one.own(replace(base, kind="closed", concurrency=1.0))
    kept, at, breaks = _found(one, base, points, by_rate), len(points) - 1, CAPACITY
    low = points[at]
    for place in range(ROUNDS):
        found = kept if place == 0 else _found(one, base, points, by_rate)
        broken = _broken(asked, found, quick)
        bad = np.any(np.stack([*broken.values(), np.zeros(len(points), dtype=bool)]), axis=0)
        if bad[0]:
            return None
        if not bad.any():
            break
        first = int(np.argmax(bad))
        breaks = next(name for name in broken if broken[name][first])
        kept, at, low = found, first - 1, points[first - 1]
        points = np.linspace(low, points[first], REFINED)
    rate = float(low) if by_rate else _at(kept["output_tokens_per_s"], at) / asked.output
    return Most(rate, _at(kept["running"], at) if by_rate else float(low), breaks)


def within_promises(
    asked: Asked, own: Callable[[Load], Mapping[str, Any]], load: Load, most_of: Callable[[Asked], Most | None],
    count: int, values: Mapping[str, Any],
) -> dict[str, Any]:
    """The most that `count` replicas take while promises are kept, and which of them the next step breaks.

    own: times under a load, `load` the one asked about; most_of: of one replica, None where no load keeps them. At a
    percentile the quick answer is held to what replayed requests say of the load asked about.
    """
    if not asked.slo or asked.kind not in ("open", "closed") or asked.own_times:
        return {}
    most = most_of(replace(asked, slo=_as_replayed(asked, own, load, values)))
    if most is None:
        nearest = max(asked.slo, key=lambda name: _used(values["slo"][name]))
        most = Most(0.0, 0.0, nearest)
    rate = min(most.rate_per_s * count, value_of(values["capacity_requests_per_s"]))
    inside = most.concurrency * count
    if values["meets_slo"]:  # loads are looked at in steps
        rate, inside = max(rate, value_of(values["rate"])), max(inside, value_of(values["concurrency"]))
    return {"within_slo": {"requests_per_s": rate, "concurrency": inside, "breaks_first": most.breaks,
                           "users": rate * HOUR_S / asked.per_user_hour.value}}


def _used(promise: Mapping[str, Any]) -> float:
    """A time over its limit."""
    return math.inf if promise["value"] is None else float(promise["value"].value) / float(promise["limit_s"])


def _as_replayed(
    asked: Asked, own: Callable[[Load], Mapping[str, Any]], load: Load, values: Mapping[str, Any]
) -> dict[str, float]:
    """The limits, as much tighter as replayed requests take longer than the quick answer has it."""
    replayed = {name: seen["value"].value for name, seen in values["slo"].items()
                if seen["of"] != "mean" and seen["value"] is not None}
    if not replayed:
        return asked.slo
    quick = tails(asked, own(load), own(replace(load, kind="closed", concurrency=1.0)))
    return {name: limit * float(quick[name]) / replayed[name] if name in replayed else limit
            for name, limit in asked.slo.items()}


def _at(values: Any, place: int) -> float:
    return float(np.broadcast_to(values, (place + 1,))[place] if np.ndim(values) == 0 else values[place])


def _found(one: Replicas, base: Load, points: Floats, by_rate: bool) -> Mapping[str, Any]:
    return one.own(replace(base, kind="open" if by_rate else "closed", rate=points, concurrency=points))


def _broken(asked: Asked, found: Mapping[str, Any], quick: Mapping[str, Any]) -> dict[str, Any]:
    seen = tails(asked, found, quick)
    return {name: np.logical_not(np.less_equal(seen[name], limit)) for name, limit in asked.slo.items()}


def in_waits(percentile: float | None) -> float:
    """A percentile of a wait over its mean; 1 where the mean is promised.

    >>> round(in_waits(99), 2), in_waits(None)
    (4.61, 1.0)
    """
    return 1.0 if percentile is None else max(math.log(1.0 / max(1.0 - percentile / 100.0, 1e-4)), 1.0)


def in_steps(percentile: float | None) -> float:
    """The same of what others add to a request's tokens: a mean over many steps varies little."""
    return 1.0 + 0.1 * (in_waits(percentile) - 1.0)


def tails(asked: Asked, found: Mapping[str, Any], quick: Mapping[str, Any]) -> dict[str, Any]:
    """Latencies at the percentile promised: means, the wait beyond that of one request alone stretched as an
    exponential queue's.

    The wait of a Poisson queue has an exponential tail, so its q-quantile is about ln(1/(1-q)) means (Kingman's
    heavy-traffic limit). A quick answer for the search; the chosen plan is replayed request by request.
    """
    ttft, tpot = np.asarray(found["ttft_s"], dtype=float), np.asarray(found["tpot_s"], dtype=float)
    if asked.percentile is not None:
        alone_s, step_s = np.asarray(quick["ttft_s"]), np.asarray(quick["tpot_s"])
        ttft = alone_s + (ttft - alone_s) * in_waits(asked.percentile)
        tpot = step_s + (tpot - step_s) * in_steps(asked.percentile)
    return {"ttft": ttft, "tpot": tpot, "e2e": request_s(ttft, tpot, asked.output)}
