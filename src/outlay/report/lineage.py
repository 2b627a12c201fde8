"""The tree behind a number as text: value, unit, interval, formula, inputs, down to facts and papers."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from outlay.report.numbers import one, short

if TYPE_CHECKING:
    from outlay.derive import Quantity

_COLUMNS = 100
_CITED = re.compile(r"arXiv:\d{4}\.\d{4,5}|doi:\S+|\b[A-Z][\w-]+ et al\.?,? \(?\d{4}\)?", re.IGNORECASE)


def tree(quantity: Quantity, shown: dict[tuple[Any, ...], int] | None = None) -> dict[str, Any]:
    """The whole lineage as nested mappings; a number met again is only named, with the id it had."""
    shown = {} if shown is None else shown
    mark = _mark(quantity)
    if mark in shown:
        return {"same_as": shown[mark], "label": quantity.label, "value": quantity.value}
    shown[mark] = len(shown)
    said, papers = formula(quantity.formula)
    return {
        "id": shown[mark],
        "label": quantity.label,
        **quantity.to_dict(),
        "basis": quantity.basis,
        "formula": quantity.formula,
        "says": said,
        "papers": papers,
        "sources": list(quantity.sources),
        "inputs": [tree(i, shown) for i in quantity.inputs],
    }


def formula(text: str) -> tuple[str, list[str]]:
    """A formula's own sentence with its place, and the papers its documentation names.

    >>> formula("sum")
    ('sum', [])
    """
    place, _, line = text.partition(": ")
    doc = _documentation(place)
    if not doc:
        return text, []
    first = re.split(r"(?<=[a-z)\]])\. ", " ".join(doc.split("\n\n")[0].split()))[0].rstrip(".") + "."
    papers = list(dict.fromkeys(m.group(0).rstrip(".,);") for m in _CITED.finditer(doc)))
    return f"{first or line} [{place.replace('._', '.')}]", papers


def _documentation(place: str) -> str:
    """The docstring behind "physics.goodput.goodput", empty when there is none."""
    import inspect
    from importlib import import_module

    module, _, name = place.rpartition(".")
    if not module:
        return ""
    try:
        return inspect.getdoc(getattr(import_module(f"outlay.{module}"), name)) or ""
    except (ImportError, AttributeError):
        return ""


def text(quantity: Quantity, depth: int = 4, everything: bool = False) -> str:
    """The lineage as an indented tree.

    A branch already shown is named, not repeated; one that is zero is not opened unless `everything` is.
    """
    lines: list[str] = []
    _node(quantity, ("", ""), depth, lines, set(), everything)
    return "\n".join(lines)


def _node(
    quantity: Quantity,
    lead: tuple[str, str],
    depth: int,
    lines: list[str],
    shown: set[tuple[Any, ...]],
    everything: bool,
) -> None:
    """One number and its inputs; `lead` is what stands before its first line and before the rest."""
    first, rest = lead
    if quantity.formula == "sum" and len(quantity.inputs) == 1:  # a sum of one thing is that thing
        quantity = quantity.inputs[0].named(quantity.label, quantity.unit)
    again = bool(quantity.inputs) and _mark(quantity) in shown
    nothing = quantity.value == 0 and not everything
    tail = "  (as above)" if again else ""
    _wrap(f"{quantity.label or 'number'} = {exactly(quantity)}{_basis(quantity)}{tail}", first, rest, lines)
    if again or (nothing and quantity.inputs):
        return
    shown.add(_mark(quantity))
    open_ = bool(quantity.inputs) and depth > 0
    inner = rest + ("│ " if quantity.inputs else "  ")
    if quantity.formula:
        said, papers = formula(quantity.formula)
        _wrap(said, inner + "  by ", inner + "     ", lines)
        if papers:
            _wrap(", ".join(papers), inner + "  see ", inner + "      ", lines)
    for source in quantity.sources:
        _wrap(source, inner + "  from ", inner + "       ", lines)
    if quantity.inputs and not open_:
        count = len(quantity.inputs)
        _wrap(
            f"… {count} input{'s' if count > 1 else ''}; --depth shows more", rest + "└ ", rest + "  ", lines
        )
        return
    zero = 0 if everything else sum(_is_idle(child) for child in quantity.inputs)
    children = [c for c in quantity.inputs if everything or zero < 2 or not _is_idle(c)]
    for i, child in enumerate(children):
        last = i == len(children) - 1 and len(children) == len(quantity.inputs)
        below = (rest + ("└ " if last else "├ "), rest + ("  " if last else "│ "))
        _node(child, below, depth - 1, lines, shown, everything)
    if len(children) < len(quantity.inputs):
        lines.append(f"{rest}└ … and {zero} that are zero")


def _is_idle(quantity: Quantity) -> bool:
    """A part that adds nothing here."""
    return quantity.value == 0


def _mark(quantity: Quantity) -> tuple[Any, ...]:
    """What tells one number from another: renamed copies of a number share its inputs."""
    return (quantity.label, quantity.value, *map(id, quantity.inputs))


def _wrap(what: str, first: str, rest: str, lines: list[str]) -> None:
    room = max(_COLUMNS, len(rest) + 40)
    wrapped = textwrap.wrap(
        what,
        room,
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )
    lines += [line.rstrip() for line in wrapped]


def exactly(quantity: Quantity) -> str:
    """A value as people read it, with its plain value where that says more.

    >>> from outlay.derive import exact
    >>> exactly(exact(8192.0)), exactly(exact(0.25, "s")), exactly(exact(1.5e6, "s"))
    ('8,192', '0.25 s', '17.36 days (1,500,000 s)')
    """
    value, unit = quantity.value, f" {quantity.unit}" if quantity.unit else ""
    plain = (f"{value:,.0f}" if value == int(value) and abs(value) < 1e7 else f"{value:.6g}") + unit
    if quantity.samples is not None:
        in_memory = "memory" in quantity.label and quantity.unit in ("bytes", "B")
        pretty = one(quantity.to_dict(), quantity.unit, memory=in_memory)
        return pretty if pretty.startswith(plain) else f"{pretty} ({plain})"
    return f"{short(value, quantity.unit)} ({plain})" if abs(value) >= 1e5 and quantity.unit else plain


def _basis(quantity: Quantity) -> str:
    """How a leaf is known; what follows from others says it by its inputs."""
    return (
        f", {quantity.basis}"
        if not quantity.inputs and quantity.basis in ("assumed", "given", "measured")
        else ""
    )


def listing(found: Sequence[tuple[str, Quantity]]) -> str:
    """The numbers that can be asked for, with their values."""
    widest = min(50, max((len(name) for name, _ in found), default=0))
    return "\n".join(f"{name:<{widest}}  {_listed(name, quantity)}" for name, quantity in found)


_ON_DISK = ("checkpoint", "dataset", "adapter")


def _listed(name: str, quantity: Quantity) -> str:
    """A value in the unit its kind is spoken of in: device memory in GiB, disk in TB."""
    in_memory = quantity.unit in ("bytes", "B") and not any(word in name for word in _ON_DISK)
    said = one(quantity.to_dict(), quantity.unit, memory=in_memory and abs(quantity.value) >= 2**20)
    return re.sub(r"^([\d.]+)G (?=parameters)", r"\1B ", said)
