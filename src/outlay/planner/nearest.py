"""What would fit when a plan does not, and how much room is left when it does.

Every change offered has been planned with the caller's `evaluate`; none is a rule of thumb. The smallest step
of each kind that fits is kept, with what it frees and what it costs in time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

from outlay.errors import OutlayError
from outlay.planner import changes
from outlay.planner.changes import Attempt
from outlay.planner.layout_rules import divisors
from outlay.steps.inputs import Hardware, Layout, Recipe

# (recipe, layout, hardware) -> (bytes on the fullest device, seconds of a step); layout None = the best
Evaluate = Callable[[Recipe, Layout | None, Hardware], tuple[float, float]]

MOST_FLEET_GROWTH = 64
NODE_BISECTIONS = 3
SHORTEST_SEQUENCE = 128
LONGEST_SEQUENCE = 2**24
MOST_COMBINED = 6


@dataclass(frozen=True, slots=True)
class Step:
    """One field that changes, by its scenario path."""

    field: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class Change:
    """A verified change: its steps, what the plan then takes, bytes freed, time and device-time per token.

    time_ratio and device_time_ratio are over the plan that did not fit: 1.1 is 10 % slower, or dearer.
    """

    kind: str
    steps: tuple[Step, ...]
    memory_bytes: float
    freed_bytes: float
    step_time_s: float
    time_ratio: float
    device_time_ratio: float
    attempt: Attempt


@dataclass(frozen=True, slots=True)
class Nearest:
    """Memory against capacity, and what can be changed (does not fit) or grown (fits)."""

    fits: bool
    constraint: str
    over_bytes: float  # negative: head-room
    changes: tuple[Change, ...] = ()
    longest_sequence: int | None = None
    largest_micro_batch: int | None = None


def capacity_bytes(hardware: Hardware) -> float:
    return float(getattr(hardware.memory_bytes, "value", hardware.memory_bytes))


def nearest(start: Attempt, evaluate: Evaluate, *, bigger: Sequence[Hardware] = (), path: str = "pretrain",
            measured: tuple[float, float] | None = None) -> Nearest:
    """The nearest changes of a plan that does not fit, or the room left in one that does."""
    memory, time_s = measured or evaluate(start.recipe, start.layout, start.hardware)
    over = memory - capacity_bytes(start.hardware)
    if over <= 0:
        longest, largest = longest_sequence(start, evaluate), largest_micro_batch(start, evaluate)
        return Nearest(True, "", over, (), longest, largest)
    finder = _Finder(start, evaluate, memory, time_s, path)
    found = finder.single_changes(bigger)
    if not any(change.attempt.hardware is start.hardware and change.kind != "layout" for change in found):
        found += finder.combined()
    found.sort(key=lambda change: (len(change.steps), change.device_time_ratio, change.time_ratio))
    return Nearest(False, "memory_per_device_bytes", over, tuple(found))


class _Finder:
    """Tries changes of one plan and measures each against it."""

    def __init__(self, start: Attempt, evaluate: Evaluate, memory: float, time_s: float, path: str) -> None:
        self.start, self.evaluate, self.memory, self.time_s, self.path = start, evaluate, memory, time_s, path

    def single_changes(self, bigger: Sequence[Hardware]) -> list[Change]:
        """Of each kind, the first step that fits."""
        found: list[Change] = []
        for kind, attempts in (*self._inside(self.start), *self._outside(bigger)):
            for attempt in attempts:
                change = self._measure(kind, attempt)
                if change is not None and change.memory_bytes <= capacity_bytes(attempt.hardware):
                    found.append(change)
                    break
        return found

    def combined(self) -> list[Change]:
        """Changes upon changes on the same fleet, each the most freed for the least time, until one fits."""
        current, memory = self.start, self.memory
        for _ in range(MOST_COMBINED):
            tried = [self._measure("combined", attempt) for _, attempts in self._inside(current)
                     for attempt in attempts]
            better = [change for change in tried if change is not None and change.memory_bytes < memory]
            if not better:
                return []
            fitting = [change for change in better if change.memory_bytes <= capacity_bytes(current.hardware)]
            if fitting:
                return [min(fitting, key=lambda change: change.time_ratio)]
            best = max(better, key=lambda change: (memory - change.memory_bytes) / change.time_ratio)
            current, memory = best.attempt, best.memory_bytes
        return []

    def _inside(self, start: Attempt) -> Iterator[tuple[str, Iterator[Attempt]]]:
        """Changes that keep the fleet and the length of the sequence."""
        if start.layout is not None:
            yield "recompute", changes.recompute(start, start.layout)
            yield "micro_batch", changes.micro_batch(start, start.layout)
            yield "zero", changes.zero(start, start.layout)
            for name in ("tensor", "pipeline", "context", "expert"):
                yield name, changes.degree(start, start.layout, name)
        yield "optimizer", changes.eight_bit(start)
        yield "offload", changes.offload(start)

    def _outside(self, bigger: Sequence[Hardware]) -> Iterator[tuple[str, Iterator[Attempt]]]:
        if self.start.layout is not None:
            yield "layout", iter([replace(self.start, layout=None)])
        yield "sequence_length", self._shorter()
        yield "device", (replace(self.start, hardware=hardware) for hardware in bigger)
        if self.start.layout is not None:
            yield "devices", chain(changes.grown(self.start, self.start.layout), self._fewest_nodes())
        else:
            yield "devices", self._fewest_nodes()

    def _fewest_nodes(self) -> Iterator[Attempt]:
        """The smallest fleet found on which the best layout fits: doubled until it does, then halved back."""
        hardware = self.start.hardware
        unit = min(hardware.devices_per_node, hardware.devices)
        few = hardware.devices // unit

        def fleet(nodes: int) -> Attempt:
            return replace(self.start, layout=None, hardware=replace(hardware, devices=nodes * unit))

        low, high = few, few * 2
        while not _fits(fleet(high), self.evaluate):
            low, high = high, high * 2
            if high > few * MOST_FLEET_GROWTH:
                return
        for _ in range(NODE_BISECTIONS):
            middle = (low + high) // 2
            if middle == low:
                break
            low, high = (low, middle) if _fits(fleet(middle), self.evaluate) else (middle, high)
        yield fleet(high)

    def _shorter(self) -> Iterator[Attempt]:
        if self.start.layout is None:  # every length is a search: halve
            length = self.start.recipe.sequence_length
            while length % 2 == 0 and length // 2 >= SHORTEST_SEQUENCE:
                length //= 2
                yield replace(self.start, recipe=replace(self.start.recipe, sequence_length=length))
            return
        longest = longest_sequence(self.start, self.evaluate)
        if longest is not None:
            yield replace(self.start, recipe=replace(self.start.recipe, sequence_length=longest))

    def _measure(self, kind: str, attempt: Attempt) -> Change | None:
        try:
            memory, time_s = self.evaluate(attempt.recipe, attempt.layout, attempt.hardware)
        except OutlayError:
            return None
        per_token = _tokens(self.start.recipe) / _tokens(attempt.recipe)
        ratio = time_s * per_token / self.time_s
        fleet = attempt.hardware.devices / self.start.hardware.devices
        steps = _steps(self.start, attempt, self.path)
        return Change(kind, steps, memory, self.memory - memory, time_s, ratio, ratio * fleet, attempt)


def _tokens(recipe: Recipe) -> float:
    return float(recipe.global_batch) * recipe.sequence_length


def _steps(start: Attempt, attempt: Attempt, path: str) -> tuple[Step, ...]:
    """Fields that differ, by scenario path."""
    found = []
    for name in ("sequence_length", "optimizer", "offload"):
        before, after = getattr(start.recipe, name), getattr(attempt.recipe, name)
        if before != after:
            found.append(Step(f"{path}.{name}", before, after))
    if start.layout is not None and attempt.layout is not None:
        for name in Layout.__dataclass_fields__:
            before, after = getattr(start.layout, name), getattr(attempt.layout, name)
            if before != after and not (name == "shard" and attempt.layout.shard == attempt.layout.data):
                found.append(Step(f"{path}.layout.{name}", before, after))
    elif start.layout is not None:
        found.append(Step(f"{path}.layout", "as given", "searched"))
    for name in ("device", "devices"):
        before, after = getattr(start.hardware, name), getattr(attempt.hardware, name)
        if before != after:
            found.append(Step(f"fleet.{name}", before, after))
    return tuple(found)


def longest_sequence(start: Attempt, evaluate: Evaluate) -> int | None:
    """The longest sequence that fits, in whole multiples of what the splits need; None when none does."""
    layout: Any = start.layout
    unit = SHORTEST_SEQUENCE
    if layout is not None:
        unit *= int(2 * layout.context if layout.context > 1 else 1)

    def fits(count: int) -> bool:
        recipe = replace(start.recipe, sequence_length=count * unit)
        return _fits(replace(start, recipe=recipe), evaluate)

    count = _largest(fits, max(LONGEST_SEQUENCE // unit, 1), max(start.recipe.sequence_length // unit, 1))
    return count * unit if count else None


def largest_micro_batch(start: Attempt, evaluate: Evaluate) -> int | None:
    """The largest micro-batch that divides a data rank's share of the batch and fits."""
    if start.layout is None:
        return None
    layout: Any = start.layout
    choices = divisors(max(start.recipe.global_batch // int(layout.data), 1)).tolist()

    def fits(index: int) -> bool:
        return _fits(replace(start, layout=replace(layout, micro_batch=choices[index - 1])), evaluate)

    guess = choices.index(layout.micro_batch) + 1 if layout.micro_batch in choices else 1
    index = _largest(fits, len(choices), guess)
    return choices[index - 1] if index else None


def _fits(attempt: Attempt, evaluate: Evaluate) -> bool:
    try:
        memory, _ = evaluate(attempt.recipe, attempt.layout, attempt.hardware)
        return memory <= capacity_bytes(attempt.hardware)
    except OutlayError:
        return False


def _largest(fits: Callable[[int], bool], most: int, guess: int) -> int:
    """The largest n in 1..most for which fits(n), fits being true up to some n; 0 when even 1 fails.

    >>> _largest(lambda n: n <= 37, 1000, 8), _largest(lambda n: False, 9, 3)
    (37, 0)
    """
    guess = min(max(guess, 1), most)
    if fits(guess):
        low, high = guess, min(guess * 2, most)
        while high > low and fits(high):
            low, high = high, min(high * 2, most)
        if low == high:
            return low
    else:
        low, high = 0, guess
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low
