"""Columns of the FinOps Open Cost and Usage Specification 1.2: level, nulls, type, allowed values.

The raw table was read from the specification's own pages; `data/focus_columns.csv` lists the same columns by name.
"""

from __future__ import annotations

from pathlib import Path

from catalog_build.common import CATALOG_DATE, Row, read_csv

KIND = "focus_column"
SOURCE = "FOCUS Specification 1.2 (FinOps-Open-Cost-and-Usage-Spec/FOCUS_Spec, tag v1.2), CC-BY 4.0"


def build(data_dir: Path, models_dir: Path) -> list[Row]:
    rows = []
    for number, raw in enumerate(read_csv(Path(__file__).with_name("focus_columns.csv"))):
        me = raw["column"].lower()

        def text(parameter: str, value: str, unit: str = "text", me: str = me) -> Row:
            return Row(me, parameter, value, unit, SOURCE, CATALOG_DATE, "published")

        rows += [
            text("name", raw["column"]),
            text("level", raw["level"]),
            Row(me, "nulls", float(raw["nulls"] == "yes"), "bool", SOURCE, CATALOG_DATE, "published"),
            text("type", raw["type"]),
            Row(me, "order", float(number), "", SOURCE, CATALOG_DATE, "published"),
        ]
        rows += [text("format", raw["format"])] if raw["format"] else []
        rows += [text("allowed", raw["allowed"], "list")] if raw["allowed"] else []
    return rows
