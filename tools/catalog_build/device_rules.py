"""Rules that hold for whole families of devices: architecture, node, link, and whose utilisation is borrowed."""

from __future__ import annotations

import re
from typing import NamedTuple

_ARCHITECTURES = (
    (r"^k80", "kepler"), (r"^p(100|40|4)\b", "pascal"), (r"^v100", "volta"),
    (r"^(t4|titan-rtx|rtx-2080)", "turing"), (r"^(a100|a800|a30)\b", "ampere-hbm"),
    (r"^(a40|a10|a10g|a2|rtx-30|rtx-a\d|jetson-.*orin)", "ampere"), (r"^(l4|l40|l40s|l20|rtx-40|rtx-\d000-ada)", "ada"),
    (r"^(h100|h800|h20|h200|gh200)\b", "hopper"), (r"^(b100|b200|gb200)", "blackwell"),
    (r"^(b300|gb300)", "blackwell-ultra"), (r"^(rtx-50|rtx-pro|gb10|jetson-t)", "blackwell-gddr"),
    (r"^rubin", "rubin"), (r"^mi(50)", "gcn"), (r"^mi(100|210|250)", "cdna2"), (r"^mi3(00|25)", "cdna3"),
    (r"^mi35", "cdna4"), (r"^(rx|radeon|ryzen)", "rdna"), (r"^gaudi", "gaudi"), (r"^max", "ponte-vecchio"),
    (r"^arc", "battlemage"), (r"^tpu", "tpu"), (r"^(trainium|inferentia)", "neuron"), (r"^ascend", "ascend"),
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
    "a100-sxm4-80gb": "a100_sxm", "h100-sxm5-80gb": "h100_sxm", "h200-sxm-141gb": "h200_sxm",
    "b200-sxm": "b200_sxm", "b300-sxm": "b300_sxm", "gb200": "gb200", "gb300": "gb300", "l40s": "l40s",
    "rtx-pro-6000-server": "rtx_pro_6000_server", "arc-pro-b60": "b60",
}
_BORROWED = {
    "ampere-hbm": Donor("a100_sxm", 1.15, "same generation"),
    "hopper": Donor("h100_sxm", 1.15, "same generation"),
    "blackwell": Donor("b200_sxm", 1.1, "same generation"),
    "blackwell-ultra": Donor("b300_sxm", 1.1, "same generation"),
    "volta": Donor("a100_sxm", 1.4, "neighbouring generation"),
    "rubin": Donor("b200_sxm", 1.4, "neighbouring generation"),
    "ada": Donor("l40s", 1.5, "same generation, other power limit and memory"),
    "blackwell-gddr": Donor("rtx_pro_6000_server", 1.5, "same generation, other power limit and memory"),
    "ampere": Donor("rtx_pro_6000_server", 1.5, "GDDR part of a neighbouring generation"),
    "turing": Donor("rtx_pro_6000_server", 2.0, "GDDR part of an older generation"),
    "cdna2": Donor("h100_sxm", 1.5, "H100's curve shape, scaled to the measured large-size rate where there is one"),
    "cdna3": Donor("h100_sxm", 1.5, "H100's curve shape, scaled to the measured large-size rate"),
    "cdna4": Donor("h100_sxm", 1.5, "H100's curve shape, scaled to the measured large-size rate"),
    "rdna": Donor("rtx_pro_6000_server", 2.0, "no kernel table; another maker's GDDR part"),
    "battlemage": Donor("b60", 1.3, "same generation"),
    "tpu": Donor("h100_sxm", 1.3, "no kernel table; level checked on public MaxText tables"),
}
_UNKNOWN = Donor("h100_sxm", 2.0, "no kernel table for this architecture or a relative")


def donor(identifier: str) -> Donor:
    """Reference: spread of utilisation between covered devices, reference table of borrowed curves."""
    if identifier in _MEASURED:
        return Donor(_MEASURED[identifier], 1.0, _SAME)
    return _BORROWED.get(architecture(identifier), _UNKNOWN)


# Best large matrix multiplication over dense bf16 peak (maximum achievable matmul, ml-engineering, stas00)
COMPUTE_ANCHOR = {"mi300x": 668 / 1300, "mi325x": 785 / 1300, "mi355x": 1565 / 2300}
ANCHOR_SOURCE = "Stas Bekman, ml-engineering, accelerator MAMF table (github.com/stas00/ml-engineering)"


class Node(NamedTuple):
    """How devices of a class are built into nodes and networks; rates are per device and direction."""

    id: str
    name: str
    devices_per_node: int
    scale_up_devices: int
    inter_node_bytes_per_s: float
    host_link_bytes_per_s: float
    host_memory_bytes: float
    source: str
    how: str
    note: str


PCIE3, PCIE4, PCIE5, PCIE6 = 15.8e9, 31.5e9, 63e9, 126e9
_DGX = "NVIDIA DGX system data sheets"
_SPACE = "usual build of such nodes; give your own where it differs"
NODES = {n.id: n for n in (
    Node("dgx-v100", "8 x V100 SXM2 (DGX-1)", 8, 8, 6.25e9, PCIE3, 0.5e12, f"{_DGX}: DGX-1", "vendor",
         "four 100 Gb/s ports a node"),
    Node("hgx-a100", "8 x A100 SXM4 (HGX)", 8, 8, 25e9, PCIE4, 2e12, f"{_DGX}: DGX A100", "vendor",
         "one 200 Gb/s port a GPU; clouds with 400 Gb/s a node have 6.25e9"),
    Node("hgx-hopper", "8 x H100/H200 SXM (HGX)", 8, 8, 50e9, PCIE5, 2e12, f"{_DGX}: DGX H100", "vendor",
         "one 400 Gb/s port a GPU"),
    Node("hgx-b200", "8 x B200 SXM (HGX)", 8, 8, 50e9, PCIE5, 2e12, f"{_DGX}: DGX B200", "vendor",
         "one 400 Gb/s port a GPU"),
    Node("hgx-b300", "8 x B300 SXM (HGX)", 8, 8, 100e9, PCIE6, 2e12, f"{_DGX}: DGX B300", "vendor",
         "one 800 Gb/s port a GPU"),
    Node("gb200-nvl72", "GB200 NVL72 rack, 18 trays of 4", 4, 72, 50e9, 225e9, 0.96e12,
         f"{_DGX}: DGX GB200; tray of 2 Grace and 4 GPUs", "vendor",
         "one 400 Gb/s port a GPU; NVLink-C2C of 450 GB/s a direction and Grace, shared by two GPUs"),
    Node("gb300-nvl72", "GB300 NVL72 rack, 18 trays of 4", 4, 72, 100e9, 225e9, 0.96e12,
         f"{_DGX}: DGX GB300; tray of 2 Grace and 4 GPUs", "vendor",
         "one 800 Gb/s port a GPU; NVLink-C2C of 450 GB/s a direction and Grace, shared by two GPUs"),
    Node("gh200", "GH200 superchip", 1, 1, 50e9, 450e9, 0.48e12, f"{_DGX}: Grace Hopper superchip", "vendor",
         "one 400 Gb/s port a superchip"),
    Node("oam-cdna3", "8 x MI300X or later (OAM)", 8, 8, 50e9, PCIE5, 2e12, "AMD Instinct platform data sheets",
         "vendor", "one 400 Gb/s port a GPU; each link goes to one peer"),
    Node("oam-cdna2", "4 x MI250 (OAM)", 4, 4, 25e9, PCIE4, 0.5e12, "Frontier node description, olcf.ornl.gov",
         "published", "one 200 Gb/s port a module; two visible devices a module"),
    Node("mi300a", "4 x MI300A", 4, 4, 25e9, PCIE5, 0.0, "El Capitan node description, LLNL", "published",
         "CPU and GPU share one memory"),
    Node("gaudi2", "8 x Gaudi 2 (OAM)", 8, 8, 37.5e9, PCIE4, 1e12, "Intel Gaudi 2 white paper", "vendor",
         "3 of 24 100 Gb/s ports leave the node"),
    Node("gaudi3", "8 x Gaudi 3 (OAM)", 8, 8, 75e9, PCIE5, 1e12, "Intel Gaudi 3 white paper", "vendor",
         "3 of 24 200 Gb/s ports leave the node"),
    Node("oam-other", "8 accelerators on one baseboard", 8, 8, 25e9, PCIE4, 1e12, _SPACE, "assumed", ""),
    Node("trn1", "16 x Trainium 1 (trn1.32xlarge)", 16, 16, 6.25e9, PCIE4, 0.5e12, "AWS EC2 Trn1 product page",
         "vendor", "800 Gb/s a node; trn1n has 1,600"),
    Node("trn2", "16 x Trainium 2 (trn2.48xlarge)", 16, 16, 25e9, PCIE5, 2e12, "AWS EC2 Trn2 product page", "vendor",
         "3.2 Tb/s a node; an UltraServer joins 64"),
    Node("trn3", "Trainium 3 UltraServer", 16, 144, 25e9, PCIE5, 2e12, _SPACE, "assumed", "144 chips an UltraServer"),
    Node("inf2", "12 x Inferentia 2 (inf2.48xlarge)", 12, 12, 1.04e9, PCIE4, 0.384e12, "AWS EC2 Inf2 product page",
         "vendor", "100 Gb/s a node"),
    Node("pcie5-server", "8 PCIe 5 cards in a server", 8, 8, 25e9, PCIE5, 1e12, _SPACE, "assumed",
         "one 400 Gb/s port for two cards"),
    Node("pcie4-server", "8 PCIe 4 cards in a server", 8, 8, 12.5e9, PCIE4, 0.5e12, _SPACE, "assumed",
         "one 200 Gb/s port for two cards"),
    Node("pcie3-server", "4 PCIe 3 cards in a server", 4, 4, 3.125e9, PCIE3, 0.25e12, _SPACE, "assumed",
         "one 100 Gb/s port for four cards"),
    Node("workstation", "4 cards in a workstation", 4, 4, 1.25e9, PCIE4, 0.25e12, _SPACE, "assumed",
         "10 Gb/s a card"),
    Node("single", "one device", 1, 1, 1.25e9, PCIE3, 0.0, _SPACE, "assumed",
         "memory is shared with the processor, or there is no host"),
)}
# TPU: chips in a pod (the largest fast domain), chips a host; data-centre network a chip (jax-ml scaling book)
TPU = {"tpu-v2": (256, 4, 3.1e9), "tpu-v3": (1024, 4, 3.1e9), "tpu-v4": (4096, 4, 3.1e9), "tpu-v5e": (256, 4, 3.1e9),
       "tpu-v5p": (8960, 4, 6.25e9), "tpu-v6e": (256, 4, 12.5e9), "tpu-v7": (9216, 4, 12.5e9)}
TPU_SOURCE = "Google Cloud TPU system architecture pages; Scaling Book, jax-ml.github.io/scaling-book (network a chip)"


def node_of(identifier: str, form: str, kind: str, link: str) -> Node:
    """The node a device is built into, by its form factor and architecture."""
    family = architecture(identifier)
    exact = {"gb200": "gb200-nvl72", "gb300": "gb300-nvl72", "gh200-96gb": "gh200", "mi300a": "mi300a",
             "gaudi2": "gaudi2", "gaudi3": "gaudi3", "trainium1": "trn1", "trainium2": "trn2", "trainium3": "trn3",
             "inferentia2": "inf2"}
    if identifier in exact:
        return NODES[exact[identifier]]
    if identifier in TPU:
        pod, per_host, network = TPU[identifier]
        return Node(identifier, f"{identifier} pod", per_host, pod, network, PCIE4, 0.5e12, TPU_SOURCE, "published",
                    "the slice rented is the fast domain; a fleet up to the pod is one slice")
    if form.startswith("SXM"):
        return NODES[{"pascal": "dgx-v100", "volta": "dgx-v100", "ampere-hbm": "hgx-a100", "hopper": "hgx-hopper",
                      "blackwell": "hgx-b200", "blackwell-ultra": "hgx-b300"}[family]]
    if form == "OAM":
        return NODES[{"cdna2": "oam-cdna2", "cdna3": "oam-cdna3", "cdna4": "oam-cdna3"}.get(family, "oam-other")]
    if kind in ("edge", "soc") or form in ("SoC", "module"):
        return NODES["single"]
    if kind in ("consumer", "workstation"):
        return NODES["workstation"]
    server = next((f"pcie{g}-server" for g in "53" if f"PCIe{g}" in link), "pcie4-server")
    return NODES["pcie5-server" if "NVLink4" in link else server]


MIG_SLICES = {"ampere-hbm": 7, "hopper": 7, "blackwell": 7, "blackwell-ultra": 7}


def mig_slices(identifier: str) -> int:
    """Compute slices a MIG-capable device splits into; 0 when it cannot (NVIDIA MIG user guide)."""
    if identifier == "a30" or identifier.startswith("rtx-pro-6000"):
        return 4
    return MIG_SLICES.get(architecture(identifier), 0)
