"""Command-line flags against a table of what each means, and what is said about the rest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct, field

from outlay.errors import BadValue, Unreadable
from outlay.readers.fields import Note, show

MAX_SHOWN = 200
_SWITCHES = ("true", "false", "auto", "on", "off", "yes", "no", "0", "1", "full", "offload", "unsloth")
_OFF = ("", "false", "none", "null", "0", "0.0", "off", "[]", "{}")


class LaunchNotes(Struct, frozen=True):
    """What was read beside the scenario, so that nothing is dropped in silence."""

    engine: str = ""
    unknown: tuple[str, ...] = ()  # flags or keys that are not known to the reader
    without_effect: tuple[str, ...] = ()  # known, and planning does not depend on them
    unplanned: tuple[str, ...] = ()  # known, they do matter, and the scenario has no field for them
    assumed: tuple[Note, ...] = ()  # what, value, why, source
    devices: int | None = None  # devices the line uses
    devices_per_node: int | None = None


class Collected(Struct):
    """Flags as they are read: values by target, and the lists of the rest."""

    source: str
    values: dict[str, Any] = field(default_factory=dict)
    positional: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    without_effect: list[str] = field(default_factory=list)
    unplanned: list[str] = field(default_factory=list)
    assumed: list[Note] = field(default_factory=list)

    def note(self, what: str, value: Any, why: str) -> None:
        self.assumed.append({"what": what, "value": value, "why": why, "source": self.source})

    def take(self, name: str, default: Any = None) -> Any:
        return self.values.pop(name, default)

    def notes(self, devices: int | None = None, devices_per_node: int | None = None) -> LaunchNotes:
        return LaunchNotes(
            self.source,
            tuple(self.unknown),
            tuple(self.without_effect),
            tuple(self.unplanned),
            tuple(self.assumed),
            devices,
            devices_per_node,
        )


class Spec(Struct, frozen=True):
    """One flag: what kind of value follows it and where the value goes."""

    kind: str
    target: str  # a name to collect under; "-" no effect on planning; "!" an effect without a field


Table = Mapping[str, Spec]


def table(rows: str) -> dict[str, Spec]:
    """A table from lines `names | kind | target`.

    >>> table("tensor-parallel-size tp | int | tensor")["tp"]
    Spec(kind='int', target='tensor')
    """
    found: dict[str, Spec] = {}
    for line in rows.strip().splitlines():
        names, kind, target = (part.strip() for part in line.split("|"))
        for name in names.split():
            found[name] = Spec(kind, target)
    return found


def listed(name: str) -> dict[str, Spec]:
    """The flags an engine knows and no field of a scenario takes, from the lists beside this file."""
    text = (Path(__file__).parent / "flags" / name).read_text("utf-8")
    return table("\n".join(line for line in text.splitlines() if not line.startswith("#")))


def read_flags(words: Sequence[str], known: Table, collected: Collected) -> None:
    """Sort the words of a launch line into the collected values and lists."""
    at = 0
    while at < len(words):
        word = words[at]
        at += 1
        if not word.startswith("-") or word in ("-", "--") or _is_number(word):
            if word not in ("-", "--"):
                collected.positional.append(word)
            continue
        name, equals, value = word.partition("=")
        spec, plain, negated = _find(name, known)
        if spec is None:
            at += _unknown(word, bool(equals), words, at, collected)
            continue
        if spec.kind in ("flag", "noflag") and not equals:
            given: Any = _follows_bool(words, at)
            at += given is not None
            value = "true" if given is None else given
        elif spec.kind == "list" and not equals:
            items = []
            while at < len(words) and not words[at].startswith("--"):
                items.append(words[at])
                at += 1
            value = " ".join(items)
        elif spec.kind in ("value", "switch") and not equals:
            value = "true"
            if _takes(spec, words[at] if at < len(words) else "-"):
                value = words[at]
                at += 1
        elif not equals:
            if at >= len(words):
                raise BadValue(f"{name} at the end of the line lacks its value", plain)
            value = words[at]
            at += 1
        store(spec, plain, value, collected, negated)


def _find(name: str, known: Table, whole_names: bool = False) -> tuple[Spec | None, str, bool]:
    """The flag's row: exact, negated (`--no-…`), or by a start that only one flag has."""
    plain = name.lstrip("-").replace("_", "-") if name.startswith("--") else name.lstrip("-")
    if plain in known:
        return known[plain], plain, False
    if plain.startswith("no-") and plain[3:] in known and known[plain[3:]].kind in ("flag", "noflag", "switch"):
        return known[plain[3:]], plain[3:], True
    family = _family(plain, known)
    if family is not None:
        return family, plain, False
    if name.startswith("--") and len(plain) >= 4 and not whole_names:
        close = {id(known[k]): k for k in known if k.startswith(plain)}
        if len({known[k] for k in close.values()}) == 1:
            full = next(iter(close.values()))
            return known[full], full, False
    return None, plain, False


def _family(plain: str, known: Table) -> Spec | None:
    """The row of a whole family of settings: `name.*`, or a setting that is not taken and of which this is a part."""
    at = plain.rfind(".")
    while at > 0:
        base = plain[:at]
        if f"{base}.*" in known:
            return known[f"{base}.*"]
        if base in known and known[base].target in "-!":
            return known[base]
        at = plain.rfind(".", 0, at)
    return None


def _unknown(word: str, has_value: bool, words: Sequence[str], at: int, collected: Collected) -> int:
    """List an unknown flag with the word that seems to be its value; how many words that took."""
    follows = not has_value and at < len(words) and (not words[at].startswith("-") or _is_number(words[at]))
    shown = f"{word} {words[at]}" if follows else word
    if len(collected.unknown) < MAX_SHOWN * 5:
        collected.unknown.append(shown[:MAX_SHOWN])
    return int(follows)


def _follows_bool(words: Sequence[str], at: int) -> str | None:
    """`--flag False`: a truth value after a flag that needs none."""
    return words[at] if at < len(words) and words[at].lower() in ("true", "false") else None


def _takes(spec: Spec, word: str) -> bool:
    """Whether a flag that may stand alone takes this word as its value."""
    plain = not word.startswith("-") or _is_number(word)
    return plain and (spec.kind == "value" or word.lower() in _SWITCHES)


def _is_number(word: str) -> bool:
    return len(word) < 40 and word[1:2].isdigit() and word[1:].replace(".", "", 1).replace("e", "", 1).isalnum()


def spec_of(plain: str, known: Table) -> Spec | None:
    """The row of a setting by its exact name, or of its family."""
    return known.get(plain) or _family(plain, known)


def store(spec: Spec, name: str, value: Any, collected: Collected, negated: bool = False) -> None:
    """Put one value where its row says."""
    shown = f"{name} {value}"[:MAX_SHOWN]
    if spec.target == "-":
        collected.without_effect.append(shown)
        return
    if spec.target == "!":
        if str(value).lower() in _OFF:
            collected.without_effect.append(shown)
        elif spec.kind != "flag" or truth(value, name) != negated:
            collected.unplanned.append(shown)
        return
    if value == "auto" and spec.kind not in ("text", "switch", "json", "list", "value"):
        collected.note(name, "auto", "left to the framework: not read")
        return
    if isinstance(value, str) and "$" in value and spec.kind != "json":
        collected.note(name, value[:MAX_SHOWN], "a variable that is not set in the text: not read")
        return
    read = CONVERT[spec.kind](value, name)
    if spec.kind == "noflag":
        read = not read
    collected.values[spec.target] = not read if negated else read


def truth(value: Any, name: str) -> bool:
    if isinstance(value, bool):
        return value
    text = str(value).strip().lower()
    if text in ("true", "1", "yes", "on", "enable", "enabled"):
        return True
    if text in ("false", "0", "no", "off", "none", "null", "disable", "disabled"):
        return False
    raise BadValue(f"{name}: {show(value)} is neither true nor false", name)


def whole(value: Any, name: str) -> int:
    number = real(value, name)
    if number != int(number):
        raise BadValue(f"{name}: {show(value)} is not a whole number", name)
    return int(number)


def real(value: Any, name: str) -> float:
    text = str(value).strip().replace("_", "")
    try:
        number = float(text) if len(text) <= 40 and not isinstance(value, bool) else float("nan")
    except ValueError:
        number = float("nan")
    if not abs(number) < 1e18:
        raise BadValue(f"{name}: {show(value)} is not a number", name)
    return number


_SUFFIXES = {"k": 1e3, "m": 1e6, "g": 1e9, "K": 2**10, "M": 2**20, "G": 2**30}


def human(value: Any, name: str) -> int:
    """A whole number as vLLM reads it: small letters are decimal, capitals binary.

    >>> human("32k", "max-model-len"), human("32K", "max-model-len"), human("-1", "x")
    (32000, 32768, -1)
    """
    text = str(value).strip()
    factor = _SUFFIXES.get(text[-1:], 0)
    return int(real(text[:-1], name) * factor) if factor else whole(text, name)


def mapping(value: Any, name: str) -> Mapping[str, Any]:
    """A JSON object in a word."""
    from outlay.readers.json_file import parse_json

    if isinstance(value, Mapping):
        return value
    try:
        read = parse_json(str(value).encode("utf-8", "replace"), name)
    except Unreadable as error:
        raise BadValue(error.message, name) from None
    if not isinstance(read, Mapping):
        raise BadValue(f"{name}: {show(value)} is not a JSON object", name)
    return read


CONVERT: dict[str, Callable[[Any, str], Any]] = {
    "int": whole,
    "human": human,
    "real": real,
    "flag": truth,
    "noflag": truth,
    "json": mapping,
    "text": lambda value, _: str(value),
    "list": lambda value, _: str(value),
    "value": lambda value, _: str(value),
    "switch": lambda value, _: str(value),
    "json_or_text": lambda value, _: value if isinstance(value, Mapping) else str(value),
}


def read_keys(keys: Mapping[Any, Any], known: Table, collected: Collected) -> None:
    """The same table for a configuration file whose keys are the flags' names."""
    for key, value in keys.items():
        name = str(key)
        spec, plain, negated = _find(f"--{name}", known, whole_names=True)
        if spec is None:
            collected.unknown.append(f"{name}: {show(value)}"[:MAX_SHOWN])
        elif value is not None:
            if isinstance(value, list) and spec.kind != "json":
                value = " ".join(map(str, value[:100]))
            store(spec, plain, value, collected, negated)
