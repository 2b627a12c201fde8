"""A load by the hour on two pools: replicas of each, the ways to follow it, and that all adds up."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from outlay import plan

POOLS = {"prefill": {"tensor": 1, "replicas": 4}, "decode": {"tensor": 2, "replicas": 2}}
BASE: dict[str, Any] = {
    "model": "llama-3.1-8b", "fleet": "8xh100-sxm5-80gb", "site": "aws:us-east-1",
    "serve": {"precision": "bf16", "max_model_len": 8192, "hours": 8760, "disaggregated": POOLS,
              "workload": {"rate": 50, "input": 2048, "output": 128}, "slo": {"ttft": "1s", "tpot": "20ms"}},
}
DAY = [0.1, 0.1, 0.1, 0.1, 0.1, 0.3, 0.6, 1.0, 1.0, 1.0, 0.6, 0.6] * 2


def day(hourly: Any = None, **serve: Any) -> dict[str, Any]:
    document = copy.deepcopy(BASE)
    work = serve.pop("workload", {})
    document["serve"] |= serve
    document["serve"]["workload"] |= work | ({} if hourly is None else {"hourly": hourly})
    found: dict[str, Any] = plan(document).to_dict()
    return found


def ways(result: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["way"]: row for row in result["serve"]["day"]["ways"]}


@pytest.mark.parametrize("scaling", ["fixed", "autoscale", "mixed"])
def test_the_lines_are_those_of_the_way_asked_for(scaling: str) -> None:
    result = day(DAY, scaling=scaling)
    way = ways(result)[scaling]
    for name in ("usd", "energy_j", "co2e_kg", "device_hours"):
        assert result["totals"][name]["value"] == pytest.approx(way[name]["value"])
    assert len({line["id"] for line in result["lines"]}) == len(result["lines"])
    assert way["replicas_most"] <= 8


def test_a_flat_load_is_the_load_without_hours() -> None:
    plain, flat = day(), day("flat")
    for name in ("usd", "energy_j", "co2e_kg", "water_l", "device_hours"):
        assert flat["totals"][name]["value"] == pytest.approx(plain["totals"][name]["value"], rel=1e-3), name
    for name in ("ttft_s", "tpot_s", "energy_per_output_token_j", "power_w_per_device"):
        assert flat["serve"][name]["value"] == pytest.approx(plain["serve"][name]["value"], rel=1e-3), name


def test_a_day_is_the_sum_of_its_hours() -> None:
    whole = day(DAY)["totals"]["energy_j"]["value"]
    by_load = {load: day(workload={"rate": 50 * load})["totals"]["energy_j"]["value"] for load in set(DAY)}
    assert whole == pytest.approx(sum(by_load[load] for load in DAY) / len(DAY), rel=5e-3)


def test_replicas_of_each_pool_follow_the_load() -> None:
    """What an hour is said to need keeps the promises in a plan of that hour by itself; one replica less does not."""
    found = day(DAY)["serve"]["day"]
    assert found["unit"] == "devices" and found["hours_short"] == 0
    for load in sorted(set(DAY)):
        hour = DAY.index(load)
        counts = {name: pool["replicas_needed"][hour] for name, pool in found["pools"].items()}

        def kept(counts: dict[str, int], rate: float = 50 * load) -> bool:
            pools = {name: {**POOLS[name], "replicas": count} for name, count in counts.items()}
            serve = day(disaggregated=pools, workload={"rate": rate})["serve"]
            return bool(serve["meets_slo"])

        assert kept(counts), (load, counts)
        for name, count in counts.items():
            if count > 1:
                assert not kept({**counts, name: count - 1}), (load, name, counts)


def test_following_costs_no_more() -> None:
    found = ways(day(DAY))
    usd = {name: row["usd"]["value"] for name, row in found.items()}
    assert usd["autoscale"] < usd["fixed"] and usd["mixed"] <= usd["autoscale"] * (1 + 1e-9)
    assert found["autoscale"]["energy_j"]["value"] < found["fixed"]["energy_j"]["value"]


def test_too_few_of_one_pool_is_said() -> None:
    result = day(DAY, disaggregated={"prefill": {"replicas": 1}, "decode": {"tensor": 2, "replicas": 2}})
    found = result["serve"]["day"]
    assert found["hours_short"] == sum(n > 1 for n in found["pools"]["prefill"]["replicas_needed"]) > 0
    assert any("serve.workload.hourly" in warning for warning in result["warnings"])


def test_a_loop_by_the_hour() -> None:
    result = day(DAY, workload={"rate": None, "concurrency": 64})
    assert set(ways(result)) == {"fixed", "autoscale", "mixed"}


def test_a_search_weighs_pools_by_their_hours() -> None:
    document = copy.deepcopy(BASE)
    del document["fleet"], document["serve"]["disaggregated"]
    document["serve"]["workload"] |= {"hourly": DAY}
    document["serve"] |= {"scaling": "autoscale",
                          "options": {"devices": ["h100-sxm5-80gb"], "disaggregated": "only"}}
    result = plan(document).to_dict()
    row, way = result["serve"]["search"]["best"][0], ways(result)["autoscale"]
    assert result["serve"]["meets_slo"] is True
    assert row["usd_per_hour"] == pytest.approx(way["usd"]["value"] / 8760, rel=0.03)


def test_many_of_both_pools_are_replayed_as_a_few() -> None:
    """Ten times the pools under ten times the load: no longer a wait, and the tokens of the same replicas."""
    few, many = _of(2), _of(20)
    assert many["tpot_p99_s"]["value"] == pytest.approx(few["tpot_p99_s"]["value"], rel=0.06)
    assert many["ttft_p99_s"]["value"] <= few["ttft_p99_s"]["value"] * 1.05
    assert many["replay"]["requests_per_s"] == pytest.approx(10 * few["replay"]["requests_per_s"], rel=0.15)


def _of(count: int) -> dict[str, Any]:
    document = copy.deepcopy(BASE)
    document["fleet"] = f"{3 * count}xh100-sxm5-80gb"
    document["serve"] |= {"disaggregated": {"prefill": {"replicas": 2 * count}, "decode": {"replicas": count}},
                          "slo": {"ttft": "1s", "percentile": 99}}
    document["serve"]["workload"]["rate"] = 12.0 * count
    found: dict[str, Any] = plan(document).to_dict()["serve"]
    return found
