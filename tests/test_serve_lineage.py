"""A serving time can be asked where it comes from, down to bytes, arithmetic and the catalogue's rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from outlay.catalog import load
from outlay.derive import Quantity
from outlay.planner.run import run_plan
from outlay.scenario_io import scenario_from


def asked(number: str, model: str = "llama-3.1-8b", fleet: str = "1xh100-sxm5-80gb", **serve: Any) -> Quantity:
    work = {"concurrency": 16, "input": 1024, "output": 256}
    document = {"model": model, "fleet": fleet, "serve": {"engine": "vllm", "workload": work, **serve}}
    found: Quantity = run_plan(scenario_from(document), load()).explain(f"serve.{number}")
    return found


def below(number: Quantity) -> Iterator[Quantity]:
    yield number
    for each in number.inputs:
        yield from below(each)


def named(number: Quantity, label: str) -> Quantity:
    return next(each for each in below(number) if each.label == label)


@pytest.mark.parametrize("work", [{"concurrency": 16}, {"rate": 2}, {"batch": 8}])
@pytest.mark.parametrize("number", ["tpot_s", "ttft_s"])
def test_parts_add_up_and_end_in_the_catalogue(number: str, work: dict[str, float]) -> None:
    found = asked(number, workload={"input": 1024, "output": 256, **work})
    whole = next(each for each in below(found) if each.label.endswith(", modelled"))
    assert sum(each.value for each in whole.inputs) == pytest.approx(whole.value)
    row = "memory_bytes_per_s" if number == "tpot_s" else "peak_bf16_flop_per_s"
    assert any(f"h100-sxm5-80gb.{row}" in source for each in below(found) for source in each.sources)


def test_a_token_reads_the_weights() -> None:
    read = named(asked("tpot_s"), "weights and activations")
    moved = named(read, "bytes a device reads and writes").value
    assert 15.0e9 < moved < 15.3e9  # 7.5 billion weights in 16 bits beside the embedding, which is not read
    share = named(read, "share of bandwidth that is reached").value
    assert read.value == pytest.approx(moved / (3.352e12 * share)) and 0.5 < share < 1.0


def test_a_prompt_is_two_operations_a_weight_and_token() -> None:
    computed = named(asked("ttft_s"), "computing the prompt")
    flop = named(computed, "arithmetic of a device, at this peak").value
    assert flop == pytest.approx(2 * 6.98e9 * 1024 + 4 * 32 * 4096 * 1024**2 / 2, rel=0.03)
    assert 0.3 < named(computed, "share of the peak that is reached").value < 1.0


def test_mixtures_and_several_devices_have_their_parts() -> None:
    found = asked("tpot_s", "qwen3-30b-a3b", "2xh100-sxm5-80gb", tensor=2)
    assert named(found, "exchanges between devices").value > 0 and named(found, "routing and joining of experts").value
