"""What devices did in a replay: power of its steps, their use of time, and how both went over time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from outlay.derive import Quantity, derive, value_of
from outlay.planner.replay.hits import counted_with, pools_with, replicas_with, seen_hits
from outlay.planner.replay.own_load import Replayed, replayed, replayed_pools
from outlay.planner.replay.scaling import scaling_of, scaling_of_pools
from outlay.planner.replay.told import tell_scaling
from outlay.planner.serve.day import Work, means
from outlay.planner.serve.hours import ITEMS
from outlay.planner.serve.pool_times import Pools, pooled_power, pooled_times
from outlay.planner.serve.replicas import Replicas
from outlay.planner.serve.times import Traffic, load_of, rates_of, times
from outlay.resolve.power import serve_power_facts
from outlay.resolve.record import Resolved
from outlay.resolve.serve.phase import ServePhase
from outlay.resolve.serve.scale import BOTH
from outlay.resolve.workload import Asked
from outlay.simulate import Power, SimResult
from outlay.steps.serve.power import serve_power
from outlay.steps.serve.time_inputs import Load

MOST_KEPT = 200_000  # requests whose every step is kept to show how power went
_Closed = tuple[Asked, Any, Replayed, Traffic]
BINS = 48  # of the time of a replay


class Use(Struct, frozen=True, eq=False):
    """What a replay makes of a plan: its values, traffic of the devices that are held, how many those are (mean), and
    the replay itself.

    asked, deployed: the load and what it is on, with the hits that the replay of a trace found.
    """

    values: dict[str, Any]
    traffic: Traffic
    held: Any
    found: Replayed
    measured: bool  # shares of time and power within them are those of the replay
    asked: Asked
    deployed: Any

    def watts(self, asked: Asked, watts: dict[str, Quantity]) -> tuple[Traffic, dict[str, Quantity]]:
        """Traffic and power means, of the replay where its time is that of the plan."""
        if not self.measured:
            return self.traffic, watts
        return used(asked, self.found.run, self.found.times, self.traffic, watts, float(value_of(self.held)))


def own_load(
    resolved: Resolved, phase: ServePhase, whole: Replicas, values: Mapping[str, Any], traffic: Traffic,
    weights_bytes: Any,
) -> Use:
    """A plan's own requests on equal replicas, all of which stand or come and go."""
    asked = phase.asked
    power = step_power(resolved, whole, asked, traffic.running)
    scaling = scaling_of(asked, whole, weights_bytes)
    found = replayed(asked, phase, whole, values, resolved.seed, scaling, **_kept(resolved, asked, power))
    if scaling is not None:
        tell_scaling(resolved, found.values["replay"], scaling)
    each = int(whole.layout.devices)
    held = whole.devices if scaling is None else derive(
        _times, "devices held, mean", "devices", count=found.values["replay"]["replicas_mean"], each=float(each))
    return _use(resolved, _with_hits(resolved, asked, found, traffic, whole, replicas_with, times), held, power)


def own_load_of_pools(
    resolved: Resolved, phase: ServePhase, pools: Pools, values: Mapping[str, Any], traffic: Traffic,
    weights_bytes: Mapping[str, Any],
) -> Use:
    """The same of two pools. weights_bytes: of a replica of each."""
    asked, power = phase.asked, None
    watts = pooled_power(resolved.power, pools, asked, traffic)
    if watts:
        power = Power(watts["idle_w"].value, watts["prefill_w"].value, (1.0,), (watts["decode_w"].value,))
    scaling = scaling_of_pools(asked, pools, weights_bytes)
    found = replayed_pools(asked, phase, pools, values, resolved.seed, scaling, **_kept(resolved, asked, power))
    held: Any = int(sum(pools.devices))
    for one in scaling:
        tell_scaling(resolved, found.values["replay"], one)
    if scaling:
        own = found.values["replay"]["pools"]
        held = derive(_of_both, "devices held, mean", "devices", first=own[scaling[0].pool]["replicas_mean"],
                      second=own[scaling[1].pool]["replicas_mean"], each=float(scaling[0].each),
                      other=float(scaling[1].each))
    return _use(resolved, _with_hits(resolved, asked, found, traffic, pools, pools_with, pooled_times), held, power)


def _with_hits(
    resolved: Resolved, asked: Asked, found: Replayed, traffic: Traffic, deployed: Any, hit: Callable[..., Any],
    times_of: Callable[..., tuple[dict[str, Any], Traffic]],
) -> _Closed:
    """The load, what it is on (`hit` by so much of every prompt) and its closed form, with what the replay found
    cached."""
    share = seen_hits(asked, found.run, resolved.notes)
    if not share:
        return asked, deployed, found, traffic
    asked, deployed = replace(asked, prefix_hit=share), hit(deployed, share)
    closed, traffic = times_of(asked, deployed)
    return asked, deployed, replace(found, values=counted_with(closed, found.values)), traffic


def _kept(resolved: Resolved, asked: Asked, power: Power | None) -> dict[str, Any]:
    few = (asked.requests or 0) <= MOST_KEPT
    return {"keep": "tables" if resolved.notes.tables or few else "measures", "power": power}


def _use(resolved: Resolved, closed: _Closed, held: Any, power: Power | None) -> Use:
    asked, deployed, found, traffic = closed
    values, run = dict(found.values), found.run
    if asked.replay.scales:
        rate = values.get("rate", traffic.requests_per_s)
        values["output_tokens_per_s_per_device"] = rates_of(asked, rate, held)["output_tokens_per_s_per_device"]
    shown = over_time(run, power if run.requests else None, found.times)
    if len(shown) > 1:
        values["replay"] = values["replay"] | {"over_time": shown}
    if resolved.notes.tables:
        resolved.notes.replay = run
    measured = asked.trace is not None or bool(asked.replay.scales)
    return Use(values, replace(traffic, requests_per_s=values.get("rate", traffic.requests_per_s)), held, found,
               measured, asked, deployed)


def step_power(resolved: Resolved, whole: Replicas, asked: Asked, running: float) -> Power | None:
    """Watts of a device of one replica: idle, with prompts, and by requests running on an engine."""
    load = load_of(asked, whole)
    power = whole.own_power(resolved.power, load, running)
    if power is None:
        return None
    facts, ranks = serve_power_facts(power), float(whole.layout.data) * whole.layout.pipeline

    def drawn(load: Load) -> Mapping[str, Any]:
        found = whole.own(load)
        rate = {name: found[name] for name in ("output_tokens_per_s", "running")}
        given = (whole.arch, whole.speed.device, whole.speed.engine, whole.layout, load)
        return serve_power(*given, rate, facts)

    most = max(float(whole.own(replace(load, kind="queued"))["running"]), ranks)
    inside = np.unique(np.geomspace(ranks, most, 12)) if most > ranks else np.array([ranks])
    by_running = drawn(replace(load, kind="closed", concurrency=inside))
    calm = drawn(replace(load, kind="closed", concurrency=max(ranks, 1.0)))
    decode = np.broadcast_to(by_running["decode_w"], inside.shape)
    return Power(float(calm["idle_w"]), float(calm["prefill_w"]), tuple(float(n) for n in inside / ranks),
                 tuple(float(w) for w in decode))


def used(
    asked: Asked, run: SimResult, times: float, traffic: Traffic, watts: dict[str, Quantity], held: float
) -> tuple[Traffic, dict[str, Quantity]]:
    """Traffic and power means over the devices held, as the replay used them. times: of what it replayed."""
    spent = {item: run.device_s[item] * times / max(held * run.seconds, 1e-300) for item in ITEMS}
    within = {item: run.energy_parts_j[item] / max(run.device_s[item], 1e-300) for item in ITEMS} if watts else {}
    return means(asked, Work(traffic.requests_per_s.value, spent, within), traffic, watts, held)


def over_time(run: SimResult, power: Power | None, times: float) -> dict[str, Any]:
    """In equal parts of the replay's time, means: power of the devices and the part of them that is held, where power
    is known, and the replicas of each pool, where they come and go."""
    shown: dict[str, Any] = {"every_s": run.seconds / BINS}
    if power is not None:
        found = run.power_over_time(power, BINS)
        shown |= {"power_w": [round(float(w) * times, 3) for w in found["watts"]],
                  "held_share": [round(float(share), 6) for share in found["on_share"]]}
    if run.replicas:
        pools = [[round(float(n), 4) for n in column] for column in run.replicas_over_time(BINS)]
        shown["replicas"] = pools[0] if len(pools) == 1 else dict(zip(BOTH, pools, strict=True))
    return shown


def _of_both(first: Any, second: Any, each: Any, other: Any) -> Any:
    """Devices of so many replicas of each pool."""
    return first * each + second * other


def _times(count: Any, each: Any) -> Any:
    """So many of each."""
    return count * each
