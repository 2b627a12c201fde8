"""How many fine-tuning configurations a second one core sizes: methods, lengths, batches and layouts varied together.

    python benchmarks/tune_memory.py [ROWS]

Rows are drawn at random and grouped by what is a branch (method, ZeRO stage, checkpointing); every group is one
call. The second figure sizes one row at a time, as a plan does. Both are printed beside what the bar of 100,000
a second would take on this machine, and beside how fast it starts Python, which says what machine it is.
"""

from __future__ import annotations

import itertools
import subprocess
import sys
import time
from typing import Any

import numpy as np
from msgspec.structs import replace

from outlay.catalog import load
from outlay.planner.layouts.evaluate import nominal
from outlay.resolve import resolve
from outlay.scenario_io import scenario_from
from outlay.steps.inputs import Layout
from outlay.steps.train.memory import train_memory

MODEL, FLEET = "llama-3.1-70b", "64xh100-sxm5-80gb"
METHODS = ("full", "lora", "qlora", "dora")
BAR = 100_000.0
ALONE = 300
START_S = 0.010  # CPU time to start Python where budgets are set


def phase_of(method: str) -> Any:
    scenario = {"model": MODEL, "fleet": FLEET, "finetune": {"method": method, "framework": "fsdp"}}
    return resolve(scenario_from(scenario), load())


def columns(rows: int, seed: int) -> dict[str, Any]:
    """Layouts of 64 devices with their micro-batches and lengths."""
    draw = np.random.default_rng(seed)
    tensor = 2.0 ** draw.integers(0, 4, rows)
    context = 2.0 ** draw.integers(0, 2, rows)
    data = 64.0 / (tensor * context)
    ones = np.ones(rows)
    return {"tensor": tensor, "context": context, "data": data, "shard": data, "pipeline": ones, "expert": ones,
            "expert_tensor": ones, "virtual_pipeline": ones, "micro_batch": draw.integers(1, 17, rows).astype(float),
            "sequence_length": 256.0 * draw.integers(1, 129, rows)}


def sized(arch: Any, hw: Any, recipe: Any, row: dict[str, Any], zero: int, recompute: str) -> Any:
    length = row["sequence_length"]
    layout = Layout(**{k: v for k, v in row.items() if k != "sequence_length"}, zero=zero, recompute=recompute)
    return train_memory(arch, hw, replace(recipe, sequence_length=length), layout).memory_per_device_bytes


def start_s() -> float:
    """CPU time of starting Python here, the least of a few."""
    import resource

    found = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-I", "-S", "-c", "pass"], check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        found.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(found)


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    groups = list(itertools.product(METHODS, (2, 3), ("none", "full")))
    known = {method: phase_of(method) for method in METHODS}
    parts = {method: (r.architecture, nominal(r.finetune.hardware), nominal(r.finetune.training.recipe))
             for method, r in known.items()}
    drawn = [columns(rows // len(groups), seed) for seed in range(len(groups))]
    started = time.process_time()
    found = [sized(*parts[m], row, z, r) for (m, z, r), row in zip(groups, drawn)]
    rate = rows / (time.process_time() - started)
    fitting = np.mean([np.mean(np.asarray(f) <= known["full"].finetune.hardware.memory_bytes.value) for f in found])
    started = time.process_time()
    worst = 0.0
    for i in range(ALONE):
        (m, z, r), row = groups[i % len(groups)], drawn[i % len(groups)]
        one = float(sized(*parts[m], {k: float(v[i]) for k, v in row.items()}, z, r))
        worst = max(worst, abs(one / float(np.asarray(found[i % len(groups)])[i]) - 1.0))
    alone = ALONE / (time.process_time() - started)
    print(f"{rate:,.0f} configurations/s on one core, {rate / BAR:.1f} times the bar; {100 * fitting:.0f} % of "
          f"{rows:,} fit {FLEET}")
    print(f"{alone:,.0f} a second one by one; largest relative difference {worst:.1e}; this machine starts Python "
          f"in {1000 * start_s():.0f} ms of CPU ({start_s() / START_S:.1f} times the reference)")


if __name__ == "__main__":
    main()
