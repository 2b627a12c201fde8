"""The plan replayed request by request: what a trace asks, and percentiles around the closed form's means."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from msgspec.structs import replace

from outlay.derive import derive, value_of
from outlay.errors import BadValue, Inconsistent, Unsupported
from outlay.planner.replay.simulate import contract_values, replay, replay_pools
from outlay.planner.serve.pool_times import Pools, load_of_pools
from outlay.planner.serve.replicas import Replicas
from outlay.planner.serve.times import PERCENTILES, TIMES, load_of
from outlay.resolve.notes import Notes
from outlay.resolve.serve.phase import ServePhase
from outlay.resolve.workload import Asked
from outlay.simulate import Arrivals, SimResult, Slo, Synthetic, Trace

REPLAYED = 8  # replicas of one deployment; their router has as good as nothing to gain from more
MOST_POOLED = 400  # replicas of two pools whose proportion few of each do not show
REQUESTS = 1000  # enough for a 99th percentile of ten
BEYOND = 5  # of them, at least, beyond a percentile that is promised
MOST_OWN = 60_000  # of a load that is replayed for its own times, where it does not say how many; not worth compiling
MOST_ASKED = 1_000_000  # where it does
EACH = 125  # requests for a replica, at least, where so many share a load that is replayed for its own times
FASTEST = 1e-6
UNLIKE = 0.05  # between the ratio of two pools and that of the few of each that are replayed for them
MOST_REQUESTS = 40_000  # of a loop that is replayed; each place is filled ten times over, or four where they are many


def of_trace(asked: Asked, notes: Notes) -> Asked:
    """The load of a trace as the closed form takes it: mean lengths, mean rate, as many requests or the first of them.

    Raises what is wrong with the file, by line.
    """
    assert asked.trace is not None
    said: list[str] = []
    prefixes = False
    count, tokens_in, tokens_out, first, last = 0, 0.0, 0.0, None, 0.0
    most = None if asked.requests is None else int(asked.requests)
    for batch in Trace(asked.trace, limit=most).batches(0, said):
        count += len(batch.arrival_s)
        tokens_in += float(batch.input_tokens.sum())
        tokens_out += float(batch.output_tokens.sum())
        first = float(batch.arrival_s[0]) if first is None else first
        last = float(batch.arrival_s[-1])
        prefixes = prefixes or len(batch.prefix_ids) > 0
    if prefixes and asked.prefix_hit > 0.0:
        raise Inconsistent("serve.prefix_cache_hit: the trace says which prompts begin alike, and the cache is "
                           "replayed; leave it out", "serve.prefix_cache_hit")
    for text in said:
        notes.warn(f"serve.workload.trace: {text}")
    if count < 2 or first is None or last <= first:
        raise BadValue("serve.workload.trace: needs two requests or more at different times", "serve.workload.trace")
    if most is not None and count < most:
        notes.warn(f"serve.workload.requests: the trace has {count:,}, fewer than the {most:,} asked for")
    rate = (count - 1) / (last - first)
    notes.assume("serve.workload.trace", f"{count:,} requests, {tokens_in / count:,.0f} tokens in, "
                 f"{tokens_out / count:,.0f} out, {rate:.3g} a second", "as the file holds them")
    return replace(asked, kind="open", input=tokens_in / count, output=max(tokens_out / count, 1.0), rate=rate,
                   requests=float(count), prefixes=prefixes)


def spread(asked: Asked, phase: ServePhase, whole: Replicas, values: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """Percentiles: the closed form's means, spread as a replay of the same load is around its own."""
    few, part = few_replicas(asked, whole)
    with suppress(Unsupported):  # more engines or requests than are replayed: percentiles stay unknown
        run = run_replicas(phase, few, workload_of(part), seed, part)
        return _around(asked, values, run, told(run, part, seed, few.count, whole.count / few.count))
    return {}


def spread_pools(
    asked: Asked, phase: ServePhase, pools: Pools, values: Mapping[str, Any], seed: int
) -> dict[str, Any]:
    """The same of two pools; without percentiles where they are too many."""
    few, part = few_pools(asked, pools)
    if pooled(few) > MOST_POOLED:
        return {}
    with suppress(Unsupported):
        run = run_pools(phase, few, workload_of(part), seed, part, pools.own_slower(load_of_pools(asked)))
        return _around(asked, values, run, told(run, part, seed, pooled(few), pooled(pools) / pooled(few)))
    return {}


def _around(asked: Asked, values: Mapping[str, Any], run: SimResult, said: dict[str, Any]) -> dict[str, Any]:
    found = contract_values(run, asked.percentile)
    spreads: dict[str, Any] = {}
    for name in TIMES:
        mean, model = found.get(f"{name}_s"), values.get(f"{name}_s")
        for p in percentiles_of(asked):
            at = found.get(f"{name}_{p}_s")
            if model is not None and mean and at is not None:
                spreads[f"{name}_{p}_s"] = derive(over_mean, f"{name} {p}", "s", mean_s=model, ratio=at / mean)
    return spreads | {"replay": said}


def percentiles_of(asked: Asked) -> tuple[str, ...]:
    """Those of the contract, and the one promised."""
    own = "" if asked.percentile is None else f"p{asked.percentile:g}"
    return PERCENTILES if not own or own in PERCENTILES else (*PERCENTILES, own)


def few_replicas(asked: Asked, whole: Replicas) -> tuple[Replicas, Asked]:
    """A few of many equal replicas with their part of the load: a thousand requests over hundreds load none of them."""
    if whole.count <= REPLAYED:
        return whole, asked
    part = REPLAYED / whole.count
    return replace(whole, count=REPLAYED), replace(asked, rate=asked.rate * part, concurrency=asked.concurrency * part)


def few_pools(asked: Asked, pools: Pools) -> tuple[Pools, Asked]:
    """The same of two pools, as many of each as stand nearest to one another as they do; all where that is not near."""
    first, second = int(pools.first.replicas), int(pools.second.replicas)
    if first + second <= 2 * REPLAYED:
        return pools, asked
    tried = [(abs(math.log(a * second / (b * first))), -a, a, b) for a in range(1, min(first, 2 * REPLAYED) + 1)
             for b in range(1, min(second, 2 * REPLAYED - a) + 1)]
    apart, _, a, b = min(tried, default=(math.inf, 0, first, second))
    if apart > UNLIKE:
        return pools, asked
    part = math.sqrt(a / first * b / second)
    few = replace(pools, first=replace(pools.first, replicas=float(a)), second=replace(pools.second, replicas=float(b)))
    return few, replace(asked, rate=asked.rate * part, concurrency=asked.concurrency * part)


def pooled(pools: Pools) -> int:
    return int(value_of(pools.first.replicas) + value_of(pools.second.replicas))


def run_replicas(
    phase: ServePhase, whole: Replicas, workload: Any, seed: int, asked: Asked, slower: float = 1.0, first: float = 1.0,
    **more: Any,
) -> SimResult:
    """more: of `simulate`, or of its system."""
    own, own_first = whole.own_slower(load_of(asked, whole))
    own_phase = replace(phase, asked=asked)
    return replay(whole.arch, own_phase, whole.layout, whole.count, whole.cache_tokens, workload, seed,
                  slower=slower * own, slower_first=first * own_first, slo=limits_of(asked),
                  **(_passed(asked) | more))


def run_pools(
    phase: ServePhase, pools: Pools, workload: Any, seed: int, asked: Asked, own: tuple[float, float], **more: Any
) -> SimResult:
    """own: how much longer than the model a token and a first token take."""
    return replay_pools(
        pools.arch, replace(phase, asked=asked), pools.first, pools.second, pools.moved_bytes, pools.link_bytes_per_s,
        workload, seed, slower=own[0], slower_first=own[1], slo=limits_of(asked), **(_passed(asked) | more))


def _passed(asked: Asked) -> dict[str, Any]:
    """How requests pass through: prefixes are looked at where the trace knows them, else `prefix_cache_hit` holds."""
    return {"router": asked.replay.routed, "prefix_cache": asked.prefixes, "keep": "measures"}


def limits_of(asked: Asked) -> Slo | None:
    return Slo(**{f"{name}_s": limit for name, limit in asked.slo.items()}) if asked.slo else None


def workload_of(asked: Asked, replicas: int = 1, span_s: float = 0.0) -> Synthetic | Trace:
    """The requests that are replayed: of a trace all, else as many as show a percentile, or as were asked about.

    span_s: seconds that they are to come in, at least.
    """
    if asked.trace is not None:
        return Trace(asked.trace, limit=None if asked.requests is None else int(asked.requests))
    kinds, least = {"constant": "even"}, least_requests(asked.percentile)
    if asked.kind in ("batch", "queued"):
        arrivals, count = Arrivals("all_at_once"), int(asked.concurrency)
    elif asked.kind == "closed":
        arrivals = Arrivals("closed", concurrency=max(int(asked.concurrency), 1))
        inside = int(asked.concurrency)
        count = max(least, min(10 * inside, max(4 * inside, MOST_REQUESTS)))
        if count > max(least, MOST_REQUESTS):
            raise Unsupported("serve.workload.concurrency: too many to replay", "serve.workload.concurrency")
    else:
        arrivals = Arrivals(kinds.get(asked.arrivals, asked.arrivals), rate=max(asked.rate, FASTEST), cv=2.0)
        count = least
    if asked.replay.own:
        count = count if asked.kind == "batch" else _wanted(asked, count, max(EACH * replicas, asked.rate * span_s))
    return Synthetic(arrivals, asked.input_lengths, asked.output_lengths, count)


def least_requests(percentile: float | None) -> int:
    """Requests whose replay shows a percentile.

    >>> [least_requests(p) for p in (None, 99, 99.9, 99.99)]
    [1000, 1000, 5000, 50000]
    """
    return REQUESTS if percentile is None else max(REQUESTS, round(BEYOND / (1.0 - percentile / 100.0)))


def _wanted(asked: Asked, least: int, shown: float) -> int:
    """Requests of a load that is replayed for its own times; shown: that show them where it says no number."""
    if asked.requests is None:
        return int(max(least, min(shown, MOST_OWN)))
    given = int(min(asked.requests, MOST_ASKED))
    return max(least, given) if asked.kind == "closed" else given  # a loop is told by its steady state


def told(run: SimResult, asked: Asked, seed: int, replicas: int, times: float = 1.0) -> dict[str, Any]:
    """What a replay says beside times; what flows, so many times over: that many times more replicas than `replicas`
    share the whole load."""
    found = contract_values(run)
    names = ("requests_per_s", "output_tokens_per_s", "utilization", "dropped", "preemptions", "cached_share",
             "goodput_share", "goodput_per_s")
    flows = ("requests_per_s", "output_tokens_per_s", "goodput_per_s")
    known = {name: value for name in names if (value := found.get(name)) is not None}
    known = {name: value * times if name in flows else value for name, value in known.items()}
    return {"requests": run.counts["requests"], "seed": seed, "seconds": run.seconds, "replicas": replicas,
            "router": asked.replay.routed, "own": asked.own_times, **known}


def over_mean(mean_s: Any, ratio: Any) -> Any:
    """A mean, and how far a percentile of a replay lies from its mean."""
    return mean_s * ratio
