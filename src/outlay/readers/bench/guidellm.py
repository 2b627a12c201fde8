"""guidellm's report (benchmarks.json) → runs, one a strategy of its profile.

Of its names: `request_latency` is in seconds beside others in milliseconds, and `time_per_output_token_ms` counts the
first token, so that TPOT as it is defined here is its `inter_token_latency_ms`. Fields:
guidellm/benchmark/schemas as of 0.8; of 0.2 and 0.3 guidellm/benchmark/benchmark.py (`args`, `worker`, `run_stats`, and
counts of requests beside the metrics).
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

from outlay.readers.bench.record import (
    PERCENTILES,
    BenchRun,
    Spread,
    amount,
    count_of,
    mapping,
    not_read,
    over,
    text,
    unanswered,
)

TOOL = "guidellm"
MS = 1e-3
NEAR = 0.9  # of the limit in flight on average: it held requests back
_ARRIVALS = {"constant": "constant", "poisson": "poisson", "async": "poisson"}
_READ = ("request_totals", "requests_per_second", "request_concurrency", "request_latency", "prompt_token_count",
         "output_token_count", "time_to_first_token_ms", "inter_token_latency_ms", "output_tokens_per_second")
# Known, and said by others already or about other kinds of data.
_PASSED = ("time_to_first_output_token_ms", "time_per_output_token_ms", "total_token_count", "tokens_per_second",
           "prompt_tokens_per_second", "request_streaming_iterations_count", "output_tokens_per_iteration",
           "iter_tokens_per_iteration", "text", "image", "video", "audio", "tool_call",
           "output_tokens_wo_first_per_iteration")


def is_guidellm(given: Mapping[str, Any]) -> bool:
    """Whether a mapping is a report."""
    runs = given.get("benchmarks")
    return isinstance(runs, list) and any("time_to_first_token_ms" in mapping(mapping(r).get("metrics")) for r in runs)


def read_guidellm(given: Mapping[str, Any]) -> list[BenchRun]:
    """Every benchmark of a report.

    >>> run, = read_guidellm({"benchmarks": [{"config": {"strategy": {"type_": "concurrent", "streams": 8}},
    ...     "metrics": {"time_to_first_token_ms": {"successful": {"mean": 45.0}},
    ...                 "request_latency": {"successful": {"mean": 1.5}}}}]})
    >>> run.load, run.concurrency, run.seen("ttft_s"), run.seen("e2e_s")
    ('closed', 8.0, 0.045, 1.5)
    """
    whole = mapping(given.get("config", given.get("args")))
    whole = mapping(whole.get("spec", whole))
    return [_run(one, whole) for one in given["benchmarks"] if isinstance(one, Mapping)]


def _run(one: Mapping[str, Any], whole: Mapping[str, Any]) -> BenchRun:
    metrics = mapping(one.get("metrics"))
    settings = mapping(one.get("config", one.get("args")))
    totals = mapping(metrics.get("request_totals", one.get("request_totals")))
    in_flight = _mean(metrics, "request_concurrency")
    load, remarks = _load(mapping(settings.get("strategy")), in_flight or 0.0)
    if nobody := unanswered(totals.get("successful"), amount(totals.get("errored"))):
        load, remarks = {"load": ""}, (nobody,)
    clock = mapping(one.get("scheduler_metrics", one.get("run_stats")))
    started = one.get("start_time", clock.get("start_time"))
    duration = amount(one.get("duration")) or _between(clock)
    return BenchRun(
        tool=TOOL,
        model=_model(settings, whole, mapping(one.get("worker"))),
        date=_day(started),
        **load,
        input_tokens=_mean(metrics, "prompt_token_count"),
        output_tokens=_mean(metrics, "output_token_count"),
        completed=amount(totals.get("successful")),
        failed=amount(totals.get("errored")),
        duration_s=duration,
        times={
            "ttft_s": _spread(metrics, "time_to_first_token_ms", MS),
            "tpot_s": _spread(metrics, "inter_token_latency_ms", MS),
            "e2e_s": _spread(metrics, "request_latency", 1.0),
        },
        output_tokens_per_s=_mean(metrics, "output_tokens_per_second"),
        requests_per_s=_mean(metrics, "requests_per_second") or over(amount(totals.get("successful")), duration),
        in_flight=in_flight,
        unknown=not_read(metrics, (*_READ, *_PASSED)),
        remarks=remarks,
    )


def _done(metrics: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The distribution over requests that were answered."""
    return mapping(mapping(metrics.get(name)).get("successful"))


def _mean(metrics: Mapping[str, Any], name: str) -> float | None:
    return amount(_done(metrics, name).get("mean"))


def _spread(metrics: Mapping[str, Any], name: str, factor: float) -> Spread:
    found = _done(metrics, name)
    tails = {**mapping(found.get("percentiles"))}
    tails.setdefault("p50", found.get("median"))
    return Spread(amount(found.get("mean"), factor),
                  *(amount(tails.get(p), factor) for p in PERCENTILES))


def _between(clock: Mapping[str, Any]) -> float | None:
    """Seconds that were measured, warm-up and cool-down left out."""
    begin, end = amount(clock.get("measure_start_time")), amount(clock.get("measure_end_time"))
    return amount(end - begin) if begin is not None and end is not None else None


def _load(strategy: Mapping[str, Any], in_flight: float) -> tuple[dict[str, Any], tuple[str, ...]]:
    """How requests came. An open load has a limit of its own, which is told where it was near."""
    kind = text(strategy.get("type_", strategy.get("kind")), 40)
    streams, rate = count_of(strategy.get("streams")), amount(strategy.get("rate"))
    if kind == "synchronous":
        return {"load": "closed", "concurrency": 1.0}, ()
    if kind == "concurrent" and streams:
        return {"load": "closed", "concurrency": float(streams)}, ()
    if kind == "throughput":
        most = count_of(strategy.get("max_concurrency"))
        return ({"load": "closed", "concurrency": float(most)} if most else {"load": "queued"}), ()
    if kind in _ARRIVALS and rate is not None:
        most = count_of(strategy.get("max_concurrency"))
        told = () if most is None or in_flight < NEAR * most else (
            f"no more than {most:,} requests were let in at once, which the plan does not do",)
        return {"load": "open", "rate": rate, "arrivals": _ARRIVALS[kind]}, told
    if kind == "trace":
        return {"load": "trace"}, ("a trace was replayed; give it as serve.workload.trace to compare",)
    return {"load": ""}, (f"the strategy {kind or 'of the run'!r} is not understood",)


def _model(settings: Mapping[str, Any], whole: Mapping[str, Any], worker: Mapping[str, Any]) -> str:
    for place in (settings, whole):
        backend = mapping(place.get("backend"))
        named = backend.get("model") or mapping(backend.get("attributes")).get("model") or place.get("model")
        if text(named):
            return text(named)
    return text(worker.get("backend_model"))


def _day(seconds: Any) -> str:
    at = amount(seconds)
    if at is None or not 1e9 < at < 1e10:
        return ""
    return datetime.datetime.fromtimestamp(at, datetime.UTC).date().isoformat()
