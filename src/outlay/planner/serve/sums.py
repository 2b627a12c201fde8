"""The small formulas between the time model and what a serving plan says of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from outlay.physics.queueing import request_s

HOUR_S = 3600.0
FULL = 0.999  # of capacity, the most at which a draw's times are finite
BACK, MOST_BACK = 0.97, 100  # a step back from a queue that does not end


def waited(
    first_s: Any, token_s: Any, output: Any, waves: Any, inside: Any, most_per_s: Any, between: Any = 0.0
) -> Any:
    """First token of a loop, which waits where more are inside than run at once: a loop of N is never answered
    faster than N over what is sustained at most (Denning and Buzen 1978, the bottleneck's bound).

    between: how much of that is waited for between further tokens."""
    return first_s + (1.0 - between) * _waits_s(first_s, token_s, output, waves, inside, most_per_s)


def waited_between(
    first_s: Any, token_s: Any, output: Any, waves: Any, inside: Any, most_per_s: Any, between: Any
) -> Any:
    """Further tokens of the same: what gives way to others for want of room waits between them."""
    waits_s = _waits_s(first_s, token_s, output, waves, inside, most_per_s)
    return token_s + between * waits_s / np.maximum(output - 1.0, 1.0)


def _waits_s(first_s: Any, token_s: Any, output: Any, waves: Any, inside: Any, most_per_s: Any) -> Any:
    """What a request of a loop waits beyond its own time."""
    whole_s = request_s(first_s, token_s, output)
    return np.maximum(waves * whole_s, inside / most_per_s) - whole_s


def stay(slower: Any, first: Any, ttft_s: Any, rest_s: Any) -> Any:
    """Time of a request, its first token and the rest each slower by its own, over that of the model."""
    return (ttft_s * first + rest_s * slower) / (ttft_s + rest_s)


def and_slower(residual: Any, slower: Any) -> Any:
    """What left-out runs took beyond the model, and how much slower this engine's one stream is."""
    return residual * slower


def over_slower(residual: Any, slower: Any) -> Any:
    """What left-out runs reached over the model, and how much slower this engine's one stream is."""
    return residual / slower


def by_link(rate_slow: Any, link_bytes_per_s: Any, within: Any, share: Any) -> Any:
    """What is reached over the model, of which so large a share of the time goes over the host's link."""
    return rate_slow / (1.0 - share + share * within / link_bytes_per_s)


def scaled(modelled_s: Any, slower: Any) -> Any:
    """The time model, and what published runs took beyond it."""
    return modelled_s * slower


def product(rate_slow: Any, each: Any, replicas: Any) -> Any:
    """So many of each, over the replicas."""
    return rate_slow * each * replicas


def per_time(inside: Any, time_s: Any) -> Any:
    """Throughput of so many inside for so long (Little 1961)."""
    return inside / time_s


def least(asked: Any, most: Any) -> Any:
    """What is asked, as far as it is sustained."""
    return np.minimum(asked, most)


def most_of(one: Any, other: Any) -> Any:
    """The greater of two that can both be had."""
    return np.maximum(one, other)


def at_most_one(load: Any) -> Any:
    """Never more than all of it is busy: a closed loop waits for itself, what an open one asks beyond that waits."""
    return np.minimum(load, 1.0)


def ratio(rate_per_s: Any, capacity_per_s: Any) -> Any:
    """One over the other."""
    return rate_per_s / capacity_per_s


def users_of(rate_per_s: Any, each: Any) -> Any:
    """People who each send so many requests an hour."""
    return rate_per_s * HOUR_S / each


def queue_wait(first_s: Any, requests: Any, running: Any, rate_per_s: Any) -> Any:
    """Half of the time that those who do not run at once take to be let in, and the first token."""
    return first_s + 0.5 * np.maximum(requests - running, 0.0) / rate_per_s


def finite(of: Callable[[Any], Any], busy: Any) -> Any:
    """Times at a load below one; where the queue of prompts has no end before that, those just before it."""
    part = np.minimum(busy, FULL)
    for _ in range(MOST_BACK):
        found = of(part)
        ends = np.isfinite(found)
        if np.all(ends):
            break
        part = np.where(ends, part, part * BACK)
    return found
