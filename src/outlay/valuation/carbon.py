"""Operational carbon: location-based by default; market-based and marginal beside it, never mixed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Num = float | NDArray[np.float64]

J_PER_KWH = 3.6e6
# Physical range of electricity at a plug, kgCO2e/kWh: from the cleanest life-cycle figure of any technology
# (wind 7 g, IPCC AR5 WG3 Annex III) to coal at its worst (910 g) with a tenth lost on the way and PUE 2.
LOWEST_KG_PER_KWH = 0.007
HIGHEST_KG_PER_KWH = 0.910 * 1.1 * 2.0


def operational_kg(energy_j: Num, kgco2e_per_j: Num) -> Num:
    """Operational carbon, location-based: facility energy times the grid's mean intensity.

    energy_j: facility energy; kgco2e_per_j: grid mean over the year and zone, basis stated by the caller.
    GPT-3: 1,287 MWh at 429 g/kWh are 552 t (Patterson et al., arXiv:2104.10350).

    >>> round(operational_kg(1_287_000 * J_PER_KWH, 0.429 / J_PER_KWH) / 1000)
    552
    """
    return energy_j * kgco2e_per_j


def market_based_kg(energy_j: Num, carbon_free_j: Num, residual_kg_per_j: Num) -> Num:
    """Operational carbon, market-based: what matched carbon-free supply leaves, at the residual mix.

    Per hour when arrays of hours are given (sum them), else for the year. GHG Protocol Scope 2.

    >>> market_based_kg(10.0, 4.0, 0.5), market_based_kg(10.0, 12.0, 0.5)
    (3.0, 0.0)
    """
    left: Num = np.maximum(0.0, energy_j - carbon_free_j)
    return left * residual_kg_per_j if isinstance(left, np.ndarray) else float(left) * residual_kg_per_j


def total_kg(operational: Num, embodied: Num) -> Num:
    """Operational and embodied carbon together.

    BLOOM-176B: 24.7 t dynamic and 14.6 t idle, with 11.2 t embodied, are 50.5 t (arXiv:2211.02001).

    >>> round(total_kg(24.69 + 14.6, 11.2), 1)
    50.5
    """
    return operational + embodied


def implied_kg_per_kwh(co2e_kg: Num, energy_j: Num) -> Num:
    """Carbon over energy: the intensity a published pair stands for (PUE inside it if the card left it out).

    Llama 2 7B: 31.22 t for 73,728 kWh imply 423 g/kWh, as every row of that family does.

    >>> round(implied_kg_per_kwh(31_220.0, 73_728 * J_PER_KWH), 3)
    0.423
    """
    return co2e_kg / (energy_j / J_PER_KWH)


def plausible_intensity(kg_per_kwh: Num) -> bool | NDArray[np.bool_]:
    """Whether carbon per kilowatt-hour lies inside what any electricity can have.

    Llama 3.3's card prints 12.9 t for 4,900,000 kWh: 2.6 g/kWh, cleaner than wind.

    >>> bool(plausible_intensity(0.423)), bool(plausible_intensity(12_900 / 4_900_000))
    (True, False)
    """
    inside = (kg_per_kwh >= LOWEST_KG_PER_KWH) & (kg_per_kwh <= HIGHEST_KG_PER_KWH)
    return inside


def parts_match(total: Num, parts_sum: Num, tolerance: float = 0.02) -> bool | NDArray[np.bool_]:
    """Whether a printed total equals the sum of the parts printed with it.

    Llama 2's card totals 539 t; its listed sizes add up to 385 t.

    >>> bool(parts_match(539.0, 31.22 + 62.44 + 291.42))
    False
    """
    matched: bool | NDArray[np.bool_] = np.abs(total - parts_sum) <= tolerance * np.abs(total)
    return matched


def sci_kg_per_unit(energy_j: Num, kgco2e_per_j: Num, embodied_kg: Num, units: Num) -> Num:
    """Software Carbon Intensity, ISO/IEC 21031:2024: (operational + embodied) over functional units.

    130 kg for 1e9 tokens are 130 g per million (the SCI for AI draft of 2026-01 prints 0.13).

    >>> round(sci_kg_per_unit(0.0, 0.0, 130.0, 1e9) * 1e6 * 1000)
    130
    """
    return (operational_kg(energy_j, kgco2e_per_j) + embodied_kg) / units
