"""A trainer's configuration or launch line → `finetune:` or `pretrain:`, and what was assumed or left."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from outlay.errors import Unreadable
from outlay.readers.json_file import read_text
from outlay.readers.launch.flag_table import Collected, LaunchNotes, read_flags
from outlay.readers.launch.words import MAX_TEXT, Command, commands
from outlay.readers.trainer import hf, megatron, rl, sharding, torchtune

Parts = dict[str, Any]
TrainerNotes = LaunchNotes
Read = tuple[Parts, TrainerNotes]
Devices = tuple[int | None, int | None]  # all, and those of a node
Folder = str | os.PathLike[str] | None
_MEGATRON = ("pretrain_gpt.py", "pretrain_mamba.py", "pretrain_llama.py", "pretrain_moe.py")
_RUNNERS = ("torchrun", "accelerate", "deepspeed", "llamafactory-cli", "axolotl", "trl", "tune")


def read_trainer(source: str | os.PathLike[str] | Mapping[str, Any] | Sequence[str], folder: Folder = None) -> Read:
    """Scenario parts and notes from a path, a parsed configuration, or the words of a launch line.

    >>> parts, notes = read_trainer({"stage": "sft", "model_name_or_path": "org/m", "finetuning_type": "lora",
    ...                              "cutoff_len": 4096, "a_new_key": 1})
    >>> parts["finetune"]["sequence_length"], parts["finetune"]["rank"], notes.unknown
    (4096, 8, ('a_new_key: 1',))
    """
    if isinstance(source, Mapping):
        return _from_settings(source, folder)
    if isinstance(source, (list, tuple)):
        return _from_commands([Command(tuple(map(str, source)), {})], folder)
    return _from_file(Path(str(source)))


def read_trainer_text(text: str, folder: Folder = None) -> Read:
    """A launch line or script as text."""
    return _from_commands(commands(text), folder)


def _from_file(path: Path) -> Read:
    from outlay.scenario_io import load_text

    text = read_text(path, MAX_TEXT, "a trainer's configuration")
    suffix = path.suffix.lower()
    if suffix not in (".yaml", ".yml", ".json", ".toml"):
        return read_trainer_text(text, path.parent)
    settings = load_text(text, suffix, str(path))
    if not isinstance(settings, Mapping):
        raise Unreadable(f"{path}: holds a {type(settings).__name__}, not a mapping of settings")
    return _from_settings(settings, path.parent)


def kind_of(settings: Mapping[Any, Any]) -> str:
    """Which trainer's settings these are, by keys that only it has; empty when none."""
    keys = {str(key) for key in settings}
    parts = {key.partition(".")[0] for key in keys}
    if "actor_rollout_ref" in parts or ({"algorithm", "trainer", "data"} <= parts):
        return "verl"
    if keys & {"zero_optimization", "train_micro_batch_size_per_gpu"} and "model" not in keys:
        return "deepspeed"
    if keys & {"compute_environment", "distributed_type", "fsdp_config"} and not keys & {
        "base_model",
        "model_name_or_path",
        "per_device_train_batch_size",
        "output_dir",
    }:
        return "accelerate"
    if "base_model" in keys:
        return "axolotl"
    component = settings.get("model")
    if isinstance(component, Mapping) and "_component_" in component:
        return "torchtune"
    if "training" in keys and keys & {"parallelism", "job", "activation_checkpoint", "metrics"}:
        return "torchtitan"
    if keys & {"finetuning_type", "cutoff_len", "lora_target", "dataset_dir", "template"}:
        return "llamafactory"
    if keys & {
        "per_device_train_batch_size",
        "model_name_or_path",
        "num_train_epochs",
        "output_dir",
        "gradient_accumulation_steps",
        "per_gpu_train_batch_size",
    }:
        return "hf"
    return ""


def _from_settings(settings: Mapping[Any, Any], folder: Folder) -> Read:
    from outlay.scenario_io import bounded

    bounded(settings, "the settings")
    kind = kind_of(settings)
    c = Collected(kind)
    devices: Devices = (None, None)
    if kind == "verl":
        parts = rl.read_verl(settings, c)
        devices = rl.devices_of(c)
    elif kind in ("deepspeed", "accelerate"):
        read = sharding.read_deepspeed if kind == "deepspeed" else sharding.read_accelerate
        read(settings, c)
        parts, devices = _sharding_alone(c, folder)
    elif kind == "torchtune":
        parts = torchtune.read_torchtune(settings, c)
    elif kind == "torchtitan":
        parts = torchtune.read_torchtitan(settings, c)
    elif kind:
        hf.settings_in_line(settings, c)
        devices = sharding.devices_of(c)
        parts = hf.finish(c, kind, folder)
    else:
        raise Unreadable("no trainer that is read has these settings")
    return _checked(parts, c, devices)


def _sharding_alone(c: Collected, folder: Folder) -> tuple[Parts, Devices]:
    tune: dict[str, Any] = {}
    devices = sharding.devices_of(c)
    sharding.finish_sharding(c, tune, folder)
    c.note("finetune", None, "only how training is laid out is said here; model and method come from elsewhere")
    if "gradient_accumulation" in c.values and "global_batch" in c.values:
        c.take("global_batch")
    tune.update({k: v for k, v in c.values.items() if not k.startswith("@")})
    return {"finetune": tune}, devices


def _from_commands(found: list[Command], folder: Folder) -> Read:
    """The first command that is a trainer's."""
    for command in found:
        for at, word in enumerate(command.words):
            name = word.rsplit("/", 1)[-1]
            rest = list(command.words[at + 1 :])
            if name in _MEGATRON:
                return _megatron(command, rest, at)
            following = rest[0] if rest else ""
            if following.startswith("verl.trainer.") and word == "-m":
                c = Collected("verl")
                parts = rl.read_verl_words(rest[1:], c)
                return _checked(parts, c, rl.devices_of(c))
            if following.startswith("openrlhf.cli.") and word in ("-m", "--module"):
                c = Collected("openrlhf")
                parts = rl.read_openrlhf(rest[1:], following.rsplit(".", 1)[-1], c)
                return _checked(parts, c, rl.devices_of(c))
        read = _settings_trainer(command, folder)
        if read is not None:
            return read
    raise Unreadable("no launch line of a trainer that is read is in it")


def _megatron(command: Command, rest: list[str], at: int) -> Read:
    c = Collected("megatron")
    parts = megatron.read_megatron(rest, c)
    return _checked(parts, c, _launcher_devices(command.words[:at], c))


def _launcher_devices(words: Sequence[str], c: Collected) -> Devices:
    """`torchrun --nproc-per-node 8 --nnodes 4`, `accelerate launch --num_processes 16`, `deepspeed …`."""
    found: dict[str, int] = {}
    for word, following in zip(words, [*words[1:], ""]):
        name, equals, value = word.lstrip("-").replace("_", "-").partition("=")
        value = value if equals else following
        if name in ("nproc-per-node", "nnodes", "num-processes", "num-gpus", "num-nodes", "num-machines"):
            if value.isascii() and value.isdigit() and len(value) < 7 and int(value) > 0:
                found[name] = int(value)
            elif name in ("nproc-per-node", "nnodes"):
                c.note("fleet.devices", None, f"--{name} {value[:40]} is not a number here")
    node = found.get("nproc-per-node") or found.get("num-gpus")
    nodes = found.get("nnodes") or found.get("num-nodes") or found.get("num-machines") or 1
    if "num-processes" in found:
        total = found["num-processes"]
        return total, total // nodes if total % nodes == 0 else None
    return (node * nodes, node) if node else (None, None)


def _settings_trainer(command: Command, folder: Folder) -> Read | None:
    """A line of the Hugging Face world: a script with TrainingArguments flags, or a trainer with a YAML."""
    words = list(command.words)
    start = next((i for i, word in enumerate(words) if word.rsplit("/", 1)[-1] in _RUNNERS), None)
    script = next((i for i, word in enumerate(words) if word.endswith(".py")), None)
    launcher = _launcher_file(words)
    files = [word for word in words if word.lower().endswith((".yaml", ".yml", ".json")) and word[0] != "-"]
    named = next((word for word in files if word != launcher and "=" not in word), None)
    marks = ("per-device-train-batch-size", "model-name-or-path")
    flagged = any(word.lstrip("-").replace("_", "-").startswith(marks) for word in words)
    if not flagged:
        if start is None or named is None:
            return None
        path = Path(named) if folder is None or Path(named).is_absolute() else Path(folder) / named
        parts, notes = _from_file(path)
        return parts, notes
    c = Collected("hf")
    begin = (script if script is not None else start if start is not None else -1) + 1
    line = words[begin:]
    if start is not None and words[start] == "trl" and line:
        c.values["@stage"] = line[0]
        line = line[1:]
    read_flags(line, hf.flags(), c)
    if script is not None and "@stage" not in c.values:
        stem = words[script].rsplit("/", 1)[-1].removesuffix(".py").lower()
        if stem in ("sft", "dpo", "orpo", "kto", "ppo", "grpo", "gkd"):
            c.values["@stage"] = stem
    c.unknown += [f"{word[:100]} (a word without a flag)" for word in c.positional[:20]]
    if launcher:
        _read_launcher(launcher, c, folder)
    kind = "llamafactory" if start is not None and words[start] == "llamafactory-cli" else "hf"
    stated = _launcher_devices(words[:begin], c)
    configured = sharding.devices_of(c)
    return _checked(hf.finish(c, kind, folder), c, stated if stated[0] else configured)


def _launcher_file(words: Sequence[str]) -> str | None:
    """The configuration of `accelerate launch --config_file X`."""
    for word, following in zip(words, [*words[1:], ""]):
        name, equals, value = word.partition("=")
        if name in ("--config_file", "--config-file"):
            return value if equals else following
    return None


def _read_launcher(name: str, c: Collected, folder: Folder) -> None:
    settings = sharding.named_file(c, name, folder)
    if settings is not None:
        sharding.read_accelerate(settings, c)
    elif "fsdp" in name.lower():
        c.values.setdefault("@strategy", "full_shard")


def _checked(parts: Parts, c: Collected, devices: Devices) -> Read:
    from outlay.scenario_io import scenario_from

    if "model" not in parts:
        c.note("model", None, "no model is named in it")
    scenario_from(parts)  # what is handed on is a sound part of a scenario
    return parts, c.notes(*devices)
