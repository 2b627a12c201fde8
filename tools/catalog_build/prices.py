"""Rents per device and hour: two openly licensed cloud tables, and list prices read with their date."""

from __future__ import annotations

import csv
import io
import sys
from collections import Counter
from pathlib import Path

from catalog_build.cloud_names import device_of
from catalog_build.common import number, read_csv, shippable, write_if_changed

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "src"))

from outlay.catalog.prices import COLUMNS, faults_alone, faults_together
from outlay.catalog.records import Price


def write(data_dir: Path, out: Path) -> str:
    """Write prices.csv; returns a line saying how many were kept and why others were not."""
    prices, dropped = gather(data_dir)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for p in prices:
        writer.writerow(
            [
                p.provider,
                p.region,
                p.instance,
                p.device,
                p.devices,
                p.kind,
                number(round(p.usd_per_device_hour, 6)),
                p.as_of,
                p.source,
                p.how,
                p.note,
            ]
        )
    write_if_changed(out / "prices.csv", text.getvalue())
    why = ", ".join(f"{n} {reason}" for reason, n in sorted(dropped.items()))
    return f"prices: {len(prices)} rows; left out: {why or 'none'}"


def gather(data_dir: Path) -> tuple[list[Price], Counter[str]]:
    """Prices that pass every check, sorted, and how many were left out for each reason."""
    dropped: Counter[str] = Counter()
    kept = []
    for price in [*_cloud_tables(data_dir / "cloud_gpu_prices.csv", dropped), *_read_pages()]:
        faults = faults_alone(price)
        dropped.update(f.split(" ")[0] for f in faults)
        if not faults:
            kept.append(price)
    bad = {position for position, _ in faults_together(kept)}
    dropped["contradicting the others"] += len(bad)
    kept = [p for i, p in enumerate(kept) if i not in bad]
    return sorted(set(kept), key=lambda p: (p.device, p.provider, p.region, p.instance, p.kind)), +dropped


def _cloud_tables(path: Path, dropped: Counter[str]) -> list[Price]:
    prices = []
    for row in shippable(path):
        device = device_of(row["accelerator"], row["cloud"], row["instance"])
        if device is None:
            dropped["of a device not in the catalogue"] += 1
            continue
        if not row["accel_count"] or float(row["accel_count"]) != int(float(row["accel_count"])):
            dropped["with an unknown or partial device count"] += 1
            continue
        count = int(float(row["accel_count"]))
        for kind, column in (("on_demand", "on_demand_usd_hr"), ("spot", "spot_usd_hr")):
            if row[column]:
                prices.append(
                    Price(
                        row["cloud"],
                        row["region"].lower(),
                        row["instance"],
                        device,
                        count,
                        kind,
                        round(float(row[column]) / count, 6),
                        row["as_of"],
                        f"{row['source']} ({row['licence']})",
                    )
                )
    return prices


def _read_pages() -> list[Price]:
    """Single list prices, each read on a page that quotes the provider's own, with the date it was read."""
    return [
        Price(
            r["provider"],
            r["region"],
            r["instance"],
            r["device"],
            int(r["devices"]),
            r["kind"],
            float(r["usd_per_device_hour"]),
            r["as_of"],
            r["source"],
            "published",
            r["note"],
        )
        for r in read_csv(Path(__file__).with_name("cloud_prices_read.csv"))
    ]
