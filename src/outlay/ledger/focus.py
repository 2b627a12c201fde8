"""Lines as rows of the FinOps Open Cost and Usage Specification 1.2, one a line and calendar month.

A plan is no invoice: BilledCost is 0 and InvoiceId empty in every row; what is planned stands in List-, Contracted-
and EffectiveCost. Columns of our own start with x_ and carry stage, interval, energy, carbon and water. A line
whose price is not known has no row: it is returned beside them with the reason, never written as zero.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from msgspec import Struct

from outlay.catalog import Catalog
from outlay.derive import Quantity, derive
from outlay.ledger.months import next_month, split
from outlay.result import Result
from outlay.usage import Line, Resource

HOUR_S, MONTH_S, KWH_J = 3600.0, 2629800.0, 3.6e6
# resource -> unit that is priced, and how many units of the resource are one of it
UNITS: dict[Resource, tuple[str, float]] = {
    "device_s": ("Hours", HOUR_S), "energy_j": ("Kilowatt-Hours", KWH_J),
    "storage_byte_s": ("GB-Months", 1e9 * MONTH_S),
    "transfer_bytes": ("GB", 1e9), "tokens_in": ("Tokens", 1.0), "tokens_cached": ("Tokens", 1.0),
    "tokens_out": ("Tokens", 1.0), "requests": ("Requests", 1.0), "person_s": ("Hours", HOUR_S), "usd": ("Units", 0.0)}
# resource -> ServiceCategory, ServiceSubcategory, ServiceName
SERVICES: dict[Resource, tuple[str, str, str]] = {
    "storage_byte_s": ("Storage", "Object Storage", "Object storage"),
    "transfer_bytes": ("Networking", "Other (Networking)", "Data transfer"),
    "tokens_in": ("AI and Machine Learning", "Generative AI", "Model API"),
    "tokens_cached": ("AI and Machine Learning", "Generative AI", "Model API"),
    "tokens_out": ("AI and Machine Learning", "Generative AI", "Model API"),
    "requests": ("AI and Machine Learning", "Generative AI", "Model API"),
    "person_s": ("Other", "Other (Other)", "People")}
RENTED = ("Compute", "Virtual Machines", "Accelerator capacity")
OWNED = ("Compute", "Other (Compute)", "Owned accelerators")
PRICING = {"on_demand": "Standard", "spot": "Dynamic", "1y": "Committed", "3y": "Committed"}
OWN_COLUMNS = ("x_outlay_stage", "x_outlay_item", "x_outlay_line", "x_outlay_basis", "x_CostLow", "x_CostHigh",
               "x_EnergyKWh", "x_CarbonKgCO2e", "x_WaterLitres")


class Charge(Struct, frozen=True):
    """One row: its columns, and the planned cost in dollars with its draws."""

    columns: Mapping[str, Any]
    line: str
    usd: Quantity


class _Terms(Struct, frozen=True):
    """What all rows of a plan share."""

    account: str
    provider: str
    commitment: str
    owned: bool
    discount: float
    device: str
    region: str
    code: str
    per_usd: float


def columns_of(catalog: Catalog) -> list[str]:
    """Every column of the specification by name, then ours."""
    return [entry.name for entry in catalog.entries("focus_column")] + list(OWN_COLUMNS)


def charges(result: Result, start: datetime) -> tuple[list[Charge], list[str]]:
    """Rows of a plan that begins at `start`, and the lines left out because their price is not known."""
    terms = _terms(result)
    spans = _spans(result.lines)
    rows: list[Charge] = []
    unpriced: list[str] = []
    for line in result.lines:
        if line.usd is None:
            unpriced.append(f"{line.usage.id}: {line.note or 'no price is known'}")
            continue
        begin, duration = line.usage.start_s, line.usage.duration_s
        if duration <= 0:  # spread over its phase, as no time of its own is known
            begin, end = spans[line.usage.phase]
            duration = end - begin
        for since, until, share in split(start + timedelta(seconds=begin), duration, line.usage.profile):
            rows.append(_charge(line, terms, since, until, share))
    return rows, unpriced


def _spans(lines: Iterable[Line]) -> dict[str, tuple[float, float]]:
    """When each phase begins and ends."""
    found: dict[str, tuple[float, float]] = {}
    for line in lines:
        begin, end = line.usage.start_s, line.usage.start_s + line.usage.duration_s
        old = found.get(line.usage.phase, (begin, end))
        found[line.usage.phase] = (min(old[0], begin), max(old[1], end))
    return found


def _terms(result: Result) -> _Terms:
    scenario, currency = result.scenario, result.currency or {}
    fleet = scenario.get("fleet") or {}
    site = scenario.get("site") or {}
    location = site.get("location", "") if isinstance(site, Mapping) else site
    owned = fleet.get("tenure") == "own"
    device = fleet.get("device") or ""
    return _Terms(
        account=str(scenario.get("name") or result.model.get("name") or "plan"),
        provider="Self" if owned else str(fleet.get("provider") or "Unnamed provider"),
        commitment=str(fleet.get("commitment") or "on_demand"), owned=owned,
        discount=float(fleet.get("discount") or 0.0),
        device=str(device.get("name", "") if isinstance(device, Mapping) else device), region=str(location or ""),
        code=str(currency.get("code") or "USD"), per_usd=float(currency.get("per_usd") or 1.0))


def _charge(line: Line, terms: _Terms, since: datetime, until: datetime, share: float) -> Charge:
    usage = line.usage
    assert line.usd is not None
    usd: Quantity = derive(_part, f"{usage.item} in {since:%Y-%m}", "USD", whole=line.usd, share=share)
    cost = usd.value * terms.per_usd
    devices = usage.resource == "device_s"
    listed = cost / (1.0 - terms.discount) if devices or (terms.owned and usage.resource == "usd") else cost
    unit, size = UNITS[usage.resource]
    quantity = usage.quantity.value * share / size if size else 1.0
    category, subcategory, service = SERVICES.get(usage.resource, OWNED if terms.owned else RENTED)
    committed = devices and PRICING[terms.commitment] == "Committed" and not terms.owned
    month = since.replace(day=1, hour=0, minute=0, second=0)
    price = cost / quantity if quantity else None
    list_price = listed / quantity if quantity else None
    sku = "-".join(filter(None, (terms.device if devices else usage.resource, terms.commitment if devices else "")))
    found: dict[str, Any] = {
        "BilledCost": 0.0, "EffectiveCost": cost, "ContractedCost": cost, "ListCost": listed,
        "ContractedUnitPrice": price, "ListUnitPrice": list_price,
        "BillingAccountId": f"outlay:{terms.account}", "BillingAccountName": terms.account,
        "BillingAccountType": "Plan",
        "BillingCurrency": terms.code, "PricingCurrency": terms.code, "PricingCurrencyContractedUnitPrice": price,
        "PricingCurrencyEffectiveCost": cost, "PricingCurrencyListUnitPrice": list_price,
        "BillingPeriodStart": _moment(month), "BillingPeriodEnd": _moment(next_month(month)),
        "ChargePeriodStart": _moment(since), "ChargePeriodEnd": _moment(until),
        "ChargeCategory": "Usage", "ChargeFrequency": "Usage-Based",
        "ChargeDescription": f"planned: {usage.item} of {usage.phase}" + (f"; {line.price_basis}" if devices else ""),
        "ConsumedQuantity": quantity, "ConsumedUnit": unit, "PricingQuantity": quantity, "PricingUnit": unit,
        "PricingCategory": "Other" if terms.owned else PRICING[terms.commitment] if devices else "Standard",
        "ProviderName": terms.provider, "PublisherName": terms.provider, "InvoiceIssuerName": terms.provider,
        "RegionId": terms.region, "RegionName": terms.region,
        "ResourceId": usage.id, "ResourceName": usage.item, "ResourceType": terms.device if devices else usage.resource,
        "ServiceCategory": category, "ServiceSubcategory": subcategory, "ServiceName": service,
        "SkuId": sku, "SkuMeter": f"{usage.resource} of {usage.item}", "SkuPriceId": f"{sku}-{terms.provider}",
        "SkuPriceDetails": json.dumps({"x_PriceBasis": line.price_basis}) if line.price_basis else "",
        "Tags": json.dumps(usage.tags, ensure_ascii=False),
        **_own(line, usd, terms, share),
    }
    if committed:
        found |= {"CommitmentDiscountCategory": "Usage", "CommitmentDiscountId": f"{terms.provider}-{terms.commitment}",
                  "CommitmentDiscountName": f"{terms.commitment} commitment", "CommitmentDiscountQuantity": quantity,
                  "CommitmentDiscountStatus": "Used", "CommitmentDiscountType": "Commitment",
                  "CommitmentDiscountUnit": unit}
    return Charge(found, usage.id, usd)


def _own(line: Line, usd: Quantity, terms: _Terms, share: float) -> dict[str, Any]:
    """The columns of ours: stage, interval, energy, carbon and water."""
    usage = line.usage
    carbon = line.co2e_operational_kg.value + line.co2e_embodied_kg.value
    return {
        "x_outlay_stage": usage.phase, "x_outlay_item": usage.item, "x_outlay_line": usage.id,
        "x_outlay_basis": usage.basis, "x_CostLow": usd.low * terms.per_usd, "x_CostHigh": usd.high * terms.per_usd,
        "x_EnergyKWh": line.energy_j.value * share / KWH_J, "x_CarbonKgCO2e": carbon * share,
        "x_WaterLitres": line.water_l.value * share}


def _part(whole: Any, share: Any) -> Any:
    """The share of a line that falls into one month."""
    return whole * share


def _moment(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def to_csv(rows: Sequence[Charge], catalog: Catalog) -> str:
    """The rows as CSV; an empty cell is a null."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    head = columns_of(catalog)
    writer.writerow(head)
    for row in rows:
        writer.writerow([_cell(row.columns.get(name)) for name in head])
    return stream.getvalue()


def _cell(value: Any) -> Any:
    """A number with every digit it means; a text that a spreadsheet would run as a formula is defused."""
    if isinstance(value, float):
        text = f"{value:.15g}"
        return text if set(text) & set(".en") else f"{text}.0"  # a decimal to every reader
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return "'" + value
    return "" if value is None else value
