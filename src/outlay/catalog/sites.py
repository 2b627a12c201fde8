"""From a place's name to its facts: carbon, mix and water of the grid, price of power, PUE and WUE.

Most specific wins: cloud region, grid zone, state, country, world; for the building: site, operator, world.
Zones come before states because power crosses state lines: the US EPA advises subregions for this use.
Life-cycle and direct factors are separate fields, read at the same level, and never stand in for each other.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from outlay.catalog.records import Entry, Fact
from outlay.errors import UnknownName

if TYPE_CHECKING:
    from outlay.catalog.catalog import Catalog

Z_EDGE = 1.2815515655446004  # standard normal at the 90th percentile
WORLD = "world"
NO_PLACE = "no place given: grid carbon, water and electricity price span the world's 10th to 90th percentile"
GRID = ("grid_lca_kgco2e_per_kwh", "grid_direct_kgco2e_per_kwh", "grid_mix", "water_grid_l_per_kwh",
        "water_hydro_l_per_kwh", "electricity_usd_per_kwh")
BUILDING = ("pue", "wue_l_per_kwh")
SPREAD_WITHIN_COUNTRY = frozenset(GRID) - {"grid_mix", "electricity_usd_per_kwh"}
_AVAILABILITY_ZONE = re.compile(r"(.*[0-9])-?[a-f]")

HOLES = (
    "marginal grid factors (long- or short-run): no source that may be redistributed",
    "market-based factors, residual mixes: none that may be redistributed, beside Google's carbon-free share",
    "grid factors of states outside the US, Canada, China, Sweden and Norway (Australia, India, Brazil, "
    "Japan, Mexico): the country's factor, widened",
    "industrial electricity prices outside Europe, the US, Quebec, China, India, Korea, Taiwan, Malaysia, "
    "Indonesia and Saudi Arabia (so Japan, most of Canada, Australia, Singapore, Brazil): the world's range",
    "grid water of states and zones outside Canada: the country's mix, widened; stress of the basin: none",
    "PUE and WUE of single cloud regions: the fleet average; Google's WUE is another tool's assumption",
    "AWS GovCloud and the Azure regions of China, the US DoD and some announced ones: location assumed",
)


class SiteFacts(Struct, frozen=True):
    """What is known of one place. `levels`: where each fact was found; `notes`: what a result must tell."""

    id: str
    name: str
    provider: str
    region: str
    city: str
    country: str
    state: str
    zone: str
    grid_lca_kgco2e_per_kwh: Fact
    grid_direct_kgco2e_per_kwh: Fact
    grid_mix: Fact
    water_grid_l_per_kwh: Fact
    water_hydro_l_per_kwh: Fact
    electricity_usd_per_kwh: Fact
    pue: Fact
    wue_l_per_kwh: Fact
    levels: Mapping[str, str]
    notes: tuple[str, ...] = ()


def resolve_site(cat: Catalog, name: str | None, field: str = "site",
                 provider: str | None = None) -> SiteFacts:
    """The facts of a named place, or of the world when there is no name.

    `provider` gives the building of a known operator to a place that is not one of its regions.
    """
    entry = cat.find("site", WORLD) if name is None else find_site(cat, str(name), field)
    chain = _chain(cat, entry)
    building = _building(cat, entry, chain, provider)
    found = {parameter: _pick(chain, parameter) for parameter in GRID}
    found |= {parameter: _pick(building, parameter) for parameter in BUILDING}
    levels = {parameter: level for parameter, (level, _) in found.items()}
    facts = {parameter: _spread(fact, level, entry, chain) for parameter, (level, fact) in found.items()}
    known = dict(chain)

    def place(level: str) -> str:
        return known[level].id if level in known else ""

    operator = str(entry.value("provider", provider or ""))
    return SiteFacts(id=entry.id, name=entry.name, provider=operator,
                     region=str(entry.value("region", "")), city=str(entry.value("city", "")),
                     country=place("country"), state=place("state"), zone=place("zone"), **facts,
                     levels=levels, notes=_notes(entry, levels))


def find_site(cat: Catalog, name: str, field: str = "site") -> Entry:
    """The entry of a place; an availability zone ("us-east-1a", "us-central1-b") means its region."""
    try:
        return cat.find("site", name, field)
    except UnknownName as unknown:
        inside = _AVAILABILITY_ZONE.fullmatch(name.strip().lower())
        if inside is not None:
            try:
                return cat.find("site", inside[1], field)
            except UnknownName:
                pass
        city = name.strip().lower()
        regions = [e for e in cat.entries("site") if "city" in e and str(e.value("city")).lower() == city]
        if not regions:
            raise
        told = ", ".join([e.id for e in regions] + sorted({str(e.value("country")) for e in regions}))
        raise UnknownName(f"site {name!r} is a city, which can stand for any of: {told}", field) from unknown


def _chain(cat: Catalog, entry: Entry) -> list[tuple[str, Entry]]:
    """(level, entry) from the most specific to the world."""
    chain = [(str(entry.value("level", "site")), entry)]
    wider = [level for level in ("zone", "state", "country") if level in entry]
    chain += [(level, cat.find("site", str(entry.value(level)))) for level in wider]
    if entry.id != WORLD:
        chain.append((WORLD, cat.find("site", WORLD)))
    return chain


def _building(cat: Catalog, entry: Entry, chain: list[tuple[str, Entry]],
              provider: str | None) -> list[tuple[str, Entry]]:
    named = cat.table("site").spelled(str(entry.value("provider", provider or "")))
    operators = [i for i in named if i.startswith("operator:")]
    if not operators:
        return chain
    return [chain[0], ("operator", cat.find("site", operators[0])), *chain[1:]]


def _pick(chain: list[tuple[str, Entry]], parameter: str) -> tuple[str, Fact]:
    for level, entry in chain:
        if parameter in entry:
            return level, entry.facts[parameter]
    raise UnknownName(f"no site has {parameter}; the catalogue is incomplete", "site")


def _spread(fact: Fact, level: str, entry: Entry, chain: list[tuple[str, Entry]]) -> Fact:
    """A country's factor read for a place inside it gets the spread within a country of several grids."""
    if level != "country" or entry.value("level") == "country" or fact.parameter not in SPREAD_WITHIN_COUNTRY:
        return fact
    country = dict(chain)["country"]
    gsd, value = float(country.value("region_gsd", 1.0)), float(fact.value)
    if gsd <= 1.0 or value <= 0:
        return fact
    own = math.log(fact.high / value) / Z_EDGE if fact.high is not None else 0.0
    factor = math.exp(Z_EDGE * math.hypot(own, math.log(gsd)))
    note = f"{fact.note}; mean of {country.name} read for one place: spread within it added, GSD {gsd:g}"
    return replace(fact, low=value / factor, high=value * factor, note=note)


def _notes(entry: Entry, levels: Mapping[str, str]) -> tuple[str, ...]:
    if entry.id == WORLD or entry.value("level") == "operator":
        return (NO_PLACE,)
    notes = []
    if levels["grid_lca_kgco2e_per_kwh"] == WORLD:
        notes.append(f"no grid factor is on record for {entry.name}: the world's range is used")
    if levels["electricity_usd_per_kwh"] == WORLD:
        notes.append(f"no electricity price is on record for {entry.name}: the world's range is used")
    return tuple(notes)
