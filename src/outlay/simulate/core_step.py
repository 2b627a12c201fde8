"""Inner loop, part three: what one engine does in a step, and in a run of equal steps at once.

The order is vLLM v1's: running requests take their tokens and blocks first, the last admitted gives way when blocks
run out (its blocks are freed and it is computed again), then the prompt under way, then waiting ones first come,
first served, within one budget of tokens. With `PREFILL_FIRST` prompts stop decoding, as in SGLang. Between two
events every step has the same running requests, so the time of many is a sum in closed form.
"""

from __future__ import annotations

import math
from typing import Any

from outlay.simulate.core_kv import (
    ADMITTED,
    ANON,
    ARR,
    BLOCK,
    CACHED,
    CLOSED,
    COMING,
    CROSS,
    DONE,
    ENG,
    ENGINE_FLOATS,
    ENGINE_INTS,
    FIRST,
    FREE,
    FROM,
    GAP,
    GONE,
    HASHED,
    HIT,
    ID,
    INP,
    INSIDE,
    KEYS,
    LEAD,
    LEFT,
    LOG_FLOATS,
    LOG_INTS,
    NDEC,
    NEXTR,
    NEXTW,
    NLOG,
    NOUT,
    NPEND,
    NRUN,
    NSLOT,
    NWAIT,
    OUT,
    OUT_FLOATS,
    OUT_INTS,
    PART,
    PERIOD,
    PHASES,
    POOL,
    POOL_FLOATS,
    POOL_INTS,
    PRE,
    PREFILL_FIRST,
    PREVR,
    RANKS,
    READ,
    READY,
    RESERVE,
    RTAIL,
    SCHED,
    SEQ,
    SEQS,
    SHARED,
    SLOT_FLOATS,
    SLOT_INTS,
    STAGE,
    START,
    STEP,
    TGT,
    THINK,
    TIME,
    VIA,
    WHEAD,
    WHOLE,
    WIDE,
    WTAIL,
    YIELD,
    give_back,
    heap_drop,
    heap_push,
    hold_hits,
    passes,
    prefix_hits,
    register,
    take_blocks,
)
from outlay.simulate.core_time import attention_s

RUN, GAPPED, SCALED = range(3)  # kinds of a row in the log of steps; the last has replicas paid for and answering
ARRIVE, HANDOVER, TICK, UP, JOIN = range(5)  # kinds of what comes
KINDS = 8


def pend(st: Any, time: float, kind: int, slot: int) -> None:
    """Something that will happen."""
    g = st.g
    heap_push(st.pt, st.pq, st.ps, 0, g[NPEND], time, g[ADMITTED] * KINDS + kind, slot)
    g[ADMITTED] += 1
    g[NPEND] += 1


def log(st: Any, e: int, kind: int, steps: int, running: int, tokens: int, time: float, seconds: float, prompts_s: float
        ) -> None:
    """A row of the log of steps. prompts_s: of the seconds, what prompts take."""
    g = st.g
    ints, floats = (g[NLOG] * LOG_INTS, g[NLOG] * LOG_FLOATS)
    li, lf = st.li, st.lf
    li[ints], li[ints + 1], li[ints + 2], li[ints + 3], li[ints + 4] = e, kind, steps, running, tokens
    lf[floats], lf[floats + 1], lf[floats + 2] = time, seconds, prompts_s
    g[NLOG] += 1


def leave(st: Any, slot: int, time: float, dropped: int) -> None:
    """A request ends: its row is written, its place is free, and in a closed loop the next one comes."""
    g, row, floats = (st.g, slot * SLOT_INTS, slot * SLOT_FLOATS)
    ints, times = (g[NOUT] * OUT_INTS, g[NOUT] * OUT_FLOATS)
    si, sf, oi, of = st.si, st.sf, st.oi, st.of
    oi[ints], oi[ints + 1], oi[ints + 2] = si[row + ID], si[row + INP], si[row + OUT]
    oi[ints + 3], oi[ints + 4], oi[ints + 5], oi[ints + 6] = si[row + CACHED], si[row + PRE], si[row + ENG], dropped
    of[times], of[times + 1], of[times + 2], of[times + 3] = (
        sf[floats + ARR],
        sf[floats + SCHED],
        sf[floats + FIRST],
        time,
    )
    g[NOUT] += 1
    st.free_slots[g[NSLOT]] = slot
    g[NSLOT] += 1
    g[INSIDE] -= 1
    passes(st, si[row + STAGE], time, -1)
    if g[CLOSED] > 0:
        pend(st, time + st.gf[THINK], ARRIVE, -1)


def unlink(st: Any, e: int, slot: int) -> None:
    """Out of the engine's running requests."""
    row, engine = (slot * SLOT_INTS, e * ENGINE_INTS)
    if st.si[row + PREVR] >= 0:
        st.si[st.si[row + PREVR] * SLOT_INTS + NEXTR] = st.si[row + NEXTR]
    if st.si[row + NEXTR] >= 0:
        st.si[st.si[row + NEXTR] * SLOT_INTS + PREVR] = st.si[row + PREVR]
    else:
        st.ei[engine + RTAIL] = st.si[row + PREVR]
    st.ei[engine + NRUN] -= 1


def crossings(first: int, period: int, step: int) -> int:
    """Blocks a running request has taken before a step, the first at step `first`."""
    return 0 if step <= first else (step - 1 - first) // period + 1


def out_of_decode(st: Any, e: int, slot: int, done: int) -> None:
    """A request decodes no longer; its blocks become part of what it gives back."""
    engine, row = (e * ENGINE_INTS, slot * SLOT_INTS)
    pool = st.ei[engine + POOL]
    period = st.pi[pool * POOL_INTS + PERIOD]
    st.si[row + ANON] += crossings(st.si[row + CROSS], period, st.ei[engine + STEP])
    st.cross[e * st.g[PHASES] + st.si[row + CROSS] % period] -= 1
    st.ef[e * ENGINE_FLOATS + READ] -= st.si[row + TGT] + st.pf[pool * POOL_FLOATS + YIELD] * (done + 1)
    st.ei[engine + KEYS] -= st.si[row + START] + st.si[row + LEFT]
    st.ei[engine + NDEC] -= 1


def into_decode(st: Any, e: int, slot: int, late: int) -> None:
    """A request whose prompt is computed decodes from the engine's next step on; late: that step's blocks are dealt."""
    engine, row = (e * ENGINE_INTS, slot * SLOT_INTS)
    pool = st.ei[engine + POOL]
    pi = pool * POOL_INTS
    room = (st.si[row + ANON] + st.si[row + VIA]) * st.pi[pi + BLOCK] - st.si[row + TGT]
    st.si[row + START] = st.ei[engine + STEP]
    st.si[row + CROSS] = st.ei[engine + STEP] + min(
        int(room / st.pf[pool * POOL_FLOATS + YIELD]), st.pi[pi + PERIOD] - 1 + late
    )
    st.cross[e * st.g[PHASES] + st.si[row + CROSS] % st.pi[pi + PERIOD]] += 1
    st.ef[e * ENGINE_FLOATS + READ] += st.si[row + TGT] + st.pf[pool * POOL_FLOATS + YIELD]
    end = st.ei[engine + STEP] + st.si[row + LEFT]
    st.ei[engine + KEYS] += end
    heap_push(st.hk, st.hq, st.hs, e * st.g[WIDE], st.ei[engine + NDEC], float(end), st.si[row + SEQ], slot)
    st.ei[engine + NDEC] += 1


def give_way(st: Any, e: int) -> int:
    """The last admitted gives its blocks up and waits first in line; whether it needed a block in this step."""
    engine = e * ENGINE_INTS
    slot = st.ei[engine + RTAIL]
    row, needed = (slot * SLOT_INTS, 0)
    if st.ei[engine + PART] == slot:
        st.ei[engine + PART] = -1
        st.ei[engine + COMING] -= st.si[row + LEFT]
    else:
        done = st.ei[engine + STEP] - st.si[row + START]
        period = st.pi[st.ei[engine + POOL] * POOL_INTS + PERIOD]
        needed = (
            1
            if st.ei[engine + STEP] >= st.si[row + CROSS] and (st.ei[engine + STEP] - st.si[row + CROSS]) % period == 0
            else 0
        )
        for at in range(st.ei[engine + NDEC]):
            if st.hs[e * st.g[WIDE] + at] == slot:
                heap_drop(st.hk, st.hq, st.hs, e * st.g[WIDE], st.ei[engine + NDEC], at)
                break
        out_of_decode(st, e, slot, done)
        st.si[row + TGT] += 1 + int(done * st.pf[st.ei[engine + POOL] * POOL_FLOATS + YIELD])
        st.si[row + LEFT] -= done + 1
        st.sf[slot * SLOT_FLOATS + GAP] = st.ef[e * ENGINE_FLOATS + TIME]
    give_back(st, e, slot)
    unlink(st, e, slot)
    st.si[row + DONE] = 0
    st.si[row + READY] = 0
    st.si[row + PRE] += 1
    st.si[row + NEXTW] = st.ei[engine + WHEAD]
    st.ei[engine + WHEAD] = slot
    if st.ei[engine + WTAIL] < 0:
        st.ei[engine + WTAIL] = slot
    st.ei[engine + NWAIT] += 1
    return needed


def secure(st: Any, e: int) -> bool:
    """Blocks for this step of all that decode, the last admitted giving way; whether any did."""
    engine = e * ENGINE_INTS
    phase = st.ei[engine + STEP] % st.pi[st.ei[engine + POOL] * POOL_INTS + PERIOD]
    gave = False
    need = due(st, e, phase)
    while need > st.ei[engine + FREE]:
        need -= give_way(st, e)
        gave = True
    take_blocks(st, e, need)
    return gave


def due(st: Any, e: int, phase: int) -> int:
    """Running requests that take a block in the engine's next step, whose phase is given."""
    return int(st.cross[e * st.g[PHASES] + phase])


def running_beside(st: Any, e: int) -> int:
    """Requests running on an engine and on the ranks that it steps with."""
    engine = e * ENGINE_INTS
    ranks = st.pi[st.ei[engine + POOL] * POOL_INTS + RANKS]
    if ranks == 1:
        return int(st.ei[engine + NRUN])
    found, lead = (0, st.ei[engine + LEAD])
    for rank in range(lead, lead + ranks):
        found += st.ei[rank * ENGINE_INTS + NRUN]
    return int(found)


def known_of(st: Any, e: int) -> int:
    """Decode steps until the engine knows of the first in line; none where nothing runs."""
    engine = e * ENGINE_INTS
    later = int(st.si[st.ei[engine + WHEAD] * SLOT_INTS + FROM] - st.ei[engine + GONE])
    return later if later > 0 and running_beside(st, e) > 0 else 0


def offer(st: Any, e: int, budget: int, free: int) -> tuple[bool, int, int, int, float]:
    """Whether the first in line can start now: (yes, cached prefix blocks, tokens computed already, tokens now, blocks
    it is short of only because of what is kept for others)."""
    engine = e * ENGINE_INTS
    slot, pool = (st.ei[engine + WHEAD], st.ei[engine + POOL])
    row, pi, pf = (slot * SLOT_INTS, pool * POOL_INTS, pool * POOL_FLOATS)
    block = st.pi[pi + BLOCK]
    if st.si[row + READY] == 1:
        end = st.si[row + TGT] + ahead(st, pool)
        return ((end + block - 1) // block <= free, 0, st.si[row + TGT], 0, 0.0)
    if budget <= 0:
        return (False, 0, 0, 0, 0.0)
    hits, idle = prefix_hits(st, e, slot)
    known = min(hits * st.pi[pi + SHARED], (st.si[row + TGT] - 1) // block * block)
    if st.pi[pi + HASHED] == 0 and st.pf[pf + HIT] > 0.0:
        known = min(int(st.pf[pf + HIT] * st.si[row + INP]), st.si[row + TGT] - 1)
    now = min(budget, st.si[row + TGT] - known)
    end = st.si[row + TGT] if st.pi[pi + WHOLE] == 1 else known + now
    need = float((end + block - 1) // block - hits * st.pi[pi + HASHED] + idle)
    if st.pf[pf + RESERVE] > 0.0:
        rest = max(st.ei[engine + KEYS] - st.ei[engine + NDEC] * st.ei[engine + STEP], 0)
        rest += st.ei[engine + COMING] + st.si[row + LEFT]
        if st.ei[engine + NRUN] > 0:
            need += st.pf[pf + RESERVE] * st.pf[pf + YIELD] * rest / block
    return (need <= free, hits, known, now, need - free)


def ahead(st: Any, pool: int) -> int:
    """Tokens that one who joins within a step writes in it."""
    return 0 if st.pi[pool * POOL_INTS + PREFILL_FIRST] == 1 else math.ceil(st.pf[pool * POOL_FLOATS + YIELD])


def admit(st: Any, e: int, hits: int, known: int, now: int) -> int:
    """The first in line starts: it takes its blocks and joins the running requests."""
    engine = e * ENGINE_INTS
    slot = st.ei[engine + WHEAD]
    row, pi, g = (slot * SLOT_INTS, st.ei[engine + POOL] * POOL_INTS, st.g)
    st.ei[engine + WHEAD] = st.si[row + NEXTW]
    if st.ei[engine + WHEAD] < 0:
        st.ei[engine + WTAIL] = -1
    st.ei[engine + NWAIT] -= 1
    st.si[row + PREVR], st.si[row + NEXTR] = (st.ei[engine + RTAIL], -1)
    if st.ei[engine + RTAIL] >= 0:
        st.si[st.ei[engine + RTAIL] * SLOT_INTS + NEXTR] = slot
    st.ei[engine + RTAIL] = slot
    st.ei[engine + NRUN] += 1
    st.si[row + SEQ] = g[ADMITTED]
    g[ADMITTED] += 1
    if hits > 0:
        hold_hits(st, e, slot, hits)
    end = known + now if now > 0 else known + ahead(st, st.ei[engine + POOL])
    need = (end + st.pi[pi + BLOCK] - 1) // st.pi[pi + BLOCK] - hits * st.pi[pi + HASHED]
    take_blocks(st, e, need)
    st.si[row + ANON] = need
    st.si[row + DONE] = known + now
    if st.sf[slot * SLOT_FLOATS + SCHED] < 0.0:
        st.sf[slot * SLOT_FLOATS + SCHED] = st.ef[e * ENGINE_FLOATS + TIME]
        if st.si[row + STAGE] == 0:
            st.si[row + CACHED] = known
    register(st, e, slot)
    return int(slot)


def prompts(st: Any, e: int, budget: int, gave: bool) -> tuple[int, float, int]:
    """Prompt tokens of this step: how many, their attention, and requests now complete as a chain."""
    engine = e * ENGINE_INTS
    pool = st.ei[engine + POOL]
    pi = pool * POOL_INTS
    tokens, attention, head, tail = (0, 0.0, -1, -1)
    slot = st.ei[engine + PART]
    if slot >= 0 and budget > 0:
        row = slot * SLOT_INTS
        now = min(budget, st.si[row + TGT] - st.si[row + DONE])
        block = st.pi[pi + BLOCK]
        need = (st.si[row + DONE] + now + block - 1) // block - (st.si[row + DONE] + block - 1) // block
        if need > st.ei[engine + FREE]:
            give_way(st, e)
            gave = True
        else:
            take_blocks(st, e, need)
            st.si[row + ANON] += need
            attention += attention_s(st, pool, now, st.si[row + DONE])
            st.si[row + DONE] += now
            tokens, budget = (tokens + now, budget - now)
            register(st, e, slot)
            if st.si[row + DONE] >= st.si[row + TGT]:
                st.ei[engine + PART] = -1
                st.si[row + NEXTW] = -1
                head, tail = (slot, slot)
    while (
        not gave
        and st.ei[engine + WHEAD] >= 0
        and (st.ei[engine + NRUN] < st.pi[pi + SEQS])
        and (st.ei[engine + PART] < 0)
        and known_of(st, e) == 0
    ):
        fits, hits, known, now, _ = offer(st, e, budget, st.ei[engine + FREE])
        if not fits:
            break
        slot = admit(st, e, hits, known, now)
        row = slot * SLOT_INTS
        if now == 0:
            if st.sf[slot * SLOT_FLOATS + FIRST] < 0.0:
                st.sf[slot * SLOT_FLOATS + FIRST] = st.ef[e * ENGINE_FLOATS + TIME]
            into_decode(st, e, slot, 1 - st.pi[pi + PREFILL_FIRST])
            continue
        st.ei[engine + COMING] += st.si[row + LEFT]
        attention += attention_s(st, pool, now, known)
        tokens, budget = (tokens + now, budget - now)
        if st.si[row + DONE] < st.si[row + TGT]:
            st.ei[engine + PART] = slot
            break
        st.si[row + NEXTW] = -1
        if tail >= 0:
            st.si[tail * SLOT_INTS + NEXTW] = slot
        else:
            head = slot
        tail = slot
    return (tokens, attention, head)
