"""The SUBJECT of a command line: a name, a file, or a launch line after `--`; and what is said of how it was read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from outlay.cli.options import Shared

if TYPE_CHECKING:
    from outlay.report.blocks import Bullets
    from outlay.subject import Subject

_KEY = "outlay.launch"


class Launching(Shared):
    """A command that takes somebody else's launch line after `--`, untouched."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if "--" in args:
            at = args.index("--")
            if at + 1 == len(args):
                raise click.UsageError("nothing follows --; put a launch line there", ctx)
            ctx.meta[_KEY] = tuple(args[at + 1 :])
            args = args[:at]
        return super().parse_args(ctx, args)

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return [*super().collect_usage_pieces(ctx), "[-- LAUNCH LINE]"]


def launch_words() -> tuple[str, ...]:
    """The words after `--` of the command that runs; none when there were none."""
    context = click.get_current_context(silent=True)
    words: tuple[str, ...] = context.meta.get(_KEY, ()) if context is not None else ()
    return words


def read_subject(subject: str | None, flags: dict[str, Any], phase: str, asked: bool) -> dict[str, Any]:
    """The scenario parts of the launch line after `--`, then of SUBJECT over them; the reading is kept in `flags`."""
    from outlay.subject import subject_of

    parts: dict[str, Any] = {}
    words = launch_words()
    if words:
        parts = keep(subject_of(words), flags, phase, asked)
    if subject is not None:
        parts = merged(parts, keep(subject_of(subject), flags, phase, asked))
    return parts


def keep(found: Subject, flags: dict[str, Any], phase: str, asked: bool) -> dict[str, Any]:
    """What a subject holds of the phase asked about; the subject itself is noted down for the page."""
    from outlay.subject import for_phase

    parts = for_phase(found, phase) if asked else dict(found.scenario)
    read: list[Subject] = flags.setdefault("read", [])
    if found not in read:
        read.append(found)
    return parts


def merged(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """The second over the first; a section that both have is joined, its layout too.

    >>> merged({"serve": {"tensor": 2, "layout": {"a": 1}}}, {"serve": {"layout": {"b": 2}}})
    {'serve': {'tensor': 2, 'layout': {'a': 1, 'b': 2}}}
    """
    joined = dict(first)
    for key, value in second.items():
        both = isinstance(value, Mapping) and isinstance(joined.get(key), Mapping) and key not in ("model", "fleet")
        joined[key] = merged(joined[key], value) if both else value
    return joined


def as_flags(flags: Mapping[str, Any], phase: str) -> list[tuple[str, str]]:
    """What the launch line after `--` says of the phase, as --set would write it: paths and values."""
    from outlay.cli.options import FIELDS

    if not launch_words():
        return []
    over = {f.path.format(phase=phase) for f in FIELDS if flags.get(f.name) is not None}
    over |= {text.partition("=")[0] for text in flags.get("opt_set") or ()}
    found = []
    for part in [s.scenario.get(phase) or {} for s in flags.get("read") or () if s.foreign][:1]:
        for name, value in part.items():
            inner = value.items() if name == "layout" and isinstance(value, Mapping) else ()
            pairs = [(f"{name}.{key}", v) for key, v in inner] if inner else [(name, value)]
            found += [(f"{phase}.{path}", _typed(v)) for path, v in pairs]
    return [(path, value) for path, value in found if path not in over]


def _typed(value: Any) -> str:
    """A value as a person would type it."""
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return f"[{','.join(value)}]"
    return value if isinstance(value, str) else json.dumps(value)


def model_read(flags: Mapping[str, Any]) -> Any:
    """The model that the launch line after `--` names."""
    return next((s.scenario["model"] for s in flags.get("read") or () if s.foreign and "model" in s.scenario), None)


def reading(flags: Mapping[str, Any], verbose: bool) -> list[Bullets]:
    """What was read from other programs' files and lines, as the page says it."""
    from outlay.report.blocks import Bullets

    found = []
    for subject in flags.get("read") or ():
        if not subject.foreign:
            continue
        items = [", ".join(_said(subject.scenario, held=True))]
        notes = subject.notes
        if notes is not None:
            items += [f"Not known to this reader: {text}" for text in notes.unknown]
            items += [f"It matters, and the plan has no field for it: {text}" for text in notes.unplanned]
            idle = notes.without_effect if verbose or len(notes.without_effect) <= 6 else notes.without_effect[:6]
            more = len(notes.without_effect) - len(idle)
            rest = f" and {more} more (-v)" if more else ""
            items += [f"Without effect on the plan: {', '.join(idle)}{rest}"] if idle else []
            items += [
                f"Assumed: {a['what']}" + ("" if a["value"] is None else f" = {a['value']}") + f": {a['why']}"
                for a in notes.assumed
                if not (a["what"] == "model" and a["value"] is None)
            ]
        found.append(Bullets(f"Read: {subject.title}", tuple(items)))
    return found


def without_reading(document: dict[str, Any], flags: Mapping[str, Any]) -> dict[str, Any]:
    """A result's document without what its page says under `Read:`."""
    read = [s for s in flags.get("read") or () if s.foreign]
    if not read:
        return document
    assumed, warned = [a for s in read for a in s.assumptions], {w for s in read for w in s.warnings}
    return {
        **document,
        "assumptions": [a for a in document["assumptions"] if a not in assumed],
        "warnings": [w for w in document["warnings"] if w not in warned],
    }


def _said(values: Mapping[str, Any], held: bool = False) -> list[str]:
    """Fields and values in a line, without the section's name."""
    found: list[str] = []
    for name, value in values.items():
        if held and name == "model":
            found.append("model described by its shape" if isinstance(value, Mapping) else f"model {value}")
        elif isinstance(value, Mapping):
            found += _said(value)
        elif isinstance(value, (list, tuple)):
            found.append(f"{name} {'+'.join(map(str, value))}")
        else:
            shown = {True: "yes", False: "no"}.get(value, value) if isinstance(value, bool) else value
            found.append(f"{name} {shown:,}" if isinstance(shown, int) and shown > 9999 else f"{name} {shown}")
    return found
