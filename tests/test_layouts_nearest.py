"""Every change offered has been planned and fits; head-room is the largest that still fits."""

from __future__ import annotations

from pathlib import Path
from runpy import run_path
from types import SimpleNamespace

import pytest
from msgspec.structs import replace

from outlay.planner.pretrain.nearest import nearest
from outlay.planner.trials import Attempt, StepTrials
from outlay.steps.inputs import Layout

support = SimpleNamespace(**run_path(str(Path(__file__).with_name("layouts_support.py"))))

ARCH = support.dense()


TRIALS = StepTrials(ARCH)


def start(memory_bytes: float, layout: Layout, sequence: int = 4096) -> Attempt:
    return Attempt(support.recipe(sequence), layout, support.fleet(16, memory_bytes))


def test_changes_fit_and_are_priced() -> None:
    tight = start(40e9, Layout(tensor=2, data=8, micro_batch=4))
    found = nearest(tight, TRIALS, bigger=lambda least: [replace(tight.hardware, device="b200", memory_bytes=180e9)])
    assert not found.fits and found.over_bytes > 0
    kinds = {change.kind for change in found.changes}
    assert {"device", "devices"} <= kinds and len(found.changes) == len({c.family for c in found.changes}) <= 5
    for change in found.changes:
        attempt = change.attempt
        measured = TRIALS.measure(attempt)
        memory, time = measured.memory_bytes, measured.step_time_s
        assert memory <= attempt.hardware.memory_bytes and memory == pytest.approx(change.memory_bytes)
        assert change.steps and change.freed_bytes == pytest.approx(
            found.over_bytes + tight.hardware.memory_bytes - memory)
        fewer = attempt.recipe.sequence_length / tight.recipe.sequence_length
        before = TRIALS.measure(tight).step_time_s
        assert change.time_ratio == pytest.approx(time / fewer / before)


def test_combination_when_one_change_is_not_enough() -> None:
    tight = start(12e9, Layout(tensor=2, data=8, micro_batch=16), 8192)
    found = nearest(tight, TRIALS)
    combined = [c for c in found.changes if c.kind == "combined"]
    assert combined and len(combined[0].steps) > 1
    assert all(c.memory_bytes <= 12e9 for c in found.changes)


def test_room_left_is_the_largest_that_fits() -> None:
    roomy = start(80e9, Layout(tensor=4, data=4, zero=1, shard=4, micro_batch=1))
    found = nearest(roomy, TRIALS)
    assert found.fits and found.over_bytes < 0 and not found.changes
    assert found.longest_sequence is not None and found.largest_micro_batch is not None
    longest = replace(roomy.recipe, sequence_length=found.longest_sequence)
    assert TRIALS.fits(replace(roomy, recipe=longest))
    longer = replace(roomy.recipe, sequence_length=found.longest_sequence + 128)
    assert not TRIALS.fits(replace(roomy, recipe=longer))
    assert roomy.layout is not None
    wider = replace(roomy.layout, micro_batch=2 * found.largest_micro_batch)
    assert not TRIALS.fits(replace(roomy, layout=wider))


@pytest.mark.parametrize(("devices", "per_node"), [(4, 8), (1, 4), (6, 8), (16, 8)])
def test_more_devices_are_whole_nodes_or_part_of_one(devices: int, per_node: int) -> None:
    hardware = support.fleet(devices, 9e9 if devices > per_node else 12e9, per_node)
    found = nearest(Attempt(support.recipe(), None, hardware), TRIALS)
    sizes = [c.attempt.hardware.devices for c in found.changes if c.kind == "devices"]
    assert sizes and all(size <= per_node or size % per_node == 0 for size in sizes)


def test_offload_is_offered_only_where_the_host_holds_it() -> None:
    roomy = support.fleet(8, 16e9)
    kinds = {name: {c.kind for c in nearest(Attempt(support.recipe(), None, hardware), TRIALS).changes}
             for name, hardware in (("much", roomy), ("little", replace(roomy, host_memory_bytes=50e9)))}
    assert "offload" in kinds["much"] and "offload" not in kinds["little"]


def test_a_host_too_small_is_what_binds() -> None:
    tight = replace(support.fleet(8, 80e9), host_memory_bytes=60e9)
    found = nearest(Attempt(support.recipe(offload="optimizer"), None, tight), TRIALS)
    assert not found.fits and found.constraint == "host_memory_bytes"
    assert all(TRIALS.fits(change.attempt) and change.gained_bytes > 0 for change in found.changes) and found.changes


def test_a_given_layout_with_no_way_out_is_released() -> None:
    held = {"tensor": 1, "pipeline": 1, "context": 1, "data": 8, "zero": 0}
    found = nearest(Attempt(support.recipe(), None, support.fleet(8, 40e9), held), TRIALS)
    released = [c for c in found.changes if c.kind == "layout"]
    assert released and released[0].steps[0].field == "pretrain.layout" and TRIALS.fits(released[0].attempt)
