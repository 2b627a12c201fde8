"""Where a piece of work is cheapest: candidate fleets from the catalogue, each tried by a real plan."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from statistics import median
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from outlay.catalog import Catalog
from outlay.derive import Quantity, add_all
from outlay.errors import OutlayError
from outlay.resolve.fleet import DESKTOP
from outlay.resolve.pay.fleet import rentable
from outlay.result import Result
from outlay.units import split_fleet

BEST_DEVICES = 3  # of the rentable ones, by price of a FLOP
MOST_DEVICES = 65536
ROOM = 0.95  # of the devices' memory that a plan may be hoped to use
OPTIMISTIC, USUAL = 0.75, 0.35  # utilisation that no plan exceeds, and one to start a search from
TRIES = 2  # fleets of one device that are planned until one fits and is in time
FAR = 3.0  # devices whose least money is so many times the best one's are not planned
STEP = 4  # the second is so many times the first
NODE = 8  # devices of a desktop kind in one fleet at most: nothing joins more of them
WORK = ("finetune", "pretrain", "serve")

Planner = Callable[[Mapping[str, Any]], Result]


class Offer(Struct, frozen=True):
    """A device that can be had, with what one of them costs and does."""

    device: str
    memory_bytes: float
    flop_per_s: float
    usd_per_hour: float | None
    most: int  # devices of one fleet


class Answer(Struct, frozen=True):
    """A plan that runs: the fleet, what it takes, and the result it was read from."""

    fleet: str
    usd: Quantity
    elapsed_s: Quantity
    result: Result


def offers(catalog: Catalog, fleet: str | None, budget: float = math.inf) -> list[Offer]:
    """The named fleet, or the rentable devices whose FLOP cost least, no more of them than the money rents for a while.

    Above one node machines are not had by the minute: default `afford.least_rental_hours`.
    """
    if fleet is not None:
        count, name = split_fleet(fleet)
        match = catalog.find_device(name, "fleet")
        return [_offer(catalog, match.entry.id, count * (match.devices or 1))]
    found = [_offer(catalog, device, MOST_DEVICES) for _, device in sorted(rentable(catalog), key=lambda one: one[1])]
    priced = [o for o in found if o.usd_per_hour and o.flop_per_s]
    least_hours = float(catalog.find("default", "afford.least_rental_hours").value("value"))
    chosen = sorted(priced, key=lambda o: (o.usd_per_hour or math.inf) / o.flop_per_s)[:BEST_DEVICES]
    return [_within(offer, budget, least_hours) for offer in chosen]


def _within(offer: Offer, budget: float, least_hours: float) -> Offer:
    assert offer.usd_per_hour is not None
    held = budget / (offer.usd_per_hour * least_hours)
    return replace(offer, most=min(offer.most, NODE if held < NODE else int(min(held, MOST_DEVICES))))


def remembered(planner: Planner) -> Planner:
    """A planner that plans the same scenario once."""
    known: dict[str, Result | OutlayError] = {}

    def plan(document: Mapping[str, Any]) -> Result:
        key = json.dumps(document, sort_keys=True, default=str)
        if key not in known:
            try:
                known[key] = planner(document)
            except OutlayError as error:
                known[key] = error
        found = known[key]
        if isinstance(found, OutlayError):
            raise found
        return found

    return plan


def _offer(catalog: Catalog, device: str, most: int) -> Offer:
    entry = catalog.find("device", device)
    rents = [p.usd_per_device_hour for p in catalog.prices(device=device, kind="on_demand")]
    desktop = str(entry.value("class", "")) in DESKTOP
    return Offer(device, float(entry.value("memory_bytes", 0.0)), float(entry.value("peak_bf16_flop_per_s", 0.0)),
                 median(rents) if rents else None, NODE if desktop and most == MOST_DEVICES else most)


def counts(offer: Offer) -> Iterator[int]:
    """Fleet sizes worth trying: doubling from one, and the whole of a named fleet."""
    size = 1
    while size < offer.most:
        yield size
        size *= 2
    yield offer.most if offer.most <= NODE else offer.most // NODE * NODE


class Work(Struct, frozen=True):
    """A piece of work to place: its scenario without a fleet, the memory it takes, least FLOP, longest time.

    least_bytes: no plan takes less; usual_bytes: what one takes as a rule, to start a search from.
    """

    document: Mapping[str, Any]
    least_bytes: float
    usual_bytes: float
    least_flop: float
    deadline_s: float

    def smallest(self, offer: Offer, utilization: float, needed_bytes: float) -> int | None:
        """The fewest devices that may hold it and be in time; None when there are never enough."""
        for count in counts(offer):
            held = count * offer.memory_bytes * ROOM >= needed_bytes
            if held and self.least_flop <= count * offer.flop_per_s * utilization * self.deadline_s:
                return count
        return None

    def least_usd(self, offer: Offer) -> float:
        """Money below which no plan on this device comes; infinite when it cannot be held or be in time."""
        if self.smallest(offer, OPTIMISTIC, self.least_bytes) is None or offer.usd_per_hour is None:
            return math.inf
        return self.least_flop / (offer.flop_per_s * OPTIMISTIC) / 3600.0 * offer.usd_per_hour


def cheapest(work: Work, candidates: list[Offer], planner: Planner, budget: float = math.inf,
             first: bool = False) -> Answer | None:
    """The plan of least money that fits and is in time, over the candidate devices; None when none is.

    first: any plan within the money will do, so the search ends with it.
    """
    best: Answer | None = None
    least = min(map(work.least_usd, candidates), default=math.inf)
    for offer in sorted(candidates, key=work.least_usd):
        if work.least_usd(offer) > FAR * least:
            break
        limit = budget if best is None else min(budget, best.usd.value)
        if work.least_usd(offer) > limit:
            break
        found = _on(work, offer, planner, limit)
        if found is not None and found.usd.value <= limit:
            best = found
            if first:
                break
    return best


def _on(work: Work, offer: Offer, planner: Planner, limit: float) -> Answer | None:
    """The smallest fleet of one device on which the plan fits and is in time; more devices are no cheaper."""
    count = work.smallest(offer, USUAL, work.usual_bytes) or work.smallest(offer, OPTIMISTIC, work.least_bytes)
    for _ in range(TRIES):
        if count is None:
            return None
        found, usd = planned(work.document, f"{count}x{offer.device}", planner)
        if found is not None and found.elapsed_s.value <= work.deadline_s:
            return found
        if usd is not None and usd > limit:
            return None
        count = next((c for c in counts(offer) if c >= STEP * count), offer.most if count < offer.most else None)
    return None


def planned(document: Mapping[str, Any], fleet: str, planner: Planner) -> tuple[Answer | None, float | None]:
    """The plan on one fleet, or None where it does not fit, has no price or cannot be laid out there; its money."""
    try:
        result = planner({**document, "fleet": fleet})
    except OutlayError as error:
        if error.field.startswith((*WORK, "fleet.devices")):
            return None, None
        raise
    usd = result.totals.get("usd")
    times = [p.get("elapsed_s") or p.get("duration_s") for p in result.phases.values()]
    known = [t for t in times if t is not None]
    if usd is None or not known:
        return None, None
    if any(p.get("fits") is False for p in result.phases.values()):
        return None, float(usd.value)
    return Answer(fleet, usd, add_all("time", "s", Quantity(0.0, "s", "start"), *known), result), float(usd.value)
