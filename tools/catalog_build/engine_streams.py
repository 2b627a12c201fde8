"""Constants of one-stream speed as fitted, as rows of the engines they belong to."""

from __future__ import annotations

from pathlib import Path

from catalog_build.common import CATALOG_DATE, Row, read_csv

SPREAD = 1.3
FITTED_TOGETHER = {
    "sglang": ("sglang", "vllm", "tensorrt-llm")
}  # compiled graphs and the same kind of kernels
STREAMS = {
    "sglang": "QwenLM/Qwen3 speed benchmark on H20 (Apache-2.0), SGLang 0.4.6",
    "llama.cpp": "one-request speeds of Llama 3 8B and 70B, GPU-Benchmarks-on-LLM-Inference (2024)",
}
NOTES = {
    "stream_layer_s": "small kernels of a layer, launched one after another",
    "stream_expert_layer_s": "routing and gathering where a layer has experts",
    "stream_packed_share": "4-bit weights are unpacked before use",
    "stream_prompt_ratio": "attention and small kernels beside a prompt's matrices",
    "stream_utilization_unified": "share of unified memory's bandwidth the engine's own kernels reach",
    "stream_layer_unified_s": "small kernels of a layer on a chip with unified memory",
    "stream_residual_unified": "left-out runs over what was predicted for them, unified memory",
    "stream_utilization_gddr": "share of GDDR bandwidth the engine's own kernels reach",
    "stream_utilization_hbm": "share of stacked memory's bandwidth the engine's own kernels reach",
    "stream_residual": "left-out runs over what was predicted for them",
    "stream_hop_s": "activations copied to the device with the next layers",
}


def stream_rows() -> list[Row]:
    """Constants of one-stream speed as fitted, with every model and without each."""
    rows = []
    for row in read_csv(Path(__file__).with_name("stream_constants.csv")):
        unit = "s" if row["constant"].endswith("_s") else ""
        value = float(row["value"])
        together = (
            (row["engine"],) if row["without"] else FITTED_TOGETHER.get(row["engine"], (row["engine"],))
        )
        for engine in together:
            name = f"{engine}@without/{row['without']}" if row["without"] else engine
            note = f"{NOTES[row['constant']]}; fitted on {row['runs']} runs"
            if row["constant"].startswith("stream_residual"):
                spread = (float(row["low"]), float(row["high"]))
                rows.append(
                    Row(
                        name,
                        row["constant"],
                        value,
                        unit,
                        STREAMS[row["engine"]],
                        CATALOG_DATE,
                        "derived",
                        *spread,
                        note,
                    )
                )
                continue
            spread = (value / SPREAD, min(value * SPREAD, 1.0) if not unit and value < 1 else value * SPREAD)
            rows.append(
                Row(
                    name,
                    row["constant"],
                    value,
                    unit,
                    STREAMS[row["engine"]],
                    CATALOG_DATE,
                    "derived",
                    *spread,
                    note,
                )
            )
    return rows
