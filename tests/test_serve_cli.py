"""`outlay serve` from a command line: flags, launch lines, exit codes, one screen."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner, Result

from outlay.cli.serve import command


def serve(*words: str) -> Result:
    return CliRunner().invoke(command, list(words), standalone_mode=False)


def test_a_page_fits_the_screen() -> None:
    result = serve("llama-3.1-8b", "-g", "rtx-4090", "--max-model-len", "16k")
    assert result.return_value == 0
    assert result.output.startswith("Fits: llama-3.1-8b")
    assert max(map(len, result.output.splitlines()[:40])) <= 100


def test_what_does_not_fit_says_what_to_turn() -> None:
    result = serve("qwen3-32b", "-g", "rtx-4090")
    assert result.return_value == 1
    assert "Turn:" in result.output
    assert "Nearest changes that fit" in result.output


def test_flags_are_fields() -> None:
    document = json.loads(
        serve(
            "llama-3.1-8b",
            "-g",
            "2xh100-sxm",
            "--tp",
            "2",
            "-p",
            "fp8",
            "--kv",
            "fp8",
            "--enforce-eager",
            "--max-num-seqs",
            "64",
            "--max-model-len",
            "8192",
            "--json",
        ).output
    )
    section = document["scenario"]["serve"]
    assert (section["tensor"], section["precision"], section["kv_precision"], section["max_num_seqs"]) == (
        2,
        "fp8",
        "fp8",
        64,
    )
    assert document["serve"]["memory_parts"]["cuda_graphs"]["value"] == 0


@pytest.mark.parametrize(
    ("line", "engine"),
    [
        ("vllm serve meta-llama/Llama-3.1-8B-Instruct --max-model-len 8192 --tensor-parallel-size 2", "vLLM"),
        ("python -m sglang.launch_server --model-path meta-llama/Llama-3.1-8B-Instruct --tp 2", "SGLang"),
        ("llama-server -m Meta-Llama-3.1-8B-Instruct-Q4_K_M.gguf -c 8192", "llama.cpp"),
    ],
)
def test_launch_lines(line: str, engine: str) -> None:
    result = serve("-g", "2xh100-sxm", "--json", "--", *line.split())
    document = json.loads(result.stdout)
    assert document["serve"]["engine"].startswith(engine)
    assert document["serve"]["fits"] is True
    assert document["model"]["name"] == "llama-3.1-8b"
