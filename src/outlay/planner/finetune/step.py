"""One step of a fine-tune with all that its algorithm does: time by who works, memory by moment."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from outlay.derive import Quantity, add_all, derive
from outlay.planner.layouts.evaluate import nominal
from outlay.planner.verdict import fit_verdict, with_residual
from outlay.resolve.finetune.phase import TunePhase
from outlay.resolve.record import Resolved
from outlay.steps.inputs import Hardware, Layout
from outlay.steps.train.memory import MemoryResult, train_memory
from outlay.steps.train.time import train_time
from outlay.steps.tune.procedure import RolloutMemory, procedure_times, rollout_memory

Num = Any  # a number or a Quantity


WRITING_ACTIVITY = {"compute_activity": 0.1, "memory_activity": 0.7}  # decoding reads, and computes little


class Step(Struct, frozen=True, eq=False):
    """times: as train_time, with the algorithm's parts in the total; rollout: memory while responses are written."""

    times: dict[str, Num]
    extra: dict[str, Num]
    memory: MemoryResult
    rollout: RolloutMemory | None


def tuned_step(at: Resolved, phase: TunePhase, layout: Layout, plain: bool = False) -> Step:
    """Evaluate one layout; plain leaves intervals and lineage out."""
    arch, hw, recipe, rows = at.architecture, phase.hardware, phase.training.recipe, phase.time_recipe
    assert arch is not None and recipe is not None
    if plain:
        hw, recipe, rows = nominal(hw), nominal(recipe), nominal(rows)
    procedure = nominal(phase.procedure) if plain else phase.procedure
    memory = train_memory(arch, hw, recipe, layout)
    times = train_time(arch, hw, rows, layout)
    writing = None
    if procedure.rollout is not None:
        writing = rollout_memory(arch, hw, procedure.rollout, resident_bytes(memory, procedure.rollout.colocate))
    extra = procedure_times(arch, hw, rows, layout, procedure, times, _room(hw, memory, writing))
    if extra:
        times = times | {"step_time_s": add_all("step time", "s", times["step_time_s"], *extra.values())}
    if "rollout_s" in extra:
        times = times | {name: derive(_with_writing, f"{name.replace('_', ' ')}, rollout included", "",
                                      training=times[name], writing=level, writing_s=extra["rollout_s"],
                                      step_s=times["step_time_s"]) for name, level in WRITING_ACTIVITY.items()}
    return Step(times, extra, memory, writing)


def _room(hw: Hardware, memory: MemoryResult, writing: RolloutMemory | None) -> Num:
    """Sequences written at once; None, all of them, where the step does not fit: its time is that of a device with
    room, as the time of training is."""
    if writing is None:
        return None
    needed = float(nominal(memory_needed(Step({}, {}, memory, writing))))
    return writing.at_once if needed <= float(nominal(hw.memory_bytes)) else None


def _with_writing(training: Any, writing: float, writing_s: Any, step_s: Any) -> Any:
    """Mean activity of a step: that of training, and of writing responses for their share of the time."""
    share = writing_s / step_s
    return training * (1.0 - share) + writing * share


def plain_memory(resolved: Resolved, phase: TunePhase, layout: Layout) -> float:
    """Bytes on the fullest device over all moments of a step, at nominal inputs and without its time."""
    arch, hw, procedure = resolved.architecture, nominal(phase.hardware), nominal(phase.procedure)
    assert arch is not None
    memory = train_memory(arch, hw, nominal(phase.training.recipe), layout)
    writing = None
    if procedure.rollout is not None:
        writing = rollout_memory(arch, hw, procedure.rollout, resident_bytes(memory, procedure.rollout.colocate))
    return float(memory_needed(Step({}, {}, memory, writing)))


def resident_bytes(memory: MemoryResult, colocate: bool) -> Num:
    """What stays on a device that writes: states of training where both share it, and the driver's context."""
    stage = memory.fullest
    if not colocate:
        return stage.framework
    return add_all("resident beside the engine", "bytes", stage.states.weights, stage.states.optimizer, stage.standing,
                   stage.framework)


def memory_needed(step: Step) -> Num:
    """Bytes on the fullest device over all moments of a step."""
    update = step.memory.memory_per_device_bytes
    if step.rollout is None:
        return update
    return derive(_larger, "memory per device", "bytes", update=update, rollout=writing_bytes(step.rollout))


def writing_bytes(rollout: RolloutMemory) -> Num:
    return add_all("memory while responses are written", "bytes", rollout.resident, rollout.weights, rollout.cache)


def _larger(update: Any, rollout: Any) -> Any:
    """The larger of the moments of a step."""
    import numpy as np

    return np.maximum(update, rollout)


def rollout_values(phase: TunePhase, step: Step, values: dict[str, Any]) -> dict[str, Any]:
    """Memory while responses are written, and the verdict where that moment is the fullest."""
    if step.rollout is None:
        return {}
    residual = phase.training.residual_memory
    writing = _scaled(writing_bytes(step.rollout), residual, "memory while responses are written")
    moments = values["memory_moments"] | {"rollout": writing, "update": values["memory_moments"]["step"]}
    found: dict[str, Any] = {"memory_moments": moments, "rollout_sequences_at_once": step.rollout.at_once}
    if writing.value <= values["memory_per_device_bytes"].value:
        return found
    parts = {"weights": step.memory.fullest.states.weights if _colocated(phase) else 0.0,
             "gradients": 0.0, "optimizer": step.memory.fullest.states.optimizer if _colocated(phase) else 0.0,
             "activations": 0.0, "logits": 0.0,
             "buffers": add_all("engine weights and cache", "bytes", step.rollout.weights, step.rollout.cache,
                                step.memory.fullest.standing if _colocated(phase) else 0.0),
             "framework": step.memory.fullest.framework, "fragmentation": 0.0}
    scaled = {name: _scaled(part, residual, name) for name, part in parts.items()}
    return found | fit_verdict(writing, values["host_memory_bytes"], phase.hardware) | {
        "memory_per_device_bytes": writing, "memory_parts": scaled, "memory_peak_moment": "rollout",
        "memory_allocated_bytes": writing, "memory_reserved_bytes": writing}


def _colocated(phase: TunePhase) -> bool:
    rollout = phase.procedure.rollout
    return rollout is not None and rollout.colocate


def _scaled(value: Num, residual: Quantity, label: str) -> Quantity:
    from outlay.planner.pretrain.plan import as_quantity

    found: Quantity = derive(with_residual, label, "bytes", size_bytes=as_quantity(value, "bytes", label),
                             residual=residual)
    return found
