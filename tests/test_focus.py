"""FOCUS 1.2 files: what is written keeps to the specification's columns; a bill is set against its plan."""

from __future__ import annotations

import csv
import io
import json
from collections import defaultdict
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from outlay import OutlayError, plan
from outlay.catalog import load
from outlay.cli.shell import run
from outlay.ledger.focus import charges, to_csv
from outlay.ledger.invoice import read_invoice
from outlay.ledger.months import day, split
from outlay.ledger.reconcile import reconcile

BASE: dict[str, Any] = {"name": "pilot", "model": "llama-3.1-8b", "site": "aws:us-east-1",
                        "fleet": {"device": "h100-sxm5-80gb", "devices": 64, "discount": 0.1},
                        "pretrain": {"tokens": 1e12}, "tags": {"team": "search"}}
VARIANTS = {
    "rent": {}, "own": {"fleet": {"device": "h100-sxm5-80gb", "devices": 64, "tenure": "own", "discount": 0.1}},
    "committed": {"fleet": {"device": "h100-sxm5-80gb", "devices": 64, "provider": "aws", "commitment": "1y"}},
    "euro": {"currency": {"code": "EUR", "per_usd": 0.9, "as_of": "2026-11-01"}},
}
START = day("2026-12-20", "--start")


def rows_of(**more: Any) -> tuple[list[dict[str, str]], Any]:
    result = plan({**BASE, **more})
    text = to_csv(charges(result, START)[0], load())
    return list(csv.DictReader(io.StringIO(text))), result


def rate(code: str) -> float:
    raise AssertionError(code)


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_cell_is_what_its_column_allows(variant: str) -> None:
    rows, _ = rows_of(**VARIANTS[variant])
    for entry in load().entries("focus_column"):
        allowed = str(entry.value("allowed", "")).split("|") if "allowed" in entry else None
        for row in rows:
            cell = row[entry.name]  # every column of the specification is there
            if not cell:
                optional = bool(entry.value("nulls")) or entry.value("level") != "mandatory"
                assert optional, f"{entry.name} must not be null"
                continue
            kind = entry.value("type")
            if kind == "decimal":
                float(cell)
                assert "," not in cell
            elif kind == "date/time":
                datetime.strptime(cell, "%Y-%m-%dT%H:%M:%SZ")
            elif kind == "json":
                assert isinstance(json.loads(cell), dict)
            if allowed:
                shown = f"{row['ServiceCategory']} > {cell}" if entry.name == "ServiceSubcategory" else cell
                assert shown in allowed, f"{entry.name}: {cell}"


@pytest.mark.parametrize("variant", VARIANTS)
def test_costs_add_up_and_prices_times_quantities_are_costs(variant: str) -> None:
    rows, result = rows_of(**VARIANTS[variant])
    per_usd = (result.currency or {}).get("per_usd", 1.0)
    assert sum(float(r["EffectiveCost"]) for r in rows) == pytest.approx(result.totals["usd"].value * per_usd)
    assert sum(float(r["x_EnergyKWh"]) for r in rows) == pytest.approx(result.totals["energy_j"].value / 3.6e6)
    assert sum(float(r["x_CarbonKgCO2e"]) for r in rows) == pytest.approx(result.totals["co2e_kg"].value)
    for row in rows:
        for cost, price in (("ContractedCost", "ContractedUnitPrice"), ("ListCost", "ListUnitPrice")):
            if row[price]:
                assert float(row[price]) * float(row["PricingQuantity"]) == pytest.approx(float(row[cost]))
        assert float(row["BilledCost"]) == 0.0  # a plan is no invoice
        assert json.loads(row["Tags"])["team"] == "search"


def test_a_discount_stands_between_list_and_contracted_cost() -> None:
    rows, _ = rows_of()
    paid = [r for r in rows if r["ResourceType"] == "h100-sxm5-80gb" and float(r["ListCost"])]
    assert paid and all(float(r["ContractedCost"]) == pytest.approx(0.9 * float(r["ListCost"])) for r in paid)


def test_a_charge_lies_inside_its_month() -> None:
    rows, _ = rows_of()
    assert {r["BillingPeriodStart"] for r in rows} == {"2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"}
    for row in rows:
        assert row["BillingPeriodStart"] <= row["ChargePeriodStart"] < row["ChargePeriodEnd"] <= row["BillingPeriodEnd"]


def test_months_share_a_span_by_time() -> None:
    parts = list(split(day("2026-01-31", ""), 86400.0 * 60))
    assert sum(share for *_, share in parts) == pytest.approx(1.0)
    assert [a.date().isoformat() for a, _, _ in parts] == ["2026-01-31", "2026-02-01", "2026-03-01"]
    with pytest.raises(OutlayError):
        day("2026-13-01", "--start")


def bill(tmp_path: Path, change: Any = None) -> Path:
    """The plan's own file with 8 % more on it, as a provider might have sent it."""
    rows, _ = rows_of()
    for row in rows:
        row["BilledCost"] = row["EffectiveCost"] = str(1.08 * float(row["EffectiveCost"]))
    rows = change(rows) if change else rows
    path = tmp_path / "bill.csv"
    with open(path, "w", newline="") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_a_bill_joins_its_plan_line_by_line(tmp_path: Path) -> None:
    planned, _ = charges(plan(BASE), START)
    found = reconcile(planned, read_invoice(bill(tmp_path), "effective", rate))
    assert found["matched"] and not found["only_planned"] and not found["only_billed"]
    assert all(m["ratio"] == pytest.approx(1.08) for m in found["matched"])
    assert found["total"]["billed"] == pytest.approx(1.08 * found["total"]["planned"].value)


def test_what_has_no_partner_is_shown_both_ways(tmp_path: Path) -> None:
    def change(rows: list[dict[str, str]]) -> list[dict[str, str]]:
        kept = [r for r in rows if r["ServiceCategory"] != "Storage"]
        return [*kept, {**rows[0], "ServiceCategory": "Networking", "ServiceName": "NAT", "ResourceId": "nat-1",
                        "EffectiveCost": "312.5"}]

    planned, _ = charges(plan(BASE), START)
    found = reconcile(planned, read_invoice(bill(tmp_path, change), "effective", rate))
    assert {m["service"] for m in found["only_planned"]} == {"Storage"}
    assert [(m["resource"], m["billed"]) for m in found["only_billed"]] == [("NAT nat-1", 312.5)]


def test_other_names_are_compared_as_a_sum_of_the_month_and_service(tmp_path: Path) -> None:
    def change(rows: list[dict[str, str]]) -> list[dict[str, str]]:
        return [{**r, "ResourceId": f"i-{n}", "Tags": "{}"} for n, r in enumerate(rows)]

    planned, _ = charges(plan(BASE), START)
    found = reconcile(planned, read_invoice(bill(tmp_path, change), "effective", rate))
    sums: dict[tuple[str, str], float] = defaultdict(float)
    for row in planned:
        sums[str(row.columns["ChargePeriodStart"])[:7], str(row.columns["ServiceCategory"])] += row.usd.value
    assert {(m["month"], m["service"]): m["planned"].value for m in found["matched"]} == pytest.approx(dict(sums))
    assert not found["only_planned"] and not found["only_billed"]


def test_a_tag_names_the_planned_line(tmp_path: Path) -> None:
    def change(rows: list[dict[str, str]]) -> list[dict[str, str]]:
        return [{**r, "Tags": json.dumps({"outlay_line": r["ResourceId"]}), "ResourceId": "i-1"} for r in rows]

    planned, _ = charges(plan(BASE), START)
    found = reconcile(planned, read_invoice(bill(tmp_path, change), "effective", rate))
    assert "pretrain.training.device_s" in {m["resource"] for m in found["matched"]}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no column"),
        ("a,b\n1,2\n", "no column ServiceCategory"),
        ("ServiceCategory,BillingCurrency,EffectiveCost,ChargePeriodStart\n", "no charges"),
        ("ServiceCategory,BillingCurrency,EffectiveCost,ChargePeriodStart\nCompute,USD,x,2026-12-01\n", "bill.csv:2"),
        ("ServiceCategory,BillingCurrency,EffectiveCost,ChargePeriodStart\nCompute,USD,nan,2026-12-01\n", "finite"),
        ("ServiceCategory,BillingCurrency,EffectiveCost,ChargePeriodStart\nCompute,USD,1,someday\n", "not a date"),
        ("ServiceCategory,BillingCurrency,EffectiveCost,ChargePeriodStart\nCompute,USD\n", "cells"),
    ],
)
def test_a_file_that_is_no_bill_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "bill.csv"
    path.write_text(text)
    with pytest.raises(OutlayError, match=said):
        read_invoice(path, "effective", rate)


def test_a_bill_in_another_currency_needs_its_rate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def change(rows: list[dict[str, str]]) -> list[dict[str, str]]:
        return [{**r, "BillingCurrency": "EUR"} for r in rows]

    path = bill(tmp_path, change)
    ask = ["reconcile", "llama-3.1-8b", "-g", "64xh100-sxm", "-n", "1T", "-s", "aws:us-east-1", "--start", "2026-12-20",
           "--discount", "10%", "--invoice", str(path)]
    assert run(ask) == 2
    assert "no rate of EUR" in capsys.readouterr().err
    assert run([*ask, "--currency", "EUR", "--exchange-rate", "1.08", "--exchange-date", "2026-11-01", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["total"]["billed"] == pytest.approx(found["total"]["planned"]["value"])


def test_a_bill_far_over_the_plan_leaves_with_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def change(rows: list[dict[str, str]]) -> list[dict[str, str]]:
        return [{**r, "EffectiveCost": str(9 * float(r["EffectiveCost"]))} for r in rows]

    path = bill(tmp_path, change)
    ask = ["reconcile", "llama-3.1-8b", "-g", "64xh100-sxm", "-n", "1T", "-s", "aws:us-east-1", "--start", "2026-12-20",
           "--discount", "10%", "--invoice", str(path)]
    assert run(ask) == 1
    out = capsys.readouterr().out
    assert "outside the plan's 80 % interval" in out and "training of pretrain" in out
    assert run([*ask, "--cost", "list"]) == 0
    assert run([*ask, "--cost", "lst"]) == 2


def test_report_writes_a_focus_file_and_names_what_it_leaves_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "plan.csv"
    assert run(["report", "llama-3.1-8b", "-g", "8xh100-sxm", "-n", "10B", "--as", "focus", "-o", str(target)]) == 0
    assert "taken to begin on 2026-12-01" in capsys.readouterr().err
    assert len(list(csv.DictReader(io.StringIO(target.read_text())))) > 3
    mine = json.dumps({"name": "mine", "memory_bytes": "80GB", "memory_bytes_per_s": "3TB/s",
                       "flops_per_s": {"bf16": 9e14}, "power_w": 700})
    ask = ["report", "llama-3.1-8b", "--set", f"fleet.device={mine}", "--set", "fleet.devices=8", "-n", "10B"]
    assert run([*ask, "--as", "focus", "--start", "2027-01-01"]) == 0
    out, err = capsys.readouterr()
    assert "left out, no price" in err and "training" in err and "Storage" in out
