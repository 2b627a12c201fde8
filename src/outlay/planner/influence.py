"""What an answer hangs on: the part that is largest, and the input whose uncertainty spreads it most."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from outlay.derive import Quantity

LEAST_SHARE = 0.02  # of the variance; below it nothing is worth naming
HEADLINES = (
    ("totals", "usd", "money"),
    ("pretrain", "elapsed_s", "elapsed time"),
    ("pretrain", "step_time_s", "step time"),
    ("totals", "co2e_kg", "carbon"),
)


def leaves(quantity: Quantity) -> dict[str, Quantity]:
    """The uncertain inputs at the bottom of a lineage, by label."""
    found: dict[str, Quantity] = {}
    seen: set[int] = set()
    stack = [quantity]
    while stack:
        node = stack.pop()
        if id(node) in seen or node.samples is None:
            continue
        seen.add(id(node))
        if node.inputs:
            stack.extend(node.inputs)
        else:
            found[node.sources[0] if node.sources else node.label] = node
    return found


def least_certain(quantity: Quantity) -> tuple[Quantity, float] | None:
    """The input that explains most of the variance of a quantity (squared rank-free correlation over draws).

    None when the quantity is certain or no single input explains anything worth naming.
    """
    if quantity.samples is None or float(np.std(quantity.samples)) == 0.0:
        return None
    shares = [(leaf, explained(leaf.samples, quantity.samples)) for leaf in leaves(quantity).values()]
    best = max(shares, key=lambda pair: pair[1], default=None)
    return best if best is not None and best[1] >= LEAST_SHARE else None


def explained(cause: Any, effect: Any) -> float:
    """Squared correlation of two sets of draws: what part of one's variance the other explains."""
    if float(np.std(cause)) == 0.0 or float(np.std(effect)) == 0.0:
        return 0.0
    return float(np.corrcoef(cause, effect)[0, 1] ** 2)


def influence(phase: Mapping[str, Any], totals: Mapping[str, Any]) -> dict[str, Any]:
    """`dominant` and `least_certain` of a result: each a mapping with a sentence and its numbers."""
    found: dict[str, Any] = {}
    parts = {k: v.value for k, v in (phase.get("time_parts") or {}).items()}
    whole = sum(parts.values())
    if whole > 0:
        name = max(parts, key=lambda k: parts[k])
        words = name.removesuffix("_s").replace("_", " ")
        found["dominant"] = {"what": f"{words}, {100 * parts[name] / whole:.0f} % of the step", "name": words,
                             "share": parts[name] / whole}
    for where, key, words in HEADLINES:
        quantity = (totals if where == "totals" else phase).get(key)
        named = least_certain(quantity) if isinstance(quantity, Quantity) else None
        if named is not None:
            leaf, share = named
            span = f"[{leaf.low:.3g} – {leaf.high:.3g}]" + (f" {leaf.unit}" if leaf.unit else "")
            found["least_certain"] = {
                "what": f"{leaf.label} {leaf.value:.3g} {span} explains {100 * share:.0f} % of the spread in {words}",
                "name": leaf.label, "share": share, "of": words}
            break
    return found
