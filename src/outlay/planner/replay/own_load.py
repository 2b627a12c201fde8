"""A plan whose times are those of its own requests, replayed one by one: a trace, or a load asked to be replayed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from outlay.derive import Quantity, derive, exact
from outlay.physics.queueing import in_flight
from outlay.planner.replay.scaling import Scaling
from outlay.planner.replay.simulate import contract_values
from outlay.planner.replay.spread import (
    MOST_POOLED,
    few_pools,
    few_replicas,
    over_mean,
    percentiles_of,
    pooled,
    run_pools,
    run_replicas,
    told,
    workload_of,
)
from outlay.planner.serve.pool_times import Pools, load_of_pools, place_of_pools
from outlay.planner.serve.replicas import Replicas
from outlay.planner.serve.sums import most_of, per_time
from outlay.planner.serve.times import TIMES, load_of, loads_of, rates_of
from outlay.resolve.serve.phase import ServePhase
from outlay.resolve.workload import Asked
from outlay.simulate import SimResult

LONG = 5_000  # requests from which only the nominal replay is made
MANY = 5  # times as many where replicas come and go, whose number hangs on how slow they are
FOLLOWS = ("autoscale", "autoscale_decode")  # what the simulator calls the autoscalers of two pools
Run = Callable[..., SimResult]


class Replayed(Struct, frozen=True, eq=False):
    """What a replay says of a plan, and the replay itself at nominal inputs.

    times: so many times the deployment that was replayed is the whole, each with its part of the load.
    """

    values: dict[str, Any]
    run: SimResult
    times: float = 1.0


def replayed(
    asked: Asked, phase: ServePhase, whole: Replicas, values: Mapping[str, Any], seed: int,
    scaling: Scaling | None = None, **more: Any,
) -> Replayed:
    """Times and percentiles of these requests; of a trace, or where replicas come and go, also on devices as much
    slower and faster as left-out runs were, whose interval a load that the closed form knows has from there.

    scaling: replicas come and go, and start slower or faster with the devices. more: of `simulate` for the nominal
    replay (keep, power).
    """
    load = load_of(asked, whole)
    at = whole.place(load, whole.found(load))
    residual, first = whole.residual("tpot_s", at), whole.residual("ttft_s", at)
    used, part = _used(asked, whole)
    workload = workload_of(part, used.count, 0.0 if scaling is None else scaling.span_s)

    def run(end: str, **kept: Any) -> SimResult:
        follows = None if scaling is None else scaling.at(getattr(scaling.start, end))
        slower = getattr(residual, end)
        return run_replicas(phase, used, workload, seed, part, slower, first.value * slower / residual.value,
                            autoscale=follows, **kept)

    times = whole.count / used.count if asked.trace is None else 1.0
    nominal = run("value", **more)
    said = told(nominal, asked, seed, used.count, times)
    if _endless(asked, values):
        return Replayed({"replay": said | _standing_of({}, nominal, residual, scaling)}, nominal, times)
    three = nominal.counts["requests"] <= LONG * (1 if scaling is None else MANY)
    runs = _ends(run, nominal, residual) if three and (asked.trace is not None or scaling) else {}
    if asked.trace is None and scaling is None:
        found = _as_wide(nominal, asked, values)
    elif len(runs) > 1:
        found = _between_runs(runs, asked, residual, first)
    else:
        found = _scaled(nominal, asked, residual, first)
    said = {"replay": said | _standing_of(runs, nominal, residual, scaling)}
    return Replayed(found | _rates(asked, values, found, nominal, times, whole, whole.devices) | said, nominal, times)


def replayed_pools(
    asked: Asked, phase: ServePhase, pools: Pools, values: Mapping[str, Any], seed: int,
    scaling: tuple[Scaling, ...] = (), **more: Any,
) -> Replayed:
    """The same of two pools, which are replayed once where all replicas stand: what is uncertain there is more the wait
    of prompts than their time. scaling: of the replicas of each, where they come and go."""
    load = load_of_pools(asked)
    at = place_of_pools(pools, load, pools.at(load))
    first, token = pools.speed.residual("ttft_s", True, at), pools.speed.residual("tpot_s", True, at)
    used, part = (pools, asked) if asked.trace is not None or pooled(pools) <= MOST_POOLED else few_pools(asked, pools)
    workload = workload_of(part, pooled(used), max((one.span_s for one in scaling), default=0.0))

    def run(end: str, **kept: Any) -> SimResult:
        follows = {name: one.at(getattr(one.start, end)) for name, one in zip(FOLLOWS, scaling, strict=False)}
        slower = getattr(token, end)
        own = _both(pools.own_slower(load), slower, first.value * slower / token.value)
        return run_pools(phase, used, workload, seed, part, own, **follows, **kept)

    nominal = run("value", **more)
    times = pooled(pools) / pooled(used)
    runs = _ends(run, nominal, token) if scaling and nominal.counts["requests"] <= LONG * MANY else {}
    said = {"replay": told(nominal, asked, seed, pooled(used), times) | standing_pools(runs, nominal, token, scaling)}
    if _endless(asked, values):
        return Replayed(said, nominal, times)
    if len(runs) > 1:
        found = _between_runs(runs, asked, token, first)
    elif asked.trace is not None or scaling:
        found = _scaled(nominal, asked, token, first)
    else:
        found = _as_wide(nominal, asked, values)
    one = Replicas(pools.arch, pools.speed, pools.second.layout, 1, 0.0)
    found |= _rates(asked, values, found, nominal, times, one, sum(pools.devices))
    return Replayed(found | said, nominal, times)


def _used(asked: Asked, whole: Replicas) -> tuple[Replicas, Asked]:
    """The replicas that are replayed, and what they are asked; no trace meets more of them than it has requests."""
    if asked.replay.scales:
        return whole, asked
    if asked.trace is not None:
        return replace(whole, count=min(whole.count, int(asked.requests or 1))), asked
    if whole.count <= MOST_POOLED:
        return whole, asked
    few, part = few_replicas(asked, whole)
    each = None if asked.requests is None else max(asked.requests * few.count / whole.count, 1.0)
    return few, replace(part, requests=each)


def _endless(asked: Asked, values: Mapping[str, Any]) -> bool:
    """Whether a queue grows without end: then times of so many requests say nothing of the next."""
    return asked.trace is None and asked.kind == "open" and values.get("e2e_s") is None


def _both(own: tuple[float, float], token: float, first: float) -> tuple[float, float]:
    return own[0] * token, own[1] * first


def _names(asked: Asked) -> tuple[str, ...]:
    return *(f"{n}_s" for n in TIMES), *(f"{n}_{p}_s" for n in TIMES for p in percentiles_of(asked))


def _scaled(run: SimResult, asked: Asked, token: Quantity, first: Quantity) -> dict[str, Any]:
    """One replay, in as much more or less time as left-out runs took beyond their middle."""
    seen, found = contract_values(run, asked.percentile), dict[str, Any]()
    for name in _names(asked):
        at = seen.get(name)
        found[name] = None if at is None else derive(
            over_mean, _label(name), "s", mean_s=exact(at / token.value, "s", name), ratio=token)
    return _with_first(found, first)


def _as_wide(run: SimResult, asked: Asked, values: Mapping[str, Any]) -> dict[str, Any]:
    """One replay of a load that the closed form has too, with its interval around what the replay says."""
    seen, found = contract_values(run, asked.percentile), dict[str, Any]()
    for name in _names(asked):
        at, model = seen.get(name), values.get(f"{name.partition('_')[0]}_s")
        found[name] = None if at is None or model is None else derive(
            over_mean, _label(name), "s", mean_s=model, ratio=at / model.value)
    return found


def _ends(run: Run, nominal: SimResult, residual: Quantity) -> dict[float, SimResult]:
    """Replays by how much slower devices are: as left-out runs were at most and at least, the nominal one between."""
    tried = {residual.value: nominal}  # the middle may be one of the ends
    for end in ("low", "high"):
        if getattr(residual, end) not in tried:
            tried[getattr(residual, end)] = run(end)
    return dict(sorted(tried.items()))


def _standing_of(runs: Mapping[float, SimResult], nominal: SimResult, residual: Quantity, scaling: Scaling | None
                 ) -> dict[str, Any]:
    return {} if scaling is None else _standing(runs, nominal, residual, scaling, 0)


def _standing(runs: Mapping[float, SimResult], nominal: SimResult, residual: Quantity, scaling: Scaling, pool: int
              ) -> dict[str, Any]:
    """Replicas that came and went: their mean, with the interval of the replays, how many at most, how many starts."""
    counts = tuple(run.replicas_mean(pool) for run in runs.values())
    mean = (derive(_between(tuple(runs), counts), "replicas paid for, mean", "replicas", slower=residual)
            if len(counts) > 1 else exact(nominal.replicas_mean(pool), "replicas", "replicas paid for, mean"))
    most = int(nominal.replicas_of(pool)["replicas"].max())
    return {"replicas_mean": mean, "replicas_most": most, "starts": nominal.starts(pool),
            "cold_start_s": scaling.start, "target_requests": scaling.auto.target}


def standing_pools(runs: Mapping[float, SimResult], nominal: SimResult, residual: Quantity,
                   scaling: tuple[Scaling, ...]) -> dict[str, Any]:
    """The same of each pool, by its name."""
    found = {one.pool: _standing(runs, nominal, residual, one, place) for place, one in enumerate(scaling)}
    return {"pools": found} if found else {}


def _between_runs(tried: Mapping[float, SimResult], asked: Asked, residual: Quantity, first: Quantity
                  ) -> dict[str, Any]:
    """Times between those of the replays made."""
    at, runs = tuple(tried), [contract_values(one, asked.percentile) for one in tried.values()]
    found: dict[str, Any] = {}
    for name in _names(asked):
        points = tuple(one.get(name) for one in runs)
        known = tuple(float(p) for p in points if p is not None)
        found[name] = derive(_between(at, known), _label(name), "s", slower=residual) if len(known) == len(at) else None
    return _with_first(found, first)


def _with_first(found: dict[str, Any], first: Quantity) -> dict[str, Any]:
    """The same times, the first token as much later or sooner as left-out runs had it, the whole request with it."""
    for name in [n for n in found if n.startswith("ttft") and found[n] is not None]:
        early, whole = found[name], name.replace("ttft", "e2e")
        found[name] = derive(_as_late, _label(name), "s", early_s=early, slower=first, middle=first.value)
        if found[whole] is not None:
            found[whole] = derive(_later, _label(whole), "s", whole_s=found[whole], early_s=early, slower=first,
                                  middle=first.value)
    return found


def _as_late(early_s: Any, slower: Any, middle: Any) -> Any:
    """The first token of a replay, and what left-out runs took beyond their middle."""
    return early_s * slower / middle


def _later(whole_s: Any, early_s: Any, slower: Any, middle: Any) -> Any:
    """A request whose first token comes later than the replay has it."""
    return whole_s + early_s * (slower / middle - 1.0)


def _label(name: str) -> str:
    return name.removesuffix("_s").replace("_", " ")


def _rates(asked: Asked, values: Mapping[str, Any], found: Mapping[str, Any], run: SimResult, times: float,
           whole: Replicas, devices: Any) -> dict[str, Any]:
    """Requests in flight, and of a loop its rate, by the times of the replay."""
    if found["e2e_s"] is None:
        return {}
    if asked.kind in ("open", "queued"):
        return {"concurrency": derive(in_flight, "requests in flight", "requests", rate_per_s=values["rate"],
                                      time_s=found["e2e_s"])}
    if asked.kind == "batch":  # it empties: on average fewer are in flight than were started
        asked = replace(asked, concurrency=run.counts["completed"] * run.measures["e2e_s"].mean * times / run.seconds)
    rate: Quantity = derive(per_time, "requests a second", "requests/s", inside=asked.concurrency,
                            time_s=found["e2e_s"])
    most = {"running": values["capacity_concurrency"] / whole.count}
    capacity: Quantity = derive(most_of, "requests a second that it sustains", "requests/s",
                                one=values["capacity_requests_per_s"], other=rate)
    return loads_of(asked, dict(found), rate, capacity, most, whole) | rates_of(asked, rate, int(devices))


def _between(slower: tuple[float, ...], times_s: tuple[float, ...]) -> Any:
    def replayed_s(slower: Any, *, knots: Any = (slower, times_s)) -> Any:
        """Requests on devices so much slower: between the replays made, in logarithms, and on along the last."""
        at, values = np.log(knots[0]), np.log(np.maximum(knots[1], 1e-12))
        x = np.log(slower)
        inside = np.interp(x, at, values)
        above = values[-1] + (x - at[-1]) * (values[-1] - values[-2]) / (at[-1] - at[-2])
        below = values[0] + (x - at[0]) * (values[1] - values[0]) / (at[1] - at[0])
        return np.exp(np.where(x > at[-1], above, np.where(x < at[0], below, inside)))

    return replayed_s
