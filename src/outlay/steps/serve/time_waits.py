"""What a request waits for before its first token, beside its own prompt."""

from __future__ import annotations

from typing import Any

import numpy as np

from outlay.physics.queueing import accepted_tokens, gated_wait_s, largest_normal
from outlay.steps.serve.inputs import ServeLayout
from outlay.steps.serve.time_inputs import EngineTime, Load, held_steps
from outlay.steps.serve.time_parts import Parts

Num = Any


def read_s(engine: EngineTime, load: Load) -> Num:
    """Host time to read a prompt's text: to tokenise it and to hand its tokens on."""
    return engine.constants["token_s"] * load.input


def let_pass(engine: EngineTime, inside: Num, gathered: Num = 0.0) -> Num:
    """Decode steps that requests are kept waiting as the server is set to, or until ranks take prompts up together:
    half of those between two looks."""
    return engine.constants["hold"] * held_steps(engine, inside) + 0.5 * gathered


def known(engine: EngineTime) -> Num:
    """Tokens answered until a server that schedules ahead knows of a request."""
    return engine.constants["wait"] * accepted_tokens(engine.acceptance, engine.drafted)


def held(engine: EngineTime, inside: Num, rest: Num, decoding: Num = 1.0, gathered: Num = 0.0) -> Num:
    """Tokens answered while it is held back, with `inside` in a replica that have `rest` tokens each to come.

    Nobody is held back longer than others are being answered, nor where there are none. decoding: their share;
    gathered: steps between two looks of ranks that wait for each other.
    """
    steps = np.minimum(let_pass(engine, inside, gathered), rest) * np.clip((inside - 1.0) * decoding, 0.0, 1.0)
    return steps * accepted_tokens(engine.acceptance, engine.drafted)


def taken_up(engine: EngineTime, inside: Num, rest: Num) -> Num:
    """Tokens answered until a request is taken up: until it is known, and as long as it is held back."""
    return known(engine) + held(engine, inside, rest)


def beside_s(parts: Parts, carried: Num, step: Num, passes: Num, others: Num, decoding: Num) -> Num:
    """What a prompt's own pass takes longer beside others: with a decode step, or with prompts taken up with it.

    carried: what the steps that carry it take longer.
    """
    answered = 0.0 if parts.own_steps else np.minimum(others * decoding, 1.0) * step
    return np.minimum(others, 1.0) * np.maximum(carried + answered - passes, 0.0)


def away_s(parts: Parts, decoding: Num, shorter: Num, shortest: Num) -> Num:
    """How much sooner a token is answered while some are away from decode steps; ranks wait for the fullest of them."""
    away = (1.0 - decoding) * parts.sequences
    if np.any(np.greater(parts.ranks, 1.0)):
        least = largest_normal(parts.ranks) * np.sqrt(np.maximum(away, 0.0))
        away = np.where(np.greater(parts.ranks, 1.0), np.maximum(away - least, 0.0), away)
    return np.minimum(away * shorter, shortest)


def waiting_s(
    engine: EngineTime, parts: Parts, layout: ServeLayout, load: Load, others: Num, passes: Num, inside: Num, e2e: Num
) -> Num:
    """Until the prompts under way or before one's own are done; where the server looks for requests only now and then
    that is part of the wait for its next look, but for arrivals in bursts (Kingman 1961)."""
    looks: Num = float(any(steps > 0.0 for _, steps in engine.holds))
    if np.any(parts.gathered):
        looks = np.where(np.greater(parts.gathered, 0.0), 1.0, looks)
    if load.kind == "closed":
        return (1.0 - looks) * engine.constants["meet"] * passes * np.minimum(others * passes / e2e, 1.0)
    bursts = 0.5 * (load.arrival_cv**2 + 1.0)
    return gated_wait_s(load.rate / layout.data * parts.ranks, inside) * (bursts - looks)
