"""Promises that cannot be kept, and odd ones: a clear answer, and never a number for what is not known."""

from __future__ import annotations

import json
from typing import Any

import pytest

from outlay.cli.shell import BAD_INPUT, NO, run
from outlay.planner.replay.spread import least_requests

ON = ["serve", "llama-3.1-8b", "-g", "1xh100-sxm", "-s", "FR"]


def said(capsys: pytest.CaptureFixture[str], *words: str, code: int = NO) -> str:
    assert run([*ON, *words]) == code
    out, err = capsys.readouterr()
    return " ".join((out + err).split())


def found(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    run([*ON, *words, "--json"])
    phase: dict[str, Any] = json.loads(capsys.readouterr().out)["serve"]
    return phase


@pytest.mark.parametrize(("words", "told"), [
    (["--ttft", "0ms"], "serve.slo.ttft: '0ms' must be more than 0"),
    (["--tpot", "-5ms"], "serve.slo.tpot: '-5ms' must be more than 0"),
    (["--ttft", "1s", "--at", "0.99"], "0.99 must be at least 1; for 0.99 of all requests write 99"),
    (["--ttft", "1s", "--at", "p100"], "serve.slo.percentile: 100 must be at most 99.99"),
    (["--ttft", "1s", "--at", "0"], "serve.slo.percentile: 0 must be at least 1"),
    (["--ttft", "nan"], "not a number"),
    (["--ttft", "5GB"], "cannot read the unit 'GB'"),
    (["--users", "1e30"], "must be at most 1e+24"),
])
def test_what_is_no_promise(words: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert told in said(capsys, *words, code=BAD_INPUT)


@pytest.mark.parametrize(("words", "name"), [
    (["--ttft", "1us"], "TTFT"), (["--tpot", "0.1ms"], "TPOT"), (["--e2e", "10ms"], "E2E"),
    (["--ttft", "1us", "--at", "p99.9"], "TTFT")])
def test_out_of_reach_however_light_the_load(words: list[str], name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Fewer users would not help, and the page says so; where they would, it does not."""
    page = said(capsys, "--users", "100", *words)
    assert f"breaks the promised {name}" in page and "out of reach" in page and "for one request alone" in page
    assert "out of reach" not in said(capsys, "--users", "7000", "--ttft", "100ms")


def test_far_beyond_what_it_sustains(capsys: pytest.CaptureFixture[str]) -> None:
    page = said(capsys, "--users", "1e9", "--ttft", "500ms")
    assert "saturates at 12" in page and " times [" in page and "%" not in page.partition("Promise")[0]
    assert "broken, no latency, saturated" in page


def test_a_percentile_is_told_by_enough_requests(capsys: pytest.CaptureFixture[str]) -> None:
    """Five of those replayed lie beyond it; of a thousand none is a 99.9th that holds."""
    phase = found(capsys, "--users", "100", "--ttft", "500ms", "--at", "p99.9")
    assert phase["replay"]["requests"] == 5000 and phase["slo"]["ttft"]["of"] == "p99.9"
    assert 1.0 <= least_requests(99.99) * 1e-4 * 1.0001 / 5.0 <= 1.01


def test_where_a_percentile_is_not_known_the_mean_is_and_that_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    page = said(capsys, "--concurrency", "100000", "--ttft", "500ms", "--at", "p99")
    assert "serve.slo.ttft: the percentile 99 of this load is not known; the mean is held against" in page


def test_a_search_names_what_comes_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    """The cheapest would be as good as none where no option keeps the promise."""
    words = ["serve", "llama-3.1-8b", "-s", "FR", "--among", "rtx-4090,h100-sxm,a100-sxm-80gb", "--users", "100"]
    assert run([*words, "--tpot", "0.1ms"]) == NO
    page = capsys.readouterr().out
    assert "keeps the promise; the nearest first" in page
    assert run([*words, "--tpot", "0.1ms", "--json"]) == NO
    rows = json.loads(capsys.readouterr().out)["serve"]["search"]["best"]
    assert rows[0]["device"].startswith("h100") and rows[0]["tensor"] == 8
    assert [float(f"{row['tpot_s']:.2g}") for row in rows] == sorted(float(f"{row['tpot_s']:.2g}") for row in rows)


def test_a_load_beyond_all_devices_says_how_many_it_takes(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["serve", "llama-3.1-8b", "-s", "FR", "--among", "rtx-4090,h100-sxm", "--ttft", "1s", "-p", "fp8"]
    assert run([*words, "--users", "100000", "--max-devices", "2"]) == BAD_INPUT
    told = capsys.readouterr().err
    assert "no number up to 2 of any of 2 devices carries the load; the fewest are " in told
    fewest = told.partition("the fewest are ")[2].split()[0]
    assert run([*words, "--users", "100000", "--max-devices", fewest, "-q"]) in (0, 1)
