"""What a request waits for before its first token, beside its own prompt."""

from __future__ import annotations

from typing import Any

import numpy as np

from outlay.physics.queueing import accepted_tokens, gated_wait_s
from outlay.steps.serve.inputs import ServeLayout
from outlay.steps.serve.time_inputs import EngineTime, Load, held_steps
from outlay.steps.serve.time_parts import Parts

Num = Any


def read_s(engine: EngineTime, load: Load) -> Num:
    """Host time to read a prompt's text: to tokenise it and to hand its tokens on."""
    return engine.constants["token_s"] * load.input


def let_pass(engine: EngineTime, inside: Num) -> Num:
    """Decode steps that requests are kept waiting as the server is set to."""
    return engine.constants["hold"] * held_steps(engine, inside)


def held_back(engine: EngineTime, layout: ServeLayout, inside: Num) -> Num:
    """Decode steps that requests are kept waiting on purpose: as the server is set to, or until attention ranks take
    prompts up together."""
    ranks = np.where(np.greater(layout.data, 1), engine.constants["wait_ranks"], 0.0)
    return let_pass(engine, inside) + ranks


def known(engine: EngineTime) -> Num:
    """Tokens answered until a server that schedules ahead knows of a request."""
    return engine.constants["wait"] * accepted_tokens(engine.acceptance, engine.drafted)


def held(engine: EngineTime, layout: ServeLayout, inside: Num, rest: Num, decoding: Num = 1.0) -> Num:
    """Tokens answered while it is held back, with `inside` in a replica that have `rest` tokens each to come.

    Nobody is held back longer than others are being answered, nor where there are none. decoding: their share.
    """
    steps = np.minimum(held_back(engine, layout, inside), rest) * np.clip((inside - 1.0) * decoding, 0.0, 1.0)
    return steps * accepted_tokens(engine.acceptance, engine.drafted)


def taken_up(engine: EngineTime, layout: ServeLayout, inside: Num, rest: Num) -> Num:
    """Tokens answered until a request is taken up: until it is known, and as long as it is held back."""
    return known(engine) + held(engine, layout, inside, rest)


def beside_s(parts: Parts, inside: Num, step: Num, passes: Num, others: Num, decoding: Num) -> Num:
    """What a prompt's own pass takes longer beside others: with a decode step, or with prompts taken up with it."""
    answered = 0.0 if parts.own_steps else np.minimum(others * decoding, 1.0) * step
    return np.minimum(others, 1.0) * np.maximum(inside * parts.met + answered - passes, 0.0)


def waiting_s(
    engine: EngineTime, layout: ServeLayout, load: Load, others: Num, passes: Num, inside: Num, e2e: Num
) -> Num:
    """Until the prompts under way or before one's own are done; where the server looks for requests only now and then
    that is part of the wait for its next look, but for arrivals in bursts (Kingman 1961)."""
    looks = any(steps > 0.0 for _, steps in engine.holds)
    if load.kind == "closed":
        return 0.0 if looks else engine.constants["meet"] * passes * np.minimum(others * passes / e2e, 1.0)
    bursts = 0.5 * (load.arrival_cv**2 + 1.0)
    return gated_wait_s(load.rate / layout.data, inside) * (bursts - (1.0 if looks else 0.0))
