"""Start-up logs: figures as the engines print them, binary under every name, each with its line."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outlay.errors import Unreadable
from outlay.readers.any_file import read_any
from outlay.readers.log.file import LogReading, parts_of, read_log, read_log_file
from outlay.readers.log.rules import rules
from outlay.scenario_io import scenario_from

FIXTURES = Path(__file__).parent / "fixtures" / "logs"
LOGS = sorted(FIXTURES.glob("*.log"))


def read(name: str) -> LogReading:
    return read_log_file(FIXTURES / f"{name}.log")


def gib(reading: LogReading, name: str) -> float:
    found = reading.first(name)
    assert found is not None and isinstance(found.value, float) and found.unit == "bytes", name
    return round(found.value / 2**30, 4)


def number(reading: LogReading, name: str) -> float | str:
    found = reading.first(name)
    assert found is not None, name
    return found.value


def test_vllm_v0_with_key_values() -> None:
    """Figures of vllm-project/vllm#10517 (Llama 3.1 8B on an RTX 3090): printed GB are GiB."""
    reading = read("vllm_v0_6")
    assert (reading.engine, reading.version) == ("vllm", "0.6.4.post1")
    assert gib(reading, "weights_bytes") == 14.9888 and gib(reading, "kv_cache_bytes") == 3.81
    assert (number(reading, "kv_blocks"), number(reading, "max_concurrency")) == (1952, 1.56)
    assert number(reading, "memory_utilization") == 0.9 and gib(reading, "cuda_graph_bytes") == 0.23
    # 32 layers, 8 heads of 128, two bytes, keys and values: the pool holds its blocks of 16 tokens
    assert pytest.approx(3.81, abs=0.01) == 1952 * 16 * 131072 / 2**30


def test_vllm_v0_in_sentences() -> None:
    reading = read("vllm_v0_8")
    assert gib(reading, "activation_peak_bytes") == 2.38 and gib(reading, "non_torch_bytes") == 0.16
    assert gib(reading, "device_memory_bytes") == 79.19 and gib(reading, "usable_bytes") == 71.27
    assert set(reading.by_rank("weights_bytes")) == {"", "521"}
    assert parts_of(reading)["serve"] == {
        "engine": "vllm",
        "engine_version": "0.8.3",
        "tensor": 2,
        "pipeline": 1,
        "max_model_len": 8192,
        "memory_utilization": 0.9,
        "precision": "awq-int4",
        "kv_precision": "fp8",
    }


def test_vllm_v1_by_rank() -> None:
    """Figures of a published set of start-ups (Qwen3-32B over two H100), in V1's lines."""
    reading = read("vllm_v1_tp2")
    assert {rank: round(value / 2**30, 2) for rank, value in reading.by_rank("kv_cache_bytes").items()} == {
        "TP0": 34.49,
        "TP1": 34.49,
    }
    assert gib(reading, "activation_peak_bytes") == 5.64 and gib(reading, "non_torch_bytes") == 0.54
    assert number(reading, "kv_cache_tokens") == 282_528 and number(reading, "max_model_len") == 16000
    assert number(reading, "max_num_batched_tokens") == 8192
    first = reading.first("kv_cache_tokens")
    assert first is not None and first.line == 11
    assert reading.lines_not_understood == 1 and "brand-new pool" in reading.not_understood[0][1]
    parts = parts_of(reading)
    assert parts["model"] == "Qwen/Qwen3-32B" and parts["serve"]["memory_utilization"] == 0.9
    # 64 layers, 8 heads of 128 halved over two ranks: 131,072 bytes a token and rank
    assert pytest.approx(34.49, rel=0.001) == 282_528 * 131072 / 2**30


def test_vllm_summary_of_2026() -> None:
    reading = read("vllm_v1_2026")
    assert gib(reading, "free_bytes") == 93.83 and gib(reading, "device_memory_bytes") == 95.01
    assert gib(reading, "consumed_bytes") == 82.69 and gib(reading, "cuda_graph_bytes") == 0.19
    assert parts_of(reading)["serve"]["precision"] == "nvfp4"


def test_vllm_without_room() -> None:
    reading = read("vllm_no_room")
    assert gib(reading, "kv_needed_bytes") == 2.63 and gib(reading, "kv_cache_bytes") == 1.64
    assert number(reading, "longest_that_fits") == 5088


def test_sglang() -> None:
    reading = read("sglang_tp2")
    assert reading.engine == "sglang" and gib(reading, "weights_bytes") == 28.54
    assert gib(reading, "kv_cache_bytes") == 39.2 and number(reading, "kv_cache_tokens") == 856_320
    assert gib(reading, "cuda_graph_bytes") == 1.0 and gib(reading, "free_at_start_bytes") == 8.01
    assert parts_of(reading)["serve"]["max_num_seqs"] == 4096
    # 48 layers, 4 heads of 128 halved over two ranks, bf16
    assert pytest.approx(39.2, rel=0.002) == 856_320 * 2 * 48 * 2 * 128 * 2 / 2**30


def test_llama_cpp_of_three_years() -> None:
    reading = read("llamacpp_2025")
    assert reading.version == "6123" and gib(reading, "file_bytes") == 4.58
    assert round(reading.by_rank("weights_bytes")["CUDA0"] / 2**20, 2) == 4403.49
    assert round(reading.by_rank("compute_bytes")["CUDA_Host"] / 2**20, 2) == 72.01
    assert number(reading, "kv_cells") == 8192 and number(reading, "gpu_layers") == 33
    assert parts_of(reading)["serve"]["kv_precision"] == "q8_0"
    assert parts_of(reading)["serve"]["precision"] == "q4_k_m"
    old = read("llamacpp_2024")
    assert len(old.by_rank("weights_bytes")) == 3 and number(old, "out_of_memory")
    assert [round(float(o.value) / 2**20) for o in old.all("kv_total_bytes")] == [5120, 400]  # "MB" is MiB
    new = read("llamacpp_2026")
    assert round(new.by_rank("weights_bytes")["CUDA0"] / 2**20) == 16386
    assert round(new.by_rank("unaccounted_bytes")["CUDA0"] / 2**20) == 444


def test_tensorrt_llm() -> None:
    reading = read("trtllm_pytorch")
    assert (reading.engine, reading.version) == ("tensorrt-llm", "1.0.0")
    assert gib(reading, "peak_bytes") == 73.65 and number(reading, "kv_bytes_per_token") == 73728
    assert number(reading, "kv_cache_tokens") == 86656 and number(reading, "block_size") == 32
    assert reading.lines_not_understood == 0
    engine = read("trtllm_engine")
    assert gib(engine, "weights_bytes") == pytest.approx(3404 / 1024, abs=1e-3)
    assert number(engine, "kv_cache_tokens") == 551_936 and number(engine, "kv_blocks") == 8624


def test_vllm_prints_cache_and_concurrency_in_one_line() -> None:
    reading = read("vllm_v1_late_2026")
    assert (reading.version, reading.lines, reading.lines_understood) == ("0.33.0", 12, 12)
    said = {name: number(reading, name) for name in ("kv_cache_tokens", "max_model_len", "max_concurrency")}
    assert said == {"kv_cache_tokens": 453_984.0, "max_model_len": 32_768.0, "max_concurrency": 13.85}


def test_sglang_captures_prefill_and_decode_apart() -> None:
    reading = read("sglang_2026")
    assert reading.lines == reading.lines_understood
    assert reading.by_rank("cuda_graph_bytes") == {"TP0": pytest.approx(0.62 * 2**30)}
    assert reading.by_rank("cuda_graph_prefill_bytes") == {"TP0": pytest.approx(0.55 * 2**30)}
    assert reading.by_rank("weights_bytes").keys() == {"TP0", "TP1"}


def test_slots_and_shared_context_of_llama_cpp() -> None:
    reading = read("llamacpp_slots_2026")
    serve = parts_of(reading)["serve"]
    assert reading.version == "9800" and reading.lines_not_understood == 0
    assert (serve["max_num_seqs"], serve["max_model_len"], serve["kv_unified"]) == (4, 32768, True)
    apart = parts_of(
        read_log(
            "llama_context: n_seq_max = 4\nllama_context: n_ctx = 32768\nllama_context: n_ctx_seq = 8192\n"
            "llama_context: kv_unified = false\nload_tensors: offloaded 20/33 layers to GPU\n"
            "llama_memory_recurrent: size =  251.25 MiB (     4 cells,  64 layers,  4 seqs  0 rs_seq), "
            "R (f32): 11.25 MiB, S (f32): 240.00 MiB, P (f32): 0.00 MiB"
        )
    )["serve"]
    assert (apart["max_model_len"], apart["kv_unified"], apart["gpu_layers"]) == (8192, False, 20)


@pytest.mark.parametrize("path", LOGS, ids=lambda path: path.stem)
def test_what_a_log_states_is_a_sound_scenario(path: Path) -> None:
    reading = read_any(path)
    assert reading.kind == "log"
    scenario_from(dict(reading.parts))


def test_container_and_journal_prefixes() -> None:
    line = "Model loading took 14.9889 GiB memory and 3.1 seconds"
    for prefix in ("vllm-1  | INFO 01-30 [x.py:1] ", "Mar 12 07:01:05 host python[433]: ", "│ INFO [x.py:1] "):
        assert gib(read_log(prefix + line), "weights_bytes") == 14.9889


def test_other_files_are_refused(tmp_path: Path) -> None:
    for name, data in (("a.log", b""), ("b.log", b"hello\n" * 100), ("c.log", bytes(range(256)) * 100)):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(Unreadable):
            read_log_file(tmp_path / name)
        with pytest.raises(Unreadable):
            read_any(tmp_path / name)


@pytest.mark.parametrize(
    "text",
    [
        "x" * 3_000_000,
        "model weights take 1" + "1" * 100_000,
        "\n" * 300_000,
        "KV cache 1 GiB\n" * 50_000,
        "\x1b[" * 100_000,
        "(Worker_" * 50_000,
        "server_args=" + "tp_size=1, " * 50_000,
        "memory_breakdown_print" + " " * 9999,
        "Model loading took " + "1," * 10_000,
        "size = 1 MiB ( 1 cells, " * 1_000 + "\n",
    ],
)
def test_hostile_lines_are_read_fast(text: str) -> None:
    begun = time.process_time()
    read_log(text)
    assert time.process_time() - begun < 2


def test_a_long_log_stops_with_a_remark(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("outlay.readers.log.file.MAX_LINES", 1000)
    reading = read_log("y\n" * 1005)
    assert reading.lines == 1000 and "only the first" in reading.remarks[0]


def test_every_rule_can_match() -> None:
    """Each mark is in its own pattern's kind of line: the groups and names of a rule agree."""
    for rule in rules():
        sizes = sum(name.endswith("_bytes") for name in rule.names)
        assert rule.pattern.groups == len(rule.names) + sizes, rule.mark


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**9))
def test_garbled_logs_never_crash(seed: int) -> None:
    rng = random.Random(seed)
    text = list(rng.choice(LOGS).read_text(encoding="utf-8", errors="replace"))
    for _ in range(rng.randrange(1, 30)):
        at = rng.randrange(len(text))
        text[at] = rng.choice(["", "9", ".", ",", "(", ")", " ", "\n", "é", "GiB", "-", "="])
    reading = read_log("".join(text))
    scenario_from(parts_of(reading))
