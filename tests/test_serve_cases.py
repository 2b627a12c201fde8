"""The shipped measurements of serving, each predicted without what was fitted on its own model."""

from __future__ import annotations

from statistics import median

import pytest

from outlay.catalog import load
from outlay.validate.case import Outcome
from outlay.validate.predict import predict
from outlay.validate.serve_cases import TABLES, serve_cases
from outlay.validate.tables import read_rows

CASES = [case for table in TABLES for case in serve_cases(table, read_rows(table))]
# median error each source must stay under
MOST = {
    "engine memory: bytes per token": 1e-9,
    "engine memory: cache of a context": 1e-9,
    "engine memory: tokens of a pool": 0.01,
    "engine memory: concurrency of a pool": 0.01,
    "engine memory: weights": 0.02,
    "engine memory: pool": 0.05,
    "engine memory: tokens": 0.05,
    "inference memory": 0.08,
    "inference memory litgpt": 0.08,
    "inference memory Qwen3": 0.08,
    "one stream SGLang H20": 0.15,
}


@pytest.fixture(scope="module")
def outcomes() -> dict[str, list[Outcome]]:
    catalog, found = load(), dict[str, list[Outcome]]()
    for case in CASES:
        found.setdefault(case.source, []).append(predict(case, catalog))
    return found


def test_every_source_has_a_bound(outcomes: dict[str, list[Outcome]]) -> None:
    assert set(outcomes) == set(MOST)
    assert not [o.error for found in outcomes.values() for o in found if o.error]


@pytest.mark.parametrize("source", MOST)
def test_median_error(source: str, outcomes: dict[str, list[Outcome]]) -> None:
    assert median(abs(o.ratio - 1) for o in outcomes[source]) <= MOST[source]
