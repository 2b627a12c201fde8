"""The best layout on each of several fleet sizes in one pass: what rows of all sizes share is worked out once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from msgspec.structs import replace

from outlay.architecture import Architecture
from outlay.errors import OutlayError
from outlay.planner.layouts.errors import require_layouts
from outlay.planner.layouts.evaluate import StepEvaluator
from outlay.planner.layouts.pareto import smallest
from outlay.planner.layouts.search import Choice, Limits, Objective, Pool, row_chunks, search, select
from outlay.planner.layouts.space import RECOMPUTE, Block, Space
from outlay.planner.trials import capacity_bytes
from outlay.steps.inputs import Hardware, Recipe

Found = dict[int, "Choice | OutlayError | None"]


def best_on_fleets(arch: Architecture, hw: Hardware, recipe: Recipe, sizes: Sequence[int], objective: Objective,
                   memory_share: float = 1.0) -> Found:
    """Of each size the best layout as `search` ranks it, None where nothing fits, the error where none is legal."""
    found: Found = dict.fromkeys(sizes)
    if recipe.offload != "none":  # what the host of a node holds depends on the fleet: one by one
        for size in sizes:
            try:
                result = search(arch, replace(hw, devices=size), recipe, objective=objective, top=1,
                                limits=Limits(memory_share=memory_share))
                found[size] = result.best[0] if result.best else None
            except OutlayError as error:
                found[size] = error
        return found
    spaces: dict[int, Space] = {}
    for size in sizes:
        try:
            spaces[size] = require_layouts(arch, replace(hw, devices=size), recipe, {})
        except OutlayError as error:
            found[size] = error
    space = _together(spaces)
    if not len(space):
        return found
    capacity = capacity_bytes(hw) * memory_share
    pools = _ranked(space, StepEvaluator(arch, hw, recipe, space), capacity, list(spaces), objective)
    return found | {size: best[0] for size, pool in pools.items() if (best := select(space, pool.joined(), 1)[0])}


def _together(spaces: dict[int, Space]) -> Space:
    """Blocks of one category over all sizes; recomputation shares their columns, as in one space."""
    tables: dict[tuple[int, str, bool], list[tuple[int, Block]]] = {}
    for size, space in spaces.items():
        for block in space:
            if block.recompute == RECOMPUTE[0]:
                tables.setdefault((block.zero, block.schedule, block.sequence_parallel), []).append((size, block))
    blocks = []
    for (zero, schedule, parallel), parts in tables.items():
        columns = {name: np.concatenate([block.columns[name] for _, block in parts]) for name in parts[0][1].columns}
        devices = np.concatenate([np.full(len(block), float(size)) for size, block in parts])
        blocks += [Block(zero, schedule, recompute, parallel, columns, devices=devices) for recompute in RECOMPUTE]
    return Space(tuple(blocks), ())


def _ranked(space: Space, evaluator: StepEvaluator, capacity: float, sizes: list[int],
            objective: Objective) -> dict[int, Pool]:
    """Of each size the candidates for its best."""
    pools = {size: Pool() for size in sizes}
    for number, block in enumerate(space):
        assert block.devices is not None
        for chunk in row_chunks(np.flatnonzero(evaluator.floor_bytes(block) <= capacity)):
            memory = evaluator.memory_bytes(block, chunk)
            fits = memory <= capacity
            rows = np.arange(len(block))[chunk][fits]
            memory = memory[fits]
            if not len(rows):
                continue
            devices = block.devices[rows]
            times = evaluator.times(block, rows)
            step, value = times["step_time_s"], objective.of(times, devices)
            for size in np.unique(devices):
                of_size = np.flatnonzero(devices == size)
                kept = of_size[smallest(value[of_size], 1)]
                pools[int(size)].add(number, rows[kept], value=value[kept], step_time_s=step[kept],
                                     memory_bytes=memory[kept], within=np.ones(len(kept)))
    return pools
