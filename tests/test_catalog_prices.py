"""Rents: what is refused when the catalogue is built and when a person's own file loads."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from outlay.catalog import Price, load
from outlay.catalog.prices import COLUMNS, faults_alone, faults_together
from outlay.errors import BadValue, OutlayError, UnknownName

GOOD = Price(
    "aws", "us-east-1", "p5.48xlarge", "h100-sxm5-80gb", 8, "on_demand", 6.88, "2026-07-20", "a list"
)


def test_shipped_rents_pass_every_check() -> None:
    prices = load().prices()
    assert len(prices) > 500
    assert [f for p in prices for f in faults_alone(p)] == []
    assert faults_together(prices) == []
    assert {p.provider for p in prices} >= {
        "aws",
        "azure",
        "gcp",
        "lambda",
        "runpod",
        "nebius",
        "coreweave",
        "vast",
    }
    devices = set(load().ids("device"))
    assert {p.device for p in prices} <= devices


@pytest.mark.parametrize(
    "bad",
    [
        replace(GOOD, usd_per_device_hour=0.0),
        replace(GOOD, usd_per_device_hour=-1.0),
        replace(GOOD, usd_per_device_hour=float("nan")),
        replace(GOOD, usd_per_device_hour=700.0),
        replace(GOOD, usd_per_device_hour=87.5),  # eight of them are 700
        replace(GOOD, kind="weekly"),
        replace(GOOD, how="guess"),
        replace(GOOD, as_of="yesterday"),
        replace(GOOD, source=""),
        replace(GOOD, devices=0),
    ],
)
def test_a_price_that_cannot_be_right_is_refused(bad: Price) -> None:
    assert faults_alone(GOOD) == []
    assert faults_alone(bad)


def test_prices_that_contradict_each_other_are_refused() -> None:
    spot = replace(GOOD, kind="spot", usd_per_device_hour=8.0)
    assert "above on-demand" in faults_together([GOOD, spot])[0][1]
    assert faults_together([GOOD, replace(spot, region="eu-west-1")]) == []
    peers = [replace(GOOD, provider=f"p{i}", usd_per_device_hour=3.0 + i) for i in range(5)]
    far = replace(GOOD, provider="odd", usd_per_device_hour=61.0)
    assert [position for position, _ in faults_together([*peers, far])] == [5]


def own(path: Path, *rows: str) -> Path:
    path.write_text("\n".join([",".join(COLUMNS), *rows]) + "\n", encoding="utf-8")
    return path


def test_own_prices_come_first_and_know_every_device_name(tmp_path: Path) -> None:
    path = own(
        tmp_path / "deal.csv",
        "AWS,us-east-1,,NVIDIA H100 80GB HBM3,8,on_demand,2.10,2026-11-01,our contract,measured,",
        "corp,,,h100-sxm5-80gb,8,on_demand,1.90,2026-11-01,our cluster,measured,",
    )
    prices = load(extra=(path,)).prices("h100-sxm5-80gb", provider="aws", region="us-east-1")
    assert [p.usd_per_device_hour for p in prices if p.kind == "on_demand"] == [2.10]
    assert load(extra=(path,)).prices("h100-sxm5-80gb", provider="corp")[0].source == "our cluster"
    assert load().prices("h100-sxm5-80gb", provider="corp") == []


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("aws,,,h100-sxm5-80gb,8,on_demand,0,2026-11-01,x,measured,", "above zero"),
        ("aws,,,h100-sxm5-80gb,8,on_demand,700,2026-11-01,x,measured,", "sentinel"),
        ("aws,,,h100-sxm5-80gb,8,on_demand,150,2026-11-01,x,measured,", "10 times away"),
        ("aws,us-east-1,p5.48xlarge,h100-sxm5-80gb,8,spot,7.5,2026-11-01,x,measured,", "above on-demand"),
        ("aws,,,h1000,8,on_demand,2,2026-11-01,x,measured,", "no device 'h1000'"),
        ("aws,,,h100-sxm5-80gb,eight,on_demand,2,2026-11-01,x,measured,", "must be numbers"),
        ("aws,,,h100-sxm5-80gb", "cells"),
    ],
)
def test_a_bad_own_price_is_named_with_its_line(tmp_path: Path, row: str, told: str) -> None:
    path = own(tmp_path / "deal.csv", row)
    with pytest.raises((BadValue, UnknownName, OutlayError), match=told) as caught:
        load(extra=(path,)).prices()
    assert "deal.csv:2" in caught.value.message


def test_commitments_are_facts() -> None:
    aws = load().find("provider", "Amazon Web Services")
    assert aws.value("commitment_discount_1y") == pytest.approx(0.41)
    assert aws.value("commitment_discount_3y") == pytest.approx(0.64)
