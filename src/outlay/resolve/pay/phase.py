"""The `pay` section → the work to be paid for, what providers ask for it, and what else owning and renting takes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date as Date
from typing import Any

from msgspec import Struct

from outlay.catalog import Catalog
from outlay.catalog.prices import STALE_DAYS
from outlay.catalog.token_prices import Offer, TokenPrice, find_offers, offers_of
from outlay.derive import Quantity, derive
from outlay.errors import BadValue, Inconsistent, OutlayError
from outlay.readers.requests_file import RequestLengths, read_requests
from outlay.resolve.calendar import Defaults
from outlay.resolve.fleet import given as given_number
from outlay.scenario import Scenario, Workload
from outlay.scenario_io import to_plain
from outlay.scenario_pay import Pay, PayPeople
from outlay.valuation.energy import YEAR_S

MONTH_S = YEAR_S / 12
WAYS = ("api", "rent", "own")
SINGLE = ("input", "output", "reasoning", "cached", "cache_written")


class Work(Struct, frozen=True, eq=False):
    """What is paid for in a month: requests, and the lengths they have (one of them, or one a row of a file)."""

    requests_per_month: Quantity
    lengths: RequestLengths

    @property
    def input(self) -> float:
        return float(self.lengths.input.mean())

    @property
    def output(self) -> float:
        return float(self.lengths.output.mean())

    @property
    def cached_share(self) -> float:
        return float(self.lengths.cached.sum() / max(float(self.lengths.input.sum()), 1.0))


class PayPhase(Struct, frozen=True):
    """Everything the ways to pay are compared with, each input known."""

    ways: tuple[str, ...]
    work: Work | None  # None: only phases of training are paid for
    offers: tuple[Offer, ...]
    named: bool  # the offers were asked for by name; else they sell the same model
    can_wait: bool
    peak: Quantity
    load: Quantity
    people: dict[str, Quantity]  # full-time equivalents by way
    usd_per_person_s: Quantity
    interruptions_per_s: Quantity
    restart_s: Quantity
    date: str
    shown: dict[str, Any]
    notes: list[str]


def resolve_pay(scenario: Scenario, catalog: Catalog, defaults: Defaults, model_id: str,
                prices: tuple[TokenPrice, ...] | None = None, day: str | None = None) -> PayPhase:
    """The section with every default told; `prices` replaces the snapshot (live ones), `day` its date.

    Raises OutlayError naming the field.
    """
    given = scenario.pay or Pay()
    shown: dict[str, Any] = to_plain(given)
    on = _day(given, catalog, day)
    shown["date"] = on
    work = _work(given, scenario, shown, defaults)
    notes: list[str] = []
    ways = tuple(given.ways or WAYS)
    own = scenario.model is not None  # else nothing could run on machines, and nothing need be assumed of them
    offers: tuple[Offer, ...] = ()
    if "api" in ways and work is not None:
        offers = _offers(given, model_id, on, prices, notes, own)
    if prices is not None:
        notes.append(f"Token prices were fetched on {on}; the list does not say when each was last compared with its "
                     "provider's page")
    people = given.people or PayPeople()
    asked = defaults if work is not None and own else _quiet(defaults)
    return PayPhase(
        ways=ways, work=work, offers=offers, named=given.api is not None, can_wait=bool(given.can_wait),
        peak=_number(given.peak, "pay.peak", "pay.peak", "busiest hour over the mean", asked),
        load=_number(given.load, "pay.load", "pay.load", "load in the busiest hour", asked),
        people={way: _people(people, way, defaults) for way in _peopled(ways if own else ("api",), scenario, work)},
        usd_per_person_s=_person(people, defaults),
        interruptions_per_s=derive(_per_second, "interruptions per second", "1/s", per_hour=_number(
            given.spot_interruptions_per_hour, "rent.spot_interruptions_per_hour", "pay.spot_interruptions_per_hour",
            "interruptions of spare capacity", defaults if "rent" in ways and own else _quiet(defaults))),
        restart_s=_quiet(defaults).quantity("goodput.restart_s"), date=on, shown=shown, notes=notes)


def _peopled(ways: tuple[str, ...], scenario: Scenario, work: Work | None) -> tuple[str, ...]:
    trains = scenario.pretrain is not None or scenario.finetune is not None
    return (*(ways if work is not None else ()), *(("train",) if trains else ()))


def _people(given: PayPeople, way: str, defaults: Defaults) -> Quantity:
    """Full-time equivalents of a way; owners have the people that renters have, and more."""
    own = getattr(given, way)
    if own is not None or way != "own":
        return _number(own, f"people.{way}_fte", f"pay.people.{way}", f"how many people, {way}", defaults)
    renting = _number(given.rent, "people.rent_fte", "pay.people.rent", "how many people, rent", _quiet(defaults))
    more = _quiet(defaults).quantity("people.own_extra_fte")
    both: Quantity = derive(_sum, "people, own", "", renting=renting, more=more)
    defaults.notes.assume("pay.people.own", both.value, f"people as in renting, and {more.value:g} for the machines "
                          "themselves", more.sources[0] if more.sources else "")
    return both


def _sum(renting: Any, more: Any) -> Any:
    """One and the other."""
    return renting + more


def _quiet(defaults: Defaults) -> Defaults:
    from outlay.resolve.notes import Notes

    return Defaults(defaults.catalog, Notes(), defaults.seed)


def _number(own: float | None, default: str, field: str, label: str, defaults: Defaults) -> Quantity:
    if own is not None:
        return given_number(float(own), "", label)
    return defaults.quantity(default, field).named(label)


def _person(people: PayPeople, defaults: Defaults) -> Quantity:
    yearly = _number(people.usd_per_year, "people.usd_per_year", "pay.people.usd_per_year", "a person a year", defaults)
    found: Quantity = derive(_per_year, "a person's second", "USD/s", per_year=yearly)
    return found


def _per_year(per_year: Any) -> Any:
    """A year's worth over its seconds."""
    return per_year / YEAR_S


def _per_second(per_hour: Any) -> Any:
    """A rate per hour as one per second."""
    return per_hour / 3600.0


# ---------------------------------------------------------------- when

def _day(given: Pay, catalog: Catalog, day: str | None) -> str:
    """The day whose prices hold: given, else the catalogue's own; never after today."""
    text = given.date
    if text is None:
        return day or catalog.date
    if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
        raise BadValue(f"pay.date: {text!r} is not a date such as {catalog.date}", "pay.date")
    try:
        found = Date.fromisoformat(text)
    except ValueError:
        raise BadValue(f"pay.date: {text!r} is not a day of the calendar", "pay.date") from None
    latest = max(Date.fromisoformat(catalog.date), Date.today())
    if found > latest:
        raise BadValue(f"pay.date: {text} is in the future, and prices of the future are not known; at most {latest}",
                       "pay.date")
    return text


# ---------------------------------------------------------------- how much

def _work(given: Pay, scenario: Scenario, shown: dict[str, Any], defaults: Defaults) -> Work | None:
    """The month's requests; from the serving phase's own workload where `pay` does not say."""
    import numpy as np

    served = scenario.serve.workload if scenario.serve is not None else None
    count = given.requests_per_month
    if count is None and served is not None:
        count = _served(given, served, defaults)
    if count is None:
        trains = scenario.pretrain is not None or scenario.finetune is not None
        if trains and all(getattr(given, name) is None for name in (*SINGLE, "requests_file")):
            return None
        raise BadValue("pay.requests_per_month: how many requests in a month? for example 3M", "pay.requests_per_month")
    requests = given_number(float(count), "requests", "requests a month")
    if given.requests_file is not None:
        twice = [name for name in SINGLE if getattr(given, name) is not None]
        if twice:
            raise Inconsistent(f"pay.{twice[0]}: pay.requests_file already says how long requests are; give one of "
                               "them", f"pay.{twice[0]}")
        return Work(requests, read_requests(given.requests_file, "pay.requests_file"))
    prompt, answer = _length(given, served, "input"), _length(given, served, "output")
    cached, written = given.cached or 0.0, given.cache_written or 0.0
    if cached + written > 1.0:
        raise Inconsistent(f"pay.cache_written: {written:g} written and {cached:g} read are more than the whole input",
                           "pay.cache_written")
    shown |= {"requests_per_month": count, "input": prompt, "output": answer}
    return Work(requests, RequestLengths(np.array([prompt]), np.array([cached * prompt]), np.array([written * prompt]),
                                         np.array([answer + (given.reasoning or 0.0)])))


def _served(given: Pay, served: Workload, defaults: Defaults) -> float | None:
    """A month's requests from a rate, or from the users of the busiest hour; None where the workload has neither."""
    if served.rate not in (None, float("inf")):
        assert served.rate is not None
        defaults.notes.assume("pay.requests_per_month", float(served.rate) * MONTH_S,
                              "the rate of serve.workload, a month of it")
        return float(served.rate) * MONTH_S
    if served.users is None:
        return None
    quiet = _quiet(defaults)
    each = served.requests_per_user_hour or quiet.quantity("serve.requests_per_user_hour").value
    peak = given.peak or quiet.quantity("pay.peak").value
    count = float(served.users) * each * MONTH_S / 3600.0 / peak
    defaults.notes.assume("pay.requests_per_month", count, f"{served.users:,.0f} users who each send {each:g} requests "
                          f"in the busiest hour, which has {peak:g} times the mean")
    return count


def _length(given: Pay, served: Any, name: str) -> float:
    own = getattr(given, name)
    if own is None and served is not None:
        length = getattr(served, name)
        own = length.get("mean") if isinstance(length, dict) else length
    if own is None:
        raise BadValue(f"pay.{name}: how many tokens of {name} has a request? a token is about three quarters of a "
                       f"word; for example {1200 if name == 'input' else 250}", f"pay.{name}")
    return float(own)


# ---------------------------------------------------------------- what providers ask

def _offers(given: Pay, model_id: str, day: str, prices: tuple[TokenPrice, ...] | None,
            notes: list[str], own: bool) -> tuple[Offer, ...]:
    """Named offers, or all those of the same model."""
    if given.api is not None:
        found: list[Offer] = []
        for i, name in enumerate(given.api):
            found += [o for o in find_offers(name, day, f"pay.api[{i}]", prices) if o not in found]
        return tuple(found)
    if not model_id and own:
        notes.append("No provider is compared: the model is not one the catalogue names; name one, such as "
                     "--api openai/gpt-5-mini")
        return ()
    if not model_id:
        raise BadValue("pay.api: name a provider's model, for example openai/gpt-5-mini; or name a model whose prices "
                       "to look for", "pay.api")
    same = offers_of(model_id, day, prices)
    if not same:
        notes.append(f"No provider in the price list sells {model_id}: name one to compare with, such as "
                     "--api openai/gpt-5-mini")
    return tuple(same)


def old_prices(offers: Sequence[tuple[str, Offer]], day: str) -> list[str]:
    """What to say of named offers whose prices are old or of unknown age."""
    ages = [(name.removeprefix("API, "), o.first.as_of, price_age_days(o.first.as_of, day)) for name, o in offers]
    unknown = [name for name, _, age in ages if age is None]
    said = [f"price of {name}: last checked {as_of}, {age} days before {day}; look it up"
            for name, as_of, age in ages if age is not None and age > STALE_DAYS]
    if unknown:
        said.append(f"prices of {', '.join(unknown)}: the list does not say when they were last checked; look them up")
    return said


def price_age_days(as_of: str, day: str) -> int | None:
    """Days between a price's date and a day; None when the date is not known."""
    try:
        return (Date.fromisoformat(day) - Date.fromisoformat(as_of)).days
    except ValueError:
        return None


def known_model(scenario: Scenario, catalog: Catalog) -> str:
    """The catalogue's id of the scenario's model, "" for one of the user's own."""
    name = scenario.model if isinstance(scenario.model, str) else getattr(scenario.model, "name", None)
    if not name:
        return ""
    try:
        return catalog.find("model", name, "model").id
    except OutlayError:
        return ""
