"""The closed form under loops and rates: what is waited for, and the simulator beside it."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace
from tests.test_serve_time import DENSE, PARTS

from outlay import plan
from outlay.catalog import load
from outlay.derive import value_of
from outlay.planner.replay.simulate import replay
from outlay.resolve import resolve
from outlay.resolve.lengths import Lengths
from outlay.resolve.serve.time import time_constants, time_device
from outlay.scenario_io import scenario_from
from outlay.simulate import Arrivals, Synthetic
from outlay.steps.serve.inputs import ServeLayout
from outlay.steps.serve.memory import serve_memory
from outlay.steps.serve.time import serve_time
from outlay.steps.serve.time_inputs import EngineTime, Load

DEVICE = time_device(load().find("device", "h200-sxm-141gb", ""))


def sglang() -> EngineTime:
    constants = time_constants("sglang", DEVICE.generation)
    return EngineTime(dict.fromkeys(PARTS, 1.0) | {"head": 2.0}, 2.0, constants, 8192.0, 1024.0, own_steps=True)


def times(load_: Load, **changed: Any) -> dict[str, Any]:
    return serve_time(DENSE, DEVICE, replace(sglang(), **changed), ServeLayout(4), load_)


def test_a_server_that_lets_steps_pass_answers_so_much_later() -> None:
    """SGLang polled every tenth step, every thirtieth from sixteen requests on: two to three hundred milliseconds."""
    holds = ((0.0, 10.0), (16.0, 30.0))
    for count, steps in ((8.0, 10.0), (16.0, 30.0)):
        load_ = Load("closed", 1024.0, 1024.0, count)
        soon, late = times(load_, holds=()), times(load_, holds=holds)
        own = sglang().constants  # all but the first wave wait, and then beside others that did
        least = (1.0 - 2.0 * own["queue"]) * own["hold"] * steps * late["tpot_s"]
        # From a look on: half of what prompts take at a mean one is not waited for.
        assert 0.95 * least < late["ttft_s"] - soon["ttft_s"] < 1.1 * least
        assert late["tpot_s"] == pytest.approx(soon["tpot_s"], rel=0.02)
    few = times(Load("open", 1024.0, 1024.0, rate=0.5), holds=())
    assert times(Load("open", 1024.0, 1024.0, rate=0.5), holds=holds)["ttft_s"] > few["ttft_s"]


def planned(model: str, engine: str) -> Any:
    return resolve(scenario_from({"model": model, "fleet": "1xh100-sxm5-80gb", "serve": {
        "engine": engine, "precision": "fp8", "replicas": 1, "max_model_len": 16384, "max_num_seqs": 256,
        "workload": {"concurrency": 8, "input": 1024, "output": 1024}}}), load())


def beside(model: str, engine: str, share: float, prompt: float, output: float) -> dict[str, float]:
    """Simulated over closed form of mean times under Poisson arrivals at a share of what a replica sustains."""
    found = planned(model, engine)
    phase, arch, speed = found.serve, found.architecture, found.serve.speed
    cache = float(value_of(serve_memory(arch, phase.usable_bytes, phase.recipe, phase.layout).kv_cache_tokens))
    asked = Load("open", prompt, output, rate=1.0, cache_tokens=cache)
    rate = share / float(serve_time(arch, speed.device, speed.engine, phase.layout, asked)["load"])
    form = serve_time(arch, speed.device, speed.engine, phase.layout, replace(asked, rate=rate))
    phase = replace(phase, asked=replace(phase.asked, kind="open", input=prompt, output=output, rate=rate))
    work = Synthetic(Arrivals("poisson", rate=rate), Lengths(prompt), Lengths(output, 0.3), 2000)
    run = replay(arch, phase, phase.layout, 1, cache, work)
    steady = (run.requests["request"] > 600) & (run.requests["request"] < 1800)
    return {name: float(np.mean(run.times()[name][steady]) / form[name]) for name in ("ttft_s", "tpot_s", "e2e_s")}


@pytest.mark.parametrize("engine", ["vllm", "sglang", "tensorrt-llm"])
@pytest.mark.parametrize("model", ["llama-3.1-8b", "qwen3-30b-a3b"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
def test_a_rate_takes_as_long_in_the_simulator(model: str, engine: str, share: float) -> None:
    """Poisson arrivals at a share of what a replica sustains: times within 5 %."""
    for name, ratio in beside(model, engine, share, 1024.0, 1024.0).items():
        assert ratio == pytest.approx(1.0, rel=0.05), name


@pytest.mark.parametrize(("engine", "share", "prompt", "output"), [
    ("vllm", 0.8, 8192.0, 1024.0),  # as long as a step's budget: the tail goes with the next step
    ("tensorrt-llm", 0.5, 8192.0, 1024.0),
    ("sglang", 0.1, 8192.0, 1024.0),  # mostly nobody there to be held back for
    ("sglang", 0.8, 128.0, 128.0),  # prompts of all who came since the last look pass at the next
    ("sglang", 0.5, 2048.0, 256.0),  # more of them than a pass takes
])
def test_who_waits_for_what_under_a_rate(engine: str, share: float, prompt: float, output: float) -> None:
    """What is waited for beside one's own prompt is the same in both: within 5 %."""
    for name, ratio in beside("llama-3.1-8b", engine, share, prompt, output).items():
        assert ratio == pytest.approx(1.0, rel=0.05), name


HYBRID = "nemotron-3-nano-30b-a3b"  # of recurrent mixers, attention and experts


def sustained(model: str, eager: bool, load_: Load) -> float:
    """Requests a second of one replica with all its places taken."""
    found = resolve(scenario_from({"model": model, "fleet": "1xh100-sxm5-80gb", "serve": {
        "engine": "vllm", "precision": "fp8", "max_model_len": 32768, "enforce_eager": eager}}), load())
    phase = found.serve
    assert phase is not None and found.architecture is not None
    full = serve_time(found.architecture, phase.speed.device, phase.speed.engine, ServeLayout(1), load_)
    return float(full["output_tokens_per_s"]) / float(load_.output)


@pytest.mark.parametrize("model", ["llama-3.1-8b", "qwen3-30b-a3b", HYBRID])
@pytest.mark.parametrize("prompt", [500.0, 8000.0])
def test_more_to_answer_is_never_sustained_more_often(model: str, prompt: float) -> None:
    """Steps that carry a prompt and answer nobody, or few, take their time too."""
    rates = [sustained(model, False, Load("queued", prompt, output, cache_tokens=2e6))
             for output in (1.0, 2.0, 3.0, 5.0, 10.0, 30.0, 100.0)]
    assert all(later <= sooner * 1.0001 for sooner, later in pairwise(rates))


@pytest.mark.parametrize("model", ["llama-3.1-8b", HYBRID])
@pytest.mark.parametrize(("prompt", "output"), [(2000.0, 2.0), (8000.0, 10.0), (500.0, 200.0)])
def test_kernels_launched_one_by_one_never_sustain_more(model: str, prompt: float, output: float) -> None:
    work = Load("queued", prompt, output, cache_tokens=2e6)
    assert sustained(model, True, work) <= 1.02 * sustained(model, False, work)


@pytest.mark.parametrize("output", [1, 4, 32])
@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_a_queue_of_short_answers_drains_as_in_the_simulator(engine: str, output: int) -> None:
    found = planned("qwen3-30b-a3b", engine)
    phase, arch = found.serve, found.architecture
    work = Synthetic(Arrivals("all_at_once"), Lengths(6000.0), Lengths(float(output)), 400)
    run = replay(arch, phase, ServeLayout(1), 1, 1e6, work)
    form = serve_time(arch, phase.speed.device, phase.speed.engine, ServeLayout(1),
                      Load("queued", 6000.0, float(output), cache_tokens=1e6, requests=400.0))
    assert run.seconds == pytest.approx(400.0 * output / float(form["output_tokens_per_s"]), rel=0.07)


@pytest.mark.parametrize(("work", "holds"), [
    ({"rate": 2}, ()), ({"users": 100}, ()), ({"concurrency": 8}, ((0.0, 10.0), (16.0, 30.0))),
    ({"rate": "inf"}, ((0.0, 10.0), (16.0, 30.0))), ({}, ((0.0, 10.0), (16.0, 30.0)))])
def test_requests_that_come_by_themselves_find_sglang_as_it_is_by_default(work: dict[str, Any], holds: Any) -> None:
    """Published recipes set it for loops that keep a server full; a person's rate is another matter."""
    serve = {"engine": "sglang", "max_model_len": 8192, "workload": work}
    document = {"model": "llama-3.1-8b", "fleet": "1xh100-sxm5-80gb", "serve": serve}
    found = resolve(scenario_from(document), load()).serve
    assert found is not None and found.speed.engine.holds == holds
    document["serve"] = serve | {"hold_steps": 5}
    told = resolve(scenario_from(document), load()).serve
    assert told is not None and told.speed.engine.holds == ((0.0, 5.0),)


@pytest.mark.parametrize(("work", "steps"), [({"rate": 2}, 0.0), ({"concurrency": 64}, 60.0)])
def test_ranks_wait_for_one_another_only_in_loops(work: dict[str, Any], steps: float) -> None:
    serve = {"engine": "tensorrt-llm", "data": 4, "expert": 4, "max_model_len": 8192, "workload": work}
    document = {"model": "qwen3-30b-a3b", "fleet": "4xh100-sxm5-80gb", "serve": serve}
    found = resolve(scenario_from(document), load()).serve
    assert found is not None and found.speed.engine.gathers == steps
    told = " ".join(plan(document).to_dict()["serve"]["launch"]["notes"])
    assert ("gather_steps: 0" in told) is bool(steps)  # said where the plan counts on more than the engine does
