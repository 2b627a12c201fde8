"""Precision a model was published in, where that is not 16 bits."""

from __future__ import annotations

from pathlib import Path

from catalog_build.common import CATALOG_DATE, Row, read_csv

KIND = "checkpoint"
_DEEPSEEK = "DeepSeek-V3 technical report (arXiv:2412.19437) and model cards: released in block fp8"
_GPT_OSS = "gpt-oss model card (arXiv:2508.10925): expert weights in MXFP4"
PUBLISHED = (
    ("gpt-oss-", "mxfp4", _GPT_OSS),
    ("deepseek-v3", "fp8", _DEEPSEEK),
    ("deepseek-r1", "fp8", _DEEPSEEK),
)
NOT = ("distill",)


def build(data_dir: Path, models_dir: Path) -> list[Row]:
    """One row a model of these families; ids are those of the shipped model table beside."""
    table = Path(__file__).parents[2] / "src" / "outlay" / "catalog" / "data" / "model.csv"
    ids = sorted({row["id"] for row in read_csv(table)})
    return [
        Row(i, "precision", precision, "text", source, CATALOG_DATE, "published")
        for i in ids
        for start, precision, source in PUBLISHED
        if i.startswith(start) and not any(n in i for n in NOT)
    ]
