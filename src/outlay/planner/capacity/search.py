"""Which devices, how many and how laid out serve a load within its promises: every option planned, the best named.

Options are devices x precisions x engines x layouts of a replica. Each is asked how much one replica takes while it
keeps the promises; as many replicas as the load needs follow, and what an hour of them costs, draws and emits.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from outlay.architecture import Architecture
from outlay.catalog import Catalog
from outlay.derive import value_of
from outlay.errors import Inconsistent, OutlayError
from outlay.planner.capacity.option import Option, fleet_of, nearest, option_of, ranked
from outlay.planner.capacity.pools import no_pools, pooled
from outlay.planner.capacity.rate import most_load
from outlay.planner.capacity.verify import surer, verify
from outlay.planner.layouts.pareto import front
from outlay.planner.replay.spread import of_trace
from outlay.planner.serve.extras import with_extras
from outlay.planner.serve.speed import alone, replicas_of
from outlay.planner.serve.times import HOUR_S
from outlay.planner.serve.trial import nominal_recipe, tensor_degrees
from outlay.resolve import Notes, Resolved, resolve
from outlay.resolve.serve.layout import given_layouts
from outlay.resolve.serve.options import Space, options_space
from outlay.resolve.serve.phase import ServePhase
from outlay.scenario import Scenario
from outlay.steps.serve.inputs import ServeLayout
from outlay.steps.serve.memory import ServeMemory, serve_memory

SPARE = 0.01  # of the device, kept free so that what fits here fits with confidence
SHOWN = 8
MOST = "serve.options.max_devices"
NO_LIMIT = 10**9
AIMS = {"money": "usd_per_hour", "energy": "power_w", "carbon": "co2e_kg_per_hour", "time": "e2e_s"}


class Found(Struct, frozen=True, eq=False):
    """What a search came to: the options by the aim, the best first, and why others were left out."""

    options: tuple[Option, ...]
    aim: str
    skipped: dict[str, str]
    per_user_hour: float
    surer: Option | None  # the best that is likely to keep its promises, where `best` is not

    @property
    def best(self) -> Option:
        return self.options[0]

    def on_best(self, scenario: Scenario) -> Scenario:
        """The scenario on the best option's devices, laid out as it is."""
        best = self.best
        assert scenario.serve is not None
        serve = replace(scenario.serve, engine=best.engine, precision=best.precision, options=None)
        serve = best.laid_out(serve)
        return replace(scenario, fleet=f"{best.devices}x{best.device}", serve=serve)

    def tell(self, notes: Notes) -> None:
        """Which was chosen and why."""
        kept = sum(o.meets for o in self.options)
        least = AIMS[self.aim].replace("_", " ")
        why = f"least {least} of the {kept} of {len(self.options)} options that keep their promises"
        if not kept:
            why = (
                f"none of {len(self.options)} options keeps its promises; the one nearest to them is planned"
            )
            notes.warn(f"serve.slo: {why}")
        replayed = sorted({of for of in self.best.seen.values() if of != "mean"})
        if kept and replayed:
            why += f"; its requests replayed one by one keep them at {', '.join(replayed)}"
        notes.assume("fleet", f"{self.best.devices}x{self.best.device}", why)
        tried = {o.precision for o in self.options}
        if len(tried) > 1:
            notes.assume("serve.precision", self.best.precision, f"that of the best of {', '.join(sorted(tried))}; "
                         "answers may differ with it, which is not weighed: name one to keep to it")
        if self.best.degrees()["pools"] is not None:
            notes.assume("serve.disaggregated", "pools", "as many replicas of each as its promise needs; published "
                         "runs of two pools are few, so their intervals are wide")

    def shown(self) -> dict[str, Any]:
        """The search as the result holds it."""
        kept = [o for o in self.options if o.meets] or list(self.options)
        return {
            "aim": self.aim,
            "considered": len(self.options),
            "verified": self.best.verified,
            "verified_by": self.best.seen,
            "best": [o.shown(self.per_user_hour) for o in kept[:SHOWN]],
            "front": [o.shown(self.per_user_hour) for o in on_front(self.options)],
            "surer": None if self.surer is None else self.surer.shown(self.per_user_hour),
            "next_step": _next(self, self.best),
            "skipped": self.skipped,
        }


def search(scenario: Scenario, catalog: Catalog, without: str = "") -> Found:
    """Options for a scenario that names no fleet, ranked by its goal (money unless said)."""
    serve = scenario.serve
    assert serve is not None
    space = options_space(scenario, catalog)
    aim = (scenario.goal.minimize if scenario.goal is not None else None) or "money"
    options: list[Option] = []
    skipped: dict[str, str] = {}
    refused: list[OutlayError] = []
    per_user, traced = 1.0, None
    planned: set[tuple[str, str, str]] = set()  # a model's own precision may be one of those asked for
    for resolved, device in _resolved(scenario, space, catalog, without, skipped, refused):
        phase, arch = resolved.serve, resolved.architecture
        assert phase is not None and arch is not None
        key = device, phase.engine.id, phase.recipe.precision
        if key in planned:
            continue
        planned.add(key)
        if phase.asked.trace is not None:  # the same file for all: read once
            traced = of_trace(phase.asked, Notes()) if traced is None else traced
            phase = replace(phase, asked=traced)
        per_user = phase.asked.per_user_hour.value
        found, why = _of_device(resolved, phase, arch, device, space)
        if why:
            skipped.setdefault(device, why)
        options += found
    if not options:
        if not planned and len({error.message for error in refused}) == 1:
            raise refused[0]  # whatever the device: it is what was asked, not where it would run
        few = _too_few(space)
        if skipped and set(skipped.values()) == {few}:
            raise Inconsistent(f"{MOST}: {few.replace('of them', f'of any of {len(skipped)} devices')}; "
                               f"{_enough(scenario, space, catalog, without)}or ask for less", MOST)
        why = "; ".join(f"{device}: {reason}" for device, reason in list(skipped.items())[:3])
        raise Inconsistent(f"fleet: none was named and no option serves this ({why}); name one", "fleet")
    best = verify(ranked(options, AIMS[aim]), AIMS[aim], space.most_devices)
    if not any(option.meets for option in best):
        best = nearest(best, AIMS[aim])
    best, sure = surer(best, AIMS[aim], space.most_devices)
    return Found(best, aim, skipped, per_user, sure)


def _enough(scenario: Scenario, space: Space, catalog: Catalog, without: str) -> str:
    """How many devices would carry it, at the least, where there is such a number."""
    boundless = replace(space, most_devices=NO_LIMIT)
    found = [option for resolved, device in _resolved(scenario, boundless, catalog, without, {}, [])
             if resolved.serve is not None and resolved.architecture is not None
             for option in _of_device(resolved, resolved.serve, resolved.architecture, device, boundless)[0]]
    if not found:
        return ""
    least = min(found, key=lambda option: (not option.meets, option.devices))
    return (f"the fewest are {least.devices:,} of {least.device} in {least.precision}: allow them with "
            f"options.max_devices, ")


def _resolved(
    scenario: Scenario, space: Space, catalog: Catalog, without: str, skipped: dict[str, str],
    refused: list[OutlayError],
) -> Iterator[tuple[Resolved, str]]:
    for device in space.devices:
        for engine in space.engines:
            for precision in space.precisions(device):
                try:
                    yield (
                        resolve(space.scenario(scenario, device, engine, precision), catalog, without),
                        device,
                    )
                except OutlayError as error:
                    if error.field.startswith(("model", "serve.workload", "serve.slo", "site")):
                        raise
                    skipped[device] = error.message
                    refused.append(error)


def _of_device(
    resolved: Resolved, phase: ServePhase, arch: Architecture, device: str, space: Space
) -> tuple[list[Option], str]:
    """Options of one device, engine and precision; why there are none, where there are none."""
    assert resolved.hardware is not None
    most = min(max(resolved.hardware.scale_up_devices, resolved.hardware.devices_per_node), space.most_devices)
    fixed = given_layouts(space.pools, arch)
    tried = layouts(phase, arch, most)
    fitting = list(_fitting(phase, arch, [*tried, *(own for own in fixed if own is not None and own not in tried)]))
    if not fitting:
        return [], "the model does not fit on any number of them that share a fast link"
    options: list[Option] = []
    for layout, memory in fitting if space.whole else ():
        own = with_extras(phase, arch, layout)
        one = replicas_of(arch, own, layout, 1, memory, alone(arch, own, layout) if not own.speed.fitted else {})
        made = option_of(resolved, own, device, one, most_load(own.asked, one), space.most_devices)
        if made is not None:
            options.append(made)
    why = no_pools(phase) if space.split else ""
    if space.split and not why:
        options += pooled(resolved, phase, arch, device, fitting, space.pools, fixed, space.most_devices,
                          beside=space.whole)
    return options, "" if options else why or _too_few(space)


def _too_few(space: Space) -> str:
    return f"no number up to {space.most_devices:,} of them carries the load"


def _fitting(
    phase: ServePhase, arch: Architecture, tried: Sequence[ServeLayout]
) -> Iterator[tuple[ServeLayout, ServeMemory]]:
    """Layouts whose replica fits on its devices, with its memory."""
    limit = value_of(phase.usable_bytes)
    recipe = nominal_recipe(phase.recipe)
    for layout in tried:
        memory = serve_memory(arch, limit, recipe, layout)
        if min(value_of(s.room_bytes) - value_of(s.need_bytes) for s in memory.stages) >= SPARE * limit:
            yield layout, memory


def layouts(phase: ServePhase, arch: Architecture, most: int) -> list[ServeLayout]:
    """Replicas worth a look: tensor degrees that divide the heads; of mixtures also attention ranks of their own."""
    given = phase.layout
    if phase.tensor_given:
        return [given]
    found = [
        replace(given, tensor=t) for t in tensor_degrees(arch) if t <= most and t % int(given.context) == 0
    ]
    if any(kind.mlp == "moe" for kind, _ in arch.groups) and int(given.data) == 1 and int(given.expert) == 1:
        found += [
            ServeLayout(1, given.pipeline, n, n, given.context) for n in (2, 4, 8, 16, 32, 64) if n <= most
        ]
    return found


def on_front(options: Sequence[Option]) -> list[Option]:
    """Options that no other beats in money, latency, energy and carbon at once."""
    kept = [o for o in options if o.meets]
    if not kept:
        return []
    columns = ("usd_per_hour", "ttft_s", "tpot_s", "power_w", "co2e_kg_per_hour")
    points = np.array([[o.numbers[c] for c in columns] for o in kept])
    return [kept[i] for i in front(np.nan_to_num(points, nan=1e18))]


def _next(found: Found, best: Option) -> dict[str, Any] | None:
    """The cheapest option that takes at least half as much again as the best one does."""
    wanted = 1.5 * best.holds_per_s
    bigger: list[tuple[float, int, int, Option, float, dict[str, Any]]] = []
    for option in found.options:
        larger = option.for_rate(wanted) if option.meets else None
        if larger is None:
            continue
        devices, held, laid = larger
        price = option.numbers["usd_per_hour"] / option.devices * devices
        if not math.isnan(price):
            bigger.append((price, devices, len(bigger), option, held, laid))
    if not bigger:
        return None
    price, devices, _, option, held, laid = min(bigger, key=lambda row: row[:3])
    return {
        "fleet": fleet_of(devices, option.device),
        "device": option.device,
        "precision": option.precision,
        **laid,
        "usd_per_hour": price,
        "users": held * HOUR_S / found.per_user_hour,
        "requests_per_s": held,
    }
