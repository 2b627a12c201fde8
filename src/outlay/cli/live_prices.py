"""Token prices of today, fetched by `genai-prices`: only when a flag that says so asks for it."""

from __future__ import annotations

from datetime import date
from typing import Any

from outlay.catalog.token_prices import Rung, TokenPrice
from outlay.errors import Unsupported

PRICED = ("input_mtok", "output_mtok")


def live_token_prices(fetch: bool = True) -> tuple[tuple[TokenPrice, ...], str]:
    """Every priced model of the package's newest data, and today's date.

    Raises Unsupported where the extra is missing or the network does not answer. `fetch` False: the data the package
    came with (tests).
    """
    from importlib import import_module

    try:
        snapshot, update = import_module("genai_prices.data_snapshot"), import_module("genai_prices").UpdatePrices
    except ImportError:
        raise Unsupported("--live-prices: needs the extra `prices`: pip install 'outlay[prices]'; without the flag the "
                          "snapshot in the package is used", "--live-prices") from None
    if fetch:
        try:
            fetched = update().fetch()
        except Exception as error:  # any of the HTTP library's
            raise Unsupported(f"--live-prices: the price list did not answer ({type(error).__name__}); without the "
                              "flag the snapshot in the package is used", "--live-prices") from None
        data = fetched if fetched is not None else snapshot.get_snapshot()
    else:
        data = snapshot.get_snapshot()
    today = date.today().isoformat()
    found = [price for provider in data.providers for model in provider.models
             if (price := _price(provider, model, today)) is not None]
    return tuple(found), today


def _price(provider: Any, model: Any, today: str) -> TokenPrice | None:
    """A model's price at this moment, or None where text in and out have none."""
    from datetime import UTC, datetime

    from outlay.catalog.token_prices import served_by

    prices = model.get_prices(datetime.now(UTC))
    if any(getattr(prices, name, None) is None for name in PRICED):
        return None
    rungs = _rungs(prices)
    fee = getattr(prices, "requests_kcount", None)
    source = "genai-prices, live (pydantic, MIT)"
    return TokenPrice(provider.id, model.id, served_by(provider.id, model.id), "base", "", None, rungs,
                      float(fee or 0) / 1000.0, float(getattr(model, "context_window", None) or 0), today,
                      bool(getattr(model, "deprecated", False)), source)


def _rungs(prices: Any) -> tuple[Rung, ...]:
    names = {"input": "input_mtok", "cached": "cache_read_mtok", "cache_write": "cache_write_mtok",
             "output": "output_mtok"}
    values = {name: getattr(prices, field, None) for name, field in names.items()}
    starts = sorted({0.0} | {float(t.start) for v in values.values() for t in getattr(v, "tiers", ())})

    def at(value: Any, start: float) -> float | None:
        if value is None:
            return None
        found = float(getattr(value, "base", value))
        for tier in getattr(value, "tiers", ()):
            if start >= tier.start:
                found = float(tier.price)
        return found

    rungs = []
    for start in starts:
        each = {name: at(value, start) for name, value in values.items()}
        rungs.append(Rung(start, each["input"] or 0.0, each["cached"], each["cache_write"], each["output"] or 0.0))
    return tuple(rungs)
