"""The names a device is known by: what drivers print, what clouds print, what people type."""

from __future__ import annotations

import re

# What nvidia-smi, rocm-smi and the JAX runtime print
PRINTED = {
    "k80": ("Tesla K80",),
    "p100-sxm2-16gb": ("Tesla P100-SXM2-16GB",),
    "p100-pcie-16gb": ("Tesla P100-PCIE-16GB",),
    "p40": ("Tesla P40",),
    "p4": ("Tesla P4",),
    "t4": ("Tesla T4", "NVIDIA T4"),
    "v100-sxm2-16gb": ("Tesla V100-SXM2-16GB",),
    "v100-sxm2-32gb": ("Tesla V100-SXM2-32GB",),
    "v100-pcie-32gb": ("Tesla V100-PCIE-32GB",),
    "v100s-pcie-32gb": ("Tesla V100S-PCIE-32GB", "v100s"),
    "a100-sxm4-40gb": ("NVIDIA A100-SXM4-40GB", "A100-SXM4-40GB"),
    "a100-sxm4-80gb": ("NVIDIA A100-SXM4-80GB", "A100-SXM4-80GB", "A100-SXM4-80G", "A100-SXM-80GB", "DGX-A100"),
    "a100-pcie-40gb": ("NVIDIA A100-PCIE-40GB", "A100-PCIE-40GB"),
    "a100-pcie-80gb": ("NVIDIA A100 80GB PCIe",),
    "a800-sxm4-80gb": ("NVIDIA A800-SXM4-80GB", "a800"),
    "h100-sxm5-80gb": ("NVIDIA H100 80GB HBM3", "H100-80GB-HBM3", "DGX-H100", "HGX-H100", "NVIDIA H100-SXM5-80GB"),
    "h100-pcie-80gb": ("NVIDIA H100 PCIe",),
    "h100-nvl-94gb": ("NVIDIA H100 NVL",),
    "h800-sxm5-80gb": ("NVIDIA H800", "h800"),
    "h20-96gb": ("NVIDIA H20", "h20"),
    "h200-sxm-141gb": ("NVIDIA H200", "h200-sxm5-141gb", "DGX-H200", "HGX-H200", "NVIDIA H200-SXM-141GB-CTS"),
    "h200-nvl-141gb": ("NVIDIA H200 NVL",),
    "gh200-96gb": ("NVIDIA GH200 480GB", "NVIDIA GH200 96GB HBM3", "NVIDIA GH200 Grace Hopper Superchip 96GB"),
    "gh200-144gb": ("NVIDIA GH200 144G HBM3e", "NVIDIA GH200 Grace Hopper Superchip 144GB"),
    "b200-sxm": ("NVIDIA B200", "b200-sxm6-180gb", "b200-sxm-180gb", "b200-180gb", "DGX-B200", "HGX-B200"),
    "gb200": ("NVIDIA GB200", "gb200-nvl72", "DGX-GB200", "gb200-sxm", "GB200 192GB NVL72",
              "NVIDIA Blackwell GPU (GB200)"),
    "b300-sxm": ("NVIDIA B300 SXM6 AC", "NVIDIA B300", "b300-sxm6", "DGX-B300", "HGX-B300"),
    "gb300": ("NVIDIA GB300", "gb300-nvl72", "gb300-sxm", "DGX-GB300"),
    "rtx-pro-6000-server": ("NVIDIA RTX PRO 6000 Blackwell Server Edition", "RTX 6000 Pro Blackwell Server Edition"),
    "rtx-pro-6000-ws": ("NVIDIA RTX PRO 6000 Blackwell Workstation Edition",),
    "rtx-a4000": ("NVIDIA RTX A4000", "a4000"),
    "rtx-a5000": ("NVIDIA RTX A5000", "a5000"),
    "rtx-a6000": ("NVIDIA RTX A6000", "a6000"),
    "rtx-6000-ada": ("NVIDIA RTX 6000 Ada Generation",),
    "rtx-5000-ada": ("NVIDIA RTX 5000 Ada Generation",),
    "rtx-4000-ada": ("NVIDIA RTX 4000 Ada Generation",),
    "rtx-3060-12gb": ("NVIDIA GeForce RTX 3060",),
    "rtx-3080-10gb": ("NVIDIA GeForce RTX 3080",),
    "rtx-4060-ti-16gb": ("NVIDIA GeForce RTX 4060 Ti",),
    "rtx-5060-ti-16gb": ("NVIDIA GeForce RTX 5060 Ti",),
    "gb10-dgx-spark": ("NVIDIA GB10", "DGX Spark"),
    "jetson-t5000": ("Jetson AGX Thor", "Jetson Thor"),
    "jetson-agx-orin-64gb": ("Jetson AGX Orin",),
    "mi300x": ("AMD Instinct MI300X", "AMD Instinct MI300X OAM", "AMD Instinct MI300X 192GB HBM3"),
    "mi325x": ("AMD Instinct MI325X",),
    "mi355x": ("AMD Instinct MI355X",),
    "mi350x": ("AMD Instinct MI350X",),
    "mi250x": ("AMD Instinct MI250X",),
    "tpu-v4": ("TPU v4",),
    "tpu-v5e": ("TPU v5 lite", "v5litepod", "tpu-v5-lite-podslice", "v5e"),
    "tpu-v5p": ("TPU v5p", "TPU v5", "tpu-v5p-slice", "v5p"),
    "tpu-v6e": ("TPU v6 lite", "trillium", "TPU-trillium", "tpu-v6e-slice", "v6e"),
    "tpu-v7": ("TPU7x", "ironwood"),
    "tpu-v3": ("TPU v3",),
    "tpu-v2": ("TPU v2",),
    "gaudi2": ("Intel Gaudi 2", "HL-225"),
    "gaudi3": ("Intel Gaudi 3", "HL-325L"),
    "ryzen-ai-max-395": ("Ryzen AI Max+ 395", "Strix Halo"),
    "trainium2": ("trn2",),
    "trainium1": ("trn1",),
}


def catalogue_id(raw: str) -> str:
    """The raw id without its maker, except where the maker is the name (tpu, trainium).

    >>> catalogue_id("nvidia-h100-sxm5-80gb"), catalogue_id("google-tpu-v5p")
    ('h100-sxm5-80gb', 'tpu-v5p')
    """
    return re.sub(r"^(nvidia|amd|intel|google|aws|huawei|meta|microsoft|cambricon|groq)-", "", raw)


def aliases(raw: str, identifier: str, name: str, vendor: str) -> list[str]:
    """Other spellings; those shared by several devices make the name ambiguous, which is meant."""
    found = [raw, *PRINTED.get(identifier, ())]
    if identifier.startswith("rtx-") and vendor == "NVIDIA":
        found += (
            [f"NVIDIA GeForce {identifier.replace('-', ' ')}"]
            if re.match(r"rtx-\d{4}(-ti|-super)*$", identifier)
            else []
        )
    short = re.sub(r"-\d+gb$", "", identifier)
    for spelling in (short, re.sub(r"sxm\d", "sxm", short), re.sub(r"sxm\d", "sxm", identifier)):
        if re.search(r"sxm|pcie|nvl", spelling):
            found.append(spelling)
    seen = {identifier, name}
    return [a for a in dict.fromkeys(found) if a not in seen]
