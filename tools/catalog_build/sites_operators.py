"""What data-centre operators disclose: power and water usage effectiveness, typed from the pages named."""

from __future__ import annotations

from typing import NamedTuple

from catalog_build.common import Row
from catalog_build.sites_factors import GSD_PUE_KNOWN, GSD_WUE, band

READ = "2026-11-23"
AWS_PAGE = "https://sustainability.aboutamazon.com (AWS Cloud)"
AWS_WATER = ("Amazon News, quoted at https://humanprogress.org/"
             "amazons-data-centers-are-7x-more-water-efficient-than-the-industry-average/")
MICROSOFT = "Microsoft FY25 owned fleet, ComputerWeekly summary"
META = "Meta 2024 Sustainability Report, read through dcmag.fr"
OVH = "https://www.silicon.fr/6-indicateurs-empreinte-environnementale-ovhcloud-453367.html"
SCALEWAY = "https://www.silicon.fr/5-indicateurs-empreinte-environnementale-scaleway-453379.html"


class Disclosed(NamedTuple):
    value: float
    year: int
    source: str
    how: str = "published"
    low: float | None = None
    high: float | None = None


# operator: name, aliases, PUE, WUE in L/kWh
OPERATORS: dict[str, tuple[str, str, Disclosed, Disclosed | None]] = {
    "aws": ("Amazon Web Services", "aws|amazon", Disclosed(1.14, 2025, AWS_PAGE, "vendor"),
            Disclosed(0.12, 2025, AWS_WATER)),
    "azure": ("Microsoft Azure", "azure|microsoft", Disclosed(1.17, 2025, MICROSOFT),
              Disclosed(0.27, 2025, MICROSOFT)),
    "gcp": ("Google Cloud", "gcp|google",
            Disclosed(1.09, 2024, "Google fleet, as held by EcoLogits 0.11.3"),
            Disclosed(0.999, 2024, "EcoLogits 0.11.3 provider assumption", "assumed", 0.5, 1.5)),
    "meta": ("Meta", "facebook", Disclosed(1.08, 2023, META), Disclosed(0.18, 2023, META)),
    "ovh": ("OVHcloud", "ovh", Disclosed(1.2, 2021, f"{OVH} (1.1 to 1.3)", "published", 1.1, 1.3),
            Disclosed(0.185, 2021, f"{OVH} (0.17 to 0.20)", "published", 0.12, 0.3)),
    "scaleway": ("Scaleway", "scaleway",
                 Disclosed(1.35, 2022, f"{SCALEWAY} (five sites)", "published", 1.17, 1.51), None),
}


def rows() -> list[Row]:
    out = []
    for key, (name, aliases, pue, wue) in OPERATORS.items():
        identifier = f"operator:{key}"
        out += [Row(identifier, "name", name, "text", pue.source, READ, pue.how),
                Row(identifier, "aliases", aliases, "list", pue.source, READ, pue.how),
                Row(identifier, "level", "operator", "text", "outlay", READ, "derived"),
                Row(identifier, "provider", key, "text", "outlay", READ, "derived"),
                _row(identifier, "pue", "", GSD_PUE_KNOWN, pue)]
        if wue is not None:
            out.append(_row(identifier, "wue_l_per_kwh", "L/kWh", GSD_WUE, wue))
    return out


def _row(identifier: str, parameter: str, unit: str, gsd: float, told: Disclosed) -> Row:
    low, high = band(told.value, gsd)
    if told.low is not None and told.high is not None:
        low, high = told.low, told.high
    if parameter == "pue":
        low = max(low, 1.0)
    return Row(identifier, parameter, told.value, unit, told.source, READ, told.how, low, high,
               note=f"fleet average, {told.year}; a single site differs")


def default_rows(identifier: str) -> list[Row]:
    """For a data centre whose operator says nothing."""
    return [
        Row(identifier, "pue", 1.25, "", f"public cloud average (IDC) quoted on {AWS_PAGE}; 1.56: industry "
            "average 2024 (Uptime survey, through GreenAlgorithms)", READ, "assumed", 1.1, 1.56,
            note="operator unknown: public-cloud average, up to the industry average"),
        Row(identifier, "wue_l_per_kwh", 0.84, "L/kWh", AWS_WATER + " (industry average)", READ, "assumed",
            0.1, 1.8, note="operator unknown: from closed loops to evaporative cooling"),
    ]
