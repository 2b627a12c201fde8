"""Replicas that come and go: decisions against a plain model of them, what is paid for, what a start forgets."""

from __future__ import annotations

import inspect
import math
from importlib import import_module
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from outlay.errors import OutlayError
from outlay.simulate import Autoscale, Batch, Given, Pool, SimResult, StepTime, System, batch, simulate
from outlay.simulate.fast import MODULES

STEP = StepTime((0.0, *(0.008 + 0.0002 * n for n in range(1, 17))), 0.0, (0.0, 1.0, 512.0, 8192.0),
                (0.0, 1.0, 16.0), ((0.0, 0.01, 0.03, 0.3), (0.0, 0.001, 0.02, 0.3), (0.0, 0.001, 0.02, 0.3)))
SCALE = Autoscale(1, 6.0, every_s=3.0, cold_start_s=11.0, patience=5)


def bursts(seed: int, prefixes: int = 0) -> Batch:
    rng = np.random.default_rng(seed)
    at = np.sort(np.concatenate([rng.uniform(0, 600, 300), rng.uniform(90, 130, 500), rng.uniform(400, 412, 250)]))
    counts = np.full(len(at), 3 if prefixes else 0)
    groups = rng.integers(max(prefixes, 1), size=len(at))
    ids = np.repeat(groups * 10, counts) + np.tile(np.arange(3), len(at))[: int(counts.sum())]
    return batch(at, rng.integers(1600, 2400, len(at)), rng.integers(1, 200, len(at)), counts, ids)


def scaled(work: Batch, scale: Autoscale | None = SCALE, engines: int = 6, **more: Any) -> SimResult:
    system = System(Pool(engines, 16, 4096, 200_000), 10**6, autoscale=scale, **more)
    return simulate(Given(work), system, STEP, fast=False)


def expected(found: SimResult, scale: Autoscale, replicas: int) -> list[tuple[float, int, int]]:
    """What the autoscaler has to do, from the tables alone: (time, paid for, answering) at each change.

    A request is no longer inside once the step begins with which it ends.
    """
    table = found.requests
    last = float(table["end_s"].max())
    status, since = ["on"] * scale.low + ["off"] * (replicas - scale.low), [0.0] * replicas
    wants = [scale.low] * scale.patience
    rows = [(float(table["arrival_s"].min()), scale.low, scale.low)]
    steps = found.steps
    length = steps["duration_s"] / steps["steps"]  # all of a run are as long where reading the cache takes no time
    ends = dict(zip(zip(steps["engine"], np.round(steps["start_s"] + steps["duration_s"], 9), strict=True), length,
                    strict=True))
    gone_s = np.array([t - ends[e, round(t, 9)] for e, t in zip(table["engine"], table["end_s"], strict=True)])
    events = [(k * scale.every_s, "look", -1) for k in range(1, int(last / scale.every_s) + 1)]

    def inside(replica: int | None, time: float) -> int:
        here = (table["arrival_s"] < time) & (gone_s >= time)
        if replica is not None:
            here &= table["engine"] // scale.engines == replica
        return int(here.sum())

    def stayed_s(time: float) -> float:
        come = table["arrival_s"] < time
        return float((np.where(gone_s < time, table["end_s"], time) - table["arrival_s"])[come].sum())

    while events:
        events.sort()
        time, what, which = events.pop(0)
        if time >= last:
            break
        if what == "up":
            if status[which] == "starting" and since[which] + scale.cold_start_s <= time:
                status[which] = "on"
        else:
            for r in range(replicas):
                if status[r] == "draining" and inside(r, time) == 0:
                    status[r] = "off"
            have = sum(s in ("on", "starting") for s in status)
            mean = (stayed_s(time) - stayed_s(time - scale.every_s)) / scale.every_s
            wants.append(min(max(math.ceil(mean / scale.target - 1e-3), scale.low), replicas))
            for _ in range(wants[-1] - have):
                back = next((r for r in range(replicas) if status[r] == "draining"), None)
                if back is not None:
                    status[back] = "on"
                    continue
                cold = status.index("off")
                status[cold], since[cold] = "starting", time
                events.append((time + scale.cold_start_s, "up", cold))
            for _ in range(have - max(wants[-scale.patience:])):
                waiting = [r for r in range(replicas) if status[r] == "starting"]
                if waiting:
                    status[max(waiting, key=lambda r: (since[r], r))] = "off"
                    continue
                up = [r for r in range(replicas) if status[r] == "on"]
                gone = min(up, key=lambda r: (inside(r, time), -r))
                status[gone] = "draining" if inside(gone, time) else "off"
        row = (time, sum(s != "off" for s in status), status.count("on"))
        if row[1:] != rows[-1][1:]:
            rows.append(row)
    return rows


@pytest.mark.parametrize("scale", [
    SCALE, replace(SCALE, engines=2), replace(SCALE, low=2, patience=1), replace(SCALE, target=2.5, cold_start_s=0.0),
    replace(SCALE, cold_start_s=40.0, patience=3)], ids=["plain", "two engines", "hasty", "warm", "slow"])
def test_decisions_are_those_of_the_rules(scale: Autoscale) -> None:
    for seed in range(3):
        found = scaled(bursts(seed), scale)
        table = found.replicas
        rows = list(zip(*(table[name].tolist() for name in ("start_s", "replicas", "answering")), strict=True))
        assert [(pytest.approx(t), *n) for t, *n in expected(found, scale, 6 // scale.engines)] == rows
        assert max(table["replicas"]) > scale.low  # something happened
        assert found.starts() >= max(table["replicas"]) - scale.low


def test_functions_of_the_inner_loop_have_names_of_their_own() -> None:
    """Compiled, they know one another by name alone."""
    names = [function for module in MODULES
             for function, one in inspect.getmembers(import_module(f"outlay.simulate.{module}"), inspect.isfunction)
             if one.__module__.endswith(f".{module}")]
    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize("router", ["least_loaded", "round_robin", "prefix"])
def test_what_is_paid_for_adds_up(router: str) -> None:
    """Every request once; the table of replicas, engine-seconds and device-seconds say the same."""
    work = bursts(4, prefixes=20)
    found = scaled(work, replace(SCALE, engines=3), router=router)
    assert found.counts["completed"] == len(work.arrival_s) == len(set(found.requests["request"].tolist()))
    assert found.replicas_mean() * 3 * found.seconds == pytest.approx(found.on_s)
    assert found.device_s["on"] == pytest.approx(found.on_s)
    assert found.device_s["prefill"] + found.device_s["decode"] == pytest.approx(found.busy_s)
    assert found.busy_s < found.on_s
    assert found.device_s["prefill"] == pytest.approx(float(found.steps["prompt_s"].sum()))
    fixed = scaled(work, None, router=router)
    assert found.on_s < 0.7 * fixed.on_s
    assert found.measures["ttft_s"].percentile(99) > fixed.measures["ttft_s"].percentile(99)


def test_a_replica_that_starts_has_nothing_cached() -> None:
    """A burst that starts a second replica, silence, and the same burst: the prompts are computed anew there."""
    first = np.linspace(0.0, 6.0, 40)
    at = np.concatenate([first, first + 300.0])
    counts = np.full(len(at), 4)
    work = batch(at, [2048] * len(at), [150] * len(at), counts, np.tile(np.arange(4), len(at)))
    scale = Autoscale(1, 4.0, every_s=0.5, cold_start_s=1.0, patience=2)
    found = scaled(work, scale, engines=2)
    again = (found.requests["engine"] == 1) & (found.requests["arrival_s"] >= 300.0)
    assert again.any() and found.requests["cached_tokens"][again][0] == 0
    assert (found.requests["cached_tokens"][again][5:] > 0).all()
    warm = scaled(work, None, engines=2).requests
    assert (warm["cached_tokens"][(warm["engine"] == 1) & (warm["arrival_s"] >= 300.0)] > 0).all()


def test_a_replica_lives_until_its_caches_are_moved() -> None:
    """Two prompts on two replicas, computed within a second and moved for thirty: neither stops before."""
    scale = Autoscale(1, 2.0, every_s=1.0, cold_start_s=5.0, patience=1, first=2)
    system = System(Pool(2, 16, 4096, 200_000), 10**6, decode=Pool(1, 16, 4096, 200_000), move_s=30.0,
                    autoscale=scale, autoscale_decode=replace(scale, first=1))
    found = simulate(Given(batch([0.0, 0.0], [2048, 2048], [600, 600])), system, (STEP, STEP), fast=False)
    table = found.replicas_of(0)
    assert (table["replicas"].tolist(), table["answering"].tolist()) == ([2, 2, 1], [2, 1, 1])
    stopped = float(table["start_s"][table["replicas"] == 1][0])
    assert 30.0 < stopped < 33.0


@pytest.mark.parametrize("scale", [
    replace(SCALE, engines=4), replace(SCALE, low=7), replace(SCALE, low=0), replace(SCALE, target=0.0),
    replace(SCALE, every_s=0.0), replace(SCALE, patience=0)])
def test_what_cannot_be_scaled_is_refused(scale: Autoscale) -> None:
    with pytest.raises(OutlayError) as caught:
        scaled(bursts(0), scale)
    assert caught.value.field.startswith("system.autoscale")
