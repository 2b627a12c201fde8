"""Results as several versions of the clients write them: names of the model, counts, loads and limits found in each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from outlay.cli.shell import BAD_INPUT, YES, run
from outlay.readers.bench.clients import read_client
from outlay.readers.bench.file import runs_of
from outlay.readers.bench.record import scenario_parts

FLEET = "1xh100-sxm5-80gb"


def spread(mean: float, **more: float) -> dict[str, Any]:
    """One of guidellm's distributions, of requests that were answered."""
    return {"successful": {"mean": mean, "median": mean, "count": 9, "percentiles": {"p50": mean, "p99": mean}, **more},
            "errored": {"mean": 0.0, "count": 0, "percentiles": {"p50": 0.0}}}


def metrics(rps: float = 9.7, in_flight: float = 22.7) -> dict[str, Any]:
    return {"requests_per_second": spread(rps), "request_concurrency": spread(in_flight),
            "request_latency": spread(2.33), "prompt_token_count": spread(128.0), "output_token_count": spread(128.0),
            "time_to_first_token_ms": spread(1006.0), "time_per_output_token_ms": spread(18.2),
            "inter_token_latency_ms": spread(10.42), "output_tokens_per_second": spread(1251.0),
            "tokens_per_second": spread(2426.0)}


def test_guidellm_before_0_4() -> None:
    """The model is the worker's, counts of requests and the clock stand beside the metrics."""
    (found,) = runs_of({"benchmarks": [{
        "type_": "generative_benchmark", "id_": "a", "run_id": "b",
        "args": {"profile": {"type_": "async"}, "strategy_index": 0,
                 "strategy": {"type_": "poisson", "rate": 10.0, "random_seed": 42}},
        "run_stats": {"start_time": 1758664746.1, "end_time": 1758664806.1},
        "worker": {"type_": "generative_requests_worker", "backend_type": "openai_http",
                   "backend_model": "Qwen/Qwen3-0.6B"},
        "request_totals": {"successful": 586, "errored": 2, "incomplete": 23, "total": 611},
        "start_time": 1758664746.1, "duration": 60.0, "metrics": metrics()}]})
    assert (found.model, found.load, found.rate, found.arrivals) == ("Qwen/Qwen3-0.6B", "open", 10.0, "poisson")
    assert (found.completed, found.failed, found.date, found.duration_s) == (586, 2, "2025-09-23", 60.0)
    assert found.seen("tpot_s") == pytest.approx(0.01042) and found.seen("e2e_p99_s") == pytest.approx(2.33)
    assert not found.remarks and not found.unknown


def of_0_5(in_flight: float, successful: int = 282) -> Any:
    (found,) = runs_of({"metadata": {"version": 1, "guidellm_version": "0.5.0"}, "args": {"model": "Qwen/Qwen3-0.6B"},
                        "benchmarks": [{
        "config": {"strategy": {"type_": "constant", "worker_count": 10, "max_concurrency": 512, "rate": 5.0},
                   "backend": {"target": "http://x", "model": "Qwen/Qwen3-0.6B"}},
        "scheduler_metrics": {"start_time": 1771584751.6, "measure_start_time": 1771584757.6,
                              "measure_end_time": 1771584811.6},
        "metrics": {**metrics(4.7, in_flight), "request_totals": {"successful": successful, "errored": 1}}}]})
    return found


def test_guidellm_0_5_has_a_limit_on_an_open_load() -> None:
    """512 at once by default: told where it was near, and not where it was far."""
    free, held = of_0_5(15.8), of_0_5(500.0)
    assert free.date == "2026-02-20" and free.duration_s == pytest.approx(54.0) and not free.remarks
    assert any("512" in remark for remark in held.remarks) and (held.load, held.rate) == ("open", 5.0)


def test_nobody_was_answered(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = {"backend": "vllm", "model_id": "llama-3.1-8b", "request_rate": "inf", "max_concurrency": None,
             "completed": 0, "failed": 8, "mean_ttft_ms": 0.0, "mean_tpot_ms": 0.0, "total_input_tokens": 0}
    (tmp_path / "bad.json").write_text(json.dumps(given))
    for words in (["explain"], ["calibrate"]):
        assert run([*words, str(tmp_path / "bad.json"), "-g", FLEET]) == BAD_INPUT
        assert "no request was answered, 8 failed" in capsys.readouterr().err
    assert of_0_5(1.0, successful=0).load == ""
    (found,) = runs_of({**aiperf(), "request_count": {"unit": "requests", "avg": 0.0}})
    assert found.load == "" and "no request" in found.remarks[0]


def aiperf(**settings: Any) -> dict[str, Any]:
    return {"time_to_first_token": {"unit": "ms", "avg": 119.1, "p50": 120.5, "p99": 254.5},
            "inter_token_latency": {"unit": "ms", "avg": 13.05, "p50": 13.2},
            "request_latency": {"unit": "ms", "avg": 2695.0},
            "request_throughput": {"unit": "requests/sec", "avg": 5.2},
            "output_token_throughput": {"unit": "tokens/sec", "avg": 1040.0},
            "output_sequence_length": {"unit": "tokens", "avg": 198.8},
            "input_sequence_length": {"unit": "tokens", "avg": 367.3}, "input_config": settings}


def test_aiperf_names_the_server_its_own_way() -> None:
    """A warm-up is what does not count, and the client's connections are no numbers of the server."""
    phases = [{"name": "first", "type": "poisson", "exclude_from_results": True, "rate": 9.0},
              {"name": "profiling", "type": "concurrency", "concurrency": 16},
              {"name": "after", "type": "poisson", "exclude_from_results": True, "rate": 9.0}]
    (found,) = runs_of({**aiperf(models={"items": [{"name": "prod-model"}]}, phases=phases,
                                 tokenizer={"name": "meta-llama/Llama-3.1-8B-Instruct"}),
                        "schema_version": "1.3", "aiperf_version": "0.10.0", "to_come": {"unit": "ms", "avg": 1.0},
                        "http_req_waiting": {"unit": "ms", "avg": 118.9}, "osl_mismatch_count": {"avg": 11.0}})
    assert (found.tool, found.load, found.concurrency) == ("aiperf", "closed", 16.0)
    assert (found.model, found.tokenizer) == ("prod-model", "meta-llama/Llama-3.1-8B-Instruct")
    assert found.unknown == ("to_come",)


@pytest.mark.parametrize(("settings", "load", "amount"), [
    ({"model_names": ["llama-3.1-8b"], "perf_analyzer": {"stimulus": {"concurrency": 10}},
      "endpoint": {"backend": "vllm", "type": "chat"}}, "closed", 10.0),
    ({"model": ["llama-3.1-8b"], "formatted_model_name": "llama", "concurrency": 10, "request_rate": None,
      "backend": "vllm", "service_kind": "openai"}, "closed", 10.0),
    ({"model_names": ["llama-3.1-8b"], "perf_analyzer": {"stimulus": {"request_rate": 2.5}},
      "endpoint": {"backend": "vllm"}}, "open", 2.5)])
def test_genai_perf(settings: dict[str, Any], load: str, amount: float) -> None:
    """aiperf's predecessor: the same metrics, other settings."""
    telemetry = {"gpu_power_usage": {"unit": "W", "gpu0": {"avg": 500.0}, "gpu1": {"avg": 540.0}}}
    (found,) = runs_of({**aiperf(**settings), "telemetry_stats": telemetry})
    assert (found.tool, found.engine, found.model, found.load) == ("genai-perf", "vllm", "llama-3.1-8b", load)
    assert amount in (found.concurrency, found.rate) and not found.unknown
    assert (found.power_w_per_device, found.devices) == (520.0, 2)


VLLM = {"backend": "openai", "model_id": "prod-model", "tokenizer_id": "meta-llama/Llama-3.1-8B-Instruct",
        "num_prompts": 320, "request_rate": "inf", "max_concurrency": 16, "mean_ttft_ms": 60.0, "mean_tpot_ms": 8.0}
COUNTS = {"completed": 320, "failed": 0, "total_input_tokens": 320 * 512, "total_output_tokens": 320 * 128,
          "duration": 25.0, "output_throughput": 1638.4}


def test_a_sweep_says_the_servers_flags() -> None:
    (found,) = runs_of([{**VLLM, **COUNTS, "run_number": 1, "max_num_seqs": 4, "max_num_batched_tokens": 2048}])
    assert found.serve == {"max_num_seqs": 4, "max_num_batched_tokens": 2048} and not found.unknown
    assert found.requests_per_s == pytest.approx(320 / 25.0)


def test_the_model_by_its_tokenizer_and_how_it_ran_by_flags(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.json").write_text(json.dumps({**VLLM, **COUNTS}))
    words = [str(tmp_path / "a.json"), "-g", "2xh100-sxm5-80gb", "--tp", "2", "--json"]
    assert run(["explain", *words]) == YES
    (found,) = json.loads(capsys.readouterr().out)["runs"]
    assert found["model"] == "llama-3.1-8b" and found["scenario"]["serve"]["tensor"] == 2
    assert run(["calibrate", *words]) == YES
    assert json.loads(capsys.readouterr().out)["groups"]


def test_lengths_that_nobody_said_are_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file without counts is a run all the same; a plan of some other lengths would be beside the point."""
    (tmp_path / "a.json").write_text(json.dumps(VLLM))
    words = [str(tmp_path / "a.json"), "-g", FLEET]
    assert run(["explain", *words]) == BAD_INPUT
    assert "tokens of input its requests had: --set workload.input=N" in capsys.readouterr().err
    told = ["--set", "workload.input=512", "--set", "workload.output=128"]
    assert run(["explain", *words, *told, "--json"]) == YES
    work = json.loads(capsys.readouterr().out)["runs"][0]["workload"]
    assert (work["input"], work["output"], work["concurrency"]) == (512, 128, 16)


def test_early_sglang_has_medians_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No mean of the first token and none a token: the median and the whole request are set beside the plan."""
    runs = [{"backend": "sglang", "dataset_name": "random", "request_rate": rate, "max_concurrency": None,
             "total_input_tokens": 150000, "total_output_tokens": 60000, "total_output_tokens_retokenized": 59000,
             "mean_e2e_latency_ms": 1600.0, "median_e2e_latency_ms": 1590.0, "median_ttft_ms": 35.0,
             "median_itl_ms": 7.1, "output_throughput": 200.0 * rate, "random_input_len": 1024,
             "random_output_len": 512, "random_range_ratio": 0.0, "duration": 300.0 / rate, "completed": 300}
            for rate in (1.0, 2.0)]
    path = tmp_path / "online.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in runs))
    assert run(["explain", str(path), "-g", FLEET, "--set", "model=llama-3.1-8b"]) == YES
    page = " ".join(capsys.readouterr().out.split())
    assert "first token whole request output tokens" in page
    assert "35.0 ms (median)" in page and "of 4 numbers inside" in page and "1.60 s" in page


@pytest.mark.parametrize(("server", "steps"), [({}, 1), ({"scheduler_recv_interval": 10}, 10)])
def test_one_s_own_sglang_looks_at_every_step_unless_it_says_otherwise(server: dict[str, Any], steps: int) -> None:
    found = read_client({"backend": "sglang", "completed": 100, "mean_ttft_ms": 45.0, "mean_e2e_latency_ms": 900.0,
                         "request_rate": "inf", "max_concurrency": 8, "total_output_tokens": 25600,
                         "server_info": server})
    assert scenario_parts(found)["serve"]["hold_steps"] == steps
