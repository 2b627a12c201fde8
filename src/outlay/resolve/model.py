"""A model's name, path or dimensions → its architecture."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from outlay.architecture import Architecture
from outlay.catalog import Catalog
from outlay.errors import BadValue, OutlayError, Unreadable
from outlay.resolve.notes import Notes
from outlay.scenario import Model
from outlay.scenario_io import to_plain

_FILE_ENDINGS = (".json", ".safetensors", ".gguf", ".yaml", ".yml", ".toml")


def resolve_model(given: str | Model, catalog: Catalog, notes: Notes) -> tuple[Architecture, Any]:
    """The architecture and how the resolved scenario writes the model.

    Raises UnknownName, Unreadable, BadValue or Inconsistent with field `model` or a part of it.
    """
    if isinstance(given, str):
        if _is_path(given):
            return _from_path(given, notes), given
        return _from_catalog(given, {}, catalog, notes)
    fields = to_plain(given)
    name = fields.pop("name", None)
    if not fields:
        if name is None:
            raise BadValue("model: give a name, a path or dimensions", "model")
        return resolve_model(name, catalog, notes)
    if name is not None and "hidden" not in fields and "parameters" not in fields:
        return _from_catalog(name, fields, catalog, notes)
    architecture = _build(fields, name or "custom", notes)
    return architecture, ({"name": name} if name else {}) | fields


def _is_path(text: str) -> bool:
    if text.lower().endswith(_FILE_ENDINGS) or text.startswith(("./", "../", "~", "/")) or text in (".", ".."):
        return True
    try:
        return Path(text).is_dir() and (Path(text) / "config.json").exists()
    except OSError:
        return False


def _from_path(text: str, notes: Notes) -> Architecture:
    from outlay.readers import model_from_path

    try:
        path = Path(text).expanduser()
        known = path.exists()
    except (RuntimeError, OSError):  # no such user, a name too long
        known = False
    if not known:
        raise Unreadable(f"model: there is no file or folder {_short(text)}", "model")
    try:
        fields, remarks = model_from_path(path)
    except OutlayError as error:
        raise type(error)(f"model: {error.message}", error.field or "model") from None
    for remark in remarks:
        notes.warn(f"model: {remark}")
    return _build(fields, path.parent.name if path.name == "config.json" else path.stem, notes)


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")


def _from_catalog(name: str, changes: dict[str, Any], catalog: Catalog, notes: Notes) -> tuple[Architecture, Any]:
    from outlay.readers import mapping_from_entry

    entry = catalog.find("model", name, "model")
    fields = mapping_from_entry(entry)
    if changes:
        shaped = {k: v for k, v in fields.items() if k not in ("parameters", "active_parameters")} | changes
        return _build(shaped, entry.id, notes), {"name": entry.id} | changes
    return _build(fields, entry.id, notes), entry.id


@lru_cache(maxsize=64)
def _built(fields: tuple[tuple[str, Any], ...], name: str) -> tuple[Architecture, tuple[Any, ...]]:
    """The same fields give the same architecture: a plan of many alike builds it once."""
    from outlay.readers import architecture_from_mapping

    architecture, assumed = architecture_from_mapping(dict(fields), name)
    return architecture, tuple(assumed)


def _build(fields: dict[str, Any], name: str, notes: Notes) -> Architecture:
    from outlay.readers import architecture_from_mapping

    if all(isinstance(value, (int, float, str)) for value in fields.values()):
        architecture, assumed = _built(tuple(fields.items()), name)
    else:
        architecture, found = architecture_from_mapping(fields, name)
        assumed = tuple(found)
    for note in assumed:
        notes.assume(note["what"], note["value"], note["why"], note.get("source", ""))
    if architecture.inferred:
        notes.warn("model: only totals were given, so its shape is inferred and intervals are wider")
    return architecture
