"""Seconds of an engine's steps by part, before its constants: with so many running, and with prompts in them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from msgspec import Struct

from outlay.architecture import Architecture
from outlay.physics import num
from outlay.physics.queueing import at_least_one, fullest, in_long_rounds
from outlay.steps.serve.attention import (
    INDEX_KERNELS,
    decode_attention_s,
    joint_attention_s,
    prompt_attention_s,
)
from outlay.steps.serve.inputs import ServeLayout
from outlay.steps.serve.time_host import with_host
from outlay.steps.serve.time_inputs import EngineTime, Load, TimeDevice, gathered_steps, held_steps
from outlay.steps.serve.time_pass import Pass
from outlay.steps.serve.time_products import OwnProducts, Taken, own_products
from outlay.steps.serve.time_step import own_pass, routed_pass

Num = Any
ROUTING_SPREAD = 0.8  # of the logarithm of how often an expert is chosen
PROMPT_SHARE = 0.5  # of the 16-bit peak that prompt attention reaches
# Kernels of a layer with latent attention or a recurrent mixer over one with plain attention, ten to seven or eight:
# latents are normed, multiplied up and absorbed; recurrent mixers convolve, gate, update states and norm each head.
MORE_KERNELS = 1.5
FEWER = 0.5  # of those inside: a second size of step, between which and all of them a step is taken straight


class Parts(Struct, frozen=True, eq=False):
    """Seconds by part, before constants: of a decode step, of prompts inside one, of one alone and of a burst."""

    decode: Pass
    few: Pass  # a decode step with the experts of fewer
    reading: Num
    reading_floor: Num
    mixed: Pass  # a decode step with prompts in it
    alone: Pass
    burst: Pass
    prompt_attention: Num  # of one prompt
    joint: Num  # attention of those that run in a step that carries a prompt, where one kernel attends for both
    at_once: Num  # prompts of a static batch; else one
    chunks: Num  # of those
    together: Num  # prompts of a rank that share their passes inside decode steps, of the one with most, by the pass
    met: Num  # by the prompt, itself counted
    together_all: Num  # the same of all ranks that step together
    met_all: Num
    most: Num  # prompts that a pass of one rank takes
    shared_chunks: Num  # passes of those that share them, the last in part: others go on in it
    spanned: Num  # decode steps that carry a prompt
    filled: Num  # of a prompt, what the last of those has room for beside it; none where the first is the last
    burst_chunks: Num
    sequences: Num  # answered at once on one rank and stage
    fewer: Num  # of those, in a step of `few`
    inside: Num  # there, with those whose prompts wait
    flight: Num  # passes in the pipeline at once
    ranks: Num  # that step together, each with prompts of its own
    gathered: Num  # decode steps from one look of those ranks for prompts to the next
    held: Num  # those that a prompt waits for one
    layers: float  # by the kernels of each
    expert_layers: int
    mixer_layers: int  # whose mixer is not plain attention
    own_steps: bool  # prompts run in steps of their own: then `mixed` is one of those


def time_parts(
    arch: Architecture, device: TimeDevice, engine: EngineTime, layout: ServeLayout, load: Load, running: Num,
    longer: Num = 0.0, products: OwnProducts | None = None,
) -> Parts:
    """The parts at a number of running sequences a rank; products, where they are told already.

    longer: what steps with prompts of ranks take longer, over a step without; more prompts come in those.
    """
    by = engine.part_bytes
    busy = num.maximum(running / layout.pipeline, 1.0)  # a stage works on one share of them at a time
    own = num.maximum(load.input * (1.0 - engine.prefix_hit), 1.0)
    budget = engine.max_num_batched_tokens
    experts = sum(count for kind, count in arch.groups if kind.mlp == "moe")
    whole, at_once = busy, busy if load.kind == "batch" else 1.0
    if load.kind != "batch" and load.pool == "both":
        # Answers run as long as it takes to answer one; meanwhile no more begin than prompts go through steps, whose
        # tokens those that run take their own of.
        taken = own if engine.own_steps else own + load.output * (1.0 + engine.drafted)
        busy = num.minimum(busy, num.maximum(load.output * budget / taken, 1.0))
    flight = num.minimum(num.maximum(running, 1.0), layout.pipeline)
    rows = busy * (1.0 + engine.drafted)
    ranks = _ranks(load, layout, experts)
    # Those that run take their tokens out of the budget first: a prompt as long as that ends with the next step.
    room = budget if engine.own_steps else num.maximum(budget - rows, 1.0)
    most, spanned = taken_in = num.maximum(room / own, 1.0), num.ceil(own / room)
    filled = num.where((spanned > 1.0) & (ranks <= 1.0), num.minimum(spanned * room / own - 1.0, 1.0), 0.0)
    looks, (together, met), (together_all, met_all) = _sharing(engine, layout, load, running, ranks, taken_in, longer)
    chunks, burst = (num.ceil(own * n / budget) for n in (at_once, whole))
    shared = num.maximum(own * together / room, 1.0)
    chunk = own * together / shared
    chunk_all = own * together_all / shared / ranks
    fewer = num.maximum(FEWER * busy, 1.0)
    mixed, mixed_sampled = (0.0, together) if engine.own_steps else (rows, rows)
    tokens = rows, mixed + chunk, own * at_once / chunks, own * whole / burst
    # Experts of all ranks share what each rank hands them: of a prompt alone, of all, or of fewer than there are ranks.
    fewest = num.minimum(running, 1.0) if experts else 1.0
    first, all_first = (fewest, fewest) if load.kind == "batch" else (1.0 / ranks, num.where(ranks > 1.0, fewest, 1.0))
    handed = rows, mixed + chunk_all, tokens[2] * first, tokens[3] * all_first
    told = products or own_products(arch, device, by, layout)
    bare = _side_by_side(lambda m, n: own_pass(told, device, m, n, flight),
                         tokens, (rows, mixed_sampled, at_once, whole))
    passing = (*handed, fewer * (1.0 + engine.drafted))
    routed = _side_by_side(lambda m: routed_pass(arch, device, by, layout, m, ROUTING_SPREAD, engine.widened), passing)
    bare.append(bare[0])  # in a step of fewer, weights of a rank's own are read alike
    passes = [Pass(*each, *by_all) for each, by_all in zip(bare, routed, strict=True)]
    if engine.host_bytes:
        passes = [with_host(one, n, arch, device, engine, layout, ROUTING_SPREAD)
                  for one, n in zip(passes, passing, strict=True)]
    decoded, inside, alone, burst_pass, few = passes
    context = load.context
    queries = 1.0 + engine.drafted
    reading, floor = decode_attention_s(arch, device, engine.cache_bytes, layout, busy, context, queries)
    attention = prompt_attention_s(arch, device, layout, own, load.input, PROMPT_SHARE)
    joint: Num = 0.0
    if engine.joint_rows:
        joint = joint_attention_s(arch, device, layout, engine.joint_rows, busy, context, PROMPT_SHARE)
    mixers = sum(count for kind, count in arch.groups if kind.mixer not in ("attention", "none"))
    indexers = sum(count for kind, count in arch.groups if kind.indexer_heads)
    kernels = arch.layers + (MORE_KERNELS - 1.0) * mixers + INDEX_KERNELS * indexers
    return Parts(
        decoded, few, reading, floor, inside, alone, burst_pass, attention, joint, at_once, chunks, together, met,
        together_all, met_all, most, shared, spanned, filled, burst, busy, fewer, whole, flight, ranks, *looks,
        kernels, experts, mixers, engine.own_steps,
    )


def in_step(ranks: Num) -> bool:
    """Whether any ranks step together."""
    return num.any(ranks > 1.0)


def _ranks(load: Load, layout: ServeLayout, experts: int) -> Num:
    """Attention ranks that wait for each other's prompts: those that share experts, but where requests of one length
    are queued, which fill and empty all ranks together."""
    return layout.data if experts and (load.kind in ("closed", "open") or load.varied) else 1.0


def _sharing(
    engine: EngineTime, layout: ServeLayout, load: Load, running: Num, ranks: Num, passing: tuple[Num, Num], longer: Num
) -> tuple[tuple[Num, Num], tuple[Num, Num], tuple[Num, Num]]:
    """Steps between two looks of ranks for prompts and until one, and how many prompts share a step: of the rank with
    most, and of all that step together; each by the step that has any, and by a prompt in it.

    As many prompts come in during a step as answers end in it; those of all steps until the next look for them share
    its passes, within the budget. One more step goes by while they wait for it. On each rank they come by chance.
    passing: prompts that a pass takes, and passes of one.
    """
    most = passing[0]
    whole = num.maximum(running / layout.pipeline, 1.0)
    # Who comes at a rate is counted beside those inside; where ranks step together each has room for him, one has him.
    others = num.maximum((running / layout.pipeline - 1.0) * ranks if load.kind == "open" else
                         running / layout.pipeline * ranks - 1.0, 0.0)
    gathered: Num = 0.0
    waited: Num = 0.0
    held: Num = 0.0
    if load.pool == "both":
        on_each = others / ranks if load.kind == "open" else whole
        gathered, waited = gathered_steps(engine, ranks, on_each, load.output, passing, load.kind == "open")
        held = num.maximum(num.minimum(held_steps(engine, running * layout.data), load.output - 1.0), gathered)
    more = others * num.minimum(num.maximum(held, 1.0) / (load.output + 1.0 + held), 1.0)
    of_all = at_least_one(more), 1.0 + more
    if not in_step(ranks):
        together = num.minimum(of_all[0], most), num.minimum(of_all[1], most)
        return (gathered, waited), together, together
    more = in_long_rounds(more, longer / num.maximum(held, 1.0)) if num.any(longer) else more
    of_all = at_least_one(more), 1.0 + more
    slowest = fullest(more / ranks, ranks)
    # What a step's budget does not hold goes with the next step, or where ranks wait for each other with the next look.
    by_step, by_prompt = (
        num.where(gathered > 0.0, num.minimum(n, ranks * most), n * num.minimum(1.0, most / of_rank))
        for n, of_rank in zip(of_all, slowest, strict=True))
    return (gathered, waited), (num.minimum(slowest[0], most), num.minimum(slowest[1], most)), (by_step, by_prompt)


def _side_by_side(of: Callable[..., Taken], *rows: tuple[Num, ...]) -> list[Taken]:
    """Parts of several passes at once, of arrays on an axis before those of the numbers."""
    shape = np.broadcast_shapes(*(np.shape(one) for each in rows for one in each))
    if not shape:
        return [of(*each) for each in zip(*rows, strict=True)]
    fields = of(*(_stacked(each, shape) for each in rows))
    full = np.broadcast_shapes((len(rows[0]), *shape), *map(np.shape, fields))
    return list(zip(*(field if np.shape(field) == full else np.broadcast_to(field, full) for field in fields),
                    strict=True))


def _stacked(each: tuple[Num, ...], shape: tuple[int, ...]) -> Num:
    found = np.empty((len(each), *shape))
    for place, one in enumerate(each):
        found[place] = one
    return found
