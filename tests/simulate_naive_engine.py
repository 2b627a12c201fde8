"""An engine that steps once at a time, with block lists and dictionaries: one object a request, blocks by name."""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from typing import Any, NamedTuple


class Request:
    def __init__(self, number: int, arrival: float, tokens: int, output: int, prefix: list[int]) -> None:
        self.number, self.arrival, self.input, self.output, self.prefix = number, arrival, tokens, output, prefix
        self.target = 0  # tokens to compute before the next token comes
        self.left = 0  # decode steps after that
        self.computed = self.steps = self.until_block = self.shared = 0  # steps: since its prompt was computed
        self.cached = self.preemptions = self.stage = 0
        self.blocks: list[Any] = []  # ("own", 0) or ("prefix", id)
        self.ready = self.dropped = self.joined = False
        self.engine, self.known_from = -1, 0  # the step from which its engine knows of it
        self.scheduled = self.first = self.end = -1.0


class Plan(NamedTuple):
    """What an engine does in a step: who decodes, prompt tokens and their attention, whose prompts it completes."""

    decoders: list[Request]
    tokens: int
    attention: float
    done: list[Request]


class Engine:
    def __init__(self, number: int, pool: int, naive: Any) -> None:
        spec = naive.pools[pool]
        self.number, self.pool, self.naive, self.spec, self.step_time = number, pool, naive, spec, naive.steps[pool]
        self.total = spec.kv_tokens // spec.block_tokens
        self.time, self.waiting, self.running = 0.0, deque[Request](), list[Request]()
        self.users: dict[int, int] = {}  # prefix block → requests that hold it
        self.freed: OrderedDict[Any, int] = OrderedDict()  # least recently freed first → cache blocks
        self.unused, self.marks, self.steps_done = self.total, 0, 0
        self.open = True  # takes requests
        self.beside = [self]  # the ranks that step with it, itself among them
        self.away, self.reader, self.launches = 0, 0.0, deque[float]()  # launches: when those under way and next end
        system = naive.system
        first = system.decode is not None and pool == 0
        self.take_up, self.held = (0.0, 0.0) if first else (system.take_up, system.held)
        self.polled = 1 if first else system.polled
        self.gathers, self.taken = (system.gathers if pool == 0 else 0), 0
        self.per_step = 1.0 if first else system.accepted
        self.drafted = 0 if first else system.drafted
        self.period = max(1, int(spec.block_tokens / self.per_step))
        self.hashed = naive.prefix_tokens // spec.block_tokens if system.prefix_cache and pool == 0 else 0

    def load(self) -> int:
        return len(self.running) + len(self.waiting) + self.away

    @property
    def free(self) -> int:
        return self.unused + sum(self.freed.values())

    def take(self, count: int) -> None:
        while count > self.unused:
            key, blocks = next(iter(self.freed.items()))
            used = min(blocks, count - self.unused)
            if isinstance(key, int) or used == blocks:
                del self.freed[key]
                self.users.pop(key, None) if isinstance(key, int) else None
                self.unused += used
                if used < blocks:  # what is left of a forgotten prefix block stays the next to go
                    self.marks += 1
                    self.freed[("own", self.marks)] = blocks - used
                    self.freed.move_to_end(("own", self.marks), last=False)
            else:
                self.freed[key] = blocks - used
                self.unused += used
        self.unused -= count

    def release(self, request: Request) -> None:
        own = sum(1 for kind, _ in request.blocks if kind == "own")
        if own:
            if self.hashed:
                self.marks += 1
                self.freed[("own", self.marks)] = own
            else:
                self.unused += own
        for kind, key in reversed(request.blocks):
            if kind == "prefix":
                self.users[key] -= 1
                if self.users[key] == 0:
                    self.freed[key] = self.hashed
        request.blocks = []

    def owned(self, request: Request) -> int:
        return sum(self.hashed if kind == "prefix" else 1 for kind, _ in request.blocks)

    def hits(self, request: Request) -> list[int]:
        found = []
        if self.hashed:
            for key in request.prefix[: request.input // self.naive.prefix_tokens]:
                if key not in self.users:
                    break
                found.append(key)
        return found

    def share(self, request: Request) -> None:
        """Whole prefix blocks just computed become findable."""
        if not self.hashed:
            return
        known = request.prefix[: request.input // self.naive.prefix_tokens]
        done = request.computed // self.naive.prefix_tokens
        for key in known[request.shared : done]:
            if key not in self.users:
                self.users[key] = 1
                for _ in range(self.hashed):
                    request.blocks.remove(("own", 0))
                request.blocks.append(("prefix", key))
        request.shared = max(request.shared, min(done, len(known)))

    def preempt(self) -> Request:
        request = self.running.pop()
        self.release(request)
        if request.computed >= request.target:
            request.target += 1 + int(request.steps * self.per_step)
            request.left -= request.steps + 1
        request.computed, request.ready, request.shared, request.joined = 0, False, 0, False
        request.preemptions += 1
        self.waiting.appendleft(request)
        return request

    def decoding(self) -> list[Request]:
        return [r for r in self.running if r.computed >= r.target]

    def begin_decode(self, request: Request, late: int) -> None:
        room = self.owned(request) * self.spec.block_tokens - request.target
        request.steps, request.joined = 0, True
        request.until_block = min(int(room / self.per_step), self.period - 1 + late)

    def has_prompt(self) -> bool:
        if any(r.computed < r.target for r in self.running):
            return True
        if not self.waiting or len(self.running) >= self.spec.max_num_seqs:
            return False
        return self.waiting[0].known_from <= self.steps_done or not any(e.running for e in self.beside)

    def start_waiting(self, budget: int, first: bool) -> tuple[int, float, list[Request]]:
        tokens, attention, done = 0, 0.0, []
        while self.waiting and len(self.running) < self.spec.max_num_seqs:
            request, block = self.waiting[0], self.spec.block_tokens
            if request.known_from > self.steps_done and any(e.running for e in self.beside):
                break
            if request.ready:
                need = math.ceil((request.target + (0 if first else math.ceil(self.per_step))) / block)
                if need > self.free:
                    break
                self.join(request)
                request.first = self.time if request.first < 0 else request.first
                self.take(need)
                request.blocks = [("own", 0)] * need
                request.computed = request.target
                self.begin_decode(request, 0 if first else 1)
                continue
            if budget <= 0:
                break
            hits = self.hits(request)
            known = min(len(hits) * self.naive.prefix_tokens, (request.target - 1) // block * block) if hits else 0
            if not self.hashed and self.pool == 0:
                known = min(int(self.naive.system.prefix_hit * request.input), request.target - 1)
            now = min(budget, request.target - known)
            idle = sum(self.hashed for key in hits if self.users[key] == 0)
            whole = request.target if self.naive.system.whole_prompt else known + now
            kept = 0.0
            if self.running:
                rest = sum(r.left - (r.steps if r.joined else 0) for r in self.running) + request.left
                kept = self.naive.system.reserve * self.per_step * rest / block
            if math.ceil(whole / block) - len(hits) * self.hashed + idle + kept > self.free:
                break
            self.join(request)
            for key in hits:
                if self.users[key] == 0:
                    del self.freed[key]
                self.users[key] += 1
            need = math.ceil((known + now) / block) - len(hits) * self.hashed
            self.take(need)
            request.blocks = [("prefix", key) for key in hits] + [("own", 0)] * need
            request.computed, request.shared = known + now, len(hits)
            if request.stage == 0 and request.preemptions == 0:
                request.cached = known
            self.share(request)
            attention += self.attention(now, known)
            tokens, budget = tokens + now, budget - now
            if request.computed >= request.target:
                done.append(request)
            else:
                break
        return tokens, attention, done

    def join(self, request: Request) -> None:
        self.waiting.popleft()
        self.running.append(request)
        if request.scheduled < 0:
            request.scheduled = self.time

    def attention(self, tokens: int, before: int) -> float:
        st, span = self.step_time, before + 0.5 * tokens
        chosen = st.select_s if span > st.select_after else 0.0
        return tokens * (st.pair_s * span + st.window_s * min(span, st.window) + chosen)

    def chunk(self, table: Any, running: int, tokens: float) -> float:
        st = self.step_time
        i = max(k for k in range(len(st.tokens) - 1) if st.tokens[k] <= tokens)
        x = (tokens - st.tokens[i]) / (st.tokens[i + 1] - st.tokens[i])
        rows = [row[i] * (1 - x) + row[i + 1] * x for row in table]
        if running == 0:
            return float(rows[0])
        j = next((k for k in range(1, len(rows) - 1) if st.running[k + 1] >= running), len(rows) - 2)
        y = (running - st.running[j]) / (st.running[j + 1] - st.running[j])
        return float(rows[j] * (1 - y) + rows[j + 1] * y)

    def plan(self, taking: bool) -> Plan | None:
        """Who takes part in the next step; or only decisions, where all gave way or prompts come first and none could
        start. taking: whether the ranks take prompts up; those under way go on."""
        first = self.naive.system.policy == "prefill_first"
        partial = next((r for r in self.running if r.computed < r.target), None)
        gave = not taking
        if first:
            found = self.prompts(partial, first, gave, [], self.spec.max_num_batched_tokens)
            if found:
                return found
            partial = next((r for r in self.running if r.computed < r.target), None)
        while len(self.due()) > self.free:
            gave = True
            if self.preempt() is partial:
                partial = None
        self.take(len(self.due()))
        for request in self.due():
            request.blocks.append(("own", 0))
        decoders = self.decoding()
        budget = self.spec.max_num_batched_tokens - len(decoders) * (1 + self.drafted)
        if first:
            return Plan(decoders, 0, 0.0, []) if decoders else None
        return self.prompts(partial, first, gave, decoders, budget)

    def due(self) -> list[Request]:
        return [r for r in self.decoding() if r.steps >= r.until_block
                and (r.steps - r.until_block) % self.period == 0]

    def prompts(self, partial: Request | None, first: bool, gave: bool, decoders: list[Request], budget: int
                ) -> Plan | None:
        tokens, attention, done, block = 0, 0.0, [], self.spec.block_tokens
        if partial is not None and budget > 0:
            now = min(budget, partial.target - partial.computed)
            need = math.ceil((partial.computed + now) / block) - math.ceil(partial.computed / block)
            if need > self.free:
                self.preempt()
                gave, partial = True, None
            else:
                self.take(need)
                partial.blocks += [("own", 0)] * need
                attention += self.attention(now, partial.computed)
                partial.computed += now
                tokens, budget = tokens + now, budget - now
                self.share(partial)
                if partial.computed >= partial.target:
                    done.append(partial)
                    partial = None
        if not gave and partial is None:
            more, work, complete = self.start_waiting(budget, first)
            tokens, attention, done = tokens + more, attention + work, done + complete
        if not first:
            decoders = decoders + [r for r in self.decoding() if r not in decoders and r not in done]
        return Plan(decoders, tokens, attention, done) if decoders or tokens else None

    def own_s(self, plan: Plan) -> float:
        """What a step takes for what is in this engine, `joint` of its tables left out where it steps with others."""
        st, seconds = self.step_time, plan.attention
        joint, chunk = (st.joint_s, st.joint_chunk_s) if self.spec.ranks > 1 else ((), ())
        if plan.tokens:
            seconds += self.chunk(st.chunk_s, len(plan.decoders), plan.tokens)
            seconds -= self.chunk(chunk, len(plan.decoders), plan.tokens) if chunk else 0.0
        if plan.decoders:
            read = sum(r.target + self.per_step * (r.steps + 1) for r in plan.decoders)
            seconds += st.base_s[len(plan.decoders)] + st.read_s * read
            seconds -= joint[len(plan.decoders)] if joint else 0.0
        return float(seconds)

    def joint_s(self, plans: list[Plan]) -> float:
        """What the ranks take together."""
        st, fullest = self.step_time, max(len(p.decoders) for p in plans)
        seconds = st.joint_s[fullest] if fullest and st.joint_s else 0.0
        tokens = sum(p.tokens for p in plans) / len(plans)
        return seconds + (self.chunk(st.joint_chunk_s, fullest, tokens) if tokens and st.joint_chunk_s else 0.0)

    def finish_step(self, plan: Plan, seconds: float, decoded: bool) -> None:
        self.time += seconds
        self.naive.busy += seconds
        self.steps_done += decoded
        for request in plan.decoders:
            request.steps += 1
        for request in [r for r in plan.decoders if r.steps >= r.left]:
            self.running.remove(request)
            self.release(request)
            self.naive.ended(request, self.time)
        for request in plan.done:
            over = request.stage == 0 and self.naive.system.decode is not None and request.output > 1
            if request.first < 0 and not over:
                request.first = self.time
            if over or request.left <= 0:
                self.running.remove(request)
                self.release(request)
            if over:
                self.naive.hand_over(request, self.time)
            elif request.left <= 0:
                self.naive.ended(request, self.time)
            else:
                self.begin_decode(request, 0)


def takes(engines: list[Engine]) -> bool:
    """Whether ranks that wait for each other take prompts up."""
    lead, every = engines[0], engines[0].gathers
    if not every or len(engines) == 1 or not all(e.decoding() for e in engines) or all(e.has_prompt() for e in engines):
        return True
    gone = lead.steps_done - lead.taken
    return gone > 0 and gone % every == 0


def step_together(engines: list[Engine]) -> None:
    """One step of an engine, or of ranks that step together: as long as the slowest takes, and what all take together.

    Who gave way with all the rest is looked at again at once."""
    plans, taking = [], takes(engines)
    for engine in engines:
        tries = (engine.plan(taking) for _ in range(3) if engine.running or engine.waiting)
        plans.append(next((p for p in tries if p is not None), Plan([], 0, 0.0, [])))
    if not any(p.decoders or p.tokens for p in plans):
        return
    if taking and any(p.tokens for p in plans):
        engines[0].taken = engines[0].steps_done
    seconds = max(e.own_s(p) for e, p in zip(engines, plans, strict=True))
    seconds += engines[0].joint_s(plans) if len(engines) > 1 else 0.0
    decoded = any(p.decoders for p in plans)
    for engine, plan in zip(engines, plans, strict=True):
        engine.finish_step(plan, seconds, decoded)
