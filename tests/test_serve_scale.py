"""Serving plans whose replicas come and go, and whose requests go to one replica or another."""

from __future__ import annotations

import copy
import shlex
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from outlay import plan
from outlay.cli.serve import command
from outlay.errors import OutlayError
from outlay.simulate.records import ROUTERS

BASE: dict[str, Any] = {
    "model": "llama-3.1-8b", "fleet": {"device": "h100-sxm5-80gb", "devices": 4, "usd_per_device_hour": 3.6},
    "serve": {"tensor": 1, "max_model_len": 8192, "slo": {"ttft": "1s", "percentile": 99}}}
FOLLOW = {"target_requests": 12, "every": "5s", "down_after": "30s"}


@pytest.fixture(scope="module")
def bursts(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Twenty minutes with two bursts that one replica cannot take."""
    rng = np.random.default_rng(5)
    at = np.sort(np.concatenate([rng.uniform(0, 1200, 500), rng.uniform(200, 225, 1500), rng.uniform(800, 815, 900)]))
    rows = (f"{t:.3f},{rng.integers(500, 1500)},{rng.integers(50, 200)}" for t in at)
    return written(tmp_path_factory, "bursts.csv", ["arrival_s,input_tokens,output_tokens", *rows])


@pytest.fixture(scope="module")
def prefixes(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Prompts that begin with one of forty texts of six blocks."""
    rng = np.random.default_rng(6)
    rows = []
    for t in np.sort(rng.uniform(0, 120, 700)):
        group = int(rng.integers(40)) * 10
        rows.append(f"{t:.3f},{rng.integers(3200, 3600)},20,{' '.join(str(group + i) for i in range(6))}")
    return written(tmp_path_factory, "prefixes.csv", ["arrival_s,input_tokens,output_tokens,prefix_ids", *rows])


def written(factory: pytest.TempPathFactory, name: str, lines: list[str]) -> str:
    path: Path = factory.mktemp("traces") / name
    path.write_text("\n".join(lines) + "\n")
    return str(path)


@cache
def of_trace(trace: str, scaled: bool = True, cold_start: float | None = None) -> dict[str, Any]:
    section: dict[str, Any] = {"workload": {"trace": trace}}
    if scaled:
        section |= {"autoscale": FOLLOW} | ({} if cold_start is None else {"cold_start": cold_start})
    result: dict[str, Any] = planned(**section).to_dict()
    return result


def planned(**section: Any) -> Any:
    document = copy.deepcopy(BASE)
    document["serve"] |= section
    return plan(document, tables=True)


def test_followed_bursts_bill_less_and_wait_for_cold_starts(bursts: str) -> None:
    fixed, scaled = of_trace(bursts, scaled=False), of_trace(bursts, cold_start=10.0)
    found, replay = scaled["serve"], scaled["serve"]["replay"]
    assert scaled["totals"]["usd"]["value"] < 0.7 * fixed["totals"]["usd"]["value"]
    assert scaled["totals"]["energy_j"]["value"] < fixed["totals"]["energy_j"]["value"]
    assert fixed["serve"]["ttft_p99_s"]["value"] < 1.0 < 5.0 < found["ttft_p99_s"]["value"]
    assert fixed["serve"]["meets_slo"] and not found["meets_slo"]
    assert replay["goodput_share"] < fixed["serve"]["replay"]["goodput_share"] == 1.0
    assert replay["replicas_most"] > 2 and replay["starts"] >= replay["replicas_most"] - 1
    longer = of_trace(bursts, cold_start=20.0)["serve"]["ttft_p99_s"]["value"]
    at_once = of_trace(bursts, cold_start=0.0)["serve"]["ttft_p99_s"]["value"]
    assert at_once < found["ttft_p99_s"]["value"] < longer


def test_what_stood_is_what_is_billed(bursts: str) -> None:
    """Device-hours are mean replicas over the time, money is theirs at the price, lines add up to energy over time."""
    result = of_trace(bursts, cold_start=10.0)
    replay, sums = result["serve"]["replay"], result["totals"]
    held = replay["replicas_mean"]["value"] * result["serve"]["duration_s"]["value"] / 3600
    assert sums["device_hours"]["value"] == pytest.approx(held)
    assert sums["usd"]["value"] == pytest.approx(held * 3.6)
    over = replay["over_time"]
    assert np.mean(over["held_share"]) * 4 == pytest.approx(replay["replicas_mean"]["value"], rel=1e-4)
    drawn = sum(line["quantity"]["value"] for line in result["lines"]
                if line["resource"] == "energy_j" and line["item"] in ("prefill", "decode", "waiting"))
    seconds = result["serve"]["duration_s"]["value"] / replay["seconds"]
    assert sum(over["power_w"]) * over["every_s"] * seconds == pytest.approx(drawn, rel=2e-3)
    assert max(over["power_w"]) > 2 * min(over["power_w"])


def test_a_fixed_trace_is_billed_and_powered_as_it_was_replayed(bursts: str) -> None:
    result = of_trace(bursts, scaled=False)
    replay = result["serve"]["replay"]
    assert result["totals"]["device_hours"]["value"] == pytest.approx(
        4 * result["serve"]["duration_s"]["value"] / 3600)
    assert set(replay["over_time"]["held_share"]) == {1.0} and "replicas_mean" not in replay


def test_replicas_of_several_schedulers_come_and_go_whole(bursts: str) -> None:
    result = planned(workload={"trace": bursts}, data=2, autoscale=FOLLOW, cold_start=20)
    table, run = result.replay.table("requests"), result.replay
    assert set(table["engine"] // 2) <= {0, 1} and run.devices.sum() == 4
    assert run.replicas_mean() * 2 * run.seconds == pytest.approx(run.on_s)
    assert result.to_dict()["serve"]["replay"]["replicas_most"] == 2


def test_defaults_are_told_with_their_sources(bursts: str) -> None:
    told = {entry["what"]: entry for entry in planned(workload={"trace": bursts}, scaling="autoscale").assumptions}
    assert told["serve.autoscale.every"]["value"] == 15.0 and "Kubernetes" in told["serve.autoscale.every"]["source"]
    assert told["serve.autoscale.down_after"]["value"] == 300.0
    assert told["serve.autoscale.min_replicas"]["value"] == 1
    assert told["serve.autoscale.target_requests"]["value"] > 1
    assert 90 < told["serve.cold_start"]["value"] < 200  # the engine's start, and 15 GB of weights


def test_a_steady_rate_is_followed_from_what_it_keeps() -> None:
    """No ramp from one replica at the first request; the bill is of a year at the replay's mean."""
    result = planned(scaling="autoscale", workload={"rate": 30, "input": 1024, "output": 256}).to_dict()
    replay = result["serve"]["replay"]
    assert replay["seconds"] > 1900 and 1.5 < replay["replicas_mean"]["value"] < 4.0
    assert result["serve"]["ttft_p99_s"]["value"] < 1.0
    assert result["totals"]["device_hours"]["value"] == pytest.approx(8760 * replay["replicas_mean"]["value"])


def test_a_short_replay_of_long_starts_warns() -> None:
    result = planned(scaling="autoscale", workload={"rate": 30, "input": 512, "output": 64, "requests": 500})
    assert any("give more requests" in text for text in result.warnings)


def test_where_a_prompt_goes_decides_what_is_cached(prefixes: str) -> None:
    """Every router answers every request once; the one that knows prefixes finds more of them, and sooner answers."""
    found = {}
    for router in ROUTERS:
        result = planned(workload={"trace": prefixes}, router=router, kv_cache_bytes_per_device="9GB")
        assert len(result.replay.requests["request"]) == 700
        found[router] = result.to_dict()["serve"]
        assert found[router]["replay"]["router"] == router
        assert not any("serve.router" in text for text in result.warnings)
    shares = {router: serve["replay"]["cached_share"] for router, serve in found.items()}
    assert shares["prefix"] > 1.15 * max(shares["round_robin"], shares["least_loaded"])
    assert len({serve["ttft_s"]["value"] for serve in found.values()}) == 3


@pytest.mark.parametrize("pools", [False, True], ids=["whole", "pools"])
def test_what_is_sustained_counts_the_hits_of_the_trace(prefixes: str, pools: bool) -> None:
    """As the closed form of the same load has it with as many of the prompt's tokens cached."""
    split: dict[str, Any] = {"disaggregated": {"prefill": {"replicas": 2}, "decode": {}}, "tensor": None}
    traced = planned(workload={"trace": prefixes}, **(split if pools else {}))
    found = traced.to_dict()["serve"]
    share = found["replay"]["cached_share"]
    told = [entry for entry in traced.assumptions if entry["what"] == "serve.prefix_cache_hit"]
    assert len(told) == 1 and told[0]["value"] == pytest.approx(share, abs=1e-4) and share > 0.5
    load = {"rate": found["rate"]["value"], "input": round(found["input"]), "output": 20, "requests": 700}
    same, without = (planned(workload=load, **more, **(split if pools else {})).to_dict()["serve"]
                     for more in ({"prefix_cache_hit": share}, {}))
    for name in ("load", "capacity_requests_per_s"):
        assert found[name]["value"] == pytest.approx(same[name]["value"], rel=0.01), name
    assert found["load"]["value"] < 0.6 * without["load"]["value"]
    assert found["usd_per_million_cached_tokens_allocated"]["value"] == 0.0
    assert found["concurrency"]["value"] == pytest.approx(load["rate"] * found["e2e_s"]["value"], rel=1e-6)


@pytest.mark.parametrize(("section", "fleet", "said"), [
    ({"workload": {"rate": 5}, "router": "round_robin"}, 1, "one replica"),
    ({"workload": {"rate": 5}, "router": "prefix"}, 4, "does as least_loaded"),
])
def test_a_router_that_changes_nothing_says_so(section: dict[str, Any], fleet: int, said: str) -> None:
    document = copy.deepcopy(BASE)
    document["fleet"]["devices"] = fleet
    document["serve"] |= section
    assert any(text.startswith("serve.router") and said in text for text in plan(document).warnings)


RATE = {"rate": 20, "input": 512, "output": 64}


@pytest.mark.parametrize(("section", "fleet", "field", "kind"), [
    ({"autoscale": {}}, {}, "serve.autoscale", "inconsistent"),
    ({"autoscale": {}, "workload": {"concurrency": 8}}, {}, "serve.autoscale", "inconsistent"),
    ({"scaling": "autoscale", "workload": {"batch": 8}}, {}, "serve.scaling", "inconsistent"),
    ({"scaling": "mixed", "workload": RATE}, {}, "serve.scaling", "inconsistent"),
    ({"scaling": "fixed", "autoscale": {}, "workload": RATE}, {}, "serve.scaling", "inconsistent"),
    ({"cold_start": 9, "workload": RATE}, {}, "serve.cold_start", "inconsistent"),
    ({"autoscale": {}, "workload": RATE | {"hourly": "flat"}}, {}, "serve.autoscale", "inconsistent"),
    ({"autoscale": {}, "replay": False, "workload": RATE}, {}, "serve.replay", "inconsistent"),
    ({"autoscale": {"max_replicas": 3}, "replicas": 2, "workload": RATE}, {}, "serve.autoscale.max_replicas",
     "inconsistent"),
    ({"autoscale": {"min_replicas": 3, "max_replicas": 2}, "workload": RATE}, {}, "serve.autoscale.min_replicas",
     "bad_value"),
    ({"autoscale": {"min_replicas": 9}, "workload": RATE}, {}, "serve.autoscale.min_replicas", "bad_value"),
    ({"autoscale": {"every": "1ms"}, "workload": RATE}, {}, "serve.autoscale.every", "bad_value"),
    ({"autoscale": {"target_request": 9}, "workload": RATE}, {}, "serve.autoscale.target_request", "unknown_field"),
    ({"autoscale": {}, "workload": RATE}, {"tenure": "own"}, "serve.autoscale", "inconsistent"),
    ({"autoscale": {}, "workload": RATE}, {"commitment": "1y"}, "serve.autoscale", "inconsistent"),
    ({"autoscale": {"prefill": {"min_replicas": 1}}, "workload": RATE}, {}, "serve.autoscale.prefill", "inconsistent"),
    ({"autoscale": {"decode": {}}, "scaling": "autoscale", "workload": RATE}, {}, "serve.autoscale.decode",
     "inconsistent"),
])
def test_what_cannot_come_and_go_is_refused(section: dict[str, Any], fleet: dict[str, Any], field: str, kind: str
                                            ) -> None:
    document = copy.deepcopy(BASE)
    document["fleet"] = {"device": "h100-sxm5-80gb", "devices": 4} | fleet
    document["serve"] = {name: value for name, value in (document["serve"] | section).items() if value is not None}
    with pytest.raises(OutlayError) as caught:
        plan(document)
    assert (caught.value.to_dict()["kind"], caught.value.field) == (kind, field)


@pytest.mark.parametrize(("fleet", "scale", "pools", "field"), [
    ("h100-sxm5-80gb", {"max_replicas": 3}, False, "serve.autoscale.max_replicas"),
    ({"device": "h100-sxm5-80gb"}, {"max_replicas": 2}, False, "serve.autoscale.max_replicas"),
    ("2xh100-sxm5-80gb", {"max_replicas": 3}, False, "serve.autoscale.max_replicas"),
    ("h100-sxm5-80gb", {"max_replicas": 3}, True, "serve.autoscale.max_replicas"),
    ("h100-sxm5-80gb", {"decode": {"max_replicas": 2}}, True, "serve.autoscale.decode.max_replicas"),
])
def test_the_most_replicas_are_no_more_than_the_fleet_holds(fleet: Any, scale: dict[str, Any], pools: bool, field: str
                                                            ) -> None:
    """Also of a fleet that names a device and no number of them."""
    split = {"disaggregated": {"prefill": {}, "decode": {}}} if pools else {}
    with pytest.raises(OutlayError, match="more than the") as caught:
        plan({"model": "llama-3.1-8b", "fleet": fleet, "serve": {"autoscale": scale, "workload": RATE} | split})
    assert (caught.value.to_dict()["kind"], caught.value.field) == ("inconsistent", field)


def test_a_search_has_no_replicas_to_start() -> None:
    with pytest.raises(OutlayError) as caught:
        plan({"model": "llama-3.1-8b", "serve": {"scaling": "autoscale", "workload": RATE}})
    assert caught.value.field == "serve.scaling"


def test_all_standing_is_what_fixed_says() -> None:
    told = [planned(workload=RATE, **more).to_dict()["totals"] for more in ({}, {"scaling": "fixed"})]
    assert told[0] == told[1]


OFFERED = ((), ("--scaling", "autoscale"), ("--set", "fleet.tenure=own"), ("--router", "prefix"))


@pytest.mark.parametrize("more", OFFERED)
def test_what_is_offered_next_can_be_run(bursts: str, more: tuple[str, ...], tmp_path: Path,
                                         monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = ("llama-3.1-8b", "-g", "2xh100-sxm", "--tp", "1", "--trace", bursts, *more)
    page = CliRunner().invoke(command, words, standalone_mode=False).output
    following = page[page.index("Next:"):].replace("\\\n", "")
    lines = [shlex.split(line.removeprefix("Next:")) for line in following.splitlines()]
    assert lines[0][-2:] == ["--requests-file", "replayed.csv"]
    assert (lines[1][-1] == "scaling=fixed,autoscale") is (more in ((), ("--router", "prefix")))
    for line in lines:
        answer = CliRunner().invoke(command, line[2:], standalone_mode=False)
        assert answer.exception is None and answer.return_value in (0, 1), line
    assert (tmp_path / "replayed.csv").exists()


def test_plans_side_by_side_show_what_only_replays_say(bursts: str) -> None:
    """p99 and goodput where every row has a replay of its own, not where one has not."""
    words = ("llama-3.1-8b", "-g", "4xh100-sxm", "--tp", "1", "--trace", bursts, "--ttft", "1s")
    both = CliRunner().invoke(command, (*words, "--vary", "scaling=fixed,autoscale", "--csv"), standalone_mode=False)
    rows = [dict(zip(*pair, strict=True)) for lines in (both.output.splitlines(),)
            for pair in ((lines[0].split(","), line.split(",")) for line in lines[1:3])]
    assert float(rows[0]["ttft_p99_s"]) < 1.0 < float(rows[1]["ttft_p99_s"])
    assert float(rows[1]["goodput_share"]) < float(rows[0]["goodput_share"]) == 1.0
    shown = CliRunner().invoke(command, (*words, "--vary", "scaling=fixed,autoscale"), standalone_mode=False).output
    assert "good" in shown and "100.0 %" in shown and "p99" in shown
    rate = ("llama-3.1-8b", "-g", "4xh100-sxm", "--tp", "1", "--rate", "5", "--requests", "300", "--ttft", "1s")
    mixed = CliRunner().invoke(command, (*rate, "--vary", "replay=true,false"), standalone_mode=False).output
    assert "first" in mixed and "good" not in mixed and "p99" not in mixed


def test_the_page_shows_the_replay(bursts: str) -> None:
    """Goodput, who stood and when, on a screen no wider than it may be."""
    words = ("llama-3.1-8b", "-g", "4xh100-sxm", "--tp", "1", "--trace", bursts, "--ttft", "1s", "--scaling",
             "autoscale", "--min-replicas", "1", "--max-replicas", "3", "--target-requests", "12", "--cold-start",
             "40s")
    page = CliRunner().invoke(command, words, standalone_mode=False).output
    block = page[page.index("The replay"):page.index("The load")]
    for said in ("2,900 in", "within all promises", "least loaded, of 3",
                 "replicas paid for", "until one answers 40.0 s", "power over time"):
        assert said in block
    assert max(map(len, block.splitlines())) <= 100
