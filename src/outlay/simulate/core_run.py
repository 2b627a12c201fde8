"""Inner loop, part four: requests come and are dealt to engines, engines work in the order of their clocks.

`run` returns when everything is done or when it needs more requests, more places for them, or room to write: the
caller sees to that and calls again, so that a trace of any length passes through bounded memory.
"""

from __future__ import annotations

import math
from typing import Any

from outlay.simulate.core_engine import earliest_end, go
from outlay.simulate.core_kv import (
    ANON,
    ARR,
    ARRIVED,
    BELOW,
    BLOCK,
    CACHED,
    CLOSED,
    COLD,
    COUNT,
    CURSOR,
    DONE,
    ENG,
    ENGINES,
    EVERY,
    FEEDBACK,
    FINAL,
    FIRST,
    FIRST_POOL,
    GAP,
    HIGH,
    HLEN,
    HSTART,
    ID,
    INP,
    INSIDE,
    LEFT,
    LENGTH,
    LOGROOM,
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
    PATIENCE,
    PERIOD,
    PRE,
    READY,
    ROUTER,
    SCHED,
    SHARED,
    SINCE,
    SLACK,
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
    heap_pop,
    prefix_hits,
)
from outlay.simulate.core_step import ARRIVE, HANDOVER, TICK, UP, leave, pend

FINISHED, MORE, PLACES, FLUSH = range(4)  # why `run` returns
OFF, STARTING, UPON, DRAINING = range(4)  # an engine's status
ROUND_ROBIN, LEAST_LOADED, PREFIX = range(3)


def load_of(st: Any, e: int) -> int:
    return int(st.ei[e][NRUN] + st.ei[e][NWAIT])


def least_loaded(st: Any, low: int, high: int) -> int:
    """Of the engines of a pool that take requests, the one with the fewest inside; the first of equals."""
    best = -1
    for e in range(low, high):
        if st.ei[e][STATUS] == UPON and (best < 0 or load_of(st, e) < load_of(st, best)):
            best = e
    return best


def choose(st: Any, slot: int, low: int, high: int) -> int:
    """The engine a request goes to."""
    g = st.g
    least = least_loaded(st, low, high)
    if g[ROUTER] == LEAST_LOADED:
        return least
    if g[ROUTER] == PREFIX:
        best, most = least, 0
        for e in range(low, high):
            if st.ei[e][STATUS] == UPON and load_of(st, e) <= load_of(st, least) + g[SLACK]:
                hits = prefix_hits(st, e, slot)[0]
                if hits > most:
                    best, most = e, hits
        return best
    turn = TURN if low == 0 else TURN2
    for _ in range(high - low):
        e = low + g[turn] % (high - low)
        g[turn] += 1
        if st.ei[e][STATUS] == UPON:
            return int(e)
    return least


def too_long(st: Any, tokens: int, output: int) -> bool:
    """Longer than the model takes, or than an empty cache of a pool it passes through holds."""
    g = st.g
    pi = st.pi[0]
    if tokens + output > pi[LENGTH]:
        return True
    split = g[FIRST_POOL] < g[ENGINES]
    if most_blocks(st, 0, tokens, 1 if split else output) > st.ei[0][TOTAL]:
        return True
    return bool(split and most_blocks(st, 1, tokens, output) > st.ei[g[FIRST_POOL]][TOTAL])


def most_blocks(st: Any, pool: int, tokens: int, output: int) -> int:
    """Blocks a request holds when it ends."""
    pi, per_step = st.pi[pool], st.pf[pool][YIELD]
    whole = (tokens + pi[BLOCK] - 1) // pi[BLOCK]
    steps = math.ceil((output - 1) / per_step)
    offset = min(int((whole * pi[BLOCK] - tokens) / per_step), pi[PERIOD] - 1)
    more = (steps - 1 - offset) // pi[PERIOD] + 1 if steps > offset else 0
    return int(whole + more + (1 if per_step > 1.0 else 0))


def arrive(st: Any, time: float) -> None:
    """The next request comes in."""
    g = st.g
    at = g[CURSOR]
    g[CURSOR] += 1
    g[NSLOT] -= 1
    slot = st.free_slots[g[NSLOT]]
    row, floats = st.si[slot], st.sf[slot]
    row[ID], row[INP], row[OUT], row[TGT] = g[ARRIVED], st.inp[at], st.out[at], st.inp[at]
    g[ARRIVED] += 1
    g[INSIDE] += 1
    row[LEFT] = math.ceil((row[OUT] - 1) / st.pf[0][YIELD])
    row[ANON], row[DONE], row[CACHED], row[PRE], row[NREG], row[VIA] = 0, 0, 0, 0, 0, 0
    row[READY], row[STAGE], row[ENG] = 0, 0, -1
    row[HSTART] = st.hfrom[at]
    row[HLEN] = min(st.hlen[at], row[INP] // st.pi[0][SHARED])
    floats[ARR], floats[SCHED], floats[FIRST], floats[GAP] = time, -1.0, -1.0, -1.0
    if too_long(st, row[INP], row[OUT]):
        leave(st, slot, time, 1)
        return
    join(st, choose(st, slot, 0, g[FIRST_POOL]), slot, time)


def join(st: Any, e: int, slot: int, time: float) -> None:
    """To the end of an engine's queue."""
    engine, row = st.ei[e], st.si[slot]
    if engine[NRUN] + engine[NWAIT] == 0 and st.ef[e][TIME] < time:
        st.ef[e][TIME] = time
    row[ENG], row[NEXTW] = e, -1
    if engine[WTAIL] >= 0:
        st.si[engine[WTAIL]][NEXTW] = slot
    else:
        engine[WHEAD] = slot
    engine[WTAIL] = slot
    engine[NWAIT] += 1


def hand_over(st: Any, slot: int, time: float) -> None:
    """The cache of a computed prompt has come to the pool that decodes."""
    row = st.si[slot]
    row[STAGE], row[READY], row[DONE], row[HLEN] = 1, 1, 0, 0
    row[TGT] = row[INP]
    row[LEFT] = math.ceil((row[OUT] - 1) / st.pf[1][YIELD])
    join(st, choose(st, slot, st.g[FIRST_POOL], st.g[ENGINES]), slot, time)


def tick(st: Any, time: float) -> None:
    """The autoscaler counts and decides."""
    g, count, idle = st.g, 0, -1
    for e in range(g[ENGINES]):
        status = st.ei[e][STATUS]
        if status == DRAINING and load_of(st, e) == 0:
            st.ei[e][STATUS] = OFF
            st.ef[e][ON] += time - st.ef[e][SINCE]
        elif status in (UPON, STARTING):
            count += 1
    wanted = min(max(math.ceil(g[INSIDE] / st.gf[TARGET]), g[LOW]), g[HIGH])
    g[BELOW] = g[BELOW] + 1 if wanted < count else 0
    if wanted > count:
        start_more(st, time, wanted - count)
    elif g[BELOW] >= g[PATIENCE]:
        g[BELOW] = 0
        for e in range(g[ENGINES]):
            if st.ei[e][STATUS] == UPON and (idle < 0 or load_of(st, e) <= load_of(st, idle)):
                idle = e
        if idle >= 0 and count > 1:
            st.ei[idle][STATUS] = DRAINING
    if g[INSIDE] > 0 or g[CURSOR] < g[COUNT] or g[FINAL] == 0:
        pend(st, time + st.gf[EVERY], TICK, -1)


def start_more(st: Any, time: float, more: int) -> None:
    """Engines about to stop take requests again; stopped ones start cold."""
    for e in range(st.g[ENGINES]):
        if more > 0 and st.ei[e][STATUS] == DRAINING:
            st.ei[e][STATUS] = UPON
            more -= 1
    for e in range(st.g[ENGINES]):
        if more > 0 and st.ei[e][STATUS] == OFF:
            st.ei[e][STATUS] = STARTING
            st.ef[e][SINCE] = time
            pend(st, time + st.gf[COLD], UP, e)
            more -= 1


def happen(st: Any) -> None:
    """The first of what is pending."""
    g = st.g
    time, kind, what = st.pt[0], st.pq[0] % 4, st.ps[0]
    heap_pop(st.pt, st.pq, st.ps, g[NPEND])
    g[NPEND] -= 1
    if kind == ARRIVE:
        if g[CURSOR] < g[COUNT]:
            arrive(st, time)
    elif kind == HANDOVER:
        hand_over(st, what, time)
    elif kind == TICK:
        tick(st, time)
    elif st.ei[what][STATUS] == STARTING:
        st.ei[what][STATUS] = UPON
        st.ef[what][TIME] = time


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
        best, clock = -1, math.inf
        for e in range(g[ENGINES]):
            if st.ei[e][NRUN] + st.ei[e][NWAIT] > 0 and st.ef[e][TIME] < clock:
                best, clock = e, st.ef[e][TIME]
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
                if e != best and st.ei[e][NRUN] + st.ei[e][NWAIT] > 0:
                    after = min(after, earliest_end(st, e))
        go(st, best, after)
