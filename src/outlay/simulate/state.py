"""The inner loop's tables: made for a system, as lists or as arrays, and grown when a place runs out."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from outlay.errors import Inconsistent
from outlay.simulate import core_kv as c
from outlay.simulate.core_come import FULL, OFF, UPON, touch
from outlay.simulate.core_step import TICK, pend
from outlay.simulate.records import POLICIES, ROUTERS, Pool, StepTime, System

ROOM = 16384  # rows of a table written before it is emptied


class Tables:
    """Makes flat tables of one kind: lists for Python, arrays for compiled code."""

    def __init__(self, fast: bool) -> None:
        self.fast = fast

    def table(self, rows: int, columns: int, kind: type, fill: float = 0) -> Any:
        if self.fast:
            return np.full(rows * columns, fill, dtype=np.int64 if kind is int else np.float64)
        return [kind(fill)] * (rows * columns)

    def row(self, values: Any, kind: type) -> Any:
        found = np.asarray(values, dtype=np.int64 if kind is int else np.float64)
        return found if self.fast else found.tolist()

    def grown(self, old: Any, rows: int, columns: int, kind: type) -> Any:
        """More rows, the first as they were."""
        new = self.table(rows, columns, kind)
        if self.fast:
            new[: len(old)] = old
            return new
        return old + new[len(old):]


def make_state(system: System, steps: tuple[StepTime, ...], prefix_tokens: int, closed: int, think_s: float,
               fast: bool, slots: int) -> c.State:
    """Empty engines and room for `slots` requests at once."""
    t = Tables(fast)
    pools = system.pools
    engines = sum(pool.engines for pool in pools)
    ei, ef = _engines(t, system), t.table(engines, c.ENGINE_FLOATS, float)
    hashed = _hashed(system, prefix_tokens)
    pi, pf = _pools(t, system, pools, steps, hashed, prefix_tokens)
    nodes = sum(p.engines * (p.kv_tokens // p.block_tokens) for p in pools) + engines + 8 if hashed else 1
    g, gf = t.row([0] * c.GLOBAL_INTS, int), t.row([0.0] * c.GLOBAL_FLOATS, float)
    for name, value in ((c.CLOSED, closed), (c.NSLOT, slots), (c.ROUTER, ROUTERS.index(system.router)),
                        (c.FEEDBACK, int(closed > 0 or system.decode is not None)), (c.NNODE, nodes),
                        (c.SLACK, system.slack), (c.OUTROOM, ROOM), (c.LOGROOM, ROOM),
                        (c.FIRST_POOL, system.pool.engines), (c.ENGINES, engines)):
        g[name] = value
    gf[c.THINK], gf[c.MOVE], gf[c.MOVE_TOKEN] = think_s, system.move_s, system.move_token_s
    gf[c.OUTSIDE], gf[c.OUTSIDE_TOKEN], gf[c.OUTSIDE_PASS] = system.first_s, system.token_s, system.pass_s
    most = max(pool.max_num_seqs for pool in pools) + 1
    phases = max(pi[number * c.POOL_INTS + c.PERIOD] for number in range(len(pools)))
    index = 1 << (2 * nodes).bit_length()
    g[c.WIDE], g[c.PHASES], g[c.MASK] = most, phases, index - 1
    leaves = 1 << (engines - 1).bit_length()
    g[c.LEAVES] = leaves
    coming = slots + closed + engines + 8
    st = c.State(
        t.table(slots, c.SLOT_INTS, int), t.table(slots, c.SLOT_FLOATS, float), ei, ef, pi, pf, g, gf,
        t.table(engines, most, float), t.table(engines, most, int), t.table(engines, most, int),
        t.table(engines, phases, int),
        _bases(t, pools, steps), t.row(steps[0].tokens, float), t.row(steps[0].running, float),
        _chunks(t, pools, steps),
        *empty_batch(t),  # type: ignore[call-arg]
        t.row([0.0] * coming, float), t.row([0] * coming, int), t.row([0] * coming, int),
        t.row(range(slots - 1, -1, -1), int),
        t.table(nodes, c.NODE_INTS, int), t.row(range(nodes - 1, -1, -1), int),
        t.table(index, 1, int, -1), t.table(index, 1, int),
        *empty_output(t, most * max(pool.ranks for pool in pools)),
        *_scales(t, system),
        t.table(2 * leaves, 1, float, math.inf), t.table(4 * leaves, 1, int, FULL),
    )
    for number, scale in enumerate(system.scales):
        pend(st, scale.every_s, TICK, number)
    for e in range(engines):
        touch(st, e)
    return st


def _engines(t: Tables, system: System) -> Any:
    """Engines with nothing inside, of which the first of each pool stand."""
    ei, at = t.table(sum(pool.engines for pool in system.pools), c.ENGINE_INTS, int), 0
    for number, pool in enumerate(system.pools):
        scale = system.scales[number] if system.scales else None
        started = scale.standing * scale.engines if scale else pool.engines
        for place in range(pool.engines):
            row = at * c.ENGINE_INTS
            for column in (c.WHEAD, c.WTAIL, c.RTAIL, c.PART, c.LHEAD, c.LTAIL):
                ei[row + column] = -1
            ei[row + c.POOL], ei[row + c.LEAD] = number, at - place % pool.ranks
            ei[row + c.TOTAL] = ei[row + c.FREE] = ei[row + c.FRESH] = pool.kv_tokens // pool.block_tokens
            ei[row + c.STATUS] = UPON if place < started else OFF
            at += 1
    return ei


def _scales(t: Tables, system: System) -> tuple[Any, Any, Any]:
    """The autoscaler of each pool, and their last looks, those of one after those of the other: before the first, what
    stands was wanted."""
    scales = system.scales
    ai, af = (t.table(max(len(scales), 1), c.SCALE_INTS, int), t.table(max(len(scales), 1), c.SCALE_FLOATS, float))
    begin, looks = 0, 0
    for number, (scale, pool) in enumerate(zip(scales, system.pools, strict=False)):
        for column, whole in ((c.BEGIN, begin), (c.END, begin + pool.engines), (c.GROUP, scale.engines),
                              (c.LOW, scale.low), (c.HIGH, pool.engines // scale.engines),
                              (c.PATIENCE, scale.patience), (c.LOOKS, looks), (c.PAID, scale.standing),
                              (c.ANSWERING, scale.standing), (c.WANTED, scale.standing)):
            ai[number * c.SCALE_INTS + column] = whole
        for column, real in ((c.EVERY, scale.every_s), (c.COLD, scale.cold_start_s), (c.TARGET, scale.target)):
            af[number * c.SCALE_FLOATS + column] = real
        begin, looks = begin + pool.engines, looks + scale.patience
    wanted = [scale.standing for scale in scales for _ in range(scale.patience)]
    return ai, af, t.row(wanted or [0], int)


def _hashed(system: System, prefix_tokens: int) -> int:
    """Cache blocks of one prefix block; 0 where prefixes are not looked at."""
    if not system.prefix_cache or prefix_tokens == 0:
        return 0
    if prefix_tokens % system.pool.block_tokens:
        raise Inconsistent(
            f"workload: prefix blocks of {prefix_tokens} tokens are no whole number of cache blocks of "
            f"{system.pool.block_tokens}", "workload.prefix_tokens")
    return prefix_tokens // system.pool.block_tokens


def _pools(t: Tables, system: System, pools: tuple[Pool, ...], steps: tuple[StepTime, ...], hashed: int,
           prefix_tokens: int) -> tuple[Any, Any]:
    pi, pf = t.table(len(pools), c.POOL_INTS, int), t.table(len(pools), c.POOL_FLOATS, float)
    for number, (pool, step) in enumerate(zip(pools, steps, strict=True)):
        first = system.decode is not None and number == 0
        per_step = 1.0 if first else system.accepted
        for column, whole in ((c.SEQS, pool.max_num_seqs), (c.BUDGET, pool.max_num_batched_tokens),
                              (c.BLOCK, pool.block_tokens), (c.PERIOD, max(1, int(pool.block_tokens / per_step))),
                              (c.DRAFTED, 0 if first else system.drafted), (c.SHARED, max(prefix_tokens, 1)),
                              (c.HASHED, hashed if number == 0 else 0),
                              (c.PREFILL_FIRST, POLICIES.index(system.policy)), (c.LENGTH, system.max_model_len),
                              (c.WHOLE, int(system.whole_prompt)), (c.RANKS, pool.ranks),
                              (c.GATHERS, system.gathers if number == 0 else 0)):
            pi[number * c.POOL_INTS + column] = whole
        for column, real in ((c.READ_S, step.read_s), (c.PAIR_S, step.pair_s), (c.WINDOW_S, step.window_s),
                             (c.WINDOW, step.window), (c.SELECT_S, step.select_s),
                             (c.SELECT_AFTER, step.select_after), (c.YIELD, per_step), (c.RESERVE, system.reserve),
                             (c.TAKE_UP, 0.0 if first else system.take_up), (c.HELD, 0.0 if first else system.held),
                             (c.POLLED, 1.0 if first else float(system.polled)),
                             (c.HIT, system.prefix_hit if number == 0 and hashed == 0 else 0.0)):
            pf[number * c.POOL_FLOATS + column] = real
    return pi, pf


def _bases(t: Tables, pools: tuple[Pool, ...], steps: tuple[StepTime, ...]) -> Any:
    """Decode steps of each pool: what an engine takes by itself, then what ranks that step together take together."""
    wide = max(pool.max_num_seqs for pool in pools) + 1
    for pool, step in zip(pools, steps, strict=True):
        if len(step.base_s) <= pool.max_num_seqs:
            raise Inconsistent(f"step_time.base_s: {len(step.base_s)} numbers do not reach max_num_seqs "
                               f"{pool.max_num_seqs}", "step_time.base_s")
    table = t.table(2 * len(steps), wide, float)
    for number, (pool, step) in enumerate(zip(pools, steps, strict=True)):
        for n in range(min(wide, len(step.base_s))):
            part = step.joint_s[n] if pool.ranks > 1 and step.joint_s else 0.0
            table[2 * number * wide + n], table[(2 * number + 1) * wide + n] = step.base_s[n] - part, part
    return table


def _chunks(t: Tables, pools: tuple[Pool, ...], steps: tuple[StepTime, ...]) -> Any:
    """The same of chunks."""
    if any((one.tokens, one.running) != (steps[0].tokens, steps[0].running) for one in steps):
        raise Inconsistent("step_time: both pools are to be given at the same tokens and running", "step_time.tokens")
    whole = np.array([step.chunk_s for step in steps])
    joint = np.array([step.joint_chunk_s if pool.ranks > 1 and step.joint_chunk_s else np.zeros_like(step.chunk_s)
                      for pool, step in zip(pools, steps, strict=True)])
    return t.row(np.stack([whole - joint, joint], axis=1).ravel(), float)


def empty_batch(t: Tables) -> tuple[Any, ...]:
    return (t.row([], float), *(t.row([], int) for _ in range(6)))


def empty_output(t: Tables, most: int) -> tuple[Any, ...]:
    """Room for what ends in one action beyond the mark at which tables are emptied."""
    ends, runs = ROOM + most + 8, ROOM + most + 8
    return (t.table(ends, c.OUT_INTS, int), t.table(ends, c.OUT_FLOATS, float),
            t.table(runs, c.LOG_INTS, int), t.table(runs, c.LOG_FLOATS, float))


def more_places(st: c.State, fast: bool) -> c.State:
    """Twice the room for requests at once."""
    t = Tables(fast)
    old = len(st.si) // c.SLOT_INTS
    pend = len(st.pt) + old
    free = t.row(range(2 * old - 1, -1, -1), int)
    kept = int(st.g[c.NSLOT])
    free[:kept] = st.free_slots[:kept]
    free[kept:kept + old] = t.row(range(2 * old - 1, old - 1, -1), int)
    st.g[c.NSLOT] = kept + old
    return st._replace(
        si=t.grown(st.si, 2 * old, c.SLOT_INTS, int), sf=t.grown(st.sf, 2 * old, c.SLOT_FLOATS, float),
        free_slots=free, pt=_longer(t, st.pt, pend, float), pq=_longer(t, st.pq, pend, int),
        ps=_longer(t, st.ps, pend, int))


def _longer(t: Tables, old: Any, size: int, kind: type) -> Any:
    new = t.row([0] * size, kind)
    new[: len(old)] = old
    return new


def next_batch(st: c.State, batch: Any, last: bool, fast: bool) -> c.State:
    """Requests to come follow those that have come; prefix blocks of requests inside are kept."""
    t = Tables(fast)
    inside = _inside(st)
    base = int(st.g[c.BASE])
    starts = [int(st.si[slot * c.SLOT_INTS + c.HSTART]) for slot in inside
              if st.si[slot * c.SLOT_INTS + c.HLEN] > 0 or st.si[slot * c.SLOT_INTS + c.NREG] > 0]
    keep = min(starts, default=base + len(st.hid)) - base
    old_ids, old_held = st.hid[keep:], st.held[keep:]
    st.g[c.BASE] = base + keep
    first = base + keep + len(old_ids)
    if fast:
        ids = np.concatenate([old_ids, t.row(batch.prefix_ids, int)])
        held = np.concatenate([old_held, np.zeros(len(batch.prefix_ids), dtype=np.int64)])
    else:
        ids, held = old_ids + t.row(batch.prefix_ids, int), old_held + [0] * len(batch.prefix_ids)
    counts = np.asarray(batch.prefix_counts, dtype=np.int64)
    starts_at = first + np.concatenate([[0], np.cumsum(counts)])[: len(counts)]
    st.g[c.CURSOR], st.g[c.COUNT], st.g[c.FINAL] = 0, len(batch.arrival_s), int(last)
    return st._replace(
        arr=t.row(batch.arrival_s, float), inp=t.row(batch.input_tokens, int), out=t.row(batch.output_tokens, int),
        hfrom=t.row(starts_at, int), hlen=t.row(counts, int), hid=ids, held=held)


def _inside(st: c.State) -> list[int]:
    """Places taken by requests."""
    free = {int(slot) for slot in st.free_slots[: int(st.g[c.NSLOT])]}
    return [slot for slot in range(len(st.si) // c.SLOT_INTS) if slot not in free]

