"""Weights that stay on the host: every pass of an engine reads them over its link, as far as it uses them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from msgspec.structs import replace

from outlay.architecture import Architecture
from outlay.physics.queueing import experts_touched
from outlay.steps.layers import Split, mixer_shapes, mlp_shapes, weights_of
from outlay.steps.serve.inputs import ServeLayout, part_names
from outlay.steps.serve.time_inputs import EngineTime, TimeDevice
from outlay.steps.serve.time_pass import Pass

Num = Any


def with_host(
    one: Pass, rows: Num, arch: Architecture, device: TimeDevice, engine: EngineTime, layout: ServeLayout, spread: Num
) -> Pass:
    """A pass of `rows` tokens with a part of each device's weights on the host.

    Layers keep theirs there one after another, so that what a pass reads of them is as much of its own kernels' as of
    its experts'. A kernel computes while it reads: vLLM lets kernels read the host's memory, SGLang fetches the next
    layer's meanwhile.
    """
    own, held, read = layer_bytes(arch, engine.part_bytes, layout, rows, spread)
    away = np.asarray(np.minimum(engine.host_bytes * layout.pipeline / (own + held), 1.0))
    return replace(one, away=away, link=away * own / device.host_bytes_per_s,
                   expert_link=away * read / device.host_bytes_per_s)


def layer_bytes(
    arch: Architecture, part_bytes: Mapping[str, Num], layout: ServeLayout, rows: Num, spread: Num
) -> tuple[Num, Num, Num]:
    """Weights of all layers on the devices that a token passes: of kernels that read all of theirs, of routed experts
    held, and of those experts that `rows` tokens of each rank touch."""
    split = Split(1.0, layout.tensor, 1.0, 1.0, 1.0, False)
    own: Num = 0.0
    held: Num = 0.0
    read: Num = 0.0
    for kind, count in arch.groups:
        mixer, dense = part_names(kind)
        own = own + count * (weights_of(mixer_shapes(kind, arch.hidden, split)) * part_bytes[mixer]
                             + weights_of(mlp_shapes(kind, arch.hidden, split)) * part_bytes[dense])
        if kind.mlp != "moe":
            continue
        cut = layout.tensor * layout.data / layout.expert
        each = (kind.expert_hidden or arch.hidden) * kind.expert_ffn / cut * (3.0 if kind.gated else 2.0)
        touched = experts_touched(kind.experts, kind.experts_per_token, rows * layout.data, spread)
        held = held + count * each * part_bytes["experts"] * kind.experts / layout.expert
        read = read + count * each * part_bytes["experts"] * touched / layout.expert
    return own, held, read
