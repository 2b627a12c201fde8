"""The `pay` section of a scenario: the same work paid for in different ways."""

from __future__ import annotations

from typing import Annotated, Literal

from outlay.scenario_kinds import Factor, Fraction, Fte, PerMonth, Positive, Record, Share, Usd, number


class PayPeople(Record, frozen=True):
    """People in full-time equivalents, by way to pay, and what one of them costs a year."""

    api: Fte | None = None
    rent: Fte | None = None
    own: Fte | None = None
    train: Fte | None = None
    usd_per_year: Usd | None = None


class PayOwn(Record, frozen=True):
    """What owning machines costs beside buying them; the price, its life and its use are the fleet's."""

    wacc_per_year: Annotated[float, number("fraction", 0, 1)] | None = None
    upkeep_per_year: Fraction | None = None
    spares_share: Fraction | None = None
    resale_share: Fraction | None = None
    server_overhead: Annotated[float, number("count", 1, 10)] | None = None
    network_share: Annotated[float, number("fraction", 0, 0.9)] | None = None
    usd_per_kw_month: Usd | None = None


class Pay(Record, frozen=True):
    """Ways to pay for the same work: requests of one kind a month, and the phases of the scenario beside them."""

    requests_per_month: PerMonth | None = None
    input: Positive | None = None
    output: Positive | None = None
    reasoning: Annotated[float, number("count", 0, 1e9)] | None = None  # hidden tokens a request, paid as output
    cached: Fraction | None = None  # of the input, read from the provider's cache
    cache_written: Fraction | None = None  # of the input, written to it
    requests_file: str | None = None  # one request a row: input, output, cached; priced one by one
    api: list[str] | None = None
    ways: list[Literal["api", "rent", "own"]] | None = None
    providers: list[str] | None = None  # of rented machines
    can_wait: bool | None = None  # a day for an answer: batch prices
    peak: Annotated[float, number("count", 1, 1000)] | None = None
    load: Share | None = None
    date: str | None = None
    spot_interruptions_per_hour: Factor | None = None
    people: PayPeople | None = None
    own: PayOwn | None = None
