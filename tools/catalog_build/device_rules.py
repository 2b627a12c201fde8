"""Rules that hold for whole families of devices: architecture, and whose utilisation is borrowed."""

from __future__ import annotations

import re
from typing import NamedTuple

_ARCHITECTURES = (
    (r"^k80", "kepler"),
    (r"^p(100|40|4)\b", "pascal"),
    (r"^v100", "volta"),
    (r"^(t4|titan-rtx|rtx-2080)", "turing"),
    (r"^(a100|a800|a30)\b", "ampere-hbm"),
    (r"^(a40|a10|a10g|a2|rtx-30|rtx-a\d|jetson-.*orin)", "ampere"),
    (r"^(l4|l40|l40s|l20|rtx-40|rtx-\d000-ada)", "ada"),
    (r"^(h100|h800|h20|h200|gh200)\b", "hopper"),
    (r"^(b100|b200|gb200)", "blackwell"),
    (r"^(b300|gb300)", "blackwell-ultra"),
    (r"^(rtx-50|rtx-pro|gb10|jetson-t)", "blackwell-gddr"),
    (r"^rubin", "rubin"),
    (r"^mi(50)", "gcn"),
    (r"^mi(100|210|250)", "cdna2"),
    (r"^mi3(00|25)", "cdna3"),
    (r"^mi35", "cdna4"),
    (r"^(rx|radeon|ryzen)", "rdna"),
    (r"^gaudi", "gaudi"),
    (r"^max", "ponte-vecchio"),
    (r"^arc", "battlemage"),
    (r"^tpu", "tpu"),
    (r"^(trainium|inferentia)", "neuron"),
    (r"^ascend", "ascend"),
)


def architecture(identifier: str) -> str:
    """The family a catalogue id belongs to, or "other"."""
    return next((name for pattern, name in _ARCHITECTURES if re.match(pattern, identifier)), "other")


class Donor(NamedTuple):
    """Whose measured utilisation a device uses, and the factor (80 %) by which it may be off either way."""

    family: str
    widening: float
    why: str


_SAME = "measured on this device"
_MEASURED = {
    "a100-sxm4-80gb": "a100_sxm",
    "h100-sxm5-80gb": "h100_sxm",
    "h200-sxm-141gb": "h200_sxm",
    "b200-sxm": "b200_sxm",
    "b300-sxm": "b300_sxm",
    "gb200": "gb200",
    "gb300": "gb300",
    "l40s": "l40s",
    "rtx-pro-6000-server": "rtx_pro_6000_server",
    "arc-pro-b60": "b60",
}
_BORROWED = {
    "ampere-hbm": Donor("a100_sxm", 1.15, "same generation"),
    "hopper": Donor("h100_sxm", 1.15, "same generation"),
    "hopper-HBM3e": Donor("h200_sxm", 1.15, "same generation and memory"),
    "blackwell": Donor("b200_sxm", 1.1, "same generation"),
    "blackwell-ultra": Donor("b300_sxm", 1.1, "same generation"),
    "volta": Donor("a100_sxm", 1.4, "neighbouring generation"),
    "rubin": Donor("b200_sxm", 1.4, "neighbouring generation"),
    "ada": Donor("l40s", 1.5, "same generation, other power limit and memory"),
    "blackwell-gddr": Donor("rtx_pro_6000_server", 1.5, "same generation, other power limit and memory"),
    "ampere": Donor("rtx_pro_6000_server", 1.5, "GDDR part of a neighbouring generation"),
    "turing": Donor("rtx_pro_6000_server", 2.0, "GDDR part of an older generation"),
    "cdna2": Donor(
        "h100_sxm", 1.5, "H100's curve shape, scaled to the measured large-size rate where there is one"
    ),
    "cdna3": Donor("h100_sxm", 1.5, "H100's curve shape, scaled to the measured large-size rate"),
    "cdna4": Donor("h100_sxm", 1.5, "H100's curve shape, scaled to the measured large-size rate"),
    "rdna": Donor("rtx_pro_6000_server", 2.0, "no kernel table; another maker's GDDR part"),
    "battlemage": Donor("b60", 1.3, "same generation"),
    "tpu": Donor("h100_sxm", 1.3, "no kernel table; level checked on public MaxText tables"),
}
# devices whose own training runs set the level: the residual of their class is already their spread
_CALIBRATED = {"tpu-v4": "h100_sxm", "tpu-v5e": "h100_sxm", "tpu-v5p": "h100_sxm"}
_UNKNOWN = Donor("h100_sxm", 2.0, "no kernel table for this architecture or a relative")


def donor(identifier: str, memory_type: str = "") -> Donor:
    """Reference: spread of utilisation between covered devices, reference table of borrowed curves."""
    if identifier in _MEASURED:
        return Donor(_MEASURED[identifier], 1.0, _SAME)
    if identifier in _CALIBRATED:
        return Donor(_CALIBRATED[identifier], 1.0, "no kernel table; the level is fitted to public MaxText step times")
    family = architecture(identifier)
    return _BORROWED.get(f"{family}-{memory_type}") or _BORROWED.get(family, _UNKNOWN)


# Best large matrix multiplication over dense bf16 peak (maximum achievable matmul, ml-engineering, stas00)
COMPUTE_ANCHOR = {"mi300x": 668 / 1300, "mi325x": 785 / 1300, "mi355x": 1565 / 2300}
ANCHOR_SOURCE = "Stas Bekman, ml-engineering, accelerator MAMF table (github.com/stas00/ml-engineering)"


MIG_SLICES = {"ampere-hbm": 7, "hopper": 7, "blackwell": 7, "blackwell-ultra": 7}


def mig_slices(identifier: str) -> int:
    """Compute slices a MIG-capable device splits into; 0 when it cannot (NVIDIA MIG user guide)."""
    if identifier == "a30" or identifier.startswith("rtx-pro-6000"):
        return 4
    return MIG_SLICES.get(architecture(identifier), 0)
