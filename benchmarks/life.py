"""A five-year life of seven kinds of work, planned with 400 and with 1,000 draws: seconds of CPU and peak memory.

python benchmarks/life.py        each number of draws in a process of its own, first plan and second
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from typing import Any

SCENARIO: dict[str, Any] = {
    "model": "llama-3.1-8b", "fleet": "64xh100-sxm5-80gb", "site": "aws:us-east-1",
    "data": {"annotation": {"preferences": 20_000}, "licences": ["reddit-google"], "classifier": {}, "engineers": 3},
    "pretrain": {"tokens": "1T", "sequence_length": 8192, "global_batch": 512, "experiments": 1.5},
    "finetune": {"method": "full", "examples": "50k", "sequence_length": 2048},
    "serve": {"max_model_len": 8192, "replicas": 8, "workload": {"rate": 40, "input": 1024, "output": 256}},
    "maintain": {"refresh": {"every": "1y", "tokens": "100B", "phase": "pretrain"}, "evaluate": {"suite": "helm"},
                 "mitigate": {"every": "1y", "preferences": 5000}, "migrate": {}, "idle_devices": 8},
    "life": {"years": 5, "engineers": 5, "growth_per_year": 0.5, "retire": {"archive": "1y", "engineer_weeks": 4}},
}


def measured() -> dict[str, float]:
    """CPU seconds of a first and a second plan in this process, months in it and its peak memory."""
    import outlay

    found = {}
    for name in ("first_s", "second_s"):
        before = time.process_time()
        result = outlay.plan(SCENARIO)
        found[name] = time.process_time() - before
    found["months"] = float(len(result.phases["life"]["months"]))
    found["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return found


def main() -> int:
    if len(sys.argv) > 1:
        print(json.dumps(measured()))
        return 0
    for draws in ("400", "1000"):
        run = subprocess.run([sys.executable, __file__, "child"], env={**os.environ, "OUTLAY_DRAWS": draws},
                             capture_output=True, text=True, check=True)
        row = json.loads(run.stdout)
        print(f"{draws:>5} draws: {row['first_s']:.2f} s of CPU, again {row['second_s']:.2f} s, "
              f"{row['months']:.0f} months, {row['peak_mb']:.0f} MB at most")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
