"""What a phase of training can be paid with: prices of its own fleet, and providers that tune by the token."""

from __future__ import annotations

import re
from datetime import date as Date
from datetime import timedelta
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from outlay.catalog import Catalog, Entry
from outlay.derive import Quantity, any_of, derive
from outlay.errors import UnknownName, suggestion
from outlay.resolve.calendar import Defaults
from outlay.resolve.fleet import fleet_record, resolve_device
from outlay.resolve.hardware import whole_instances
from outlay.resolve.notes import Notes
from outlay.resolve.pay.phase import PayPhase
from outlay.resolve.pay.rates import Tenure, tenures
from outlay.resolve.rates import per_joule
from outlay.resolve.record import Resolved
from outlay.resolve.site import resolve_site
from outlay.scenario import Scenario
from outlay.scenario_pay import Pay

BY_ADAPTER = ("lora", "qlora", "dora")
WAIT = timedelta(days=90)  # from release to delivery; Cottier et al. 2024, arXiv:2405.21015
YEAR_DAYS = 365.25
YEARLY = re.compile(r"price_usd_\d{4}")


class Tuning(Struct, frozen=True, eq=False):
    """A provider's price of a training token."""

    provider: str
    name: str
    model: str
    usd_per_token: float
    least_usd: float
    as_of: str
    source: str


def training_tenures(scenario: Scenario, phase: PayPhase, resolved: Resolved, catalog: Catalog,
                     defaults: Defaults) -> tuple[list[Tenure], list[str]]:
    """Ways to have the scenario's fleet for a run; owned machines do other work for the rest of their life."""
    if scenario.fleet is None or resolved.hardware is None:
        return [], ["Renting and owning are left out: no fleet is named"]
    record = fleet_record(scenario.fleet)
    facts = resolve_device(record.device, catalog, Notes(), defaults.seed)
    record = whole_instances(record, facts)
    if record.utilization is None and "own" in phase.ways:
        use = defaults.quantity("own.utilization", "fleet.utilization")
        record = replace(record, utilization=use.value)
    site = resolve_site(scenario.site, record.provider or facts.provider, catalog, Notes(), defaults.seed)
    return tenures(record, facts, site, resolved.hardware.devices_per_node, scenario.pay or Pay(), phase.ways,
                   defaults, phase.usd_per_person_s)


class PublishedTerms(Struct, frozen=True, eq=False):
    """What the definitions of a training cost by Cottier et al. 2024 (arXiv:2405.21015) take, for one fleet and day.

    The hardware is bought 90 days after it came out, at the price of then, and loses value until the run starts.
    """

    device_price_usd: Quantity
    until_start_usd: Quantity  # the same, bought on an unknown day until the run starts: its interval says so
    bought: str
    age_years: float
    server_overhead: Quantity
    network_share: Quantity
    oom_per_year: Quantity
    facility_w: Quantity  # of one device with its server, mean, losses of the building in it
    usd_per_j: Quantity


def published_terms(scenario: Scenario, phase: PayPhase, catalog: Catalog, defaults: Defaults) -> PublishedTerms | None:
    """None where the device has no purchase price, rated power or date of release."""
    assert scenario.fleet is not None
    record = fleet_record(scenario.fleet)
    facts = resolve_device(record.device, catalog, Notes(), defaults.seed)
    bought = _bought(facts.entry, phase.date)
    if bought is None or facts.power_w is None:
        return None
    day, price, until_start = bought
    site = resolve_site(scenario.site, record.provider or facts.provider, catalog, Notes(), defaults.seed)
    watts = derive(_facility_w, "mean power of a device with all around it", "W", rated_w=facts.power_w,
                   to_server=defaults.quantity("own.chip_to_server_power"), share=defaults.quantity("own.power_share"),
                   pue=site.pue)
    return PublishedTerms(
        price, until_start, day, max((Date.fromisoformat(phase.date) - Date.fromisoformat(day)).days / YEAR_DAYS, 0.0),
        defaults.quantity("own.server_overhead"), defaults.quantity("own.network_share"),
        defaults.quantity("own.depreciation_oom_per_year"), watts, per_joule(site.electricity_usd_per_kwh, "USD/J"))


def large_clouds(catalog: Catalog) -> frozenset[str]:
    """Providers whose contracts the published definition of a cloud cost takes."""
    return frozenset(e.id for e in catalog.entries("provider") if e.value("large_cloud"))


def _bought(entry: Entry | None, on: str) -> tuple[str, Quantity, Quantity] | None:
    """When hardware of this kind was first bought, not after `on`, the price nearest to then, and as any until `on`."""
    if entry is None or "release_date" not in entry:
        return None
    released = str(entry.value("release_date"))
    try:
        day = min((Date.fromisoformat(released) + WAIT).isoformat(), on)
    except ValueError:
        return None
    years = sorted((abs(int(p[-4:]) - int(day[:4])), p) for p in entry.facts if YEARLY.fullmatch(p))
    name = years[0][1] if years else "price_usd" if "price_usd" in entry else None
    if name is None:
        return None
    price = entry.fact(name).quantity(0)
    later = [entry.fact(p).quantity(0) for _, p in years if int(day[:4]) <= int(p[-4:]) <= int(on[:4])]
    return day, price, any_of(price.value, later or [price], "USD", price.label, *price.sources, key="published.price")


def _facility_w(rated_w: Any, to_server: Any, share: Any, pue: Any) -> Any:
    """Rated power of the chip, its server's over it, the mean part of that, and the building's losses."""
    return rated_w * to_server * share * pue


def tuning_offers(scenario: Scenario, resolved: Resolved, catalog: Catalog) -> list[Tuning]:
    """Providers that tune a model of this size in this way, and those named with a price for tuning their own."""
    found = _named(scenario, catalog)
    if scenario.finetune is None or resolved.architecture is None or (scenario.finetune.algorithm or "sft") != "sft":
        return found
    method = (scenario.finetune.method or "full").lower()
    wanted = "lora" if method in BY_ADAPTER else "full" if method == "full" else ""
    size = resolved.architecture.parameters
    least: dict[str, Entry] = {}
    for entry in catalog.entries("tuning"):
        most = entry.value("parameters_up_to")
        if entry.value("method") == wanted and most is not None and size <= most:
            provider = str(entry.value("provider"))
            if provider not in least or most < least[provider].value("parameters_up_to"):
                least[provider] = entry
    return found + [_tuning(entry) for entry in least.values()]


def _named(scenario: Scenario, catalog: Catalog) -> list[Tuning]:
    """Providers' own models that are named; where no requests are paid for, a name must be one of these."""
    pay = scenario.pay or Pay()
    known = {name: e for e in catalog.entries("tuning") if (model := e.value("model"))
             for name in (str(model), f"{e.value('provider')}/{model}")}
    found = []
    for i, name in enumerate(pay.api or []):
        entry = known.get(name.lower())
        if entry is not None:
            found.append(_tuning(entry))
        elif pay.requests_per_month is None and scenario.serve is None:
            hint = suggestion(name, known)
            raise UnknownName(f"pay.api[{i}]: no price of fine-tuning {name!r} is known{hint}; known: "
                              f"{', '.join(known)}", f"pay.api[{i}]")
    return found


def _tuning(entry: Entry) -> Tuning:
    price = entry.fact("usd_per_training_token")
    return Tuning(str(entry.value("provider")), entry.name, str(entry.value("model", "")), float(price.value),
                  float(entry.value("least_usd", 0.0)), price.retrieved, price.source)

