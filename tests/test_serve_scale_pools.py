"""Two pools of a serving plan, each of which follows its own load."""

from __future__ import annotations

import copy
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from outlay import plan
from outlay.cli.serve import command
from outlay.errors import OutlayError

BASE: dict[str, Any] = {
    "model": "llama-3.1-8b", "fleet": {"device": "h100-sxm5-80gb", "devices": 16, "usd_per_device_hour": 3.6},
    "serve": {"max_model_len": 8192, "slo": {"ttft": "1s", "percentile": 99},
              "disaggregated": {"prefill": {"replicas": 4}, "decode": {"tensor": 2, "replicas": 4}}}}
FOLLOW: dict[str, Any] = {"every": "5s", "down_after": "30s", "prefill": {"target_requests": 2},
                          "decode": {"target_requests": 40}}
RATE = {"rate": 20, "input": 2000, "output": 64}


@pytest.fixture(scope="module")
def phases(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Twenty minutes: a burst of long prompts with short answers, later one of short prompts with long answers."""
    rng = np.random.default_rng(5)
    rows = [(t, 1000, 50) for t in rng.uniform(0, 1200, 400)]
    rows += [(t, 6000, 8) for t in rng.uniform(200, 260, 900)] + [(t, 100, 900) for t in rng.uniform(800, 860, 2400)]
    path: Path = tmp_path_factory.mktemp("traces") / "phases.csv"
    path.write_text("arrival_s,input_tokens,output_tokens\n"
                    + "".join(f"{t:.3f},{a},{b}\n" for t, a, b in sorted(rows)))
    return str(path)


@cache
def of_trace(trace: str, scaled: bool = True, cold_start: float = 10.0) -> dict[str, Any]:
    more = {"autoscale": FOLLOW, "cold_start": cold_start} if scaled else {}
    result: dict[str, Any] = planned(workload={"trace": trace}, **more).to_dict()
    return result


def planned(**section: Any) -> Any:
    document = copy.deepcopy(BASE)
    document["serve"] |= section
    return plan(document, tables=True)


def test_each_pool_follows_its_own_load(phases: str) -> None:
    """Long prompts start replicas of the first pool alone, long answers those of the second alone."""
    replay = of_trace(phases)["serve"]["replay"]
    over, at = replay["over_time"], int(230 / replay["over_time"]["every_s"])
    prompts, answers = (np.array(over["replicas"][name]) for name in ("prefill", "decode"))
    later = int(850 / over["every_s"])
    assert prompts[at:at + 4].max() > 1.9 > 1.3 > prompts[later:later + 4].max()
    assert answers[later:later + 4].max() > 1.9 > 1.3 > answers[at:at + 4].max()
    pools = replay["pools"]
    assert pools["prefill"]["target_requests"] == 2 and pools["decode"]["target_requests"] == 40
    for name, row in (("prefill", prompts), ("decode", answers)):
        assert row.mean() == pytest.approx(pools[name]["replicas_mean"]["value"], rel=1e-4)
        assert pools[name]["starts"] >= pools[name]["replicas_most"] - 1 >= 1


def test_followed_pools_bill_less_and_wait_for_cold_starts(phases: str) -> None:
    fixed, scaled = of_trace(phases, scaled=False), of_trace(phases)
    assert scaled["totals"]["usd"]["value"] < 0.7 * fixed["totals"]["usd"]["value"]
    assert scaled["totals"]["energy_j"]["value"] < fixed["totals"]["energy_j"]["value"]
    at_once = of_trace(phases, cold_start=0.0)["serve"]["ttft_p99_s"]["value"]
    longer = of_trace(phases, cold_start=20.0)["serve"]["ttft_p99_s"]["value"]
    p99 = [fixed["serve"]["ttft_p99_s"]["value"], at_once, scaled["serve"]["ttft_p99_s"]["value"], longer]
    assert p99 == sorted(p99) and p99[0] < p99[1] < p99[2] < p99[3]


def test_what_both_pools_held_is_what_is_billed(phases: str) -> None:
    """Device-hours are the mean replicas of each pool on its devices; energy over time is that of the lines."""
    result = of_trace(phases)
    replay, sums = result["serve"]["replay"], result["totals"]
    means = [replay["pools"][name]["replicas_mean"]["value"] for name in ("prefill", "decode")]
    held = (means[0] * 1 + means[1] * 2) * result["serve"]["duration_s"]["value"] / 3600
    assert sums["device_hours"]["value"] == pytest.approx(held)
    assert sums["usd"]["value"] == pytest.approx(held * 3.6)
    over = replay["over_time"]
    assert np.mean(over["held_share"]) * 12 == pytest.approx(means[0] + 2 * means[1], rel=1e-4)
    drawn = sum(line["quantity"]["value"] for line in result["lines"]
                if line["resource"] == "energy_j" and line["item"] in ("prefill", "decode", "waiting"))
    seconds = result["serve"]["duration_s"]["value"] / replay["seconds"]
    assert sum(over["power_w"]) * over["every_s"] * seconds == pytest.approx(drawn, rel=2e-3)
    assert not any("left over" in text for text in result["warnings"])


def test_the_replay_itself_conserves(phases: str) -> None:
    """Every request once; device-seconds of the table of replicas, the engines and the plan are the same."""
    result = planned(workload={"trace": phases}, autoscale=FOLLOW, cold_start=10)
    run = result.replay
    assert len(run.requests["request"]) == len(set(run.requests["request"].tolist())) == 3700
    held = sum(run.replicas_mean(pool) * devices for pool, devices in ((0, 1), (1, 2))) * run.seconds
    assert run.device_s["on"] == pytest.approx(held)
    assert run.device_s["prefill"] + run.device_s["decode"] < held
    first = run.steps["engine"] < 4
    assert (run.steps["running"][first] == 0).all() and (run.steps["prompt_tokens"][~first] == 0).all()


def test_what_both_are_told_holds_for_each() -> None:
    """One mapping for both; a pool's own takes its place."""
    both = planned(workload=RATE | {"requests": 2000}, autoscale={"target_requests": 3, "min_replicas": 2},
                   cold_start=5).to_dict()["serve"]["replay"]["pools"]
    assert [both[name]["target_requests"] for name in ("prefill", "decode")] == [3, 3]
    own = planned(workload=RATE | {"requests": 2000}, cold_start=5,
                  autoscale={"target_requests": 3, "min_replicas": 2, "decode": {"min_replicas": 4}})
    table = own.replay.replicas
    assert table["replicas"][table["pool"] == 0].min() >= 2 and table["replicas"][table["pool"] == 1].min() == 4


def test_most_replicas_are_those_there_are() -> None:
    """`max_replicas` in place of the pools' own number, told of both or of each."""
    found = []
    for scale in ({"max_replicas": 3}, {"prefill": {"max_replicas": 3}, "decode": {"max_replicas": 3}}):
        result = planned(disaggregated={"prefill": {}, "decode": {"tensor": 2}}, autoscale=scale,
                         workload=RATE | {"requests": 500}).to_dict()["serve"]
        assert [pool["replicas"] for pool in result["pools"].values()] == [3, 3]
        found.append(result["replay"])
    assert found[0] == found[1]


def test_defaults_are_told_once_with_their_sources() -> None:
    result = planned(workload=RATE | {"requests": 500}, autoscale={"decode": {"every": "10s"}})
    told = [entry["what"] for entry in result.assumptions]
    for what in ("serve.autoscale.every", "serve.autoscale.down_after", "serve.autoscale.min_replicas",
                 "serve.autoscale.prefill.target_requests", "serve.autoscale.decode.target_requests"):
        assert told.count(what) == 1, what
    assert told.count("serve.cold_start") == 2


def test_a_steady_rate_stays_within_promises() -> None:
    """Targets by default keep what the load needs: no more than the pools have, and the promise is kept."""
    result = planned(scaling="autoscale", workload={"rate": 30, "input": 2000, "output": 256}).to_dict()
    pools = result["serve"]["replay"]["pools"]
    assert result["serve"]["meets_slo"]
    assert 1.0 < pools["prefill"]["replicas_mean"]["value"] < 4.0
    assert 1.0 <= pools["decode"]["replicas_mean"]["value"] < 4.0
    devices = pools["prefill"]["replicas_mean"]["value"] + 2 * pools["decode"]["replicas_mean"]["value"]
    assert result["totals"]["device_hours"]["value"] == pytest.approx(8760 * devices)


def test_pools_of_one_replica_say_that_none_comes() -> None:
    result = planned(disaggregated={"prefill": {}, "decode": {}}, autoscale={}, workload=RATE | {"requests": 200})
    assert any("give serve.autoscale.max_replicas" in text for text in result.warnings)


@pytest.mark.parametrize(("section", "field", "kind"), [
    ({"autoscale": {"max_replicas": 3}}, "serve.autoscale.max_replicas", "inconsistent"),
    ({"autoscale": {"decode": {"max_replicas": 3}}}, "serve.autoscale.decode.max_replicas", "inconsistent"),
    ({"autoscale": {"prefill": {"min_replicas": 5}}}, "serve.autoscale.prefill.min_replicas", "bad_value"),
    ({"autoscale": {"min_replicas": 5}}, "serve.autoscale.min_replicas", "bad_value"),
    ({"autoscale": {"decode": {"every": "1ms"}}}, "serve.autoscale.decode.every", "bad_value"),
    ({"autoscale": {"decode": {"targets": 5}}}, "serve.autoscale.decode.targets", "unknown_field"),
    ({"autoscale": {"prefil": {}}}, "serve.autoscale.prefil", "unknown_field"),
    ({"autoscale": {}, "workload": {"concurrency": 8}}, "serve.autoscale", "inconsistent"),
    ({"autoscale": {}, "replay": False}, "serve.replay", "inconsistent"),
    ({"autoscale": {}, "disaggregated": {"prefill": {"replicas": 300}, "decode": {"replicas": 200}}},
     "serve.autoscale", "unsupported"),
])
def test_what_pools_cannot_follow_is_refused(section: dict[str, Any], field: str, kind: str) -> None:
    document = copy.deepcopy(BASE)
    document["fleet"]["devices"] = 1000 if kind == "unsupported" else 16
    document["serve"] |= {"workload": RATE} | section
    with pytest.raises(OutlayError) as caught:
        plan(document)
    assert (caught.value.to_dict()["kind"], caught.value.field) == (kind, field)


def test_the_page_shows_both_pools(phases: str) -> None:
    words = ("llama-3.1-8b", "-g", "16xh100-sxm", "--set", "serve.disaggregated.prefill.replicas=4", "--set",
             "serve.disaggregated.decode.replicas=4", "--trace", phases, "--scaling", "autoscale", "--cold-start",
             "20s")
    page = CliRunner().invoke(command, words, standalone_mode=False).output
    block = page[page.index("The replay"):page.index("The load")]
    for said in ("prefill replicas paid for", "decode replicas paid for", "prefill over time", "decode over time",
                 "least loaded, of 8", "until one answers 20.0 s"):
        assert said in block
    assert max(map(len, block.splitlines())) <= 100
    assert "8 devices beyond it, not billed" in page and "devices idle" not in page
