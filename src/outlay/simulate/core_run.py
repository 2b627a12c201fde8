"""Inner loop, part four: requests come and are dealt to engines, engines work in the order of their clocks.

`run` returns when everything is done or when it needs more requests, more places for them, or room to write: the
caller sees to that and calls again, so that a trace of any length passes through bounded memory.
"""

from __future__ import annotations

import math
from typing import Any

from outlay.simulate.core_engine import (
    earliest_end,
    go,
)
from outlay.simulate.core_kv import (
    ANON,
    ANSWERING,
    ARR,
    ARRIVED,
    BLOCK,
    CACHED,
    CLOSED,
    COLD,
    COUNT,
    CURSOR,
    DONE,
    ENG,
    ENGINE_FLOATS,
    ENGINE_INTS,
    ENGINES,
    EVERY,
    FEEDBACK,
    FINAL,
    FIRST,
    FIRST_POOL,
    GAP,
    GROUP,
    HIGH,
    HLEN,
    HSTART,
    ID,
    INP,
    INSIDE,
    LEFT,
    LENGTH,
    LOGROOM,
    LOOKED,
    LOW,
    NEXTW,
    NLOG,
    NOUT,
    NPEND,
    NREG,
    NRUN,
    NSLOT,
    NWAIT,
    ON,
    OUT,
    OUTROOM,
    PAID,
    PATIENCE,
    PERIOD,
    POOL_FLOATS,
    POOL_INTS,
    PRE,
    READY,
    ROUTER,
    SCHED,
    SHARED,
    SINCE,
    SLACK,
    SLOT_FLOATS,
    SLOT_INTS,
    STAGE,
    STATUS,
    TARGET,
    TGT,
    TIME,
    TOTAL,
    TURN,
    TURN2,
    VIA,
    WHEAD,
    WTAIL,
    YIELD,
    forget,
    heap_drop,
    prefix_hits,
)
from outlay.simulate.core_step import (
    ARRIVE,
    HANDOVER,
    SCALED,
    TICK,
    UP,
    leave,
    log,
    pend,
)

FINISHED, MORE, PLACES, FLUSH = range(4)  # why `run` returns
OFF, STARTING, UPON, DRAINING = range(4)  # an engine's status
ROUND_ROBIN, LEAST_LOADED, PREFIX = range(3)


def load_of(st: Any, e: int) -> int:
    return int(st.ei[e * ENGINE_INTS + NRUN] + st.ei[e * ENGINE_INTS + NWAIT])


def least_loaded(st: Any, low: int, high: int) -> int:
    """Of the engines of a pool that take requests, the one with the fewest inside; the first of equals."""
    best = -1
    for e in range(low, high):
        if st.ei[e * ENGINE_INTS + STATUS] == UPON and (best < 0 or load_of(st, e) < load_of(st, best)):
            best = e
    return best


def choose(st: Any, slot: int, low: int, high: int) -> int:
    """The engine a request goes to."""
    g = st.g
    least = least_loaded(st, low, high)
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
    join(st, choose(st, slot, 0, g[FIRST_POOL]), slot, time)


def join(st: Any, e: int, slot: int, time: float) -> None:
    """To the end of an engine's queue."""
    engine, row = (e * ENGINE_INTS, slot * SLOT_INTS)
    if st.ei[engine + NRUN] + st.ei[engine + NWAIT] == 0 and st.ef[e * ENGINE_FLOATS + TIME] < time:
        st.ef[e * ENGINE_FLOATS + TIME] = time
    st.si[row + ENG], st.si[row + NEXTW] = (e, -1)
    if st.ei[engine + WTAIL] >= 0:
        st.si[st.ei[engine + WTAIL] * SLOT_INTS + NEXTW] = slot
    else:
        st.ei[engine + WHEAD] = slot
    st.ei[engine + WTAIL] = slot
    st.ei[engine + NWAIT] += 1


def hand_over(st: Any, slot: int, time: float) -> None:
    """The cache of a computed prompt has come to the pool that decodes."""
    row = slot * SLOT_INTS
    st.si[row + STAGE], st.si[row + READY], st.si[row + DONE], st.si[row + HLEN] = (1, 1, 0, 0)
    st.si[row + TGT] = st.si[row + INP]
    st.si[row + LEFT] = math.ceil((st.si[row + OUT] - 1) / st.pf[1 * POOL_FLOATS + YIELD])
    join(st, choose(st, slot, st.g[FIRST_POOL], st.g[ENGINES]), slot, time)


def replica_load(st: Any, first: int) -> int:
    """Requests inside a replica, whose engines begin at `first`."""
    load = 0
    for e in range(first, first + st.g[GROUP]):
        load += load_of(st, e)
    return load


def turn(st: Any, first: int, status: int, time: float) -> None:
    """A replica's engines change their status; it is paid for from its start until it is off."""
    for e in range(first, first + st.g[GROUP]):
        row, floats = (e * ENGINE_INTS + STATUS, e * ENGINE_FLOATS)
        if status == OFF:
            st.ef[floats + ON] += time - st.ef[floats + SINCE]
            forget(st, e)
        elif status == STARTING:
            st.ef[floats + SINCE] = time
        elif st.ei[row] == STARTING:
            st.ef[floats + TIME] = time
        st.ei[row] = status


def over(st: Any) -> bool:
    """Whether the last request has ended."""
    return bool(st.g[INSIDE] == 0 and st.g[CURSOR] >= st.g[COUNT] and st.g[FINAL] == 1)


def note_replicas(st: Any, time: float) -> None:
    """A row in the log where the number of replicas paid for, or of those that answer, has changed."""
    paid, answering = (0, 0)
    if over(st):
        return
    for first in range(0, st.g[ENGINES], st.g[GROUP]):
        status = st.ei[first * ENGINE_INTS + STATUS]
        paid += 1 if status != OFF else 0
        answering += 1 if status == UPON else 0
    if paid != st.g[PAID] or answering != st.g[ANSWERING]:
        st.g[PAID], st.g[ANSWERING] = (paid, answering)
        log(st, 0, SCALED, paid, answering, 0, time, 0.0)


def tick(st: Any, time: float) -> None:
    """The autoscaler counts and decides."""
    g, count, most = (st.g, 0, 0)
    if over(st):
        return
    for first in range(0, g[ENGINES], g[GROUP]):
        status = st.ei[first * ENGINE_INTS + STATUS]
        if status == DRAINING and replica_load(st, first) == 0:
            turn(st, first, OFF, time)
        elif status in (UPON, STARTING):
            count += 1
    wanted = min(max(math.ceil(g[INSIDE] / st.gf[TARGET]), g[LOW]), g[HIGH])
    st.looks[g[LOOKED] % g[PATIENCE]] = wanted
    g[LOOKED] += 1
    for place in range(g[PATIENCE]):
        most = max(most, st.looks[place])
    if wanted > count:
        start_more(st, time, wanted - count)
    elif most < count:
        stop_some(st, time, count - most)
    note_replicas(st, time)
    pend(st, time + st.gf[EVERY], TICK, -1)


def start_more(st: Any, time: float, more: int) -> None:
    """Replicas about to stop take requests again; stopped ones start cold."""
    for first in range(0, st.g[ENGINES], st.g[GROUP]):
        if more > 0 and st.ei[first * ENGINE_INTS + STATUS] == DRAINING:
            turn(st, first, UPON, time)
            more -= 1
    for first in range(0, st.g[ENGINES], st.g[GROUP]):
        if more > 0 and st.ei[first * ENGINE_INTS + STATUS] == OFF:
            turn(st, first, STARTING, time)
            pend(st, time + st.gf[COLD], UP, first)
            more -= 1


def stop_some(st: Any, time: float, fewer: int) -> None:
    """Those still starting go, the last started first; then the emptiest take no more requests."""
    while fewer > 0:
        chosen = -1
        for first in range(0, st.g[ENGINES], st.g[GROUP]):
            status = st.ei[first * ENGINE_INTS + STATUS]
            if status == STARTING and (
                chosen < 0 or st.ef[first * ENGINE_FLOATS + SINCE] >= st.ef[chosen * ENGINE_FLOATS + SINCE]
            ):
                chosen = first
        if chosen >= 0:
            turn(st, chosen, OFF, time)
            fewer -= 1
            continue
        for first in range(0, st.g[ENGINES], st.g[GROUP]):
            if st.ei[first * ENGINE_INTS + STATUS] == UPON and (
                chosen < 0 or replica_load(st, first) <= replica_load(st, chosen)
            ):
                chosen = first
        turn(st, chosen, OFF if replica_load(st, chosen) == 0 else DRAINING, time)
        fewer -= 1


def happen(st: Any) -> None:
    """The first of what is pending."""
    g = st.g
    time, kind, what = (st.pt[0], st.pq[0] % 4, st.ps[0])
    heap_drop(st.pt, st.pq, st.ps, 0, g[NPEND], 0)
    g[NPEND] -= 1
    if kind == ARRIVE:
        if g[CURSOR] < g[COUNT]:
            arrive(st, time)
    elif kind == HANDOVER:
        hand_over(st, what, time)
    elif kind == TICK:
        tick(st, time)
    elif st.ei[what * ENGINE_INTS + STATUS] == STARTING and (
        st.ef[what * ENGINE_FLOATS + SINCE] + st.gf[COLD] <= time  # else it was stopped since, and starts again
    ):
        turn(st, what, UPON, time)
        note_replicas(st, time)


def run(st: Any) -> int:
    """Work until done, or until something is wanted of the caller."""
    g = st.g
    while True:
        if g[NOUT] >= g[OUTROOM] or g[NLOG] >= g[LOGROOM]:
            return FLUSH
        if g[CURSOR] >= g[COUNT] and g[FINAL] == 0:
            return MORE
        if g[NSLOT] == 0:
            return PLACES
        comes = math.inf
        if g[CURSOR] < g[COUNT] and (g[CLOSED] == 0 or g[ARRIVED] < g[CLOSED]):
            comes = st.arr[g[CURSOR]]
        pending = st.pt[0] if g[NPEND] > 0 else math.inf
        best, clock = (-1, math.inf)
        for e in range(g[ENGINES]):
            if (
                st.ei[e * ENGINE_INTS + NRUN] + st.ei[e * ENGINE_INTS + NWAIT] > 0
                and st.ef[e * ENGINE_FLOATS + TIME] < clock
            ):
                best, clock = (e, st.ef[e * ENGINE_FLOATS + TIME])
        after = min(comes, pending)
        if best < 0 and after == math.inf:
            return FINISHED
        if after <= clock:
            if comes <= pending:
                arrive(st, comes)
            else:
                happen(st)
            continue
        if g[FEEDBACK] == 1:
            for e in range(g[ENGINES]):
                if e != best and st.ei[e * ENGINE_INTS + NRUN] + st.ei[e * ENGINE_INTS + NWAIT] > 0:
                    after = min(after, earliest_end(st, e))
        go(st, best, after)
