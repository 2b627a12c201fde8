"""Blocks on a terminal: at most 100 columns, colour only where a person looks, plain when piped."""

from __future__ import annotations

import io
import os
import re
import shutil
import sys
from collections.abc import Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING

from outlay.report.blocks import Block, Bullets, Commands, Note, Pair, Table, Verdict

if TYPE_CHECKING:
    from rich.console import Console

WIDEST = 100
_GAP = 4  # columns between two tables side by side
_STYLE = {"good": "bold green", "doubtful": "bold yellow", "bad": "bold red", "plain": "bold"}


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
    from rich.console import Console

    if isinstance(block, Pair):
        return _side_by_side(block, columns, colour)
    stream = io.StringIO()
    console = Console(
        file=stream,
        width=columns,
        force_terminal=colour,
        color_system="standard" if colour else None,
        highlight=False,
        emoji=False,
        markup=False,
        legacy_windows=False,
    )
    _draw(console, block, columns)
    return [line.rstrip() for line in stream.getvalue().rstrip("\n").splitlines()]


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


def _draw(console: Console, block: Block, columns: int) -> None:
    if isinstance(block, Verdict):
        _hang(console, "", block.text, columns, _STYLE[block.mood])
        for line in block.details:
            _hang(console, "", line, columns)
    elif isinstance(block, Bullets):
        _hang(console, "", block.title, columns, "bold")
        for item in block.items:
            _hang(console, "  ", item, columns)
    elif isinstance(block, Note):
        _hang(console, "", block.text, columns, "dim")
    elif isinstance(block, Commands):
        for i, command in enumerate(block.items):
            console.print(("Next:  " if i == 0 else "       ") + command, soft_wrap=True)
    elif isinstance(block, Table):
        _table(console, block, columns)


def _hang(console: Console, lead: str, text: str, columns: int, style: str | None = None) -> None:
    """A paragraph whose later lines are indented under its first; a number keeps its unit and interval."""
    import textwrap

    for line in textwrap.wrap(
        re.sub(r"(?<=[\w.]) (?=%|\[\d|GiB)|(?<=ZeRO) (?=\d)", "\xa0", text),
        columns,
        initial_indent=lead,
        subsequent_indent=lead + "  ",
        break_long_words=True,
        break_on_hyphens=False,
    ):
        console.print(line.replace("\xa0", " "), style=style, soft_wrap=True)


def _table(console: Console, block: Table, columns: int) -> None:
    from outlay.report.columns import laid_out

    if block.title:
        _hang(console, "", block.title, columns, "bold")
    for line, style in laid_out(block, columns):
        console.print(line, style=style, soft_wrap=True)
