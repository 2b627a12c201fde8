"""Launch lines after `--` and other programs' settings as subjects: what is planned, said and refused."""

from __future__ import annotations

import contextlib
import json
import random
from pathlib import Path
from typing import Any

import pytest

import outlay
from outlay.cli.shell import BAD_INPUT, YES, run
from outlay.errors import OutlayError
from outlay.subject import subject_of

FIXTURES = Path(__file__).parent / "fixtures"
TRAINERS, LAUNCH = FIXTURES / "trainers", FIXTURES / "launch"
SERVE = ("vllm", "serve", "Qwen/Qwen2.5-7B", "--tensor-parallel-size", "2", "--max-model-len", "16k")


def asked(capsys: pytest.CaptureFixture[str], *words: str, code: int = YES) -> str:
    assert run(list(words)) == code
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    return out if code == YES else err


def result(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    at = words.index("--") if "--" in words else len(words)
    found: dict[str, Any] = json.loads(asked(capsys, *words[:at], "--json", *words[at:]))
    return found


def test_a_launch_line_is_planned_on_the_devices_it_uses(capsys: pytest.CaptureFixture[str]) -> None:
    found = result(capsys, "serve", "-g", "h100-sxm", "--", *SERVE)
    assert found["scenario"]["fleet"]["devices"] == 2
    assert found["scenario"]["serve"]["tensor"] == 2 and found["scenario"]["serve"]["max_model_len"] == 16000


def test_flags_win_over_the_line(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("serve", "-g", "4xh100-sxm", "-p", "fp8", "--tp", "4", "--set", "serve.max_num_seqs=7", "--", *SERVE)
    serve = result(capsys, *words, "--dtype", "bfloat16", "--max-num-seqs", "64")["scenario"]["serve"]
    assert (serve["precision"], serve["tensor"], serve["max_num_seqs"]) == ("fp8", 4, 7)


def test_a_named_model_wins_over_the_line(capsys: pytest.CaptureFixture[str]) -> None:
    found = result(capsys, "serve", "llama-3.1-8b", "-g", "h100-sxm", "--", "vllm", "serve", "./mine")
    assert found["model"]["name"] == "llama-3.1-8b"


def test_what_was_read_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    line = (*SERVE, "--paint-it", "blue", "--port", "80", "--swap-space", "3")
    page = asked(capsys, "serve", "-g", "h100-sxm", "--", *line)
    assert "Read: vLLM launch line" in page and "Not known to this reader: --paint-it blue" in page
    assert "no field for it: swap-space 3" in page and "Without effect on the plan: port 80" in page
    assert "outlay serve Qwen/Qwen2.5-7B -g 2xh100-sxm --engine vllm --tp 2 --max-model-len 16000" in page
    found = result(capsys, "serve", "-g", "h100-sxm", "--", *line)
    assert any("--paint-it blue" in w for w in found["warnings"])
    assert any("swap-space 3" in w for w in found["warnings"])
    assert any(a["what"] == "port 80" for a in found["assumptions"])


def test_a_trainers_line_is_tuned(capsys: pytest.CaptureFixture[str]) -> None:
    line = "torchrun --nproc-per-node 4 sft.py --model_name_or_path Qwen/Qwen2.5-7B --use_peft --lora_r 16"
    words = (*line.split(), "--per_device_train_batch_size", "2")
    found = result(capsys, "tune", "-g", "h100-sxm", "--", *words)
    assert found["scenario"]["fleet"]["devices"] == 4 and found["scenario"]["finetune"]["rank"] == 16


@pytest.mark.parametrize(
    ("verb", "file", "extra"),
    [
        ("serve", "launch/vllm_variables.sh", ("--set", "serve.speculative=null", "--dcp", "1")),
        ("serve", "launch/vllm_config.yaml", ()),
        ("tune", "trainers/axolotl_qlora.yaml", ()),
        ("tune", "trainers/llamafactory_lora.yaml", ()),
        ("tune", "trainers/torchtune_qlora.yaml", ()),
        ("tune", "trainers/trl_grpo.yaml", ()),
        ("tune", "trainers/verl_grpo.sh", ()),
        ("train", "trainers/megatron_175b.sh", ()),
        ("train", "trainers/torchtitan_8b.toml", ()),
    ],
)
def test_files_are_subjects(verb: str, file: str, extra: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    fleet = "h100-sxm" if file.endswith(".sh") or verb == "serve" else "8xh100-sxm"
    for how in ((str(FIXTURES / file),), ("-f", str(FIXTURES / file))):
        assert run([verb, *how, "-g", fleet, *extra]) in (YES, 1)
        out, err = capsys.readouterr()
        assert "Read: " in out and Path(file).name in out and "Traceback" not in err


@pytest.mark.parametrize("verb", ["train", "tune"])
def test_how_training_is_laid_out_goes_with_a_model(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    sharding = str(TRAINERS / "ds_z3_offload.json")
    found = result(capsys, verb, "llama-3.1-8b", "-f", sharding, "-g", "8xh100-sxm")
    phase = found["pretrain" if verb == "train" else "finetune"]
    assert phase["layout"]["zero"] == 3


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("train", "-g", "h100-sxm", "--", *SERVE), "ask `outlay serve`"),
        (("tune", "-g", "h100-sxm", "--", *SERVE), "ask `outlay serve`"),
        (("serve", str(TRAINERS / "axolotl_qlora.yaml"), "-g", "h100-sxm"), "ask `outlay tune`"),
        (("tune", str(TRAINERS / "megatron_175b.sh"), "-g", "h100-sxm"), "ask `outlay train`"),
        (("serve", str(LAUNCH / "vllm_variables.sh")), "-g 4xh100-sxm"),
        (("serve", "-g", "h100-sxm", "--"), "nothing follows --"),
        (("serve", "-g", "h100-sxm", "--", "make", "tea"), "no launch line"),
        (("serve", "llama-3.1-8b", "more"), "extra argument"),
        (("serve", "nowhere.sh", "-g", "h100-sxm"), "No such file"),
    ],
)
def test_what_does_not_go_is_refused(
    words: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert says in asked(capsys, *words, code=BAD_INPUT)


def test_python_reads_the_same() -> None:
    parts = outlay.api.load_subject(SERVE)
    assert parts["model"] == "Qwen/Qwen2.5-7B" and parts["serve"]["tensor"] == 2
    assert outlay.api.load_subject("llama-3.1-8b") == {"model": "llama-3.1-8b"}
    assert subject_of(" ".join(SERVE)).scenario == subject_of(SERVE).scenario


def test_hostile_files_are_refused_or_read(tmp_path: Path) -> None:
    draw = random.Random(5)
    seeds = [p.read_bytes() for p in sorted(FIXTURES.glob("*/*")) if p.is_file() and p.suffix != ".jsonl"]
    for turn in range(120):
        data = bytearray(draw.choice(seeds)[:3000])
        for _ in range(draw.randint(1, 12)):
            at = draw.randrange(len(data) or 1)
            data[at : at + draw.randint(0, 9)] = draw.randbytes(draw.randint(0, 6))
        path = tmp_path / f"f{turn}{draw.choice(['.yaml', '.json', '.sh', '.log', '.toml', '.gguf', ''])}"
        path.write_bytes(bytes(data))
        with contextlib.suppress(OutlayError):
            subject_of(str(path))
