"""What a request waits for before its first token, beside its own prompt."""

from __future__ import annotations

from typing import Any

import numpy as np

from outlay.physics.queueing import accepted_tokens
from outlay.steps.serve.inputs import ServeLayout
from outlay.steps.serve.time_inputs import EngineTime, Load, held_steps
from outlay.steps.serve.time_parts import Parts

Num = Any


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


def beside_s(parts: Parts, inside: Num, step: Num, passes: Num, others: Num, decoding: Num) -> Num:
    """What a prompt's own pass takes longer beside others: with a decode step, or with prompts taken up with it."""
    answered = 0.0 if parts.own_steps else np.minimum(others * decoding, 1.0) * step
    return np.minimum(others, 1.0) * np.maximum(inside * parts.met + answered - passes, 0.0)


def waiting_s(
    engine: EngineTime, layout: ServeLayout, load: Load, others: Num, passes: Num, inside: Num, e2e: Num
) -> Num:
    """Until the prompts under way or before one's own are done."""
    polled = any(steps > 0.0 for _, steps in engine.holds)  # waits for the next look
    if load.kind == "closed":
        if polled:
            return 0.0
        return engine.constants["meet"] * passes * np.minimum(others * passes / e2e, 1.0)
    # Steps L that serve all who came in the one before: L = step + N·S, N Poisson of mean r·L, so var L / E L =
    # r·S²/(1 - (r·S)²). One who comes falls into long ones more often: half of var L / E L is left of it beyond half of
    # a mean one, and r·S times it are others' prompts before one's own (of arrivals in bursts, Kingman 1961).
    busy = np.minimum(load.rate / layout.data * inside, 1.0 - 1e-6)
    wait = busy * inside * (0.5 + busy) / (1.0 - busy**2)
    return wait * (0.5 * (load.arrival_cv**2 + 1.0) - (1.0 if polled else 0.0))
