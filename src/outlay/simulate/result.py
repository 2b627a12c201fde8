"""What a simulation found: every request, runs of steps, and what follows from them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from msgspec import Struct, field
from numpy.typing import NDArray

from outlay.errors import BadValue
from outlay.simulate.measures import ITL, Measure
from outlay.simulate.records import Power
from outlay.simulate.tables import table_form, write_table

PERCENTILES = (50, 90, 99)
Column = NDArray[Any]


class Slo(Struct, frozen=True):
    """Limits a good request stays within, in seconds; None does not matter."""

    ttft_s: float | None = None
    tpot_s: float | None = None
    e2e_s: float | None = None


class SimResult(Struct, frozen=True, eq=False):
    """A simulation's outcome.

    requests has a row each (request, engine, input_tokens, output_tokens, cached_tokens, preemptions, dropped,
    arrival_s, scheduled_s, first_token_s, end_s; good, within the SLO asked for), steps a row for each run of equal
    steps (engine, start_s, steps, running, prompt_tokens, duration_s, prompt_s of it for prompts; energy_j of its
    devices, where power is known); both are empty where only measures were kept. Times of a request include what is
    spent outside the engine. busy_s and on_s are engine-seconds, device_s those of devices: prefill, decode, on.
    """

    requests: Mapping[str, Column]
    steps: Mapping[str, Column]
    measures: Mapping[str, Measure]  # ttft_s, tpot_s, itl_s, e2e_s, queue_s
    counts: Mapping[str, int]  # requests, completed, dropped, preemptions, input_tokens, output_tokens, cached_tokens
    seconds: float  # from the first arrival to the last end
    busy_s: float
    on_s: float
    device_s: Mapping[str, float]
    good: int | None = None  # requests within the SLO asked for
    energy_j: float | None = None
    energy_parts_j: Mapping[str, float] = field(default_factory=dict)  # prefill, decode, idle
    notes: tuple[str, ...] = ()
    replicas: Mapping[str, Column] = field(default_factory=dict)  # start_s, pool, replicas paid for, answering, devices
    devices: Column = field(default_factory=lambda: np.zeros(0))  # of each engine

    @property
    def utilization(self) -> float:
        """Share of the time engines were on that they worked."""
        return self.busy_s / self.on_s if self.on_s > 0 else 0.0

    @property
    def output_tokens_per_s(self) -> float:
        return self.counts["output_tokens"] / self.seconds if self.seconds > 0 else 0.0

    def summary(self) -> dict[str, float]:
        """Names of the contract: means, ttft_p50_s … e2e_p99_s, throughput, load, what was dropped."""
        found: dict[str, float] = {}
        for name, measure in self.measures.items():
            stem = name.removesuffix("_s")
            found[name] = measure.mean
            found |= {f"{stem}_p{p}_s": measure.percentile(p) for p in PERCENTILES}
        found |= {
            "output_tokens_per_s": self.output_tokens_per_s,
            "requests_per_s": self.counts["completed"] / self.seconds if self.seconds > 0 else 0.0,
            "utilization": self.utilization,
            "dropped": float(self.counts["dropped"]),
            "preemptions": float(self.counts["preemptions"]),
            "cached_share": self.counts["cached_tokens"] / max(self.counts["input_tokens"], 1),
        }
        if self.good is not None:
            found["goodput_share"] = self.good / max(self.counts["requests"], 1)
            found["goodput_per_s"] = self.good / self.seconds if self.seconds > 0 else 0.0
        return found

    def times(self) -> dict[str, Column]:
        """ttft_s, tpot_s, e2e_s and queue_s of every request that was answered; tpot_s is NaN for one token."""
        self._needs_tables()
        done = self.requests["dropped"] == 0
        return request_times({name: column[done] for name, column in self.requests.items()})

    def between(self, start_s: float, end_s: float) -> dict[str, float]:
        """Steady state: means over requests that arrive in a window, and output tokens a second made within it."""
        times = self.times()
        done = self.requests["dropped"] == 0
        arrival = self.requests["arrival_s"][done]
        inside = (arrival >= start_s) & (arrival < end_s)
        steps = self.steps
        ends = steps["start_s"] + steps["duration_s"]
        share = np.clip(np.minimum(ends, end_s) - np.maximum(steps["start_s"], start_s), 0.0, None)
        share = share / np.maximum(steps["duration_s"], 1e-300)
        made = float(np.sum(share * steps["steps"] * steps["running"]))
        told = {name: column[inside & np.isfinite(column)] for name, column in times.items()}  # one token has no TPOT
        found = {name: float(column.mean()) if len(column) else float("nan") for name, column in told.items()}
        return found | {"decoded_tokens_per_s": made / (end_s - start_s)}

    def power_over_time(self, power: Power, bins: int = 200) -> dict[str, Column]:
        """Mean watts of all devices in equal bins of time, and of the part of the devices that is paid for: start_s,
        watts, on_share."""
        self._needs_tables()
        steps = self.steps
        first = float(self.requests["arrival_s"].min())
        edges = first + np.linspace(0.0, max(self.seconds, 1e-9), bins + 1)
        extra = (step_watts(power, steps) - power.idle_w) * self.devices[steps["engine"]]
        # The integral over time of a sum of boxes, read at the edges.
        starts, ends = steps["start_s"], steps["start_s"] + steps["duration_s"]
        total = _integral(edges, starts, extra) - _integral(edges, ends, extra)
        on = np.full(bins, self.device_s["on"] / max(self.seconds, 1e-9))
        if self.replicas:
            held = np.sum(self._held(edges, "devices"), axis=0)
            on = self.device_s["on"] * held / max(float(held.sum()), 1e-300) / np.diff(edges)
        return {"start_s": edges[:-1], "watts": power.idle_w * on + np.diff(total) / np.diff(edges),
                "on_share": on / max(float(self.devices.sum()), 1e-300)}

    def replicas_over_time(self, bins: int = 200) -> list[Column]:
        """Replicas of each pool that are paid for, mean in equal parts of the time, where they come and go."""
        edges = self.replicas["start_s"][0] + np.linspace(0.0, max(self.seconds, 1e-9), bins + 1)
        return [held / np.diff(edges) for held in self._held(edges, "replicas")]

    def _held(self, edges: Column, name: str) -> list[Column]:
        """Integral of a column of each pool's replicas between edges of time."""
        tables = map(self.replicas_of, range(int(self.replicas["pool"].max()) + 1))
        return [np.diff(_integral(edges, own["start_s"], np.diff(own[name], prepend=0))) for own in tables]

    def replicas_of(self, pool: int) -> dict[str, Column]:
        """The table of replicas of one pool, where they come and go."""
        own = self.replicas["pool"] == pool
        return {name: column[own] for name, column in self.replicas.items()}

    def replicas_mean(self, pool: int = 0) -> float:
        """Replicas of a pool paid for, mean over time."""
        table = self.replicas_of(pool)
        ends = np.append(table["start_s"][1:], table["start_s"][0] + self.seconds)
        held = (ends - table["start_s"]) * table["replicas"]
        return float(held.sum() / max(self.seconds, 1e-300))

    def starts(self, pool: int = 0) -> int:
        """Replicas of a pool that were started."""
        return int(np.maximum(np.diff(self.replicas_of(pool)["replicas"]), 0).sum())

    def write(self, path: str, table: str = "requests") -> None:
        """A table as CSV or Parquet, by the file's name."""
        form, columns = table_form(path), self.table(table)
        with open(path, "wb") as file:
            write_table(file, columns, form)

    def table(self, name: str) -> dict[str, Column]:
        """Columns of "requests", with ttft_s, tpot_s, e2e_s and queue_s of each, or of "steps"."""
        self._needs_tables()
        if name == "requests":
            times = request_times(self.requests)
            gone = self.requests["dropped"] == 1
            return {**self.requests, **{key: np.where(gone, np.nan, column) for key, column in times.items()}}
        if name != "steps":
            raise BadValue(f"table: {name!r} is neither requests nor steps", "table")
        return dict(self.steps)

    def _needs_tables(self) -> None:
        if not self.requests:
            raise BadValue("only measures were kept of this simulation; ask for keep='tables'", "keep")


def _integral(at: Column, starts: Column, heights: Column) -> Column:
    """∫ of steps of given heights that begin at `starts`, up to each of `at`."""
    order = np.argsort(starts, kind="stable")
    s, h = starts[order], heights[order]
    height, moment = np.concatenate([[0.0], np.cumsum(h)]), np.concatenate([[0.0], np.cumsum(h * s)])
    index = np.searchsorted(s, at, side="right")
    found: Column = at * height[index] - moment[index]
    return found


def request_times(requests: Mapping[str, Column]) -> dict[str, Column]:
    """What a user feels of each request."""
    first, end, arrival = requests["first_token_s"], requests["end_s"], requests["arrival_s"]
    more = requests["output_tokens"] - 1
    with np.errstate(divide="ignore", invalid="ignore"):
        tpot = np.where(more > 0, (end - first) / more, np.nan)
    return {"ttft_s": first - arrival, "tpot_s": tpot, "e2e_s": end - arrival,
            "queue_s": requests["scheduled_s"] - arrival}


def good_requests(requests: Mapping[str, Column], slo: Slo) -> Column:
    """Which stay within every limit, 1 or 0; dropped ones never do."""
    times = request_times(requests)
    good = requests["dropped"] == 0
    for name in ("ttft_s", "tpot_s", "e2e_s"):
        limit = getattr(slo, name)
        if limit is not None:
            good &= np.nan_to_num(times[name], nan=0.0) <= limit
    found: Column = good.astype(np.int64)
    return found


def step_watts(power: Power, steps: Mapping[str, Column]) -> Column:
    """Watts of one device in each run of steps: prompts and answers, each for its part of the time."""
    decode = np.interp(steps["running"], power.running, power.decode_w)
    part = steps["prompt_s"] / np.maximum(steps["duration_s"], 1e-300)
    found: Column = part * power.prompt_w + (1.0 - part) * decode
    return found


__all__ = ["ITL", "PERCENTILES", "SimResult", "Slo", "good_requests", "request_times", "step_watts"]
