"""Inner loop, part one: heaps, cache blocks and the prefix cache of an engine.

Written over plain indexing so that the same functions run on lists in Python and compiled on arrays. An engine's
free blocks are counted; with the prefix cache on they also stand in a list from least to most recently freed, in
which whole prefix blocks keep their key until they are taken for something else (vLLM v1's block pool). `st` is a
`State`; rows of its tables are indexed by the names below.
"""

from __future__ import annotations

from typing import Any, NamedTuple

# Columns of a request in the system (integers), and its times.
ID, INP, OUT, TGT, LEFT, START, CROSS, ANON, DONE, CACHED, PRE, HSTART, HLEN, NREG, VIA, ENG = range(16)
NEXTW, PREVR, NEXTR, SEQ, READY, STAGE = range(16, 22)
SLOT_INTS = 22
ARR, SCHED, FIRST, GAP = range(4)
SLOT_FLOATS = 4
# Columns of an engine.
STEP, NDEC, NRUN, FREE, FRESH, WHEAD, WTAIL, NWAIT, RTAIL, PART, STATUS, LHEAD, LTAIL, POOL, KEYS, TOTAL = range(16)
ENGINE_INTS = 16
TIME, READ, BUSY, SINCE, ON = range(5)
ENGINE_FLOATS = 5
# What a pool of engines is, in integers and in floats.
SEQS, BUDGET, BLOCK, PERIOD, DRAFTED, SHARED, HASHED, PREFILL_FIRST, LENGTH, WHOLE = range(10)
POOL_INTS = 10
READ_S, PAIR_S, WINDOW_S, WINDOW, YIELD, RESERVE, HIT = range(7)
POOL_FLOATS = 7
# Global counters and settings.
CURSOR, COUNT, FINAL, CLOSED, NPEND, NSLOT, NOUT, NLOG, ADMITTED, ROUTER, TURN, FEEDBACK, NNODE, SLACK = range(14)
OUTROOM, LOGROOM, FIRST_POOL, ENGINES, LOW, HIGH, BELOW, PATIENCE, ARRIVED, INSIDE, BASE, TURN2 = range(14, 26)
GLOBAL_INTS = 26
THINK, MOVE, MOVE_TOKEN, EVERY, COLD, TARGET = range(6)
GLOBAL_FLOATS = 6


class State(NamedTuple):
    """Everything that moves. Tables are rows of numbers; keys of `cached` are a prefix block's id and its engine."""

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
    base: Any  # by pool, seconds of a decode step by running requests
    cknots: Any  # tokens of a chunk
    nknots: Any  # running requests; the first is none
    chunk: Any  # by pool, seconds a chunk takes more, by running requests and tokens
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
    cached: Any
    oi: Any  # requests that have ended
    of: Any
    li: Any  # runs of steps
    lf: Any


PREV, NEXT, KEY, USERS, BLOCKS = range(5)
NODE_INTS = 5


def heap_push(keys: Any, order: Any, slots: Any, n: int, key: float, seq: int, slot: int) -> None:
    i = n
    while i > 0:
        up = (i - 1) // 2
        if keys[up] < key or (keys[up] == key and order[up] < seq):
            break
        keys[i], order[i], slots[i] = keys[up], order[up], slots[up]
        i = up
    keys[i], order[i], slots[i] = key, seq, slot


def heap_pop(keys: Any, order: Any, slots: Any, n: int) -> None:
    """Take the first away; n is how many there were."""
    heap_drop(keys, order, slots, n, 0)


def heap_drop(keys: Any, order: Any, slots: Any, n: int, at: int) -> None:
    """Take the one at a place away."""
    last = n - 1
    if at == last:
        return
    key, seq, slot = keys[last], order[last], slots[last]
    i = at
    while True:
        down = 2 * i + 1
        if down >= last:
            break
        if down + 1 < last and (
            keys[down + 1] < keys[down] or (keys[down + 1] == keys[down] and order[down + 1] < order[down])
        ):
            down += 1
        if key < keys[down] or (key == keys[down] and seq < order[down]):
            break
        keys[i], order[i], slots[i] = keys[down], order[down], slots[down]
        i = down
    while i > 0:
        up = (i - 1) // 2
        if keys[up] < key or (keys[up] == key and order[up] < seq):
            break
        keys[i], order[i], slots[i] = keys[up], order[up], slots[up]
        i = up
    keys[i], order[i], slots[i] = key, seq, slot


def node_push(st: Any, e: int, node: int) -> None:
    """A node becomes the most recently freed of its engine."""
    row, engine = st.nodes[node], st.ei[e]
    row[PREV], row[NEXT] = engine[LTAIL], -1
    if engine[LTAIL] >= 0:
        st.nodes[engine[LTAIL]][NEXT] = node
    else:
        engine[LHEAD] = node
    engine[LTAIL] = node


def node_out(st: Any, e: int, node: int) -> None:
    row, engine = st.nodes[node], st.ei[e]
    before, after = row[PREV], row[NEXT]
    if before >= 0:
        st.nodes[before][NEXT] = after
    else:
        engine[LHEAD] = after
    if after >= 0:
        st.nodes[after][PREV] = before
    else:
        engine[LTAIL] = before


def node_new(st: Any, key: int, users: int, blocks: int) -> int:
    st.g[NNODE] -= 1
    node = st.free_nodes[st.g[NNODE]]
    row = st.nodes[node]
    row[KEY], row[USERS], row[BLOCKS] = key, users, blocks
    return int(node)


def node_free(st: Any, node: int) -> None:
    st.free_nodes[st.g[NNODE]] = node
    st.g[NNODE] += 1


def take_blocks(st: Any, e: int, count: int) -> None:
    """Blocks for new tokens: never used ones, then the least recently freed, whose prefix is forgotten."""
    engine = st.ei[e]
    engine[FREE] -= count
    if st.pi[engine[POOL]][HASHED] == 0:
        return
    while count > engine[FRESH]:
        node = engine[LHEAD]
        row = st.nodes[node]
        if row[KEY] >= 0:
            del st.cached[row[KEY]]
            row[KEY] = -1
        wanted = count - engine[FRESH]
        if row[BLOCKS] <= wanted:
            engine[FRESH] += row[BLOCKS]
            node_out(st, e, node)
            node_free(st, node)
        else:
            row[BLOCKS] -= wanted
            engine[FRESH] = count
    engine[FRESH] -= count


def give_back(st: Any, e: int, slot: int) -> None:
    """All blocks of a request, its last first, as an engine frees them."""
    engine, row = st.ei[e], st.si[slot]
    blocks = row[ANON]
    row[ANON] = 0
    engine[FREE] += blocks
    pool = st.pi[engine[POOL]]
    if pool[HASHED] == 0:
        return
    if blocks > 0:
        tail = engine[LTAIL]
        if tail >= 0 and st.nodes[tail][KEY] < 0:
            st.nodes[tail][BLOCKS] += blocks
        else:
            node_push(st, e, node_new(st, -1, 0, blocks))
    first = row[HSTART] - st.g[BASE]
    for place in range(first + row[NREG] - 1, first - 1, -1):
        if st.held[place] == 1:
            st.held[place] = 0
            node = st.cached[st.hid[place] * st.g[ENGINES] + e]
            st.nodes[node][USERS] -= 1
            if st.nodes[node][USERS] == 0:
                node_push(st, e, node)
                engine[FREE] += pool[HASHED]
    row[NREG] = 0
    row[VIA] = 0


def prefix_hits(st: Any, e: int, slot: int) -> tuple[int, int]:
    """Leading prefix blocks of a request that are cached, and cache blocks of them that nobody holds."""
    row = st.si[slot]
    hashed, engines = st.pi[st.ei[e][POOL]][HASHED], st.g[ENGINES]
    found, idle = 0, 0
    if hashed == 0:
        return found, idle
    first = row[HSTART] - st.g[BASE]
    for place in range(first, first + row[HLEN]):
        key = st.hid[place] * engines + e
        if key not in st.cached:
            break
        if st.nodes[st.cached[key]][USERS] == 0:
            idle += hashed
        found += 1
    return found, idle


def hold_hits(st: Any, e: int, slot: int, hits: int) -> None:
    """The request becomes a user of the cached blocks it begins with."""
    row, engine = st.si[slot], st.ei[e]
    first = row[HSTART] - st.g[BASE]
    for place in range(first, first + hits):
        node = st.cached[st.hid[place] * st.g[ENGINES] + e]
        if st.nodes[node][USERS] == 0:
            node_out(st, e, node)
            engine[FREE] -= st.nodes[node][BLOCKS]
        st.nodes[node][USERS] += 1
        st.held[place] = 1
    row[NREG] = hits
    row[VIA] = hits * st.pi[engine[POOL]][HASHED]


def register(st: Any, e: int, slot: int) -> None:
    """Prompt blocks computed so far can be found by others from now on."""
    row = st.si[slot]
    pool = st.pi[st.ei[e][POOL]]
    hashed = pool[HASHED]
    if hashed == 0:
        return
    whole = min(row[DONE] // pool[SHARED], row[HLEN])
    first = row[HSTART] - st.g[BASE]
    while row[NREG] < whole:
        place = first + row[NREG]
        key = st.hid[place] * st.g[ENGINES] + e
        if key not in st.cached:
            st.cached[key] = node_new(st, key, 1, hashed)
            st.held[place] = 1
            row[ANON] -= hashed
            row[VIA] += hashed
        row[NREG] += 1
