"""Configurations a second of the serving time model: one call over many, and one at a time.

python benchmarks/serve_time.py
"""

from __future__ import annotations

import time

import numpy as np

from outlay.catalog import load
from outlay.resolve import resolve
from outlay.resolve.serve.time import time_constants, time_device
from outlay.scenario_io import scenario_from
from outlay.steps.serve.inputs import ServeLayout
from outlay.steps.serve.time import serve_time
from outlay.steps.serve.time_inputs import EngineTime, Load

COUNT, REPEATS, SINGLES = 100_000, 5, 200
MODELS = ("llama-3.1-70b", "gpt-oss-120b", "deepseek-r1")


def main() -> None:
    catalog = load()
    device = time_device(catalog.find("device", "h200-sxm-141gb", ""))
    draw = np.random.default_rng(0)
    for model in MODELS:
        scenario = {"model": model, "fleet": {"device": "h200-sxm-141gb", "devices": 8},
                    "serve": {"engine": "vllm", "precision": "fp8", "tensor": 8}}
        resolved = resolve(scenario_from(scenario), catalog)
        parts = {name: float(getattr(v, "value", v)) for name, v in resolved.serve.recipe.part_bytes.items()}
        engine = EngineTime(parts, 2.0, time_constants("vllm", device.generation))
        arch = resolved.architecture
        layout = ServeLayout(2.0 ** draw.integers(0, 4, COUNT))
        load_ = Load("closed", draw.uniform(64, 8192, COUNT), draw.uniform(64, 2048, COUNT),
                     draw.uniform(1, 512, COUNT))
        best = min(_timed(lambda a=arch, e=engine, y=layout, w=load_: serve_time(a, device, e, y, w))
                   for _ in range(REPEATS))
        one = Load("closed", 1024.0, 1024.0, 64.0)
        single = min(_timed(lambda a=arch, e=engine, w=one: serve_time(a, device, e, ServeLayout(8.0), w))
                     for _ in range(SINGLES))
        print(f"{model}: {COUNT / best:,.0f} configurations/s on one core; one alone {1e3 * single:.2f} ms")


def _timed(call: object) -> float:
    begin = time.process_time()
    call()  # type: ignore[operator]
    return time.process_time() - begin


if __name__ == "__main__":
    main()
