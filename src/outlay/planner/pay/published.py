"""What a training run cost by the definitions that are published: cloud, amortised, hardware acquired."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from outlay.derive import Quantity, any_of, derive, value_of
from outlay.resolve.pay.rates import Tenure
from outlay.resolve.pay.train import PublishedTerms
from outlay.valuation import money

CONTRACT = "3y"
SOURCE = "Cottier et al. 2024, arXiv:2405.21015"


def published_costs(held: Quantity, devices: int, tenures: Sequence[Tenure], terms: PublishedTerms | None) -> dict[
        str, Any]:
    """Cloud: device-seconds at the middle of the large clouds' three-year contracts (`tenures`). Amortised: the value
    the hardware loses in them, and electricity. Acquisition: all of it bought. Final run only; None where a price is
    not known.
    """
    found: dict[str, Any] = {"cloud_usd": _cloud(held, tenures), "amortised_usd": None, "acquisition_usd": None,
                             "source": SOURCE}
    if terms is None:
        return found
    cluster = {"server_overhead": terms.server_overhead, "network_share": terms.network_share}
    energy = derive(_energy, "energy of the run", "J", device_s=held, watts=terms.facility_w)
    amortised = derive(money.amortised_training_usd, "amortised, as published", "USD", device_s=held,
                       device_price_usd=terms.device_price_usd, age_years=terms.age_years, energy_j=energy,
                       usd_per_j=terms.usd_per_j, oom_per_year=terms.oom_per_year, **cluster)
    each = derive(money.cluster_price_usd, "a device with server and network", "USD",
                  device_price_usd=terms.until_start_usd, **cluster)
    bought = derive(money.cost_usd, "hardware acquired, as published", "USD", amount=float(devices), usd_per_unit=each)
    return found | {"amortised_usd": amortised, "acquisition_usd": bought, "bought": terms.bought,
                    "age_years": terms.age_years}


def _cloud(held: Quantity, tenures: Sequence[Tenure]) -> Quantity | None:
    """At the middle of the contracts; the interval is that of any of them, what a commitment takes off included."""
    from statistics import median

    offers = [t for t in tenures if t.commitment == CONTRACT and t.rates.usd_per_device_s is not None]
    if not offers:
        return None
    prices = [t.rates.usd_per_device_s for t in offers if t.rates.usd_per_device_s is not None]
    price = any_of(median([value_of(each) for each in prices]), prices, "USD/s",
                   "three-year contract, middle of large clouds", *(f"{t.provider}: {t.basis}" for t in offers),
                   key="published.cloud")
    cost: Quantity = derive(money.cost_usd, "cloud, as published", "USD", amount=held, usd_per_unit=price)
    return cost


def _energy(device_s: Any, watts: Any) -> Any:
    """Device-seconds at a mean power."""
    return device_s * watts
