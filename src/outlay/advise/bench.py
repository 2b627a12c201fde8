"""A benchmark's run beside the plan of the same load: expected and seen by number, and what may make the difference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from outlay.derive import Quantity, value_of
from outlay.planner.serve.factors import FULL, answered_per_s
from outlay.readers.bench.record import BenchRun
from outlay.result import Result

NUMBERS = (
    ("ttft_s", "time to the first token", "s"),
    ("ttft_p50_s", "… median", "s"),
    ("ttft_p90_s", "… 90th percentile", "s"),
    ("ttft_p99_s", "… 99th percentile", "s"),
    ("tpot_s", "time per output token", "s"),
    ("tpot_p50_s", "… median", "s"),
    ("tpot_p90_s", "… 90th percentile", "s"),
    ("tpot_p99_s", "… 99th percentile", "s"),
    ("e2e_s", "whole request", "s"),
    ("e2e_p50_s", "… median", "s"),
    ("e2e_p90_s", "… 90th percentile", "s"),
    ("e2e_p99_s", "… 99th percentile", "s"),
    ("requests_per_s", "requests", "/s"),
    ("output_tokens_per_s", "output tokens", "/s"),
    ("power_w_per_device", "power of a device", "W"),
)
PLANNED = {"requests_per_s": "rate"}  # where the plan has another name for it
SHORT = 8.0  # requests for each one in flight, below which starting and ending weigh on the means


class Row(Struct, frozen=True):
    """One number that both the file and the plan have; inside: whether what was seen lies in the 80 % interval."""

    name: str
    label: str
    unit: str
    expected: Quantity
    seen: float

    @property
    def ratio(self) -> float:
        return self.seen / self.expected.value

    @property
    def inside(self) -> bool:
        return self.expected.low <= self.seen <= self.expected.high

    def to_dict(self) -> dict[str, Any]:
        return {"name": self.name, "label": self.label, "unit": self.unit, "expected": self.expected.to_dict(),
                "seen": self.seen, "ratio": self.ratio, "inside": self.inside}


class Comparison(Struct, frozen=True):
    """The numbers, why they may differ, and what the file says that a plan cannot be held against."""

    rows: tuple[Row, ...]
    hints: tuple[str, ...]
    remarks: tuple[str, ...]

    def row(self, name: str) -> Row | None:
        return next((row for row in self.rows if row.name == name), None)


def compare_bench(run: BenchRun, result: Result) -> Comparison:
    """What was measured beside what the plan of the same load says."""
    phase = result.phases["serve"]
    rows = []
    for name, label, unit in NUMBERS:
        seen, expected = run.seen(name), phase.get(PLANNED.get(name, name))
        if seen is not None and isinstance(expected, Quantity) and expected.value > 0.0:
            rows.append(Row(name, label, unit, expected, seen))
    if run.load == "open" and not phase.get("saturated") and not fell_behind(run):
        rows = [row for row in rows if row.unit != "/s"]  # they are the rate that was asked for
    found = Comparison(tuple(rows), (), run.remarks)
    return Comparison(found.rows, _hints(run, result, found), run.remarks)


def _hints(run: BenchRun, result: Result, found: Comparison) -> tuple[str, ...]:
    """Which assumption the difference points to, from what lies outside its interval and what the file says beside."""
    serve, phase = result.scenario.get("serve") or {}, result.phases["serve"]
    first, token = (_side(found.row(name)) for name in ("ttft_s", "tpot_s"))
    rate = _side(found.row("output_tokens_per_s"))
    said = [*_saturation(run, phase), *_speculation(run, serve, token)]
    if first < 0 and not run.prefix_hit and not serve.get("prefix_cache_hit"):
        said.append("the first token came sooner than planned: prompts that begin alike are found in the prefix cache; "
                    "give the share as serve.prefix_cache_hit, or clear the cache before the run")
    if first > 0 and token <= 0:
        said.append("only the first token came later: prompts queued behind one another (a burst at the start, a small "
                    "max_num_batched_tokens), or the client, the network and the tokenizer took their time")
    if token > 0 and first >= 0:
        said.append("tokens came slower than planned: look at what the plan assumes below (precision, layout, "
                    "enforce_eager), and at the devices (a power cap, another job on them)")
    if token < 0 and not run.tokens_a_step:
        said.append("tokens came faster than planned: narrower weights or cache than planned, or speculative decoding")
    said += _short(run, rate, first, token)
    return tuple(said)


def fell_behind(run: BenchRun) -> bool:
    """Whether fewer requests were answered than came, the time after the last arrival counted."""
    if not run.rate or not run.requests_per_s:
        return False
    return run.requests_per_s < FULL * answered_per_s(run.rate, run.completed, run.seen("e2e_s"))


def _side(row: Row | None) -> int:
    """-1 below the interval, 1 above, 0 inside or not known."""
    if row is None:
        return 0
    return -1 if row.seen < row.expected.low else 1 if row.seen > row.expected.high else 0


def _saturation(run: BenchRun, phase: Mapping[str, Any]) -> list[str]:
    """Whether it kept up, seen and planned."""
    capacity = phase.get("capacity_requests_per_s")
    if run.load == "closed":
        slots = float(phase.get("capacity_concurrency") or 0.0)
        if run.concurrency and slots and run.concurrency > slots:
            return [f"{run.concurrency:,.0f} requests were in flight and {slots:,.0f} run at once: the rest wait for a "
                    "place, and the time to the first token is that of this queue"]
        return []
    if run.load != "open" or not run.rate or not run.requests_per_s:
        return []
    behind, planned = fell_behind(run), bool(phase.get("saturated"))
    most = f"{value_of(capacity):.3g} requests/s" if capacity is not None else "what it sustains"
    if behind and planned:
        return [f"saturated, as planned: {run.rate:.3g} requests/s came, {run.requests_per_s:.3g} were answered, and "
                f"{most} were to be expected; latency is then a matter of how long the run was"]
    if behind:
        return [f"{run.rate:.3g} requests/s came and {run.requests_per_s:.3g} were answered: the deployment was "
                f"saturated, where {most} were planned"]
    if planned:
        return [f"it kept up with {run.rate:.3g} requests/s, where the plan sustains {most}"]
    return []


def _speculation(run: BenchRun, serve: Mapping[str, Any], token: int) -> list[str]:
    steps = run.tokens_a_step
    if steps is None or steps <= 1.0 or serve.get("speculative"):
        return []
    return [f"the engine accepted {steps:.2f} tokens a step: plan it with serve.speculative (method, tokens, "
            "acceptance)"]


def _short(run: BenchRun, rate: int, first: int, token: int) -> list[str]:
    """Whether the run was long enough for a steady state."""
    inside = run.concurrency if run.load == "closed" else None
    if not inside or not run.completed or inside <= 1:
        return []
    share = run.completed / inside
    if share >= SHORT:
        return []
    return [f"{run.completed:,.0f} requests for {inside:,.0f} in flight: all start with their prompts at once and the "
            "last ones run alone, which raises the first token's time and lowers throughput; the plan is of a steady "
            f"load, so run at least {SHORT * inside:,.0f}"]
