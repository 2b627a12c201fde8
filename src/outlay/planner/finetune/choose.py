"""The layout of a fine-tune: as given, or the fastest that fits among those its software runs."""

from __future__ import annotations

from msgspec.structs import replace

from outlay.errors import Inconsistent, OutlayError
from outlay.planner.finetune.step import tuned_step
from outlay.planner.pretrain.choose import Chosen, choose_layout
from outlay.resolve.finetune.phase import TunePhase
from outlay.resolve.record import Resolved
from outlay.scenario import Layout

PHASE = "finetune"


def as_training(resolved: Resolved, phase: TunePhase) -> Resolved:
    """The same question with the fine-tune in the place of a training run."""
    return replace(resolved, hardware=phase.hardware, pretrain=phase.training)


def choose_tune(resolved: Resolved, phase: TunePhase, recompute: str | None = None) -> Chosen:
    """The given layout, or the fastest that fits; without checkpointing where neither is said and it fits.

    recompute: kept where the phase leaves it open. Raises Inconsistent when the given fields leave no layout.
    """
    asked = phase.training.layout
    open_choice = asked.recompute is None and recompute is None
    kinds = ("none", "full") if open_choice else (asked.recompute or recompute,)
    found = None
    for kind in kinds:
        found = _over_zero(as_training(resolved, phase), phase, replace(asked, recompute=kind))
        if found.fits:
            break
    assert found is not None
    if open_choice:
        resolved.notes.assume("finetune.gradient_checkpointing", found.layout.recompute == "full",
                              "off where the step fits without it, on where it does not")
    return found


def _over_zero(at: Resolved, phase: TunePhase, asked: Layout) -> Chosen:
    """The best over the ZeRO stages the software uses, or over all where it has no habit."""
    choices = phase.zero_choices or (None,)
    found: list[tuple[bool, float, Chosen]] = []
    trouble: OutlayError | None = None
    for zero in choices:
        layout = asked if zero is None else replace(asked, zero=zero)
        try:
            chosen = choose_layout(at, replace(phase.training, layout=layout))
        except Inconsistent as error:
            trouble = trouble or _renamed(error)
            continue
        if len(choices) == 1:
            return chosen
        step = float(tuned_step(at, phase, chosen.layout, plain=True).times["step_time_s"])
        found.append((not chosen.fits, step, chosen))
    if not found:
        assert trouble is not None
        raise trouble
    return min(found, key=lambda entry: entry[:2])[2]


def _renamed(error: OutlayError) -> OutlayError:
    """An error of a layout, named by the fine-tune's own field."""
    return type(error)(error.message.replace("pretrain.", f"{PHASE}."), error.field.replace("pretrain.", f"{PHASE}."))
