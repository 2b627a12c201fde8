"""Memory of one pipeline stage: what is alive at each candidate peak, and the parts at the highest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from msgspec import Struct

from outlay.architecture import LayerKind
from outlay.derive import Quantity, add_all, derive
from outlay.physics import activations as act
from outlay.physics import memory as mem
from outlay.steps.inputs import Layout
from outlay.steps.train.memory_layers import LayerBytes
from outlay.steps.train.memory_policy import MemoryPolicy
from outlay.steps.train.memory_states import Stage, States
from outlay.steps.tune.trained import matrices

Value = Any  # a number, an array or a Quantity
PARTS = ("weights", "gradients", "optimizer", "activations", "logits", "buffers", "framework",
         "fragmentation")
MOMENTS = np.array(("backward", "backward", "backward", "optimizer"))  # by physics.memory.peak_moment


class MicroBatch(Struct, frozen=True, eq=False):
    """Bytes of one micro-batch on a rank: each kind of layer, the loss, the embedding's dropout mask."""

    layers: Mapping[LayerKind, LayerBytes]
    loss: Value
    mask: Value


class PlaceBuffers(Struct, frozen=True, eq=False):
    """Buffers that a stage's place in the layout decides."""

    standing: Value  # outlive a step
    sharding: Value  # gathered weights or buckets
    gradients: Value  # of one gathered layer, while it runs backward
    table: Value  # the embedding's gradient, at its backward


class StageMemory(Struct, frozen=True, eq=False):
    """One device of a stage at its peak.

    allocated and reserved are the framework allocator's peaks. What follows them is what the parts are made
    of: `held` micro-batches of `one` byte count each, and what is alive on top at each candidate moment.
    """

    stage: Value
    memory_per_device_bytes: Value
    memory_allocated_bytes: Value
    memory_reserved_bytes: Value
    states: States
    standing: Value  # buffers that outlive a step
    sharding: Value  # buffers that do not
    framework: Value
    fragmentation: Value
    held: Value
    one: Value
    working: Value
    loss: Value
    table: Value
    late: Value = 0.0  # gradients not made yet at the loss
    offloaded: Value = 0.0  # activations that wait on the host

    @property
    def moment(self) -> Value:
        """Number of the highest moment, see physics.memory.peak_moment."""
        return derive(mem.peak_moment, "moment of the peak", "", held=self.held, one=self.one,
                      working=self.working, loss=self.loss, table=self.table, step=self.states.step)

    @property
    def memory_peak_moment(self) -> Any:
        moment = self.moment
        return MOMENTS[np.asarray(moment.value if isinstance(moment, Quantity) else moment, dtype=int)]

    @property
    def memory_resident_bytes(self) -> Value:
        """What stays allocated between steps."""
        return add_all("resident between steps", "bytes", self.states.weights, self.states.gradients,
                       self.states.optimizer, self.standing)

    @property
    def parts(self) -> dict[str, Value]:
        """What the memory consists of at its peak; adds up to memory_per_device_bytes."""
        moment, states = self.moment, self.states
        working = add_all("working set of a layer", "bytes", self.working, self.late)
        transient = derive(mem.working_at, "working set", "bytes", moment=moment, working=working,
                           table=self.table, step=states.step)
        gradients = derive(mem.gradients_at, "gradients", "bytes", moment=moment, gradients=states.gradients,
                           late=self.late)
        return {"weights": states.weights, "gradients": gradients, "optimizer": states.optimizer,
                "activations": derive(mem.activations_at, "activations", "bytes", moment=moment,
                                      held=self.held, one=self.one),
                "logits": derive(mem.logits_at, "logits", "bytes", moment=moment,
                                 loss=add_all("alive at the loss", "bytes", self.loss, self.late)),
                "buffers": add_all("buffers", "bytes", transient, self.standing, self.sharding),
                "framework": self.framework, "fragmentation": self.fragmentation}


def stage_memory(layout: Layout, stage: Stage, states: States, buffers: PlaceBuffers, batch: MicroBatch,
                 policy: MemoryPolicy, micro_batches: Value) -> StageMemory:
    """Everything on one device of a stage."""
    constants = policy.constants
    held = derive(act.in_flight, "micro-batches in flight", "", pipeline=layout.pipeline, stage=stage.index,
                  micro_batches=micro_batches, virtual_pipeline=layout.virtual_pipeline,
                  schedule=layout.schedule)
    one, table = _one_micro_batch(stage, batch, policy), buffers.table
    offloaded: Value = 0.0
    if policy.tuned is not None and policy.tuned.offload_activations:
        offloaded, one = one, _one_layer(stage, batch)
    working = add_all("working set of a layer", "bytes", _largest_working(batch.layers, stage),
                      buffers.gradients, _made_whole(stage, layout, policy))
    loss = derive(mem.times, "alive at the loss", "bytes", count=stage.last, each=batch.loss)
    late: Value = 0.0
    if policy.tuned is not None and policy.tuned.fresh_gradients:
        late = derive(mem.not_yet, "gradients not made yet", "bytes", gradients=states.gradients,
                      micro_batches=micro_batches)
        working, loss = (derive(mem.difference, label, "bytes", whole=whole, part=late) for label, whole in
                         (("working set of a layer", working), ("alive at the loss", loss)))
    peak = derive(mem.peak_above_states, "activations, logits and working set", "bytes", held=held, one=one,
                  working=working, loss=loss, table=table, step=states.step)
    allocated = add_all("memory allocated", "bytes", states.weights, states.gradients, states.optimizer, peak,
                        buffers.standing, buffers.sharding)
    lost = derive(mem.fragmentation_bytes, "fragmentation", "bytes", allocated=allocated,
                  fraction=constants.fragmentation_fraction)
    reserved = add_all("memory reserved", "bytes", allocated, lost)
    framework = add_all("framework", "bytes", constants.context_bytes, constants.communication_bytes)
    total = add_all("memory per device", "bytes", reserved, framework)
    return StageMemory(stage.index, total, allocated, reserved, states, buffers.standing,
                       buffers.sharding, framework, lost, held, one, working, loss, table, late, offloaded)


def _one_micro_batch(stage: Stage, batch: MicroBatch, policy: MemoryPolicy) -> Value:
    """Kept bytes of one micro-batch on a stage; its input is the first layer's norm input, counted there."""
    kept = [derive(mem.times, "kept by layers", "bytes", count=count, each=batch.layers[kind].kept)
            for kind, count in stage.counts]
    if policy.dropout:
        kept.append(derive(mem.times, "embedding dropout mask", "bytes", count=stage.first, each=batch.mask))
    whole = add_all("activations of one micro-batch", "bytes", *kept)
    if policy.tuned is None or policy.tuned.live_share == 1.0:
        return whole
    return derive(mem.times, "activations above the frozen layers", "bytes", count=policy.tuned.live_share,
                  each=whole)


def _one_layer(stage: Stage, batch: MicroBatch) -> Value:
    """Activations of the largest layer, what stays on the device when the others wait on the host."""
    largest: Value = 0.0
    for kind, count in stage.counts:
        largest = derive(mem.larger_if_held, "layer on the device", "bytes", so_far=largest, count=count,
                         working=batch.layers[kind].kept)
    return largest


def _made_whole(stage: Stage, layout: Layout, policy: MemoryPolicy) -> Value:
    """The largest quantised matrix of a layer, written out in 16 bits for its product."""
    if policy.tuned is None or not policy.tuned.made_whole:
        return 0.0
    largest: Value = 0.0
    for kind, count in stage.counts:
        shapes = [shape for found in matrices(kind, policy.tuned.hidden).values() for shape in found]
        each = max((inputs * outputs for inputs, outputs, _ in shapes), default=0.0)
        largest = derive(mem.larger_if_held, "matrix made whole", "bytes", so_far=largest, count=count,
                         working=derive(mem.shared_bytes, "matrix made whole", "bytes", elements=each,
                                        tensor=layout.tensor))
    return largest


def _largest_working(layers: Mapping[LayerKind, LayerBytes], stage: Stage) -> Value:
    largest: Value = 0.0
    for kind, count in stage.counts:
        largest = derive(mem.larger_if_held, "largest working set", "bytes", so_far=largest, count=count,
                         working=layers[kind].working)
    return largest
