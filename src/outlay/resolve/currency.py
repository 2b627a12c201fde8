"""The currency that money is shown in: its code, rate, date and who says so."""

from __future__ import annotations

from typing import Any

from outlay.catalog import Catalog
from outlay.catalog.currencies import CODE, fault_of_date
from outlay.errors import BadValue, suggestion
from outlay.resolve.notes import Notes
from outlay.scenario import Currency


def resolve_currency(given: str | Currency, catalog: Catalog, notes: Notes) -> dict[str, Any]:
    """`{code, per_usd, as_of, source}`: the scenario's own rate, else one of the user's files.

    Raises BadValue where no rate is known: none is shipped, because a rate is right for a day only.
    """
    asked = Currency(code=given) if isinstance(given, str) else given
    code = asked.code.strip().upper()
    if not CODE.fullmatch(code):
        raise BadValue(f"currency.code: {asked.code!r} is not a code of three letters, such as EUR", "currency.code")
    if code == "USD":
        if asked.per_usd not in (None, 1.0):
            raise BadValue(f"currency.per_usd: {asked.per_usd:g} dollars for a dollar", "currency.per_usd")
        return {"code": code, "per_usd": 1.0, "as_of": asked.as_of, "source": "money is counted in dollars"}
    if asked.per_usd is not None:
        fault = fault_of_date(asked.as_of) if asked.as_of is not None else ""
        if fault:
            raise BadValue(f"currency.as_of: {fault}", "currency.as_of")
        if asked.as_of is None:
            notes.warn(f"currency.as_of: the rate of {asked.per_usd:g} {code} for a dollar has no date; give one")
        return {"code": code, "per_usd": asked.per_usd, "as_of": asked.as_of,
                "source": asked.source or "given in the scenario"}
    known = catalog.exchange_rates()
    if code not in known:
        told = f"; rates are known of {', '.join(sorted(known))}{suggestion(code, known)}" if known else ""
        raise BadValue(f"currency: no rate of {code} is known; give currency.per_usd (--exchange-rate 0.92), or a file "
                       f"of rates (currency,per_usd,as_of,source) with --prices{told}", "currency.per_usd")
    rate = known[code]
    return {"code": code, "per_usd": rate.per_usd, "as_of": rate.as_of, "source": rate.source}
