"""Inner loop, part seven: requests come and are dealt to engines, engines work in the order of their clocks.

`run` returns when everything is done or when it needs more requests, more places for them, or room to write: the
caller sees to that and calls again, so that a trace of any length passes through bounded memory.
"""

from __future__ import annotations

import math
from typing import Any

from outlay.simulate.core_come import (
    DRAINING,
    OFF,
    STARTING,
    UPON,
    arrive,
    due_beside,
    hand_over,
    join,
    load_of,
    next_due,
    touch,
    touch_all,
)
from outlay.simulate.core_engine import (
    go,
)
from outlay.simulate.core_kv import (
    ANSWERING,
    ARRIVED,
    AWAY,
    BEGIN,
    CLOSED,
    COLD,
    COUNT,
    CURSOR,
    END,
    ENG,
    ENGINE_FLOATS,
    ENGINE_INTS,
    ENGINES,
    EVERY,
    FEEDBACK,
    FINAL,
    GROUP,
    HIGH,
    INSIDE,
    LOGROOM,
    LOOKED,
    LOOKS,
    LOW,
    MOVING,
    NLOG,
    NOUT,
    NPEND,
    NSLOT,
    ON,
    OUTROOM,
    PAID,
    PATIENCE,
    POOL,
    SCALE_FLOATS,
    SCALE_INTS,
    SEEN,
    SEEN_S,
    SINCE,
    SLOT_INTS,
    STATUS,
    STAYED,
    TARGET,
    TIME,
    WANTED,
    WITHIN,
    forget,
    heap_drop,
)
from outlay.simulate.core_ranks import go_together, ranks_of
from outlay.simulate.core_step import (
    ARRIVE,
    HANDOVER,
    JOIN,
    KINDS,
    SCALED,
    TICK,
    UP,
    log,
    pend,
)

NONE = 1e-3  # of a replica: not worth another
FINISHED, MORE, PLACES, FLUSH = range(4)  # why `run` returns


def replica_load(st: Any, first: int) -> int:
    """Requests inside a replica, whose engines begin at `first`."""
    load = 0
    for e in range(first, first + group_of(st, first)):
        load += load_of(st, e)
    return load


def holds_nothing(st: Any, first: int) -> bool:
    """Whether a replica may stop: nobody inside, and no cache of it on its way to the other pool."""
    moving = 0
    for e in range(first, first + group_of(st, first)):
        moving += st.ei[e * ENGINE_INTS + MOVING]
    return bool(moving + replica_load(st, first) == 0)


def group_of(st: Any, e: int) -> int:
    """Engines of a replica."""
    return int(st.ai[st.ei[e * ENGINE_INTS + POOL] * SCALE_INTS + GROUP])


def turn(st: Any, first: int, status: int, time: float) -> None:
    """A replica's engines change their status; it is paid for from its start until it is off."""
    for e in range(first, first + group_of(st, first)):
        row, floats = (e * ENGINE_INTS + STATUS, e * ENGINE_FLOATS)
        if status == OFF:
            st.ef[floats + ON] += time - st.ef[floats + SINCE]
            forget(st, e)
        elif status == STARTING:
            st.ef[floats + SINCE] = time
        elif st.ei[row] == STARTING:
            st.ef[floats + TIME] = time
        st.ei[row] = status
        touch(st, e)


def over(st: Any) -> bool:
    """Whether the last request has ended."""
    return bool(st.g[INSIDE] == 0 and st.g[CURSOR] >= st.g[COUNT] and st.g[FINAL] == 1)


def note_replicas(st: Any, pool: int, time: float) -> None:
    """A row in the log where the number of a pool's replicas paid for, or of those that answer, has changed."""
    at, paid, answering = (pool * SCALE_INTS, 0, 0)
    if over(st):
        return
    for first in range(st.ai[at + BEGIN], st.ai[at + END], st.ai[at + GROUP]):
        status = st.ei[first * ENGINE_INTS + STATUS]
        paid += 1 if status != OFF else 0
        answering += 1 if status == UPON else 0
    if paid != st.ai[at + PAID] or answering != st.ai[at + ANSWERING]:
        st.ai[at + PAID], st.ai[at + ANSWERING] = (paid, answering)
        log(st, pool, SCALED, paid, answering, 0, time, 0.0, 0.0)


def remember(st: Any, pool: int, wanted: int) -> None:
    """The last looks, and the most that any of them wanted."""
    ai, at = (st.ai, pool * SCALE_INTS)
    looks, patience = (ai[at + LOOKS], ai[at + PATIENCE])
    place = looks + ai[at + LOOKED] % patience
    gone = st.looks[place]
    st.looks[place] = wanted
    ai[at + LOOKED] += 1
    if wanted >= ai[at + WANTED]:
        ai[at + WANTED] = wanted
    elif gone == ai[at + WANTED]:
        ai[at + WANTED] = wanted
        for one in range(looks, looks + patience):
            ai[at + WANTED] = max(ai[at + WANTED], st.looks[one])


def stayed_s(st: Any, pool: int, time: float) -> float:
    """Request-seconds inside a pool until a time; those whose cache is on its way are in the second of two."""
    return float(st.gf[STAYED + pool] + st.g[WITHIN + pool] * time)


def tick(st: Any, pool: int, time: float) -> None:
    """A pool's autoscaler counts and decides, from the first request on."""
    if over(st):
        return
    if st.g[ARRIVED] > 0:
        decide(st, pool, time)
        note_replicas(st, pool, time)
    looks, floats = (looks_until_something(st, pool, time), pool * SCALE_FLOATS)
    st.af[floats + SEEN_S] = time + st.af[floats + EVERY] * (looks - 1)
    st.af[floats + SEEN] = stayed_s(st, pool, st.af[floats + SEEN_S])
    pend(st, time + st.af[floats + EVERY] * looks, TICK, pool)


def decide(st: Any, pool: int, time: float) -> None:
    """So many replicas as keep the mean number inside since the last look at what is aimed at."""
    ai, at, floats, count = (st.ai, pool * SCALE_INTS, pool * SCALE_FLOATS, 0)
    for first in range(ai[at + BEGIN], ai[at + END], ai[at + GROUP]):
        status = st.ei[first * ENGINE_INTS + STATUS]
        if status == DRAINING and holds_nothing(st, first):
            turn(st, first, OFF, time)
        elif status in (UPON, STARTING):
            count += 1
    inside = (stayed_s(st, pool, time) - st.af[floats + SEEN]) / (time - st.af[floats + SEEN_S])
    wanted = min(max(math.ceil(inside / st.af[floats + TARGET] - NONE), ai[at + LOW]), ai[at + HIGH])
    remember(st, pool, wanted)
    if wanted > count:
        start_more(st, pool, time, wanted - count)
    elif ai[at + WANTED] < count:
        stop_some(st, pool, time, count - ai[at + WANTED])


def looks_until_something(st: Any, pool: int, time: float) -> int:
    """How many looks on the next one is that can decide anything: with nothing inside and the fewest standing, that
    after the next request comes."""
    g, ai, at = (st.g, st.ai, pool * SCALE_INTS)
    calm = g[INSIDE] == 0 and ai[at + PAID] == ai[at + LOW] and ai[at + ANSWERING] == ai[at + LOW]
    calm = g[ARRIVED] == 0 or (calm and ai[at + WANTED] == ai[at + LOW])
    if not calm or g[CLOSED] > 0 or g[CURSOR] >= g[COUNT]:
        return 1
    looks: int = math.ceil((st.arr[g[CURSOR]] - time) / st.af[pool * SCALE_FLOATS + EVERY])
    return max(looks, 1)


def start_more(st: Any, pool: int, time: float, more: int) -> None:
    """Replicas about to stop take requests again; stopped ones start cold."""
    ai, at = (st.ai, pool * SCALE_INTS)
    for first in range(ai[at + BEGIN], ai[at + END], ai[at + GROUP]):
        if more > 0 and st.ei[first * ENGINE_INTS + STATUS] == DRAINING:
            turn(st, first, UPON, time)
            more -= 1
    for first in range(ai[at + BEGIN], ai[at + END], ai[at + GROUP]):
        if more > 0 and st.ei[first * ENGINE_INTS + STATUS] == OFF:
            turn(st, first, STARTING, time)
            pend(st, time + st.af[pool * SCALE_FLOATS + COLD], UP, first)
            more -= 1


def stop_some(st: Any, pool: int, time: float, fewer: int) -> None:
    """Those still starting go, the last started first; then the emptiest take no more requests."""
    ai, at = (st.ai, pool * SCALE_INTS)
    while fewer > 0:
        chosen = -1
        for first in range(ai[at + BEGIN], ai[at + END], ai[at + GROUP]):
            status = st.ei[first * ENGINE_INTS + STATUS]
            if status == STARTING and (
                chosen < 0 or st.ef[first * ENGINE_FLOATS + SINCE] >= st.ef[chosen * ENGINE_FLOATS + SINCE]
            ):
                chosen = first
        if chosen >= 0:
            turn(st, chosen, OFF, time)
            fewer -= 1
            continue
        for first in range(ai[at + BEGIN], ai[at + END], ai[at + GROUP]):
            if st.ei[first * ENGINE_INTS + STATUS] == UPON and (
                chosen < 0 or replica_load(st, first) <= replica_load(st, chosen)
            ):
                chosen = first
        turn(st, chosen, OFF if holds_nothing(st, chosen) else DRAINING, time)
        fewer -= 1


def up(st: Any, first: int, time: float) -> None:
    """A replica that has started takes requests, unless it was stopped since, and starts again."""
    pool = st.ei[first * ENGINE_INTS + POOL]
    cold_s = st.af[pool * SCALE_FLOATS + COLD]
    if st.ei[first * ENGINE_INTS + STATUS] == STARTING and st.ef[first * ENGINE_FLOATS + SINCE] + cold_s <= time:
        turn(st, first, UPON, time)
        note_replicas(st, pool, time)


def happen(st: Any) -> None:
    """The first of what is pending."""
    g = st.g
    time, kind, what = (st.pt[0], st.pq[0] % KINDS, st.ps[0])
    heap_drop(st.pt, st.pq, st.ps, 0, g[NPEND], 0)
    g[NPEND] -= 1
    if kind == ARRIVE:
        if g[CURSOR] < g[COUNT]:
            arrive(st, time)
    elif kind == HANDOVER:
        st.ei[st.si[what * SLOT_INTS + ENG] * ENGINE_INTS + MOVING] -= 1
        hand_over(st, what, time)
    elif kind == JOIN:
        st.ei[st.si[what * SLOT_INTS + ENG] * ENGINE_INTS + AWAY] -= 1
        join(st, st.si[what * SLOT_INTS + ENG], what, time)
    elif kind == TICK:
        tick(st, what, time)
    else:
        up(st, what, time)


def run(st: Any) -> int:
    """Work until done, or until something is wanted of the caller."""
    g = st.g
    while True:
        if g[NOUT] >= g[OUTROOM] or g[NLOG] >= g[LOGROOM]:
            return FLUSH
        if g[CURSOR] >= g[COUNT] and g[FINAL] == 0:
            return MORE
        if g[NSLOT] == 0 or g[NPEND] + g[ENGINES] >= len(st.pt):  # a look may start every engine
            return PLACES
        comes = math.inf
        if g[CURSOR] < g[COUNT] and (g[CLOSED] == 0 or g[ARRIVED] < g[CLOSED]):
            comes = st.arr[g[CURSOR]]
        pending = st.pt[0] if g[NPEND] > 0 else math.inf
        clock = st.clocks[1]
        after = min(comes, pending)
        if clock == math.inf and after == math.inf:
            return FINISHED
        if after <= clock:
            if comes <= pending:
                arrive(st, comes)
            else:
                happen(st)
            continue
        best = next_due(st)
        if g[FEEDBACK] == 1:  # what ends elsewhere may bring more, but not before the step that it ends with begins
            after = min(after, due_beside(st, best))
        if ranks_of(st, best) == 1:
            go(st, best, after)
        else:
            go_together(st, best, after)
        touch_all(st, best)
