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
from outlay.steps.serve.time_waits import taken_up

Num = Any
HALVINGS = 24
STEPS = np.concatenate([np.geomspace(0.01, 0.5, 12), np.linspace(0.55, 1.0, 12)])  # of a replica's slots


class Prompts(Struct, frozen=True, eq=False):
    """A pool of prompts: a prompt alone, and prompts a second of one replica."""

    alone_s: Num
    each_per_s: Num

    def at(self, place: int) -> Prompts:
        """One of several layouts."""
        shape = np.broadcast_shapes(np.shape(self.alone_s), (1,))
        alone, each = (float(np.broadcast_to(value, shape)[place]) for value in (self.alone_s, self.each_per_s))
        return Prompts(alone, each)


class Answers(Struct, frozen=True, eq=False):
    """A pool of answers: requests inside one replica, and answered by it a second, as far as promises are kept."""

    inside: Num  # nan where even one is too slow
    each_per_s: Num
    token_s: Num  # then
    begun_s: Num  # then, from a computed prompt to its first token: moved and taken up
    alone_s: Num  # a token of one request
    begun_alone_s: Num
    by_slots: Num  # whether its slots, not a promise, are what ends it

    def at(self, place: int) -> Answers:
        """One of several layouts."""
        return Answers(float(self.inside[place]), float(self.each_per_s[place]), float(self.token_s[place]),
                       float(self.begun_s[place]), float(self.alone_s[place]), float(self.begun_alone_s[place]),
                       bool(self.by_slots[place]))

    @property
    def stay_s(self) -> Num:
        """Of a request in this pool (Little 1961)."""
        return self.inside / self.each_per_s


class Needs(Struct, frozen=True, eq=False):
    """Both pools under the promises of a load: how many of each a rate needs, and what so many take."""

    asked: Asked
    prompts: Prompts
    answers: Answers

    def wait_s(self, share: Num) -> Num:
        """What prompts may wait on average, where answers' replicas are so full: infinite where nothing is promised,
        nan where no pool of prompts keeps it."""
        bursts = 0.5 * (ARRIVALS[self.asked.arrivals] ** 2 + 1.0)  # of arrivals, over Poisson's (Kingman 1961)
        wait = self._slack_s() - share * (self.answers.begun_s - self.answers.begun_alone_s)
        return np.where(wait > 0.0, wait / max(bursts, 0.5), np.nan)

    def _slack_s(self) -> Num:
        """What a first token may take beyond that of one request alone, on average."""
        limit = self.asked.slo.get("ttft", math.inf)
        return (limit - self.prompts.alone_s - self.answers.begun_alone_s) / in_waits(self.asked.percentile)

    def replicas(self, rate_per_s: Num) -> tuple[Num, Num]:
        """Of each pool for so many requests a second; none where none are."""
        full = rate_per_s / self.answers.each_per_s
        second = np.maximum(np.ceil(full * (1.0 - 1e-9)), 1.0)
        # Where answers so full leave prompts no time at all, as many more of them that half of it is left.
        slower = np.maximum(self.answers.begun_s - self.answers.begun_alone_s, 1e-12)
        roomy = np.maximum(np.ceil(full / np.clip(0.5 * self._slack_s() / slower, 1e-6, 1.0)), second)
        second = np.where(np.isnan(self.wait_s(full / second)), roomy, second)
        wait = self.wait_s(rate_per_s / (self.answers.each_per_s * second))
        first = np.maximum(np.ceil(needed_per_s(rate_per_s, wait) / self.prompts.each_per_s * (1.0 - 1e-9)), 1.0)
        asks = np.greater(rate_per_s, 0.0)
        return np.where(asks, first, 0.0), np.where(asks, second, 0.0)

    def holds_per_s(self, prefill: float, decode: float) -> tuple[float, float]:
        """Requests a second that so many take: both, where prompts are what ends it (else inf), and answers alone."""
        second = float(self.answers.each_per_s) * decode

        def taken(rate: float) -> bool:
            wait = float(self.wait_s(rate / second))
            return not math.isnan(wait) and rate <= float(held_per_s(self.prompts.each_per_s * prefill, wait))

        if taken(second):
            return math.inf, second
        low, high = 0.0, second
        for _ in range(HALVINGS):
            middle = 0.5 * (low + high)
            low, high = (middle, high) if taken(middle) else (low, middle)
        return low, second

    @property
    def kept(self) -> bool:
        """Whether any load keeps the promises."""
        return bool(np.all(self.wait_s(0.0) > 0.0)) and bool(np.all(np.isfinite(self.answers.each_per_s)))


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
    return Prompts(*prompt_pool(arch, device, replace(side, replicas=1.0), _load(asked)))


def answers_of(
    arch: Architecture, device: TimeDevice, side: Side, asked: Asked, moved_bytes: Num, link_bytes_per_s: Num,
    first_s: float,
) -> Answers:
    """What one replica of a pool of answers does within the promises; side.layout and cache_tokens may hold arrays.

    first_s: the least time of a prompt, which a promise on the whole request leaves out of.
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
    token = np.broadcast_to(found["tpot_s"], many.size).reshape(many.shape) * side.slower
    waited = taken_up(side.engine, many.ravel(), max(asked.output - 1.0, 0.0))
    begun = moving + np.reshape(waited, many.shape) * token
    alone, token = token[0], token[1:]
    limit = min(asked.slo.get("tpot", math.inf), (asked.slo.get("e2e", math.inf) - first_s) / rest)
    late = alone + (token - alone) * in_steps(asked.percentile)
    most = _last_below(late, limit)
    inside, token_s, begun_s = _at(points, most), _at(token, most), _at(begun[1:], most)
    inside = np.where(alone <= limit, inside, np.nan)
    each = inside / (token_s * rest + begun_s)
    return Answers(inside, each, token_s, begun_s, alone, begun[0], most >= len(points) - 1)


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
    return Load("closed", asked.input, asked.output, 1.0, asked.rate, arrival_cv=ARRIVALS[asked.arrivals],
                spread=asked.output_lengths.spread)
