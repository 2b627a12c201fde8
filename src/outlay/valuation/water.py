"""Water consumed: on site by cooling, off site by generation. Consumption, never withdrawal."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Num = float | NDArray[np.float64]


def onsite_l(it_energy_j: Num, wue_l_per_j: Num) -> Num:
    """Water evaporated on site: IT energy times water usage effectiveness.

    it_energy_j: IT energy, without cooling; wue_l_per_j: litres per joule of IT energy (ISO/IEC 30134-9).
    Gemini's median prompt: 0.24 Wh at PUE 1.09 and 1.15 L/kWh is 0.25 mL (arXiv:2508.15734).

    >>> round(1000 * onsite_l(0.24 * 3600 / 1.09, 1.15 / 3.6e6), 2)
    0.25
    """
    return it_energy_j * wue_l_per_j


def offsite_l(facility_energy_j: Num, grid_l_per_j: Num) -> Num:
    """Water consumed where the electricity is made.

    facility_energy_j: IT energy times PUE; grid_l_per_j: consumption of the grid's mix (EWIF).
    Olmo 3's 12.3 GWh took 15,887 m3, all of it off site: 1.29 L/kWh (arXiv:2605.01158).

    >>> round(offsite_l(12.3e6 * 3.6e6, 1.29 / 3.6e6) / 1000)
    15867
    """
    return facility_energy_j * grid_l_per_j


def water_l(it_energy_j: Num, wue_l_per_j: Num, pue: Num, grid_l_per_j: Num) -> Num:
    """Water of IT energy, on and off site: E_IT (WUE + PUE EWIF), PUE once (Li et al., arXiv:2304.03271).

    GPT-3's 1,287 MWh at 0.55 L/kWh, PUE 1.17 and 3.14 L/kWh: the paper prints 5.4 million litres.

    >>> round(water_l(1_287_000 * 3.6e6, 0.55 / 3.6e6, 1.17, 3.14 / 3.6e6) / 1e6, 1)
    5.4
    """
    return onsite_l(it_energy_j, wue_l_per_j) + offsite_l(it_energy_j * pue, grid_l_per_j)
