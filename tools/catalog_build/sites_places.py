"""Countries, states, provinces, grid zones, the world: carbon, mix and water of the grid, price of power."""

from __future__ import annotations

from pathlib import Path

from catalog_build import sites_factors as f
from catalog_build import sites_names as names
from catalog_build import sites_operators
from catalog_build.common import Row, read_csv, shippable

READ = "2026-11"
EMBER = "Ember Yearly Electricity Data (CC BY 4.0) via Our World in Data (CC BY 4.0)"
MIX = "Ember mix via Our World in Data (CC BY 4.0)"
FROM_MIX = MIX + " x IPCC AR5 WG3 Annex III medians"
EGRID = "U.S. EPA eGRID2023"
GRID_WATER_NOTE = "consumed at power stations, half cooling towers, half once-through; reservoirs apart"
HYDRO_WATER_NOTE = "reservoir evaporation if all of it is given to electricity: contested, never in the total"
LCA, DIRECT = "grid_lca_kgco2e_per_kwh", "grid_direct_kgco2e_per_kwh"
Price = tuple[float, str, str]  # usd/kWh, source, period
Factors = dict[str, tuple[float, float]]  # country id: life-cycle and direct kgCO2e/kWh


def read_countries(data_dir: Path) -> list[dict[str, str]]:
    rows = shippable(data_dir / "grid_carbon_intensity_country.csv")
    return [row for row in rows if row["name"] and (row["ember_owid_lca_g"] or f.shares(row, "_twh"))]


def read_prices(data_dir: Path) -> dict[str, Price]:
    """Industrial prices by site id: typed ones, then the tables; US census divisions are left out."""
    prices: dict[str, Price] = {
        row["area"]: (float(row["usd_per_kwh"]), row["source"], row["period"])
        for row in read_csv(Path(__file__).with_name("sites_prices.csv"))}
    for row in shippable(data_dir / "electricity_prices_industrial.csv"):
        if row["level"] == "country" or len(row["area"]) == 5:
            source = f"{row['primary_source']} {row['reference_period']}, {row['band']}"
            prices[row["area"].lower()] = (float(row["usd_per_kwh"]), source, row["reference_period"])
    return prices


def us_direct(data_dir: Path) -> float:
    rows = shippable(data_dir / "egrid2023_subregions.csv")
    return next(float(r["co2e_g_per_kwh"]) for r in rows if r["subregion"] == "US") / 1000


def factors_of(row: dict[str, str]) -> tuple[float, float]:
    """Life-cycle and direct factor of a country in kg/kWh; direct is never above life-cycle."""
    own_lca = float(row["own_lca_from_mix_ipcc_g"] or 0)
    own_direct = float(row["own_direct_from_mix_ipcc_g"] or 0)
    lca = float(row["ember_owid_lca_g"] or own_lca)
    direct = own_direct if own_direct <= lca else lca * own_direct / own_lca
    return lca / 1000, direct / 1000


def country_rows(countries: list[dict[str, str]], prices: dict[str, Price], us: float) -> list[Row]:
    out: list[Row] = []
    for raw in countries:
        identifier, iso3 = raw["iso3"].lower(), raw["iso3"]
        out += _named(identifier, raw["name"], (iso3, names.ISO2[iso3], *names.OTHER_NAMES.get(iso3, ())),
                      "country")
        out += _country_carbon(identifier, raw, us if iso3 == "USA" else None)
        out += _mix_and_water(identifier, f.shares(raw, "_twh"), MIX)
        if iso3 in names.WIDE_COUNTRIES:
            out.append(Row(identifier, "region_gsd", f.GSD_REGION_FROM_COUNTRY, "", "outlay", READ, "assumed",
                           note="geometric standard deviation of a city's grid factor around this country's"))
        out += _price(identifier, prices.get(identifier))
    known = {raw["iso3"] for raw in countries}
    for iso3, name in names.MISSING_NAMES.items():
        if iso3 not in known:
            out += _named(iso3.lower(), name, (iso3, names.ISO2[iso3]), "country")
            out += _price(iso3.lower(), prices.get(iso3.lower()))
    return out


def _country_carbon(identifier: str, raw: dict[str, str], us: float | None) -> list[Row]:
    lca, direct = factors_of(raw)
    year = raw["ember_owid_year"]
    gsd = f.GSD_FROM_MIX if not year else f.GSD_COUNTRY if int(year) >= 2023 else f.GSD_COUNTRY_OLD
    low, high = f.band(lca, gsd)
    if year:
        out = [Row(identifier, LCA, lca, "kg/kWh", EMBER, READ, "published", low, high,
                   f"life-cycle, location-based, annual mean of {year}"),
               Row(identifier, "grid_year", float(year), "year", EMBER, READ, "published")]
    else:
        out = [Row(identifier, LCA, lca, "kg/kWh", FROM_MIX, READ, "derived", low, high,
                   "life-cycle from the mix: Ember has no figure")]
    if us is not None:
        out.append(Row(identifier, DIRECT, us, "kg/kWh", EGRID, READ, "published", *f.band(us, f.GSD_COUNTRY),
                       note="direct combustion, total output rate, 2023"))
    elif direct > 0:
        out.append(Row(identifier, DIRECT, direct, "kg/kWh", FROM_MIX, READ, "derived",
                       *f.band(direct, f.GSD_FROM_MIX), note="direct combustion, from the mix"))
    else:
        out.append(Row(identifier, DIRECT, 0.0, "kg/kWh", FROM_MIX, READ, "derived",
                       note="no fuel burnt in the mix"))
    if raw["own_lca_from_mix_ipcc_g"]:
        own = float(raw["own_lca_from_mix_ipcc_g"]) / 1000
        out.append(Row(identifier, "grid_lca_from_mix_kgco2e_per_kwh", own, "kg/kWh", FROM_MIX, READ,
                       "derived", note="a check on the published factor"))
    return out


def state_rows(data_dir: Path, countries: list[dict[str, str]], prices: dict[str, Price]) -> list[Row]:
    """US states and eGRID subregions, provinces of China and Canada, Nordic bidding zones."""
    factors = {raw["iso3"].lower(): factors_of(raw) for raw in countries}
    factors["usa"] = (factors["usa"][0], us_direct(data_dir))
    out = _subregions(data_dir, factors)
    for raw in shippable(data_dir / "grid_carbon_intensity_subnational.csv"):
        zone, value = raw["zone"], float(raw["g_per_kwh"]) / 1000
        if raw["country"] == "USA" and zone != "usa":
            identifier = f"us-{zone.lower()}"
            name = raw["name"].title().replace(" Of ", " of ")
            out += _named(identifier, name, (f"US-{zone}",), "state", "usa")
            out += _from_direct(identifier, value, "usa", factors, EGRID, "2023")
            out += _price(identifier, prices.get(identifier))
        elif raw["country"] == "CHN":
            name = names.CHINA[zone[3:]].replace("_", " ")
            out += _named(zone.lower(), name, (zone,), "state", "chn")
            out += _from_direct(zone.lower(), value, "chn", factors, "China MEE provincial factors through "
                                "CodeCarbon 3.3.2 (MIT)", raw["year"])
        elif raw["country"] == "NORDIC" and zone != "FI":  # Finland is one zone: its country row serves
            out += _nordic(zone.lower(), raw, value, factors)
    return out + _canada(prices)


def _subregions(data_dir: Path, factors: Factors) -> list[Row]:
    out: list[Row] = []
    for raw in shippable(data_dir / "egrid2023_subregions.csv"):
        if raw["subregion"] != "US":
            code = raw["subregion"].lower()
            out += _named(code, raw["name"], (f"egrid:{code}",), "zone", "usa")
            out += _from_direct(code, float(raw["co2e_g_per_kwh"]) / 1000, "usa", factors, EGRID, raw["year"])
    return out


def _from_direct(identifier: str, direct: float, country: str, factors: Factors, source: str,
                 year: str) -> list[Row]:
    """A direct factor as published, and life-cycle by the country's own ratio of the two."""
    ratio = factors[country][0] / factors[country][1]
    lca = direct * ratio
    return [Row(identifier, LCA, lca, "kg/kWh", f"{source}; Ember", READ, "derived",
                *f.band(lca, f.GSD_SUBNATIONAL),
                note=f"direct factor of {year} x {country}'s life-cycle/direct ratio {ratio:.3f}"),
            Row(identifier, DIRECT, direct, "kg/kWh", source, READ, "published",
                *f.band(direct, f.GSD_COUNTRY),
                note=f"direct combustion, {year}; generation inside the area, trade not counted"),
            Row(identifier, "grid_year", float(year), "year", source, READ, "published")]


def _nordic(identifier: str, raw: dict[str, str], lca: float, factors: Factors) -> list[Row]:
    country = {"s": "swe", "n": "nor"}[identifier[0]]
    source = "Nordic bidding zones, ENTSO-E mix through CodeCarbon 3.3.2 (MIT)"
    uncovered = _uncovered(raw["method"])
    low, high = f.band(lca, f.GSD_COUNTRY)
    direct = lca * factors[country][1] / factors[country][0]
    two, number = identifier[:2].upper(), identifier[2:]
    return [*_named(identifier, raw["name"], (f"{two}-{two}{number}", f"{two}-{number}"), "zone", country),
            Row(identifier, LCA, lca, "kg/kWh", source, READ, "published", low,
                high + uncovered * f.IPCC_LIFECYCLE["biofuel"] / 1000,
                note=f"life-cycle, {raw['year']}; {100 * uncovered:.2g} % of generation has no factor and "
                     "counts as 0, the upper edge takes it as biomass"),
            Row(identifier, DIRECT, direct, "kg/kWh", f"{source}; {FROM_MIX}", READ, "derived",
                *f.band(direct, f.GSD_REGION_FROM_COUNTRY),
                note=f"life-cycle x {country}'s direct/life-cycle ratio"),
            Row(identifier, "grid_year", float(raw["year"]), "year", source, READ, "published")]


def _uncovered(method: str) -> float:
    covered = method.split(";", 1)[1].strip().split("%")[0].strip() if "%" in method else "100"
    return 1 - float(covered) / 100


def _canada(prices: dict[str, Price]) -> list[Row]:
    mixed = "Canada's provincial mix 2023 through CodeCarbon 3.3.2 (MIT)"
    source = mixed + " x IPCC AR5 WG3 Annex III medians"
    out: list[Row] = []
    for raw in read_csv(Path(__file__).with_name("sites_canada_mix.csv")):
        identifier, mix = raw["state"], f.shares(raw)
        aliases = (identifier.upper(), *(("Québec",) if raw["name"] == "Quebec" else ()))
        out += _named(identifier, raw["name"], aliases, "state", "can")
        for parameter, table in ((LCA, f.IPCC_LIFECYCLE), (DIRECT, f.IPCC_DIRECT)):
            value = f.intensity(mix, table) / 1000
            kind = "life-cycle" if parameter == LCA else "direct combustion"
            out.append(Row(identifier, parameter, value, "kg/kWh", source, READ, "derived",
                           *f.band(value, f.GSD_SUBNATIONAL),
                           note=f"{kind}, from the province's mix of 2023"))
        out += _mix_and_water(identifier, mix, mixed)
        out += _price(identifier, prices.get(identifier))
    return out


def world_rows(countries: list[dict[str, str]], prices: dict[str, Price]) -> list[Row]:
    """Where nobody says where: median, 10th and 90th percentile of the world's electricity."""
    source = EMBER + "; countries weighted by generation"
    told = "no place named: median and 10th to 90th percentile of the world's generation"
    points: dict[str, list[tuple[float, float]]] = {LCA: [], DIRECT: [], "water_grid_l_per_kwh": [],
                                                    "water_hydro_l_per_kwh": []}
    total: dict[str, float] = dict.fromkeys(f.FUELS, 0.0)
    for raw in countries:
        mix, weight = f.shares(raw, "_twh"), float(raw["mix_total_twh"] or 0)
        if not mix or weight <= 0:
            continue
        values = (*factors_of(raw), f.water_l_per_kwh(mix), f.hydro_water_l_per_kwh(mix))
        for parameter, value in zip(points, values):
            points[parameter].append((value, weight))
        for fuel, share in mix.items():
            total[fuel] += share * weight
    out = _named("world", "World", ("anywhere", "unknown", "global"), "world")
    for parameter, pairs in points.items():
        low, value, high = f.weighted_quantiles(pairs, (0.1, 0.5, 0.9))
        unit = "kg/kWh" if "kgco2e" in parameter else "L/kWh"
        out.append(Row("world", parameter, value, unit, source, READ, "assumed", low, high, told))
    mix = {fuel: amount / sum(total.values()) for fuel, amount in total.items()}
    out.append(Row("world", "grid_mix", f.mix_text(mix), "text", source, READ, "derived",
                   note="mean of the world"))
    out.append(_world_price(countries, prices))
    return out + sites_operators.default_rows("world")


def _world_price(countries: list[dict[str, str]], prices: dict[str, Price]) -> Row:
    weight = {raw["iso3"].lower(): float(raw["mix_total_twh"] or 0) for raw in countries}
    usd = {area: price for area, (price, _, _) in prices.items() if area != "usa"}
    states = [price for area, price in usd.items() if area.startswith("us-")]
    pairs = [(price, weight["usa"] / len(states)) for price in states]
    pairs += [(price, weight[area]) for area, price in usd.items() if weight.get(area)]
    low, value, high = f.weighted_quantiles(pairs, (0.1, 0.5, 0.9))
    low, high = f.widened(value, low, f.GSD_PRICE), f.widened(value, high, f.GSD_PRICE)
    return Row("world", "electricity_usd_per_kwh", value, "usd/kWh", "U.S. EIA 2024; Eurostat nrg_pc_205 "
               "2024-H2; countries typed from tariffs; weighted by generation", READ, "assumed", low, high,
               note="industrial, without tax; Europe, the United States, China, India, Korea, Taiwan, "
                    "Malaysia, Indonesia, Saudi Arabia; the spread of one contract added")


def _mix_and_water(identifier: str, mix: dict[str, float], source: str) -> list[Row]:
    if not mix:
        return []
    out = [Row(identifier, "grid_mix", f.mix_text(mix), "text", source, READ, "derived")]
    for parameter, value, note in (
            ("water_grid_l_per_kwh", f.water_l_per_kwh(mix), GRID_WATER_NOTE),
            ("water_hydro_l_per_kwh", f.hydro_water_l_per_kwh(mix), HYDRO_WATER_NOTE)):
        low, high = f.band(value, f.GSD_WATER) if value > 0 else (None, None)
        out.append(Row(identifier, parameter, value, "L/kWh", f"{f.MACKNICK_SOURCE}; {source}", READ,
                       "derived", low, high, note))
    return out


def _price(identifier: str, price: Price | None) -> list[Row]:
    if price is None:
        return []
    value, source, period = price
    return [Row(identifier, "electricity_usd_per_kwh", value, "usd/kWh", source, READ, "published",
                *f.band(value, f.GSD_PRICE), note=f"industrial price, {period}, without tax")]


def _named(identifier: str, name: str, aliases: tuple[str, ...], level: str, country: str = "") -> list[Row]:
    source = "ISO 3166 and the grid operators' names"
    spellings = "|".join(dict.fromkeys((name, *aliases)))  # the name too, so that a misspelling finds it
    out = [Row(identifier, "name", name, "text", source, READ, "published"),
           Row(identifier, "aliases", spellings, "list", source, READ, "published"),
           Row(identifier, "level", level, "text", "outlay", READ, "derived")]
    if country:
        out.append(Row(identifier, "country", country, "text", "ISO 3166", READ, "published"))
    return out
