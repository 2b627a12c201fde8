"""Inner loop, part two: what one engine does in a step, and in a run of equal steps at once.

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
    CROSS,
    DONE,
    ENG,
    FIRST,
    FREE,
    GAP,
    HASHED,
    HIT,
    ID,
    INP,
    INSIDE,
    KEYS,
    LEFT,
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
    PAIR_S,
    PART,
    PERIOD,
    POOL,
    PRE,
    PREFILL_FIRST,
    PREVR,
    READ,
    READY,
    RESERVE,
    RTAIL,
    SCHED,
    SEQ,
    SEQS,
    SHARED,
    STAGE,
    START,
    STEP,
    TGT,
    THINK,
    TIME,
    VIA,
    WHEAD,
    WHOLE,
    WINDOW,
    WINDOW_S,
    WTAIL,
    YIELD,
    give_back,
    heap_drop,
    heap_push,
    hold_hits,
    prefix_hits,
    register,
    take_blocks,
)

RUN, GAPPED = 0, 1  # kinds of a row in the log of steps
ARRIVE, HANDOVER, TICK, UP = range(4)  # kinds of what comes


def chunk_s(st: Any, pool: int, running: int, tokens: int) -> float:
    """Seconds a step takes more with so many prompt tokens; by itself where nothing runs. Bilinear."""
    ck, nk = st.cknots, st.nknots
    low, high = 0, len(ck) - 1
    while high - low > 1:
        mid = (low + high) // 2
        if ck[mid] <= tokens:
            low = mid
        else:
            high = mid
    x = (tokens - ck[low]) / (ck[low + 1] - ck[low])
    if running == 0:
        row = st.chunk[pool][0]
        return row[low] * (1.0 - x) + row[low + 1] * x  # type: ignore[no-any-return]
    at = 1
    while at + 2 < len(nk) and nk[at + 1] < running:
        at += 1
    y = (running - nk[at]) / (nk[at + 1] - nk[at])
    one, two = st.chunk[pool][at], st.chunk[pool][at + 1]
    return (one[low] * (1.0 - x) + one[low + 1] * x) * (1.0 - y) + (two[low] * (1.0 - x) + two[low + 1] * x) * y  # type: ignore[no-any-return]


def attention_s(st: Any, pool: int, tokens: int, before: int) -> float:
    """Attention of a chunk over what stands before it and half of itself."""
    span = before + 0.5 * tokens
    pf = st.pf[pool]
    return tokens * (pf[PAIR_S] * span + pf[WINDOW_S] * min(span, pf[WINDOW]))  # type: ignore[no-any-return]


def pend(st: Any, time: float, kind: int, slot: int) -> None:
    """Something that will happen."""
    g = st.g
    heap_push(st.pt, st.pq, st.ps, g[NPEND], time, g[ADMITTED] * 4 + kind, slot)
    g[ADMITTED] += 1
    g[NPEND] += 1


def log(st: Any, e: int, kind: int, steps: int, running: int, tokens: int, time: float, seconds: float) -> None:
    g = st.g
    ints, floats = st.li[g[NLOG]], st.lf[g[NLOG]]
    ints[0], ints[1], ints[2], ints[3], ints[4] = e, kind, steps, running, tokens
    floats[0], floats[1], floats[2] = time, seconds, st.ef[e][READ]
    g[NLOG] += 1


def leave(st: Any, slot: int, time: float, dropped: int) -> None:
    """A request ends: its row is written, its place is free, and in a closed loop the next one comes."""
    g, row, floats = st.g, st.si[slot], st.sf[slot]
    ints, times = st.oi[g[NOUT]], st.of[g[NOUT]]
    ints[0], ints[1], ints[2], ints[3], ints[4] = row[ID], row[INP], row[OUT], row[CACHED], row[PRE]
    ints[5], ints[6] = row[ENG], dropped
    times[0], times[1], times[2], times[3] = floats[ARR], floats[SCHED], floats[FIRST], time
    g[NOUT] += 1
    st.free_slots[g[NSLOT]] = slot
    g[NSLOT] += 1
    g[INSIDE] -= 1
    if g[CLOSED] > 0:
        pend(st, time + st.gf[THINK], ARRIVE, -1)


def unlink(st: Any, e: int, slot: int) -> None:
    """Out of the engine's running requests."""
    row, engine = st.si[slot], st.ei[e]
    if row[PREVR] >= 0:
        st.si[row[PREVR]][NEXTR] = row[NEXTR]
    if row[NEXTR] >= 0:
        st.si[row[NEXTR]][PREVR] = row[PREVR]
    else:
        engine[RTAIL] = row[PREVR]
    engine[NRUN] -= 1


def crossings(row: Any, period: int, step: int) -> int:
    """Blocks a running request has taken before a step since it began to decode."""
    if step <= row[CROSS]:
        return 0
    return int((step - 1 - row[CROSS]) // period + 1)


def out_of_decode(st: Any, e: int, slot: int, done: int) -> None:
    """A request decodes no longer; its blocks become part of what it gives back."""
    engine, row = st.ei[e], st.si[slot]
    pool = engine[POOL]
    period = st.pi[pool][PERIOD]
    row[ANON] += crossings(row, period, engine[STEP])
    st.cross[e][row[CROSS] % period] -= 1
    st.ef[e][READ] -= row[TGT] + st.pf[pool][YIELD] * (done + 1)
    engine[KEYS] -= row[START] + row[LEFT]
    engine[NDEC] -= 1


def into_decode(st: Any, e: int, slot: int, late: int) -> None:
    """A request whose prompt is computed decodes from the engine's next step on; late: that step's blocks are dealt."""
    engine, row = st.ei[e], st.si[slot]
    pool = engine[POOL]
    pi = st.pi[pool]
    room = (row[ANON] + row[VIA]) * pi[BLOCK] - row[TGT]
    row[START] = engine[STEP]
    row[CROSS] = engine[STEP] + min(int(room / st.pf[pool][YIELD]), pi[PERIOD] - 1 + late)
    st.cross[e][row[CROSS] % pi[PERIOD]] += 1
    st.ef[e][READ] += row[TGT] + st.pf[pool][YIELD]
    end = engine[STEP] + row[LEFT]
    engine[KEYS] += end
    heap_push(st.hk[e], st.hq[e], st.hs[e], engine[NDEC], float(end), row[SEQ], slot)
    engine[NDEC] += 1


def give_way(st: Any, e: int) -> int:
    """The last admitted gives its blocks up and waits first in line; whether it needed a block in this step."""
    engine = st.ei[e]
    slot = engine[RTAIL]
    row, needed = st.si[slot], 0
    if engine[PART] == slot:
        engine[PART] = -1
    else:
        done = engine[STEP] - row[START]
        period = st.pi[engine[POOL]][PERIOD]
        needed = 1 if engine[STEP] >= row[CROSS] and (engine[STEP] - row[CROSS]) % period == 0 else 0
        for at in range(engine[NDEC]):
            if st.hs[e][at] == slot:
                heap_drop(st.hk[e], st.hq[e], st.hs[e], engine[NDEC], at)
                break
        out_of_decode(st, e, slot, done)
        row[TGT] += 1 + int(done * st.pf[engine[POOL]][YIELD])
        row[LEFT] -= done + 1
        st.sf[slot][GAP] = st.ef[e][TIME]
    give_back(st, e, slot)
    unlink(st, e, slot)
    row[DONE] = 0
    row[READY] = 0
    row[PRE] += 1
    row[NEXTW] = engine[WHEAD]
    engine[WHEAD] = slot
    if engine[WTAIL] < 0:
        engine[WTAIL] = slot
    engine[NWAIT] += 1
    return needed


def secure(st: Any, e: int) -> bool:
    """Blocks for this step of all that decode, the last admitted giving way; whether any did."""
    engine = st.ei[e]
    phase = engine[STEP] % st.pi[engine[POOL]][PERIOD]
    gave = False
    need = due(st, e, phase)
    while need > engine[FREE]:
        need -= give_way(st, e)
        gave = True
    take_blocks(st, e, need)
    return gave


def due(st: Any, e: int, phase: int) -> int:
    """Running requests that take a block in the engine's next step, whose phase is given."""
    return int(st.cross[e][phase])


def offer(st: Any, e: int, budget: int, free: int) -> tuple[bool, int, int, int]:
    """Whether the first in line can start now: (yes, cached prefix blocks, tokens computed already, tokens now)."""
    engine = st.ei[e]
    slot, pool = engine[WHEAD], engine[POOL]
    row, pi, pf = st.si[slot], st.pi[pool], st.pf[pool]
    block = pi[BLOCK]
    if row[READY] == 1:
        end = row[TGT] + ahead(st, pool)
        return (end + block - 1) // block <= free, 0, row[TGT], 0
    if budget <= 0:
        return False, 0, 0, 0
    hits, idle = prefix_hits(st, e, slot)
    known = min(hits * pi[SHARED], (row[TGT] - 1) // block * block)
    if pi[HASHED] == 0 and pf[HIT] > 0.0:
        known = min(int(pf[HIT] * row[INP]), row[TGT] - 1)
    now = min(budget, row[TGT] - known)
    end = row[TGT] if pi[WHOLE] == 1 else known + now
    need = float((end + block - 1) // block - hits * pi[HASHED] + idle)
    if pf[RESERVE] > 0.0:
        rest = max(engine[KEYS] - engine[NDEC] * engine[STEP], 0) + row[LEFT]
        need += pf[RESERVE] * pf[YIELD] * rest / block
        if engine[NRUN] == 0:
            need = 0.0
    return need <= free, hits, known, now


def ahead(st: Any, pool: int) -> int:
    """Tokens that one who joins within a step writes in it."""
    return 0 if st.pi[pool][PREFILL_FIRST] == 1 else math.ceil(st.pf[pool][YIELD])


def admit(st: Any, e: int, hits: int, known: int, now: int) -> int:
    """The first in line starts: it takes its blocks and joins the running requests."""
    engine = st.ei[e]
    slot = engine[WHEAD]
    row, pi, g = st.si[slot], st.pi[engine[POOL]], st.g
    engine[WHEAD] = row[NEXTW]
    if engine[WHEAD] < 0:
        engine[WTAIL] = -1
    engine[NWAIT] -= 1
    row[PREVR], row[NEXTR] = engine[RTAIL], -1
    if engine[RTAIL] >= 0:
        st.si[engine[RTAIL]][NEXTR] = slot
    engine[RTAIL] = slot
    engine[NRUN] += 1
    row[SEQ] = g[ADMITTED]
    g[ADMITTED] += 1
    if hits > 0:
        hold_hits(st, e, slot, hits)
    end = known + now if now > 0 else known + ahead(st, engine[POOL])
    need = (end + pi[BLOCK] - 1) // pi[BLOCK] - hits * pi[HASHED]
    take_blocks(st, e, need)
    row[ANON] = need
    row[DONE] = known + now
    if st.sf[slot][SCHED] < 0.0:
        st.sf[slot][SCHED] = st.ef[e][TIME]
        if row[STAGE] == 0:
            row[CACHED] = known
    register(st, e, slot)
    return int(slot)


def prompts(st: Any, e: int, budget: int, gave: bool) -> tuple[int, float, int]:
    """Prompt tokens of this step: how many, their attention, and requests now complete as a chain."""
    engine = st.ei[e]
    pool = engine[POOL]
    pi = st.pi[pool]
    tokens, attention, head, tail = 0, 0.0, -1, -1
    slot = engine[PART]
    if slot >= 0 and budget > 0:
        row = st.si[slot]
        now = min(budget, row[TGT] - row[DONE])
        block = pi[BLOCK]
        need = (row[DONE] + now + block - 1) // block - (row[DONE] + block - 1) // block
        if need > engine[FREE]:
            give_way(st, e)
            gave = True
        else:
            take_blocks(st, e, need)
            row[ANON] += need
            attention += attention_s(st, pool, now, row[DONE])
            row[DONE] += now
            tokens, budget = tokens + now, budget - now
            register(st, e, slot)
            if row[DONE] >= row[TGT]:
                engine[PART] = -1
                row[NEXTW] = -1
                head, tail = slot, slot
    while not gave and engine[WHEAD] >= 0 and engine[NRUN] < pi[SEQS] and engine[PART] < 0:
        fits, hits, known, now = offer(st, e, budget, engine[FREE])
        if not fits:
            break
        slot = admit(st, e, hits, known, now)
        row = st.si[slot]
        if now == 0:
            into_decode(st, e, slot, 1 - pi[PREFILL_FIRST])
            continue
        attention += attention_s(st, pool, now, known)
        tokens, budget = tokens + now, budget - now
        if row[DONE] < row[TGT]:
            engine[PART] = slot
            break
        row[NEXTW] = -1
        if tail >= 0:
            st.si[tail][NEXTW] = slot
        else:
            head = slot
        tail = slot
    return tokens, attention, head
