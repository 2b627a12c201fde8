"""Waiting, and how many tokens and experts a step of continuous batching takes."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

from outlay.physics import num

Value = Any  # float or array

# Half of the nine-point Gauss-Hermite rule for a standard normal: nodes and weights, zero first.
_RULE = (
    (0, 0.406349206349),
    (1.02325566379, 0.244097502895),
    (2.07684797868, 0.0499164067652),
    (3.20542900286, 0.00278914132123),
    (4.5127458634, 2.23458440077e-05),
)
LONG_ROUNDS = 4  # of the fixed point between how many rounds serve and how many come in them
FAR_MEAN = 16.0  # of a Poisson number, from which on its largest grows as that of a normal one
_NORMAL = (*_RULE, *((-node, weight) for node, weight in _RULE[1:]))


def request_s(first_s: Value, token_s: Value, output: Value) -> Value:
    """A whole request: its first token, and each further one of `output`, which one token has none of.

    >>> round(request_s(0.2, 0.02, 101.0), 3), request_s(0.2, math.inf, 1.0)
    (2.2, 0.2)
    """
    further = num.maximum(output - 1.0, 0.0)
    return first_s + num.where(further > 0.0, token_s, 0.0) * further


def service_wait_s(rate_per_s: Value, service_s: Value, service_cv: Value = 0.0) -> Value:
    """Mean wait before service with Poisson arrivals and one server; infinite from saturation on.

    W = (1 + c²)/2 · ρ·S/(1 - ρ) (Pollaczek 1930, Khinchine 1932). Half loaded and of constant length, half a
    service:

    >>> float(service_wait_s(0.5, 1.0))
    0.5
    """
    load = rate_per_s * service_s
    below = num.minimum(load, 1.0 - 1e-12)
    wait = 0.5 * (1.0 + service_cv**2) * below * service_s / (1.0 - below)
    return num.where(load < 1.0, wait, np.inf)


def gated_wait_s(rate_per_s: Value, service_s: Value) -> Value:
    """Mean wait for a server whose rounds serve all who came in the one before, beyond half of a mean round.

    Rounds L = base + N·S, N Poisson of mean r·L, have var L / E L = r·S²/(1 - (r·S)²). One who comes falls into long
    ones more often: half of that is left of the round under way, and r·S times it are others' services before one's
    own. Ten a second of 20 ms each:

    >>> round(float(gated_wait_s(10.0, 0.020)), 5)
    0.00292
    """
    load = num.minimum(rate_per_s * service_s, 1.0 - 1e-6)
    return load * service_s * (0.5 + load) / (1.0 - load**2)


def polled_wait_s(
    rate_per_s: Value, steps: Value, every: Value, step_s: Value, service_s: Value, any_time: Value = 1.0
) -> Value:
    """Mean time until a server that looks for requests every so many steps takes one up, after `steps` on average.

    At a look come services of all whom it finds: they take the share q = r·S of the time, P = q/(1 - q) of a round's
    steps. One who comes between services waits for those of a round in (steps - every/2)/every of cases; one who comes
    within them for half of what he falls into, (S + P)/2, and for all steps of a round. any_time: 0 where all come
    between services. Five a second of 20 ms each, a look every ten steps of 10 ms, ten waited for:

    >>> round(float(polled_wait_s(5.0, 10.0, 10.0, 0.010, 0.020)), 4)
    0.1066
    """
    busy, whole = num.minimum(rate_per_s * service_s, 1.0 - 1e-6), every * step_s
    services = whole * busy / (1.0 - busy)
    between, within = steps * step_s + num.maximum(steps / every - 0.5, 0.0) * services, busy * any_time
    return (1.0 - within) * between + within * (0.5 * (service_s + services) + whole)


def polled_others(rate_per_s: Value, every_s: Value, service_s: Value) -> Value:
    """How many others are taken up with one at such a look: who come in a round as one sees it.

    Rounds are every/(1 - q) long, and one falls into long ones more often: r·S²/(1 - q²) more (`gated_wait_s`). Five a
    second of 20 ms each, a look every 100 ms:

    >>> round(float(polled_others(5.0, 0.1, 0.020)), 3)
    0.566
    """
    busy = num.minimum(rate_per_s * service_s, 1.0 - 1e-6)
    return rate_per_s * (every_s / (1.0 - busy) + service_s * busy / (1.0 - busy**2))


def batch_wait_s(rate_per_s: Value, service_s: Value) -> Value:
    """Mean wait for a server that takes all who wait at once: the rest of the service under way.

    It is busy S/(S + e^(-rS)/r) of the time, and found half way through. Ten a second of 20 ms each:

    >>> round(float(batch_wait_s(10.0, 0.020)), 5)
    0.00196
    """
    often = rate_per_s * service_s
    return 0.5 * service_s * often / (often + num.exp(-often))


def at_least_one(mean: Value) -> Value:
    """Mean of a Poisson number where it is not zero: m/(1 - e^-m).

    >>> round(float(at_least_one(0.0)), 3), round(float(at_least_one(1.0)), 3)
    (1.0, 1.582)
    """
    some = num.maximum(mean, 1e-9)
    return some / -num.expm1(-some)


def in_long_rounds(mean: Value, longer: Value) -> Value:
    """How many others one meets in a round that serves all who came in the one before, as Poisson arrivals in time.

    mean: that come in a mean round. Rounds that serve any are longer, by `longer` of an empty one, and more come in
    them: a round is after an empty one or after one that served, in which x or (1 + longer)·x come. Where rounds are
    equally long that is the mean itself:

    >>> round(float(in_long_rounds(0.3, 0.0)), 3), round(float(in_long_rounds(0.163, 19.0)), 2)
    (0.3, 1.11)
    """
    serving = -num.expm1(-mean)
    empty: Value = mean
    for _ in range(LONG_ROUNDS):
        empty = mean / (1.0 + serving * longer)
        after_empty, after_served = -num.expm1(-empty), -num.expm1(-empty * (1.0 + longer))
        serving = after_empty / num.maximum(1.0 + after_empty - after_served, 1e-12)
    often = (1.0 - serving) * empty**2 + serving * (empty * (1.0 + longer)) ** 2
    return often / num.maximum((1.0 - serving) * empty + serving * empty * (1.0 + longer), 1e-12)


def fullest(mean: Value, groups: Value) -> tuple[Value, Value]:
    """The largest of `groups` Poisson numbers of a mean: where not all are zero, and where one of them has one more.

    Of one group that is m/(1 - e^-m) and 1 + m. The first sums how likely more than j are on any, 1 - F(j)^groups;
    beyond FAR_MEAN both take Cramér's normal. Eight groups, a tenth of a prompt each:

    >>> [round(float(each), 3) for each in fullest(0.1, 8.0)], [round(float(each), 1) for each in fullest(2.0, 1.0)]
    ([1.069, 1.13], [2.3, 3.0])
    """
    some = num.maximum(mean, 1e-6)
    near = num.minimum(some, FAR_MEAN)
    shape = np.broadcast_shapes(np.shape(some), np.shape(groups))
    most = float(np.max(near))
    counts = np.arange(math.ceil(most + 6.0 * math.sqrt(most)) + 3).reshape(-1, *(1,) * len(shape))
    steps = np.divide(near, num.maximum(counts, 1.0))
    steps[0] = num.exp(-near)
    below = num.minimum(np.cumsum(np.cumprod(steps, axis=0), axis=0), 1.0)  # at most so many, in one group
    others = below ** (groups - 1.0)
    any_ = np.sum(1.0 - others * below, axis=0) / -num.expm1(-groups * near)
    own = 1.0 + np.sum(1.0 - others[1:] * below[:-1], axis=0)
    far = some - near + (num.sqrt(some) - num.sqrt(near)) * num.where(groups > 1.0, largest_normal(groups), 0.0)
    return any_ + far, own + far


def gathered(rate: Value, groups: Value, most: Value, empty: Value = 1.0) -> Value:
    """Steps until each of `groups` has one of what comes to it at a rate a step, or `most` have passed.

    empty: how likely a group has none left over to begin with. The mean of the lesser of both: the integral of
    1 - (1 - empty·e^-rt)^groups, H_groups/r where all are empty and there is no `most`:

    >>> round(float(gathered(0.01, 8.0, 1e6)), 1), round(float(gathered(0.001, 8.0, 60.0)), 1)
    (271.8, 60.0)
    """
    often = num.maximum(rate, 1e-9)
    end, start = 1.0 - empty * num.exp(-often * most), 1.0 - empty
    total: Value = 0.0
    late: Value = 1.0
    early: Value = 1.0
    for k in range(1, int(np.max(groups)) + 1):
        late, early = late * end, early * start
        total = total + num.where(groups >= k, (late - early) / k, 0.0)
    return total / often


def left_over(load: Value, places: Value, sources: Value = np.inf) -> Value:
    """Mean number left when rounds of equal length each serve up to `places` of those who came by chance.

    What is left follows the recursion of a queue with so many servers and a constant time of service (Crommelin 1932),
    whose mean is about load^sqrt(2(c + 1))/(1 - load) (Sakasegawa 1977), and half of that as service does not vary.
    One place is exact: load²/(2(1 - load)). Of so many `sources` each comes once in a turn: a queue then is longer than
    x as often as e^(-2x²/n - 2x(1 - load)), not e^(-2x(1 - load)) (COST 242, 1996), and its mean shorter by
    √π·u·erfcx(u) at u = (1 - load)·sqrt(n/2), which Abramowitz and Stegun's 7.1.13 bounds closely.

    >>> round(left_over(0.8, 1.0), 3), round(left_over(0.8, 4.0), 3), round(left_over(0.8, 1.0, 16.0), 3)
    (1.6, 1.234, 0.99)
    """
    busy = num.minimum(load, 0.99)
    apart = (1.0 - busy) * num.sqrt(0.5 * num.minimum(sources, 1e12))
    shorter = 2.0 * apart / (apart + num.sqrt(apart**2 + 4.0 / math.pi))
    return 0.5 * shorter * busy ** num.sqrt(2.0 * (places + 1.0)) / (1.0 - busy)


def none_empty(mean: Value, groups: Value) -> Value:
    """How likely none of `groups` is empty that hold a Poisson number of a mean each, dealt to the emptiest.

    All would hold some where there are as many as groups, if they left as evenly as they come; if each group were by
    itself, in (1 - e^-m)^groups of cases. They leave by chance: half way between both.

    >>> round(float(none_empty(1.0, 2.0)), 4), float(none_empty(1e6, 8.0))
    (0.4968, 1.0)
    """
    total = mean * groups
    term = num.exp(-total)
    fewer: Value = 0.0
    for k in range(int(np.max(groups))):
        fewer = fewer + num.where(groups > k, term, 0.0)
        term = term * total / (k + 1.0)
    return 0.5 * (num.clip(1.0 - fewer, 0.0, 1.0) + (-num.expm1(-mean)) ** groups)


def in_flight(rate_per_s: Value, time_s: Value) -> Value:
    """How many are inside: arrivals times the time each stays (Little 1961).

    >>> in_flight(4.0, 2.5)
    10.0
    """
    return rate_per_s * time_s


def experts_touched(experts: Value, per_token: Value, tokens: Value, spread: Value = 0.0) -> Value:
    """Experts whose weights a step reads: E · mean over popularities w of 1 - (1 - k·w/E)^tokens.

    Popularities are log-normal with mean one and `spread` the deviation of their logarithm; 0 is uniform
    routing, E(1 - (1 - k/E)^B). Eight of 256 for 32 tokens:

    >>> round(float(experts_touched(256, 8, 32)), 1), round(float(experts_touched(256, 8, 32, 1.0)), 1)
    (163.3, 125.7)
    """
    total: Value = 0.0
    plain = all(isinstance(each, (float, int)) for each in (experts, per_token, spread))
    for weight, log_missed in (_missed_once if plain else _missed)(experts, per_token, spread):
        total = total + weight * -num.expm1(tokens * log_missed)
    return num.clip(experts * total, num.minimum(per_token, experts), experts)


def _missed(experts: Value, per_token: Value, spread: Value) -> list[tuple[float, Value]]:
    """Of each popularity its weight, and the logarithm of how likely one token passes such an expert by."""
    popularity = [num.exp(spread * node - 0.5 * spread**2) for node, _ in _NORMAL]
    shares = [num.minimum(per_token * each / experts, 1.0 - 1e-12) for each in popularity]
    return [(weight, num.log1p(-share)) for (_, weight), share in zip(_NORMAL, shares, strict=True)]


_missed_once = lru_cache(maxsize=256)(_missed)  # a model's router is asked again at every number of tokens


def busiest_rank(experts: Value, ranks: Value, spread: Value) -> Value:
    """Tokens of the busiest of `ranks` that share the experts, over the mean: the others wait for it.

    A rank's share is the mean of E/R popularities, log-normal with variance exp(s²) - 1; the largest of R normal
    draws lies about sqrt(2 ln R) - (ln ln R + ln 4π)/(2 sqrt(2 ln R)) deviations out (Cramér 1946, 28.6), held
    from below by the exact 1/sqrt(π) of two. 256 experts over 32 ranks:

    >>> round(float(busiest_rank(256.0, 1.0, 0.8)), 2), round(float(busiest_rank(256.0, 32.0, 0.8)), 2)
    (1.0, 1.64)
    """
    held = num.maximum(experts / num.maximum(ranks, 1.0), 1.0)
    deviation = num.sqrt(num.expm1(spread**2) / held)
    return num.where(ranks > 1.0, 1.0 + deviation * largest_normal(ranks), 1.0)


def largest_normal(count: Value) -> Value:
    """How many deviations the largest of `count` normal draws lies out (Cramér 1946, 28.6); 1/sqrt(π) of two.

    >>> round(float(largest_normal(2.0)), 2), round(float(largest_normal(32.0)), 2)
    (0.56, 1.92)
    """
    log = num.log(num.maximum(count, 2.0))
    root = num.sqrt(2.0 * log)
    return num.maximum(root - (num.log(log) + math.log(4.0 * math.pi)) / (2.0 * root), 1.0 / math.sqrt(math.pi))


def busiest_touched(touched: Value, experts: Value, ranks: Value) -> Value:
    """Experts that the busiest of `ranks` reads, of so many `touched` on all of them.

    Few of a rank's experts are touched by chance: their number is about binomial, and the others wait for the rank
    with most. Sixty-four of 256 experts, on one rank and on the busiest of eight:

    >>> round(float(busiest_touched(64.0, 256.0, 1.0)), 1), round(float(busiest_touched(64.0, 256.0, 8.0)), 1)
    (64.0, 11.0)
    """
    mean = touched / ranks
    deviation = num.sqrt(num.maximum(mean * (1.0 - touched / experts), 0.0))
    return num.where(ranks > 1.0,
                    num.minimum(mean + deviation * largest_normal(ranks), experts / num.maximum(ranks, 1.0)), touched)


def short_of(level: Value, mean: Value, deviation: Value) -> tuple[Value, Value]:
    """How likely a normal number is below a level, and how far below it lies on average, nothing where it is above.

    The second is d·(φ(z) + z·Φ(z)), z = (level - mean)/d; Φ to 2.5e-5 (Hastings 1955, sheet 43; Abramowitz and Stegun
    7.1.25). At the mean, and two deviations below it:

    >>> [round(float(each), 3) for each in (*short_of(5.0, 5.0, 2.0), *short_of(1.0, 5.0, 2.0))]
    [0.5, 0.798, 0.023, 0.017]
    """
    spread = num.maximum(deviation, 1e-9)
    z = num.clip((level - mean) / spread, -38.0, 38.0)
    far = num.maximum(z, -z)
    density = num.exp(-0.5 * far**2)
    t = 1.0 / (1.0 + 0.47047 * math.sqrt(0.5) * far)
    tail = 0.5 * density * t * (0.3480242 + t * (-0.0958798 + t * 0.7478556))
    below = num.maximum(math.sqrt(0.5 / math.pi) * density - far * tail, 0.0)
    return num.where(z > 0.0, 1.0 - tail, tail), spread * below + num.maximum(level - mean, 0.0)


def accepted_tokens(acceptance: Value, drafted: Value) -> Value:
    """Tokens a verifying step yields: (1 - a^(g+1))/(1 - a) (Leviathan et al. 2022, arXiv:2211.17192, eq. 1).

    >>> float(accepted_tokens(0.8, 0)), round(float(accepted_tokens(0.8, 3)), 3)
    (1.0, 2.952)
    """
    a = num.minimum(acceptance, 1.0 - 1e-9)
    return (1.0 - a ** (drafted + 1.0)) / (1.0 - a)


def closed_loop_tpot_s(step_s: Value, prompt_s: Value, others: Value, output: Value, again: Value = 0.0) -> Value:
    """Time per output token when every other request's prompt passes once while one request is answered.

    Work in a closed loop is conserved: over the `output` tokens of one request each of the `others` puts in its own
    prompt. again: of each prompt, what is computed once more, also of one's own.

    >>> closed_loop_tpot_s(0.010, 0.040, 10.0, 100.0)
    0.014
    """
    return step_s + (others * (1.0 + again) + again) * prompt_s / output
