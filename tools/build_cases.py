"""Copy the published measurements that may be redistributed into the package, without empty columns.

    python tools/build_cases.py TRUTH_FOLDER

What may not ship (no licence, or tests only) stays out; DATA_LICENSES.md names source and licence of each table.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

OUT = Path(__file__).parents[1] / "src" / "outlay" / "validate" / "cases"
TABLES = ("vtrain_multi", "vtrain_single", "mosaic_llmfoundry", "megatron_bridge", "mlperf_training", "simumax_b200",
          "torchtitan", "maxtext_tpu", "narayanan_2021_table1", "korthikanti_2022", "megatron_golden_memory",
          "mlperf_power_dell_h100", "published_impacts", "finetune_memory", "finetune_memory_time",
          "mlperf_llm_power", "engine_memory", "inference_memory", "inference_memory_litgpt", "single_stream_qwen3_h20")
DROPPED = ("verified_from",)


def main() -> None:
    folder = Path(sys.argv[1])
    OUT.mkdir(exist_ok=True)
    for table in TABLES:
        with open(folder / f"{table}.csv", encoding="utf-8", newline="") as handle:
            rows = list(csv.DictReader(handle))
        kept = [c for c in rows[0] if c not in DROPPED and any(r[c] for r in rows)]
        with open(OUT / f"{table}.csv", "w", encoding="utf-8", newline="") as handle:
            writer = csv.DictWriter(handle, kept, extrasaction="ignore", lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        print(f"{table}: {len(rows)} rows, {len(kept)} columns")


if __name__ == "__main__":
    main()
