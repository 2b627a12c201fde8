"""How many serving configurations a second one core sizes, layouts, lengths and settings varied together.

    python benchmarks/serve_memory.py [ROWS]
"""

from __future__ import annotations

import sys
import time

import numpy as np
from msgspec.structs import replace

from outlay.catalog import load
from outlay.planner.serve.trial import nominal_recipe
from outlay.resolve import resolve
from outlay.scenario_io import scenario_from
from outlay.steps.serve.inputs import ServeLayout
from outlay.steps.serve.memory import serve_memory

SCENARIO = {"model": "deepseek-v3", "fleet": "8xh200-sxm-141gb", "serve": {"tensor": 8}}
USABLE_BYTES = 139 * 2**30


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 500_000
    resolved = resolve(scenario_from(SCENARIO), load())
    assert resolved.serve is not None
    assert resolved.architecture is not None
    draw = np.random.default_rng(0)
    recipe = replace(
        nominal_recipe(resolved.serve.recipe),
        max_model_len=draw.integers(1024, 131072, rows).astype(float),
        memory_utilization=draw.uniform(0.5, 0.97, rows),
        max_num_batched_tokens=draw.integers(512, 16384, rows).astype(float),
        max_num_seqs=draw.integers(16, 1024, rows).astype(float),
    )
    layout = ServeLayout(tensor=2.0 ** draw.integers(0, 4, rows))
    started = time.process_time()
    memory = serve_memory(resolved.architecture, USABLE_BYTES, recipe, layout)
    rate = rows / (time.process_time() - started)
    fitting = float(np.mean(np.asarray(memory.max_concurrency) >= 1))
    print(f"{rate:,.0f} configurations/s on one core; {100 * fitting:.0f} % hold a longest request")


if __name__ == "__main__":
    main()
