"""Results of four benchmark clients: their units and names, several runs in a file, hostile files."""

from __future__ import annotations

import json
import math
import random
import time
from pathlib import Path
from runpy import run_path
from typing import Any

import pytest

from outlay.errors import OutlayError, Unreadable
from outlay.readers.bench.file import MAX_BYTES, read_bench, runs_of
from outlay.readers.bench.record import scenario_parts
from outlay.scenario_io import scenario_from

FIXTURES = Path(__file__).parent / "fixtures" / "bench"


def test_vllm() -> None:
    reading = read_bench(FIXTURES / "vllm_c32.json")
    (run,) = reading.runs
    assert (run.tool, run.engine, run.model) == ("vllm bench serve", "vllm", "meta-llama/Llama-3.1-8B-Instruct")
    assert (run.date, run.load, run.concurrency, run.completed) == ("2026-01-31", "closed", 32, 640)
    assert run.input_tokens == 1024 and run.output_tokens == 256
    assert run.seen("ttft_s") == pytest.approx(0.1204) and run.seen("tpot_p99_s") == pytest.approx(9.98e-3)
    assert run.seen("tpot_p50_s") == pytest.approx(9.47e-3) and run.seen("tpot_p90_s") is None
    assert run.serve == {"tensor": 1, "engine_version": "0.11.0"} and run.unknown == ("my_note",) and not run.remarks
    work = scenario_parts(run)["serve"]["workload"]
    assert work == {"concurrency": 32, "input": 1024, "output": 256, "requests": 640}


def test_sglang_appends_a_line_a_run() -> None:
    closed, opened, trace = read_bench(FIXTURES / "sglang_sweep.jsonl").runs
    assert (closed.tool, closed.engine, closed.model) == ("SGLang bench_serving", "sglang", "Qwen/Qwen3-32B")
    assert (closed.load, closed.concurrency, closed.place) == ("closed", 16, "run 1")
    assert closed.serve["tensor"] == 2 and closed.serve["engine_version"] == "0.5.6"
    assert closed.seen("e2e_s") == pytest.approx(8.011) and closed.seen("e2e_p99_s") == pytest.approx(8.29)
    assert closed.prefix_hit == pytest.approx(0.02)
    assert (opened.load, opened.rate, opened.arrivals) == ("open", 4.0, "poisson")
    assert trace.load == "trace" and trace.seen("ttft_s") is None and "trace" in trace.remarks[0]


def test_guidellm_has_its_own_units_and_another_tpot() -> None:
    one, open_ = read_bench(FIXTURES / "guidellm.json").runs
    assert (one.load, one.concurrency, one.date) == ("closed", 1.0, "2026-01-31")
    assert one.seen("e2e_s") == pytest.approx(1.63)  # seconds, beside milliseconds
    assert one.seen("tpot_s") == pytest.approx(6.27e-3)  # not time_per_output_token_ms, which counts the first
    assert (open_.load, open_.rate, open_.arrivals, open_.completed) == ("open", 8.0, "constant", 466)
    assert open_.unknown == ("a_metric_to_come",) and one.model == "meta-llama/Llama-3.1-8B-Instruct"


def test_aiperf_says_its_units() -> None:
    (run,) = read_bench(FIXTURES / "aiperf.json").runs
    assert (run.load, run.concurrency) == ("closed", 16)  # of the phase that counts, not of the warm-up
    assert run.seen("tpot_s") == pytest.approx(9.22e-3) and run.duration_s == pytest.approx(48.9)
    assert (run.power_w_per_device, run.devices, run.device) == (540.0, 1, "NVIDIA H100 80GB HBM3")
    document = json.loads((FIXTURES / "aiperf.json").read_text())
    document["time_to_first_token"] = {"unit": "s", "avg": 0.092}
    document["inter_token_latency"] = {"unit": "fortnights", "avg": 1.0}
    (other,) = runs_of(document)
    assert other.seen("ttft_s") == pytest.approx(0.092) and other.seen("tpot_s") is None
    assert any("fortnights" in remark for remark in other.remarks)


def test_older_aiperf_flags() -> None:
    document = {"time_to_first_token": {"unit": "ms", "avg": 5.0},
                "input_config": {"endpoint": {"model_names": ["org/m"]},
                                 "loadgen": {"request_rate": 3.0, "request_rate_mode": "constant", "concurrency": 9}}}
    (run,) = runs_of(document)
    assert (run.model, run.load, run.rate, run.arrivals) == ("org/m", "open", 3.0, "constant") and run.remarks


def test_times_that_do_not_agree_are_told() -> None:
    document = json.loads((FIXTURES / "vllm_c32.json").read_text())
    document["mean_e2el_ms"] = 2.525  # seconds under a name of milliseconds
    document["failed"] = 100
    (run,) = runs_of(document)
    assert any("units" in remark for remark in run.remarks) and any("failed" in remark for remark in run.remarks)


@pytest.mark.parametrize(("given", "load"), [
    ({"request_rate": "inf"}, "queued"), ({"request_rate": "inf", "max_concurrency": 4}, "closed"),
    ({"request_rate": 2.5}, "open"), ({}, ""), ({"request_rate": 1.0, "ramp_up_strategy": "linear"}, ""),
    ({"request_rate": math.inf, "max_concurrency": None}, "queued"), ({"request_rate": "soon"}, "")])
def test_how_requests_come(given: dict[str, Any], load: str) -> None:
    (run,) = runs_of({"completed": 10, "mean_ttft_ms": 10.0, **given})
    assert run.load == load


def test_a_file_of_another_kind_and_a_huge_one(tmp_path: Path) -> None:
    for name, text in (("a.json", "{}"), ("b.json", "[1, 2]"), ("c.jsonl", '{"a": 1}\n{"b": 2}\n'), ("d.json", "["),
                       ("e.json", '{"benchmarks": [[]]}'), ("f.jsonl", '{"completed": 1, "mean_ttft_ms": 3}\n{"a')):
        (tmp_path / name).write_text(text)
        with pytest.raises(Unreadable, match=name):
            read_bench(tmp_path / name)
    huge = tmp_path / "huge.json"
    with huge.open("wb") as file:
        file.write(b'{"completed": 1, "mean_ttft_ms": 1, "itls": [[')
        file.truncate(max(10**10, MAX_BYTES + 1))
    begun = time.process_time()
    with pytest.raises(Unreadable, match="save-detailed"):
        read_bench(huge)
    assert time.process_time() - begun < 0.5


def test_mutated_files_are_read_or_refused() -> None:
    tool = run_path(str(Path(__file__).parent.parent / "tools" / "fuzz_readers.py"))
    rng = random.Random(4)
    for _ in range(300):
        try:
            for run in runs_of(tool["mutated"](rng.choice(tool["BENCHES"]), rng, rng.choice((0.02, 0.1, 0.3)))):
                scenario_from(scenario_parts(run))
        except OutlayError:
            continue
