"""What a training run consumes: device-seconds, joules and stored bytes by item, then accounted."""

from __future__ import annotations

from typing import Any

from outlay.account import account
from outlay.derive import Num, Quantity, derive
from outlay.physics import goodput as gp
from outlay.physics import power as pw
from outlay.physics import storage as st
from outlay.planner.calendar import RunTime
from outlay.resolve.power import PowerInputs
from outlay.resolve.record import Resolved
from outlay.usage import Line, Scope, Usage

PHASE = "pretrain"
AT_REST = ("checkpoints",)  # items during which devices wait


def training_lines(
    resolved: Resolved, run: RunTime, values: dict[str, Any], name: str = PHASE
) -> tuple[dict[str, Any], list[Line]]:
    """Values of power and storage, and the accounted lines of the run."""
    phase, hw, rates = resolved.pretrain, resolved.hardware, resolved.rates
    assert phase is not None and hw is not None and rates is not None
    power = resolved.power
    found: dict[str, Any] = {}
    busy_w, scope = busy_power(power, values["compute_activity"], values["memory_activity"])
    if busy_w is not None:
        found["power_w_per_device"] = busy_w
    usages: list[Usage] = []
    start = 0.0
    for item, seconds in run.parts.items():
        if seconds.value <= 0:
            continue
        held = derive(gp.device_s, f"device-seconds, {item}", "s", elapsed_s=seconds, devices=hw.devices)
        item_w = idle_power(power) if item in AT_REST and busy_w is not None and scope == "device" else busy_w
        usages += device_usage(item, held, item_w, scope, start, seconds.value, resolved.place, name)
        start += seconds.value
    total = derive(gp.device_s, "device-seconds of the run", "s", elapsed_s=run.elapsed_s, devices=hw.devices)
    if phase.calendar.experiments.value > 1:
        extra = derive(gp.experiments_device_s, "device-seconds of experiments and failed runs", "s", device_s=total,
                       multiplier=phase.calendar.experiments)
        usages += device_usage("experiments", extra, busy_w, scope, 0.0, 0.0, resolved.place, name)
    storage, stored = stored_usage(resolved, run, name)
    found |= stored
    return found, account(usages + storage, rates)


def busy_power(power: PowerInputs | None, compute: Num, memory: Num) -> tuple[Quantity | None, Scope]:
    """Mean power of a working device and the scope it was taken at; None when nothing is known of it."""
    if power is None:
        return None, "device"
    if power.measured_it_w is not None:
        return power.measured_it_w, "node"
    level = derive(pw.activity_level, "activity level", "", compute_activity=compute, memory_activity=memory,
                   compute_weight=power.compute_weight, memory_weight=power.memory_weight,
                   memory_exponent=power.memory_exponent, compute_exponent=power.compute_exponent)
    modelled = derive(pw.device_power_w, "device power, model", "W", rated_w=power.rated_w, level=level,
                      idle_share=power.idle_share, ceiling_share=power.ceiling_share, cap_w=power.cap_w)
    return derive(_within_cap, "device power", "W", power_w=modelled, residual=power.residual,
                  cap_w=power.cap_w), "device"


def _within_cap(power_w: Any, residual: Any, cap_w: Any) -> Any:
    """Modelled power times what measured devices drew beyond it, never above the cap."""
    import numpy as np

    return np.minimum(power_w * residual, cap_w)


def idle_power(power: PowerInputs | None) -> Quantity | None:
    """Power of a device that waits."""
    if power is None:
        return None
    idle: Quantity = derive(_share_of, "idle power", "W", rated_w=power.rated_w, idle_share=power.idle_share)
    return idle


def _share_of(rated_w: Any, idle_share: Any) -> Any:
    """Idle power as a share of rated power."""
    return rated_w * idle_share


def device_usage(item: str, held: Quantity, power_w: Quantity | None, scope: Scope, start_s: float, duration_s: float,
                 place: str, name: str = PHASE) -> list[Usage]:
    """Device-seconds of an item and the energy drawn in them."""
    usages = [Usage(f"{name}.{item}.device_s", name, item, "device_s", "device", held, "s", start_s, duration_s, place)]
    if power_w is not None:
        energy = derive(_energy, f"device energy, {item}", "J", device_s=held, power_w=power_w)
        usages.append(Usage(f"{name}.{item}.energy_j", name, item, "energy_j", scope, energy, "J", start_s,
                            duration_s, place))
    return usages


def _energy(device_s: Any, power_w: Any) -> Any:
    """Device-seconds at a mean power."""
    return device_s * power_w


def stored_usage(resolved: Resolved, run: RunTime, name: str = PHASE) -> tuple[list[Usage], dict[str, Any]]:
    """Checkpoints kept and the corpus, for the length of the run."""
    phase = resolved.pretrain
    assert phase is not None
    kept = derive(st.kept_bytes, "checkpoints kept", "bytes", checkpoint_bytes=run.checkpoint_bytes,
                  kept=phase.calendar.checkpoints_kept)
    tokens = phase.tokens if phase.stored_tokens is None else phase.stored_tokens
    corpus = derive(st.dataset_bytes, "training corpus", "bytes", tokens=tokens,
                    bytes_per_token=phase.calendar.dataset_bytes_per_token)
    usages = []
    for item, size in (("checkpoint-storage", kept), ("dataset-storage", corpus)):
        if item == "dataset-storage" and resolved.data is not None:
            continue  # the data phase keeps the corpus
        held = derive(st.byte_seconds, f"{item}, bytes times time", "byte·s", stored_bytes=size, stored_s=run.elapsed_s)
        usages.append(Usage(f"{name}.{item}.storage_byte_s", name, item, "storage_byte_s", "node", held, "byte·s",
                            0.0, run.elapsed_s.value, resolved.place))
    return usages, {"checkpoints_kept_bytes": kept, "dataset_bytes": corpus}
