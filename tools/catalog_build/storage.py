"""Where data and checkpoints rest: list prices per byte and month, and for taking them out."""

from __future__ import annotations

from pathlib import Path

from catalog_build.common import Row, shippable

KIND = "storage"
IDS = {
    "S3 Standard": "s3-standard",
    "S3 Standard (>500TB tier)": "s3-standard-above-500tb",
    "Cloud Storage Standard": "gcs-standard",
    "Blob Hot LRS": "azure-blob-hot",
    "R2 Standard": "r2",
    "B2": "b2",
    "Hot Cloud Storage": "wasabi",
}
COLUMNS = (
    ("usd_per_gb_month", "usd_per_byte_month", "usd/byte/month", 1e9),
    ("egress_usd_per_gb", "egress_usd_per_byte", "usd/byte", 1e9),
    ("put_usd_per_1k", "usd_per_put", "usd", 1e3),
    ("get_usd_per_1k", "usd_per_get", "usd", 1e3),
    ("min_days", "minimum_days", "day", 1.0),
)
READ = (  # (id, name, provider, class, USD per GB and month)
    ("coreweave-hot", "AI Object Storage, hot", "coreweave", "object", 0.06),
    ("coreweave-warm", "AI Object Storage, warm", "coreweave", "object", 0.03),
    ("coreweave-cold", "AI Object Storage, cold", "coreweave", "object", 0.015),
    ("coreweave-file", "Distributed file storage", "coreweave", "parallel-fs", 0.07),
    ("runpod-volume", "Network volume", "runpod", "shared-fs", 0.07),
)
READ_SOURCE = {
    "coreweave": (
        "https://www.coreweave.com/pricing as transcribed in api-evangelist/coreweave",
        "2026-09-20",
    ),
    "runpod": ("https://docs.runpod.io/serverless/pricing", "2026-11-23"),
}


def build(data_dir: Path, models_dir: Path) -> list[Row]:
    rows = []
    for raw in shippable(data_dir / "storage_prices.csv"):
        me, source, as_of = IDS[raw["product"]], f"list price, quoted by {raw['verified_from']}", raw["as_of"]
        rows += _head(me, raw["product"], raw["provider"], raw["class"], source, as_of)
        rows += [
            Row(
                me, parameter, float(raw[column]) / scale, unit, source, as_of, "published", note=raw["notes"]
            )
            for column, parameter, unit, scale in COLUMNS
            if raw[column]
        ]
    for me, name, provider, kind, price in READ:
        source, as_of = READ_SOURCE[provider]
        rows += _head(me, name, provider, kind, source, as_of)
        rows.append(Row(me, "usd_per_byte_month", price / 1e9, "usd/byte/month", source, as_of, "published"))
        if provider == "coreweave":
            rows.append(
                Row(me, "egress_usd_per_byte", 0.0, "usd/byte", source, as_of, "published", note="free")
            )
    return rows


def _head(me: str, name: str, provider: str, kind: str, source: str, as_of: str) -> list[Row]:
    return [
        Row(me, "name", name, "text", source, as_of, "published"),
        Row(me, "provider", provider, "text", source, as_of, "published"),
        Row(me, "class", kind, "text", source, as_of, "derived"),
    ]
