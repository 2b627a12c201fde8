"""Cloud regions: where each is, typed from the vendors' own region lists (sites_regions.csv)."""

from __future__ import annotations

from pathlib import Path

from catalog_build.common import Row, read_csv

READ = "2026-11-23"
SOURCES = {
    "aws": "AWS region names in botocore 1.44.5 partitions.json (Apache-2.0)",
    "azure": "https://learn.microsoft.com/azure/reliability/regions-list",
    "gcp": "https://cloud.google.com/compute/docs/regions-zones",
    "ovh": "https://www.silicon.fr/6-indicateurs-empreinte-environnementale-ovhcloud-453367.html",
    "scaleway": "https://www.silicon.fr/5-indicateurs-empreinte-environnementale-scaleway-453379.html",
}
OTHER_PREFIXES = {"aws": ("amazon",), "azure": ("microsoft",), "gcp": ("google",), "ovh": ("ovhcloud",),
                  "scaleway": ()}
GOOGLE = "Google Cloud region carbon data 2024 (Apache-2.0)"
GRID_NOTE = ("average operational emissions of the local grid in 2024 as Google states them, location-based; "
             "shown beside, so that clouds in one place compare on one source")
CFE_NOTE = "carbon-free share of Google's hourly use in 2024, with its purchases: market-based"


def rows(data_dir: Path, places: set[str]) -> list[Row]:
    google = {r["region"]: r for r in read_csv(data_dir / "cloud_regions.csv") if r["gcp2024_grid_g"]}
    out: list[Row] = []
    for raw in read_csv(Path(__file__).with_name("sites_regions.csv")):
        for field in ("country", "state", "zone"):
            if raw[field] and raw[field] not in places:
                raise ValueError(f"{raw['provider']}:{raw['region']}: no {field} {raw[field]}")
        out += _region(raw)
        if raw["provider"] == "gcp" and raw["region"] in google:
            out += _google(f"gcp:{raw['region']}", google[raw["region"]])
    return out


def _region(raw: dict[str, str]) -> list[Row]:
    provider, region, how = raw["provider"], raw["region"], raw["how"]
    identifier, source = f"{provider}:{region}", SOURCES[provider]
    told = "" if how != "assumed" else "location not read on a vendor page"

    def text(parameter: str, value: str, why: str = how, unit: str = "text", note: str = told) -> Row:
        return Row(identifier, parameter, value, unit, source, READ, why, note=note)

    aliases = [region, *(f"{other}:{region}" for other in OTHER_PREFIXES[provider])]
    out = [text("name", f"{raw['name']} ({provider} {region})"),
           text("aliases", "|".join(dict.fromkeys(aliases + _display(raw))), unit="list"),
           text("level", "region", "derived"), text("provider", provider), text("region", region)]
    if raw["city"]:
        out.append(text("city", raw["city"]))
    out.append(text("country", raw["country"]))
    if raw["state"]:
        out.append(text("state", raw["state"], "derived" if how == "vendor" else how))
    if raw["zone"]:
        out.append(text("zone", raw["zone"], "derived", note="grid zone of the named city or state"))
    return out


def _display(raw: dict[str, str]) -> list[str]:
    """The vendor's display name, where it is not also the name of a place."""
    return [raw["name"]] if raw["provider"] in ("aws", "azure") else []


def _google(identifier: str, raw: dict[str, str]) -> list[Row]:
    grid = float(raw["gcp2024_grid_g"]) / 1000
    out = [Row(identifier, "grid_vendor_kgco2e_per_kwh", grid, "kg/kWh", GOOGLE, READ, "vendor",
               note=GRID_NOTE)]
    if raw["gcp2024_cfe"]:
        share = float(raw["gcp2024_cfe"])
        out.append(Row(identifier, "carbon_free_share_hourly", share, "", GOOGLE, READ, "vendor",
                       note=CFE_NOTE))
    return out
