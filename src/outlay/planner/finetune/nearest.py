"""What would make a fine-tune fit, and how much room it leaves; every change is planned before it is told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from outlay.errors import OutlayError
from outlay.planner.finetune.choose import as_training, choose_tune
from outlay.planner.finetune.step import memory_needed, plain_memory, tuned_step
from outlay.planner.layouts.evaluate import nominal
from outlay.planner.pretrain.nearest import LONGEST_SEQUENCE, SHORTEST_SEQUENCE, _largest
from outlay.resolve.finetune.phase import TunePhase
from outlay.resolve.record import Resolved
from outlay.steps.inputs import Layout

MOST_MICRO_BATCH = 4096
LOSSY = ("sequence_length", "method", "optimizer")  # kinds that change what is trained
LAYOUT_FIELDS = ("zero", "context")  # of a layout that a change may set
QUALITY = {"qlora": "the base in 4 bits", "optimizer": "8-bit states", "sequence_length": "rows cut shorter"}


class Tried(Struct, frozen=True):
    """A phase with fields changed: bytes on the fullest device and seconds of a token."""

    memory_bytes: float
    token_s: float
    step_s: float


def near_tune(resolved: Resolved, phase: TunePhase, layout: Layout, fits: bool) -> dict[str, Any]:
    """`nearest` of a plan that does not fit; `room` of one that does."""
    finder = _Finder(resolved, phase, layout)
    if fits:
        return {"nearest": [], "room": finder.room()}
    return {"nearest": finder.changes()}


class _Finder:
    def __init__(self, resolved: Resolved, phase: TunePhase, layout: Layout) -> None:
        self.resolved, self.phase, self.layout = resolved, phase, layout
        self.capacity = float(nominal(phase.hardware.memory_bytes))
        self.micro_batch = int(nominal(layout.micro_batch)) // phase.procedure.rows
        self.start = self.measure({})

    def measure(self, changed: Mapping[str, Any]) -> Tried | None:
        """Plan the phase with fields changed; None where it cannot be."""
        try:
            phase = self.phase.vary(changed)
            at = as_training(self.resolved, phase)
            layout = self.layout
            if changed:
                layout = choose_tune(self.resolved, phase, recompute=self.layout.recompute).layout
            found = tuned_step(at, phase, layout, plain=True)
        except OutlayError:
            return None
        assert phase.training.recipe is not None
        memory = float(memory_needed(found)) * phase.training.residual_memory.value
        step = float(found.times["step_time_s"])
        return Tried(memory, step / (phase.training.recipe.global_batch * phase.lengths.document), step)

    def fits(self, changed: Mapping[str, Any]) -> bool:
        """Whether the same layout still fits with fields changed."""
        try:
            phase = self.phase.vary(changed)
            rows = phase.procedure.rows
            micro_batch = (phase.given.micro_batch or self.micro_batch) * rows
            needed = plain_memory(self.resolved, phase, replace(self.layout, micro_batch=micro_batch))
        except OutlayError:
            return False
        return needed * phase.training.residual_memory.value <= self.capacity

    def changes(self) -> list[dict[str, Any]]:
        """The smallest step of each kind that fits; two together where none does alone."""
        found, better = [], []
        for kind, steps in self.kinds():
            for changed in steps:
                tried = self.measure(changed)
                if tried is None or self.start is None or tried.memory_bytes >= self.start.memory_bytes:
                    continue
                better.append((kind, changed, tried))
                if tried.memory_bytes <= self.capacity:
                    found.append(self.told(kind, changed, tried))
                    break
        if all(change["kind"] in LOSSY for change in found):  # several together may keep rows, method and states
            found += self.combined([entry for entry in better if entry[0] not in LOSSY])
        if not found:
            found = self.combined(better)
        return sorted(found, key=lambda change: (len(change["set"]), change["time_ratio"]))

    def combined(self, better: list[tuple[str, dict[str, Any], Tried]]) -> list[dict[str, Any]]:
        """Changes upon changes, the most freed first, until the plan fits."""
        changed: dict[str, Any] = {}
        used: set[str] = set()
        for kind, more, _ in sorted(better, key=lambda item: item[2].memory_bytes):
            if kind in used or (set(more) & set(changed)) - {"layout"}:
                continue
            both = changed | more
            if "layout" in changed and "layout" in more:
                both["layout"] = self.merged(changed["layout"], more["layout"])
            tried = self.measure(both)
            if tried is None:
                continue
            changed, used = both, used | {kind}
            if tried.memory_bytes <= self.capacity:
                return [self.told("combined", changed, tried)]
        return []

    def merged(self, first: Any, second: Any) -> Any:
        """The layout with what either of two changes sets."""

        given = self.phase.given.layout
        return replace(first, **{
            name: value for name in LAYOUT_FIELDS
            if (value := getattr(second, name)) is not None and value != getattr(given, name, None)})

    def kinds(self) -> Iterator[tuple[str, Iterator[dict[str, Any]]]]:
        given, phase = self.phase.given, self.phase
        recipe = phase.training.recipe
        assert recipe is not None
        if self.layout.recompute != "full":
            yield "gradient_checkpointing", iter([{"gradient_checkpointing": True}])
        yield "micro_batch", self.smaller_batches(self.micro_batch)
        yield "fused_cross_entropy", iter([] if recipe.fused_cross_entropy else [{"fused_cross_entropy": True}])
        if recipe.optimizer in ("adamw", "adam"):
            yield "optimizer", iter([{"optimizer": "adamw-8bit"}])
        if self.layout.zero < 3 and phase.hardware.devices > 1 and self.layout.pipeline == 1:
            yield "zero", ({"layout": self.with_layout(zero=zero)} for zero in range(int(self.layout.zero) + 1, 4))
        if phase.hardware.devices > 1 and (given.layout is None or given.layout.context is None):
            yield "context", ({"layout": self.with_layout(context=ways)} for ways in self.ways())
        yield "offload", ({"offload": kind} for kind in ("optimizer", "all") if recipe.offload == "none")
        yield "method", self.methods(given.method or "lora")
        yield "sequence_length", self.shorter()

    def smaller_batches(self, now: int) -> Iterator[dict[str, Any]]:
        for smaller in range(now - 1, 0, -1):
            if now % smaller == 0:
                steps = (self.phase.given.gradient_accumulation or 1) * (now // smaller)
                changed: dict[str, Any] = {"micro_batch": smaller}
                if self.phase.given.global_batch is None:
                    changed["gradient_accumulation"] = steps
                yield changed

    def ways(self) -> Iterator[int]:
        """Devices that could share a row: powers of two that divide the fleet, more than now."""
        ways, devices = 2, self.phase.hardware.devices
        while ways <= devices and devices % ways == 0:
            if ways > int(nominal(self.layout.context)):
                yield ways
            ways *= 2

    def with_layout(self, **changed: Any) -> Any:

        from outlay.scenario import Layout as GivenLayout

        return replace(self.phase.given.layout or GivenLayout(), **changed)

    def methods(self, method: str) -> Iterator[dict[str, Any]]:
        if method in ("full", "freeze"):
            yield {"method": "lora", "frozen_layers": None}
            yield {"method": "qlora", "frozen_layers": None, "base_precision": None}
        elif method in ("lora", "dora"):
            yield {"method": f"q{method}", "base_precision": None}

    def shorter(self) -> Iterator[dict[str, Any]]:
        longest = self.longest_sequence()
        if longest:
            yield self.with_length(longest)

    def with_length(self, length: int) -> dict[str, Any]:
        given = self.phase.given
        changed: dict[str, Any] = {"sequence_length": length}
        if given.longest is not None:
            changed["longest"] = float(length)
        if given.mean is not None and given.mean > length:
            changed["mean"] = float(length)
        return changed

    def longest_sequence(self) -> int | None:
        recipe = self.phase.training.recipe
        assert recipe is not None
        unit = SHORTEST_SEQUENCE
        count = _largest(lambda n: self.fits(self.with_length(n * unit)), LONGEST_SEQUENCE // unit,
                         max(recipe.sequence_length // unit, 1))
        return count * unit or None

    def room(self) -> dict[str, Any]:
        """The longest rows and the largest micro-batch that still fit, one at a time."""
        def changed(n: int) -> dict[str, Any]:
            return {"micro_batch": n, "global_batch": None, "gradient_accumulation": None,
                    "layout": self.with_layout(micro_batch=None)}

        largest = _largest(lambda n: self.fits(changed(n)), MOST_MICRO_BATCH, self.micro_batch)
        return {"longest_sequence": self.longest_sequence(), "largest_micro_batch": largest or None}

    def told(self, kind: str, changed: Mapping[str, Any], tried: Tried) -> dict[str, Any]:
        """A change as words and numbers, in the shape every plan's nearest changes have."""
        assert self.start is not None
        ratio = tried.token_s / self.start.token_s
        settings = {f"finetune.{name}": value for name, value in changed.items()
                    if name != "layout" and value is not None}
        if "layout" in changed:
            before = self.phase.given.layout
            settings |= {f"finetune.layout.{name}": value for name in LAYOUT_FIELDS
                         if (value := getattr(changed["layout"], name)) is not None
                         and value != getattr(before, name, None)}
        words = ", ".join(f"{name.removeprefix('finetune.').removeprefix('layout.')} → {value}"
                          for name, value in settings.items())
        quality = QUALITY.get(kind) or QUALITY.get(str(changed.get("method", "")), "")
        freed = self.start.memory_bytes - tried.memory_bytes
        return {"change": words, "kind": kind, "set": settings, "gain": f"{freed / 2**30:+.1f} GiB free",
                "price": f"{round(100 * (ratio - 1)):+d} % time" + (f"; {quality}" if quality else ""),
                "memory_per_device_bytes": tried.memory_bytes, "freed_bytes": freed, "step_time_s": tried.step_s,
                "time_ratio": ratio, "device_time_ratio": ratio}
