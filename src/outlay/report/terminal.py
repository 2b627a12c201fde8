"""Blocks on a terminal: at most 100 columns, colour only where a person looks, plain when piped."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Sequence
from itertools import zip_longest

from outlay.report.blocks import Block, Bullets, Commands, Note, Pair, Table, Verdict

WIDEST = 100
_GAP = 4  # columns between two tables side by side
_STYLE = {"good": "bold green", "doubtful": "bold yellow", "bad": "bold red", "plain": "bold"}
_CODE = {"bold": "1", "dim": "2", "bold green": "1;32", "bold yellow": "1;33", "bold red": "1;31"}  # ECMA-48, SGR
_CONTROL = dict.fromkeys((*range(32), *range(127, 160)))  # what a name in a file could do to a terminal
Line = tuple[str, str | None]  # text and its style


def width() -> int:
    """Columns to use: the terminal's or COLUMNS, at most 100; 100 when piped."""
    return max(40, min(WIDEST, shutil.get_terminal_size((WIDEST, 24)).columns))


def colourful() -> bool:
    """Colour on a terminal unless NO_COLOR says not to."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    forced = os.environ.get("FORCE_COLOR", "")
    return sys.stdout.isatty() if not forced else forced not in ("0", "false", "no")


def render(blocks: Sequence[Block], columns: int | None = None, colour: bool = False) -> str:
    """The blocks as text, with a blank line between them and no trailing spaces."""
    parts = ["\n".join(_lines(block, columns or width(), colour)) for block in blocks]
    return "\n\n".join(p for p in parts if p) + "\n"


def _lines(block: Block, columns: int, colour: bool) -> list[str]:
    """One block as lines."""
    if isinstance(block, Pair):
        return _side_by_side(block, columns, colour)
    drawn = [(text.translate(_CONTROL).rstrip(), style) for text, style in _drawn(block, columns)]
    lines = [_shown(text, style if colour else None) for text, style in drawn]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def _shown(text: str, style: str | None) -> str:
    return f"\x1b[{_CODE[style]}m{text}\x1b[0m" if style and text else text


def _side_by_side(pair: Pair, columns: int, colour: bool) -> list[str]:
    """Two tables beside each other, or one below the other where they are too wide together."""
    left, right = (_lines(table, columns, colour) for table in (pair.left, pair.right))
    room = max(map(_visible, left)) + _GAP
    if room + max(map(_visible, right)) > columns:
        return [*left, "", *right]
    rows = zip_longest(left, right, fillvalue="")
    return [(a + " " * (room - _visible(a)) + b).rstrip() if b else a for a, b in rows]


def _visible(line: str) -> int:
    """Columns a line takes on the screen, colour codes apart."""
    return len(re.sub(r"\x1b\[[0-9;]*m", "", line).rstrip())


def _drawn(block: Block, columns: int) -> list[Line]:
    if isinstance(block, Verdict):
        lines = _hang("", block.text, columns, _STYLE[block.mood])
        return lines + [line for detail in block.details for line in _hang("", detail, columns)]
    if isinstance(block, Bullets):
        lines = _hang("", block.title, columns, "bold")
        return lines + [line for i, item in enumerate(block.items)
                        for line in (_command if i in block.commands else _hang)("  ", item, columns)]
    if isinstance(block, Note):
        return _hang("", block.text, columns, "dim")
    if isinstance(block, Commands):
        return [line for i, command in enumerate(block.items)
                for line in _command("       " if i else "Next:  ", command, columns)]
    if isinstance(block, Table):
        return _table(block, columns)
    return []


def _hang(lead: str, text: str, columns: int, style: str | None = None) -> list[Line]:
    """A paragraph whose later lines are indented under its first; a number keeps its unit and interval."""
    import textwrap

    wrapped = textwrap.wrap(
        re.sub(r"(?<=[\w.]) (?=%|\[\d|GiB)|(?<=ZeRO) (?=\d)", "\xa0", text),
        columns,
        initial_indent=lead,
        subsequent_indent=lead + "  ",
        break_long_words=True,
        break_on_hyphens=False,
    )
    return [(line.replace("\xa0", " "), style) for line in wrapped]


_WORD = re.compile(r"""(?:[^\s'"\\]|'[^']*'|"(?:\\.|[^"\\])*"|\\.)+""")


def _command(lead: str, text: str, columns: int) -> list[Line]:
    """A command over as many lines as it needs, each but the last ended so that a shell reads on; a flag stays with its
    value."""
    words = _WORD.findall(text)
    if " ".join(words) != text:
        return [(lead + text, None)]
    parts: list[str] = []
    for word, before in zip(words, ["", *words], strict=False):
        valued = before.startswith("-") and not word.startswith("-") and "=" not in before
        parts[-1:] = [f"{parts[-1]} {word}"] if valued else [*parts[-1:], word]
    lines, rest = [], " " * (len(lead) + 2)
    line = lead + parts[0]
    for i, part in enumerate(parts[1:], start=2):
        room = columns - (2 if i < len(parts) else 0)
        if len(line) + 1 + len(part) > room:
            lines.append(line + " \\")
            line = rest + part
        else:
            line += " " + part
    return [(found, None) for found in (*lines, line)]


def _table(block: Table, columns: int) -> list[Line]:
    from outlay.report.columns import laid_out

    title = _hang("", block.title, columns, "bold") if block.title else []
    return title + laid_out(block, columns)
