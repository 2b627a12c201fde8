"""Published power and energy: the tables become scenarios, wrong values are found by general checks."""

from __future__ import annotations

import csv
from importlib.resources import files

import pytest

from outlay.validate.case import quantile
from outlay.validate.impact_cases import TABLES, baseline_j, impact_cases, predict, suspicious


def rows(table):
    text = files("outlay.validate").joinpath("cases", f"{table}.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def test_known_wrong_values_are_flagged_and_nothing_else():
    published = rows("published_impacts")
    flagged = {published[i]["model"]: why for i, why in suspicious(published).items()}
    assert set(flagged) == {"Llama 3.3 70B", "Llama 2 family total"}
    assert "2.6 g/kWh" in flagged["Llama 3.3 70B"]
    assert "539" in flagged["Llama 2 family total"] and "385" in flagged["Llama 2 family total"]


def test_a_wrong_total_is_found_whatever_it_is_called():
    made = [{"model": "Z 1B", "phase": "training", "energy_kwh": "1000", "co2e_t_location": "0.4"},
            {"model": "Z 2B", "phase": "training", "energy_kwh": "2000", "co2e_t_location": "0.8"},
            {"model": "Z family total", "phase": "training", "energy_kwh": "3000", "co2e_t_location": "1.5"},
            {"model": "Z 3B", "phase": "training", "energy_kwh": "1", "co2e_t_location": "4.0"}]
    assert set(suspicious(made[:3])) == {2}
    assert set(suspicious(made)) == {2, 3}


def test_flagged_values_are_not_scored():
    names = {c.id for c in impact_cases("published_impacts", rows("published_impacts"))}
    assert names and not any("Llama 3.3" in n or "total" in n for n in names)


def test_cards_are_hours_times_rated_power():
    cards = [c for c in impact_cases("published_impacts", rows("published_impacts")) if c.id.endswith(")")]
    assert len([c for c in cards if c.group.startswith("Llama 2")]) == 3
    for case in cards:
        if case.group.startswith("Llama 2"):
            assert baseline_j(case, 400.0) == pytest.approx(case.measured, rel=1e-3)


@pytest.mark.parametrize(("table", "evidence", "limit"), [
    ("mlperf_power_dell_h100", "node power", 0.10),
    ("published_impacts", "energy from device-hours", 0.15),
    ("published_impacts", "energy from device-hours and power", 0.01)])
def test_energy_is_predicted(table, evidence, limit):
    assert table in TABLES
    outcomes = [predict(c) for c in impact_cases(table, rows(table)) if c.evidence == evidence]
    assert len(outcomes) >= 5 and not [o.error for o in outcomes if o.error]
    assert quantile([abs(o.ratio - 1) for o in outcomes], 0.5) <= limit
