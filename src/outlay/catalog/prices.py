"""Rental prices: reading them and refusing those that cannot be right.

Rejected: a price at or below zero, the sentinel 700.0 some lists print for "no price", spot above on-demand
of the same instance and region, and a price per device more than ten times away from its peers.
"""

from __future__ import annotations

import csv
import math
import statistics
from collections.abc import Sequence
from pathlib import Path

from outlay.catalog.currencies import fault_of_date
from outlay.catalog.records import HOW, Price
from outlay.catalog.store import read_checked
from outlay.errors import BadValue

COLUMNS = (
    "provider",
    "region",
    "instance",
    "device",
    "devices",
    "kind",
    "usd_per_device_hour",
    "as_of",
    "source",
    "how",
    "note",
)
NEEDED = ("provider", "device", "usd_per_device_hour", "as_of", "source")
KINDS = ("on_demand", "spot", "1y", "3y")
SENTINELS = (700.0,)
PEER_FACTOR = 10.0
STALE_DAYS = 90


def price_from(row: Sequence[str], where: str) -> Price:
    provider, region, instance, device, devices, kind, usd, as_of, source, how, note = row
    try:
        count, price = int(devices or 1), float(usd)
    except ValueError:
        raise BadValue(
            f"{where}: devices {devices!r} and usd_per_device_hour {usd!r} must be numbers", "prices"
        ) from None
    return Price(
        provider.lower(),
        region.lower(),
        instance,
        device,
        count,
        kind or "on_demand",
        price,
        as_of,
        source,
        how or "published",
        note,
    )


def read_shipped_prices(path: Path) -> list[Price]:
    if not path.exists():
        return []
    with open(path, encoding="utf-8", newline="") as handle:
        reader = csv.reader(handle)
        next(reader)
        return [price_from(row, "") for row in reader]


def read_own_prices(path: Path) -> list[tuple[str, Price]]:
    """A person's own price file, (file:line, price) each, every row checked or a named error."""
    prices = []
    for line, row in read_checked(path, COLUMNS, NEEDED):
        where = f"{path}:{line}"
        price = price_from(row, where)
        for fault in faults_alone(price):
            raise BadValue(f"{where}: {fault}", "prices")
        prices.append((where, price))
    return prices


def faults_alone(price: Price) -> list[str]:
    """What is wrong with a price whatever the others say.

    >>> faults_alone(Price("x", "", "", "h100-sxm5-80gb", 1, "spot", 700.0, "2026-01-01", "list"))
    ['700 USD an hour is a sentinel for "no price"']
    """
    faults = []
    if not 0 < price.usd_per_device_hour < math.inf:
        faults.append(f"price {price.usd_per_device_hour:g} is not a number above zero")
    if price.usd_per_device_hour in SENTINELS or price.usd_per_device_hour * price.devices in SENTINELS:
        faults.append('700 USD an hour is a sentinel for "no price"')
    if price.kind not in KINDS:
        faults.append(f"kind {price.kind!r} is not one of {', '.join(KINDS)}")
    if price.how not in HOW:
        faults.append(f"how {price.how!r} is not one of {', '.join(HOW)}")
    if not price.provider or not price.device or not price.source:
        faults.append("provider, device and source are needed")
    fault = fault_of_date(price.as_of)
    if fault:
        faults.append(f"as_of {fault}")
    if price.devices < 1:
        faults.append(f"devices {price.devices} is not at least one")
    return faults


def faults_together(prices: Sequence[Price], peers: Sequence[Price] = ()) -> list[tuple[int, str]]:
    """(position, fault) of each price that contradicts the others: spot over on-demand, far from peers."""
    on_demand = {_place(p): p.usd_per_device_hour for p in (*peers, *prices) if p.kind == "on_demand"}
    by_device: dict[tuple[str, str], list[float]] = {}
    for p in (*peers, *prices):
        by_device.setdefault((p.device, p.kind), []).append(p.usd_per_device_hour)
    faults = []
    for position, p in enumerate(prices):
        listed = on_demand.get(_place(p))
        if p.kind == "spot" and listed is not None and p.usd_per_device_hour > listed * 1.0001:
            faults.append((position, f"spot {p.usd_per_device_hour:g} is above on-demand {listed:g}"))
        middle = statistics.median(by_device[p.device, p.kind])
        if not middle / PEER_FACTOR <= p.usd_per_device_hour <= middle * PEER_FACTOR:
            faults.append(
                (
                    position,
                    f"{p.usd_per_device_hour:g} is more than {PEER_FACTOR:g} times away "
                    f"from the median {middle:g} for {p.device} {p.kind}",
                )
            )
    return faults


def check_prices(prices: Sequence[tuple[str, Price]], peers: Sequence[Price] = ()) -> None:
    """Raise BadValue, naming where, for the first price that contradicts the others."""
    for position, fault in faults_together([p for _, p in prices], peers):
        where, price = prices[position]
        raise BadValue(f"{where}: {price.provider} {price.region} {price.device}: {fault}", "prices")


def _place(price: Price) -> tuple[str, str, str, str]:
    return price.provider, price.region, price.instance, price.device


def by_provider(prices: Sequence[Price]) -> list[float]:
    """A device-hour's price in dollars at each provider: the median of what it lists, so that each counts once.

    However many regions a provider names, it is one offer among those of the others.
    """
    names = sorted({p.provider for p in prices})
    return [statistics.median(p.usd_per_device_hour for p in prices if p.provider == name) for name in names]
