"""A serving simulator that steps once at a time, with block lists and dictionaries: what the fast one must equal.

Written from the rules, not from the fast one's code: one object a request, one step a call, blocks by name.
"""

from __future__ import annotations

import math
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace
from typing import Any

from outlay.simulate import Batch, StepTime, System

parts = SimpleNamespace(**run_path(str(Path(__file__).with_name("simulate_naive_engine.py"))))
Request, Engine = parts.Request, parts.Engine


class Naive:
    """Runs a batch of requests; afterwards every request knows its times."""

    def __init__(self, batch: Batch, system: System, steps: tuple[StepTime, ...], prefix_tokens: int = 512,
                 closed: tuple[int, float] = (0, 0.0)) -> None:
        self.system, self.steps, self.prefix_tokens, self.closed = system, steps, prefix_tokens, closed
        self.pools = (system.pool,) if system.decode is None else (system.pool, system.decode)
        self.engines = [Engine(0, 0, self) for _ in range(system.pool.engines)]
        if system.decode is not None:
            self.engines += [Engine(0, 1, self) for _ in range(system.decode.engines)]
        for number, engine in enumerate(self.engines):
            engine.number = number
            place = number - (self.pools[0].engines if engine.pool else 0)
            first = number - place % engine.spec.ranks
            engine.beside = self.engines[first : first + engine.spec.ranks]
        self.requests, at = [], 0
        for i in range(len(batch.arrival_s)):
            count = int(batch.prefix_counts[i])
            self.requests.append(Request(i, float(batch.arrival_s[i]), int(batch.input_tokens[i]),
                                         int(batch.output_tokens[i]), batch.prefix_ids[at : at + count].tolist()))
            at += count
        self.turns, self.busy, self.order = [0, 0], 0.0, 0
        self.coming: list[tuple[float, int, Any]] = []
        self.next = 0

    def ended(self, request: Request, time: float) -> None:
        request.end = time
        if self.closed[0]:
            self.later(time + self.closed[1], None)

    def hand_over(self, request: Request, time: float) -> None:
        request.stage, request.ready = 1, True
        request.target, request.computed = request.input, 0
        request.left = math.ceil((request.output - 1) / self.system.accepted)
        self.later(time + self.system.move_s + self.system.move_token_s * request.input, request)

    def later(self, time: float, what: Any) -> None:
        self.order += 1
        self.coming.append((time, self.order, what))

    def choose(self, request: Request) -> Engine:
        pool = [e for e in self.engines if e.pool == request.stage]
        least = min((e for e in pool if e.open), key=Engine.load)
        chosen = least
        if self.system.router == "round_robin":
            turns = [pool[(self.turns[request.stage] + i) % len(pool)] for i in range(len(pool))]
            passed = next(i for i, e in enumerate(turns) if e.open)
            chosen = turns[passed]
            self.turns[request.stage] += passed + 1
        elif self.system.router == "prefix":
            near = [e for e in pool if e.open and e.load() <= least.load() + self.system.slack]
            best = max(near, key=lambda e: len(e.hits(request)) if request.stage == 0 else 0)
            if request.stage == 0 and best.hits(request):
                chosen = best
        return chosen

    def join(self, chosen: Engine, request: Request, time: float) -> None:
        request.known_from = 0
        if not any(e.running or e.waiting for e in chosen.beside):
            wait = (chosen.take_up + 0.5) * chosen.step_time.base_s[1] if chosen.take_up else 0.0
            for engine in chosen.beside:
                engine.time = max(engine.time, time + wait)
        elif any(e.running for e in chosen.beside) and (
                chosen.take_up + chosen.held or chosen.polled > 1):
            share = 0.6180339887498949 * request.number % 1.0
            known = chosen.steps_done + int(chosen.take_up + chosen.held + share)
            request.known_from = math.ceil(known / chosen.polled) * chosen.polled
        request.engine = chosen.number
        chosen.waiting.append(request)

    def arrive(self, time: float) -> None:
        request = self.requests[self.next]
        self.next += 1
        request.arrival, request.target = time, request.input
        per_step = 1.0 if self.system.decode is not None else self.system.accepted
        request.left = math.ceil((request.output - 1) / per_step)
        outputs = [request.output] if self.system.decode is None else [1, request.output]
        over = any(self.blocks_at_end(request.input, output, e) > e.total
                   for output, e in zip(outputs, (self.engines[0], self.engines[-1]), strict=False))
        if request.input + request.output > self.system.max_model_len or over:
            request.dropped = True
            self.ended(request, time)
            return
        chosen = self.choose(request)
        if self.system.first_s + self.system.token_s + self.system.pass_s > 0:
            request.engine = chosen.number
            chosen.away += 1
            self.later(self.prepared(chosen, request, time), request)
        else:
            self.join(chosen, request, time)

    def prepared(self, engine: Engine, request: Request, time: float) -> float:
        """Text is read one after another; prompts that come while another is launched are launched together, next."""
        system = self.system
        engine.reader = max(engine.reader, time + system.first_s) + system.token_s * request.input
        if not system.pass_s:
            return engine.reader
        while engine.launches and engine.launches[0] <= engine.reader:
            engine.launches.popleft()
        if len(engine.launches) < 2:
            engine.launches.append(max(engine.reader, *engine.launches, 0.0) + system.pass_s)
        hit = system.prefix_hit if not engine.hashed else 0.0
        passes = math.ceil((request.input - int(hit * request.input)) / system.pool.max_num_batched_tokens)
        return engine.launches[-1] + (passes - 1) * system.pass_s

    def blocks_at_end(self, tokens: int, output: int, engine: Engine) -> int:
        block = engine.spec.block_tokens
        blocks = math.ceil(tokens / block)
        wait = min(int((blocks * block - tokens) / engine.per_step), engine.period - 1)
        for step in range(math.ceil((output - 1) / engine.per_step)):
            blocks += step >= wait and (step - wait) % engine.period == 0
        return blocks + (engine.per_step > 1)

    def run(self) -> list[Request]:
        while True:
            live = [e for e in self.engines if e.running or e.waiting]
            clock = min((e.time for e in live), default=math.inf)
            comes = math.inf
            if self.next < len(self.requests) and (not self.closed[0] or self.next < self.closed[0]):
                comes = self.requests[self.next].arrival
            pending = min(self.coming, default=None)
            when = pending[0] if pending else math.inf
            if min(comes, when) == math.inf and not live:
                return self.requests
            if min(comes, when) <= clock:
                if comes <= when:
                    self.arrive(comes)
                    continue
                assert pending is not None
                self.coming.remove(pending)
                if callable(pending[2]):
                    pending[2](when)
                elif pending[2] is not None and pending[2].stage == 1:
                    self.join(self.choose(pending[2]), pending[2], when)
                elif pending[2] is not None:
                    engine = self.engines[pending[2].engine]
                    engine.away -= 1
                    self.join(engine, pending[2], when)
                elif self.next < len(self.requests):
                    self.arrive(when)
                continue
            parts.step_together(min(live, key=lambda e: e.time).beside)
