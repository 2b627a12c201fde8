"""Formulas behind the training time, against published numbers and by their properties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlay.catalog.utilization import matmul_grids
from outlay.physics import collectives, flops, pipeline, roofline

FAMILIES = ("a100_sxm", "h100_sxm", "h200_sxm", "b200_sxm", "gb200", "gb300", "l40s", "rtx_pro_6000_server")


def test_gpt3_step_takes_the_published_time() -> None:
    """Narayanan et al. 2021 (arXiv:2104.04473), Table 1: 145.6B at 148 TFLOP/s on 1,536 A100, batch 2304."""
    flop = flops.transformer_step_flop(2304, 2048, 80, 12288, 51200)
    assert flop / (1536 * 148e12) == pytest.approx(24.8, rel=0.01)


def test_bubble_of_the_interleaved_schedule() -> None:
    """Narayanan et al. 2021, section 2.2: (p - 1)/m and (p - 1)/(v m)."""
    assert pipeline.bubble_fraction(8, 8) == pytest.approx(7 / 8)
    assert pipeline.bubble_fraction(8, 8, 4) == pytest.approx(7 / 32)


def test_fill_equals_the_bubble_for_equal_stages() -> None:
    p, m, v, stage = 8.0, 32.0, 2.0, 3.0
    fill = pipeline.fill_and_drain_s(p * stage, stage, v)
    assert fill == pytest.approx(pipeline.bubble_fraction(p, m, v) * m * stage)


def test_ring_all_reduce_moves_two_shares() -> None:
    """Bus bandwidth of an all-reduce over n ranks counts 2(n - 1)/n of the buffer (NCCL tests)."""
    one = collectives.all_reduce_time_s(1e9, 8, 1, 374e9, 50e9, 17.5e-6, 0.0)
    assert one == pytest.approx(2 * 7 / 8 * 1e9 / 374e9 + 17.5e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_grids_are_shares(family: str) -> None:
    for grid in matmul_grids(family).values():
        assert np.all(grid.log_utilisation <= 0)
        assert np.all(np.exp(grid.log_utilisation) > 0.001)


rows = st.floats(1, 1e6)
sizes = st.floats(1e3, 1e11)


@given(rows, sizes)
def test_look_up_stays_inside_the_table(m: float, weight_bytes: float) -> None:
    grid = matmul_grids("h100_sxm")["bf16"]
    assert grid.log_utilisation.min() - 1e-9 <= np.log(roofline.look_up(grid, m, weight_bytes)) <= 1e-9


@given(st.floats(1e9, 1e15), st.floats(1e6, 1e12), st.floats(1.0, 4.0))
def test_more_bandwidth_is_never_slower(flop: float, moved: float, factor: float) -> None:
    slow = roofline.kernel_time_s(flop, moved, 1e15, 2e12, 0.7)
    assert roofline.kernel_time_s(flop, moved, 1e15, 2e12 * factor, 0.7) <= slow


@given(st.integers(1, 512), st.integers(1, 64), st.sampled_from([4, 8, 16, 72]))
def test_span_covers_the_group(group: int, stride: int, domain: int) -> None:
    inside, outside = collectives.span(group, stride, domain)
    assert inside * outside >= group
    assert 1 <= inside <= max(domain / stride, 1)


@given(st.integers(1, 16), st.integers(1, 16), st.integers(1, 8))
def test_a_token_crosses_to_a_domain_once(inside: int, outside: int, copies: int) -> None:
    time = collectives.all_to_all_time_s(1.0, copies, inside, outside, 1e30, 1.0, 0.0, 0.0)
    assert time <= min(copies, outside - 1) + 1e-9


@given(st.integers(1, 200), st.integers(1, 64))
def test_stages_hold_all_layers(layers: int, stages: int) -> None:
    first, full, last = pipeline.stage_layers(layers, stages)
    if stages == 1:
        assert first == last == layers
    elif first > 0 and last > 0:
        assert first + full * (stages - 2) + last == layers
