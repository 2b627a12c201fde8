"""Memory and time of many layouts by the same compositions as an explained plan, at nominal inputs.

Much of a layout's time depends on few distinct tuples of its fields; those are evaluated once for the whole
space and gathered to the rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import NDArray

from outlay.architecture import Architecture
from outlay.derive import Quantity
from outlay.model_size import layer_parts
from outlay.physics.memory import expert_data_group, expert_parameters, state_bytes
from outlay.planner.layouts.errors import require_layouts
from outlay.planner.layouts.space import Block, Space, given_fields
from outlay.steps.inputs import Hardware, Layout, Recipe
from outlay.steps.train.memory import (
    LAYER_COLUMNS,
    STAGE_COLUMNS,
    MemoryResult,
    Placed,
    candidate_places,
    memory_of_stages,
    micro_batch_memory,
    spread,
    train_memory,
)
from outlay.steps.train.memory_policy import policy_of
from outlay.steps.train.memory_stage import MicroBatch
from outlay.steps.train.time import MICRO_FIELDS, schedule_time, train_time
from outlay.steps.train.time_micro import micro_batch_time
from outlay.steps.train.time_model import model_times

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]
Some = Rows | slice
Places = NDArray[np.intp]  # native: a gather through 32-bit indices converts them for every column
MOST_CODES = 8_000_000  # a look-up table over this many combinations is still small; beyond it, sort


def nominal(value: Any) -> Any:
    """The same inputs without intervals or lineage: every Quantity becomes its value.

    >>> from outlay.derive import exact
    >>> nominal({"a": (exact(2.0, "s", "a"), 3)})
    {'a': (2.0, 3)}
    """
    if isinstance(value, Quantity):
        return value.value
    if isinstance(value, Mapping):
        return {key: nominal(part) for key, part in value.items()}
    if isinstance(value, tuple):
        return tuple(nominal(part) for part in value)
    if isinstance(value, Struct):
        return replace(value, **{name: nominal(getattr(value, name)) for name in value.__struct_fields__})
    return value


def one_layout(arch: Architecture, hw: Hardware, recipe: Recipe, layout: Layout) -> tuple[float, float]:
    """(bytes on the fullest device, seconds of a step) of a single layout, at nominal inputs.

    Raises Inconsistent when the layout is not legal.
    """
    require_layouts(arch, hw, recipe, layout_fields(layout))
    plain_hw, plain_recipe = nominal(hw), nominal(recipe)
    memory = train_memory(arch, plain_hw, plain_recipe, layout).memory_per_device_bytes
    return _float(memory), _float(train_time(arch, plain_hw, plain_recipe, layout)["step_time_s"])


def layout_fields(layout: Layout) -> dict[str, Any]:
    """A whole layout as given fields; what has no meaning in it (a shard group under ZeRO 0) is left out."""
    given = given_fields(layout)
    if not layout.zero:
        given.pop("shard")
    return given


def _float(value: Any) -> float:
    return float(value)


class StepEvaluator:
    """Evaluates the rows of one space; what they share is kept while it lives."""

    def __init__(self, arch: Architecture, hw: Hardware, recipe: Recipe, space: Space) -> None:
        self.arch, self.hw, self.recipe = arch, nominal(hw), nominal(recipe)
        self._tuples = {parallel: distinct_tuples([b for b in space if b.sequence_parallel == parallel],
                                                  MICRO_FIELDS)
                        for parallel in {block.sequence_parallel for block in space}}
        self._layer_tuples, self._layer_places = distinct_tuples(space, LAYER_COLUMNS)
        self._stages = {schedule: distinct_tuples([b for b in space if b.schedule == schedule], STAGE_COLUMNS)
                        for schedule in {block.schedule for block in space}}
        self._policy = policy_of(arch, self.recipe)
        self._batches: dict[tuple[str, bool], MicroBatch] = {}
        self._placed: dict[tuple[str, int], list[Placed]] = {}
        self._micro: dict[tuple[str, bool], Mapping[str, Any]] = {}
        self._experts = float(sum(layer_parts(kind, arch.hidden, arch.norm).experts * count
                                  for kind, count in arch.groups))

    def floor_bytes(self, block: Block) -> Floats:
        """Model states of a mean stage, all that can be split taken as split: never above the memory."""
        at: Any = block.layout()
        recipe = self.recipe
        dense = (self.arch.parameters - self._experts) / (at.tensor * at.pipeline)
        experts = expert_parameters(self._experts, at.expert, at.expert_tensor) / at.pipeline
        group = at.context * at.shard
        same = expert_data_group(at.tensor, at.context, np.minimum(at.shard, at.data), at.expert,
                                 at.expert_tensor)
        kept: Any = 0.0
        kinds = ((3, recipe.weight_bytes, recipe.offload != "all"), (2, recipe.gradient_bytes, True),
                 (1, recipe.master_bytes + recipe.optimizer_bytes, recipe.offload == "none"))
        for stage, each, on_device in kinds:
            if on_device:
                split = block.zero >= stage
                kept = kept + (state_bytes(dense, each, group if split else 1)
                               + state_bytes(experts, each, same if split else 1))
        floor: Floats = np.asarray(kept * min(float(recipe.options.get("memory_residual", 1.0)), 1.0))
        return np.broadcast_to(floor, (len(block),))

    def memory_bytes(self, block: Block, rows: Some) -> Floats:
        return np.asarray(self._memory(block, rows).memory_per_device_bytes)

    def host_short_bytes(self, block: Block, rows: Some) -> Floats | None:
        """None where nothing is offloaded: the host then holds the same under every layout."""
        if self.recipe.offload == "none" or not self.hw.host_memory_bytes:
            return None
        found = np.asarray(self._memory(block, rows).host_memory_bytes)
        share = np.maximum(found - self.hw.host_memory_bytes, 0.0) / min(self.hw.devices_per_node, self.hw.devices)
        return np.broadcast_to(share, block.columns["tensor"][rows].shape)

    def _memory(self, block: Block, rows: Some) -> MemoryResult:
        key = id(block.columns)
        batch: Any = _Rows(self._batch_of(block), self._layer_places[key][rows])
        where = self._stages[block.schedule][1][key][rows]
        placed: list[Any] = [_Rows(place, where) for place in self._placed_of(block)]
        return memory_of_stages(self.hw, self.recipe, block.layout(rows), self._policy, batch, placed)

    def _batch_of(self, block: Block) -> MicroBatch:
        key = (block.recompute, block.sequence_parallel)
        if key not in self._batches:
            few = _with_columns(block, self._layer_tuples)
            self._batches[key] = micro_batch_memory(self.arch, self.recipe, few, self._policy)
        return self._batches[key]

    def _placed_of(self, block: Block) -> list[Placed]:
        key = (block.schedule, block.zero)
        if key not in self._placed:
            few = _with_columns(block, self._stages[block.schedule][0])
            self._placed[key] = candidate_places(self.arch, self.recipe, few, self._policy)
        return self._placed[key]

    def times(self, block: Block, rows: Some) -> Mapping[str, Floats]:
        which = self._tuples[block.sequence_parallel][1][id(block.columns)][rows]
        hw: Any = self.hw if block.devices is None else replace(self.hw, devices=block.devices[rows])
        times: Any = schedule_time(self.arch, hw, self.recipe, block.layout(rows),
                                   _Gathered(self._micro_of(block), which))
        found: Mapping[str, Floats] = times
        return found

    def _micro_of(self, block: Block) -> Mapping[str, Any]:
        key = (block.recompute, block.sequence_parallel)
        if key not in self._micro:
            tuples: dict[str, Any] = dict(self._tuples[block.sequence_parallel][0])
            self._micro[key] = model_times(self.arch, micro_batch_time(
                self.arch, self.hw, self.recipe, **tuples, sequence_parallel=block.sequence_parallel,
                recompute=block.recompute))
        return self._micro[key]


def _with_columns(block: Block, columns: Mapping[str, Floats]) -> Layout:
    """A layout of a block's categories with some columns; the others are those of its first row."""
    changed: dict[str, Any] = dict(columns)
    return replace(block.layout(0), **changed)


class _Rows:
    """A record of distinct tuples, its arrays brought to the rows when first asked for."""

    def __init__(self, few: Any, where: NDArray[np.intp]) -> None:
        self._few, self._where = few, where

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._few, name)
        found = _Rows(value, self._where) if isinstance(value, Struct) else spread(value, self._where)
        setattr(self, name, found)
        return found


class _Gathered(dict[str, Any]):
    """Columns of the distinct tuples, brought to the rows when first asked for."""

    def __init__(self, few: Mapping[str, Any], which: NDArray[np.intp]) -> None:
        super().__init__()
        self._few, self._which = few, which

    def __missing__(self, name: str) -> Any:
        value = self._few[name]
        self[name] = value.take(self._which) if isinstance(value, np.ndarray) and value.ndim else value
        return self[name]


def distinct_tuples(space: Iterable[Block],
                    names: tuple[str, ...]) -> tuple[dict[str, Floats], dict[int, Places]]:
    """Distinct tuples of some columns over blocks, and for each table which tuple a row has."""
    tables = {id(block.columns): block.columns for block in space}
    values = {name: _few_values([columns[name] for columns in tables.values()]) for name in names}
    size = int(np.prod([float(len(v)) for v in values.values()]))
    codes = {key: _codes(columns, values) for key, columns in tables.items()}
    if size <= MOST_CODES:
        seen = np.zeros(size, dtype=bool)
        for code in codes.values():
            seen[code] = True
        found = np.flatnonzero(seen)
        place = np.cumsum(seen, dtype=np.intp) - 1
        places = {key: place[code] for key, code in codes.items()}
    else:
        found = np.unique(np.concatenate([np.unique(code) for code in codes.values()]))
        places = {key: np.searchsorted(found, code) for key, code in codes.items()}
    parts = np.unravel_index(found, [len(v) for v in values.values()])
    tuples = {name: values[name][part].astype(np.float64) for name, part in zip(names, parts, strict=True)}
    return tuples, places


def _few_values(columns: list[Floats]) -> Rows:
    """Distinct values of columns of small positive whole numbers, without sorting them."""
    seen = np.zeros(max(int(column.max(initial=0)) for column in columns) + 1, dtype=bool)
    for column in columns:
        seen[column.astype(np.intp)] = True
    return np.flatnonzero(seen)


def _codes(columns: Mapping[str, Floats], values: Mapping[str, Rows]) -> Rows:
    code = np.zeros(len(next(iter(columns.values()))), dtype=np.int64)
    for name, known in values.items():
        place = np.zeros(int(known[-1]) + 1, dtype=np.int64)
        place[known] = np.arange(len(known))
        code *= len(known)
        code += place[columns[name].astype(np.intp)]
    return code
