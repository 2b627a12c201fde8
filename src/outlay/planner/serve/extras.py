"""What adapters and images add to the engine's own times."""

from __future__ import annotations

from msgspec.structs import replace

from outlay.architecture import Architecture
from outlay.derive import value_of
from outlay.resolve.serve.phase import ServePhase
from outlay.steps.serve.inputs import ServeLayout
from outlay.steps.serve.time_parts import PROMPT_SHARE
from outlay.steps.serve.weights import adapter_bytes, stage_layers


def with_extras(phase: ServePhase, arch: Architecture, layout: ServeLayout) -> ServePhase:
    """The phase with adapters read and launched in every step, and images encoded before a prompt."""
    speed = phase.speed
    if not speed.adapter_layer_s and not speed.image_flop:
        return phase
    constants = dict(speed.engine.constants)
    if speed.adapter_layer_s:
        whole = ServeLayout(layout.tensor)
        moved = value_of(adapter_bytes(arch, phase.recipe, whole, stage_layers(arch, 1, 0, False)))
        reading = moved / value_of(speed.device.memory_bytes_per_s)
        constants["step_s"] += arch.layers * speed.adapter_layer_s + reading
    if speed.image_flop:
        peak = PROMPT_SHARE * value_of(speed.device.peaks["bf16"]) * value_of(layout.tensor)
        constants["first_s"] += speed.image_flop / peak
    return replace(phase, speed=replace(speed, engine=replace(speed.engine, constants=constants)))
