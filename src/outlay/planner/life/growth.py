"""What serving consumes over its years, month by month, as its traffic grows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from outlay.derive import value_of
from outlay.errors import Inconsistent
from outlay.physics import upkeep as up
from outlay.physics.upkeep import MONTH_S, YEAR_S
from outlay.planner.life.calendar import Span
from outlay.planner.needs import scaled
from outlay.resolve.life import LifePhase
from outlay.usage import Line, Usage

BY_TRAFFIC = ("prefill",)  # items whose energy follows the prompts read, whatever the number of replicas
STANDING_ITEMS = ("idle-devices",)
STANDING = ("storage_byte_s", "person_s")  # do not grow with traffic
LONGEST_YEAR_H = 8784.0


class Growing(Struct, frozen=True):
    """Traffic at the start, and how it grows; `period_s` is the time a plan's use belongs to, None its own duration."""

    per_year: float
    replicas: int
    load: float
    most_load: float
    period_s: float | None
    idle_kept: float = 1.0  # of the devices that the layout leaves over, those that are kept

    def traffic(self, years: Any) -> NDArray[np.float64]:
        return np.asarray(up.growth(years, self.per_year), dtype=float)

    def fleet(self, years: Any) -> NDArray[np.float64]:
        """Whole replicas after so many years."""
        return np.asarray(
            up.replicas_needed(float(self.replicas), self.traffic(years), self.load, self.most_load), dtype=float
        )

    def most(self, span: Span) -> float:
        """The replicas of the busiest month."""
        return float(self.fleet(np.array([0.0, span.long_s / YEAR_S])).max())


def growing(life: LifePhase, serve: Mapping[str, Any], asked: Mapping[str, Any]) -> Growing:
    """How the serving of a plan grows. serve: its values; asked: the serve section of the scenario.

    Raises Inconsistent when fewer devices are kept than the replicas are on.
    """
    load = serve.get("load")
    known = 1.0 if load is None else value_of(load)
    hours, work = asked.get("hours"), asked.get("workload") or {}
    yearly = hours is not None and hours <= LONGEST_YEAR_H
    counted = hours is None and (work.get("requests") is not None or work.get("batch") is not None)
    return Growing(
        life.growth_per_year,
        _wholes(serve),
        min(1.0, max(1e-6, known)),
        1.0 if load is None else life.most_load.value,
        YEAR_S if yearly or counted else None,
        _idle_kept(life, int(value_of(serve.get("devices_used") or 0)), int(value_of(serve.get("devices_idle") or 0))),
    )


def _wholes(serve: Mapping[str, Any]) -> int:
    """Alike parts that a deployment grows by: replicas, or as many prompt and answer pools as there are of both."""
    pools = serve.get("pools")
    if pools:
        return math.gcd(*(int(pool["replicas"]) for pool in pools.values()))
    return int(value_of(serve.get("replicas") or 1))


def _idle_kept(life: LifePhase, used: int, idle: int) -> float:
    """What part of the devices left over is kept while serving."""
    if life.serve_devices is None or not idle:
        return 1.0
    if life.serve_devices < used:
        raise Inconsistent(
            f"life.serve_devices: {life.serve_devices}, but the replicas are on {used} devices", "life.serve_devices"
        )
    return min(1.0, (life.serve_devices - used) / idle)


def grown(lines: Sequence[Line], span: Span, how: Growing) -> list[Usage]:
    """The use of serving over its span. Overheads are left out: `account` makes them again.

    Devices are held by whole replicas; the energy of prompts and all that is counted by request or token follows the
    traffic; what only stands stays as it is. Energy of decoding follows the replicas: a device that decodes draws about
    the same at any number of sequences, because it reads the same weights.
    """
    if span.long_s <= 0:
        return []
    parts = max(1, int(np.ceil(span.long_s / MONTH_S - 1e-6)))
    years = (np.arange(parts) + 0.5) * span.long_s / parts / YEAR_S
    traffic, fleet = how.traffic(years), how.fleet(years) / how.replicas
    found = []
    for usage in (line.usage for line in lines if "overhead" not in line.usage.tags):
        level = _level(usage, traffic, fleet)
        period_s = how.period_s or usage.duration_s or YEAR_S
        if usage.item in STANDING_ITEMS:
            level = level * how.idle_kept
            if not how.idle_kept:
                continue
        even = float(np.ptp(level)) == 0.0
        found.append(
            scaled(
                usage,
                float(level.mean()) * span.long_s / period_s,
                start_s=span.start_s,
                duration_s=span.long_s,
                profile=() if even else tuple(level / level.sum()),
            )
        )
    return found


def _level(usage: Usage, traffic: NDArray[np.float64], fleet: NDArray[np.float64]) -> NDArray[np.float64]:
    """A usage month by month over its first."""
    if usage.resource in STANDING or usage.item in STANDING_ITEMS:
        return np.ones_like(traffic)
    if usage.resource == "device_s" or (usage.resource == "energy_j" and usage.item not in BY_TRAFFIC):
        return fleet
    return traffic
