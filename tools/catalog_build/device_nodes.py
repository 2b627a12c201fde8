"""How devices of a class are built into nodes and networks."""

from __future__ import annotations

from typing import NamedTuple

from catalog_build.device_rules import architecture


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
_AIC = "NVIDIA aiconfigurator-core 0.12.0 systems"
_SPACE = "usual build of such nodes; give your own where it differs"
NODES = {
    n.id: n
    for n in (
        Node(
            "dgx-v100",
            "8 x V100 SXM2 (DGX-1)",
            8,
            8,
            6.25e9,
            PCIE3,
            0.5e12,
            _SPACE,
            "assumed",
            "four 100 Gb/s ports a node",
        ),
        Node(
            "hgx-a100",
            "8 x A100 SXM4 (HGX)",
            8,
            8,
            25e9,
            PCIE4,
            2e12,
            f"{_AIC}/a100_sxm.yaml",
            "vendor",
            "one 200 Gb/s port a GPU; clouds with 400 Gb/s a node have 6.25e9",
        ),
        Node(
            "hgx-hopper",
            "8 x H100/H200 SXM (HGX)",
            8,
            8,
            50e9,
            PCIE5,
            2e12,
            f"{_AIC}/h100_sxm.yaml",
            "vendor",
            "one 400 Gb/s port a GPU",
        ),
        Node(
            "hgx-b200",
            "8 x B200 SXM (HGX)",
            8,
            8,
            50e9,
            PCIE5,
            2e12,
            _SPACE,
            "assumed",
            "one 400 Gb/s port a GPU",
        ),
        Node(
            "hgx-b300",
            "8 x B300 SXM (HGX)",
            8,
            8,
            100e9,
            PCIE6,
            2e12,
            f"{_AIC}/b300_sxm.yaml",
            "vendor",
            "one 800 Gb/s port a GPU",
        ),
        Node(
            "gb200-nvl72",
            "GB200 NVL72 rack, 18 trays of 4",
            4,
            72,
            50e9,
            225e9,
            0.96e12,
            f"{_AIC}/gb200.yaml (trays, domain); network assumed",
            "vendor",
            "one 400 Gb/s port a GPU; NVLink-C2C of 450 GB/s a direction and Grace, shared by two GPUs",
        ),
        Node(
            "gb300-nvl72",
            "GB300 NVL72 rack, 18 trays of 4",
            4,
            72,
            100e9,
            225e9,
            0.96e12,
            f"{_AIC}/gb300.yaml",
            "vendor",
            "one 800 Gb/s port a GPU; NVLink-C2C of 450 GB/s a direction and Grace, shared by two GPUs",
        ),
        Node(
            "gh200",
            "GH200 superchip",
            1,
            1,
            50e9,
            450e9,
            0.48e12,
            _SPACE,
            "assumed",
            "one 400 Gb/s port a superchip",
        ),
        Node(
            "oam-cdna3",
            "8 x MI300X or later (OAM)",
            8,
            8,
            50e9,
            PCIE5,
            2e12,
            _SPACE,
            "assumed",
            "one 400 Gb/s port a GPU; each link goes to one peer",
        ),
        Node(
            "oam-cdna2",
            "4 x MI250 (OAM)",
            4,
            4,
            25e9,
            PCIE4,
            0.5e12,
            _SPACE,
            "assumed",
            "one 200 Gb/s port a module; two visible devices a module",
        ),
        Node(
            "mi300a",
            "4 x MI300A",
            4,
            4,
            25e9,
            PCIE5,
            0.0,
            _SPACE,
            "assumed",
            "CPU and GPU share one memory",
        ),
        Node(
            "gaudi2",
            "8 x Gaudi 2 (OAM)",
            8,
            8,
            37.5e9,
            PCIE4,
            1e12,
            _SPACE,
            "assumed",
            "3 of 24 100 Gb/s ports leave the node",
        ),
        Node(
            "gaudi3",
            "8 x Gaudi 3 (OAM)",
            8,
            8,
            75e9,
            PCIE5,
            1e12,
            _SPACE,
            "assumed",
            "3 of 24 200 Gb/s ports leave the node",
        ),
        Node("oam-other", "8 accelerators on one baseboard", 8, 8, 25e9, PCIE4, 1e12, _SPACE, "assumed", ""),
        Node(
            "trn1",
            "16 x Trainium 1 (trn1.32xlarge)",
            16,
            16,
            6.25e9,
            PCIE4,
            0.5e12,
            _SPACE,
            "assumed",
            "800 Gb/s a node; trn1n has 1,600",
        ),
        Node(
            "trn2",
            "16 x Trainium 2 (trn2.48xlarge)",
            16,
            16,
            25e9,
            PCIE5,
            2e12,
            _SPACE,
            "assumed",
            "3.2 Tb/s a node; an UltraServer joins 64",
        ),
        Node(
            "trn3",
            "Trainium 3 UltraServer",
            16,
            144,
            25e9,
            PCIE5,
            2e12,
            _SPACE,
            "assumed",
            "144 chips an UltraServer",
        ),
        Node(
            "inf2",
            "12 x Inferentia 2 (inf2.48xlarge)",
            12,
            12,
            1.04e9,
            PCIE4,
            0.384e12,
            _SPACE,
            "assumed",
            "100 Gb/s a node",
        ),
        Node(
            "pcie5-server",
            "8 PCIe 5 cards in a server",
            8,
            8,
            25e9,
            PCIE5,
            1e12,
            _SPACE,
            "assumed",
            "one 400 Gb/s port for two cards",
        ),
        Node(
            "pcie4-server",
            "8 PCIe 4 cards in a server",
            8,
            8,
            12.5e9,
            PCIE4,
            0.5e12,
            _SPACE,
            "assumed",
            "one 200 Gb/s port for two cards",
        ),
        Node(
            "pcie3-server",
            "4 PCIe 3 cards in a server",
            4,
            4,
            3.125e9,
            PCIE3,
            0.25e12,
            _SPACE,
            "assumed",
            "one 100 Gb/s port for four cards",
        ),
        Node(
            "workstation",
            "4 cards in a workstation",
            4,
            4,
            1.25e9,
            PCIE4,
            0.25e12,
            _SPACE,
            "assumed",
            "10 Gb/s a card",
        ),
        Node(
            "single",
            "one device",
            1,
            1,
            1.25e9,
            PCIE3,
            0.0,
            _SPACE,
            "assumed",
            "memory is shared with the processor, or there is no host",
        ),
    )
}
# TPU: chips in a pod (the largest fast domain), chips a machine, bytes a second of outside network a chip
TPU = {
    "tpu-v2": (256, 4, 3.1e9),
    "tpu-v3": (1024, 4, 3.1e9),
    "tpu-v4": (4096, 4, 3.1e9),
    "tpu-v5e": (256, 4, 3.1e9),
    "tpu-v5p": (8960, 4, 6.25e9),
    "tpu-v6e": (256, 4, 12.5e9),
    "tpu-v7": (9216, 4, 12.5e9),
}
TPU_SOURCE = "Google Cloud docs, TPU v5e and v6e pages (pod sizes and pod network); older pods alike"


def node_of(identifier: str, form: str, kind: str, link: str) -> Node:
    """The node a device is built into, by its form factor and architecture."""
    family = architecture(identifier)
    exact = {
        "gb200": "gb200-nvl72",
        "gb300": "gb300-nvl72",
        "gh200-96gb": "gh200",
        "gh200-144gb": "gh200",
        "mi300a": "mi300a",
        "gaudi2": "gaudi2",
        "gaudi3": "gaudi3",
        "trainium1": "trn1",
        "trainium2": "trn2",
        "trainium3": "trn3",
        "inferentia2": "inf2",
    }
    if identifier in exact:
        return NODES[exact[identifier]]
    if identifier in TPU:
        pod, per_host, network = TPU[identifier]
        return Node(
            identifier,
            f"{identifier} pod",
            per_host,
            pod,
            network,
            PCIE4,
            0.5e12,
            TPU_SOURCE,
            "published",
            "the slice rented is the fast domain; a fleet up to the pod is one slice",
        )
    if form.startswith("SXM"):
        return NODES[
            {
                "pascal": "dgx-v100",
                "volta": "dgx-v100",
                "ampere-hbm": "hgx-a100",
                "hopper": "hgx-hopper",
                "blackwell": "hgx-b200",
                "blackwell-ultra": "hgx-b300",
            }[family]
        ]
    if form == "OAM":
        return NODES[
            {"cdna2": "oam-cdna2", "cdna3": "oam-cdna3", "cdna4": "oam-cdna3"}.get(family, "oam-other")
        ]
    if kind in ("edge", "soc") or form in ("SoC", "module"):
        return NODES["single"]
    if kind in ("consumer", "workstation"):
        return NODES["workstation"]
    server = next((f"pcie{g}-server" for g in "53" if f"PCIe{g}" in link), "pcie4-server")
    return NODES["pcie5-server" if "NVLink4" in link else server]
