"""Launch lines: what each engine's flags become, and that nothing is dropped in silence."""

from __future__ import annotations

import shlex
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outlay.errors import BadValue, OutlayError, Unreadable
from outlay.readers.launch import flag_table
from outlay.readers.launch.flag_table import Collected, LaunchNotes, read_flags
from outlay.readers.launch.line import _ENGINES, read_launch, read_launch_file
from outlay.readers.launch.words import commands
from outlay.scenario_io import scenario_from

FIXTURES = Path(__file__).parent / "fixtures" / "launch"


def serve(line: str) -> tuple[dict[str, Any], LaunchNotes]:
    parts, notes = read_launch(line)
    scenario_from(parts)
    found: dict[str, Any] = parts["serve"]
    return found, notes


def test_a_script_with_variables_arrays_and_continuations() -> None:
    parts, notes = read_launch_file(FIXTURES / "vllm_variables.sh")
    assert parts["model"] == "meta-llama/Llama-3.1-70B-Instruct"
    assert parts["serve"] == {
        "engine": "vllm",
        "tensor": 4,
        "max_model_len": 32000,
        "memory_utilization": 0.92,
        "kv_precision": "fp8",
        "precision": "fp8",
        "max_num_seqs": 128,
        "max_num_batched_tokens": 8192,
        "decode_context_parallel": 2,
        "cpu_offload_bytes_per_device": 10 * 2**30,
        "speculative": {"method": "eagle", "tokens": 3, "draft_model": "org/eagle3-70b"},
        "adapters": {"count": 4, "rank": 32},
    }
    assert notes.unknown == ("--paint-it blue",)
    assert "swap-space 4" in notes.unplanned
    assert {"host 0.0.0.0", "port 8000", "trust-remote-code true"} <= set(notes.without_effect)
    assert notes.devices == 4


def test_a_vllm_configuration_file() -> None:
    parts, notes = read_launch_file(FIXTURES / "vllm_config.yaml")
    found = parts["serve"]
    assert (found["tensor"], found["data"], found["expert"], found["precision"]) == (2, 2, 4, "fp8")
    assert found["enforce_eager"] is True and notes.devices == 4
    assert notes.unknown == ("a-new-option: 7",)


def test_older_spellings_of_vllm() -> None:
    found, _ = serve(
        "VLLM_USE_V1=0 python3 -m vllm.entrypoints.openai.api_server --model a/b-GPTQ-Int8 "
        "--quantization gptq_marlin --tensor-parallel 2 --max_model_len=4096 --kv-cache-dtype auto"
    )
    assert (found["tensor"], found["max_model_len"], found["precision"]) == (2, 4096, "gptq-int8")
    assert "kv_precision" not in found


@pytest.mark.parametrize(("text", "length"), [("32k", 32000), ("32K", 32768), ("1m", 1_000_000), ("8192", 8192)])
def test_lengths_as_vllm_reads_them(text: str, length: int) -> None:
    assert serve(f"vllm serve a/b --max-model-len {text}")[0]["max_model_len"] == length


def test_speculative_settings_word_by_word() -> None:
    found, _ = serve(
        "vllm serve a/b --speculative-config.method deepseek_mtp --speculative-config.num_speculative_tokens=2"
    )
    assert found["speculative"] == {"method": "mtp", "tokens": 2}


def test_containers() -> None:
    line = "docker run --gpus all --ipc=host -v ~/.c:/root/.c -p 8000:8000 -e HF_TOKEN=x "
    found, _ = serve(line + "vllm/vllm-openai:v0.11.0 --model Qwen/Qwen3-32B-AWQ -tp 2")
    assert found == {"engine": "vllm", "engine_version": "0.11.0", "precision": "awq-int4", "tensor": 2}
    found, _ = serve(line + "lmsysorg/sglang:latest python3 -m sglang.launch_server --model a/b --tp 2 --dp 2")
    assert (found["engine"], found["tensor"], found["replicas"]) == ("sglang", 2, 2)
    found, _ = serve("bash -lc 'cd /x && exec vllm serve a/b -tp 8'")
    assert found["tensor"] == 8


def test_sglang_with_data_parallel_attention() -> None:
    found, notes = serve(
        "python -m sglang.launch_server --model-path deepseek-ai/DeepSeek-V3 --tp 8 --dp 8 "
        "--enable-dp-attention --ep-size 8 --mem-fraction-static 0.85 --context-length 65536 "
        "--chunked-prefill-size 16384 "
        "--max-running-requests 512 --speculative-algorithm NEXTN --speculative-num-steps 1 "
        "--disable-cuda-graph "
        "--kv-cache-dtype fp8_e5m2 --quantization fp8 --max-total-tokens 100000"
    )
    assert found == {
        "engine": "sglang",
        "tensor": 1,
        "data": 8,
        "expert": 8,
        "memory_utilization": 0.85,
        "max_model_len": 65536,
        "max_num_batched_tokens": 16384,
        "max_num_seqs": 512,
        "hold_steps": 1,
        "enforce_eager": True,
        "precision": "fp8",
        "kv_precision": "fp8",
        "speculative": {"method": "mtp", "tokens": 1},
    }
    assert notes.devices == 8 and notes.unplanned == ("max-total-tokens 100000",)


def test_an_engines_own_variables_are_listed() -> None:
    _, notes = serve("export VLLM_USE_V1=0; HF_TOKEN=x VLLM_LOGGING_LEVEL=DEBUG vllm serve a/b")
    assert set(notes.unplanned) == {"environment VLLM_USE_V1=0", "environment VLLM_LOGGING_LEVEL=DEBUG"}
    _, notes = serve("docker run -e LLAMA_ARG_CTX_SIZE=9 --env=GGML_X=1 -e A=1 ghcr.io/ggml-org/llama.cpp:server -m x")
    assert notes.unplanned == ("environment LLAMA_ARG_CTX_SIZE=9", "environment GGML_X=1")


def test_sglang_without_chunks_and_with_adapters() -> None:
    found, _ = serve(
        "sglang serve --model-path a/b --chunked-prefill-size -1 --max-prefill-tokens 16384 "
        "--lora-paths x=/a y=/b --max-loras-per-batch 2 --port 1"
    )
    assert found["max_num_batched_tokens"] == 16384 and found["adapters"]["count"] == 2


def test_llama_server() -> None:
    found, notes = serve(
        "./build/bin/llama-server -m m/Qwen3-30B-A3B-Q4_K_M.gguf -c 65536 -np 4 -ngl 20 -fa "
        "-ctk q8_0 -ctv q8_0 -b 2048 -ub 512 -t 16 --jinja -ts 1,1 --wat"
    )
    assert found == {
        "engine": "llama.cpp",
        "max_model_len": 16384,
        "max_num_seqs": 4,
        "kv_precision": "q8_0",
        "max_num_batched_tokens": 512,
        "pipeline": 2,
        "kv_unified": False,
        "gpu_layers": 20,
    }
    assert notes.unknown == ("--wat",) and notes.unplanned == ()


@pytest.mark.parametrize(
    ("line", "length", "slots", "unified"),
    [
        ("llama-server -m m.gguf -c 8192", 8192, None, None),  # the server chooses: four slots share the context
        ("llama-server -m m.gguf -c 8192 -np -1", 8192, None, None),
        ("llama-server -m m.gguf -c 8192 -np 1", 8192, 1, None),
        ("llama-server -m m.gguf -c 8192 -np 4", 2048, 4, False),
        ("llama-server -m m.gguf -c 8192 -np 4 -kvu", 8192, 4, True),
        ("llama-server -m m.gguf -c 8192 -np 4 --no-kv-unified", 2048, 4, False),
        ("llama-server -m m.gguf -c 8192 -np 4 -no-kvu", 2048, 4, False),
        ("llama-server -m m.gguf --kv-unified-per-slot 4096", 4096, 4, False),
        ("llama-server -m m.gguf --kv-unified-per-slot 4096 -c 8192 -np 4 -kvu", 8192, 4, True),
        ("llama-cli -m m.gguf -c 8192", 8192, 1, None),
        ("llama-server -m m.gguf -np 2", None, 2, False),
    ],
)
def test_slots_of_llama_server(line: str, length: int | None, slots: int | None, unified: bool | None) -> None:
    found, _ = serve(line)
    assert (found.get("max_model_len"), found.get("max_num_seqs"), found.get("kv_unified")) == (length, slots, unified)


@pytest.mark.parametrize("engine", sorted(_ENGINES))
def test_every_listed_flag_is_read_and_none_twice(engine: str) -> None:
    module = _ENGINES[engine]
    listed = flag_table.listed(module.__name__.rsplit(".", 1)[1] + ".txt")
    assert len(listed) > 100 and not set(listed) & set(flag_table.table(module._ROWS))
    for name, spec in listed.items():
        assert spec.target in ("-", "!") and spec.kind in flag_table.CONVERT, name
        collected = Collected(engine)
        read_flags([("-" if len(name) < 3 else "--") + name, "1"], module.flags(), collected)
        assert len(collected.unplanned) + len(collected.without_effect) == 1 and not collected.unknown, name


def test_flags_of_recent_versions_are_known() -> None:
    for line in (
        "vllm serve a/b --device-memory-utilization 0.8 --spec-method mtp --spec-tokens 2 --watermark 0.01 "
        "--kv-offloading-backend native -dpn 0 --no-enable-prefix-caching",
        "sglang serve --model-path a/b --dcp-size 2 --tp 4 --cuda-graph-max-bs-decode 64 --enable-hisparse "
        "--radix-eviction-policy lru --enable-dynamic-chunking",
        "llama-server -m m.gguf --spec-draft-model d.gguf --fit off -ncffn 3 --ui-config x --no-host -lm mlock",
        "trtllm-serve a/b --tp_size 4 --otlp_traces_endpoint x --custom_module_dirs y --trust_remote_code",
    ):
        _, notes = serve(line)
        assert notes.unknown == (), notes.unknown
    found, _ = serve("vllm serve a/b --device-memory-utilization 0.8 --spec-method mtp --spec-tokens 2")
    assert found["memory_utilization"] == 0.8 and found["speculative"] == {"method": "mtp", "tokens": 2}


def test_llama_cli_with_a_repository_and_defaults() -> None:
    parts, notes = read_launch("llama-cli -hf unsloth/gpt-oss-20b-GGUF:Q8_0 -ctk q8_0 -ctv f16 -no-cnv -p hi")
    assert parts["model"] == "unsloth/gpt-oss-20b-GGUF" and parts["serve"]["precision"] == "q8_0"
    assert any("cache types" in item for item in notes.unplanned)
    assert any(note["what"] == "serve.max_model_len" for note in notes.assumed)


def test_tensorrt_llm_with_its_options_file() -> None:
    line = (
        "trtllm-serve nvidia/DeepSeek-R1-FP4 --backend pytorch --tp_size 8 --ep_size 8 --max_batch_size 256 "
        "--max_num_tokens 4096 --max_seq_len 8k --extra_llm_api_options trtllm_options.yaml"
    )
    parts, notes = read_launch(line, FIXTURES)
    assert parts["serve"] == {
        "engine": "tensorrt-llm",
        "tensor": 1,
        "data": 8,
        "gather_steps": 0,
        "expert": 8,
        "max_num_seqs": 256,
        "max_num_batched_tokens": 4096,
        "max_model_len": 8000,
        "memory_utilization": 0.85,
        "kv_precision": "fp8",
        "precision": "nvfp4",
        "speculative": {"method": "mtp", "tokens": 3},
    }
    assert notes.devices == 8 and "kv_cache_config.tokens_per_block 32" in notes.unplanned
    _, alone = read_launch(line)
    assert any(note["what"] == "config" for note in alone.assumed)


def test_trtllm_build() -> None:
    found, _ = serve(
        "trtllm-build --checkpoint_dir ./ckpt --max_batch_size 64 --max_input_len 4096 "
        "--max_seq_len 8192 --max_num_tokens 8192 --gemm_plugin auto --output_dir out"
    )
    assert (found["max_num_seqs"], found["max_model_len"]) == (64, 8192)


def test_here_documents_and_defaults() -> None:
    text = """read -r -d '' line <<EOF
    serve ${MODEL:-"${HOME}/models/m"} -tp ${TP:-4} ${EAGER:+--enforce-eager}
    EOF
    cat > x.yaml <<'END'
    vllm serve not/this
    END
    vllm $line --max-num-seqs 8 > log 2>&1 &
    """
    parts, _ = read_launch("\n".join(line.strip() for line in text.splitlines()))
    assert parts["model"] == "${HOME}/models/m" and parts["serve"]["tensor"] == 4
    assert parts["serve"]["max_num_seqs"] == 8


def test_variables_that_are_not_set_are_said() -> None:
    found, notes = serve("N=4; vllm serve a/b -tp $TP --max-num-seqs $(nproc) --max-model-len $((8 * 1024 * N))")
    assert found == {"engine": "vllm", "max_model_len": 32768}
    assert [note["what"] for note in notes.assumed] == ["tp", "max-num-seqs"]


@pytest.mark.parametrize("engine", sorted(_ENGINES))
def test_every_known_flag_goes_somewhere(engine: str) -> None:
    """A value, the list without effect, or the list not planned: none vanishes."""
    values = {"json": '{"a": 1}', "int": "2", "real": "0.5", "human": "2", "text": "auto"}
    for name, spec in _ENGINES[engine].flags().items():
        collected = Collected(engine)
        dashes = "--" if len(name) > 1 else "-"
        words = [dashes + name] + ([] if spec.kind in ("flag", "noflag") else [values.get(spec.kind, "x")])
        read_flags(words, _ENGINES[engine].flags(), collected)
        assert not collected.unknown, name
        assert collected.values or collected.without_effect or collected.unplanned, name


@pytest.mark.parametrize(
    "line",
    [
        "vllm serve a/b -tp 0",
        "vllm serve a/b -tp two",
        "vllm serve a/b -tp 1.5",
        "vllm serve a/b --gpu-memory-utilization 1.5",
        "vllm serve a/b -tp",
        "vllm serve a/b --speculative-config '{'",
        "vllm serve a/b -tp 9e99",
        "vllm serve a/b --enforce-eager=maybe",
    ],
)
def test_values_that_cannot_be(line: str) -> None:
    with pytest.raises(BadValue) as caught:
        read_launch(line)
    assert caught.value.field


@pytest.mark.parametrize("text", ["", "ls -l", "vllm --version", "echo 'vllm serve'", "{}", "\0", "docker run x/y"])
def test_no_launch_line(text: str) -> None:
    with pytest.raises(Unreadable):
        read_launch(text)


@pytest.mark.parametrize(
    "text",
    [
        "a=(" * 50_000,
        '"' * 300_000,
        "\\a" * 300_000,
        "$A" * 300_000,
        "A=x" + "$A" * 300_000,
        "${" * 300_000,
        "A=1;" * 100_000,
        "vllm serve " + "--no " * 50_000,
        "(" * 500_000,
        "x " * 500_000,
        "$(" * 200_000,
        "A=" + "y " * 2000 + "\n" + 'B="$A$A$A$A$A$A$A$A"\nC="$B$B$B$B$B$B$B$B"\nD="$C$C$C$C$C$C$C$C"\n' * 20,
    ],
)
def test_hostile_text_is_refused_or_read_fast(text: str) -> None:
    begun = time.process_time()
    with pytest.raises(OutlayError):
        read_launch(text)
    assert time.process_time() - begun < 1


@settings(max_examples=50, deadline=None)
@given(
    words=st.lists(
        st.sampled_from(
            [
                "vllm",
                "serve",
                "a/b",
                "-tp",
                "2",
                "--max-model-len",
                "32k",
                "--dtype",
                "auto",
                "--speculative-config",
                "{}",
                '{"method": 3}',
                "--enable-lora",
                "--max-loras",
                "-1",
                "nan",
                "--x",
                "--",
                "-",
                "=",
                "--=",
                "--a=b",
                "docker",
                "run",
                "vllm/vllm-openai:v1",
                "sglang",
                "llama-server",
                "-c",
                "0",
                "-np",
                "-m",
                "sglang.launch_server",
                "--tp",
                "--dp",
                "--enable-dp-attention",
                "trtllm-serve",
                "--kv_cache_config",
                '{"dtype": []}',
                "\n",
                ";",
                "é",
                "1e400",
            ]
        ),
        max_size=14,
    )
)
def test_any_words(words: list[str]) -> None:
    for source in (words, " ".join(words), shlex.join(words)):
        try:
            parts, _ = read_launch(source)
        except OutlayError:
            continue
        scenario_from(parts)


@settings(max_examples=50, deadline=None)
@given(st.text(alphabet="ab$(){}\"'\\ \n;#=&|@[]:-A", max_size=60))
def test_any_text_makes_commands(text: str) -> None:
    for command in commands(text):
        assert command.words
