"""The best layout for an aim out of all that are legal: memory first, then time, in cached chunks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from msgspec import Struct, field
from numpy.typing import NDArray

from outlay.architecture import Architecture
from outlay.derive import value_of
from outlay.planner.layouts.errors import require_layouts
from outlay.planner.layouts.pareto import RunningFront, front, order, rounded, smallest
from outlay.planner.layouts.space import RECOMPUTE, Block, Space, given_fields
from outlay.steps.inputs import Hardware, Layout, Recipe

if TYPE_CHECKING:
    from outlay.scenario import Layout as GivenLayout

Floats = NDArray[np.float64]
CHUNK_ROWS = 16_384  # a hundred live columns of 128 KiB stream through the second-level cache
TIE_FIELDS = ("pipeline", "tensor", "context", "expert", "virtual_pipeline", "expert_tensor", "micro_batch")


class Evaluator(Protocol):
    """Memory and time of layouts; `block` is whole, so that what rows share is worked out once."""

    def floor_bytes(self, block: Block) -> Floats:
        """A lower bound of memory, cheap."""

    def memory_bytes(self, block: Block, rows: NDArray[np.int64] | slice) -> Floats:
        """Memory of the fullest device."""

    def host_short_bytes(self, block: Block, rows: NDArray[np.int64] | slice) -> Floats | None:
        """What a device's share of the host is too small by; None where the host holds every layout."""

    def times(self, block: Block, rows: NDArray[np.int64] | slice) -> Mapping[str, Floats]:
        """step_time_s; compute_activity and memory_activity where the aim is not the time."""


class Objective(Struct, frozen=True):
    """What to minimise: a step's time, or device-seconds times what one costs at the step's activities."""

    name: str = "time"
    per_device_s: Callable[[Mapping[str, Floats]], Floats] | None = None

    def of(self, times: Mapping[str, Floats], devices: int | Floats) -> Floats:
        """The aim's value for one step; also for a single layout's floats."""
        if self.per_device_s is None:
            return times["step_time_s"]
        return times["step_time_s"] * devices * self.per_device_s(times)


class Limits(Struct, frozen=True):
    """Longest step, and the most another aim may cost for one step (a budget), both None when free.

    memory_share is the part of the device's memory a layout may fill.
    """

    step_time_s: float | None = None
    budget: tuple[Objective, float] | None = None
    memory_share: float = 1.0

    @property
    def memory_only(self) -> bool:
        return self.step_time_s is None and self.budget is None


class Choice(Struct, frozen=True):
    """One layout with what the search found of it, all of one step."""

    layout: Layout
    value: float
    step_time_s: float
    memory_bytes: float
    within_limits: bool = True


class SearchResult(Struct, frozen=True):
    """best is empty when nothing fits; smallest is then, and only then, the layout that comes closest."""

    best: tuple[Choice, ...]
    front: tuple[Choice, ...]
    smallest: Choice | None
    legal: int
    fitting: int
    rules: tuple[str, ...] = ()
    objective: str = "time"

    @property
    def chosen(self) -> Choice:
        """The best, or the layout that comes closest."""
        found = self.best[0] if self.best else self.smallest
        assert found is not None
        return found

    @property
    def within_limits(self) -> bool:
        return bool(self.best) and self.best[0].within_limits


def _empty_columns() -> dict[str, list[Floats]]:
    return {name: [] for name in ("block", "row", "value", "step_time_s", "memory_bytes", "within")}


class Pool(Struct, eq=False):
    """Candidates kept while blocks stream by: columns of plain numbers and where each came from."""

    columns: dict[str, list[Floats]] = field(default_factory=_empty_columns)
    front: RunningFront | None = None

    def on_front(self, step: Floats, value: Floats, memory: Floats) -> NDArray[np.int64]:
        """Candidates for the front of (time, memory), or of three aims when the value is not the time."""
        aims = (step, memory) if value is step else (step, value, memory)
        self.front = self.front or RunningFront(len(aims))
        return self.front.add(*aims)

    def add(self, block: int, rows: NDArray[np.int64], **values: Floats) -> None:
        for name, column in (("block", np.full(len(rows), float(block))), ("row", rows.astype(np.float64)),
                             *values.items()):
            self.columns[name].append(column)

    def joined(self) -> dict[str, Floats]:
        return {name: np.concatenate(parts) if parts else np.empty(0) for name, parts in self.columns.items()}


def search(arch: Architecture, hw: Hardware, recipe: Recipe,
           fixed: GivenLayout | Mapping[str, Any] | None = None, *, objective: Objective | None = None,
           limits: Limits | None = None, top: int = 5, path: str = "pretrain",
           evaluator: Evaluator | None = None) -> SearchResult:
    """Rank every legal layout that holds the given fields; numbers are nominal, per step.

    Raises Inconsistent when the given fields leave no legal layout. Ties go to the simpler layout.
    """
    given = dict(fixed) if isinstance(fixed, Mapping) else given_fields(fixed)
    space = require_layouts(arch, hw, recipe, given, path)
    if evaluator is None:
        from outlay.planner.layouts.evaluate import StepEvaluator

        evaluator = StepEvaluator(arch, hw, recipe, space)
    return rank(space, hw, evaluator, objective or Objective(), limits or Limits(), top)


def anything_fits(arch: Architecture, hw: Hardware, recipe: Recipe, given: Mapping[str, Any]) -> bool:
    """Whether some legal layout that holds the given fields fits; those that save most memory are tried first.

    Raises Inconsistent when the given fields leave no legal layout.
    """
    from outlay.planner.layouts.evaluate import StepEvaluator

    space = require_layouts(arch, hw, recipe, given)
    evaluator, capacity = StepEvaluator(arch, hw, recipe, space), value_of(hw.memory_bytes)
    for block in sorted(space, key=lambda b: (b.zero, RECOMPUTE.index(b.recompute), b.sequence_parallel), reverse=True):
        rows = np.flatnonzero(evaluator.floor_bytes(block) <= capacity)
        for chunk in row_chunks(rows):
            fits, lacking = evaluator.memory_bytes(block, chunk) <= capacity, evaluator.host_short_bytes(block, chunk)
            if np.any(fits if lacking is None else fits & (lacking <= 0)):
                return True
    return False


def fits_within(evaluator: Evaluator, block: Block, hw: Hardware, limits: Limits) -> NDArray[np.bool_]:
    """Which layouts of a block fit the device and the host."""
    whole = slice(0, len(block))
    fits: NDArray[np.bool_] = evaluator.memory_bytes(block, whole) <= value_of(hw.memory_bytes) * limits.memory_share
    lacking = evaluator.host_short_bytes(block, whole)
    return fits if lacking is None else fits & (lacking <= 0)


def rank(space: Space, hw: Hardware, evaluator: Evaluator, objective: Objective, limits: Limits,
         top: int) -> SearchResult:
    """Evaluate a space: a memory bound first, then memory, then the time of what fits."""
    capacity = value_of(hw.memory_bytes) * limits.memory_share
    pool, least = Pool(), (np.inf, 0, 0)
    fitting = 0
    for number, block in enumerate(space.blocks):
        rows = _possible(evaluator, block, capacity, least[0] if fitting == 0 else 0.0)
        for start in range(0, len(rows), CHUNK_ROWS):
            chunk = rows[start:start + CHUNK_ROWS]
            memory = evaluator.memory_bytes(block, _span(chunk))
            lacking = evaluator.host_short_bytes(block, _span(chunk))
            needed = memory if lacking is None else memory + lacking
            at = int(np.argmin(needed))
            if needed[at] < least[0]:
                least = (float(needed[at]), number, int(chunk[at]))
            fits = memory <= capacity if lacking is None else (memory <= capacity) & (lacking <= 0)
            if not fits.any():
                continue
            chunk, memory = chunk[fits], memory[fits]
            times = evaluator.times(block, _span(chunk))
            fitting += len(chunk)
            _keep_promising(pool, number, chunk, memory, times, objective, limits, hw.devices, top)
    found = pool.joined()
    best, pareto = select(space, found, top)
    closest = None if best else _smallest(space, evaluator, least, objective, hw.devices)
    return SearchResult(best, pareto, closest, len(space), fitting, space.rules, objective.name)


def _possible(evaluator: Evaluator, block: Block, capacity: float, least: float) -> NDArray[np.int64]:
    """Rows whose memory bound is no more than the capacity; else the closest, where it may be under `least`."""
    if np.isinf(capacity):
        return np.arange(len(block))
    floor = evaluator.floor_bytes(block)
    rows = np.flatnonzero(floor <= capacity)
    return rows if len(rows) or floor.min() >= least else smallest(floor, 1)[:64]


def row_chunks(rows: NDArray[np.int64]) -> Iterator[NDArray[np.int64] | slice]:
    """Few enough rows at a time to stay in the cache."""
    for start in range(0, len(rows), CHUNK_ROWS):
        yield _span(rows[start:start + CHUNK_ROWS])


def _span(rows: NDArray[np.int64]) -> NDArray[np.int64] | slice:
    """Rows without a gap as a slice, which copies nothing."""
    first, last = int(rows[0]), int(rows[-1])
    return slice(first, last + 1) if last - first + 1 == len(rows) else rows


def _keep_promising(pool: Pool, number: int, rows: NDArray[np.int64], memory: Floats,
                    times: Mapping[str, Floats], objective: Objective, limits: Limits, devices: int,
                    top: int) -> None:
    """Of one chunk, only what can still be among the best or on the front."""
    step = times["step_time_s"]
    value = objective.of(times, devices)
    within = np.ones(len(rows), dtype=bool)
    if limits.step_time_s is not None:
        within &= step <= limits.step_time_s
    if limits.budget is not None:
        within &= limits.budget[0].of(times, devices) <= limits.budget[1]
    kept = [smallest(np.where(within, value, np.inf), top), smallest(value, top), smallest(step, top),
            pool.on_front(step, value, memory)]
    chosen = np.zeros(len(rows), dtype=bool)
    chosen[np.concatenate(kept)] = True
    keep = np.flatnonzero(chosen)
    pool.add(number, rows[keep], value=value[keep], step_time_s=step[keep], memory_bytes=memory[keep],
             within=within[keep].astype(np.float64))


def select(space: Space, found: dict[str, Floats],
            top: int) -> tuple[tuple[Choice, ...], tuple[Choice, ...]]:
    """The best few and the front (time, aim, memory) of what was kept."""
    if not len(found["row"]):
        return (), ()
    where = zip(found["block"], found["row"], strict=True)
    ties = list(np.array([_simplicity(space, int(block), int(row)) for block, row in where]).T)
    ranked = order(found["value"], ties)
    ranked = ranked[np.argsort(-found["within"][ranked], kind="stable")]
    aims = [rounded(found[name]) for name in ("step_time_s", "value", "memory_bytes")]
    shape = np.lexsort((*ties[::-1],))  # simpler first, so that of equals the simpler stays on the front
    edge = shape[front(np.column_stack(aims)[shape])]

    def choice(i: int) -> Choice:
        layout = space.blocks[int(found["block"][i])].layout(int(found["row"][i]))
        value, step, memory = (float(found[name][i]) for name in ("value", "step_time_s", "memory_bytes"))
        return Choice(layout, value, step, memory, bool(found["within"][i]))

    return tuple(choice(i) for i in ranked[:top]), tuple(choice(i) for i in edge)


def _simplicity(space: Space, block: int, row: int) -> tuple[float, ...]:
    """Smaller is simpler: fewer ways of splitting, then less recomputation, sharding and smaller degrees."""
    here = space.blocks[block]
    degrees = [float(here.columns[name][row]) for name in TIE_FIELDS]
    splits = sum(d > 1 for d in degrees[:-1])
    return (float(splits), float(RECOMPUTE.index(here.recompute)), float(here.zero),
            float(here.schedule_of(row) != "1f1b"), float(here.sequence_parallel), *degrees,
            float(here.columns["shard"][row]))


def _smallest(space: Space, evaluator: Evaluator, least: tuple[float, int, int], objective: Objective,
              devices: int) -> Choice:
    _, number, row = least
    block, only = space.blocks[number], np.array([row])
    times = evaluator.times(block, only)
    value, step = float(objective.of(times, devices)[0]), float(times["step_time_s"][0])
    return Choice(block.layout(row), value, step, float(evaluator.memory_bytes(block, only)[0]))
