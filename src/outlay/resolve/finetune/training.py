"""A fine-tune in the terms of a training run: hardware at its precision, calendar, residuals."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from outlay.architecture import Architecture
from outlay.resolve.calendar import Defaults, resolve_calendar
from outlay.resolve.efficiency import borrowed, residual
from outlay.resolve.finetune.states import TABLE
from outlay.resolve.fleet import DeviceFacts, peak
from outlay.resolve.notes import Assumption, Notes
from outlay.resolve.record import TrainingPhase
from outlay.scenario import Fleet, Layout, Pretrain
from outlay.steps.inputs import Hardware, Recipe

UNTOLD = (".experiments", "bytes per token at rest")  # defaults of a training run that a fine-tune does not use


class Context(Struct, frozen=True):
    """What a fine-tune is resolved against."""

    architecture: Architecture
    fleet: Fleet
    facts: DeviceFacts
    hardware: Hardware
    defaults: Defaults


def tuned_hardware(at: Context, precision: str) -> Hardware:
    """The fleet at this precision, with the constants of fine-tuning software."""
    constants = {(entry.id, fact.parameter): fact.quantity(at.defaults.seed)
                 for entry in at.defaults.catalog.entries(TABLE)
                 if not entry.id.startswith(("software", "residual")) for fact in entry}
    return replace(at.hardware, peak_flop_per_s=peak(at.facts, precision, "finetune.precision"),
                   efficiency=at.hardware.efficiency.with_constants(constants))


def training_phase(at: Context, recipe: Recipe, layout: Layout, framework: str) -> TrainingPhase:
    """The phase as planners of training take it; what its calendar assumes is told as the fine-tune's."""
    defaults, notes = at.defaults, Notes()
    quiet = Defaults(defaults.catalog, notes, defaults.seed)
    calendar, _ = resolve_calendar(Pretrain(), at.fleet, at.hardware.devices, quiet)
    defaults.notes.assumptions += [Assumption(a.what.replace("pretrain.", "finetune."), a.value, a.why, a.source)
                                   for a in notes.assumptions if not a.what.endswith(UNTOLD)]
    time = residual("tune_time", framework, defaults.catalog, defaults.seed, borrowed(at.facts))
    memory = residual("tune_memory", framework, defaults.catalog, defaults.seed)
    return TrainingPhase(recipe=recipe, layout=layout, tokens=None, device_hours=None, calendar=calendar,
                         residual_time=time, residual_memory=memory, evidence=framework)
