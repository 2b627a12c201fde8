"""Bytes per parameter an optimiser keeps between steps, and whether it needs a full-precision copy."""

from __future__ import annotations

from pathlib import Path

from catalog_build.common import CATALOG_DATE, Row
from catalog_build.frameworks import OPTIMIZERS

KIND = "optimizer"


def build(data_dir: Path, models_dir: Path) -> list[Row]:
    rows = []
    for o in OPTIMIZERS:
        rows.append(Row(o.id, "name", o.name, "text", o.source, CATALOG_DATE, "published"))
        if o.aliases:
            rows.append(
                Row(o.id, "aliases", o.aliases, "list", "names trainers use", CATALOG_DATE, "derived")
            )
        rows += [
            Row(o.id, "state_bytes", o.state_bytes, "byte", o.source, CATALOG_DATE, "published", note=o.note),
            Row(
                o.id,
                "master_needed",
                float(o.master_needed),
                "bool",
                o.source,
                CATALOG_DATE,
                "published",
                note="a full-precision copy of 16-bit weights",
            ),
        ]
    return rows
