"""Latency and throughput of an engine under a steady load, in closed form.

A decode step is the device's parts (`serve_time_step`), scaled by how an engine's kernels do against those that
were measured alone, and the host's work around them. Prompts pass between or inside decode steps; their cost is
what a step takes more with a prompt's chunk in it. Numbers are floats or arrays of one shape; categories
(model, precision, engine, device) are one for the call.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from msgspec.structs import replace

from outlay.architecture import Architecture
from outlay.physics import num
from outlay.physics.queueing import batch_wait_s, closed_loop_tpot_s, request_s
from outlay.steps.serve.inputs import ServeLayout
from outlay.steps.serve.time_costs import (
    alone_s,
    answered_s,
    bare_s,
    carried_s,
    first_wave_s,
    inside_and_met_s,
    inside_s,
    launched_s,
    passes_s,
    shorter_s,
)
from outlay.steps.serve.time_inputs import EngineTime, Load, TimeDevice
from outlay.steps.serve.time_parts import Parts, in_step, time_parts
from outlay.steps.serve.time_products import OwnProducts, own_products
from outlay.steps.serve.time_room import Room, room_of
from outlay.steps.serve.time_waits import (
    away_s,
    beside_s,
    between_looks_s,
    filled_s,
    held,
    known,
    looks_of,
    meanwhile_s,
    read_s,
    some,
    waiting_s,
)

Num = Any
SATURATED = 1.0
HOP_S = 20e-6  # from one pipeline stage to the next
BLOCK = 4096  # numbers worked on at a time, which a core's cache holds
ROUNDS = 4  # of the fixed point between how many run and how long they take
FEW_ROUNDS = 3  # of the one between how many decode and how long they wait


def serve_time(
    arch: Architecture, device: TimeDevice, engine: EngineTime, layout: ServeLayout, load: Load
) -> dict[str, Num]:
    """ttft_s, tpot_s, e2e_s (means), output_tokens_per_s of the replica, its load (0..1) and what runs at once.

    But for an open loop: service_s is how long one prompt (all of a static batch's) keeps the replica, waits_first and
    waits_rest are shares of ttft_s and tpot_s that are waited for room, between how much of that is in the latter.
    """
    given = [getattr(each, name) for each in (layout, load, engine) for name in each.__struct_fields__]
    arrays = [value for value in given if isinstance(value, np.ndarray)]
    many = max((value.size for value in arrays), default=1)
    if many > BLOCK and all(v.shape in ((), (many,)) for v in arrays) and not any(
        np.ndim(v) for v in (*engine.part_bytes.values(), *engine.constants.values())
    ):
        cuts = [slice(start, start + BLOCK) for start in range(0, many, BLOCK)]
        found = [serve_time(arch, device, *(_block(one, own, many) for one in (engine, layout, load))) for own in cuts]
        return {name: np.concatenate([np.broadcast_to(np.atleast_1d(f[name]), np.shape(f["tpot_s"])) for f in found])
                for name in found[0]}
    if load.kind == "open":
        return _open(arch, device, engine, layout, load)
    return _full(arch, device, engine, layout, load, own_products(arch, device, engine.part_bytes, layout))


def _full(
    arch: Architecture, device: TimeDevice, engine: EngineTime, layout: ServeLayout, load: Load, products: OwnProducts
) -> dict[str, Num]:
    """With as many running as are asked and fit."""
    room = room_of(engine, layout, load)
    parts = time_parts(arch, device, engine, layout, load, room.running, products=products)
    return closed(parts, engine, layout, load, room)


def _block(record: Any, own: slice, many: int) -> Any:
    """A record with its arrays cut to one block."""
    cut = {name: getattr(record, name)[own] for name in record.__struct_fields__
           if np.shape(getattr(record, name)) == (many,)}
    return replace(record, **cut)


def closed(parts: Parts, engine: EngineTime, layout: ServeLayout, load: Load, room: Room) -> dict[str, Num]:
    """A closed loop, a static batch, or everything queued at once, from the parts."""
    c, running = engine.constants, room.running
    step = answered_s(parts, engine, (layout.pipeline - 1) * HOP_S)
    others = num.maximum(running / layout.pipeline * parts.ranks - 1.0, 0.0)
    rest = num.maximum(load.output - 1.0, 0.0)
    if load.kind == "batch" or load.pool == "decode":
        tpot, ttft = step, alone_s(parts, c) + c["first_s"] + read_s(engine, load)
        begun = ttft
    elif load.kind == "queued":  # prompts of others that do not fall between one's own tokens come before the first
        inside = inside_s(parts, c)
        tpot = closed_loop_tpot_s(step, inside, others, load.output, room.again)
        ttft = inside + others * (1.0 + room.again) * inside / load.output + bare_s(parts, c, others + 1.0, rest)
        begun = ttft
    else:
        begun, tpot, ttft = looped(parts, engine, layout, load, others, room)
    stay = request_s(begun, tpot, load.output)
    asked, waits, before = running * layout.data, 0.0 * stay, 1.0
    between = num.where(rest > 0.0, room.between, 0.0)
    if load.kind == "closed":
        waves = num.maximum(load.concurrency / asked, 1.0)
        waits, stay, asked = (waves - 1.0) * stay, waves * stay, load.concurrency
        first = at_once(engine, load)
        before = (1.0 - first) * (1.0 - between) + first * (0.5 - 0.5 / waves)  # the first wave waits for itself alone
        ttft = ttft + before * waits
        tpot = tpot + between * waits / num.maximum(rest, 1.0)
    e2e = request_s(ttft, tpot, load.output)
    return {
        "ttft_s": ttft,
        "tpot_s": tpot,
        "e2e_s": e2e,
        "output_tokens_per_s": asked * load.output / stay / drained(load, asked, step, stay),
        "running": running * layout.data,
        "service_s": alone_s(parts, c),
        "waits_first": before * waits / ttft,
        "waits_rest": between * waits / num.maximum(rest, 1.0) / tpot,
        "between": between,
        "load": num.like(tpot, 0.0 if load.kind == "batch" else 1.0),
    }


def looped(
    parts: Parts, engine: EngineTime, layout: ServeLayout, load: Load, others: Num, room: Room | None = None
) -> tuple[Num, Num, Num]:
    """Time to the first token and per token of a request that meets `others`, on all ranks that step with its own; and
    the first over all of a loop, with its first wave, which comes at once and waits for its own prompts.

    Those that wait for their first token do not decode, and prompts that come meanwhile fall between nobody's tokens.
    Whoever waits for room has been read and is known of when there is some.
    """
    c = engine.constants
    again, crowd = (0.0, 0.0) if room is None else (room.again, room.waiting)
    whole = answered_s(parts, engine, (layout.pipeline - 1) * HOP_S)
    shorter, shortest = shorter_s(parts, engine)
    (inside, carried), passes, launches = inside_and_met_s(parts, c), passes_s(parts, c), launched_s(parts, c)
    rest = num.maximum(load.output - 1.0, 0.0)
    met = (others * (1.0 + again) + again) * inside / load.output
    replica = (others + 1.0) * (layout.data / parts.ranks) * layout.pipeline
    loop = load.kind == "closed"
    on_rank = num.maximum((others + loop) / parts.ranks - loop, 0.0)
    came = c["first_s"] + read_s(engine, load) + parts.chunks * launches
    ahead = 0.0 if load.pool == "prefill" else known(engine)
    every, lasting = looks_of(engine, parts, replica, rest) if load.pool != "prefill" else (1.0, 0.0)
    polled, crowded, behind = num.any(lasting), num.any(crowd), 0.0
    # Answers begin with a look: half a round fewer of others' prompts falls between one's own tokens.
    crossed = 1.0 - 0.5 * lasting * every / num.maximum(rest, 1.0)
    tpot = mean = whole + met  # a token's time, and that of the others' while one waits
    step, ttft, early = whole, came + passes, at_once(engine, load)
    decoding: Num = num.minimum(rest, 1.0)  # share of those inside
    for _ in range(FEW_ROUNDS):
        e2e = tpot * rest + ttft
        answering = some(load, (replica - 1.0) * decoding)
        back = 0.0 if load.pool == "prefill" else held(engine, replica, rest, answering, parts.held)
        waiting = waiting_s(engine, parts, layout, load, others, passes, inside, step, e2e)
        waiting, until = waiting + batch_wait_s(on_rank / e2e, launches), back * mean
        if polled:
            bare, lasts = mean - met * decoding, answering * lasting
            looked, behind = between_looks_s(parts, load, others, e2e, ahead + back, every, bare, inside)
            until, behind = until + lasts * (looked - (ahead + back) * mean), lasts * behind
        if load.pool == "both":
            waiting = waiting + beside_s(parts, carried, step, passes, others, decoding)
            if not loop:
                waiting = waiting + filled_s(parts, inside, ahead * mean + until + waiting, others / e2e)
        taken = came + ahead * mean + until
        if crowded:
            taken = taken - meanwhile_s(taken, crowd * e2e)
        ttft = taken + waiting + passes
        decoding = tpot * rest / (tpot * rest + ttft)
        step = whole - away_s(parts, decoding, 0.0, shorter, shortest)
        mean = whole - away_s(parts, decoding, 1.0, shorter, shortest) + met * decoding
        tpot = step + met * decoding * crossed + behind / num.maximum(rest, 1.0)
    over_all = (1.0 - early) * ttft + early * (came + ahead * mean + first_wave_s(parts, c)) if loop else ttft
    if load.pool == "both" and loop:  # a loop is no faster than a queue of as many, whose work is the same
        least = inside + met * load.output + rest * step + bare_s(parts, c, (others + 1.0) * (1.0 + again), rest)
        ttft = num.maximum(ttft, least - rest * tpot)  # half of the first wave's prompts are behind one's own
        over_all = num.maximum(over_all, least - rest * tpot - 0.5 * early * others * inside)
    return ttft, tpot, over_all


def at_once(engine: EngineTime, load: Load) -> Num:
    """Share of a loop's requests that come at once: of ten waves the first."""
    return 2.0 * engine.constants["queue"] if load.kind == "closed" and load.pool != "decode" else 0.0


def drained(load: Load, running: Num, step: Num, e2e: Num) -> Num:
    """Time of a finite queue over that at its full rate: while the last are answered, half of the places are empty."""
    if load.kind != "queued":
        return 1.0
    waves = load.requests / running
    return 1.0 + num.where(waves > 1.0, 0.5 * load.output * step / e2e / num.maximum(waves, 1.0), 0.0)


def _open(
    arch: Architecture, device: TimeDevice, engine: EngineTime, layout: ServeLayout, load: Load
) -> dict[str, Num]:
    """Poisson arrivals: as many run as arrivals times their stay; prompts wait for one another.

    Load is the rate over what the replica sustains with every slot taken; from one on latency is infinite.
    """
    products = own_products(arch, device, engine.part_bytes, layout)
    most = _full(arch, device, engine, layout, replace(load, kind="queued", varied=True), products)
    busy = load.rate * load.output / most["output_tokens_per_s"]
    rate = load.rate / layout.data
    ceiling = most["running"] / layout.data
    running: Num = num.minimum(busy, 1.0) * ceiling
    found: dict[str, Num] = {}
    before: tuple[Num, Num] | None = None
    longer: Num = 0.0
    for _ in range(ROUNDS):
        # One who comes finds as many as there are on average (Poisson arrivals see time averages: Wolff 1982).
        meets = num.minimum(running + 1.0, ceiling)
        parts = time_parts(arch, device, engine, layout, load, meets, longer, products)
        ttft, tpot, _ = looped(parts, engine, layout, load, running * parts.ranks)
        e2e = request_s(ttft, tpot, load.output)
        found = {"ttft_s": ttft, "tpot_s": tpot, "e2e_s": e2e, "running": running * layout.data}
        if in_step(parts.ranks):
            longer = carried_s(parts, engine.constants) / answered_s(parts, engine)
        inside = num.minimum(rate * e2e, ceiling)
        running, before = _steady(before, (running, inside), ceiling), (running, inside)
    over = busy >= SATURATED
    late = {name: num.where(over, np.inf, found[name]) for name in ("ttft_s", "tpot_s", "e2e_s")}
    rate_out = num.minimum(load.rate * load.output, most["output_tokens_per_s"])
    return found | late | {"output_tokens_per_s": rate_out, "load": busy}


def _steady(before: tuple[Num, Num] | None, now: tuple[Num, Num], most: Num) -> Num:
    """How many are inside where as many come as leave: where the secant through two tries of (inside, what that makes
    of it) meets the diagonal."""
    if before is None:
        return now[1]
    off, was = now[1] - now[0], before[1] - before[0]
    move = off - was
    step = num.where(abs(move) > 1e-12 * num.maximum(now[0], 1e-9), -off * (now[0] - before[0]) / num.where(
        move == 0.0, 1.0, move), off)
    return num.clip(now[0] + step, 1e-9, most)
