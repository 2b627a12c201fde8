"""Requests: when they come, how long they are, which prefixes they share; in batches, so that any number passes.

Everything random is a pure function of the seed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from msgspec import Struct, field
from numpy.typing import NDArray

from outlay.errors import BadValue, Inconsistent, UnknownName, suggestion
from outlay.resolve.lengths import Lengths

ROWS = 65536  # of a batch
IN_A_BURST = 20.0  # requests on average, where no length of bursts is given
KINDS = ("poisson", "gamma", "bursty", "diurnal", "even", "all_at_once", "closed")


class Batch(Struct, frozen=True, eq=False):
    """Requests in the order they come. prefix_ids are those of all requests one after another, prefix_counts each."""

    arrival_s: NDArray[np.float64]
    input_tokens: NDArray[np.int64]
    output_tokens: NDArray[np.int64]
    prefix_counts: NDArray[np.int64]
    prefix_ids: NDArray[np.int64]


def batch(arrival_s: Any, input_tokens: Any, output_tokens: Any, counts: Any = None, ids: Any = ()) -> Batch:
    times = np.asarray(arrival_s, dtype=np.float64)
    return Batch(times, np.asarray(input_tokens, dtype=np.int64), np.asarray(output_tokens, dtype=np.int64),
                 np.zeros(len(times), dtype=np.int64) if counts is None else np.asarray(counts, dtype=np.int64),
                 np.asarray(ids, dtype=np.int64))


class Arrivals(Struct, frozen=True):
    """When requests come.

    poisson; gamma: times between them of a coefficient of variation cv; bursty: two Poisson rates in turn (a
    Markov-modulated process), `burst` times the mean for a share of the time, burst_s on average or as long as
    twenty requests take to come in one; diurnal: a rate
    that swings by `swing` around its mean once in period_s; even: equal gaps; all_at_once; closed: `concurrency`
    requests are kept inside, the next coming think_s after one ends.
    """

    kind: str = "poisson"
    rate: float = 1.0
    cv: float = 1.0
    burst: float = 5.0
    burst_share: float = 0.1
    burst_s: float | None = None
    swing: float = 0.5
    period_s: float = 86400.0
    concurrency: int = 0
    think_s: float = 0.0

    def __post_init__(self) -> None:
        at = "serve.workload.arrivals"
        if self.kind not in KINDS:
            raise UnknownName(f"{at}: {self.kind!r} is none of {', '.join(KINDS)}{suggestion(self.kind, KINDS)}", at)
        if self.kind == "closed" and self.concurrency < 1:
            raise BadValue("serve.workload.concurrency: at least 1", "serve.workload.concurrency")
        if self.kind not in ("closed", "all_at_once") and not 0 < self.rate < math.inf:
            raise BadValue(f"serve.workload.rate: {self.rate:g} is not above 0 and finite", "serve.workload.rate")
        if self.kind == "bursty" and not (0 < self.burst_share < 1 and self.burst * self.burst_share <= 1):
            raise Inconsistent(f"{at}: {self.burst:g} times the mean rate for {self.burst_share:.0%} of the time are "
                               "more than all requests", at)
        if self.kind == "gamma" and not self.cv > 0:
            raise BadValue(f"{at}: cv {self.cv:g} is not above 0", at)
        if self.kind == "diurnal" and not 0 <= self.swing <= 1:
            raise BadValue(f"{at}: a swing of {self.swing:g} is not between 0 and 1", at)


class Prefixes(Struct, frozen=True):
    """Prefixes requests share: each begins with one of `groups`, `tokens` long."""

    groups: int
    tokens: int


class Synthetic(Struct, frozen=True):
    """Requests drawn from distributions."""

    arrivals: Arrivals
    input: Lengths
    output: Lengths
    requests: int
    prefixes: Prefixes | None = None
    prefix_tokens: int = 512  # of one prefix block
    notes: tuple[str, ...] = ()

    @property
    def closed(self) -> tuple[int, float]:
        closed = self.arrivals.kind == "closed"
        return (self.arrivals.concurrency, self.arrivals.think_s) if closed else (0, 0.0)

    def batches(self, seed: int, notes: list[str]) -> Iterator[Batch]:
        """Batches of requests; the same for the same seed."""
        times = arrival_times(self.arrivals, np.random.default_rng([seed, 0]))
        lengths, kinds = np.random.default_rng([seed, 1]), np.random.default_rng([seed, 2])
        left = self.requests
        while left > 0:
            rows = min(ROWS, left)
            left -= rows
            inputs, outputs = draw(self.input, rows, lengths), draw(self.output, rows, lengths)
            arrivals = times(rows)
            if self.prefixes is None:
                yield batch(arrivals, inputs, outputs)
                continue
            each = self.prefixes.tokens // self.prefix_tokens
            counts = np.minimum(inputs // self.prefix_tokens, each)
            group = kinds.integers(self.prefixes.groups, size=rows)
            within = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
            yield batch(arrivals, inputs, outputs, counts, np.repeat(group, counts) * each + within)


class Given(Struct, frozen=True, eq=False):
    """Requests at hand, in the order they come."""

    requests: Batch
    prefix_tokens: int = 512
    closed: tuple[int, float] = (0, 0.0)
    notes: tuple[str, ...] = field(default=())

    def batches(self, seed: int, notes: list[str]) -> Iterator[Batch]:
        yield self.requests


def draw(lengths: Lengths, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Whole tokens, at least one each."""
    if lengths.constant:
        return np.full(count, max(1, round(lengths.mean)), dtype=np.int64)
    if lengths.values:
        shares = np.asarray(lengths.weights) / sum(lengths.weights) if lengths.weights else None
        found = rng.choice(np.asarray(lengths.values), size=count, p=shares)
    elif lengths.even:
        found = rng.uniform(lengths.low - 0.5, lengths.high + 0.5, count)
    else:
        spread = math.sqrt(math.log1p(lengths.cv**2))
        found = np.exp(rng.normal(math.log(lengths.mean) - 0.5 * spread**2, spread, count))
    high = min(lengths.high, 1e9)
    whole: NDArray[np.int64] = np.clip(np.rint(found), max(lengths.low, 1.0), high).astype(np.int64)
    return whole


def arrival_times(arrivals: Arrivals, rng: np.random.Generator) -> Any:
    """A function of how many more times are wanted; it goes on where it left off."""
    kind, rate = arrivals.kind, arrivals.rate
    if kind in ("closed", "all_at_once"):
        return np.zeros
    if kind == "diurnal":
        return _Thinned(arrivals, rng)
    if kind == "bursty":
        return _Switched(arrivals, rng)
    shape = arrivals.cv**-2 if kind == "gamma" else 1.0

    def gaps(count: int) -> NDArray[np.float64]:
        if kind == "even":
            return np.full(count, 1.0 / rate)
        return rng.gamma(shape, 1.0 / (rate * shape), count)

    return _Summed(gaps)


class _Summed:
    """Times from gaps."""

    def __init__(self, gaps: Any) -> None:
        self.gaps, self.last = gaps, 0.0

    def __call__(self, count: int) -> NDArray[np.float64]:
        times: NDArray[np.float64] = self.last + np.cumsum(self.gaps(count))
        self.last = float(times[-1])
        return times


class _Thinned:
    """A daily swing by thinning (Lewis and Shedler 1979): candidates at the highest rate, kept by the rate then."""

    def __init__(self, arrivals: Arrivals, rng: np.random.Generator) -> None:
        self.of, self.rng, self.last = arrivals, rng, 0.0
        self.held: NDArray[np.float64] = np.zeros(0)

    def __call__(self, count: int) -> NDArray[np.float64]:
        top = 1.0 + self.of.swing
        while len(self.held) < count:
            times = self.last + np.cumsum(self.rng.exponential(1.0 / (self.of.rate * top), 4096))
            self.last = float(times[-1])
            now = 1.0 + self.of.swing * np.sin(2.0 * np.pi * times / self.of.period_s)
            self.held = np.concatenate([self.held, times[self.rng.uniform(size=4096) * top < now]])
        found, self.held = self.held[:count], self.held[count:]
        return found


class _Switched:
    """Two Poisson rates in turn, each for an exponential time."""

    def __init__(self, arrivals: Arrivals, rng: np.random.Generator) -> None:
        share, burst = arrivals.burst_share, arrivals.burst
        self.rates = (arrivals.rate * (1.0 - burst * share) / (1.0 - share), arrivals.rate * burst)
        each = arrivals.burst_s or IN_A_BURST / (arrivals.rate * burst)
        self.stay = (each * (1.0 - share) / share, each)
        self.rng, self.last, self.state = rng, 0.0, int(rng.uniform() < share)
        self.held: NDArray[np.float64] = np.zeros(0)

    def __call__(self, count: int) -> NDArray[np.float64]:
        parts, have = [self.held], len(self.held)
        while have < count:
            length = self.rng.exponential(self.stay[self.state])
            number = self.rng.poisson(length * self.rates[self.state])
            parts.append(self.last + np.sort(self.rng.uniform(0.0, length, number)))
            have += number
            self.last += length
            self.state = 1 - self.state
        times = np.concatenate(parts)
        found, self.held = times[:count], times[count:]
        return found
