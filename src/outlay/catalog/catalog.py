"""The catalogue: shipped tables with a person's own layered on top, read lazily, one kind at a time."""

from __future__ import annotations

import os
from collections import Counter
from difflib import SequenceMatcher
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace

from outlay.catalog import mig, names
from outlay.catalog.currencies import ExchangeRate, is_rates, read_rates
from outlay.catalog.prices import check_prices, read_own_prices, read_shipped_prices
from outlay.catalog.records import Entry, Price
from outlay.catalog.store import DATA, Table
from outlay.errors import UnknownName, Unreadable, nearest, suggestion

PRICES = "prices"
NOT_FACTS = {PRICES, "token_prices"}
FEW = 12  # entries that an error lists


class DeviceMatch(NamedTuple):
    """What a device name stands for: the device, and how many of them when it names a cloud instance."""

    entry: Entry
    devices: int | None
    instance: Entry | None


class Catalog:
    """Look-up over all kinds. Make one with `load`."""

    def __init__(self, folders: tuple[Path, ...] = (), price_files: tuple[Path, ...] = ()) -> None:
        self.folders = folders
        self.rate_files = tuple(path for path in price_files if is_rates(path))
        self.price_files = tuple(path for path in price_files if path not in self.rate_files)
        self._tables: dict[str, Table] = {}
        self._prices: list[Price] | None = None

    @property
    def date(self) -> str:
        """The version of the shipped catalogue, stamped into every result."""
        return str(self.find("meta", "catalog").value("date"))

    def kinds(self) -> list[str]:
        """Kinds that have a table, shipped or a person's own."""
        found = {p.stem for folder in (DATA, *self.folders) for p in folder.glob("*.csv")}
        return sorted(found - NOT_FACTS)

    def table(self, kind: str) -> Table:
        table = self._tables.get(kind)
        if table is None:
            name = f"{kind}.csv"
            shipped = DATA / name if (DATA / name).exists() else None
            own = tuple(folder / name for folder in self.folders if (folder / name).exists())
            if shipped is None and not own:
                raise UnknownName(f"no catalogue kind {kind!r}{suggestion(kind, self.kinds())}", "kind")
            table = self._tables[kind] = Table(kind, shipped, own)
        return table

    def entries(self, kind: str) -> list[Entry]:
        table = self.table(kind)
        return [table.entry(i) for i in table.rows]

    def ids(self, kind: str) -> list[str]:
        return list(self.table(kind).rows)

    def find(self, kind: str, name: str, field: str = "") -> Entry:
        """The one entry a name stands for; UnknownName lists candidates, or the nearest names there are."""
        name = str(name).strip()
        table = self.table(kind)
        if name in table.rows:
            return table.entry(name)
        if kind == "device":
            return self.find_device(name, field).entry
        return table.entry(_only(_found(kind, name, table), kind, name, field, table))

    def get(self, kind: str, name: str) -> Entry | None:
        """The one entry a name stands for, or None: for a look-up that may well miss, so nothing near is looked for."""
        table = self.table(kind)
        if name not in table.rows and not _found(kind, name, table):
            return None
        try:
            return self.find(kind, name)
        except UnknownName:  # several
            return None

    def find_device(self, name: str, field: str = "fleet.device") -> DeviceMatch:
        """A device by any of its names, a MIG slice of one, or the devices in a cloud instance."""
        name = str(name).strip()
        table = self.table("device")
        if name in table.rows:
            return DeviceMatch(table.entry(name), None, None)
        found = names.match(name, table.index(), table.rows) or self._as_said(name, table)
        if len(found) == 1:
            return DeviceMatch(table.entry(found[0]), None, None)
        sliced = mig.split(name)
        if sliced is not None:
            whole, profile = sliced
            entries = [self.find("device", whole, field)] if whole else self.entries("device")
            return DeviceMatch(mig.slice_of(entries, profile, name, field), None, None)
        if not found and "instance" in self.kinds():
            instances = self.table("instance")
            hits = names.match(name, instances.index(), ()) if name not in instances.rows else [name]
            if len(hits) == 1:
                instance = instances.entry(hits[0])
                device = table.entry(str(instance.value("device")))
                return DeviceMatch(device, int(instance.value("devices")), instance)
        usual = ""
        if len(found) > 1:
            found, usual = self._usual_first(found)
        return DeviceMatch(table.entry(_only(found, "device", name, field, table, usual)), None, None)

    def _usual_first(self, found: list[str]) -> tuple[list[str], str]:
        """Devices by how many providers rent them out, then from the least memory up; and what that says."""
        offers = Counter(device for device, _ in {(price.device, price.provider) for price in self._all_prices()})
        table = self.table("device")
        memory = {name: float(table.entry(name).value("memory_bytes", 0.0)) for name in found}
        ordered = sorted(found, key=lambda name: (-offers[name], memory[name], name))
        often = offers[ordered[0]] > offers[ordered[1]]
        return ordered, f"; {ordered[0]} is the one most clouds rent" if often else ""

    def _as_said(self, name: str, table: Table) -> list[str]:
        """Devices of a name that says their memory, cores or watts beside: "RTX 4090 24GB"."""
        plain, said = names.said_apart(name)
        if not said:
            return []
        found = names.match(plain, table.index(), table.rows)
        found = [i for i in found if all(names.holds(table.entry(i), fact, value) for fact, value in said)]
        return _shortest(found, plain) or found

    def prices(
        self,
        device: str | None = None,
        provider: str | None = None,
        region: str | None = None,
        kind: str | None = None,
    ) -> list[Price]:
        """Rental prices that match, cheapest first; a person's own file comes before the shipped snapshot."""
        wanted = (provider.lower() if provider else None, region.lower() if region else None)
        found = [
            p
            for p in self._all_prices()
            if (device is None or p.device == device)
            and (wanted[0] is None or p.provider == wanted[0])
            and (wanted[1] is None or p.region == wanted[1])
            and (kind is None or p.kind == kind)
        ]
        return sorted(found, key=lambda p: p.usd_per_device_hour)

    def exchange_rates(self) -> dict[str, ExchangeRate]:
        """A person's own rates by currency; of two files the later wins."""
        return {rate.code: rate for path in self.rate_files for rate in read_rates(path)}

    def _all_prices(self) -> list[Price]:
        if self._prices is None:
            shipped = read_shipped_prices(DATA / f"{PRICES}.csv")
            files = [*self.price_files, *(f / f"{PRICES}.csv" for f in self.folders)]
            own = [
                (where, replace(price, device=self._device_id(price.device, where)))
                for path in files
                if path.exists()
                for where, price in read_own_prices(path)
            ]
            check_prices(own, peers=shipped)
            replaced = {(p.provider, p.region, p.device, p.kind) for _, p in own}
            self._prices = [p for _, p in own] + [
                p for p in shipped if (p.provider, p.region, p.device, p.kind) not in replaced
            ]
        return self._prices

    def _device_id(self, name: str, where: str) -> str:
        try:
            return self.find_device(name).entry.id
        except UnknownName as error:
            raise UnknownName(f"{where}: {error.message}", "prices") from None


def _found(kind: str, name: str, table: Table) -> list[str]:
    """Ids that a name can mean; a model's also by what is left of a checkpoint's name."""
    found = table.spelled(name) or names.match(name, table.index(), table.rows)
    return found or (table.stems().get(names.stem(name), []) if kind == "model" else [])


def _shortest(found: list[str], name: str) -> list[str]:
    """The id that all others begin with and that ends as the name does: "3090" is the RTX 3090, not the 3090 Ti."""
    shortest = min(found, key=len, default="")
    fits = shortest and shortest.endswith(name.lower()) and all(i.startswith(shortest) for i in found)
    return [shortest] if fits else []


def _only(found: list[str], kind: str, name: str, field: str, table: Table, usual: str = "") -> str:
    shown = name if len(name) <= 80 else name[:77] + "..."
    if len(found) == 1:
        return found[0]
    if shortest := _shortest(found, name):
        return shortest[0]
    if found:
        listed = ", ".join(found[:8]) + (f" and {len(found) - 8} more" if len(found) > 8 else "")
        raise UnknownName(f"{kind} {shown!r} can be any of: {listed}{usual}", field or kind)
    said = _all_of(table) + _near(kind, name, table) or f"; `outlay catalog list {kind}` shows them."
    raise UnknownName(f"no {kind} {shown!r} in the catalogue{said}{_WAY_OUT.get(kind, '')}", field or kind)


def _all_of(table: Table) -> str:
    """All there are, where they are few."""
    whole = [i for i in table.rows if "@" not in i]
    return f"; there are {', '.join(whole)}" if len(whole) <= FEW else ""


def _near(kind: str, name: str, table: Table) -> str:
    """A half-sentence of at most three names that are spelled like it, one of each entry; of models their own part."""
    if kind == "model":
        own, stems = names.stem(name), table.stems()
        alike = [s for s in nearest(own, stems, 9) if s[:3] == own[:3] or SequenceMatcher(None, s, own).ratio() > 0.75]
        close = {ids[0]: ids[0] for ids in (stems[s] for s in alike)}
    else:
        known = {i: i for i in table.rows} | {a: i for i in table.rows for a in table.aliases(i)}
        words = {w: i for i in reversed(table.rows) for w in names.tokens(i) if _tells(w)}  # "4091" is near 4090
        close = {}
        for spelling in nearest(name, words | known, 9):
            found_id = known.get(spelling) or words[spelling]
            close.setdefault(found_id, spelling if spelling in known else found_id)
    return f"; did you mean {' or '.join(list(close.values())[:3])}?" if close else ""


# What else a name's place takes
_WAY_OUT = {"model": " The path to its config.json does as well"}


def _tells(word: str) -> bool:
    """Whether a word of an id is a name by itself, as a card's number is."""
    return len(word) >= 4 and sum(c.isdigit() for c in word) >= 3


@lru_cache(maxsize=8)
def _load(folders: tuple[Path, ...], price_files: tuple[Path, ...]) -> Catalog:
    return Catalog(folders, price_files)


def load(extra: tuple[str | os.PathLike[str], ...] = ()) -> Catalog:
    """The shipped catalogue with a person's own folders and price files layered on top; the last wins."""
    paths = [Path(p) for p in extra]
    for path in paths:
        if not path.exists():
            raise Unreadable(f"{path}: no such file or folder", "catalog")
    return _load(tuple(p for p in paths if p.is_dir()), tuple(p for p in paths if not p.is_dir()))
