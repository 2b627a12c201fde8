"""From one step to the calendar: failures, checkpoints, evaluation, warm-up, storage, experiments."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from outlay.derive import Quantity, add_all, derive, exact
from outlay.physics import goodput as gp
from outlay.physics import storage as st
from outlay.resolve.calendar import Calendar


class RunTime(Struct, frozen=True):
    """The elapsed time of a run and its parts; parts add up to `elapsed_s`."""

    steps: Quantity
    step_time_s: Quantity
    training_s: Quantity
    evaluation_s: Quantity
    checkpoints_s: Quantity
    restarts_s: Quantity
    warm_up_s: Quantity
    elapsed_s: Quantity
    goodput: Quantity
    failures: Quantity
    checkpoint_interval_s: Quantity
    checkpoint_bytes: Quantity

    @property
    def parts(self) -> dict[str, Quantity]:
        return {"training": self.training_s, "evaluation": self.evaluation_s, "checkpoints": self.checkpoints_s,
                "restarts": self.restarts_s, "warm-up": self.warm_up_s}


def run_time(step_time: Quantity, tokens: float, global_batch: int, sequence_length: float, devices: int,
             checkpoint: Quantity, host_link: Quantity, calendar: Calendar) -> RunTime:
    """Elapsed time of a training run from its step time (Daly 2006; arXiv:2410.18124 for the interval).

    checkpoint: bytes of one training checkpoint. Waiting for stragglers is inside the step time.
    """
    steps = derive(gp.steps_needed, "optimiser steps", "steps", tokens=exact(tokens, "tokens", "tokens", basis="given"),
                   global_batch=global_batch, sequence_length=sequence_length)
    training = derive(gp.training_s, "training", "s", steps=steps, step_time_s=step_time)
    evaluation = derive(gp.evaluation_s, "evaluation", "s", training_s=training,
                        evaluation_share=calendar.evaluation_share)
    useful = add_all("training and evaluation", "s", training, evaluation)
    mtbf = derive(gp.mean_time_between_failures_s, "mean time between failures", "s",
                  failures_per_device_s=calendar.failures_per_device_s, devices=devices)
    snapshot = derive(st.checkpoint_snapshot_s, "checkpoint snapshot", "s", checkpoint_bytes=checkpoint,
                      devices=devices, host_link_bytes_per_s=host_link)
    write = derive(st.checkpoint_write_s, "checkpoint write", "s", checkpoint_bytes=checkpoint,
                   write_bytes_per_s=calendar.write_bytes_per_s)
    interval = calendar.checkpoint_interval_s
    if interval is None:
        interval = derive(_interval, "checkpoint interval", "s", stall_s=snapshot, write_s=write, mtbf_s=mtbf,
                          restart_s=calendar.restart_s)
    stall = derive(st.checkpoint_stall_s, "checkpoint stall", "s", snapshot_s=snapshot, write_s=write,
                   interval_s=interval, asynchronous=calendar.asynchronous)
    share = derive(gp.checkpoint_share, "checkpoint share", "", checkpoint_stall_s=stall, interval_s=interval)
    if calendar.goodput is not None:
        good = exact(calendar.goodput, "", "goodput", "given in the scenario", basis="given")
    else:
        good = derive(gp.goodput, "goodput", "", checkpoint_stall_s=stall, interval_s=interval,
                      restart_s=calendar.restart_s, mtbf_s=mtbf)
    share = derive(_not_more, "checkpoint share", "", share=share, goodput=good)
    lost = derive(gp.failure_share, "share lost to failures", "", goodput=good, checkpoint_share=share)
    stalls = derive(gp.checkpoints_s, "checkpoints", "s", useful_s=useful, checkpoint_share=share)
    restarts = derive(gp.restarts_s, "restarts and lost work", "s", useful_s=useful, failure_share=lost)
    elapsed = add_all("elapsed time", "s", training, evaluation, stalls, restarts, calendar.warm_up_s)
    failures = derive(gp.expected_failures, "expected failures", "", elapsed_s=elapsed, mtbf_s=mtbf)
    return RunTime(
        steps,
        step_time,
        training,
        evaluation,
        stalls,
        restarts,
        calendar.warm_up_s,
        elapsed,
        good,
        failures,
        interval,
        checkpoint,
    )


def _interval(stall_s: Any, write_s: Any, mtbf_s: Any, restart_s: Any) -> Any:
    """The interval with the best availability, never shorter than writing one checkpoint takes."""
    import numpy as np

    return np.maximum(gp.availability_interval_s(stall_s, mtbf_s, restart_s), write_s)


def _not_more(share: Any, goodput: Any) -> Any:
    """Checkpoints take no more than all that the goodput leaves."""
    import numpy as np

    return np.minimum(share, 1.0 / goodput - 1.0)
