"""Places: every cloud region has a grid, the most specific fact wins, bases do not mix, bad names say why."""

from __future__ import annotations

from typing import Any

import pytest

from outlay.catalog import Catalog, load
from outlay.catalog.sites import BUILDING, GRID, HOLES, SiteFacts, find_site, resolve_site
from outlay.errors import UnknownName


@pytest.fixture(scope="module")
def cat() -> Catalog:
    return load()


def lca(site: SiteFacts) -> float:
    return float(site.grid_lca_kgco2e_per_kwh.value)


def regions(cat: Catalog, provider: str) -> list[str]:
    entries = cat.entries("site")
    return [e.id for e in entries if e.value("level") == "region" and e.value("provider") == provider]


@pytest.mark.parametrize(("provider", "at_least"), [("aws", 38), ("azure", 65), ("gcp", 43)])
def test_every_region_has_a_country_and_a_factor(cat: Catalog, provider: str, at_least: int) -> None:
    found = regions(cat, provider)
    assert len(found) >= at_least
    for identifier in found:
        site = resolve_site(cat, identifier)
        assert site.country and site.provider == provider and site.region
        assert site.levels["grid_lca_kgco2e_per_kwh"] in ("zone", "state", "country"), identifier
        assert 0.01 < lca(site) < 1.2
        assert site.levels["pue"] == "operator" and 1.0 < float(site.pue.value) < 1.3
        assert resolve_site(cat, site.region).id == identifier, "the vendor's own spelling is enough"


def test_direct_is_never_above_life_cycle_and_intervals_hold_the_value(cat: Catalog) -> None:
    for entry in cat.entries("site"):
        if "grid_direct_kgco2e_per_kwh" in entry:
            direct, whole = entry.value("grid_direct_kgco2e_per_kwh"), entry.value("grid_lca_kgco2e_per_kwh")
            assert direct <= whole, entry.id
        for fact in entry:
            if fact.low is not None and fact.high is not None:
                assert fact.low <= float(fact.value) <= fact.high


@pytest.mark.parametrize(("name", "low", "high"), [
    ("France", 0.04, 0.06), ("Sweden", 0.02, 0.05), ("Norway", 0.02, 0.04), ("Poland", 0.55, 0.75),
    ("India", 0.65, 0.78), ("USA", 0.35, 0.42), ("Germany", 0.3, 0.4), ("South Africa", 0.65, 0.78)])
def test_countries_are_where_ember_puts_them(cat: Catalog, name: str, low: float, high: float) -> None:
    """Ember Yearly Electricity Data via Our World in Data, life-cycle, 2023 or 2024."""
    assert low < lca(resolve_site(cat, name)) < high


def test_us_direct_factors_are_egrid_2023(cat: Catalog) -> None:
    """EPA eGRID2023 total output rates: US 771 lb, CAMX 430 lb, SRVC 596 lb CO2e a MWh."""
    for name, pounds in (("US", 770.9), ("CAMX", 430.0), ("SRVC", 596.3)):
        direct = float(resolve_site(cat, name).grid_direct_kgco2e_per_kwh.value)
        assert direct == pytest.approx(pounds * 0.45359237 / 1000, rel=2e-3)


def test_the_most_specific_fact_wins(cat: Catalog) -> None:
    virginia = resolve_site(cat, "aws:us-east-1")
    assert (virginia.zone, virginia.state, virginia.country) == ("srvc", "us-va", "usa")
    assert virginia.levels["grid_lca_kgco2e_per_kwh"] == "zone"
    assert virginia.levels["electricity_usd_per_kwh"] == "state"
    assert virginia.levels["grid_mix"] == "country"
    assert lca(virginia) == lca(resolve_site(cat, "SRVC")) != lca(resolve_site(cat, "Virginia"))
    assert resolve_site(cat, "Virginia").levels["grid_lca_kgco2e_per_kwh"] == "state"
    assert resolve_site(cat, "ca-central-1").levels["grid_lca_kgco2e_per_kwh"] == "state"
    assert lca(resolve_site(cat, "ca-central-1")) < 0.05 < lca(resolve_site(cat, "ca-west-1"))


def test_both_bases_come_from_one_level(cat: Catalog) -> None:
    for entry in cat.entries("site"):
        levels = resolve_site(cat, entry.id).levels
        assert levels["grid_lca_kgco2e_per_kwh"] == levels["grid_direct_kgco2e_per_kwh"]


def test_a_country_read_for_one_city_is_wider(cat: Catalog) -> None:
    sydney, australia = resolve_site(cat, "ap-southeast-2"), resolve_site(cat, "Australia")
    assert lca(sydney) == lca(australia)
    wide, narrow = sydney.grid_lca_kgco2e_per_kwh, australia.grid_lca_kgco2e_per_kwh
    assert wide.low < narrow.low < narrow.high < wide.high  # type: ignore[operator]
    assert resolve_site(cat, "eu-west-3").grid_lca_kgco2e_per_kwh.high == resolve_site(
        cat, "France").grid_lca_kgco2e_per_kwh.high


def test_without_a_place_the_world_and_a_warning(cat: Catalog) -> None:
    world = resolve_site(cat, None)
    assert world.id == "world" and world.notes and set(world.levels.values()) == {"world"}
    factor = world.grid_lca_kgco2e_per_kwh
    assert factor.low < 0.25 < float(factor.value) < factor.high < 0.8  # type: ignore[operator]
    assert (world.pue.value, world.pue.low, world.pue.high) == (1.25, 1.1, 1.56)


def test_a_missing_price_is_the_worlds_and_said(cat: Catalog) -> None:
    japan = resolve_site(cat, "ap-northeast-1")
    assert japan.levels["electricity_usd_per_kwh"] == "world"
    assert japan.electricity_usd_per_kwh.how == "assumed" and "price" in japan.notes[0]


def test_water_of_the_grid_leaves_reservoirs_apart(cat: Catalog) -> None:
    """Macknick et al. 2012 medians: a hydro grid evaporates from reservoirs, not from stations."""
    norway, france = resolve_site(cat, "Norway"), resolve_site(cat, "France")
    assert float(norway.water_grid_l_per_kwh.value) < 0.1 < float(norway.water_hydro_l_per_kwh.value)
    assert 0.8 < float(france.water_grid_l_per_kwh.value) < 2.0


def test_a_known_operator_in_any_country(cat: Catalog) -> None:
    meta = resolve_site(cat, "Sweden", provider="meta")
    assert meta.pue.value == 1.08 and meta.levels["pue"] == "operator"
    assert resolve_site(cat, "Sweden", provider="Google").pue.value == resolve_site(cat, "us-east1").pue.value
    assert resolve_site(cat, "Sweden", provider="nobody").levels["pue"] == "world"


def test_every_fact_has_an_interval_or_says_text(cat: Catalog) -> None:
    site = resolve_site(cat, "eu-west-3")
    for parameter in (*GRID, *BUILDING):
        fact = getattr(site, parameter)
        assert fact.source and fact.retrieved and fact.how
        assert fact.unit == "text" or fact.quantity().low < fact.quantity().high


@pytest.mark.parametrize(("name", "expected"), [
    ("us-east-1", "aws:us-east-1"), ("us-east1", "gcp:us-east1"), ("US-EAST-1", "aws:us-east-1"),
    ("google:us-central1", "gcp:us-central1"), ("aws us-east-1", "aws:us-east-1"),
    ("West Europe", "azure:westeurope"),
    ("us-east-1a", "aws:us-east-1"), ("us-central1-b", "gcp:us-central1"), ("FR", "fra"), ("FRA", "fra"),
    ("france", "fra"), ("US-CA", "us-ca"), ("California", "us-ca"), ("UK", "gbr"), ("Québec", "ca-qc"),
    ("SE3", "se3"), ("Sichuan", "cn-sc"), ("Canada (Central)", "aws:ca-central-1")])
def test_names_people_write(cat: Catalog, name: str, expected: str) -> None:
    assert find_site(cat, name).id == expected


@pytest.mark.parametrize(("name", "told"), [
    ("georgia", "geo, us-ga"), ("us east 1", "aws:us-east-1, gcp:us-east1"), ("frence", "France"),
    ("us-est-1", "us-east-1"), ("Paris", "aws:eu-west-3"), ("luxemburg", "Luxembourg"), ("", "no site"),
    ("x" * 5000, "no site"), ("us-east-9a", "us-east")])
def test_bad_names_say_what_was_meant(cat: Catalog, name: str, told: str) -> None:
    with pytest.raises(UnknownName) as caught:
        resolve_site(cat, name, "site")
    assert told in caught.value.message and caught.value.field == "site" and len(caught.value.message) < 500


def test_holes_are_named() -> None:
    assert any("marginal" in hole for hole in HOLES)


@pytest.mark.parametrize("fleet, site, pue", [
    ("rtx-4090", None, 1.0),
    ("rtx-4090", "FR", 1.0),
    ("m4-max-64gb", None, 1.0),
    ("rtx-4090", "aws:us-east-1", 1.14),  # the place is a data centre
    ({"device": "rtx-4090", "provider": "runpod"}, None, 1.25),
    ({"device": "rtx-4090", "tenure": "rent"}, None, 1.25),
    ({"device": "rtx-4090", "devices": 64}, None, 1.25),  # more than a desktop holds
    ("h100-sxm5-80gb", None, 1.25),
])
def test_a_desktop_stands_in_no_data_centre(fleet: Any, site: str | None, pue: float) -> None:
    from outlay import plan

    serve = {"workload": {"concurrency": 1, "input": 100, "output": 100}}
    found = plan({"model": "llama-3.2-1b", "fleet": fleet, "site": site, "serve": serve})
    assert [a["value"] for a in found.assumptions if a["what"] == "site.pue"] == [pue]
    again = plan(found.scenario)
    assert again.to_dict()["totals"] == found.to_dict()["totals"]
    other = plan({**found.scenario, "site": {"location": site, "building": "data_center"}})
    assert [a["value"] for a in other.assumptions if a["what"] == "site.pue"] == [1.25 if pue == 1.0 else pue]
