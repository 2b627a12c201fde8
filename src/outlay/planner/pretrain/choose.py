"""The layout of a training phase: as given, or the best of a search; and what lies near it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from outlay.account import unit_value
from outlay.derive import Quantity, quantile
from outlay.errors import BadValue, OutlayError
from outlay.physics import power as pw
from outlay.planner.layouts.errors import require_layouts
from outlay.planner.layouts.evaluate import StepEvaluator, nominal
from outlay.planner.layouts.fleets import best_on_fleets
from outlay.planner.layouts.search import Choice, Limits, Objective, SearchResult, fits_within, rank, search
from outlay.planner.layouts.space import given_fields
from outlay.planner.pretrain.nearest import MOST_FLEET_GROWTH, Change, Nearest, nearest
from outlay.planner.pretrain.scaling import fleet_sizes, strong_scaling
from outlay.planner.trials import Attempt, StepTrials, capacity_bytes
from outlay.resolve.power import PowerInputs
from outlay.resolve.record import Resolved, TrainingPhase
from outlay.steps.inputs import Hardware, Layout, Recipe

DEFAULT_TOP = 5
MOST_TIGHTER = 0.7  # a larger device can come with a layout that takes this share of the memory now needed
OF_THE_DEVICE = ("devices_per_node", "scale_up_devices", "intra_node_bytes_per_s", "inter_node_bytes_per_s",
                 "host_memory_bytes", "host_link_bytes_per_s", "device_memory_bytes", "device_power_limit_w",
                 "power_w_per_device", "usd_per_device_hour", "usd_per_device", "failures_per_device_hour")
AIMS = {"money": "usd", "energy": "energy_j", "carbon": "co2e_kg"}
FULL = ("tensor", "pipeline", "context", "data", "micro_batch", "zero", "recompute")


class Chosen(Struct, frozen=True):
    """The layout to plan, how the result writes it, and what the search found beside it."""

    layout: Layout
    search: dict[str, Any] | None
    fits: bool

    @property
    def shown(self) -> dict[str, Any]:
        return shown_layout(self.layout)


def shown_layout(layout: Layout) -> dict[str, Any]:
    """A layout as the result writes it; it can be read again as a given one."""
    values = {name: getattr(layout, name) for name in Layout.__struct_fields__}
    whole = {k: int(v) if isinstance(v, float) else v for k, v in values.items()}
    return {k: v for k, v in whole.items() if not (k in ("first_stage_layers", "last_stage_layers") and v == 0)}


def choose_layout(resolved: Resolved, phase: TrainingPhase, to_step: float | None = None,
                  needed: Quantity | None = None) -> Chosen:
    """The given layout when it leaves nothing open, else the best under the goal.

    to_step: device-seconds of a run over its steps, to turn a deadline and a budget into limits of one step.
    needed: memory of a first choice that the verdict turned down, for the spread it was planned with.
    Raises Inconsistent when the given fields leave no legal layout.
    """
    arch, hw, recipe = _inputs(resolved, phase)
    space = require_layouts(arch, hw, recipe, given_fields(phase.layout))
    evaluator, objective = StepEvaluator(arch, hw, recipe, space), objective_of(resolved)
    shares = [_margin(phase.residual_memory), _even(phase.residual_memory)] if needed is None else [_even(needed)]
    limits = [_limits(resolved, share, to_step) for share in shares]
    if len(space) == 1 and objective.name == "time" and all(each.memory_only for each in limits):
        only = next(block for block in space if len(block))  # nothing to rank, so no time is asked for
        return Chosen(only.layout(0), None, any(bool(fits_within(evaluator, only, hw, each)[0]) for each in limits))
    found = None
    for each in limits:
        found = rank(space, hw, evaluator, objective, each, int(resolved.goal.get("top") or DEFAULT_TOP))
        if found.best:
            break
    assert found is not None
    return Chosen(found.chosen.layout, _shown_search(found) if found.legal > 1 else None, bool(found.best))


def _inputs(resolved: Resolved, phase: TrainingPhase) -> tuple[Any, Hardware, Recipe]:
    assert resolved.architecture is not None and resolved.hardware is not None and phase.recipe is not None
    return resolved.architecture, nominal(resolved.hardware), nominal(phase.recipe)


def _margin(residual: Quantity) -> float:
    """The share of memory to fill so that a chosen layout fits with 90 % probability."""
    return min(1.0, residual.value / residual.high) if residual.high > 0 else 1.0


def _even(memory: Quantity) -> float:
    """The share of memory to fill so that the verdict is just "fits": a little more likely than not."""
    if memory.samples is None:
        return 1.0
    return min(1.0, memory.value / quantile(memory.samples, 0.6))


def objective_of(resolved: Resolved) -> Objective:
    """What the search minimises; the value of a device-second at the power its activity draws."""
    aim = resolved.goal.get("minimize") or "time"
    if aim == "time" or resolved.rates is None:
        return Objective("time")
    if aim in ("energy", "carbon") and resolved.power is None:
        raise BadValue(f"goal.minimize: {aim} needs the power of the device; give fleet.device.power_w or "
                       "fleet.power_w_per_device", "goal.minimize")
    key = AIMS[aim]
    power_of = _power_of(resolved.power)

    def per_device_s(times: Mapping[str, Any]) -> Any:
        values = unit_value(resolved.rates, power_of(times))  # type: ignore[arg-type]
        if values[key] is None:
            raise BadValue(f"goal.minimize: {aim} needs a price; give fleet.usd_per_device_hour", "goal.minimize")
        return values[key]

    return Objective(aim, per_device_s)


def _power_of(power: PowerInputs | None) -> Callable[[Mapping[str, Any]], Any]:
    import numpy as np

    def mean_power(times: Mapping[str, Any]) -> Any:
        if power is None:
            return 0.0
        if power.measured_it_w is not None:
            return power.measured_it_w.value + 0.0 * times["step_time_s"]
        level = pw.activity_level(times["compute_activity"], times["memory_activity"], power.compute_weight.value,
                                  power.memory_weight.value, power.memory_exponent.value,
                                  power.compute_exponent.value)
        cap = nominal(power.cap_w)
        watts = pw.device_power_w(power.rated_w.value, level, power.idle_share.value, power.ceiling_share.value, cap)
        return np.minimum(watts * power.residual.value, cap)

    return mean_power


def _limits(resolved: Resolved, share: float, to_step: float | None) -> Limits:
    if to_step is None:
        return Limits(memory_share=share)
    deadline, budget = resolved.goal.get("deadline"), resolved.goal.get("budget")
    money = None
    if budget is not None and resolved.rates is not None:
        priced = replace(resolved, goal=resolved.goal | {"minimize": "money"})
        money = (objective_of(priced), budget / to_step)
    return Limits(deadline / to_step if deadline is not None else None, money, share)


def _shown_search(found: SearchResult) -> dict[str, Any]:
    return {
        "minimize": found.objective, "legal": found.legal, "fitting": found.fitting,
        "rules": list(found.rules),
        "best": [shown_choice(c) for c in found.best],
        "front": [shown_choice(c) for c in found.front[:20]],
    }


def shown_choice(choice: Choice) -> dict[str, Any]:
    return {"layout": shown_layout(choice.layout), "step_time_s": choice.step_time_s,
            "memory_per_device_bytes": choice.memory_bytes, "value": choice.value}


def described(phase: TrainingPhase) -> bool:
    """Whether every split and every choice that moves memory is given: a run described, not one looked for."""
    return set(FULL) <= set(given_fields(phase.layout))


def near(resolved: Resolved, phase: TrainingPhase, layout: Layout, needed: Quantity, fits: bool) -> Nearest:
    """Verified changes when a layout does not fit, or the room that is left when it does.

    Where the user left the layout open and nothing fits, a change is judged by the best layout under it, and
    its price is over the fastest layout if memory were no limit. needed: memory of the plan, for its spread.
    """
    arch, hw, recipe = _inputs(resolved, phase)
    trials, plain = StepTrials(arch), hw
    # changes are held to the verdict of the plan they lead to
    share = _even(needed)
    hw = replace(hw, memory_bytes=capacity_bytes(hw) * share)
    start = Attempt(recipe, layout, hw)
    measured = trials.measure(start)
    if fits:  # as the verdict says, also where it is a close one
        roomy = replace(hw, memory_bytes=max(capacity_bytes(hw), measured.memory_bytes))
        return nearest(replace(start, hardware=roomy), trials, measured=measured)

    def bigger(least: float) -> list[Hardware]:
        return [replace(nominal(h), memory_bytes=capacity_bytes(nominal(h)) * share)
                for h in resolved.bigger(max(least / share * MOST_TIGHTER, capacity_bytes(plain)))]

    if not described(phase):
        given = given_fields(phase.layout)
        fastest = search(arch, hw, recipe, given, top=1, limits=Limits(memory_share=float("inf")))
        if fastest.best:
            measured = replace(measured, step_time_s=fastest.best[0].step_time_s)
        start = Attempt(recipe, None, hw, given)
    return nearest(start, trials, bigger=bigger, measured=measured)


def nothing_found(around: Nearest) -> str:
    """The sentence beside a plan that does not fit and has no change to offer."""
    what = "host memory" if around.constraint == "host_memory_bytes" else "device memory"
    return (f"pretrain: nothing within the search makes this fit in {what}: no layout, recomputation, offload, lighter "
            f"optimizer or shorter sequence, on up to {MOST_FLEET_GROWTH} times the devices or on larger ones")


def shown_change(change: Change, resolved: Resolved) -> dict[str, Any]:
    """A change as words and numbers: what to set, what it frees, what it costs in time."""
    words = ", ".join(f"{s.field.removeprefix('pretrain.').removeprefix('layout.')} {s.before} → {s.after}"
                      for s in change.steps)
    slower = 100 * (change.time_ratio - 1)
    dearer = 100 * (change.device_time_ratio - 1)
    price = f"{slower:+.0f} % time" + (f", {dearer:+.0f} % device-time" if abs(dearer - slower) >= 1 else "")
    return {
        "change": words, "kind": change.kind, "set": _settings(change, resolved),
        "gain": f"{change.gained_bytes / 2**30:+.1f} GiB free", "price": price,
        "memory_per_device_bytes": change.memory_bytes, "freed_bytes": change.freed_bytes,
        "gained_bytes": change.gained_bytes, "step_time_s": change.step_time_s, "time_ratio": change.time_ratio,
        "device_time_ratio": change.device_time_ratio,
    }


def _settings(change: Change, resolved: Resolved) -> dict[str, Any]:
    """Scenario paths to set; None takes a field out. Another device does not keep the numbers of the one before."""
    found = {s.field: None if s.after == "searched" else s.after for s in change.steps}
    fleet = resolved.scenario.get("fleet") or {}
    if "fleet.device" in found:
        found |= {f"fleet.{name}": None for name in OF_THE_DEVICE if fleet.get(name) is not None}
    if resolved.by_instance and not found.keys().isdisjoint({"fleet.device", "fleet.devices"}):
        at = change.attempt.hardware  # a count beside an instance's name would be one of instances
        found |= {"fleet.device": at.device, "fleet.devices": at.devices}
    return found


def scaling_table(resolved: Resolved, phase: TrainingPhase, run_over_steps: float,
                  steps: float) -> list[dict[str, Any]]:
    """Strong scaling around the fleet asked for; run_over_steps is elapsed over time in steps."""
    arch, hw, recipe = _inputs(resolved, phase)
    sizes = fleet_sizes(hw.devices, hw.devices_per_node)
    best = best_on_fleets(arch, hw, recipe, sizes, objective_of(resolved), _margin(phase.residual_memory))

    def plan_on(devices: int) -> tuple[float, float, Layout] | None:
        found = best[devices]
        if isinstance(found, OutlayError):
            raise found
        return None if found is None else (found.step_time_s, found.step_time_s * steps * run_over_steps, found.layout)

    rows = []
    for row in strong_scaling(hw.devices, hw.devices_per_node, plan_on):
        shown: dict[str, Any] = {
            "devices": row.devices, "step_time_s": row.step_time_s, "device_hours": row.device_hours,
            "elapsed_s": None if row.days is None else row.days * 86400.0, "efficiency": row.efficiency}
        if row.layout is not None:
            shown["layout"] = shown_layout(row.layout)
        if row.why:
            shown["why"] = row.why
        rows.append(shown)
    return rows
