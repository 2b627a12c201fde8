"""Goodput and storage: published failure data, limits, and pieces that add up."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlay.physics import goodput as g
from outlay.physics import storage

LLAMA3_RATE = g.failures_per_device_s(419, 16_384, 54 * g.DAY_S)


def test_llama_3_failures():
    mtbf = g.mean_time_between_failures_s(LLAMA3_RATE, 16_384)
    assert mtbf / 3600 == pytest.approx(3.09, abs=0.01)
    assert g.expected_failures(54 * g.DAY_S, mtbf) == pytest.approx(419)
    per_1000_node_days = LLAMA3_RATE * 8 * 1000 * g.DAY_S
    assert per_1000_node_days == pytest.approx(3.8, rel=0.01)


def test_meta_rsc_projection():
    """arXiv:2410.21680: 6.5 failures per 1,000 node-days, which project to 1.8 h at 16,384 devices."""
    rate = 6.5 / (8 * 1000 * g.DAY_S)
    assert g.mean_time_between_failures_s(rate, 16_384) / 3600 == pytest.approx(1.8, rel=0.02)


def test_llama_3_reports_more_than_90_percent():
    mtbf = g.mean_time_between_failures_s(LLAMA3_RATE, 16_384)
    interval = g.young_interval_s(10.0, mtbf)
    assert g.goodput(10.0, interval, 600.0, mtbf) > 0.90
    assert g.goodput(60.0, g.young_interval_s(60.0, mtbf), 600.0, mtbf) == pytest.approx(0.85, abs=0.01)


times = st.floats(1.0, 600.0)


@given(times, times, st.floats(7200.0, 1e8))
def test_intervals_agree_where_failures_are_rare(stall, restart, mtbf):
    young = g.young_interval_s(stall, mtbf)
    best = g.daly_interval_s(stall, mtbf)
    assert g.goodput(stall, best, restart, mtbf) >= g.goodput(stall, young, restart, mtbf) - 1e-6
    for other in (0.8, 1.25):
        assert g.goodput(stall, best, restart, mtbf) >= g.goodput(stall, best * other, restart, mtbf) - 2e-3


@given(times, st.floats(10.0, 1e5), times, st.floats(60.0, 1e9))
def test_goodput_is_a_share_and_grows_with_reliability(stall, interval, restart, mtbf):
    now, later = (g.goodput(stall, interval, restart, m) for m in (mtbf, 2 * mtbf))
    assert 0.0 <= now <= later < 1.0
    assert now >= g.goodput_first_order(stall, interval, restart, mtbf) - 1e-9


def test_goodput_of_a_hopeless_job_stays_finite():
    assert g.goodput(60.0, 3600.0, 3600.0, 10.0) == 1e-6


@given(st.floats(1e3, 1e8), st.floats(0, 0.2), st.floats(0, 1e5), st.floats(0.5, 0.99), st.floats(0, 0.01))
def test_calendar_pieces_add_up(training, share, warmup, good, stalls):
    evaluation = g.evaluation_s(training, share)
    useful = training + evaluation
    pieces = (useful + g.checkpoints_s(useful, stalls) + warmup
              + g.restarts_s(useful, g.failure_share(good, stalls)))
    assert pieces == pytest.approx(g.elapsed_s(training, evaluation, warmup, good))


def test_arrays_and_floats_agree():
    mtbf = np.array([1e4, 1e5])
    rows = g.goodput(10.0, g.daly_interval_s(10.0, mtbf), 600.0, mtbf)
    assert rows.tolist() == [pytest.approx(float(g.goodput(10.0, g.daly_interval_s(10.0, m), 600.0, m)))
                             for m in mtbf]


def test_checkpoint_sizes_as_published():
    """A 405B checkpoint of 14 bytes a parameter is about 5.7 TB; writing behind training hides most of it."""
    size = storage.checkpoint_bytes(405e9, 2.0, 4.0, 8.0)
    assert size == pytest.approx(5.7e12, rel=0.01)
    snapshot = storage.checkpoint_snapshot_s(size, 16_384, 25e9)
    write = storage.checkpoint_write_s(size, 2e12)
    assert storage.checkpoint_stall_s(snapshot, write, 600.0, 1) < 0.05
    assert storage.checkpoint_stall_s(snapshot, write, 600.0, 0) == pytest.approx(write)
    assert storage.checkpoint_stall_s(0.0, 900.0, 600.0, 1) == 300.0


@given(st.floats(0, 1e16), st.floats(0, 1e9))
def test_storage_is_bytes_times_time(size, kept):
    assert storage.byte_seconds(size, kept) == size * kept
