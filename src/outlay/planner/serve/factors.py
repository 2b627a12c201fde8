"""Measured over modelled: the factors by which a run of a deployment differs from the time model of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from outlay.architecture import Architecture
from outlay.derive import value_of
from outlay.physics.queueing import request_s
from outlay.planner.serve.plan import choose_layout
from outlay.planner.serve.pool_times import Pools, load_of_pools
from outlay.planner.serve.pools import pools_of
from outlay.planner.serve.replicas import Replicas
from outlay.planner.serve.speed import alone, power_of, replicas_of
from outlay.planner.serve.times import load_of, times
from outlay.resolve.own_runs import NUMBERS, POWER
from outlay.resolve.record import Resolved
from outlay.resolve.serve.phase import ServePhase
from outlay.steps.serve.memory import serve_memory
from outlay.steps.serve.time_inputs import Load

POOL_POWER = "power: that of each pool by itself was not told"
FULL = 0.95  # of the arrivals: answered less, and the deployment was at its limit
CROWDED = "time to the first token: requests came faster than they were answered, so it is the queue's"
QUEUED = "time to the first token: all requests were there from the start, so it is the queue's"
WAITED = "time to the first token: more requests were in flight than run at once, so it is the queue's"
SLOWEST, FASTEST, HALVINGS = 30.0, 1.0 / 30.0, 50


class Factors(Struct, frozen=True):
    """By number; `load` is where they were measured, in the words of the catalogue's rows; `without` says why not."""

    ratios: Mapping[str, float]
    load: Mapping[str, float]
    key: tuple[str, str, str]  # model, device, engine
    without: tuple[str, ...] = ()
    prior: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)  # of left-out runs: 10, 50, 90 %


def serve_factors(resolved: Resolved, seen: Mapping[str, float]) -> Factors:
    """What was measured of one load over what the model says of it, without residuals and without runs of one's own.

    seen: ttft_s, tpot_s, output_tokens_per_s, power_w_per_device, as far as they were measured.
    """
    phase, arch, hw = resolved.serve, resolved.architecture, resolved.hardware
    assert phase is not None and arch is not None and hw is not None
    phase = replace(phase, speed=replace(phase.speed, own=None))
    if phase.pools:
        return _of_pools(phase, arch, seen)
    layout = choose_layout(phase, arch, hw.devices, hw.scale_up_devices, resolved)
    memory = serve_memory(arch, phase.usable_bytes, phase.recipe, layout)
    count = phase.replicas or max(1, hw.devices // int(layout.devices))
    whole = replicas_of(arch, phase, layout, count, memory, alone(arch, phase, layout))
    load = load_of(phase.asked, whole)
    rate, stay = seen.get("output_tokens_per_s", 0.0) / load.output, None
    if "ttft_s" in seen and "tpot_s" in seen:
        stay = request_s(seen["ttft_s"], seen["tpot_s"], load.output)
    kept = answered_per_s(phase.asked.rate, phase.asked.requests, stay) if load.kind == "open" else 0.0
    crowded = 0.0 < rate < FULL * kept
    if crowded:
        load = load_of(replace(phase.asked, kind="queued"), whole)
    ratios, without = _ratios(load, whole, seen)
    if crowded:
        without = (*without, CROWDED)
    inside = load.concurrency if load.kind in ("closed", "batch") else float(whole.modelled(load)["running"])
    if POWER in seen and resolved.power is not None:
        _, traffic = times(phase.asked, whole)
        watts = power_of(resolved, whole, load_of(phase.asked, whole), traffic).get(POWER)
        if watts is not None and resolved.power.measured_it_w is None:
            ratios[POWER] = seen[POWER] / watts.value * resolved.power.residual.value
    shown = {"in_flight": inside, "input": load.input, "output": load.output, "devices": value_of(layout.devices),
             "weight_bytes": phase.speed.weight_bytes}
    prior = {name: phase.speed.published(name) for name in ratios if name != POWER}
    if POWER in ratios and resolved.power is not None:
        known = resolved.power.residual
        prior[POWER] = (known.low, known.value, known.high)
    return Factors(ratios, shown, phase.speed.kept_under, without, prior)


def _of_pools(phase: ServePhase, arch: Architecture, seen: Mapping[str, float]) -> Factors:
    """The same of a run over two pools, whose layout the scenario says; power is not told by pool and is left out."""
    phase, _, pools = pools_of(phase, arch)
    load, devices = load_of_pools(phase.asked), float(sum(pools.devices))
    without: tuple[str, ...] = (POOL_POWER,) if POWER in seen else ()
    ratios: dict[str, float] = {}
    found = pools.modelled(load)
    if load.kind == "open":
        token, first = seen.get("tpot_s"), seen.get("ttft_s")
        ratios, told = _open(load, pools, token, first, 1.0, 1.0)
        without = (*without, *told)
    else:
        kept = ("tpot_s",) if load.kind == "queued" else ("ttft_s", "tpot_s")
        without = (*without, QUEUED) if load.kind == "queued" and "ttft_s" in seen else without
        ratios = {name: seen[name] / float(found[name]) for name in kept if name in seen}
        if "output_tokens_per_s" in seen:
            ratios["output_tokens_per_s"] = seen["output_tokens_per_s"] / float(found["output_tokens_per_s"])
    inside = load.concurrency if load.kind == "closed" else float(found["running"])
    shown = {"in_flight": inside, "input": load.input, "output": load.output, "devices": devices,
             "weight_bytes": phase.speed.weight_bytes}
    return Factors(ratios, shown, phase.speed.kept_under, without,
                   {name: phase.speed.published(name) for name in ratios})


def answered_per_s(rate_per_s: float, requests: float | None, stay_s: float | None) -> float:
    """Requests a second, over a whole run, of a deployment that keeps up: the last one is answered after it came.

    >>> answered_per_s(4.0, 400, 10.0), answered_per_s(4.0, None, None)
    (3.6363636363636362, 4.0)
    """
    if not requests or stay_s is None:
        return rate_per_s
    return requests / (requests / rate_per_s + stay_s)


def _ratios(load: Load, whole: Replicas, seen: Mapping[str, float]) -> tuple[dict[str, float], tuple[str, ...]]:
    """The same of times and throughput."""
    slow, slow_first = value_of(whole.slower), value_of(whole.slower_first)
    token, first = seen.get("tpot_s"), seen.get("ttft_s")
    if load.kind == "open":
        return _open(load, whole, token, first, slow, slow_first)
    found = whole.modelled(load)
    ratios: dict[str, float] = {}
    without: tuple[str, ...] = ()
    planned = {"tpot_s": float(found["tpot_s"]) * slow, "ttft_s": float(found["ttft_s"]) * slow_first}
    if load.kind == "closed" and load.concurrency <= 1.0 and whole.single and not whole.speed.fitted:
        planned = {name: value_of(whole.single[name]) for name in planned}
    if load.kind == "queued":
        without = (QUEUED,)
        del planned["ttft_s"]
    elif load.kind == "closed" and load.concurrency > float(found["running"]) * 1.0001:
        without = (WAITED,)
        del planned["ttft_s"]
    for name, value in planned.items():
        if name in seen:
            ratios[name] = seen[name] / value
    if "output_tokens_per_s" in seen:
        out = float(found["output_tokens_per_s"]) * whole.count / slow
        if load.kind != "queued" and "ttft_s" in planned:
            stay = request_s(planned["ttft_s"], planned["tpot_s"], load.output)
            out = load.concurrency * whole.count * load.output / stay
        ratios["output_tokens_per_s"] = seen["output_tokens_per_s"] / out
    return ratios, without


def _open(
    load: Load, whole: Replicas | Pools, token: float | None, first: float | None, slow: float, slow_first: float
) -> tuple[dict[str, float], tuple[str, ...]]:
    """Of arrivals by themselves: the factor at which the queueing model, in its time, takes as long as was measured."""

    def at(name: str, slower: float) -> float:
        return slower * float(whole.modelled(replace(load, rate=load.rate * slower))[name])

    without = ("throughput: it was that of the arrivals, not of the devices",)
    if token is None:
        return {}, (*without, "time to the first token: without one of the others, how busy it was is not known")
    factor = _solve(lambda slower: at("tpot_s", slower), token)
    if factor is None:
        return {}, (*without, "times: no factor on the model gives them at this rate")
    ratios = {"tpot_s": factor / slow}
    if first is not None:
        ratios["ttft_s"] = first / at("ttft_s", factor) * factor / slow_first
    return ratios, without


def _solve(of: Callable[[float], float], wanted: float) -> float | None:
    """The factor at which a growing function reaches a value, by halving; None where it does not between the edges."""
    low, high = FASTEST, SLOWEST
    if not of(low) <= wanted:
        return None
    for _ in range(HALVINGS):
        middle = (low * high) ** 0.5
        value = of(middle)
        low, high = (middle, high) if value <= wanted else (low, middle)
    reached = of(low)
    return low if abs(reached / wanted - 1.0) < 0.01 else None


def numbers_seen(run: Any) -> dict[str, float]:
    """Of a benchmark's run, what factors are made of."""
    found = {name: run.seen(name) for name in NUMBERS}
    return {name: value for name, value in found.items() if value is not None}
