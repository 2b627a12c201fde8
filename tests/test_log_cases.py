"""Published logs of single requests: how near a replay comes to each, and what a log is read as."""

from __future__ import annotations

import numpy as np
import pytest

from outlay.validate import scoreboard
from outlay.validate.log_cases import NUMBERS, RUNS, TABLE, log_outcomes, log_scenario, measured, replayed
from outlay.validate.tables import read_rows

ROWS = read_rows(TABLE)


@pytest.mark.parametrize("log", RUNS)
def test_requests_of_a_log_end_when_they_did(log: str) -> None:
    """Median over the 300 requests of a log; nothing was fitted to any of them."""
    columns = measured(ROWS, log)
    assert len(columns["e2e_s"]) == 300
    run, (low, high) = replayed(log_scenario(log, columns), columns)
    found = run()
    assert np.median(np.abs(found["e2e_s"] / columns["e2e_s"] - 1.0)) <= 0.15
    assert np.median(np.abs(found["tpot_s"] / columns["tpot_s"] - 1.0)) <= 0.15
    assert low < 1.0 < high and np.median(run(high, high)["e2e_s"]) > np.median(found["e2e_s"])


def test_every_log_and_number_is_scored() -> None:
    found = log_outcomes(ROWS)
    assert not [o.error for o in found if o.error]
    assert {o.case.id.partition(" request")[0] for o in found} == set(RUNS)
    scores = {s.name: s for s in scoreboard.by_source(found)}
    assert len(scores) == len(RUNS) + len(NUMBERS) - 1
    for score in scores.values():
        assert score.baseline is not None and score.median < 0.5 * score.baseline


def test_a_log_that_cannot_be_planned_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    log = next(iter(RUNS))
    monkeypatch.setitem(RUNS, log, ("llama-3.1-405b", *RUNS[log][1:]))
    found = log_outcomes([row for row in ROWS if row["log"] == log])
    assert found and scoreboard.by_source(found)[0].n + scoreboard.by_source(found)[0].failed == 30
