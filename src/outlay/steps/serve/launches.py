"""Steps whose kernels are handed out one by one: no step is shorter than that takes.

An engine that captures its decode steps in graphs hands each out whole. Told not to, its host launches a layer's
kernels while the device works at those before; where a layer is small the device waits for the host.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from outlay.steps.serve.time_inputs import LAUNCHES

Num = Any


def is_eager(constants: Mapping[str, Num]) -> bool:
    """Whether an engine's decode steps are launched kernel by kernel, beside what captured ones take."""
    return LAUNCHES[0] in constants


def step_launches_s(layers: Num, expert_layers: Num, mixer_layers: Num, constants: Mapping[str, Num]) -> Num:
    """Host time of handing out a decode step kernel by kernel; nothing where it is captured.

    An 8B model of 32 layers at 0.25 ms each: 8 ms, where such a step is reported to take 8.4 ms on an H100, and 5.1 ms
    in a graph (cloudai.pt, "CUDA Graphs + torch.compile: 1.65x LLM Decode Speedup").

    >>> round(step_launches_s(32, 0, 0, {"launch_layer_s": 250e-6, "launch_expert_layer_s": 0.0,
    ...                                  "launch_mixer_layer_s": 0.0}) * 1e3, 1), step_launches_s(32, 0, 0, {})
    (8.0, 0.0)
    """
    if not is_eager(constants):
        return 0.0
    layer, experts, mixer = (constants[name] for name in LAUNCHES)
    return layers * layer + expert_layers * experts + mixer_layers * mixer
