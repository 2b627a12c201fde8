"""How the catalogue's values and columns are written for people."""

from __future__ import annotations

from typing import Any

from outlay.catalog import Fact
from outlay.units import gib, si


def shown(fact: Fact) -> str:
    """A fact's value as a person writes it."""
    return human(fact.parameter, fact.value, fact.unit)


def between(fact: Fact) -> str:
    """The 80 % interval, its unit written once."""
    if fact.low is None or fact.high is None:
        return ""
    low, high = (human(fact.parameter, edge, fact.unit) for edge in (fact.low, fact.high))
    unit = high.partition(" ")[2]
    return f"{low.removesuffix(f' {unit}') if unit else low} – {high}"


def human(parameter: str, value: Any, unit: str) -> str:
    """A value with its unit: GiB for device memory, SI prefixes for rates, plain figures else.

    >>> human("memory_bytes", 85899345920, "byte"), human("link_bytes_per_s", 450e9, "byte/s")
    ('80.0 GiB', '450 GB/s')
    >>> human("usd_per_byte_month", 0.023e-9, "usd/byte/month"), human("value", 1.35, "")
    ('0.023 usd/GB/month', '1.35')
    """
    if value is None:
        return "–"
    if isinstance(value, str):
        return cut(value, 24)
    if parameter in _COUNTS and value >= 1e6:
        return f"{value / 1e12:.4g}T" if value >= 1e12 else f"{value / 1e9:.3g}B"
    if unit == "bool":
        return "yes" if value else "no"
    if unit == "byte" and value >= 1e8:
        return gib(value) if "memory" in parameter else si(value, "B")
    if unit in ("byte/s", "flop/s", "op/s"):
        return si(value, unit.replace("byte", "B"), 4)
    if "/byte" in unit:
        return f"{value * 1e9:.4g} {unit.replace('/byte', '/GB')}"
    figure = (
        f"{value:,.0f}" if abs(value) >= 10_000 and value == int(value) and value < 1e9 else f"{value:.4g}"
    )
    if abs(value) >= 1e9:
        return si(value, unit)
    return f"{figure} {unit}".rstrip()


_COUNTS = frozenset(("parameters", "active_parameters", "tokens", "embedding_parameters"))
_UNITS = {
    "memory_bytes": "byte",
    "memory_bytes_per_s": "byte/s",
    "link_bytes_per_s": "byte/s",
    "inter_node_bytes_per_s": "byte/s",
    "host_memory_bytes": "byte",
    "dense_16bit_flop_per_s": "flop/s",
    "usd_per_byte_month": "usd/byte/month",
    "egress_usd_per_byte": "usd/byte",
    "bytes_on_disk": "byte",
    "master_needed": "bool",
    "fused_cross_entropy": "bool",
    "power_w": "W",
}
_HEADINGS = {
    "memory_bytes": "memory",
    "memory_bytes_per_s": "bandwidth",
    "dense_16bit_flop_per_s": "16-bit dense",
    "link_bytes_per_s": "link, one way",
    "power_w": "power",
    "release_date": "released",
    "grid_lca_kgco2e_per_kwh": "kgCO2e/kWh",
    "grid_year": "of year",
    "electricity_usd_per_kwh": "usd/kWh",
    "lca_kgco2e_per_kwh": "kgCO2e/kWh",
    "inter_node_bytes_per_s": "network",
    "scale_up_devices": "fast domain",
    "devices_per_node": "a node",
    "host_memory_bytes": "host memory",
    "usd_per_byte_month": "stored",
    "egress_usd_per_byte": "taken out",
    "commitment_discount_1y": "1 year off",
    "commitment_discount_3y": "3 years off",
    "state_bytes": "bytes",
    "master_needed": "fp32 master",
    "bf16.weight_bytes": "weights",
    "bf16.gradient_bytes": "gradients",
    "bf16.master_bytes": "master",
}


def heading(parameter: str) -> str:
    return _HEADINGS.get(parameter, parameter.replace("_", " "))


def bare(parameter: str, value: Any) -> str:
    text = human(parameter, value, _UNITS.get(parameter, ""))
    return text


def cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
