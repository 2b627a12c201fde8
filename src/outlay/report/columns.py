"""A table as lines of text: where the screen is narrow heads and text break, then intervals go below their numbers."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from itertools import zip_longest

from msgspec.structs import replace

from outlay.report.blocks import Table

_GAP = "  "
_NARROWEST = 12  # a column of text is not folded below this, nor below its longest word
_LONG_WORD = 20  # longer words break; where even that is too wide, all do


def laid_out(table: Table, columns: int) -> list[tuple[str, str | None]]:
    """Lines with the style each is printed in.

    >>> for line, style in laid_out(Table("", ("", "GiB"), (("weights", "15.0"),), ("peak", "15.0")), 80):
    ...     print(repr(line), style)
    '            GiB' dim
    '  weights  15.0' None
    '  peak     15.0' bold
    """
    first, rest = _split(table, columns)
    if rest is not None:
        return [*laid_out(first, columns), ("", None), *laid_out(rest, columns)]
    plain, marked = ("  ", "") if table.mark is None else ("   ", "*  ")
    body = [*table.rows, *[row for row in (table.total, table.below) if row]]
    widths, apart = _widths(table, body, columns - len(plain))
    lines: list[tuple[str, str | None]] = []
    if any(table.head):
        lines += _row(table, table.head, widths, False, plain, plain, "dim")
    for i, row in enumerate(table.rows):
        best = i == table.mark
        lines += _row(table, row, widths, apart, marked if best else plain, plain, "bold" if best else None)
    for row, style in ((table.total, "bold"), (table.below, "dim")):
        lines += _row(table, row, widths, apart, plain, plain, style) if row else []
    return lines


def _split(table: Table, columns: int) -> tuple[Table, Table | None]:
    """A table that is too wide even with all folded: its first columns, and the others with its leading text again."""
    leads = next((i for i in range(len(table.head)) if i not in table.text_columns), len(table.head))
    for count in range(len(table.head), leads, -1):
        part = _part(table, range(count))
        body = [*part.rows, *[row for row in (part.total, part.below) if row]]
        widths, _ = _widths(part, body, columns - (2 if table.mark is None else 3))
        if sum(widths) + len(_GAP) * (len(widths) - 1) <= columns - (2 if table.mark is None else 3):
            return (table, None) if count == len(table.head) else (
                part, _part(table, [*range(leads), *range(count, len(table.head))]))
    return table, None


def _part(table: Table, kept: Sequence[int]) -> Table:
    """Some of a table's columns."""
    def of(row: Sequence[str]) -> tuple[str, ...]:
        return tuple(row[i] for i in kept if i < len(row))

    texts = frozenset(place for place, i in enumerate(kept) if i in table.text_columns)
    return replace(table, head=of(table.head), rows=tuple(map(of, table.rows)), total=of(table.total),
                   below=of(table.below), text_columns=texts)


def _widths(table: Table, body: Sequence[Sequence[str]], room: int) -> tuple[list[int], bool]:
    """Of columns, and whether intervals go below: whole cells where there is room; else heads break at spaces, then
    the widest text folds, then every interval goes below its number and text takes the room that is left."""
    cells = [max((len(row[i]) for row in body if i < len(row)), default=0) for i in range(len(table.head))]
    widths = [max(cell, len(head)) for cell, head in zip(cells, table.head)]
    least = [max(cell, *map(len, head.split() or [""])) for cell, head in zip(cells, table.head)]
    gaps = len(_GAP) * (len(widths) - 1)
    for i in sorted(range(len(widths)), key=lambda i: least[i] - widths[i]):
        over = sum(widths) + gaps - room
        if over > 0:
            widths[i] = max(least[i], widths[i] - over)
    whole = [max(cells[i], least[i]) for i in range(len(widths))]
    for longest in (_LONG_WORD, _NARROWEST):
        floors = {i: _floor(body, i, longest) for i in table.text_columns if i < len(widths)}
        while sum(widths) + gaps > room:
            text = [i for i in floors if widths[i] > floors[i]]
            if not text:
                break
            widths[max(text, key=lambda i: widths[i])] -= 1
    if sum(widths) + gaps <= room:
        return widths, False
    under = {i: _apart(body, table.head, i) for i in range(len(widths)) if i not in table.text_columns}
    widths = [min(width, under.get(i, width)) for i, width in enumerate(widths)]
    for i in floors:
        widths[i] += max(min(room - sum(widths) - gaps, whole[i] - widths[i]), 0)
    return widths, True


def _apart(body: Sequence[Sequence[str]], head: Sequence[str], column: int) -> int:
    """As narrow as a column of numbers may get: every interval below its number."""
    cells = [row[column] for row in body if column < len(row)]
    parts = [part for cell in cells for part in _halves(cell)]
    return max(map(len, (*parts, *head[column].split())), default=0)


def _halves(cell: str) -> list[str]:
    """A number and its interval.

    >>> _halves("148 ms [109–407]"), _halves("436")
    (['148 ms', '[109–407]'], ['436'])
    """
    number, bracket, interval = cell.partition(" [")
    return [number, "[" + interval] if bracket and cell.endswith("]") else [cell]


def _floor(body: Sequence[Sequence[str]], column: int, longest: int) -> int:
    """As narrow as a column of text may get: its longest word, up to a length at which words break."""
    words = [word for row in body if column < len(row) for word in row[column].split()]
    return max(_NARROWEST, min(longest, max(map(len, words), default=0)))


def _row(
    table: Table, cells: Sequence[str], widths: Sequence[int], apart: bool, first: str, rest: str, style: str | None
) -> list[tuple[str, str | None]]:
    """One row, on as many lines as its tallest cell takes; heads stand on their last line."""
    folded = [_fold(cell, width, apart and i not in table.text_columns)
              for i, (cell, width) in enumerate(zip(cells, widths))]
    if cells is table.head:
        tallest = max(map(len, folded))
        folded = [[""] * (tallest - len(lines)) + lines for lines in folded]
    found = []
    for i, parts in enumerate(zip_longest(*folded, fillvalue="")):
        placed = [
            part.ljust(width) if column in table.text_columns else part.rjust(width)
            for column, (part, width) in enumerate(zip(parts, widths))
        ]
        found.append((f"{rest if i else first}{_GAP.join(placed)}".rstrip(), style))
    return found


def _fold(cell: str, width: int, apart: bool) -> list[str]:
    if apart and len(halves := _halves(cell)) == 2:
        return halves
    if len(cell) <= width:
        return [cell]
    if max(map(len, cell.split()), default=0) <= width:
        return textwrap.wrap(cell, width, break_on_hyphens=False) or [""]
    return _at_hyphens(cell, width)


def _at_hyphens(cell: str, width: int) -> list[str]:
    """A name too long for its column: its parts stay whole where they fit.

    >>> _at_hyphens("2xrtx-pro-6000-server", 12), _at_hyphens("h200-sxm-141gb", 12)
    (['2xrtx-pro-', '6000-server'], ['h200-sxm-', '141gb'])
    """
    lines = [""]
    for part in re.findall(r"\s*[^\s-]+-*|\s*-+", cell):
        if len(lines[-1] + part) > width and lines[-1]:
            lines.append("")
        lines[-1] += part if lines[-1] else part.lstrip()
        while len(lines[-1]) > width:
            lines[-1:] = [lines[-1][:width], lines[-1][width:]]
    return lines
