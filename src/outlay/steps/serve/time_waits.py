"""What a request waits for before its first token, beside its own prompt."""

from __future__ import annotations

from typing import Any

from outlay.physics import num
from outlay.physics.queueing import (
    accepted_tokens,
    gated_wait_s,
    largest_normal,
    polled_others,
    polled_wait_s,
    service_wait_s,
)
from outlay.steps.serve.inputs import ServeLayout
from outlay.steps.serve.time_inputs import EngineTime, Load, held_steps
from outlay.steps.serve.time_parts import Parts, in_step

Num = Any


def read_s(engine: EngineTime, load: Load) -> Num:
    """Host time to read a prompt's text: to tokenise it and to hand its tokens on."""
    return engine.constants["token_s"] * load.input


def let_pass(engine: EngineTime, inside: Num, gathered: Num = 0.0) -> Num:
    """Decode steps that requests are kept waiting as the server is set to, and until ranks take prompts up together."""
    return engine.constants["hold"] * held_steps(engine, inside) + gathered


def known(engine: EngineTime) -> Num:
    """Tokens answered until a server that schedules ahead knows of a request."""
    return engine.constants["wait"] * accepted_tokens(engine.acceptance, engine.drafted)


def some(load: Load, others: Num) -> Num:
    """Share of those who come that find one there, of so many on average: as many as that in a loop, about Poisson's
    number at a rate."""
    return -num.expm1(-others) if load.kind == "open" else num.clip(others, 0.0, 1.0)


def held(engine: EngineTime, inside: Num, rest: Num, answering: Num, gathered: Num = 0.0) -> Num:
    """Tokens answered while it is held back, with `inside` in a replica that have `rest` tokens each to come.

    Nobody is held back longer than others are being answered, nor where there are none. answering: share of those who
    come while there are; gathered: steps until ranks that wait for each other look.
    """
    steps = num.minimum(let_pass(engine, inside, gathered), rest) * answering
    return steps * accepted_tokens(engine.acceptance, engine.drafted)


def taken_up(engine: EngineTime, inside: Num, rest: Num) -> Num:
    """Tokens answered until a request is taken up: until it is known, and as long as it is held back."""
    return known(engine) + held(engine, inside, rest, num.clip(inside - 1.0, 0.0, 1.0))


def beside_s(parts: Parts, carried: Num, step: Num, passes: Num, others: Num, decoding: Num) -> Num:
    """What a prompt's own pass takes longer beside others: with decode steps, or with prompts taken up with it.

    carried: what the steps that carry it take longer.
    """
    answered = 0.0 if parts.own_steps else num.minimum(others * decoding, 1.0) * step * parts.spanned
    return num.minimum(others, 1.0) * num.maximum(carried + answered - passes, 0.0)


def filled_s(parts: Parts, inside: Num, waited: Num, rate: Num) -> Num:
    """What the last of a prompt's steps takes longer for one that came while it waited itself, where it has more.

    Waits at a rate are about exponential, and so one has come in rw/(1 + rw) of cases; in a loop `meet` holds that.
    """
    return parts.filled * inside * rate * waited / (1.0 + rate * waited)


def meanwhile_s(taken_s: Num, waits_s: Num) -> Num:
    """How much of what passes until a request is taken up passes while it waits for room: the lesser of both, waits
    being about exponential.

    >>> round(float(meanwhile_s(0.1, 0.1)), 4), round(float(meanwhile_s(0.1, 100.0)), 4)
    (0.0632, 0.1)
    """
    waits_s = num.maximum(waits_s, 1e-12)
    return waits_s * -num.expm1(-taken_s / waits_s)


def away_s(parts: Parts, decoding: Num, oneself: Num, shorter: Num, shortest: Num) -> Num:
    """How much sooner a token is answered while some are away from decode steps; ranks wait for the fullest of them.

    oneself: 1 while one waits, 0 where it is one's own token.
    """
    away = (1.0 - decoding) * num.maximum(parts.sequences - 1.0, 0.0) + oneself
    if in_step(parts.ranks):
        of_all = (1.0 - decoding) * parts.sequences
        least = largest_normal(parts.ranks) * num.sqrt(num.maximum(of_all, 0.0))
        away = num.where(parts.ranks > 1.0, num.maximum(of_all - least, 0.0), away)
    return num.minimum(away * shorter, shortest)


def looks_of(engine: EngineTime, parts: Parts, inside: Num, rest: Num) -> tuple[Num, Num]:
    """Tokens answered from one look to the next, and share of answers that go on beyond the next.

    Where they are shorter all end before it, and a server that answers nobody looks at once.
    """
    every = num.maximum(num.maximum(held_steps(engine, inside), parts.gathered), 1.0)
    every = every * accepted_tokens(engine.acceptance, engine.drafted)
    if not (any(steps > 0.0 for _, steps in engine.holds) or num.any(parts.gathered)):
        return every, 0.0
    return every, num.clip(rest / every - 1.0, 0.0, 1.0)


def between_looks_s(
    parts: Parts, load: Load, others: Num, e2e: Num, tokens: Num, every: Num, step: Num, inside: Num
) -> tuple[Num, Num]:
    """The wait for a look, with prompts met at it beyond those of a mean one; and prompts taken up there behind.

    others: who come, each once in e2e and no more than once in a round; tokens: answered while one waits, and `every`
    so many from look to look. Of more prompts than a pass takes, half are through before, half come while one is
    answered; but ranks that wait until each has a prompt take no more than a pass.
    """
    rate = others / num.maximum(e2e, every * step + others * inside)
    wait = polled_wait_s(rate, tokens, every, step, inside, 1.0 if load.kind == "open" else 0.0)
    more = polled_others(rate, every * step, inside)
    behind = 0.5 * num.maximum(1.0 + more - parts.most * parts.ranks, 0.0)
    whole = num.where(parts.gathered > 0.0, 0.0, inside)
    return wait + whole * (1.0 + more - behind - parts.met_all), whole * behind


def waiting_s(
    engine: EngineTime, parts: Parts, layout: ServeLayout, load: Load, others: Num, passes: Num, inside: Num, step: Num,
    e2e: Num,
) -> Num:
    """Until the prompts under way or before one's own are done; where the server looks for requests only now and then
    that is part of the wait for its next look, but for arrivals in bursts (Kingman 1961)."""
    looks: Num = float(any(steps > 0.0 for _, steps in engine.holds))
    if num.any(parts.gathered):
        looks = num.where(parts.gathered > 0.0, 1.0, looks)
    if load.kind == "closed":
        return (1.0 - looks) * engine.constants["meet"] * passes * num.minimum(others * passes / e2e, 1.0)
    bursts, rate = 0.5 * (load.arrival_cv**2 + 1.0), load.rate / layout.data * parts.ranks
    # A step that has no room for two takes one after another, each with what it answers; others take all who came.
    once = inside if parts.own_steps else inside + step
    single = num.minimum(service_wait_s(rate, once), gated_wait_s(rate, once))
    one = (parts.most < 2.0) & (parts.ranks <= 1.0)
    return num.where(one, single, gated_wait_s(rate, inside)) * (bursts - looks)
