"""`vllm bench serve` and SGLang's bench_serving → runs. Both print times in milliseconds and share most names.

Field names: vllm/benchmarks/serve.py; sglang/bench_serving.py and, later, sglang/benchmark/serving.py.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from outlay.readers.bench.record import (
    OPENAI,
    PERCENTILES,
    BenchRun,
    Spread,
    amount,
    count_of,
    engine_of,
    mapping,
    not_read,
    over,
    text,
    unanswered,
)

VLLM, SGLANG = "vllm bench serve", "SGLang bench_serving"
MS = 1e-3
_STEMS = {"ttft_s": ("ttft",), "tpot_s": ("tpot",), "itl_s": ("itl",), "e2e_s": ("e2el", "e2e_latency")}
_ONLY_SGLANG = frozenset(("random_range_ratio", "mean_e2e_latency_ms", "total_output_tokens_retokenized",
                           "server_info"))
_NAMED = ("date", "backend", "endpoint_type", "label", "tag", "model_id", "model", "tokenizer_id", "num_prompts",
          "version", "request_rate", "burstiness", "max_concurrency", "concurrency", "duration", "completed", "failed",
          "total_input_tokens", "total_output_tokens", "total_input", "total_output", "request_throughput",
          "output_throughput", "total_token_throughput", "total_throughput", "input_throughput",
          "spec_decode_acceptance_length", "accept_length", "cache_report", "server_info", "tp",
          "tensor_parallel_size", "max_concurrent_requests", "request_goodput", "max_output_tokens_per_s")
# Known, and nothing of it is needed here: one entry a request, the arguments of data sets, counts of other kinds.
_PASSED = ("input_lens", "output_lens", "ttfts", "itls", "latencies", "start_times", "queue_times", "generated_texts",
           "errors", "dataset_name", "sharegpt_output_len", "random_input_len", "random_output_len",
           "random_range_ratio", "total_output_tokens_retokenized", "total_output_retokenized",
           "output_throughput_retokenized", "total_throughput_retokenized", "total_input_text_tokens",
           "total_input_vision_tokens", "total_input_text", "total_input_vision", "max_itl_ms", "rtfx",
           "spec_decode_acceptance_rate", "spec_decode_num_drafts", "spec_decode_draft_tokens",
           "spec_decode_accepted_tokens", "spec_decode_per_position_acceptance_rates", "cached_tokens",
           "cached_tokens_details", "ramp_up_strategy", "ramp_up_start_rps", "ramp_up_end_rps", "rps_change_events",
           "best_of", "run_number")
_BESIDE = ("probe_", "diffusion_")  # of other requests than the load's, and of models that do not answer by the token
# What `vllm bench sweep serve` writes beside the numbers: the server's own flags.
_FLAGS = {"max_num_seqs": "max_num_seqs", "max_num_batched_tokens": "max_num_batched_tokens",
          "pipeline_parallel_size": "pipeline", "data_parallel_size": "data", "max_model_len": "max_model_len"}
_SERVER = {"tp_size": "tensor", "pp_size": "pipeline", "dp_size": "data", "ep_size": "expert",
           "max_running_requests": "max_num_seqs", "chunked_prefill_size": "max_num_batched_tokens",
           "scheduler_recv_interval": "hold_steps"}


def is_client(given: Mapping[str, Any]) -> bool:
    """Whether a mapping is a run of either client, also one of those that keep no counts."""
    timed = any(f"{kind}_{stem}_ms" in given for kind in ("mean", "median") for stem in ("ttft", "tpot", "itl"))
    return timed and ("completed" in given or {"request_rate", "num_prompts"} <= set(given))


def read_client(given: Mapping[str, Any]) -> BenchRun:
    """One run of either client.

    >>> run = read_client({"backend": "vllm", "completed": 100, "mean_ttft_ms": 45.0, "request_rate": "inf",
    ...                    "max_concurrency": 8, "total_output_tokens": 25600})
    >>> run.load, run.concurrency, run.seen("ttft_s"), run.output_tokens
    ('closed', 8.0, 0.045, 256.0)
    """
    sglang = not _ONLY_SGLANG.isdisjoint(given)
    server = mapping(given.get("server_info"))
    backend = given.get("backend", given.get("endpoint_type", ""))
    completed = amount(given.get("completed"))
    known = {*_NAMED, *_PASSED, *_FLAGS, *(n for n in given if _is_time(str(n)) or str(n).startswith(_BESIDE))}
    load, remarks = _load(given)
    engine = engine_of(backend)
    if nobody := unanswered(given.get("completed"), amount(given.get("failed"))):
        load, remarks = {"load": ""}, (nobody,)
    if not engine and OPENAI not in str(backend).lower() and backend:
        remarks = (*remarks, f"the engine {text(backend, 40)!r} is not one that is planned")
    return BenchRun(
        tool=SGLANG if sglang else VLLM,
        engine=engine,
        model=text(given.get("model_id") or given.get("model") or server.get("model_path")),
        tokenizer=text(given.get("tokenizer_id")),
        date=_date(text(given.get("date"))),
        **load,
        input_tokens=over(amount(given.get("total_input_tokens", given.get("total_input"))), completed),
        output_tokens=over(amount(given.get("total_output_tokens", given.get("total_output"))), completed),
        completed=completed,
        failed=amount(given.get("failed")),
        duration_s=amount(given.get("duration")),
        times={name: _spread(given, stems) for name, stems in _STEMS.items()},
        output_tokens_per_s=amount(given.get("output_throughput")),
        requests_per_s=amount(given.get("request_throughput")) or over(completed, amount(given.get("duration"))),
        in_flight=amount(given.get("concurrency")) if sglang else None,
        prefix_hit=_hit(given),
        tokens_a_step=amount(given.get("spec_decode_acceptance_length", given.get("accept_length"))),
        serve=_served(given, server, engine),
        unknown=not_read(given, known),
        remarks=remarks,
    )


def _is_time(name: str) -> bool:
    """mean_ttft_ms, p99.9_e2el_ms, std_client_queue_time_ms …"""
    first = name.partition("_")[0]
    return name.endswith("_ms") and (first in ("mean", "median", "std", "max") or first[1:2].isdigit())


def _spread(given: Mapping[str, Any], stems: tuple[str, ...]) -> Spread:
    def first(prefix: str) -> float | None:
        return next((v for stem in stems if (v := amount(given.get(f"{prefix}_{stem}_ms"), MS)) is not None), None)

    tails = {p: first(p) for p in PERCENTILES}
    tails["p50"] = tails["p50"] or first("median")
    return Spread(mean=first("mean"), **tails)


def _load(given: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """How requests came, and what of it a plan cannot say."""
    asked, most = given.get("request_rate"), amount(given.get("max_concurrency"))
    if given.get("ramp_up_strategy"):
        return {"load": ""}, ("the rate was ramped up: no one load to plan",)
    if asked == "trace":
        return {"load": "trace"}, ("a trace was replayed; give it as serve.workload.trace to compare",)
    rate = amount(asked)
    if rate is None and (asked is None or str(asked).lower() in ("inf", "infinity") or _infinite(asked)):
        if most is not None:
            return {"load": "closed", "concurrency": most}, ()
        return ({"load": "queued"}, ()) if asked is not None else ({"load": ""}, ("the file does not say its load",))
    if rate is None:
        return {"load": ""}, (f"request_rate {text(str(asked), 40)!r} is not understood",)
    burst = amount(given.get("burstiness")) or 1.0
    arrivals = "poisson" if burst == 1.0 else "gamma" if burst < 1.0 else "constant"
    told = () if most is None else (
        f"no more than {most:,.0f} requests were let in at once, which the plan does not do",)
    return {"load": "open", "rate": rate, "arrivals": arrivals}, told


def _infinite(value: Any) -> bool:
    return isinstance(value, float) and math.isinf(value)


def _hit(given: Mapping[str, Any]) -> float | None:
    """Share of prompt tokens that were in the prefix cache."""
    share = amount(mapping(given.get("cache_report")).get("cache_hit_rate_pct"), 0.01)
    return share if share is not None and share < 1.0 else None


def _served(given: Mapping[str, Any], server: Mapping[str, Any], engine: str) -> dict[str, Any]:
    """How the engine ran, as far as SGLang's server says or the person noted with --metadata."""
    found: dict[str, Any] = {}
    for name, ours in _SERVER.items():
        value = count_of(server.get(name))
        if value is not None and (value > 1 or ours == "tensor"):
            found[ours] = value
    if server.get("enable_dp_attention") and "data" in found and "tensor" in found:
        found["tensor"] = max(found["tensor"] // found["data"], 1)
    tensor = count_of(given.get("tensor_parallel_size", given.get("tp")))
    if tensor is not None:
        found["tensor"] = tensor
    for name, ours in _FLAGS.items():
        value = count_of(given.get(name))
        if value is not None:
            found[ours] = value
    version = text(given.get("version") or server.get("version"), 40)
    if engine and any(character.isdigit() for character in version):
        found["engine_version"] = version
    return found


def _date(written: str) -> str:
    """20260131-120102 as 2026-01-31.

    >>> _date("20260131-120102"), _date("yesterday")
    ('2026-01-31', '')
    """
    day = written[:8]
    return f"{day[:4]}-{day[4:6]}-{day[6:]}" if len(day) == 8 and day.isdecimal() and day.isascii() else ""
