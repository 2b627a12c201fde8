"""Planning a change before it is offered: memory of device and host, and time, of a layout or of the best."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from msgspec import Struct, field
from msgspec.structs import replace

from outlay.architecture import Architecture
from outlay.derive import value_of
from outlay.errors import OutlayError
from outlay.planner.layouts.errors import require_layouts
from outlay.planner.layouts.evaluate import layout_fields, nominal
from outlay.planner.layouts.search import anything_fits, search
from outlay.steps.inputs import Hardware, Layout, Recipe
from outlay.steps.train.memory import LAYER_COLUMNS, STAGE_COLUMNS, train_memory
from outlay.steps.train.time import train_time

COLUMNS = (*dict.fromkeys((*LAYER_COLUMNS, *STAGE_COLUMNS, "data", "shard")),)  # what a search varies in a block


class Attempt(Struct, frozen=True):
    """One plan: how, over what layout (None: searched, with the fields of `held`), on what."""

    recipe: Recipe
    layout: Layout | None
    hardware: Hardware
    held: Mapping[str, Any] = field(default_factory=dict)


class Measured(Struct, frozen=True):
    """Bytes on the fullest device, seconds of a step, bytes on the host of a node; nominal."""

    memory_bytes: float
    step_time_s: float
    host_bytes: float = 0.0


class Trials(Protocol):
    """What tries a plan; `measure` raises OutlayError for one that cannot be."""

    def measure(self, attempt: Attempt) -> Measured:
        """The plan's memory and time."""

    def fits(self, attempt: Attempt) -> bool:
        """Whether device and host hold it; time is not worked out."""


def capacity_bytes(hardware: Hardware) -> float:
    return value_of(hardware.memory_bytes)


def host_capacity_bytes(hardware: Hardware) -> float:
    """Host memory of a node; endless where it is not known, as in the verdict."""
    known = value_of(hardware.host_memory_bytes)
    return known if known > 0 else float("inf")


def shortfall_bytes(hardware: Hardware, measured: Measured) -> float:
    """How much a device and its share of the host are too small; 0 when the plan fits."""
    device = max(measured.memory_bytes - capacity_bytes(hardware), 0.0)
    host = max(measured.host_bytes - host_capacity_bytes(hardware), 0.0)
    return device + host / min(hardware.devices_per_node, hardware.devices)


class StepTrials:
    """Trials of one model's training step by the plan's own compositions."""

    def __init__(self, arch: Architecture) -> None:
        self.arch = arch

    def measure(self, attempt: Attempt) -> Measured:
        recipe, layout, hardware = attempt.recipe, attempt.layout, attempt.hardware
        if layout is not None:
            require_layouts(self.arch, hardware, recipe, layout_fields(layout))
            time_s = float(train_time(self.arch, nominal(hardware), nominal(recipe), layout)["step_time_s"])
        else:
            found = search(self.arch, hardware, recipe, attempt.held, top=1)
            time_s, layout = found.chosen.step_time_s, found.chosen.layout
        memory, host = self._memory(recipe, layout, hardware)
        return Measured(memory, time_s, host)

    def fits(self, attempt: Attempt) -> bool:
        recipe, layout, hardware = attempt.recipe, attempt.layout, attempt.hardware
        try:
            if layout is None:
                return anything_fits(self.arch, hardware, recipe, attempt.held)
            require_layouts(self.arch, hardware, recipe, layout_fields(layout))
            memory, host = self._memory(recipe, layout, hardware)
        except OutlayError:
            return False
        return memory <= capacity_bytes(hardware) and host <= host_capacity_bytes(hardware)

    def _memory(self, recipe: Recipe, layout: Layout, hardware: Hardware) -> tuple[float, float]:
        """Of the fullest device and of a node's host; as one row, for which few stages are looked at."""
        row: dict[str, Any] = {name: np.array([float(getattr(layout, name))]) for name in COLUMNS}
        found = train_memory(self.arch, nominal(hardware), nominal(recipe), replace(layout, **row))
        return float(np.max(found.memory_per_device_bytes)), float(np.max(found.host_memory_bytes))
