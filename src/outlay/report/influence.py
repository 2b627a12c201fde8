"""What an answer hangs on: its largest part, and the uncertain input that spreads it most."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from outlay.errors import OutlayError
from outlay.report.numbers import number, share

if TYPE_CHECKING:
    from outlay.derive import Quantity

_ASKED = (("time", "elapsed_s"), ("money", "totals.usd"), ("CO2e", "totals.co2e_kg"))
_COLUMN = {"money": "usd", "CO2e": "co2e_kg"}


# labels of facts whose own names say too little outside their table
_SAID = {
    "PUE": "PUE",
    "utilization": "how much of its life owned hardware is used",
    "host factor": "host power over device power",
    "ceiling share": "how near its rated power a device comes",
    "lifetime years": "lifetime of the hardware",
    "network share": "network beside the devices",
    "server overhead": "servers around the devices",
    "upkeep per year": "yearly upkeep",
    "wacc per year": "cost of capital",
    "restart s": "time of a restart",
    "warmup s": "time of a start",
    "spread factor": "embodied carbon of the devices",
    "compute weight": "power by compute activity",
    "memory weight": "power by memory activity",
    "idle share": "idle power",
    "space usd per kw month": "rent of the building",
    "usd per byte month": "price of storage",
}


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
        phase = document.get("pretrain") or document.get("finetune") or {}
        found = {
            words(k): number(v) or 0.0 for k, v in (phase.get("time_parts") or {}).items()
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
    from outlay.planner.influence import least_certain

    found = least_certain(asked)
    if found is None:
        return ""
    leaf, part = found
    return f"least certain: {_said(leaf)}, {share(part, 1.0)} of the spread"


def named(label: str, source: str = "") -> str:
    """An input's name in words, from its label and the catalogue row it comes from.

    >>> named("lifetime years"), named("train_time.dense-megatron", "residual.train_time.dense-megatron: a fit")
    ('lifetime of the hardware', 'measured over modelled time')
    """
    if source.startswith(("residual.", "tune_constants.")) or "_time." in label:
        return "measured over modelled time"
    return _SAID.get(label, label.replace("_", " "))


def _said(leaf: Quantity) -> str:
    """An input's name in words; the scatter of published runs is named for what it is.

    >>> from outlay.derive import exact
    >>> _said(exact(3.0, "kg", "kg", "gpu-server.kg: a paper")), _said(exact(1.2, "", "site_pue"))
    ('embodied carbon of gpu server', 'site pue')
    """
    if any(source.startswith("residual.") for source in leaf.sources):
        return "how published runs scatter around the model"
    if leaf.label in _SAID:
        return _SAID[leaf.label]
    label = leaf.label.replace("_", " ")
    if len(label) > 5 or not leaf.sources:
        return label
    entry = (
        leaf.sources[0].partition(":")[0].rpartition(".")[0]
    )  # a bare unit says less than the fact's own name
    named = entry.replace("-", " ").replace("_", " ") or label
    return f"embodied carbon of {named}" if leaf.unit.startswith("kg") else named
