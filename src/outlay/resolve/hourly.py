"""A load by the hour, and how a deployment follows it: what each hour asks, how it scales, what a start takes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from outlay.account_rates import Rates
from outlay.derive import Quantity, derive
from outlay.errors import BadValue, Inconsistent, suggestion
from outlay.readers.hourly_file import read_hourly
from outlay.resolve.calendar import Defaults
from outlay.resolve.fleet import DeviceFacts
from outlay.resolve.fleet import given as given_number
from outlay.resolve.notes import Notes
from outlay.resolve.rates import commitment_share, resolve_rates
from outlay.resolve.site import SiteInputs
from outlay.scenario import Fleet, Serve

FIELD = "serve.workload.hourly"
SCALING, START = "serve.scaling", "serve.cold_start"
PERIODS = {24: "a day", 168: "a week", 8760: "a year"}
FOLLOWS = ("users", "rate", "concurrency")
HOUR_S = 3600.0
MOST = 1e12
YEARS_S = {"1y": 0.999 * 8760 * HOUR_S, "3y": 0.999 * 3 * 8760 * HOUR_S}  # service that a commitment is bought for


class Hourly(Struct, frozen=True):
    """What each hour of a cycle asks, over the busiest; how the deployment follows it (fixed | autoscale | mixed).

    start_s: until a replica that is started answers, where it was given; else from the two facts beside it.
    """

    name: str
    loads: tuple[float, ...]
    scaling: str
    start_s: Quantity | None
    start_engine_s: Quantity
    start_bytes_per_s: Quantity

    @property
    def mean(self) -> float:
        return sum(self.loads) / len(self.loads)


class Tenures(Struct, frozen=True, eq=False):
    """Rates of devices held for an hour (None where no price of that is known) and of those held for years."""

    by_hour: Rates | None
    reserved: Mapping[str, Rates]
    owned: bool = False


def resolve_hourly(given: Serve, kind: str, defaults: Defaults) -> Hourly | None:
    """The load by the hour, or None where one load holds all the time.

    Raises Inconsistent where nothing varies by the hour. What follows a load without it: `resolve.serve.replay`.
    """
    told = given.workload.hourly if given.workload is not None else None
    if told is None:
        return None
    if kind not in FOLLOWS or (given.workload is not None and given.workload.rate == math.inf):
        raise Inconsistent(f"{FIELD}: needs the load of the busiest hour: serve.workload.users, rate or concurrency",
                           FIELD)
    name, loads = _loads(told, defaults)
    top = max(loads)
    shares = tuple(load / top for load in loads)
    scaling = given.scaling or "fixed"
    if given.scaling is None:
        defaults.notes.assume(SCALING, scaling, "all replicas stand all the time; autoscale and mixed are shown beside")
    if given.cold_start is not None and given.cold_start > HOUR_S:
        raise BadValue(f"{START}: {given.cold_start:g} s is more than an hour, and loads are known by the hour", START)
    quiet = given.cold_start is not None
    start = given_number(given.cold_start, "s", "start of a replica") if given.cold_start is not None else None
    return Hourly(name, shares, scaling, start,
                  defaults.quantity("serve.start_engine_s", "" if quiet else "start of an engine"),
                  defaults.quantity("serve.start_bytes_per_s", "" if quiet else "loading of weights"))


def _loads(told: Any, defaults: Defaults) -> tuple[str, list[float]]:
    """Loads as they were given, checked, and what they are called."""
    name, loads = f"{len(told)} loads" if isinstance(told, (list, tuple)) else str(told), told
    if isinstance(told, str):
        if any(mark in told for mark in ("/", "\\", ".")):
            loads = read_hourly(told, FIELD)
            name = "a file of loads"
        else:
            entry = defaults.catalog.find("load_shape", told, FIELD)
            fact = entry.fact("loads")
            name, loads = entry.id, [float(x) for x in str(fact.value).split("|")]
            defaults.notes.assume(FIELD, entry.id, fact.note, fact.source)
    if not isinstance(loads, (list, tuple)):
        shapes = defaults.catalog.ids("load_shape")
        raise BadValue(f"{FIELD}: expected 24, 168 or 8760 loads, a CSV file of them or one of {', '.join(shapes)}"
                       f"{suggestion(str(told), shapes)}", FIELD)
    for place, load in enumerate(loads):
        if isinstance(load, bool) or not isinstance(load, (int, float)) or not 0 <= load <= MOST:
            raise BadValue(f"{FIELD}[{place}]: {load!r} must be a load of 0 or more", f"{FIELD}[{place}]")
    if len(loads) not in PERIODS:
        raise BadValue(f"{FIELD}: {len(loads)} loads; give 24 (a day), 168 (a week) or 8760 (a year)", FIELD)
    if max(loads) <= 0:
        raise BadValue(f"{FIELD}: every load is 0; the busiest hour must ask something", FIELD)
    return name, [float(load) for load in loads]


def resolve_tenures(fleet: Fleet, facts: DeviceFacts, site: SiteInputs, per_node: int, rates: Rates, scaling: str,
                    defaults: Defaults) -> Tenures:
    """Prices that a load by the hour can be followed at.

    Raises Inconsistent where devices that are paid for all the time are to be scaled.
    """
    committed = fleet.commitment if fleet.commitment in ("1y", "3y") else None
    if scaling == "autoscale" or (rates.owned is not None and scaling != "fixed"):
        only_by_the_hour(fleet, rates, SCALING, "mixed, or ")
    if rates.owned is not None:
        return Tenures(None, {}, owned=True)

    def at(commitment: str) -> Rates | None:
        own = replace(fleet, commitment=commitment)
        found, _ = resolve_rates(own, facts, site, per_node, Defaults(defaults.catalog, Notes(), defaults.seed))
        return found if found.usd_per_device_s is not None else None

    wanted = (committed,) if committed else ("1y", "3y")
    if fleet.usd_per_device_hour is not None:  # one price is known, and what providers take off for a commitment
        if committed:
            return Tenures(None, {committed: rates})
        return Tenures(rates, {c: _taken_off(rates, fleet, c, defaults) for c in wanted})
    kept = {c: found for c in wanted if (found := at(c)) is not None}
    return Tenures(at("on_demand") if committed else rates, kept)


def only_by_the_hour(fleet: Fleet, rates: Rates | None, field: str, other: str = "") -> None:
    """Raises Inconsistent where devices that are to come and go are paid for all the time. other: what may be given."""
    if rates is not None and rates.owned is not None:
        raise Inconsistent(f"{field}: owned devices are paid for whether they run or not; leave it out, or rent", field)
    if fleet.commitment in ("1y", "3y"):
        raise Inconsistent(f"{field}: fleet.commitment {fleet.commitment} is paid for all the time; give {other}"
                           "fleet.commitment on_demand", field)


def _taken_off(rates: Rates, fleet: Fleet, commitment: str, defaults: Defaults) -> Rates:
    share = commitment_share(commitment, fleet.provider or "", defaults)
    price = derive(_reserved, f"rent per device-second, {commitment}", "USD/s", by_hour=rates.usd_per_device_s,
                   share=share)
    return replace(rates, usd_per_device_s=price, price_basis=f"{commitment}, {rates.price_basis}")


def _reserved(by_hour: Any, share: Any) -> Any:
    """The price by the hour times the share of it that a commitment pays."""
    return by_hour * share
