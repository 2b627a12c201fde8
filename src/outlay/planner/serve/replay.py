"""Percentiles and traces: the plan replayed request by request, with the interval of the time model around it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np
from msgspec.structs import replace

from outlay.derive import derive, exact, value_of
from outlay.errors import BadValue, Unsupported
from outlay.physics.queueing import in_flight
from outlay.planner.serve.pool_times import Pools, load_of_pools, place_of_pools
from outlay.planner.serve.replicas import Replicas
from outlay.planner.serve.simulate import contract_values, replay, replay_pools
from outlay.planner.serve.times import PERCENTILES, TIMES, load_of
from outlay.resolve.notes import Notes
from outlay.resolve.serve.phase import ServePhase
from outlay.resolve.workload import Asked
from outlay.simulate import Arrivals, SimResult, Slo, Synthetic, Trace

REPLAYED = 8  # replicas of one deployment; their router has as good as nothing to gain from more
MOST_POOLED = 400  # replicas of two pools whose proportion few of each do not show
REQUESTS = 1000  # enough for a 99th percentile of ten
LONG_TRACE = 5_000  # requests from which only the nominal replay is made
FASTEST = 1e-6
UNLIKE = 0.05  # between the ratio of two pools and that of the few of each that are replayed for them
MOST_REQUESTS = 40_000  # of a loop that is replayed; each place is filled ten times over, or four where they are many


def of_trace(asked: Asked, notes: Notes) -> Asked:
    """The load of a trace as the closed form takes it: mean lengths, mean rate, as many requests.

    Raises what is wrong with the file, by line.
    """
    assert asked.trace is not None
    said: list[str] = []
    count, tokens_in, tokens_out, first, last = 0, 0.0, 0.0, None, 0.0
    for batch in Trace(asked.trace).batches(0, said):
        count += len(batch.arrival_s)
        tokens_in += float(batch.input_tokens.sum())
        tokens_out += float(batch.output_tokens.sum())
        first = float(batch.arrival_s[0]) if first is None else first
        last = float(batch.arrival_s[-1])
    for text in said:
        notes.warn(f"serve.workload.trace: {text}")
    if count < 2 or first is None or last <= first:
        raise BadValue("serve.workload.trace: needs two requests or more at different times", "serve.workload.trace")
    rate = (count - 1) / (last - first)
    notes.assume("serve.workload.trace", f"{count:,} requests, {tokens_in / count:,.0f} tokens in, "
                 f"{tokens_out / count:,.0f} out, {rate:.3g} a second", "as the file holds them")
    return replace(asked, kind="open", input=tokens_in / count, output=max(tokens_out / count, 1.0), rate=rate,
                   requests=float(count))


def spread(asked: Asked, phase: ServePhase, whole: Replicas, values: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """Percentiles: the closed form's means, spread as a replay of the same load is around its own."""
    few, part = _few(asked, whole)
    with suppress(Unsupported):  # more engines or requests than are replayed: percentiles stay unknown
        return _around(asked, values, _replay(phase, few, _workload(part), seed, part), whole.count / few.count)
    return {}


def spread_pools(
    asked: Asked, phase: ServePhase, pools: Pools, values: Mapping[str, Any], seed: int
) -> dict[str, Any]:
    """The same of two pools; without percentiles where they are too many."""
    few, part = _few_pools(asked, pools)
    if _pooled(few) > MOST_POOLED:
        return {}
    with suppress(Unsupported):
        found = _replay_pools(phase, few, _workload(part), seed, part, pools.own_slower(load_of_pools(asked)))
        return _around(asked, values, found, _pooled(pools) / _pooled(few))
    return {}


def _around(asked: Asked, values: Mapping[str, Any], run: SimResult, times: float = 1.0) -> dict[str, Any]:
    found = contract_values(run, asked.percentile)
    spreads: dict[str, Any] = {}
    for name in TIMES:
        mean, model = found.get(f"{name}_s"), values.get(f"{name}_s")
        for p in _percentiles(asked):
            at = found.get(f"{name}_{p}_s")
            if model is not None and mean and at is not None:
                spreads[f"{name}_{p}_s"] = derive(_spread, f"{name} {p}", "s", mean_s=model, over_mean=at / mean)
    return spreads | {"replay": _told(found, asked, times)}


def _percentiles(asked: Asked) -> tuple[str, ...]:
    """Those of the contract, and the one promised."""
    own = "" if asked.percentile is None else f"p{asked.percentile:g}"
    return PERCENTILES if not own or own in PERCENTILES else (*PERCENTILES, own)


def _few(asked: Asked, whole: Replicas) -> tuple[Replicas, Asked]:
    """A few of many equal replicas with their part of the load: a thousand requests over hundreds load none of them."""
    if whole.count <= REPLAYED:
        return whole, asked
    part = REPLAYED / whole.count
    return replace(whole, count=REPLAYED), replace(asked, rate=asked.rate * part, concurrency=asked.concurrency * part)


def _few_pools(asked: Asked, pools: Pools) -> tuple[Pools, Asked]:
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


def replayed(
    asked: Asked, phase: ServePhase, whole: Replicas, values: Mapping[str, Any], seed: int
) -> dict[str, Any]:
    """A trace's own times and percentiles; nominal, and on devices as much slower and faster as left-out runs were."""
    load = load_of(asked, whole)
    at_load = whole.place(load, whole.found(load))
    residual, first = whole.speed.residual("tpot_s", at=at_load), whole.speed.residual("ttft_s", at=at_load)
    trace = Trace(str(asked.trace))
    used = replace(whole, count=min(whole.count, int(asked.requests or 1)))  # no request ever meets more of them
    long = (asked.requests or 0) > LONG_TRACE
    at = [(1.0, 1.0)] if long else [(residual.low, first.low), (1.0, 1.0), (residual.high, first.high)]
    runs = [contract_values(_replay(phase, used, trace, seed, asked, *pair), asked.percentile) for pair in at]
    nominal = runs[len(runs) // 2]
    found: dict[str, Any] = {}
    for name in (*(f"{n}_s" for n in TIMES), *(f"{n}_{p}_s" for n in TIMES for p in _percentiles(asked))):
        points = [run.get(name) for run in runs]
        if any(point is None for point in points):
            found[name] = None
            continue
        knots = tuple(float(p) for p in points if p is not None)
        if long:
            found[name] = derive(_spread, name, "s", mean_s=exact(knots[0], "s", name), over_mean=residual)
        else:
            between = _between(tuple(pair[0] for pair in at), knots)
            found[name] = derive(between, name.removesuffix("_s").replace("_", " "), "s", slower=residual)
    return found | _inside(found, values) | {"replay": _told(nominal, asked)}


def replayed_pools(
    asked: Asked, phase: ServePhase, pools: Pools, values: Mapping[str, Any], seed: int
) -> dict[str, Any]:
    """The same of two pools, replayed once: what is uncertain there is more the wait of prompts than their time."""
    load = load_of_pools(asked)
    run = contract_values(_replay_pools(phase, pools, Trace(str(asked.trace)), seed, asked, pools.own_slower(load)),
                          asked.percentile)
    at = place_of_pools(pools, load, pools.at(load))
    first, token = pools.speed.residual("ttft_s", True, at), pools.speed.residual("tpot_s", True, at)
    found: dict[str, Any] = {}
    for name in (*(f"{n}_s" for n in TIMES), *(f"{n}_{p}_s" for n in TIMES for p in _percentiles(asked))):
        seen = run.get(name)
        found[name] = None if seen is None else derive(
            _spread, name.removesuffix("_s").replace("_", " "), "s", mean_s=seen,
            over_mean=first if name.startswith("ttft") else token)
    return found | _inside(found, values) | {"replay": _told(run, asked)}


def _pooled(pools: Pools) -> int:
    return int(value_of(pools.first.replicas) + value_of(pools.second.replicas))


def _inside(found: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Requests in flight by the times of the replay, not by those it takes the place of."""
    if found["e2e_s"] is None:
        return {}
    return {"concurrency": derive(in_flight, "requests in flight", "requests", rate_per_s=values["rate"],
                                  time_s=found["e2e_s"])}


def _replay(
    phase: ServePhase, whole: Replicas, workload: Any, seed: int, asked: Asked, slower: float = 1.0, first: float = 1.0
) -> SimResult:
    own, own_first = whole.own_slower(load_of(asked, whole))
    own_phase = replace(phase, asked=asked)
    return replay(whole.arch, own_phase, whole.layout, whole.count, whole.cache_tokens, workload, seed,
                  slower=slower * own, slower_first=first * own_first, slo=_limits(asked), keep="measures")


def _replay_pools(
    phase: ServePhase, pools: Pools, workload: Any, seed: int, asked: Asked, own: tuple[float, float]
) -> SimResult:
    """own: how much longer than the model a token and a first token take."""
    return replay_pools(
        pools.arch, replace(phase, asked=asked), pools.first, pools.second, pools.moved_bytes, pools.link_bytes_per_s,
        workload, seed, slower=own[0], slower_first=own[1], slo=_limits(asked), keep="measures")


def _limits(asked: Asked) -> Slo | None:
    return Slo(**{f"{name}_s": limit for name, limit in asked.slo.items()}) if asked.slo else None


def _workload(asked: Asked) -> Synthetic:
    kinds = {"constant": "even"}
    if asked.kind == "closed":
        arrivals = Arrivals("closed", concurrency=max(int(asked.concurrency), 1))
        inside = int(asked.concurrency)
        count = max(REQUESTS, min(10 * inside, max(4 * inside, MOST_REQUESTS)))
        if count > MOST_REQUESTS:
            raise Unsupported("serve.workload.concurrency: too many to replay", "serve.workload.concurrency")
    else:
        arrivals = Arrivals(kinds.get(asked.arrivals, asked.arrivals), rate=max(asked.rate, FASTEST), cv=2.0)
        count = REQUESTS
    return Synthetic(arrivals, asked.input_lengths, asked.output_lengths, count)


def _told(found: Mapping[str, float | None], asked: Asked, times: float = 1.0) -> dict[str, Any]:
    """What a replay says beside times; what flows, so many times over."""
    names = ("requests_per_s", "output_tokens_per_s", "utilization", "dropped", "preemptions", "cached_share",
             "goodput_share", "goodput_per_s")
    flows = ("requests_per_s", "output_tokens_per_s", "goodput_per_s")
    known = {name: value for name in names if (value := found.get(name)) is not None}
    return {name: value * times if name in flows else value for name, value in known.items()}


def _between(slower: tuple[float, ...], times_s: tuple[float, ...]) -> Any:
    def replayed_s(slower: Any, *, knots: Any = (slower, times_s)) -> Any:
        """A trace on devices so much slower: between the replays made, in logarithms, and on along the last."""
        at, values = np.log(knots[0]), np.log(np.maximum(knots[1], 1e-12))
        x = np.log(slower)
        inside = np.interp(x, at, values)
        above = values[-1] + (x - at[-1]) * (values[-1] - values[-2]) / (at[-1] - at[-2])
        below = values[0] + (x - at[0]) * (values[1] - values[0]) / (at[1] - at[0])
        return np.exp(np.where(x > at[-1], above, np.where(x < at[0], below, inside)))

    return replayed_s


def _spread(mean_s: Any, over_mean: Any) -> Any:
    """A mean, and how far a percentile of a replay lies from its mean."""
    return mean_s * over_mean
