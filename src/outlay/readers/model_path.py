"""A path a person names → the scenario's model fields."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from outlay.errors import Unreadable, Unsupported
from outlay.readers.fields import Note
from outlay.readers.hf.config import read_hf_config
from outlay.readers.json_file import read_json
from outlay.readers.safetensors import INDEX_BYTES, read_safetensors

_INDEX = "model.safetensors.index.json"


def model_from_path(path: str | os.PathLike[str]) -> tuple[dict[str, Any], list[str]]:
    """Fields and remarks from a `config.json`, its folder, a `.safetensors` file or index, or a `.gguf`.

    Weights with a `config.json` beside them take their shapes from it; alone they give totals only.
    """
    given = Path(path)
    if given.is_dir():
        return _from_folder(given)
    if given.suffix.lower() == ".safetensors" or given.name.endswith(".index.json"):
        return _from_weights(given)
    if given.suffix.lower() == ".gguf":
        return _from_gguf(given)
    if given.suffix.lower() != ".json":
        raise Unsupported(f"{given}: a model is read from config.json, its folder, .safetensors, its index "
                          "or .gguf")
    values = read_json(given, INDEX_BYTES)
    if isinstance(values, Mapping) and "weight_map" in values:
        return _from_weights(given)
    return _from_config(given, values)


def _from_gguf(path: Path) -> tuple[dict[str, Any], list[str]]:
    from outlay.readers.gguf.header import read_gguf
    from outlay.readers.gguf.model import model_from_gguf

    return model_from_gguf(read_gguf(path))


def _from_config(path: Path, values: Any) -> tuple[dict[str, Any], list[str]]:
    if not isinstance(values, Mapping):
        raise Unreadable(f"{path}: holds a {type(values).__name__}, not a mapping of settings")
    fields, notes = read_hf_config(values)
    return fields, [_sentence(note) for note in notes]


def _sentence(note: Note) -> str:
    return f"{note['what'].removeprefix('model.')} {note['value']}: {note['why']}"


def _from_folder(folder: Path) -> tuple[dict[str, Any], list[str]]:
    config = folder / "config.json"
    if config.exists():
        return _from_config(config, read_json(config))
    if (folder / _INDEX).exists():
        return _from_weights(folder / _INDEX)
    weights = sorted(folder.glob("*.safetensors"))
    if len(weights) == 1:
        return _from_weights(weights[0])
    raise Unreadable(f"{folder}: no config.json in this folder")


def _from_weights(path: Path) -> tuple[dict[str, Any], list[str]]:
    facts, remarks = read_safetensors(path)
    config = path.parent / "config.json"
    if config.exists():
        fields, more = _from_config(config, read_json(config))
        return fields, [*more, *remarks, *_compared(facts, fields)]
    if not facts.get("parameters"):
        raise Unreadable(f"{path}: no config.json beside it and no parameter total, so the shapes are not "
                         "known")
    return {"parameters": facts["parameters"]}, [
        *remarks, "no config.json beside the weights: shapes are inferred from the parameter count"]


def _compared(facts: dict[str, Any], fields: dict[str, Any]) -> list[str]:
    """A remark when the file holds another number of parameters than its configuration describes."""
    from outlay.readers.mapping import architecture_from_mapping

    held = facts.get("parameters")
    if not held:
        return []
    described = architecture_from_mapping(fields)[0].parameters
    if held == described:
        return []
    return [f"the weights hold {held:,} elements and the configuration describes {described:,}: copies, "
            "buffers, other towers, prediction layers or packed weights"]
