"""MLPerf inference results: which rows are cases, what is asked of a plan, and how near it comes."""

from __future__ import annotations

from statistics import median
from typing import Any

import pytest

from outlay.validate.case import Outcome
from outlay.validate.mlperf_cases import MIXED, TABLE, mlperf_cases, mlperf_outcomes
from outlay.validate.tables import OPEN_ORCA, read_rows

ROWS = read_rows(TABLE)
# Median error and share inside the interval that each must keep; TensorRT-LLM of 2024 was slower on mixtures.
MOST = {"MLPerf inference Offline": (0.2, 0.6), "MLPerf inference Server": (0.18, 0.6)}


@pytest.fixture(scope="module")
def outcomes() -> list[Outcome]:
    return list(mlperf_outcomes(ROWS))


def test_one_case_a_run_of_the_closed_division() -> None:
    cases = mlperf_cases(ROWS)
    assert len(cases) > 60 and {c.source for c in cases} == set(MOST)
    assert not [c for c in cases if "gpt" in c.scenario["model"]]  # four beams of each answer are asked
    runs = [(c.source, c.id, c.measured) for c in cases]
    assert len(set(runs)) == len(runs)


def test_a_row_is_a_scenario_with_its_own_lengths_and_promises() -> None:
    row = next(r for r in ROWS if r["model"] == "llama2-70b-99.9" and r["scenario"].endswith("Server")
               and "MaxQ" in r["notes"])
    (case,) = mlperf_cases([row])
    serve = case.scenario["serve"]
    assert serve["slo"] == {"ttft": "2s", "tpot": "200ms", "percentile": 99}
    assert serve["workload"]["input"] == OPEN_ORCA and 285 < serve["workload"]["output"] < 295
    assert case.scenario["fleet"]["device_power_limit_w"] == 500.0
    (amd,) = mlperf_cases([next(r for r in ROWS if "MI300X" in r["gpu"])])
    assert amd.scenario["serve"]["engine"] == "vllm" and amd.scenario["serve"]["engine_version"] == "0.4.3"


def test_a_run_is_laid_out_as_its_submitter_published() -> None:
    serves = {case.id: case.scenario["serve"] for case in mlperf_cases(ROWS)}

    def one(text: str) -> dict[str, Any]:
        return next(serve for name, serve in serves.items() if text in name)

    assert one("llama2-70b Offline: Dell 4 x h100-sxm5-80gb")["max_num_seqs"] == 896
    assert one("llama2-70b Server: Dell 4 x h100-sxm5-80gb")["tensor"] == 2
    assert one("Lenovo 8 x h100-nvl-94gb")["tensor"] == 1 and one("ASUSTeK 4 x h100-nvl-94gb")["tensor"] == 2
    assert one("llama2-70b Offline: AMD 1 x mi300x")["enforce_eager"] and one("Server: AMD 1")["kv_precision"] == "fp8"
    red_hat = one("RedHat 4 x l40s")
    assert red_hat["engine"] == "vllm" and "max_num_seqs" not in red_hat
    assert one("mixtral")["workload"]["input"] == MIXED and 340 < MIXED < 355


@pytest.mark.parametrize("device", ["h100-pcie-80gb", "h100-nvl-94gb", "mi300x"])
def test_a_card_with_borrowed_kernels_is_met_by_its_own_rates(device: str, outcomes: list[Outcome]) -> None:
    """Its link, its power a unit of arithmetic and its largest multiplication are not those of the card it borrows."""
    own = [o.ratio for o in outcomes if o.case.scenario["fleet"]["device"] == device]
    assert own and 0.8 < median(own) < 1.5


@pytest.mark.parametrize("source", MOST)
def test_throughput_is_met(source: str, outcomes: list[Outcome]) -> None:
    own = [o for o in outcomes if o.case.source == source]
    assert not [o.error for o in own if o.error]
    error, inside = MOST[source]
    assert median(abs(o.ratio - 1.0) for o in own) <= error
    assert sum(o.low <= o.case.measured <= o.high for o in own) / len(own) >= inside
    assert all(o.baseline is not None and o.baseline > 1.5 * o.case.measured for o in own)
