"""The two rungs that need no machine: calls of a provider's model, and its fine-tuning by the token."""

from __future__ import annotations

from typing import Any

from outlay.advise.afford_ask import Settings
from outlay.catalog import Catalog
from outlay.catalog.token_prices import Offer, offers
from outlay.derive import Quantity, derive, exact
from outlay.valuation.ways import request_usd


def call(chosen: Settings, catalog: Catalog) -> dict[str, Any]:
    """Requests the money buys: of the largest model of known size, and of the cheapest."""
    found = [(offer, price) for offer in offers(catalog.date)
             if not offer.first.deprecated and (price := _request_usd(offer, chosen)) > 0]
    sized = [(float(catalog.find("model", offer.first.serves).value("parameters")), offer, price)
             for offer, price in found if offer.first.serves]
    answer: dict[str, Any] = {"rung": "api-call", "able": bool(found), "input_tokens": chosen.input_tokens,
                              "output_tokens": chosen.output_tokens}
    if not sized:
        return answer | {"able": False, "why": "no price of a model of known size is in the catalogue"}
    most = max(size for size, _, _ in sized)
    largest = min((row for row in sized if row[0] == most), key=lambda row: row[2])
    cheap = min(found, key=lambda row: row[1])
    options = [_option("largest of known size", largest[1], largest[2], chosen, largest[0]),
               _option("cheapest", cheap[0], cheap[1], chosen, None)]
    if options[0]["requests"].value < 1:
        return answer | {"able": False, "why": "the money does not pay for one request", "options": options}
    return answer | {"model": options[0]["model"], "parameters": largest[0], "requests": options[0]["requests"],
                     "usd": exact(chosen.ask.budget_usd, "USD", "budget", basis="given"), "options": options}


def _option(what: str, offer: Offer, usd: float, chosen: Settings, size: float | None) -> dict[str, Any]:
    price = exact(usd, "USD", "a request", f"{offer.name}: {offer.first.source} ({offer.first.as_of})")
    return {"what": what, "offer": offer.name, "model": offer.first.serves or offer.first.model, "parameters": size,
            "usd_per_request": price, "as_of": offer.first.as_of,
            "requests": derive(bought, "requests", "requests", budget_usd=chosen.ask.budget_usd, usd=price)}


def bought(budget_usd: Any, usd: Any) -> Any:
    """What a sum buys at a price each."""
    return budget_usd / usd


def _request_usd(offer: Offer, chosen: Settings) -> float:
    """One request at the day's mean price, by the rung that its input falls on."""
    total = 0.0
    for price, share in offer.shares():
        rung = [r for r in price.rungs if chosen.input_tokens > r.above or r is price.rungs[0]][-1]
        total += share * float(request_usd(chosen.input_tokens, 0.0, 0.0, chosen.output_tokens, rung.input, rung.input,
                                           rung.input, rung.output, price.usd_per_request))
    return total


def tune(chosen: Settings, catalog: Catalog) -> dict[str, Any]:
    """The largest model that a provider tunes on the usual set within the money."""
    priced = sorted(((_tuning_usd(e, chosen), e) for e in catalog.entries("tuning")), key=lambda row: row[0].value)
    able = [(usd, e) for usd, e in priced if usd.value <= chosen.ask.budget_usd and e.value("parameters_up_to")]
    if not able:
        least = priced[0][0].value if priced else None
        return {"rung": "api-finetune", "able": False, "tokens": chosen.tune_tokens,
                "why": "no provider's price is within the money" + (f"; the least is {least:.0f} USD" if least else "")}
    most = max(float(e.value("parameters_up_to")) for _, e in able)
    usd, entry = min(((u, e) for u, e in able if float(e.value("parameters_up_to")) == most), key=lambda r: r[0].value)
    return {"rung": "api-finetune", "able": True, "offer": entry.name, "tokens": chosen.tune_tokens,
            "parameters_up_to": most, "usd": usd, "as_of": entry.fact("usd_per_training_token").retrieved,
            "method": entry.value("method")}


def least_tuning(chosen: Settings, catalog: Catalog) -> Quantity | None:
    """The least that any provider asks for the usual set."""
    return min((_tuning_usd(e, chosen) for e in catalog.entries("tuning")), key=lambda q: q.value, default=None)


def _tuning_usd(entry: Any, chosen: Settings) -> Quantity:
    price = entry.fact("usd_per_training_token").quantity()
    usd: Quantity = derive(at_least, "fine-tuning by the token", "USD", tokens=chosen.tune_tokens, usd_per_token=price,
                           least_usd=float(entry.value("least_usd", 0.0)))
    return usd


def at_least(tokens: Any, usd_per_token: Any, least_usd: Any) -> Any:
    """Tokens at a price each, never below what is charged at least."""
    import numpy as np

    return np.maximum(tokens * usd_per_token, least_usd)
