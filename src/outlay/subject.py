"""What a SUBJECT stands for: a model's name, any file a person holds, or the words of a launch line.

One resolver for the command line and for Python: a part of a scenario, and what is to be said about how it was read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

from outlay.errors import BadValue, Inconsistent, Unreadable
from outlay.scenario_io import field_paths, load_file, scenario_from, to_plain

if TYPE_CHECKING:
    from outlay.readers.launch.flag_table import LaunchNotes
    from outlay.readers.log.file import LogReading
    from outlay.result import Result

SETTINGS = (".yaml", ".yml", ".toml", ".json")
TEXTS = (".log", ".txt", ".out", ".err", ".sh", ".bash", ".slurm", ".sbatch")
VERBS = {"pretrain": "train", "finetune": "tune", "serve": "serve"}
NAMES = {"vllm": "vLLM", "sglang": "SGLang", "tensorrt-llm": "TensorRT-LLM", "hf": "Transformers",
         "megatron": "Megatron-LM", "deepspeed": "DeepSpeed", "llamafactory": "LLaMA-Factory", "openrlhf": "OpenRLHF"}
LAYOUT_ONLY = ("deepspeed", "accelerate")  # their files say how training is laid out, not what is trained
_COUNTED = re.compile(r"\s*\d[\d_,]*\s*[x×*]", re.IGNORECASE)


class Subject(Struct, frozen=True):
    """kind: model | scenario | launch | trainer | log | bench; `source` is the program whose file or line it is."""

    kind: str
    scenario: Mapping[str, Any]
    source: str = ""
    where: str = ""
    notes: LaunchNotes | None = None
    log: LogReading | None = None

    @property
    def foreign(self) -> bool:
        """Read from somebody else's file, so that what was read has to be said."""
        return self.kind in ("launch", "trainer", "log", "bench")

    @property
    def title(self) -> str:
        what = {"log": "log", "bench": "result"}.get(self.kind, "settings" if self.where else "launch line")
        return f"{NAMES.get(self.source, self.source)} {what} {self.where}".strip()

    @property
    def assumptions(self) -> tuple[dict[str, Any], ...]:
        """What the reader assumed, then the settings that planning does not depend on."""
        if self.notes is None:
            return ()
        assumed = [dict(note) for note in self.notes.assumed if not (note["what"] == "model" and note["value"] is None)]
        idle = {"why": "read, and the plan does not depend on it", "source": self.title}
        return (*assumed, *({"what": text, "value": "without effect", **idle} for text in self.notes.without_effect))

    @property
    def warnings(self) -> tuple[str, ...]:
        if self.notes is None:
            return ()
        unknown = [f"{text}: not known to the reader of the {self.title}" for text in self.notes.unknown]
        unplanned = [f"{text}: it matters, and the plan has no field for it" for text in self.notes.unplanned]
        return (*unknown, *unplanned)


def subject_of(given: str | Sequence[str]) -> Subject:
    """Read a subject: a name, a path, or a launch line (its words, or one text with spaces).

    >>> subject_of("llama-3.1-8b").scenario
    {'model': 'llama-3.1-8b'}
    >>> subject_of("vllm serve org/m -tp 4").scenario["serve"]["tensor"]
    4
    """
    if not isinstance(given, str):
        words = [str(word) for word in given]
        return _line(words[0] if len(words) == 1 else words)
    path = Path(given).expanduser()
    suffix = path.suffix.lower()
    if not _is_file(path):
        if suffix in SETTINGS or suffix in TEXTS:
            load_file(path)
            raise Unreadable(f"{given}: no such file")
        return _line(given) if len(given.split()) > 1 else Subject("model", {"model": given})
    if suffix in SETTINGS:
        return _settings(path, given)
    return _bench(path) if suffix in (".jsonl", ".ndjson") else _other(path, given)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _line(given: str | Sequence[str]) -> Subject:
    """A launch line of an engine or a trainer, whichever reads it."""
    from outlay.readers.launch.line import read_launch
    from outlay.readers.trainer.file import read_trainer, read_trainer_text

    read: Callable[[], tuple[dict[str, Any], LaunchNotes]]
    tried = ("launch", lambda: read_launch(given)), (
        "trainer", lambda: read_trainer_text(given) if isinstance(given, str) else read_trainer(given))
    why: list[str] = []
    for kind, read in tried:
        try:
            parts, notes = read()
        except Unreadable as error:
            why.append(error.message)
            continue
        parts, notes = _without_file(parts, notes)
        return Subject(kind, parts, notes.engine, notes=notes)
    text = given if isinstance(given, str) else " ".join(given)
    raise Unreadable(f"{text[:80]}: {'; '.join(why)}", "--")


def _without_file(parts: dict[str, Any], notes: LaunchNotes) -> tuple[dict[str, Any], LaunchNotes]:
    """A GGUF that is not at hand stands for the model and the quantisation its name says."""
    from outlay.readers.launch.names import gguf_type_in_name

    given = str(parts.get("model") or "")
    if "gguf" not in given.lower() or Path(given).expanduser().exists():
        return parts, notes
    kind, name = gguf_type_in_name(given), given.rsplit("/", 1)[-1]
    name = re.sub(r"(?i)(-\d{5}-of-\d{5})?\.gguf$|[-_.]gguf$", "", name)
    if kind is not None:
        name = re.sub(rf"(?i)[-_.](ud-)?{kind}(_xl)?$", "", name)
    serve = {**({"precision": kind} if kind else {}), **(parts.get("serve") or {})}
    why = f"{given} is not here, so sizes are those of the model by its name" + (f", in {kind}" if kind else "")
    note = {"what": "model", "value": name, "why": why, "source": notes.engine}
    notes = replace(notes, assumed=(*notes.assumed, note))
    return {**parts, "model": name, "serve": serve}, notes


def _settings(path: Path, given: str) -> Subject:
    """A scenario or a result as ever; else a model's, a trainer's or an engine's settings."""
    from outlay.readers.any_file import read_any
    from outlay.readers.bench.file import is_bench

    if path.name == "config.json" or path.name.endswith(".index.json"):
        return Subject("model", {"model": given})
    document = load_file(path)
    if _is_scenario(document):
        return Subject("scenario", _scenario(document, given))
    if is_bench(document):
        return _bench(path)
    read = read_any(path)
    if read.kind in ("safetensors", "model", "gguf"):
        return Subject("model", {"model": given})
    if read.kind == "scenario":
        return Subject("scenario", _scenario(document, given))
    return Subject(read.kind, read.parts, read.notes.engine, path.name, read.notes)


def _bench(path: Path) -> Subject:
    """A benchmark's result stands for the deployment and the load of its first run that has one."""
    from outlay.readers.bench.file import read_bench
    from outlay.readers.bench.record import scenario_parts

    reading = read_bench(path)
    run = next((run for run in reading.runs if run.load not in ("", "trace")), None)
    if run is None:
        raise Unreadable(f"{path}: no run of it has a load that can be planned")
    return Subject("bench", scenario_parts(run), run.tool, path.name)


def _is_scenario(document: object) -> bool:
    """Whether a document means to be a scenario, so that its faults are told as a scenario's."""
    if not isinstance(document, Mapping):
        return True
    keys = {str(key) for key in document}
    if "outlay" in keys or not keys:
        return True
    model = document.get("model")
    if isinstance(model, Mapping) and "_component_" in model:
        return False
    top = {name for name in field_paths() if "." not in name}
    return keys <= top or bool(keys & {"pretrain", "finetune", "serve", "fleet"})


def _scenario(document: object, given: str) -> dict[str, Any]:
    plain: dict[str, Any] = to_plain(scenario_from(document))
    if not plain:
        raise BadValue(f"{given}: an empty scenario", "")
    return plain


def _other(path: Path, given: str) -> Subject:
    """A script, a log, or the file of a model."""
    from outlay.readers.any_file import read_any

    if path.suffix.lower() in (".gguf", ".safetensors"):
        return Subject("model", {"model": given})
    read = read_any(path)
    if read.kind in ("gguf", "safetensors"):
        return Subject("model", {"model": given})
    if read.kind == "log":
        return Subject("log", read.parts, read.value.engine, path.name, log=read.value)
    return Subject(read.kind, read.parts, read.notes.engine, path.name, read.notes)


def for_phase(subject: Subject, phase: str) -> dict[str, Any]:
    """The scenario it stands for, where it holds what is asked about; Inconsistent where it holds something else."""
    scenario = dict(subject.scenario)
    held = [name for name in VERBS if name in scenario]
    if not subject.foreign or not held or phase in held:
        return scenario
    if phase == "pretrain" and subject.source in LAYOUT_ONLY:
        return {**scenario, "pretrain": _as_pretrain(scenario.pop("finetune"))}
    does = {"pretrain": "pretrains", "finetune": "fine-tunes", "serve": "serves"}[held[0]]
    raise Inconsistent(f"the {subject.title} {does}; ask `outlay {VERBS[held[0]]}` about it", phase)


def _as_pretrain(tune: Mapping[str, Any]) -> dict[str, Any]:
    """How a fine-tune is laid out, said as pretraining says it."""
    layout = dict(tune.get("layout") or {})
    if "micro_batch" in tune:
        layout["micro_batch"] = tune["micro_batch"]
    if tune.get("gradient_checkpointing"):
        layout["recompute"] = "full"
    kept = {k: tune[k] for k in ("precision", "framework", "offload", "global_batch", "optimizer") if k in tune}
    return {**kept, **({"layout": layout} if layout else {})}


def with_fleet(scenario: Mapping[str, Any], subjects: Sequence[Subject], phase: str) -> dict[str, Any]:
    """The scenario with as many devices as the line or file uses, where no number was given.

    Raises BadValue, naming what to give, when no device is named at all.
    """
    foreign = [subject for subject in subjects if subject.foreign]
    if not foreign:
        return dict(scenario)
    count = devices_of(scenario, foreign, phase)
    fleet = scenario.get("fleet")
    if not fleet:
        title = foreign[-1].title
        uses = f"; it uses {count} devices" if count else ""
        raise BadValue(f"the {title} names no device{uses}: give one, for example -g {count or 1}xh100-sxm", "fleet")
    if count and isinstance(fleet, str) and not _COUNTED.match(fleet):
        return {**scenario, "fleet": f"{count}x{fleet.strip()}"}
    if count and isinstance(fleet, Mapping) and fleet.get("devices") is None:
        return {**scenario, "fleet": {**fleet, "devices": count}}
    return dict(scenario)


def devices_of(scenario: Mapping[str, Any], subjects: Sequence[Subject], phase: str) -> int | None:
    """Devices that the line or file uses: of a replica when serving, as the launcher says when training."""
    if phase == "serve":
        from outlay.readers.launch.vllm import devices

        try:
            return devices(scenario.get("serve") or {})
        except (TypeError, ValueError):
            return None
    return next((s.notes.devices for s in reversed(subjects) if s.notes and s.notes.devices), None)


def with_reading(result: Result, subjects: Sequence[Subject]) -> Result:
    """The result with what was read, and what could not be, among its assumptions and warnings."""
    assumptions = [a for s in subjects for a in s.assumptions]
    warnings = [w for s in subjects for w in s.warnings]
    if not assumptions and not warnings:
        return result
    return replace(result, assumptions=(*result.assumptions, *assumptions),
                               warnings=(*result.warnings, *warnings))
