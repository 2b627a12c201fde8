"""Ways to pay for the same work, side by side: a provider's tokens, rented machines, machines of one's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from outlay.catalog import Catalog
from outlay.catalog.token_prices import Offer, TokenPrice
from outlay.derive import value_of
from outlay.errors import BadValue, OutlayError
from outlay.planner.books import in_currency
from outlay.planner.pay.api import api_lines
from outlay.planner.pay.capacity import Capacity, capacity, quick_capacity
from outlay.planner.pay.even import by_use, by_volume, full_api_usd, full_rent_usd, payback, use_of_machines, volume
from outlay.planner.pay.self_hosted import Machines, machine_lines, machines_for, upfront_usd
from outlay.planner.pay.way import way_values
from outlay.resolve.calendar import Defaults
from outlay.resolve.notes import Notes
from outlay.resolve.pay.fleet import PaidFleet, most_flop_per_s, paid_fleet, rentable
from outlay.resolve.pay.phase import MONTH_S, PayPhase, known_model, old_prices, resolve_pay
from outlay.resolve.pay.rates import YEARS, Tenure
from outlay.resolve.record import Resolved
from outlay.scenario import Scenario
from outlay.usage import Line

OFFERS_SHOWN = 6
PHASES = ("serve", "pretrain", "finetune")
QUALITY = ("The same amount of work is compared, not the same quality: models, precisions and providers answer "
           "differently; try yours before deciding")
LEFT_OUT = "Not counted: taxes, support contracts, moving data in and out, setting up, and switching later"


def plan_pay(scenario: Scenario, catalog: Catalog, resolved: Resolved, phases: Mapping[str, dict[str, Any]],
             lines: Sequence[Line], without: str = "", prices: tuple[TokenPrice, ...] | None = None,
             day: str | None = None) -> dict[str, Any]:
    """Ways to pay for a month of serving, and for each phase of training the scenario has.

    prices, day: live prices of tokens and their date, in place of the snapshot.
    """
    defaults = Defaults(catalog, resolved.notes, resolved.seed)
    phase = resolve_pay(scenario, catalog, defaults, known_model(scenario, catalog), prices, day)
    resolved.scenario["pay"] = phase.shown
    found: dict[str, Any] = {"date": phase.date, "quality": QUALITY, "left_out": LEFT_OUT}
    if phase.work is not None:
        found["serve"] = _serving(scenario, phase, catalog, resolved, defaults, without)
    for name in ("pretrain", "finetune"):
        if name in phases:
            found[name] = _training(name, scenario, phase, catalog, resolved, phases[name], lines, defaults)
    return found


def settle(pay: dict[str, Any], resolved: Resolved, alone: bool) -> list[Line]:
    """Whether a way is left and the cheapest is within the budget; its lines, where nothing else is planned.

    alone: no other phase is, so that a budget is one of a month of requests.
    """
    ways = [w for n in PHASES if n in pay for w in pay[n]["ways"]]
    if not ways:
        pay["fits"] = False  # the notes say why
    cheapest = next((w for w in ways if w["usd"] is not None), None)
    lines: list[Line] = cheapest["_lines"] if cheapest is not None and alone else []
    budget, currency = resolved.goal.get("budget"), resolved.scenario.get("currency")
    if budget is not None and alone and cheapest is not None:
        pay["within_goal"] = bool(cheapest["usd"].value <= budget)
    for way in ways:
        if currency is not None and way["usd"] is not None:
            way[f"in_{currency['code'].lower()}"] = in_currency(currency, way)["total"]  # type: ignore[index]
    for name in (n for n in PHASES if n in pay):
        pay[name]["ways"] = [{k: v for k, v in w.items() if not k.startswith("_")} for w in pay[name]["ways"]]
    return lines


def _training(name: str, scenario: Scenario, phase: PayPhase, catalog: Catalog, resolved: Resolved,
              values: dict[str, Any], lines: Sequence[Line], defaults: Defaults) -> dict[str, Any]:
    from outlay.planner.pay.train import training_ways
    from outlay.resolve.pay.train import large_clouds, published_terms, training_tenures, tuning_offers

    found, missing = training_tenures(scenario, phase, resolved, catalog, defaults)
    for tenure in found:
        for warning in tenure.warnings:
            resolved.notes.warn(warning)
    tunings = tuning_offers(scenario, resolved, catalog) if "api" in phase.ways else []
    terms = published_terms(scenario, phase, catalog, defaults) if scenario.fleet is not None else None
    return training_ways(name, phase, resolved, values, lines, found, tunings, missing, terms,
                         large_clouds(catalog))


def _serving(scenario: Scenario, phase: PayPhase, catalog: Catalog, resolved: Resolved, defaults: Defaults,
             without: str) -> dict[str, Any]:
    work = phase.work
    assert work is not None
    found = _api_ways(phase, defaults)
    notes, even, fleet = list(phase.notes), {}, None
    if set(phase.ways) & {"rent", "own"}:
        if scenario.model is None:
            notes.append("Renting and owning are left out: no model is named that could run on machines of one's own")
        else:
            fleet, cap = _fleet(scenario, phase, catalog, defaults, without)
            mine, why = _machine_ways(phase, fleet, cap, resolved)
            found += mine
            notes += why
            even = _break_even(phase, found, fleet, cap)
    found.sort(key=lambda w: (w["usd"] is None, value_of(w["usd"]) if w["usd"] is not None else 0.0))  # stable
    values: dict[str, Any] = {
        "requests_per_month": work.requests_per_month, "input": work.input, "output": work.output,
        "cached": work.cached_share, "tokens_per_month": work.requests_per_month.value * (work.input + work.output),
        "ways": found, "notes": notes,
    }
    if fleet is not None:
        values |= {"device": fleet.resolved.scenario["fleet"]["device"], "break_even": even}
    return values


# ---------------------------------------------------------------- providers

def _api_ways(phase: PayPhase, defaults: Defaults) -> list[dict[str, Any]]:
    found = []
    for offer in phase.offers:
        for batch in (False, True) if phase.can_wait and offer.batch is not None else (False,):
            found.append((offer, _api_way(phase, offer, batch)))
    found.sort(key=lambda pair: (float(pair[1]["usd"].value), not pair[0].first.as_of, pair[1]["name"]))
    if not phase.named and len(found) > OFFERS_SHOWN:
        phase.notes.append(f"{len(found)} offers of this model are in the price list; the {OFFERS_SHOWN} cheapest for "
                           "this work are shown")
        found = found[:OFFERS_SHOWN]
    assert phase.work is not None
    longest = float((phase.work.lengths.input + phase.work.lengths.output).max())
    for warning in old_prices([(way["name"], offer) for offer, way in found if not way["batch"]], phase.date):
        defaults.notes.warn(warning)
    full = [w["name"].removeprefix("API, ") for o, w in found if o.first.rungs[0].cached is None]
    if full and phase.work.cached_share > 0:
        phase.notes.append(f"Repeated input is charged in full by {', '.join(full)}: no price of its own is listed")
    for offer, way in found:
        if 0 < offer.first.context < longest:
            defaults.notes.warn(f"{way['name']} takes {offer.first.context:,.0f} tokens at once, and the longest "
                                f"request has {longest:,.0f}")
    return [way for _, way in found]


def _api_way(phase: PayPhase, offer: Offer, batch: bool) -> dict[str, Any]:
    price = offer.first
    name = f"API, {_offer_name(phase, offer)}" + (", within a day" if batch else "")
    return way_values(name, "api", api_lines(phase, offer, batch), phase.work, provider=price.provider,
                      model=price.model, batch=batch, same_model=not phase.named, as_of=price.as_of or None,
                      source=price.source, upfront_usd=None, signed_usd=None, devices=None, busy=None)


def _offer_name(phase: PayPhase, offer: Offer) -> str:
    """The provider where all sell the same model and this one sells it once; else with the model's own name."""
    provider, model = offer.first.provider.replace("_", " "), offer.first.model.rsplit("/", 1)[-1]
    if not phase.named and sum(o.first.provider == offer.first.provider for o in phase.offers) == 1:
        return provider
    return f"{provider} {model}"


# ---------------------------------------------------------------- machines

def _fleet(scenario: Scenario, phase: PayPhase, catalog: Catalog, defaults: Defaults,
           without: str) -> tuple[PaidFleet, Capacity]:
    """The fleet given, or the catalogued device whose month is cheapest to rent; what was assumed of it is told."""
    work = phase.work
    assert work is not None

    def found(fleet: Any, notes: Defaults, quick: bool) -> PaidFleet:
        return paid_fleet(scenario, fleet, work, phase.ways, phase.usd_per_person_s, catalog, notes, without, quick)

    def tried(name: str) -> tuple[PaidFleet, Capacity]:
        one = found(name, Defaults(catalog, Notes(), defaults.seed), True)
        return one, quick_capacity(one.resolved)

    name = scenario.fleet
    if name is None:
        name = _cheapest_device(phase, catalog, tried)
        defaults.notes.assume("fleet", name, "none was named: the catalogued device on which this work is cheapest to "
                              "rent by the hour")
    fleet = found(name, defaults, False)
    cap = capacity(fleet.resolved)
    known = {a.what for a in defaults.notes.assumptions}
    for told in fleet.resolved.notes.assumptions:
        if told.what.startswith(("serve.", "model")) and told.what not in known:
            defaults.notes.assumptions.append(told)
    for warning in fleet.resolved.notes.warnings:
        if not warning.startswith("fleet.usd"):  # each way tells the age of its own price
            defaults.notes.warn(warning)
    return fleet, cap


def _cheapest_device(phase: PayPhase, catalog: Catalog, tried: Any) -> str:
    """By a month of renting by the hour; devices that all the ways asked for have a price of come first.

    From the lowest price on; one whose least possible rent is above the best found is not planned.
    """
    ways, costs, arch = len(set(phase.ways) & {"rent", "own"}), list[tuple[int, float, str]](), None
    for usd_per_s, name in rentable(catalog):
        if "rent" in phase.ways and costs and min(costs)[0] == -ways and min(costs)[1] < usd_per_s * max(
                1.0, _least_devices(phase, arch, most_flop_per_s(catalog, name))):
            continue
        try:
            fleet, cap = tried(name)
        except OutlayError:
            continue
        arch = fleet.resolved.architecture
        if cap.fits and cap.requests_per_s.value > 0 and fleet.tenures:
            kinds = len({t.kind for t in fleet.tenures})
            costs.append((-kinds, _least_rent(phase, fleet, cap), name))
    if not costs:
        raise BadValue("fleet: the model does not fit on eight of any device with a known price; name machines with -g",
                       "fleet")
    return min(costs)[2]


def _least_devices(phase: PayPhase, arch: Any, flop_per_s: float) -> float:
    """Devices that the work takes at the least: two operations a weight and token at the full peak, tables aside."""
    work = phase.work
    assert work is not None
    tokens = work.input * (1.0 - work.cached_share) + work.output
    weights = max(arch.active_parameters - 2.0 * arch.vocab * arch.hidden, 0.0)
    return float(2.0 * weights * tokens * work.requests_per_month.value / MONTH_S / flop_per_s)


def _least_rent(phase: PayPhase, fleet: PaidFleet, cap: Capacity) -> float:
    """USD a second of the machines that the work needs, rented the cheapest way without a contract."""
    found = []
    for tenure in fleet.tenures:
        machines = machines_for(phase, cap, tenure.step, fleet.devices, None)
        price = tenure.rates.usd_per_device_s
        if price is None and tenure.rates.owned is not None:
            price = sum(value_of(x) for x in tenure.rates.owned.usd_per_device_s().values())
        found.append((tenure.commitment != "on_demand", machines.devices.value * value_of(price)))
    return min(found)[1]


def _machine_ways(phase: PayPhase, fleet: PaidFleet, cap: Capacity, resolved: Resolved) -> tuple[
        list[dict[str, Any]], list[str]]:
    if not cap.fits:
        return [], [f"Renting and owning are left out: {cap.why}"]
    found, place = [], fleet.resolved.place
    for tenure in fleet.tenures:
        step = tenure.step if fleet.devices <= 1 else 1
        shared = fleet.utilization if tenure.kind == "own" else None
        machines = machines_for(phase, cap, step, fleet.devices, shared)
        lines = machine_lines(phase, tenure, cap, machines, place)
        for warning in tenure.warnings:
            resolved.notes.warn(warning)
        found.append(way_values(
            tenure.name.capitalize(), tenure.kind, lines, phase.work, provider=tenure.provider or None, model=None,
            commitment=tenure.commitment or None, as_of=tenure.as_of or None, source=tenure.basis,
            upfront_usd=upfront_usd(tenure, machines), signed_usd=None, devices=machines.devices, busy=machines.busy,
            _machines=machines, _tenure=tenure))
        _signed(found[-1], tenure)
    return found, list(fleet.missing)


def _signed(way: dict[str, Any], tenure: Tenure) -> None:
    """What a contract of one or three years commits to, beside what a month of it costs."""
    from outlay.derive import derive

    years = YEARS.get(tenure.commitment)
    if years is not None and way["usd"] is not None:
        way["signed_usd"] = derive(_whole_contract, "signed for", "USD", usd=way["parts"]["machines"],
                                   idle=way["parts"]["idle"], months=12.0 * years)


def _whole_contract(usd: Any, idle: Any, months: Any) -> Any:
    """A month of machines, at work and idle, for as long as the contract runs."""
    return (usd + idle) * months


# ---------------------------------------------------------------- break-even

def _break_even(phase: PayPhase, found: list[dict[str, Any]], fleet: PaidFleet, cap: Capacity) -> dict[str, Any]:
    """The cheapest of each kind against the others."""
    work = phase.work
    assert work is not None
    api, rent, own = (_best(found, kind) for kind in ("api", "rent", "own"))
    hourly = _best([w for w in found if w.get("commitment") == "on_demand"], "rent")
    even: dict[str, Any] = {}
    for name, mine in (("rent", rent), ("own", own)):
        if api is not None and mine is not None and not mine["_machines"].shared:
            even[f"{name}_or_api"] = {"between": [mine["name"], api["name"]],
                                      **volume(phase, api, mine, mine["_machines"])}
    if own is not None and not own["_machines"].shared:
        machines: Machines = own["_machines"]
        if api is not None:
            even["own_or_api"] |= {"use": use_of_machines(own, api, full_api_usd(api, machines, work)),
                                   "months": payback(own, api)}
        if hourly is not None and rent is not None:
            rates = hourly["_tenure"].rates
            even["own_or_rent"] = {"between": [own["name"], hourly["name"]],
                                   "use": use_of_machines(own, hourly, full_rent_usd(rates, machines)),
                                   "months": payback(own, hourly)}
    used = [(k, w, w["_machines"]) for k, w in (("rent", rent), ("own", own))
            if w is not None and not w["_machines"].shared]
    if used:
        even["by_use"] = by_use(used, work)
        even["by_volume"] = by_volume(phase, [*([("api", api, None)] if api is not None else []), *used])
    return even


def _best(found: list[dict[str, Any]], kind: str) -> dict[str, Any] | None:
    priced = [w for w in found if w["kind"] == kind and w["usd"] is not None]
    return min(priced, key=lambda w: float(w["usd"].value), default=None)
