"""The time model as a person's own runs of this model, device and engine correct it, at any load."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from msgspec.structs import replace

from outlay.derive import Quantity, derive, value_of
from outlay.resolve.own_runs import Point
from outlay.resolve.serve.speed import Speed
from outlay.steps.serve.time_inputs import Load

if TYPE_CHECKING:
    from outlay.planner.serve.pool_times import Pools
    from outlay.planner.serve.times import Replicas

Found = Mapping[str, Any]


def own_found(modelled: Callable[[Load], Found], load: Load, speed: Speed, devices: float) -> Found:
    """What the model says of a load, times the factors of runs at loads alike.

    A replica that is slower by a factor is one that arrivals reach that much faster, in its own time.
    """
    found = modelled(load)
    inside = load.concurrency if load.kind in ("closed", "batch") else found["running"]

    def factor(number: str) -> Any:
        return speed.nominal(number, inside, load.input, load.output, devices)

    token, first = factor("tpot_s"), factor("ttft_s")
    if load.kind == "open":
        found = modelled(replace(load, rate=load.rate * token))
    ttft, tpot = found["ttft_s"] * first, found["tpot_s"] * token
    stay = ttft + tpot * np.maximum(load.output - 1.0, 0.0)
    if load.kind in ("closed", "batch"):
        out = found["output_tokens_per_s"] * found["e2e_s"] / stay
    elif load.kind == "queued":
        out = found["output_tokens_per_s"] * factor("output_tokens_per_s")
    else:
        out = found["output_tokens_per_s"] / token
    return {**found, "ttft_s": ttft, "tpot_s": tpot, "e2e_s": stay, "output_tokens_per_s": out}


def own_pools(modelled: Callable[[Load], Found], load: Load, speed: Speed, devices: Any) -> Found:
    """The same of two pools, whose capacity and load the runs tell too; devices: of both, arrays where many are told.

    What they sustain is as much less as was measured of throughput; without that, as a token is slower.
    """
    found = modelled(load)
    inside = np.maximum(load.concurrency if load.kind == "closed" else found["running"], 1e-6)
    shape = np.broadcast_shapes(np.shape(inside), np.shape(devices))
    inside, each = np.broadcast_to(inside, shape), np.broadcast_to(devices, shape)

    def factor(number: str) -> Any:
        values = np.ones(shape)
        for count in np.unique(each):
            mine = each == count
            values[mine] = speed.nominal(number, inside[mine], load.input, load.output, float(count))
        return values if shape else float(values)

    token, first = factor("tpot_s"), factor("ttft_s")
    told = speed.own is not None and "output_tokens_per_s" in speed.own.ratios
    fewer = factor("output_tokens_per_s") if told else 1.0 / token
    if load.kind == "open":
        found = modelled(replace(load, rate=load.rate / fewer))
    ttft, tpot = found["ttft_s"] * first, found["tpot_s"] * token
    stay = ttft + tpot * np.maximum(load.output - 1.0, 0.0)
    out = found["output_tokens_per_s"] * (found["e2e_s"] / stay if load.kind == "closed" else fewer)
    return {**found, "ttft_s": ttft, "tpot_s": tpot, "e2e_s": stay, "output_tokens_per_s": out,
            "capacity_per_s": found["capacity_per_s"] * fewer}


def place(whole: Replicas, load: Load, found: Mapping[str, Any]) -> Point | None:
    """Where a load lies among those of a person's own runs."""
    inside = load.concurrency if load.kind in ("closed", "batch") else float(found["running"])
    return whole.speed.place(inside, load.input, load.output, value_of(whole.layout.devices))


def own_slower(whole: Replicas, load: Load) -> tuple[float, float]:
    """How much longer than the model a token and a first token take: this engine's one stream, one's own runs."""
    devices, slow, first = value_of(whole.layout.devices), value_of(whole.slower), value_of(whole.slower_first)
    if whole.speed.own is None:
        return slow, first
    inside = load.concurrency if load.kind in ("closed", "batch") else whole.modelled(load)["running"]
    token, prompt = (whole.speed.nominal(n, inside, load.input, load.output, devices) for n in ("tpot_s", "ttft_s"))
    return slow * float(token), first * float(prompt)


def own_slower_pools(pools: Pools, load: Load) -> tuple[float, float]:
    """How much longer than the model a token and a first token take on two pools, by one's own runs."""
    if pools.speed.own is None:
        return 1.0, 1.0
    modelled = pools.modelled(load)
    inside = load.concurrency if load.kind == "closed" else float(modelled["running"])
    token, first = (pools.speed.nominal(name, max(inside, 1e-6), load.input, load.output, float(sum(pools.devices)))
                    for name in ("tpot_s", "ttft_s"))
    return float(token), float(first)


def own_alone(whole: Replicas, at: Point | None) -> tuple[Quantity, Quantity]:
    """One request alone: as its own model has it, or as a person's own runs were to that."""
    own, times = whole.speed.own, []
    for name in ("ttft_s", "tpot_s"):
        time: Quantity = whole.single[name]
        if own is not None and name in own.ratios:
            own_s = time.value * whole.speed.nominal(
                name, 1.0, whole.single["input"], whole.single["output"], value_of(whole.layout.devices))
            time = derive(_as_run, time.label, "s", modelled_s=own_s, slower=whole.speed.residual(name, at=at))
        times.append(time)
    return times[0], times[1]


def _as_run(modelled_s: Any, slower: Any) -> Any:
    """The model of one request alone, and what runs of one's own took beyond it."""
    return modelled_s * slower
