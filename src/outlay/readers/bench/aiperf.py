"""Summaries of aiperf (profile_export_aiperf.json) and of genai-perf before it → a run.

Each metric carries its unit, which is what counts. Their `inter_token_latency` is (latency - TTFT)/(output - 1) of a
request: TPOT as it is defined here. Fields: aiperf/common/models/export_models.py and its page on the JSON export's
schema (versions 1.0 to 1.5); genai_perf/export_data/json_exporter.py, metrics/llm_metrics.py and config/input.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from outlay.readers.bench.record import (
    PERCENTILES,
    BenchRun,
    Spread,
    amount,
    engine_of,
    mapping,
    not_read,
    text,
    unanswered,
)

TOOL, BEFORE = "aiperf", "genai-perf"
SECONDS = {"ns": 1e-9, "nanoseconds": 1e-9, "us": 1e-6, "µs": 1e-6, "microseconds": 1e-6, "ms": 1e-3,
           "milliseconds": 1e-3, "s": 1.0, "sec": 1.0, "seconds": 1.0}
WATTS = {"w": 1.0, "mw": 1e-3, "watts": 1.0, "milliwatts": 1e-3}
_TIMES = {"ttft_s": "time_to_first_token", "tpot_s": "inter_token_latency", "e2e_s": "request_latency"}
_READ = (*_TIMES.values(), "request_throughput", "request_count", "output_token_throughput", "output_sequence_length",
         "input_sequence_length", "error_request_count", "benchmark_duration", "telemetry_data", "input_config",
         "start_time", "was_cancelled", "total_isl", "total_osl", "telemetry_stats")
_PASSED = ("end_time", "error_summary", "schema_version", "aiperf_version", "benchmark_id", "run_info", "goodput",
           "good_request_count", "good_request_fraction", "time_to_second_token", "inter_chunk_latency",
           "output_token_throughput_per_user", "output_token_count", "reasoning_token_count", "total_output_tokens",
           "total_reasoning_tokens", "min_request_timestamp", "max_response_timestamp", "error_isl", "total_error_isl",
           "warmup_metrics", "total_token_throughput", "prefill_throughput_per_user", "time_to_first_output_token",
           "runtime_submission_invalid_reasons", "e2e_output_token_throughput", "output_token_throughput_per_request",
           "request_goodput", "num_output_token", "num_input_token", "sessions")
_BESIDE = ("http_req_", "osl_mismatch_")  # of the client's own connections, and of what was asked of the data set


def is_aiperf(given: Mapping[str, Any]) -> bool:
    """Whether a mapping is a summary: metrics with their units."""
    return any("unit" in mapping(given.get(name)) for name in (*_TIMES.values(), "output_token_throughput"))


def read_aiperf(given: Mapping[str, Any]) -> BenchRun:
    """A summary.

    >>> run = read_aiperf({"time_to_first_token": {"unit": "ms", "avg": 45.0, "p99": 90.0},
    ...                    "input_config": {"loadgen": {"concurrency": 8}}})
    >>> run.load, run.seen("ttft_s"), run.seen("ttft_p99_s")
    ('closed', 0.045, 0.09)
    """
    settings = mapping(given.get("input_config"))
    load, remarks = _load(settings)
    if nobody := unanswered(mapping(given.get("request_count")).get("avg"), _avg(given, "error_request_count")):
        load, remarks = {"load": ""}, (nobody,)
    if given.get("was_cancelled"):
        remarks = (*remarks, "the run was cancelled before its end")
    watts, devices, device = _power(mapping(given.get("telemetry_data")), mapping(given.get("telemetry_stats")))
    odd = [name for name in _TIMES.values() if name in given and _factor(given, name) is None]
    remarks += tuple(f"{name} is in {text(mapping(given[name]).get('unit'), 20)!r}, not a unit of time that is read"
                     for name in odd)
    return BenchRun(
        tool=BEFORE if _older(given, settings) else TOOL,
        engine=engine_of(settings.get("backend") or mapping(settings.get("endpoint")).get("backend") or ""),
        model=_model(settings),
        tokenizer=_tokenizer(settings),
        date=text(given.get("start_time"))[:10],
        **load,
        input_tokens=_avg(given, "input_sequence_length"),
        output_tokens=_avg(given, "output_sequence_length"),
        completed=_avg(given, "request_count"),
        failed=_avg(given, "error_request_count"),
        duration_s=_spread(given, "benchmark_duration").mean,
        times={name: _spread(given, theirs) for name, theirs in _TIMES.items()},
        output_tokens_per_s=_avg(given, "output_token_throughput"),
        requests_per_s=_avg(given, "request_throughput"),
        power_w_per_device=watts,
        devices=devices,
        device=device,
        unknown=not_read(given, (*_READ, *_PASSED, *(n for n in given if str(n).startswith(_BESIDE)))),
        remarks=remarks,
    )


def _avg(given: Mapping[str, Any], name: str) -> float | None:
    return amount(mapping(given.get(name)).get("avg"))


def _factor(given: Mapping[str, Any], name: str) -> float | None:
    return SECONDS.get(str(mapping(given.get(name)).get("unit")).lower())


def _spread(given: Mapping[str, Any], name: str) -> Spread:
    found, factor = mapping(given.get(name)), _factor(given, name)
    if factor is None:
        return Spread()
    return Spread(amount(found.get("avg"), factor), *(amount(found.get(p), factor) for p in PERCENTILES))


def _load(settings: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """From the load generator's flags, or from the last phase that counts; of genai-perf from its stimulus."""
    analyzer = mapping(settings.get("perf_analyzer"))
    plain = {name: settings.get(name) for name in ("concurrency", "request_rate")}
    flags = mapping(settings.get("loadgen", analyzer.get("stimulus", plain)))
    phases = [p for p in settings.get("phases") or () if isinstance(p, Mapping)] \
        if isinstance(settings.get("phases"), list) else []
    counted = [p for p in phases if p.get("kind", p.get("name")) != "warmup" and not p.get("exclude_from_results")]
    if counted:
        flags = counted[-1]
    kind = text(flags.get("type") or flags.get("request_rate_mode"), 40)
    rate, most = amount(flags.get("rate", flags.get("request_rate"))), amount(flags.get("concurrency"))
    if kind == "fixed_schedule":
        return {"load": "trace"}, ("a trace was replayed; give it as serve.workload.trace to compare",)
    if rate is not None and kind != "concurrency":
        told = () if most is None else (
            f"no more than {most:,.0f} requests were let in at once, which the plan does not do",)
        arrivals = {"constant": "constant", "gamma": "gamma"}.get(kind, "poisson")
        return {"load": "open", "rate": rate, "arrivals": arrivals}, told
    if most is not None:
        return {"load": "closed", "concurrency": most}, ()
    return {"load": ""}, ("the file does not say its load",)


def _model(settings: Mapping[str, Any]) -> str:
    """The first model named."""
    models = settings.get("models")
    listed = mapping(models).get("items", models)
    named = listed or mapping(settings.get("endpoint")).get("model_names") or settings.get("model_names")
    named = named or settings.get("model")
    first = named[0] if isinstance(named, list) and named else named
    return text(mapping(first).get("name") if isinstance(first, Mapping) else first)


def _older(given: Mapping[str, Any], settings: Mapping[str, Any]) -> bool:
    """Whether it is genai-perf's: aiperf writes its own version."""
    return not {"aiperf_version", "schema_version"} & set(given) and bool(
        {"perf_analyzer", "service_kind", "formatted_model_name", "telemetry_stats"} & {*settings, *given})


def _tokenizer(settings: Mapping[str, Any]) -> str:
    named = settings.get("tokenizer")
    return text(mapping(named).get("name") if isinstance(named, Mapping) else named)


def _power(telemetry: Mapping[str, Any], older: Mapping[str, Any]) -> tuple[float | None, int | None, str]:
    """Mean power of a device over the run, how many, and their name; genai-perf has them under the metric."""
    usage = mapping(older.get("gpu_power_usage"))
    each = WATTS.get(str(usage.get("unit")).lower(), 0.0)
    watts = [v for one in usage.values() if (v := amount(mapping(one).get("avg"), each)) is not None]
    names = [""] * len(watts)
    for endpoint in mapping(telemetry.get("endpoints")).values():
        for device in mapping(mapping(endpoint).get("gpus")).values():
            metrics = mapping(mapping(device).get("metrics"))
            found = next((mapping(metrics[n]) for n in ("nvidia_power_usage", "amd_power_usage", "gpu_power_usage")
                          if n in metrics), {})
            value = amount(found.get("avg"), WATTS.get(str(found.get("unit")).lower(), 0.0))
            if value is not None:
                watts.append(value)
                names.append(text(mapping(device).get("gpu_name"), 60))
    return (sum(watts) / len(watts), len(watts), names[0]) if watts else (None, None, "")

