"""Experts of a serving step: ranks that wait for one another, copies, and weights that are widened on the way."""

from __future__ import annotations

import numpy as np
import pytest
from msgspec.structs import replace

from outlay.architecture import LayerKind
from outlay.catalog import load
from outlay.physics.queueing import busiest_touched
from outlay.readers import architecture_from_mapping
from outlay.resolve import resolve
from outlay.resolve.serve.time import time_constants, time_device
from outlay.scenario_io import scenario_from
from outlay.steps.serve.inputs import ServeLayout
from outlay.steps.serve.time import serve_time
from outlay.steps.serve.time_inputs import EngineTime, Load
from outlay.steps.serve.time_step import exchange_s, expert_s

MIXED = architecture_from_mapping(
    {"layers": 36, "hidden": 2880, "heads": 64, "kv_heads": 8, "head_dim": 64, "gated": True, "vocab": 201088,
     "experts": 128, "experts_per_token": 4, "expert_ffn": 2880, "ffn": 2880}, "moe-120b")[0]
PARTS = ("embedding", "head", "attention", "latent", "mixer", "mlp", "experts", "shared", "router")
KIND = next(kind for kind, _ in MIXED.groups)


def test_experts_on_ranks_wait_for_the_busiest() -> None:
    """Of a layer's experts cut over ranks by number the busiest rank reads more than its part."""
    assert busiest_touched(64.0, 256.0, 8.0) > 64.0 / 8.0
    assert busiest_touched(256.0, 256.0, 8.0) == pytest.approx(32.0)  # all of them are read anyway


@pytest.mark.parametrize("hidden, ffn, tensor, by_tensor_s, by_block_s", [
    (2048, 768, 1, 1.10e-3, 2.22e-3), (4096, 1536, 1, 2.66e-3, 5.37e-3), (4096, 1536, 2, 1.77e-3, 3.88e-3),
])
def test_kernels_timed_alone_are_met(hidden: int, ffn: int, tensor: int, by_tensor_s: float, by_block_s: float) -> None:
    """8,192 tokens in 8 bits on H200, eight of 128 experts (aiconfigurator-core 0.12.0, trtllm 1.3.0rc20, skewed).

    Between weights scaled by tensor and by block, which a plan is not told apart; arithmetic and reading alone would be
    faster than either. A fixed part of a call is the engine's and left out.
    """
    device = time_device(load().find("device", "h200-sxm-141gb", ""))
    kind = LayerKind(mlp="moe", experts=128, experts_per_token=8, expert_ffn=ffn)
    read, work, copied = expert_s(kind, replace(MIXED, hidden=hidden), device, 1.0, ServeLayout(tensor), 8192.0, 0.8)
    assert by_tensor_s < np.maximum(read, 1.1 * work) + copied < by_block_s
    assert np.maximum(read, 1.1 * work) < by_tensor_s


def test_copies_are_not_cut_with_the_width_of_experts() -> None:
    """Eight tensor ranks each hold every token's copies: more than an eighth of one rank's time remains."""
    device = time_device(load().find("device", "h200-sxm-141gb", ""))
    whole, cut = (expert_s(KIND, MIXED, device, 1.0, ServeLayout(ranks), 4096.0, 0.8) for ranks in (1.0, 8.0))
    assert cut[1] == pytest.approx(whole[1] / 8.0)
    assert cut[2] > 0.4 * whole[2]


def test_few_attention_ranks_hand_all_tokens_to_all() -> None:
    """Up to eight ranks gather all tokens and scatter sums; wider groups send a token to its experts' ranks alone."""
    device = time_device(load().find("device", "gb200", ""))
    near, far = (float(exchange_s(KIND, 2880, device, ServeLayout(1.0, data=ranks, expert=ranks), 4096.0, 0.0))
                 for ranks in (8.0, 16.0))
    assert near > far


def test_weights_of_four_bits_take_longer_where_they_are_widened() -> None:
    """Only where experts' arithmetic bounds, and only on devices without arithmetic as narrow."""
    work = Load("queued", 1024.0, 256.0, cache_tokens=2e6)

    def rate(name: str, widened: float) -> float:
        device = time_device(load().find("device", name, ""))
        own = EngineTime(dict.fromkeys(PARTS, 0.53) | {"head": 2.0}, 2.0, time_constants("vllm", device.generation),
                         8192.0, 1024.0, widened=widened)
        return float(serve_time(MIXED, device, own, ServeLayout(1.0), work)["output_tokens_per_s"])

    assert rate("h200-sxm-141gb", 2.0) < 0.9 * rate("h200-sxm-141gb", 1.0)
    assert rate("b200-sxm", 2.0) == rate("b200-sxm", 1.0)


@pytest.mark.parametrize(("device", "widened"), [
    ("h100-sxm5-80gb", 2.3), ("a100-sxm4-80gb", 2.3), ("l40s", 1.2), ("rtx-4090", 1.2)])
def test_kernels_that_widen_are_slow_beside_warp_group_arithmetic(device: str, widened: float) -> None:
    """Cards of GDDR have none, so plain kernels gain nothing by it (moe_perf tables of L40S and RTX PRO 6000)."""
    serve = {"precision": "awq-int4", "max_model_len": 4096, "workload": {"concurrency": 8}}
    found = resolve(scenario_from({"model": "qwen3-30b-a3b", "fleet": f"1x{device}", "serve": serve}), load()).serve
    assert found is not None and found.speed.engine.widened == widened


def test_boards_of_four_share_a_third_of_their_links_by_pair() -> None:
    """H100 boards of four have no switch: 6 of 18 links join two (systems of MLPerf inference v4.1 submissions)."""
    card = load().find("device", "h100-sxm5-80gb", "")
    four, eight = (time_device(card, host=devices) for devices in (4, 8))
    assert four.reduce.bytes_per_s[0] == pytest.approx(eight.reduce.bytes_per_s[0] / 3.0)
    assert four.reduce.bytes_per_s[1] == eight.reduce.bytes_per_s[1]  # of four devices all links are used


def test_ages_of_engines_take_longer() -> None:
    """vLLM before 0.6 on every sequence, TensorRT-LLM of 2024 on experts alone; a device left out has its own."""
    now, old = (time_constants(name, "hopper") for name in ("vllm", "vllm@0.4"))
    assert old["sequence_s"] - now["sequence_s"] > 2e-5
    for without in ("", "serve-time/device/h100-sxm5-80gb"):
        now, old = (time_constants(name, "hopper", without=without) for name in ("tensorrt-llm", "tensorrt-llm@0.11"))
        assert old["expert_work"] > 1.1 * now["expert_work"] and old["work"] == now["work"]
