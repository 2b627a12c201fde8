"""Inner loop, part four: steps with prompts in them, and runs of steps without."""

from __future__ import annotations

from typing import Any

from outlay.simulate.core_kv import (
    BLOCK,
    BUDGET,
    BUSY,
    COMING,
    DRAFTED,
    ENGINE_FLOATS,
    ENGINE_INTS,
    ENGINES,
    FEEDBACK,
    FIRST,
    FIRST_POOL,
    FREE,
    GAP,
    GONE,
    INP,
    LEFT,
    LOGROOM,
    MOVE,
    MOVE_TOKEN,
    MOVING,
    NDEC,
    NEXTW,
    NLOG,
    NOUT,
    NRUN,
    NWAIT,
    OUT,
    OUTROOM,
    PART,
    PERIOD,
    PHASES,
    POOL,
    POOL_FLOATS,
    POOL_INTS,
    PREFILL_FIRST,
    READ,
    RESERVE,
    SEQS,
    SLOT_FLOATS,
    SLOT_INTS,
    STAGE,
    STEP,
    TIME,
    WHEAD,
    WIDE,
    YIELD,
    give_back,
    heap_drop,
    passes,
    take_blocks,
)
from outlay.simulate.core_step import (
    GAPPED,
    HANDOVER,
    RUN,
    due,
    into_decode,
    known_of,
    leave,
    log,
    offer,
    out_of_decode,
    pend,
    prompts,
    secure,
    unlink,
)
from outlay.simulate.core_time import chunk_s, decode_s, longer_s, steps_before, steps_s

NEVER = 2**60  # steps


def end_running(st: Any, e: int) -> None:
    """Those whose last token came with the step just done."""
    engine = e * ENGINE_INTS
    while st.ei[engine + NDEC] > 0 and st.hk[e * st.g[WIDE]] <= st.ei[engine + STEP]:
        slot = st.hs[e * st.g[WIDE]]
        heap_drop(st.hk, st.hq, st.hs, e * st.g[WIDE], st.ei[engine + NDEC], 0)
        out_of_decode(st, e, slot, st.si[slot * SLOT_INTS + LEFT])
        give_back(st, e, slot)
        unlink(st, e, slot)
        leave(st, slot, st.ef[e * ENGINE_FLOATS + TIME], 0)


def end_prompts(st: Any, e: int, head: int) -> None:
    """Requests whose prompt is now computed have their first token, or the next where they gave way before.

    Of two pools the one that answers sends it, once it has the cache and has taken the request up.
    """
    now = st.ef[e * ENGINE_FLOATS + TIME]
    slot = head
    while slot >= 0:
        row, floats = (slot * SLOT_INTS, slot * SLOT_FLOATS)
        after = st.si[row + NEXTW]
        st.ei[e * ENGINE_INTS + COMING] -= st.si[row + LEFT]
        over = st.si[row + STAGE] == 0 and st.g[FIRST_POOL] < st.g[ENGINES] and (st.si[row + OUT] > 1)
        if st.sf[floats + FIRST] < 0.0:
            st.sf[floats + FIRST] = -1.0 if over else now
        elif st.sf[floats + GAP] >= 0.0:
            log(st, e, GAPPED, 1, 1, 0, st.sf[floats + GAP], now - st.sf[floats + GAP], 0.0)
            st.sf[floats + GAP] = -1.0
        if over or st.si[row + LEFT] <= 0:
            give_back(st, e, slot)
            unlink(st, e, slot)
        if over:
            passes(st, 0, now, -1)
            passes(st, 1, now, 1)
            st.ei[e * ENGINE_INTS + MOVING] += 1
            pend(st, now + st.gf[MOVE] + st.gf[MOVE_TOKEN] * st.si[row + INP], HANDOVER, slot)
        elif st.si[row + LEFT] <= 0:
            leave(st, slot, now, 0)
        else:
            into_decode(st, e, slot, 0)
        slot = after


def take_prompts(st: Any, e: int, more: bool) -> tuple[int, int, float, int]:
    """Who takes part in an engine's next step, which has prompts in it: (running, prompt tokens, seconds that these add
    to what the engine takes by itself, requests whose prompt it completes as a chain). more: than the one under way.
    """
    engine = e * ENGINE_INTS
    pool = st.ei[engine + POOL]
    pi = pool * POOL_INTS
    first = st.pi[pi + PREFILL_FIRST] == 1
    gave = False
    if not first:
        gave = secure(st, e)
    running = 0 if first else st.ei[engine + NDEC]
    budget = st.pi[pi + BUDGET] - running * (1 + st.pi[pi + DRAFTED])
    tokens, added, head = prompts(st, e, budget, gave or not more)
    if not first:
        running = st.ei[engine + NDEC]
    if tokens > 0:
        added += chunk_s(st, pool, 0, running, float(tokens))
    return (running, tokens, added, head)


def step_done(st: Any, e: int, running: int, tokens: int, head: int, seconds: float, prompts_s: float) -> None:
    """One step has passed on an engine."""
    engine, floats = (e * ENGINE_INTS, e * ENGINE_FLOATS)
    log(st, e, RUN, 1, running, tokens, st.ef[floats + TIME], seconds, prompts_s)
    st.ef[floats + TIME] += seconds
    st.ef[floats + BUSY] += seconds
    if running > 0:
        st.ef[floats + READ] += running * st.pf[st.ei[engine + POOL] * POOL_FLOATS + YIELD]
        st.ei[engine + STEP] += 1
        end_running(st, e)
    end_prompts(st, e, head)


def mixed_step(st: Any, e: int) -> None:
    """One step with prompts in it."""
    running, tokens, added, head = take_prompts(st, e, True)
    if running == 0 and tokens == 0:
        return
    seconds = added
    if running > 0:
        seconds += decode_s(st, e, running)
        st.ei[e * ENGINE_INTS + GONE] += 1
    step_done(st, e, running, tokens, head, seconds, added)


def steps_ahead(st: Any, e: int, most: int) -> int:
    """Decode steps, up to `most`, until one ends or blocks run out; none where the next one is short of blocks."""
    engine = e * ENGINE_INTS
    period = st.pi[st.ei[engine + POOL] * POOL_INTS + PERIOD]
    steps = min(int(st.hk[e * st.g[WIDE]]) - st.ei[engine + STEP], most)
    if st.ei[engine + FREE] < st.ei[engine + NDEC] * ((steps + period - 1) // period):
        steps = min(steps, steps_with_blocks(st, e, st.ei[engine + STEP] % period, period))
    return int(steps)


def blocks_ahead(st: Any, e: int, steps: int) -> int:
    """Blocks that those who run take in so many decode steps."""
    engine = e * ENGINE_INTS
    period = st.pi[st.ei[engine + POOL] * POOL_INTS + PERIOD]
    phase, need = (st.ei[engine + STEP] % period, steps // period * st.ei[engine + NDEC])
    for at in range(steps % period):
        need += st.cross[e * st.g[PHASES] + (phase + at) % period]
    return int(need)


def run_done(st: Any, e: int, steps: int, seconds: float) -> None:
    """So many decode steps have passed on an engine, whose blocks are taken."""
    engine, floats = (e * ENGINE_INTS, e * ENGINE_FLOATS)
    running = st.ei[engine + NDEC]
    log(st, e, RUN, steps, running, 0, st.ef[floats + TIME], seconds, 0.0)
    st.ef[floats + TIME] += seconds
    st.ef[floats + BUSY] += seconds
    st.ei[engine + GONE] += steps
    if running > 0:
        st.ef[floats + READ] += steps * (running * st.pf[st.ei[engine + POOL] * POOL_FLOATS + YIELD])
        st.ei[engine + STEP] += steps
        end_running(st, e)


def decode_run(st: Any, e: int, limit: float, most: int) -> None:
    """All steps, up to `most`, until one ends, blocks run out, or the next would start at `limit`; one at least."""
    engine = e * ENGINE_INTS
    steps = steps_ahead(st, e, most)
    dealt = steps == 0
    if dealt:
        secure(st, e)
        steps = 1
        if st.ei[engine + NDEC] == 0:
            return
    one, more = (decode_s(st, e, st.ei[engine + NDEC]), longer_s(st, e))
    if not dealt:
        steps = steps_before(one, more, limit - st.ef[e * ENGINE_FLOATS + TIME], steps)
        take_blocks(st, e, blocks_ahead(st, e, steps))
    run_done(st, e, steps, steps_s(one, more, steps))


def steps_with_blocks(st: Any, e: int, phase: int, period: int) -> int:
    """Decode steps the free blocks last for."""
    engine = e * ENGINE_INTS
    rounds = st.ei[engine + FREE] // st.ei[engine + NDEC]
    left = st.ei[engine + FREE] - rounds * st.ei[engine + NDEC]
    at = 0
    while at < period:
        left -= st.cross[e * st.g[PHASES] + (phase + at) % period]
        if left < 0:
            break
        at += 1
    return int(rounds * period + at)


def look(st: Any, e: int) -> tuple[bool, int]:
    """Whether the next step has prompts in it; else how many steps pass before that is to be looked at again.

    What blocks the first in line stays so while the same requests run, for free blocks only become fewer; except
    where it begins with cached blocks that nobody holds: as those are taken, it needs fewer; and where blocks are kept
    for what running requests will write: each step asks for fewer.
    """
    engine = e * ENGINE_INTS
    pi = st.ei[engine + POOL] * POOL_INTS
    if st.ei[engine + PART] >= 0:
        return (True, 0)
    if st.ei[engine + WHEAD] < 0 or st.ei[engine + NRUN] >= st.pi[pi + SEQS]:
        return (False, NEVER)
    later = known_of(st, e)
    if later > 0:
        return (False, later)
    first = st.pi[pi + PREFILL_FIRST] == 1
    period = st.pi[pi + PERIOD]
    phase = st.ei[engine + STEP] % period
    taken = 0 if first else due(st, e, phase)
    budget = st.pi[pi + BUDGET] - (0 if first else st.ei[engine + NDEC] * (1 + st.pi[pi + DRAFTED]))
    fits, hits, _, _, short = offer(st, e, budget, st.ei[engine + FREE] - taken)
    steps = NEVER
    pf = st.ei[engine + POOL] * POOL_FLOATS
    if not fits and short > 0.0 and st.pf[pf + RESERVE] > 0.0 and st.ei[engine + NDEC] > 0:
        each = st.pf[pf + RESERVE] * st.pf[pf + YIELD] * st.ei[engine + NDEC] / st.pi[pi + BLOCK]
        steps = max(int(short / each), 1)
    if fits or hits == 0:
        return (fits, steps)
    if taken > 0:
        return (True, 0)
    until = 1
    while until < period and due(st, e, (phase + until - int(first)) % period) == 0:
        until += 1
    return (False, min(until, steps))


def go(st: Any, e: int, limit: float) -> None:
    """The engine works on until its next step would start at `limit`; at least one action."""
    g, engine = (st.g, e * ENGINE_INTS)
    again = True
    while again and st.ei[engine + NRUN] + st.ei[engine + NWAIT] > 0:
        prompt, most = look(st, e)
        if prompt:
            mixed_step(st, e)
        elif st.ei[engine + NDEC] > 0:
            decode_run(st, e, limit, most)
        again = (
            g[FEEDBACK] == 0
            and st.ef[e * ENGINE_FLOATS + TIME] < limit
            and (g[NLOG] < g[LOGROOM])
            and (g[NOUT] < g[OUTROOM])
        )
