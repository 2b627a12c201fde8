"""Shapes of a load over a day or a week: what each hour asks over the busiest one."""

from __future__ import annotations

from pathlib import Path

from catalog_build.common import CATALOG_DATE, Row
from catalog_build.defaults import OURS

KIND = "load_shape"
# Of a person at a desk: from six in the morning, two humps about noon, little after eight in the evening.
_WORKDAY = (0.05, 0.04, 0.04, 0.04, 0.05, 0.07, 0.15, 0.35, 0.7, 0.92, 1.0, 0.97, 0.82, 0.88, 0.98, 0.97, 0.9, 0.7,
            0.42, 0.28, 0.2, 0.15, 0.1, 0.07)
_WEEKEND = 0.15  # of the same hour of a workday
# Of people at home: least before dawn, a plateau through the day, most in the evening.
_AT_HOME = (0.62, 0.48, 0.38, 0.31, 0.28, 0.28, 0.33, 0.42, 0.53, 0.62, 0.68, 0.72, 0.75, 0.76, 0.77, 0.78, 0.8, 0.83,
            0.88, 0.94, 0.99, 1.0, 0.93, 0.78)
SHAPES = (
    ("office-hours", "office hours, Monday to Sunday", "office|working-hours|workdays",
     _WORKDAY * 5 + tuple(round(_WEEKEND * x, 4) for x in _WORKDAY) * 2,
     "one office's time zone; spread over several, the load is flatter. Give your own when it is known"),
    ("consumer", "consumer, one day", "home|evening", _AT_HOME,
     "one time zone; the same every day of the week. Give your own when it is known"),
    ("flat", "the same every hour", "constant|batch", (1.0,) * 24, "work that waits in a queue around the clock"),
)


def build(data_dir: Path, models_dir: Path) -> list[Row]:
    rows = []
    for me, name, aliases, loads, note in SHAPES:
        rows += [
            Row(me, "name", name, "text", OURS, CATALOG_DATE, "assumed"),
            Row(me, "aliases", aliases, "list", OURS, CATALOG_DATE, "assumed"),
            Row(me, "loads", "|".join(f"{x:g}" for x in loads), "list", OURS, CATALOG_DATE, "assumed", note=note),
        ]
    return rows
