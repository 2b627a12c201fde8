"""The last rung: the largest model that can be trained from nothing, of least loss and over-trained for use."""

from __future__ import annotations

import math
from typing import Any

from msgspec import Struct

from outlay.advise.afford_ask import Settings, taken
from outlay.advise.afford_fleets import TRIES, USUAL, Answer, Offer, Planner, Work, counts, planned
from outlay.catalog import Catalog
from outlay.derive import Quantity, derive
from outlay.physics import scaling

ROUNDS = 4  # of planning and correcting the size
USUAL_BYTES = 17.0  # a parameter with AdamW in mixed precision, before sharding
LEAST_PARAMETERS = 1e6
LEAST_BYTES = 4.0  # a parameter, sharded as far as it goes: weights and gradients in 16 bits
CLOSE = 0.97  # of the money or the time that ends the search


def law(catalog: Catalog) -> dict[str, float]:
    """The constants of the scaling law."""
    return {name: float(catalog.find("default", f"scaling.{name}").value("value"))
            for name in ("a", "b", "alpha", "beta")}


def ratio_of(flop: float, catalog: Catalog) -> float:
    """Tokens a parameter of least loss for a compute."""
    constants = law(catalog)
    return float(scaling.optimal_tokens(flop, **constants) / scaling.optimal_parameters(flop, **constants))


def rung(chosen: Settings, catalog: Catalog, candidates: list[Offer], planner: Planner) -> dict[str, Any]:
    """The largest model of least loss on the device that gets furthest; the over-trained one beside.

    Each device is planned once to see how much compute the money buys on it; the size is then corrected on the best.
    """
    starts = [s for offer in candidates if (s := _start(offer, chosen, catalog, planner)) is not None]
    if not starts:
        return {"rung": "from-scratch", "able": False, "why": "no plan stays within the money and the time"}
    start = max(starts, key=lambda s: s.flop)
    best = _refined(start, None, chosen, catalog, planner)
    longer = _refined(start, chosen.overtrained, chosen, catalog, planner)
    if best is None:
        return {"rung": "from-scratch", "able": False, "why": "no plan stays within the money and the time"}
    return {"rung": "from-scratch", "able": True, **best, "overtrained": longer}


class _Start(Struct, frozen=True):
    """A device, how many of them, and the compute that a first plan says the money and the time buy."""

    offer: Offer
    count: int
    flop: float


def _start(offer: Offer, chosen: Settings, catalog: Catalog, planner: Planner) -> _Start | None:
    if not offer.usd_per_hour:
        return None
    hours = chosen.ask.budget_usd / offer.usd_per_hour
    count = next((c for c in counts(offer) if hours / c * 3600.0 <= chosen.deadline_s), offer.most)
    flop = min(hours * 3600.0, count * chosen.deadline_s) * offer.flop_per_s * USUAL
    for _ in range(TRIES):
        answer, size, each = _plan(offer, count, flop, None, chosen, catalog, planner)
        if answer is not None:
            return _Start(offer, count, scaling.training_flop(size, size * each) / _used(answer, chosen))
        count = next((c for c in counts(offer) if c > count), count)
    return None


def _refined(start: _Start, ratio: float | None, chosen: Settings, catalog: Catalog,
             planner: Planner) -> dict[str, Any] | None:
    """The size corrected until the money or the time is used up. ratio: tokens a parameter; None: of least loss."""
    flop, best = 0.99 * start.flop, None
    for _ in range(ROUNDS):
        answer, size, each = _plan(start.offer, start.count, flop, ratio, chosen, catalog, planner)
        if answer is None:
            flop *= 0.7
            continue
        used = _used(answer, chosen)
        if used <= 1.0 and (best is None or size > best["parameters"]):
            best = shown(answer, size, each, catalog)
            if used >= CLOSE:
                break
        flop *= 0.99 / used
    return best


def _plan(offer: Offer, count: int, flop: float, ratio: float | None, chosen: Settings, catalog: Catalog,
          planner: Planner) -> tuple[Answer | None, float, float]:
    each = ratio or ratio_of(flop, catalog)
    size = float(f"{scaling.parameters_at_ratio(flop, each):.3g}")
    if size < LEAST_PARAMETERS:
        return None, size, each
    work = work_of(size, chosen, catalog, None, each)
    return planned(work.document, f"{count}x{offer.device}", planner)[0], size, each


def _used(answer: Answer, chosen: Settings) -> float:
    """The larger of the parts of the money and of the time that a plan takes."""
    return max(answer.usd.value / chosen.ask.budget_usd, answer.elapsed_s.value / chosen.deadline_s)


def work_of(size: float, chosen: Settings, catalog: Catalog, model: str | None = None,
            ratio: float | None = None) -> Work:
    """Training a model of a size, or a catalogued one, from nothing."""
    each = ratio or _ratio_for(size, catalog)
    tokens = float(f"{size * each:.3g}")
    document: dict[str, Any] = {"model": model or {"parameters": size}, "pretrain": {"tokens": tokens}}
    if chosen.ask.site:
        document["site"] = chosen.ask.site
    flop = scaling.training_flop(size, tokens)
    return Work(document, LEAST_BYTES * size, USUAL_BYTES * size, flop, chosen.deadline_s)


def _ratio_for(size: float, catalog: Catalog) -> float:
    """Tokens a parameter of least loss for a size: the compute at which that size is the optimum."""
    constants = law(catalog)
    low, high = math.log(1e12), math.log(1e32)
    for _ in range(60):
        middle = (low + high) / 2
        if scaling.optimal_parameters(math.exp(middle), **constants) < size:
            low = middle
        else:
            high = middle
    return ratio_of(math.exp(low), catalog)


def shown(answer: Answer, size: float, ratio: float, catalog: Catalog) -> dict[str, Any]:
    """Size, tokens, loss and what it takes."""
    tokens = float(f"{size * ratio:.3g}")
    return {"parameters": size, "tokens": tokens, "tokens_per_parameter": ratio,
            "training_flop": scaling.training_flop(size, tokens), "loss": loss_of(size, tokens, catalog),
            **taken(answer), "document": {**_document(answer)}}


def _document(answer: Answer) -> dict[str, Any]:
    kept = ("model", "fleet", "site", "pretrain")
    return {key: answer.result.scenario[key] for key in kept if key in answer.result.scenario}


def loss_of(size: float, tokens: float, catalog: Catalog) -> Quantity:
    """Loss by the scaling law, in nats a token of its authors' text."""
    found: Quantity = derive(scaling.loss, "loss", "nat", parameters=size, tokens=tokens,
                             floor=catalog.find("default", "scaling.floor").fact("value").quantity(), **law(catalog))
    return found
