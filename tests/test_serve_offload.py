"""Weights that stay on the host: room on the device, and every step reads them over the host's link."""

from __future__ import annotations

from typing import Any

import pytest

from outlay import plan
from outlay.errors import OutlayError
from outlay.planner.serve.launch import launch
from outlay.readers.launch.line import read_launch

GIB = 2.0**30
FIELD = "serve.cpu_offload_bytes_per_device"
CARD: dict[str, Any] = {"device": "rtx-4090", "host_link_bytes_per_s": 25e9}
WORK = {"concurrency": 8, "input": 1000, "output": 200}


def served(size: float = 0.0, fleet: Any = "1xrtx-4090", model: str = "llama-3.1-8b", **serve: Any) -> dict[str, Any]:
    given = {"cpu_offload_bytes_per_device": size} if size else {}
    found: dict[str, Any] = plan({"model": model, "fleet": fleet, "serve": {
        "engine": "vllm", "precision": "bf16", "max_model_len": 8192, "workload": WORK} | given | serve}
        ).to_dict()["serve"]
    return found


def value(found: dict[str, Any], name: str) -> float:
    return float(found[name]["value"])


def test_what_the_host_keeps_is_room_for_cache() -> None:
    """Weights fall by what is asked, the cache grows by as much, and the host holds it for each device."""
    all_here, some = served(), served(4 * GIB)
    for name, sign in (("weights_bytes_per_device", 1.0), ("kv_cache_bytes_per_device", -1.0)):
        assert sign * (value(all_here, name) - value(some, name)) == pytest.approx(4 * GIB, rel=1e-3)
    assert value(some, "kv_cache_tokens") > value(all_here, "kv_cache_tokens") + 30_000
    assert value(some, "host_memory_bytes") == pytest.approx(4 * GIB)
    two = served(4 * GIB, "2xrtx-4090", tensor=2)
    assert value(two, "host_memory_bytes") == pytest.approx(8 * GIB)
    most = served(80 * GIB)  # embedding and head stay
    assert value(most, "weights_bytes_per_device") == pytest.approx(2 * 128_256 * 4096 * 2, rel=0.03)


@pytest.mark.parametrize("fleet", ["1xrtx-4090", "1xh100-sxm5-80gb"])
def test_a_step_is_as_much_longer_as_the_link_takes(fleet: str) -> None:
    """Over 25 GB/s, of which four fifths are reached, 4 GiB are 0.21 s; in half as long over twice the link."""
    device = {"device": fleet.removeprefix("1x"), "host_link_bytes_per_s": 25e9}
    quick, slow = served(0.0, device), served(4 * GIB, device)
    assert value(slow, "tpot_s") - value(quick, "tpot_s") == pytest.approx(4 * GIB / 20e9, rel=0.1)
    assert slow["one_stream"]["tpot_s"]["value"] - quick["one_stream"]["tpot_s"]["value"] == pytest.approx(
        4 * GIB / 20e9, rel=0.1)
    half = served(4 * GIB, device | {"host_link_bytes_per_s": 50e9})
    assert value(half, "tpot_s") - value(quick, "tpot_s") == pytest.approx(2 * GIB / 20e9, rel=0.15)
    assert value(slow, "ttft_s") > value(quick, "ttft_s")
    assert value(slow, "capacity_requests_per_s") < value(quick, "capacity_requests_per_s")
    assert slow["tpot_s"]["high"] / slow["tpot_s"]["low"] > 1.3  # how much of the link is reached is not well known
    assert slow["capacity_requests_per_s"]["high"] / slow["capacity_requests_per_s"]["low"] > 1.3


def test_only_the_experts_that_are_touched_come_over_the_link() -> None:
    """Of 128 experts one request reads eight; 256 at once read nearly all."""
    def longer(concurrency: int) -> float:
        load = {"concurrency": concurrency, "input": 200, "output": 200}
        with_, without = (served(size, "1xh100-sxm5-80gb", "qwen3-30b-a3b", precision="fp8", workload=load)
                          for size in (8 * GIB, 0.0))
        return value(with_, "tpot_s") - value(without, "tpot_s")

    assert longer(1) < 0.25 * longer(256)


def test_a_published_slowdown_is_met() -> None:
    """35 GiB on the host of each of eight H20 left 120 tokens/s at 64 requests (vllm-project/vllm#57771): half a second
    a step, which hangs on the link alone, of whatever mixture so many experts are touched."""
    load = {"concurrency": 64, "input": 256, "output": 256}
    shape: dict[str, Any] = {"model": "deepseek-r1", "precision": "fp8", "tensor": 8, "workload": load}
    fleet = {"device": "h20-96gb", "devices": 8, "device_memory_bytes": 141e9, "host_link_bytes_per_s": 63e9}
    found = [served(size, fleet, **shape) for size in (35 * GIB, 0.0)]
    assert value(found[0], "output_tokens_per_s") == pytest.approx(120.0, rel=0.25)
    assert value(found[0], "output_tokens_per_s") < 0.2 * value(found[1], "output_tokens_per_s")


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_a_replay_is_as_slow_as_the_closed_form(engine: str) -> None:
    load = {"rate": 0.3, "input": 1000, "output": 50}
    closed, replayed = (served(4 * GIB, CARD, engine=engine, workload=load, replay=own) for own in (False, True))
    for name in ("tpot_s", "e2e_s"):
        assert value(replayed, name) == pytest.approx(value(closed, name), rel=0.08), name


def test_two_pools_read_theirs_too() -> None:
    pools = {"disaggregated": {"prefill": {"replicas": 1}, "decode": {"replicas": 1}}}
    fleet = CARD | {"devices": 2}
    slow, quick = (served(size, fleet, **pools) for size in (4 * GIB, 0.0))
    assert value(slow, "tpot_s") - value(quick, "tpot_s") == pytest.approx(4 * GIB / 20e9, rel=0.1)
    assert slow["pools"]["decode"]["host_memory_bytes"]["value"] == pytest.approx(4 * GIB)


def test_more_on_the_host_is_never_faster() -> None:
    times = [value(served(size * GIB, CARD), "tpot_s") for size in (0.0, 0.5, 2.0, 8.0, 13.0, 100.0)]
    assert times == sorted(times) and times[-1] < 1.1 * times[-2]


def test_a_model_that_does_not_fit_is_told_how_much_to_leave_there() -> None:
    found = served(0.0, "1xrtx-5090", "qwen3-30b-a3b", precision="fp8")
    assert not found["fits"]
    change = next(each for each in found["nearest"] if each["kind"] == "host")
    assert change["set"] == {FIELD: "4GiB"}
    then = served(4 * GIB, "1xrtx-5090", "qwen3-30b-a3b", precision="fp8")
    assert then["fits"] and then["fits_probability"] > 0.9


@pytest.mark.parametrize(("engine", "words"), [
    ("vllm", "vllm serve Qwen/Qwen3-8B --cpu-offload-gb 2.5"),
    ("sglang", "python -m sglang.launch_server --model-path Qwen/Qwen3-8B --cpu-offload-gb 3")])
def test_launch_lines_say_it_and_are_read(engine: str, words: str) -> None:
    parts, told = read_launch(words.split())
    size = parts["serve"]["cpu_offload_bytes_per_device"]
    assert size / GIB == float(words.split()[-1]) and not told.unplanned and not told.unknown
    written = launch(engine, "Qwen/Qwen3-8B", {"precision": "bf16", "cpu_offload_bytes_per_device": 2.5 * GIB})
    assert written is not None and written["words"][-2:] == words.split()[-2:]


@pytest.mark.parametrize("engine", ["llama.cpp", "tensorrt-llm"])
def test_an_engine_that_cannot_says_so(engine: str) -> None:
    with pytest.raises(OutlayError) as caught:
        served(4 * GIB, engine=engine, precision="q8_0" if engine == "llama.cpp" else "fp8")
    assert (caught.value.to_dict()["kind"], caught.value.field) == ("inconsistent", FIELD)
