"""Published costs of training runs by their three definitions, from hardware and hours alone."""

from __future__ import annotations

from functools import cache

import pytest

from outlay.catalog import load
from outlay.validate import scoreboard
from outlay.validate.case import Outcome, score
from outlay.validate.cost_cases import TABLES, cost_cases
from outlay.validate.predict import predict
from outlay.validate.tables import read_rows


@cache
def found() -> tuple[Outcome, ...]:
    cases = [c for table in TABLES for c in cost_cases(table, read_rows(table))]
    return tuple(predict(c, load()) for c in scoreboard.merge_repeats(cases))


@pytest.mark.parametrize(("name", "least"), [("amortised", 20), ("cloud", 6), ("acquisition", 4)])
def test_published_costs_are_met(name: str, least: int) -> None:
    """Median within 20 % and every case answered; the rows nobody could reproduce stay in."""
    whole = score(name, [o for o in found() if o.case.source == f"training cost, {name}"])
    assert whole.failed == 0
    assert whole.n >= least
    assert whole.median <= 0.20
    assert whole.baseline is not None and whole.median < whole.baseline


def test_gpt_4_is_within_its_published_figures() -> None:
    """42.2 M USD amortised, 81.4 M in the cloud, 806 M of hardware (Epoch AI)."""
    wanted = {"amortised": 42.2e6, "cloud": 81.4e6, "acquisition": 806e6}
    gpt4 = {o.case.evidence.removeprefix("cost "): o for o in found() if o.case.group.startswith("GPT-4")}
    for name, usd in wanted.items():
        assert gpt4[name].value == pytest.approx(usd, rel=0.20)
        assert gpt4[name].low <= usd <= gpt4[name].high
