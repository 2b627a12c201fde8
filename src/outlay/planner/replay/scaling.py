"""Replicas of a replay that come and go: what the simulator is told of them, what is held and billed of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from outlay.derive import Quantity, value_of
from outlay.errors import BadValue, Unsupported
from outlay.physics.queueing import request_s
from outlay.planner.replay.spread import MOST_POOLED
from outlay.planner.serve.day import start_of
from outlay.planner.serve.hours import one_holds
from outlay.planner.serve.pool_hours import needs_of
from outlay.planner.serve.pool_times import Pools, load_of_pools
from outlay.planner.serve.replicas import Replicas
from outlay.planner.serve.times import load_of
from outlay.resolve.serve.scale import SCALE, Scale
from outlay.resolve.workload import Asked
from outlay.simulate import Autoscale
from outlay.steps.serve.inputs import ServeLayout

SPAN_S = 3600.0  # of requests that are replayed, at least
STARTS = 20.0  # times over that a start must fit in there
MANY = 1000.0  # replicas of a pool that the other does not wait for


class Scaling(Struct, frozen=True, eq=False):
    """The autoscaler of a replay, and how long a replica takes until it answers."""

    auto: Autoscale
    start: Quantity
    share: float  # of what a replica takes, where no target was given
    target_given: bool
    start_given: bool
    pool: str = ""  # of two, whose replicas these are
    each: int = 1  # devices of a replica
    path: str = SCALE

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
    inside = rate_per_s * request_s(found["ttft_s"], found["tpot_s"], asked.output)
    return np.where(np.less(found["load"], 1.0), inside, np.inf)


def standing_first(asked: Asked, whole: Replicas, target: float) -> int:
    """Replicas that the mean load keeps: the fewest with no more inside each than is aimed at, or all there are."""
    counts = np.arange(1.0, whole.count + 1.0)
    enough = np.flatnonzero(inside_at(asked, whole, asked.rate / counts) <= target)
    return int(counts[enough[0]]) if len(enough) else whole.count


def scaling_of(asked: Asked, whole: Replicas, weights_bytes: Any) -> Scaling | None:
    """None where all replicas stand all the time. weights_bytes: that a replica loads."""
    if not asked.replay.scales:
        return None
    scale = asked.replay.scales[0]
    if scale.least > whole.count:
        raise BadValue(f"{SCALE}.min_replicas: {scale.least} is more than the {whole.count} there are",
                       f"{SCALE}.min_replicas")
    if whole.count > MOST_POOLED:
        raise Unsupported(f"{SCALE}: {whole.count:,} replicas are more than the {MOST_POOLED} that are replayed", SCALE)
    target = scale.target
    if target is None:
        calm = value_of(scale.share) * one_holds(asked, whole).rate_per_s
        target = max(float(inside_at(asked, whole, np.array([calm]))[0]), 1.0)
    return _scaling(scale, whole.layout, weights_bytes, target, standing_first(asked, whole, target))


def _scaling(scale: Scale, layout: ServeLayout, weights_bytes: Any, target: float, first: int) -> Scaling:
    """As the simulator has it; first: replicas that the mean load keeps."""
    start = start_of(scale, weights_bytes)
    looks = max(math.ceil(scale.keep_s / scale.every_s), 1)
    auto = Autoscale(scale.least, target, scale.every_s, start.value, looks, int(layout.data) * layout.pipeline,
                     max(first, scale.least))
    return Scaling(auto, start, value_of(scale.share), scale.target is not None, scale.start_s is not None, scale.pool,
                   int(layout.devices), scale.path)


def inside_pools(asked: Asked, pools: Pools, rates_per_s: Any) -> tuple[Any, Any]:
    """Requests inside one replica of each pool at rates of its own, the other pool as large as may be (Little 1961):
    prompts that wait or are computed; and those handed over, until they are answered. Endless beyond what it sustains.
    """
    def beside(first: float, second: float) -> Any:
        own = replace(pools, first=replace(pools.first, replicas=first), second=replace(pools.second, replicas=second))
        return own.at(replace(load_of_pools(asked), rate=rates_per_s))

    prompts, answers = beside(1.0, MANY), beside(MANY, 1.0)
    stay_s = request_s(answers["begun_s"], answers["tpot_s"], asked.output)
    first_s = np.where(np.less(prompts["load"], 1.0), prompts["ttft_s"] - prompts["begun_s"], np.inf)
    return rates_per_s * first_s, np.where(np.less(answers["load"], 1.0), rates_per_s * stay_s, np.inf)


def scaling_of_pools(asked: Asked, pools: Pools, weights_bytes: Mapping[str, Any]) -> tuple[Scaling, ...]:
    """Of the pool of prompts and that of answers; none where all replicas stand. weights_bytes: that a replica of each
    loads.

    A pool's target, where none is given: what is inside a replica that is asked a share of the rate that it takes
    within the promises.
    """
    scales = asked.replay.scales
    if not scales:
        return ()
    count = int(value_of(pools.first.replicas) + value_of(pools.second.replicas))
    if count > MOST_POOLED:
        raise Unsupported(f"{SCALE}: {count:,} replicas are more than the {MOST_POOLED} that are replayed", SCALE)
    needs = needs_of(asked, pools)
    takes = needs.holds_per_s(1.0, MANY)[0], float(needs.answers.each_per_s)
    found = []
    for place, (scale, side, most) in enumerate(zip(scales, (pools.first, pools.second), takes, strict=True)):
        target = scale.target
        if target is None:
            calm = np.array([value_of(scale.share) * most])
            target = max(float(inside_pools(asked, pools, calm)[place][0]), 1.0)
        counts = np.arange(1.0, float(value_of(side.replicas)) + 1.0)
        enough = np.flatnonzero(inside_pools(asked, pools, asked.rate / counts)[place] <= target)
        first = int(counts[enough[0]]) if len(enough) else len(counts)
        found.append(_scaling(scale, side.layout, weights_bytes[scale.pool], target, first))
    return tuple(found)
