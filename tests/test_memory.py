"""Training memory against published counts, and the properties every layout must keep."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from outlay.derive import uncertain
from outlay.physics import activations as act
from outlay.readers import architecture_from_mapping
from outlay.steps.inputs import Hardware, Layout, Recipe
from outlay.steps.train.memory import PARTS, train_memory

GIB = 2.0**30
HARDWARE = Hardware("b200-sxm", "nvidia", 2.25e15, 2.25e15, 192e9, 8e12, 8, 8, 8, 9e11, 5e10, 6e10, 2e12)
LLAMA_70B_12 = {"layers": 12, "hidden": 8192, "heads": 64, "kv_heads": 8, "ffn": 28672, "vocab": 128256}
LLAMA_8B = {"layers": 32, "hidden": 4096, "heads": 32, "kv_heads": 8, "ffn": 14336, "vocab": 128256}
GPT_22B = {
    "layers": 48,
    "hidden": 6144,
    "heads": 64,
    "ffn": 24576,
    "gated": False,
    "vocab": 51200,
    "positions": "learned",
    "max_positions": 2048,
    "tied_embeddings": True,
    "biases": "all",
    "norm": "layer",
}
DEEPSEEK = {
    "layers": 61,
    "hidden": 7168,
    "heads": 128,
    "ffn": 18432,
    "vocab": 129280,
    "experts": 256,
    "experts_per_token": 8,
    "expert_ffn": 2048,
    "shared_expert_ffn": 2048,
    "dense_layers": 3,
    "mtp_layers": 1,
    "mla": {
        "kv_lora_rank": 512,
        "q_lora_rank": 1536,
        "qk_rope_head_dim": 64,
        "qk_nope_head_dim": 128,
        "v_head_dim": 128,
    },
}


def shape(fields: dict[str, Any]) -> Any:
    return architecture_from_mapping(fields)[0]


def megatron(**changes: Any) -> Recipe:
    return Recipe(**{"sequence_length": 4096, "global_batch": 64, "fused_cross_entropy": True, **changes})


# SimuMax docs/b200/b200_release_v1.2_summary.md (commit 4dcaae5): peak allocated GiB of Megatron-LM on 8 B200
@pytest.mark.parametrize(
    ("tensor", "pipeline", "data", "context", "sequence", "measured_gib"),
    [
        (2, 1, 4, 1, 4096, 60.68),
        (8, 1, 1, 1, 4096, 28.29),
        (1, 2, 4, 1, 4096, 66.55),
        (1, 1, 1, 8, 131072, 147.99),
    ],
)
def test_llama_70b_slice_on_megatron(
    tensor: int, pipeline: int, data: int, context: int, sequence: int, measured_gib: float
) -> None:
    layout = Layout(
        tensor=tensor,
        pipeline=pipeline,
        data=data,
        context=context,
        shard=data,
        zero=1,
        sequence_parallel=tensor > 1,
    )
    recipe = megatron(sequence_length=sequence, global_batch=4 * data)
    found = train_memory(shape(LLAMA_70B_12), HARDWARE, recipe, layout).fullest.memory_allocated_bytes
    assert float(found) / GIB == pytest.approx(measured_gib, rel=0.01)


# pytorch/torchtitan benchmarks/llama3_h100_202412_torchtitan.md (commit b5bcd76c6): peak reserved GiB
@pytest.mark.parametrize(
    ("devices", "compiled", "measured_gib"), [(8, False, 82.4), (8, True, 77.0), (128, False, 67.0)]
)
def test_llama_8b_on_torchtitan(devices: int, compiled: bool, measured_gib: float) -> None:
    recipe = Recipe(
        8192,
        2 * devices,
        framework="torchtitan",
        compile=compiled,
        weight_bytes=4.0,
        gradient_bytes=4.0,
        master_bytes=0.0,
    )
    layout = Layout(data=devices, shard=devices, micro_batch=2, zero=3, recompute="selective")
    found = train_memory(shape(LLAMA_8B), HARDWARE, recipe, layout).fullest.memory_reserved_bytes
    assert float(found) / GIB == pytest.approx(measured_gib, rel=0.03)


# Korthikanti et al. 2022 (arXiv:2205.05198), figure 1: activations of 22B at tensor 8, as transcribed by Calculon
@pytest.mark.parametrize(("selective", "measured_gib"), [(False, 59.25), (True, 9.5625)])
def test_korthikanti_activations(selective: bool, measured_gib: float) -> None:
    layout = Layout(
        tensor=8, micro_batch=4, sequence_parallel=selective, recompute="selective" if selective else "none"
    )
    recipe = Recipe(2048, 4, precision="fp16", attention="unfused")
    parts = train_memory(shape(GPT_22B), HARDWARE, recipe, layout).parts
    assert float(parts["activations"]) / GIB == pytest.approx(measured_gib, rel=0.01)


def test_korthikanti_closed_form() -> None:
    """sbh(34 + 5as/h) bytes a layer with fp16, dropout and unfused attention."""
    s, h, a = 2048, 12288, 96
    counted = (
        2 * act.norm_saved_bytes(s, h)
        + act.attention_saved_bytes(s, h, 2 * h, h, a, 1, fused=False)
        + act.unfused_scores_bytes(s, s, a, 1)
        + act.mlp_saved_bytes(s, 4 * h, False, 1)
        + act.dropout_masks_bytes(s, h)
    )
    assert float(counted) == pytest.approx(s * h * (34 + 5 * a * s / h))


def test_zero_stages_shard_states() -> None:
    """ZeRO (arXiv:1910.02054) figure 1: 16 bytes a parameter; stage 3 divides all of them."""
    arch = shape(LLAMA_8B)
    recipe = Recipe(2048, 64, framework="deepspeed", gradient_bytes=2.0)
    states = []
    for zero in range(4):
        parts = train_memory(arch, HARDWARE, recipe, Layout(data=64, shard=64, zero=zero)).parts
        states.append(float(parts["weights"] + parts["gradients"] + parts["optimizer"]) / arch.parameters)
    assert states == pytest.approx([16.0, 4 + 12 / 64, 2 + 14 / 64, 16 / 64], rel=1e-3)


def rows_of(draw: Any, mixture: bool) -> dict[str, float]:
    def power(top: int) -> float:
        return float(2 ** draw(st.integers(0, top)))

    tensor, context, data = power(3), power(2), power(6)
    expert = min(power(5), tensor * context * data) if mixture else 1.0
    return {
        "tensor": tensor,
        "pipeline": power(4),
        "data": data,
        "shard": data,
        "context": context,
        "expert": expert,
        "virtual_pipeline": power(1),
        "micro_batch": power(2),
    }


@settings(max_examples=25, deadline=None)
@given(
    data=st.data(),
    mixture=st.booleans(),
    zero=st.sampled_from((0, 1, 3)),
    recompute=st.sampled_from(("none", "selective", "full")),
)
def test_a_search_row_equals_the_scalar_plan(data: Any, mixture: bool, zero: int, recompute: str) -> None:
    arch, recipe = shape(DEEPSEEK if mixture else LLAMA_8B), megatron(global_batch=512)
    rows = [rows_of(data.draw, mixture) for _ in range(3)]
    fixed: dict[str, Any] = {
        "sequence_parallel": True,
        "zero": zero,
        "recompute": recompute,
        "schedule": "interleaved",
    }
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    together = train_memory(arch, HARDWARE, recipe, Layout(**columns, **fixed))
    for i, row in enumerate(rows):
        alone = train_memory(arch, HARDWARE, recipe, Layout(**row, **fixed))
        assert together.memory_per_device_bytes[i] == pytest.approx(float(alone.memory_per_device_bytes))
        assert sum(float(v) for v in alone.parts.values()) == pytest.approx(
            float(alone.memory_per_device_bytes)
        )
        assert min(float(v) for v in alone.parts.values()) >= 0
    assert sum(together.parts[p] for p in PARTS) == pytest.approx(together.memory_per_device_bytes)


@settings(max_examples=25, deadline=None)
@given(data=st.data(), mixture=st.booleans())
def test_more_recomputation_and_sharding_never_take_more(data: Any, mixture: bool) -> None:
    arch, recipe = shape(DEEPSEEK if mixture else LLAMA_8B), megatron(global_batch=4096)
    layout = Layout(**rows_of(data.draw, mixture), sequence_parallel=True)

    def allocated(**changes: Any) -> float:
        return float(train_memory(arch, HARDWARE, recipe, replace(layout, **changes)).memory_per_device_bytes)

    assert allocated(zero=1) <= allocated(zero=0) * (1 + 1e-12)
    kept = [
        train_memory(arch, HARDWARE, recipe, replace(layout, recompute=r)).stages[0].one
        for r in ("none", "selective", "full")
    ]
    assert kept[0] >= kept[1] >= kept[2]


def test_draws_and_lineage_come_through() -> None:
    recipe = megatron(
        options={
            "memory_constants": {
                "fragmentation_fraction": uncertain(0.05, 0.02, 0.1, "ratio", "fragmentation")
            }
        }
    )
    plan = train_memory(
        shape(LLAMA_8B), HARDWARE, recipe, Layout(tensor=4, pipeline=2, sequence_parallel=True)
    )
    total = plan.memory_per_device_bytes
    assert total.low < total.value < total.high
    assert plan.fullest.memory_peak_moment == "backward"


def test_stages_hold_every_parameter_once() -> None:
    """But for the embedding, which the prediction layer needs again on the last stage."""
    arch = shape(DEEPSEEK)
    plan = train_memory(arch, HARDWARE, megatron(), Layout(pipeline=16))
    held = sum(float(stage.states.weights) for stage in plan.stages) / 2
    assert len(plan.stages) == 16
    assert held == pytest.approx(arch.parameters + arch.mtp_parameters + 129280 * 7168, rel=1e-6)


def test_offload_moves_states_to_the_host() -> None:
    arch, layout = shape(LLAMA_8B), Layout(data=8, shard=8, zero=1)
    kept = train_memory(arch, HARDWARE, megatron(), layout)
    moved = train_memory(arch, HARDWARE, megatron(offload="optimizer"), layout)
    gone = float(kept.memory_per_device_bytes - moved.memory_per_device_bytes)
    assert gone == pytest.approx(12 * 8.03e9 / 8 * 1.05, rel=1e-3)
    assert moved.host_memory_bytes - kept.host_memory_bytes == pytest.approx(12 * 8.03e9, rel=1e-3)
