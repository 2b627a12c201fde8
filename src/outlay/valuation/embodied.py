"""Embodied carbon of hardware and the share of it that a use takes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Num = float | NDArray[np.float64]

# Accelerator model anchored on one vendor's product carbon footprint (1,312 kg for eight H100 on a baseboard:
# memory 546, circuits 332, thermal 230, the rest 84 kg, assembly 8.6 %, transport 0.4 %).
LOGIC_KG_PER_CM2_AT_7NM = 2.52
LOGIC_NODE_EXPONENT = -0.547
OTHER_CIRCUITS_KG = 13.6
HBM_KG_PER_GB = 0.853
THERMAL_KG_PER_W = 0.0411
FIXED_PARTS_KG = 10.5
ASSEMBLY_FACTOR = 1.101
GDDR_OVER_HBM = 0.5  # an assumption: no vendor footprint separates it


def logic_kg_per_cm2(process_nm: Num) -> Num:
    """Carbon of a square centimetre of logic: 2.52 (n/7)^-0.547 kg (ACT and CarbonClarity, arXiv:2507.01145).

    >>> logic_kg_per_cm2(7.0)
    2.52
    """
    return LOGIC_KG_PER_CM2_AT_7NM * (process_nm / 7.0) ** LOGIC_NODE_EXPONENT


def accelerator_kg(die_cm2: Num, process_nm: Num, memory_bytes: Num, power_w: Num,
                   memory_kg_per_gb: Num = HBM_KG_PER_GB) -> Num:
    """Cradle-to-gate carbon of one accelerator, by its parts.

    die_cm2: logic area, all dies; process_nm: node (4 for TSMC 4N); memory_bytes: on-package memory;
    power_w: rated, which sizes the heat sink; memory_kg_per_gb: 0.853 HBM, half of it for GDDR (assumed).
    H100 SXM: 164 kg (1,312 / 8, NVIDIA HGX H100 PCF), by construction; out of sample B200 301 kg against a
    vendor's 284, A100 40 GB 105 against a teardown's 128 (arXiv:2509.00093). Geometric spread about 1.6.

    >>> round(accelerator_kg(8.14, 4.0, 80e9, 700.0)), round(accelerator_kg(16.0, 4.0, 180e9, 1000.0))
    (164, 301)
    >>> round(accelerator_kg(8.26, 7.0, 40e9, 400.0))
    105
    """
    circuits = logic_kg_per_cm2(process_nm) * die_cm2 + OTHER_CIRCUITS_KG
    memory = memory_kg_per_gb * memory_bytes / 1e9
    return ASSEMBLY_FACTOR * (circuits + memory + THERMAL_KG_PER_W * power_w + FIXED_PARTS_KG)


def embodied_kg(device_s: Num, embodied_kg_per_device: Num, lifetime_s: Num, busy_share: Num = 1.0) -> Num:
    """The share of embodied carbon that a use takes: TE times time reserved over lifetime (ISO/IEC 21031).

    busy_share: 1 for calendar time; the hardware's utilisation to charge its idle time to its users too.
    BLOOM-176B: 1.08M GPU-hours of 150 kg cards and eight-card 2,500 kg servers over 6 years at 85 % use
    are 11.2 t (arXiv:2211.02001), about 10 g an hour.

    >>> round(embodied_kg(1_082_990 * 3600, 150 + 2500 / 8, 6 * 8760 * 3600, 0.85) / 1000, 1)
    11.2
    """
    return device_s * embodied_kg_per_device / (lifetime_s * busy_share)


def per_device_kg(server_kg: Num, devices_per_node: Num) -> Num:
    """One device's part of its server (without the devices).

    >>> per_device_kg(5700.0, 8)
    712.5
    """
    return server_kg / devices_per_node
