"""The simulator equals a step-by-step reference, conserves what goes in, and agrees with formulas."""

from __future__ import annotations

from pathlib import Path
from runpy import run_path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from outlay.simulate import Autoscale, Given, Pool, StepTime, System, batch, simulate

Naive, Scaled = (run_path(str(Path(__file__).with_name(f"simulate_naive{name}.py")))[kind]
                 for name, kind in (("", "Naive"), ("_scale", "Scaled")))

STEP = StepTime(
    (0.0, *(0.0101 + 1.3e-5 * n for n in range(1, 65))), 2.3e-7, (0, 1, 64, 512, 4096), (0, 1, 8, 64),
    tuple(tuple(3.1e-5 * x * (1 + 0.1 * i) + (0.011 if i == 0 and x else 0.0) for x in (0, 1, 64, 512, 4096))
          for i in range(4)), 1.7e-9, 0.9e-9, 100.0, 2.3e-7, 90.0)
# Of ranks in step: part of it is done together, and the one that runs most is not always the one that reads most.
TOGETHER = replace(STEP, read_s=6.1e-6, joint_s=tuple(0.37 * s for s in STEP.base_s), joint_chunk_s=tuple(
    tuple(0.61 * s for s in row) for row in STEP.chunk_s))


def workload(seed: int, count: int, gap: float, longest: int, groups: int, prefix: int = 32) -> Any:
    """Requests with prefixes in common, at times that meet no step's end."""
    rng = np.random.default_rng(seed)
    inputs, outputs = rng.integers(1, longest, count), rng.integers(1, longest, count)
    counts = np.where(rng.uniform(size=count) < 0.7, inputs // prefix, 0) if groups else np.zeros(count, dtype=int)
    group = rng.integers(max(groups, 1), size=count)
    ids = [int(group[i] * 1000 + j if j < 3 else 10**6 + i * 1000 + j) for i in range(count) for j in range(counts[i])]
    return batch(np.cumsum(rng.exponential(gap, count)), inputs, outputs, counts, ids)


def compare(requests: Any, system: System, closed: tuple[int, float] = (0, 0.0), step: StepTime = STEP) -> Any:
    steps = (step,) if system.decode is None else (step, step)
    found = simulate(Given(requests, 32, closed), system, step if len(steps) == 1 else (step, step), fast=False)
    naive = (Scaled if system.scales else Naive)(requests, system, steps, 32, closed)
    expected = naive.run()
    rows = found.requests
    assert rows["request"].tolist() == list(range(len(expected)))
    for name, attribute in (("dropped", "dropped"), ("preemptions", "preemptions"), ("cached_tokens", "cached"),
                            ("engine", "engine")):
        assert rows[name].tolist() == [int(getattr(r, attribute)) for r in expected], name
    done = rows["dropped"] == 0
    for name, attribute in (("scheduled_s", "scheduled"), ("first_token_s", "first"), ("end_s", "end")):
        wanted = np.array([getattr(r, attribute) for r in expected])[done]
        np.testing.assert_allclose(rows[name][done], wanted, rtol=0, atol=1e-9, err_msg=name)
    assert found.busy_s == pytest.approx(naive.busy, abs=1e-8)
    if system.scales:
        table = found.replicas
        stood = [list(row) for row in zip(*(table[n].tolist() for n in ("start_s", "pool", "replicas", "answering")),
                                         strict=True)]
        assert stood == [[pytest.approx(time, abs=1e-9), *row] for time, *row in naive.rows]
        assert found.on_s == pytest.approx(naive.on_s(), abs=1e-8)
    return found


def drawn(engines: int, ranks: int, seqs: int, budget: int, cache: int, both: bool, **more: Any) -> System:
    pool = Pool(engines * ranks, seqs, max(budget, seqs * (1 + more["drafted"])), cache, 16, ranks=ranks)
    more |= {"whole_prompt": more["whole_prompt"] or more["policy"] == "prefill_first"}
    if both:
        more |= {"decode": replace(pool, kv_tokens=3 * cache), "move_s": 0.0031, "move_token_s": 1.3e-5}
    return System(pool, 10_000, **more)


PARTS: dict[str, Any] = {
    "seqs": st.sampled_from([1, 3, 16, 64]), "budget": st.sampled_from([8, 64, 300, 4096]),
    "cache": st.sampled_from([400, 1000, 4000, 10**6]), "policy": st.sampled_from(["mixed", "prefill_first"]),
    "whole_prompt": st.booleans(), "prefix_cache": st.booleans(),
    "router": st.sampled_from(["round_robin", "least_loaded", "prefix"]), "slack": st.integers(0, 4),
    "reserve": st.sampled_from([0.0, 0.0, 0.098, 0.7]),
    "first_s": st.sampled_from([0.0, 0.0123]), "token_s": st.sampled_from([0.0, 3.7e-6]),
    "pass_s": st.sampled_from([0.0, 0.0231]), "take_up": st.sampled_from([0.0, 0.0, 1.1]),
    "held": st.sampled_from([0.0, 0.0, 7.3]), "polled": st.sampled_from([1, 1, 5]),
    "accepted": st.sampled_from([1.0, 1.0, 1.0, 2.6]),
    "drafted": st.sampled_from([0, 3])}
SYSTEMS = st.builds(drawn, engines=st.integers(1, 3), ranks=st.just(1), both=st.just(False), **PARTS)
RANKS = st.builds(drawn, engines=st.integers(1, 2), ranks=st.integers(2, 4), both=st.booleans(),
                  gathers=st.sampled_from([0, 0, 4, 31]), **PARTS)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(SYSTEMS, st.integers(0, 10**6), st.integers(1, 40), st.sampled_from([1e-3, 0.05, 0.7]),
       st.sampled_from([5, 90, 330]), st.sampled_from([0, 2]))
def test_skipping_equals_stepping(
    system: System, seed: int, count: int, gap: float, longest: int, groups: int
) -> None:
    compare(workload(seed, count, gap, longest, groups), system)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(SYSTEMS, st.integers(0, 10**6), st.integers(1, 50), st.integers(1, 12), st.sampled_from([0.0, 0.3137]))
def test_a_closed_loop_equals_stepping(
    system: System, seed: int, count: int, users: int, think_s: float
) -> None:
    compare(workload(seed, count, 0.0, 90, 2), system, (users, think_s))


def scales(low: int, target: float, every_s: float, cold_start_s: float, patience: int, engines: int, first: int
           ) -> Autoscale:
    return Autoscale(low, target, every_s, cold_start_s, patience, engines, first)


SCALES = st.builds(
    scales, low=st.integers(1, 2), target=st.sampled_from([0.7, 1.6, 4.0, 20.0]),
    every_s=st.sampled_from([0.0931, 0.517, 2.3]), cold_start_s=st.sampled_from([0.0, 0.2113, 1.717]),
    patience=st.integers(1, 6), engines=st.sampled_from([1, 1, 2]), first=st.sampled_from([0, 2]))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(SYSTEMS, SCALES, SCALES, st.booleans(), st.integers(0, 10**6), st.integers(1, 60),
       st.sampled_from([1e-3, 0.05, 0.7]), st.sampled_from([5, 90, 330]), st.sampled_from([0, 2]))
def test_pools_that_come_and_go_equal_stepping(
    system: System, first: Autoscale, second: Autoscale, split: bool, seed: int, count: int, gap: float, longest: int,
    groups: int,
) -> None:
    """Engines of a replica apart, or in step."""
    pool = replace(system.pool, engines=4, ranks=first.engines if seed % 2 else 1)
    decode = replace(pool, engines=6, kv_tokens=pool.kv_tokens + 160, ranks=second.engines if seed % 3 else 1)
    whole = replace(system, pool=pool, decode=decode if split else None, autoscale=first,
                    autoscale_decode=second if split else None,
                    move_s=0.0117 if split else 0.0, move_token_s=1.3e-5 if split else 0.0)
    compare(workload(seed, count, gap, longest, groups), whole, step=TOGETHER)


@settings(max_examples=120, deadline=None, derandomize=True)
@given(RANKS, st.integers(0, 10**6), st.integers(1, 60), st.sampled_from([1e-3, 0.05, 0.7]),
       st.sampled_from([5, 90, 330]), st.sampled_from([0, 2]))
def test_ranks_in_step_equal_stepping(
    system: System, seed: int, count: int, gap: float, longest: int, groups: int
) -> None:
    found = compare(workload(seed, count, gap, longest, groups), system, step=TOGETHER)
    steps, ranks = found.steps, system.pool.ranks
    spans = list(zip(steps["start_s"], steps["duration_s"], steps["steps"], strict=True))
    for lead in range(0, system.pool.engines, ranks):
        own = [[s for s, e in zip(spans, steps["engine"], strict=True) if e == lead + r] for r in range(ranks)]
        assert all(one == own[0] for one in own)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(RANKS, st.integers(0, 10**6), st.integers(1, 60), st.integers(1, 20), st.sampled_from([0.0, 0.3137]))
def test_a_closed_loop_over_ranks_equals_stepping(
    system: System, seed: int, count: int, users: int, think_s: float
) -> None:
    compare(workload(seed, count, 0.0, 90, 2), system, (users, think_s), TOGETHER)


@pytest.mark.parametrize("ranks", [1, 2])
def test_compiled_is_the_same_to_the_last_digit(ranks: int) -> None:
    """Where numba is installed; the first run compiles, for most of a minute."""
    pytest.importorskip("numba")
    system = System(Pool(4, 16, 300, 1000, 16, ranks=ranks), 10_000, router="prefix")
    requests = workload(3, 600, 0.01, 330, 2)
    one, two = (simulate(Given(requests, 32), system, TOGETHER, fast=quick) for quick in (False, True))
    assert one.counts["preemptions"] > 0 and one.counts["cached_tokens"] > 0
    for name in (*one.requests, *one.steps):
        table = "requests" if name in one.requests else "steps"
        assert np.array_equal(getattr(one, table)[name], getattr(two, table)[name], equal_nan=True), name
    scale = Autoscale(1, 2.0, 0.5, 0.3, 3, 2)
    pools = replace(system, pool=Pool(4, 16, 300, 1000, 16), decode=Pool(6, 16, 300, 1000, 16),
                    autoscale=replace(scale, target=0.4),
                    autoscale_decode=scale)
    one, two = (simulate(Given(requests, 32), pools, (STEP, STEP), fast=quick) for quick in (False, True))
    assert one.starts(0) > 0 and one.starts(1) > 0 and one.on_s == two.on_s
    assert all(np.array_equal(column, two.replicas[name]) for name, column in one.replicas.items())
