"""What a month of requests costs at a provider: every request at its own price, never the month's sum at one."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from outlay.account import account
from outlay.catalog.token_prices import Offer, Rung, TokenPrice
from outlay.derive import Quantity, derive, exact
from outlay.resolve.pay.phase import PayPhase, Work
from outlay.resolve.pay.rates import api_rates
from outlay.usage import Line, Usage
from outlay.valuation.ways import MTOK

PHASE = "pay"
Lengths = Any  # an array of tokens, one a request


def api_lines(phase: PayPhase, offer: Offer, batch: bool = False) -> list[Line]:
    """Lines of a month at one offer: tokens by price, fees, people."""
    assert phase.work is not None
    lines: list[Line] = []
    shares = [(offer.batch, 1.0)] if batch and offer.batch is not None else offer.shares()
    for price, share in shares:
        for rung, above in zip(price.rungs, (*price.rungs[1:], None), strict=True):
            lines += _rung_lines(phase.work, price, share, rung, above)
    return lines + people_lines(phase, "api")


def _rung_lines(work: Work, price: TokenPrice, share: float, rung: Rung, above: Rung | None) -> list[Line]:
    """Requests whose size puts them on one rung of the price list, in the part of the day in which it holds."""
    lengths = work.lengths
    on = (lengths.input > rung.above) | (rung.above == 0.0)
    if above is not None:
        on = on & (lengths.input <= above.above)
    if not on.any():
        return []
    basis = f"{price.name}, {price.as_of or 'date of the list unknown'}"
    cached = rung.input if rung.cached is None else rung.cached
    written = rung.input if rung.cache_write is None else rung.cache_write
    fresh = lengths.input - lengths.cached - lengths.written
    size = f", above {rung.above:,.0f}" if rung.above else ""
    hours = "" if price.hours_utc is None else ", {:g}-{:g} h UTC".format(*price.hours_utc)
    parts = (
        ("input", "tokens_in", fresh, rung.input), ("cached input", "tokens_cached", lengths.cached, cached),
        ("cache writes", "tokens_in", lengths.written, written), ("output", "tokens_out", lengths.output, rung.output),
    )
    lines = []
    for item, resource, tokens, usd_per_mtok in parts:
        mean = float((tokens * on).mean()) * share
        if mean > 0:
            unit = exact(usd_per_mtok / MTOK, "USD/token", f"{item} price", f"{basis}; {price.source}")
            lines += _bought(work, item, size + hours, resource, mean, "tokens", unit, basis)
    if price.usd_per_request:
        fee = exact(price.usd_per_request, "USD", "fee a request", f"{basis}; {price.source}")
        lines += _bought(work, "fees", size + hours, "requests", float(on.mean()) * share, "requests", fee, basis)
    return lines


def _bought(work: Work, item: str, suffix: str, resource: Any, each: float, unit: str, price: Quantity,
            basis: str) -> list[Line]:
    amount = derive(_times, f"{item} a month", unit, requests=work.requests_per_month, each=each)
    name = f"{item}{suffix}"
    usage = Usage(f"{PHASE}.{name}.{resource}", PHASE, name, resource, "facility", amount, unit, tags={"part": item})
    return account([usage], api_rates({resource: price}, basis))


def _times(requests: Any, each: Any) -> Any:
    """Requests times what each of them takes."""
    return requests * each


def people_lines(phase: PayPhase, way: str) -> list[Line]:
    """The people a way needs, a month of them."""
    from outlay.resolve.pay.phase import MONTH_S

    held = derive(_person_time, f"people, {way}", "s", full_time=phase.people[way], month_s=MONTH_S)
    usage = Usage(f"{PHASE}.people.person_s", PHASE, "people", "person_s", "facility", held, "s", basis="assumed",
                  tags={"part": "people"})
    basis = "wage with benefits and taxes"
    return account([usage], api_rates({"person_s": phase.usd_per_person_s}, basis))


def _person_time(full_time: Any, month_s: Any) -> Any:
    """Full-time equivalents times the month."""
    return full_time * month_s


def tagged(lines: list[Line], way: str) -> list[Line]:
    """Lines that say which way of paying they belong to."""
    return [replace(x, usage=replace(x.usage, tags={**x.usage.tags, "way": way})) for x in lines]
