"""Where the work runs → grid carbon, water, electricity price and PUE, each with its level and source."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from outlay.catalog import Catalog, Fact
from outlay.derive import Quantity
from outlay.resolve.fleet import given
from outlay.resolve.notes import Notes
from outlay.scenario import Site


class SiteInputs(Struct, frozen=True):
    """What a place adds to energy, carbon, water and money."""

    place: str
    provider: str
    region: str
    pue: Quantity
    wue_l_per_kwh: Quantity
    grid_kgco2e_per_kwh: Quantity
    grid_direct_kgco2e_per_kwh: Quantity | None
    grid_water_l_per_kwh: Quantity
    electricity_usd_per_kwh: Quantity
    carbon_basis: str
    shown: dict[str, Any]


# field of the scenario's site → (field of SiteFacts, unit, what it is called)
_FIELDS = {
    "pue": ("pue", "", "PUE"),
    "wue_l_per_kwh": ("wue_l_per_kwh", "L/kWh", "water used on site"),
    "grid_kgco2e_per_kwh": ("grid_lca_kgco2e_per_kwh", "kgCO2e/kWh", "grid carbon, life cycle"),
    "grid_direct_kgco2e_per_kwh": ("grid_direct_kgco2e_per_kwh", "kgCO2e/kWh", "grid carbon, direct"),
    "grid_water_l_per_kwh": ("water_grid_l_per_kwh", "L/kWh", "water used by the grid"),
    "electricity_usd_per_kwh": ("electricity_usd_per_kwh", "USD/kWh", "electricity price"),
}


ROOM = "room"
# of a building, where devices stand in one's own room → the default of that
_OWN_ROOM = {"pue": "site.pue_own_room", "wue_l_per_kwh": "site.wue_own_room"}


def resolve_site(site: str | Site | None, provider: str, catalog: Catalog, notes: Notes, seed: int,
                 own_room: bool = False) -> SiteInputs:
    """The site's factors; without one, the world's 10th to 90th percentile and a warning.

    own_room: devices stand in a room and not in a data centre, unless the site says otherwise or is one.
    """
    from outlay.catalog.sites import resolve_site as look_up

    record = Site(location=site) if isinstance(site, str) else site or Site()
    facts = look_up(catalog, record.location, "site" if isinstance(site, str) else "site.location", provider or None)
    if record.location is None and not _fully_given(record):
        notes.warn("site: none given, so grid carbon, water and electricity price span the world's 10th to 90th "
                   "percentile; name a cloud region, country or grid zone to narrow them")
    values: dict[str, Quantity | None] = {}
    shown: dict[str, Any] = {"location": record.location} if record.location else {}
    building = record.building or (ROOM if own_room and facts.levels.get("pue") == "world" else None)
    if building is not None:
        shown["building"] = building
        if record.building is None:
            notes.assume("site.building", building, "a desktop's devices that nobody is said to rent")
    for field, (parameter, unit, label) in _FIELDS.items():
        own = getattr(record, field)
        fact: Fact | None = getattr(facts, parameter)
        if own is None and building == ROOM and field in _OWN_ROOM:
            fact = catalog.find("default", _OWN_ROOM[field]).fact("value")
            values[field] = _labelled(fact.quantity(seed), label, unit)
            notes.assume(f"site.{field}", fact.value, fact.note, fact.source)
            continue
        if own is not None:
            values[field] = given(own, unit, label)
        elif fact is not None:
            values[field] = _labelled(fact.quantity(seed), label, unit)
            _tell(field, fact, facts, notes)
        else:
            values[field] = None
        if own is not None:
            shown[field] = own
    needed = {f: values[f] for f in _FIELDS if f != "grid_direct_kgco2e_per_kwh"}
    assert all(q is not None for q in needed.values()), f"the catalogue lacks a world row for {needed}"
    return SiteInputs(
        place=facts.name, provider=facts.provider or provider, region=facts.region, shown=shown,
        carbon_basis=_carbon_basis(record, facts),
        grid_direct_kgco2e_per_kwh=_direct(values, record), **needed)  # type: ignore[arg-type]


def _carbon_basis(record: Site, facts: Any) -> str:
    """What the carbon factor counts, and the mix behind it unless the factor is the user's own."""
    if record.grid_kgco2e_per_kwh is not None:
        return "location-based, factor given in the scenario"
    return f"location-based, life-cycle, {facts.name}: {facts.grid_mix.value}"


def _fully_given(site: Site) -> bool:
    return None not in (site.grid_kgco2e_per_kwh, site.electricity_usd_per_kwh, site.grid_water_l_per_kwh)


def _direct(values: dict[str, Quantity | None], record: Site) -> Quantity | None:
    """A grid's direct factor belongs beside its own life-cycle factor, not beside one the user gave."""
    if record.grid_kgco2e_per_kwh is not None and record.grid_direct_kgco2e_per_kwh is None:
        return None
    return values["grid_direct_kgco2e_per_kwh"]


def _labelled(quantity: Quantity, label: str, unit: str) -> Quantity:
    return quantity.named(label, unit)


def _tell(field: str, fact: Fact, facts: Any, notes: Notes) -> None:
    level = facts.levels.get(_FIELDS[field][0], "")
    own = facts.name if level in ("", facts.name.lower()) else f"{facts.name}, by {level}"
    why = f"{facts.name}, no value of its own" if level == "world" and facts.name != "World" else own
    notes.assume(f"site.{field}", fact.value, why + (f": {fact.note}" if fact.note else ""), fact.source)
