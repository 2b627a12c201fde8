"""How long a full search for a deployment takes: every device, precision and layout planned, the best replayed.

    python benchmarks/capacity.py [--model llama-3.1-70b] [--runs 5]

CPU seconds of one process, least and median of a few runs after a first that loads the catalogue (told apart). Beside
it the wall time that AIConfigurator was measured at for one search, Qwen3-32B on eight H200 (68.8 s): published, not
run here, and another search: it looks at one device and at its own measured tables.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import time
from typing import Any

DEVICES = ("h100-sxm5-80gb", "h200-sxm-141gb", "b200-sxm", "a100-sxm4-80gb", "a100-pcie-80gb", "h100-pcie-80gb", "l40s",
           "mi300x", "rtx-pro-6000-server", "a10")
LIMIT_S = 3.0
PUBLISHED_S = 68.8  # AIConfigurator, one search, wall


def scenario(model: str) -> dict[str, Any]:
    return {
        "model": model,
        "serve": {
            "workload": {"users": 2000, "input": 1024, "output": 256},
            "slo": {"ttft": "500ms", "tpot": "50ms", "percentile": 99},
            "options": {"devices": list(DEVICES)},
        },
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="llama-3.1-70b")
    parser.add_argument("--runs", type=int, default=5)
    given = parser.parse_args()
    start = time.process_time()
    from outlay import plan

    found = plan(scenario(given.model)).to_dict()["serve"]["search"]
    first = time.process_time() - start
    taken = []
    for _ in range(given.runs):
        start = time.process_time()
        plan(scenario(given.model))
        taken.append(time.process_time() - start)
    least, middle = min(taken), statistics.median(taken)
    best = found["best"][0]
    print(f"{platform.machine()}, Python {platform.python_version()}, one thread: {os.environ.get('OMP_NUM_THREADS')}")
    print(f"{given.model} over {len(DEVICES)} devices: {found['considered']} deployments planned, the best "
          f"{best['fleet']} in {best['precision']}, verified {found['verified']} by {found['verified_by']}")
    print(f"first, with imports and catalogue, {first:.2f} CPU s; then least {least:.2f}, median {middle:.2f} CPU s")
    print(f"{PUBLISHED_S / middle:,.0f} times less than the {PUBLISHED_S} s (wall, published, not run here) of one "
          "AIConfigurator search")
    return 0 if least < LIMIT_S else 1


if __name__ == "__main__":
    sys.exit(main())
