"""Random scenarios for minutes: what breaks the contract is printed with the scenario that broke it.

    python tools/fuzz_scenarios.py --seconds 300 --seed 1
"""

from __future__ import annotations

import argparse
import json
import random
import time
import warnings
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace
from typing import Any

from outlay.scenario_io import field_paths, set_path

TESTS = Path(__file__).resolve().parent.parent / "tests"
support = SimpleNamespace(**run_path(str(TESTS / "fuzz_support.py")))
BASES: dict[str, dict[str, Any]] = json.loads((TESTS / "contract" / "bases.json").read_text())
SLOW_S = 5.0
DEVICES = ("h100-sxm5-80gb", "a100-sxm4-80gb", "h200-sxm-141gb", "b200-sxm", "tpu-v5p", "mi300x", "rtx-4090")
MODELS = ("llama-3.2-1b", "llama-3.1-8b", "llama-3.1-70b", "mixtral-8x7b", "qwen3-30b-a3b", "gemma-3-4b",
          "deepseek-v3", "gpt-oss-20b")
SPLITS = {"tensor": (1, 2, 4, 8), "pipeline": (1, 2, 4), "context": (1, 2), "zero": (0, 1, 2, 3), "micro_batch": (1, 2),
          "recompute": ("none", "selective", "full"), "expert": (1, 2, 4)}
OPTIONS = {"precision": ("bf16", "fp8", "fp16", "fp32"), "offload": ("optimizer", "all"), "packing": (True,),
           "framework": ("fsdp", "deepspeed", "torchtitan", "maxtext"), "optimizer": ("muon", "adamw-8bit", "sgd")}


def legal(pick: random.Random) -> dict[str, Any]:
    """A scenario that a person could mean."""
    model: Any = pick.choice(MODELS) if pick.random() < 0.5 else pick.choice(list(BASES.values()))["model"]
    fleet: dict[str, Any] = {"device": pick.choice(DEVICES), "devices": pick.choice((1, 2, 4, 8, 16, 64, 256, 1024))}
    if pick.random() < 0.3:
        fleet |= {"tenure": "own", "usd_per_device": 20_000}
    phase: dict[str, Any] = {"tokens": pick.choice((1e9, 1e11, 1e12)), "global_batch": pick.choice((256, 1024)),
                             "sequence_length": pick.choice((1024, 4096, 8192))}
    phase |= {name: pick.choice(values) for name, values in OPTIONS.items() if pick.random() < 0.2}
    phase["layout"] = {name: pick.choice(values) for name, values in SPLITS.items() if pick.random() < 0.3}
    scenario = {"model": model, "fleet": fleet, "pretrain": phase}
    if pick.random() < 0.7:
        scenario["site"] = pick.choice(("aws:us-east-1", "FR", {"location": "DE", "pue": 1.3}))
    if pick.random() < 0.3:
        scenario["goal"] = {"minimize": pick.choice(("time", "money", "energy", "carbon"))}
    return scenario


def spoiled(pick: random.Random) -> dict[str, Any]:
    """A good scenario with one field set to what a stranger might write."""
    base = pick.choice(list(BASES.values()))
    return set_path(base, pick.choice(field_paths()), pick.choice(support.WRONG_VALUES))


def faults(scenario: dict[str, Any]) -> list[str]:
    """What an answer and its own echo break."""
    start = time.perf_counter()
    found = support.answer(scenario)
    spent = time.perf_counter() - start
    wrong: list[str] = list(support.faults_of(found))
    if spent > SLOW_S:
        wrong.append(f"{spent:.1f} s")
    if "error" in found or "pretrain" not in found:
        return wrong
    again = support.answer(found)
    if "error" in again:
        return [*wrong, f"its echo: {again['error']['message']}"]
    numbers = dict(support.quantities({k: v for k, v in found.items() if k != "scenario"}))
    other = dict(support.quantities({k: v for k, v in again.items() if k != "scenario"}))
    wrong += [f"its echo differs in {path}" for path in numbers if numbers[path] != other.get(path)][:3]
    for change in found["pretrain"].get("nearest", ()):
        tried = scenario
        for path, value in change["set"].items():
            tried = set_path(tried, path, value)
        then = support.answer(tried)
        if "error" in then or not then["pretrain"]["fits"]:
            wrong.append(f"nearest {change['set']} does not fit: {then.get('error', {}).get('message', '')}")
    return wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    pick, end, count, broken = random.Random(options.seed), time.monotonic() + options.seconds, 0, 0
    while time.monotonic() < end:
        scenario = legal(pick) if pick.random() < 0.5 else spoiled(pick)
        wrong = faults(scenario)
        count += 1
        broken += bool(wrong)
        for line in wrong:
            print(f"{line}\n    {json.dumps(scenario)[:2000]}", flush=True)
    print(f"{count} scenarios, {broken} broke a rule")


if __name__ == "__main__":
    main()
