"""The search ranks as single plans do, the same way every time, whatever the aim."""

from __future__ import annotations

from pathlib import Path
from runpy import run_path
from types import SimpleNamespace

import numpy as np
import pytest

from outlay.errors import Inconsistent
from outlay.planner.layouts.evaluate import StepEvaluator, one_layout
from outlay.planner.layouts.pareto import front
from outlay.planner.layouts.search import Limits, Objective, SearchResult, search
from outlay.planner.layouts.space import Space, layout_space
from outlay.steps.inputs import Recipe

support = SimpleNamespace(**run_path(str(Path(__file__).with_name("layouts_support.py"))))

MODELS = {"dense": support.dense(), "mixture": support.mixture()}
UNEVEN = {"uneven": support.dense(30), "uneven mixture": support.mixture(29, 16)}


def all_rows(space: Space, evaluator: StepEvaluator) -> list[tuple[float, float]]:
    found = []
    for block in space:
        rows = np.arange(len(block))
        times = evaluator.times(block, rows)["step_time_s"]
        found += zip(evaluator.memory_bytes(block, rows), times, strict=True)
    return found


@pytest.mark.parametrize("model", [*MODELS, *UNEVEN])
def test_random_rows_equal_the_scalar_plan(model: str) -> None:
    arch, hw, recipe = (MODELS | UNEVEN)[model], support.fleet(64), support.recipe()
    space = layout_space(arch, hw, recipe)
    evaluator = StepEvaluator(arch, hw, recipe, space)
    vectors = all_rows(space, evaluator)
    layouts = [(block, row) for block in space for row in range(len(block))]
    chosen = np.random.default_rng(7).choice(len(layouts), 100, replace=False)
    for i in chosen:
        block, row = layouts[i]
        assert one_layout(arch, hw, recipe, block.layout(row)) == pytest.approx(vectors[i], rel=1e-9)


@pytest.mark.parametrize("more", [{}, {"offload": "optimizer"}, {"offload": "all"},
                                  {"framework": "torchtitan"}])
def test_memory_floor_is_a_lower_bound(more: dict[str, str]) -> None:
    for arch in MODELS.values():
        hw, recipe = support.fleet(64), support.recipe(**more)
        space = layout_space(arch, hw, recipe)
        evaluator = StepEvaluator(arch, hw, recipe, space)
        for block in space:
            if len(block):
                whole = evaluator.memory_bytes(block, np.arange(len(block)))
                assert np.all(evaluator.floor_bytes(block) <= whole)


def test_best_is_the_fastest_that_fits() -> None:
    arch, hw, recipe = MODELS["dense"], support.fleet(16, 40e9), support.recipe()
    space = layout_space(arch, hw, recipe)
    rows = all_rows(space, StepEvaluator(arch, hw, recipe, space))
    fitting = [time for memory, time in rows if memory <= 40e9]
    result = search(arch, hw, recipe)
    assert (result.legal, result.fitting) == (len(rows), len(fitting))
    assert result.best[0].step_time_s == pytest.approx(min(fitting))
    assert [c.value for c in result.best] == sorted(c.value for c in result.best)
    for choice in result.best:
        assert one_layout(arch, hw, recipe, choice.layout) == pytest.approx(
            (choice.memory_bytes, choice.step_time_s))


def test_front_is_not_dominated_and_holds_the_best() -> None:
    result = search(MODELS["dense"], support.fleet(16, 40e9), support.recipe())
    points = np.array([(c.step_time_s, c.memory_bytes) for c in result.front])
    assert len(front(points)) == len(points)
    assert result.best[0].step_time_s == pytest.approx(points[:, 0].min())


def watts(times: dict[str, np.ndarray]) -> np.ndarray:
    return 100.0 + 2000.0 * times["compute_activity"]


def test_another_aim_ranks_by_its_own_value() -> None:
    arch, hw, recipe = MODELS["dense"], support.fleet(16), support.recipe()
    energy = search(arch, hw, recipe, objective=Objective("energy", watts), top=3)
    space = layout_space(arch, hw, recipe)
    evaluator = StepEvaluator(arch, hw, recipe, space)
    least = np.inf
    for block in space:
        rows = np.arange(len(block))
        times, fits = evaluator.times(block, rows), evaluator.memory_bytes(block, rows) <= 80e9
        if fits.any():
            least = min(least, float((times["step_time_s"] * 16 * watts(times))[fits].min()))
    assert energy.best[0].value == pytest.approx(least)


def test_limits_come_before_the_aim() -> None:
    arch, hw, recipe = MODELS["dense"], support.fleet(16), support.recipe()
    given = {"micro_batch": 1, "zero": 1}  # two aims that pull apart make a front of nearly every layout
    fastest = search(arch, hw, recipe, given).best[0]
    lazy = Objective("idle", lambda times: 1.0 / times["step_time_s"] ** 2)  # prefers the slowest
    bound = fastest.step_time_s * 1.05
    result = search(arch, hw, recipe, given, objective=lazy, limits=Limits(step_time_s=bound))
    assert result.within_limits and result.best[0].step_time_s <= bound
    assert not search(arch, hw, recipe, given, limits=Limits(step_time_s=fastest.step_time_s / 2)).within_limits
    dear = Limits(budget=(Objective("energy", watts), 0.0))
    assert not search(arch, hw, recipe, given, limits=dear).within_limits


def test_same_answer_every_time() -> None:
    def run() -> SearchResult:
        return search(MODELS["mixture"], support.fleet(32), support.recipe())

    first, second = run(), run()
    assert first.best == second.best and first.front == second.front


def test_nothing_fits_gives_the_closest() -> None:
    result = search(MODELS["dense"], support.fleet(8, 1e9), support.recipe())
    assert not result.best and result.fitting == 0
    assert result.smallest is not None and result.chosen.memory_bytes > 1e9


def test_given_layout_that_cannot_be_is_an_error() -> None:
    with pytest.raises(Inconsistent, match="nearest are 4 and 8"):
        search(MODELS["dense"], support.fleet(8), support.recipe(), {"tensor": 6})


def test_ties_go_to_the_simpler_layout() -> None:
    class Flat:
        """Every layout the same."""

        def floor_bytes(self, block):  # type: ignore[no-untyped-def]
            return np.zeros(len(block))

        def memory_bytes(self, block, rows):  # type: ignore[no-untyped-def]
            return np.ones(len(block.columns["tensor"][rows]))

        def host_short_bytes(self, block, rows):  # type: ignore[no-untyped-def]
            return None

        def times(self, block, rows):  # type: ignore[no-untyped-def]
            return {"step_time_s": self.memory_bytes(block, rows)}

    best = search(MODELS["dense"], support.fleet(8), Recipe(4096, 64), evaluator=Flat(), top=1).best[0].layout
    assert (best.tensor, best.pipeline, best.context, best.zero, best.recompute) == (1, 1, 1, 0, "none")
