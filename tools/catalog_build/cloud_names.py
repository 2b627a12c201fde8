"""How cloud price tables name accelerators, and which catalogue device that is."""

from __future__ import annotations

# (accelerator column, cloud) to device; "" means any cloud. A100 80 GB at Azure differs by instance family.
DEVICES = {
    ("K80", ""): "k80",
    ("V100", "aws"): "v100-sxm2-16gb",
    ("V100-32GB", ""): "v100-sxm2-32gb",
    ("A100", ""): "a100-sxm4-40gb",
    ("A100-80GB", ""): "a100-sxm4-80gb",
    ("H100", ""): "h100-sxm5-80gb",
    ("H100-NVL", ""): "h100-nvl-94gb",
    ("H200", ""): "h200-sxm-141gb",
    ("B200", ""): "b200-sxm",
    ("B300", ""): "b300-sxm",
    ("GB200", ""): "gb200",
    ("MI300X", ""): "mi300x",
    ("A10G", ""): "a10g",
    ("A10", ""): "a10",
    ("L4", ""): "l4",
    ("L40S", ""): "l40s",
    ("T4", ""): "t4",
    ("RTX-PRO-6000-Server", ""): "rtx-pro-6000-server",
    ("Trainium1", ""): "trainium1",
    ("Inferentia2", ""): "inferentia2",
}


def device_of(accelerator: str, cloud: str, instance: str) -> str | None:
    """The catalogue device of a price row; None when it is not in the catalogue.

    >>> device_of("A100-80GB", "azure", "Standard_NC24ads_A100_v4"), device_of("H100", "aws", "p5.48xlarge")
    ('a100-pcie-80gb', 'h100-sxm5-80gb')
    """
    if accelerator == "A100-80GB" and instance.startswith("Standard_NC"):
        return "a100-pcie-80gb"
    return DEVICES.get((accelerator, cloud)) or DEVICES.get((accelerator, ""))
