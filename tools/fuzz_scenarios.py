"""Random scenarios of every section: what breaks the contract is printed with the scenario that broke it.

    python tools/fuzz_scenarios.py --cases 20000 --seed 1
    python tools/fuzz_scenarios.py --seconds 300 --seed 1
"""

from __future__ import annotations

import argparse
import json
import random
import time
import warnings
from collections import Counter
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace
from typing import Any

from outlay.scenario_io import set_path

TESTS = Path(__file__).resolve().parent.parent / "tests"
support = SimpleNamespace(**run_path(str(TESTS / "fuzz_support.py")))
maker = SimpleNamespace(**run_path(str(TESTS / "scenario_maker.py")))
SLOW_S = 5.0
AGAIN = 0.1  # of the answers are asked again from their echo


def made(pick: random.Random) -> dict[str, Any]:
    kind = pick.random()
    if kind < 0.3:
        return dict(maker.legal(pick))
    if kind < 0.65:
        return dict(maker.stretched(pick))
    return dict(maker.spoiled(pick, support.WRONG_VALUES))


def faults(scenario: dict[str, Any], again: bool, tally: Counter[str]) -> list[str]:
    """What an answer breaks, and at times what its own echo and its nearest changes do."""
    start = time.process_time()
    found = support.answer(scenario)
    spent = time.process_time() - start
    tally[found["error"]["kind"] if "error" in found else "planned"] += 1
    wrong: list[str] = list(support.faults_of(found))
    if spent > SLOW_S:
        wrong.append(f"{spent:.1f} s")
    return wrong if "error" in found or not again else [*wrong, *echo_faults(found), *nearest_faults(scenario, found)]


def echo_faults(found: dict[str, Any]) -> list[str]:
    again = support.answer(found)
    if "error" in again:
        return [f"its echo: {again['error']['message']}"]
    numbers, other = (dict(support.quantities({k: v for k, v in one.items() if k != "scenario"}))
                      for one in (found, again))
    return [f"its echo differs in {p}: {numbers[p]}, {other.get(p)}" for p in numbers if numbers[p] != other.get(p)][:2]


def nearest_faults(scenario: dict[str, Any], found: dict[str, Any]) -> list[str]:
    wrong = []
    for phase in ("pretrain", "finetune"):
        for change in (found.get(phase) or {}).get("nearest", ()):
            tried = scenario
            for path, value in change["set"].items():
                tried = set_path(tried, path, value)
            then = support.answer(tried)
            if "error" in then or not then[phase]["fits"]:
                wrong.append(f"nearest {change['set']} does not fit: {then.get('error', {}).get('message', '')}")
    return wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=1e9)
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    tally: Counter[str] = Counter()
    end, count, broken = time.monotonic() + options.seconds, 0, 0
    while count < options.cases and time.monotonic() < end:
        pick = random.Random(f"{options.seed}/{count}")
        scenario = made(pick)
        wrong = faults(scenario, pick.random() < AGAIN, tally)
        count += 1
        broken += bool(wrong)
        for line in wrong:
            print(f"{options.seed}/{count - 1}: {line}\n    {json.dumps(scenario)[:3000]}", flush=True)
    kinds = ", ".join(f"{n} {kind}" for kind, n in sorted(tally.items()))
    print(f"{count} scenarios ({kinds}), {broken} broke a rule")


if __name__ == "__main__":
    main()
