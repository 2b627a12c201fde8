"""How many replicas of a prompt pool and of an answer pool a load needs, so that what was promised is kept.

Prompts wait for one another before their pool: its size follows from the first token. Answers slow one another
within a replica: theirs follows from the further tokens. Numbers are floats or arrays of one shape.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from outlay.architecture import Architecture
from outlay.planner.capacity.rate import FULLEST, in_steps, in_waits
from outlay.resolve.workload import ARRIVALS, Asked
from outlay.steps.serve.pools import Side, prompt_pool, transfer_s
from outlay.steps.serve.time import serve_time
from outlay.steps.serve.time_inputs import Load, TimeDevice

Num = Any
STEPS = np.concatenate([np.geomspace(0.01, 0.5, 12), np.linspace(0.55, 1.0, 12)])  # of a replica's slots


class Prompts(Struct, frozen=True, eq=False):
    """A pool of prompts: a prompt alone, prompts a second of one replica, and the mean wait that is promised."""

    alone_s: Num
    each_per_s: Num
    wait_s: Num  # infinite where nothing is promised; not above zero where no pool keeps it

    def at(self, place: int) -> Prompts:
        """One of several layouts."""
        shape = np.broadcast_shapes(np.shape(self.alone_s), (1,))
        alone, each, wait = (float(np.broadcast_to(value, shape)[place])
                             for value in (self.alone_s, self.each_per_s, self.wait_s))
        return Prompts(alone, each, wait)

    def needed(self, rate_per_s: Num) -> Num:
        """Replicas for so many requests a second, not rounded."""
        return needed_per_s(rate_per_s, self.wait_s) / self.each_per_s

    def holds(self, replicas: Num) -> Num:
        """Requests a second that so many take."""
        return held_per_s(self.each_per_s * replicas, self.wait_s)


class Answers(Struct, frozen=True, eq=False):
    """A pool of answers: requests inside one replica, and answered by it a second, as far as promises are kept."""

    inside: Num  # nan where even one is too slow
    each_per_s: Num
    token_s: Num  # then; the move of the prompt's cache in it
    alone_s: Num  # of one request
    by_slots: Num  # whether its slots, not a promise, are what ends it

    def at(self, place: int) -> Answers:
        """One of several layouts."""
        return Answers(float(self.inside[place]), float(self.each_per_s[place]), float(self.token_s[place]),
                       float(self.alone_s[place]), bool(self.by_slots[place]))

    def needed(self, rate_per_s: Num) -> Num:
        """Replicas for so many requests a second, not rounded."""
        return rate_per_s / self.each_per_s


def needed_per_s(rate_per_s: Num, wait_s: Num) -> Num:
    """Prompts a second a pool must be able to take so that these wait no longer on average.

    The wait of constant service with Poisson arrivals (Pollaczek 1930), solved for the service: of capacity C at
    rate R it is R/(2C(C - R)). Ten a second, and half a tenth of a second to wait:

    >>> round(float(needed_per_s(10.0, 0.05)), 3), round(10.0 / (2 * 16.18 * (16.18 - 10.0)), 3)
    (16.18, 0.05)
    """
    return np.maximum(0.5 * (rate_per_s + np.sqrt(rate_per_s**2 + 2.0 * rate_per_s / wait_s)), rate_per_s / FULLEST)


def held_per_s(capacity_per_s: Num, wait_s: Num) -> Num:
    """Requests a second that a pool takes while its prompts wait no longer on average.

    >>> round(float(held_per_s(16.18, 0.05)), 2)
    10.0
    """
    return np.minimum(capacity_per_s**2 / (capacity_per_s + 0.5 / wait_s), FULLEST * capacity_per_s)


def prompts_of(arch: Architecture, device: TimeDevice, side: Side, asked: Asked) -> Prompts:
    """What one replica of a pool of prompts does; side.layout may hold arrays."""
    alone, each = prompt_pool(arch, device, replace(side, replicas=1.0), _load(asked))
    limit = asked.slo.get("ttft", math.inf)
    bursts = 0.5 * (ARRIVALS[asked.arrivals] ** 2 + 1.0)  # of arrivals, over Poisson's (Kingman 1961)
    slack = np.maximum(limit - alone, 0.0) / in_waits(asked.percentile) / max(bursts, 0.5)
    return Prompts(alone, each, np.where(limit >= alone, np.maximum(slack, 1e-9), np.nan))


def answers_of(
    arch: Architecture, device: TimeDevice, side: Side, asked: Asked, moved_bytes: Num, link_bytes_per_s: Num,
    first_s: float,
) -> Answers:
    """What one replica of a pool of answers does within the promises; side.layout and cache_tokens may hold arrays.

    first_s: the least time to the first token, which a promise on the whole request leaves out of.
    """
    rest = max(asked.output - 1.0, 1.0)
    moving = transfer_s(moved_bytes, link_bytes_per_s)
    shape = np.broadcast_shapes(np.shape(side.layout.tensor), np.shape(side.cache_tokens), (1,))
    load = replace(_load(asked), cache_tokens=side.cache_tokens, pool="decode")
    slots = np.broadcast_to(
        serve_time(arch, device, side.engine, side.layout, replace(load, kind="queued"))["running"], shape)
    points = np.maximum(STEPS[:, None] * slots, 1.0)
    many = np.concatenate([np.ones((1, *shape)), points])
    tensor, expert, data, context = (np.broadcast_to(degree, many.shape).ravel() for degree in (
        side.layout.tensor, side.layout.expert, side.layout.data, side.layout.context))
    wide = replace(side.layout, tensor=tensor, expert=expert, data=data, context=context)
    cache = np.broadcast_to(side.cache_tokens, many.shape).ravel()
    found = serve_time(arch, device, side.engine, wide,
                       replace(load, kind="closed", concurrency=many.ravel(), cache_tokens=cache))
    token = np.broadcast_to(found["tpot_s"], many.size).reshape(many.shape) + moving / rest
    alone, token = token[0], token[1:]
    limit = min(asked.slo.get("tpot", math.inf), (asked.slo.get("e2e", math.inf) - first_s) / rest)
    late = alone + (token - alone) * in_steps(asked.percentile)
    most = _last_below(late, limit)
    inside, token_s = _at(points, most), _at(token, most)
    inside = np.where(alone <= limit, inside, np.nan)
    return Answers(inside, inside / (token_s * rest), token_s, alone, most >= len(points) - 1)


def _last_below(values: Num, limit: float) -> Num:
    """By column, the place, a fraction of a row within it, up to which growing values stay below a limit."""
    below = np.logical_and.accumulate(values <= limit, axis=0)
    last = below.sum(axis=0) - 1
    column = np.arange(values.shape[1])
    here, after = (values[np.clip(row, 0, len(values) - 1), column] for row in (last, last + 1))
    part = np.where(after > here, (limit - here) / np.maximum(after - here, 1e-300), 0.0)
    return np.where(last >= len(values) - 1, float(len(values) - 1), last + np.clip(part, 0.0, 1.0))


def _at(values: Num, place: Num) -> Num:
    """By column, the value at a place between rows."""
    column = np.arange(values.shape[1])
    low = np.clip(np.floor(place).astype(int), 0, len(values) - 1)
    high = np.minimum(low + 1, len(values) - 1)
    return values[low, column] + np.maximum(place - low, 0.0) * (values[high, column] - values[low, column])


def _load(asked: Asked) -> Load:
    return Load("closed", asked.input, asked.output, 1.0, asked.rate, arrival_cv=ARRIVALS[asked.arrivals])
