"""Equal replicas as the time model sees them, and as a person's own runs correct that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from outlay.architecture import Architecture
from outlay.derive import Quantity, derive, value_of
from outlay.physics.queueing import request_s
from outlay.planner.serve.own import own_found
from outlay.planner.serve.sums import stay
from outlay.resolve.own_runs import Point
from outlay.resolve.power import PowerInputs
from outlay.resolve.serve.speed import Speed
from outlay.steps.serve.inputs import ServeLayout
from outlay.steps.serve.time import serve_time
from outlay.steps.serve.time_inputs import Load


class Replicas(Struct, frozen=True, eq=False):
    """Equal replicas: how each is laid out, what its cache holds, and how much slower it is than the time model
    (an engine without constants of its own is held to what one stream of it takes)."""

    arch: Architecture
    speed: Speed
    layout: ServeLayout
    count: int
    cache_tokens: float
    slower: Quantity | float = 1.0
    slower_first: Quantity | float = 1.0
    single: Mapping[str, Any] = field(default_factory=dict)  # one request alone, which has a model of its own

    def found(self, load: Load) -> Mapping[str, Any]:
        """What the time model says of one replica under a load, and a person's own runs of it where there are."""
        if self.speed.own is None:
            return self.modelled(load)
        return own_found(self.modelled, load, self.speed, value_of(self.layout.devices))

    def modelled(self, load: Load) -> Mapping[str, Any]:
        return serve_time(self.arch, self.speed.device, self.speed.engine, self.layout, load)

    def own(self, load: Load) -> Mapping[str, Any]:
        """The same in this engine's own time: one slower by a factor is one that is asked that much more."""
        slow, first = value_of(self.slower), value_of(self.slower_first)
        if slow == first == 1.0:
            return self.found(load)
        longer = value_of(self.full(load)[1])
        found = self.found(replace(load, rate=load.rate * longer))
        ttft, tpot = found["ttft_s"] * first, found["tpot_s"] * slow
        own = {"ttft_s": ttft, "tpot_s": tpot, "e2e_s": request_s(ttft, tpot, load.output),
               "output_tokens_per_s": found["output_tokens_per_s"] / longer}
        return {**found, **own}

    def full(self, load: Load) -> tuple[Mapping[str, Any], Quantity | float]:
        """A replica with every slot taken, and how much longer than the model a request of it takes on this engine."""
        found = self.found(replace(load, kind="queued"))
        if isinstance(self.slower, Quantity) or isinstance(self.slower_first, Quantity):
            longer: Quantity = derive(stay, "a request on this engine over the model's", "ratio", slower=self.slower,
                                      first=self.slower_first, ttft_s=float(found["ttft_s"]),
                                      rest_s=float(found["tpot_s"]) * max(load.output - 1.0, 0.0))
            return found, longer
        return found, 1.0

    def residual(self, number: str, at: Point | None) -> Quantity:
        """Measured over predicted, of published runs alike or of one's own."""
        return self.speed.residual(number, at=at, devices=value_of(self.layout.devices))

    @property
    def devices(self) -> int:
        return self.count * int(self.layout.devices)

    def place(self, load: Load, found: Mapping[str, Any]) -> Point | None:
        """Where a load lies among those of a person's own runs."""
        inside = load.concurrency if load.kind in ("closed", "batch") else float(found["running"])
        return self.speed.place(inside, load.input, load.output, value_of(self.layout.devices))

    def own_slower(self, load: Load) -> tuple[float, float]:
        """How much longer than the model a token and a first token take: this engine's one stream, one's own runs."""
        devices, slow, first = value_of(self.layout.devices), value_of(self.slower), value_of(self.slower_first)
        if self.speed.own is None:
            return slow, first
        inside = load.concurrency if load.kind in ("closed", "batch") else self.modelled(load)["running"]
        token, prompt = (self.speed.nominal(n, inside, load.input, load.output, devices) for n in ("tpot_s", "ttft_s"))
        return slow * float(token), first * float(prompt)

    def own_power(self, power: PowerInputs | None, load: Load, running: float) -> PowerInputs | None:
        """The inputs of power, as a person's own runs correct them where there are."""
        if power is None or self.speed.own is None:
            return power
        at = self.place(load, {"running": running})
        return replace(power, residual=self.speed.own_power(power.residual, at))

    def own_alone(self, at: Point | None) -> tuple[Quantity, Quantity]:
        """One request alone: as its own model has it, or as a person's own runs were to that."""
        own, times = self.speed.own, []
        for name in ("ttft_s", "tpot_s"):
            time: Quantity = self.single[name]
            if own is not None and name in own.ratios:
                own_s = time.value * self.speed.nominal(
                    name, 1.0, self.single["input"], self.single["output"], value_of(self.layout.devices))
                time = derive(_as_run, time.label, "s", modelled_s=own_s, slower=self.residual(name, at))
            times.append(time)
        return times[0], times[1]


def _as_run(modelled_s: Any, slower: Any) -> Any:
    """The model of one request alone, and what runs of one's own took beyond it."""
    return modelled_s * slower
