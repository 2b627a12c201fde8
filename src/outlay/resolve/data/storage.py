"""Where a corpus rests: tier, its prices for bytes, requests and bytes taken out, and how long it is kept."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from outlay.catalog import Entry
from outlay.derive import Num, Quantity, derive, exact
from outlay.resolve.calendar import Defaults
from outlay.resolve.fleet import given
from outlay.resolve.people import or_default
from outlay.scenario_life import Storage

MONTH_S = 31_557_600.0 / 12
DEFAULT_TIER = "s3-standard"


class StoragePlan(Struct, frozen=True):
    """How a corpus is kept; prices are in the rates under "data"."""

    retention_s: Quantity  # of text and tokens, after they are made
    raw_retention_s: float | None  # of the archive; None: while the data is made
    copies: int
    object_bytes: Quantity
    reads: float
    egress: float


def resolve_storage(
    own: Storage | None, provider: str, horizon_s: float | None, prices: dict[str, Num], defaults: Defaults
) -> StoragePlan:
    """The plan, and its prices added to `prices` under the rate "data"."""
    own = own or Storage()
    entry = _tier(own, provider, defaults)
    monthly = _price(
        own.usd_per_tb_month,
        entry,
        "usd_per_byte_month",
        "storage price per byte and month",
        defaults,
        "data.storage.usd_per_tb_month",
    )
    if monthly is not None:
        prices["storage_byte_s@data"] = derive(_per_s, "storage price", "USD/(byte·s)", per_month=monthly)
    out = _price(
        own.egress_usd_per_tb,
        entry,
        "egress_usd_per_byte",
        "price of a byte taken out",
        defaults,
        "data.storage.egress_usd_per_tb",
    )
    if out is not None:
        prices["transfer_bytes@egress"] = out
    for kind in ("put", "get"):
        if f"usd_per_{kind}" in entry:
            prices[f"requests@{kind}"] = entry.fact(f"usd_per_{kind}").quantity(defaults.seed)
        else:
            prices[f"requests@{kind}"] = exact(0.0, "USD", f"price of a {kind} request", f"{entry.id} names none")
    if own.retention is not None:
        kept = given(own.retention, "s", "how long the corpus is kept")
    elif horizon_s is not None:
        kept = exact(horizon_s, "s", "how long the corpus is kept", "to the end of the life", basis="given")
        defaults.notes.assume("data.storage.retention", horizon_s, "the corpus is kept to the end of the life")
    else:
        kept = defaults.quantity("data.retention_s", "data.storage.retention").named("how long the corpus is kept", "s")
    if own.copies is None:
        defaults.notes.assume("data.storage.copies", 1, "one copy; the provider's own replicas are in its price")
    if own.egress is None:
        defaults.notes.assume("data.storage.egress", 0.0, "the corpus is read where it lies and never taken out")
    return StoragePlan(
        kept,
        own.raw_retention,
        own.copies or 1,
        or_default(
            own.object_bytes, "bytes", "object size", "data.object_bytes", "data.storage.object_bytes", defaults
        ),
        1.0 if own.reads is None else own.reads,
        own.egress or 0.0,
    )


def _tier(own: Storage, provider: str, defaults: Defaults) -> Entry:
    """The tier named, else the provider's object storage, else the most usual one."""
    if own.tier is not None:
        return defaults.catalog.find("storage", own.tier, "data.storage.tier")
    theirs = [e for e in defaults.catalog.entries("storage") if provider and e.value("provider") == provider]
    chosen = theirs[0] if theirs else defaults.catalog.find("storage", DEFAULT_TIER)
    for entry in theirs:
        if entry.value("class") == "object" and "standard" in entry.id:
            chosen = entry
            break
    why = f"object storage of {provider}" if theirs else "object storage where no provider is named"
    defaults.notes.assume("data.storage.tier", chosen.id, why)
    return chosen


def _price(
    own_usd_per_tb: float | None, entry: Entry, parameter: str, label: str, defaults: Defaults, told: str
) -> Quantity | None:
    """The scenario's price per terabyte, else the tier's; None where the tier has none."""
    if own_usd_per_tb is not None:
        return given(own_usd_per_tb / 1e12, "USD/byte", label)
    if parameter not in entry:
        return None
    fact = entry.fact(parameter)
    defaults.notes.assume(told, float(fact.value) * 1e12, f"{entry.name}, list price", fact.source)
    return fact.quantity(defaults.seed).named(label)


def _per_s(per_month: Any) -> Any:
    """A price per month as one per second."""
    return per_month / MONTH_S
