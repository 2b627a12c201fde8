"""Cloud instance names and the devices in them, so that "p5.48xlarge" is a fleet."""

from __future__ import annotations

from pathlib import Path

from catalog_build.cloud_names import device_of
from catalog_build.common import CATALOG_DATE, Row, read_csv, shippable

KIND = "instance"
# Google names its machines by family and device count
GOOGLE = {
    "a2-highgpu": ("a100-sxm4-40gb", (1, 2, 4, 8)),
    "a2-megagpu": ("a100-sxm4-40gb", (16,)),
    "a2-ultragpu": ("a100-sxm4-80gb", (1, 2, 4, 8)),
    "a3-highgpu": ("h100-sxm5-80gb", (1, 2, 4, 8)),
    "a3-megagpu": ("h100-sxm5-80gb", (8,)),
    "a3-edgegpu": ("h100-sxm5-80gb", (8,)),
    "a3-ultragpu": ("h200-sxm-141gb", (8,)),
    "a4-highgpu": ("b200-sxm", (8,)),
    "a4x-highgpu": ("gb200", (4,)),
}
GOOGLE_SOURCE = "Google Cloud, accelerator-optimized machine types, cloud.google.com/compute/docs/gpus"


def build(data_dir: Path, models_dir: Path) -> list[Row]:
    found: dict[str, tuple[str, str, str, int, str, str]] = {}
    for row in shippable(data_dir / "cloud_gpu_prices.csv"):
        device = device_of(row["accelerator"], row["cloud"], row["instance"])
        if device and row["accel_count"] and float(row["accel_count"]).is_integer():
            found.setdefault(
                row["instance"].lower(),
                (
                    row["instance"],
                    row["cloud"],
                    device,
                    int(float(row["accel_count"])),
                    row["source"],
                    row["as_of"],
                ),
            )
    for row in read_csv(Path(__file__).with_name("cloud_prices_read.csv")):
        if (
            row["instance"]
            and any(c.isdigit() for c in row["instance"])
            and row["provider"] in ("lambda", "gcp")
        ):
            found.setdefault(
                row["instance"].lower(),
                (
                    row["instance"],
                    row["provider"],
                    row["device"],
                    int(row["devices"]),
                    row["source"],
                    row["as_of"],
                ),
            )
    for family, (device, counts) in GOOGLE.items():
        for count in counts:
            name = f"{family}-{count}g"
            found[name] = (name, "gcp", device, count, GOOGLE_SOURCE, CATALOG_DATE)
    rows = []
    for me, (name, provider, device, count, source, as_of) in found.items():
        rows += [
            Row(me, "name", name, "text", source, as_of, "published"),
            Row(me, "provider", provider, "text", source, as_of, "published"),
            Row(me, "device", device, "text", source, as_of, "derived"),
            Row(me, "devices", count, "", source, as_of, "published"),
        ]
        if name.startswith("Standard_"):
            rows.append(
                Row(
                    me,
                    "aliases",
                    name.removeprefix("Standard_"),
                    "list",
                    "without Azure's tier prefix",
                    CATALOG_DATE,
                    "derived",
                )
            )
    return rows
