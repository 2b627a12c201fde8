"""The tree behind a number as text: value, unit, interval, formula, inputs, down to facts and papers."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from outlay.report.numbers import one

if TYPE_CHECKING:
    from outlay.derive import Quantity

_COLUMNS = 100


def tree(quantity: Quantity, seen: frozenset[int] = frozenset()) -> dict[str, Any]:
    """The whole lineage as nested mappings."""
    node: dict[str, Any] = {
        "label": quantity.label,
        **quantity.to_dict(),
        "basis": quantity.basis,
        "formula": quantity.formula,
        "sources": list(quantity.sources),
    }
    if id(quantity) not in seen:
        node["inputs"] = [tree(i, seen | {id(quantity)}) for i in quantity.inputs]
    return node


def text(quantity: Quantity, depth: int = 6) -> str:
    """The lineage as an indented tree; a branch already shown is named, not repeated."""
    lines: list[str] = []
    _node(quantity, "", "", depth, lines, {})
    return "\n".join(lines)


def _node(
    quantity: Quantity, first: str, rest: str, depth: int, lines: list[str], shown: dict[int, str]
) -> None:
    again = id(quantity) in shown and bool(quantity.inputs)
    tail = "  (shown above)" if again else ""
    _wrap(f"{quantity.label or 'number'} = {exactly(quantity)}{_basis(quantity)}{tail}", first, rest, lines)
    if again:
        return
    shown[id(quantity)] = quantity.label
    inner = rest + ("│ " if quantity.inputs and depth > 0 else "  ")
    if quantity.formula:
        _wrap(quantity.formula, inner + "  by ", inner + "     ", lines)
    for source in quantity.sources:
        _wrap(source, inner + "  from ", inner + "       ", lines)
    if quantity.inputs and depth <= 0:
        _wrap(f"… {len(quantity.inputs)} inputs; --depth shows more", rest + "└ ", rest + "  ", lines)
        return
    for i, child in enumerate(quantity.inputs):
        last = i == len(quantity.inputs) - 1
        _node(
            child, rest + ("└ " if last else "├ "), rest + ("  " if last else "│ "), depth - 1, lines, shown
        )


def _wrap(what: str, first: str, rest: str, lines: list[str]) -> None:
    room = max(_COLUMNS, len(rest) + 40)
    lines += [
        line.rstrip()
        for line in textwrap.wrap(
            what,
            room,
            initial_indent=first,
            subsequent_indent=rest,
            break_long_words=False,
            break_on_hyphens=False,
        )
    ]


def exactly(quantity: Quantity) -> str:
    """A value as people read it, with its plain value and unit where that says more."""
    plain = f"{quantity.value:.6g}" + (f" {quantity.unit}" if quantity.unit else "")
    pretty = one(quantity.to_dict(), quantity.unit)
    bare = pretty.partition(" [")[0].replace(",", "")
    return pretty if bare in (plain, f"{quantity.value:g}") or not quantity.unit else f"{pretty} ({plain})"


def _basis(quantity: Quantity) -> str:
    return f", {quantity.basis}" if quantity.basis in ("assumed", "given", "measured") else ""


def listing(found: Sequence[tuple[str, Quantity]]) -> str:
    """The numbers that can be asked for, with their values."""
    widest = min(50, max((len(name) for name, _ in found), default=0))
    return "\n".join(f"{name:<{widest}}  {one(q.to_dict(), q.unit)}" for name, q in found)
