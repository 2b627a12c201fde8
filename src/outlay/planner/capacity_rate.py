"""How much one replica takes while it keeps what was promised, and what breaks first beyond that."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from outlay.planner.serve_times import Replicas, load_of
from outlay.resolve.workload import Asked
from outlay.steps.serve_time_inputs import Load

Floats = NDArray[np.float64]
STEPS = np.concatenate([np.geomspace(0.01, 0.5, 12), np.linspace(0.55, 0.98, 12)])  # of what it sustains
REFINED, ROUNDS = 9, 2  # further steps between the last that keeps the promises and the first that does not
CAPACITY = "capacity"


@dataclass(frozen=True, slots=True)
class Most:
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
    low, breaks = float(points[-1]), CAPACITY
    for _ in range(ROUNDS):
        broken = _broken(asked, one, base, points, by_rate)
        bad = np.any(np.stack([*broken.values(), np.zeros(len(points), dtype=bool)]), axis=0)
        if bad[0]:
            return None
        if not bad.any():
            break
        at = int(np.argmax(bad))
        breaks = next(name for name in broken if broken[name][at])
        low = float(points[at - 1])
        points = np.linspace(low, points[at], REFINED)
    return _at(low, one, base, by_rate, breaks)


def _at(point: Any, one: Replicas, base: Load, by_rate: bool, breaks: str) -> Most:
    kind = "open" if by_rate else "closed"
    load = replace(base, kind=kind, rate=float(point), concurrency=max(float(point), 1.0))
    found = one.own(load)
    rate = float(point) if by_rate else float(found["output_tokens_per_s"]) / base.output
    return Most(rate, float(found["running"]) if by_rate else float(point), breaks)


def _broken(asked: Asked, one: Replicas, base: Load, points: Floats, by_rate: bool) -> dict[str, Any]:
    load = replace(base, kind="open" if by_rate else "closed", rate=points, concurrency=points)
    seen = tails(asked, one, one.own(load), base)
    return {name: np.logical_not(np.less_equal(seen[name], limit)) for name, limit in asked.slo.items()}


def tails(asked: Asked, one: Replicas, found: Mapping[str, Any], base: Load) -> dict[str, Any]:
    """Latencies at the percentile promised: means, the wait stretched as that of an exponential queue.

    The wait of a Poisson queue has an exponential tail, so its q-quantile is about ln(1/(1-q)) means (Kingman's
    heavy-traffic limit). A quick answer for the search; the chosen plan is replayed request by request.
    """
    ttft, tpot = np.asarray(found["ttft_s"], dtype=float), np.asarray(found["tpot_s"], dtype=float)
    if asked.percentile is not None:
        quick = one.own(replace(base, kind="closed", concurrency=1.0))
        stretch = max(math.log(1.0 / max(1.0 - asked.percentile / 100.0, 1e-4)), 1.0)
        alone_s, step_s = float(quick["ttft_s"]), float(quick["tpot_s"])
        ttft = alone_s + (ttft - alone_s) * stretch
        tpot = step_s + (tpot - step_s) * (
            1.0 + 0.1 * (stretch - 1.0)
        )  # a request's mean over many steps varies little
    return {"ttft": ttft, "tpot": tpot, "e2e": ttft + tpot * max(asked.output - 1.0, 0.0)}
