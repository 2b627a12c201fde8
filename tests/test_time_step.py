"""The training step: parts add up, rows equal the scalar plan, draws flow through, directions are right."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from outlay.architecture import Architecture
from outlay.catalog import load
from outlay.derive import Quantity, uncertain
from outlay.readers import architecture_from_mapping
from outlay.resolve.efficiency import efficiency_of
from outlay.steps.efficiency import Efficiency
from outlay.steps.inputs import Hardware, Layout, Recipe
from outlay.steps.train.memory import train_memory
from outlay.steps.train.time import PARTS, train_time

LLAMA_70B = {
    "layers": 80,
    "hidden": 8192,
    "heads": 64,
    "kv_heads": 8,
    "ffn": 28672,
    "gated": True,
    "vocab": 128256,
}
MIXTURE = {
    "layers": 24,
    "hidden": 2048,
    "heads": 32,
    "kv_heads": 4,
    "head_dim": 128,
    "ffn": 6144,
    "gated": True,
    "vocab": 151936,
    "experts": 64,
    "experts_per_token": 8,
    "expert_ffn": 768,
    "dense_layers": 1,
}


def architecture(fields: dict[str, Any]) -> Architecture:
    return architecture_from_mapping(fields, "test")[0]


def nominal(efficiency: Efficiency) -> Efficiency:
    constants: dict[Any, Any] = dict(efficiency.constants)
    return efficiency.with_constants({key: float(value) for key, value in constants.items()})


def hardware(devices: int = 512, plain: bool = True, **more: Any) -> Hardware:
    catalog = load()
    device = catalog.find("device", "h100-sxm5-80gb", "fleet.device")
    efficiency = efficiency_of(catalog, device)
    numbers: dict[str, Any] = {
        "peak_flop_per_s": 989.4e12,
        "peak_flop_per_s_16bit": 989.4e12,
        "memory_bytes": 85e9,
        "memory_bytes_per_s": 3.352e12,
        "fast_bytes_per_s": 450e9,
        "slow_bytes_per_s": 50e9,
        "host_link_bytes_per_s": 63e9,
        "host_memory_bytes": 2e12,
        "power_w": 700.0,
    }
    return Hardware(
        device="h100",
        vendor="nvidia",
        devices=devices,
        devices_per_node=8,
        scale_up_devices=8,
        efficiency=nominal(efficiency) if plain else efficiency,
        **{**numbers, **more},
    )


RECIPE = Recipe(4096, 1024, fused_cross_entropy=True)
LAYOUT = Layout(8, 4, 16, zero=1, sequence_parallel=True)


def test_parts_add_up() -> None:
    for fields in (LLAMA_70B, MIXTURE):
        times = train_time(architecture(fields), hardware(), RECIPE, LAYOUT)
        assert sum(float(times[name]) for name in PARTS) == pytest.approx(float(times["step_time_s"]))
        assert all(float(times[name]) >= 0 for name in PARTS)


@pytest.mark.parametrize("fields", [LLAMA_70B, MIXTURE])
@pytest.mark.parametrize("zero,recompute", [(1, "none"), (3, "full"), (0, "selective")])
def test_a_row_equals_the_scalar_plan(fields: dict[str, Any], zero: int, recompute: str) -> None:
    rng = np.random.default_rng(1)
    rows = 40
    tensor, pipeline = 2.0 ** rng.integers(0, 4, rows), 2.0 ** rng.integers(0, 3, rows)
    micro = 2.0 ** rng.integers(0, 2, rows)
    data = 512 / (tensor * pipeline)
    expert = np.where(rng.random(rows) < 0.5, 8.0, 1.0) if "experts" in fields else np.ones(rows)
    many = {"tensor": tensor, "pipeline": pipeline, "data": data, "micro_batch": micro, "expert": expert}
    fixed: dict[str, Any] = {"zero": zero, "recompute": recompute, "sequence_parallel": True}
    arch, hw = architecture(fields), hardware()
    array = train_time(arch, hw, RECIPE, Layout(**many, **fixed))
    for i in range(rows):
        one = train_time(arch, hw, RECIPE, Layout(**{k: float(v[i]) for k, v in many.items()}, **fixed))
        for name in ("step_time_s", *PARTS):
            assert np.broadcast_to(array[name], rows)[i] == pytest.approx(float(one[name]), rel=1e-9), name


def test_quantities_keep_draws_and_nominal() -> None:
    arch = architecture(LLAMA_70B)
    plain = train_time(arch, hardware(), RECIPE, LAYOUT)["step_time_s"]
    uncertain_bandwidth = uncertain(50e9, 30e9, 60e9, "B/s", "between nodes")
    hw = hardware(plain=False, slow_bytes_per_s=uncertain_bandwidth)
    found = train_time(arch, hw, RECIPE, LAYOUT)["step_time_s"]
    assert isinstance(found, Quantity)
    assert found.value == pytest.approx(float(plain))
    assert found.low < found.value < found.high


def test_directions() -> None:
    arch = architecture(LLAMA_70B)

    def step(layout: Layout = LAYOUT, recipe: Recipe = RECIPE, **hw: Any) -> float:
        return float(train_time(arch, hardware(**hw), recipe, layout)["step_time_s"])

    base = step()
    assert step(slow_bytes_per_s=100e9) <= base
    assert step(memory_bytes_per_s=6e12) <= base
    assert step(power_limit_ratio=0.6) > base
    selective = step(msgspec.structs.replace(LAYOUT, recompute="selective"))
    assert step(msgspec.structs.replace(LAYOUT, recompute="full")) > selective > base
    assert step(msgspec.structs.replace(LAYOUT, virtual_pipeline=5)) < base
    assert step(msgspec.structs.replace(LAYOUT, schedule="zero_bubble")) < base
    assert step(recipe=msgspec.structs.replace(RECIPE, attention="unfused")) > base
    long = msgspec.structs.replace(RECIPE, sequence_length=16384)  # enough work not to wait for the host
    low = msgspec.structs.replace(long, precision="fp8")
    assert step(recipe=low, peak_flop_per_s=1978.9e12) < step(recipe=long)


def test_llama_70b_fp8_on_64_h100_takes_the_published_time() -> None:
    """Megatron-Bridge performance summary: 64 H100, FP8, TP4 PP8 VP5, batch 128: 10.2 s a step."""
    hw = hardware(64, peak_flop_per_s=1978.9e12)
    layout = Layout(4, 8, 2, virtual_pipeline=5, zero=1, sequence_parallel=True)
    recipe = Recipe(8192, 128, precision="fp8", fused_cross_entropy=True)
    times = train_time(architecture(LLAMA_70B), hw, recipe, layout)
    assert float(times["step_time_s"]) == pytest.approx(10.2, rel=0.15)


def test_dualpipe_hides_the_exchange_and_keeps_two_copies() -> None:
    arch, layout = architecture(MIXTURE), Layout(pipeline=4, data=128, expert=32, zero=1, recompute="full")
    both = msgspec.structs.replace(layout, schedule="dualpipe")
    recipe = Recipe(4096, 4096)
    plain, dual = (train_time(arch, hardware(), recipe, one) for one in (layout, both))
    assert plain["expert_comm_s"] > 0 == dual["expert_comm_s"]
    assert dual["pipeline_bubble_s"] < plain["pipeline_bubble_s"]
    once, twice = (train_memory(arch, hardware(), recipe, one).fullest for one in (layout, both))
    assert twice.states.weights == 2 * once.states.weights
    assert twice.states.optimizer == once.states.optimizer


def test_weights_on_the_host_pass_its_link_every_micro_batch() -> None:
    arch, layout = architecture(LLAMA_70B), Layout(tensor=8, pipeline=4, data=16, zero=1)
    states, weights = (train_time(arch, hardware(host_link_bytes_per_s=8e9), Recipe(8192, 256, offload=kind), layout)
                       for kind in ("optimizer", "all"))
    assert weights["step_time_s"] > 1.01 * states["step_time_s"]


def test_fp32_runs_at_its_own_peak_with_elements_twice_as_wide() -> None:
    arch, layout = architecture(LLAMA_70B), Layout(tensor=8, pipeline=4, data=16)
    half = train_time(arch, hardware(), Recipe(8192, 256), layout)
    single = train_time(arch, hardware(peak_flop_per_s=494.7e12), Recipe(8192, 256, precision="fp32"), layout)
    assert 1.4 < single["forward_s"] / half["forward_s"] <= 2.0  # both limits are half as high, less gaps
    assert single["tensor_comm_s"] > 1.5 * half["tensor_comm_s"]
