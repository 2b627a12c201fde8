"""The time model as a person's own runs of this model, device and engine correct it, at any load."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from msgspec.structs import replace

from outlay.derive import Quantity, derive, value_of
from outlay.resolve.own_runs import Point
from outlay.resolve.serve.speed import Speed
from outlay.steps.serve.time_inputs import Load

if TYPE_CHECKING:
    from outlay.planner.serve.times import Replicas

Found = Mapping[str, Any]


def own_found(modelled: Callable[[Load], Found], load: Load, speed: Speed, devices: float) -> Found:
    """What the model says of a load, times the factors of runs at loads alike.

    A replica that is slower by a factor is one that arrivals reach that much faster, in its own time.
    """
    found = modelled(load)
    inside = load.concurrency if load.kind in ("closed", "batch") else found["running"]

    def factor(number: str) -> Any:
        return speed.nominal(number, inside, load.input, load.output, devices)

    token, first = factor("tpot_s"), factor("ttft_s")
    if load.kind == "open":
        found = modelled(replace(load, rate=load.rate * token))
    ttft, tpot = found["ttft_s"] * first, found["tpot_s"] * token
    stay = ttft + tpot * np.maximum(load.output - 1.0, 0.0)
    if load.kind in ("closed", "batch"):
        out = found["output_tokens_per_s"] * found["e2e_s"] / stay
    elif load.kind == "queued":
        out = found["output_tokens_per_s"] * factor("output_tokens_per_s")
    else:
        out = found["output_tokens_per_s"] / token
    return {**found, "ttft_s": ttft, "tpot_s": tpot, "e2e_s": stay, "output_tokens_per_s": out}


def place(whole: Replicas, load: Load, found: Mapping[str, Any]) -> Point | None:
    """Where a load lies among those of a person's own runs."""
    inside = load.concurrency if load.kind in ("closed", "batch") else float(found["running"])
    return whole.speed.place(inside, load.input, load.output, value_of(whole.layout.devices))


def own_slower(whole: Replicas, load: Load) -> tuple[float, float]:
    """How much longer than the model a token and a first token take: this engine's one stream, one's own runs."""
    devices, slow, first = value_of(whole.layout.devices), value_of(whole.slower), value_of(whole.slower_first)
    if whole.speed.own is None:
        return slow, first
    inside = load.concurrency if load.kind in ("closed", "batch") else whole.modelled(load)["running"]
    token, prompt = (whole.speed.nominal(n, inside, load.input, load.output, devices) for n in ("tpot_s", "ttft_s"))
    return slow * float(token), first * float(prompt)


def own_alone(whole: Replicas, at: Point | None) -> tuple[Quantity, Quantity]:
    """One request alone: as its own model has it, or as a person's own runs were to that."""
    own, times = whole.speed.own, []
    for name in ("ttft_s", "tpot_s"):
        time: Quantity = whole.single[name]
        if own is not None and name in own.ratios:
            own_s = time.value * whole.speed.nominal(
                name, 1.0, whole.single["input"], whole.single["output"], value_of(whole.layout.devices))
            time = derive(_as_run, time.label, "s", modelled_s=own_s, slower=whole.speed.residual(name, at=at))
        times.append(time)
    return times[0], times[1]


def _as_run(modelled_s: Any, slower: Any) -> Any:
    """The model of one request alone, and what runs of one's own took beyond it."""
    return modelled_s * slower
