"""Utilisation grids from measured kernel tables: one regular logarithmic grid per device family and
precision.

Input: efficiency/aic_gemm_util.csv.gz and aic_decode_attention_bw_util.csv, aic_allreduce_alpha_beta.csv
(distilled from aiconfigurator-core 0.12.0, Apache-2.0, attribution to NVIDIA). Rows are kept at powers of
two; a utilisation above one (cache-resident operands) is capped at one; a cell without a measurement takes
its nearest neighbour's.
"""

from __future__ import annotations

import csv
import gzip
import math
from collections.abc import Iterator
from pathlib import Path

FAMILIES = (
    "a100_sxm",
    "h100_sxm",
    "h200_sxm",
    "b200_sxm",
    "b300_sxm",
    "gb200",
    "gb300",
    "l40s",
    "rtx_pro_6000_server",
    "b60",
)
PRECISIONS = {"bfloat16": "bf16", "fp8": "fp8", "fp8_block": "fp8-block", "nvfp4": "nvfp4"}
BINS_MIB = {"<4MiB": 2, "4-16MiB": 8, "16-64MiB": 32, "64-256MiB": 128, ">256MiB": 512}
ENGINES = ("trtllm", "vllm", "sglang")  # the first that has the table
KV_BINS_MIB = {
    "<1MiB": 0.5,
    "1-4": 2.0,
    "4-16": 8.0,
    "16-64": 32.0,
    "64-256": 128.0,
    "256-1024": 512.0,
    ">1GiB": 2048.0,
}
SOURCE = "aiconfigurator-core 0.12.0 (Apache-2.0, NVIDIA), {engine} {version}"
ROWS = [2**i for i in range(16)]
# Bandwidth in GB/s that a table's shares were taken of, where the device's own is another: its file names that of the
# workstation edition (28 Gb/s memory against 24.95).
SHARES_OF = {"rtx_pro_6000_server": (1792.0, 1597.0)}
PEAK_TFLOPS = {"rtx_pro_6000_server": {"bfloat16": 467.8, "fp8": 935.6, "fp8_block": 935.6, "nvfp4": 1871.2}}
ELEMENT_BYTES = {"bfloat16": 2.0, "fp8": 1.0, "fp8_block": 1.0, "nvfp4": 0.5625}


def of_own(system: str, share: float, dtype: str = "", rows: float = 0.0) -> float:
    """A share of what the device can do, from one of what its table was told: as is where arithmetic bounds it.

    >>> round(of_own("rtx_pro_6000_server", 0.8), 3), of_own("rtx_pro_6000_server", 0.8, "fp8", 4096.0)
    (0.898, 0.8)
    """
    if system not in SHARES_OF:
        return share
    told, own = SHARES_OF[system]
    busy = 2.0 * rows / (1e3 * PEAK_TFLOPS[system][dtype]) if dtype else 0.0  # seconds a weight, in 1e-9
    size = ELEMENT_BYTES.get(dtype, 1.0)
    return share * max(busy, size / own) / max(busy, size / told)


def gemm_grids(data: Path) -> Iterator[list[object]]:
    """family, precision, kernel, rows, then utilisation at each weight size."""
    with gzip.open(data / "efficiency" / "aic_gemm_util.csv.gz", "rt") as file:
        table = list(csv.DictReader(file))
    wanted: dict[tuple[str, str], tuple[int, str, str]] = {}
    for row in table:
        if row["system"] in FAMILIES and row["dtype"] in PRECISIONS and row["backend"] in ENGINES:
            key = (row["system"], row["dtype"])
            choice = (ENGINES.index(row["backend"]), row["backend"], row["version"])
            wanted[key] = min(wanted.get(key, choice), choice)
    for (system, dtype), (_, engine, version) in sorted(wanted.items()):
        cells = {
            (int(r["m"]), BINS_MIB[r["weight_bytes_bin"]]): min(
                of_own(system, float(r["util_median"]), dtype, float(r["m"])), 1.0)
            for r in table
            if (r["system"], r["dtype"], r["backend"], r["version"]) == (system, dtype, engine, version)
            and r["weight_bytes_bin"] in BINS_MIB
            and float(r["util_median"]) > 0
        }
        source = SOURCE.format(engine=engine, version=version)
        for rows in ROWS:
            values = [round(_cell(cells, rows, size), 4) for size in BINS_MIB.values()]
            yield [system, PRECISIONS[dtype], "gemm", rows, *values, source]


def _cell(cells: dict[tuple[int, int], float], rows: int, size: int) -> float:
    if (rows, size) in cells:
        return cells[rows, size]
    near = min(cells, key=lambda at: abs(math.log2(at[0] / rows)) + 0.5 * abs(math.log2(at[1] / size)))
    return cells[near]


def decode_grids(data: Path) -> Iterator[list[object]]:
    """family, KV precision, share of bandwidth at each number of KV bytes read by a call."""
    with open(data / "efficiency" / "aic_decode_attention_bw_util.csv", newline="") as file:
        table = [r for r in csv.DictReader(file) if r["system"] in FAMILIES]
    keys = sorted({(r["system"], r["kv_dtype"]) for r in table})
    for system, dtype in keys:
        rows = [r for r in table if (r["system"], r["kv_dtype"]) == (system, dtype)]
        engine = min({r["backend"] for r in rows}, key=lambda e: ENGINES.index(e) if e in ENGINES else 9)
        version = max(r["version"] for r in rows if r["backend"] == engine)
        values = {
            r["kv_bytes_read_bin"]: min(round(of_own(system, float(r["bw_util_median"])), 4), 1.0)
            for r in rows
            if (r["backend"], r["version"]) == (engine, version)
        }
        for label, size in KV_BINS_MIB.items():
            if label in values:
                yield [
                    system,
                    "bf16" if dtype == "bfloat16" else dtype,
                    "decode-attention",
                    size,
                    values[label],
                    SOURCE.format(engine=engine, version=version),
                ]


def collectives(data: Path) -> Iterator[list[object]]:
    """family, engine variant, devices, latency and bus bandwidth of the engines' own all-reduce."""
    with open(data / "efficiency" / "aic_allreduce_alpha_beta.csv", newline="") as file:
        for r in csv.DictReader(file):
            if r["system"] in FAMILIES and r["system"] != "l40s":
                yield [
                    r["system"],
                    r["variant"],
                    r["n_gpus"],
                    float(r["alpha_us"]) * 1e-6,
                    float(r["bus_bw_GBps(2(n-1)/n)"]) * 1e9,
                    float(r["fit_mape_pct"]) / 100,
                    SOURCE.format(engine=r["backend"], version=r["version"]),
                ]


def build(data: Path, out: Path) -> None:
    """Write utilization*.csv under out."""
    sizes = [f"at_{size}mib" for size in BINS_MIB.values()]
    _write(
        out / "utilization.csv", ["family", "precision", "kernel", "rows", *sizes, "source"], gemm_grids(data)
    )
    _write(
        out / "utilization_decode.csv",
        ["family", "precision", "kernel", "kv_mib", "utilization", "source"],
        decode_grids(data),
    )
    _write(
        out / "utilization_collectives.csv",
        ["family", "variant", "devices", "latency_s", "bus_bytes_per_s", "fit_error", "source"],
        collectives(data),
    )


def _write(path: Path, header: list[str], rows: Iterator[list[object]]) -> None:
    with open(path, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


if __name__ == "__main__":
    import sys

    build(Path(sys.argv[1]), Path(sys.argv[2]))
