"""Sites: cloud regions, countries, states, grid zones, operators, the world; their grid, water and prices."""

from __future__ import annotations

from pathlib import Path

from catalog_build import sites_operators, sites_places, sites_regions
from catalog_build.common import Row

KIND = "site"


def build(data_dir: Path, models_dir: Path) -> list[Row]:
    countries = sites_places.read_countries(data_dir)
    prices = sites_places.read_prices(data_dir)
    rows = sites_places.country_rows(countries, prices, sites_places.us_direct(data_dir))
    rows += sites_places.state_rows(data_dir, countries, prices)
    rows += sites_places.world_rows(countries, prices)
    rows += sites_operators.rows()
    places = {row.id for row in rows}
    return rows + sites_regions.rows(data_dir, places)
