"""What was assumed and warned of while a scenario is resolved and planned."""

from __future__ import annotations

from typing import Any

from msgspec import Struct, field

from outlay.derive import Quantity


class Assumption(Struct, frozen=True):
    """A value the user did not give, why it was taken, and where it comes from."""

    what: str
    value: Any
    why: str
    source: str = ""

    def to_dict(self) -> dict[str, Any]:
        return {"what": self.what, "value": self.value, "why": self.why, "source": self.source}


class Notes(Struct):
    """Collects assumptions, warnings and what else a caller asked for while one scenario is planned; one per plan."""

    assumptions: list[Assumption] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    tables: bool = False  # a replay keeps every request and step
    replay: Any = None  # the simulation that a serving plan's times come from, where they do

    def assume(self, what: str, value: Any, why: str, source: str = "") -> None:
        if isinstance(value, Quantity):
            value = value.value
        self.assumptions.append(Assumption(what, value, why, source))

    def warn(self, text: str) -> None:
        if text not in self.warnings:
            self.warnings.append(text)
