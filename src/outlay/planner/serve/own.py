"""The time model as a person's own runs of this model, device and engine correct it, at any load."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from msgspec.structs import replace

from outlay.physics.queueing import request_s
from outlay.resolve.serve.speed import Speed
from outlay.steps.serve.time_inputs import Load

Found = Mapping[str, Any]


def own_found(modelled: Callable[[Load], Found], load: Load, speed: Speed, devices: float) -> Found:
    """What the model says of a load, times the factors of runs at loads alike.

    A replica that is slower by a factor is one that arrivals reach that much faster, in its own time. At its fullest
    it answers as much less as was measured of throughput; without that, as a token is slower.
    """
    found = modelled(load)
    inside = load.concurrency if load.kind in ("closed", "batch") else found["running"]

    def factor(number: str) -> Any:
        return speed.nominal(number, inside, load.input, load.output, devices)

    token, first = factor("tpot_s"), factor("ttft_s")
    if load.kind == "open":
        found = modelled(replace(load, rate=load.rate * token))
    ttft, tpot = found["ttft_s"] * first, found["tpot_s"] * token
    stay = request_s(ttft, tpot, load.output)
    if load.kind in ("closed", "batch"):
        out = found["output_tokens_per_s"] * found["e2e_s"] / stay
    elif load.kind == "queued":
        out = found["output_tokens_per_s"] * (factor("output_tokens_per_s") if _told(speed) else 1.0 / token)
    else:
        out = found["output_tokens_per_s"] / token
    return {**found, "ttft_s": ttft, "tpot_s": tpot, "e2e_s": stay, "output_tokens_per_s": out}


def own_pools(modelled: Callable[[Load], Found], load: Load, speed: Speed, devices: Any) -> Found:
    """The same of two pools, whose capacity and load the runs tell too; devices: of both, arrays where many are told.

    What they sustain is as much less as was measured of throughput; without that, as a token is slower.
    """
    found = modelled(load)
    inside = np.maximum(load.concurrency if load.kind == "closed" else found["running"], 1e-6)
    shape = np.broadcast_shapes(np.shape(inside), np.shape(devices))
    inside, each = np.broadcast_to(inside, shape), np.broadcast_to(devices, shape)

    def factor(number: str) -> Any:
        values = np.ones(shape)
        for count in np.unique(each):
            mine = each == count
            values[mine] = speed.nominal(number, inside[mine], load.input, load.output, float(count))
        return values if shape else float(values)

    token, first = factor("tpot_s"), factor("ttft_s")
    fewer = factor("output_tokens_per_s") if _told(speed) else 1.0 / token
    if load.kind == "open":
        found = modelled(replace(load, rate=load.rate / fewer))
    ttft, tpot = found["ttft_s"] * first, found["tpot_s"] * token
    stay = request_s(ttft, tpot, load.output)
    out = found["output_tokens_per_s"] * (found["e2e_s"] / stay if load.kind == "closed" else fewer)
    return {**found, "ttft_s": ttft, "tpot_s": tpot, "e2e_s": stay, "output_tokens_per_s": out,
            "capacity_per_s": found["capacity_per_s"] * fewer}


def _told(speed: Speed) -> bool:
    """Whether throughput is among what was measured: of arrivals by themselves it is not."""
    return speed.own is not None and "output_tokens_per_s" in speed.own.ratios
