"""Layers that multiply alike are worked out once, and their products told once for any number of tokens."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from outlay.architecture import Architecture, LayerKind
from outlay.catalog import load
from outlay.physics.roofline import matmul_time_s
from outlay.resolve.serve.time import time_device
from outlay.steps.layers import Split, mixer_shapes, mlp_shapes
from outlay.steps.serve.attention import index_shapes
from outlay.steps.serve.inputs import ServeLayout, part_names
from outlay.steps.serve.time_products import READ_SHARE, own_products, small_grid, taken

KINDS = (
    LayerKind(heads=16, kv_heads=4, head_dim=64, ffn=4096, q_lora_rank=256, o_groups=2, o_lora_rank=64,
              indexer_heads=4, indexer_head_dim=32, indexer_topk=128),
    LayerKind(mixer="mla", heads=16, head_dim=96, v_head_dim=64, kv_lora_rank=128, q_lora_rank=256,
              qk_rope_head_dim=32, mlp="moe", experts=8, experts_per_token=2, expert_ffn=512, shared_ffn=1024,
              expert_hidden=128),
    LayerKind(mixer="gdn", heads=16, head_dim=64, state=64, groups=8, conv=4, ffn=4096),
    LayerKind(mixer="mamba2", heads=16, head_dim=64, state=64, groups=8, conv=4, ffn=4096),
    LayerKind(mixer="none", mlp="dense", ffn=4096),
)


def shapes(kind: LayerKind, tensor: float) -> tuple[Any, ...]:
    split = Split(48.0, tensor, 1.0, 1.0, 1.0, False)
    return ((*mixer_shapes(kind, 1024, split), *index_shapes(kind, 1024, 48.0)), mlp_shapes(kind, 1024, split),
            part_names(kind))


def model(*runs: tuple[LayerKind, int]) -> Architecture:
    return Architecture("some", 1024, 32000, runs, False, 0, 0)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.mixer)
@pytest.mark.parametrize("field", LayerKind.__struct_fields__)
def test_layers_that_multiply_otherwise_stand_apart(kind: LayerKind, field: str) -> None:
    value = getattr(kind, field)
    others: dict[str, tuple[Any, ...]] = {"mixer": ("attention", "mla", "mamba1", "gdn", "none"),
                                          "mlp": ("dense", "moe", "none"), "output_gate": ("channel", "head")}
    changed = others.get(field, (not value,) if isinstance(value, bool) else
                         (value + 8,) if isinstance(value, int) else ())
    for each in changed:
        other = replace(kind, **{field: each})
        found = model((kind, 3), (other, 2))
        ours, theirs = ([shapes(one, tensor) for tensor in (1.0, 8.0)] for one in (kind, other))
        if any(a[0] != b[0] or a[2][0] != b[2][0] for a, b in zip(ours, theirs, strict=True)):
            assert len(found.mixer_groups) == 2
        if any(a[1] != b[1] or a[2][1] != b[2][1] for a, b in zip(ours, theirs, strict=True)):
            assert len(found.mlp_groups) == 2
        assert sum(count for _, count in found.mixer_groups) == sum(count for _, count in found.mlp_groups) == 5


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.mixer)
@pytest.mark.parametrize("rows", [1.0, 48.0, 5000.0])
def test_products_are_those_of_the_shapes(kind: LayerKind, rows: float) -> None:
    """Beside the rooflines of the same shapes, one layer and one precision at a time."""
    device = time_device(load().find("device", "h100-sxm5-80gb"))
    parts = dict.fromkeys(("attention", "latent", "mixer", "mlp", "shared", "experts", "head"), 2.0)
    products = own_products(model((kind, 3)), device, parts, ServeLayout(4.0))
    flow, least, work, floor = taken(products.layers, device, rows)
    split = Split(rows, 4.0, 1.0, 1.0, 1.0, False)
    mixing = (*mixer_shapes(kind, 1024, split), *index_shapes(kind, 1024, rows))
    jobs = [job for job in (mixing, mlp_shapes(kind, 1024, split)) if job]
    grid, peak, rate = small_grid(2.0, device), device.peaks["bf16"], device.memory_bytes_per_s
    moved = [sum(count * ((m * k + n * k) * 2.0 + m * n * out) for m, n, k, count, out in job) for job in jobs]
    flop = [sum(2.0 * m * n * k * count for m, n, k, count, _ in job) for job in jobs]
    whole = [matmul_time_s(job, 2.0, peak, rate, np.inf, grid, 1.0, 0.0) for job in jobs]
    assert least * READ_SHARE == pytest.approx(3 * sum(moved) / rate, rel=1e-12)
    read_share, reached = 3 * sum(moved) / rate / flow, 3 * sum(flop) / work
    assert 0.3 < read_share < 1.0 and 0.3 * peak < reached < peak
    beyond = [max(t - max(b / rate / read_share, f / reached), 0.0) for t, b, f in zip(whole, moved, flop, strict=True)]
    assert floor == pytest.approx(3 * sum(beyond), rel=1e-9, abs=1e-15)
    many = taken(products.layers, device, np.array([rows, 2.0]))
    assert [each[0] for each in many] == pytest.approx([flow, least, work, floor], rel=1e-12)
