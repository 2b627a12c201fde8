"""Many configurations at once: worked on in blocks that a core's cache holds, each answered as it is alone."""

from __future__ import annotations

import numpy as np
import pytest
from msgspec.structs import replace

from outlay.catalog import load
from outlay.resolve import resolve
from outlay.resolve.serve.time import time_constants, time_device
from outlay.scenario_io import scenario_from
from outlay.steps.serve import time as model
from outlay.steps.serve.inputs import ServeLayout
from outlay.steps.serve.time_inputs import EngineTime, Load


@pytest.mark.parametrize("name", ["llama-3.1-8b", "gpt-oss-20b", "deepseek-v3"])
def test_blocks_answer_as_one_and_as_alone(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    catalog = load()
    device = time_device(catalog.find("device", "h100-sxm5-80gb"))
    resolved = resolve(scenario_from({"model": name, "fleet": "16xh100-sxm5-80gb", "serve": {"tensor": 8}}), catalog)
    assert resolved.serve is not None and resolved.architecture is not None
    parts = {part: float(getattr(v, "value", v)) for part, v in resolved.serve.recipe.part_bytes.items()}
    draw = np.random.default_rng(0)
    engine = EngineTime(parts, 2.0, time_constants("sglang", device.generation), holds=((8.0, 4.0),))
    layout = ServeLayout(2.0 ** draw.integers(0, 4, 64))
    load_ = Load("closed", draw.uniform(64, 8192, 64), draw.uniform(64, 2048, 64), draw.uniform(1, 512, 64))
    calls: list[int] = []
    closed = model.closed

    def counted(*args: object) -> object:
        calls.append(1)
        return closed(*args)  # type: ignore[arg-type]

    whole = model.serve_time(resolved.architecture, device, engine, layout, load_)
    monkeypatch.setattr(model, "BLOCK", 16)
    monkeypatch.setattr(model, "closed", counted)
    cut = model.serve_time(resolved.architecture, device, engine, layout, load_)
    assert len(calls) == 4
    for key, value in whole.items():
        assert np.array_equal(np.broadcast_to(value, (64,)), cut[key]), key
    one = replace(load_, input=float(load_.input[5]), output=float(load_.output[5]),
                  concurrency=float(load_.concurrency[5]))
    alone = model.serve_time(resolved.architecture, device, engine, ServeLayout(float(layout.tensor[5])), one)
    assert {key: float(value) for key, value in alone.items()} == pytest.approx(
        {key: float(np.broadcast_to(value, (64,))[5]) for key, value in whole.items()}, rel=1e-12)
