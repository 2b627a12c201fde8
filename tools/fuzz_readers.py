"""Fuzz the readers for as long as you like: python tools/fuzz_readers.py [SECONDS] [SEED].

Mutates sound configurations and headers, and counts what happens. Anything but a reading or an OutlayError,
or a reading that takes longer than a second, is printed and ends the run with exit code 1.
"""

from __future__ import annotations

import json
import random
import struct
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

from outlay.errors import OutlayError
from outlay.readers import architecture_from_mapping, model_from_path, read_hf_config, read_safetensors

CONFIGS = Path(__file__).with_name("catalog_build") / "model_configs.jsonl"
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


def one(rng: random.Random, configs: list[dict[str, Any]], folder: Path) -> None:
    kind = rng.randrange(4)
    if kind == 0:
        fields, _ = read_hf_config(mutated_mapping(rng.choice(configs), rng, rng.choice((0.02, 0.1, 0.4))))
        architecture_from_mapping(fields)
    elif kind == 1:
        path = folder / "config.json"
        path.write_bytes(garbled(json.dumps(rng.choice(configs)).encode(), rng))
        architecture_from_mapping(model_from_path(path)[0])
    elif kind == 2:
        path = folder / "m.safetensors"
        data = header(rng)
        path.write_bytes(garbled(data, rng) if rng.random() < 0.7 else data)
        read_safetensors(path)
    else:
        fields, _ = read_hf_config(rng.choice(configs))
        architecture_from_mapping(mutated_mapping(fields, rng, 0.1))


def main() -> int:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    configs = [json.loads(line)["config"] for line in CONFIGS.read_text(encoding="utf-8").splitlines()]
    tally: dict[str, int] = {}
    until = time.monotonic() + seconds
    number = 0
    with tempfile.TemporaryDirectory() as name:
        while time.monotonic() < until:
            rng = random.Random(f"{seed}/{number}")
            begun = time.monotonic()
            try:
                one(rng, configs, Path(name))
                outcome = "read"
            except OutlayError as error:
                outcome = error.kind
            except Exception:
                print(f"case {seed}/{number}:")
                traceback.print_exc()
                return 1
            if time.monotonic() - begun > 1:
                print(f"case {seed}/{number} took {time.monotonic() - begun:.1f} s")
                return 1
            tally[outcome] = tally.get(outcome, 0) + 1
            number += 1
    print(
        f"{number} cases in {seconds:g} s, none astray: "
        + ", ".join(f"{count} {outcome}" for outcome, count in sorted(tally.items()))
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
