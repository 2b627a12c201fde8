"""Account: lines add up, nothing is counted twice, scopes add only what lies outside them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from outlay.account import Owned, Rates, account, totals, unit_value, why_no_price
from outlay.derive import exact, uncertain
from outlay.usage import Usage

J_PER_KWH = 3.6e6
YEAR_S = 8766 * 3600


def rates(**changes):
    base = Rates(host_factor=uncertain(1.35, 1.2, 1.74, "", "host factor", key="host"),
                 network_share=exact(0.05), pue=uncertain(1.2, 1.1, 1.3, "", "PUE", key="pue"),
                 grid_kgco2e_per_j=exact(0.4 / J_PER_KWH),
                 grid_direct_kgco2e_per_j=exact(0.3 / J_PER_KWH), grid_l_per_j=exact(3.0 / J_PER_KWH),
                 wue_l_per_j=exact(0.5 / J_PER_KWH), embodied_kg_per_device=exact(164.0),
                 embodied_kg_server_per_device=exact(712.5), embodied_lifetime_s=exact(4 * YEAR_S),
                 tenure="on_demand", usd_per_device_s=exact(2.5 / 3600), price_basis="on-demand",
                 carbon_basis="location-based, life-cycle", storage_w_per_byte=exact(2.4e-12),
                 usd_per_unit={"storage_byte_s": exact(0.023 / 1e9 / 2_629_800)})
    return replace(base, **changes)


def owned(**changes):
    values = {"device_price_usd": exact(25_000.0), "server_overhead": exact(1.64),
              "network_share": exact(0.19), "wacc_per_year": exact(0.10),
              "lifetime_s": exact(5.0 * YEAR_S), "upkeep_per_year": exact(0.03),
              "utilization": exact(0.7), "usd_per_kw_month": exact(130.0), "provisioned_w": exact(1275.0)}
    return Owned(**{**values, **changes})


def usage(resource, quantity, unit, item="training", scope="device", phase="pretrain", **more):
    value = quantity if hasattr(quantity, "unit") else exact(quantity, unit, item)
    return Usage(f"{phase}.{item}.{resource}", phase, item, resource, scope, value, unit, **more)


def run(device_s=3600e3, power_w=650.0, scope="device"):
    return [usage("device_s", device_s, "s"), usage("energy_j", device_s * power_w, "J", scope=scope)]


def by_item(lines, resource="energy_j"):
    return {x.usage.item: x for x in lines if x.usage.resource == resource}


def test_energy_at_the_device_gains_host_network_and_cooling():
    lines = by_item(account(run(device_s=1.0, power_w=1000.0), rates()))
    assert {k: round(v.energy_j.value, 6) for k, v in lines.items()} == {
        "training": 1000.0, "host": 350.0, "network": 67.5, "cooling": 283.5}


def test_energy_at_the_node_gains_cooling_only_and_at_the_facility_nothing():
    node = by_item(account(run(1.0, 1000.0, "node"), rates()))
    assert {k: round(v.energy_j.value, 6) for k, v in node.items()} == {"training": 1000.0, "cooling": 200.0}
    assert list(by_item(account(run(1.0, 1000.0, "facility"), rates()))) == ["training"]


def test_water_of_a_facility_meter_equals_that_of_its_it_energy():
    at_node = totals(account(run(1.0, 1000.0, "node"), rates()))
    at_meter = totals(account(run(1.0, 1200.0, "facility"), rates()))
    for name in ("energy_j", "water_l", "water_onsite_l", "water_offsite_l", "co2e_kg"):
        assert at_meter[name].value == pytest.approx(at_node[name].value)
    assert at_node["water_l"].value == pytest.approx(1000 / J_PER_KWH * (0.5 + 1.2 * 3.0))


def test_rent_covers_energy_which_is_still_counted():
    found = account(run(), rates())
    assert totals(found)["usd"].value == pytest.approx(1000 * 2.5)
    assert all("in the price" in x.note for x in found if x.usage.resource == "energy_j")
    assert totals(found)["energy_j"].value > 0


def test_owners_see_devices_servers_network_building_and_energy():
    found = account(run(), rates(usd_per_device_s=None, owned=owned(), usd_per_j=exact(0.08 / J_PER_KWH),
                                 tenure="owned"))
    assert [x.usage.item for x in found if x.usage.resource == "usd"] == ["host", "network", "building"]
    assert all(x.usd.value > 0 for x in found)
    energy = totals(found)["energy_j"].value
    electricity = sum(x.usd.value for x in found if x.usage.resource == "energy_j")
    assert electricity == pytest.approx(energy * 0.08 / J_PER_KWH)
    assert totals(found)["device_hours"].value == 1000.0


def test_owned_h100_hour_by_utilisation():
    """30,000 USD with server: 7.34, 3.67, 2.10, 1.55 USD an hour at 20, 40, 70, 95 % use, without energy."""
    for use, usd in ((0.20, 7.34), (0.40, 3.67), (0.70, 2.10), (0.95, 1.55)):
        parts = owned(device_price_usd=30_000 / 1.64, utilization=use).usd_per_device_s()
        total = 3600 * sum(getattr(p, "value", p) for p in parts.values())
        assert total == pytest.approx(usd, rel=0.005)


def test_an_unknown_price_is_none_with_its_reason_and_never_zero():
    found = account(run(), rates(usd_per_device_s=None, tenure="", no_price="no H100 price in Mars"))
    assert totals(found)["usd"] is None
    assert why_no_price(found) == "no H100 price in Mars"
    assert totals(found)["co2e_kg"].value > 0
    assert account([usage("tokens_in", 1e6, "tokens")], rates())[0].usd is None


def test_embodied_is_apart_and_shares_device_and_server_over_life():
    found = account([usage("device_s", 4 * YEAR_S, "s")], rates())
    assert totals(found)["co2e_embodied_kg"].value == pytest.approx(164 + 712.5)
    assert found[0].co2e_operational_kg.value == 0.0


def test_devices_of_unknown_power_leave_energy_carbon_and_water_unknown():
    stored = usage("storage_byte_s", 1e15, "byte·s", item="checkpoints", scope="node")
    summed = totals(account([usage("device_s", 3600.0, "s"), stored], rates()))
    assert [summed[k] for k in ("energy_j", "co2e_kg", "water_l")] == [None] * 3
    assert summed["co2e_embodied_kg"].value > 0 and summed["usd"].value > 0
    assert totals(account([*run(), stored], rates()))["energy_j"].value > 0


def test_storage_costs_money_and_energy_once():
    month = 2_629_800
    found = account([usage("storage_byte_s", 44e12 * month, "B s", "dataset-storage", "node")], rates())
    assert totals(found)["usd"].value == pytest.approx(1012, rel=0.001)  # FineWeb, 44 TB on S3, a month
    assert by_item(found)["cooling"].energy_j.value == pytest.approx(0.2 * 44e12 * month * 2.4e-12)
    assert [x.usage.item for x in found] == ["dataset-storage", "cooling"]


def test_direct_factor_stands_beside_and_is_not_added():
    summed = totals(account(run(), rates()))
    assert summed["co2e_direct_kg"].value == pytest.approx(0.75 * summed["co2e_operational_kg"].value)
    assert summed["co2e_kg"].value == summed["co2e_operational_kg"].value + summed["co2e_embodied_kg"].value
    assert totals(account(run(), rates(grid_direct_kgco2e_per_j=None)))["co2e_direct_kg"] is None


def test_phases_keep_their_own_overheads():
    both = [*run(), usage("energy_j", 1e6, "J", "training", phase="finetune")]
    found = account(both, rates())
    assert [(x.usage.phase, x.usage.item) for x in found if x.usage.item == "cooling"] == [
        ("pretrain", "cooling"), ("finetune", "cooling")]
    apart = [totals(account([u for u in both if u.phase == p], rates()))["energy_j"].value
             for p in ("pretrain", "finetune")]
    assert totals(found)["energy_j"].value == pytest.approx(sum(apart))


def test_no_draw_gives_energy_back():
    """An interval of PUE that starts near 1 has draws below it; cooling never makes energy."""
    found = account(run(), rates(pue=uncertain(1.05, 1.01, 1.3, "", "PUE", key="pue")))
    assert by_item(found)["cooling"].energy_j.samples.min() >= 0.0


def test_empty_usage_is_an_empty_account():
    assert account([], rates()) == []
    assert totals([])["usd"].value == 0.0


positive = st.floats(0.01, 1e3)


@st.composite
def any_rates(draw):
    number = {k: draw(positive) for k in ("grid", "water", "wue", "kg", "server", "price", "kwh")}
    bought = draw(st.booleans())
    return Rates(host_factor=draw(st.floats(1.0, 2.0)), network_share=draw(st.floats(0.0, 0.2)),
                 pue=draw(st.floats(1.0, 2.0)), grid_kgco2e_per_j=number["grid"] / J_PER_KWH,
                 grid_l_per_j=number["water"] / J_PER_KWH, wue_l_per_j=number["wue"] / J_PER_KWH,
                 embodied_kg_per_device=number["kg"], embodied_kg_server_per_device=number["server"],
                 embodied_lifetime_s=draw(st.floats(1.0, 8.0)) * YEAR_S,
                 usd_per_device_s=None if bought else number["price"] / 3600,
                 owned=owned(utilization=draw(st.floats(0.1, 1.0))) if bought else None,
                 usd_per_j=number["kwh"] / J_PER_KWH)


candidates = st.lists(st.tuples(st.floats(1.0, 1e9), st.floats(50.0, 1500.0)), min_size=2, max_size=6)


@settings(max_examples=40, deadline=None)
@given(any_rates(), candidates, st.sampled_from(["device", "node"]))
def test_ranking_by_unit_value_is_ranking_by_account(found_rates, plans, scope):
    accounts = [totals(account(run(s, w, scope), found_rates)) for s, w in plans]
    for name in ("usd", "energy_j", "co2e_kg", "water_l"):
        quick = [float(s * unit_value(found_rates, w, scope)[name]) for s, w in plans]
        slow = [a[name].value for a in accounts]
        assert quick == pytest.approx(slow, rel=1e-9)
        best = min(range(len(plans)), key=quick.__getitem__)
        assert slow[best] == pytest.approx(min(slow), rel=1e-9)


@settings(max_examples=20, deadline=None)
@given(candidates)
def test_totals_are_sums_of_lines_in_every_draw(plans):
    found = [line for s, w in plans for line in account(run(s, w), rates())]
    summed = totals(found)
    assert summed["energy_j"].value == pytest.approx(sum(x.energy_j.value for x in found), rel=1e-12)
    drawn = sum(x.energy_j.samples if x.energy_j.samples is not None else x.energy_j.value for x in found)
    assert summed["energy_j"].samples == pytest.approx(drawn, rel=1e-9)
    assert summed["water_l"].value == pytest.approx(
        summed["water_onsite_l"].value + summed["water_offsite_l"].value, rel=1e-9)


def test_unit_value_takes_arrays():
    import numpy as np

    watts = np.array([300.0, 600.0])
    value = unit_value(rates(), watts)
    for i, w in enumerate(watts):
        one = unit_value(rates(), float(w))
        assert all(value[k][i] == pytest.approx(one[k]) for k in value)
    assert unit_value(rates(usd_per_device_s=None), watts)["usd"] is None


def test_every_line_says_where_its_number_comes_from():
    for line in account(run(), rates()):
        assert line.to_dict()["carbon_basis"] == "location-based, life-cycle"
        assert line.energy_j.label and line.co2e_operational_kg.label
    host = by_item(account(run(), rates()))["host"].energy_j
    assert "valuation.energy.host_energy_j" in host.formula
    assert {q.label for q in host.inputs} == {"device energy", "host factor"}
