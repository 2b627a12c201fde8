"""A cache with less room than is asked for: how many run at once, who waits, and what is computed again."""

from __future__ import annotations

import math
from typing import Any

from msgspec import Struct

from outlay.physics import num
from outlay.physics.queueing import short_of
from outlay.steps.serve.inputs import ServeLayout
from outlay.steps.serve.time_inputs import EngineTime, Load

Num = Any


class Room(Struct, frozen=True, eq=False):
    """What runs at once on an attention rank; how many wait for room, over those; prompt tokens computed again, over
    those that come; and the share of the wait for room that falls between a request's own tokens, since it gave way
    after its first."""

    running: Num
    waiting: Num = 0.0
    again: Num = 0.0
    between: Num = 0.0


def room_of(engine: EngineTime, layout: ServeLayout, load: Load) -> Room:
    """A cache is full whenever those inside would hold more than it: on average the room that the first in line lacks
    is left, and how many fit swings with how much each of them has answered."""
    most = load.requests if load.kind == "queued" else load.concurrency
    wanted = num.minimum(num.maximum(most / layout.data, 1.0 if load.kind == "queued" else 1.0 / layout.data),
                        engine.max_num_seqs)
    if isinstance(load.cache_tokens, float) and math.isinf(load.cache_tokens):
        return Room(wanted, num.maximum(most / layout.data / wanted - 1.0, 0.0))
    held = engine.held(load.input, load.output, load.spread)
    first = load.input + engine.reserve * load.output
    room = num.maximum((load.cache_tokens / layout.data - 0.5 * first) / held, 1.0)
    deviation = num.sqrt(room) * _swing(engine, load) / held
    full, waits = short_of(wanted, room, deviation)
    running = num.maximum(wanted - waits, num.minimum(wanted, 1.0))
    waiting = num.maximum(most / layout.data - running, 0.0)
    # What running requests write goes before who waits (vLLM's scheduler): in a full cache others give way to it only
    # where fewer requests end in a step than usual, and that much is computed again. Of what is kept free for it: a
    # share of all that is to come, what is written from one end to the next about exponential.
    ends, freed = room / load.output, 1.0 + load.input / load.output  # in a step; what they free over what it writes
    _, lacking = short_of(1.0, freed, freed / num.sqrt(ends))
    lacking = num.where(ends < freed, num.exp(-ends), lacking)  # one end is then enough
    anew = load.output * full * lacking * num.exp(-0.5 * engine.reserve * room * (1.0 + load.spread**2))
    each = load.input + load.output * deviation / room  # of one that gives way
    own = num.maximum(load.input * (1.0 - engine.prefix_hit), 1.0)
    # A queue of those that gave way, which answers fill and ends empty (Kingman 1961), as far as there are any waiting.
    gave = 0.5 * anew / each * (1.0 + load.output / load.input)
    return Room(running, waiting / running, anew / own, gave / num.maximum(gave + waiting, 1e-9))


def _swing(engine: EngineTime, load: Load) -> Num:
    """Deviation of what a running request has set aside in the cache: its prompt, what it has answered and the share
    kept for the rest.

    Long answers are met more often, each anywhere: of log-normal lengths E[L³]/E[L] = O²·(1 + s²)³.
    """
    longer = 1.0 + load.spread**2
    mean, evenly = 0.25 * (1.0 + engine.reserve) ** 2, (1.0 - engine.reserve) ** 2 / 12.0
    return load.output * longer * num.sqrt(num.maximum(longer * (mean + evenly) - mean, 0.0))
