"""Copy the published measurements that may be redistributed into the package, without empty columns.

    python tools/build_cases.py TRUTH_FOLDER

What may not ship (no licence, or tests only) stays out; DATA_LICENSES.md names source and licence of each table.
"""

from __future__ import annotations

import csv
import re
import sys
from pathlib import Path
from statistics import median

from outlay.catalog import load
from outlay.resolve.model import resolve_model
from outlay.resolve.notes import Notes
from outlay.resolve.serve.time import shape_of
from outlay.validate.latency_cases import latency_case, merge_copies

OUT = Path(__file__).parents[1] / "src" / "outlay" / "validate" / "cases"
TABLES = ("vtrain_multi", "vtrain_single", "mosaic_llmfoundry", "megatron_bridge", "mlperf_training", "simumax_b200",
          "torchtitan", "maxtext_tpu", "narayanan_2021_table1", "korthikanti_2022", "megatron_golden_memory",
          "mlperf_power_dell_h100", "published_impacts", "finetune_memory", "finetune_memory_time",
          "mlperf_llm_power", "engine_memory", "inference_memory", "inference_memory_litgpt", "single_stream_qwen3_h20",
          "aiconfigurator_silicon", "splitwise_perf_model", "tensorrt_llm_perf_overview", "mlperf_inference_v4_1")
LOGS = "llmservingsim_vllm_"  # what the files of single requests are called, in traces/ beside the tables
DROPPED = ("verified_from",)
# Of many rows: one a measurement, with the columns that say how it was run.
MERGED = ("aiconfigurator_silicon", "splitwise_perf_model", "tensorrt_llm_perf_overview")
KEPT = ("engine_version", "model", "shape", "precision", "gpu", "n_gpus", "tp", "pp", "ep", "dp", "input_len",
        "output_len", "concurrency", "request_rate", "batch", "ttft_ms", "tpot_ms", "output_tok_s_total", "scenario",
        "notes")
TOLD = re.compile(r"(moe_tp|prefill_workers|decode_workers|prefill_ranks|decode_ranks|drafted)=\d+"
                  r"|measured=\d{4}-\d\d-\d\d|src=(source_file=\d{4}|db-dump)")


def merged(table: str, rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """Rows without their copies, numbers to four figures, and the kind of model that is scored apart."""
    catalog, found = load(), []
    for row in merge_copies(rows):
        arch, _ = resolve_model(latency_case(table, row)["model"], catalog, Notes())
        short = {n: f"{float(row[n]):.4g}" for n in ("ttft_ms", "tpot_ms", "output_tok_s_total") if row[n]}
        notes = "; ".join(m.group() for m in TOLD.finditer(row["notes"]))
        found.append({**{n: row.get(n, "") for n in KEPT}, **short, "shape": shape_of(arch), "notes": notes})
    if table == "splitwise_perf_model":  # each configuration is there several times
        once: dict[tuple[str, ...], list[dict[str, str]]] = {}
        for row in found:
            once.setdefault(tuple(row[n] for n in KEPT if not n.endswith(("_ms", "_total"))), []).append(row)
        found = [{**same[0], **{n: f"{median(float(r[n]) for r in same):.4g}" for n in ("ttft_ms", "tpot_ms")}}
                 for same in once.values()]
    return found


def requests(traces: Path) -> None:
    """Logs of single requests as one table, times after the first one's arrival, to the millisecond."""
    with open(OUT / "llmservingsim_requests.csv", "w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(("log", "input_tokens", "output_tokens", "queued_s", "ttft_s", "e2e_s"))
        for path in sorted(traces.glob(f"{LOGS}*.csv")):
            with open(path, encoding="utf-8", newline="") as file:
                rows = list(csv.DictReader(file))
            start = min(float(row["queued_ts"]) for row in rows)
            for row in rows:
                queued = float(row["queued_ts"])
                writer.writerow((path.stem.removeprefix(LOGS), row["input_toks"], row["output_toks"],
                                 *(f"{float(x):.3f}" for x in (queued - start, float(row["first_token_ts"]) - queued,
                                                               float(row["last_token_ts"]) - queued))))


def main() -> None:
    folder = Path(sys.argv[1])
    OUT.mkdir(exist_ok=True)
    requests(folder.parent / "traces")
    for table in TABLES:
        with open(folder / f"{table}.csv", encoding="utf-8", newline="") as handle:
            rows = list(csv.DictReader(handle))
        if table in MERGED:
            rows = merged(table, rows)
        kept = [c for c in rows[0] if c not in DROPPED and any(r[c] for r in rows)]
        with open(OUT / f"{table}.csv", "w", encoding="utf-8", newline="") as handle:
            writer = csv.DictWriter(handle, kept, extrasaction="ignore", lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        print(f"{table}: {len(rows)} rows, {len(kept)} columns")


if __name__ == "__main__":
    main()
