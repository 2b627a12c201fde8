"""Inner loop, part five: requests come and are dealt to engines, engines work in the order of their clocks.

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
)
from outlay.simulate.core_engine import (
    go,
)
from outlay.simulate.core_kv import (
    ANSWERING,
    ARRIVED,
    AWAY,
    CLOSED,
    COLD,
    COUNT,
    CURSOR,
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
    LOW,
    NLOG,
    NOUT,
    NPEND,
    NSLOT,
    ON,
    OUTROOM,
    PAID,
    PATIENCE,
    SINCE,
    SLOT_INTS,
    STATUS,
    TARGET,
    TIME,
    WANTED,
    forget,
    heap_drop,
)
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

FINISHED, MORE, PLACES, FLUSH = range(4)  # why `run` returns


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
        touch(st, e)


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


def remember(st: Any, wanted: int) -> None:
    """The last looks, and the most that any of them wanted."""
    g = st.g
    place = g[LOOKED] % g[PATIENCE]
    gone = st.looks[place]
    st.looks[place] = wanted
    g[LOOKED] += 1
    if wanted >= g[WANTED]:
        g[WANTED] = wanted
    elif gone == g[WANTED]:
        g[WANTED] = wanted
        for at in range(g[PATIENCE]):
            g[WANTED] = max(g[WANTED], st.looks[at])


def tick(st: Any, time: float) -> None:
    """The autoscaler counts and decides."""
    g, count = (st.g, 0)
    if over(st):
        return
    for first in range(0, g[ENGINES], g[GROUP]):
        status = st.ei[first * ENGINE_INTS + STATUS]
        if status == DRAINING and replica_load(st, first) == 0:
            turn(st, first, OFF, time)
        elif status in (UPON, STARTING):
            count += 1
    wanted = min(max(math.ceil(g[INSIDE] / st.gf[TARGET]), g[LOW]), g[HIGH])
    remember(st, wanted)
    if wanted > count:
        start_more(st, time, wanted - count)
    elif g[WANTED] < count:
        stop_some(st, time, count - g[WANTED])
    note_replicas(st, time)
    pend(st, time + st.gf[EVERY] * looks_until_something(st, time), TICK, -1)


def looks_until_something(st: Any, time: float) -> int:
    """How many looks on the next one is that can decide anything: with nothing inside and the fewest standing, that
    after the next request comes."""
    g = st.g
    calm = g[INSIDE] == 0 and g[PAID] == g[LOW] and g[ANSWERING] == g[LOW] and g[WANTED] == g[LOW]
    if not calm or g[CLOSED] > 0 or g[CURSOR] >= g[COUNT]:
        return 1
    looks: int = math.ceil((st.arr[g[CURSOR]] - time) / st.gf[EVERY])
    return max(looks, 1)


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
    time, kind, what = (st.pt[0], st.pq[0] % KINDS, st.ps[0])
    heap_drop(st.pt, st.pq, st.ps, 0, g[NPEND], 0)
    g[NPEND] -= 1
    if kind == ARRIVE:
        if g[CURSOR] < g[COUNT]:
            arrive(st, time)
    elif kind == HANDOVER:
        hand_over(st, what, time)
    elif kind == JOIN:
        st.ei[st.si[what * SLOT_INTS + ENG] * ENGINE_INTS + AWAY] -= 1
        join(st, st.si[what * SLOT_INTS + ENG], what, time)
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
        go(st, best, after)
        touch(st, best)
