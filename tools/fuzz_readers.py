"""Fuzz the readers for as long as you like: python tools/fuzz_readers.py [SECONDS] [SEED] [KIND …].

Kinds: model safetensors gguf launch trainer log bench (all of them when none is named). Mutates sound files of each and
counts what happens. Anything but a reading or an OutlayError,
or a reading that takes longer than a second, is printed and ends the run with exit code 1.
"""

from __future__ import annotations

import json
import os
import random
import struct
import sys
import tempfile
import time
import traceback
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace
from typing import Any

from outlay.errors import OutlayError
from outlay.readers import architecture_from_mapping, model_from_path, read_hf_config, read_safetensors
from outlay.readers.any_file import read_any
from outlay.readers.bench.file import read_bench, runs_of
from outlay.readers.bench.record import scenario_parts
from outlay.readers.gguf.header import read_gguf
from outlay.readers.gguf.model import model_from_gguf
from outlay.readers.launch.line import _ENGINES, read_launch
from outlay.readers.log.file import parts_of, read_log
from outlay.readers.trainer.file import read_trainer, read_trainer_text
from outlay.scenario_io import load_text, scenario_from

TESTS = Path(__file__).parent.parent / "tests"
FIXTURES = TESTS / "fixtures"
GGUF = SimpleNamespace(**run_path(str(TESTS / "gguf_support.py")))
CONFIGURATIONS = [
    json.loads(line)["config"]
    for line in (Path(__file__).with_name("catalog_build") / "model_configs.jsonl").read_text("utf-8").splitlines()
]
SCRIPTS = [path.read_text("utf-8") for path in sorted(FIXTURES.glob("*/*.sh"))]
SETTINGS = [
    load_text(path.read_text("utf-8"), path.suffix, path.name)
    for folder in ("trainers", "launch")
    for path in sorted((FIXTURES / folder).iterdir())
    if path.suffix in (".yaml", ".json", ".toml")
]
LOGS = [path.read_text("utf-8", errors="replace").splitlines() for path in sorted((FIXTURES / "logs").glob("*.log"))]
BENCHES = [
    json.loads(line)
    for path in sorted((FIXTURES / "bench").iterdir())
    for line in (path.read_text("utf-8").splitlines() if path.suffix == ".jsonl" else [path.read_text("utf-8")])
]
GGUF_KEYS = (
    "block_count", "embedding_length", "attention.head_count", "attention.head_count_kv", "attention.key_length",
    "attention.sliding_window", "attention.sliding_window_pattern", "attention.kv_lora_rank", "expert_count",
    "expert_used_count", "expert_feed_forward_length", "leading_dense_block_count", "nextn_predict_layers",
    "ssm.inner_size", "ssm.state_size", "ssm.time_step_rank", "ssm.group_count", "kda.head_dim", "vocab_size",
    "feed_forward_length", "rope.dimension_count", "context_length",
)  # fmt: skip
WORDS = (
    "1",
    "2",
    "8",
    "32k",
    "-1",
    "0.9",
    "fp8",
    "auto",
    "bfloat16",
    "{}",
    '{"method": "eagle", "model": 3}',
    "$X",
    "'a b'",
    '"',
    "q8_0",
    "1,1",
    "--",
    "nan",
    "inf",
    "1e400",
    "9" * 50,
    "\\",
    "é",
    "EAGLE",
    "[1, 2]",
)
ODD: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1,
    7,
    2**31,
    2**63,
    10**30,
    0.5,
    -1.5,
    1e308,
    float("inf"),
    "",
    "x",
    "[" * 50,
    [],
    {},
    [1],
    [None],
    {"a": 1},
    [[]],
    "64",
    [10**9] * 3,
)


def mutated(value: Any, rng: random.Random, chance: float) -> Any:
    if rng.random() < chance:
        return rng.choice(ODD)
    if isinstance(value, dict):
        return mutated_mapping(value, rng, chance)
    if isinstance(value, list):
        changed = [mutated(v, rng, chance / 4) for v in value]
        return changed[: rng.randrange(len(changed) + 1)] if changed and rng.random() < chance else changed
    if isinstance(value, int) and not isinstance(value, bool) and rng.random() < chance:
        return value * rng.choice((0, -1, 2, 3, 10**6)) + rng.choice((0, 1))
    return value


def mutated_mapping(value: dict[str, Any], rng: random.Random, chance: float) -> dict[str, Any]:
    return {k: mutated(v, rng, chance) for k, v in value.items() if rng.random() > chance / 2}


def garbled(data: bytes, rng: random.Random) -> bytes:
    out = bytearray(data)
    for _ in range(rng.randrange(1, 8)):
        if not out:
            break
        at = rng.randrange(len(out))
        action = rng.randrange(4)
        if action == 0:
            out[at] = rng.randrange(256)
        elif action == 1:
            del out[at : at + rng.randrange(1, 20)]
        elif action == 2:
            out[at:at] = rng.choice((b"{", b"[", b'"', b"}", b"9" * 50, b"\x00", b"-", b"e400", b"NaN"))
        else:
            out[at:at] = out[at : at + rng.randrange(1, 40)]
    return bytes(out)


def header(rng: random.Random) -> bytes:
    tensors: dict[str, Any] = {}
    end = 0
    for i in range(rng.randrange(1, 6)):
        shape = [rng.randrange(1, 9) for _ in range(rng.randrange(3))]
        size = 2
        for side in shape:
            size *= side
        tensors[f"t{i}"] = {"dtype": "BF16", "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(mutated(tensors, rng, 0.05)).encode()
    return struct.pack("<Q", len(text)) + text + bytes(end)


def fuzz_model(rng: random.Random, folder: Path) -> None:
    chosen = rng.choice(CONFIGURATIONS)
    kind = rng.randrange(3)
    if kind == 0:
        fields, _ = read_hf_config(mutated_mapping(chosen, rng, rng.choice((0.02, 0.1, 0.4))))
        architecture_from_mapping(fields)
    elif kind == 1:
        path = folder / "config.json"
        path.write_bytes(garbled(json.dumps(chosen).encode(), rng))
        architecture_from_mapping(model_from_path(path)[0])
    else:
        fields, _ = read_hf_config(chosen)
        architecture_from_mapping(mutated_mapping(fields, rng, 0.1))


def fuzz_safetensors(rng: random.Random, folder: Path) -> None:
    path = folder / "m.safetensors"
    data = header(rng)
    path.write_bytes(garbled(data, rng) if rng.random() < 0.7 else data)
    read_safetensors(path)


def fuzz_gguf(rng: random.Random, folder: Path) -> None:
    """Keys, tensors and bytes of a header changed; the data behind it is a hole."""
    keys, tensors = GGUF.llama(layers=rng.randrange(1, 4), hidden=256, heads=4, kv_heads=2, ffn=512, vocab=512)
    if rng.random() < 0.5:
        family = rng.choice(("gemma3", "deepseek2", "qwen3moe", "mamba", "qwen3next", "gpt-oss", "phi3", "bert"))
        keys = {key.replace("llama.", f"{family}."): value for key, value in keys.items()}
        keys["general.architecture"] = family
        for name in rng.sample(GGUF_KEYS, 4):
            keys[f"{family}.{name}"] = rng.choice((0, 1, 2, 64, 2**31, 2**40, 1.5, True, "x", [1, 2], ["a"]))
    for _ in range(rng.randrange(3)):
        at = rng.randrange(len(tensors))
        name, shape, kind = tensors[at]
        tensors[at] = (name.replace("ffn_", rng.choice(("ffn_", "attn_", "ssm_", "ffn_norm_"))), shape, kind)
    start, data = GGUF.header(keys, tensors, rng.choice((2, 3, 3, 3)))
    raw = garbled(start, rng) if rng.random() < 0.4 else start
    path = folder / "m.gguf"
    path.write_bytes(raw)
    os.truncate(path, max(0, len(raw) + rng.choice((data, data, 0, -8))))
    fields, _ = model_from_gguf(read_gguf(path))
    architecture_from_mapping(fields)


def fuzz_launch(rng: random.Random, folder: Path) -> None:
    table = dict(rng.choice(list(_ENGINES.values())).flags())
    start = rng.choice(
        (
            "vllm serve a/b",
            "python -m sglang.launch_server --model a/b",
            "llama-server -m a-Q4_0.gguf",
            "trtllm-serve a/b",
            "docker run vllm/vllm-openai:v0.1 --model a",
            "bash -c 'vllm serve a'",
        )
    )
    words = [start]
    for name in rng.sample(sorted(table), rng.randrange(12)):
        words.append(("--" if len(name) > 1 else "-") + name)
        if rng.random() < 0.8:
            words.append(str(rng.choice((*WORDS, *ODD))))
    text = rng.choice((" ", " ", " \\\n", "\t")).join(words)
    if rng.random() < 0.4:
        text = garbled((rng.choice(SCRIPTS) if rng.random() < 0.5 else text).encode(), rng).decode("utf-8", "replace")
    read_launch(text)


def fuzz_trainer(rng: random.Random, folder: Path) -> None:
    if rng.random() < 0.3:
        script = rng.choice(SCRIPTS)
        read_trainer_text(garbled(script.encode(), rng).decode("utf-8", "replace"))
    elif rng.random() < 0.3:
        path = folder / rng.choice(("t.yaml", "t.json", "t.toml"))
        path.write_bytes(garbled(json.dumps(rng.choice(SETTINGS)).encode(), rng))
        read_trainer(path)
    else:
        read_trainer(mutated_mapping(rng.choice(SETTINGS), rng, rng.choice((0.02, 0.1, 0.3))))


def fuzz_log(rng: random.Random, folder: Path) -> None:
    lines = rng.choice(LOGS)
    chosen = [rng.choice(lines) for _ in range(rng.randrange(1, 12))]
    scenario_from(parts_of(read_log(garbled("\n".join(chosen).encode(), rng).decode("utf-8", "replace"))))
    if rng.random() < 0.1:
        path = folder / rng.choice(("any.log", "any.txt", "any.sh", "any.yaml", "any"))
        path.write_bytes(garbled("\n".join(chosen).encode(), rng))
        read_any(path)


def fuzz_bench(rng: random.Random, folder: Path) -> None:
    if rng.random() < 0.4:
        path = folder / "b.json"
        path.write_bytes(garbled(json.dumps(rng.choice(BENCHES)).encode(), rng))
        runs = list(read_bench(path).runs)
    else:
        runs = runs_of(mutated(rng.choice(BENCHES), rng, rng.choice((0.02, 0.1, 0.3))))
    for run in runs:
        scenario_from(scenario_parts(run))


KINDS = {
    "model": fuzz_model,
    "safetensors": fuzz_safetensors,
    "gguf": fuzz_gguf,
    "launch": fuzz_launch,
    "trainer": fuzz_trainer,
    "log": fuzz_log,
    "bench": fuzz_bench,
}


def main() -> int:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    kinds = sys.argv[3:] or list(KINDS)
    tally: dict[str, int] = {}
    until = time.monotonic() + seconds
    number = 0
    with tempfile.TemporaryDirectory() as name:
        while time.monotonic() < until:
            rng = random.Random(f"{seed}/{number}")
            kind = rng.choice(kinds)
            begun = time.process_time()
            try:
                KINDS[kind](rng, Path(name))
                outcome = "read"
            except OutlayError as error:
                outcome = error.kind
            except Exception:
                print(f"case {seed}/{number} ({kind}):")
                traceback.print_exc()
                return 1
            if time.process_time() - begun > 1:
                print(f"case {seed}/{number} ({kind}) took {time.process_time() - begun:.1f} s")
                return 1
            tally[outcome] = tally.get(outcome, 0) + 1
            number += 1
    print(
        f"{number} cases of {', '.join(kinds)} in {seconds:g} s, none astray: "
        + ", ".join(f"{count} {outcome}" for outcome, count in sorted(tally.items()))
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
