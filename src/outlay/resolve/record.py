"""What resolving gives: every input known, with what was assumed on the way."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from outlay.architecture import Architecture
from outlay.derive import Quantity
from outlay.resolve.notes import Notes

if TYPE_CHECKING:
    from outlay.account_rates import Rates
    from outlay.resolve.calendar import Calendar
    from outlay.resolve.data.phase import DataPhase
    from outlay.resolve.life import LifePhase
    from outlay.resolve.maintain import MaintainPhase
    from outlay.resolve.power import PowerInputs
    from outlay.resolve.serve.phase import ServePhase
    from outlay.scenario import Layout
    from outlay.steps.inputs import Hardware, Recipe


class TrainingPhase(Struct, frozen=True):
    """A pre-training phase ready to plan; `layout` is what the user fixed, the rest is searched."""

    recipe: Recipe | None
    layout: Layout
    tokens: float | None
    device_hours: float | None
    calendar: Calendar
    residual_time: Quantity
    residual_memory: Quantity
    evidence: str
    stored_tokens: float | None = None  # kept on disk for the run; None: all of `tokens`


class Resolved(Struct, frozen=True):
    """A scenario with every input known; planners take this and look nothing up."""

    scenario: dict[str, Any]  # every default visible; can be read again as a scenario
    architecture: Architecture | None
    hardware: Hardware | None
    rates: Rates | None
    power: PowerInputs | None
    pretrain: TrainingPhase | None
    goal: dict[str, Any]
    notes: Notes
    seed: int
    catalog_date: str
    place: str = ""
    site_shown: dict[str, Any] = field(default_factory=dict)
    fleet_given_devices: bool = False
    bigger: Callable[[float], tuple[Hardware, ...]] = lambda least: ()  # devices of at least so much memory
    by_instance: bool = False  # the fleet was counted in cloud instances
    serve: ServePhase | None = None
    finetune: Any = None  # resolve.finetune.phase.TunePhase
    data: DataPhase | None = None
    maintain: MaintainPhase | None = None
    life: LifePhase | None = None
