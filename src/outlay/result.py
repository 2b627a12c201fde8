"""What planning gives: the record every screen, file and caller reads."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from outlay._version import __version__
from outlay.derive import Quantity
from outlay.errors import UnknownName, suggestion
from outlay.usage import Line

PHASES = ("data", "pretrain", "finetune", "serve", "maintain")
AS_THEY_ARE = frozenset((str, int, bool, type(None)))  # in JSON


class Result(Struct, frozen=True):
    """What a scenario takes. Values are `Quantity` where a number has an interval and a lineage."""

    scenario: dict[str, Any]
    model: dict[str, Any]
    phases: dict[str, dict[str, Any]]
    lines: tuple[Line, ...]
    totals: dict[str, Any]
    assumptions: tuple[dict[str, Any], ...]
    warnings: tuple[str, ...]
    catalog: str
    budget: tuple[dict[str, Any], ...] = ()  # each limit of goal.budget(s) beside what is planned
    currency: dict[str, Any] | None = None  # the rate money is shown at; every `usd` stays in dollars
    replay: Any = None  # simulate.SimResult behind a serving plan's times, where its tables were asked for

    def to_dict(self) -> dict[str, Any]:
        """The result as the contract writes it: plain values, every Quantity as value, low, high, unit."""
        body = {
            "outlay": __version__, "catalog": self.catalog, "scenario": self.scenario, "model": self.model,
            **self.phases, "lines": [line.to_dict() for line in self.lines], "totals": self.totals,
            "assumptions": list(self.assumptions), "warnings": list(self.warnings),
        }
        body |= {"budget": list(self.budget)} if self.budget else {}
        body |= {"currency": self.currency} if self.currency is not None else {}
        plain: dict[str, Any] = plain_values(body)
        return plain

    def to_json(self, indent: int | None = None) -> str:
        return json.dumps(self.to_dict(), indent=indent, ensure_ascii=False, allow_nan=False)

    @property
    def exit_code(self) -> int:
        """0 when the answer is yes; 1 when a phase does not fit, breaks a deadline, a budget or a promised latency, is
        asked more than it sustains, or a budget cannot be checked."""
        if any(entry["within"] is not True for entry in self.budget):
            return 1
        for phase in self.phases.values():
            if any(phase.get(key) is False for key in ("fits", "within_goal", "meets_slo", "sustained")):
                return 1
        return 0

    def names(self) -> list[str]:
        """The dotted names of every number that `explain` can be asked for."""
        return [name for name, _ in self._walk()]

    def explain(self, name: str) -> Quantity:
        """The quantity behind a printed number, by its dotted name or a unique last part of it.

        Raises UnknownName with the nearest names.
        """
        found = dict(self._walk())
        if name in found:
            return found[name]
        ends = [full for full in found if full.endswith("." + name)]
        preferred = [e for e in ends if not e.startswith("lines.")]
        if ends:
            return found[min(preferred or ends, key=lambda e: (e.count("."), list(found).index(e)))]
        leaves = {full.rsplit(".", 1)[-1] for full in found} | set(found)
        raise UnknownName(f"no number called {name!r} in this result{suggestion(name, leaves)}", "number")

    def _walk(self) -> list[tuple[str, Quantity]]:
        found: list[tuple[str, Quantity]] = []

        def walk(value: Any, path: str) -> None:
            if isinstance(value, Quantity):
                found.append((path, value))
            elif isinstance(value, Mapping):
                for key, inner in value.items():
                    walk(inner, f"{path}.{key}" if path else str(key))
            elif isinstance(value, (list, tuple)):
                for index, inner in enumerate(value):
                    walk(inner, f"{path}.{index}")

        walk(self.phases, "")
        walk(self.totals, "totals")
        walk(self.currency or {}, "currency")
        walk(self.model, "model")
        for line in self.lines:
            for part in ("usd", "energy_j", "co2e_operational_kg", "co2e_embodied_kg", "water_l"):
                walk(getattr(line, part), f"lines.{line.usage.id}.{part}")
            walk(line.usage.quantity, f"lines.{line.usage.id}.quantity")
        return found


def plain_values(value: Any) -> Any:
    """Quantities, tuples and infinities as JSON can hold them."""
    if type(value) in AS_THEY_ARE:  # most of them
        return value
    if isinstance(value, Quantity):
        return {k: plain_values(v) for k, v in value.to_dict().items()}
    if isinstance(value, Mapping):
        return {str(k): plain_values(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_values(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "inf" if value > 0 else None
    return value.item() if type(value).__module__ == "numpy" else value
