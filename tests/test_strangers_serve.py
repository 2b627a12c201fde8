"""What strangers ask of a deployment: few requests, and numbers that must agree with one another."""

from __future__ import annotations

import shlex
from typing import Any

import pytest

from outlay import OutlayError, plan

FOUR = {"model": "llama-3.1-8b", "fleet": "4xh100-sxm5-80gb", "site": "FR"}


def asked(load: dict[str, Any], **serve: Any) -> dict[str, Any]:
    work = {"input": 1024, "output": 256} | load
    return plan(FOUR | {"serve": {"max_model_len": 16384, "workload": work, **serve}}, around=False).to_dict()


@pytest.mark.parametrize("load", [{"concurrency": 64}, {"batch": 16}])
@pytest.mark.parametrize("replay", [False, True])
def test_one_request_is_alone_however_many_could_run_at_once(load: dict[str, int], replay: bool) -> None:
    (name,) = load
    one, few = asked({name: 1, "requests": 1}, replay=replay), asked(load | {"requests": 1}, replay=replay)
    for number in ("ttft_s", "tpot_s", "e2e_s", "load", "duration_s", "capacity_requests_per_s"):
        assert few["serve"][number] == one["serve"][number], number
    assert few["serve"]["saturated"] is False and few["serve"]["concurrency"]["value"] == 1.0
    assert any(w.startswith("serve.workload.requests: there are 1, fewer than the") for w in few["warnings"])


@pytest.mark.parametrize("load", [{"concurrency": 64}, {"rate": 20}, {"users": 3000}])
def test_what_is_sustained_does_not_hang_on_how_many_are_asked(load: dict[str, int]) -> None:
    """Twenty requests in a second are as busy as an hour of them, not an overload of what cannot empty at once."""
    lasting, short = asked(load)["serve"], asked(load | {"requests": 80})["serve"]
    assert short["capacity_requests_per_s"] == lasting["capacity_requests_per_s"]
    assert short["load"] == lasting["load"] and short["saturated"] is False
    assert short["ttft_s"] == lasting["ttft_s"]


def test_arrivals_beyond_what_is_sustained_are_answered_to_the_last() -> None:
    """As fast as a queue of them at most, whose last requests run with empty places beside them."""
    beyond, queued = (asked({"rate": rate, "requests": 2000})["serve"] for rate in (400, "inf"))
    assert beyond["saturated"] is True and beyond["ttft_s"] is None
    assert beyond["output_tokens_per_s"]["value"] == pytest.approx(queued["output_tokens_per_s"]["value"], rel=0.01)
    assert beyond["rate"]["value"] < 0.9 * beyond["capacity_requests_per_s"]["value"]


@pytest.mark.parametrize(("engine", "version", "said"), [
    ("vllm", "99.1", "99.1 is newer than 0.19, the newest that is described; planned as that one"),
    ("sglang", "0.4.6", "what SGLang 0.4.6 does otherwise is not known; planned as 0.5"),
    ("tensorrt-llm", "1.0", "what TensorRT-LLM 1.0 does otherwise is not known; planned as 1.2"),
    ("vllm", "0.19.1", ""), ("vllm", "0.18", ""), ("vllm", "0.8.5", ""), ("sglang", "0.5.6", ""),
    ("llama.cpp", "b9000", ""), ("llama.cpp", "b3000", ""),
])
def test_a_version_that_is_not_described_is_not_passed_off_as_known(engine: str, version: str, said: str) -> None:
    warnings = asked({"concurrency": 4}, engine=engine, engine_version=version)["warnings"]
    assert [w for w in warnings if "engine_version" in w] == ([f"serve.engine_version: {said}"] if said else [])


def searched(model: str = "llama-3.1-8b", **serve: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """A search over two devices, as resolved and the rows it shows."""
    load = {"users": 3000, "input": 1024, "output": 256}
    found = plan({"model": model, "site": "FR", "serve": {
        "workload": load, "slo": {"ttft": "1s", "tpot": "40ms"}, "options": {"devices": ["h100-sxm5-80gb", "l40s"]},
        **serve}}, around=False).to_dict()
    return found["scenario"], found["serve"]["search"]


@pytest.mark.parametrize("told", [{"tensor": 2}, {"replicas": 3}, {"tensor": 4, "replicas": 2}, {"data": 2},
                                  {"pipeline": 2}])
def test_a_search_keeps_to_the_degrees_it_is_told(told: dict[str, int]) -> None:
    scenario, search = searched(**told)
    assert {name: scenario["serve"][name] for name in told} == told
    assert scenario["fleet"]["devices"] % (told.get("tensor", 1) * told.get("replicas", 1)) == 0
    for row in search["best"]:
        assert {name: row[name] for name in told if name in row} == {n: v for n, v in told.items() if n in row}


def test_what_no_device_would_change_is_named_and_not_the_devices() -> None:
    for field, value in (("tensor", 3), ("expert", 4), ("kv_unified", True), ("engine_version", "banana")):
        with pytest.raises(OutlayError) as caught:
            searched(**{field: value})
        assert caught.value.field == f"serve.{field}"


def test_more_than_the_devices_allowed_can_carry_is_said_once() -> None:
    with pytest.raises(OutlayError, match="up to 2 of any of 2 devices carries the load; the fewest are") as caught:
        searched(workload={"users": 1e6}, options={"devices": ["h100-sxm5-80gb", "l40s"], "max_devices": 2})
    assert caught.value.field == "serve.options.max_devices"


@pytest.mark.parametrize("columns", [60, 80])
def test_what_is_to_be_copied_can_be_copied(columns: int) -> None:
    """Commands that a narrow screen breaks are one command to a shell, and quotes stay whole."""
    from outlay.report.blocks import Bullets, Commands
    from outlay.report.terminal import render

    pools = {"prefill": {"tensor": 1}, "decode": {"tensor": 1}}
    words = asked({"rate": 4}, disaggregated=pools)["serve"]["launch"]["pools"]["prefill"]["words"]
    following = ["outlay", "serve", "llama-3.1-8b", "-g", "8xh100-sxm", "--set", "options={\"devices\": [\"l40s\"]}",
                 "--users", "2000", "--ttft", "500ms", "--in", "1000", "--vary", "max_model_len=8192,32768,131072"]
    page = render([Bullets("Start it", (shlex.join(words), "and a note " * 9), frozenset({0})),
                   Commands((shlex.join(following), "outlay demo"))], columns)
    whole = page.replace("\\\n", "").splitlines()
    assert shlex.split(whole[1]) == words
    assert shlex.split(whole[-2].removeprefix("Next:")) == following and whole[-1].strip() == "outlay demo"
    assert all(len(line) <= columns or "'" in line for line in page.splitlines()) and "\\\n" in page


def test_a_table_too_wide_for_the_page_goes_on_below_with_its_names() -> None:
    from outlay.report.blocks import Table
    from outlay.report.terminal import render

    head = ("device", *(f"number {i}" for i in range(20)))
    rows = tuple((name, *(f"{i}000 [1–2]" for i in range(20))) for name in ("first", "second"))
    lines = render([Table("", head, rows, mark=1)], 60).splitlines()
    assert max(map(len, lines)) <= 60
    assert sum("first" in line for line in lines) == sum("*  second" in line for line in lines) > 1
    assert sum(line.count("[1–2]") for line in lines) == 40


def test_a_precision_that_a_search_took_is_told() -> None:
    found = plan({"model": "llama-3.1-8b", "site": "FR", "serve": {"workload": {"users": 300},
                  "options": {"devices": ["l40s"]}}}, around=False).to_dict()
    (told,) = [a for a in found["assumptions"] if a["what"] == "serve.precision"]
    assert told["value"] == found["scenario"]["serve"]["precision"] and "bf16, fp8" in told["why"]


def test_searches_side_by_side_say_what_each_came_to(capsys: pytest.CaptureFixture[str]) -> None:
    from outlay.cli.shell import run

    words = ["serve", "llama-3.1-8b", "--ttft", "1s", "--among", "l40s,h100-sxm", "--vary", "users=200,20000"]
    assert run(words) == 0
    page = capsys.readouterr().out
    assert " on " in page and " l40s " in page and "xh100-sxm" in page
    assert run([*words, "--csv"]) == 0
    head, *rows = (line.split(",") for line in capsys.readouterr().out.splitlines())
    assert len({row[head.index("on")] for row in rows}) == 2
    assert run(["serve", "llama-3.1-8b", "-g", "l40s", "--vary", "users=200,300", "--csv"]) == 0
    assert "on" not in capsys.readouterr().out.splitlines()[0].split(",")
