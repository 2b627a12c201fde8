"""Every enumerated layout keeps the rules; every impossible one names its field and the nearest."""

from __future__ import annotations

from pathlib import Path
from runpy import run_path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outlay.errors import Inconsistent
from outlay.planner.layouts.errors import require_layouts
from outlay.planner.layouts.space import Space, layout_space
from outlay.planner.pretrain.scaling import strong_scaling
from outlay.steps.inputs import Layout

support = SimpleNamespace(**run_path(str(Path(__file__).with_name("layouts_support.py"))))

LAYERS, HEADS, BATCH, SEQUENCE = 32, 32, 256, 4096


def broken_rules(space: Space, devices: int, experts: int) -> list[str]:
    broken = []
    for block in space:
        c = {name: column.astype(np.int64) for name, column in block.columns.items()}
        world = c["tensor"] * c["context"] * c["data"]
        chunks = c["virtual_pipeline"]
        rules = {
            "devices": world * c["pipeline"] == devices,
            "experts": world % (c["expert"] * c["expert_tensor"]) == 0,
            "expert": experts % c["expert"] == 0,
            "heads": HEADS % c["tensor"] == 0,
            "layers": c["pipeline"] <= LAYERS,
            "batch": BATCH % (c["data"] * c["micro_batch"]) == 0,
            "shard": c["data"] % c["shard"] == 0,
            "sequence": SEQUENCE % c["context"] == 0,
            "chunks": (chunks == 1) | (c["pipeline"] > 1),
            "interleaved": [(v > 1) == (block.schedule_of(i) == "interleaved") for i, v in enumerate(chunks)],
            "multiples": (chunks == 1) | (BATCH // (c["data"] * c["micro_batch"]) % c["pipeline"] == 0),
            "sequence_parallel": (c["tensor"] > 1) | (not block.sequence_parallel),
            "zero": (c["shard"] == 1) | (block.zero > 0),
        }
        broken += [name for name, kept in rules.items() if not np.all(kept)]
    return broken


@settings(max_examples=25, deadline=None)
@given(devices=st.sampled_from([1, 6, 8, 16, 24, 48, 64, 128]), experts=st.sampled_from([1, 64]),
       framework=st.sampled_from(["megatron", "torchtitan", "deepspeed", "fsdp", "maxtext"]))
def test_every_layout_keeps_the_rules(devices: int, experts: int, framework: str) -> None:
    arch = support.dense(LAYERS) if experts == 1 else support.mixture(LAYERS, experts)
    space = layout_space(arch, support.fleet(devices), support.recipe(SEQUENCE, BATCH, framework=framework))
    assert len(space) > 0 or devices == 6 or framework == "fsdp"
    assert broken_rules(space, devices, experts) == []


def test_no_layout_twice() -> None:
    space = layout_space(support.mixture(), support.fleet(64), support.recipe())
    rows = set()
    for block in space:
        names = sorted(block.columns)
        for row in zip(*(block.columns[name].tolist() for name in names), strict=True):
            rows.add((block.zero, block.schedule, block.recompute, block.sequence_parallel, *row))
    assert len(rows) == len(space)


def test_given_fields_are_held() -> None:
    given_fields = {"tensor": 4, "zero": 1, "recompute": "full", "micro_batch": 2}
    for block in layout_space(support.dense(), support.fleet(64), support.recipe(), given_fields):
        assert (block.zero, block.recompute) == (1, "full")
        assert set(block.columns["tensor"]) | set(block.columns["micro_batch"]) <= {4, 2}


def test_published_uneven_stages_are_in_the_space() -> None:
    """Llama 3 405B: 126 layers on 16 stages, the ends one layer short (arXiv:2407.21783, section 3.3.2)."""
    given_fields = {"tensor": 8, "pipeline": 16, "context": 1, "data": 128, "micro_batch": 1}
    arch = support.dense(126, 16384, 128, 8, 53248)
    assert len(layout_space(arch, support.fleet(16384), support.recipe(8192, 2048), given_fields)) > 0


@pytest.mark.parametrize(("given_fields", "field", "words"), [
    ({"tensor": 6}, "tensor", "6 does not divide 32 heads; nearest are 4 and 8"),
    ({"tensor": 8, "pipeline": 4, "context": 1, "data": 3}, "data", "nearest is 2"),
    ({"tensor": 8, "pipeline": 3}, "pipeline", "nearest are 2 and 4"),
    ({"pipeline": 64}, "pipeline", "more than the 32 layers; nearest is 32"),
    ({"context": 3}, "context", "nearest are 2 and 4"),
    ({"expert": 2}, "expert", "needs a mixture of experts"),
    ({"expert_tensor": 2}, "expert_tensor", "needs a mixture of experts"),
    ({"zero": 0, "shard": 4}, "shard", "needs ZeRO 1 or more"),
    ({"micro_batch": 3}, "micro_batch", "nearest are 2 and 4"),
    ({"virtual_pipeline": 2, "pipeline": 1}, "virtual_pipeline", "needs pipeline above 1"),
    ({"virtual_pipeline": 2, "pipeline": 2, "schedule": "1f1b"}, "virtual_pipeline", "1f1b"),
    ({"tensor": 1, "pipeline": 1, "context": 1, "data": 64, "micro_batch": 8}, "micro_batch", "nearest is 4"),
    ({"data": 8, "shard": 3}, "shard", "nearest are 2 and 4"),
])
def test_impossible_layouts_name_field_and_nearest(given_fields: dict[str, Any], field: str,
                                                   words: str) -> None:
    with pytest.raises(Inconsistent) as caught:
        require_layouts(support.dense(LAYERS), support.fleet(64), support.recipe(), given_fields)
    assert caught.value.field == f"pretrain.layout.{field}"
    assert words in caught.value.message


def test_batch_that_no_layout_can_share_names_the_batch() -> None:
    plain = support.recipe(SEQUENCE, 7, framework="fsdp")
    with pytest.raises(Inconsistent) as caught:
        require_layouts(support.dense(), support.fleet(64), plain, {"tensor": 1, "pipeline": 1, "context": 1})
    assert caught.value.field == "pretrain.global_batch"
    assert "64" in caught.value.message


def test_strong_scaling_keeps_sizes_that_cannot_work() -> None:
    def plan_on(devices: int) -> tuple[float, float, Layout] | None:
        return None if devices < 32 else (64.0 / devices + 0.1, 6400.0 / devices + 10.0, Layout(data=devices))

    rows = strong_scaling(64, 8, plan_on)
    assert [row.devices for row in rows] == [16, 32, 64, 128, 256]
    assert rows[0].why == "does not fit" and rows[2].efficiency == 1.0
    assert rows[1].efficiency is not None and rows[1].efficiency > 1.0
    assert rows[4].device_hours == pytest.approx(256 * 35.0 / 3600)
