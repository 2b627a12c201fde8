"""Precision a model was published in, where that is not 16 bits."""

from __future__ import annotations

from pathlib import Path

from catalog_build.common import CATALOG_DATE, Row, read_csv

KIND = "checkpoint"
_DEEPSEEK = "DeepSeek-V3 technical report (arXiv:2412.19437) and model cards: released in block fp8"
_GPT_OSS = "gpt-oss model card (arXiv:2508.10925): expert weights in MXFP4"
_V4 = "DeepSeek-V4 model card: expert weights in FP4, most other matrices in FP8"
_K2 = "Kimi K2 model card: block fp8"
_K25 = "Kimi K2.5 model card: expert weights in int4, groups of 32"
# start of the id, precision of experts (or of all matrices), of the rest, bits of an expert weight where its own
PUBLISHED = (
    ("gpt-oss-", "mxfp4", "bf16", None, _GPT_OSS),
    ("deepseek-v3", "fp8", "", None, _DEEPSEEK),
    ("deepseek-r1", "fp8", "", None, _DEEPSEEK),
    ("deepseek-v4", "mxfp4", "fp8", None, _V4),
    ("kimi-k2.5", "int4", "bf16", 4.5, _K25),
    ("kimi-k2", "fp8", "", None, _K2),
)
NOT = ("distill",)


def build(data_dir: Path, models_dir: Path) -> list[Row]:
    """One row a model of these families; ids are those of the shipped model table beside."""
    table = Path(__file__).parents[2] / "src" / "outlay" / "catalog" / "data" / "model.csv"
    ids = sorted({row["id"] for row in read_csv(table)})
    rows = []
    for identifier in ids:
        found = next((p for p in PUBLISHED if identifier.startswith(p[0])), None)
        if found is None or any(n in identifier for n in NOT):
            continue
        _, precision, other, bits, source = found
        rows.append(Row(identifier, "precision", precision, "text", source, CATALOG_DATE, "published"))
        if other:
            rows.append(Row(identifier, "other", other, "text", source, CATALOG_DATE, "published"))
        if bits:
            rows.append(Row(identifier, "expert_bits", bits, "bit", source, CATALOG_DATE, "published"))
    return rows
