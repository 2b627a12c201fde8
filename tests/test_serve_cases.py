"""The shipped measurements of serving, each predicted without what was fitted on its own model."""

from __future__ import annotations

from statistics import median
from typing import Any

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


def test_a_print_is_as_precise_as_its_last_digit() -> None:
    """A pool of 3.81 GiB is one of 3.805 to 3.815, and a concurrency of 1.56 one of 1.555 to 1.565."""
    from outlay import plan
    from outlay.validate.case import Case, Outcome

    def tokens(size: float) -> Any:
        serve = {"kv_cache_bytes_per_device": size, "workload": {"batch": 1, "input": 100, "output": 100}}
        scenario = {"model": "llama-3.1-8b", "fleet": "b200-sxm", "serve": serve}
        return plan(scenario).phases["serve"]["kv_cache_tokens"]

    told, exact = tokens(3.81 * 2**30), tokens(4.1e9)
    assert told.low <= 31232 <= told.high and told.high / told.low < 1.003
    assert exact.low == exact.high
    case = Case("", "", {}, "", 1.56, "", "", half=0.005)
    assert Outcome(case, 1.5616, 1.5616, 1.5616).inside and not Outcome(case, 1.57, 1.57, 1.57).inside
