"""Which devices, how many and how laid out serve a load within its promises: every option planned, the best named.

Options are devices x precisions x engines x layouts of a replica. Each is asked how much one replica takes while it
keeps the promises; as many replicas as the load needs follow, and what an hour of them costs, draws and emits.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import numpy as np

from outlay.account import unit_value
from outlay.architecture import Architecture
from outlay.catalog import Catalog
from outlay.derive import value_of
from outlay.errors import Inconsistent, OutlayError
from outlay.planner.capacity_rate import Most, most_load, tails
from outlay.planner.pareto import front
from outlay.planner.serve_extras import with_extras
from outlay.planner.serve_speed import alone, replicas_of
from outlay.planner.serve_times import HOUR_S, Replicas, load_of
from outlay.planner.serve_trial import nominal_recipe, tensor_degrees
from outlay.resolve import Notes, Resolved, resolve
from outlay.resolve.power import serve_power_facts
from outlay.resolve.serve import ServePhase
from outlay.resolve.serve_options import Space, options_space
from outlay.scenario import Scenario
from outlay.steps.serve_inputs import ServeLayout
from outlay.steps.serve_memory import serve_memory
from outlay.steps.serve_power import serve_power

SPARE = 0.01  # of the device, kept free so that what fits here fits with confidence
SHOWN = 8
AIMS = {"money": "usd_per_hour", "energy": "power_w", "carbon": "co2e_kg_per_hour", "time": "e2e_s"}


@dataclass(frozen=True, eq=False, slots=True)
class Option:
    """One way to serve the load, at nominal inputs."""

    device: str
    engine: str
    precision: str
    layout: ServeLayout
    replicas: int
    most: Most
    numbers: dict[str, float]
    meets: bool

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
            **self.numbers,
        }


@dataclass(frozen=True, eq=False, slots=True)
class Found:
    """What a search came to: the options by the aim, the best first, and why others were left out."""

    options: tuple[Option, ...]
    aim: str
    skipped: dict[str, str]
    per_user_hour: float

    @property
    def best(self) -> Option:
        return self.options[0]

    def on_best(self, scenario: Scenario) -> Scenario:
        """The scenario on the best option's devices, laid out as it is."""
        best = self.best
        assert scenario.serve is not None
        serve = msgspec.structs.replace(
            scenario.serve,
            engine=best.engine,
            precision=best.precision,
            tensor=int(best.layout.tensor),
            data=int(best.layout.data),
            expert=int(best.layout.expert),
            replicas=best.replicas,
            options=None,
        )
        return msgspec.structs.replace(scenario, fleet=f"{best.devices}x{best.device}", serve=serve)

    def tell(self, notes: Notes) -> None:
        """Which was chosen and why."""
        kept = sum(o.meets for o in self.options)
        least = AIMS[self.aim].replace("_", " ")
        why = f"least {least} of the {kept} of {len(self.options)} options that keep their promises"
        if not kept:
            why = (
                f"none of {len(self.options)} options keeps its promises: the nearest to the aim, {self.aim}"
            )
            notes.warn(f"serve.slo: {why}")
        notes.assume("fleet", f"{self.best.devices}x{self.best.device}", why)

    def shown(self) -> dict[str, Any]:
        """The search as the result holds it."""
        kept = [o for o in self.options if o.meets] or list(self.options)
        return {
            "aim": self.aim,
            "considered": len(self.options),
            "best": [o.shown(self.per_user_hour) for o in kept[:SHOWN]],
            "front": [o.shown(self.per_user_hour) for o in on_front(self.options)],
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
    per_user = 1.0
    for resolved, device in _resolved(scenario, space, catalog, without, skipped):
        phase, arch = resolved.serve, resolved.architecture
        assert phase is not None and arch is not None
        per_user = phase.asked.per_user_hour.value
        found = list(_of_device(resolved, phase, arch, device, space.most_devices))
        if not found:
            skipped.setdefault(device, "the model does not fit on any number of them that share a fast link")
        options += found
    if not options:
        why = "; ".join(f"{device}: {reason}" for device, reason in list(skipped.items())[:3])
        raise Inconsistent(f"fleet: none was named and no option serves this ({why}); name one", "fleet")
    return Found(_ranked(options, AIMS[aim]), aim, skipped, per_user)


def _resolved(
    scenario: Scenario, space: Space, catalog: Catalog, without: str, skipped: dict[str, str]
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


def _of_device(
    resolved: Resolved, phase: ServePhase, arch: Architecture, device: str, most_devices: int
) -> Iterator[Option]:
    limit = value_of(phase.usable_bytes)
    recipe = nominal_recipe(phase.recipe)
    assert resolved.hardware is not None
    for layout in layouts(
        phase,
        arch,
        min(max(resolved.hardware.scale_up_devices, resolved.hardware.devices_per_node), most_devices),
    ):
        memory = serve_memory(arch, limit, recipe, layout)
        spare = min(value_of(s.room_bytes) - value_of(s.need_bytes) for s in memory.stages)
        if spare < SPARE * limit:
            continue
        one = replicas_of(
            arch,
            with_extras(phase, arch, layout),
            layout,
            1,
            memory,
            alone(arch, phase, layout) if not phase.speed.fitted else {},
        )
        most = most_load(phase.asked, one)
        made = _option(resolved, phase, device, one, most, most_devices)
        if made is not None:
            yield made


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


def _option(
    resolved: Resolved, phase: ServePhase, device: str, one: Replicas, most: Most | None, most_devices: int
) -> Option | None:
    """As many replicas as the load needs, and the times, money and energy of them under it."""
    asked, each = phase.asked, int(one.layout.devices)
    meets = most is not None
    if most is None:  # the promise is out of reach: shown at light load, after all that keep theirs
        most = Most(max(asked.rate, 1e-9), max(asked.concurrency, 1.0), "light load")
    wanted = asked.rate / most.rate_per_s if asked.kind == "open" else asked.concurrency / most.concurrency
    count = int(phase.replicas or max(1, math.ceil(wanted * (1 - 1e-9))))
    if count * each > most_devices:
        return None
    whole = replace(one, count=count)
    load = load_of(asked, whole)
    found = whole.own(load)
    if asked.kind == "open" and float(found["load"]) >= 1.0:
        return None
    seen = {
        name: float(value) for name, value in tails(asked, whole, found, replace(load, kind="queued")).items()
    }
    if any(seen[name] > limit for name, limit in asked.slo.items()):
        meets = False
    tokens = float(found["output_tokens_per_s"]) * count
    power = _power(resolved, phase, whole, load, found)
    numbers = {
        "ttft_s": seen["ttft"],
        "tpot_s": seen["tpot"],
        "e2e_s": seen["e2e"],
        "output_tokens_per_s": tokens,
        "load": float(found["load"]) if asked.kind == "open" else 1.0,
    } | _hourly(resolved, power, count * each, tokens)
    return Option(device, phase.engine.id, phase.recipe.precision, one.layout, count, most, numbers, meets)


def _power(resolved: Resolved, phase: ServePhase, whole: Replicas, load: Any, found: Any) -> float | None:
    if resolved.power is None:
        return None
    speed = whole.speed
    drawn = serve_power(
        whole.arch, speed.device, speed.engine, whole.layout, load, found, serve_power_facts(resolved.power)
    )
    return float(drawn["power_w_per_device"])


def _hourly(resolved: Resolved, power_w: float | None, devices: int, tokens_per_s: float) -> dict[str, float]:
    """An hour of all devices: money, power, carbon; and money over a million tokens. NaN where it is not known."""
    assert resolved.rates is not None
    nan = float("nan")
    value = unit_value(resolved.rates, 0.0 if power_w is None else power_w)
    usd = nan if value["usd"] is None else float(value["usd"]) * HOUR_S * devices
    known = power_w is not None
    return {
        "usd_per_hour": usd,
        "usd_per_million_output_tokens": usd / (tokens_per_s * HOUR_S) * 1e6,
        "power_w": float(value["energy_j"]) * devices if known else nan,
        "energy_per_output_token_j": power_w * devices / tokens_per_s if power_w is not None else nan,
        "co2e_kg_per_hour": float(value["co2e_kg"]) * HOUR_S * devices if known else nan,
    }


def _ranked(options: Sequence[Option], aim: str) -> tuple[Option, ...]:
    """Those that keep their promises first, by the aim; unknown values last."""

    def key(option: Option) -> tuple[bool, float, int]:
        value = option.numbers[aim]
        return (not option.meets, math.inf if math.isnan(value) else value, option.devices)

    return tuple(sorted(options, key=key))


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
    holds = best.most.rate_per_s * best.replicas
    bigger = []
    for option in found.options:
        if not option.meets:
            continue
        count = math.ceil(1.5 * holds / option.most.rate_per_s)
        price = option.numbers["usd_per_hour"] / option.replicas * count
        if not math.isnan(price):
            bigger.append((price, count * int(option.layout.devices), option, count))
    if not bigger:
        return None
    price, devices, option, count = min(bigger, key=lambda row: row[:2])
    return {
        "fleet": f"{devices}x{option.device}",
        "replicas": count,
        "precision": option.precision,
        "tensor": int(option.layout.tensor),
        "usd_per_hour": price,
        "users": option.most.rate_per_s * count * HOUR_S / found.per_user_hour,
        "requests_per_s": option.most.rate_per_s * count,
    }
