"""Power between idle and rated: limits, monotony, and the node that was measured at the wall."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlay.physics import power

CONSTANTS = {"compute_weight": 2.57, "memory_weight": 0.97, "memory_exponent": 0.6}
share = st.floats(0.0, 1.0)


def watts(compute, memory, rated=700.0, cap=None):
    level = power.activity_level(compute, memory, **CONSTANTS)
    return power.device_power_w(rated, level, 0.105, 0.955, rated if cap is None else cap)


@given(share, share, st.floats(75.0, 1500.0))
def test_power_lies_between_idle_and_ceiling(compute, memory, rated):
    assert 0.105 * rated - 1e-9 <= watts(compute, memory, rated) <= 0.955 * rated + 1e-9


@given(share, share, share)
def test_more_work_never_takes_less_power(compute, more, memory):
    low, high = sorted((compute, more))
    assert watts(low, memory) <= watts(high, memory) + 1e-9
    assert watts(memory, low) <= watts(memory, high) + 1e-9


@given(share, share, st.floats(100.0, 700.0))
def test_a_cap_holds(compute, memory, cap):
    assert watts(compute, memory, cap=cap) <= cap


def test_dell_node_under_training():
    """MLPerf Training v4.1, Dell, 8 nodes of 8 H100, Llama 2 70B LoRA: 7.10 kW a node at the wall.

    About 12 sequences of 8,192 a second on 64 devices, 4 FLOP a parameter and token, against the fp8 peak.
    Constants come from A100 and B200 serving, the host factor from none of these nodes.
    """
    flop = 12.0 / 64 * 8192 * 4 * 69e9
    level = power.activity_level(power.compute_activity(flop, 1.0, 1979e12), 0.2, **CONSTANTS)
    node = power.node_power_w(power.device_power_w(700.0, level, 0.105, 0.955, 700.0), 8, 1.35)
    assert node == pytest.approx(7100.0, rel=0.10)


def test_arrays_match_scalars():
    compute = np.array([0.0, 0.2, 0.9])
    assert watts(compute, 0.1).tolist() == [pytest.approx(float(watts(c, 0.1))) for c in compute]


def test_idle_and_mean():
    assert watts(0.0, 0.0) == pytest.approx(73.5)  # an H200 was read at 80 W without work
    assert power.mean_power_w(660.0, 73.5, 1.0) == 660.0
