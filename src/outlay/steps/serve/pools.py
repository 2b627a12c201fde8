"""Prefill and decode on devices of their own: how many requests stay on each side, and how long they take.

In a closed loop the same requests go round: those in the prefill pool wait for one another there, those in the
decode pool slow one another. Both stays depend on how many there are, which is solved as a fixed point (mean value
analysis: Reiser and Lavenberg, JACM 27(2), 1980, one customer at a time left out of the queue it meets).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from outlay.architecture import Architecture
from outlay.physics import num
from outlay.physics.queueing import request_s, service_wait_s
from outlay.steps.serve.inputs import ServeLayout
from outlay.steps.serve.time import serve_time
from outlay.steps.serve.time_inputs import EngineTime, Load, TimeDevice
from outlay.steps.serve.time_waits import taken_up

Num = Any
ROUNDS = 12
HANDOVER_S = 0.005  # to tell the decode side, beside moving the cache


class Side(Struct, frozen=True, eq=False):
    """One pool: its replicas, how each is laid out, the engine's limits there and tokens its cache holds.

    slower: than the time model in what the pool does, where an engine or a device has no constants of its own.
    """

    layout: ServeLayout
    replicas: Num
    engine: EngineTime
    cache_tokens: Num
    slower: Num = 1.0


def pools_time(
    arch: Architecture,
    device: TimeDevice,
    first: Side,
    second: Side,
    load: Load,
    moved_bytes: Num,
    link_bytes_per_s: Num,
) -> Mapping[str, Num]:
    """ttft_s, tpot_s, e2e_s, output_tokens_per_s and load of both pools together; load as of the deployment.

    moved_bytes: cache of one prompt, which crosses the link before the decode side sends the first token on.
    """
    prompt_s, capacity = prompt_pool(arch, device, first, load)
    moving = transfer_s(moved_bytes, link_bytes_per_s)
    most = _decode(arch, device, second, replace(load, kind="queued"), 1.0)
    limit = num.minimum(capacity, most["output_tokens_per_s"] * second.replicas / load.output)
    if load.kind == "queued":
        each = most
        rate: Num = limit
        ttft, begun = prompt_s + moving, moving
    else:
        rate, ttft, each, begun = _balance(arch, device, first, second, load, prompt_s, capacity, moving)
    tpot = each["tpot_s"]
    busy = rate / limit
    ttft = num.where((busy < 1.0) | (load.kind != "open"), ttft, np.inf)
    e2e = request_s(ttft, tpot, load.output)
    return {
        "ttft_s": ttft,
        "tpot_s": tpot,
        "e2e_s": e2e,
        "output_tokens_per_s": num.minimum(rate, limit) * load.output,
        "running": each["running"] * second.replicas,
        "load": busy,
        "transfer_s": moving,
        "begun_s": begun,
        "prefill_load": num.minimum(rate / capacity, 1.0),
        "decode_load": num.minimum(rate * load.output / (most["output_tokens_per_s"] * second.replicas), 1.0),
        "capacity_per_s": limit,
    }


def transfer_s(moved_bytes: Num, link_bytes_per_s: Num) -> Num:
    """From a computed prompt until the other pool has it: its cache over the link, and the word of it."""
    return moved_bytes / link_bytes_per_s + HANDOVER_S


def prompt_pool(arch: Architecture, device: TimeDevice, first: Side, load: Load) -> tuple[Num, Num]:
    """Time of a prompt alone in its pool, and prompts a second that the pool can take, in passes as full as may be."""
    alone = replace(
        load, kind="closed", concurrency=first.layout.data, cache_tokens=np.inf, output=1.0, pool="prefill"
    )
    own = serve_time(arch, device, first.engine, first.layout, alone)
    left = num.maximum(load.input * (1.0 - first.engine.prefix_hit), 1.0)
    fits = num.maximum(num.floor(first.engine.max_num_batched_tokens / left), 1.0)
    together = num.minimum(fits, first.engine.max_num_seqs)
    full = replace(alone, kind="batch", concurrency=together * first.layout.data)
    busy = serve_time(arch, device, first.engine, first.layout, full)["service_s"] / together
    return own["ttft_s"] * first.slower, first.replicas * first.layout.data / num.maximum(busy * first.slower, 1e-9)


def _decode(
    arch: Architecture, device: TimeDevice, second: Side, load: Load, share: Num
) -> Mapping[str, Num]:
    own = replace(load, concurrency=share, cache_tokens=second.cache_tokens, pool="decode")
    found = serve_time(arch, device, second.engine, second.layout, own)
    return {**found, "tpot_s": found["tpot_s"] * second.slower,
            "output_tokens_per_s": found["output_tokens_per_s"] / second.slower}


def _balance(
    arch: Architecture,
    device: TimeDevice,
    first: Side,
    second: Side,
    load: Load,
    prompt_s: Num,
    capacity: Num,
    moving: Num,
) -> tuple[Num, Num, Mapping[str, Num], Num]:
    """Rate, time to the first token, the decode side and what of that time follows the prompt, where what goes in
    comes out.

    A request whose prompt is done is moved, then taken up by the decode side, which sends its first token.
    """
    service = 1.0 / capacity
    waiting: Num = 0.0
    open_loop = load.kind == "open"
    inside: Num = num.maximum(load.rate * load.output * 0.02, 1.0) if open_loop else 0.8 * load.concurrency
    each: Mapping[str, Num] = {}
    rate: Num = load.rate
    ttft: Num = prompt_s
    handed: Num = moving
    # A loop starts with all of its prompts at once; each waits for its share of them, spread over its requests.
    bursts = 0.5 * (load.arrival_cv**2 + 1.0)  # of arrivals, over Poisson's (Kingman 1961)
    burst = first.engine.constants["queue"] * num.maximum(load.concurrency - 1.0, 0.0)
    rest = num.maximum(load.output - 1.0, 0.0)
    for _ in range(ROUNDS):
        each = _decode(
            arch, device, second, replace(load, kind="closed"), num.maximum(inside / second.replicas, 1e-6)
        )
        handed = moving + taken_up(second.engine, inside / second.replicas, rest) * each["tpot_s"]
        stay = request_s(handed, each["tpot_s"], load.output)
        if open_loop:
            ttft = prompt_s + bursts * service_wait_s(load.rate, service)
            inside = load.rate * stay
        else:
            ttft = prompt_s + service * (waiting + burst)
            rate = num.minimum(load.concurrency / (ttft + stay), capacity)
            ttft = num.maximum(ttft, load.concurrency / rate - stay)
            waiting = 0.5 * waiting + 0.5 * num.maximum(rate * (ttft - prompt_s + service) - 1.0, 0.0)
            inside = 0.5 * inside + 0.5 * rate * stay
    return rate, ttft + handed, each, handed
