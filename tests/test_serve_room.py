"""A cache with room for fewer than are inside: who waits, what is computed again, and that the simulator agrees."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from outlay.catalog import load
from outlay.planner.replay.simulate import replay
from outlay.resolve import resolve
from outlay.resolve.lengths import Lengths
from outlay.scenario_io import scenario_from
from outlay.simulate import Arrivals, Synthetic
from outlay.steps.serve.inputs import ServeLayout
from outlay.steps.serve.time import serve_time
from outlay.steps.serve.time_inputs import EngineTime, Load
from outlay.steps.serve.time_room import Room, room_of

ROOM = 40.0  # requests that the cache holds on average
SPREAD = 0.3


def engine(name: str) -> Any:
    found = resolve(scenario_from({"model": "llama-3.1-8b", "fleet": "1xh100-sxm5-80gb", "serve": {
        "engine": name, "precision": "fp8", "replicas": 1, "max_model_len": 32768, "max_num_seqs": 1024,
        "workload": {"concurrency": 8, "input": 1024, "output": 1024}}}), load())
    return found.architecture, found.serve


def room(users: float, **changed: Any) -> Room:
    plain = EngineTime({}, 2.0, {}, max_num_seqs=1024.0, **changed)
    load_ = Load("closed", 1024.0, 1024.0, users, cache_tokens=ROOM * 1536.0 + 512.0, spread=0.0)
    return room_of(plain, ServeLayout(1.0), load_)


def test_fewer_than_fit_have_room_and_more_leave_as_many_running() -> None:
    few, many = room(20.0), room(120.0)
    assert few.running == pytest.approx(20.0) and few.again == pytest.approx(0.0, abs=1e-6)
    assert many.running == pytest.approx(ROOM, rel=1e-3) and many.waiting == pytest.approx(80.0 / ROOM, rel=1e-3)
    running = [float(room(n).running) for n in (36.0, 38.0, 40.0, 42.0, 44.0)]
    assert running == sorted(running) and 38.0 < running[2] < ROOM - 0.4  # at times more of them fit, at times fewer


def test_what_is_written_into_a_full_cache_is_computed_again() -> None:
    """As many tokens as an answer has, but in steps in which one ends; of a server that keeps room for all none."""
    assert room(120.0).again == pytest.approx(math.exp(-ROOM / 1024.0), rel=1e-3)
    assert room(120.0, reserve=1.0).again == pytest.approx(0.0, abs=1e-6)
    assert 0.05 < room(120.0, reserve=0.1).again < 0.25


def test_where_many_answers_end_in_each_step_few_give_way() -> None:
    """What ends frees more than the others write; published runs of thousands at once show no more than that."""
    plain = EngineTime({}, 2.0, {}, max_num_seqs=8192.0)
    load_ = Load("closed", 100.0, 500.0, 6000.0, cache_tokens=2000.0 * 350.0, spread=0.0)
    again = float(room_of(plain, ServeLayout(1.0), load_).again) * 100.0 / 500.0  # of an answer's tokens
    ends = 2000.0 / 500.0
    exact = sum(math.exp(-ends) * ends**k / math.factorial(k) * max(0.0, 1.0 - k * 1.2 / ends) for k in range(40))
    assert again == pytest.approx(exact, rel=0.1) and again < 0.2


def test_long_answers_are_met_more_often() -> None:
    """Of answers between 100 and 300 with equal chances one meets those of 217 on average."""
    load_ = Load("closed", 0.0, 200.0, spread=Lengths(200.0, low=100.0, high=300.0, even=True).spread)
    assert load_.context == pytest.approx(0.5 * 216.67, rel=1e-3)


@pytest.mark.parametrize("lengths", [(8192, 1024), (1024, 1024), (1024, 4096)], ids=str)
@pytest.mark.parametrize("users", [48, 80])
@pytest.mark.parametrize("name", ["vllm", "sglang", "tensorrt-llm"])
def test_a_full_cache_agrees_with_the_simulator(name: str, users: int, lengths: tuple[int, int]) -> None:
    """Throughput and end to end within 5 %; time to the first token, of which a swing is a large part, within 20 %."""
    arch, phase = engine(name)
    prompt, output = map(float, lengths)
    cache = ROOM * float(phase.speed.engine.held(prompt, output, SPREAD))
    phase = replace(phase, asked=replace(phase.asked, kind="closed", input=prompt, output=output,
                                         concurrency=float(users), output_lengths=Lengths(output, SPREAD)))
    plain = replace(phase.speed.engine, constants={**phase.speed.engine.constants, "queue": 0.0})
    form = serve_time(arch, phase.speed.device, plain, phase.layout, Load(
        "closed", prompt, output, float(users), cache_tokens=cache, spread=SPREAD))
    work = Synthetic(Arrivals("closed", concurrency=users), Lengths(prompt), Lengths(output, SPREAD), 10 * users)
    run = replay(arch, phase, phase.layout, 1, cache, work)
    rows, came = run.requests, np.sort(run.requests["arrival_s"])
    later = (rows["request"] >= 2 * users) & (rows["request"] < 9 * users)
    made = run.between(came[2 * users], came[-1])["decoded_tokens_per_s"]
    assert made == pytest.approx(float(form["output_tokens_per_s"]), rel=0.05)
    assert run.times()["ttft_s"][later].mean() == pytest.approx(float(form["ttft_s"]), rel=0.2)
    assert run.times()["e2e_s"][later].mean() == pytest.approx(float(form["e2e_s"]), rel=0.05)
    assert (run.counts["preemptions"] > 0) == (name != "tensorrt-llm")
