"""One measurement of the layout search, in a process of its own; the argument is JSON, the answer too."""

from __future__ import annotations

import json
import sys
import time
from typing import Any


def inputs(scenario: dict[str, Any]) -> tuple[Any, Any, Any]:
    """Architecture, hardware and recipe, resolved as for any plan."""
    from outlay.catalog import load
    from outlay.planner.layouts.evaluate import nominal
    from outlay.resolve import resolve
    from outlay.scenario_io import scenario_from

    resolved = resolve(scenario_from(scenario), load())
    assert resolved.architecture is not None and resolved.pretrain is not None
    return resolved.architecture, nominal(resolved.hardware), nominal(resolved.pretrain.recipe)


def run_search(arch: Any, hw: Any, recipe: Any) -> dict[str, Any]:
    from outlay.planner.layouts.search import search

    found = search(arch, hw, recipe)
    return {"legal": found.legal, "fitting": found.fitting}


def run_every(arch: Any, hw: Any, recipe: Any) -> dict[str, Any]:
    """Nothing pruned: with unlimited memory everything fits, so everything is timed."""
    from outlay.planner.layouts.search import Limits, search

    found = search(arch, hw, recipe, limits=Limits(memory_share=float("inf")))
    assert found.fitting == found.legal
    return {"legal": found.legal, "fitting": found.fitting}


def run_sustained(arch: Any, hw: Any, recipe: Any, seconds: float) -> dict[str, Any]:
    """The whole space again and again for some seconds, enumeration included, nothing kept between rounds."""
    done, started, cpu = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - started < seconds:
        done += run_every(arch, hw, recipe)["legal"]
    return {"per_s": done / (time.perf_counter() - started), "per_cpu_s": done / (time.process_time() - cpu)}


def run_equal(arch: Any, hw: Any, recipe: Any, rows: int = 1000) -> dict[str, Any]:
    """A random sample against the scalar plan."""
    import numpy as np

    from outlay.planner.layouts.evaluate import StepEvaluator, one_layout
    from outlay.planner.layouts.space import layout_space

    space = layout_space(arch, hw, recipe)
    evaluator = StepEvaluator(arch, hw, recipe, space)
    sizes = np.cumsum([len(block) for block in space])
    largest = 0.0
    for number in np.random.default_rng(0).choice(int(sizes[-1]), rows, replace=False):
        at = int(np.searchsorted(sizes, number, side="right"))
        block, row = space.blocks[at], np.array([int(number - (sizes[at - 1] if at else 0))])
        memory, step = one_layout(arch, hw, recipe, block.layout(int(row[0])))
        largest = max(largest, abs(float(evaluator.memory_bytes(block, row)[0]) / memory - 1),
                      abs(float(evaluator.times(block, row)["step_time_s"][0]) / step - 1))
    return {"rows": rows, "largest": largest}


def main() -> None:
    asked = json.loads(sys.argv[1])
    given = inputs(asked["scenario"])
    if asked["mode"] == "search":
        answer = run_search(*given)
    elif asked["mode"] == "every":
        answer = run_every(*given)
    elif asked["mode"] == "sustained":
        answer = run_sustained(*given, asked["seconds"])
    else:
        answer = run_equal(*given)
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
