"""Reading scenarios: text or a mapping in, a `Scenario` out, with every fault named by its field.

Walks the record types of `scenario`, so that a field is described once.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import date
from functools import lru_cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from outlay.errors import BadValue, UnknownField, Unreadable, suggestion
from outlay.scenario import Scenario
from outlay.scenario_kinds import Record
from outlay.units import parse

R = TypeVar("R", bound=Record)
MAX_BYTES = 8_000_000
MAX_DEPTH = 40
MAX_NODES = 200_000  # values of a document, each counted as often as it is referred to


def scenario_from(raw: object) -> Scenario:
    """A checked scenario from a mapping; a result's JSON is read by its `scenario` part.

    Raises OutlayError subclasses naming the field.

    >>> scenario_from({"pretrain": {"tokens": "15T"}}).pretrain.tokens
    15000000000000.0
    """
    if isinstance(raw, Mapping) and "outlay" in raw and isinstance(raw.get("scenario"), Mapping):
        raw = raw["scenario"]
    return build(Scenario, raw, "")


def load_text(text: str, suffix: str, where: str) -> Any:
    """Parse YAML, TOML or JSON text by its file suffix; Unreadable with the place when it does not parse."""
    if len(text) > MAX_BYTES:
        raise Unreadable(f"{where}: larger than {MAX_BYTES // 1_000_000} MB, not a scenario")
    try:
        if suffix == ".toml":
            import tomllib

            return tomllib.loads(text)
        if suffix == ".json":
            return json.loads(text)
        read = _yaml(text)
        bounded(read, where)
        return read
    except RecursionError:
        raise Unreadable(f"{where}: nested too deeply") from None
    except ValueError as error:
        raise Unreadable(f"{where}: {_first_line(error)}") from None


def bounded(value: object, where: str) -> None:
    """Refuse a document that is huge when written out: YAML aliases can make few lines stand for billions."""
    left = MAX_NODES
    walk: list[tuple[object, int]] = [(value, 0)]
    while walk:
        node, depth = walk.pop()
        if not isinstance(node, (Mapping, list, tuple, set)):
            continue
        left -= len(node) + 1
        if left < 0 or depth > MAX_DEPTH:
            raise Unreadable(f"{where}: too many values, or nested too deeply")
        walk += [(inner, depth + 1) for inner in (node.values() if isinstance(node, Mapping) else node)]


def _yaml(text: str) -> Any:
    import yaml

    if text.count("&") and text.count("*") > 200:
        raise ValueError("more YAML aliases than a scenario needs")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return yaml.load(text, Loader=loader)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from None


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return ": ".join(lines[:3])[:300] or type(error).__name__


def load_file(path: str | Path) -> Any:
    """The parsed document of a scenario file."""
    path = Path(path)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise Unreadable(f"{path}: larger than {MAX_BYTES // 1_000_000} MB, not a scenario")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise Unreadable(f"{path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise Unreadable(f"{path}: not UTF-8 text") from None
    document = load_text(text, path.suffix.lower(), str(path))
    if document is None:
        raise Unreadable(f"{path}: empty; a scenario names a model or a phase, for example model: llama-3.1-8b")
    return document


@lru_cache(maxsize=64)
def field_types(record: type[Record]) -> dict[str, Any]:
    """Field name → its annotation, with the number kinds kept."""
    return get_type_hints(record, include_extras=True)


def build(record: type[R], raw: object, path: str) -> R:
    """A record from a mapping, converting human units and naming every fault by its dotted path."""
    if not isinstance(raw, Mapping):
        what = path or "the scenario"
        raise BadValue(f"{what}: expected a mapping of fields, got {_shown(raw)}", path)
    types = field_types(record)
    values: dict[str, Any] = {}
    for key, value in raw.items():
        where = f"{path}.{key}" if path else str(key)
        if key not in types:
            raise UnknownField(f"{where}: unknown field{_elsewhere(str(key), types)}", where)
        if value is not None:
            values[str(key)] = convert(types[str(key)], value, where)
    missing = [f for f in _required(record) if f not in values]
    if missing:
        where = f"{path}.{missing[0]}" if path else missing[0]
        raise BadValue(f"{where}: is needed here", where)
    return record(**values)


# Fields as engines, benchmarks and trainers call them, without case and signs
_CALLED = {
    "tp": "tensor", "tpsize": "tensor", "tensorparallelsize": "tensor", "tensorparallel": "tensor",
    "pp": "pipeline", "ppsize": "pipeline", "pipelineparallelsize": "pipeline", "dp": "data", "dpsize": "data",
    "dataparallelsize": "data", "ep": "expert", "epsize": "expert", "expertparallelsize": "expert",
    "quantization": "precision", "dtype": "precision", "kvcachedtype": "kv_precision", "kvdtype": "kv_precision",
    "gpumemoryutilization": "memory_utilization", "memfractionstatic": "memory_utilization",
    "maxbatchsize": "max_num_seqs", "maxrunningrequests": "max_num_seqs", "maxnumtokens": "max_num_batched_tokens",
    "chunkedprefillsize": "max_num_batched_tokens", "contextlength": "max_model_len", "maxseqlen": "max_model_len",
    "isl": "input", "osl": "output", "inputlen": "input", "outputlen": "output", "inputtokens": "input",
    "outputtokens": "output", "prompttokens": "input", "maxconcurrency": "concurrency", "batchsize": "batch",
    "requestrate": "rate", "qps": "rate", "rps": "rate", "numprompts": "requests", "numrequests": "requests",
    "gpu": "device", "gputype": "device", "accelerator": "device", "count": "devices", "gpus": "devices",
    "numgpus": "devices", "ngpus": "devices", "powercapw": "device_power_limit_w", "region": "location",
}


def _elsewhere(key: str, here: dict[str, Any]) -> str:
    """The nearest field here, or the same field where it belongs."""
    called = _CALLED.get("".join(c for c in key.lower() if c.isalnum()))
    if called in here:
        return f"; did you mean {called}?"
    paths = sorted((p for p in field_paths() if p.rsplit(".", 1)[-1] == key), key=lambda p: p.count("."))
    return f"; did you mean {' or '.join(paths[:3])}?" if paths else suggestion(key, here)


@lru_cache(maxsize=1)
def field_paths() -> tuple[str, ...]:
    """Every field of a scenario by its dotted path.

    >>> "pretrain.layout.tensor" in field_paths()
    True
    """
    found: list[str] = []

    def walk(record: type[Record], prefix: str) -> None:
        for name, hint in field_types(record).items():
            found.append(prefix + name)
            for inner in _within(hint):
                walk(inner, f"{prefix}{name}.")

    walk(Scenario, "")
    return tuple(found)


def _within(hint: Any) -> list[type[Record]]:
    """The records a field may hold, those in its list included."""
    if isinstance(hint, type):
        return [hint] if issubclass(hint, Record) else []
    if get_origin(hint) is dict:
        return []  # its keys are names of the user's own
    return [record for inner in get_args(hint) for record in _within(inner)]


@lru_cache(maxsize=1024)
def _required(record: type[Record]) -> tuple[str, ...]:
    """Fields without a default; cached, as looking them up takes longer than reading a scenario."""
    import msgspec

    return tuple(f.name for f in msgspec.structs.fields(record) if f.required)


def convert(hint: Any, value: object, path: str) -> Any:
    """One value against one annotation."""
    if get_origin(hint) is Annotated:
        extra = hint.__metadata__[0].extra or {}
        return value if extra.get("length") else _number(extra, value, path)
    if get_origin(hint) in (Union, UnionType):
        return _union([a for a in get_args(hint) if a is not NoneType], value, path)
    if get_origin(hint) is Literal:
        return _choice(get_args(hint), value, path)
    if isinstance(hint, type) and issubclass(hint, Record):
        return build(hint, value, path)
    if hint is bool:
        if not isinstance(value, bool):
            raise BadValue(f"{path}: expected true or false, got {_shown(value)}", path)
        return value
    if hint is str:
        return _text(value, path)
    if get_origin(hint) is list:
        items = [value] if isinstance(value, str) else value
        if not isinstance(items, (list, tuple)):
            raise BadValue(f"{path}: expected a list, got {_shown(value)}", path)
        return [convert(get_args(hint)[0], item, f"{path}[{i}]") for i, item in enumerate(items)]
    if get_origin(hint) is dict:
        if not isinstance(value, Mapping):
            raise BadValue(f"{path}: expected a mapping, got {_shown(value)}", path)
        inner = get_args(hint)[1]
        return {str(k): v if inner is Any else convert(inner, v, f"{path}.{k}") for k, v in value.items()}
    return value


def _union(options: list[Any], value: object, path: str) -> Any:
    """str | Record, Literal | bool and the like: chosen by what the value is."""
    if len(options) == 1:
        return convert(options[0], value, path)
    records = [o for o in options if isinstance(o, type) and issubclass(o, Record)]
    if records and isinstance(value, Mapping):
        return build(records[0], value, path)
    if bool in options and isinstance(value, bool):
        return value
    rest = [o for o in options if o is not bool and o not in records]
    if not rest:
        raise BadValue(f"{path}: expected a mapping of fields, got {_shown(value)}", path)
    if bool in options and get_origin(rest[0]) is Literal:
        return _choice((*get_args(rest[0]), True, False), value, path)
    return convert(rest[0], value, path)


TINY = 1e-6  # a least value as small only keeps nothing out


def _number(extra: dict[str, Any], value: object, path: str) -> float | int:
    number = parse(value, extra["kind"], path)
    low, high = extra["low"], extra["high"]
    if not low <= number <= high and not (extra["kind"] == "rate_per_s" and number == math.inf):
        limit = f"at least {low:g}" if number < low else f"at most {high:g}"
        if number <= 0.0 < low <= TINY:
            limit = "more than 0"
        elif extra["kind"] == "percentile" and 0.0 < number < low:
            limit += f"; for {number:.4g} of all requests write {100 * number:.6g}"
        raise BadValue(f"{path}: {_shown(value)} must be {limit}", path)
    if not extra["integer"]:
        return number
    if number != int(number):
        raise BadValue(f"{path}: {_shown(value)} must be a whole number", path)
    return int(number)


# Number formats as frameworks and engines spell them
_SAME = {"bfloat16": "bf16", "float16": "fp16", "half": "fp16", "f16": "fp16", "float32": "fp32", "f32": "fp32",
         "float": "fp32", "float8": "fp8", "fp8-e4m3": "fp8", "fp8-e5m2": "fp8", "float8-e4m3fn": "fp8"}


def _choice(allowed: tuple[Any, ...], value: object, path: str) -> Any:
    if isinstance(value, str):
        plain = value.lower().replace("_", "-")
        for option in allowed:
            if str(option).lower().replace("_", "-") in (plain, _SAME.get(plain)):
                return option
    elif value in allowed and not isinstance(value, bool):
        return value
    names = [str(a).lower() if isinstance(a, bool) else str(a) for a in allowed]
    hint = suggestion(str(value), names)
    raise BadValue(f"{path}: {_shown(value)} is not one of {', '.join(names)}{hint}", path)


def _text(value: object, path: str) -> str:
    if isinstance(value, date):  # YAML and TOML read 2027-01-15 as one
        value = value.isoformat()
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise BadValue(f"{path}: expected text, got {_shown(value)}", path)
    text = str(value).strip()
    if not text or len(text) > 4096 or any(ord(c) < 32 for c in text):
        raise BadValue(f"{path}: {_shown(value)} is not a usable text", path)
    return text


def _shown(value: object) -> str:
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, (list, tuple)):
        return "a list"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def to_plain(record: Any) -> Any:
    """A record as plain mappings, without what was not given."""
    if isinstance(record, Record):
        return {f: to_plain(getattr(record, f)) for f in record.__struct_fields__ if getattr(record, f) is not None}
    if isinstance(record, (list, tuple)):
        return [to_plain(v) for v in record]
    if isinstance(record, dict):
        return {k: to_plain(v) for k, v in record.items()}
    return record


def set_path(document: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy of a scenario mapping with one dotted path set; string parts on the way become mappings.

    >>> set_path({"fleet": "8xh200"}, "pretrain.layout.tensor", 4)
    {'fleet': '8xh200', 'pretrain': {'layout': {'tensor': 4}}}
    """
    head, _, rest = path.partition(".")
    copy = dict(document)
    if not rest:
        copy[head] = value
        return copy
    inner = copy.get(head)
    if isinstance(inner, str) and head in ("fleet", "site", "model", "currency"):
        inner = expand_short(head, inner)
    copy[head] = set_path(inner if isinstance(inner, dict) else {}, rest, value)
    return copy


def expand_short(head: str, text: str) -> dict[str, Any]:
    """The mapping that a short spelling stands for, so that one of its fields can be set beside it."""
    if head == "currency":
        return {"code": text}
    if head == "fleet":
        from outlay.units import split_fleet

        count, device = split_fleet(text)
        return {"device": device, "devices": count}
    return {"location": text} if head == "site" else {"name": text}
