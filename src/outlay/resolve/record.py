"""What resolving gives: every input known, with what was assumed on the way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from outlay.architecture import Architecture
from outlay.derive import Quantity

if TYPE_CHECKING:
    from outlay.account_rates import Rates
    from outlay.resolve.data.phase import DataPhase
    from outlay.resolve.life import LifePhase
    from outlay.resolve.maintain import MaintainPhase
    from outlay.resolve.power import PowerInputs
    from outlay.resolve.serve.phase import ServePhase
    from outlay.scenario import Layout
    from outlay.steps.inputs import Hardware, Recipe


@dataclass(frozen=True, slots=True)
class Assumption:
    """A value the user did not give, why it was taken, and where it comes from."""

    what: str
    value: Any
    why: str
    source: str = ""

    def to_dict(self) -> dict[str, Any]:
        return {"what": self.what, "value": self.value, "why": self.why, "source": self.source}


@dataclass(slots=True)
class Notes:
    """Collects assumptions and warnings while one scenario is resolved and planned; one per plan."""

    assumptions: list[Assumption] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def assume(self, what: str, value: Any, why: str, source: str = "") -> None:
        if isinstance(value, Quantity):
            value = value.value
        self.assumptions.append(Assumption(what, value, why, source))

    def warn(self, text: str) -> None:
        if text not in self.warnings:
            self.warnings.append(text)


@dataclass(frozen=True, slots=True)
class Calendar:
    """What turns steps into days: failures, checkpoints, warm-up, evaluation."""

    failures_per_device_s: Quantity
    restart_s: Quantity
    write_bytes_per_s: Quantity
    asynchronous: Quantity
    evaluation_share: Quantity
    warm_up_s: Quantity
    experiments: Quantity  # all compute over the final run's; 1 = the final run alone
    checkpoints_kept: Quantity
    dataset_bytes_per_token: Quantity
    checkpoint_interval_s: Quantity | None = None
    goodput: float | None = None


@dataclass(frozen=True, slots=True)
class TrainingPhase:
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


@dataclass(frozen=True, slots=True)
class Resolved:
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
