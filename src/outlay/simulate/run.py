"""The front of the simulator: requests in, tables out, and the inner loop between them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np

from outlay.errors import BadValue
from outlay.simulate import core_kv as c
from outlay.simulate import fast as compiled
from outlay.simulate.core_come import OFF
from outlay.simulate.core_run import FLUSH, MORE, PLACES
from outlay.simulate.core_run import run as run_plain
from outlay.simulate.core_step import GAPPED, SCALED
from outlay.simulate.measures import ITL, Measure
from outlay.simulate.records import Power, StepTime, System
from outlay.simulate.result import SimResult, Slo, good_requests, request_times, step_watts
from outlay.simulate.state import make_state, more_places, next_batch
from outlay.simulate.workload import ROWS, Batch, Synthetic

PLACES_FIRST = 1024
INTS = ("request", "input_tokens", "output_tokens", "cached_tokens", "preemptions", "engine", "dropped")
TIMES = ("arrival_s", "scheduled_s", "first_token_s", "end_s")
WORTH_LOADING = 10_000  # requests; loading compiled code takes as long as these in Python


class Workload(Protocol):
    """Requests in batches, the blocks prefixes are counted in, and (concurrency, think_s) of a closed loop."""

    @property
    def prefix_tokens(self) -> int: ...

    @property
    def closed(self) -> tuple[int, float]: ...

    def batches(self, seed: int, notes: list[str]) -> Iterator[Batch]: ...


def simulate(
    workload: Workload,
    system: System,
    step_time: StepTime | tuple[StepTime, StepTime],
    seed: int = 0,
    *,
    slo: Slo | None = None,
    power: Power | None = None,
    keep: str = "tables",
    fast: bool | None = None,
) -> SimResult:
    """Replay a workload on a system, from the first arrival to the last token.

    workload: `Synthetic`, `Trace` or `Given`. step_time: of the one pool, or of the pool for prompts and the one that
    decodes. slo: what a good request stays within (goodput). power: watts by phase, for energy. keep: "tables" keeps
    every request and run of steps, "measures" only distributions, in memory that does not grow with the trace. fast:
    compiled (needs `outlay[fast]`) or plain Python, by default compiled where installed; the result is the same.

    The same arguments give the same result. Raises errors of outlay.errors for what cannot be simulated.
    """
    if keep not in ("tables", "measures"):
        raise BadValue(f"keep: {keep!r} is neither tables nor measures", "keep")
    steps = step_time if isinstance(step_time, tuple) else (step_time,)
    if len(steps) != (1 if system.decode is None else 2):
        raise BadValue("step_time: one for each pool: a pair where system.decode is given", "step_time")
    notes: list[str] = []
    batches = workload.batches(seed, notes)
    upcoming = next(batches, None)
    if upcoming is None:
        raise BadValue("serve.workload: no requests", "serve.workload")
    quick = _worth(len(upcoming.arrival_s)) if fast is None else fast
    run = compiled.compiled_run() if quick else run_plain
    number, think_s = workload.closed
    following = next(batches, None)
    tokens = 0 if _without_prefixes(workload, upcoming, following) else workload.prefix_tokens
    st = make_state(system, steps, tokens, number, think_s, quick, PLACES_FIRST)
    gathered = _Gathered(system, slo, power, keep)
    while True:
        why = run(st)
        if why == MORE:
            assert upcoming is not None
            st = next_batch(st, upcoming, following is None, quick)
            upcoming, following = following, None if following is None else next(batches, None)
        elif why == PLACES:
            st = more_places(st, quick)
        else:
            gathered.empty(st)
            if why != FLUSH:
                break
    return gathered.result(st, notes)


def _without_prefixes(workload: Workload, first: Batch, more: Batch | None) -> bool:
    """Whether no request says what it begins with: then blocks need no places in a list."""
    if first.prefix_counts.any():
        return False
    return more is None or (isinstance(workload, Synthetic) and workload.prefixes is None)


def _worth(count: int) -> bool:
    """Compiled code for many requests where it is at hand; compiling it takes a minute, once, for very many."""
    if not compiled.installed():
        return False
    return count >= (WORTH_LOADING if compiled.compiled_before() else ROWS)


class _Gathered:
    """What has come out of the inner loop so far."""

    def __init__(self, system: System, slo: Slo | None, power: Power | None, keep: str) -> None:
        self.system, self.slo, self.power, self.keep = system, slo, power, keep
        self.requests: list[dict[str, Any]] = []
        self.steps: list[dict[str, Any]] = []
        self.replicas: list[dict[str, Any]] = []
        self.measures = {name: Measure() for name in ("ttft_s", "tpot_s", ITL, "e2e_s", "queue_s")}
        self.counts = dict.fromkeys(("requests", "completed", "dropped", "preemptions", "input_tokens",
                                     "output_tokens", "cached_tokens"), 0)
        self.good, self.first, self.last, self.busy = 0, np.inf, 0.0, 0.0
        self.energy = {"prefill": 0.0, "decode": 0.0}
        pools = system.pools
        self.devices = np.repeat([pool.devices for pool in pools], [pool.engines for pool in pools])
        self.device_s = {"prefill": 0.0, "decode": 0.0}

    def empty(self, st: c.State) -> None:
        """Take what the inner loop has written."""
        ended, logged = int(st.g[c.NOUT]), int(st.g[c.NLOG])
        st.g[c.NOUT] = st.g[c.NLOG] = 0
        if ended:
            self.take_requests(_rows(st.oi, ended, c.OUT_INTS, np.int64), _rows(st.of, ended, c.OUT_FLOATS, np.float64))
        if logged:
            self.take_steps(_rows(st.li, logged, c.LOG_INTS, np.int64), _rows(st.lf, logged, c.LOG_FLOATS, np.float64))

    def take_requests(self, ints: Any, floats: Any) -> None:
        rows = {name: ints[:, at] for at, name in enumerate(INTS)} | {
            name: floats[:, at] for at, name in enumerate(TIMES)}
        self.first = min(self.first, float(rows["arrival_s"].min()))
        self.last = max(self.last, float(rows["end_s"].max()))
        gone = rows["dropped"] == 1
        rows["first_token_s"] = np.where(gone, np.nan, rows["first_token_s"])
        rows["scheduled_s"] = np.where(gone, np.nan, rows["scheduled_s"])
        done = {name: column[~gone] for name, column in rows.items()}
        for name, column in request_times(done).items():
            self.measures[name].add(column[~np.isnan(column)])
        self.counts["requests"] += len(gone)
        self.counts["completed"] += len(done["request"])
        self.counts["dropped"] += int(gone.sum())
        for name in ("preemptions", "input_tokens", "output_tokens", "cached_tokens"):
            self.counts[name] += int(done[name].sum())
        if self.slo is not None:
            rows["good"] = good_requests(rows, self.slo)
            self.good += int(rows["good"].sum())
        if self.keep == "tables":
            self.requests.append(rows)

    def take_steps(self, ints: Any, floats: Any) -> None:
        scaled = ints[:, 1] == SCALED
        if scaled.any():
            self.replicas.append({"start_s": floats[scaled, 0], "pool": ints[scaled, 0], "replicas": ints[scaled, 2],
                                  "answering": ints[scaled, 3]})
            ints, floats = ints[~scaled], floats[~scaled]
        gap = ints[:, 1] == GAPPED
        rows = {"engine": ints[:, 0], "start_s": floats[:, 0], "steps": ints[:, 2], "running": ints[:, 3],
                "prompt_tokens": ints[:, 4], "duration_s": floats[:, 1],
                "prompt_s": floats[:, 2]}
        each = rows["duration_s"] / rows["steps"]
        self.measures[ITL].add(each, rows["steps"] * rows["running"])
        rows = {name: column[~gap] for name, column in rows.items()}
        self.busy += float(rows["duration_s"].sum())
        devices = self.devices[rows["engine"]]
        prompts = float((rows["prompt_s"] * devices).sum())
        self.device_s["prefill"] += prompts
        self.device_s["decode"] += float((rows["duration_s"] * devices).sum()) - prompts
        if self.power is not None:
            rows["energy_j"] = step_watts(self.power, rows) * rows["duration_s"] * devices
            self.energy["prefill"] += prompts * self.power.prompt_w
            self.energy["decode"] += float(rows["energy_j"].sum()) - prompts * self.power.prompt_w
        if self.keep == "tables":
            self.steps.append(rows)

    def result(self, st: c.State, notes: list[str]) -> SimResult:
        on = np.zeros(len(self.devices))
        start, end = float(self.first), max(self.last, self.first)
        for e in range(len(on)):
            row = e * c.ENGINE_FLOATS
            running = st.ei[e * c.ENGINE_INTS + c.STATUS] != OFF
            on[e] = st.ef[row + c.ON] + (end - max(st.ef[row + c.SINCE], start) if running else 0.0)
        device_s = self.device_s | {"on": float((on * self.devices).sum())}
        energy: dict[str, float] = {}
        if self.power is not None:
            busy = np.array([st.ef[e * c.ENGINE_FLOATS + c.BUSY] for e in range(len(on))])
            idle = float((np.maximum(on - busy, 0.0) * self.devices).sum()) * self.power.idle_w
            energy = self.energy | {"idle": idle}
        if not self.steps:  # all were refused
            self.take_steps(np.zeros((0, c.LOG_INTS), dtype=np.int64), np.zeros((0, c.LOG_FLOATS)))
        requests, steps = _joined(self.requests), _joined(self.steps)
        if requests:
            order = np.argsort(requests["request"], kind="stable")
            requests = {name: column[order] for name, column in requests.items()}
        if self.counts["dropped"]:
            notes.append(f"{self.counts['dropped']:,} of {self.counts['requests']:,} requests are longer than "
                         f"{self.system.max_model_len:,} tokens or than the cache and were refused")
        return SimResult(requests, steps, self.measures, self.counts, end - start, self.busy, float(on.sum()),
                         device_s, None if self.slo is None else self.good,
                         sum(energy.values()) if energy else None, energy, tuple(notes), self.over_time(start),
                         self.devices)

    def over_time(self, start: float) -> dict[str, Any]:
        """Replicas of each pool from the start on, where they come and go, and the devices that they hold."""
        scales = self.system.scales
        if not scales:
            return {}
        stand = np.array([scale.standing for scale in scales])
        found = _joined([{"start_s": np.full(len(scales), start), "pool": np.arange(len(scales)), "replicas": stand,
                          "answering": stand}, *self.replicas])
        each = np.array([scale.engines * pool.devices for scale, pool in zip(scales, self.system.pools, strict=True)])
        return found | {"devices": found["replicas"] * each[found["pool"]]}


def _rows(table: Any, count: int, columns: int, kind: type) -> Any:
    """The first rows of a flat table, copied."""
    return np.array(table[: count * columns], dtype=kind).reshape(count, columns)


def _joined(parts: list[dict[str, Any]]) -> dict[str, Any]:
    if not parts:
        return {}
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
