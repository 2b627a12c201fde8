"""Memory of one training step on every pipeline stage, tensor by tensor.

The same lines serve a scalar plan (all stages), an explained plan (`Quantity` inputs) and a search over arrays
(first, second and last stage). Under a search the costly parts are evaluated once for each distinct
(tensor, context, expert, expert tensor, micro-batch) and (tensor, pipeline, virtual pipeline).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from outlay.architecture import Architecture, LayerKind
from outlay.derive import Quantity, derive
from outlay.steps.inputs import Hardware, Layout, Recipe
from outlay.steps.layers import Split
from outlay.steps.memory_layers import LayerBytes, layer_bytes
from outlay.steps.memory_policy import MemoryPolicy, policy_of
from outlay.steps.memory_stage import PARTS, StageMemory, stage_memory
from outlay.steps.memory_states import Stage, stage_of, states_of

Value = Any  # a number, an array or a Quantity

__all__ = ["PARTS", "MemoryResult", "StageMemory", "train_memory"]
_LAYER_COLUMNS = ("tensor", "context", "expert", "expert_tensor", "micro_batch")
_STAGE_COLUMNS = ("tensor", "pipeline", "virtual_pipeline")


@dataclass(frozen=True, eq=False, slots=True)
class MemoryResult:
    """Stages first to last (of a search: first, second and last) and the fullest, which is the headline."""

    stages: tuple[StageMemory, ...]
    fullest: StageMemory
    host_memory_bytes: Value

    @property
    def memory_per_device_bytes(self) -> Value:
        return self.fullest.memory_per_device_bytes

    @property
    def parts(self) -> Mapping[str, Value]:
        return self.fullest.parts

    @property
    def memory_peak_moment(self) -> Any:
        return self.fullest.memory_peak_moment


def train_memory(arch: Architecture, hw: Hardware, recipe: Recipe, layout: Layout) -> MemoryResult:
    """Memory of one device on every stage, the fullest stage, and the host memory of a node."""
    policy = policy_of(arch, recipe)
    searching = any(
        isinstance(getattr(layout, c), np.ndarray) for c in (*_LAYER_COLUMNS, *_STAGE_COLUMNS, "data")
    )
    micro_batches = derive(
        _micro_batches,
        "micro-batches a step",
        "",
        global_batch=float(recipe.global_batch),
        data=layout.data,
        micro_batch=layout.micro_batch,
    )
    split, layers = _layers(arch, recipe, layout, policy, searching)
    results, hosts = [], []
    for index in _stage_indices(layout, arch, searching):
        stage = _stage(arch, layout, index, policy, searching)
        states = states_of(stage, recipe, layout, policy)
        results.append(
            stage_memory(arch, recipe, layout, stage, states, layers, split, policy, micro_batches)
        )
        hosts.append(states.host)
    fullest = (
        _fullest_of_arrays(results)
        if searching
        else max(results, key=lambda r: _nominal(r.memory_per_device_bytes))
    )
    host = derive(
        _host_bytes,
        "host memory of a node",
        "bytes",
        offloaded=hosts[0],
        devices=min(hw.devices_per_node, hw.devices),
        process=policy.constants.host_process_bytes,
        factor=policy.constants.host_copy_factor,
    )
    return MemoryResult(tuple(results), fullest, host)


def _stage_indices(layout: Layout, arch: Architecture, searching: bool) -> list[Value]:
    if not searching:
        return [float(r) for r in range(max(1, int(_nominal(layout.pipeline))))]
    pipeline = np.asarray(layout.pipeline, dtype=float)
    ends: list[Value] = [np.zeros_like(pipeline), pipeline - 1.0]
    alike = len(arch.groups) == 1 and not layout.first_stage_layers and not layout.last_stage_layers
    if not alike or np.any(arch.layers % (pipeline * layout.virtual_pipeline)):
        ends.insert(1, np.minimum(1.0, pipeline - 1.0))
    return ends


def _layers(
    arch: Architecture, recipe: Recipe, layout: Layout, policy: MemoryPolicy, searching: bool
) -> tuple[Split, dict[LayerKind, LayerBytes]]:
    """Bytes of each kind of layer, and how a micro-batch is cut, for every row of the layout."""
    if not searching:
        split = _split(recipe, layout)
        return split, {
            kind: layer_bytes(kind, arch, recipe, split, layout.recompute, policy) for kind, _ in arch.groups
        }
    columns, inverse = distinct_rows(*(getattr(layout, c) for c in _LAYER_COLUMNS))
    few = replace(layout, **dict(zip(_LAYER_COLUMNS, columns, strict=True)))
    narrow = _split(recipe, few)
    table = {
        kind: layer_bytes(kind, arch, recipe, narrow, layout.recompute, policy) for kind, _ in arch.groups
    }
    return _split(recipe, layout), {
        k: LayerBytes(_spread(b.kept, inverse), _spread(b.working, inverse)) for k, b in table.items()
    }


def _split(recipe: Recipe, layout: Layout) -> Split:
    tokens = derive(
        _micro_batch_tokens,
        "tokens of a micro-batch on a rank",
        "",
        micro_batch=layout.micro_batch,
        sequence=float(recipe.sequence_length),
        context=layout.context,
    )
    return Split(
        tokens, layout.tensor, layout.context, layout.expert, layout.expert_tensor, layout.sequence_parallel
    )


def _stage(arch: Architecture, layout: Layout, index: Value, policy: MemoryPolicy, searching: bool) -> Stage:
    if not searching:
        return stage_of(arch, layout, index, policy)
    columns, inverse = distinct_rows(*(getattr(layout, c) for c in _STAGE_COLUMNS), index)
    few = replace(layout, **dict(zip(_STAGE_COLUMNS, columns[:-1], strict=True)))
    stage = stage_of(arch, few, columns[-1], policy)
    return Stage(index, _spread(stage.first, inverse), _spread(stage.last, inverse),
                 tuple((kind, _spread(count, inverse)) for kind, count in stage.counts),
                 *(_spread(v, inverse) for v in (stage.split, stage.tables, stage.replicated, stage.experts)))


def distinct_rows(*columns: Any) -> tuple[list[Any], Any]:
    """Distinct rows of equal-length columns, and where each original row is found among them.

    >>> (a, b), inverse = distinct_rows(np.array([2, 2, 4]), np.array([1, 1, 8]))
    >>> a.tolist(), b.tolist(), inverse.tolist()
    ([2.0, 4.0], [1.0, 8.0], [0, 0, 1])
    """
    shaped = [np.asarray(c, dtype=float) for c in np.broadcast_arrays(*columns)]
    key = np.zeros(shaped[0].shape, dtype=np.int64)
    for column in shaped:
        found, place = _few_values(column)
        key = key * len(found) + place
    _, first, inverse = _unique_keys(key)
    return [column[first] for column in shaped], inverse


def _few_values(column: Any) -> tuple[Any, Any]:
    """Distinct values of a column of small whole numbers and their places, without sorting it."""
    whole = column.astype(np.int64)
    seen = np.zeros(int(whole.max()) + 1, dtype=bool)
    seen[whole] = True
    place = np.cumsum(seen) - 1
    return np.flatnonzero(seen), place[whole]


def _unique_keys(key: Any) -> tuple[Any, Any, Any]:
    if key.max() > 4_000_000:
        return np.unique(key, return_index=True, return_inverse=True)
    first_at = np.full(int(key.max()) + 1, -1, dtype=np.int64)
    first_at[key[::-1]] = np.arange(len(key) - 1, -1, -1)
    found = np.flatnonzero(first_at >= 0)
    place = np.empty(len(first_at), dtype=np.int64)
    place[found] = np.arange(len(found))
    return found, first_at[found], place[key]


def _spread(value: Any, inverse: Any) -> Any:
    return value[inverse] if isinstance(value, np.ndarray) and value.ndim else value


def _fullest_of_arrays(results: list[StageMemory]) -> StageMemory:
    """Row by row the stage with the most memory."""
    best = results[0]
    for other in results[1:]:
        more = np.asarray(other.memory_per_device_bytes) > np.asarray(best.memory_per_device_bytes)
        pick = partial(_row_by_row, more, other, best)
        best = StageMemory(
            pick("stage"),
            {p: np.where(more, other.parts[p], best.parts[p]) for p in PARTS},
            pick("memory_per_device_bytes"),
            pick("memory_allocated_bytes"),
            pick("memory_reserved_bytes"),
            pick("memory_resident_bytes"),
            pick("memory_peak_moment"),
        )
    return best


def _row_by_row(more: Any, other: StageMemory, best: StageMemory, name: str) -> Any:
    return np.where(more, getattr(other, name), getattr(best, name))


def _nominal(value: Any) -> float:
    return float(value.value) if isinstance(value, Quantity) else float(value)


def _micro_batches(global_batch: float, data: Value, micro_batch: Value) -> Value:
    """Micro-batches one pipeline runs in a step."""
    return np.maximum(global_batch / (data * micro_batch), 1.0)


def _micro_batch_tokens(micro_batch: Value, sequence: float, context: Value) -> Value:
    """Tokens of a micro-batch after the context split."""
    return micro_batch * sequence / context


def _host_bytes(offloaded: Value, devices: int, process: Value, factor: Value) -> Value:
    """Host memory of one node: each device's process and its offloaded states."""
    return devices * (process + offloaded * factor)
