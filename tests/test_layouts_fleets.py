"""One pass over several fleet sizes gives what a search on each gives."""

from __future__ import annotations

from pathlib import Path
from runpy import run_path
from types import SimpleNamespace

import numpy as np
import pytest
from msgspec.structs import replace

from outlay.errors import OutlayError
from outlay.planner.layouts.fleets import best_on_fleets
from outlay.planner.layouts.search import Limits, Objective, search
from outlay.steps.inputs import Recipe

support = SimpleNamespace(**run_path(str(Path(__file__).with_name("layouts_support.py"))))
ENERGY = Objective("energy", lambda times: np.asarray(1.0 + times["compute_activity"]))


@pytest.mark.parametrize(("arch", "objective", "offload"), [
    (support.dense(), Objective(), "none"), (support.dense(), ENERGY, "none"), (support.mixture(), Objective(), "none"),
    (support.dense(), Objective(), "optimizer")])
def test_one_pass_is_a_search_on_each(arch, objective, offload) -> None:  # type: ignore[no-untyped-def]
    hw, recipe = support.fleet(32), Recipe(4096, 256, offload=offload)
    sizes = (8, 16, 32, 12 * 8, 7 * 8)  # 7 nodes divide neither batch nor heads, but layers or devices can
    found = best_on_fleets(arch, hw, recipe, sizes, objective, 0.9)
    for size in sizes:
        try:
            best = search(arch, replace(hw, devices=size), recipe, objective=objective, top=1,
                          limits=Limits(memory_share=0.9)).best
        except OutlayError as error:
            told = found[size]
            assert isinstance(told, OutlayError) and told.message == error.message
            continue
        choice = found[size]
        if not best:
            assert choice is None
        else:
            assert choice is not None and not isinstance(choice, OutlayError)
            assert choice.layout == best[0].layout
            assert choice.step_time_s == best[0].step_time_s and choice.memory_bytes == best[0].memory_bytes
