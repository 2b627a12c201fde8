"""The machines a model is to be served on while ways to pay are compared: given, or those in the catalogue."""

from __future__ import annotations

import math
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from outlay.catalog import Catalog
from outlay.derive import Quantity
from outlay.errors import BadValue
from outlay.resolve.calendar import Defaults
from outlay.resolve.fleet import fleet_record, resolve_device
from outlay.resolve.hardware import whole_instances
from outlay.resolve.notes import Notes
from outlay.resolve.pay.phase import Work
from outlay.resolve.pay.rates import Tenure, tenures
from outlay.resolve.record import Resolved
from outlay.resolve.site import resolve_site
from outlay.scenario import Fleet, Scenario, Serve, Workload
from outlay.scenario_pay import Pay

USUAL_LENGTH = 8192
MOST_OF_ONE_KIND = 8
HOUR_S = 3600.0


class PaidFleet(Struct, frozen=True, eq=False):
    """A fleet resolved for serving, with the prices under which it can be had."""

    resolved: Resolved
    devices: int  # 1 unless the user named a number
    utilization: float | None
    tenures: tuple[Tenure, ...]
    missing: tuple[str, ...]


def serving_scenario(scenario: Scenario, fleet: str | Fleet, work: Work) -> Scenario:
    """The scenario of serving the work on a fleet as fast as it goes; what the user said of serving is kept."""
    given = scenario.serve or Serve()
    prompt, answer = max(work.input, 1.0), max(work.output, 1.0)
    longest = float((work.lengths.input + work.lengths.output).max())
    changed: dict[str, Any] = {"workload": Workload(rate=math.inf, input=prompt, output=answer), "slo": None,
                               "hours": None, "replicas": None}
    if given.max_model_len is None:
        changed["max_model_len"] = int(max(USUAL_LENGTH, math.ceil(longest)))
    elif given.max_model_len < longest:
        raise BadValue(f"serve.max_model_len: {given.max_model_len:,} is shorter than the longest request of "
                       f"{longest:,.0f} tokens", "serve.max_model_len")
    if given.prefix_cache_hit is None and work.cached_share > 0:
        changed["prefix_cache_hit"] = work.cached_share
    return replace(scenario, pay=None, data=None, pretrain=None, finetune=None, maintain=None,
                                   life=None, goal=None, fleet=fleet, serve=replace(given, **changed))


def paid_fleet(scenario: Scenario, fleet: str | Fleet, work: Work, ways: tuple[str, ...], usd_per_person_s: Quantity,
               catalog: Catalog, defaults: Defaults, without: str = "", quick: bool = False) -> PaidFleet:
    """One fleet, resolved and priced; `quick`: rents by the hour only, to choose between fleets."""
    from outlay.resolve import resolve

    asked = fleet_record(fleet)
    facts = resolve_device(asked.device, catalog, Notes(), defaults.seed)
    record = whole_instances(asked, facts)
    wide = asked if record.devices > 1 else replace(asked, devices=MOST_OF_ONE_KIND)
    resolved = resolve(serving_scenario(scenario, wide, work), catalog, without)
    assert resolved.hardware is not None
    site = resolve_site(scenario.site, record.provider or facts.provider, catalog, Notes(), defaults.seed)
    if quick and record.commitment is None:
        record = replace(record, commitment="on_demand")
    found, missing = tenures(record, facts, site, resolved.hardware.devices_per_node, scenario.pay or Pay(), ways,
                             defaults, usd_per_person_s)
    return PaidFleet(resolved, record.devices, record.utilization, tuple(found), tuple(missing))


def rentable(catalog: Catalog) -> list[tuple[float, str]]:
    """Devices with a rent by the hour, each with the lowest listed one in USD a second, the cheapest first."""
    lowest: dict[str, float] = {}
    for price in catalog.prices(kind="on_demand"):
        usd_per_s = price.usd_per_device_hour / HOUR_S
        lowest[price.device] = min(usd_per_s, lowest.get(price.device, usd_per_s))
    entries = [(usd_per_s, catalog.find("device", name)) for name, usd_per_s in lowest.items()]
    return sorted((u, e.id) for u, e in entries if e.value("memory_bytes_per_s") and "peak_bf16_flop_per_s" in e)


def most_flop_per_s(catalog: Catalog, device: str) -> float:
    """The highest dense peak of a device in any precision."""
    entry = catalog.find("device", device)
    names = ("peak_bf16_flop_per_s", "peak_fp8_flop_per_s", "peak_fp4_flop_per_s", "peak_int8_op_per_s")
    return max(float(entry.value(name, 0.0) or 0.0) for name in names)
