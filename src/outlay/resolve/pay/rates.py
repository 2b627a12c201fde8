"""The prices under which one fleet can be had: rented by the hour, spare, for a year or three, or owned."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from outlay.account_rates import Owned, Rates
from outlay.catalog import Catalog
from outlay.derive import Num, Quantity, derive
from outlay.errors import UnknownName, suggestion
from outlay.resolve.calendar import Defaults
from outlay.resolve.fleet import DeviceFacts
from outlay.resolve.fleet import given as given_number
from outlay.resolve.notes import Notes
from outlay.resolve.rates import resolve_rates
from outlay.resolve.site import SiteInputs
from outlay.scenario import Fleet
from outlay.scenario_pay import Pay, PayOwn
from outlay.valuation import money
from outlay.valuation.energy import YEAR_S

COMMITMENTS = ("on_demand", "spot", "1y", "3y")
YEARS = {"1y": 1.0, "3y": 3.0}


class Tenure(Struct, frozen=True, eq=False):
    """One way to have a fleet. commitment: on_demand | spot | 1y | 3y, "" for owned."""

    kind: str  # rent | own
    provider: str
    commitment: str
    rates: Rates
    basis: str
    as_of: str
    step: int = 1  # devices of the smallest machine on offer
    warnings: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        said = {"on_demand": "by the hour", "spot": "spare capacity", "1y": "for 1 year", "3y": "for 3 years"}
        return "own" if self.kind == "own" else f"rent {said[self.commitment]}, {self.provider}"


def tenures(fleet: Fleet, facts: DeviceFacts, site: SiteInputs, per_node: int, pay: Pay, ways: Iterable[str],
            defaults: Defaults, usd_per_person_s: Quantity) -> tuple[list[Tenure], list[str]]:
    """Every way to rent and own this fleet that has a price, and what to say of the others."""
    found: list[Tenure] = []
    missing: list[str] = []
    if "rent" in ways:
        found += _rented(fleet, facts, site, per_node, pay, defaults)
        if not found:
            where = ", ".join(pay.providers or ([site.provider] if site.provider else []))
            missing.append(f"Renting: no price of {facts.id} is known{' at ' + where if where else ''}; give "
                           "fleet.usd_per_device_hour, or name others with --provider")
        elif site.provider and not (pay.providers or fleet.provider) and {x.provider for x in found} == {site.provider}:
            missing.append(f"Rents are those of {site.provider}, in the place that was named; name others with "
                           "--provider")
    if "own" in ways:
        one = _owned(fleet, facts, site, per_node, pay, defaults)
        if one is None:
            missing.append(f"Owning: no purchase price of {facts.id} is known; give fleet.usd_per_device")
        else:
            found.append(one)
    return [replace(t, rates=_with_people(t.rates, usd_per_person_s)) for t in found], missing


def _with_people(rates: Rates, usd_per_person_s: Quantity) -> Rates:
    return replace(rates, usd_per_unit={**rates.usd_per_unit, "person_s": usd_per_person_s})


def api_rates(usd_per_unit: dict[str, Num], basis: str) -> Rates:
    """Rates of a bought service: only the given units cost money, and nothing is known of the place it runs in."""
    return Rates(host_factor=1.0, network_share=0.0, pue=1.0, grid_kgco2e_per_j=0.0, grid_l_per_j=0.0, wue_l_per_j=0.0,
                 embodied_kg_per_device=0.0, embodied_kg_server_per_device=0.0, embodied_lifetime_s=YEAR_S,
                 usd_per_unit=usd_per_unit, price_basis=basis, carbon_basis="inside the provider's service, not known")


# ---------------------------------------------------------------- renting

def _rented(fleet: Fleet, facts: DeviceFacts, site: SiteInputs, per_node: int, pay: Pay,
            defaults: Defaults) -> list[Tenure]:
    if fleet.usd_per_device_hour is not None:
        one = _tenure(fleet, facts, site, per_node, fleet.provider or "", fleet.commitment or "on_demand", defaults)
        return [one] if one is not None else []
    found = []
    for provider in _providers(fleet, facts, site, pay, defaults.catalog):
        for commitment in COMMITMENTS if fleet.commitment is None else (fleet.commitment,):
            if _has_price(facts, provider, commitment, defaults.catalog):
                one = _tenure(fleet, facts, site, per_node, provider, commitment, defaults)
                found += [one] if one is not None else []
    return found


def _providers(fleet: Fleet, facts: DeviceFacts, site: SiteInputs, pay: Pay, catalog: Catalog) -> list[str]:
    """Those asked for, the place's own, or all that rent such a device."""
    here = sorted({p.provider for p in catalog.prices(device=facts.id.split(":")[0])})
    asked = pay.providers or ([fleet.provider] if fleet.provider else None)
    if asked is not None:
        known = sorted({p.provider for p in catalog.prices()})
        for i, name in enumerate(asked):
            if name.lower() not in known:
                field = f"pay.providers[{i}]" if pay.providers else "fleet.provider"
                raise UnknownName(f"{field}: no prices of {name!r}{suggestion(name, known)}; known: {', '.join(known)}",
                                  field)
        return [name.lower() for name in asked if name.lower() in here]
    own = facts.provider or site.provider
    if own in here:
        return [own]
    return [] if own in {p.provider for p in catalog.prices()} else here  # not in the place that was named


def _has_price(facts: DeviceFacts, provider: str, commitment: str, catalog: Catalog) -> bool:
    """A listed price, or one by what the provider takes off for a commitment."""
    kinds = {p.kind for p in catalog.prices(device=facts.id.split(":")[0], provider=provider)}
    if commitment in kinds:
        return True
    entry = next((e for e in catalog.entries("provider") if e.id == provider), None)
    return "on_demand" in kinds and entry is not None and f"commitment_discount_{commitment}" in entry


def _tenure(fleet: Fleet, facts: DeviceFacts, site: SiteInputs, per_node: int, provider: str, commitment: str,
            defaults: Defaults) -> Tenure | None:
    notes = Notes()
    changed = replace(fleet, tenure="rent", provider=provider or None, commitment=commitment,
                                      usd_per_device=None, utilization=None,
                                      network_price_share=None, space_usd_per_kw_month=None)
    rates, _ = resolve_rates(changed, facts, site, per_node, Defaults(defaults.catalog, notes, defaults.seed))
    if rates.usd_per_device_s is None:
        return None
    stale = tuple(f"rent at {provider}: {w.split(': ', 1)[-1]}" for w in notes.warnings if "days old" in w)
    sold = [p.devices for p in defaults.catalog.prices(device=facts.id.split(":")[0], provider=provider or None)]
    step = min(sold) if sold and provider else 1
    return Tenure("rent", provider or "given", commitment, rates, rates.price_basis,
                  rates.price_basis.rsplit(", ", 1)[-1], step, stale)


# ---------------------------------------------------------------- owning

def _owned(fleet: Fleet, facts: DeviceFacts, site: SiteInputs, per_node: int, pay: Pay,
           defaults: Defaults) -> Tenure | None:
    changed = replace(fleet, tenure="own", provider=None, commitment=None, usd_per_device_hour=None,
                                      utilization=fleet.utilization or 1.0)
    notes = Notes()
    rates, _ = resolve_rates(changed, facts, site, per_node, Defaults(defaults.catalog, notes, defaults.seed))
    if rates.owned is None:
        return None
    for told in notes.assumptions:
        if told.what in ("fleet.usd_per_device", "cost of capital", "upkeep over price", "building and cooling",
                         "server over device price", "network share of the cluster's price", "fleet.lifetime"):
            defaults.notes.assumptions.append(told)
    owned = _in_detail(rates.owned, pay.own or PayOwn(), defaults)
    return Tenure("own", "", "", replace(rates, owned=owned), rates.price_basis, "")


def _in_detail(owned: Owned, given: PayOwn, defaults: Defaults) -> Owned:
    """The user's own figures over the defaults, with spares and what is got back at the end."""
    own = {name: given_number(float(value), "", name.replace("_", " ")) for name in (
        "wacc_per_year", "upkeep_per_year", "server_overhead", "network_share", "usd_per_kw_month")
        if (value := getattr(given, name)) is not None}
    spares = (given_number(given.spares_share, "", "spares") if given.spares_share is not None
              else defaults.quantity("own.spares_share", "pay.own.spares_share"))
    resale = (given_number(given.resale_share, "", "resale") if given.resale_share is not None
              else _resale_share(owned, defaults))
    changed: Owned = replace(owned, detailed=True, spares_share=spares, resale_share=resale, **own)
    return changed


def _resale_share(owned: Owned, defaults: Defaults) -> Quantity:
    """What machines still bring at the end of their financial life: the price of the same compute by then."""
    yearly = defaults.quantity("own.depreciation_oom_per_year").named("how fast machines lose their price")
    share: Quantity = derive(_worth, "resale over price", "", lifetime_s=owned.lifetime_s, oom_per_year=yearly)
    less = 1.0 - money.depreciated_usd(1.0, 1.0, yearly.value)
    defaults.notes.assume("pay.own.resale_share", share.value, f"the same compute costs {less:.0%} less every year",
                          "Cottier et al. 2024, arXiv:2405.21015")
    return share


def _worth(lifetime_s: Any, oom_per_year: Any) -> Any:
    """Worth of a bought dollar at the end of its life."""
    return money.depreciated_usd(1.0, lifetime_s / YEAR_S, oom_per_year)

