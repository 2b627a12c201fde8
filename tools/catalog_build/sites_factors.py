"""Arithmetic of the site tables: intervals from a geometric standard deviation; carbon and water of a mix."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from itertools import pairwise

Z_EDGE = 1.2815515655446004  # standard normal at the 90th percentile
L_PER_GALLON = 3.785411784

# Geometric standard deviations of site factors, and why.
GSD_COUNTRY = 1.1  # annual national factor between two years and two tables
GSD_COUNTRY_OLD = 1.2  # the newest year on record is before 2023
GSD_FROM_MIX = 1.2  # recomputed from a mix with world medians: median |log| to Google's 2024 figures is 0.12
GSD_SUBNATIONAL = 1.2  # state's direct factor times the country's ratio, or a province's mix
GSD_REGION_FROM_COUNTRY = 1.35  # one city read from a country of several grids
GSD_PUE_KNOWN = 1.05
GSD_WATER = 1.5  # grid water
GSD_WUE = 1.4  # fleet average read for one site
GSD_PRICE = 1.25  # industrial average of an area against one data centre's contract, and two years of drift

FUELS = ("coal", "gas", "oil", "nuclear", "hydroelectricity", "wind", "solar", "biofuel",
         "other_renewable_exc_biofuel")
FUEL_NAMES = {"hydroelectricity": "hydro", "biofuel": "biomass",
              "other_renewable_exc_biofuel": "other renewable"}

# gCO2e/kWh. IPCC AR5 WG3 Annex III Table A.III.2 medians; oil as in the country table (UK POST 2014; US EIA).
IPCC_LIFECYCLE = {"coal": 820.0, "gas": 490.0, "oil": 650.0, "nuclear": 12.0, "hydroelectricity": 24.0,
                  "wind": 11.0, "solar": 48.0, "biofuel": 230.0, "other_renewable_exc_biofuel": 38.0}
IPCC_DIRECT = {"coal": 760.0, "gas": 370.0, "oil": 406.0}

# Median consumption in US gallons per MWh: (cooling tower, once-through); hydropower apart.
MACKNICK = {"coal": (687.0, 250.0), "gas": (205.0, 100.0), "oil": (826.0, 240.0), "nuclear": (672.0, 269.0),
            "biofuel": (553.0, 300.0), "solar": (1.0, 1.0), "wind": (0.0, 0.0),
            "other_renewable_exc_biofuel": (251.0, 251.0)}
MACKNICK_HYDRO = 4491.0
MACKNICK_SOURCE = "Macknick et al. 2012, doi:10.1088/1748-9326/7/4/045802 (medians, as transcribed)"


def band(value: float, gsd: float) -> tuple[float, float]:
    """The 80 % interval of a log-normal around `value`."""
    factor = gsd ** Z_EDGE
    return float(f"{value / factor:.5g}"), float(f"{value * factor:.5g}")


def widened(value: float, edge: float, gsd: float) -> float:
    """An edge of an 80 % interval moved out by an independent log-normal spread."""
    own = math.log(edge / value)
    return value * math.exp(math.copysign(math.hypot(own, Z_EDGE * math.log(gsd)), own))


def shares(row: Mapping[str, str], suffix: str = "") -> dict[str, float]:
    """Shares by fuel of a raw row; empty when the row holds no mix."""
    amounts = {fuel: float(row.get(fuel + suffix) or 0) for fuel in FUELS}
    total = sum(amounts.values())
    return {fuel: amount / total for fuel, amount in amounts.items()} if total > 0 else {}


def mix_text(mix: Mapping[str, float]) -> str:
    """"gas 42 %, nuclear 18 %, ..." down to 1 %, largest first."""
    ordered = sorted(mix.items(), key=lambda item: -item[1])
    named = ((FUEL_NAMES.get(fuel, fuel), share) for fuel, share in ordered if share >= 0.01)
    return ", ".join(f"{name} {100 * share:.0f} %" for name, share in named)


def intensity(mix: Mapping[str, float], per_fuel: Mapping[str, float]) -> float:
    return sum(share * per_fuel.get(fuel, 0.0) for fuel, share in mix.items())


def water_l_per_kwh(mix: Mapping[str, float]) -> float:
    """Water evaporated at power stations without reservoirs: half cooling towers, half once-through."""
    gallons = {fuel: (tower + once) / 2 for fuel, (tower, once) in MACKNICK.items()}
    return intensity(mix, gallons) * L_PER_GALLON / 1000


def hydro_water_l_per_kwh(mix: Mapping[str, float]) -> float:
    """Reservoir evaporation, all of it given to electricity: an upper reading, contested."""
    return mix.get("hydroelectricity", 0.0) * MACKNICK_HYDRO * L_PER_GALLON / 1000


def weighted_quantiles(points: Iterable[tuple[float, float]], levels: tuple[float, ...]) -> list[float]:
    """Quantiles of (value, weight) pairs, interpolated at the middle of each weight."""
    ordered = sorted(points)
    total = sum(weight for _, weight in ordered)
    middles, run = [], 0.0
    for value, weight in ordered:
        middles.append(((run + weight / 2) / total, value))
        run += weight
    return [_interpolated(middles, level) for level in levels]


def _interpolated(middles: list[tuple[float, float]], level: float) -> float:
    if level <= middles[0][0]:
        return middles[0][1]
    for (p0, v0), (p1, v1) in pairwise(middles):
        if level <= p1:
            return v0 + (v1 - v0) * (level - p0) / (p1 - p0)
    return middles[-1][1]
