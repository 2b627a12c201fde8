"""Every change offered has been planned and fits; head-room is the largest that still fits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace

import pytest

from outlay.planner.evaluate import one_layout
from outlay.planner.layouts import search
from outlay.planner.nearest import Attempt, nearest
from outlay.steps.inputs import Hardware, Layout, Recipe

support = SimpleNamespace(**run_path(str(Path(__file__).with_name("layouts_support.py"))))

ARCH = support.dense()


def evaluate(recipe: Recipe, layout: Layout | None, hardware: Hardware) -> tuple[float, float]:
    if layout is None:
        result = search(ARCH, hardware, recipe)
        choice = result.best[0] if result.best else result.smallest
        return choice.memory_bytes, choice.step_time_s
    return one_layout(ARCH, hardware, recipe, layout)


def start(memory_bytes: float, layout: Layout, sequence: int = 4096) -> Attempt:
    return Attempt(support.recipe(sequence), layout, support.fleet(16, memory_bytes))


def test_changes_fit_and_are_priced() -> None:
    tight = start(40e9, Layout(tensor=2, data=8, micro_batch=4))
    found = nearest(tight, evaluate, bigger=[replace(tight.hardware, device="b200", memory_bytes=180e9)])
    assert not found.fits and found.over_bytes > 0
    kinds = {change.kind for change in found.changes}
    assert {"device", "devices", "layout"} <= kinds
    for change in found.changes:
        attempt = change.attempt
        memory, time = evaluate(attempt.recipe, attempt.layout, attempt.hardware)
        assert memory <= attempt.hardware.memory_bytes and memory == pytest.approx(change.memory_bytes)
        assert change.steps and change.freed_bytes == pytest.approx(
            found.over_bytes + tight.hardware.memory_bytes - memory)
        fewer = attempt.recipe.sequence_length / tight.recipe.sequence_length
        before = evaluate(tight.recipe, tight.layout, tight.hardware)[1]
        assert change.time_ratio == pytest.approx(time / fewer / before)


def test_combination_when_one_change_is_not_enough() -> None:
    tight = start(12e9, Layout(tensor=2, data=8, micro_batch=16), 8192)
    found = nearest(tight, evaluate)
    combined = [c for c in found.changes if c.kind == "combined"]
    assert combined and len(combined[0].steps) > 1
    assert all(c.memory_bytes <= 12e9 for c in found.changes)


def test_room_left_is_the_largest_that_fits() -> None:
    roomy = start(80e9, Layout(tensor=4, data=4, zero=1, shard=4, micro_batch=1))
    found = nearest(roomy, evaluate)
    assert found.fits and found.over_bytes < 0 and not found.changes
    assert found.longest_sequence is not None and found.largest_micro_batch is not None
    longest = replace(roomy.recipe, sequence_length=found.longest_sequence)
    assert evaluate(longest, roomy.layout, roomy.hardware)[0] <= 80e9
    longer = replace(roomy.recipe, sequence_length=found.longest_sequence + 128)
    assert evaluate(longer, roomy.layout, roomy.hardware)[0] > 80e9
    assert roomy.layout is not None
    wider = replace(roomy.layout, micro_batch=2 * found.largest_micro_batch)
    assert evaluate(roomy.recipe, wider, roomy.hardware)[0] > 80e9
