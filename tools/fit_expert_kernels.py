"""Fit grouped expert kernels to single products; write how fast tokens' copies pass between them on each device.

python tools/fit_expert_kernels.py TABLES [--write]

TABLES: the unpacked wheel aiconfigurator-core 0.12.0 (Apache-2.0, NVIDIA), of which the `moe_perf` tables are read:
kernels timed alone, with skewed routing. Reading them needs pyarrow. A kernel takes the longer of reading the weights
of the experts it touches and of their arithmetic, and then what is written and read for each token's copy, which is
sorted in, quantised, handed through the activation and joined with the others. That rate alone is shipped, the middle
of a device's tables: factors on arithmetic and reading, shipped as well, cost more on models left out than they save.
"""

from __future__ import annotations

import argparse
import csv
import importlib
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from msgspec.structs import replace

from outlay.architecture import Architecture, LayerKind
from outlay.catalog import load
from outlay.catalog.utilization import GRIDS
from outlay.resolve.serve.time import time_device
from outlay.steps.serve.inputs import ServeLayout
from outlay.steps.serve.time_step import expert_s

DEVICES = {"a100_sxm": "a100-sxm4-80gb", "h100_sxm": "h100-sxm5-80gb", "h200_sxm": "h200-sxm-141gb",
           "b200_sxm": "b200-sxm", "b300_sxm": "b300-sxm", "gb200": "gb200", "gb300": "gb300", "l40s": "l40s",
           "rtx_pro_6000_server": "rtx-pro-6000-server"}
VERSIONS = {"a100_sxm": "1.0.0"}
LATEST = "1.3.0rc20"
SOURCE = "aiconfigurator-core 0.12.0 (Apache-2.0, NVIDIA), moe_perf of trtllm {version}: middle of {tables}"
WEIGHT_BYTES = {"bfloat16": 2.0, "fp8": 1.0, "fp8_block": 1.0, "nvfp4": 0.5625}
SKEW = "power_law_1.2"
UNGATED = "nongated"
ROUTING_SPREAD = 0.8
MOST_RANKS, MOST_TOKENS, FEWEST = 16, 32768, 100
STARTS = (1.1, 1.0, 1.8e12, 20e-6)
SCALE = 0.15  # error from which on a row counts linearly
KEY = ("num_tokens", "hidden_size", "inter_size", "topk", "num_experts", "moe_tp_size", "moe_ep_size")


def rows_of(root: Path, family: str, dtype: str) -> dict[tuple[int, ...], float]:
    """Seconds of the fastest kernel by tokens, widths, experts and split."""
    pq = importlib.import_module("pyarrow.parquet")
    version = VERSIONS.get(family, LATEST)
    path = next(root.rglob(f"{family}/moe/trtllm/{version}/moe_perf.parquet"))
    found: dict[tuple[int, ...], float] = defaultdict(lambda: np.inf)
    table = pq.read_table(path).to_pydict()
    for place, kind in enumerate(table["moe_dtype"]):
        if kind != dtype or table["distribution"][place] != SKEW or UNGATED in table["kernel_source"][place]:
            continue
        key = tuple(int(table[name][place]) for name in KEY)
        if key[0] <= MOST_TOKENS and key[5] * key[6] <= MOST_RANKS:
            found[key] = min(found[key], 1e-3 * float(table["latency"][place]))
    return found


def parts_of(rows: dict[tuple[int, ...], float], family: str, dtype: str) -> tuple[Any, ...]:
    """Reading, arithmetic and copies' bytes by the shipped model, and what was measured."""
    device = replace(time_device(load().find("device", DEVICES[family])), copied_bytes_per_s=1.0)
    by_shape: dict[tuple[int, ...], list[tuple[int, float]]] = defaultdict(list)
    for (tokens, *shape), seconds in rows.items():
        by_shape[tuple(shape)].append((tokens, seconds))
    found: list[tuple[Any, ...]] = []
    for (hidden, inner, chosen, experts, tensor, expert), each in by_shape.items():
        kind = LayerKind(mlp="moe", experts=experts, experts_per_token=chosen, expert_ffn=inner)
        arch = Architecture("", hidden, 1, ((kind, 1),), False, 0, 0)
        layout = ServeLayout(tensor=tensor * expert, expert=expert)
        tokens_each = np.array([float(n) for n, _ in each])
        parts = expert_s(kind, arch, device, WEIGHT_BYTES[dtype], layout, tokens_each, ROUTING_SPREAD)
        found.append((*parts, np.array([s for _, s in each])))
    return tuple(np.concatenate(each) for each in zip(*found, strict=True))


def fit(parts: tuple[Any, ...]) -> tuple[Any, Any]:
    """Factors on arithmetic and reading, bytes a second of copies, seconds a call; and predicted over measured."""
    read, work, copied, seen = parts

    def guess(theta: Any) -> Any:
        busy, flows, rate, call = np.exp(theta)
        return np.log((call + np.maximum(flows * read, busy * work) + copied / rate) / seen)

    theta = np.log(STARTS)
    for _ in range(40):
        now = guess(theta)
        weight = 1.0 / (1.0 + (now / SCALE) ** 2) ** 0.25
        slope = np.stack([(guess(theta + 1e-4 * unit) - now) / 1e-4 for unit in np.eye(len(theta))], axis=1)
        a = np.vstack([slope * weight[:, None], 1e-3 * np.eye(len(theta))])
        theta = theta - np.clip(np.linalg.lstsq(a, np.concatenate([now * weight, np.zeros(len(theta))]), rcond=None)[0],
                                -0.3, 0.3)
    return np.exp(theta), np.exp(guess(theta))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tables", type=Path, help="folder the wheel was unpacked in")
    parser.add_argument("--write", action="store_true", help="replace the shipped table")
    given = parser.parse_args()
    table: list[list[object]] = []
    for family in DEVICES:
        rates = {}
        for dtype in WEIGHT_BYTES:
            rows = rows_of(given.tables, family, dtype)
            if len(rows) < FEWEST:
                continue
            found, ratio = fit(parts_of(rows, family, dtype))
            off = np.abs(ratio - 1.0)
            print(f"{family:20s} {dtype:10s} {len(rows):5d} rows: arithmetic {found[0]:.2f}, reading {found[1]:.2f}, "
                  f"copies {found[2] / 1e12:.2f} TB/s, a call {1e6 * found[3]:.0f} us; off {np.median(off):.1%}, "
                  f"p90 {np.quantile(off, 0.9):.1%}")
            rates[dtype] = found[2]
        source = SOURCE.format(version=VERSIONS.get(family, LATEST), tables=", ".join(rates))
        table.append([family, float(f"{np.exp(np.median(np.log(list(rates.values())))):.3g}"), source])
    if given.write:
        with open(GRIDS / "expert_copies.csv", "w", newline="", encoding="utf-8") as file:
            out = csv.writer(file, lineterminator="\n")
            out.writerow(["family", "copied_bytes_per_s", "source"])
            out.writerows(table)


if __name__ == "__main__":
    main()
