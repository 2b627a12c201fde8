"""Any file a person holds: what kind it is, and what its own reader makes of it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from outlay.errors import OutlayError, Unreadable
from outlay.readers.json_file import open_regular
from outlay.readers.launch.words import MAX_TEXT


class AnyReading(Struct, frozen=True):
    """kind: gguf | safetensors | model | launch | trainer | log | scenario; `value` is the reader's own."""

    kind: str
    parts: Mapping[str, Any]
    value: Any
    notes: Any = None


def read_any(path: str | os.PathLike[str]) -> AnyReading:
    """Read a file by what is in it. Unreadable, saying what was tried, when no reader knows it."""
    with open_regular(path) as file:
        head = file.read(8)
    if head[:4] == b"GGUF":
        return _gguf(path)
    suffix = Path(path).suffix.lower()
    if suffix == ".safetensors" or str(path).endswith(".index.json"):
        from outlay.readers.safetensors import read_safetensors

        facts, remarks = read_safetensors(path)
        return AnyReading("safetensors", {"model": str(path)}, facts, remarks)
    if suffix in (".yaml", ".yml", ".json", ".toml"):
        return _settings(path, suffix)
    return _text(path)


def _gguf(path: str | os.PathLike[str]) -> AnyReading:
    from outlay.readers.gguf.header import read_gguf
    from outlay.readers.gguf.model import model_from_gguf

    file = read_gguf(path)
    try:
        fields, remarks = model_from_gguf(file)
    except OutlayError as error:
        return AnyReading("gguf", {}, file, [error.message])
    return AnyReading("gguf", {"model": fields}, file, remarks)


def _settings(path: str | os.PathLike[str], suffix: str) -> AnyReading:
    from outlay.readers.launch.line import read_launch
    from outlay.readers.trainer.file import kind_of, read_trainer
    from outlay.scenario_io import field_paths, load_file

    settings = load_file(Path(path))
    if not isinstance(settings, Mapping):
        raise Unreadable(f"{path}: holds a {type(settings).__name__}, not a mapping of settings")
    keys = {str(key) for key in settings}
    if keys & {"pretrain", "finetune", "serve", "fleet", "outlay"} and "_component_" not in str(settings.get("model")):
        top = {name for name in field_paths() if "." not in name} | {"outlay"}
        if keys <= top or "outlay" in keys:
            return AnyReading("scenario", dict(settings), settings)
    folder = Path(path).parent
    if kind_of(settings):
        parts, trainer_notes = read_trainer(settings, folder)
        return AnyReading("trainer", parts, parts, trainer_notes)
    if keys & {"model_type", "architectures", "num_hidden_layers", "n_layer"}:
        from outlay.readers.hf.config import read_hf_config

        fields, notes = read_hf_config(settings)
        return AnyReading("model", {"model": fields}, fields, notes)
    try:
        parts, launch_notes = read_launch(settings, folder)
    except Unreadable:
        raise Unreadable(f"{path}: not a model's, a trainer's or an engine's settings, nor a scenario") from None
    return AnyReading("launch", parts, parts, launch_notes)


def _text(path: str | os.PathLike[str]) -> AnyReading:
    """A script or a log: a log when its lines say so, else whichever launch line is in it."""
    from outlay.readers.launch.line import read_launch
    from outlay.readers.log.file import parts_of, read_log_file
    from outlay.readers.trainer.file import read_trainer_text

    with open_regular(path) as file:
        data = file.read(MAX_TEXT + 1)
    if b"\0" in data:
        raise Unreadable(f"{path}: neither text nor a file that is read")
    script = Path(path).suffix.lower() in (".sh", ".bash", ".slurm", ".sbatch") or data[:2] == b"#!"
    if not script:
        try:
            reading = read_log_file(path)
            return AnyReading("log", parts_of(reading), reading)
        except Unreadable:
            pass
    if len(data) > MAX_TEXT:
        raise Unreadable(f"{path}: neither a log nor a script that is read")
    text = data.decode("utf-8", "replace")
    folder = Path(path).parent
    tried: list[str] = []
    for kind, read in (("trainer", read_trainer_text), ("launch", read_launch)):
        try:
            parts, notes = read(text, folder)
            return AnyReading(kind, parts, parts, notes)
        except Unreadable as error:
            tried.append(error.message)
    raise Unreadable(f"{path}: {'; '.join(tried)}")
