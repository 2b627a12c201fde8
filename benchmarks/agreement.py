"""The serving simulator beside the closed form, cell by cell: closed loops of models, engines, lengths and concurrency.

    python benchmarks/agreement.py [--cv 0.3] [--waves 10] [--csv FILE] [--models NAME ...] [--engines NAME ...]

A cell is a run as a benchmark's harness makes it: so many requests at once from the start, ten times as many in all.
Printed is simulated over closed form of mean TTFT, median TTFT over the closed form's mean, TPOT, E2E and throughput.
"""

from __future__ import annotations

import argparse
import csv
import math
import sys
from typing import Any

import numpy as np
from msgspec.structs import replace

from outlay.catalog import load
from outlay.derive import value_of
from outlay.planner.replay.simulate import replay
from outlay.resolve import resolve
from outlay.resolve.lengths import Lengths
from outlay.scenario_io import scenario_from
from outlay.simulate import Arrivals, SimResult, Synthetic
from outlay.steps.serve.memory import serve_memory
from outlay.steps.serve.time import serve_time
from outlay.steps.serve.time_inputs import Load

MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama-3.1-8b": ("1xh100-sxm5-80gb", {"tensor": 1}),
    "llama-3.3-70b": ("4xh100-sxm5-80gb", {"tensor": 4}),
    "qwen3-30b-a3b": ("1xh100-sxm5-80gb", {"tensor": 1}),
    "gpt-oss-120b": ("1xh200-sxm-141gb", {"tensor": 1}),
    "deepseek-r1": ("8xh200-sxm-141gb", {"tensor": 8, "expert": 8}),
    "glm-5": ("8xh200-sxm-141gb", {"tensor": 8}),  # attends to selected keys
    "qwen3-30b-a3b ranks": ("4xh100-sxm5-80gb", {"tensor": 1, "data": 4, "expert": 4}),
    "gpt-oss-120b ranks": ("4xh200-sxm-141gb", {"tensor": 1, "data": 4, "expert": 4}),
    "deepseek-r1 ranks": ("8xh200-sxm-141gb", {"tensor": 1, "data": 8, "expert": 8}),
}
LENGTHS = ((128, 128), (1024, 1024), (2048, 256), (8192, 1024), (1024, 1))
CONCURRENCY = (1, 2, 4, 8, 16, 32, 64, 128)
ENGINES = ("vllm", "sglang", "tensorrt-llm")
REQUESTS = 400  # of a cell at least
NUMBERS = ("steady ttft", "ttft", "ttft p50", "tpot", "e2e", "out/s")


def planned(model: str, engine: str) -> Any:
    fleet, layout = MODELS[model]
    precision = "mxfp4" if model.startswith("gpt-oss") else "fp8"
    return resolve(scenario_from({"model": model.removesuffix(" ranks"), "fleet": fleet, "serve": {
        "engine": engine, "precision": precision, "replicas": 1, "max_model_len": 16384, "max_num_seqs": 256,
        "workload": {"concurrency": 8, "input": 1024, "output": 1024}, **layout}}), load())


def cache_tokens(found: Any) -> float:
    """That a replica of the plan holds."""
    phase = found.serve
    return float(value_of(serve_memory(found.architecture, phase.usable_bytes, phase.recipe,
                                       phase.layout).kv_cache_tokens))


def summed_up(number: str, logs: Any) -> str:
    """How far logarithms of ratios lie from zero."""
    off = np.abs(logs)
    return (f"{number}: within 5 % {np.mean(off < np.log(1.05)):.0%}, median {np.expm1(np.median(off)):.1%}, "
            f"worst {np.expm1(off.max()):.0%}")


def cell(found: Any, concurrency: int, lengths: tuple[int, int], cv: float, waves: int) -> dict[str, float]:
    """Simulated over closed form, and both values of the time to the first token."""
    phase, arch = found.serve, found.architecture
    prompt, output = float(lengths[0]), float(lengths[1])
    phase = replace(phase, asked=replace(phase.asked, kind="closed", input=prompt, output=output,
                                         concurrency=float(concurrency)))
    cache = cache_tokens(found)
    engine, asked = phase.speed.engine, Load("closed", prompt, output, float(concurrency), cache_tokens=cache,
                                        spread=cv if output > 1.0 else 0.0)
    steady = replace(engine, constants={**engine.constants, "queue": 0.0})
    form, later = (serve_time(arch, phase.speed.device, one, phase.layout, asked) for one in (engine, steady))
    ttft, tpot, e2e, out = (float(form[name]) for name in ("ttft_s", "tpot_s", "e2e_s", "output_tokens_per_s"))
    answers = Lengths(output, cv if output > 1.0 else 0.0)
    work = Synthetic(Arrivals("closed", concurrency=concurrency), Lengths(prompt), answers, waves * concurrency)
    runs = [replay(arch, phase, phase.layout, 1, cache, work, at) for at in range(max(1, REQUESTS // work.requests))]
    times = {name: np.concatenate([run.times()[name] for run in runs]) for name in ("ttft_s", "tpot_s", "e2e_s")}
    second = np.concatenate([run.times()["ttft_s"][run.requests["request"] >= concurrency] for run in runs])
    made = sum(made_per_s(run, concurrency) for run in runs) / len(runs)
    found = {
        "steady ttft": second.mean() / float(later["ttft_s"]), "ttft": times["ttft_s"].mean() / ttft,
        "ttft p50": float(np.median(times["ttft_s"])) / ttft,
        "e2e": times["e2e_s"].mean() / e2e, "out/s": made / out,
    }
    return found | {"tpot": times["tpot_s"].mean() / tpot} if output > 1.0 else found


def made_per_s(run: SimResult, inside: int) -> float:
    """Tokens a second while all places are taken: from the second wave's first request to the last one's coming."""
    rows = run.requests
    came = np.sort(rows["arrival_s"])
    start, end = float(came[min(inside, len(came) // 2)]), float(came[-1])
    if end <= start:
        return float("nan")
    first = np.count_nonzero((rows["first_token_s"] > start) & (rows["first_token_s"] <= end)) / (end - start)
    return first + run.between(start, end)["decoded_tokens_per_s"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cv", type=float, default=0.3, help="of the lengths of answers")
    parser.add_argument("--waves", type=int, default=10)
    parser.add_argument("--csv")
    parser.add_argument("--models", nargs="*", default=list(MODELS))
    parser.add_argument("--engines", nargs="*", default=list(ENGINES))
    parser.add_argument("--concurrency", nargs="*", type=int, default=list(CONCURRENCY))
    given = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for model in given.models:
        for engine in given.engines:
            found = planned(model, engine)
            for lengths in LENGTHS:
                for concurrency in given.concurrency:
                    row = {"model": model, "engine": engine, "in": lengths[0], "out": lengths[1],
                           "inside": concurrency}
                    rows.append(row | cell(found, concurrency, lengths, given.cv, given.waves))
    if given.csv:
        with open(given.csv, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(dict.fromkeys(name for row in rows for name in row)))
            writer.writeheader()
            writer.writerows(rows)
    print("| model | engine | in/out | " + " | ".join(f"{n}" for n in given.concurrency) + " |")
    print("| --- | --- | --- |" + " --- |" * len(given.concurrency))
    for number in NUMBERS:
        print(f"| **{number}** | | |" + " |" * len(given.concurrency))
        for model in given.models:
            for engine in given.engines:
                for size in LENGTHS:
                    own = [r for r in rows if (r["model"], r["engine"], r["in"], r["out"]) == (model, engine, *size)]
                    print(f"| {model} | {engine} | {size[0]}/{size[1]} | "
                          + " | ".join(f"{r[number]:.2f}" if number in r else "" for r in own) + " |")
    for number in NUMBERS:
        logs = np.array([np.log(r[number]) for r in rows if r.get(number, math.nan) == r.get(number, math.nan)])
        print(summed_up(number, logs), file=sys.stderr)


if __name__ == "__main__":
    main()
