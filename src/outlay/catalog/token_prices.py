"""Prices of tokens bought from a provider: reading them, and which of them holds on a day."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from msgspec import Struct

from outlay.catalog.names import plain
from outlay.catalog.store import DATA
from outlay.errors import UnknownName, suggestion

COLUMNS = (
    "provider",
    "model",
    "serves",
    "mode",
    "valid_from",
    "hours_utc",
    "input_usd_per_mtok",
    "cached_usd_per_mtok",
    "cache_write_usd_per_mtok",
    "output_usd_per_mtok",
    "usd_per_request",
    "tiers",
    "context",
    "checked",
    "deprecated",
    "source",
)
FILE = DATA / "token_prices.csv"
MODES = ("base", "batch", "flex", "priority")
DAY_HOURS = 24.0


class Rung(Struct, frozen=True):
    """Prices in USD a million tokens of requests with more input than `above` tokens."""

    above: float
    input: float
    cached: float | None  # None: no price of its own, so full input price
    cache_write: float | None
    output: float


class TokenPrice(Struct, frozen=True):
    """What a provider asks for a model's tokens. `rungs` come by size; the first is for every request.

    serves: the catalogued model with the same shape. mode: base | batch | flex | priority. hours_utc: (from, to)
    of the day in which it holds, or None. checked: the day its collectors last saw it, "" where they do not say.
    """

    provider: str
    model: str
    serves: str
    mode: str
    valid_from: str
    hours_utc: tuple[float, float] | None
    rungs: tuple[Rung, ...]
    usd_per_request: float
    context: float
    checked: str
    deprecated: bool
    source: str

    @property
    def name(self) -> str:
        return f"{self.provider}/{self.model}"

    @property
    def as_of(self) -> str:
        """The later of when it took effect and when it was last checked; "" when neither is known."""
        return max(self.valid_from, self.checked)


def _optional(text: str) -> float | None:
    return float(text) if text else None


def _rungs(row: dict[str, str]) -> tuple[Rung, ...]:
    first = Rung(0.0, float(row["input_usd_per_mtok"]), _optional(row["cached_usd_per_mtok"]),
                 _optional(row["cache_write_usd_per_mtok"]), float(row["output_usd_per_mtok"]))
    found = [first]
    for step in filter(None, row["tiers"].split(";")):
        above, _, parts = step.partition(":")
        given = {k: float(v) for k, _, v in (p.partition("=") for p in parts.split(","))}
        last = found[-1]
        found.append(Rung(float(above), given.get("in", last.input), given.get("cached", last.cached),
                          given.get("write", last.cache_write), given.get("out", last.output)))
    return tuple(found)


def _window(text: str) -> tuple[float, float] | None:
    start, dash, end = text.partition("-")
    return (float(start), float(end)) if dash else None


def price_of(row: dict[str, str]) -> TokenPrice:
    return TokenPrice(row["provider"], row["model"], row["serves"], row["mode"], row["valid_from"],
                      _window(row["hours_utc"]), _rungs(row), float(row["usd_per_request"] or 0.0),
                      float(row["context"] or 0.0), row["checked"], bool(row["deprecated"]), row["source"])


@lru_cache(maxsize=1)
def shipped(path: Path = FILE) -> tuple[TokenPrice, ...]:
    """The snapshot in the package."""
    with open(path, encoding="utf-8", newline="") as handle:
        return tuple(price_of(row) for row in csv.DictReader(handle))


class Offer(Struct, frozen=True):
    """One model of one provider on one day: its base price by hour of the day, and its batch price if it has one."""

    prices: tuple[TokenPrice, ...]  # with and without hours
    batch: TokenPrice | None

    @property
    def name(self) -> str:
        return self.prices[0].name

    @property
    def first(self) -> TokenPrice:
        return self.prices[0]

    def shares(self) -> list[tuple[TokenPrice, float]]:
        """Each price with the part of the day in which it holds."""
        timed = [(p, (p.hours_utc[1] - p.hours_utc[0]) / DAY_HOURS) for p in self.prices if p.hours_utc]
        rest = 1.0 - sum(share for _, share in timed)
        plainly = [p for p in self.prices if p.hours_utc is None]
        if not plainly:
            total = sum(share for _, share in timed)
            return [(p, share / total) for p, share in timed]
        return [*timed, (plainly[0], rest)]


def offers(day: str, prices: Sequence[TokenPrice] | None = None) -> list[Offer]:
    """What can be bought on a day (ISO date), one offer a provider and model; prices of the future are not."""
    groups: dict[tuple[str, str], list[TokenPrice]] = {}
    for price in shipped() if prices is None else prices:
        if price.valid_from <= day:
            groups.setdefault((price.provider, price.model), []).append(price)
    found = []
    for group in groups.values():
        base = _newest([p for p in group if p.mode == "base"])
        batch = _newest([p for p in group if p.mode == "batch" and p.hours_utc is None])
        if base:
            found.append(Offer(tuple(base), batch[0] if batch else None))
    return found


def _newest(prices: list[TokenPrice]) -> list[TokenPrice]:
    latest = max((p.valid_from for p in prices), default="")
    return [p for p in prices if p.valid_from == latest]


def find_offers(name: str, day: str, field: str = "pay.api",
                prices: Sequence[TokenPrice] | None = None) -> list[Offer]:
    """Offers a name stands for: "provider/model", or a model that several providers may sell.

    Raises UnknownName with the nearest names.
    """
    known = offers(day, prices)
    key = name.strip().lower()
    exact = [o for o in known if o.name.lower() == key] or [o for o in known if o.first.model.lower() == key]
    if not exact:
        exact = [o for o in known if plain(o.first.model.rsplit("/", 1)[-1]) == plain(key)]
    if not exact:
        spellings = {o.name for o in known} | {o.first.model for o in known}
        raise UnknownName(f"{field}: no price of {name!r} on {day}{suggestion(name, spellings)}; "
                          "`outlay catalog list token NAME` searches them", field)
    return exact


def offers_of(model: str, day: str, prices: Sequence[TokenPrice] | None = None) -> list[Offer]:
    """Offers of the catalogued model's own shape, deprecated ones left out."""
    return [o for o in offers(day, prices) if o.first.serves == model and not o.first.deprecated]


def served_by(provider: str, model: str) -> str:
    """The catalogued model of a provider's model, by the snapshot; "" where it does not know the name."""
    return _served().get((provider, model), "")


@lru_cache(maxsize=1)
def _served() -> dict[tuple[str, str], str]:
    return {(p.provider, p.model): p.serves for p in shipped()}
