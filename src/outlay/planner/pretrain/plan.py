"""The pre-training plan: layout, step, memory, calendar and use of one training run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from outlay.architecture import Architecture
from outlay.derive import Quantity, add_all, derive, exact
from outlay.errors import BadValue
from outlay.physics.storage import checkpoint_bytes
from outlay.planner.calendar import RunTime, run_time
from outlay.planner.pretrain.choose import (
    Chosen,
    choose_layout,
    described,
    near,
    nothing_found,
    scaling_table,
    shown_change,
)
from outlay.planner.pretrain.device_hours import plan_device_hours
from outlay.planner.use import training_lines
from outlay.planner.verdict import memory_verdict
from outlay.resolve.record import Resolved, TrainingPhase
from outlay.steps.inputs import Layout, Recipe
from outlay.steps.train.memory import MemoryResult, train_memory
from outlay.steps.train.time import train_time
from outlay.usage import Line

LEAST_GOODPUT = 0.5
SPLITS = ("tensor", "pipeline", "data", "context", "expert", "expert_tensor", "micro_batch")
FLOP_MARKS = ((1e23, "general-purpose model presumption of the EU AI Act guidelines"),
              (1e25, "systemic-risk presumption of the EU AI Act, Article 51"))


def plan_pretrain(resolved: Resolved, around: bool = True) -> tuple[dict[str, Any], list[Line]]:
    """Everything the result says of the pre-training phase, and its lines; what lies near it where that is asked.

    Raises Inconsistent or BadValue for a layout or batch that cannot be.
    """
    phase = resolved.pretrain
    assert phase is not None
    if phase.device_hours is not None:
        values, lines = plan_device_hours(resolved, phase)
        return values | goal_values(resolved, values, lines), lines
    if resolved.architecture is None or resolved.hardware is None or phase.recipe is None:
        raise BadValue("pretrain: needs a model and a fleet, or device_hours of a run already done", "pretrain")
    chosen = choose_layout(resolved, phase)
    values, lines = _plan_layout(resolved, phase, chosen)
    if chosen.fits and not values["fits"]:  # its own spread is wider than that of measured runs alone
        tighter = choose_layout(resolved, phase, needed=values["memory_per_device_bytes"])
        if tighter.fits:
            chosen = tighter
            values, lines = _plan_layout(resolved, phase, chosen)
    if values.get("within_goal") is False and chosen.search is not None:
        again = choose_layout(resolved, phase, to_step=values["elapsed_s"].value / values["step_time_s"].value)
        if again.layout != chosen.layout:
            chosen = again
            values, lines = _plan_layout(resolved, phase, chosen)
    return values | (_around(resolved, phase, chosen, values) if around else {}), lines


def _plan_layout(resolved: Resolved, phase: TrainingPhase, chosen: Chosen) -> tuple[dict[str, Any], list[Line]]:
    """Step, calendar and account of one layout."""
    values = step_values(resolved, phase, chosen.layout) | {"layout": chosen.shown}
    lines: list[Line] = []
    if phase.tokens is not None:
        run = _calendar(resolved, phase, chosen.layout, values["step_time_s"])
        values |= _run_values(run, resolved, phase)
        if run.goodput.value < LEAST_GOODPUT:
            resolved.notes.warn(f"pretrain: only {run.goodput.value:.2g} of the time trains; look at the checkpoint "
                                "interval, its write bandwidth and the failure rate")
        values |= training_flop(values)
        use_values, lines = training_lines(resolved, run, values)
        values |= use_values
    return values | goal_values(resolved, values, lines), lines


def _around(resolved: Resolved, phase: TrainingPhase, chosen: Chosen, values: dict[str, Any]) -> dict[str, Any]:
    """What lies near the plan: other layouts, other fleet sizes, changes that fit, room that is left."""
    found: dict[str, Any] = {}
    if chosen.search is not None:
        found["search"] = chosen.search
        steps = values["steps"].value if "steps" in values else None
        if steps is not None and values["fits"]:
            ratio = values["elapsed_s"].value / values["step_time_s"].value
            found["layouts"] = [c | {"elapsed_s": c["step_time_s"] * ratio} for c in chosen.search["best"]]
            if not described(phase):  # other fleet sizes search other layouts, which a described run did not ask for
                found["scaling"] = scaling_table(resolved, phase, ratio / steps, steps)
    around = near(resolved, phase, chosen.layout, values["memory_per_device_bytes"], values["fits"])
    found["nearest"] = [shown_change(c, resolved) for c in around.changes]
    if not values["fits"] and not around.changes:
        resolved.notes.warn(nothing_found(around))
    if values["fits"]:
        found["room"] = {"longest_sequence": around.longest_sequence, "largest_micro_batch": around.largest_micro_batch}
    return found


def step_values(resolved: Resolved, phase: TrainingPhase, layout: Layout, time: Mapping[str, Any] | None = None,
                memory: MemoryResult | None = None) -> dict[str, Any]:
    """One step of a chosen layout: time and its parts, memory and its parts, rates; computed where not given."""
    arch, hw, recipe = resolved.architecture, resolved.hardware, phase.recipe
    assert arch is not None and hw is not None and recipe is not None
    time = time or train_time(arch, hw, recipe, layout)
    scaled = {name: _scaled(value, phase.residual_time, name) for name, value in time.items() if name.endswith("_s")}
    step = scaled.pop("step_time_s")
    tokens_per_step = recipe.global_batch * recipe.sequence_length
    flop = as_quantity(time["flop_per_step"], "FLOP", "model FLOP of a step")
    values: dict[str, Any] = {
        "step_time_s": step,
        "time_parts": scaled,
        "tokens_per_s_per_device": derive(_rate, "tokens per second and device", "tokens/s", amount=tokens_per_step,
                                          devices=hw.devices, time_s=step),
        "model_flop_per_s_per_device": derive(_rate, "model FLOP/s per device", "FLOP/s", amount=flop,
                                              devices=hw.devices, time_s=step),
        "model_flops_utilization": derive(_utilization, "model FLOP utilisation (causal, dense peak, no recompute)",
                                          "", flop=flop, devices=hw.devices, time_s=step,
                                          peak_flop_per_s=hw.peak_flop_per_s),
        "flop_per_step": flop,
        "compute_activity": time["compute_activity"],
        "memory_activity": time["memory_activity"],
    }
    memory = memory or train_memory(arch, hw, recipe, told(layout))
    return values | memory_verdict(memory, hw, phase.residual_memory)


def told(layout: Layout) -> Layout:
    """The layout with its splits as certain quantities, so that memory counted from them keeps its lineage."""
    named: dict[str, Any] = {
        name: exact(float(getattr(layout, name)), "", f"{name.replace('_', ' ')} of the layout", basis="given")
        for name in SPLITS
    }
    return replace(layout, **named)


def as_quantity(value: Any, unit: str, label: str) -> Quantity:
    return value if isinstance(value, Quantity) else exact(float(value), unit, label, basis="derived")


def _scaled(value: Any, residual: Quantity, name: str) -> Quantity:
    label = name.removesuffix("_s").replace("_", " ")
    scaled: Quantity = derive(_with_residual, label, "s", time_s=as_quantity(value, "s", label), residual=residual)
    return scaled


def _with_residual(time_s: Any, residual: Any) -> Any:
    """A modelled time and what published runs of this class took beyond it."""
    return time_s * residual


def _rate(amount: Any, devices: Any, time_s: Any) -> Any:
    """An amount per device and second."""
    return amount / (devices * time_s)


def _utilization(flop: Any, devices: Any, time_s: Any, peak_flop_per_s: Any) -> Any:
    """Model FLOP over what the devices could do in the time (PaLM, arXiv:2204.02311, appendix B)."""
    return flop / (devices * time_s * peak_flop_per_s)


def training_checkpoint(arch: Architecture, recipe: Recipe) -> Quantity:
    """Bytes of one full training checkpoint."""
    size: Quantity = derive(checkpoint_bytes, "training checkpoint", "bytes",
                            parameters=exact(arch.parameters + arch.mtp_parameters, "parameters", "parameters"),
                            weight_bytes=recipe.weight_bytes, master_bytes=recipe.master_bytes,
                            optimizer_bytes=recipe.optimizer_bytes)
    return size


def _calendar(resolved: Resolved, phase: TrainingPhase, layout: Layout, step: Quantity) -> RunTime:
    arch, hw, recipe = resolved.architecture, resolved.hardware, phase.recipe
    assert arch is not None and hw is not None and recipe is not None and phase.tokens is not None
    host_link = as_quantity(hw.host_link_bytes_per_s, "bytes/s", "host link")
    return run_time(step, phase.tokens, recipe.global_batch, recipe.sequence_length, hw.devices,
                    training_checkpoint(arch, recipe), host_link, phase.calendar)


def _run_values(run: RunTime, resolved: Resolved, phase: TrainingPhase) -> dict[str, Any]:
    arch, hw, recipe = resolved.architecture, resolved.hardware, phase.recipe
    assert arch is not None and hw is not None and recipe is not None
    return {
        "tokens": phase.tokens,
        "steps": run.steps,
        "elapsed_s": run.elapsed_s,
        "elapsed_parts": run.parts,
        "goodput": run.goodput,
        "expected_failures": run.failures,
        "checkpoint_interval_s": run.checkpoint_interval_s,
        "checkpoint_bytes": run.checkpoint_bytes,
        "device_hours": derive(device_hours_held, "device-hours", "device-hours", elapsed_s=run.elapsed_s,
                               devices=hw.devices),
    }


def training_flop(values: dict[str, Any]) -> dict[str, Any]:
    """Model FLOP of the whole run and the legal marks it passes."""
    flop = derive(_times, "training FLOP", "FLOP", steps=values["steps"], flop_per_step=values["flop_per_step"])
    return {"training_flop": flop, "training_flop_marks": [
        {"flop": mark, "passed": flop.value >= mark, "what": what} for mark, what in FLOP_MARKS]}


def _times(steps: Any, flop_per_step: Any) -> Any:
    """FLOP of every step together."""
    return steps * flop_per_step


def device_hours_held(elapsed_s: Any, devices: Any) -> Any:
    """Devices held over the elapsed time, in hours."""
    return elapsed_s * devices / 3600.0


def goal_values(resolved: Resolved, values: dict[str, Any], lines: list[Line]) -> dict[str, Any]:
    """Whether a deadline and a budget are kept; nothing when neither was given."""
    goal, missed = resolved.goal, []
    if goal.get("deadline") is not None and "elapsed_s" in values and values["elapsed_s"].value > goal["deadline"]:
        missed.append({"constraint": "deadline", "limit": goal["deadline"], "value": values["elapsed_s"], "unit": "s"})
    if goal.get("budget") is not None:
        costs = [line.usd for line in lines]
        if lines and all(cost is not None for cost in costs):
            total = add_all("total money", "USD", *costs)
            if total.value > goal["budget"]:
                missed.append({"constraint": "budget", "limit": goal["budget"], "value": total, "unit": "USD"})
        else:
            resolved.notes.warn("goal.budget: cannot be checked, because a price is unknown")
    if goal.get("deadline") is None and goal.get("budget") is None:
        return {}
    return {"within_goal": not missed, "missed": missed}


