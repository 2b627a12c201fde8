"""The records a catalogue hands out: a fact with its provenance, an entry of facts, a price."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from outlay.errors import BadValue

if TYPE_CHECKING:
    from outlay.derive import Quantity

HOW = ("measured", "vendor", "published", "derived", "assumed")
TEXT_UNITS = frozenset(("text", "date", "list"))
COLUMNS = ("id", "parameter", "value", "unit", "low", "high", "source", "retrieved", "how", "note")
_BASIS = {
    "measured": "measured",
    "vendor": "published",
    "published": "published",
    "derived": "derived",
    "assumed": "assumed",
}


class Fact(Struct, frozen=True):
    """One value with its unit, 80 % interval, source, date and how it was obtained."""

    id: str
    parameter: str
    value: float | str
    unit: str = ""
    low: float | None = None
    high: float | None = None
    source: str = ""
    retrieved: str = ""
    how: str = "published"
    note: str = ""

    @property
    def key(self) -> str:
        return f"{self.id}.{self.parameter}"

    @property
    def basis(self) -> str:
        return _BASIS[self.how]

    def quantity(self, seed: int = 0) -> Quantity:
        """The fact as a number with lineage; draws are keyed by "id.parameter"."""
        return _quantity_of(self, seed)

    def to_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in COLUMNS}


@lru_cache(maxsize=2048)
def _quantity_of(fact: Fact, seed: int) -> Quantity:
    from outlay.derive import exact, uncertain

    if isinstance(fact.value, str):
        raise TypeError(f"{fact.key} is text, not a number")
    label, source = fact.parameter.replace("_", " "), f"{fact.key}: {fact.source} ({fact.retrieved})"
    if fact.low is None or fact.high is None:
        return exact(fact.value, fact.unit, label, source, basis=fact.basis)
    return uncertain(fact.value, fact.low, fact.high, fact.unit, label, source, seed=seed, key=fact.key,
                     basis=fact.basis)


class Entry(Struct, frozen=True):
    """All facts about one thing, under the names it is known by."""

    id: str
    kind: str
    name: str
    aliases: tuple[str, ...]
    facts: Mapping[str, Fact]

    def fact(self, parameter: str) -> Fact:
        try:
            return self.facts[parameter]
        except KeyError:
            raise BadValue(
                f"the catalogue has no {parameter} for {self.id}; give your own", self.kind
            ) from None

    def value(self, parameter: str, default: Any = None) -> Any:
        """A number (float) or text; a "list" comes as it is written, separated by "|"."""
        fact = self.facts.get(parameter)
        return default if fact is None else fact.value

    def __contains__(self, parameter: object) -> bool:
        return parameter in self.facts

    def __iter__(self) -> Iterator[Fact]:
        return iter(self.facts.values())


class Price(Struct, frozen=True):
    """What one device costs per hour at a provider, as of a date. `kind`: on_demand | spot | 1y | 3y."""

    provider: str
    region: str
    instance: str
    device: str
    devices: int
    kind: str
    usd_per_device_hour: float
    as_of: str
    source: str
    how: str = "published"
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__struct_fields__}
