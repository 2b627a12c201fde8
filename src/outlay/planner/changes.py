"""Single changes of a plan that take less memory, each kind from the mildest on. None is measured here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec.structs import replace

from outlay.planner.layouts.frameworks import rules_of
from outlay.planner.layouts.rules import divisors
from outlay.planner.layouts.space import RECOMPUTE
from outlay.planner.trials import Attempt

EIGHT_BIT_STATE_BYTES = 2.0  # two moments of one byte; Dettmers et al. 2022 (arXiv:2110.02861)
GROWTH = (2, 4, 8)  # how many times the fleet a given layout is kept on
DOUBLINGS = 4  # how far a degree is doubled
OFFLOAD = ("none", "optimizer", "all")


def recompute(start: Attempt, layout: Any) -> Iterator[Attempt]:
    for more in RECOMPUTE[RECOMPUTE.index(layout.recompute) + 1:]:
        yield replace(start, layout=replace(layout, recompute=more))


def micro_batch(start: Attempt, layout: Any) -> Iterator[Attempt]:
    for smaller in reversed(divisors(int(layout.micro_batch)).tolist()[:-1]):
        yield replace(start, layout=replace(layout, micro_batch=smaller))


def zero(start: Attempt, layout: Any) -> Iterator[Attempt]:
    rules = rules_of(start.recipe.framework)
    offered = rules.zero_with_pipeline if layout.pipeline > 1 else rules.zero
    for zero in range(layout.zero + 1, 4):
        if zero in offered and layout.data * layout.context > 1:
            shard = layout.shard if layout.zero else layout.data
            yield replace(start, layout=replace(layout, zero=zero, shard=shard))


def degree(start: Attempt, layout: Any, name: str) -> Iterator[Attempt]:
    """Twice as much of one split, taken from data, on the same devices."""
    for times in (2**i for i in range(1, DOUBLINGS + 1)):
        if name == "expert":
            yield replace(start, layout=replace(layout, expert=layout.expert * times))
        elif layout.data % times == 0 and _offered(start, layout, name, getattr(layout, name) * times):
            data = layout.data // times
            changed: dict[str, Any] = {name: getattr(layout, name) * times, "data": data,
                                       "shard": min(layout.shard, data) if layout.zero else 1}
            if name == "pipeline" and layout.virtual_pipeline > 1:
                chunks = max(layout.virtual_pipeline // times, 1)
                changed |= {"virtual_pipeline": chunks, "schedule": layout.schedule if chunks > 1 else "1f1b"}
            yield replace(start, layout=replace(layout, **changed))


def _offered(start: Attempt, layout: Any, name: str, degree: int) -> bool:
    """Whether the framework has this split, and tensor parallelism stays inside the fast domain."""
    rules = rules_of(start.recipe.framework)
    if name == "tensor" and degree > start.hardware.scale_up_devices:
        return False
    if name == "pipeline" and layout.zero not in rules.zero_with_pipeline:
        return False
    return name in rules.axes


def eight_bit(start: Attempt) -> Iterator[Attempt]:
    recipe = start.recipe
    if recipe.optimizer in ("adamw", "adam") and float(recipe.optimizer_bytes) > EIGHT_BIT_STATE_BYTES:
        lighter = replace(recipe, optimizer="adamw-8bit", optimizer_bytes=EIGHT_BIT_STATE_BYTES)
        yield replace(start, recipe=lighter)


def offload(start: Attempt) -> Iterator[Attempt]:
    """More of the states on the host; then less, for a host that is too small."""
    now = OFFLOAD.index(start.recipe.offload)
    for other in (*OFFLOAD[now + 1:], *reversed(OFFLOAD[:now])):
        yield replace(start, recipe=replace(start.recipe, offload=other))


def parts_of_node(devices: int, per_node: int) -> list[int]:
    """Fleets larger than this one inside a node, that divide it.

    >>> parts_of_node(1, 8), parts_of_node(3, 8), parts_of_node(16, 8)
    ([2, 4, 8], [4, 8], [])
    """
    return [d for d in divisors(per_node).tolist() if d > devices]


def countable(devices: int, per_node: int) -> bool:
    """Whether a fleet may have so many devices: part of one node, or whole nodes."""
    return devices <= per_node or devices % per_node == 0


def grown(start: Attempt, layout: Any) -> Iterator[Attempt]:
    """The same layout on more devices: more data ranks to shard over, or more stages."""
    hardware = start.hardware
    for times in GROWTH:
        if not countable(hardware.devices * times, hardware.devices_per_node):
            continue
        grown = replace(hardware, devices=hardware.devices * times)
        if layout.zero and start.recipe.global_batch % (layout.data * times * layout.micro_batch) == 0:
            shard = layout.shard * times if layout.shard == layout.data else layout.shard
            wider = replace(layout, data=layout.data * times, shard=shard)
            yield replace(start, hardware=grown, layout=wider)
        if _offered(start, layout, "pipeline", layout.pipeline * times):
            deeper = replace(layout, pipeline=layout.pipeline * times, virtual_pipeline=1,
                             schedule="1f1b" if layout.schedule == "interleaved" else layout.schedule)
            yield replace(start, hardware=grown, layout=deeper)
