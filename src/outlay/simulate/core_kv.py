"""Inner loop, part one: heaps, cache blocks and the prefix cache of an engine.

Written over plain indexing so that the same functions run on lists in Python and compiled on arrays. An engine's
free blocks are counted; with the prefix cache on they also stand in a list from least to most recently freed, in
which whole prefix blocks keep their key until they are taken for something else (vLLM v1's block pool). `st` is a
`State`; its tables are flat, a row of so many numbers after another, indexed by the names below.
"""

from __future__ import annotations

from typing import Any, NamedTuple

# Columns of a request in the system (integers), and its times.
ID, INP, OUT, TGT, LEFT, START, CROSS, ANON, DONE, CACHED, PRE, HSTART, HLEN, NREG, VIA, ENG = range(16)
NEXTW, PREVR, NEXTR, SEQ, READY, STAGE, FROM = range(16, 23)  # FROM: the step from which an engine knows of it
SLOT_INTS = 23
ARR, SCHED, FIRST, GAP = range(4)
SLOT_FLOATS = 4
# Columns of an engine.
STEP, NDEC, NRUN, FREE, FRESH, WHEAD, WTAIL, NWAIT, RTAIL, PART, STATUS, LHEAD, LTAIL, POOL, KEYS, TOTAL = range(16)
AWAY, LEAD, GONE = range(16, 19)  # on their way to it; first of the ranks it steps with; steps those have gone
RUNS, CHUNK, CHAIN = range(19, 22)  # of a rank's next step: running, prompt tokens, first whose prompt it completes
MOVING = 22  # requests whose prompt it has computed, and whose cache is on its way to the other pool
TAKEN = 23  # of the first of ranks that wait for each other: steps gone when they last took prompts up
COMING = 24  # decode steps to come of those it has taken up whose prompt is not computed yet
ENGINE_INTS = 25
TIME, READ, BUSY, SINCE, ON, READER, LAUNCH, LAUNCH_NEXT = range(8)
OWN, ADDED = range(8, 10)  # of a rank's next step: seconds that it takes by itself, and what prompts add of them
ENGINE_FLOATS = 10
# What a pool of engines is, in integers and in floats.
SEQS, BUDGET, BLOCK, PERIOD, DRAFTED, SHARED, HASHED, PREFILL_FIRST, LENGTH, WHOLE, RANKS, GATHERS = range(12)
POOL_INTS = 12
READ_S, PAIR_S, WINDOW_S, WINDOW, SELECT_S, SELECT_AFTER, YIELD, RESERVE, HIT, TAKE_UP, HELD, POLLED = range(12)
POOL_FLOATS = 12
# Global counters and settings.
CURSOR, COUNT, FINAL, CLOSED, NPEND, NSLOT, NOUT, NLOG, ADMITTED, ROUTER, TURN, FEEDBACK, NNODE, SLACK = range(14)
OUTROOM, LOGROOM, FIRST_POOL, ENGINES, ARRIVED, INSIDE, BASE, TURN2, WIDE, PHASES, MASK, LEAVES = range(14, 26)
WITHIN = 26  # of those inside, in the first pool; in the second after it
GLOBAL_INTS = 28
THINK, MOVE, MOVE_TOKEN, OUTSIDE, OUTSIDE_TOKEN, OUTSIDE_PASS = range(6)
STAYED = 6  # times at which requests left the first pool, less those at which they came; the second's after it
GLOBAL_FLOATS = 8
ROUND_ROBIN, LEAST_LOADED, PREFIX = range(3)
# What the autoscaler of a pool is: its engines (from BEGIN, below END), a GROUP of them a replica; where its looks are.
BEGIN, END, GROUP, LOW, HIGH, PATIENCE, LOOKS, LOOKED, PAID, ANSWERING, WANTED = range(11)
SCALE_INTS = 11
EVERY, COLD, TARGET, SEEN_S, SEEN = range(5)  # the last look: when, and request-seconds until then
SCALE_FLOATS = 5


class State(NamedTuple):
    """Everything that moves. Tables are rows of numbers. An index finds the node of a prefix block on an engine."""

    si: Any  # requests in the system
    sf: Any
    ei: Any  # engines
    ef: Any
    pi: Any  # pools
    pf: Any
    g: Any  # counters and settings
    gf: Any
    hk: Any  # by engine, a heap of running requests: step of the end, order of admission, slot
    hq: Any
    hs: Any
    cross: Any  # by engine, running requests by the step, modulo a period, at which they take another block
    base: Any  # by pool, seconds of a decode step by running requests: of an engine, of ranks together beside it
    cknots: Any  # tokens of a chunk
    nknots: Any  # running requests; the first is none
    chunk: Any  # by pool, seconds a chunk takes more, by running requests and tokens: of an engine, of ranks together
    arr: Any  # requests to come
    inp: Any
    out: Any
    hfrom: Any
    hlen: Any
    hid: Any  # prefix blocks of requests, one after another
    held: Any  # whether a request holds that block through the prefix cache
    pt: Any  # a heap of what comes: time, order, kind, slot
    pq: Any
    ps: Any
    free_slots: Any
    nodes: Any  # free blocks and prefix blocks: previous, next, key, users, blocks
    free_nodes: Any
    ikeys: Any
    inodes: Any
    oi: Any  # requests that have ended
    of: Any
    li: Any  # runs of steps
    lf: Any
    ai: Any  # autoscalers of pools
    af: Any
    looks: Any  # replicas that the last looks of each wanted
    clocks: Any  # trees of least values over engines: when each must next be looked at
    loads: Any  # requests inside those that take more, a tree for each pool


PREV, NEXT, KEY, USERS, BLOCKS = range(5)
NODE_INTS = 5
OUT_INTS, OUT_FLOATS, LOG_INTS, LOG_FLOATS = 7, 4, 5, 3


def passes(st: Any, pool: int, time: float, more: int) -> None:
    """So many requests come into a pool, or leave it."""
    st.g[WITHIN + pool] += more
    st.gf[STAYED + pool] -= more * time


def heap_push(keys: Any, order: Any, slots: Any, base: int, n: int, key: float, seq: int, slot: int) -> None:
    """Into a heap of n that begins at `base`."""
    i = n
    while i > 0:
        up = (i - 1) // 2
        at = base + up
        if keys[at] < key or (keys[at] == key and order[at] < seq):
            break
        keys[base + i], order[base + i], slots[base + i] = keys[at], order[at], slots[at]
        i = up
    keys[base + i], order[base + i], slots[base + i] = key, seq, slot


def heap_drop(keys: Any, order: Any, slots: Any, base: int, n: int, place: int) -> None:
    """Take the one at a place away from a heap of n that begins at `base`; the first is at 0."""
    last = base + n - 1
    if base + place == last:
        return
    key, seq, slot = keys[last], order[last], slots[last]
    i = place
    while True:
        down = base + 2 * i + 1
        if down >= last:
            break
        if down + 1 < last and (
            keys[down + 1] < keys[down] or (keys[down + 1] == keys[down] and order[down + 1] < order[down])
        ):
            down += 1
        if key < keys[down] or (key == keys[down] and seq < order[down]):
            break
        keys[base + i], order[base + i], slots[base + i] = keys[down], order[down], slots[down]
        i = down - base
    while i > 0:
        up = base + (i - 1) // 2
        if keys[up] < key or (keys[up] == key and order[up] < seq):
            break
        keys[base + i], order[base + i], slots[base + i] = keys[up], order[up], slots[up]
        i = up - base
    keys[base + i], order[base + i], slots[base + i] = key, seq, slot


def node_push(st: Any, e: int, node: int) -> None:
    """A node becomes the most recently freed of its engine."""
    row, engine = (node * NODE_INTS, e * ENGINE_INTS)
    st.nodes[row + PREV], st.nodes[row + NEXT] = (st.ei[engine + LTAIL], -1)
    if st.ei[engine + LTAIL] >= 0:
        st.nodes[st.ei[engine + LTAIL] * NODE_INTS + NEXT] = node
    else:
        st.ei[engine + LHEAD] = node
    st.ei[engine + LTAIL] = node


def node_out(st: Any, e: int, node: int) -> None:
    row, engine = (node * NODE_INTS, e * ENGINE_INTS)
    before, after = (st.nodes[row + PREV], st.nodes[row + NEXT])
    if before >= 0:
        st.nodes[before * NODE_INTS + NEXT] = after
    else:
        st.ei[engine + LHEAD] = after
    if after >= 0:
        st.nodes[after * NODE_INTS + PREV] = before
    else:
        st.ei[engine + LTAIL] = before


def node_new(st: Any, key: int, users: int, blocks: int) -> int:
    st.g[NNODE] -= 1
    node = st.free_nodes[st.g[NNODE]]
    row = node * NODE_INTS
    st.nodes[row + KEY], st.nodes[row + USERS], st.nodes[row + BLOCKS] = (key, users, blocks)
    return int(node)


def node_free(st: Any, node: int) -> None:
    st.free_nodes[st.g[NNODE]] = node
    st.g[NNODE] += 1


def index_place(key: int, mask: int) -> int:
    """Where a key is looked for first."""
    return (key ^ (key >> 9) ^ (key >> 21)) * 40503 & mask


def index_find(st: Any, key: int) -> int:
    """The node of a prefix block on an engine, or -1."""
    keys, mask = st.ikeys, st.g[MASK]
    at = index_place(key, mask)
    while keys[at] >= 0:
        if keys[at] == key:
            return int(st.inodes[at])
        at = (at + 1) & mask
    return -1


def index_put(st: Any, key: int, node: int) -> None:
    """A key that is not there yet; the table is twice as large as it can be full."""
    keys, mask = st.ikeys, st.g[MASK]
    at = index_place(key, mask)
    while keys[at] >= 0:
        at = (at + 1) & mask
    keys[at], st.inodes[at] = key, node


def index_drop(st: Any, key: int) -> None:
    """Take a key out and close the gap, so that what is behind it is found (Knuth, volume 3, 6.4, algorithm R)."""
    keys, nodes, mask = st.ikeys, st.inodes, st.g[MASK]
    at = index_place(key, mask)
    while keys[at] != key:
        at = (at + 1) & mask
    gap = at
    while True:
        at = (at + 1) & mask
        if keys[at] < 0:
            break
        if ((at - index_place(keys[at], mask)) & mask) >= ((at - gap) & mask):
            keys[gap], nodes[gap] = keys[at], nodes[at]
            gap = at
    keys[gap] = -1


def take_blocks(st: Any, e: int, count: int) -> None:
    """Blocks for new tokens: never used ones, then the least recently freed, whose prefix is forgotten."""
    engine = e * ENGINE_INTS
    st.ei[engine + FREE] -= count
    if st.pi[st.ei[engine + POOL] * POOL_INTS + HASHED] == 0:
        return
    while count > st.ei[engine + FRESH]:
        node = st.ei[engine + LHEAD]
        row = node * NODE_INTS
        if st.nodes[row + KEY] >= 0:
            index_drop(st, st.nodes[row + KEY])
            st.nodes[row + KEY] = -1
        wanted = count - st.ei[engine + FRESH]
        if st.nodes[row + BLOCKS] <= wanted:
            st.ei[engine + FRESH] += st.nodes[row + BLOCKS]
            node_out(st, e, node)
            node_free(st, node)
        else:
            st.nodes[row + BLOCKS] -= wanted
            st.ei[engine + FRESH] = count
    st.ei[engine + FRESH] -= count


def forget(st: Any, e: int) -> None:
    """An engine that stops, with nothing inside, loses what its cache holds."""
    engine = e * ENGINE_INTS
    take_blocks(st, e, st.ei[engine + FREE])
    st.ei[engine + FREE] = st.ei[engine + FRESH] = st.ei[engine + TOTAL]


def give_back(st: Any, e: int, slot: int) -> None:
    """All blocks of a request, its last first, as an engine frees them."""
    engine, row = (e * ENGINE_INTS, slot * SLOT_INTS)
    blocks = st.si[row + ANON]
    st.si[row + ANON] = 0
    st.ei[engine + FREE] += blocks
    pool = st.ei[engine + POOL] * POOL_INTS
    if st.pi[pool + HASHED] == 0:
        return
    if blocks > 0:
        tail = st.ei[engine + LTAIL]
        if tail >= 0 and st.nodes[tail * NODE_INTS + KEY] < 0:
            st.nodes[tail * NODE_INTS + BLOCKS] += blocks
        else:
            node_push(st, e, node_new(st, -1, 0, blocks))
    first = st.si[row + HSTART] - st.g[BASE]
    for place in range(first + st.si[row + NREG] - 1, first - 1, -1):
        if st.held[place] == 1:
            st.held[place] = 0
            node = index_find(st, st.hid[place] * st.g[ENGINES] + e)
            st.nodes[node * NODE_INTS + USERS] -= 1
            if st.nodes[node * NODE_INTS + USERS] == 0:
                node_push(st, e, node)
                st.ei[engine + FREE] += st.pi[pool + HASHED]
    st.si[row + NREG] = 0
    st.si[row + VIA] = 0


def prefix_hits(st: Any, e: int, slot: int) -> tuple[int, int]:
    """Leading prefix blocks of a request that are cached, and cache blocks of them that nobody holds."""
    row = slot * SLOT_INTS
    hashed, engines = (st.pi[st.ei[e * ENGINE_INTS + POOL] * POOL_INTS + HASHED], st.g[ENGINES])
    found, idle = (0, 0)
    if hashed == 0:
        return (found, idle)
    first = st.si[row + HSTART] - st.g[BASE]
    for place in range(first, first + st.si[row + HLEN]):
        key = st.hid[place] * engines + e
        node = index_find(st, key)
        if node < 0:
            break
        if st.nodes[node * NODE_INTS + USERS] == 0:
            idle += hashed
        found += 1
    return (found, idle)


def hold_hits(st: Any, e: int, slot: int, hits: int) -> None:
    """The request becomes a user of the cached blocks it begins with."""
    row, engine = (slot * SLOT_INTS, e * ENGINE_INTS)
    first = st.si[row + HSTART] - st.g[BASE]
    for place in range(first, first + hits):
        node = index_find(st, st.hid[place] * st.g[ENGINES] + e)
        if st.nodes[node * NODE_INTS + USERS] == 0:
            node_out(st, e, node)
            st.ei[engine + FREE] -= st.nodes[node * NODE_INTS + BLOCKS]
        st.nodes[node * NODE_INTS + USERS] += 1
        st.held[place] = 1
    st.si[row + NREG] = hits
    st.si[row + VIA] = hits * st.pi[st.ei[engine + POOL] * POOL_INTS + HASHED]


def register(st: Any, e: int, slot: int) -> None:
    """Prompt blocks computed so far can be found by others from now on."""
    row = slot * SLOT_INTS
    pool = st.ei[e * ENGINE_INTS + POOL] * POOL_INTS
    hashed = st.pi[pool + HASHED]
    if hashed == 0:
        return
    whole = min(st.si[row + DONE] // st.pi[pool + SHARED], st.si[row + HLEN])
    first = st.si[row + HSTART] - st.g[BASE]
    while st.si[row + NREG] < whole:
        place = first + st.si[row + NREG]
        key = st.hid[place] * st.g[ENGINES] + e
        if index_find(st, key) < 0:
            index_put(st, key, node_new(st, key, 1, hashed))
            st.held[place] = 1
            st.si[row + ANON] -= hashed
            st.si[row + VIA] += hashed
        st.si[row + NREG] += 1
