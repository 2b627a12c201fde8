"""How fast the serving simulator is and how near to measured requests, beside a published simulator.

    python benchmarks/simulate.py [--traces DIR] [--plain]

Requests a second of one core, in CPU seconds, results included: chat with shared prefixes that are pushed out, under a
cache limit; and, where DIR holds them, the Azure hour and Mooncake's conversation trace. With numba installed
(`pip install outlay[fast]`) the compiled loop is measured and held equal to the plain one; --plain leaves it out. The
requests of four published logs (LLMServingSim, MIT) are replayed as they came: with step times as the plan has them,
and with one factor of speed taken from every second request and scored on the others.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from outlay.resolve.lengths import Lengths
from outlay.simulate import (
    Arrivals,
    Given,
    Pool,
    Prefixes,
    SimResult,
    StepTime,
    Synthetic,
    System,
    Trace,
    fast,
    simulate,
)
from outlay.validate.log_cases import RUNS, TABLE, log_scenario, measured, replayed
from outlay.validate.tables import read_rows

TOKENS = (0, 1, 512, 2048, 8192)
STEP = StepTime(tuple(0.010 + 1e-5 * n for n in range(257)), 2e-8, TOKENS, (0, 1, 64, 256),
                tuple(tuple(3e-5 * x + (0.01 if row == 0 else 0.0) for x in TOKENS) for row in range(4)), 1e-10)


def workloads(traces: Path | None, rows: int) -> list[tuple[str, Any, System]]:
    chat = Synthetic(Arrivals(rate=9.0), Lengths(1500.0, 0.8, high=8000.0), Lengths(220.0, 0.7, high=2000.0), rows,
                     Prefixes(400, 1024), 128)
    found = [("chat, 400 shared prefixes, 400,000 cached tokens", chat, System(Pool(1, 256, 8192, 400_000), 32_768))]
    if traces is not None:
        for name, file, system in (
            ("the Azure hour, conversation", "azure_2023_conversation.csv.gz",
             System(Pool(1, 256, 8192, 400_000), 32_768)),
            ("Mooncake conversation, 4 engines", "mooncake_conversation.jsonl.gz",
             System(Pool(4, 256, 8192, 400_000), 200_000)),
        ):
            (requests,) = Trace(str(traces / file)).batches(0, [])
            found.append((name, Given(requests), system))
    return found


def cpu_s(work: Any, system: System, quick: bool, runs: int) -> tuple[float, SimResult]:
    """Least CPU seconds of a few runs."""
    least, found = float("inf"), None
    for _ in range(runs):
        start = time.process_time()
        found = simulate(work, system, STEP, fast=quick)
        least = min(least, time.process_time() - start)
    assert found is not None
    return least, found


def speeds(traces: Path | None, compiled: bool) -> None:
    print("| workload | requests | prompt tokens cached | plain Python, requests/s | compiled, requests/s | CPU s |")
    print("| --- | --- | --- | --- | --- | --- |")
    if compiled:
        start = time.process_time()
        few = Synthetic(Arrivals(), Lengths(9.0), Lengths(9.0), 9)
        simulate(few, System(Pool(1, 256, 8192, 9000), 99), STEP, fast=True)
        print(f"compiling, or loading what was compiled before: {time.process_time() - start:.1f} s", file=sys.stderr)
    for (name, work, system), (_, short, _) in zip(workloads(traces, 200_000), workloads(traces, 20_000), strict=True):
        slow, plain = cpu_s(short, system, False, 1)
        count = plain.counts["requests"]
        words, quickest = "not measured", slow
        if compiled:
            _, same = cpu_s(short, system, True, 1)
            for column in plain.requests:
                assert np.array_equal(plain.requests[column], same.requests[column], equal_nan=True), column
            quickest, found = cpu_s(work, system, True, 3)
            words = f"{found.counts['requests'] / quickest:,.0f}"
            plain = found
        share = plain.summary()["cached_share"]
        total = plain.counts["requests"]
        print(f"| {name} | {total:,} | {share:.0%} | {count / slow:,.0f} | {words} | {quickest:.2f} |")
    print("| Vidur @7d47513, Llama-2-7B at 4 requests/s | published, not run here | has none | 200 (wall), "
          "350 (CPU) | | |")


def logs() -> None:
    print("\n| log, 300 requests | step times | E2E | TTFT | TPOT | bias of E2E |")
    print("| --- | --- | --- | --- | --- | --- |")
    rows = read_rows(TABLE)
    for log in RUNS:
        columns = measured(rows, log)
        run, _ = replayed(log_scenario(log, columns), columns)
        _score(log, "as planned", columns, run(), slice(None))
        wanted = columns["tpot_s"][::2].mean()
        low, high = 0.3, 3.0
        for _ in range(12):
            middle = (low * high) ** 0.5
            mean = float(np.nanmean(run(middle, middle)["tpot_s"][::2]))
            low, high = (middle, high) if mean < wanted else (low, middle)
        _score(log, f"× {low:.2f} from the other half", columns, run(low, low), slice(1, None, 2))


def _score(log: str, how: str, measured: dict[str, np.ndarray], found: dict[str, np.ndarray], part: slice) -> None:
    words = []
    for name in ("e2e_s", "ttft_s", "tpot_s"):
        error = np.abs(found[name] / measured[name] - 1.0)[part]
        words.append(f"{np.nanmedian(error):.1%}, p90 {np.nanquantile(error, 0.9):.0%}")
    bias = found["e2e_s"][part].mean() / measured["e2e_s"][part].mean() - 1.0
    print(f"| {log} | {how} | {' | '.join(words)} | {bias:+.1%} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--traces", type=Path)
    parser.add_argument("--plain", action="store_true")
    given = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} while measuring, Python "
          f"{platform.python_version()}, {time.strftime('%Y-%m-%d')}\n")
    speeds(given.traces, fast.installed() and not given.plain)
    logs()


if __name__ == "__main__":
    main()
