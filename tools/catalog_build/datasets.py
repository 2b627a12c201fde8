"""Public training corpora: tokens, bytes on disk and licence."""

from __future__ import annotations

import re
from pathlib import Path

from catalog_build.common import CATALOG_DATE, Row, shippable

KIND = "dataset"


def build(data_dir: Path, models_dir: Path) -> list[Row]:
    rows = []
    for raw in shippable(data_dir / "datasets.csv"):
        me = re.sub(r"[^a-z0-9.]+", "-", raw["name"].lower()).strip("-")
        source = raw["verified_from"]
        rows.append(
            Row(me, "name", raw["name"], "text", source, CATALOG_DATE, "published", note=raw["notes"])
        )
        rows += [
            Row(me, parameter, raw[parameter], "text", source, CATALOG_DATE, "published")
            for parameter in ("publisher", "tokenizer", "disk_format", "languages", "kind", "licence")
            if raw[parameter]
        ]
        rows += [
            Row(
                me,
                parameter,
                float(raw[parameter]),
                unit,
                source,
                CATALOG_DATE,
                "derived" if parameter == "bytes_per_token" else "published",
            )
            for parameter, unit in (
                ("tokens", "token"),
                ("bytes_on_disk", "byte"),
                ("bytes_per_token", "byte"),
            )
            if raw[parameter]
        ]
    return rows
