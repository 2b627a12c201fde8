"""The time model as a person's own runs of this model, device and engine correct it, at any load."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from outlay.resolve.serve_speed import Speed
from outlay.steps.serve_time_inputs import Load

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
