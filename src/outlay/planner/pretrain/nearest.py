"""What would fit when a plan does not, and how much room is left when it does.

Every change offered has been planned by the caller's trials, device and host memory both; none is a rule of
thumb. The smallest step of each kind that fits is kept, with what it frees and what it costs in time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from math import isfinite
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from outlay.errors import OutlayError
from outlay.planner import changes
from outlay.planner.layouts.rules import divisors
from outlay.planner.trials import Attempt, Measured, Trials, capacity_bytes, host_capacity_bytes, shortfall_bytes
from outlay.steps.inputs import Hardware, Layout

MOST_FLEET_GROWTH = 64
NODE_BISECTIONS = 3
SHORTEST_SEQUENCE = 128
LONGEST_SEQUENCE = 2**24
MOST_COMBINED = 6
MOST_CHANGES = 5
SPLITS = ("tensor", "pipeline", "context", "expert")


class Step(Struct, frozen=True):
    """One field that changes, by its scenario path."""

    field: str
    before: Any
    after: Any


class Change(Struct, frozen=True):
    """A verified change: its steps, what the plan then takes, bytes freed, time and device-time per token.

    time_ratio and device_time_ratio are over the plan that did not fit: 1.1 is 10 % slower, or dearer.
    gained_bytes is head-room after over head-room before, of a device, or of a node's host where that was short.
    """

    kind: str
    steps: tuple[Step, ...]
    memory_bytes: float
    freed_bytes: float
    gained_bytes: float
    step_time_s: float
    time_ratio: float
    device_time_ratio: float
    attempt: Attempt

    @property
    def family(self) -> str:
        """Changes of one family are alternatives to each other; the best of each is worth reading."""
        return "split" if self.kind in SPLITS else self.kind


class Nearest(Struct, frozen=True):
    """Memory against capacity, and what can be changed (does not fit) or grown (fits)."""

    fits: bool
    constraint: str
    over_bytes: float  # negative: head-room
    changes: tuple[Change, ...] = ()
    longest_sequence: int | None = None
    largest_micro_batch: int | None = None


def nearest(start: Attempt, trials: Trials, *, bigger: Callable[[float], Sequence[Hardware]] = lambda least: (),
            path: str = "pretrain", measured: Measured | None = None) -> Nearest:
    """The nearest changes of a plan that does not fit, or the room left in one that does.

    bigger: devices with at least so much memory, asked for only when the plan does not fit.
    """
    measured = measured or trials.measure(start)
    over = measured.memory_bytes - capacity_bytes(start.hardware)
    host_over = measured.host_bytes - host_capacity_bytes(start.hardware)
    if over <= 0 and host_over <= 0:
        return Nearest(True, "", over, (), longest_sequence(start, trials), largest_micro_batch(start, trials))
    by_host = over <= 0
    finder = _Finder(start, trials, measured, bigger, path, by_host)
    constraint = "host_memory_bytes" if by_host else "memory_per_device_bytes"
    return Nearest(False, constraint, host_over if by_host else over, _varied(finder.found()))


def _varied(found: list[Change]) -> tuple[Change, ...]:
    """The least time first, one of each family, few enough to read."""
    ranked = sorted(found, key=lambda c: (round(c.time_ratio, 3), len(c.steps), c.device_time_ratio))
    kept: dict[str, Change] = {}
    for change in ranked:
        kept.setdefault(change.family, change)
    return tuple(kept.values())[:MOST_CHANGES]


class _Finder:
    """Tries changes of one plan and measures each against it."""

    def __init__(self, start: Attempt, trials: Trials, measured: Measured,
                 bigger: Callable[[float], Sequence[Hardware]], path: str, by_host: bool) -> None:
        self.start, self.trials, self.measured, self.path, self.by_host = start, trials, measured, path, by_host
        self.bigger = bigger(measured.memory_bytes)
        self.free = replace(start, layout=None, held={})

    def found(self) -> list[Change]:
        """Single changes; combined ones where none keeps the fleet; at last what it takes at the least."""
        found = [change for kind, attempts in (*self._inside(self.start), *self._outside())
                 if (change := self._first(kind, attempts)) is not None]
        same = [c for c in found if c.attempt.hardware is self.start.hardware and c.kind != "layout"]
        if not same:
            found += self.combined()
        if not found:
            last = self._first("combined", self._far())
            found = [] if last is None else [last]
        return found

    def combined(self) -> list[Change]:
        """Changes upon changes on the same fleet, each the most freed for the least time, until one fits."""
        if self.start.layout is None:  # beside the layout only these two can change, and neither was enough alone
            both = self._first("combined", (more for lighter in changes.eight_bit(self.start)
                                            for more in changes.offload(lighter)))
            return [] if both is None else [both]
        current, short = self.start, self._short(self.start, self.measured)
        for _ in range(MOST_COMBINED):
            tried = [(change, self._short(attempt, known)) for _, attempts in self._inside(current)
                     for attempt in attempts if (known := self._known(attempt)) is not None
                     for change in [self._change("combined", attempt, known)]]
            better = [(change, left) for change, left in tried if left < short]
            if not better:
                return []
            fitting = [change for change, left in better if left <= 0]
            if fitting:
                return [min(fitting, key=lambda change: change.time_ratio)]
            best, short = max(better, key=lambda one: (short - one[1]) / one[0].time_ratio)
            current = best.attempt
        return []

    def _short(self, attempt: Attempt, measured: Measured) -> float:
        return shortfall_bytes(attempt.hardware, measured)

    def _inside(self, start: Attempt) -> Iterator[tuple[str, Iterator[Attempt]]]:
        """Changes that keep the fleet and the length of the sequence."""
        if start.layout is not None:
            yield "recompute", changes.recompute(start, start.layout)
            yield "micro_batch", changes.micro_batch(start, start.layout)
            yield "zero", changes.zero(start, start.layout)
            for name in SPLITS:
                yield name, changes.degree(start, start.layout, name)
        yield "optimizer", changes.eight_bit(start)
        yield "offload", changes.offload(start)

    def _outside(self) -> Iterator[tuple[str, Iterator[Attempt]]]:
        start, fewest = self.start, self._fewest_devices(self.free)
        bound = start.layout is not None or bool(start.held)
        if bound:
            yield "layout", iter([self.free])
        yield "sequence_length", self._shorter(start)
        held = (replace(start, hardware=hardware) for hardware in self.bigger)
        freed = (replace(self.free, hardware=hardware) for hardware in self.bigger) if bound else ()
        yield "device", chain(held, freed)
        if start.layout is not None:
            fewest = chain(changes.grown(start, start.layout), fewest)
        elif start.held:
            fewest = chain(self._fewest_devices(start), fewest)
        yield "devices", fewest

    def _far(self) -> Iterator[Attempt]:
        """Several things at once, from the mildest on, with the layout searched."""
        wide = [self.start.hardware, *self.bigger[-1:]]
        lighter = [self.free, *changes.eight_bit(self.free)]
        for hardware in wide:
            for recipe in (other.recipe for one in lighter for other in (one, *changes.offload(one))):
                attempt = replace(self.free, recipe=recipe, hardware=hardware)
                yield attempt
                yield from self._shorter(attempt)
        for hardware in wide:
            for one in changes.offload(replace(self.free, hardware=hardware)):
                yield from self._fewest_devices(one)
        for hardware in self.bigger[-1:]:
            yield from self._fewest_devices(replace(self.free, hardware=hardware))

    def _fewest_devices(self, start: Attempt) -> Iterator[Attempt]:
        """The smallest fleet found that fits: parts of a node, then nodes doubled until they do and halved back."""
        hardware, per_node = start.hardware, start.hardware.devices_per_node

        def fleet(devices: int) -> Attempt:
            return replace(start, hardware=replace(hardware, devices=devices))

        for devices in changes.parts_of_node(hardware.devices, per_node):
            if self.trials.fits(fleet(devices)):
                yield fleet(devices)
                return
        few = max(hardware.devices // per_node, 1)
        low, high = few, few * 2
        while not self.trials.fits(fleet(high * per_node)):
            low, high = high, high * 2
            if high > few * MOST_FLEET_GROWTH:
                return
        for _ in range(NODE_BISECTIONS):
            middle = (low + high) // 2
            if middle == low:
                break
            low, high = (low, middle) if self.trials.fits(fleet(middle * per_node)) else (middle, high)
        yield fleet(high * per_node)

    def _shorter(self, start: Attempt) -> Iterator[Attempt]:
        if start.layout is None:  # every length is a search: halve
            length = start.recipe.sequence_length
            while length % 2 == 0 and length // 2 >= SHORTEST_SEQUENCE:
                length //= 2
                yield replace(start, recipe=replace(start.recipe, sequence_length=length))
            return
        longest = longest_sequence(start, self.trials)
        if longest is not None:
            yield replace(start, recipe=replace(start.recipe, sequence_length=longest))

    def _first(self, kind: str, attempts: Iterator[Attempt]) -> Change | None:
        """The first that fits, with its price."""
        for attempt in attempts:
            if self.trials.fits(attempt) and (known := self._known(attempt)) is not None \
                    and self._short(attempt, known) <= 0:
                return self._change(kind, attempt, known)
        return None

    def _known(self, attempt: Attempt) -> Measured | None:
        try:
            return self.trials.measure(attempt)
        except OutlayError:
            return None

    def _change(self, kind: str, attempt: Attempt, known: Measured) -> Change:
        start, before = self.start, self.measured
        per_token = _tokens(start) / _tokens(attempt)
        ratio = known.step_time_s * per_token / before.step_time_s
        fleet = attempt.hardware.devices / start.hardware.devices
        freed = before.memory_bytes - known.memory_bytes
        gained = freed + capacity_bytes(attempt.hardware) - capacity_bytes(start.hardware)
        if self.by_host:
            larger = host_capacity_bytes(attempt.hardware) - host_capacity_bytes(start.hardware)
            gained = before.host_bytes - known.host_bytes + (larger if isfinite(larger) else 0.0)
        return Change(kind, _steps(start, attempt, self.path), known.memory_bytes, freed, gained, known.step_time_s,
                      ratio, ratio * fleet, attempt)


def _tokens(attempt: Attempt) -> float:
    return float(attempt.recipe.global_batch) * attempt.recipe.sequence_length


def _steps(start: Attempt, attempt: Attempt, path: str) -> tuple[Step, ...]:
    """Fields that differ, by scenario path."""
    found = []
    for name in ("sequence_length", "optimizer", "offload"):
        before, after = getattr(start.recipe, name), getattr(attempt.recipe, name)
        if before != after:
            found.append(Step(f"{path}.{name}", before, after))
    if start.layout is not None and attempt.layout is not None:
        for name in Layout.__struct_fields__:
            before, after = getattr(start.layout, name), getattr(attempt.layout, name)
            if before != after and not (name == "shard" and attempt.layout.shard == attempt.layout.data):
                found.append(Step(f"{path}.layout.{name}", before, after))
    elif start.layout is not None or (start.held and not attempt.held):
        found.append(Step(f"{path}.layout", "as given", "searched"))
    for name in ("device", "devices"):
        before, after = getattr(start.hardware, name), getattr(attempt.hardware, name)
        if before != after:
            found.append(Step(f"fleet.{name}", before, after))
    return tuple(found)


def longest_sequence(start: Attempt, trials: Trials) -> int | None:
    """The longest sequence that fits, in whole multiples of what the splits need; None when none does."""
    layout: Any = start.layout
    unit = SHORTEST_SEQUENCE
    if layout is not None:
        unit *= int(2 * layout.context if layout.context > 1 else 1)

    def fits(count: int) -> bool:
        return trials.fits(replace(start, recipe=replace(start.recipe, sequence_length=count * unit)))

    count = _largest(fits, max(LONGEST_SEQUENCE // unit, 1), max(start.recipe.sequence_length // unit, 1))
    return count * unit if count else None


def largest_micro_batch(start: Attempt, trials: Trials) -> int | None:
    """The largest micro-batch that divides a data rank's share of the batch and fits."""
    if start.layout is None:
        return None
    layout: Any = start.layout
    choices = divisors(max(start.recipe.global_batch // int(layout.data), 1)).tolist()

    def fits(index: int) -> bool:
        return trials.fits(replace(start, layout=replace(layout, micro_batch=choices[index - 1])))

    guess = choices.index(layout.micro_batch) + 1 if layout.micro_batch in choices else 1
    index = _largest(fits, len(choices), guess)
    return choices[index - 1] if index else None


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
