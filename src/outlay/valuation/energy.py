"""From device energy to facility energy: host, network, cooling and losses, each apart."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Num = float | NDArray[np.float64]

J_PER_KWH = 3.6e6
HOUR_S = 3600.0
YEAR_S = 8766 * HOUR_S  # 365.25 days


def device_energy_j(device_s: Num, power_w: Num) -> Num:
    """Energy of devices at a mean power.

    device_s: device-seconds; power_w: mean watts of one device.
    BLOOM-176B: 1,082,990 A100-hours at 400 W are 433,196 kWh (Luccioni et al., arXiv:2211.02001).

    >>> round(device_energy_j(1_082_990 * HOUR_S, 400.0) / J_PER_KWH)
    433196
    """
    return device_s * power_w


def host_energy_j(energy_j: Num, host_factor: Num) -> Num:
    """What the rest of the node takes beside its accelerators: CPU, memory, adapters, fans, supply losses.

    energy_j: accelerators alone; host_factor: node energy over accelerator energy, dimensionless; below 1
    counts as 1, since a host never gives energy back.
    Eight H100 at 700 W inside a 10.2 kW node: factor 1.82 at rated power (Cottier et al., arXiv:2405.21015).

    >>> round(float(host_energy_j(8 * 700.0, 10_200 / 5600)))
    4600
    """
    return energy_j * np.maximum(0.0, host_factor - 1.0)


def host_and_supply_j(energy_j: Num, device_s: Num, host_w: Num, supply_factor: Num) -> Num:
    """The rest of the node where the time is known: a host that runs whatever its accelerators do, and supply losses.

    energy_j: accelerators alone, over device_s device-seconds; host_w: processors, memory, adapters and fans a
    device, before the supply; supply_factor: drawn at the plug over delivered. Eight H200 held to 350 W for a
    second, a host of 196 W a device and a supply of 94 % efficiency: 4.63 kW with the devices (MLPerf Inference
    v4.1 measured 4.78 kW on GPT-J).

    >>> round(float(8 * 350.0 + host_and_supply_j(8 * 350.0, 8.0, 196.0, 1.06)))
    4630
    """
    whole = np.maximum(1.0, supply_factor) * (energy_j + host_w * device_s)
    return whole - energy_j


def network_energy_j(energy_j: Num, network_share: Num) -> Num:
    """What switches and optics outside the nodes take, as a share of node energy.

    energy_j: nodes; network_share: switch energy over node energy (dimensionless).

    >>> network_energy_j(100.0, 0.05)
    5.0
    """
    return energy_j * network_share


def overhead_energy_j(energy_j: Num, pue: Num) -> Num:
    """Cooling, power conversion and distribution losses of a facility: (PUE - 1) of the IT energy.

    energy_j: IT energy; pue: power usage effectiveness (ISO/IEC 30134-2), facility over IT, at least 1.
    Google's fleet at 1.09 spends 0.09 J beside each joule of IT (arXiv:2508.15734).

    >>> round(float(overhead_energy_j(1.0, 1.09)), 2)
    0.09
    """
    return energy_j * np.maximum(0.0, pue - 1.0)


def it_energy_j(facility_j: Num, pue: Num) -> Num:
    """IT energy behind a facility meter's reading.

    >>> round(float(it_energy_j(1.09, 1.09)), 9)
    1.0
    """
    return facility_j / np.maximum(1.0, pue)


def facility_energy_j(energy_j: Num, host_factor: Num, network_share: Num, pue: Num) -> Num:
    """Facility energy of accelerators' energy: host, then network, then cooling and losses.

    Patterson et al. (arXiv:2104.10350) give GPT-3 as 3,552,000 V100-hours at a measured 330 W of system
    power per device and PUE 1.10: 1,287 MWh.

    >>> round(float(facility_energy_j(3_552_000 * HOUR_S * 330, 1.0, 0.0, 1.10)) / J_PER_KWH / 1000)
    1289
    """
    node_j = energy_j + host_energy_j(energy_j, host_factor)
    it_j = node_j + network_energy_j(node_j, network_share)
    return it_j + overhead_energy_j(it_j, pue)


def card_energy_j(device_s: Num, rated_power_w: Num) -> Num:
    """Energy as most model cards print it: device-hours times rated power, nothing else.

    An upper bound of accelerator energy that leaves out host, network and facility. Llama 2 7B prints
    184,320 A100-hours at 400 W.

    >>> round(card_energy_j(184_320 * HOUR_S, 400.0) / J_PER_KWH)
    73728
    """
    return device_energy_j(device_s, rated_power_w)


def cottier_energy_j(device_s: Num, rated_power_w: Num, chip_to_server: Num = 1.8, power_share: Num = 0.75,
                     pue: Num = 1.1) -> Num:
    """Facility energy of a training run as Cottier et al. estimate it (arXiv:2405.21015).

    rated_power_w: of the chip; chip_to_server: server over chip power (H100 10.2 kW / 8 / 0.7 kW = 1.82);
    power_share: mean over rated power (0.75 GPU, 0.43 TPU); pue: 1.1 hyperscaler, 1.25 others.

    >>> round(cottier_energy_j(1.0, 700.0, 1.821, 0.75, 1.1))
    1052
    """
    return device_s * rated_power_w * chip_to_server * power_share * pue


def as_kwh(energy_j: Num) -> Num:
    """Joules as kilowatt-hours.

    >>> as_kwh(3.6e6)
    1.0
    """
    return energy_j / J_PER_KWH
