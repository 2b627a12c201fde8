"""The fine-tuning plan: layout, step, memory at its moments, calendar and use of one run."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from outlay.derive import Quantity, add_all, derive, exact
from outlay.errors import BadValue
from outlay.physics.adapters import adapter_file_bytes
from outlay.planner.calendar import RunTime, run_time
from outlay.planner.finetune.choose import PHASE, as_training, choose_tune
from outlay.planner.finetune.nearest import near_tune
from outlay.planner.finetune.step import rollout_values, tuned_step
from outlay.planner.pretrain.choose import Chosen
from outlay.planner.pretrain.plan import as_quantity, device_hours_held, goal_values, step_values, training_flop
from outlay.planner.use import training_lines
from outlay.planner.verdict import with_residual
from outlay.resolve.finetune.phase import TunePhase
from outlay.resolve.record import Resolved
from outlay.steps.inputs import Layout
from outlay.steps.train.memory import MemoryResult
from outlay.usage import Line


def plan_finetune(resolved: Resolved, around: bool = True) -> tuple[dict[str, Any], list[Line]]:
    """Everything the result says of the fine-tuning phase, and its lines; what lies near it where that is asked."""
    phase = resolved.finetune
    if not isinstance(phase, TunePhase) or resolved.architecture is None:
        raise BadValue("finetune: needs a model and a fleet", "finetune")
    at = as_training(resolved, phase)
    chosen = choose_tune(resolved, phase)
    values, lines = _plan_layout(at, phase, chosen)
    if around:
        values |= near_tune(resolved, phase, chosen.layout, bool(values["fits"]))
    if chosen.search is not None:
        values["search"] = chosen.search
    return values, lines


def _plan_layout(at: Resolved, phase: TunePhase, chosen: Chosen) -> tuple[dict[str, Any], list[Line]]:
    hw, training, layout = phase.hardware, phase.training, chosen.layout
    step = tuned_step(at, phase, layout)
    values = step_values(at, replace(training, recipe=phase.time_recipe), layout, step.times | step.extra, step.memory)
    values |= {"layout": chosen.shown, "algorithm": phase.procedure.algorithm} | trained_values(at, phase)
    values |= moments(at, phase, step.memory)
    values |= rollout_values(phase, step, values)
    lines: list[Line] = []
    if training.tokens is not None:
        run = _calendar(at, phase, layout, values["step_time_s"])
        values |= _run_values(run, phase)
        values |= training_flop(values)
        whole = replace(at, hardware=replace(hw, devices=phase.devices))
        use, lines = training_lines(whole, run, values, PHASE)
        values |= use
    return values | goal_values(at, values, lines), lines


def trained_values(at: Resolved, phase: TunePhase) -> dict[str, Any]:
    """What is trained, and the files a run leaves."""
    counts = phase.counts
    trained = exact(counts.whole + counts.adapters, "parameters", "trainable parameters",
                    "counted from the shape of the model", basis="derived")
    added = exact(counts.adapters, "parameters", "adapter parameters", "counted from the shape of the model",
                  basis="derived")
    saved: Quantity = derive(adapter_file_bytes, "adapter file", "bytes", parameters=added,
                             element=phase.adapter_element_bytes)
    model = counts.whole if counts.adapters else counts.total
    whole: Quantity = derive(adapter_file_bytes, "model file", "bytes",
                             parameters=exact(model, "parameters", "parameters saved"),
                             element=phase.saved_bytes_per_parameter)
    return {"trainable_parameters": trained, "adapter_bytes": saved,
            "saved_model_bytes": add_all("saved weights", "bytes", saved, whole),
            "checkpoint_bytes": training_state(at, phase)}


def training_state(at: Resolved, phase: TunePhase) -> Quantity:
    """Bytes of one checkpoint to go on from: what is saved, and the optimiser's states."""
    recipe, counts = phase.training.recipe, phase.counts
    assert recipe is not None
    model = counts.whole if counts.adapters else counts.total
    size: Quantity = derive(_checkpoint, "training checkpoint", "bytes",
                            saved=exact(model * phase.saved_bytes_per_parameter
                                        + counts.adapters * phase.adapter_element_bytes, "bytes", "saved weights"),
                            states=exact((float(recipe.master_bytes) + float(recipe.optimizer_bytes)) * counts.total,
                                         "bytes", "optimiser states"))
    return size


def _checkpoint(saved: Any, states: Any) -> Any:
    """Weights that are saved, and states to go on from."""
    return saved + states


def moments(at: Resolved, phase: TunePhase, memory: MemoryResult) -> dict[str, Any]:
    """Device memory once loaded, at the step's peak and while saving; host memory while saving."""
    stage, residual = memory.fullest, phase.training.residual_memory
    loaded = add_all("memory once loaded", "bytes", stage.states.weights, stage.framework)
    resting = add_all("memory between steps", "bytes", loaded, stage.states.optimizer, stage.standing)
    saved = phase.counts.whole + phase.counts.adapters if phase.counts.adapters else phase.counts.total
    largest = float(at.architecture.vocab) * at.architecture.hidden if at.architecture is not None else 0.0
    sharded = bool(getattr(phase.training.layout, "zero", None) == 3)
    gathered = min(largest, saved) * phase.saved_bytes_per_parameter if sharded else 0.0
    save = add_all("memory while saving", "bytes", resting, stage.fragmentation, gathered)
    host = add_all("host memory while saving", "bytes", as_quantity(memory.host_memory_bytes, "bytes", "host memory"),
                   exact(saved * phase.saved_bytes_per_parameter, "bytes", "weights gathered on the host"))
    return {"memory_moments": {
        "load": _scaled(loaded, residual, "memory once loaded"),
        "step": _scaled(stage.memory_per_device_bytes, residual, "memory at the step's peak"),
        "save": _scaled(save, residual, "memory while saving")}, "host_memory_at_save_bytes": host}


def _scaled(value: Any, residual: Quantity, label: str) -> Quantity:
    found: Quantity = derive(with_residual, label, "bytes", size_bytes=as_quantity(value, "bytes", label),
                             residual=residual)
    return found



def _calendar(at: Resolved, phase: TunePhase, layout: Layout, step: Quantity) -> RunTime:
    training = phase.training
    assert training.recipe is not None and training.tokens is not None
    packed = bool(phase.given.packing) and phase.procedure.rollout is None
    row = phase.lengths.longest if packed else phase.lengths.document
    return run_time(step, training.tokens, training.recipe.global_batch, row, phase.devices, training_state(at, phase),
                    as_quantity(phase.hardware.host_link_bytes_per_s, "bytes/s", "host link"), training.calendar)


def _run_values(run: RunTime, phase: TunePhase) -> dict[str, Any]:
    return {
        "tokens": phase.training.tokens,
        "replayed_tokens": phase.epoch.replayed * phase.epochs if phase.epoch is not None else 0.0,
        "steps": run.steps,
        "epochs": phase.epochs,
        "epoch_s": derive(_over, "time of an epoch", "s", training_s=run.training_s, epochs=phase.epochs),
        "elapsed_s": run.elapsed_s,
        "elapsed_parts": run.parts,
        "goodput": run.goodput,
        "expected_failures": run.failures,
        "checkpoint_interval_s": run.checkpoint_interval_s,
        "device_hours": derive(device_hours_held, "device-hours", "device-hours", elapsed_s=run.elapsed_s,
                               devices=phase.devices),
    }


def _over(training_s: Any, epochs: Any) -> Any:
    """Time in steps over the epochs."""
    return training_s / epochs
