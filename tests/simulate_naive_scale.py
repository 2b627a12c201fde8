"""Autoscalers for the step-by-step simulator: one object a replica, every look made, written from the rules."""

from __future__ import annotations

import math
from pathlib import Path
from runpy import run_path
from typing import Any

from outlay.simulate import Autoscale

Naive: Any = run_path(str(Path(__file__).with_name("simulate_naive.py")))["Naive"]


class Replica:
    """Engines that come and go together."""

    def __init__(self, engines: list[Any], on: bool) -> None:
        self.engines, self.status, self.since, self.paid_s = engines, "on" if on else "off", 0.0, 0.0
        self.open(on)

    def open(self, yes: bool) -> None:
        for engine in self.engines:
            engine.open = yes

    def load(self) -> int:
        return sum(engine.load() for engine in self.engines)

    def moving(self, until: list[tuple[int, float]], time: float) -> bool:
        """Whether a cache of it is on its way to the other pool."""
        own = {engine.number for engine in self.engines}
        return any(number in own and end > time for number, end in until)

    def stop(self, time: float) -> None:
        self.status, self.paid_s = "off", self.paid_s + time - self.since
        self.open(False)
        for engine in self.engines:
            engine.users.clear()
            engine.freed.clear()
            engine.unused = engine.total


class Scaled(Naive):  # type: ignore[misc]
    """Replicas of each pool that follow their own load."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        system, self.replicas, self.wants = self.system, [], [list[int](), list[int]()]
        self.scales = [s for s in (system.autoscale, system.autoscale_decode) if s is not None]
        self.moved: dict[int, float] = {}
        self.until: list[tuple[int, float]] = []  # engines that computed a prompt, and when its cache is moved
        self.seen = [(0.0, 0.0), (0.0, 0.0)]
        self.rows: list[tuple[float, int, int, int]] = []
        for pool, scale in enumerate(self.scales):
            own = [e for e in self.engines if e.pool == pool]
            groups = [own[i : i + scale.engines] for i in range(0, len(own), scale.engines)]
            self.wants[pool] += [max(scale.first, scale.low)] * scale.patience
            self.replicas.append([Replica(engines, i < max(scale.first, scale.low)) for i, engines in
                                  enumerate(groups)])
            self.later(scale.every_s, lambda time, pool=pool: self.look(pool, time))

    def arrive(self, time: float) -> None:
        if self.next == 0:
            for pool, replicas in enumerate(self.replicas):
                for replica in replicas:
                    replica.since = time
                self.note(pool, time)
        super().arrive(time)

    def stayed_s(self, pool: int, until: float) -> float:
        """Request-seconds in a pool; a request leaves with the step that it ends with, as soon as that begins."""
        total = 0.0
        for request in self.requests[: self.next]:
            moved = self.moved.get(request.number)
            left = request.end if request.end >= 0 else until
            if pool == 0:
                total += (left if moved is None else moved) - request.arrival
            elif moved is not None:
                total += left - moved
        return total

    def hand_over(self, request: Any, time: float) -> None:
        self.moved[request.number] = time
        self.until.append((request.engine, time + self.system.move_s + self.system.move_token_s * request.input))
        super().hand_over(request, time)

    def over(self) -> bool:
        return self.next == len(self.requests) and all(r.end >= 0 for r in self.requests)

    def note(self, pool: int, time: float) -> None:
        states = [r.status for r in self.replicas[pool]]
        row = (pool, len(states) - states.count("off"), states.count("on"))
        if not self.over() and row != next((r[1:] for r in reversed(self.rows) if r[1] == pool), None):
            self.rows.append((time, *row))

    def look(self, pool: int, time: float) -> None:
        if self.over():
            return
        if self.next > 0:
            self.decide(pool, time)
            self.note(pool, time)
        self.seen[pool] = (time, self.stayed_s(pool, time))
        self.later(time + self.scales[pool].every_s, lambda when: self.look(pool, when))

    def decide(self, pool: int, time: float) -> None:
        scale: Autoscale = self.scales[pool]
        replicas: list[Replica] = self.replicas[pool]
        for replica in replicas:
            if replica.status == "draining" and replica.load() == 0 and not replica.moving(self.until, time):
                replica.stop(time)
        have = sum(r.status in ("on", "starting") for r in replicas)
        last_s, last = self.seen[pool]
        inside = (self.stayed_s(pool, time) - last) / (time - last_s)
        wanted = min(max(math.ceil(inside / scale.target - 1e-3), scale.low), len(replicas))
        self.wants[pool].append(wanted)
        for _ in range(wanted - have):
            back = next((r for r in replicas if r.status == "draining"), None)
            if back is not None:
                back.status = "on"
                back.open(True)
                continue
            cold = next(r for r in replicas if r.status == "off")
            cold.status, cold.since = "starting", time
            self.later(time + scale.cold_start_s, lambda when, cold=cold: self.up(pool, cold, when))
        for _ in range(have - max(self.wants[pool][-scale.patience :])):
            starting = [(r.since, i) for i, r in enumerate(replicas) if r.status == "starting"]
            if starting:
                replicas[max(starting)[1]].stop(time)
                continue
            gone = min((r.load(), -i) for i, r in enumerate(replicas) if r.status == "on")
            replica = replicas[-gone[1]]
            if replica.load() or replica.moving(self.until, time):
                replica.status = "draining"
                replica.open(False)
            else:
                replica.stop(time)

    def up(self, pool: int, replica: Replica, time: float) -> None:
        if replica.status == "starting" and replica.since + self.scales[pool].cold_start_s <= time:
            replica.status = "on"
            replica.open(True)
            for engine in replica.engines:
                engine.time = time
            self.note(pool, time)

    def on_s(self) -> float:
        """Engine-seconds paid for."""
        end = max(r.end for r in self.requests)
        return float(sum((r.paid_s + (end - r.since if r.status != "off" else 0.0)) * len(r.engines)
                         for replicas in self.replicas for r in replicas))
