"""The serving time model: published numbers, directions that must hold, and arrays equal to scalars."""

from __future__ import annotations

import csv
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from outlay.catalog import load
from outlay.physics.queueing import accepted_tokens, busiest_rank, experts_touched, service_wait_s
from outlay.physics.roofline import look_up
from outlay.readers import architecture_from_mapping
from outlay.resolve import resolve
from outlay.resolve.serve.time import (
    CONSTANTS,
    LEFT_OUT,
    is_seen,
    shape_of,
    time_constants,
    time_device,
    time_residual,
)
from outlay.scenario_io import scenario_from
from outlay.steps.serve.attention import joint_attention_s
from outlay.steps.serve.cache import tokens_at
from outlay.steps.serve.inputs import ServeLayout
from outlay.steps.serve.memory import serve_memory
from outlay.steps.serve.time import serve_time
from outlay.steps.serve.time_inputs import EngineTime, Load
from outlay.steps.serve.time_parts import PROMPT_SHARE
from outlay.steps.serve.time_products import READ_SHARE
from outlay.validate.latency_cases import latency_case, merge_copies
from outlay.validate.serve_time_cases import TABLES, serve_time_cases
from outlay.validate.tables import read_rows

DENSE = architecture_from_mapping(
    {"layers": 80, "hidden": 8192, "heads": 64, "kv_heads": 8, "head_dim": 128, "ffn": 28672, "gated": True,
     "vocab": 128256}, "dense-70b")[0]
MIXED = architecture_from_mapping(
    {"layers": 36, "hidden": 2880, "heads": 64, "kv_heads": 8, "head_dim": 64, "gated": True, "vocab": 201088,
     "experts": 128, "experts_per_token": 4, "expert_ffn": 2880, "ffn": 2880}, "moe-120b")[0]
PARTS = ("embedding", "head", "attention", "latent", "mixer", "mlp", "experts", "shared", "router")


def engine(size: float = 1.0, name: str = "vllm", device: str = "h200-sxm-141gb") -> EngineTime:
    parts = dict.fromkeys(PARTS, size) | {"head": 2.0}
    generation = time_device(load().find("device", device, "")).generation
    return EngineTime(parts, 2.0, time_constants(name, generation), 8192.0, 1024.0)


def times(load_: Load, arch: Any = DENSE, tensor: Any = 4, name: str = "vllm", **changed: Any) -> dict[str, Any]:
    device = time_device(load().find("device", "h200-sxm-141gb", ""))
    return serve_time(arch, device, replace(engine(name=name), **changed), ServeLayout(tensor), load_)


def test_a_published_closed_loop_is_met() -> None:
    """Llama 3.1 70B in 8 bits on 4 H200 under vLLM, 1024 in and out: 9.9 to 46 ms over concurrencies 4 to 64."""
    low = times(Load("closed", 1024.0, 1024.0, 4.0))["tpot_s"]
    high = times(Load("closed", 8192.0, 1024.0, 64.0))["tpot_s"]
    assert low == pytest.approx(0.0099, rel=0.25)
    assert high == pytest.approx(0.0461, rel=0.35)


def test_uniform_experts_follow_the_formula() -> None:
    """E(1 - (1 - k/E)^B)."""
    assert experts_touched(256.0, 8.0, 64.0) == pytest.approx(256 * (1 - (1 - 8 / 256) ** 64))
    assert experts_touched(256.0, 8.0, 1.0) == pytest.approx(8.0)
    assert experts_touched(128.0, 4.0, 1e9, 0.8) == pytest.approx(128.0)


def test_waiting_grows_without_bound() -> None:
    """M/M/1 at load 0.8 waits four services."""
    assert service_wait_s(0.8, 1.0, 1.0) == pytest.approx(4.0)
    assert np.isinf(service_wait_s(1.0, 1.0))


def test_accepted_tokens_of_the_paper() -> None:
    """Leviathan et al., table 1: acceptance 0.8 and five drafted give 3.69 tokens a step."""
    assert accepted_tokens(0.8, 5.0) == pytest.approx(3.69, abs=0.01)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 400), st.sampled_from([128.0, 1024.0, 8192.0]), st.sampled_from([64.0, 1024.0]))
def test_more_at_once_is_slower_each_and_faster_together(count: int, prompt: float, output: float) -> None:
    one = times(Load("closed", prompt, output, float(count)))
    two = times(Load("closed", prompt, output, float(2 * count)))
    assert two["tpot_s"] >= one["tpot_s"] * 0.97
    assert two["output_tokens_per_s"] >= one["output_tokens_per_s"] * 0.98
    assert one["e2e_s"] == pytest.approx(one["ttft_s"] + one["tpot_s"] * (output - 1))


@pytest.mark.parametrize("name", ["vllm", "sglang"])
def test_the_work_of_a_loop_and_of_a_queue_is_the_same(name: str) -> None:
    """Requests a second: never more for longer answers, never more in a loop than in a queue of as many."""
    rates = []
    for output in (1.0, 2.0, 4.0, 64.0):
        queue = times(Load("queued", 1024.0, output, cache_tokens=1e6), name=name)["output_tokens_per_s"] / output
        loop = [float(times(Load("closed", 1024.0, output, n), name=name)["output_tokens_per_s"]) / output
                for n in (1.0, 8.0, 64.0, 256.0)]
        assert all(more >= fewer * 0.97 for fewer, more in pairwise(loop)), loop
        rates.append((loop[-1], float(queue)))
    for longer, shorter in zip(rates[1:], rates, strict=False):
        assert longer[0] <= shorter[0] * 1.03 and longer[1] <= shorter[1] * 1.001, rates


def test_more_bandwidth_is_never_slower() -> None:
    device = time_device(load().find("device", "h200-sxm-141gb", ""))
    for kind in (DENSE, MIXED):
        found = [
            serve_time(kind, replace(device, memory_bytes_per_s=rate), engine(), ServeLayout(2),
                       Load("closed", 1024.0, 256.0, 32.0))["tpot_s"]
            for rate in (2e12, 4e12, 8e12)
        ]
        assert found == sorted(found, reverse=True)


def test_arrays_are_the_same_as_scalars() -> None:
    counts, tensor = np.array([1.0, 16.0, 300.0]), np.array([2.0, 4.0, 8.0])
    for kind in (DENSE, MIXED):
        whole = times(Load("closed", 1024.0, 256.0, counts), kind, tensor)
        for place in range(3):
            one = times(Load("closed", 1024.0, 256.0, counts[place]), kind, tensor[place])
            for name in ("ttft_s", "tpot_s", "output_tokens_per_s"):
                assert whole[name][place] == pytest.approx(float(one[name]))


def test_three_layouts_of_one_load() -> None:
    """As many layouts as passes of a step: no axis may be taken for another."""
    load_ = Load("closed", 1024.0, 256.0, 16.0)
    for kind in (DENSE, MIXED):
        whole = times(load_, kind, np.array([1.0, 2.0, 8.0]))["tpot_s"]
        assert whole == pytest.approx([float(times(load_, kind, t)["tpot_s"]) for t in (1.0, 2.0, 8.0)])


def test_an_open_loop_says_when_it_is_too_much() -> None:
    calm = times(Load("open", 1024.0, 256.0, rate=0.5))
    assert 0 < calm["load"] < 0.5 and np.isfinite(calm["ttft_s"])
    assert calm["output_tokens_per_s"] == pytest.approx(0.5 * 256)
    over = times(Load("open", 1024.0, 256.0, rate=1e4, cache_tokens=500e3))
    assert over["load"] > 1 and np.isinf(over["ttft_s"])


def test_a_full_cache_makes_requests_wait() -> None:
    free = times(Load("closed", 1024.0, 1024.0, 256.0))
    full = times(Load("closed", 1024.0, 1024.0, 256.0, cache_tokens=40e3))
    assert full["running"] < free["running"]
    assert full["ttft_s"] > 5 * free["ttft_s"] and full["output_tokens_per_s"] < free["output_tokens_per_s"]


def test_drafted_tokens_are_read_once() -> None:
    plain = times(Load("closed", 1024.0, 256.0, 4.0))["tpot_s"]
    drafted = times(Load("closed", 1024.0, 256.0, 4.0), drafted=2.0, acceptance=0.8)["tpot_s"]
    assert plain / 2.5 < drafted < plain


def test_a_prompt_is_read_before_it_is_computed_and_waits_for_those_under_way() -> None:
    one, many = (times(Load("closed", 8192.0, 1024.0, n)) for n in (1.0, 8.0))
    read = 8192.0 * engine().constants["token_s"]
    assert one["ttft_s"] > one["service_s"] + read
    share = 7.0 * many["service_s"] / (1024.0 * many["tpot_s"])  # of the time another's prompt is under way
    assert many["ttft_s"] - one["ttft_s"] > 0.9 * share * many["service_s"]


def test_recipes_say_what_columns_do_not() -> None:
    row = {"gpu": "h200_sxm", "model": "meta-llama/Llama-3.1-70B", "engine_version": "trtllm", "scenario": "agg",
           "precision": "fp8", "tp": "2", "pp": "1", "ep": "1", "dp": "1", "n_gpus": "2", "input_len": "1024",
           "output_len": "1024", "concurrency": "8", "batch": "8", "request_rate": "", "ttft_ms": "400",
           "tpot_ms": "10", "itl_ms": "", "output_tok_s_total": "", "notes": ""}
    held = [latency_case("aiconfigurator_silicon", row | change)["scenario"]["serve"].get("hold_steps")
            for change in ({}, {"tp": "8", "n_gpus": "8"}, {"output_len": "8192"}, {"engine_version": "vllm"})]
    assert held == [20, None, None, None]


def test_every_constant_has_its_range_and_source() -> None:
    with open(CONSTANTS, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["id"] for row in rows} >= {"all", "vllm", "sglang", "tensorrt-llm", "hopper", "blackwell"}
    for row in rows:
        assert float(row["low"]) <= float(row["value"]) <= float(row["high"]) and row["source"] and row["note"]


def test_a_row_becomes_a_scenario() -> None:
    row = {"gpu": "h200_sxm", "model": "deepseek-ai/DeepSeek-R1", "engine_version": "trtllm 1.0", "scenario": "agg",
           "precision": "fp8", "tp": "64", "pp": "1", "ep": "8", "dp": "1", "n_gpus": "64", "input_len": "1024",
           "output_len": "1024", "concurrency": "8", "batch": "8", "request_rate": "", "ttft_ms": "200",
           "tpot_ms": "10", "itl_ms": "", "output_tok_s_total": "", "notes": "moe_tp=8; gemm=fp8"}
    case = latency_case("aiconfigurator_silicon", row)
    assert case["scenario"]["fleet"] == {"device": "h200-sxm-141gb", "devices": 8}
    assert case["scenario"]["serve"]["tensor"] == 8 and case["measured"]["tpot_s"] == pytest.approx(0.01)


def test_residuals_are_there_for_every_kind_and_wider_where_unseen() -> None:
    for number in ("ttft_s", "tpot_s", "output_tokens_per_s"):
        for shape in ("dense", "moe", "mla"):
            for pools in (False, True):
                for seen in (True, False):
                    low, middle, high = time_residual(number, shape, pools, seen)
                    assert 0 < low < middle < high
    assert is_seen("vllm@0.4", "hopper") and not is_seen("vllm", "cdna3")


def test_the_shape_is_of_the_architecture() -> None:
    assert (shape_of(DENSE), shape_of(MIXED)) == ("dense", "moe")


def test_copies_of_a_measurement_are_one_row_with_the_workers_told() -> None:
    row = {"gpu": "gb200", "input_len": "1024", "output_len": "1024", "ttft_ms": "1.5", "tpot_ms": "2.5",
           "concurrency": "8", "scenario": "disagg", "notes": "prefill_workers= decode_workers="}
    full = row | {"notes": "prefill_workers=1 decode_bs=2 decode_workers=4"}
    assert merge_copies([row, full, row | {"tpot_ms": "2.6"}]) == [full, row | {"tpot_ms": "2.6"}]


def test_every_shipped_case_names_a_group_that_was_left_out() -> None:
    with open(LEFT_OUT, newline="", encoding="utf-8") as file:
        groups = {row["id"].partition("@without/")[2] for row in csv.DictReader(file)}
    found = [case for table in TABLES for case in serve_time_cases(table, read_rows(table))]
    assert len(found) > 1000 and {case.group for case in found} <= groups
    assert {case.number for case in found} == {"serve.ttft_s", "serve.tpot_s", "serve.output_tokens_per_s"}


def test_a_left_out_fit_is_another_fit() -> None:
    whole = time_constants("vllm", "hopper")
    apart = time_constants("vllm", "hopper", without="serve-time/model/deepseek")
    assert apart != whole and apart.keys() == whole.keys()


def test_requests_bound_what_runs_at_once() -> None:
    few = times(Load("queued", 128.0, 2048.0, requests=100.0))
    assert float(few["running"]) == 100.0 and float(times(Load("queued", 128.0, 2048.0))["running"]) > 100.0


def test_the_busiest_rank_sets_the_pace_of_experts() -> None:
    assert busiest_rank(128.0, 1.0, 0.8) == 1.0
    assert 1.0 < busiest_rank(128.0, 4.0, 0.8) < busiest_rank(128.0, 16.0, 0.8)
    assert busiest_rank(128.0, 16.0, 0.0) == 1.0


def test_a_window_leaves_no_room_for_more_short_sequences() -> None:
    """Half of gpt-oss's layers see 128 tokens: short requests fill them as they fill the others."""
    found = resolve(scenario_from({"model": "gpt-oss-120b", "fleet": {"device": "h200-sxm-141gb", "devices": 1},
                                   "serve": {"engine": "tensorrt-llm", "max_model_len": 65536}}), load())
    arch, phase, layout = found.architecture, found.serve, ServeLayout(1.0)
    assert arch is not None and phase is not None
    tokens = float(serve_memory(arch, phase.usable_bytes, phase.recipe, layout).kv_cache_tokens)
    short = replace(phase.recipe, max_model_len=64)
    own = float(serve_memory(arch, phase.usable_bytes, short, layout).kv_cache_tokens)
    assert tokens_at(arch, phase.recipe, layout, tokens, 64.0) == pytest.approx(own, rel=0.02)
    assert own < 0.6 * tokens
    assert tokens_at(DENSE, phase.recipe, layout, tokens, 64.0) == tokens


def test_what_is_set_aside_runs_fewer_at_once() -> None:
    """TensorRT-LLM starts a request only when all of its answer has room; others when its prompt has. What is left is
    on average half of that."""
    queued = Load("queued", 100.0, 1000.0, cache_tokens=60_000.0)
    assert times(queued)["running"] == pytest.approx((60_000.0 - 50.0) / 600.0)
    assert times(queued, reserve=1.0)["running"] == pytest.approx((60_000.0 - 550.0) / 1100.0)
    assert load().find("engine", "tensorrt-llm").value("schedule_reserve") == 1.0


def test_the_end_of_a_queue_costs_half_a_wave() -> None:
    endless = Load("queued", 128.0, 2048.0, cache_tokens=200_000.0)
    most = times(endless)
    two = times(replace(endless, requests=2.0 * float(most["running"])))
    many = times(replace(endless, requests=1e9))
    assert 0.75 < two["output_tokens_per_s"] / most["output_tokens_per_s"] < 0.9
    assert many["output_tokens_per_s"] == pytest.approx(most["output_tokens_per_s"], rel=1e-3)


def test_the_last_stage_holds_a_full_pipeline_up() -> None:
    """Head and sampling are on one stage: eight stages answer less than eight times as many as one."""
    device = time_device(load().find("device", "rtx-pro-6000-server", ""))

    def rate(stages: int) -> float:
        work = Load("queued", 128.0, 1024.0, cache_tokens=64_000.0 * stages)
        layout = ServeLayout(1.0, pipeline=stages)
        found = serve_time(DENSE, device, engine(device="rtx-pro-6000-server"), layout, work)
        return float(found["output_tokens_per_s"])

    assert 4.0 < rate(8) / rate(1) < 7.0


def test_prompts_of_any_rank_hold_a_queue_up() -> None:
    """With attention ranks that step together, prompts of the others fall into a rank's steps too, unless all come
    and go in step."""
    device = time_device(load().find("device", "h200-sxm-141gb", ""))

    def rate(ranks: float, varied: bool) -> float:
        work = Load("queued", 4096.0, 1024.0, cache_tokens=300_000.0 * ranks, varied=varied)
        layout = ServeLayout(1.0, 1, ranks if arch is MIXED else 1.0, ranks)
        return float(serve_time(arch, device, engine(), layout, work)["output_tokens_per_s"])

    arch = DENSE  # whose ranks have nothing in common
    assert rate(8.0, True) == pytest.approx(8.0 * rate(1.0, True))
    assert rate(8.0, False) == pytest.approx(8.0 * rate(1.0, False))
    arch = MIXED
    assert rate(8.0, True) < 0.85 * rate(8.0, False)


def test_the_page_says_how_its_mixtures_ran() -> None:
    rows = [row for row in read_rows("tensorrt_llm_perf_overview") if row["model"] == "Qwen3-235B-A22B"]
    case = latency_case("tensorrt_llm_perf_overview", next(row for row in rows if row["tp"] == "8"))
    serve = case["scenario"]["serve"]
    assert (serve["tensor"], serve["data"], serve["expert"]) == (1, 8, 8)


def test_an_age_that_was_measured_has_a_spread_of_its_own() -> None:
    assert time_residual("tpot_s", "dense", False, True, "vllm@0.4") != time_residual("tpot_s", "dense", False, True)
    assert time_residual("tpot_s", "dense", True, True, "vllm@0.4") == time_residual("tpot_s", "dense", True, True)


def test_blocks_of_many_are_the_same_as_a_few() -> None:
    draw = np.random.default_rng(1)
    many = Load("closed", draw.uniform(64, 8192, 9000), 256.0, draw.uniform(1, 512, 9000))
    few = replace(many, input=many.input[5000:5100], concurrency=many.concurrency[5000:5100])
    whole, part = times(many), times(few)
    assert all(np.allclose(whole[name][5000:5100], part[name], rtol=1e-12) for name in part)


def test_one_kernel_for_prompts_and_answers_reads_the_cache_head_by_head() -> None:
    """Measured on an RTX PRO 6000 (LLMServingSim, MIT): 64 requests at 1,024 tokens, 32 heads over 8 cached ones."""
    device = time_device(load().find("device", "rtx-pro-6000-server", ""))
    small = architecture_from_mapping(
        {"layers": 1, "hidden": 4096, "heads": 32, "kv_heads": 8, "head_dim": 128, "ffn": 14336, "gated": True,
         "vocab": 128256}, "one-layer")[0]
    joint = float(joint_attention_s(small, device, ServeLayout(1.0), 64.0, 64.0, 1024.0, PROMPT_SHARE))
    assert joint == pytest.approx(310e-6, rel=0.1)
    work = Load("closed", 1024.0, 256.0, 64.0)
    plain = engine(2.0, device="rtx-pro-6000-server")
    apart, together = (serve_time(DENSE, device, replace(plain, joint_rows=rows), ServeLayout(2.0), work)
                       for rows in (0.0, 64.0))
    assert 1.01 < together["tpot_s"] / apart["tpot_s"] < 1.5
    alone = replace(work, concurrency=1.0)
    one, same = (serve_time(DENSE, device, replace(plain, joint_rows=rows), ServeLayout(2.0), alone)
                 for rows in (0.0, 64.0))
    assert one["tpot_s"] == same["tpot_s"]  # nothing else runs beside its prompt


@pytest.mark.parametrize(("device", "engine_name", "rows"), [
    ("rtx-4090", "vllm", 64.0), ("a100-sxm4-80gb", "vllm", 64.0), ("h100-sxm5-80gb", "vllm", 0.0),
    ("b200-sxm", "vllm", 0.0), ("rtx-4090", "sglang", 0.0)])
def test_which_engines_attend_for_both_at_once(device: str, engine_name: str, rows: float) -> None:
    scenario = {"model": "llama-3.1-8b", "fleet": {"device": device, "devices": 1}, "serve": {"engine": engine_name}}
    phase = resolve(scenario_from(scenario), load()).serve
    assert phase is not None and phase.speed.engine.joint_rows == rows


def test_no_engine_reads_weights_faster_than_the_memory() -> None:
    for name in ("rtx-pro-6000-server", "rtx-4090", "h200-sxm-141gb"):
        device = time_device(load().find("device", name, ""))
        found = serve_time(DENSE, device, engine(2.0, device=name), ServeLayout(1.0), Load("closed", 1.0, 64.0))
        assert float(found["tpot_s"]) > 2.0 * 69.5e9 / (READ_SHARE * device.memory_bytes_per_s)


def test_a_rate_halved_by_accumulation_is_reached_more_fully() -> None:
    """A GeForce card's 16-bit rate is half its tensor cores': prompts reach nearly all of it, answers what they did."""
    def share(name: str, rows: float) -> float:
        phase = resolve(scenario_from({"model": "llama-3.1-8b", "fleet": {"device": name, "devices": 1},
                                       "serve": {"precision": "bf16"}}), load()).serve
        assert phase is not None
        return float(look_up(phase.speed.device.grids["bf16"], rows, 2.0**27))

    assert share("rtx-4090", 2048.0) > 0.9 > 1.5 * share("l40s", 2048.0)
    assert share("rtx-4090", 16.0) == share("l40s", 16.0)


def test_two_cards_of_their_own_host_reach_less_of_each_other_than_in_a_server_of_eight() -> None:
    card = load().find("device", "rtx-pro-6000-server", "")
    pair, server = (time_device(card, host=devices) for devices in (2, 8))
    for two, eight in ((pair.reduce, server.reduce), (pair.exchange, server.exchange)):
        assert two.bytes_per_s[0] < 0.5 * eight.bytes_per_s[0] and two.latency_s[0] > 2.0 * eight.latency_s[0]
        assert two.devices == eight.devices and two.bytes_per_s[2] == eight.bytes_per_s[2]
    assert time_device(card).reduce.bytes_per_s == server.reduce.bytes_per_s  # what the catalogue says of its node
    wide = load().find("device", "b200-sxm", "")
    assert time_device(wide, host=4).reduce.bytes_per_s == time_device(wide).reduce.bytes_per_s  # one size was measured


def test_a_link_that_is_given_is_not_slowed_by_the_size_of_its_host() -> None:
    def rate(**fleet: Any) -> float:
        scenario = {"model": "llama-3.1-8b", "fleet": {"device": "rtx-pro-6000-server", "devices": 2, **fleet},
                    "serve": {"engine": "vllm", "tensor": 2}}
        phase = resolve(scenario_from(scenario), load()).serve
        assert phase is not None
        return float(phase.speed.device.reduce.bytes_per_s[0])

    assert rate(devices_per_node=2) < 0.5 * rate()
    assert rate(devices_per_node=2, intra_node_bytes_per_s=63e9) == pytest.approx(rate())
    assert rate(intra_node_bytes_per_s=31.5e9) == pytest.approx(0.5 * rate())
