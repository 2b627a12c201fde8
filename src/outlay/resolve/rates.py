"""Prices and factors of one place and tenure: what `account` applies."""

from __future__ import annotations

from statistics import median, quantiles
from typing import Any

from outlay.account_rates import Owned, Rates
from outlay.catalog import Price
from outlay.catalog.prices import by_provider
from outlay.derive import Quantity, derive, exact, uncertain
from outlay.resolve.calendar import Defaults
from outlay.resolve.fleet import DeviceFacts, given
from outlay.resolve.host import beside
from outlay.resolve.site import SiteInputs
from outlay.scenario import Fleet

KWH_J = 3.6e6
YEAR_S = 31_557_600.0
HOUR_S = 3600.0
_TENURE = {"on_demand": "on_demand", "spot": "spot", "1y": "commit_1y", "3y": "commit_3y"}


OTHER_TENURE = {"own": ("provider", "commitment", "usd_per_device_hour"),
                "rent": ("usd_per_device", "utilization", "network_price_share", "space_usd_per_kw_month")}


def resolve_rates(
    fleet: Fleet, facts: DeviceFacts, site: SiteInputs, devices_per_node: int, defaults: Defaults
) -> tuple[Rates, dict[str, Any]]:
    """Rates of a fleet at a site, and the fields the resolved scenario shows for them."""
    tenure = fleet.tenure or ("own" if fleet.usd_per_device is not None else "rent")
    if fleet.tenure is None:
        defaults.notes.assume("fleet.tenure", tenure, "rented unless a purchase price or tenure: own is given")
    unused = [f"fleet.{name}" for name in OTHER_TENURE[tenure] if getattr(fleet, name) is not None]
    if unused:
        defaults.notes.warn(f"{', '.join(unused)}: not used, because tenure is {tenure}")
    shown: dict[str, Any] = {"tenure": tenure}
    price, owned, basis, reason, utilization = None, None, "", "", exact(1.0, "", "share of time in use")
    if tenure == "rent":
        price, basis, reason, more = _rent(fleet, facts, site, defaults)
        price, basis = _negotiated(price, basis, fleet, "rent per device-hour, negotiated")
        shown |= more
    else:
        owned, basis, reason, more = _own(fleet, facts, site, defaults)
        shown |= more
        if owned is not None:
            utilization = owned.utilization  # type: ignore[assignment]
    if fleet.discount is not None:
        shown["discount"] = fleet.discount
    around = beside(facts, defaults)
    rates = Rates(
        host_factor=around.host_factor, network_share=around.network_share,
        pue=site.pue,
        grid_kgco2e_per_j=per_joule(site.grid_kgco2e_per_kwh, "kgCO2e/J"),
        grid_direct_kgco2e_per_j=(None if site.grid_direct_kgco2e_per_kwh is None
                                  else per_joule(site.grid_direct_kgco2e_per_kwh, "kgCO2e/J")),
        grid_l_per_j=per_joule(site.grid_water_l_per_kwh, "L/J"),
        wue_l_per_j=per_joule(site.wue_l_per_kwh, "L/J"),
        embodied_kg_per_device=_embodied(facts, defaults),
        embodied_kg_server_per_device=derive(_over, "embodied carbon of a device's share of the server", "kg",
                                             whole=_server(facts, defaults), parts=devices_per_node),
        embodied_lifetime_s=_lifetime(fleet, "embodied.lifetime_years", defaults),
        embodied_busy_share=utilization,
        tenure=_TENURE[fleet.commitment or "on_demand"] if tenure == "rent" else "owned",
        usd_per_device_s=None if price is None else derive(_over, "rent per device-second", "USD/s", whole=price,
                                                           parts=HOUR_S),
        owned=owned, usd_per_j=per_joule(site.electricity_usd_per_kwh, "USD/J"),
        usd_per_unit=_unit_prices(defaults),
        no_price=reason or "no price is known for this device here; give usd_per_device_hour",
        host_w=around.host_w, supply_factor=around.supply_factor,
        storage_w_per_byte=defaults.catalog.find("power_constants", "energy").fact("storage_w_per_byte").quantity(
            defaults.seed),
        price_basis=basis,
        carbon_basis=site.carbon_basis)
    return rates, shown


def bare_rates(site: SiteInputs, defaults: Defaults) -> Rates:
    """Prices and factors of a place for work that needs no devices: storage, cores, people, pieces of work."""
    nothing = exact(0.0, "", "no devices")
    return Rates(
        host_factor=exact(1.0, "", "no devices"), network_share=nothing, pue=site.pue,
        grid_kgco2e_per_j=per_joule(site.grid_kgco2e_per_kwh, "kgCO2e/J"),
        grid_direct_kgco2e_per_j=(None if site.grid_direct_kgco2e_per_kwh is None
                                  else per_joule(site.grid_direct_kgco2e_per_kwh, "kgCO2e/J")),
        grid_l_per_j=per_joule(site.grid_water_l_per_kwh, "L/J"), wue_l_per_j=per_joule(site.wue_l_per_kwh, "L/J"),
        embodied_kg_per_device=nothing, embodied_kg_server_per_device=nothing,
        embodied_lifetime_s=exact(YEAR_S, "s", "no devices"), tenure="rented", usd_per_device_s=nothing,
        usd_per_j=per_joule(site.electricity_usd_per_kwh, "USD/J"), usd_per_unit=_unit_prices(defaults),
        storage_w_per_byte=defaults.catalog.find("power_constants", "energy").fact("storage_w_per_byte").quantity(
            defaults.seed),
        price_basis="list prices", carbon_basis=site.carbon_basis)


def per_joule(per_kwh: Quantity, unit: str) -> Quantity:
    """A factor per kWh as one per joule."""
    converted: Quantity = derive(_per_joule, per_kwh.label, unit, per_kwh=per_kwh)
    return converted


def _per_joule(per_kwh: Any) -> Any:
    """A factor per kilowatt-hour over 3.6 million joules."""
    return per_kwh / KWH_J


def _over(whole: Any, parts: Any) -> Any:
    """A whole over the parts it is shared by."""
    return whole / parts


def _lifetime(fleet: Fleet, default: str, defaults: Defaults) -> Quantity:
    if fleet.lifetime is not None:
        return given(fleet.lifetime, "s", "lifetime")
    years = defaults.quantity(default, "hardware lifetime, " + default.split(".")[0])
    scaled: Quantity = derive(_years, "lifetime", "s", years=years)
    return scaled


def _years(years: Any) -> Any:
    """Years as seconds."""
    return years * YEAR_S


# ---------------------------------------------------------------- renting

def _rent(fleet: Fleet, facts: DeviceFacts, site: SiteInputs, defaults: Defaults) -> tuple[
        Quantity | None, str, str, dict[str, Any]]:
    commitment = fleet.commitment or "on_demand"
    shown: dict[str, Any] = {"commitment": commitment}
    if fleet.commitment is None:
        defaults.notes.assume("fleet.commitment", commitment, "the price without a contract")
    if fleet.usd_per_device_hour is not None:
        shown["usd_per_device_hour"] = fleet.usd_per_device_hour
        return (
            given(fleet.usd_per_device_hour, "USD/h", "rent per device-hour"),
            f"{commitment}, given in the scenario",
            "",
            shown,
        )
    provider = (fleet.provider or facts.provider or site.provider or "").lower()
    if provider:
        shown["provider"] = provider
    catalog = defaults.catalog
    if fleet.provider is not None:
        known = sorted({p.provider for p in catalog.prices()})
        if provider not in known:
            from outlay.errors import UnknownName, suggestion

            raise UnknownName(f"fleet.provider: no prices of {provider!r}{suggestion(provider, known)}; known: "
                              f"{', '.join(known)}", "fleet.provider")
    found, where = _narrowest(catalog.prices(device=facts.id.split(":")[0]), provider, site.region)
    exactly = [p for p in found if p.kind == commitment]
    if exactly:
        price = _spread_of(exactly, facts, commitment, defaults)
    else:
        on_demand = [p for p in found if p.kind == "on_demand"]
        if not on_demand:
            return (
                None,
                "",
                (f"no rental price of {facts.id} is in the catalogue; give fleet.usd_per_device_hour"),
                shown,
            )
        base = _spread_of(on_demand, facts, "on_demand", defaults)
        share = commitment_share(commitment, provider, defaults)
        price = derive(_discounted, f"rent per device-hour, {commitment}", "USD/h", on_demand=base, share=share)
        exactly = on_demand
    if ":" in facts.id:
        price = derive(_slice_of, "rent of a slice per hour", "USD/h", whole=price, share=_slice_share(facts))
    basis = f"{commitment.replace('_', '-')}, {where}, {min(p.as_of for p in exactly)}"
    defaults.notes.assume("fleet.usd_per_device_hour", price.value, basis, exactly[0].source)
    _warn_when_old(exactly, defaults)
    return price, basis, "", shown


def _negotiated(price: Quantity | None, basis: str, fleet: Fleet, label: str) -> tuple[Quantity | None, str]:
    """A price after the discount the user was granted on it, and how to say so."""
    if price is None or fleet.discount is None:
        return price, basis
    share = given(fleet.discount, "", "negotiated discount")
    paid: Quantity = derive(_less, label, price.unit, price=price, discount=share)
    return paid, f"{100 * fleet.discount:.4g} % negotiated off {basis}"  # the date stays last


def _less(price: Any, discount: Any) -> Any:
    """A list price less the share of it that is not paid."""
    return price * (1.0 - discount)


def _slice_share(facts: DeviceFacts) -> float:
    """A MIG slice's part of its device by compute slices: its name says "3g", a whole device has 7."""
    return int(facts.id.rsplit(":", 1)[1].split("g", 1)[0]) / 7.0


def _slice_of(whole: Any, share: Any) -> Any:
    """A slice pays its part of the device."""
    return whole * share


def _narrowest(prices: list[Price], provider: str, region: str) -> tuple[list[Price], str]:
    """Prices of the provider's region, else of the provider, else of all providers, and how to say it."""
    here = [p for p in prices if p.provider == provider and p.region == region and region]
    if here:
        return here, f"{provider} {region}"
    same = [p for p in prices if p.provider == provider]
    if same:
        return same, f"{provider}, {_median_of(len({p.region for p in same}), 'regions')}"
    return prices, _median_of(len({p.provider for p in prices}), "providers")


def _median_of(count: int, what: str) -> str:
    return f"median of {count} {what}" if count > 1 else f"the one {what.removesuffix('s')} with a price"


def _spread_of(prices: list[Price], facts: DeviceFacts, kind: str, defaults: Defaults) -> Quantity:
    """Their median, and the 10th to 90th percentile when there are several."""
    providers = sorted({p.provider for p in prices})
    values = [p.usd_per_device_hour for p in prices]
    if len(providers) > 1:  # each provider counts once, however many regions it lists
        values = by_provider(prices)
    tenths = quantiles(values, n=10, method="inclusive") if len(values) > 1 else values
    middle, low, high = median(values), tenths[0], tenths[-1]
    source = f"{prices[0].source} ({prices[0].as_of})"
    return uncertain(middle, min(low, middle), max(high, middle), "USD/h", f"rent per device-hour, {kind}", source,
                     seed=defaults.seed, key=f"price.{facts.id}.{kind}")


def commitment_share(commitment: str, provider: str, defaults: Defaults) -> Quantity:
    """What part of the on-demand price is paid on spot or under a commitment of one or three years."""
    if commitment == "spot":
        return defaults.quantity("rent.spot_share", "spot price over on-demand")
    entries = [e for e in defaults.catalog.entries("provider") if f"commitment_discount_{commitment}" in e]
    mine = [e for e in entries if e.id == provider] or entries
    facts = [e.fact(f"commitment_discount_{commitment}") for e in mine]
    discounts = [float(f.value) for f in facts]
    low = min(f.low if f.low is not None else float(f.value) for f in facts)
    high = max(f.high if f.high is not None else float(f.value) for f in facts)
    discount = uncertain(median(discounts), low, high, "", f"discount of a {commitment} commitment", facts[0].source,
                         seed=defaults.seed, key=f"discount.{provider}.{commitment}")
    defaults.notes.assume(f"{commitment} commitment discount", discount.value,
                          f"of {provider}" if len(mine) == 1 else f"median of {len(mine)} providers", facts[0].source)
    share: Quantity = derive(_rest, "share of the on-demand price paid", "", discount=discount)
    return share


def _rest(discount: Any) -> Any:
    """What is left of one after a discount."""
    return 1.0 - discount


def _discounted(on_demand: Any, share: Any) -> Any:
    """On-demand price times the share that a commitment pays."""
    return on_demand * share


def _warn_when_old(prices: list[Price], defaults: Defaults) -> None:
    from datetime import date

    today = date.fromisoformat(defaults.catalog.date)
    oldest = min(p.as_of for p in prices)
    try:
        age = (today - date.fromisoformat(oldest if len(oldest) == 10 else f"{oldest[:7]}-01")).days
    except ValueError:
        return
    if age > 90:
        defaults.notes.warn(f"fleet.usd_per_device_hour: the price is {age} days old ({oldest}); give your own")


# ---------------------------------------------------------------- owning

def _own(fleet: Fleet, facts: DeviceFacts, site: SiteInputs, defaults: Defaults) -> tuple[
        Owned | None, str, str, dict[str, Any]]:
    shown: dict[str, Any] = {}
    if fleet.usd_per_device is not None:
        price = given(fleet.usd_per_device, "USD", "device price")
        shown["usd_per_device"] = fleet.usd_per_device
        basis = "owned, price given in the scenario"
    elif facts.entry is not None and "price_usd" in facts.entry:
        fact = facts.entry.fact("price_usd")
        price = fact.quantity(defaults.seed)
        basis = f"owned, {facts.entry.value('price_kind', 'list price')}"
        defaults.notes.assume("fleet.usd_per_device", fact.value, basis, fact.source)
    else:
        return None, "", f"no purchase price of {facts.id} is in the catalogue; give fleet.usd_per_device", shown
    paid, basis = _negotiated(price, basis, fleet, "device price, negotiated")
    if fleet.utilization is not None:
        use = given(fleet.utilization, "", "share of time in use")
        shown["utilization"] = fleet.utilization
    else:
        use = defaults.quantity("own.utilization", "fleet.utilization")
    network, space = _around(fleet, shown, defaults)
    host = beside(facts, defaults).host_factor
    rated = facts.power_w or exact(0.0, "W", "rated power")
    provisioned = derive(
        _provisioned, "power reserved for a device", "W", rated_w=rated, host_factor=host, pue=site.pue
    )
    owned = Owned(
        device_price_usd=price if paid is None else paid,
        server_overhead=defaults.quantity("own.server_overhead", "server over device price"),
        network_share=network,
        wacc_per_year=defaults.quantity("own.wacc_per_year", "cost of capital"),
        lifetime_s=_lifetime(fleet, "own.lifetime_years", defaults),
        upkeep_per_year=defaults.quantity("own.upkeep_per_year", "upkeep over price"),
        utilization=use, usd_per_kw_month=space,
        provisioned_w=provisioned)
    return owned, basis, "", shown


def _around(fleet: Fleet, shown: dict[str, Any], defaults: Defaults) -> tuple[Quantity, Quantity]:
    """What stands around owned devices: the network's share of the price, and the rent of the building."""
    found = []
    for field, default, unit, label in (
            ("network_price_share", "own.network_share", "", "network share of the cluster's price"),
            ("space_usd_per_kw_month", "own.space_usd_per_kw_month", "USD/kW/month", "building and cooling")):
        own = getattr(fleet, field)
        if own is not None:
            shown[field] = own
        found.append(defaults.quantity(default, label) if own is None else given(own, unit, label))
    return found[0], found[1]


def _provisioned(rated_w: Any, host_factor: Any, pue: Any) -> Any:
    """Facility power reserved for one device: rated, with its host, cooling and losses."""
    return rated_w * host_factor * pue


# ---------------------------------------------------------------- the rest

def _embodied(facts: DeviceFacts, defaults: Defaults) -> Quantity:
    """Vendor footprint where one is published, else the model anchored to one; unknown dies fall back on it."""
    from outlay.resolve.embodied import device_embodied

    return device_embodied(facts, defaults)


def _server(facts: DeviceFacts, defaults: Defaults) -> Quantity:
    if facts.whole_machine:
        why = "the machine is its chip and memory, counted with the device; its case and board are not counted"
        defaults.notes.assume("embodied carbon of a server without devices", 0, why)
        return exact(0.0, "kg", "embodied carbon of the machine around its chip", why, basis="assumed")
    fact = defaults.catalog.find("embodied", "gpu-server").fact("kg")
    defaults.notes.assume("embodied carbon of a server without devices", fact.value, fact.note, fact.source)
    return fact.quantity(defaults.seed)


def _unit_prices(defaults: Defaults) -> dict[str, Quantity]:
    """Money per unit of the resources that are not devices."""
    storage = defaults.quantity("storage.usd_per_byte_month", "object storage price per byte and month")
    per_byte_s = derive(_over, "storage price", "USD/(byte·s)", whole=storage, parts=YEAR_S / 12)
    return {"storage_byte_s": per_byte_s}
