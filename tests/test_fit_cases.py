"""Verdicts on memory against runs that ran and runs that ran out of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from outlay.catalog import load
from outlay.validate import scoreboard
from outlay.validate.fit_cases import FitOutcome, fit_cases, fit_row, fit_score, judge

LLAMA_CPP = {"id": "made here", "hardware": "3090 24GB", "n_gpus": "2", "model": "Llama-3-70B",
             "weight_dtype": "Q4_K_M", "phase": "decode 1024 tokens", "out_tok_s": ""}


@pytest.fixture(scope="module")
def verdicts() -> list[FitOutcome]:
    return scoreboard.fits()


def test_nearly_all_are_right(verdicts: list[FitOutcome]) -> None:
    """At least 95 % right, and at most 2 % said to fit that did not."""
    found = fit_score("all", verdicts)
    assert found.failed == 0
    assert found.n > 140
    assert found.right >= 0.95
    assert found.false_fits <= 0.02
    assert found.borderline <= 0.10


def test_what_ran_out_of_memory_is_among_them(verdicts: list[FitOutcome]) -> None:
    """Start-up logs, Transformers generation and a fine-tune; at most one said to fit, and that one borderline."""
    burst = [o for o in verdicts if not o.case.ran]
    assert len(burst) >= 8
    assert {o.case.source for o in burst} == {"fits: engine_memory", "fits: inference_memory",
                                              "fits: finetune_memory_time"}
    wrong = [o for o in burst if o.fits]
    assert len(wrong) <= 1
    assert all(o.borderline for o in wrong)


@pytest.mark.parametrize(("devices", "speed", "fits"), [("2", "16.3", True), ("1", "OOM", False)])
def test_rows_that_may_not_ship_are_read_where_a_folder_holds_them(devices: str, speed: str, fits: bool) -> None:
    """A blank speed is a run out of memory: 42 GB of weights on one or two cards of 24."""
    row = LLAMA_CPP | {"n_gpus": devices, "out_tok_s": speed}
    read: Callable[[str], list[dict[str, str]]] = lambda table: [row] if table.endswith("llamacpp") else []  # noqa: E731
    [case] = fit_cases(read)
    assert case.ran == fits
    assert judge(case, load()).right


def test_a_case_that_cannot_be_planned_is_counted() -> None:
    [case] = fit_cases(lambda table: [LLAMA_CPP | {"model": "no-such"}] if table.endswith("llamacpp") else [])
    found = fit_row(fit_score("all", [judge(case, load())]))
    assert (found["failed"], found["n"], found["right"]) == (1, 0, "")
