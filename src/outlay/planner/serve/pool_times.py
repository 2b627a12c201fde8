"""Latency, throughput and load of two pools, one for prompts and one for answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from outlay.architecture import Architecture
from outlay.derive import Quantity, derive, exact, value_of
from outlay.physics.queueing import request_s
from outlay.planner.capacity.rate import FULLEST
from outlay.planner.serve.energy import power_values
from outlay.planner.serve.own import own_pools
from outlay.planner.serve.replicas import Replicas
from outlay.planner.serve.sums import finite, least, per_time, product, scaled, waited
from outlay.planner.serve.times import FIRST, TIMES, TOKEN, Traffic, latencies, loads_of, over_capacity, rates_of
from outlay.resolve.own_runs import Point
from outlay.resolve.power import PowerInputs, serve_power_facts
from outlay.resolve.serve.speed import PER_S, Speed
from outlay.resolve.serve.untold import Untold
from outlay.resolve.workload import ARRIVALS, Asked
from outlay.steps.serve.pools import Side, pools_time
from outlay.steps.serve.power import serve_power
from outlay.steps.serve.time_inputs import Load


class Pools(Struct, frozen=True, eq=False):
    """Both sides, and what crosses from one to the other: bytes of a prompt's cache, over a link."""

    arch: Architecture
    speed: Speed
    first: Side
    second: Side
    moved_bytes: float
    link_bytes_per_s: float
    untold: Untold | None = None  # replicas of both, where one of each is planned because nobody told
    slower: Quantity | float = 1.0  # as `second.slower` and `first.slower`, with what is not known of them
    slower_first: Quantity | float = 1.0

    def at(self, load: Load, times: Any = 1.0) -> Mapping[str, Any]:
        """Both together at so many times this rate; as a person's own runs of them were, where there are."""
        load = replace(load, rate=load.rate * times)
        return self.modelled(load) if self.speed.own is None else own_pools(self.modelled, load, self.speed,
                                                                            sum(self.devices))

    def modelled(self, load: Load) -> Mapping[str, Any]:
        """What the time model says of both together."""
        return pools_time(
            self.arch,
            self.speed.device,
            self.first,
            self.second,
            load,
            self.moved_bytes,
            self.link_bytes_per_s,
        )

    @property
    def devices(self) -> tuple[Any, Any]:
        """Of both; arrays where the sides hold several at once."""
        return self.first.replicas * self.first.layout.devices, self.second.replicas * self.second.layout.devices

    def over_replicas(self, load: Load, found: Mapping[str, Any]) -> dict[str, Any]:
        """What is found, over the replicas that there may be; numbers as they are where those are told."""
        names = {"tpot_s": ("s", TOKEN), "ttft_s": ("s", FIRST), "capacity_per_s": ("requests/s", "requests a second")}
        if self.untold is None or self.speed.own is not None:
            return {name: float(found[name]) for name in names}
        ratio = self.untold.ratio(float(found["prefill_load"] / found["decode_load"]))
        kept: dict[bytes, Mapping[str, Any]] = {}
        return {name: derive(_over_replicas(self, load, name, kept), label, unit, ratio=ratio)
                for name, (unit, label) in names.items()}

    def own_slower(self, load: Load) -> tuple[float, float]:
        """How much longer than the model a token and a first token take: this engine's one stream, one's own runs."""
        slow, slow_first = float(self.second.slower), float(self.first.slower)
        if self.speed.own is None:
            return slow, slow_first
        modelled = self.modelled(load)
        inside = load.concurrency if load.kind == "closed" else float(modelled["running"])
        token, first = (self.speed.nominal(name, max(inside, 1e-6), load.input, load.output, float(sum(self.devices)))
                        for name in ("tpot_s", "ttft_s"))
        return slow * float(token), slow_first * float(first)

    def residual(self, number: str, at: Point | None, prompts: bool = False) -> Quantity:
        """Measured over predicted, with what is not known of an engine's one stream; prompts: it is their pool's."""
        own, side = (self.slower_first, self.first) if prompts else (self.slower, self.second)
        found = self.speed.residual(number, True, at)
        if not isinstance(own, Quantity):
            return found
        fewer = number == PER_S
        both: Quantity = derive(_as_fast if fewer else _as_slow, found.label, "ratio", residual=found, slower=own,
                                within=side.slower)
        return both


def load_of_pools(asked: Asked) -> Load:
    """What both pools together are asked."""
    return Load(
        asked.kind,
        asked.input,
        asked.output,
        max(asked.concurrency, 1e-9),
        asked.rate,
        arrival_cv=ARRIVALS[asked.arrivals],
        spread=asked.output_lengths.spread,
    )


def place_of_pools(pools: Pools, load: Load, found: Mapping[str, Any]) -> Point | None:
    """Where a load lies among those of a person's own runs of two pools."""
    inside = load.concurrency if load.kind == "closed" else float(found["running"])
    return pools.speed.place(max(inside, 1e-6), load.input, load.output, float(sum(pools.devices)))


def pools_power_w(power: PowerInputs | None, pools: Pools, asked: Asked, found: Mapping[str, Any]) -> Any:
    """Mean power of a device over both, nominal; None where it is not known. found: as `Pools.at` gives it."""
    if power is None:
        return None
    facts = serve_power_facts(power)
    total: Any = 0.0
    for name, side in (("prefill", pools.first), ("decode", pools.second)):
        count, layout = side.replicas, side.layout
        running = np.maximum(found["running"] / count if name == "decode" else layout.data, 1e-9)
        load = side_load(asked, name, running, count)
        rate = {"output_tokens_per_s": found["output_tokens_per_s"] / count, "running": running}
        drawn = serve_power(pools.arch, pools.speed.device, side.engine, layout, load, rate, facts)
        total = total + drawn["power_w_per_device"] * layout.devices * count
    return total / sum(pools.devices)


def side_load(asked: Asked, pool: str, running: Any, replicas: Any) -> Load:
    """What one replica of a pool is asked."""
    kind = "closed" if asked.kind == "queued" else asked.kind
    return Load(kind, asked.input, asked.output, np.maximum(running, 1e-9), asked.rate / replicas, pool=pool,
                spread=asked.output_lengths.spread)


def pooled_times(asked: Asked, pools: Pools) -> tuple[dict[str, Any], Traffic]:
    """The numbers of the contract, and the traffic behind them."""
    load = load_of_pools(asked)
    found, speed, second = pools.at(load), pools.speed, pools.second
    at = place_of_pools(pools, load, found)
    spread = pools.over_replicas(load, found)
    capacity = derive(
        product,
        "requests a second that it sustains",
        "requests/s",
        rate_slow=pools.residual(PER_S, at, float(found["prefill_load"]) > float(found["decode_load"])),
        each=spread["capacity_per_s"],
        replicas=1,
    )
    values, rate = _values(asked, pools, load, found, spread, capacity)
    slots = float(second.engine.max_num_seqs) * value_of(second.replicas) * value_of(second.layout.data)
    one = Replicas(pools.arch, speed, second.layout, 1, value_of(second.cache_tokens))
    values |= loads_of(asked, values, rate, capacity, {"running": slots}, one)
    if asked.kind in ("closed", "open"):
        held = min(slots, in_work(pools, load, found))
        values["capacity_concurrency"] = held
        if asked.kind == "closed" and asked.concurrency > held:
            values |= {"saturated": True, "saturation_probability": 1.0}
    for key, name in (
        ("prefill_load", "prefill_load"),
        ("decode_load", "decode_load"),
        ("kv_transfer_s", "transfer_s"),
    ):
        values[key] = float(found[name])
    busy = [d * float(found[k]) for d, k in zip(pools.devices, ("prefill_load", "decode_load"), strict=True)]
    whole = sum(pools.devices)
    traffic = Traffic(rate, busy[0] / whole, min(1.0, sum(busy) / whole), float(found["running"]))
    return values | rates_of(asked, rate, int(whole)), traffic


def in_work(pools: Pools, load: Load, found: Mapping[str, Any]) -> float:
    """Requests that both pools work at while they answer all they can; more in a loop wait for their prompt's turn."""
    alone = pools.at(replace(load, kind="closed", concurrency=1.0))["ttft_s"]
    full = found if load.kind == "closed" else pools.at(replace(load, rate=FULLEST * found["capacity_per_s"]))
    return float(found["capacity_per_s"] * request_s(alone, full["tpot_s"], load.output))


def pooled_power(power: PowerInputs | None, pools: Pools, asked: Asked, traffic: Traffic) -> dict[str, Quantity]:
    """Power and energy of a token over both pools: watts by their devices, joules added."""
    sides = {"prefill": pools.first, "decode": pools.second}
    found: dict[str, dict[str, Quantity]] = {}
    for name, side in sides.items():
        rate = derive(product, "output tokens a second of a replica", "tokens/s", rate_slow=traffic.requests_per_s,
                      each=asked.output, replicas=1.0 / value_of(side.replicas))
        running = traffic.running / value_of(side.replicas) if name == "decode" else value_of(side.layout.data)
        load = side_load(asked, name, running, value_of(side.replicas))
        found[name] = power_values(power, pools.arch, pools.speed.device, side.engine, side.layout, load, rate,
                                   max(running, 1e-9))
    if not found["prefill"]:
        return {}
    first, second = found["prefill"], found["decode"]
    share = pools.devices[0] / sum(pools.devices)
    whole: dict[str, Quantity] = {"prefill_w": first["prefill_w"], "decode_w": second["decode_w"],
                                  "idle_w": second["idle_w"]}
    whole["power_w_per_device"] = derive(_mean, "power of a device, mean", "W", first=first["power_w_per_device"],
                                         second=second["power_w_per_device"], share=share)
    for name in first:
        if name.startswith("energy_"):
            whole[name] = first[name] + second[name]
        elif name.endswith("_share"):
            whole[name] = derive(_mean, first[name].label, "", first=first[name], second=second[name], share=share)
    return whole


def _mean(first: Any, second: Any, share: Any) -> Any:
    """Mean over the devices of both pools."""
    return first * share + second * (1.0 - share)


def _values(
    asked: Asked, pools: Pools, load: Load, found: Mapping[str, Any], spread: Mapping[str, Any],
    capacity: Quantity,
) -> tuple[dict[str, Any], Quantity]:
    at = place_of_pools(pools, load, found)
    slow, slow_first = pools.residual("tpot_s", at), pools.residual("ttft_s", at, True)
    token = derive(scaled, TOKEN, "s", modelled_s=spread["tpot_s"], slower=slow)
    if asked.kind == "queued":
        return {"ttft_s": None, "tpot_s": token, "itl_s": token, "e2e_s": None}, capacity
    if asked.kind == "open":
        wanted = exact(asked.rate, "requests/s", "requests asked for", basis="given")
        rate: Quantity = derive(least, "requests a second", "requests/s", asked=wanted, most=capacity)
        busy = over_capacity(asked, capacity)
        if busy.value >= 1.0:
            return dict.fromkeys(f"{name}_s" for name in TIMES), rate
        queued = _first_at(pools, load, float(found["load"]))
        first = derive(queued, FIRST, "s", slower=slow_first, busy=busy)
        return latencies(first, token, asked.output), rate
    first = derive(scaled, FIRST, "s", modelled_s=spread["ttft_s"], slower=slow_first)
    first = derive(waited, FIRST, "s", first_s=first, token_s=token, output=asked.output, waves=1.0,
                   inside=asked.concurrency, most_per_s=capacity)
    values = latencies(first, token, asked.output)
    done: Quantity = derive(
        per_time, "requests a second", "requests/s", inside=asked.concurrency, time_s=values["e2e_s"]
    )
    return values, done


def _over_replicas(pools: Pools, load: Load, name: str, kept: dict[bytes, Mapping[str, Any]]) -> Callable[..., Any]:
    def with_replicas(ratio: Any) -> Any:
        """Both pools again, with as many replicas of the larger as the ratio says, and one of the smaller."""
        at = np.atleast_1d(np.asarray(ratio, dtype=float))
        pairs = np.maximum(np.round(np.stack([at, 1.0 / at])), 1.0)
        each, place = np.unique(pairs, axis=1, return_inverse=True)
        if each.tobytes() not in kept:
            sides = [replace(side, replicas=count) for side, count in zip((pools.first, pools.second), each)]
            kept[each.tobytes()] = replace(pools, first=sides[0], second=sides[1]).modelled(load)
        found = np.broadcast_to(np.asarray(kept[each.tobytes()][name], dtype=float), each.shape[1])
        return found[place.ravel()] if np.ndim(ratio) else float(found[0])

    return with_replicas


def _as_slow(residual: Any, slower: Any, within: Any) -> Any:
    """What left-out runs took beyond the model, and this engine's one stream beyond what the model holds of it."""
    return residual * slower / within


def _as_fast(residual: Any, slower: Any, within: Any) -> Any:
    """What left-out runs reached over the model, and this engine's one stream over what the model holds of it."""
    return residual * within / slower


def _first_at(pools: Pools, load: Load, modelled: float) -> Callable[..., Any]:
    def first_s(slower: Any, busy: Any) -> Any:
        """The queue before both pools where they are as busy as the plan is, in the time of devices so much slower."""
        return slower * finite(lambda part: pools.at(load, part / modelled)["ttft_s"], busy)

    return first_s
