"""Inner loop, part six: a request comes, is dealt to an engine, and what passes until the engine knows of it."""

from __future__ import annotations

import math
from typing import Any

from outlay.simulate.core_engine import NEVER, decode_run
from outlay.simulate.core_kv import (
    ANON,
    ARR,
    ARRIVED,
    AWAY,
    BLOCK,
    BUDGET,
    CACHED,
    CURSOR,
    DONE,
    ENG,
    ENGINE_FLOATS,
    ENGINE_INTS,
    ENGINES,
    FIRST,
    FIRST_POOL,
    FREE,
    FROM,
    GAP,
    GONE,
    HELD,
    HIT,
    HLEN,
    HSTART,
    ID,
    INP,
    INSIDE,
    LAUNCH,
    LAUNCH_NEXT,
    LEAD,
    LEAST_LOADED,
    LEAVES,
    LEFT,
    LENGTH,
    NDEC,
    NEXTW,
    NREG,
    NRUN,
    NSLOT,
    NWAIT,
    OUT,
    OUTSIDE,
    OUTSIDE_PASS,
    OUTSIDE_TOKEN,
    PART,
    PERIOD,
    POLLED,
    POOL,
    POOL_FLOATS,
    POOL_INTS,
    PRE,
    PREFIX,
    READER,
    READY,
    ROUTER,
    SCHED,
    SEQS,
    SHARED,
    SINCE,
    SLACK,
    SLOT_FLOATS,
    SLOT_INTS,
    STAGE,
    STATUS,
    STEP,
    TAKE_UP,
    TGT,
    TIME,
    TOTAL,
    TURN,
    TURN2,
    VIA,
    WHEAD,
    WIDE,
    WTAIL,
    YIELD,
    passes,
    prefix_hits,
)
from outlay.simulate.core_ranks import any_inside, due_together, equal_steps, ranks_of, run_together
from outlay.simulate.core_step import (
    JOIN,
    leave,
    pend,
    running_beside,
)
from outlay.simulate.core_time import decode_s, joint_s, longer_s, steps_s

FULL = 2**40  # more requests than any engine has inside
OFF, STARTING, UPON, DRAINING = range(4)  # an engine's status
UNDER_WAY = 0.5  # of the pass under way, what one who comes finds left
SPREAD = 0.6180339887498949  # turns by which parts of a pass are dealt evenly to requests one after another


def load_of(st: Any, e: int) -> int:
    return int(st.ei[e * ENGINE_INTS + NRUN] + st.ei[e * ENGINE_INTS + NWAIT] + st.ei[e * ENGINE_INTS + AWAY])


def due_at(st: Any, e: int) -> float:
    """When an engine must next be looked at: at its next step, or at the one with which the first of its requests ends
    where until then nothing else can happen. A router that knows prefixes wants every engine up to date."""
    engine, floats = (e * ENGINE_INTS, e * ENGINE_FLOATS)
    if st.ei[engine + NRUN] + st.ei[engine + NWAIT] == 0:
        return math.inf
    time, pool = (st.ef[floats + TIME], st.ei[engine + POOL])
    if st.g[ROUTER] == PREFIX or st.ei[engine + NDEC] == 0 or st.ei[engine + PART] >= 0:
        return float(time)
    if st.ei[engine + WHEAD] >= 0 and st.ei[engine + NRUN] < st.pi[pool * POOL_INTS + SEQS]:
        return float(time)
    steps = int(st.hk[e * st.g[WIDE]]) - st.ei[engine + STEP]
    period = st.pi[pool * POOL_INTS + PERIOD]
    if steps <= 1 or st.ei[engine + FREE] < st.ei[engine + NDEC] * ((steps + period - 1) // period):
        return float(time)
    return float(time + steps_s(decode_s(st, e, st.ei[engine + NDEC]), longer_s(st, e), steps - 1))


def touch(st: Any, e: int) -> None:
    """An engine has changed: the trees that find the next one and the emptiest are told."""
    if st.g[LEAVES] == 1:
        busy = st.ei[e * ENGINE_INTS + NRUN] + st.ei[e * ENGINE_INTS + NWAIT] > 0
        st.clocks[1] = st.ef[e * ENGINE_FLOATS + TIME] if busy else math.inf
        return
    set_clock(st, e)
    set_load(st, e)


def touch_all(st: Any, lead: int) -> None:
    """The same of an engine and all ranks that step with it."""
    ranks = ranks_of(st, lead)
    if ranks == 1:
        touch(st, lead)
        return
    set_clock(st, lead)
    for e in range(lead, lead + ranks):
        set_load(st, e)


def set_clock(st: Any, e: int) -> None:
    """When an engine is due; of ranks that step together the first stands for all."""
    lead = st.ei[e * ENGINE_INTS + LEAD]
    at = st.g[LEAVES] + lead
    st.clocks[at] = due_at(st, lead) if ranks_of(st, lead) == 1 else due_together(st, lead)
    at //= 2
    while at >= 1:
        st.clocks[at] = min(st.clocks[2 * at], st.clocks[2 * at + 1])
        at //= 2


def set_load(st: Any, e: int) -> None:
    """How many are inside an engine, where it takes more."""
    leaves, engine = (st.g[LEAVES], e * ENGINE_INTS)
    tree = 2 * leaves * st.ei[engine + POOL]
    at = leaves + e
    load = load_of(st, e) if st.ei[engine + STATUS] == UPON else FULL
    if st.loads[tree + at] == load:
        return
    st.loads[tree + at] = load
    at //= 2
    while at >= 1:
        st.loads[tree + at] = min(st.loads[tree + 2 * at], st.loads[tree + 2 * at + 1])
        at //= 2


def next_due(st: Any) -> int:
    """The engine to be looked at next; the first of equals."""
    at, leaves = (1, st.g[LEAVES])
    while at < leaves:
        at = 2 * at if st.clocks[2 * at] <= st.clocks[2 * at + 1] else 2 * at + 1
    return int(at - leaves)


def due_beside(st: Any, e: int) -> float:
    """When the next of all others must be looked at."""
    found, at = (math.inf, st.g[LEAVES] + e)
    while at > 1:
        found = min(found, st.clocks[at ^ 1])
        at //= 2
    return float(found)


def least_loaded(st: Any, low: int) -> int:
    """Of the engines of a pool that take requests, the one with the fewest inside; the first of equals."""
    leaves = st.g[LEAVES]
    tree, at = (0 if low == 0 else 2 * leaves, 1)
    while at < leaves:
        at = 2 * at if st.loads[tree + 2 * at] <= st.loads[tree + 2 * at + 1] else 2 * at + 1
    return int(at - leaves)


def choose(st: Any, slot: int, low: int, high: int) -> int:
    """The engine a request goes to."""
    g = st.g
    least = least_loaded(st, low)
    if g[ROUTER] == LEAST_LOADED:
        return least
    if g[ROUTER] == PREFIX:
        best, most = (least, 0)
        for e in range(low, high):
            if st.ei[e * ENGINE_INTS + STATUS] == UPON and load_of(st, e) <= load_of(st, least) + g[SLACK]:
                hits = prefix_hits(st, e, slot)[0]
                if hits > most:
                    best, most = (e, hits)
        return best
    turn = TURN if low == 0 else TURN2
    for _ in range(high - low):
        e = low + g[turn] % (high - low)
        g[turn] += 1
        if st.ei[e * ENGINE_INTS + STATUS] == UPON:
            return int(e)
    return least


def too_long(st: Any, tokens: int, output: int) -> bool:
    """Longer than the model takes, or than an empty cache of a pool it passes through holds."""
    g = st.g
    pi = 0 * POOL_INTS
    if tokens + output > st.pi[pi + LENGTH]:
        return True
    split = g[FIRST_POOL] < g[ENGINES]
    if most_blocks(st, 0, tokens, 1 if split else output) > st.ei[0 * ENGINE_INTS + TOTAL]:
        return True
    return bool(split and most_blocks(st, 1, tokens, output) > st.ei[g[FIRST_POOL] * ENGINE_INTS + TOTAL])


def most_blocks(st: Any, pool: int, tokens: int, output: int) -> int:
    """Blocks a request holds when it ends."""
    pi, per_step = (pool * POOL_INTS, st.pf[pool * POOL_FLOATS + YIELD])
    whole = (tokens + st.pi[pi + BLOCK] - 1) // st.pi[pi + BLOCK]
    steps = math.ceil((output - 1) / per_step)
    offset = min(int((whole * st.pi[pi + BLOCK] - tokens) / per_step), st.pi[pi + PERIOD] - 1)
    more = (steps - 1 - offset) // st.pi[pi + PERIOD] + 1 if steps > offset else 0
    return int(whole + more + (1 if per_step > 1.0 else 0))


def arrive(st: Any, time: float) -> None:
    """The next request comes in."""
    g = st.g
    at = g[CURSOR]
    if g[ARRIVED] == 0:  # what stands is paid for from here on
        for e in range(g[ENGINES]):
            st.ef[e * ENGINE_FLOATS + SINCE] = time
    g[CURSOR] += 1
    g[NSLOT] -= 1
    slot = st.free_slots[g[NSLOT]]
    row, floats = (slot * SLOT_INTS, slot * SLOT_FLOATS)
    st.si[row + ID], st.si[row + INP], st.si[row + OUT], st.si[row + TGT] = (
        g[ARRIVED],
        st.inp[at],
        st.out[at],
        st.inp[at],
    )
    g[ARRIVED] += 1
    g[INSIDE] += 1
    passes(st, 0, time, 1)
    st.si[row + LEFT] = math.ceil((st.si[row + OUT] - 1) / st.pf[0 * POOL_FLOATS + YIELD])
    st.si[row + ANON], st.si[row + DONE], st.si[row + CACHED], st.si[row + PRE], st.si[row + NREG], st.si[row + VIA] = (
        0,
        0,
        0,
        0,
        0,
        0,
    )
    st.si[row + READY], st.si[row + STAGE], st.si[row + ENG] = (0, 0, -1)
    st.si[row + HSTART] = st.hfrom[at]
    st.si[row + HLEN] = min(st.hlen[at], st.si[row + INP] // st.pi[0 * POOL_INTS + SHARED])
    st.sf[floats + ARR], st.sf[floats + SCHED], st.sf[floats + FIRST], st.sf[floats + GAP] = (time, -1.0, -1.0, -1.0)
    if too_long(st, st.si[row + INP], st.si[row + OUT]):
        leave(st, slot, time, 1)
        return
    e = choose(st, slot, 0, g[FIRST_POOL])
    if st.gf[OUTSIDE] + st.gf[OUTSIDE_TOKEN] + st.gf[OUTSIDE_PASS] > 0.0:
        st.si[row + ENG] = e
        st.ei[e * ENGINE_INTS + AWAY] += 1
        touch(st, e)
        pend(st, prepared_s(st, e, st.si[row + INP], time), JOIN, slot)
    else:
        join(st, e, slot, time)


def prepared_s(st: Any, e: int, tokens: int, time: float) -> float:
    """When an engine has a request that comes at a time: its text is read after others', its prompt launched.

    The host launches a prompt's kernels while the device is at the passes of others; those that come meanwhile are
    launched together, next.
    """
    f = e * ENGINE_FLOATS
    reader = max(st.ef[f + READER], time + st.gf[OUTSIDE]) + st.gf[OUTSIDE_TOKEN] * tokens
    st.ef[f + READER] = reader
    each = st.gf[OUTSIDE_PASS]
    if each <= 0.0:
        return float(reader)
    if reader >= st.ef[f + LAUNCH]:
        st.ef[f + LAUNCH] = st.ef[f + LAUNCH_NEXT]
    if reader >= st.ef[f + LAUNCH]:
        st.ef[f + LAUNCH] = reader + each
        st.ef[f + LAUNCH_NEXT] = reader + each
    elif st.ef[f + LAUNCH_NEXT] <= st.ef[f + LAUNCH]:
        st.ef[f + LAUNCH_NEXT] = st.ef[f + LAUNCH] + each
    own = tokens - int(st.pf[0 * POOL_FLOATS + HIT] * tokens)
    budget = st.pi[0 * POOL_INTS + BUDGET]
    return float(st.ef[f + LAUNCH_NEXT] + each * ((own + budget - 1) // budget - 1))


def join(st: Any, e: int, slot: int, time: float) -> None:
    """To the end of an engine's queue; it is known of some steps later, or by an idle engine after as much time."""
    engine, row, pool = (e * ENGINE_INTS, slot * SLOT_INTS, st.ei[e * ENGINE_INTS + POOL])
    lead, ranks = (st.ei[engine + LEAD], ranks_of(st, e))
    running = running_beside(st, e)
    if running > 0 and st.ef[e * ENGINE_FLOATS + TIME] < time:
        if ranks == 1:
            decode_run(st, e, time, NEVER)
        else:
            run_together(st, lead, time, equal_steps(st, lead))
    pf = pool * POOL_FLOATS
    later, held = st.pf[pf + TAKE_UP], st.pf[pf + HELD]
    st.si[row + FROM] = 0
    if not any_inside(st, lead):
        if later > 0.0:
            time += (later + UNDER_WAY) * (st.base[2 * pool * st.g[WIDE] + 1] + joint_s(st, pool, 1))
        for one in range(lead, lead + ranks):
            st.ef[one * ENGINE_FLOATS + TIME] = max(st.ef[one * ENGINE_FLOATS + TIME], time)
    elif later + held + st.pf[pf + POLLED] > 1.0 and running > 0:
        share = SPREAD * st.si[row + ID]
        every = int(st.pf[pf + POLLED])
        known = st.ei[engine + GONE] + int(later + held + share - math.floor(share))
        st.si[row + FROM] = (known + every - 1) // every * every
    st.si[row + ENG], st.si[row + NEXTW] = (e, -1)
    if st.ei[engine + WTAIL] >= 0:
        st.si[st.ei[engine + WTAIL] * SLOT_INTS + NEXTW] = slot
    else:
        st.ei[engine + WHEAD] = slot
    st.ei[engine + WTAIL] = slot
    st.ei[engine + NWAIT] += 1
    touch(st, e)


def hand_over(st: Any, slot: int, time: float) -> None:
    """The cache of a computed prompt has come to the pool that decodes."""
    row = slot * SLOT_INTS
    st.si[row + STAGE], st.si[row + READY], st.si[row + DONE], st.si[row + HLEN] = (1, 1, 0, 0)
    st.si[row + TGT] = st.si[row + INP]
    st.si[row + LEFT] = math.ceil((st.si[row + OUT] - 1) / st.pf[1 * POOL_FLOATS + YIELD])
    join(st, choose(st, slot, st.g[FIRST_POOL], st.g[ENGINES]), slot, time)
