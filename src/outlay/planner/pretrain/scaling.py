"""Strong scaling: the same work on fewer and on more devices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction

from msgspec import Struct

from outlay.errors import OutlayError
from outlay.steps.inputs import Layout

FACTORS = (Fraction(1, 4), Fraction(1, 2), Fraction(1), Fraction(2), Fraction(4))
SECONDS_PER_DAY, SECONDS_PER_HOUR = 86400.0, 3600.0

# devices -> (seconds of a step, seconds of the whole run, layout), or None when nothing fits
Found = tuple[float, float, Layout]
PlanOn = Callable[[int], Found | None]


class ScalingRow(Struct, frozen=True):
    """One fleet size. efficiency is device-time at the asked size over device-time here."""

    devices: int
    step_time_s: float | None
    days: float | None
    device_hours: float | None
    efficiency: float | None
    layout: Layout | None
    why: str = ""


def fleet_sizes(devices: int, devices_per_node: int,
                factors: Sequence[Fraction] = FACTORS) -> tuple[int, ...]:
    """Sizes to compare: whole devices, whole nodes above one node; the asked size always.

    >>> fleet_sizes(64, 8), fleet_sizes(8, 8), fleet_sizes(24, 8)
    ((16, 32, 64, 128, 256), (2, 4, 8, 16, 32), (6, 24, 48, 96))
    """
    sizes = set()
    for factor in factors:
        size = devices * factor
        if size.denominator == 1 and size >= 1 and (size <= devices_per_node or size % devices_per_node == 0):
            sizes.add(int(size))
    return tuple(sorted(sizes | {devices}))


def strong_scaling(devices: int, devices_per_node: int, plan_on: PlanOn) -> tuple[ScalingRow, ...]:
    """The table; a size on which nothing fits or no layout exists stays in it, with the reason."""
    found: dict[int, Found | None] = {}
    reasons: dict[int, str] = {}
    for size in fleet_sizes(devices, devices_per_node):
        try:
            found[size] = plan_on(size)
        except OutlayError as error:
            found[size], reasons[size] = None, error.message
    asked = found.get(devices)
    return tuple(_row(size, plan, asked, devices, reasons.get(size, "does not fit"))
                 for size, plan in found.items())


def _row(size: int, plan: Found | None, asked: Found | None, devices: int, why: str) -> ScalingRow:
    if plan is None:
        return ScalingRow(size, None, None, None, None, None, why)
    step, run, layout = plan
    efficiency = asked[1] * devices / (run * size) if asked is not None else None
    return ScalingRow(size, step, run / SECONDS_PER_DAY, run * size / SECONDS_PER_HOUR, efficiency, layout)
