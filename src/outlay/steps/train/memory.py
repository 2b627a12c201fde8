"""Memory of one training step on every pipeline stage, tensor by tensor.

The same lines serve a scalar plan (all stages), an explained plan (`Quantity` inputs) and a search over
arrays (the first, the first ordinary and the last stage). A search evaluates the costly parts once for each
distinct (tensor, context, expert tensor, micro-batch) and (tensor, pipeline, virtual pipeline, experts).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from typing import Any

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from outlay.architecture import Architecture
from outlay.derive import add_all, derive, value_of
from outlay.physics import memory as mem
from outlay.steps.distinct import distinct_rows
from outlay.steps.inputs import Hardware, Layout, Recipe
from outlay.steps.layers import Split
from outlay.steps.train.memory_buffers import alive_at_loss, kept_buffers, sharding_buffers
from outlay.steps.train.memory_layers import layer_bytes
from outlay.steps.train.memory_policy import MemoryPolicy, policy_of
from outlay.steps.train.memory_stage import PARTS, MicroBatch, PlaceBuffers, StageMemory, stage_memory
from outlay.steps.train.memory_states import Stage, stage_of, states_of

__all__ = ["PARTS", "MemoryResult", "StageMemory", "train_memory"]
Value = Any  # a number, an array or a Quantity
LAYER_COLUMNS = ("tensor", "context", "expert_tensor", "micro_batch")
STAGE_COLUMNS = ("tensor", "pipeline", "virtual_pipeline", "expert", "expert_tensor")


class MemoryResult(Struct, frozen=True, eq=False):
    """Stages first to last; of a search the first, the first ordinary and the last."""

    stages: tuple[StageMemory, ...]
    host_memory_bytes: Value

    @property
    def fullest(self) -> StageMemory:
        """The stage with the most memory, row by row in a search: the headline."""
        if isinstance(self.memory_per_device_bytes, np.ndarray):
            return _fullest_of_rows(self.stages)
        return max(self.stages, key=lambda stage: value_of(stage.memory_per_device_bytes))

    @property
    def memory_per_device_bytes(self) -> Value:
        sizes = [stage.memory_per_device_bytes for stage in self.stages]
        if any(isinstance(size, np.ndarray) and size.ndim for size in sizes):
            return reduce(np.maximum, sizes)
        return max(sizes, key=value_of)

    @property
    def parts(self) -> Mapping[str, Value]:
        return self.fullest.parts

    @property
    def memory_peak_moment(self) -> Any:
        return self.fullest.memory_peak_moment


class Placed(Struct, frozen=True, eq=False):
    """A stage and the buffers that its place alone decides."""

    stage: Stage
    buffers: PlaceBuffers


def train_memory(arch: Architecture, hw: Hardware, recipe: Recipe, layout: Layout) -> MemoryResult:
    """Memory of one device on every stage, the fullest stage, and the host memory of a node."""
    policy = policy_of(arch, recipe)
    given = [getattr(layout, name) for name in {*LAYER_COLUMNS, *STAGE_COLUMNS, "data", "shard"}]
    if any(isinstance(value, np.ndarray) for value in (*given, recipe.sequence_length)):
        batch, placed = _for_rows(arch, recipe, layout, policy)
    else:
        batch = micro_batch_memory(arch, recipe, layout, policy)
        stages = range(max(1, int(value_of(layout.pipeline))))
        placed = [_place(arch, recipe, layout, float(index), policy) for index in stages]
    return memory_of_stages(hw, recipe, layout, policy, batch, placed)


def memory_of_stages(hw: Hardware, recipe: Recipe, layout: Layout, policy: MemoryPolicy, batch: MicroBatch,
                     placed: list[Placed]) -> MemoryResult:
    """Put a micro-batch on the stages, with their states; batch and placed have the rows of layout."""
    micro_batches = derive(_micro_batches, "micro-batches a step", "",
                           global_batch=float(recipe.global_batch), data=layout.data,
                           micro_batch=layout.micro_batch)
    results, hosts = [], []
    for at in placed:
        states = states_of(at.stage, recipe, layout, policy)
        results.append(stage_memory(layout, at.stage, states, at.buffers, batch, policy, micro_batches))
        hosts.append(states.host)
        if policy.tuned is not None and policy.tuned.offload_activations:
            hosts[-1] = add_all("offloaded states and activations", "bytes", states.host, results[-1].offloaded)
    host = derive(_host_bytes, "host memory of a node", "bytes", offloaded=hosts[0],
                  devices=min(hw.devices_per_node, hw.devices), process=policy.constants.host_process_bytes,
                  factor=policy.constants.host_copy_factor)
    return MemoryResult(tuple(results), host)


def micro_batch_memory(arch: Architecture, recipe: Recipe, layout: Layout,
                       policy: MemoryPolicy) -> MicroBatch:
    """What a micro-batch keeps on a rank; LAYER_COLUMNS, recomputation and sequence parallelism decide it."""
    tokens = derive(_micro_batch_tokens, "tokens of a micro-batch on a rank", "",
                    micro_batch=layout.micro_batch, sequence=recipe.row_tokens, context=layout.context)
    split = Split(tokens, layout.tensor, layout.context, layout.expert, layout.expert_tensor,
                  layout.sequence_parallel)
    layers = {kind: layer_bytes(kind, arch, recipe, split, layout.recompute, policy)
              for kind, _ in arch.groups}
    mask = derive(mem.mask_bytes, "embedding dropout mask", "bytes", tokens=tokens, by=split.row_split,
                  hidden=arch.hidden)
    return MicroBatch(layers, alive_at_loss(arch, layers, split, policy), mask)


def _place(arch: Architecture, recipe: Recipe, layout: Layout, index: Value, policy: MemoryPolicy) -> Placed:
    stage = stage_of(arch, layout, index, policy)
    trained = policy.tuned.table_share if policy.tuned is not None else 1.0
    table = derive(mem.table_gradient_bytes, "embedding gradient", "bytes", held=stage.first * trained,
                   vocab=arch.vocab, hidden=arch.hidden, tensor=layout.tensor)
    sharding, gradients = sharding_buffers(arch, recipe, layout, stage, policy)
    return Placed(stage, PlaceBuffers(kept_buffers(arch, layout, stage, policy), sharding, gradients, table))


def _for_rows(arch: Architecture, recipe: Recipe, layout: Layout,
              policy: MemoryPolicy) -> tuple[MicroBatch, list[Placed]]:
    """The same for the rows of a search: evaluated on distinct rows, then spread. Each row may have its length."""
    columns = [getattr(layout, name) for name in LAYER_COLUMNS]
    by_row = isinstance(recipe.sequence_length, np.ndarray)
    some, where = distinct_rows(*columns, *((recipe.sequence_length,) if by_row else ()))
    few = replace(layout, **dict(zip(LAYER_COLUMNS, some)))
    long = replace(recipe, sequence_length=some[-1]) if by_row else recipe
    batch = spread(micro_batch_memory(arch, long, few, policy), where)
    some, where = distinct_rows(*(getattr(layout, name) for name in STAGE_COLUMNS))
    few = replace(layout, **dict(zip(STAGE_COLUMNS, some, strict=True)))
    return batch, [spread(place, where) for place in candidate_places(arch, recipe, few, policy)]


def candidate_places(arch: Architecture, recipe: Recipe, layout: Layout,
                     policy: MemoryPolicy) -> list[Placed]:
    """The stages one of which is fullest; depends on STAGE_COLUMNS and the ZeRO stage."""
    return [_place(arch, recipe, layout, index, policy) for index in _candidate_stages(layout, arch)]


def _candidate_stages(layout: Layout, arch: Architecture) -> list[Value]:
    """Stages one of which is fullest: the first, the first that holds only ordinary layers, and the last."""
    pipeline = np.asarray(layout.pipeline, dtype=float)
    chunk = np.ceil(arch.layers / (pipeline * layout.virtual_pipeline))
    ends: list[Value] = [np.zeros_like(pipeline), pipeline - 1.0]
    laps = np.asarray(layout.virtual_pipeline) > 1
    lead = arch.runs[0][1] if len(arch.runs) > 1 else 0
    uneven = np.any(arch.layers % (pipeline * layout.virtual_pipeline))
    if lead or uneven or layout.first_stage_layers or layout.last_stage_layers:
        missing = np.where(laps, 0.0, chunk * pipeline - arch.layers)  # half of it before the first layer
        ordinary = np.ceil((lead + np.floor(missing / 2)) / chunk)
        if (lead and np.any(laps)) or np.any(missing >= 2 * chunk):  # the stage before can be fuller
            ends.insert(1, np.clip(ordinary - 1.0, np.minimum(1.0, pipeline - 1.0), pipeline - 1.0))
        ends.insert(1, np.minimum(np.maximum(ordinary, 1.0), pipeline - 1.0))
    return ends


def spread(value: Any, where: Any) -> Any:
    """Every array inside a record, taken at `where`."""
    if isinstance(value, np.ndarray):
        return value.take(where) if value.ndim else value
    if isinstance(value, dict):
        return {key: spread(part, where) for key, part in value.items()}
    if isinstance(value, tuple):
        return tuple(spread(part, where) for part in value)
    if isinstance(value, Struct) and not hasattr(value, "mixer"):
        return type(value)(**{name: spread(getattr(value, name), where) for name in value.__struct_fields__})
    return value


def _fullest_of_rows(stages: tuple[StageMemory, ...]) -> StageMemory:
    return reduce(_fuller, stages)


def _fuller(best: StageMemory, other: StageMemory) -> StageMemory:
    """Row by row the stage with more memory."""
    more = np.asarray(other.memory_per_device_bytes) > np.asarray(best.memory_per_device_bytes)
    picked: StageMemory = _pick(more, other, best)
    return picked


def _pick(more: Any, other: Any, best: Any) -> Any:
    if isinstance(best, Struct):
        return type(best)(**{name: _pick(more, getattr(other, name), getattr(best, name))
                             for name in best.__struct_fields__})
    return np.where(more, other, best)



def _micro_batches(global_batch: float, data: Value, micro_batch: Value) -> Value:
    """Micro-batches one pipeline runs in a step."""
    return np.maximum(global_batch / (data * micro_batch), 1.0)


def _micro_batch_tokens(micro_batch: Value, sequence: float, context: Value) -> Value:
    """Tokens of a micro-batch after the context split."""
    return micro_batch * sequence / context


def _host_bytes(offloaded: Value, devices: int, process: Value, factor: Value) -> Value:
    """Host memory of one node: each device's process and its offloaded states."""
    return devices * (process + offloaded * factor)
