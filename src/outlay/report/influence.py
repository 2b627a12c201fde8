"""What an answer hangs on: its largest part, and the uncertain input that spreads it most."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from outlay.errors import OutlayError
from outlay.report.numbers import number, share

if TYPE_CHECKING:
    from outlay.derive import Quantity

_ASKED = (("time", "pretrain.elapsed_s"), ("money", "totals.usd"), ("CO2e", "totals.co2e_kg"))
_COLUMN = {"money": "usd", "CO2e": "co2e_kg"}


class Explained(Protocol):
    """A result whose numbers can be asked where they come from."""

    def to_dict(self) -> dict[str, Any]: ...

    def explain(self, name: str) -> Quantity: ...


def hangs_on(result: Explained) -> list[str]:
    """One sentence for time, money and carbon each, where they are known."""
    document = result.to_dict()
    said = []
    for what, name in _ASKED:
        try:
            asked = result.explain(name)
        except OutlayError:
            continue
        pieces = [p for p in (_largest(document, what), _least_certain(asked)) if p]
        if pieces:
            said.append(f"{what}: " + "; ".join(pieces))
    return said


def _largest(document: Mapping[str, Any], what: str) -> str:
    """The biggest part of a step, or the dearest item."""
    from outlay.report.parts import by_item, words

    if what == "time":
        found = {
            words(k): number(v) or 0.0 for k, v in (document["pretrain"].get("time_parts") or {}).items()
        }
        of = " of a step"
    else:
        items = by_item(document.get("lines") or [])
        found = {words(k): row[_COLUMN[what]] or 0.0 for k, row in items.items()}
        of = ""
    if sum(found.values()) <= 0:
        return ""
    top = max(found, key=lambda k: found[k])
    return f"mostly {top}, {share(found[top], sum(found.values()))}{of}"


def _least_certain(asked: Quantity) -> str:
    found = spread(asked)
    if not found:
        return ""
    label, part = found[0]
    return f"least certain: {label}, {share(part, 1.0)} of the spread"


def spread(asked: Quantity) -> list[tuple[str, float]]:
    """Uncertain inputs by the share of the answer's variance they explain, largest first.

    >>> from outlay.derive import derive, uncertain
    >>> a = uncertain(10.0, 5.0, 20.0, "", "a", key="a")
    >>> b = uncertain(10.0, 9.9, 10.1, "", "b", key="b")
    >>> [label for label, part in spread(derive(lambda x, y: x * y, "product", "", x=a, y=b))]
    ['a', 'b']
    """
    import numpy as np

    if asked.samples is None or float(np.std(asked.samples)) == 0.0:
        return []
    found = []
    for leaf in _leaves(asked):
        if leaf.samples is not None and float(np.std(leaf.samples)) > 0.0:
            together = float(np.corrcoef(leaf.samples, asked.samples)[0, 1]) ** 2
            found.append((_said(leaf), together))
    return sorted(found, key=lambda pair: -pair[1])


def _said(leaf: Quantity) -> str:
    """An input's name in words; the scatter of published runs is named for what it is."""
    if any(source.startswith("residual.") for source in leaf.sources):
        return "how published runs scatter around the model"
    label = leaf.label.replace("_", " ")
    if len(label) > 5 or not leaf.sources:
        return label
    entry = (
        leaf.sources[0].partition(":")[0].rpartition(".")[0]
    )  # a bare unit says less than the fact's own name
    named = entry.replace("-", " ").replace("_", " ") or label
    return f"embodied carbon of {named}" if leaf.unit.startswith("kg") else named


def _leaves(asked: Quantity) -> Iterator[Quantity]:
    """Every input with no inputs of its own, once."""
    seen: set[int] = set()
    queue = [asked]
    while queue:
        here = queue.pop()
        if id(here) in seen:
            continue
        seen.add(id(here))
        if not here.inputs:
            yield here
        queue.extend(here.inputs)
