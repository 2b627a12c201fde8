"""What strangers write: devices whose rates nobody published, files and fields as they have them."""

from __future__ import annotations

import json
import warnings
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from outlay import OutlayError, plan
from outlay.catalog import load
from outlay.scenario_io import set_path


def served(fleet: Any, **serve: Any) -> dict[str, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a division by nothing is one
        found: dict[str, Any] = plan({"model": "llama-3.2-3b", "fleet": fleet, "site": "FR", "serve": {
            "workload": {"concurrency": 1, "input": 4096, "output": 64}, **serve}}).to_dict()
    return found


@pytest.mark.parametrize("name", ["gb10-dgx-spark", "jetson-t5000", "p40", "p4", "max-1550"])
def test_a_device_without_a_known_16_bit_rate_serves(name: str) -> None:
    found = served({"device": name, "devices": 1})
    assert found["serve"]["ttft_s"]["value"] > 0.0 and found["serve"]["tpot_s"]["value"] > 0.0
    assert any(a["what"].startswith("fleet.device.flops_per_s") for a in found["assumptions"])


def test_a_device_of_ones_own_has_the_rates_it_was_given() -> None:
    """Not those of the card whose kernels it is taken to run: work in fp8 runs at its 16-bit rate."""
    own = {"name": "mine", "memory_bytes": "48GB", "memory_bytes_per_s": "1TB/s", "power_w": 300,
           "flops_per_s": {"bf16": 50e12}}
    bare, told = (served({"device": device, "devices": 1}, precision="fp8")["serve"]["power_w_per_device"]["value"]
                  for device in (own, own | {"flops_per_s": {"bf16": 50e12, "fp8": 50e12}}))
    assert bare == pytest.approx(told, rel=0.2)


@pytest.mark.parametrize(("field", "spelled", "same"), [
    ("precision", "bfloat16", "bf16"), ("precision", "FP8_dynamic", "fp8"), ("precision", "bnb-4bit", "nf4"),
    ("kv_precision", "fp8_e4m3", "fp8"), ("kv_precision", "float16", "fp16"),
])
def test_number_formats_are_known_as_engines_spell_them(field: str, spelled: str, same: str) -> None:
    fleet = {"device": "h100-sxm5-80gb", "devices": 1}
    assert served(fleet, **{field: spelled})["scenario"]["serve"][field] == same


@pytest.mark.parametrize(("model", "precision"), [
    ("nvidia/Llama-3.3-70B-Instruct-FP4", "nvfp4"), ("RedHatAI/Llama-3.3-70B-Instruct-quantized.w8a8", "w8a8-int8"),
    ("deepseek-ai/DeepSeek-V3-BF16", "bf16"), ("deepseek-ai/DeepSeek-V3", "fp8"), ("openai/gpt-oss-20b", "mxfp4"),
])
def test_a_checkpoints_name_says_what_it_is_kept_in(model: str, precision: str) -> None:
    found = plan({"model": model, "fleet": "16xb200-sxm", "serve": {}}).to_dict()
    assert found["scenario"]["serve"]["precision"] == precision


def of_trace(path: Path, text: str) -> tuple[float, float, float]:
    """Requests a second, and mean tokens in and out, as a plan reads a trace."""
    path.write_text(text, newline="")
    serve = plan({"model": "llama-3.2-1b", "fleet": "1xh100-sxm5-80gb", "site": "FR",
                  "serve": {"workload": {"trace": str(path)}}}).to_dict()["serve"]
    return serve["rate"]["value"], serve["input"], serve["output"]


@pytest.mark.parametrize("text", [
    "timestamp,input,output\n0,100,50\n0.5,100,50\n1.0,100,50\n",
    "\ufeffArrived_At;Num_Prefill_Tokens;Num_Decode_Tokens;id\r\n0;100;50;a\r\n0.5;100;50;b\r\n1;100;50;c\r\n",
    "prompt_tokens\tcompletion_tokens\ttime_ms\n100\t50\t0\n100\t50\t500\n100\t50\t1000\n",
    "timestamp,ISL,OSL\n1700000000000,100,50\n1700000000500,100,50\n1700000001000,100,50\n",
    "timestamp,input,output\n2026-01-01T10:00:59.5Z,100,50\n2026-01-01 10:01:00,100,50\n2026-01-01 10:01:00.5,100,50\n",
    '{"time": 0, "prompt_tokens": 100, "completion_tokens": 50}\n{"time": 0.5, "prompt_tokens": 100, '
    '"completion_tokens": 50}\n{"time": 1, "prompt_tokens": 100, "completion_tokens": 50}\n',
], ids=["plain", "semicolons", "tabs-ms", "epoch-ms", "dates", "json"])
def test_a_trace_of_ones_own_is_read_as_it_is_called(text: str, tmp_path: Path) -> None:
    own = "arrival_s,input_tokens,output_tokens\n0,100,50\n0.5,100,50\n1.0,100,50\n"
    assert of_trace(tmp_path / "one.csv", text) == pytest.approx(of_trace(tmp_path / "own.csv", own))


def test_of_a_trace_only_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutlayError) as caught:
        of_trace(tmp_path / "trace.csv", "timestamp,foo\n1,2\n")
    assert "no column input_tokens and no output_tokens; its columns are timestamp, foo" in caught.value.message


def test_sglang_runs_more_at_once_than_its_largest_graph_holds() -> None:
    """Graphs set memory aside; requests at once are held by the cache alone."""
    found = plan({"model": "qwen3-8b", "fleet": "1xl40s", "site": "FR", "serve": {"engine": "sglang", "workload": {
        "concurrency": 64, "input": 1024, "output": 256}}}).to_dict()["serve"]
    assert found["saturated"] is False and found["capacity_concurrency"] > 64


def test_an_unknown_engine_is_told_all_there_are() -> None:
    with pytest.raises(OutlayError, match="sglang, tensorrt-llm, transformers, vllm"):
        load().find("engine", "tgi")


def eager(engine: str, inside: int, on: bool, **serve: Any) -> float:
    found = plan({"model": "llama-3.1-70b", "fleet": "8xh200-sxm-141gb", "serve": {
        "engine": engine, "tensor": 8, "enforce_eager": on, **serve,
        "workload": {"concurrency": inside, "input": 512, "output": 128} | serve.get("workload", {})}})
    return float(found.to_dict()["serve"]["tpot_s"]["value"])


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_an_eager_step_is_never_shorter_than_its_launches(engine: str) -> None:
    """Eighty layers handed out one by one take the host 20 ms; a captured step of eight devices takes 8."""
    assert eager(engine, 1, True) > 1.5 * eager(engine, 1, False)
    assert eager(engine, 1, True) == pytest.approx(0.020, rel=0.2)
    assert eager(engine, 512, False) <= eager(engine, 512, True) < 1.2 * eager(engine, 512, False)  # the device's time


def test_a_replay_of_eager_steps_waits_for_their_launches_too() -> None:
    load = {"workload": {"requests": 64}}
    assert eager("vllm", 4, True, replay=True, **load) == pytest.approx(eager("vllm", 4, True, replay=False, **load),
                                                                       rel=0.05)


@pytest.mark.parametrize("columns", [70, 80])
def test_a_page_fits_a_narrow_terminal(columns: int) -> None:
    from outlay.report import serving
    from outlay.report.terminal import render

    found = served("1xh100-sxm5-80gb", workload={"rate": 2, "input": 1024, "output": 256})
    wide = [line for line in render(serving.page(found, False, []), columns).splitlines() if len(line) > columns]
    assert wide == []


@pytest.mark.parametrize(("workload", "same"), [
    ({"rate": "10 req/s"}, {"rate": 10}), ({"rate": "600 requests/min"}, {"rate": 10}),
    ({"rate": "10 rps"}, {"rate": 10}),
    ({"concurrency": 4, "input": {"mean": 1000, "std": 500}}, {"concurrency": 4, "input": {"mean": 1000, "cv": 0.5}}),
])
def test_loads_are_known_as_people_write_them(workload: dict[str, Any], same: dict[str, Any]) -> None:
    one, other = (served("1xh100-sxm5-80gb", workload=load)["serve"] for load in (workload, same))
    assert one["e2e_s"] == other["e2e_s"] and one["rate"] == other["rate"]


def test_a_batch_line_of_another_programs_infinity() -> None:
    from outlay.cli.batch import answer_one

    line = '{"model": "llama-3.2-1b", "fleet": "1xh100-sxm5-80gb", "serve": {"workload": {"%s": Infinity}}}'
    assert answer_one((line % "rate").encode(), {})["serve"]["saturated"] is True
    error = answer_one((line % "concurrency").encode(), {})["error"]
    assert error["field"] == "serve.workload.concurrency" and "'inf' is not a number" in error["message"]


@pytest.mark.parametrize(("field", "meant"), [
    ("serve.tp", "tensor"), ("serve.tensor_parallel_size", "tensor"), ("serve.quantization", "precision"),
    ("serve.kv-cache-dtype", "kv_precision"), ("serve.gpu_memory_utilization", "memory_utilization"),
    ("serve.max_batch_size", "max_num_seqs"), ("serve.workload.isl", "input"),
    ("serve.workload.num_prompts", "requests"), ("serve.workload.max_concurrency", "concurrency"),
    ("fleet.count", "devices"), ("fleet.gpu", "device"),
])
def test_an_engines_word_for_a_field_names_ours(field: str, meant: str) -> None:
    with pytest.raises(OutlayError, match=f"did you mean {meant}\\?"):
        plan(set_path({"model": "llama-3.2-1b", "fleet": {"device": "h100-sxm5-80gb"}, "serve": {}}, field, 1))


def test_a_promise_of_minutes_is_told_to_be_in_seconds() -> None:
    found = served("1xh100-sxm5-80gb", slo={"ttft": 500, "percentile": "p90"})
    assert "serve.slo.ttft: 500 is in seconds; write 500ms if those are meant" in found["warnings"]


def test_layers_on_the_host_are_of_one_engine_and_not_passed_off_as_fast() -> None:
    with pytest.raises(OutlayError, match="vLLM keeps every layer on devices"):
        served("1xh100-sxm5-80gb", gpu_layers=4)
    found = served("1xrtx-4090", engine="llama.cpp", gpu_layers=4)
    assert any("24 layers on the host" in warning for warning in found["warnings"])


def test_layers_on_the_host_are_read_at_the_rate_of_its_memory() -> None:
    """Half of an 8B model in 8 bits, 3.7 GB: some 60 ms a token on a desk's memory, and a prompt waits for the link."""
    def times(**more: Any) -> tuple[float, float]:
        found = plan({"model": "llama-3.1-8b", "fleet": more.pop("fleet", {"device": "rtx-4090"}), "serve": {
            "engine": "llama.cpp", "precision": "q8_0", "max_model_len": 8192,
            "workload": {"concurrency": 1, "input": 1024, "output": 128}, **more}}).to_dict()["serve"]
        return found["tpot_s"]["value"], found["ttft_s"]["value"]

    whole, half, none = times(), times(gpu_layers=16), times(gpu_layers=0)
    assert times(gpu_layers=32) == whole
    assert 0.05 < half[0] - 0.5 * whole[0] < 0.08
    assert whole[0] < half[0] < none[0] and whole[1] < half[1] < none[1]
    slow = times(gpu_layers=16, fleet={"device": "rtx-4090", "host_link_bytes_per_s": 4e9})
    assert slow[1] > half[1] and slow[0] == half[0]


@pytest.mark.parametrize(("fleet", "whole"), [("dgx-h100", "8xh100-sxm5-80gb"), ("2xGB200 NVL72", "144xgb200")])
def test_a_machines_name_says_that_devices_are_counted(fleet: str, whole: str) -> None:
    assert any(w.startswith("fleet: ") and w.endswith(whole) for w in served(fleet)["warnings"])
    assert not any(w.startswith("fleet: ") for w in served("1xh100-nvl-94gb")["warnings"])


def test_a_card_in_ones_own_room_is_there_when_its_plan_is_planned_again() -> None:
    found = served("rtx-4090", engine="llama.cpp")
    again = plan(found["scenario"]).to_dict()
    assert again["totals"]["energy_j"] == found["totals"]["energy_j"]


HYBRID = ["mamba"] * 5 + (["attention"] + ["mamba"] * 9) * 3 + ["attention"] + ["mamba"] * 4
# configuration, parameters in billions as its makers publish them, bytes of cache a token in 16 bits
CONFIGURATIONS: dict[str, tuple[dict[str, Any], float, int]] = {
    "granite-4.0-h-small": ({
        "model_type": "granitemoehybrid", "hidden_size": 4096, "intermediate_size": 768,
        "shared_intermediate_size": 1536, "num_hidden_layers": 40, "num_attention_heads": 32,
        "num_key_value_heads": 8, "vocab_size": 100352,
        "num_local_experts": 72, "num_experts_per_tok": 10, "layer_types": HYBRID, "mamba_n_heads": 128,
        "mamba_d_head": "auto", "mamba_d_state": 128, "tie_word_embeddings": True}, 32.0, 4 * 2 * 8 * 128 * 2),
    "apertus-70b": ({
        "model_type": "apertus", "hidden_size": 8192, "intermediate_size": 43008, "num_hidden_layers": 80,
        "num_attention_heads": 64, "num_key_value_heads": 8, "vocab_size": 131072}, 70.6, 80 * 2 * 8 * 128 * 2),
    "exaone-4.0-32b": ({
        "model_type": "exaone4", "hidden_size": 5120, "intermediate_size": 27392, "num_hidden_layers": 64,
        "num_attention_heads": 40, "num_key_value_heads": 8, "vocab_size": 102400, "sliding_window": 4096,
        "sliding_window_pattern": "LLLG"}, 32.0, 64 * 2 * 8 * 128 * 2),
    "hunyuan-a13b": ({
        "model_type": "hunyuan_v1_moe", "hidden_size": 4096, "intermediate_size": 3072, "num_hidden_layers": 32,
        "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128167, "num_experts": 64,
        "moe_topk": [8] * 32, "moe_intermediate_size": [3072] * 32, "num_shared_expert": [1] * 32,
        "tie_word_embeddings": True}, 80.4, 32 * 2 * 8 * 128 * 2),
    "ernie-4.5-300b-a47b": ({
        "model_type": "ernie4_5_moe", "hidden_size": 8192, "intermediate_size": 28672, "num_hidden_layers": 54,
        "num_attention_heads": 64, "num_key_value_heads": 8, "vocab_size": 103424, "moe_num_experts": 64, "moe_k": 8,
        "moe_intermediate_size": 3584, "moe_layer_start_index": 3}, 300.0, 54 * 2 * 8 * 128 * 2),
}


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_configurations_beyond_the_catalogue_are_read_whole(name: str, tmp_path: Path) -> None:
    config, billions, cache_bytes = CONFIGURATIONS[name]
    (tmp_path / "config.json").write_text(json.dumps(config))
    found = plan({"model": str(tmp_path), "fleet": "16xb200-sxm", "serve": {"kv_precision": "bf16"}}).to_dict()
    assert found["model"]["parameters"]["value"] == pytest.approx(billions * 1e9, rel=0.01)
    assert found["serve"]["kv_bytes_per_token"]["value"] == cache_bytes


def test_layers_of_an_unknown_kind_are_not_attention_in_silence(tmp_path: Path) -> None:
    config = {"model_type": "lfm2", "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 4,
              "num_attention_heads": 16, "vocab_size": 65536, "layer_types": ["conv", "conv", "full_attention", "conv"]}
    (tmp_path / "config.json").write_text(json.dumps(config))
    found = plan({"model": str(tmp_path)}).to_dict()
    assert any("3 layers of this kind are not known; read as attention" in warning for warning in found["warnings"])


@pytest.mark.parametrize(("model", "engine", "precision", "asked"), [
    ("openai/gpt-oss-20b", "vllm", None, False), ("nvidia/Llama-3.3-70B-Instruct-FP4", "vllm", None, False),
    ("deepseek-v3", "tensorrt-llm", None, False), ("llama-3.1-8b", "vllm", "fp8", False),
    ("llama-3.1-8b", "tensorrt-llm", "fp8", True), ("llama-3.1-8b", "vllm", "nvfp4", True),
    ("gpt-oss-20b", "vllm", "bf16", True), ("llama-3.1-8b", "tensorrt-llm", "bf16", False),
])
def test_another_checkpoint_is_asked_for_only_where_this_one_will_not_do(
    model: str, engine: str, precision: str | None, asked: bool
) -> None:
    serve = {"engine": engine} | ({"precision": precision} if precision else {})
    line = plan({"model": model, "fleet": "8xb200-sxm", "site": "FR", "serve": serve}).to_dict()["serve"]["launch"]
    assert any(note.startswith("name a checkpoint published in") for note in line["notes"]) is asked


def test_a_wide_table_of_variants_keeps_what_differs(capsys: pytest.CaptureFixture[str]) -> None:
    from outlay.cli.shell import run

    load = ["--users", "500", "--in", "1000", "--out", "200"]
    varied = ["--vary", "tp=1,2", "--vary", "kv=bf16,fp8"]
    assert run(["serve", "llama-3.1-8b", "-g", "2xl40s", "-s", "FR", *load, *varied]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 100
    assert "The same in all" in out and "device-hours 17.5k" in out and "each token" in out


def test_a_loop_whose_prompts_queue_before_their_pool_is_saturated() -> None:
    pools = {"prefill": {"tensor": 2, "replicas": 2}, "decode": {"tensor": 4}}
    few, many = (plan({"model": "llama-3.1-70b", "fleet": "8xh200-sxm-141gb", "site": "FR", "serve": {
        "engine": "trtllm", "precision": "fp8", "disaggregated": pools,
        "workload": {"concurrency": inside, "input": 4096, "output": 512}}}).to_dict()["serve"] for inside in (8, 512))
    assert (few["saturated"], many["saturated"]) == (False, True)
    assert few["capacity_concurrency"] > 8 and many["capacity_concurrency"] < 100


LONE = {"model": "qwen3-8b", "fleet": "1xmi250x", "site": "FR"}  # kernels that were never measured


@pytest.mark.parametrize("concurrency", [1, 8])
def test_what_is_asked_beside_requests_moves_a_device_held_to_its_one_stream(concurrency: int) -> None:
    """Drafting, adapters and cached prefixes do to it what they do to a device whose kernels were measured."""
    def times(**serve: Any) -> tuple[float, float, float]:
        found = plan(LONE | {"serve": {"precision": "bf16", "tensor": 1, **serve, "workload": {
            "concurrency": concurrency, "input": 2048, "output": 128}}}, around=False).to_dict()["serve"]
        assert found["one_stream"]["tpot_s"]["value"] <= found["tpot_s"]["value"] * 1.001
        return found["ttft_s"]["value"], found["tpot_s"]["value"], found["capacity_requests_per_s"]["value"]

    plain = times()
    adapted, cached = times(adapters={"count": 16, "rank": 16}), times(prefix_cache_hit=0.8)
    assert adapted[0] > plain[0] and adapted[1] > plain[1] and adapted[2] < plain[2]
    assert cached[0] < plain[0] and cached[2] > plain[2]
    eager = times(enforce_eager=True)
    assert eager[1] > plain[1]
    drafted = [times(speculative={"method": "ngram", "tokens": 3, "acceptance": kept}) for kept in (0.3, 0.6, 0.9)]
    assert plain[1] > drafted[0][1] > drafted[1][1] > drafted[2][1]
    assert drafted[0][2] < drafted[1][2] < drafted[2][2]


@pytest.mark.parametrize("device", ["h100-sxm5-80gb", "h20-96gb"])
def test_one_request_alone_is_told_one_way(device: str) -> None:
    """The table of one stream and a loop of one; a prompt is launched by the same host whichever card is behind it."""
    found: Any = plan({"model": "qwen3-30b-a3b", "fleet": f"1x{device}", "site": "FR", "serve": {
        "precision": "fp8", "workload": {"concurrency": 1, "input": 64, "output": 128}}}, around=False)
    found = found.to_dict()["serve"]
    for name in ("ttft_s", "tpot_s", "e2e_s"):
        assert found["one_stream"][name]["value"] == pytest.approx(found[name]["value"], rel=0.01), name
    assert 0.02 < found["ttft_s"]["value"] < 0.1


@pytest.mark.parametrize("fleet", ["1xv100-sxm2-32gb", "1xtpu-v6e", "1xmi250x"])
def test_a_smaller_cache_or_a_shorter_context_is_not_read_more_slowly(fleet: str) -> None:
    def token_s(prompt: int, cache: str) -> float:
        found = plan({"model": "qwen2.5-7b", "fleet": fleet, "site": "FR", "serve": {
            "precision": "bf16", "kv_precision": cache, "workload": {"concurrency": 4, "input": prompt, "output": 60}}},
            around=False).to_dict()
        return float(found["serve"]["tpot_s"]["value"])

    lengths = [token_s(prompt, "bf16") for prompt in (20, 60, 200, 600, 2000)]
    assert all(a <= b * 1.002 for a, b in pairwise(lengths)), lengths
    for prompt, wide in zip((20, 200, 2000), lengths[::2], strict=True):
        assert token_s(prompt, "fp8") <= wide * 1.002


@pytest.mark.parametrize("concurrency", [1, 4])
def test_a_card_whose_kernels_are_borrowed_has_links_of_its_own(concurrency: int) -> None:
    """Two reductions a layer of every token pass through them, also of one request alone."""
    def token_s(link: str) -> float:
        fleet = {"device": "rtx-3090", "devices": 8, "devices_per_node": 8, "intra_node_bytes_per_s": link}
        found = plan({"model": "llama-3.1-8b", "fleet": fleet, "site": "FR", "serve": {
            "precision": "bf16", "tensor": 8, "max_model_len": 4096,
            "workload": {"concurrency": concurrency, "input": 512, "output": 64}}}, around=False).to_dict()
        return float(found["serve"]["tpot_s"]["value"])

    moved = 2.0 * 32 * 7 / 8 * concurrency * 4096 * 2
    assert token_s("0.1GB/s") - token_s("10GB/s") > moved / 0.1e9


@pytest.mark.parametrize("second", [
    "2024-05-10T01:00:02+02:00", "2024-05-09 18:00:02.000-05:00", "2024-05-09T23:00:02Z"])
def test_times_of_a_trace_are_of_their_zones(second: str, tmp_path: Path) -> None:
    """A clock that was put forward within a trace is no hour without requests."""
    (tmp_path / "own.csv").write_text(f"time,prompt,completion\n2024-05-10T00:00:00+01:00,100,20\n{second},100,20\n")
    found = plan({"model": "llama-3.1-8b", "fleet": "1xh100-sxm5-80gb", "site": "FR", "serve": {
        "workload": {"trace": str(tmp_path / "own.csv")}}}, around=False).to_dict()["serve"]
    assert found["rate"]["value"] == pytest.approx(0.5)
