"""The catalogue's own version."""

from __future__ import annotations

from pathlib import Path

from catalog_build.common import CATALOG_DATE, Row

KIND = "meta"


def build(data_dir: Path, models_dir: Path) -> list[Row]:
    return [
        Row(
            "catalog",
            "date",
            CATALOG_DATE,
            "date",
            "tools/build_catalog.py",
            CATALOG_DATE,
            "derived",
            note="the version stamped into every result",
        )
    ]
