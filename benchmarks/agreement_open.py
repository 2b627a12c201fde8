"""The serving simulator beside the closed form under Poisson arrivals: models, engines, lengths and loads.

    python benchmarks/agreement_open.py [--cv 0.3] [--requests 3000] [--models NAME ...] [--engines NAME ...]

Printed is simulated over closed form of mean TTFT, TPOT and E2E at shares of the rate that the closed form says a
replica sustains, with how many requests are inside; the first 40 % and the last 10 % of a run are left out. A run
begins empty, and near saturation takes several stays to fill: it has thirty times as many requests as are inside.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import numpy as np
from agreement import ENGINES, LENGTHS, MODELS, cache_tokens, planned, summed_up
from msgspec.structs import replace

from outlay.planner.replay.simulate import replay
from outlay.resolve.lengths import Lengths
from outlay.simulate import Arrivals, Synthetic
from outlay.steps.serve.time import serve_time
from outlay.steps.serve.time_inputs import Load

LOADS = (0.1, 0.3, 0.5, 0.7, 0.85)
TIMES = ("ttft", "tpot", "e2e")
TURNS = 30.0  # requests of a run at least, over those inside


def cell(
    found: Any, share: float, lengths: tuple[int, int], cv: float, requests: int
) -> tuple[dict[str, float], float]:
    """Simulated over closed form by time, and requests inside."""
    phase, arch = found.serve, found.architecture
    prompt, output = float(lengths[0]), float(lengths[1])
    cache = cache_tokens(found)
    asked = Load("open", prompt, output, rate=1.0, cache_tokens=cache, spread=cv)
    rate = share / float(serve_time(arch, phase.speed.device, phase.speed.engine, phase.layout, asked)["load"])
    form = serve_time(arch, phase.speed.device, phase.speed.engine, phase.layout, replace(asked, rate=rate))
    phase = replace(phase, asked=replace(phase.asked, kind="open", input=prompt, output=output, rate=rate))
    requests = max(requests, int(TURNS * float(form["running"])))
    work = Synthetic(Arrivals("poisson", rate=rate), Lengths(prompt), Lengths(output, cv), requests)
    run = replay(arch, phase, phase.layout, 1, cache, work)
    numbers = run.requests["request"]
    steady = (numbers > 0.4 * requests) & (numbers < 0.9 * requests)
    ratios = {name: float(run.times()[f"{name}_s"][steady].mean() / form[f"{name}_s"]) for name in TIMES}
    return ratios, float(form["running"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cv", type=float, default=0.3, help="of the lengths of answers")
    parser.add_argument("--requests", type=int, default=3000, help="at least")
    parser.add_argument("--models", nargs="*", default=list(MODELS))
    parser.add_argument("--engines", nargs="*", default=list(ENGINES))
    given = parser.parse_args()
    off: dict[str, list[float]] = {name: [] for name in TIMES}
    print("| model | engine | in/out | " + " | ".join(f"{load:.0%}" for load in LOADS) + " |")
    print("| --- | --- | --- |" + " --- |" * len(LOADS))
    for model in given.models:
        for engine in given.engines:
            found = planned(model, engine)
            for lengths in LENGTHS:
                if lengths[1] == 1:
                    continue
                line = []
                for load in LOADS:
                    ratios, inside = cell(found, load, lengths, given.cv, given.requests)
                    for name, ratio in ratios.items():
                        off[name].append(float(np.log(ratio)))
                    line.append("/".join(f"{ratio:.2f}" for ratio in ratios.values()) + f" ({inside:.0f})")
                print(f"| {model} | {engine} | {lengths[0]}/{lengths[1]} | " + " | ".join(line) + " |", flush=True)
    for name, logs in off.items():
        print(summed_up(name, np.array(logs)), file=sys.stderr)


if __name__ == "__main__":
    main()
