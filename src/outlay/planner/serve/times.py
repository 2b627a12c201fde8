"""Latency, throughput and load of a deployment under what is asked of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from outlay.derive import Quantity, derive, exact, value_of
from outlay.physics import stream as st
from outlay.physics.queueing import in_flight
from outlay.planner.serve.lineage import first_parts, token_parts
from outlay.planner.serve.replicas import Replicas
from outlay.planner.serve.sums import HOUR_S as HOUR_S
from outlay.planner.serve.sums import (
    and_slower,
    at_most_one,
    by_link,
    finite,
    least,
    most_of,
    over_slower,
    per_time,
    product,
    queue_wait,
    ratio,
    scaled,
    users_of,
    waited,
    waited_between,
)
from outlay.resolve.serve.speed import HOST_LINK
from outlay.resolve.workload import ARRIVALS, Asked
from outlay.steps.serve.power import phases
from outlay.steps.serve.time_inputs import Load

PERCENTILES = ("p50", "p90", "p99")
TIMES = ("ttft", "tpot", "itl", "e2e")
FIRST, TOKEN = "time to the first token", "time per output token"


class Traffic(Struct, frozen=True, eq=False):
    """What passes through a deployment, for its use of devices and for a search.

    Shares are of the devices' time; running of a replica.
    """

    requests_per_s: Quantity
    prompt_share: float
    busy_share: float
    running: float


def load_of(asked: Asked, whole: Replicas) -> Load:
    """What one replica is asked. How many requests there are counts where all are there from the start: of a loop and
    of arrivals the times are those while they last, and what is sustained is what could be for good."""
    return Load(
        asked.kind,
        asked.input,
        asked.output,
        max(asked.concurrency / whole.count, 1e-9),
        asked.rate / whole.count,
        max(whole.cache_tokens, asked.input + asked.output),
        requests=_all_at_once(asked, whole) if asked.kind == "queued" else np.inf,
        arrival_cv=ARRIVALS[asked.arrivals],
        varied=not (asked.input_lengths.constant and asked.output_lengths.constant),
        spread=asked.output_lengths.spread,
    )


def _all_at_once(asked: Asked, whole: Replicas) -> float:
    """Requests of one replica; endless where nobody said how many."""
    return np.inf if asked.requests is None else asked.requests / whole.count


def times(asked: Asked, whole: Replicas) -> tuple[dict[str, Any], Traffic]:
    """The numbers of the contract, and the traffic behind them."""
    load = load_of(asked, whole)
    found = whole.found(load)
    most, longer = whole.full(load)
    at = whole.place(load, found)
    slow = _times_q(whole.residual("tpot_s", at), whole.slower, "time, measured over predicted")
    slow_first = _times_q(
        whole.residual("ttft_s", at), whole.slower_first, "first token, measured over predicted"
    )
    rate_slow = _times_q(
        whole.residual("output_tokens_per_s", at),
        longer,
        "throughput, measured over predicted",
        inverse=True,
    )
    rate_slow = _over_link(whole, load, most, rate_slow)
    capacity = derive(
        product,
        "requests a second that it sustains",
        "requests/s",
        rate_slow=rate_slow,
        each=float(most["output_tokens_per_s"]) / asked.output,
        replicas=whole.count,
    )
    if asked.kind == "queued":
        values, rate = _queued(asked, most, slow, capacity, whole)
    elif asked.kind == "open":
        values, rate = _open(asked, whole, load, slow, slow_first, capacity)
    elif asked.concurrency <= 1.0 and whole.single and not whole.speed.fitted:
        values, rate = _loop(asked, *whole.own_alone(at))
    else:
        slots = float(found["running"])
        first_s, token_s = (float(found[name] * (1.0 - found[waits])) for name, waits in (
            ("ttft_s", "waits_first"), ("tpot_s", "waits_rest")))
        first = derive(scaled, FIRST, "s", slower=slow_first, modelled_s=first_parts(whole, load, slots, first_s))
        token = derive(scaled, TOKEN, "s", slower=slow, modelled_s=token_parts(whole, load, slots, token_s))
        if asked.kind == "closed" or load.concurrency > slots:
            first, token = _waited(asked, first, token, load.concurrency / slots, capacity, found)
        values, rate = _loop(asked, first, token)
        if asked.kind == "batch":
            capacity = derive(most_of, "requests a second of batches one after another", "requests/s", one=capacity,
                              other=rate)
    values |= loads_of(asked, values, rate, capacity, most, whole)
    traffic = Traffic(rate, *_shares(load, found, rate, whole))
    return values | rates_of(asked, rate, whole.devices), traffic


def _waited(
    asked: Asked, first: Quantity, token: Quantity, waves: float, capacity: Quantity, found: Mapping[str, Any]
) -> tuple[Quantity, Quantity]:
    """The times of a loop with what is waited for, since more are inside than run at once."""
    between = float(found["between"])
    given = {"first_s": first, "token_s": token, "output": asked.output, "waves": max(waves, 1.0),
             "inside": asked.concurrency, "most_per_s": capacity, "between": between}
    later = derive(waited_between, TOKEN, "s", **given) if between > 0.0 and waves > 1.0 else token
    return derive(waited, FIRST, "s", **given), later


def _over_link(whole: Replicas, load: Load, most: Mapping[str, Any], rate_slow: Quantity) -> Quantity:
    """Throughput is known no better than the host's link, where weights come over it."""
    engine, link = whole.speed.engine, whole.speed.known.get(HOST_LINK)
    if not engine.host_bytes or link is None:
        return rate_slow
    here = replace(whole, speed=replace(whole.speed, engine=replace(engine, host_bytes=0.0)))
    bare = here.modelled(replace(load, kind="queued"))
    share = max(1.0 - float(bare["e2e_s"] / whole.modelled(replace(load, kind="queued"))["e2e_s"]), 0.0)
    found: Quantity = derive(by_link, rate_slow.label, "ratio", rate_slow=rate_slow, link_bytes_per_s=link,
                             within=link.value, share=share)
    return found


def _loop(asked: Asked, first: Quantity, token: Quantity) -> tuple[dict[str, Any], Quantity]:
    """A loop or a static batch: as many requests as are in flight, over the time each stays."""
    values = latencies(first, token, asked.output)
    rate: Quantity = derive(
        per_time, "requests a second", "requests/s", inside=asked.concurrency, time_s=values["e2e_s"]
    )
    return values, rate


def _open(
    asked: Asked, whole: Replicas, load: Load, slow: Quantity, slow_first: Quantity, capacity: Quantity
) -> tuple[dict[str, Any], Quantity]:
    """Arrivals by themselves: the queue of a replica as busy as this one, in its own time.

    A draw that is asked more than it sustains counts with the times just below that; how many are is told apart.
    """

    wanted = exact(asked.rate, "requests/s", "requests asked for", basis="given")
    busy = over_capacity(asked, capacity)
    here = whole.found(load)
    modelled, running = float(here["load"]), float(here["running"])

    def at(name: str) -> Callable[..., Any]:
        def time_s(slower: Any, busy: Any, modelled_s: Any) -> Any:
            """The queueing model where it is as busy as the plan is, in the time of a device so much slower."""
            each = load.rate / modelled
            found = finite(lambda part: whole.found(replace(load, rate=each * part))[name], busy)
            return slower * (modelled_s * (found / here[name]) if np.all(np.isfinite(modelled_s)) else found)

        return time_s

    rate: Quantity = derive(
        least,
        "requests a second",
        "requests/s",
        asked=wanted,
        most=capacity,
    )
    if busy.value >= 1.0:  # as a queue that is answered to its end
        ends, _ = whole.full(replace(load, requests=_all_at_once(asked, whole)))
        lasts, _ = whole.full(load)
        rate = derive(product, "requests a second", "requests/s", rate_slow=rate, replicas=1,
                      each=float(ends["output_tokens_per_s"]) / float(lasts["output_tokens_per_s"]))
        return dict.fromkeys(f"{name}_s" for name in TIMES), rate
    first = derive(at("ttft_s"), FIRST, "s", slower=slow_first, busy=busy,
                   modelled_s=first_parts(whole, load, running, float(here["ttft_s"])))
    token = derive(at("tpot_s"), TOKEN, "s", slower=slow, busy=busy,
                   modelled_s=token_parts(whole, load, running, float(here["tpot_s"])))
    return latencies(first, token, asked.output), rate


def over_capacity(asked: Asked, capacity: Quantity) -> Quantity:
    """The rate asked for over what is sustained."""
    wanted = exact(asked.rate, "requests/s", "requests asked for", basis="given")
    found: Quantity = derive(ratio, "load", "", rate_per_s=wanted, capacity_per_s=capacity)
    return found


def _queued(
    asked: Asked, most: Mapping[str, Any], slow: Quantity, capacity: Quantity, whole: Replicas
) -> tuple[dict[str, Any], Quantity]:
    """Everything there from the start: the wait depends on how much, which `requests` says."""
    token = derive(scaled, TOKEN, "s", modelled_s=float(most["tpot_s"]), slower=slow)
    if asked.requests is None:
        return {"ttft_s": None, "tpot_s": token, "itl_s": token, "e2e_s": None}, capacity
    first = derive(
        queue_wait,
        FIRST,
        "s",
        first_s=float(most["ttft_s"]),
        requests=asked.requests,
        running=float(most["running"]) * whole.count,
        rate_per_s=capacity,
    )
    return latencies(first, token, asked.output), capacity


def latencies(first: Quantity, token: Quantity, output: float) -> dict[str, Any]:
    """The times of a request from those of its tokens. TPOT = (E2E - TTFT)/(output - 1)."""
    whole = derive(st.request_time_s, "end to end", "s", first_s=first, token_s=token, output_tokens=output)
    return {"ttft_s": first, "tpot_s": token, "itl_s": token.named("gap between tokens"), "e2e_s": whole}


def loads_of(
    asked: Asked,
    values: dict[str, Any],
    rate: Quantity,
    capacity: Quantity,
    most: Mapping[str, Any],
    whole: Replicas,
) -> dict[str, Any]:
    """How close it is to what it sustains; beyond it no latency is given."""
    wanted: Any = (
        rate if asked.kind != "open" else exact(asked.rate, "requests/s", "requests asked for", basis="given")
    )
    offered = derive(ratio, "load offered", "", rate_per_s=wanted, capacity_per_s=capacity)
    load = derive(at_most_one, "load", "", load=offered)
    slots = float(most["running"]) * whole.count
    if asked.kind in ("closed", "batch"):
        crowded = asked.concurrency > slots * 1.0001
        load = exact(1.0, "", "load: every slot is taken", basis="derived") if crowded else load
    elif asked.kind == "queued":
        crowded, load = True, exact(1.0, "", "load: requests wait from the start", basis="derived")
    else:
        crowded = offered.value >= 1.0
    chance = None if offered.samples is None else float(np.mean(offered.samples >= 1.0))
    inside = (
        None
        if values.get("e2e_s") is None
        else derive(in_flight, "requests in flight", "requests", rate_per_s=rate, time_s=values["e2e_s"])
    )
    named = {"closed": asked.concurrency, "batch": asked.concurrency}.get(asked.kind)
    return {
        "load": load,
        "offered_load": offered if asked.kind == "open" else None,
        "saturated": bool(crowded),
        "saturation_probability": chance if asked.kind == "open" and chance is not None else float(crowded),
        "capacity_requests_per_s": capacity,
        "capacity_users": derive(
            users_of, "users it sustains", "users", rate_per_s=capacity, each=asked.per_user_hour
        ),
        "capacity_concurrency": slots,
        "concurrency": inside
        if named is None
        else exact(named, "requests", "requests in flight", basis="given"),
        "rate": rate,
        "users": exact(asked.users, "users", "users", basis="given")
        if asked.users is not None
        else derive(
            users_of,
            "users",
            "users",
            rate_per_s=wanted if asked.kind == "open" else rate,
            each=asked.per_user_hour,
        ),
    }


def rates_of(asked: Asked, rate: Quantity, devices: Any) -> dict[str, Any]:
    out = derive(product, "output tokens a second", "tokens/s", rate_slow=rate, each=asked.output, replicas=1)
    return {
        "output_tokens_per_s": out,
        "output_tokens_per_s_per_device": derive(
            ratio, "output tokens a second and device", "tokens/s", rate_per_s=out, capacity_per_s=devices
        ),
        "input_tokens_per_s": derive(
            product, "input tokens a second", "tokens/s", rate_slow=rate, each=asked.input, replicas=1
        ),
    }


def _shares(
    load: Load, found: Mapping[str, Any], rate: Quantity, whole: Replicas
) -> tuple[float, float, float]:
    """Of the devices' time, what prompts take and what anything takes; and requests inside one replica."""
    running = float(found["running"])
    each = value_of(rate) / whole.count * load.output
    spent, idle = phases(
        whole.arch, whole.speed.device, whole.speed.engine, whole.layout, load, each, max(running, 1e-12)
    )
    return float(spent["prefill"].share), 1.0 - float(idle), running


def percentile_keys(values: dict[str, Any]) -> dict[str, Any]:
    """Every percentile the contract names; null where the method gives none."""
    return {f"{name}_{p}_s": values.get(f"{name}_{p}_s") for name in TIMES for p in PERCENTILES}


def _times_q(residual: Quantity, slower: Quantity | float, label: str, inverse: bool = False) -> Quantity:
    found: Quantity = derive(
        over_slower if inverse else and_slower, label, "ratio", residual=residual, slower=slower
    )
    return found
