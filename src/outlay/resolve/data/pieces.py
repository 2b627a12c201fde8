"""What is bought by the piece for a corpus: annotation, and licences by deal or by the year."""

from __future__ import annotations

from msgspec import Struct

from outlay.derive import Num, Quantity, exact
from outlay.errors import BadValue, Inconsistent
from outlay.resolve.calendar import Defaults
from outlay.resolve.fleet import given
from outlay.resolve.people import or_default
from outlay.scenario_life import Annotation, Deal


class Piece(Struct, frozen=True):
    """Work bought by the piece: how much of it, and the name of its price in `Rates`."""

    item: str
    amount: Quantity
    rate: str
    yearly: bool = False  # paid year after year, as long as the corpus is used
    years: float | None = None

_BY_PIECE = (
    # field, price field, what it is called, default of the price
    ("preferences", "usd_per_preference", "preferences", "annotation.usd_per_preference"),
    ("demonstrations", "usd_per_demonstration", "demonstrations", ""),
    ("ai_labels", "usd_per_ai_label", "AI labels", "annotation.usd_per_ai_label"),
    ("hours", "usd_per_hour", "annotation hours", ""),
)


def annotation(own: Annotation | None, prices: dict[str, Num], defaults: Defaults) -> list[Piece]:
    found = []
    for amount_field, price_field, item, default in _BY_PIECE:
        amount, price = (getattr(own, name, None) for name in (amount_field, price_field))
        where = f"data.annotation.{price_field}"
        if amount is None:
            if price is not None:
                raise Inconsistent(f"{where}: given without data.annotation.{amount_field}", where)
            continue
        if price is None and not default:
            raise BadValue(f"{where}: needed, because no price of {item} with a source is in the catalogue", where)
        rate = amount_field.removesuffix("s").replace("_", "-")
        prices[f"items@{rate}"] = or_default(price, "USD", f"price of {item}", default, where, defaults)
        found.append(Piece(item, given(float(amount), "items", item), rate))
    return found


def licences(own: list[str | Deal], prices: dict[str, Num], defaults: Defaults) -> list[Piece]:
    """Deals by their catalogue name, or a licence of one's own; a yearly price runs while the corpus is used."""
    found = []
    for index, deal in enumerate(own):
        if isinstance(deal, str):
            entry = defaults.catalog.find("deal", deal, f"data.licences[{index}]")
            name, years = entry.id, entry.value("years")
            parts = {p: entry.fact(p).quantity(defaults.seed) for p in ("usd", "usd_per_year") if p in entry}
            if "usd_per_year" in parts:
                parts.pop("usd", None)  # the same money, told once by the year
            fact = entry.fact(next(iter(parts)))
            defaults.notes.assume(
                f"licence {name}", fact.value, f"as {entry.name} was reported: {fact.note}", fact.source
            )
        else:
            name, years = deal.name, deal.years
            parts = {
                p: given(v, "USD", f"licence {deal.name}")
                for p in ("usd", "usd_per_year")
                if (v := getattr(deal, p)) is not None
            }
            if not parts:
                raise BadValue(f"data.licences[{index}].usd: {name} needs usd, usd_per_year or both", "data.licences")
            if years is not None and "usd_per_year" not in parts:
                raise Inconsistent(f"data.licences[{index}].years: only with usd_per_year", "data.licences")
        for kind, price in parts.items():
            rate = f"licence {name}" + (" a year" if kind == "usd_per_year" else "")
            prices[f"items@{rate}"] = price.named(rate, "USD")
            found.append(
                Piece("licences", exact(1.0, "licences", name, basis="given"), rate, kind == "usd_per_year", years)
            )
    return found
