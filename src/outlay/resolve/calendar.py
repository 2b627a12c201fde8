"""The calendar's inputs: failures, checkpoints, evaluation, warm-up, experiments."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from outlay.catalog import Catalog
from outlay.derive import Quantity, derive, exact
from outlay.resolve.fleet import given
from outlay.resolve.notes import Notes
from outlay.scenario import Fleet, Pretrain

USED_WITH_HOURS = ("device_hours", "tokens", "precision", "experiments")


class Calendar(Struct, frozen=True):
    """What turns steps into days: failures, checkpoints, warm-up, evaluation."""

    failures_per_device_s: Quantity
    restart_s: Quantity
    write_bytes_per_s: Quantity
    asynchronous: Quantity
    evaluation_share: Quantity
    warm_up_s: Quantity
    experiments: Quantity  # all compute over the final run's; 1 = the final run alone
    checkpoints_kept: Quantity
    dataset_bytes_per_token: Quantity
    checkpoint_interval_s: Quantity | None = None
    goodput: float | None = None


class Defaults:
    """Reads catalogue defaults and notes each one that is used."""

    def __init__(self, catalog: Catalog, notes: Notes, seed: int) -> None:
        self.catalog, self.notes, self.seed = catalog, notes, seed

    def quantity(self, identifier: str, told: str = "") -> Quantity:
        """The default `identifier`; noted under `told` unless that is empty."""
        fact = self.catalog.find("default", identifier).fact("value")
        if told:
            self.notes.assume(told, fact.value, fact.note or identifier, fact.source)
        return fact.quantity(self.seed).named(identifier.rsplit(".", 1)[-1].replace("_", " "))


def resolve_calendar(given_phase: Pretrain, fleet: Fleet | None, devices: int, defaults: Defaults) -> tuple[
        Calendar, dict[str, Any]]:
    """Calendar inputs, and the fields the resolved scenario shows for them.

    A default with an interval is told as an assumption and not shown as a field: read again as given, it would
    lose its interval.
    """
    shown: dict[str, Any] = {}

    def own(name: str, unit: str, default: str) -> Quantity:
        value = getattr(given_phase, name)
        quantity = (given(float(value), unit, name.replace("_", " ")) if value is not None
                    else defaults.quantity(default, f"pretrain.{name}"))
        if quantity.samples is None:
            shown[name] = quantity.value
        return quantity

    rate = fleet.failures_per_device_hour if fleet is not None else None
    hourly = (given(rate, "1/h", "failures per device-hour") if rate is not None
              else defaults.quantity("goodput.failures_per_device_hour", "fleet.failures_per_device_hour"))
    failures = derive(_per_second, "failures per device-second", "1/s", per_hour=hourly)
    if given_phase.device_hours is not None:
        _tell_unused(given_phase, defaults.notes, shown)
    interval = given_phase.checkpoint_interval
    if interval is not None:
        shown["checkpoint_interval"] = interval
    else:
        defaults.notes.assume("pretrain.checkpoint_interval", "best availability",
                              "the interval that loses least to checkpoints and failures", "arXiv:2410.18124")
    if given_phase.goodput is not None:
        shown["goodput"] = given_phase.goodput
    experiments = given_phase.experiments
    if experiments is None:
        defaults.notes.assume("pretrain.experiments", 1.0, "the final run alone; experiments and failed runs around "
                              "it were 1.5 to 10 times the final run in published programmes", "arXiv:2605.01158")
    shown["experiments"] = experiments if experiments is not None else 1.0
    calendar = Calendar(
        failures_per_device_s=failures,
        restart_s=defaults.quantity("goodput.restart_s", "restart after a failure"),
        write_bytes_per_s=_write_rate(given_phase, devices, defaults, shown),
        asynchronous=defaults.quantity("goodput.checkpoint_asynchronous"),
        evaluation_share=own("evaluation_share", "", "goodput.evaluation_share"),
        warm_up_s=own("warm_up", "s", "goodput.warmup_s"),
        experiments=exact(float(shown["experiments"]), "", "experiments", basis="given"),
        checkpoints_kept=own("checkpoints_kept", "", "goodput.checkpoints_kept"),
        dataset_bytes_per_token=defaults.quantity("data.bytes_per_token", "bytes per token at rest"),
        checkpoint_interval_s=given(interval, "s", "checkpoint interval") if interval is not None else None,
        goodput=given_phase.goodput)
    return calendar, shown


def _per_second(per_hour: Any) -> Any:
    """A rate per hour as one per second; no device is wholly free of failures, so never below one in 1e12 hours."""
    import numpy as np

    return np.maximum(per_hour, 1e-12) / 3600.0


def _write_rate(given_phase: Pretrain, devices: int, defaults: Defaults, shown: dict[str, Any]) -> Quantity:
    """Bandwidth of the storage that a whole job writes its checkpoints to."""
    own = given_phase.checkpoint_write_bytes_per_s
    if own is not None:
        shown["checkpoint_write_bytes_per_s"] = own
        return given(own, "bytes/s", "checkpoint write bandwidth")
    each = defaults.quantity("goodput.checkpoint_write_bytes_per_device_s", "checkpoint bandwidth per device")
    whole: Quantity = derive(_all_devices, "checkpoint write bandwidth", "bytes/s", each=each, devices=devices)
    return whole


def _all_devices(each: Any, devices: Any) -> Any:
    """What every device has, over all of them."""
    return each * devices


def _tell_unused(given_phase: Pretrain, notes: Notes, shown: dict[str, Any]) -> None:
    """Device-hours say how long a run took, so what would predict it is named as not used."""
    if given_phase.precision is not None:
        shown["precision"] = given_phase.precision
    unused = [f"pretrain.{name}" for name in given_phase.__struct_fields__
              if name not in USED_WITH_HOURS and getattr(given_phase, name) is not None]
    if unused:
        notes.warn(f"{', '.join(unused)}: not used, because device_hours are given")
