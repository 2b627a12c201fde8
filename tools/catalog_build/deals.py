"""What rights holders were paid for text: licensing deals as reported, ranges where the report gives one."""

from __future__ import annotations

import re
from pathlib import Path

from catalog_build.common import Row, shippable

KIND = "deal"
RANGE = re.compile(r"(\d+)-(\d+)M")


def build(data_dir: Path, models_dir: Path) -> list[Row]:
    rows = []
    for raw in shippable(data_dir / "data_licensing_deals.csv"):
        if not (raw["usd_total"] or raw["usd_per_year"]):
            continue  # undisclosed
        name = f"{raw['rights_holder']} to {raw['licensee']}"
        me = re.sub(
            r"[^a-z0-9]+",
            "-",
            f"{raw['rights_holder'].partition('(')[0]} {raw['licensee'].partition(' (')[0]}".lower(),
        )
        me, source, when = me.strip("-"), raw["verified_from"], raw["announced"][:10]
        when = when if re.fullmatch(r"\d{4}(-\d{2}(-\d{2})?)?", when) else when[:4]
        note = "; ".join(filter(None, (raw["status"], raw["notes"])))
        rows.append(Row(me, "name", name, "text", source, when, "published", note=note))
        low, high = _range(raw["status"])
        yearly = "/yr" in raw["status"]
        for column, parameter, unit in (("usd_total", "usd", "usd"), ("usd_per_year", "usd_per_year", "usd/yr")):
            if raw[column]:
                told = low is not None and yearly == (parameter == "usd_per_year")
                rows.append(
                    Row(
                        me,
                        parameter,
                        float(raw[column]),
                        unit,
                        source,
                        when,
                        "published",
                        low if told else None,
                        high if told else None,
                        note,
                    )
                )
        if raw["years"].isdigit():
            rows.append(Row(me, "years", float(raw["years"]), "year", source, when, "published"))
    return rows


def _range(status: str) -> tuple[float | None, float | None]:
    found = RANGE.search(status)
    return (float(found.group(1)) * 1e6, float(found.group(2)) * 1e6) if found else (None, None)
