"""Own benchmarks set against plans, and plans that follow them: nearer, narrower, and nobody else's."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from outlay.api import plan
from outlay.catalog import load
from outlay.cli.shell import BAD_INPUT, YES, run
from outlay.errors import BadValue
from outlay.physics.calibration import Spreads, posterior

FIXTURES = Path(__file__).parent / "fixtures" / "bench"
MODEL, FLEET = "llama-3.1-8b", "1xh100-sxm5-80gb"
LOADS = (16, 32, 64)


def scenario(concurrency: float = 32, model: str = MODEL, fleet: str = FLEET, **serve: Any) -> dict[str, Any]:
    work = {"concurrency": concurrency, "input": 1024, "output": 256, "requests": 1000}
    return {"model": model, "fleet": fleet, "serve": {"engine": "vllm", "workload": work, **serve}}


def benchmark(path: Path, concurrency: int, slower: float, first: float = 1.0) -> Path:
    """A result as vLLM's client writes it, of a deployment that is slower than planned by a factor."""
    phase = plan(scenario(concurrency)).phases["serve"]
    ttft, tpot = phase["ttft_s"].value * first, phase["tpot_s"].value * slower
    stay = ttft + 255 * tpot
    path.write_text(json.dumps({
        "date": "20260201-080000", "backend": "vllm", "model_id": "meta-llama/Llama-3.1-8B-Instruct",
        "request_rate": "inf", "max_concurrency": concurrency, "completed": 1000, "failed": 0,
        "duration": 1000 * stay / concurrency, "total_input_tokens": 1024000, "total_output_tokens": 256000,
        "request_throughput": concurrency / stay, "output_throughput": 256 * concurrency / stay,
        "mean_ttft_ms": 1e3 * ttft, "mean_tpot_ms": 1e3 * tpot, "mean_e2el_ms": 1e3 * stay}))
    return path


@pytest.fixture
def folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A catalogue folder made from three runs that took 1.3 times as long a token as planned."""
    files = [str(benchmark(tmp_path / f"c{n}.json", n, 1.3)) for n in LOADS]
    assert run(["calibrate", *files, "-g", FLEET, "-o", str(tmp_path / "facts")]) == YES
    capsys.readouterr()
    return tmp_path / "facts"


def width(q: Any) -> float:
    return math.log(q.high / q.low)


def test_the_plan_moves_to_what_was_measured_and_narrows(folder: Path) -> None:
    for concurrency in (24, 32, 64):
        before, after = (plan(scenario(concurrency), extra=e).phases["serve"] for e in ((), (folder,)))
        assert after["tpot_s"].value / before["tpot_s"].value == pytest.approx(1.3, rel=0.06)
        assert width(after["tpot_s"]) < 0.75 * width(before["tpot_s"])
        assert after["ttft_s"].value / before["ttft_s"].value == pytest.approx(1.0, rel=0.12)
        assert width(after["ttft_s"]) < 0.75 * width(before["ttft_s"])
        assert after["capacity_requests_per_s"].value < 0.9 * before["capacity_requests_per_s"].value


def test_loads_unlike_are_trusted_less(folder: Path) -> None:
    near, far = (plan(scenario(n), extra=(folder,)).phases["serve"]["tpot_s"] for n in (32, 1))
    plain = plan(scenario(1)).phases["serve"]["tpot_s"]
    assert width(near) < width(far) and plain.value < far.value < 1.3 * plain.value


def test_every_number_of_the_page_follows(folder: Path) -> None:
    """The table of other loads, a rate's queue, a replay's percentiles and what one pays see the same devices."""
    before, after = (plan(scenario(32), extra=e).phases["serve"] for e in ((), (folder,)))
    for old, new in zip(before["loads"][1:4], after["loads"][1:4], strict=True):
        assert new["tpot_s"] > 1.1 * old["tpot_s"]
    for name in ("usd_per_million_output_tokens", "energy_per_output_token_j"):
        assert after[name].value > 1.1 * before[name].value
    asked = scenario(slo={"tpot": "60ms", "percentile": 90})
    asked["serve"]["workload"] = {"rate": 8.0, "input": 1024, "output": 256}
    old, new = (plan(asked, extra=e).phases["serve"] for e in ((), (folder,)))
    for name in ("tpot_s", "tpot_p90_s", "load"):
        assert new[name].value > 1.1 * old[name].value


def test_others_are_left_alone(folder: Path) -> None:
    for other in (scenario(model="qwen3-32b"), scenario(fleet="1xh200-sxm-141gb"), scenario(engine="sglang")):
        before, after = (plan(other, extra=e).phases["serve"] for e in ((), (folder,)))
        for name in ("ttft_s", "tpot_s", "output_tokens_per_s"):
            assert before[name].to_dict() == after[name].to_dict()


def test_it_is_told_and_explained(folder: Path) -> None:
    result = plan(scenario(), extra=(folder,))
    told = [a for a in result.assumptions if "runs of one's own" in str(a["why"])]
    assert {a["what"] for a in told} == {f"serve: {n}" for n in ("ttft_s", "tpot_s", "output_tokens_per_s")}
    assert all("c16.json, c32.json, c64.json" in a["source"] for a in told)
    residual = next(q for q in result.explain("tpot_s").inputs if "measured" in q.label)
    assert "3 runs" in str([i.sources for i in residual.inputs])
    warned = plan(scenario(engine="sglang"), extra=(folder,)).warnings
    assert any("are with vllm" in text and "not used" in text for text in warned)


def test_calibrating_again_changes_nothing(folder: Path, tmp_path: Path) -> None:
    """Factors are on the model, not on a plan that follows earlier runs; rows of others stay."""
    first = (folder / "calibration.csv").read_text()
    load = "in_flight=1 input=1 output=1 devices=1 weight_bytes=2"
    other = f"other on x with vllm,tpot_s {load},1.1,ratio,,,me,,measured,"
    (folder / "calibration.csv").write_text(first + other + "\n")
    files = [str(tmp_path / f"c{n}.json") for n in LOADS]
    assert run(["calibrate", *files, "-g", FLEET, "--catalog", str(folder), "-o", str(folder)]) == YES
    again = (folder / "calibration.csv").read_text()
    assert sorted(again.splitlines()) == sorted((first + other).splitlines())


def test_a_rate_is_solved_through_the_queue(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of arrivals by themselves the factor is that of the devices, not of the latency they queue to."""
    files = [str(benchmark(tmp_path / f"c{n}.json", n, 1.2)) for n in LOADS]
    assert run(["calibrate", *files, "-g", FLEET, "-o", str(tmp_path / "facts")]) == YES
    asked = scenario()
    asked["serve"]["workload"] = {"rate": 8.0, "input": 1024, "output": 256}
    slow = plan(asked, extra=(tmp_path / "facts",)).phases["serve"]
    document = json.loads((tmp_path / "c16.json").read_text()) | {
        "request_rate": 8.0, "max_concurrency": None, "mean_ttft_ms": 1e3 * slow["ttft_s"].value,
        "mean_tpot_ms": 1e3 * slow["tpot_s"].value, "request_throughput": 7.95, "output_throughput": 2035.0}
    document.pop("mean_e2el_ms")
    (tmp_path / "rate.json").write_text(json.dumps(document))
    capsys.readouterr()
    assert run(["calibrate", str(tmp_path / "rate.json"), "-g", FLEET, "--json"]) == YES
    found = json.loads(capsys.readouterr().out)
    numbers = found["groups"][0]["numbers"]
    assert numbers["tpot_s"]["mean"] == pytest.approx(1.18, abs=0.04) and "output_tokens_per_s" not in numbers
    assert any("that of the arrivals" in why for why in found["left_out"])


def test_a_plan_of_the_measured_rate_says_what_was_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Runs at rates tell no throughput; a device that is slower a token still sustains less, and is busier."""
    files, asked = [], scenario()
    for rate in (4.0, 8.0):
        asked["serve"]["workload"] = {"rate": rate, "input": 1024, "output": 256}
        plain = plan(asked).phases["serve"]
        document = json.loads((FIXTURES / "vllm_c32.json").read_text()) | {
            "request_rate": rate, "max_concurrency": None, "completed": 1000, "duration": 1000 / rate,
            "total_input_tokens": 1024000, "total_output_tokens": 256000, "request_throughput": rate,
            "output_throughput": 256 * rate, "mean_ttft_ms": 1e3 * plain["ttft_s"].value,
            "mean_tpot_ms": 1.3e3 * plain["tpot_s"].value}
        files.append(tmp_path / f"r{rate:.0f}.json")
        files[-1].write_text(json.dumps({k: v for k, v in document.items() if k != "version" and "e2el" not in k}))
    assert run(["calibrate", *map(str, files), "-g", FLEET, "-o", str(tmp_path / "facts")]) == YES
    capsys.readouterr()
    after = plan(asked, extra=(tmp_path / "facts",)).phases["serve"]
    assert after["tpot_s"].value == pytest.approx(1.3 * plain["tpot_s"].value, rel=0.05)
    assert after["load"].value > 1.08 * plain["load"].value
    assert after["capacity_requests_per_s"].value < plain["capacity_requests_per_s"].value / 1.08


def test_explain_lays_it_beside_the_plan(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fast = json.loads((FIXTURES / "vllm_c32.json").read_text()) | {"mean_tpot_ms": 7.43, "mean_e2el_ms": 2015.0}
    (tmp_path / "fast.json").write_text(json.dumps(fast))
    assert run(["explain", str(tmp_path / "fast.json"), "-g", FLEET]) == YES
    page = capsys.readouterr().out
    for word in ("Partly as expected", "seen/expected", "outside", "narrower weights", "1 field of the file not read"):
        assert word in page
    assert max(map(len, page.splitlines())) <= 100
    sweep = [json.loads(line) for line in (FIXTURES / "sglang_sweep.jsonl").read_text().splitlines()]
    sweep[1] |= {"mean_ttft_ms": 40.0, "median_ttft_ms": 38.0}  # sooner than prompts of this length can be read
    (tmp_path / "sweep.jsonl").write_text("\n".join(map(json.dumps, sweep)) + "\n")
    assert run(["explain", str(tmp_path / "sweep.jsonl"), "-g", "2xh100-sxm", "--json"]) == YES
    found = json.loads(capsys.readouterr().out)
    assert [r["run"] for r in found["runs"]] == ["run 1", "run 2"] and "trace" in found["left_out"][0]
    assert any("prefix cache" in hint for hint in found["runs"][1]["hints"])
    assert run(["explain", str(FIXTURES / "aiperf.json"), "-g", FLEET, "-q"]) == YES
    assert capsys.readouterr().out.startswith("As expected: llama-3.1-8b")


def test_power_is_calibrated_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "facts"
    words = [str(FIXTURES / "aiperf.json"), "-g", FLEET, "--set", "engine=vllm", "-o", str(folder)]
    assert run(["calibrate", *words]) == YES
    before, after = (plan(scenario(16), extra=e).phases["serve"]["power_w_per_device"] for e in ((), (folder,)))
    assert abs(after.value - 540) < abs(before.value - 540) and width(after) < width(before)


@pytest.mark.parametrize(("words", "said"), [
    ([], "Missing argument"),
    (["nothing.json", "-g", FLEET], "no such file"),
    ([MODEL, "-g", FLEET], "no benchmark among them"),
    (["FILE"], "the devices: -g FLEET"),
    (["FILE", "a", "b", "-g", FLEET], "one subject at most"),
    (["FILE", "-g", FLEET, "-o", "FILE"], "is a file; name a folder"),
    (["FILE", "-g", FLEET, "-o", "no/such/folder"], "does not exist"),
])
def test_what_is_wrong_is_said(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["calibrate", *(str(FIXTURES / "vllm_c32.json") if w == "FILE" else w for w in words)]) == BAD_INPUT
    assert said in capsys.readouterr().err


def test_rows_not_as_they_should_be(tmp_path: Path) -> None:
    head = "id,parameter,value,unit,source\n"
    key = "llama-3.1-8b on h100-sxm5-80gb with vllm"
    for row, said in ((f"{key},tpot_s,1.2,ratio,me", "in_flight="),
                      (f"{key},speed in_flight=1 input=1 output=1 devices=1 weight_bytes=2,1.2,ratio,me", "not one of"),
                      (f"{key},tpot_s in_flight=1 input=1 output=1 devices=1 weight_bytes=2,-3,ratio,me", "0.001")):
        (tmp_path / "calibration.csv").write_text(head + row + "\n")
        load.__globals__["_load"].cache_clear()
        with pytest.raises(BadValue, match=said):
            plan(scenario(), extra=(tmp_path,))


def test_the_posterior_between_prior_and_runs() -> None:
    """Shrinks to the prior for one run, follows many, forgets with distance, and narrows with alike runs only."""
    spreads = Spreads(group=0.06, load=0.09, run=0.04, alike=2.0, freedom=2.0)
    here, there = (0.0, 0.0), (9.0, 0.0)
    twice = posterior([1.3], [here], here, 1.0, spreads, counts=[2.0])
    both = posterior([1.3, 1.3], [here, here], here, 1.0, spreads)
    assert twice.value == pytest.approx(both.value) and twice.high == pytest.approx(both.high)
    prior = posterior([], [], here, 1.0, spreads)
    one = posterior([1.3], [here], here, 1.0, spreads)
    many = posterior([1.3] * 20, [here] * 20, here, 1.0, spreads)
    far = posterior([1.3] * 20, [here] * 20, there, 1.0, spreads)
    assert 1.0 < far.value < many.value and 1.15 < one.value < many.value < 1.3 and many.value > 1.28
    assert many.high / many.low < one.high / one.low < prior.high / prior.low
    assert math.log(far.high / far.low) > 1.5 * math.log(many.high / many.low)
    assert prior.value == pytest.approx(1.0) and prior.low * prior.high == pytest.approx(1.0)


SPLIT = {"prefill": {"tensor": 1, "replicas": 2}, "decode": {"tensor": 2}}


@pytest.fixture
def pooled(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """Rows of three runs over two pools: a token took 1.3 times as long as planned, a first one twice as long."""
    files = []
    for count in LOADS:
        phase = plan(scenario(count, fleet="4xh100-sxm5-80gb", disaggregated=SPLIT)).phases["serve"]
        ttft, tpot = phase["ttft_s"].value * 2.0, phase["tpot_s"].value * 1.3
        stay = ttft + 255 * tpot
        path = tmp_path / f"p{count}.json"
        path.write_text(json.dumps({
            "date": "20260201-080000", "backend": "vllm", "model_id": "meta-llama/Llama-3.1-8B-Instruct",
            "request_rate": "inf", "max_concurrency": count, "completed": 1000, "failed": 0,
            "duration": 1000 * stay / count, "total_input_tokens": 1024000, "total_output_tokens": 256000,
            "request_throughput": count / stay, "output_throughput": 256 * count / stay,
            "mean_ttft_ms": 1e3 * ttft, "mean_tpot_ms": 1e3 * tpot, "mean_e2el_ms": 1e3 * stay}))
        files.append(str(path))
    how = tmp_path / "pools.json"
    how.write_text(json.dumps({"fleet": "4xh100-sxm5-80gb", "serve": {"disaggregated": SPLIT}}))
    assert run(["calibrate", *files, "-f", str(how), "-o", str(tmp_path / "facts")]) == YES
    capsys.readouterr()
    return tmp_path / "facts"


def test_runs_over_two_pools_are_followed_by_plans_of_two_pools(pooled: Path) -> None:
    assert "with vllm in two pools" in (pooled / "calibration.csv").read_text()
    asked = scenario(32, fleet="4xh100-sxm5-80gb", disaggregated=SPLIT)
    before, after = (plan(asked, extra=e).phases["serve"] for e in ((), (pooled,)))
    assert after["tpot_s"].value / before["tpot_s"].value == pytest.approx(1.3, rel=0.06)
    assert after["ttft_s"].value / before["ttft_s"].value == pytest.approx(2.0, rel=0.25)
    assert after["capacity_requests_per_s"].value < 0.95 * before["capacity_requests_per_s"].value
    for name in ("ttft_s", "tpot_s"):
        assert width(after[name]) < 0.75 * width(before[name])
    whole = scenario(32)
    old, new = (plan(whole, extra=e).phases["serve"] for e in ((), (pooled,)))
    assert old["tpot_s"].to_dict() == new["tpot_s"].to_dict()


def test_a_search_follows_runs_over_two_pools_too(pooled: Path) -> None:
    asked = scenario(slo={"tpot": "30ms"}, options={"devices": ["h100-sxm5-80gb"], "disaggregated": "only"})
    del asked["fleet"], asked["serve"]["workload"]["requests"]
    asked["serve"]["workload"] = {"rate": 20.0, "input": 1024, "output": 256}
    old, new = (plan(asked, extra=e).phases["serve"] for e in ((), (pooled,)))
    assert new["tpot_s"].value > 1.1 * old["tpot_s"].value and new["meets_slo"] is True
    assert new["search"]["best"][0]["tpot_s"] == pytest.approx(new["tpot_s"].value, rel=1e-6)
