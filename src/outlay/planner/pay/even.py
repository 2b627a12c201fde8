"""Where one way to pay becomes cheaper than another: in tokens a month, in use of the machines, in months."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from outlay.derive import Quantity, add_all, derive, exact
from outlay.planner.pay.self_hosted import Machines
from outlay.resolve.pay.phase import MONTH_S, PayPhase, Work
from outlay.valuation import money, ways
from outlay.valuation.ways import MTOK

TINY_USD = 1e-200  # what is free is never beaten
USES = (0.05, 0.1, 0.25, 0.5, 0.75, 1.0)
VOLUMES = (0.1, 1.0, 10.0, 100.0)
RUNNING = ("building", "electricity", "upkeep", "people")


def crossing(quantity: Quantity) -> dict[str, Any]:
    """A break-even point with its interval; null where it is never reached, and how likely it is reached."""
    import numpy as np

    drawn = np.array([quantity.value]) if quantity.samples is None else quantity.samples
    likely = float(np.isfinite(drawn).mean())
    ordered = np.sort(np.append(drawn, quantity.value))
    low, high = (float(ordered[round(q * (len(ordered) - 1))]) for q in (0.1, 0.9))

    def shown(value: float) -> float | None:
        return value if np.isfinite(value) else None

    value = shown(quantity.value)
    if value is not None:
        low, high = min(low, value), max(high, value)
    return {"value": value, "low": shown(low), "high": shown(high), "unit": quantity.unit, "probability": likely}


def volume(phase: PayPhase, api: Mapping[str, Any], own: Mapping[str, Any], machines: Machines) -> dict[str, Any]:
    """Tokens a month from which machines cost no more than the provider."""
    work = phase.work
    assert work is not None
    price = derive(_over, "a request at the provider, without people", "USD", whole=_without(api, ("people",)),
                   parts=work.requests_per_month)
    fixed = derive(_difference, "people beyond those of the provider's way", "USD", a=_part(own, "people"),
                   b=_part(api, "people"))
    unit = derive(_over, "a machine's month", "USD", whole=_without(own, ("people",)), parts=machines.units)
    carried = derive(_carried, "requests a machine carries a month", "requests", rate=machines.unit_rate,
                     load=phase.load, peak=phase.peak)
    requests = derive(ways.break_even_volume, "break-even requests a month", "requests", price_usd=price,
                      fixed_usd=fixed, unit_usd=unit, unit_capacity=carried)
    tokens = derive(_times, "break-even tokens a month", "tokens", a=requests, b=work.input + work.output)
    return {"requests_per_month": crossing(requests), "tokens_per_month": crossing(tokens)}


def use_of_machines(own: Mapping[str, Any], other: Mapping[str, Any], other_usd_when_full: Quantity) -> dict[str, Any]:
    """Part of the machines' time in use from which owning them costs no more than paying for that time elsewhere.

    The people that the other way needs are paid there too, however little it is used.
    """
    beyond = derive(_difference, "owning beyond the other way's people", "USD", a=_whole(own), b=_part(other, "people"))
    share = derive(_use, "break-even use", "", owned_usd=beyond, other_usd=other_usd_when_full)
    return crossing(share)


def _use(owned_usd: Any, other_usd: Any) -> Any:
    """Use of the machines above which owning is cheaper; never where even always busy ones are dearer."""
    import numpy as np

    share = money.break_even_utilization(owned_usd, np.maximum(other_usd, TINY_USD))
    return np.where(np.greater(share, 1.0), np.inf, np.maximum(share, 0.0))


def payback(own: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Months until the machines have paid for themselves against another way; resale and interest left out."""
    running = add_all("running costs of owned machines", "USD", *(_part(own, p) for p in RUNNING))
    months = derive(ways.payback_months, "months until paid back", "months", upfront_usd=own["upfront_usd"],
                    running_usd=running, other_usd=_whole(other))
    return crossing(months)


def full_api_usd(api: Mapping[str, Any], machines: Machines, work: Work) -> Quantity:
    """What a month of everything the machines could do would cost at the provider."""
    each = derive(_over, "a request at the provider", "USD", whole=_without(api, ("people",)),
                  parts=work.requests_per_month)
    could = derive(_could, "requests they could do in a month", "requests", rate=machines.unit_rate,
                   units=machines.units)
    cost: Quantity = derive(_times, "all of it at the provider", "USD", a=each, b=could)
    return cost


def full_rent_usd(rates: Any, machines: Machines) -> Quantity:
    """What renting as many devices for every hour of a month costs, by the hour."""
    cost: Quantity = derive(_rented, "every hour rented", "USD", usd_per_device_s=rates.usd_per_device_s,
                            devices=machines.devices)
    return cost


def by_use(found: Sequence[tuple[str, Mapping[str, Any], Machines]], work: Work) -> list[dict[str, Any]]:
    """USD of a million tokens by how much of their time the machines work, the machines and people as they are."""
    rows = []
    for use in USES:
        row: dict[str, Any] = {"use": use}
        for name, way, machines in found:
            could = derive(_could, "requests they could do in a month", "requests", rate=machines.unit_rate,
                           units=machines.units)
            row[name] = derive(_at_use, f"a million tokens at {use:.0%} use", "USD", usd=_whole(way), could=could,
                               use=use, tokens=work.input + work.output)
        rows.append(row)
    return rows


def by_volume(phase: PayPhase, ways_: Sequence[tuple[str, Mapping[str, Any], Machines | None]]) -> list[dict[str, Any]]:
    """A month at other numbers of requests: whole machines as they are needed, people as they are."""
    work = phase.work
    assert work is not None
    rows = []
    for times in VOLUMES:
        row: dict[str, Any] = {"times": times, "requests_per_month": times * work.requests_per_month.value}
        for name, way, machines in ways_:
            paid, people = _without(way, ("people",)), _part(way, "people")
            if machines is None:
                row[name] = derive(_scaled, f"a month at {times:g} times the requests", "USD", usd=paid, times=times,
                                   people_usd=people)
                continue
            row[name] = derive(_machines_at, f"a month at {times:g} times the requests", "USD", usd=paid,
                               units=machines.units, times=times, requests=work.requests_per_month, peak=phase.peak,
                               unit_rate=machines.unit_rate, load=phase.load, people_usd=people)
        rows.append(row)
    return rows


def _scaled(usd: Any, times: Any, people_usd: Any) -> Any:
    """What is paid by use grows with it; people do not."""
    return usd * times + people_usd


def _machines_at(usd: Any, units: Any, times: Any, requests: Any, peak: Any, unit_rate: Any, load: Any,
                 people_usd: Any) -> Any:
    """As many whole machines as other volumes need, each at what one costs now, and people."""
    needed = ways.units_needed(requests * times / MONTH_S, peak, unit_rate, load)
    return usd / units * needed + people_usd


def _part(way: Mapping[str, Any], name: str) -> Quantity:
    found: Quantity | None = way["parts"].get(name)
    return exact(0.0, "USD", name, basis="derived") if found is None else found


def _whole(way: Mapping[str, Any]) -> Quantity:
    found: Quantity = way["usd"]
    return found


def _without(way: Mapping[str, Any], left_out: Sequence[str]) -> Quantity:
    kept = [q for name, q in way["parts"].items() if name not in left_out]
    total: Quantity = add_all("without " + " and ".join(left_out), "USD", *kept)
    return total


def _over(whole: Any, parts: Any) -> Any:
    """One over the other."""
    return whole / parts


def _times(a: Any, b: Any) -> Any:
    """One times the other."""
    return a * b


def _difference(a: Any, b: Any) -> Any:
    """What one is more than the other."""
    return a - b


def _carried(rate: Any, load: Any, peak: Any) -> Any:
    """Requests in a month whose busiest hour fills a machine to its load."""
    return rate * load / peak * MONTH_S


def _could(rate: Any, units: Any) -> Any:
    """Requests of a month in which all machines are always busy."""
    return rate * units * MONTH_S


def _rented(usd_per_device_s: Any, devices: Any) -> Any:
    """A month of devices by the second."""
    return usd_per_device_s * devices * MONTH_S


def _at_use(usd: Any, could: Any, use: Any, tokens: Any) -> Any:
    """A month's money over the tokens of a part of what could be done."""
    return usd / (could * use * tokens) * MTOK
