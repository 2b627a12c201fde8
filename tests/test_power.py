"""Power between idle and rated: limits, monotony, and the node that was measured at the wall."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlay.catalog import load
from outlay.physics import power

SHIPPED = load().find("power_constants", "power")
CONSTANTS = {name: SHIPPED.value(name) for name in ("compute_weight", "compute_exponent", "memory_weight",
                                                "memory_exponent")}
IDLE, CEILING = SHIPPED.value("idle_share"), SHIPPED.value("ceiling_share")
share = st.floats(0.0, 1.0)


def watts(compute, memory, rated=700.0, cap=None):
    level = power.activity_level(compute, memory, **CONSTANTS)
    return power.device_power_w(rated, level, IDLE, CEILING, rated if cap is None else cap)


@given(share, share, st.floats(75.0, 1500.0))
def test_power_lies_between_idle_and_ceiling(compute, memory, rated):
    assert IDLE * rated - 1e-9 <= watts(compute, memory, rated) <= CEILING * rated + 1e-9


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

    Runs end 384 sequences apart and their minutes say 12 sequences of 8,192 a second on 64 devices: 4 FLOP a
    parameter and token against the fp8 peak, causal attention (forward and 2.5 x that back) against half of
    it, and an evaluation of 173 sequences every 384. The constants come from A100 and B200 serving.
    """
    linear, attention = 69e9, 80 * 8192 * 8192
    training = 4 * linear + 3.5 * 2 * attention * 2
    evaluation = (2 * linear + 2 * attention * 2) * 173 / 384
    flop = 12.0 / 64 * 8192 * (training + evaluation)
    host = load().find("default", "energy.host_factor").value("value")
    device = watts(power.compute_activity(flop, 1.0, 1979e12), SHIPPED.value("training_memory_activity"))
    node = power.node_power_w(device, 8, host)
    assert node == pytest.approx(7100.0, rel=0.10)


def test_arrays_match_scalars():
    compute = np.array([0.0, 0.2, 0.9])
    assert watts(compute, 0.1).tolist() == [pytest.approx(float(watts(c, 0.1))) for c in compute]


def test_idle():
    assert watts(0.0, 0.0) == pytest.approx(80.0, rel=0.15)  # an H200 without work reads 80 W
