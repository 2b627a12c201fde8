"""Carbon of making things: vendor footprints and teardowns, and the parameters of the anchored model.

The model (kg): 1.101 x [CPA(node) x die + 13.6 + per GB of memory + 0.0411 x rated W + 10.5], its
coefficients derived from the parts NVIDIA's HGX H100 footprint lists.
"""

from __future__ import annotations

from pathlib import Path

from catalog_build.common import CATALOG_DATE, Row, read_csv, shippable

KIND = "embodied"
MEASURED = {
    "NVIDIA H100 SXM 80GB (1/8 of HGX)": "h100-sxm5-80gb",
    "NVIDIA B200 (1/8 of HGX)": "b200-sxm",
    "NVIDIA A100 SXM 40GB": "a100-sxm4-40gb",
    "NVIDIA HGX H100 8-GPU baseboard": "hgx-h100-baseboard",
    "NVIDIA HGX B200 8-GPU baseboard": "hgx-b200-baseboard",
}
PCF = "NVIDIA HGX H100 product carbon footprint (1,312 kg, ISO 14067, reviewed by WSP), its parts"
CARBON_CLARITY = "facebookresearch/ACT @abc9fbb (MIT); CarbonClarity, arXiv:2507.01145"
GSD_EDGE = 1.6**1.2815515655446004
MODEL = (
    (
        "assembly_factor",
        1.101,
        "",
        PCF,
        "derived",
        "assembly, test and transport on top of parts",
        None,
        None,
    ),
    (
        "logic_kg_per_cm2_7nm",
        2.52,
        "kg/cm2",
        CARBON_CLARITY,
        "derived",
        "per die area at 7 nm, yield included",
        None,
        None,
    ),
    ("logic_node_exponent", -0.547, "", CARBON_CLARITY, "derived", "of node in nm over 7", None, None),
    ("other_circuits_kg", 13.6, "kg", PCF, "derived", "circuits that are neither die nor memory", None, None),
    (
        "hbm_kg_per_gb",
        0.853,
        "kg/GB",
        PCF,
        "derived",
        "per GB as sold; ACT's DDR4 stand-in is 0.065 and database models reach 6.6",
        0.5,
        1.8,
    ),
    (
        "gddr_kg_per_gb",
        0.4265,
        "kg/GB",
        "half of HBM",
        "assumed",
        "no footprint of a GDDR card was read",
        0.2,
        0.9,
    ),
    ("thermal_kg_per_w", 0.0411, "kg/W", PCF, "derived", "heat sink and cooling plate", None, None),
    ("rest_kg", 10.5, "kg", PCF, "derived", "board, connectors, mechanics", None, None),
    (
        "spread_factor",
        1.0,
        "",
        "out of sample: B200 +6 % (vendor), A100 40 GB -18 % (teardown)",
        "derived",
        "multiplies the model; geometric spread 1.6",
        1 / GSD_EDGE,
        GSD_EDGE,
    ),
)
SERVER = (
    "a GPU server without its GPUs: 2 TB of DRAM at 0.065 (ACT, DDR4) to 0.853 kg/GB (NVIDIA's HBM), 30 TB "
    "of flash at 0.006 to 0.017 kg/GB (ACT), processors, board, chassis and supplies 500 kg"
)


def build(data_dir: Path, models_dir: Path) -> list[Row]:
    rows = []
    for raw in shippable(data_dir / "embodied_hardware.csv"):
        me = MEASURED.get(raw["device"])
        if me is None:
            continue
        how = "vendor" if "NVIDIA" in raw["source"] else "published"
        rows += [
            Row(me, "name", raw["device"], "text", raw["source"], CATALOG_DATE, how),
            Row(
                me,
                "kg",
                float(raw["kgco2e"]),
                "kg",
                raw["source"],
                CATALOG_DATE,
                how,
                note=f"{raw['boundary']}; {raw['method']}",
            ),
        ]
    for parameter, value, unit, source, how, note, low, high in MODEL:
        rows.append(
            Row("accelerator-model", parameter, value, unit, source, CATALOG_DATE, how, low, high, note)
        )
    low, high = 500 + 2000 * 0.065 + 30_000 * 0.006, 500 + 2000 * 0.853 * 4 + 30_000 * 0.0169
    rows.append(
        Row(
            "gpu-server",
            "kg",
            3000.0,
            "kg",
            SERVER,
            CATALOG_DATE,
            "assumed",
            low,
            high,
            "no vendor footprint of a GPU server was read; DRAM decides it",
        )
    )
    rows.append(Row("gpu-server", "devices", 8, "", SERVER, CATALOG_DATE, "assumed"))
    return rows + _factors(data_dir)


def _factors(data_dir: Path) -> list[Row]:
    """ACT's bottom-up factors, for a person who models a part this catalogue has not."""
    import re

    units = {
        "kWh / cm2": ("kWh/cm2", 1.0),
        "g / cm2": ("kg/cm2", 1e-3),
        "kg": ("kg/cm2", 1.0),
        "g / GB": ("kg/GB", 1e-3),
        "g / kWh": ("kg/kWh", 1e-3),
    }
    rows, seen = [], set()
    for raw in read_csv(data_dir / "embodied_method_factors.csv"):
        if raw["ship"] != "yes" or raw["unit"] not in units or "ACT" not in raw["source"]:
            continue
        unit, scale = units[raw["unit"]]
        me = "act-" + re.sub(r"[^a-z0-9.]+", "-", raw["parameter"].lower()).strip("-")
        parameter = re.sub(r"[^a-z0-9.]+", "_", raw["key"].lower()).strip("_.")
        if (me, parameter) not in seen:
            seen.add((me, parameter))
            rows.append(
                Row(
                    me,
                    parameter,
                    float(raw["value"]) * scale,
                    unit,
                    raw["source"],
                    CATALOG_DATE,
                    "published",
                    note=raw["parameter"],
                )
            )
    return rows
