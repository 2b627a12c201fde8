"""Latency and throughput of an engine under a steady load, in closed form.

A decode step is the device's parts (`serve_time_step`), scaled by how an engine's kernels do against those that
were measured alone, and the host's work around them. Prompts pass between or inside decode steps; their cost is
what a step takes more with a prompt's chunk in it. Numbers are floats or arrays of one shape; categories
(model, precision, engine, device) are one for the call.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from outlay.architecture import Architecture
from outlay.physics.queueing import accepted_tokens, closed_loop_tpot_s, service_wait_s
from outlay.steps.serve.inputs import ServeLayout
from outlay.steps.serve.launches import is_eager, step_launches_s
from outlay.steps.serve.time_inputs import EngineTime, Load, TimeDevice
from outlay.steps.serve.time_step import (
    Pass,
    decode_attention_s,
    joint_attention_s,
    prompt_attention_s,
    step_pass,
)

Num = Any
PARTS = ("flow", "least", "work", "floor", "experts", "expert_work", "copies", "exchange")
ROUTING_SPREAD = 0.8  # of the logarithm of how often an expert is chosen
PROMPT_SHARE = 0.5  # of the 16-bit peak that prompt attention reaches
SATURATED = 1.0
# Kernels of a layer with latent attention or a recurrent mixer over one with plain attention, ten to seven or eight:
# latents are normed, multiplied up and absorbed; recurrent mixers convolve, gate, update states and norm each head.
MORE_KERNELS = 1.5
HOP_S = 20e-6  # from one pipeline stage to the next
BLOCK = 4096  # numbers worked on at a time, which a core's cache holds
ROUNDS = 4  # of the fixed point between how many run and how long they take
FEWER = 0.5  # of those inside: a second size of step, between which and all of them a step is taken straight


class Parts(Struct, frozen=True, eq=False):
    """Seconds by part, before constants: of a decode step, of prompts inside one, of one alone and of a burst."""

    decode: Pass
    few: Pass  # a decode step of fewer
    reading: Num
    reading_floor: Num
    mixed: Pass  # a decode step with prompts in it
    alone: Pass
    burst: Pass
    prompt_attention: Num  # of one prompt
    joint: Num  # attention of those that run in a step that carries a prompt, where one kernel attends for both
    at_once: Num  # prompts of a static batch; else one
    chunks: Num  # of those
    together: Num  # prompts that share their passes inside decode steps, by the pass
    met: Num  # by the prompt, itself counted
    shared_chunks: Num
    burst_chunks: Num
    sequences: Num  # answered at once on one rank and stage
    fewer: Num  # of those, in a step of `few`
    inside: Num  # there, with those whose prompts wait
    flight: Num  # passes in the pipeline at once
    layers: float  # by the kernels of each
    expert_layers: int
    mixer_layers: int  # whose mixer is not plain attention
    own_steps: bool  # prompts run in steps of their own: then `mixed` is one of those


def serve_time(
    arch: Architecture, device: TimeDevice, engine: EngineTime, layout: ServeLayout, load: Load
) -> dict[str, Num]:
    """ttft_s, tpot_s, e2e_s (means), output_tokens_per_s of the replica, its load (0..1) and what runs at once.

    service_s, but for an open loop, is how long one prompt (all of a static batch's) keeps the replica.
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
    running = sequences_at_once(engine, layout, load)
    parts = time_parts(arch, device, engine, layout, load, running)
    return closed(parts, engine, layout, load, running)


def _block(record: Any, own: slice, many: int) -> Any:
    """A record with its arrays cut to one block."""
    cut = {name: getattr(record, name)[own] for name in record.__struct_fields__
           if np.shape(getattr(record, name)) == (many,)}
    return replace(record, **cut)


def sequences_at_once(engine: EngineTime, layout: ServeLayout, load: Load) -> Num:
    """Of one attention rank: what is asked, within the engine's limit and what the cache holds."""
    room = load.cache_tokens / layout.data / engine.held(load.input, load.output)
    limit = np.maximum(np.minimum(engine.max_num_seqs, room), 1.0)
    if load.kind == "queued":
        return np.minimum(limit, np.maximum(load.requests / layout.data, 1.0))
    return np.minimum(np.maximum(load.concurrency / layout.data, 1.0 / layout.data), limit)


def time_parts(
    arch: Architecture, device: TimeDevice, engine: EngineTime, layout: ServeLayout, load: Load, running: Num
) -> Parts:
    """The parts at a number of running sequences a rank."""
    by = engine.part_bytes
    busy = np.maximum(running / layout.pipeline, 1.0)  # a stage works on one share of them at a time
    own = np.maximum(load.input * (1.0 - engine.prefix_hit), 1.0)
    budget = engine.max_num_batched_tokens
    inside, whole, at_once = busy, busy, busy if load.kind == "batch" else 1.0
    if load.kind != "batch" and load.pool == "both":
        # Answers run as long as it takes to answer one; meanwhile no more begin than prompts go through steps.
        busy = np.minimum(busy, np.maximum(load.output * budget / own, 1.0))
    flight = np.minimum(np.maximum(running, 1.0), layout.pipeline)
    rows = busy * (1.0 + engine.drafted)
    # As many prompts come in during a step as answers end in it; those of all steps until the next look for them share
    # its passes, within the budget. One more step goes by while they wait for it.
    held = np.minimum(held_steps(engine, running * layout.data), load.output - 1.0) if load.pool == "both" else 0.0
    more = np.maximum(inside - 1.0, 0.0) * np.minimum(np.maximum(held, 1.0) / (load.output + 1.0 + held), 1.0)
    most = np.maximum(budget / own, 1.0)
    together, met = np.minimum(at_least_one(more), most), np.minimum(1.0 + more, most)
    chunks, shared, burst = (np.ceil(own * n / budget) for n in (at_once, together, whole))
    chunk = own * together / shared
    fewer = np.maximum(FEWER * busy, 1.0)
    mixed_rows, mixed_sampled = (chunk, together) if engine.own_steps else (rows + chunk, rows)
    passes = _side_by_side((rows, fewer * (1.0 + engine.drafted), mixed_rows, own * at_once / chunks,
                            own * whole / burst),
                           lambda m, n: step_pass(arch, device, by, layout, m, n, ROUTING_SPREAD, flight,
                                                  engine.widened),
                           (rows, fewer * (1.0 + engine.drafted), mixed_sampled, at_once, whole))
    decode, few, mixed, alone, burst_pass = passes
    context = load.input + 0.5 * load.output
    queries = 1.0 + engine.drafted
    reading, floor = decode_attention_s(arch, device, engine.cache_bytes, layout, busy, context, queries)
    attention = prompt_attention_s(arch, device, layout, own, load.input, PROMPT_SHARE)
    joint: Num = 0.0
    if engine.joint_rows:
        joint = joint_attention_s(arch, device, layout, engine.joint_rows, busy, context, PROMPT_SHARE)
    experts = sum(count for kind, count in arch.groups if kind.mlp == "moe")
    mixers = sum(count for kind, count in arch.groups if kind.mixer not in ("attention", "none"))
    return Parts(
        decode, few, reading, floor, mixed, alone, burst_pass, attention, joint, at_once, chunks, together,
        met, shared, burst,
        busy, fewer, whole, flight, arch.layers + (MORE_KERNELS - 1.0) * mixers, experts, mixers, engine.own_steps,
    )


def at_least_one(mean: Num) -> Num:
    """Mean of a Poisson number where it is not zero.

    >>> float(at_least_one(0.0)), round(float(at_least_one(1.0)), 3)
    (1.0, 1.582)
    """
    some = np.maximum(mean, 1e-9)
    return some / -np.expm1(-some)


def _side_by_side(rows: tuple[Num, ...], of: Any, sampled: tuple[Num, ...]) -> tuple[Pass, ...]:
    """Several passes at once, on an axis before those of the numbers."""
    shape = np.broadcast_shapes(*map(np.shape, (*rows, *sampled)))
    if shape:
        whole = of(*(np.stack([np.broadcast_to(one, shape) for one in each]) for each in (rows, sampled)))
    else:
        whole = of(*(np.array(each, dtype=float)[:, np.newaxis] for each in (rows, sampled)))
    fields = [getattr(whole, name) for name in PARTS]
    full = np.broadcast_shapes(*map(np.shape, fields))
    spread = [field if np.shape(field) == full else np.broadcast_to(field, full) for field in fields]
    if full[1:] == (1,) and not shape:
        return tuple(Pass(*each) for each in zip(*(field.ravel() for field in spread), strict=True))
    return tuple(Pass(*(field[place] for field in spread)) for place in range(len(rows)))


def decode_step_s(parts: Parts, constants: Mapping[str, Num]) -> Num:
    """One decode step: device parts as this engine's kernels do them, and the host's share."""
    c = constants.__getitem__
    device = np.maximum(_decoding_s(parts, constants), _launches_s(parts, constants))
    # One stage hands out the tokens of all passes in the pipeline, one pass after another.
    return device + parts.flight * (c("step_s") + parts.sequences * c("sequence_s"))


def _decoding_s(parts: Parts, constants: Mapping[str, Num]) -> Num:
    """The device's work of a decode step, small kernels with it."""
    c = constants.__getitem__
    return _passing_s(parts, constants) + c("reading") * (parts.reading + parts.reading_floor)


def _passing_s(parts: Parts, constants: Mapping[str, Num]) -> Num:
    """The same without attention; where each kernel is launched, a step's take as long as one's with a prompt in it."""
    c = constants.__getitem__
    kernels = parts.layers * c("layer_s") + parts.expert_layers * c("expert_layer_s")
    return parts.decode.total(c) + kernels + (_mixed_s(parts, constants) if is_eager(constants) else 0.0)


def _mixed_s(parts: Parts, constants: Mapping[str, Num]) -> Num:
    """What a step takes longer whose kernels are launched one by one, beside those that the device waits for."""
    c = constants.__getitem__
    return parts.layers * c("mixed_layer_s") + parts.expert_layers * c("mixed_expert_layer_s")


def _launches_s(parts: Parts, constants: Mapping[str, Num]) -> Num:
    return step_launches_s(parts.layers, parts.expert_layers, parts.mixer_layers, constants)


def sooner_s(parts: Parts, constants: Mapping[str, Num]) -> Num:
    """How much shorter a decode step is for each of those inside that is not in it, about half of them at most."""
    c = constants.__getitem__
    passes = parts.decode.total(c) - parts.few.total(c)
    own = c("reading") * parts.reading + parts.flight * parts.sequences * c("sequence_s")
    return passes / np.maximum(parts.sequences - parts.fewer, 1e-9) + own / parts.sequences


def pass_s(parts: Parts, constants: Mapping[str, Num]) -> Num:
    """A pass that answers nobody, which prompts are added to where no decode step carries them."""
    return np.maximum(_passing_s(parts, constants), _launches_s(parts, constants)) + constants["step_s"]


def answered_s(parts: Parts, engine: EngineTime, hops_s: Num = 0.0) -> Num:
    """Decode time of one answered token: a step with its drafting, over the tokens it yields."""
    return (decode_step_s(parts, engine.constants) + hops_s) * steps_a_token(engine)


def steps_a_token(engine: EngineTime) -> Num:
    """Decode steps, drafting counted in, over the tokens they yield."""
    return (1.0 + engine.drafted * engine.draft_share) / accepted_tokens(engine.acceptance, engine.drafted)


def prompt_s(parts: Parts, constants: Mapping[str, Num], alone: bool) -> Num:
    """A prompt in its chunks: alone (all of a static batch's), or what it adds to the decode steps that carry it."""
    return alone_s(parts, constants) if alone else inside_s(parts, constants)


def alone_s(parts: Parts, constants: Mapping[str, Num]) -> Num:
    """First tokens of prompts processed at once while nothing else runs: their chunks, and launching them."""
    return passes_s(parts, constants) + parts.chunks * launched_s(parts, constants)


def passes_s(parts: Parts, constants: Mapping[str, Num]) -> Num:
    """How long those prompts keep an engine: their chunks, each with what its pass costs the host."""
    c = constants.__getitem__
    return (
        parts.chunks * parts.alone.total(c) + parts.at_once * c("prompt_attention") * parts.prompt_attention
        + parts.chunks * _launch_s(parts, constants)
    )


def inside_s(parts: Parts, constants: Mapping[str, Num], apart: Num = 1.0) -> Num:
    """What one prompt adds to the decode steps that carry it and those that come with it.

    apart: steps that prompts of any attention rank make longer, over those of one rank's own (`steps_apart`).
    """
    c = constants.__getitem__
    if parts.own_steps:
        own, routed, launched = parts.mixed.own(c), parts.mixed.routed(c), _launch_s(parts, constants)
        passes = parts.shared_chunks / parts.together * (apart * (own + launched) + routed)
        return passes + apart * c("prompt_attention") * parts.prompt_attention
    own = np.maximum(parts.mixed.own(c) - parts.decode.own(c), 0.0)
    routed = np.maximum(parts.mixed.routed(c) - parts.decode.routed(c), 0.0)
    joint = joint_s(parts.joint, parts.reading, constants)
    if is_eager(constants):  # launched in any case, while the device waits
        spare = np.maximum(_launches_s(parts, constants) - _decoding_s(parts, constants), 0.0)
        each = np.maximum(apart * (own + joint - spare) + routed, 0.0)
    else:
        each = apart * (own + _mixed_s(parts, constants) + joint) + routed
    passes = parts.shared_chunks / parts.together * each
    return passes + apart * c("prompt_attention") * parts.prompt_attention


def joint_s(joint: Num, reading: Num, constants: Mapping[str, Num]) -> Num:
    """What attention of those that run takes more in a step that carries a prompt."""
    return np.maximum(constants["prompt_attention"] * joint - constants["reading"] * reading, 0.0)


def steps_apart(prompts: Num, ranks: Num) -> Num:
    """Steps that prompts of any attention rank make longer, over those of one rank's own; ranks step together.

    prompts: that come to a rank during a step. Rare ones fall into steps of their own; where every step has one on
    every rank they share all. Eight ranks with a prompt in every tenth step:

    >>> round(float(steps_apart(0.1, 8.0)), 2), float(steps_apart(2.0, 8.0))
    (5.7, 1.0)
    """
    often = np.clip(prompts, 1e-6, 1.0)
    return (1.0 - (1.0 - often) ** ranks) / often


def burst_s(parts: Parts, constants: Mapping[str, Num]) -> Num:
    """Prompts of all that run, coming at once."""
    c = constants.__getitem__
    attention = parts.inside * c("prompt_attention") * parts.prompt_attention
    return parts.burst_chunks * (parts.burst.total(c) + _launch_s(parts, constants)) + attention


def _launch_s(parts: Parts, constants: Mapping[str, Num]) -> Num:
    c = constants.__getitem__
    layer, experts = c("layer_s") + c("mixed_layer_s"), c("expert_layer_s") + c("mixed_expert_layer_s")
    return parts.layers * layer + parts.expert_layers * experts + c("step_s")


def launched_s(parts: Parts, constants: Mapping[str, Num]) -> Num:
    """Launching a prompt's kernels one by one, a pass, beyond what an engine's steps take longer with a prompt in them.

    A prompt's own first token waits for it. Tokens of others do not (mixed_layer_s and mixed_expert_layer_s are what
    they wait): the host launches while the device is at the step before.
    """
    c = constants.__getitem__
    layer, experts = c("prompt_layer_s") - c("mixed_layer_s"), c("prompt_expert_layer_s") - c("mixed_expert_layer_s")
    mixers = parts.mixer_layers * c("prompt_mixer_layer_s")
    return parts.layers * layer + parts.expert_layers * experts + mixers


def launching_s(launched: Num, rate: Num) -> Num:
    """Until the launches under way end, after which all prompts that came meanwhile are launched together.

    A host that serves all who wait at once is busy L/(L + e^(-rL)/r) of the time, and found half way through. Prompts
    of 20 ms each, ten a second:

    >>> round(float(launching_s(0.020, 10.0)), 5)
    0.00196
    """
    often = rate * launched
    return 0.5 * launched * often / (often + np.exp(-often))


def read_s(engine: EngineTime, load: Load) -> Num:
    """Host time to read a prompt's text: to tokenise it and to hand its tokens on."""
    return engine.constants["token_s"] * load.input


def held_steps(engine: EngineTime, inside: Num) -> Num:
    """Decode steps that a server is set to let pass before it takes up what has come, with `inside` requests in it."""
    held: Num = 0.0
    for start, steps in engine.holds:
        held = np.where(np.greater_equal(inside, start), steps, held)
    return held


def held_back(engine: EngineTime, layout: ServeLayout, inside: Num) -> Num:
    """Decode steps that requests are kept waiting on purpose: as the server is set to, or until attention ranks take
    prompts up together."""
    c = engine.constants
    return c["hold"] * held_steps(engine, inside) + np.where(np.greater(layout.data, 1), c["wait_ranks"], 0.0)


def taken_up(engine: EngineTime, layout: ServeLayout, inside: Num, rest: Num, decoding: Num = 1.0) -> Num:
    """Tokens answered until a request is taken up, with `inside` in a replica that have `rest` tokens each to come.

    Nobody is held back longer than others are being answered, nor where there are none. decoding: their share.
    """
    held = np.minimum(held_back(engine, layout, inside), rest) * np.clip((inside - 1.0) * decoding, 0.0, 1.0)
    return (engine.constants["wait"] + held) * accepted_tokens(engine.acceptance, engine.drafted)


def closed(parts: Parts, engine: EngineTime, layout: ServeLayout, load: Load, running: Num) -> dict[str, Num]:
    """A closed loop, a static batch, or everything queued at once, from the parts."""
    c = engine.constants
    step = answered_s(parts, engine, (layout.pipeline - 1) * HOP_S)
    others = np.maximum(running / layout.pipeline - 1.0, 0.0)
    rest = np.maximum(load.output - 1.0, 0.0)
    if load.kind == "batch" or load.pool == "decode":
        tpot, ttft = step, alone_s(parts, c) + c["first_s"] + read_s(engine, load)
    elif load.kind == "queued":  # prompts of others that do not fall between one's own tokens come before the first
        # A queue fills places as they fall empty, on all ranks together where requests are of one length; in a loop
        # ranks are held until they take prompts up together.
        inside = inside_s(parts, c, steps_apart(parts.sequences / load.output, layout.data) if load.varied else 1.0)
        tpot = closed_loop_tpot_s(step, inside, others, load.output, c["share"])
        ttft = inside + c["share"] * others * inside / load.output
    else:
        ttft, tpot = looped(parts, engine, layout, load, running, others)
    e2e = ttft + tpot * rest
    asked = running * layout.data
    if load.kind == "closed":
        waves = np.maximum(load.concurrency / asked, 1.0)
        ttft, e2e = ttft + (waves - 1.0) * e2e, waves * e2e
        asked = load.concurrency
    return {
        "ttft_s": ttft,
        "tpot_s": tpot,
        "e2e_s": e2e,
        "output_tokens_per_s": asked * load.output / e2e / drained(load, asked, step, e2e),
        "running": running * layout.data,
        "service_s": alone_s(parts, c),
        "load": np.ones_like(tpot) if load.kind != "batch" else np.zeros_like(tpot),
    }


def looped(
    parts: Parts, engine: EngineTime, layout: ServeLayout, load: Load, running: Num, others: Num
) -> tuple[Num, Num]:
    """Time to the first token and per token with `running` inside a rank, each of which meets `others` there.

    Those that wait for their first token do not decode, and prompts that come meanwhile fall between nobody's tokens.
    """
    c = engine.constants
    step = answered_s(parts, engine, (layout.pipeline - 1) * HOP_S)
    sooner = sooner_s(parts, c) * steps_a_token(engine)
    idle = np.maximum(parts.sequences - 1.0, 0.0)
    alone, inside, passes = alone_s(parts, c), inside_s(parts, c), passes_s(parts, c)
    rest = np.maximum(load.output - 1.0, 0.0)
    launches, met_by = launched_s(parts, c), (others + 1.0) * layout.data * layout.pipeline
    met = c["share"] * others * inside / load.output
    came = c["first_s"] + read_s(engine, load) + alone
    if load.kind == "closed":
        came = came + c["queue"] * np.maximum(burst_s(parts, c) - passes, 0.0)
    decoding: Num = np.minimum(rest, 1.0)  # share of those inside
    own, tpot = step, step + met
    # The first wave of a loop waits for its burst instead.
    later = 1.0 - 2.0 * c["queue"] if load.kind == "closed" else 1.0
    ttft = came
    for _ in range(ROUNDS):
        beside = beside_s(parts, inside, step, passes, others, decoding) if load.pool == "both" else 0.0
        waited = 0.0 if load.pool == "prefill" else taken_up(engine, layout, met_by, rest, decoding)
        e2e = tpot * rest + ttft
        waiting = waiting_s(engine, layout, load, others, passes, inside, e2e)
        waiting = waiting + launching_s(launches, others / e2e)
        ttft = came + later * (beside + waited * tpot + waiting)
        decoding = tpot * rest / (tpot * rest + ttft)
        own = step - sooner * np.minimum((1.0 - decoding) * parts.sequences, idle)
        tpot = own + met * decoding
    if load.pool == "both" and load.kind == "closed":  # a loop is no faster than a queue of as many: the same work
        more = np.maximum((others + 1.0) * parts.shared_chunks / parts.together - rest, 0.0)
        least = inside + met * load.output + rest * own + more * pass_s(parts, c)
        ttft = np.maximum(ttft, least - rest * tpot)
    return ttft, tpot


def beside_s(parts: Parts, inside: Num, step: Num, passes: Num, others: Num, decoding: Num) -> Num:
    """What a prompt's own pass takes longer beside others: with a decode step, or with prompts taken up with it."""
    answered = 0.0 if parts.own_steps else np.minimum(others * decoding, 1.0) * step
    return np.minimum(others, 1.0) * np.maximum(inside * parts.met + answered - passes, 0.0)


def waiting_s(
    engine: EngineTime, layout: ServeLayout, load: Load, others: Num, passes: Num, inside: Num, e2e: Num
) -> Num:
    """Until the prompts under way or before one's own are done."""
    if load.kind == "closed":
        if engine.holds:  # between two looks for requests
            return 0.0
        return engine.constants["meet"] * passes * np.minimum(others * passes / e2e, 1.0)
    # Kingman 1961
    return service_wait_s(load.rate / layout.data, inside, 1.0) * 0.5 * (load.arrival_cv**2 + 1.0)


def drained(load: Load, running: Num, step: Num, e2e: Num) -> Num:
    """Time of a finite queue over that at its full rate: while the last are answered, half of the places are empty."""
    if load.kind != "queued":
        return 1.0
    waves = load.requests / running
    return 1.0 + np.where(waves > 1.0, 0.5 * load.output * step / e2e / np.maximum(waves, 1.0), 0.0)


def _open(
    arch: Architecture, device: TimeDevice, engine: EngineTime, layout: ServeLayout, load: Load
) -> dict[str, Num]:
    """Poisson arrivals: as many run as arrivals times their stay; prompts wait for one another.

    Load is the rate over what the replica sustains with every slot taken; from one on latency is infinite.
    """
    most = serve_time(arch, device, engine, layout, replace(load, kind="queued"))
    busy = load.rate * load.output / most["output_tokens_per_s"]
    rate = load.rate / layout.data
    ceiling = most["running"] / layout.data
    running: Num = np.minimum(busy, 1.0) * ceiling
    found: dict[str, Num] = {}
    before: tuple[Num, Num] | None = None
    for _ in range(ROUNDS):
        # One who comes finds as many as there are on average (Poisson arrivals see time averages: Wolff 1982).
        parts = time_parts(arch, device, engine, layout, load, np.minimum(running + 1.0, ceiling))
        ttft, tpot = looped(parts, engine, layout, load, running, running)
        e2e = ttft + tpot * np.maximum(load.output - 1.0, 0.0)
        found = {"ttft_s": ttft, "tpot_s": tpot, "e2e_s": e2e, "running": running * layout.data}
        inside = np.minimum(rate * e2e, ceiling)
        running, before = _steady(before, (running, inside), ceiling), (running, inside)
    over = np.greater_equal(busy, SATURATED)
    late = {name: np.where(over, np.inf, found[name]) for name in ("ttft_s", "tpot_s", "e2e_s")}
    rate_out = np.minimum(load.rate * load.output, most["output_tokens_per_s"])
    return found | late | {"output_tokens_per_s": rate_out, "load": busy}


def _steady(before: tuple[Num, Num] | None, now: tuple[Num, Num], most: Num) -> Num:
    """How many are inside where as many come as leave: where the secant through two tries of (inside, what that makes
    of it) meets the diagonal."""
    if before is None:
        return now[1]
    off, was = now[1] - now[0], before[1] - before[0]
    move = off - was
    step = np.where(np.abs(move) > 1e-12 * np.maximum(now[0], 1e-9), -off * (now[0] - before[0]) / np.where(
        move == 0.0, 1.0, move), off)
    return np.clip(now[0] + step, 1e-9, most)
