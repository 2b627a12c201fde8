"""From step time to calendar: failures, checkpoints, restarts, stragglers, evaluation, warm-up."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Num = float | NDArray[np.float64]

DAY_S = 86_400.0


def failures_per_device_s(failures: Num, devices: Num, elapsed_s: Num) -> Num:
    """Failure rate of one device from a count over a fleet.

    Llama 3 405B: 419 unexpected interruptions in 54 days on 16,384 H100 (arXiv:2407.21783, counts): one in
    about 50,700 device-hours.

    >>> round(1 / failures_per_device_s(419, 16_384, 54 * DAY_S) / 3600 / 100) * 100
    50700
    """
    return failures / (devices * elapsed_s)


def mean_time_between_failures_s(failures_per_device_s: Num, devices: Num) -> Num:
    """Mean time between failures of a job that any one device stops: 1 / (rate x devices).

    The same run at its own size: 3.09 h; at 1,024 devices with Meta RSC's rate a measured 7.9 h
    (arXiv:2410.21680), so rates differ by fleet at least threefold.

    >>> rate = failures_per_device_s(419, 16_384, 54 * DAY_S)
    >>> round(mean_time_between_failures_s(rate, 16_384) / 3600, 2)
    3.09
    """
    return 1.0 / (failures_per_device_s * devices)


def young_interval_s(checkpoint_stall_s: Num, mtbf_s: Num) -> Num:
    """Checkpoint interval that loses least, first order: sqrt(2 C M) (Young 1974).

    With C = 10 s and M = 3.09 h: 8 minutes.

    >>> round(float(young_interval_s(10.0, 3.09 * 3600)) / 60, 1)
    7.9
    """
    interval: Num = np.sqrt(2.0 * checkpoint_stall_s * mtbf_s)
    return interval


def daly_interval_s(checkpoint_stall_s: Num, mtbf_s: Num) -> Num:
    """Checkpoint interval that loses least, higher order (Daly 2006, doi:10.1016/j.future.2004.11.016).

    sqrt(2CM) [1 + sqrt(C/2M)/3 + (C/2M)/9] - C where C < 2M, else M.

    >>> round(float(daly_interval_s(60.0, 3.09 * 3600)))
    1116
    """
    ratio = np.minimum(1.0, checkpoint_stall_s / (2.0 * mtbf_s))
    best = young_interval_s(checkpoint_stall_s, mtbf_s) * (1.0 + np.sqrt(ratio) / 3.0 + ratio / 9.0)
    interval: Num = np.where(checkpoint_stall_s < 2.0 * mtbf_s, best - checkpoint_stall_s, mtbf_s)
    return interval


def availability_interval_s(checkpoint_stall_s: Num, mtbf_s: Num, restart_s: Num) -> Num:
    """Checkpoint interval with the best availability: C + sqrt(2 (M + R) C + C^2) (arXiv:2410.18124).

    >>> round(float(availability_interval_s(10.0, 3.09 * 3600, 600.0)))
    494
    """
    interval: Num = checkpoint_stall_s + np.sqrt(
        2.0 * (mtbf_s + restart_s) * checkpoint_stall_s + checkpoint_stall_s**2)
    return interval


def goodput_first_order(checkpoint_stall_s: Num, interval_s: Num, restart_s: Num, mtbf_s: Num) -> Num:
    """Useful share of time, first order: 1 - C/tau - (tau/2 + R)/M. May fall below zero when M is short.

    At Llama 3's failure rate, C = 10 s and R = 600 s with Young's interval: 90.4 %; C = 60 s: 84 %.

    >>> m = 3.09 * 3600
    >>> round(float(goodput_first_order(10.0, young_interval_s(10.0, m), 600.0, m)), 3)
    0.904
    >>> round(float(goodput_first_order(60.0, young_interval_s(60.0, m), 600.0, m)), 2)
    0.84
    """
    return 1.0 - checkpoint_stall_s / interval_s - (interval_s / 2.0 + restart_s) / mtbf_s


def goodput(checkpoint_stall_s: Num, interval_s: Num, restart_s: Num, mtbf_s: Num) -> Num:
    """Useful share of time with exponential failures: tau / [M e^(R/M) (e^((tau+C)/M) - 1)] (Daly 2006).

    checkpoint_stall_s: training stopped per checkpoint; interval_s: useful time between checkpoints;
    restart_s: from failure to the first new step; mtbf_s: mean time between failures of the job.
    In (0, 1), held at a millionth for a job that would never end; agrees with the first order where failures
    are rare. Llama 3 405B reports above 90 % with restarts of some minutes; here, C = 10 s and R = 600 s:

    >>> m = 3.09 * 3600
    >>> round(float(goodput(10.0, young_interval_s(10.0, m), 600.0, m)), 3)
    0.908
    """
    attempt = (interval_s + checkpoint_stall_s) / mtbf_s
    survives = np.exp(-(attempt + restart_s / mtbf_s)) / -np.expm1(-attempt)
    share: Num = np.maximum(1e-6, interval_s / mtbf_s * survives)
    return share


def checkpoint_share(checkpoint_stall_s: Num, interval_s: Num) -> Num:
    """Time stopped for checkpoints beside each unit of useful time: C / tau.

    >>> checkpoint_share(10.0, 500.0)
    0.02
    """
    return checkpoint_stall_s / interval_s


def failure_share(goodput: Num, checkpoint_share: Num) -> Num:
    """Time lost to failures and restarts beside each unit of useful time: 1/goodput - 1 - checkpoints.

    >>> round(failure_share(0.90, 0.02), 4)
    0.0911
    """
    return 1.0 / goodput - 1.0 - checkpoint_share


def expected_failures(elapsed_s: Num, mtbf_s: Num) -> Num:
    """Failures to expect over an elapsed time.

    >>> round(expected_failures(54 * DAY_S, 3.09 * 3600))
    419
    """
    return elapsed_s / mtbf_s


# ---------------------------------------------------------------- the calendar of a run, piece by piece

def steps_needed(tokens: Num, global_batch: Num, sequence_length: Num) -> Num:
    """Optimiser steps for a token budget, the last one full.

    15.6T tokens in batches of 2,048 sequences of 8,192:

    >>> float(steps_needed(15.6e12, 2048.0, 8192.0))
    929833.0
    """
    steps: Num = np.ceil(tokens / (global_batch * sequence_length))
    return steps


def training_s(steps: Num, step_time_s: Num) -> Num:
    """Time spent in useful training steps.

    >>> training_s(1000.0, 2.5)
    2500.0
    """
    return steps * step_time_s


def evaluation_s(training_s: Num, evaluation_share: Num) -> Num:
    """Time spent evaluating on the same devices, as a share of training time.

    >>> evaluation_s(1000.0, 0.02)
    20.0
    """
    return training_s * evaluation_share


def checkpoints_s(useful_s: Num, checkpoint_share: Num) -> Num:
    """Time stopped for checkpoints during useful time.

    >>> checkpoints_s(1000.0, 0.02)
    20.0
    """
    return useful_s * checkpoint_share


def restarts_s(useful_s: Num, failure_share: Num) -> Num:
    """Time lost to failures: work done again and restarts.

    >>> round(restarts_s(1000.0, 0.09))
    90
    """
    return useful_s * failure_share


def elapsed_s(training_s: Num, evaluation_s: Num, warmup_s: Num, goodput: Num) -> Num:
    """Calendar time of a run: (training + evaluation) / goodput + warm-up.

    Equal to training + evaluation + checkpoints + restarts + warm-up. A 48-day run at 90 % takes 54 days:

    >>> round(elapsed_s(48.6 * DAY_S, 0.0, 0.0, 0.90) / DAY_S, 1)
    54.0
    """
    return (training_s + evaluation_s) / goodput + warmup_s


def device_s(elapsed_s: Num, devices: Num) -> Num:
    """Device-seconds reserved by a job over its elapsed time.

    >>> device_s(3600.0, 64) / 3600
    64.0
    """
    return elapsed_s * devices


def experiments_device_s(device_s: Num, multiplier: Num) -> Num:
    """Device-seconds of the experiments and failed runs around a final run, beside that run.

    multiplier: all compute over the final run's. OLMo's development was 50 % on top (1.5, arXiv:2503.05804),
    Olmo 3's 82.2 % of all compute (5.6, arXiv:2605.01158).

    >>> round(experiments_device_s(1.0, 1 / (1 - 0.822)), 1)
    4.6
    """
    return device_s * (multiplier - 1.0)
