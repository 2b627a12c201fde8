"""A serving engine by name and version → its constants and defaults from the catalogue."""

from __future__ import annotations

import re
from collections.abc import Iterator

from msgspec import Struct, field

from outlay.catalog import Catalog, Entry, Fact
from outlay.derive import Num
from outlay.errors import BadValue

DEFAULT_ENGINE = "vllm"
_GIB = 2.0**30
_TEXTS = ("text", "list")
_MOVING = frozenset(("nightly", "latest", "main", "master", "head", "dev", "edge", "rolling"))


class Engine(Struct, frozen=True):
    """An engine as of a version: every fact that holds for it."""

    id: str
    name: str
    version: str
    facts: dict[str, Fact] = field(default_factory=dict)

    def text(self, name: str, default: str = "") -> str:
        fact = self.facts.get(name)
        return default if fact is None else str(fact.value)

    def number(self, name: str, default: float = 0.0) -> float:
        fact = self.facts.get(name)
        return default if fact is None else float(fact.value)

    def source(self, name: str) -> str:
        fact = self.facts.get(name)
        return "" if fact is None else fact.source

    def constants(self, seed: int) -> dict[str, Num]:
        """Every numeric fact as a quantity."""
        return {
            name: fact.quantity(seed).named(name.replace("_", " "))
            for name, fact in self.facts.items()
            if fact.unit not in _TEXTS
        }

    def by_memory(self, name: str, memory_bytes: float) -> float | None:
        """A default that steps with the size of the device: "limit in GiB:value|…"."""
        text = self.text(name + "_by_gib")
        for step in filter(None, text.split("|")):
            limit, _, value = step.partition(":")
            if memory_bytes < float(limit) * _GIB:
                return float(value)
        return None


def version_of(text: str) -> tuple[int, ...]:
    """The numbers of a version as far as they are written.

    >>> version_of("0.11.0"), version_of("vLLM V1 0.19"), version_of("b4567"), version_of("")
    ((0, 11, 0), (0, 19), (4567,), ())
    """
    found = re.search(r"\d+(?:\.\d+)+", text) or re.search(r"\d+", text)
    return tuple(int(part) for part in found.group().split(".")) if found else ()


def moving(version: str) -> bool:
    """Whether a tag names no release but what is newest: nightly, latest, main.

    >>> moving("nightly-dev"), moving("nightly-dev-20260216-d3bae71e"), moving("0.5.9.dev"), moving("unknown")
    (True, True, False, False)
    """
    words = set(re.split(r"[^a-z]+", version.lower()))
    return bool(words & _MOVING) and not re.search(r"\d+\.\d+", version)


def find_engine(name: str | None, version: str | None, catalog: Catalog, without: str = "") -> Engine:
    """The engine's facts, those of the version's range over those of today.

    without: a group of published cases whose fitted constants are not used (validation only).
    Raises UnknownName with field serve.engine, or BadValue for a version without a number.
    """
    base = catalog.find("engine", name or DEFAULT_ENGINE, "serve.engine")
    if "@" in base.id:
        base = catalog.find("engine", base.id.partition("@")[0], "serve.engine")
    facts = dict(base.facts)
    if without and f"{base.id}@without/{without}" in catalog.ids("engine"):
        facts |= catalog.find("engine", f"{base.id}@without/{without}").facts
    if version is None or moving(version):
        return Engine(base.id, base.name, str(base.value("version", "")), facts)
    wanted = version_of(str(version))
    if not wanted:
        raise BadValue(f"serve.engine_version: no number in {version!r}; write 0.11.0, or nightly for the newest known",
                       "serve.engine_version")
    for low, high, entry in _ages(base.id, catalog):
        if low <= wanted < high:
            facts |= entry.facts
    return Engine(base.id, base.name, str(version), facts)


def _ages(name: str, catalog: Catalog) -> Iterator[tuple[tuple[int, ...], tuple[int, ...], Entry]]:
    """Older forms of an engine that are described: from which version, before which, and what differs."""
    for entry in catalog.entries("engine"):
        if entry.id.partition("@")[0] == name and "version_from" in entry:
            yield version_of(str(entry.value("version_from"))), version_of(str(entry.value("version_before"))), entry


def version_gap(engine: Engine, catalog: Catalog) -> str:
    """Why a version that was asked for is planned as another; empty where it is described, or as one that is.

    A version between those that are known to differ and the one described is as that one.
    """
    described = str(catalog.find("engine", engine.id).value("version", ""))
    wanted, today = version_of(engine.version), version_of(described)
    ages = list(_ages(engine.id, catalog))
    if not today or wanted[: len(today)] == today or any(low <= wanted < high for low, high, _ in ages):
        return ""
    if wanted > today:
        return f"{engine.version} is newer than {described}, the newest that is described; planned as that one"
    if ages and wanted >= max(high for _, high, _ in ages):
        return ""
    return f"what {engine.name} {engine.version} does otherwise is not known; planned as {described}"
