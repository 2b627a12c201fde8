"""Replicas of a replay that come and go: what the simulator is told of them, what is held and billed of them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from outlay.derive import Quantity, value_of
from outlay.errors import BadValue, Unsupported
from outlay.planner.replay.spread import MOST_POOLED
from outlay.planner.serve.day import start_of
from outlay.planner.serve.hours import one_holds
from outlay.planner.serve.replicas import Replicas
from outlay.planner.serve.times import load_of
from outlay.resolve.serve.replay import SCALE
from outlay.resolve.workload import Asked
from outlay.simulate import Autoscale

SPAN_S = 3600.0  # of requests that are replayed, at least
STARTS = 20.0  # times over that a start must fit in there


class Scaling(Struct, frozen=True, eq=False):
    """The autoscaler of a replay, and how long a replica takes until it answers."""

    auto: Autoscale
    start: Quantity
    share: float  # of what a replica takes, where no target was given
    target_given: bool
    start_given: bool

    @property
    def span_s(self) -> float:
        """Seconds of requests that show how replicas follow them."""
        return max(SPAN_S, STARTS * self.start.value)

    def at(self, start_s: float) -> Autoscale:
        """The same with another cold start."""
        return replace(self.auto, cold_start_s=start_s)


def inside_at(asked: Asked, whole: Replicas, rate_per_s: Any) -> Any:
    """Requests inside one replica at a rate of its own (Little 1961); endless beyond what it sustains."""
    one = replace(whole, count=1)
    found = one.own(replace(load_of(asked, one), rate=rate_per_s))
    inside = rate_per_s * (found["ttft_s"] + found["tpot_s"] * max(asked.output - 1.0, 0.0))
    return np.where(np.less(found["load"], 1.0), inside, np.inf)


def standing_first(asked: Asked, whole: Replicas, target: float) -> int:
    """Replicas that the mean load keeps: the fewest with no more inside each than is aimed at, or all there are."""
    counts = np.arange(1.0, whole.count + 1.0)
    enough = np.flatnonzero(inside_at(asked, whole, asked.rate / counts) <= target)
    return int(counts[enough[0]]) if len(enough) else whole.count


def scaling_of(asked: Asked, whole: Replicas, weights_bytes: Any) -> Scaling | None:
    """None where all replicas stand all the time. weights_bytes: that a replica loads."""
    scale = asked.replay.scale
    if scale is None:
        return None
    if scale.least > whole.count:
        raise BadValue(f"{SCALE}.min_replicas: {scale.least} is more than the {whole.count} there are",
                       f"{SCALE}.min_replicas")
    if whole.count > MOST_POOLED:
        raise Unsupported(f"{SCALE}: {whole.count:,} replicas are more than the {MOST_POOLED} that are replayed", SCALE)
    target = scale.target
    if target is None:
        calm = value_of(scale.share) * one_holds(asked, whole).rate_per_s
        target = max(float(inside_at(asked, whole, np.array([calm]))[0]), 1.0)
    start = start_of(scale, weights_bytes)
    ranks = int(whole.layout.data) * whole.layout.pipeline
    looks = max(math.ceil(scale.keep_s / scale.every_s), 1)
    first = max(standing_first(asked, whole, target), scale.least)
    auto = Autoscale(scale.least, target, scale.every_s, start.value, looks, ranks, first)
    return Scaling(auto, start, value_of(scale.share), scale.target is not None, scale.start_s is not None)
