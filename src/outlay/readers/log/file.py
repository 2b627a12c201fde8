"""Start-up logs of vLLM, SGLang, llama.cpp and TensorRT-LLM → observations, each with its line.

Lines are read one by one and bounded; what no rule understands is counted, and lines that speak of memory and
were not understood are shown.
"""

from __future__ import annotations

import math
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any

from msgspec import Struct

from outlay.errors import Unreadable
from outlay.readers.json_file import open_regular
from outlay.readers.log.rules import MIB, UNITS, Rule, rules

MAX_LINES = 300_000
MAX_CHARS = 50_000_000
MAX_OBSERVATIONS = 20_000
_LINE = 16_000
_MATCHED = 3_000  # of a line, what patterns look at
_SAMPLES = 20
_ANSI = re.compile(r"\x1b\[[0-9;]{0,12}[A-Za-z]")
_MEMORY = re.compile(r"\d ?(?:GiB|MiB|GB|MB)\b|KV cache|kv_cache|out of memory", re.IGNORECASE)
_RANKS = (
    re.compile(r"\((?:Vllm)?Worker(?:Proc|Process)?_?((?:[A-Z]{2}\d{1,5}_?){1,5})?[^)]{0,20}pid=(\d{1,10})"),
    re.compile(r"^\[[\d: .,-]{10,30} ((?:[A-Z]{2}\d{1,5} ?){1,5})\]"),
    re.compile(r"\[RANK (\d{1,5})\]"),
    re.compile(r"^\((EngineCore_DP\d{1,5})"),
    re.compile(r"\(Ray\w{0,30} pid=(\d{1,10})"),
)
_SETTING = re.compile(r"\b([a-z_]{2,40})(?:=|['\"]: ?)(?:'([^']{0,300})'|\"([^\"]{0,300})\"|([\w.+-]{1,60}))")
_SETTINGS = {  # as configuration lines print them → the scenario's field, or a name of ours
    "model": "model",
    "model_path": "model",
    "model_tag": "model",
    "tensor_parallel_size": "tensor",
    "tp_size": "tensor",
    "pipeline_parallel_size": "pipeline",
    "pp_size": "pipeline",
    "data_parallel_size": "data",
    "dp_size": "data",
    "max_seq_len": "max_model_len",
    "max_model_len": "max_model_len",
    "context_length": "max_model_len",
    "gpu_memory_utilization": "memory_utilization",
    "mem_fraction_static": "memory_utilization",
    "max_num_seqs": "max_num_seqs",
    "max_running_requests": "max_num_seqs",
    "dtype": "dtype",
    "max_num_batched_tokens": "max_num_batched_tokens",
    "chunked_prefill_size": "max_num_batched_tokens",
    "quantization": "quantization",
    "kv_cache_dtype": "kv_cache_dtype",
    "enforce_eager": "enforce_eager",
    "decode_context_parallel_size": "decode_context_parallel",
    "enable_expert_parallel": "expert_parallel",
    "enable_dp_attention": "dp_attention",
    "ep_size": "expert",
}
_CONFIGURATION = (
    ("with config", "vllm"),
    ("non-default args", "vllm"),
    ("args: Namespace", "vllm"),
    ("server_args=", "sglang"),
    ("ServerArgs(", "sglang"),
)


class Observation(Struct, frozen=True):
    """One thing a log says. Bytes are SI; `line` counts from 1; rank is "" where the line names none."""

    name: str
    value: float | str
    unit: str
    line: int
    rank: str = ""


class LogReading(Struct, frozen=True, dict=True):
    """Everything read from one log."""

    engine: str
    observations: tuple[Observation, ...]
    lines: int
    lines_understood: int
    lines_not_understood: int  # that speak of memory and no rule reads
    not_understood: tuple[tuple[int, str], ...]  # the first few of these
    remarks: tuple[str, ...] = ()

    @property
    def version(self) -> str:
        found = self.first("engine_version")
        return str(found.value) if found else ""

    @cached_property
    def names(self) -> frozenset[str]:
        return frozenset(o.name for o in self.observations)

    def all(self, name: str) -> list[Observation]:
        return [o for o in self.observations if o.name == name]

    def first(self, name: str) -> Observation | None:
        return next((o for o in self.observations if o.name == name), None)

    def by_rank(self, name: str) -> dict[str, float]:
        """The last number each rank gave under this name."""
        return {o.rank: o.value for o in self.observations if o.name == name and isinstance(o.value, float)}

    def settings(self) -> dict[str, Any]:
        """The configuration the log states, later lines over earlier ones."""
        return {o.name.removeprefix("setting."): o.value for o in self.observations if o.name.startswith("setting.")}


def read_log(source: str | Iterable[str]) -> LogReading:
    """Observations from a log's text or its lines.

    >>> reading = read_log("INFO 01-30 03:18:12 [gpu_model_runner.py:848] Model loading took 14.9889 GiB and 3.1 s")
    >>> [(o.name, round(o.value / 2**30, 4)) for o in reading.observations if o.unit == "bytes"]
    [('weights_bytes', 14.9889)]
    """
    engines: Counter[str] = Counter()
    seen: list[Observation] = []
    strange: list[tuple[int, str]] = []
    remarks: list[str] = []
    number = understood = missed = spent = 0
    for raw in _lines(source):
        number += 1
        spent += len(raw)
        if number > MAX_LINES or spent > MAX_CHARS or len(seen) > MAX_OBSERVATIONS:
            number -= 1
            remarks.append(f"only the first {number:,} lines were read")
            break
        line = _ANSI.sub("", raw[:_LINE]).strip()
        found = _read_line(line, number, engines) if line else []
        if found:
            understood += 1
            seen += found
        elif line and _MEMORY.search(line[:_MATCHED]):
            missed += 1
            if len(strange) < _SAMPLES:
                strange.append((number, line[:200]))
    known = Counter({engine: times for engine, times in engines.items() if engine != "any"})
    engine = known.most_common(1)[0][0] if known else ""
    if len(known) > 1:
        remarks.append("messages of several engines: " + ", ".join(sorted(known)))
    return LogReading(engine, tuple(seen), number, understood, missed, tuple(strange), tuple(remarks))


def read_log_file(path: str | os.PathLike[str]) -> LogReading:
    """The same from a file; bytes that are not UTF-8 are passed over."""
    with open_regular(path) as file:
        reading = read_log(_decoded(iter(lambda: file.readline(_LINE), b"")))
    if not reading.engine:
        raise Unreadable(f"{path}: no start-up message of vLLM, SGLang, llama.cpp or TensorRT-LLM is in it")
    return reading


def _decoded(lines: Iterator[bytes]) -> Iterator[str]:
    for line in lines:
        yield line.decode("utf-8", "replace")


def _lines(source: str | Iterable[str]) -> Iterator[str]:
    if not isinstance(source, str):
        yield from source
        return
    at = 0
    while at < len(source):
        end = source.find("\n", at)
        end = len(source) if end < 0 else end
        yield source[at:end]
        at = end + 1


def _read_line(line: str, number: int, engines: Counter[str]) -> list[Observation]:
    found: list[Observation] = []
    for mark, engine in _CONFIGURATION:
        if mark in line:
            found = _configuration(line, number)
            engines[engine] += bool(found)
            break
    done: set[str] = set()
    for rule in rules():
        if rule.mark not in line or not done.isdisjoint(rule.names):
            continue
        match = rule.pattern.search(line[:_MATCHED])
        if match is None:
            continue
        read = _values(rule, match, number, _rank(line))
        if read:
            engines[rule.engine] += 1
            done.update(rule.names)
            found += read
    return found


def _values(rule: Rule, match: re.Match[str], number: int, rank: str) -> list[Observation]:
    """The groups of a match under the rule's names; a size takes two groups, its number and its unit."""
    groups = list(match.groups())
    found: list[tuple[str, float | str, str]] = []
    later = next((g.lower() for g in groups if g and g.lower() in UNITS), "")  # "93.8/95.0 GiB": one unit for both
    for name in rule.names:
        if not groups:
            break
        text = groups.pop(0)
        if name.endswith("_bytes"):
            unit = groups.pop(0) if groups else None
            value = _number(text)
            if value is not None:
                found.append((name, value * UNITS.get((unit or later).lower(), 1.0), "bytes"))
        elif name == "@rank":
            rank = (text or "").strip()
        elif name.startswith("=") and text:
            found.append((name[1:], text.strip(), "text"))
        elif text is not None:
            found += _plain(name, text)
    keys, values = (next((v for n, v, _ in found if n == f"kv_{part}_bytes"), None) for part in ("keys", "values"))
    if rule.engine == "sglang" and isinstance(keys, float) and isinstance(values, float):
        found.append(("kv_cache_bytes", keys + values, "bytes"))
    return [Observation(name, value, unit, number, rank) for name, value, unit in found]


_ENDINGS = (("_mib", MIB), ("_bytes_plain", 1.0))  # numbers printed without their unit


def _plain(name: str, text: str) -> list[tuple[str, float | str, str]]:
    value = _number(text)
    if value is None:
        return []
    for ending, factor in _ENDINGS:
        if name.endswith(ending):
            return [(name.removesuffix(ending) + "_bytes", value * factor, "bytes")]
    return [(name, value, "s" if name.endswith("_s") else "count")]


def _number(text: str | None) -> float | None:
    if not text:
        return None
    try:
        number = float(text.replace(",", "").rstrip("."))
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _rank(line: str) -> str:
    for pattern in _RANKS:
        match = pattern.search(line[:200])
        if match:
            return next((group for group in match.groups() if group), "").strip(" _")
    return ""


def _configuration(line: str, number: int) -> list[Observation]:
    """Settings printed as `name=value` or `'name': value`."""
    found: dict[str, Observation] = {}
    for match in _SETTING.finditer(line):
        field = _SETTINGS.get(match.group(1))
        text = next((group for group in match.groups()[1:] if group is not None), "")
        if field is None or text in ("None", "", "null") or field in found:
            continue
        value = _number(text) if field not in ("model", "dtype", "quantization", "kv_cache_dtype") else None
        found[field] = Observation(f"setting.{field}", value if value is not None else text, "setting", number)
    return list(found.values())


def parts_of(reading: LogReading) -> dict[str, Any]:
    """The scenario the log's settings describe: model and `serve:`, for comparing expected with seen."""
    from outlay.readers.launch.names import KV, WEIGHTS

    stated: Mapping[str, Any] = reading.settings()
    serve: dict[str, Any] = {"engine": reading.engine} if reading.engine else {}
    if reading.version:
        serve["engine_version"] = reading.version
    for name in (
        "tensor",
        "pipeline",
        "data",
        "expert",
        "max_model_len",
        "max_num_seqs",
        "max_num_batched_tokens",
        "decode_context_parallel",
    ):
        value = stated.get(name, _seen(reading, name))
        if isinstance(value, float) and value >= 1 and value == int(value) and value < 1e7:
            serve[name] = int(value)
    if reading.engine == "llama.cpp":
        serve |= _contexts(reading)
    share = stated.get("memory_utilization", _seen(reading, "memory_utilization"))
    if isinstance(share, float) and 0 < share <= 1:
        serve["memory_utilization"] = share
    method = str(stated.get("quantization", "")).lower()
    kind = str(stated.get("dtype", "")).lower().removeprefix("torch.")
    mix = _mix(str(_seen(reading, "file_type") or "").lower())
    precision = WEIGHTS.get(method) if method else WEIGHTS.get(kind) or mix
    if precision:
        serve["precision"] = precision
    kv = KV.get(str(stated.get("kv_cache_dtype", _seen(reading, "kv_keys_type") or "")).lower())
    if kv:
        serve["kv_precision"] = kv
    if str(stated.get("enforce_eager", "")).lower() == "true":
        serve["enforce_eager"] = True
    model = stated.get("model")
    return ({"model": model} if isinstance(model, str) else {}) | {"serve": serve}


def _contexts(reading: LogReading) -> dict[str, Any]:
    """Slots with a context each, or one they share, and the layers on devices, as llama.cpp prints them."""
    found: dict[str, Any] = {}
    unified, context = str(_seen(reading, "kv_unified") or "").lower(), _seen(reading, "context_tokens")
    if unified in ("true", "false"):
        found["kv_unified"] = unified == "true"
        if found["kv_unified"] and isinstance(context, float) and 1 <= context < 1e7:
            found["max_model_len"] = int(context)
    layers, most = _seen(reading, "gpu_layers"), _seen(reading, "layers_and_output")
    if isinstance(layers, float) and isinstance(most, float) and 0 <= layers < most:
        found["gpu_layers"] = int(layers)
    return found


def _mix(printed: str) -> str | None:
    """llama.cpp's name of a file's quantisation as people write it.

    >>> _mix("q4_k - medium"), _mix("q8_0"), _mix("all f32")
    ('q4_k_m', 'q8_0', None)
    """
    from outlay.readers.gguf.types import BY_NAME

    base, _, size = printed.partition(" - ")
    ending = {"small": "_s", "medium": "_m", "large": "_l"}.get(size.split(" ")[0] if size else "", "")
    return f"{base.strip()}{ending}" if base.strip() in BY_NAME else None


def _seen(reading: LogReading, name: str) -> float | str | None:
    found = reading.first(name)
    return found.value if found else None
