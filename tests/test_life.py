"""A whole life: months, phases and items add up to the total; growth, cash, discount; bad calendars named."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from outlay import OutlayError, Result, plan
from outlay.derive import Quantity, exact
from outlay.physics.upkeep import MONTH_S, YEAR_S
from outlay.planner.life.calendar import Span, month_shares
from outlay.planner.life.growth import Growing, grown
from outlay.usage import Line, Usage

SHAPE = {"layers": 16, "hidden": 2048, "heads": 32, "kv_heads": 8, "ffn": 8192, "gated": True, "vocab": 128256}
BASE: dict[str, Any] = {
    "model": SHAPE, "site": "aws:us-east-1", "fleet": {"device": "h100-sxm5-80gb", "devices": 8,
                                                       "usd_per_device_hour": 2.0},
    "pretrain": {"device_hours": 5000, "tokens": 1e11}, "maintain": {"engineers": 1}, "life": {"years": 3}}
MEASURES = ("usd", "energy_j", "co2e_kg", "water_l")


def lived(**sections: Any) -> Result:
    scenario = copy.deepcopy(BASE)
    for name, fields in sections.items():
        scenario[name] = {**scenario.get(name, {}), **fields} if isinstance(fields, dict) else fields
    return plan({k: v for k, v in scenario.items() if v is not None})


def one_of(*values: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from(values)


@st.composite
def lives(draw: st.DrawFn) -> dict[str, Any]:
    """Random phases over random years, rented, owned or without a price."""
    scenario: dict[str, Any] = {"site": draw(one_of("FR", "aws:us-east-1", None)), "model": SHAPE}
    fleet: dict[str, Any] = {"device": draw(one_of("h100-sxm5-80gb", "a100-sxm4-80gb")), "devices": draw(one_of(1, 8))}
    fleet |= draw(one_of({"usd_per_device_hour": 2.5}, {"tenure": "own", "usd_per_device": 25_000}, {},
                         {"tenure": "own"}))
    scenario["fleet"] = fleet
    if draw(st.booleans()):
        scenario["data"] = {"tokens": draw(one_of(1e9, 1e12)), "engineers": draw(one_of(0, 2)),
                            "licences": draw(one_of([], ["reddit-google"], [{"name": "x", "usd_per_year": 9}]))}
        scenario["data"] |= draw(one_of({}, {"classifier": {}}, {"datasets": ["c4-en"], "tokens": 1.5e11},
                                        {"storage": {"retention": "9y", "egress": 2, "tier": "b2"}}))
    scenario["pretrain"] = {"device_hours": draw(one_of(10, 9000)), "tokens": 1e10,
                            "experiments": draw(one_of(1, 3.3))}
    if draw(st.booleans()):
        scenario["maintain"] = draw(one_of({}, {"idle_devices": 2}, {"migrate": {}, "evaluate": {"suite": "helm"}}, {
            "refresh": {"every": "200d", "phase": "pretrain", "share": 0.2}, "red_team": {"every": "1y", "usd": 1000},
            "monitor": {"log_bytes_per_day": 1e10, "usd_per_month": 10}}))
    if draw(st.booleans()):
        scenario["serve"] = {"max_model_len": 4096, "replicas": 1, "workload": draw(one_of(
            {"rate": 1, "input": 500, "output": 100}, {"concurrency": 8, "input": 300, "output": 50}))}
    scenario["life"] = {"growth_per_year": draw(one_of(-0.3, 0, 1.2)), "years": draw(one_of(2, 3.7, 7)),
                        "discount_per_year": draw(one_of(0, 0.1)),
                        "engineers": draw(one_of(0, 3)),
                        "retire": draw(one_of({}, {"archive": "400d", "engineer_weeks": 3}))}
    return {k: v for k, v in scenario.items() if v is not None}


@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(lives())
def test_months_phases_and_items_are_the_total(scenario: dict[str, Any]) -> None:
    """Of money, energy, carbon and water: nominal values exactly to rounding, and every draw likewise."""
    result = plan(scenario)
    life = result.phases["life"]
    groups = {"months": life["months"], "years": life["by_year"], "phases": list(life["by_phase"].values()),
              "items": life["by_item"]}
    for key in MEASURES:
        total = result.totals[key]
        if total is None:
            assert key == "usd" and any(r[key] is None for r in life["months"])
            continue
        lines = math.fsum(_of(line, key).value for line in result.lines)
        assert math.isclose(lines, total.value, rel_tol=1e-9, abs_tol=1e-9)
        for name, rows in groups.items():
            assert math.isclose(math.fsum(r[key].value for r in rows), total.value, rel_tol=1e-9, abs_tol=1e-9), name
            drawn = sum(_draws(r[key]) for r in rows)
            np.testing.assert_allclose(drawn, _draws(total), rtol=1e-9, atol=1e-9)
    held = math.fsum(r["device_hours"] for r in life["months"])
    assert math.isclose(held, result.totals["device_hours"].value, rel_tol=1e-9, abs_tol=1e-9)
    if result.totals["usd"] is None:
        return
    assert math.isclose(life["amortised_usd"].value, result.totals["usd"].value, rel_tol=1e-9)
    assert life["present_value_usd"].value <= life["cash_usd"].value * (1 + 1e-9) + 1e-9
    assert all(line.usage.basis in ("measured", "derived", "published", "assumed") for line in result.lines)
    assert len({line.usage.id for line in result.lines}) == len(result.lines)


def _of(line: Line, key: str) -> Quantity:
    if key == "co2e_kg":
        return line.co2e_operational_kg + line.co2e_embodied_kg
    found = getattr(line, key)
    assert isinstance(found, Quantity)
    return found


def _draws(quantity: Quantity) -> Any:
    return np.full(400, quantity.value) if quantity.samples is None else np.asarray(quantity.samples)


# ---------------------------------------------------------------- calendar

@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.floats(0, 5e7), st.floats(0, 2e8), st.lists(st.floats(0.1, 9), max_size=7))
def test_a_line_falls_whole_into_the_months(start_s: float, long_s: float, profile: list[float]) -> None:
    usage = Usage("x", "p", "i", "usd", "facility", exact(1.0, "USD"), "USD", start_s, long_s, profile=tuple(profile))
    shares = month_shares(usage, 1 + int((start_s + long_s) / MONTH_S + 1))
    assert math.isclose(float(shares.sum()), 1.0, rel_tol=1e-12) and float(shares.min()) >= -1e-15
    assert float(shares[:int(start_s / MONTH_S)].sum()) == pytest.approx(0.0, abs=1e-12)


def test_experiments_come_before_the_run_and_keeping_up_after_it() -> None:
    spans = {r["phase"]: r for r in lived(pretrain={"experiments": 2}).phases["life"]["calendar"]}
    assert spans["experiments"]["end_s"] == spans["pretrain"]["start_s"] < spans["pretrain"]["end_s"]
    assert spans["maintain"]["start_s"] == spans["pretrain"]["end_s"]
    assert spans["maintain"]["end_s"] == 3 * YEAR_S


def serving(resource: Any, amount: float, item: str = "decode", long_s: float = YEAR_S) -> Line:
    zero = exact(0.0)
    usage = Usage(item, "serve", item, resource, "device", exact(amount), "s", 0.0, long_s)
    return Line(usage, zero, zero, zero, zero, zero)


def test_traffic_grows_by_whole_replicas() -> None:
    """Two full replicas at 50 % growth a year: 3 at the end of the first year, 5 (2 x 2.25) of the second."""
    how = Growing(0.5, 2, 1.0, 1.0, None)
    lines = [serving("device_s", 2 * YEAR_S), serving("tokens_out", 100.0), serving("energy_j", 7.0, "prefill"),
             serving("storage_byte_s", 5.0)]
    devices, tokens, prompts, stored = grown(lines, Span(0.0, 2 * YEAR_S), how)
    level = np.asarray(devices.profile) / devices.profile[0] * 3  # the third is there from the first month on
    assert level[0] == 3.0 and level[11] == 3.0 and level[-1] == pytest.approx(5)
    assert devices.quantity.value / YEAR_S == pytest.approx(np.ceil(2 * 1.5 ** ((np.arange(24) + 0.5) / 12)).sum() / 12)
    assert tokens.quantity.value == pytest.approx(100 * (1.5**2 - 1) / np.log(1.5), rel=1e-3)
    assert prompts.quantity.value == pytest.approx(7 * (1.5**2 - 1) / np.log(1.5), rel=1e-3)
    assert stored.quantity.value == pytest.approx(10.0)


def test_replicas_with_room_carry_growth_before_one_is_added() -> None:
    how = Growing(0.5, 2, 0.1, 0.7, None)
    devices, = grown([serving("device_s", 2 * YEAR_S)], Span(0.0, 3 * YEAR_S), how)
    assert devices.quantity.value == pytest.approx(6 * YEAR_S) and devices.profile == ()
    assert how.most(Span(0.0, 8 * YEAR_S)) == np.ceil(2 * 0.1 * 1.5**8 / 0.7)


def test_without_growth_the_hours_of_a_year_come_every_year() -> None:
    grew, = grown([serving("device_s", 1000.0, long_s=2000 * 3600.0)], Span(0.0, 3 * YEAR_S),
                  Growing(0.0, 1, 0.5, 0.7, YEAR_S))
    assert grew.quantity.value == pytest.approx(3000.0) and grew.profile == ()


def test_grown_energy_is_near_that_of_the_traffic_planned_anew() -> None:
    """Ten times the requests on replicas with room: within 15 % of the energy that the planner finds for them."""
    def energy(rate: float) -> dict[str, float]:
        result = plan({"model": "llama-3.1-8b", "fleet": "2xh100-sxm5-80gb", "site": "FR", "serve": {
            "precision": "fp8", "max_model_len": 8192, "replicas": 2,
            "workload": {"rate": rate, "input": 1024, "output": 256}}})
        return {x.usage.item: x.usage.quantity.value for x in result.lines
                if x.usage.resource == "energy_j" and "overhead" not in x.usage.tags}

    today, anew = energy(4), energy(40)
    lines = [serving("energy_j", joules, item, MONTH_S) for item, joules in today.items()]
    tenfold = grown(lines, Span(0.0, MONTH_S), Growing(10.0**24 - 1, 2, 0.06, 0.7, None))  # in the middle of the month
    assert sum(x.quantity.value for x in tenfold) == pytest.approx(sum(anew.values()), rel=0.15)


# ---------------------------------------------------------------- money in time

def test_discounting_is_what_money_and_time_say() -> None:
    """A thousand dollars a month for two years at 12 %: the sum of 1000 / 1.12^((m + 1/2)/12)."""
    result = plan({"site": "US", "maintain": {"engineers": 0, "monitor": {"usd_per_month": 1000}},
                   "life": {"years": 2, "discount_per_year": 0.12}})
    worth = sum(1000 / 1.12 ** ((m + 0.5) / 12) for m in range(24))
    assert result.totals["usd"].value == pytest.approx(24_000)
    assert result.phases["life"]["present_value_usd"].value == pytest.approx(worth)


def test_owned_machines_are_paid_when_bought() -> None:
    owned = lived(fleet={"device": "h100-sxm5-80gb", "devices": 8, "tenure": "own", "usd_per_device": 30_000,
                         "usd_per_device_hour": None}).phases["life"]
    first, second = (owned["months"][m]["cash_usd"].value for m in (0, 1))
    assert first > 8 * 30_000 and second < 0.2 * first
    assert owned["ownership_cash"]["resale"].value < 0
    rented = lived().phases["life"]
    assert rented["cash_usd"].value == pytest.approx(rented["amortised_usd"].value)


def test_maintenance_counts_what_comes_back() -> None:
    result = plan({**BASE, "life": None, "maintain": {
        "years": 2, "engineers": 0, "red_team": {"every": "6 months", "usd": 1000},
        "refresh": {"every": "1y", "phase": "pretrain", "tokens": 1e10, "replay": 0.5},
        "evaluate": {"usd": 10, "every": "3 months", "repeats": 2}}})
    money = {x.usage.item: x.usd.value for x in result.lines if x.usd is not None and x.usage.phase == "maintain"}
    assert money["red team"] == pytest.approx(4000)
    assert money["evaluation"] == pytest.approx(10 * 2 * (8 + 2))  # each quarter, and after two refreshes
    held = sum(x.usage.quantity.value for x in result.lines
               if x.usage.item == "refresh" and x.usage.resource == "device_s")
    assert held / 3600 == pytest.approx(2 * 5000 * 1.5e10 / 1e11)


def test_percentiles_sensitivity_and_budgets_are_those_of_the_total() -> None:
    result = lived(data={"tokens": 1e12})
    life, usd = result.phases["life"], result.totals["usd"]
    assert life["percentiles"]["usd"]["p10"] == pytest.approx(usd.low)
    assert life["percentiles"]["usd"]["p90"] == pytest.approx(usd.high)
    most = life["sensitivity"][0]
    assert most["explains"] > 0.02 and most["source"]
    changes = [abs(r["usd_change"]) for r in life["sensitivity"]]
    assert changes == sorted(changes, reverse=True)
    one = next(r for r in life["budgets"] if r["persona"] == "university lab")
    assert one["share"].value == pytest.approx(usd.value / 3 / one["budget_usd_per_year"].value)
    more = {c["choice"]: c["usd_change"] for c in life["choices"]}
    assert more["a year more"] > 0 > more["a year less"]


@pytest.mark.parametrize(("changes", "field"), [
    ({"life": {"years": 0}}, "life.years"),
    ({"life": {"years": None, "start": "2027-01", "end": "2026-01"}}, "life.end"),
    ({"life": {"years": None, "end": "2030"}}, "life.end"),
    ({"life": {"start": "2027", "end": "2029"}}, "life.years"),
    ({"life": {"start": "next year"}}, "life.start"),
    ({"life": {"serve_from": "1d"}}, "life.serve_from"),
    ({"life": {"serve_from": "4y"}}, "life.serve_from"),
    ({"life": {"growth_per_year": -1}}, "life.growth_per_year"),
    ({"pretrain": {"device_hours": 1e9}}, "life.years"),
    ({"pretrain": {"device_hours": None, "tokens": None, "sequence_length": 2048, "global_batch": 8}},
     "pretrain.tokens"),
    ({"maintain": {"refresh": {"every": 0}}}, "maintain.refresh.every"),
    ({"maintain": {"refresh": {}}}, "maintain.refresh.every"),
    ({"maintain": {"refresh": {"drift_per_year": 0.1}}}, "maintain.refresh.tolerance"),
    ({"maintain": {"refresh": {"drift_per_year": 0, "tolerance": 0.1}}}, "maintain.refresh.drift_per_year"),
    ({"maintain": {"refresh": {"every": "1y", "phase": "finetune"}}}, "maintain.refresh"),
    ({"maintain": {"refresh": {"every": "1y"}}}, "maintain.refresh.tokens"),
    ({"maintain": {"mitigate": {"every": "1y", "preferences": 9}}}, "maintain.mitigate.finetune_share"),
    ({"maintain": {"mitigate": {"every": "1y", "finetune_share": 0}}}, "maintain.mitigate.preferences"),
    ({"maintain": {"red_team": {"every": "1y"}}}, "maintain.red_team.usd"),
    ({"maintain": {"migrate": {"provider": "opneai"}}}, "maintain.migrate.provider"),
    ({"maintain": {"evaluate": {"suite": "helmet"}}}, "maintain.evaluate.suite"),
    ({"maintain": {"evaluate": {}}}, "maintain.evaluate.suite"),
    ({"maintain": {"monitor": {"retention": "1y"}}}, "maintain.monitor.retention"),
])
def test_bad_input_is_named(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(OutlayError) as caught:
        lived(**changes)
    assert caught.value.field == field
