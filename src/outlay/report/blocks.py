"""What a page is made of, before anyone decides whether it becomes a screen, Markdown or HTML."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct, field

Mood = Literal["good", "doubtful", "bad", "plain"]


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
    title: str
    items: tuple[str, ...]


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
