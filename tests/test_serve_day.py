"""A load by the hour: replicas each hour, the ways to follow it, what they cost, and that they add up."""

from __future__ import annotations

import copy
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from outlay import OutlayError, plan
from outlay.planner.serve.hours import best_split, starts

BASE: dict[str, Any] = {
    "model": "llama-3.1-8b", "fleet": "8xh100-sxm5-80gb", "site": "aws:us-east-1",
    "serve": {"tensor": 1, "precision": "bf16", "max_model_len": 8192, "hours": 8760,
              "workload": {"rate": 150, "input": 1024, "output": 256}, "slo": {"ttft": "1s", "tpot": "40ms"}},
}
DAY = [0.1, 0.1, 0.1, 0.1, 0.1, 0.3, 0.6, 1.0, 1.0, 1.0, 0.6, 0.6] * 2


def asked(hourly: Any = None, fleet: Any = None, **serve: Any) -> dict[str, Any]:
    found = copy.deepcopy(BASE)
    found["serve"] |= serve
    if hourly is not None:
        found["serve"]["workload"]["hourly"] = hourly
    if fleet is not None:
        found["fleet"] = fleet
    return found


def day(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = plan(document).to_dict()
    return found


def ways(result: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["way"]: row for row in result["serve"]["day"]["ways"]}


@pytest.mark.parametrize("scaling", ["fixed", "autoscale", "mixed"])
def test_the_lines_are_those_of_the_way_asked_for(scaling: str) -> None:
    result = day(asked(DAY, scaling=scaling))
    way = ways(result)[scaling]
    for name in ("usd", "energy_j", "co2e_kg", "device_hours"):
        assert result["totals"][name]["value"] == pytest.approx(way[name]["value"])
        summed = sum(line["quantity"]["value"] for line in result["lines"] if line["resource"] == "device_s") / 3600
    assert summed == pytest.approx(way["device_hours"]["value"])
    assert len({line["id"] for line in result["lines"]}) == len(result["lines"])
    per_token = way["usd"]["value"] / (result["serve"]["output_tokens"]["value"] / 1e6)
    assert result["serve"]["usd_per_million_output_tokens"]["value"] == pytest.approx(per_token)


def test_a_flat_load_is_the_load_without_hours() -> None:
    plain, flat = day(asked()), day(asked("flat"))
    for name in ("usd", "energy_j", "co2e_kg", "water_l", "device_hours"):
        assert flat["totals"][name]["value"] == pytest.approx(plain["totals"][name]["value"], rel=1e-6), name
    for name in ("ttft_s", "tpot_s", "energy_per_output_token_j", "power_w_per_device"):
        assert flat["serve"][name]["value"] == pytest.approx(plain["serve"][name]["value"], rel=1e-6), name


def test_a_day_is_the_sum_of_its_hours() -> None:
    """Energy of a fixed deployment: that of plans made for each hour's load by itself."""
    whole = day(asked(DAY))["totals"]["energy_j"]["value"]
    by_load = {}
    for load in set(DAY):
        document = asked()
        document["serve"]["workload"]["rate"] = 150 * load
        by_load[load] = day(document)["totals"]["energy_j"]["value"]
    assert whole == pytest.approx(sum(by_load[load] for load in DAY) / len(DAY), rel=5e-3)


def test_replicas_follow_the_load() -> None:
    found = day(asked(DAY, scaling="autoscale"))["serve"]["day"]
    each = found["requests_per_s_per_replica"]
    assert found["replicas_needed"] == [int(np.ceil(150 * load / each)) for load in DAY]
    assert max(found["replicas_needed"]) > min(found["replicas_needed"]) and found["hours_short"] == 0


def test_following_never_costs_more_and_a_mix_never_more_than_either() -> None:
    found = ways(day(asked(DAY)))
    usd = {name: row["usd"]["value"] for name, row in found.items()}
    assert usd["autoscale"] < usd["fixed"] and usd["mixed"] <= usd["autoscale"] * (1 + 1e-9)
    assert found["autoscale"]["idle_share"] < found["fixed"]["idle_share"]
    assert found["autoscale"]["energy_j"]["value"] < found["fixed"]["energy_j"]["value"]


def test_a_start_is_paid_for() -> None:
    quick, slow = (ways(day(asked(DAY, scaling="autoscale", cold_start=s)))["autoscale"] for s in (0, "30min"))
    more = slow["device_hours"]["value"] - quick["device_hours"]["value"]
    assert slow["starts"] > 0
    assert more == pytest.approx(slow["starts"] * 0.5 * 8760 / len(DAY))


def test_a_fleet_too_small_says_in_how_many_hours() -> None:
    result = day(asked(DAY, fleet="2xh100-sxm5-80gb"))
    short = result["serve"]["day"]["hours_short"]
    assert short == sum(n > 2 for n in result["serve"]["day"]["replicas_needed"]) > 0
    assert any(f"{short} of 24 hours" in w for w in result["warnings"])


def test_a_year_of_commitment_needs_a_year_of_service() -> None:
    assert ways(day(asked(DAY)))["mixed"]["commitment"] == "1y"
    assert ways(day(asked(DAY, hours=3000)))["mixed"]["commitment"] is None


def test_devices_paid_for_all_the_time_are_not_scaled() -> None:
    own = {"device": "h100-sxm5-80gb", "devices": 8, "tenure": "own"}
    assert list(ways(day(asked(DAY, fleet=own)))) == ["fixed"]
    for fleet in (own, {"device": "h100-sxm5-80gb", "devices": 8, "commitment": "1y"}):
        with pytest.raises(OutlayError) as caught:
            plan(asked(DAY, fleet=fleet, scaling="autoscale"))
        assert caught.value.field == "serve.scaling"


def test_the_best_split_is_the_best() -> None:
    """Against every base and commitment there is, on loads drawn at random."""
    rng = np.random.default_rng(7)
    for _ in range(40):
        counts = rng.integers(0, 9, 24).astype(float)
        reserved = {"1y": rng.uniform(0.3, 1.1), "3y": rng.uniform(0.2, 1.1)}
        start, cycle = rng.uniform(0, 3000), 24 * 3600.0

        def cost(base: int, price: float, counts: Any = counts, start: float = start) -> float:
            hours = sum(max(n - base, 0) for n in counts)
            begun = sum(max(max(b, base) - max(a, base), 0) for a, b in zip(np.roll(counts, 1), counts, strict=True))
            return base * price * 24 + hours + begun * start / 3600

        base, term = best_split(counts, 1.0, reserved, start, cycle)
        best = min(cost(b, p) for b, p in itertools.product(range(10), reserved.values()))
        assert cost(base, reserved.get(term, 0.0)) == pytest.approx(best)
    assert starts(np.array([0.0, 2.0, 1.0, 3.0]), 1.0) == 3.0


def test_a_file_is_its_numbers(tmp_path: Path) -> None:
    bare, dated = tmp_path / "a.csv", tmp_path / "b.csv"
    bare.write_text("\n".join(str(1000 * x) for x in DAY))
    dated.write_text("hour,load\n" + "\n".join(f"{i},{x}" for i, x in enumerate(DAY)))
    wanted = day(asked(DAY))["totals"]["energy_j"]
    for path in (bare, dated):
        assert day(asked(str(path)))["totals"]["energy_j"]["value"] == pytest.approx(wanted["value"])


@pytest.mark.parametrize(
    ("hourly", "words"),
    [
        ("offic-hours", "office-hours"),
        ([1, 2, 3], "24 (a day)"),
        ([0] * 24, "every load is 0"),
        ([1] * 23 + [-1], "hourly[23]"),
        ([1] * 23 + [float("nan")], "hourly[23]"),
        ([1] * 23 + ["x"], "hourly[23]"),
        ({"a": 1}, "expected 24"),
        (7, "expected 24"),
        ("missing/file.csv", "no such file"),
    ],
)
def test_bad_hours_are_named(hourly: Any, words: str) -> None:
    with pytest.raises(OutlayError) as caught:
        plan(asked(hourly))
    assert caught.value.field.startswith("serve.workload.hourly") and words in caught.value.message


@pytest.mark.parametrize("text", ["1\nx\n", "a,b,c\n1,2,3\n", "", "1\n" * 25, "1\n" * 9000])
def test_bad_files_are_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "loads.csv"
    path.write_text(text)
    with pytest.raises(OutlayError) as caught:
        plan(asked(str(path)))
    assert caught.value.field == "serve.workload.hourly"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"serve.scaling": "mixed", "serve.workload.hourly": None}, "serve.scaling"),
        ({"serve.cold_start": "90s", "serve.workload.hourly": None}, "serve.cold_start"),
        ({"serve.cold_start": "2h"}, "serve.cold_start"),
        ({"serve.workload.rate": None, "serve.workload.batch": 8, "serve.hours": None}, "serve.workload.hourly"),
        ({"serve.workload.rate": "inf"}, "serve.workload.hourly"),
        ({"serve.workload.rate": None}, "serve.workload.hourly"),
        ({"serve.scaling": "automatic"}, "serve.scaling"),
    ],
)
def test_what_makes_no_sense_with_hours_is_refused(changes: dict[str, Any], field: str) -> None:
    document = asked("consumer")
    for path, value in changes.items():
        *above, last = path.split(".")
        place = document
        for name in above:
            place = place[name]
        place.pop(last, None) if value is None else place.__setitem__(last, value)
    with pytest.raises(OutlayError) as caught:
        plan(document)
    assert caught.value.field == field


def test_a_loop_by_the_hour() -> None:
    document = asked("office-hours", scaling="autoscale")
    del document["serve"]["workload"]["rate"]
    document["serve"]["workload"]["concurrency"] = 300
    result = day(document)
    found = ways(result)
    assert found["autoscale"]["usd"]["value"] < found["fixed"]["usd"]["value"]
    assert 0.0 < found["fixed"]["idle_share"] < 1.0


def test_a_search_weighs_the_hours() -> None:
    """What an option is ranked by is what its own plan takes an hour, as it follows the load."""
    for scaling in ("fixed", "autoscale", "mixed"):
        document = asked(DAY, scaling=scaling)
        del document["fleet"]
        document["serve"] |= {"options": {"devices": ["h100-sxm5-80gb", "l40s"]}, "cold_start": 0}
        result = day(document)
        row = result["serve"]["search"]["best"][0]
        assert row["usd_per_hour"] == pytest.approx(result["totals"]["usd"]["value"] / 8760, rel=1e-3), scaling
        assert row["power_w"] == pytest.approx(result["totals"]["energy_j"]["value"] / 8760 / 3600, rel=5e-3), scaling
