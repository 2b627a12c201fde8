"""Prompt tokens that a replayed trace found cached, as the closed form of the same load takes them."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from outlay.derive import derive
from outlay.physics.queueing import in_flight
from outlay.planner.serve.pool_times import Pools
from outlay.planner.serve.replicas import Replicas
from outlay.resolve.notes import Notes
from outlay.resolve.serve.speed import Speed
from outlay.resolve.workload import Asked
from outlay.simulate import SimResult

FIELD = "serve.prefix_cache_hit"
LEAST = 1e-3  # of the prompt tokens: less changes nothing that is shown


def seen_hits(asked: Asked, run: SimResult, notes: Notes) -> float:
    """The share of prompt tokens that the replay found cached, where the trace says which prompts begin alike."""
    share = run.counts["cached_tokens"] / max(run.counts["input_tokens"], 1)
    if not asked.prefixes or share < LEAST:
        return 0.0
    notes.assume(FIELD, round(share, 4), "of the prompt tokens, as the replay of the trace found them cached; what is "
                 "sustained is told with it")
    return float(share)


def replicas_with(whole: Replicas, share: float) -> Replicas:
    """Replicas that find so much of every prompt cached."""
    return replace(whole, speed=_speed_with(whole.speed, share))


def pools_with(pools: Pools, share: float) -> Pools:
    """The same of two pools, where it is the prompts' that finds it."""
    first = replace(pools.first, engine=replace(pools.first.engine, prefix_hit=share))
    return replace(pools, first=first, speed=_speed_with(pools.speed, share))


def _speed_with(speed: Speed, share: float) -> Speed:
    return replace(speed, engine=replace(speed.engine, prefix_hit=share), plain=speed.plain or speed.engine)


def counted_with(values: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    """What the closed form says with those hits, and the replay's times in place of its own."""
    both = values | found
    if found.get("e2e_s") is not None:
        both["concurrency"] = derive(in_flight, "requests in flight", "requests", rate_per_s=values["rate"],
                                     time_s=found["e2e_s"])
    return both
