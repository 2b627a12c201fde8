"""What the simulator keeps: everything that goes in comes out; rules of arrivals, pools, scaling, limits, energy."""

from __future__ import annotations

import pickle
from pathlib import Path
from runpy import run_path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from outlay.errors import BadValue, Inconsistent, OutlayError, UnknownName
from outlay.resolve.lengths import Lengths, parse_lengths
from outlay.simulate import (
    Arrivals,
    Autoscale,
    Given,
    Pool,
    Power,
    Prefixes,
    SimResult,
    Slo,
    StepTime,
    Synthetic,
    System,
    batch,
    simulate,
)

Naive = run_path(str(Path(__file__).with_name("simulate_naive.py")))["Naive"]
BASE_S, READ_S, TOKEN_S = 0.01, 1e-7, 3e-5
STEP = StepTime((0.0, *(BASE_S + 1e-5 * n for n in range(1, 129))), READ_S, (0, 1, 4096, 16384), (0, 1, 128),
                tuple(tuple(TOKEN_S * x + (0.01 if i == 0 else 0.0) for x in (0, 1, 4096, 16384)) for i in range(3)))
ONE = System(Pool(1, 128, 8192, 200_000), 100_000)
CHAT = (Lengths(500.0, 0.8, high=4000.0), Lengths(200.0, 0.6, high=2000.0))


def run(arrivals: Arrivals, system: System = ONE, count: int = 300, seed: int = 0, **more: Any) -> SimResult:
    lengths = more.pop("lengths", CHAT)
    work = Synthetic(arrivals, *lengths, count, more.pop("prefixes", None), 64)
    return simulate(work, system, more.pop("steps", STEP), seed, fast=False, **more)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    st.sampled_from(["poisson", "gamma", "bursty", "diurnal", "even", "all_at_once", "closed"]),
    st.integers(1, 3), st.sampled_from([2000, 6000, 200_000]), st.integers(0, 1000), st.sampled_from([1, 9, 128]),
    st.booleans())
def test_everything_that_goes_in_comes_out(
    kind: str, engines: int, cache: int, seed: int, seqs: int, share: bool
) -> None:
    """Every request ends once; tokens in are tokens out and dropped; running never passes the limit; time is kept."""
    system = System(Pool(engines, seqs, 2048, cache), 3000)
    arrivals = Arrivals(kind, rate=7.0, cv=2.0, concurrency=20)
    found = run(arrivals, system, 120, seed, prefixes=Prefixes(3, 256) if share else None)
    rows, steps = found.requests, found.steps
    assert rows["request"].tolist() == list(range(120))
    gone = rows["dropped"] == 1
    assert found.counts["completed"] + found.counts["dropped"] == 120
    assert np.array_equal(gone, (rows["input_tokens"] + rows["output_tokens"] > 3000) | (
        -(-rows["input_tokens"] // 16) - (-(rows["output_tokens"] - 1 - (-rows["input_tokens"] % 16)).clip(0) // 16)
        > cache // 16))
    done = {name: column[~gone] for name, column in rows.items()}
    decoded = int((done["output_tokens"] - 1).sum())
    resumed = int(done["preemptions"].sum())  # each resume makes one token with its prompt, where it had any yet
    assert decoded - resumed <= int((steps["steps"] * steps["running"]).sum()) <= decoded
    assert int(steps["running"].max()) <= seqs
    assert (done["arrival_s"] <= done["scheduled_s"]).all()
    assert (done["scheduled_s"] < done["first_token_s"]).all() and (done["first_token_s"] <= done["end_s"]).all()
    assert (done["cached_tokens"] < done["input_tokens"]).all()
    if not resumed:
        computed = int((done["input_tokens"] - done["cached_tokens"]).sum())
        assert int(steps["prompt_tokens"].sum()) == computed
    for engine in range(engines):
        own = {name: column[steps["engine"] == engine] for name, column in steps.items()}
        starts, ends = own["start_s"], own["start_s"] + own["duration_s"]
        assert (starts[1:] >= ends[:-1] - 1e-9).all()
    assert found.busy_s <= found.on_s + 1e-9


def test_the_same_seed_is_the_same_and_another_is_not() -> None:
    one, two, other = (run(Arrivals(rate=5.0), seed=seed) for seed in (4, 4, 5))
    assert all(np.array_equal(one.requests[name], two.requests[name]) for name in one.requests)
    assert one.summary() == two.summary() and one.summary() != other.summary()


def test_what_is_given_and_found_passes_to_another_process() -> None:
    work = Synthetic(Arrivals(rate=5.0), *CHAT, 50)
    found = simulate(*pickle.loads(pickle.dumps((work, ONE, STEP, 3))), fast=False)
    assert pickle.loads(pickle.dumps(found)).summary() == simulate(work, ONE, STEP, 3, fast=False).summary()


def test_one_request_alone_takes_what_the_formula_says() -> None:
    """1000 tokens in a chunk by itself, then 99 steps that read 1001, 1002 … 1099 tokens."""
    found = run(Arrivals("all_at_once"), count=1, lengths=(Lengths(1000.0), Lengths(100.0)))
    first = 0.01 + 1000 * TOKEN_S
    rest = 99 * (BASE_S + 1e-5) + READ_S * sum(range(1001, 1100))
    assert found.requests["first_token_s"][0] == pytest.approx(first, rel=1e-12)
    assert found.requests["end_s"][0] == pytest.approx(first + rest, rel=1e-12)
    assert found.measures["tpot_s"].mean == pytest.approx(rest / 99)


@pytest.mark.parametrize(("kind", "cv"), [("poisson", 1.0), ("gamma", 2.5), ("even", 0.0)])
def test_arrivals_have_their_rate_and_spread(kind: str, cv: float) -> None:
    work = Synthetic(Arrivals(kind, rate=20.0, cv=cv or 1.0), Lengths(1.0), Lengths(1.0), 40_000)
    (found,) = work.batches(1, [])
    gaps = np.diff(found.arrival_s)
    assert gaps.mean() == pytest.approx(1 / 20, rel=0.05)
    assert gaps.std() / gaps.mean() == pytest.approx(cv, rel=0.05, abs=1e-9)


def test_bursts_and_days_keep_the_mean_rate() -> None:
    for arrivals in (Arrivals("bursty", rate=50.0, burst=6.0, burst_share=0.1, burst_s=2.0),
                     Arrivals("diurnal", rate=50.0, swing=0.8, period_s=100.0)):
        work = Synthetic(arrivals, Lengths(1.0), Lengths(1.0), 60_000)
        (found,) = work.batches(2, [])
        times = found.arrival_s
        assert (np.diff(times) >= 0).all()
        assert 60_000 / times[-1] == pytest.approx(50.0, rel=0.12)
        if arrivals.kind == "diurnal":
            phase = times % 100.0
            high, low = ((phase > 15) & (phase < 35)).sum(), ((phase > 65) & (phase < 85)).sum()
            assert high / low == pytest.approx(1.76 / 0.24, rel=0.2)
        else:
            counts = np.bincount((times / 2.0).astype(int))
            assert counts.var() / counts.mean() > 20.0  # 1 for Poisson


def test_lengths_are_drawn_as_said() -> None:
    from outlay.simulate.workload import draw

    rng = np.random.default_rng(0)
    spread = draw(Lengths(1000.0, 1.5), 200_000, rng)
    assert spread.mean() == pytest.approx(1000, rel=0.02)
    assert spread.std() / spread.mean() == pytest.approx(1.5, rel=0.05)
    even = draw(parse_lengths({"min": 10, "max": 12}, "input"), 30_000, rng)
    assert np.bincount(even)[10:].tolist() == pytest.approx([10_000] * 3, rel=0.05)
    values = draw(parse_lengths({"values": [5, 50], "weights": [3, 1]}, "input"), 40_000, rng)
    assert set(values) == {5, 50} and (values == 5).mean() == pytest.approx(0.75, abs=0.01)
    assert set(draw(Lengths(7.0), 5, rng)) == {7}


@pytest.mark.parametrize("value", [
    "many", 0, -5, {"mean": 0}, {"maen": 100}, {"min": 5}, {"min": 9, "max": 5}, {"values": []}, {"values": 5},
    {"values": [1, 2], "weights": [1]}, {"values": [1], "weights": [0]}, {"weights": [1]}, {"mean": 10, "cv": -1},
    {"mean": 10, "min": 20}, {"values": [1], "cv": 1}, True])
def test_bad_lengths_name_the_field(value: Any) -> None:
    with pytest.raises(OutlayError) as caught:
        parse_lengths(value, "serve.workload.input")
    assert caught.value.field.startswith("serve.workload.input")


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(1, 2), st.integers(1, 3), st.integers(0, 10**6), st.integers(1, 40), st.sampled_from([0.002, 0.2]),
       st.sampled_from([1000, 10**6]), st.sampled_from(["mixed", "prefill_first"]), st.sampled_from([1.0, 2.6]))
def test_two_pools_equal_stepping(
    first: int, second: int, seed: int, count: int, gap: float, cache: int, policy: str, accepted: float
) -> None:
    rng = np.random.default_rng(seed)
    requests = batch(np.cumsum(rng.exponential(gap, count)), rng.integers(1, 300, count), rng.integers(1, 90, count))
    system = System(Pool(first, 8, 256, 4000), 10_000, Pool(second, 8, 256, cache), policy=policy, move_s=0.0031,
                    move_token_s=1.3e-5, accepted=accepted, first_s=0.0021 * (seed % 2), pass_s=0.017 * (seed % 3),
                    take_up=1.1 * (seed % 5 > 2), held=3.7 * (seed % 7 > 3),
                    polled=1 + 3 * (seed % 11 > 7))
    found = simulate(Given(requests), system, (STEP, STEP), fast=False).requests
    expected = Naive(requests, system, (STEP, STEP)).run()
    for name, attribute in (("first_token_s", "first"), ("end_s", "end")):
        wanted = np.array([getattr(r, attribute) for r in expected])
        done = found["dropped"] == 0
        np.testing.assert_allclose(found[name][done], wanted[done], rtol=0, atol=1e-9)
    assert found["dropped"].tolist() == [int(r.dropped) for r in expected]
    assert found["preemptions"].tolist() == [r.preemptions for r in expected]


def test_shared_prefixes_are_computed_once_until_they_are_pushed_out() -> None:
    lengths, arrivals = (Lengths(640.0), Lengths(4.0)), Arrivals("even", rate=1.0)
    found = run(arrivals, count=50, lengths=lengths, prefixes=Prefixes(1, 512))
    assert found.requests["cached_tokens"].tolist() == [0] + [512] * 49
    off = run(arrivals, replace(ONE, prefix_cache=False), 50, lengths=lengths, prefixes=Prefixes(1, 512))
    assert not off.requests["cached_tokens"].any() and off.measures["ttft_s"].mean > found.measures["ttft_s"].mean
    many = run(arrivals, replace(ONE, pool=Pool(1, 8, 8192, 2000)), 400, lengths=lengths, prefixes=Prefixes(40, 512))
    assert 0 < many.counts["cached_tokens"] < 0.3 * 512 * 400
    given_share = run(arrivals, replace(ONE, prefix_cache=False, prefix_hit=0.25), 9, lengths=lengths)
    assert given_share.requests["cached_tokens"].tolist() == [160] * 9


def test_a_router_that_knows_prefixes_finds_more_of_them() -> None:
    lengths = (Lengths(1024.0, 0.1), Lengths(20.0))
    shares = {}
    for router in ("round_robin", "least_loaded", "prefix"):
        system = replace(ONE, pool=Pool(4, 32, 8192, 8_000), router=router)
        found = run(Arrivals(rate=8.0), system, 600, lengths=lengths, prefixes=Prefixes(24, 768))
        shares[router] = found.summary()["cached_share"]
    assert shares["prefix"] > 1.5 * shares["round_robin"] and shares["prefix"] > 1.5 * shares["least_loaded"]


def test_engines_start_when_asked_for_and_stop_when_not() -> None:
    scale = Autoscale(1, 10.0, every_s=1.0, cold_start_s=5.0, patience=3)
    system = replace(ONE, pool=Pool(6, 16, 4096, 200_000), autoscale=scale)
    burst = batch(np.concatenate([np.linspace(0, 20, 400), [200.0]]), [200] * 401, [100] * 401)
    found = simulate(Given(burst), system, STEP, fast=False)
    fixed = simulate(Given(burst), replace(system, autoscale=None), STEP, fast=False)
    low = simulate(Given(burst), replace(system, autoscale=None, pool=Pool(1, 16, 4096, 200_000)), STEP, fast=False)
    assert found.counts["completed"] == 401
    assert set(found.requests["engine"]) >= {0, 1, 2}
    early = found.requests["arrival_s"] < 5.0
    assert set(found.requests["engine"][early]) == {0}  # the others are still starting
    assert found.on_s < 0.5 * fixed.on_s == pytest.approx(0.5 * 6 * fixed.seconds)
    assert fixed.measures["ttft_s"].mean < found.measures["ttft_s"].mean < low.measures["ttft_s"].mean


def test_goodput_energy_and_percentiles_add_up(tmp_path: Path) -> None:
    power = Power(100.0, 600.0, (0.0, 1.0, 128.0), (100.0, 300.0, 500.0))
    found = run(Arrivals(rate=0.3), slo=Slo(ttft_s=0.03, tpot_s=0.02), power=power)
    times = found.times()
    good = (times["ttft_s"] <= 0.03) & (np.nan_to_num(times["tpot_s"]) <= 0.02)
    assert found.good == good.sum() and 0 < found.summary()["goodput_share"] < 1
    for name, column in times.items():
        if name != "queue_s":
            assert found.measures[name].percentile(90) == pytest.approx(np.nanpercentile(column, 90), rel=0.02)
    assert found.energy_j == pytest.approx(sum(found.energy_parts_j.values()))
    idle = (found.on_s - found.busy_s) * 100.0
    assert found.energy_parts_j["idle"] == pytest.approx(idle, abs=1e-6)
    over_time = found.power_over_time(power)
    width = over_time["start_s"][1] - over_time["start_s"][0]
    assert (over_time["watts"] * width).sum() == pytest.approx(found.energy_j, rel=1e-6)
    assert over_time["watts"].min() >= 100.0 - 1e-6 and over_time["watts"].max() <= 600.0 + 1e-6
    for name in ("requests.csv", "steps.csv", "requests.parquet"):
        if name.endswith("parquet"):
            pytest.importorskip("pyarrow")
        found.write(str(tmp_path / name), name.partition(".")[0])
    lines = (tmp_path / "requests.csv").read_text().splitlines()
    assert len(lines) == 301 and lines[0].startswith("request,input_tokens")
    with pytest.raises(BadValue):
        found.write(str(tmp_path / "x.txt"))


def test_measures_alone_say_the_same_as_tables() -> None:
    both = [run(Arrivals(rate=6.0), keep=keep, slo=Slo(e2e_s=3.0)) for keep in ("tables", "measures")]
    assert both[0].summary() == both[1].summary()
    with pytest.raises(BadValue):
        both[1].times()


def test_what_cannot_be_is_said() -> None:
    with pytest.raises(UnknownName, match="did you mean prefix"):
        replace(ONE, router="prefxi")
    with pytest.raises(Inconsistent, match="max_num_batched_tokens"):
        System(Pool(1, 128, 64, 1000), 100)
    with pytest.raises(Inconsistent, match="turns"):
        replace(ONE, policy="prefill_first", whole_prompt=False)
    with pytest.raises(BadValue, match="between 1 and the 1"):
        replace(ONE, autoscale=Autoscale(2, 4.0))
    with pytest.raises(UnknownName):
        Arrivals("poison")
    with pytest.raises(BadValue):
        Arrivals("poisson", rate=float("inf"))
    with pytest.raises(Inconsistent):
        Arrivals("bursty", burst=20.0)
    with pytest.raises(BadValue):
        run(Arrivals(), keep="all")
    with pytest.raises(BadValue, match="pair"):
        run(Arrivals(), steps=(STEP, STEP))
    with pytest.raises(Inconsistent, match="no whole number"):
        simulate(Synthetic(Arrivals(), *CHAT, 9, Prefixes(1, 100), 100), ONE, STEP, fast=False)
    with pytest.raises(Inconsistent, match="reach max_num_seqs"):
        run(Arrivals(), replace(ONE, pool=Pool(1, 500, 8192, 10**5)))
