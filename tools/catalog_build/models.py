"""Models: the fields of the scenario's `model:` mapping, read from published configurations by outlay's own
reader.

`model_configs.jsonl` beside this file keeps the dimensions of each configuration with its source. Every
count is checked against the raw table of known totals; a model whose count differs is refused.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from catalog_build.common import CATALOG_DATE, Row, read_csv
from catalog_build.model_shapes import Shape, shapes
from outlay.readers import architecture_from_mapping, read_hf_config

KIND = "model"
HERE = Path(__file__).resolve().parent
_ENDINGS = ("-Instruct", "-Base", "-it", "-pt", "-hf", "-BF16", "-FP8")
# Known totals that count something else than the text model with its head: what to add to ours.
_COUNTED_OTHERWISE = {
    "Qwen/Qwen3-VL-32B-Instruct": ("vision", "no head"),
    "moonshotai/Kimi-K2.5": ("vision", "no head"),
    "google/gemma-4-26B-A4B": ("vision",),
    # Counted with the class default tower of 1,981,014,784 and a vocabulary of 128,815 instead of 128,896.
    "stepfun-ai/Step-3.7-Flash": ("no head", 1_981_014_784 - 81 * 4096),
    # Counted with the class's default biases of queries, keys and values, which its configuration switches off.
    "GLM-4-32B-0414": (61 * (6144 + 2 * 256),),
}
# Known active counts that differ on purpose: biases of idle experts counted (gpt-oss; its card agrees with
# ours), or the experts of a dense layer taken off (MiMo).
_ACTIVE_OTHERWISE = ("openai/gpt-oss-120b", "openai/gpt-oss-20b", "XiaomiMiMo/MiMo-V2-Flash",
                     *_COUNTED_OTHERWISE)
# Rows of the raw table whose dimensions no text at hand confirms.
HOLES = ("EuroLLM-1.7B", "EuroLLM-9B", "OPT-2.7B", "BLOOM-1B1", "BLOOM-1B7", "BLOOM-3B", "mamba2-2.7b",
         "falcon-mamba-7b")


def build(data_dir: Path, models_dir: Path) -> list[Row]:
    known = {row["name"]: row for row in read_csv(models_dir / "model_configs.csv")}
    rows: list[Row] = []
    for line in (HERE / "model_configs.jsonl").read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        fields, _ = read_hf_config(entry["config"])
        architecture, _ = architecture_from_mapping(fields, entry["id"])
        _check(entry["raw"], known.get(entry["raw"]), architecture)
        aliases = _aliases(entry["hf"], entry["ollama"])
        rows += _rows(entry["id"], entry["name"], entry["hf"][0], aliases, fields, entry["source"], "",
                      entry.get("retrieved", CATALOG_DATE))
    for shape in shapes():
        rows += _shape_rows(shape)
    return rows


def _shape_rows(shape: Shape) -> list[Row]:
    return _rows(shape.id, shape.name, "", list(shape.aliases), shape.fields, shape.source, shape.note)


def _check(name: str, known: dict[str, str] | None, architecture: Any) -> None:
    """The count must equal the known total, and the active count the known active one."""
    if known is None or not known["params_total"]:
        return
    ours = architecture.parameters
    for change in _COUNTED_OTHERWISE.get(name, ()):
        head = architecture.vocab * architecture.hidden
        ours += change if isinstance(change, int) else {"vision": architecture.vision_parameters,
                                                        "no head": -head}[change]
    if ours != int(known["params_total"]):
        raise ValueError(f"{name}: counted {ours:,}, known {int(known['params_total']):,}")
    active = known["params_active"]
    if active.isdigit() and name not in _ACTIVE_OTHERWISE and architecture.active_parameters != int(active):
        raise ValueError(f"{name}: {architecture.active_parameters:,} active, known {int(active):,}")


def _aliases(hugging_face: list[str], ollama: list[str]) -> list[str]:
    """Full names, names without the organisation, and both without their endings; how a checkpoint is tuned or kept
    is left off any name when it is looked up (`outlay.catalog.names.stem`)."""
    found: dict[str, None] = {}
    for name in hugging_face:
        stem = name
        for ending in _ENDINGS:
            stem = stem.removesuffix(ending)
        for full in (name, stem):
            found[full] = None
            found[full.split("/")[-1]] = None
    return list(found) + ollama


def _rows(identifier: str, name: str, hf_id: str, aliases: list[str], fields: dict[str, Any], source: str,
          note: str, date: str = CATALOG_DATE) -> list[Row]:
    architecture, assumed = architecture_from_mapping(fields, identifier)
    if assumed:
        raise ValueError(f"{identifier}: assumed {assumed}")
    rows = [Row(identifier, "name", name, "text", source, date, "published", note=note)]
    distinct = list({alias.lower(): alias for alias in aliases if alias.lower() != identifier}.values())
    if distinct:
        rows.append(Row(identifier, "aliases", "|".join(distinct), "list", "names hubs and tools use", date, "derived"))
    if hf_id:
        rows.append(Row(identifier, "hf_id", hf_id, "text", "Hugging Face", date, "published"))
    rows += [_fact(identifier, field, value, source, date) for field, value in fields.items()]
    for field in ("parameters", "active_parameters"):
        rows.append(Row(identifier, field, float(getattr(architecture, field)), "parameter",
                        "counted from the shapes by physics.parameters", date, "derived"))
    return rows


def _fact(identifier: str, field: str, value: Any, source: str, date: str) -> Row:
    how = "derived" if field in ("vision_parameters",) else "published"
    if isinstance(value, bool):
        return Row(identifier, field, float(value), "bool", source, date, how)
    if isinstance(value, (dict, list)):
        text = json.dumps(value, separators=(",", ":"))
        return Row(identifier, field, text, "text", source, date, how)
    if isinstance(value, str):
        return Row(identifier, field, value, "text", source, date, how)
    return Row(identifier, field, float(value), "", source, date, how)
