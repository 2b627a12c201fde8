"""One way to serve a load: as many equal replicas as it needs, and what an hour of them costs, draws and emits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from outlay.account import unit_value
from outlay.planner.capacity.hours import mean_hour
from outlay.planner.capacity.rate import Most, tails
from outlay.planner.serve.times import HOUR_S, Replicas, load_of
from outlay.resolve.power import serve_power_facts
from outlay.resolve.record import Resolved
from outlay.resolve.serve.phase import ServePhase
from outlay.steps.serve.inputs import ServeLayout
from outlay.steps.serve.power import serve_power


class Option(Struct, frozen=True, eq=False):
    """One way to serve the load, at nominal inputs."""

    device: str
    engine: str
    precision: str
    layout: ServeLayout
    replicas: int
    most: Most
    numbers: dict[str, float]
    meets: bool
    resolved: Resolved
    phase: ServePhase
    one: Replicas  # a replica as the time model sees it
    verified: bool | None = None  # by the plan's own answer, replayed where a percentile is promised; None: not yet
    seen: dict[str, str] = field(default_factory=dict)  # what was held against each promise: mean, p99

    @property
    def devices(self) -> int:
        return self.replicas * int(self.layout.devices)

    def shown(self, per_user_hour: float) -> dict[str, Any]:
        """As a row of the result."""
        layout = self.layout
        return {
            "fleet": f"{self.devices}x{self.device}" if self.devices > 1 else self.device,
            "device": self.device,
            "devices": self.devices,
            "engine": self.engine,
            "precision": self.precision,
            "tensor": int(layout.tensor),
            "data": int(layout.data),
            "expert": int(layout.expert),
            "replicas": self.replicas,
            "meets_slo": self.meets,
            "users_per_replica": self.most.rate_per_s * HOUR_S / per_user_hour,
            "requests_per_s_per_replica": self.most.rate_per_s,
            "breaks_first": self.most.breaks,
            "verified": self.verified,
            **self.numbers,
        }


def option_of(
    resolved: Resolved, phase: ServePhase, device: str, one: Replicas, most: Most | None, most_devices: int,
    count: int | None = None,
) -> Option | None:
    """As many replicas as the load needs, or `count`, and the times, money and energy of them under it."""
    asked, each = phase.asked, int(one.layout.devices)
    meets = most is not None
    if most is None:  # the promise is out of reach: shown at light load, after all that keep theirs
        most = Most(max(asked.rate, 1e-9), max(asked.concurrency, 1.0), "light load")
    wanted = asked.rate / most.rate_per_s if asked.kind == "open" else asked.concurrency / most.concurrency
    count = int(phase.replicas or count or max(1, math.ceil(wanted * (1 - 1e-9))))
    if count * each > most_devices:
        return None
    whole = replace(one, count=count)
    load = load_of(asked, whole)
    found = whole.own(load)
    if asked.kind == "open" and float(found["load"]) >= 1.0:
        return None
    quick = whole.own(replace(load, kind="closed", concurrency=1.0))
    seen = {name: float(value) for name, value in tails(asked, found, quick).items()}
    if any(seen[name] > limit for name, limit in asked.slo.items()):
        meets = False
    tokens = float(found["output_tokens_per_s"]) * count
    numbers = {
        "ttft_s": seen["ttft"],
        "tpot_s": seen["tpot"],
        "e2e_s": seen["e2e"],
        "output_tokens_per_s": tokens,
        "load": float(found["load"]) if asked.kind == "open" else 1.0,
    } | _an_hour(resolved, phase, whole, load, found, most)
    return Option(device, phase.engine.id, phase.recipe.precision, one.layout, count, most, numbers, meets, resolved,
                  phase, one)


def _power(resolved: Resolved, phase: ServePhase, whole: Replicas, load: Any, found: Any) -> float | None:
    if resolved.power is None:
        return None
    speed = whole.speed
    drawn = serve_power(
        whole.arch, speed.device, speed.engine, whole.layout, load, found, serve_power_facts(resolved.power)
    )
    return float(drawn["power_w_per_device"])


def _an_hour(
    resolved: Resolved, phase: ServePhase, whole: Replicas, load: Any, found: Any, most: Most
) -> dict[str, float]:
    """An hour of all devices: money, power, carbon; and money over a million tokens. NaN where it is not known.

    Where the load is known by the hour, the mean of the hours.
    """
    assert resolved.rates is not None
    nan = float("nan")
    if phase.asked.hourly is None:
        power_w, devices = _power(resolved, phase, whole, load, found), float(whole.devices)
        tokens_per_s, usd = float(found["output_tokens_per_s"]) * whole.count, nan
    else:
        power_w, devices, answered, usd = mean_hour(resolved, phase, whole, most)
        tokens_per_s = answered * phase.asked.output
    value = unit_value(resolved.rates, 0.0 if power_w is None else power_w)
    if phase.asked.hourly is None and value["usd"] is not None:
        usd = float(value["usd"]) * HOUR_S * devices
    known = power_w is not None
    return {
        "usd_per_hour": usd,
        "usd_per_million_output_tokens": usd / (tokens_per_s * HOUR_S) * 1e6,
        "power_w": float(value["energy_j"]) * devices if known else nan,
        "energy_per_output_token_j": power_w * devices / tokens_per_s if power_w is not None else nan,
        "co2e_kg_per_hour": float(value["co2e_kg"]) * HOUR_S * devices if known else nan,
    }


def rank(option: Option, aim: str) -> tuple[bool, float, int]:
    """Those that keep their promises first, by the aim; unknown values last."""
    value = option.numbers[aim]
    return (not option.meets, math.inf if math.isnan(value) else value, option.devices)


def ranked(options: Sequence[Option], aim: str) -> tuple[Option, ...]:
    """The best by the aim first."""
    return tuple(sorted(options, key=lambda option: rank(option, aim)))
