"""A launch line, a script or an engine's YAML → the scenario's `serve:` and `model`, and what was left."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from outlay.errors import Unreadable
from outlay.readers.json_file import open_regular, read_text
from outlay.readers.launch import llamacpp, sglang, trtllm, vllm
from outlay.readers.launch.flag_table import Collected, LaunchNotes, read_flags, read_keys
from outlay.readers.launch.words import MAX_TEXT, Command, commands, environment

_ENGINES: dict[str, ModuleType] = {
    "vllm": vllm,
    "sglang": sglang,
    "llama.cpp": llamacpp,
    "tensorrt-llm": trtllm,
}
_MODULES = {
    "vllm.entrypoints.openai.api_server": "vllm",
    "vllm.entrypoints.api_server": "vllm",
    "vllm.entrypoints.cli.main": "vllm",
    "sglang.launch_server": "sglang",
    "sglang": "sglang",
    "tensorrt_llm.commands.serve": "tensorrt-llm",
    "tensorrt_llm.commands.build": "tensorrt-llm",
    "llama_cpp.server": "llama.cpp",
}
_PROGRAMS = {
    "llama-server": "llama.cpp",
    "llama-cli": "llama.cpp",
    "llama-run": "llama.cpp",
    "llama-simple": "llama.cpp",
    "llama-bench": "llama.cpp",
    "llama-completion": "llama.cpp",
    "llama-batched-bench": "llama.cpp",
    "trtllm-serve": "tensorrt-llm",
    "trtllm-build": "tensorrt-llm",
    "trtllm-bench": "tensorrt-llm",
}
_IMAGES = (
    ("vllm", "vllm"),
    ("sglang", "sglang"),
    ("llama.cpp", "llama.cpp"),
    ("llama-cpp", "llama.cpp"),
    ("tensorrt", "tensorrt-llm"),
    ("trtllm", "tensorrt-llm"),
)
_SHELLS = ("sh", "bash", "zsh", "dash")
_CALLS = ("serve", "build", "throughput", "latency")

Parts = dict[str, Any]


def read_launch(
    source: str | Sequence[str] | Mapping[str, Any], folder: str | os.PathLike[str] | None = None
) -> tuple[Parts, LaunchNotes]:
    """Scenario parts and notes from a launch line, its words, a script's text, or a parsed configuration.

    `folder` is where files that the line names (`--config`) are looked for; those not found are noted.

    >>> parts, notes = read_launch("vllm serve org/m -tp 4 --max-model-len 32k --colour red")
    >>> parts["serve"]["tensor"], parts["serve"]["max_model_len"], notes.unknown
    (4, 32000, ('--colour red',))
    """
    if isinstance(source, Mapping):
        from outlay.scenario_io import bounded

        bounded(source, "the settings")
        return _from_keys(source, _engine_of_keys(source))
    found = commands(source) if isinstance(source, str) else [Command(tuple(map(str, source)), {})]
    for command in found:
        words, engine = _engine_of(list(command.words), 0)
        if engine:
            return _from_words(engine, words, command, folder)
    raise Unreadable("no launch line of vLLM, SGLang, llama.cpp or TensorRT-LLM is in it")


def read_launch_file(path: str | os.PathLike[str]) -> tuple[Parts, LaunchNotes]:
    """The same from a file: a shell script, or an engine's YAML or JSON configuration."""
    text = read_text(path, MAX_TEXT, "a launch file")
    suffix = Path(path).suffix.lower()
    if suffix in (".yaml", ".yml", ".json"):
        return read_launch(_mapping(text, suffix, str(path)), Path(path).parent)
    return read_launch(text, Path(path).parent)


def _mapping(text: str, suffix: str, where: str) -> Mapping[str, Any]:
    from outlay.scenario_io import load_text

    keys = load_text(text, suffix, where)
    if not isinstance(keys, Mapping):
        raise Unreadable(f"{where}: holds a {type(keys).__name__}, not a mapping of options")
    return keys


def _engine_of(words: list[str], depth: int) -> tuple[list[str], str]:
    """The words after the engine's name and which engine; empty when there is none."""
    for at, word in enumerate(words):
        name = word.rsplit("/", 1)[-1].removesuffix(".exe")
        following = words[at + 1] if at + 1 < len(words) else ""
        if name in _SHELLS and depth < 3:
            inner = next((w for flag, w in zip(words[at + 1 :], words[at + 2 :]) if flag in ("-c", "-lc", "-ic")), "")
            for command in commands(inner) if inner else []:
                rest, engine = _engine_of(list(command.words), depth + 1)
                if engine:
                    return rest, engine
        if name in ("vllm", "sglang") and following in _CALLS:
            return words[at + 2 :], name
        if word == "-m" and following in _MODULES:
            rest = words[at + 2 :]
            return rest[1:] if rest[:1] == ["serve"] else rest, _MODULES[following]
        if name in _PROGRAMS:
            rest = words[at + 1 :]
            return rest[1:] if rest[:1] and rest[0] in _CALLS else rest, _PROGRAMS[name]
        if name == "run" and at and words[at - 1].rsplit("/", 1)[-1] in ("docker", "podman", "nerdctl"):
            return _in_container(words[at + 1 :], depth)
    return [], ""


def _in_container(words: list[str], depth: int) -> tuple[list[str], str]:
    """`docker run … IMAGE …`: the image says the engine, unless a command after it does."""
    for at, word in enumerate(words):
        if not {"/", ":"} & set(word) or word.startswith("-") or "=" in word:
            continue
        if at and words[at - 1] in (
            "-v",
            "--volume",
            "-e",
            "--env",
            "-p",
            "--publish",
            "-w",
            "--name",
            "--mount",
        ):
            continue
        engine = next((engine for mark, engine in _IMAGES if mark in word.lower()), "")
        if engine:
            rest, named = _engine_of(words[at + 1 :], depth + 1) if depth < 3 else ([], "")
            return (rest, named) if named else (words[at + 1 :], engine)
    return [], ""


def _from_words(
    engine: str, words: list[str], command: Command, folder: str | os.PathLike[str] | None
) -> tuple[Parts, LaunchNotes]:
    module = _ENGINES[engine]
    collected = Collected(engine)
    version = _image_version(command.words)
    if engine == "vllm":
        words = vllm.dotted(words)
    line = Collected(engine)
    read_flags(words, module.flags(), line)
    if engine == "llama.cpp":
        names = (word.rsplit("/", 1)[-1].removesuffix(".exe") for word in command.words)
        line.values["@program"] = next((name for name in names if name in _PROGRAMS), "llama-server")
    config = line.values.get("@config")
    if config:
        _read_options(str(config), folder, module, collected)
    collected.values.update(line.values)  # the line wins over the file
    for name in ("positional", "unknown", "without_effect", "unplanned", "assumed"):
        getattr(collected, name).extend(getattr(line, name))
    if version:
        collected.values["engine_version"] = version
    return _finished(engine, collected, command)


def _image_version(words: Sequence[str]) -> str:
    """The version in the tag of a container image, e.g. `vllm/vllm-openai:v0.11.0`."""
    for word in words:
        name, colon, tag = word.rpartition(":")
        if colon and not word.startswith("-") and any(mark in name.lower() for mark, _ in _IMAGES):
            number = tag.removeprefix("v").split("-")[0]
            if number[:1].isdigit() and "." in number and len(number) < 30:
                return number
    return ""


def _read_options(config: str, folder: str | os.PathLike[str] | None, module: ModuleType, collected: Collected) -> None:
    """Options kept in a file that the line names."""
    path = Path(config)
    if not path.is_absolute() and folder is not None:
        path = Path(folder) / path
    try:
        with open_regular(path) as file:
            text = file.read(MAX_TEXT).decode("utf-8")
        keys = _mapping(text, ".json" if path.suffix == ".json" else ".yaml", str(path))
    except (Unreadable, UnicodeDecodeError):
        collected.note("config", config[:200], "the file that the line names could not be read here")
        return
    read_keys(keys, module.flags(), collected)


def _from_keys(keys: Mapping[str, Any], engine: str) -> tuple[Parts, LaunchNotes]:
    collected = Collected(engine)
    read_keys(keys, _ENGINES[engine].flags(), collected)
    return _finished(engine, collected, Command((), {}))


def _engine_of_keys(keys: Mapping[str, Any]) -> str:
    """Which engine's options these are: the one whose table knows most of the keys."""
    known = {
        engine: sum(str(key).replace("_", "-") in module.flags() for key in keys)
        for engine, module in _ENGINES.items()
        if engine != "llama.cpp"
    }
    best = max(known, key=lambda engine: known[engine])
    if not known[best]:
        raise Unreadable("no option of a serving engine is in it")
    return best


def _finished(engine: str, collected: Collected, command: Command) -> tuple[Parts, LaunchNotes]:
    from outlay.scenario_io import scenario_from

    parts: Parts = _ENGINES[engine].finish(collected)
    if "model" not in parts:
        collected.note("model", None, "no model is named in the line")
    used = vllm.devices(parts["serve"])
    visible = next(
        (command.variables[v] for v in ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES") if v in command.variables),
        "",
    )
    shown = visible.count(",") + 1 if visible else used
    own = {k: v for k, v in command.variables.items() if "VISIBLE" not in k and "_" in k} | environment(command.words)
    collected.unplanned += [
        f"environment {name}={value[:60]}"
        for name, value in list(own.items())[:50]
        if name.split("_")[0] in ("VLLM", "SGLANG", "SGL", "TRTLLM", "TLLM", "LLAMA", "GGML")
    ]
    if shown < used:
        collected.note("fleet.devices", shown, f"{used} devices are needed and {shown} are made visible")
    scenario_from(parts)  # what is handed on is a sound part of a scenario
    return parts, collected.notes(devices=used)
