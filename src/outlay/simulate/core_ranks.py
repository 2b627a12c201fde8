"""Inner loop, part five: attention ranks that step together, as experts cut over all of them make them.

Each rank is an engine with a queue, places and a cache of its own. In a step each does what its scheduler says; the
step lasts as long as the slowest rank takes by itself and what all take together beside, and a rank with nothing to do
passes through it too. Until the next event of any of them, runs of steps are sums in closed form, as of one engine.
"""

from __future__ import annotations

import math
from typing import Any

from outlay.simulate.core_engine import (
    NEVER,
    blocks_ahead,
    look,
    run_done,
    step_done,
    steps_ahead,
    take_prompts,
)
from outlay.simulate.core_kv import (
    ADDED,
    CHAIN,
    CHUNK,
    ENGINE_FLOATS,
    ENGINE_INTS,
    FEEDBACK,
    FREE,
    GATHERS,
    GONE,
    LOGROOM,
    NDEC,
    NLOG,
    NOUT,
    NRUN,
    NWAIT,
    OUTROOM,
    OWN,
    PART,
    PERIOD,
    POOL,
    POOL_INTS,
    PREFIX,
    RANKS,
    ROUTER,
    RUNS,
    SEQS,
    STEP,
    TAKEN,
    TIME,
    WHEAD,
    WIDE,
    take_blocks,
)
from outlay.simulate.core_step import known_of, secure
from outlay.simulate.core_time import chunk_s, decode_s, joint_s, steps_in_step


def ranks_of(st: Any, e: int) -> int:
    """Ranks that an engine steps with, itself among them."""
    return int(st.pi[st.ei[e * ENGINE_INTS + POOL] * POOL_INTS + RANKS])


def any_inside(st: Any, lead: int) -> bool:
    """Whether any of the ranks has a request."""
    for e in range(lead, lead + ranks_of(st, lead)):
        if st.ei[e * ENGINE_INTS + NRUN] + st.ei[e * ENGINE_INTS + NWAIT] > 0:
            return True
    return False


def gathered(st: Any, lead: int) -> int:
    """Decode steps until the ranks take prompts up, that wait for each other; none where they do now."""
    engine = lead * ENGINE_INTS
    every, gone = (st.pi[st.ei[engine + POOL] * POOL_INTS + GATHERS], st.ei[engine + GONE] - st.ei[engine + TAKEN])
    if every <= 0:
        return 0
    left, all_have = (every - gone % every, True)
    for e in range(lead, lead + ranks_of(st, lead)):
        engine, pool = (e * ENGINE_INTS, st.ei[e * ENGINE_INTS + POOL] * POOL_INTS)
        if st.ei[engine + NDEC] == 0:
            return 0
        if st.ei[engine + PART] < 0:
            waits = st.ei[engine + WHEAD] >= 0 and st.ei[engine + NRUN] < st.pi[pool + SEQS]
            all_have = all_have and waits and known_of(st, e) == 0
    return 0 if all_have or (gone > 0 and left == every) else int(left)


def equal_steps(st: Any, lead: int) -> int:
    """Steps in which all ranks only decode, and the same requests; none where the next has prompts in it or is short
    of blocks."""
    most, later = (NEVER, gathered(st, lead))
    for e in range(lead, lead + ranks_of(st, lead)):
        engine = e * ENGINE_INTS
        if st.ei[engine + NRUN] + st.ei[engine + NWAIT] > 0:
            prompt, until = look(st, e)
            if prompt and (later == 0 or st.ei[engine + PART] >= 0):
                return 0
            if prompt:
                until = later
            most = min(most, steps_ahead(st, e, until) if st.ei[engine + NDEC] > 0 else until)
    return int(most)


def plan(st: Any, e: int, later: int) -> None:
    """What a rank does in the next step; later: steps until it takes prompts up."""
    engine, floats = (e * ENGINE_INTS, e * ENGINE_FLOATS)
    st.ei[engine + RUNS], st.ei[engine + CHUNK], st.ei[engine + CHAIN] = (0, 0, -1)
    st.ef[floats + OWN], st.ef[floats + ADDED] = (0.0, 0.0)
    again = True
    while again and st.ei[engine + NRUN] + st.ei[engine + NWAIT] > 0:
        prompt, _ = look(st, e)
        if prompt and (later == 0 or st.ei[engine + PART] >= 0):
            running, tokens, added, head = take_prompts(st, e, later == 0)
            st.ei[engine + RUNS], st.ei[engine + CHUNK], st.ei[engine + CHAIN] = (running, tokens, head)
            st.ef[floats + ADDED] = added
        else:
            again = st.ei[engine + NDEC] > 0  # else nobody is known of yet
            if again:
                secure(st, e)
                st.ei[engine + RUNS] = st.ei[engine + NDEC]
        again = again and st.ei[engine + RUNS] == 0 and st.ei[engine + CHUNK] == 0
    st.ef[floats + OWN] = st.ef[floats + ADDED]
    if st.ei[engine + RUNS] > 0:
        st.ef[floats + OWN] += decode_s(st, e, st.ei[engine + RUNS])


def step_together(st: Any, lead: int) -> None:
    """One step of all ranks, each with its own requests and prompts."""
    pool, ranks = (st.ei[lead * ENGINE_INTS + POOL], ranks_of(st, lead))
    fullest, tokens, longest, later = (0, 0, 0.0, gathered(st, lead))
    for e in range(lead, lead + ranks):
        plan(st, e, later)
        fullest = max(fullest, st.ei[e * ENGINE_INTS + RUNS])
        tokens += st.ei[e * ENGINE_INTS + CHUNK]
        longest = max(longest, st.ef[e * ENGINE_FLOATS + OWN])
    if fullest == 0 and tokens == 0:
        return
    if later == 0 and tokens > 0:
        st.ei[lead * ENGINE_INTS + TAKEN] = st.ei[lead * ENGINE_INTS + GONE]
    joint = chunk_s(st, pool, 1, fullest, tokens / ranks) if tokens > 0 else 0.0
    seconds = longest + joint
    if fullest > 0:
        seconds += joint_s(st, pool, fullest)
    for e in range(lead, lead + ranks):
        engine, floats = (e * ENGINE_INTS, e * ENGINE_FLOATS)
        st.ei[engine + GONE] += 1 if fullest > 0 else 0
        step_done(st, e, st.ei[engine + RUNS], st.ei[engine + CHUNK], st.ei[engine + CHAIN], seconds,
                  st.ef[floats + ADDED] + joint)


def run_together(st: Any, lead: int, limit: float, most: int) -> None:
    """Steps in which all ranks only decode, up to `most`, until the next would start at `limit`; one at least."""
    steps, seconds = steps_in_step(st, lead, limit - st.ef[lead * ENGINE_FLOATS + TIME], most)
    for e in range(lead, lead + ranks_of(st, lead)):
        if st.ei[e * ENGINE_INTS + NDEC] > 0:
            take_blocks(st, e, blocks_ahead(st, e, steps))
        run_done(st, e, steps, seconds)


def go_together(st: Any, lead: int, limit: float) -> None:
    """The ranks work on until their next step would start at `limit`; at least one action."""
    g, again = (st.g, True)
    while again and any_inside(st, lead):
        most = equal_steps(st, lead)
        if most > 0:
            run_together(st, lead, limit, most)
        else:
            step_together(st, lead)
        again = (
            g[FEEDBACK] == 0
            and st.ef[lead * ENGINE_FLOATS + TIME] < limit
            and (g[NLOG] < g[LOGROOM])
            and (g[NOUT] < g[OUTROOM])
        )


def due_together(st: Any, lead: int) -> float:
    """When ranks must next be looked at: at their next step, or at the one with which the first request of any ends."""
    time, most = (st.ef[lead * ENGINE_FLOATS + TIME], NEVER)
    if not any_inside(st, lead):
        return math.inf
    if st.g[ROUTER] == PREFIX:
        return float(time)
    pool = st.ei[lead * ENGINE_INTS + POOL] * POOL_INTS
    period = st.pi[pool + PERIOD]
    for e in range(lead, lead + st.pi[pool + RANKS]):
        engine = e * ENGINE_INTS
        running = st.ei[engine + NDEC]
        if st.ei[engine + PART] >= 0 or (st.ei[engine + WHEAD] >= 0 and st.ei[engine + NRUN] < st.pi[pool + SEQS]):
            return float(time)
        if running > 0:
            steps = int(st.hk[e * st.g[WIDE]]) - st.ei[engine + STEP]
            if st.ei[engine + FREE] < running * ((steps + period - 1) // period):
                return float(time)
            most = min(most, steps)
    if most <= 1:
        return float(time)
    return float(time + steps_in_step(st, lead, math.inf, most - 1)[1])
