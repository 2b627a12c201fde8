"""What a page is made of, before anyone decides whether it becomes a screen, Markdown or HTML."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Mood = Literal["good", "doubtful", "bad", "plain"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer in one line, and what it rests on in the lines below."""

    text: str
    mood: Mood = "plain"
    details: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Table:
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


@dataclass(frozen=True, slots=True)
class Bullets:
    title: str
    items: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Commands:
    """Commands to run next."""

    items: tuple[str, ...] = field(default_factory=tuple)


@dataclass(frozen=True, slots=True)
class Note:
    """One quiet line."""

    text: str


@dataclass(frozen=True, slots=True)
class Pair:
    """Two tables that stand side by side where there is room."""

    left: Table
    right: Table


Block = Verdict | Table | Bullets | Commands | Note | Pair
