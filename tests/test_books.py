"""Bookkeeping of a plan: currency by a stated rate, discount, tags, budgets that stop a pipeline."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from outlay import OutlayError, plan
from outlay.catalog import load
from outlay.cli.shell import run

BASE: dict[str, Any] = {"model": "llama-3.1-8b", "fleet": "8xh100-sxm5-80gb", "site": "FR",
                        "pretrain": {"device_hours": 1000}}
ASK = ["train", "llama-3.1-8b", "-g", "8xh100-sxm", "--device-hours", "1000", "-s", "FR"]
RATES = "currency,per_usd,as_of,source\nEUR,0.92,2026-11-20,our treasury\n"


def test_money_is_shown_at_the_stated_rate_and_stays_in_dollars_inside() -> None:
    plain = plan(BASE).to_dict()
    told = plan({**BASE, "currency": {"code": "eur", "per_usd": 0.92, "as_of": "2026-11-20"}}).to_dict()
    assert told["totals"] == plain["totals"]
    assert told["currency"]["code"] == "EUR" and told["currency"]["as_of"] == "2026-11-20"
    for edge in ("value", "low", "high"):
        assert told["currency"]["total"][edge] == pytest.approx(0.92 * plain["totals"]["usd"][edge])


@pytest.mark.parametrize(
    ("currency", "field", "said"),
    [
        ("EUR", "currency.per_usd", "--exchange-rate"),
        ({"code": "EURO", "per_usd": 1.0}, "currency.code", "three letters"),
        ({"code": "EUR", "per_usd": 0}, "currency.per_usd", "more than 0"),
        ({"code": "EUR", "per_usd": 0.9, "as_of": "2999-01-01"}, "currency.as_of", "future"),
        ({"code": "EUR", "per_usd": 0.9, "as_of": "soon"}, "currency.as_of", "not a date"),
        ({"code": "USD", "per_usd": 0.9}, "currency.per_usd", "dollar"),
        ({"per_usd": 0.9}, "currency.code", "needed"),
    ],
)
def test_a_currency_without_a_usable_rate_is_refused(currency: Any, field: str, said: str) -> None:
    with pytest.raises(OutlayError) as caught:
        plan({**BASE, "currency": currency})
    assert caught.value.field == field and said in caught.value.message


def test_a_file_of_rates_answers_a_bare_code(tmp_path: Path) -> None:
    rates = tmp_path / "rates.csv"
    rates.write_text(RATES)
    told = plan({**BASE, "currency": "EUR"}, extra=[rates]).to_dict()["currency"]
    assert (told["per_usd"], told["as_of"], told["source"]) == (0.92, "2026-11-20", "our treasury")
    assert load((rates,)).prices()  # and is no file of prices


@pytest.mark.parametrize(
    "row", ["EUR,zero,2026-11-20,x", "EUR,-1,2026-11-20,x", "EUR,0.9,2999-01-01,x", "E,1,2026-11-20,x"]
)
def test_a_bad_row_of_rates_is_named_with_its_line(tmp_path: Path, row: str) -> None:
    rates = tmp_path / "rates.csv"
    rates.write_text(f"currency,per_usd,as_of,source\n{row}\n")
    with pytest.raises(OutlayError, match=r"rates\.csv:2"):
        plan({**BASE, "currency": "EUR"}, extra=[rates])


def test_a_price_from_the_future_is_refused(tmp_path: Path) -> None:
    prices = tmp_path / "prices.csv"
    prices.write_text("provider,device,usd_per_device_hour,as_of,source\nme,h100-sxm5-80gb,2,2999-01-01,quote\n")
    with pytest.raises(OutlayError, match="future"):
        plan(BASE, extra=[prices])


def test_the_screen_speaks_the_currency(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*ASK, "--currency", "EUR", "--exchange-rate", "0.92", "--exchange-date", "2026-11-20"]) == 0
    out = capsys.readouterr().out
    assert "EUR" in out.splitlines()[0] and "0.92 for a dollar of 2026-11-20" in out and "$" not in out
    assert run([*ASK, "--currency", "EUR"]) == 2
    assert "no rate of EUR" in capsys.readouterr().err


@pytest.mark.parametrize("fleet", [{"tenure": "rent"}, {"tenure": "own"}])
def test_a_discount_comes_off_the_listed_price(fleet: dict[str, Any]) -> None:
    def paid(**more: Any) -> float:
        scenario = {**BASE, "fleet": {"device": "h100-sxm5-80gb", "devices": 8, **fleet, **more}}
        lines = plan(scenario).to_dict()["lines"]
        return sum(x["usd"]["value"] for x in lines if x["resource"] == "device_s")

    assert paid(discount=0.25) == pytest.approx(0.75 * paid())
    told = plan({**BASE, "fleet": {"device": "h100-sxm5-80gb", "devices": 8, "discount": 0.25}}).to_dict()
    assert "25 % negotiated" in told["lines"][0]["price_basis"]


def test_tags_stand_on_every_line(capsys: pytest.CaptureFixture[str]) -> None:
    told = plan({**BASE, "tags": {"team": "search", "stage": "pilot"}}).to_dict()
    assert all(line["tags"]["team"] == "search" for line in told["lines"])
    assert run([*ASK, "--tag", "team=search", "--csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert rows and all("team=search" in row["tags"] for row in rows)
    assert run([*ASK, "--tag", "team"]) == 2


def test_budgets_of_total_phase_and_item_and_of_carbon() -> None:
    whole = plan(BASE).to_dict()
    usd, kg = whole["totals"]["usd"]["value"], whole["totals"]["co2e_kg"]["value"]
    limits = {"total": {"usd": 1.01 * usd, "co2e_kg": 0.5 * kg}, "pretrain": 0.5 * usd,
              "pretrain.cooling": {"energy_j": 1}}
    result = plan({**BASE, "goal": {"budgets": limits}})
    kept = {(e["name"], e["measure"]): e["within"] for e in result.budget}
    assert kept == {("total", "usd"): True, ("total", "co2e_kg"): False, ("pretrain", "usd"): False,
                    ("pretrain.cooling", "energy_j"): False}
    assert result.exit_code == 1
    likely = {(e["name"], e["measure"]): e["within_probability"] for e in result.budget}
    assert 0.3 < likely["total", "usd"] < 0.9 and likely["pretrain", "usd"] < 0.3


def test_a_budget_nobody_can_check_is_not_kept() -> None:
    fleet = {"device": {"name": "mine", "memory_bytes": "80GB", "memory_bytes_per_s": "3TB/s",
                        "flops_per_s": {"bf16": 9e14}, "power_w": 700}, "devices": 8}
    result = plan({**BASE, "fleet": fleet, "goal": {"budget": 1e12}})
    assert result.to_dict()["budget"][0]["within"] is None
    assert result.exit_code == 1


def test_a_name_that_is_not_in_the_plan_is_refused() -> None:
    with pytest.raises(OutlayError) as caught:
        plan({**BASE, "goal": {"budgets": {"pretrain.colling": 5}}})
    assert caught.value.field == "goal.budgets.pretrain.colling" and "pretrain.cooling" in caught.value.message


def test_a_budget_file_stops_a_pipeline(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    limits = tmp_path / "budget.yaml"
    limits.write_text("total: 1M\npretrain: {usd: 100, co2e_kg: 1e9}\n")
    assert run([*ASK, "--budget-file", str(limits)]) == 1
    out = capsys.readouterr().out
    assert "misses the budget of pretrain, $100" in out.splitlines()[0]
    assert "broken" in out and "kept" in out
    limits.write_text("total: 1M\n")
    assert run([*ASK, "--budget-file", str(limits), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["budget"][0]["within"] is True
    limits.write_text("- 5\n")
    assert run([*ASK, "--budget-file", str(limits)]) == 2
    assert run([*ASK, "--budget-file", str(tmp_path / "none.yaml")]) == 2


def test_a_plan_that_does_not_fit_is_no_however_large_the_budget() -> None:
    result = plan({"model": "llama-3.1-70b", "fleet": "1xrtx-4090", "pretrain": {"tokens": 1e9},
                   "goal": {"budgets": {"total": 1e12}}})
    assert result.exit_code == 1


def test_serving_has_prices_of_a_request_a_user_and_a_million_tokens() -> None:
    work = {"users": 400, "input": 800, "output": 200, "requests_per_user_hour": 10}
    told = plan({"model": "llama-3.1-8b", "fleet": "1xh100-sxm5-80gb", "site": "FR",
                 "serve": {"workload": work, "hours": 730.5}}).to_dict()
    usd, serve = told["totals"]["usd"]["value"], told["serve"]
    assert serve["usd_per_user_month"]["value"] == pytest.approx(usd / 400)
    assert serve["usd_per_request"]["value"] == pytest.approx(usd / serve["requests"]["value"])
    assert serve["usd_per_million_output_tokens"]["value"] == pytest.approx(5000 * serve["usd_per_request"]["value"])
    assert serve["co2e_per_request_kg"]["value"] * serve["requests"]["value"] == pytest.approx(
        told["totals"]["co2e_kg"]["value"])


def test_a_budget_is_checked_when_serving(capsys: pytest.CaptureFixture[str]) -> None:
    ask = ["serve", "llama-3.1-8b", "-g", "1xh100-sxm", "--set", "serve.workload={rate: 2, input: 500, output: 100}"]
    assert run([*ask, "--budget", "100"]) == 1
    assert "misses the budget" in capsys.readouterr().out.splitlines()[0]
    assert run([*ask, "--budget", "1M"]) == 0


def test_a_tag_is_no_formula_in_a_spreadsheet() -> None:
    from outlay.report.rows import lines_csv

    told = plan({**BASE, "tags": {"=HYPERLINK(1)": "x"}}).to_dict()
    assert all(row["tags"].startswith("'=") for row in csv.DictReader(io.StringIO(lines_csv(told["lines"]))))
