"""Inner loop, part two: what a step takes, and how many steps fit into a time."""

from __future__ import annotations

import math
from typing import Any

from outlay.simulate.core_kv import (
    ENGINE_FLOATS,
    ENGINE_INTS,
    NDEC,
    PAIR_S,
    POOL,
    POOL_FLOATS,
    POOL_INTS,
    RANKS,
    READ,
    READ_S,
    SELECT_AFTER,
    SELECT_S,
    WIDE,
    WINDOW,
    WINDOW_S,
    YIELD,
)


def chunk_s(st: Any, pool: int, together: int, running: int, tokens: float) -> float:
    """Seconds a step takes more with so many prompt tokens; by itself where nothing runs. Bilinear.

    together: 0 for what an engine takes by itself, 1 for what ranks in step take together.
    """
    ck, nk, table = st.cknots, st.nknots, st.chunk
    wide = len(ck)
    low, high = 0, wide - 1
    while high - low > 1:
        mid = (low + high) // 2
        if ck[mid] <= tokens:
            low = mid
        else:
            high = mid
    x = (tokens - ck[low]) / (ck[low + 1] - ck[low])
    at = (2 * pool + together) * len(nk) * wide + low
    if running == 0:
        return float(table[at] * (1.0 - x) + table[at + 1] * x)
    row = 1
    while row + 2 < len(nk) and nk[row + 1] < running:
        row += 1
    y = (running - nk[row]) / (nk[row + 1] - nk[row])
    one = at + row * wide
    two = one + wide
    lower, upper = table[one] * (1.0 - x) + table[one + 1] * x, table[two] * (1.0 - x) + table[two + 1] * x
    return float(lower * (1.0 - y) + upper * y)


def attention_s(st: Any, pool: int, tokens: int, before: int) -> float:
    """Attention of a chunk over what stands before it and half of itself."""
    span = before + 0.5 * tokens
    pf = pool * POOL_FLOATS
    chosen = st.pf[pf + SELECT_S] if span > st.pf[pf + SELECT_AFTER] else 0.0
    near = st.pf[pf + WINDOW_S] * min(span, st.pf[pf + WINDOW])
    return float(tokens * (st.pf[pf + PAIR_S] * span + near + chosen))


def joint_s(st: Any, pool: int, running: int) -> float:
    """What ranks in step take together in a decode step, with so many running on the fullest."""
    return float(st.base[(2 * pool + 1) * st.g[WIDE] + running])


def decode_s(st: Any, e: int, running: int) -> float:
    """What an engine's next step takes for those that run, by itself."""
    pool = st.ei[e * ENGINE_INTS + POOL]
    return float(
        st.base[2 * pool * st.g[WIDE] + running] + st.pf[pool * POOL_FLOATS + READ_S] * st.ef[e * ENGINE_FLOATS + READ]
    )


def longer_s(st: Any, e: int) -> float:
    """What each decode step of an engine takes more than the one before."""
    engine = e * ENGINE_INTS
    pf = st.ei[engine + POOL] * POOL_FLOATS
    return float(st.pf[pf + READ_S] * st.ei[engine + NDEC] * st.pf[pf + YIELD])


def steps_s(one: float, more: float, steps: int) -> float:
    """So many steps, each `more` longer than the one before."""
    return steps * one + more * (0.5 * steps * (steps - 1))


def steps_before(one: float, more: float, gap: float, most: int) -> int:
    """Steps that start before `gap` has passed, up to `most` and at least one: step j starts after
    j·one + more·j(j-1)/2."""
    if gap == math.inf or most <= 1 or (most - 1) * one + more * (0.5 * (most - 1) * (most - 2)) < gap:
        return most
    if more > 0.0:
        b = one - 0.5 * more
        guess = (math.sqrt(b * b + 2.0 * more * max(gap, 0.0)) - b) / more
    else:
        guess = max(gap, 0.0) / one
    j = max(int(guess), 1)
    while j > 1 and (j - 1) * one + more * (0.5 * (j - 1) * (j - 2)) >= gap:
        j -= 1
    while j < most and j * one + more * (0.5 * j * (j - 1)) < gap:
        j += 1
    return j


def steps_in_step(st: Any, lead: int, gap: float, most: int) -> tuple[int, float]:
    """The same of ranks that step together, each step as long as the slowest rank's: (steps, their seconds).

    What a rank takes grows by its own measure, so the slowest changes; between two changes the time is one sum.
    """
    pool = st.ei[lead * ENGINE_INTS + POOL]
    ranks, fullest = st.pi[pool * POOL_INTS + RANKS], 0
    for e in range(lead, lead + ranks):
        fullest = max(fullest, st.ei[e * ENGINE_INTS + NDEC])
    joint = joint_s(st, pool, fullest)
    steps, seconds = (0, 0.0)
    while steps < most and (steps == 0 or seconds < gap):
        one, more = (-1.0, 0.0)
        for e in range(lead, lead + ranks):
            running = st.ei[e * ENGINE_INTS + NDEC]
            if running > 0:
                each = longer_s(st, e)
                now = decode_s(st, e, running) + steps * each
                if now > one or (now == one and each > more):
                    one, more = (now, each)
        until = most - steps
        for e in range(lead, lead + ranks):
            running = st.ei[e * ENGINE_INTS + NDEC]
            each = longer_s(st, e)
            if running > 0 and each > more:
                behind = one - decode_s(st, e, running) - steps * each
                until = min(until, max(int(behind / (each - more)) + 1, 1))
        part = steps_before(one + joint, more, gap - seconds, until)
        seconds += steps_s(one + joint, more, part)
        steps += part
        if part < until:
            break
    return (steps, seconds)
