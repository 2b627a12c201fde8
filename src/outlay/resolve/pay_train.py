"""What a phase of training can be paid with: prices of its own fleet, and providers that tune by the token."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from outlay.catalog import Catalog, Entry
from outlay.resolve.calendar import Defaults
from outlay.resolve.fleet import fleet_record, resolve_device
from outlay.resolve.hardware import whole_instances
from outlay.resolve.pay import PayPhase
from outlay.resolve.pay_rates import Tenure, tenures
from outlay.resolve.record import Notes, Resolved
from outlay.resolve.site import resolve_site
from outlay.scenario import Scenario
from outlay.scenario_pay import Pay

BY_ADAPTER = ("lora", "qlora", "dora")


@dataclass(frozen=True, eq=False, slots=True)
class Tuning:
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
        record = msgspec.structs.replace(record, utilization=use.value)
    site = resolve_site(scenario.site, record.provider or facts.provider, catalog, Notes(), defaults.seed)
    return tenures(record, facts, site, resolved.hardware.devices_per_node, scenario.pay or Pay(), phase.ways,
                   defaults, phase.usd_per_person_s)


def tuning_offers(scenario: Scenario, resolved: Resolved, catalog: Catalog) -> list[Tuning]:
    """Providers that tune a model of this size in this way, and those named with a price for tuning their own."""
    named = [name.lower() for name in (scenario.pay.api or [])] if scenario.pay is not None else []
    found = [_tuning(e) for e in catalog.entries("tuning")
             if e.value("model") and any(n in (e.value("model"), f"{e.value('provider')}/{e.value('model')}")
                                         for n in named)]
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


def _tuning(entry: Entry) -> Tuning:
    price = entry.fact("usd_per_training_token")
    return Tuning(str(entry.value("provider")), entry.name, str(entry.value("model", "")), float(price.value),
                  float(entry.value("least_usd", 0.0)), price.retrieved, price.source)

