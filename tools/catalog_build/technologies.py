"""Ways of making electricity: life-cycle carbon (IPCC AR5), direct carbon and water evaporated per kWh."""

from __future__ import annotations

from pathlib import Path

from catalog_build.common import CATALOG_DATE, Row, shippable

KIND = "technology"
IPCC = "IPCC AR5 WG3 Annex III, Table A.III.2 (2014)"
MINMAX_READ = ("biomass_dedicated",)  # the range of the others was not read in the source
DIRECT = {"coal_pc": 0.760, "gas_cc": 0.370}  # medians of direct emissions, same table


def build(data_dir: Path, models_dir: Path) -> list[Row]:
    rows = []
    for raw in shippable(data_dir / "emission_factors_technology.csv"):
        if raw["set"] != "IPCC_AR5":
            continue
        me = raw["technology"].replace("_", "-")
        ranged = raw["technology"] in MINMAX_READ
        rows.append(
            Row(me, "name", raw["technology"].replace("_", " "), "text", IPCC, CATALOG_DATE, "published")
        )
        rows.append(
            Row(
                me,
                "lca_kgco2e_per_kwh",
                float(raw["median"]) / 1000,
                "kg/kWh",
                IPCC,
                CATALOG_DATE,
                "published",
                low=float(raw["min"]) / 1000 if ranged else None,
                high=float(raw["max"]) / 1000 if ranged else None,
                note="median, life cycle",
            )
        )
        if raw["technology"] in DIRECT:
            rows.append(
                Row(
                    me,
                    "direct_kgco2e_per_kwh",
                    DIRECT[raw["technology"]],
                    "kg/kWh",
                    IPCC,
                    CATALOG_DATE,
                    "published",
                    note="median, at the stack",
                )
            )
    return rows
