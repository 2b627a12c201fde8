"""What a page is made of, before anyone decides whether it becomes a screen, Markdown or HTML."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct, field

Mood = Literal["good", "doubtful", "bad", "plain"]
FEW = 5  # of a list that is whole with -v


class Verdict(Struct, frozen=True):
    """The answer in one line, and what it rests on in the lines below."""

    text: str
    mood: Mood = "plain"
    details: tuple[str, ...] = ()


class Table(Struct, frozen=True):
    """Rows under a title. The first column is text, the others are numbers unless `text_columns` names them.

    `total` and `below` come after a rule; `mark` is the row to point out (the best).
    """

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    total: tuple[str, ...] = ()
    below: tuple[str, ...] = ()
    mark: int | None = None
    text_columns: frozenset[int] = frozenset({0})


class Bullets(Struct, frozen=True):
    """commands: which of the items are to be run, and stay so when they are copied."""

    title: str
    items: tuple[str, ...]
    commands: frozenset[int] = frozenset()


def few_of(title: str, items: Sequence[str], verbose: bool, few: int = FEW) -> Bullets:
    """The first few of a list, whose title then says how many there are; all of them with -v."""
    shown = items if verbose else items[:few]
    told = "" if len(shown) == len(items) else f" ({len(shown)} of {len(items)}; all with -v)"
    return Bullets(title + told, tuple(shown))


class Commands(Struct, frozen=True):
    """Commands to run next."""

    items: tuple[str, ...] = field(default_factory=tuple)


class Note(Struct, frozen=True):
    """One quiet line."""

    text: str


class Pair(Struct, frozen=True):
    """Two tables that stand side by side where there is room."""

    left: Table
    right: Table


Block = Verdict | Table | Bullets | Commands | Note | Pair
