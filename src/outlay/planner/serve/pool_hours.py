"""A load by the hour on a pool of prompts and a pool of answers: replicas of each in every hour, and what they do.

Devices are the unit in which both stand: a device that is held for years serves either pool.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from msgspec.structs import replace

from outlay.planner.capacity.rate import CAPACITY, Most
from outlay.planner.serve.hours import Floats, Hours, Standing
from outlay.planner.serve.pool_needs import Needs, answers_of, prompts_of
from outlay.planner.serve.pool_times import Pools, load_of_pools, side_load
from outlay.resolve.workload import Asked
from outlay.steps.power_inputs import PowerFacts
from outlay.steps.serve.power import phases, serve_power

BOTH = ("prefill", "decode")


def needs_of(asked: Asked, pools: Pools) -> Needs:
    """Of these layouts; what they sustain where no load keeps the promises."""
    one = replace(pools, first=replace(pools.first, replicas=1.0), second=replace(pools.second, replicas=1.0))
    prompts = prompts_of(one.arch, one.speed.device, one.first, asked)
    answers = answers_of(one.arch, one.speed.device, one.second, asked, one.moved_bytes, one.link_bytes_per_s,
                         float(np.min(prompts.alone_s)))
    found = Needs(asked, prompts.at(0), answers.at(0))
    return found if found.kept or not asked.slo else needs_of(replace(asked, slo={}), pools)


def most_of(asked: Asked, pools: Pools, needs: Needs) -> Most:
    """The largest load both pools take within the promises, and which promise the next step breaks."""
    first, second = needs.holds_per_s(float(pools.first.replicas), float(pools.second.replicas))
    breaks = CAPACITY if needs.answers.by_slots else "tpot" if "tpot" in asked.slo else "e2e"
    if first < second:
        breaks = "ttft" if "ttft" in asked.slo else CAPACITY
    rate = min(first, second)
    return Most(rate, rate * (needs.prompts.alone_s + needs.answers.stay_s), breaks)


def most_within(asked: Asked, pools: Pools) -> Most | None:
    """The same of these layouts, and requests in flight as they then are; None where no load keeps the promises."""
    needs = needs_of(asked, pools)
    if not needs.kept or needs.asked.slo != asked.slo:
        return None
    most = most_of(asked, pools, needs)
    found = pools.at(replace(load_of_pools(asked), kind="open", rate=most.rate_per_s))
    return replace(most, concurrency=float(found["running"]))


def standing_of_pools(
    asked: Asked, pools: Pools, facts: PowerFacts | None, needs: Needs | None = None
) -> Standing:
    """Both pools by the hour, in devices. needs: of one replica of each, where they are known."""
    assert asked.hourly is not None
    needs = needs_of(asked, pools) if needs is None else needs
    loads = np.array(asked.hourly.loads)
    wanted = needs.replicas(loads * _busiest_per_s(asked, needs))
    most = float(pools.first.replicas), float(pools.second.replicas)
    each = float(pools.first.layout.devices), float(pools.second.layout.devices)
    counts = tuple(np.minimum(need, there) for need, there in zip(wanted, most, strict=True))
    whole = sum(n * d for n, d in zip(most, each, strict=True))

    def hours(standing: Floats) -> Hours:
        full = standing >= whole
        return hours_of_pools(asked, pools, tuple(np.where(full, there, own) for own, there in
                                                  zip(counts, most, strict=True)), standing, facts)

    shown = {name: {"replicas": int(there), "replicas_needed": [int(n) for n in need], "devices_per_replica": int(d)}
             for name, need, there, d in zip(BOTH, wanted, most, each, strict=True)}
    short = np.logical_or(*(need > there for need, there in zip(wanted, most, strict=True)))
    return Standing(int(whole), 1, sum(n * d for n, d in zip(wanted, each, strict=True)), hours, "devices",
                    {"requests_per_s_per_replica": None, "replicas_needed": None, "pools": shown}, int(short.sum()))


def _busiest_per_s(asked: Asked, needs: Needs) -> float:
    """Requests a second of the busiest hour; of a loop, as many as its stay lets through."""
    if asked.kind == "open":
        return asked.rate
    return float(asked.concurrency / (needs.prompts.alone_s + needs.answers.stay_s))


def hours_of_pools(
    asked: Asked, pools: Pools, counts: tuple[Any, ...], standing: Floats, facts: PowerFacts | None
) -> Hours:
    """What both pools do in each hour with so many replicas; devices that stand beyond them wait."""
    assert asked.hourly is not None
    loads = np.array(asked.hourly.loads)
    rows, back = np.unique(np.stack([loads, *(np.maximum(count, 1.0) for count in counts)]), axis=1,
                           return_inverse=True)
    back = back.ravel()
    part = np.ones_like(rows[0])
    load = load_of_pools(asked)
    if asked.kind == "open":
        load = replace(load, rate=asked.rate * rows[0])
    else:  # less than one in flight: one, part of the time
        load = replace(load, concurrency=np.maximum(asked.concurrency * rows[0], 1.0))
        part = np.minimum(asked.concurrency * rows[0], 1.0)
    own = replace(pools, first=replace(pools.first, replicas=rows[1]), second=replace(pools.second, replicas=rows[2]))
    found = own.at(load)
    shares: dict[str, Floats] = {}
    watts: dict[str, Floats] = {}
    for name, side, count in zip(BOTH, (own.first, own.second), counts, strict=True):
        running = found["running"] / side.replicas if name == "decode" else side.layout.data + 0.0 * side.replicas
        rate = np.maximum(found["output_tokens_per_s"] / side.replicas, 1e-12)
        given = (own.arch, own.speed.device, side.engine, side.layout, side_load(asked, name, running, side.replicas))
        if facts is None:
            share = phases(*given, rate, np.maximum(running, 1e-12))[0][name].share
        else:
            drawn = serve_power(*given, {"output_tokens_per_s": rate, "running": running}, facts)
            share = drawn[f"{name}_share"]
            watts[name], watts["idle"] = (np.broadcast_to(drawn[key], part.shape)[back] for key in (f"{name}_w",
                                                                                                    "idle_w"))
        busy = np.broadcast_to(share * part, part.shape)[back] * count * float(side.layout.devices)
        shares[name] = busy / np.maximum(standing, 1.0)
    answered = found["output_tokens_per_s"] / asked.output * part
    return Hours(standing, np.broadcast_to(answered, part.shape)[back] * (loads > 0.0), shares, watts)
