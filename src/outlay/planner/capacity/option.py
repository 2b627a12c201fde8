"""One way to serve a load: as many equal replicas as it needs, and what an hour of them costs, draws and emits."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from outlay.account import unit_value
from outlay.planner.capacity.hours import mean_hour
from outlay.planner.capacity.rate import Most, tails
from outlay.planner.replay.own_load import replayed
from outlay.planner.replay.spread import spread
from outlay.planner.serve.hours import Standing, standing_of
from outlay.planner.serve.replicas import Replicas
from outlay.planner.serve.times import HOUR_S, load_of, times
from outlay.resolve.power import serve_power_facts
from outlay.resolve.record import Resolved
from outlay.resolve.serve.phase import ServePhase
from outlay.resolve.workload import Asked
from outlay.scenario import Serve
from outlay.steps.serve.inputs import ServeLayout
from outlay.steps.serve.power import serve_power

GROWTH = 1.15  # of the replicas, where a promise was broken


class Option(Struct, frozen=True, eq=False, kw_only=True):
    """One way to serve the load, at nominal inputs."""

    device: str
    engine: str
    precision: str
    layout: ServeLayout  # of a replica that answers
    replicas: int  # that answer
    most: Most  # of one replica that does all of a request; of the whole where pools do
    numbers: dict[str, float]
    meets: bool
    resolved: Resolved
    phase: ServePhase
    verified: bool | None = None  # by the plan's own answer, replayed where a percentile is promised; None: not yet
    seen: dict[str, str] = field(default_factory=dict)  # what was held against each promise: mean, p99
    likely: float | None = None  # to keep all its promises, of its plan's draws; None: no plan was made
    above: dict[str, float] = field(default_factory=dict)  # each promised time with that chance, over its middle

    @property
    @abstractmethod
    def devices(self) -> int:
        """Of all of it."""

    @property
    @abstractmethod
    def holds_per_s(self) -> float:
        """Requests a second that all of it takes within the promises."""

    @abstractmethod
    def laid_out(self, serve: Serve) -> Serve:
        """The serving section with this layout."""

    @abstractmethod
    def answered(self) -> dict[str, Any]:
        """The times its own plan has, replayed where a percentile is promised."""

    @abstractmethod
    def grown(self, broken: Collection[str], most_devices: int) -> Option | None:
        """The same with more replicas, where promises were broken; None where those cannot carry the load."""

    @abstractmethod
    def fewer(self, most_devices: int) -> list[Option]:
        """The same with a replica less."""

    @property
    @abstractmethod
    def largest(self) -> int:
        """Devices of its largest replica."""

    @abstractmethod
    def for_rate(self, rate_per_s: float) -> tuple[int, float, dict[str, Any]] | None:
        """Devices that so many requests a second need in this layout, what those hold, and how they are laid out;
        None where no number of them takes that much."""

    @abstractmethod
    def degrees(self) -> dict[str, Any]:
        """How it is laid out, as rows of the result have it."""

    def least(self, aim: str) -> float:
        """What its number of an aim cannot be below with a replica less, whose work the others then have to do."""
        return self.numbers[aim] * (1.0 - self.largest / self.devices)

    def shown(self, per_user_hour: float) -> dict[str, Any]:
        """As a row of the result."""
        return {
            "fleet": fleet_of(self.devices, self.device),
            "device": self.device,
            "devices": self.devices,
            "engine": self.engine,
            "precision": self.precision,
            **self.degrees(),
            "meets_slo": self.meets,
            "meets_slo_probability": self.likely,
            "users_per_replica": self.most.rate_per_s * HOUR_S / per_user_hour,
            "requests_per_s_per_replica": self.most.rate_per_s,
            "breaks_first": self.most.breaks,
            "verified": self.verified,
            **self.numbers,
        }


def fleet_of(devices: int, device: str) -> str:
    """Devices as a fleet is written."""
    return f"{devices}x{device}" if devices > 1 else device


class Equal(Option, frozen=True, eq=False, kw_only=True):
    """Replicas that are alike and do all of a request."""

    one: Replicas  # a replica as the time model sees it

    @property
    def devices(self) -> int:
        return self.replicas * int(self.layout.devices)

    @property
    def holds_per_s(self) -> float:
        return self.most.rate_per_s * self.replicas

    @property
    def largest(self) -> int:
        return int(self.layout.devices)

    def degrees(self) -> dict[str, Any]:
        layout = self.layout
        return {"tensor": int(layout.tensor), "data": int(layout.data), "expert": int(layout.expert),
                "replicas": self.replicas, "pools": None}

    def laid_out(self, serve: Serve) -> Serve:
        layout = self.layout
        return replace(serve, tensor=int(layout.tensor), data=int(layout.data),
                                       expert=int(layout.expert), replicas=self.replicas)

    def answered(self) -> dict[str, Any]:
        whole, asked = replace(self.one, count=self.replicas), self.phase.asked
        values, _ = times(asked, whole)
        if asked.own_times:
            values |= replayed(asked, self.phase, whole, values, self.resolved.seed).values
        elif is_replayed(asked, values):
            values |= spread(asked, self.phase, whole, values, self.resolved.seed)
        return values

    def grown(self, broken: Collection[str], most_devices: int) -> Option | None:
        return None if self.phase.replicas else self._resized(more_of(self.replicas), most_devices)

    def fewer(self, most_devices: int) -> list[Option]:
        if self.phase.replicas:
            return []
        found = self._resized(self.replicas - 1, most_devices) if self.replicas > 1 else None
        return [] if found is None else [found]

    def for_rate(self, rate_per_s: float) -> tuple[int, float, dict[str, Any]]:
        count = math.ceil(rate_per_s / self.most.rate_per_s)
        return count * int(self.layout.devices), self.most.rate_per_s * count, self.degrees() | {"replicas": count}

    def _resized(self, count: int, most_devices: int) -> Option | None:
        return option_of(self.resolved, self.phase, self.device, self.one, self.most, most_devices, count)


def more_of(count: int) -> int:
    """Replicas where so many broke a promise."""
    return max(count + 1, math.ceil(count * GROWTH))


def is_replayed(asked: Asked, values: Mapping[str, Any]) -> bool:
    """Whether what was promised is held against requests replayed one by one."""
    return asked.percentile is not None and bool(asked.slo) and asked.replayed and values.get("e2e_s") is not None


def option_of(
    resolved: Resolved, phase: ServePhase, device: str, one: Replicas, most: Most | None, most_devices: int,
    count: int | None = None,
) -> Option | None:
    """As many replicas as the scenario says, as `count`, or as the load needs; and their times, money and energy."""
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
    } | _hours(resolved, phase, whole, load, found, most)
    return Equal(device=device, engine=phase.engine.id, precision=phase.recipe.precision, layout=one.layout,
                 replicas=count, most=most, numbers=numbers, meets=meets, resolved=resolved, phase=phase, one=one)


def _power(resolved: Resolved, phase: ServePhase, whole: Replicas, load: Any, found: Any) -> float | None:
    if resolved.power is None:
        return None
    speed = whole.speed
    drawn = serve_power(
        whole.arch, speed.device, speed.engine, whole.layout, load, found, serve_power_facts(resolved.power)
    )
    return float(drawn["power_w_per_device"])


def _hours(
    resolved: Resolved, phase: ServePhase, whole: Replicas, load: Any, found: Any, most: Most
) -> dict[str, float]:
    """An hour of all replicas; where the load is known by the hour, the mean of the hours."""
    if phase.asked.hourly is None:
        power_w = _power(resolved, phase, whole, load, found)
        return an_hour(resolved, power_w, float(whole.devices), float(found["output_tokens_per_s"]) * whole.count)
    facts = None if resolved.power is None else serve_power_facts(resolved.power)
    return an_hour_of_many(resolved, phase, standing_of(phase.asked, whole, facts, most))


def an_hour_of_many(resolved: Resolved, phase: ServePhase, standing: Standing) -> dict[str, float]:
    """The mean hour of a load that is known by the hour."""
    mean = mean_hour(resolved, phase, standing)
    return an_hour(resolved, mean.power_w, mean.devices, mean.answered_per_s * phase.asked.output, mean.usd_per_hour)


def an_hour(
    resolved: Resolved, power_w: float | None, devices: float, tokens_per_s: float, usd: float | None = None
) -> dict[str, float]:
    """An hour of devices of one power: money, power, carbon; and money over a million tokens. NaN where not known.

    usd: of the hour, where devices are not all held at the same price.
    """
    assert resolved.rates is not None
    nan = float("nan")
    value = unit_value(resolved.rates, 0.0 if power_w is None else power_w)
    if usd is None:
        usd = nan if value["usd"] is None else float(value["usd"]) * HOUR_S * devices
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


def nearest(options: Sequence[Option], aim: str) -> tuple[Option, ...]:
    """Of options that all break a promise: those first whose worst time is the fewest times its limit (two digits)."""
    def misses(option: Option) -> float:
        over = [option.numbers[f"{name}_s"] / limit for name, limit in option.phase.asked.slo.items()]
        worst = max(over, default=math.inf)
        return float(f"{worst:.2g}") if math.isfinite(worst) else math.inf

    return tuple(sorted(options, key=lambda option: (misses(option), rank(option, aim))))


def ranked(options: Sequence[Option], aim: str) -> tuple[Option, ...]:
    """The best by the aim first."""
    return tuple(sorted(options, key=lambda option: rank(option, aim)))
