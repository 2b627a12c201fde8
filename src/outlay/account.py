"""Use becomes money, facility energy, carbon and water: here and nowhere else.

`account` adds to each usage only what lies outside the scope it was taken at: host, network, cooling and
losses for energy at the device; cooling and losses for energy at the node; nothing for energy at the
facility's meter. Each of them is a line of its own, so that a table of lines adds up to the facility.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, cast

from msgspec import Struct, field

from outlay.account_rates import Owned, Rates
from outlay.derive import Num, Quantity, add_all, derive, exact, value_of
from outlay.usage import Line, Scope, Usage
from outlay.valuation import carbon, embodied, energy, money, water

__all__ = ["Owned", "Rates", "account", "totals", "unit_value", "why_no_price"]

HOUR_S = 3600.0
IN_THE_PRICE = "in the price of the device"
OF_ENERGY = ("energy_j", "co2e_kg", "co2e_operational_kg", "co2e_direct_kg", "water_l", "water_onsite_l",
             "water_offsite_l")


def account(usages: Sequence[Usage], rates: Rates) -> list[Line]:
    """Lines for every usage, and for the host, network, cooling and building that those usages entail.

    Usages of one call share one place and tenure (one `Rates`). Lines come in the order of usages, each
    phase's own overheads after it.
    """
    lines: list[Line] = []
    for phase, place, run in dict.fromkeys(map(_together, usages)):
        group = _Group(phase, place, run)
        for usage in usages:
            if _together(usage) == (phase, place, run):
                lines.append(_line(usage, rates, group))
        lines.extend(_overheads(group, rates))
    return lines


def _together(usage: Usage) -> tuple[str, str, str]:
    """Usages whose overheads are told together: one phase and place, and one run where a phase has several."""
    return usage.phase, usage.place, usage.tags.get("run", "")


class _Group(Struct):
    """What the usages of one phase and place have taken so far, by what must still be added to it."""

    phase: str
    place: str
    run: str = ""
    device_s: list[Quantity] = field(default_factory=list)
    at_device_j: list[Quantity] = field(default_factory=list)
    at_node_j: list[Quantity] = field(default_factory=list)
    start_s: float | None = None
    end_s: float = 0.0
    profile: tuple[float, ...] | None = None

    def usage(self, item: str, resource: Any, quantity: Quantity, unit: str, scope: Scope) -> Usage:
        start_s, run = self.start_s or 0.0, {"run": self.run} if self.run else {}
        return Usage(".".join(filter(None, (self.phase, self.run, item, resource))), self.phase, item, resource, scope,
                     quantity, unit, start_s, self.end_s - start_s, self.place, tags={"overhead": "yes"} | run,
                     profile=self.profile or ())


def _line(usage: Usage, rates: Rates, group: _Group) -> Line:
    group.start_s = usage.start_s if group.start_s is None else min(group.start_s, usage.start_s)
    group.end_s = max(group.end_s, usage.start_s + usage.duration_s)
    group.profile = usage.profile if group.profile in (None, usage.profile) else ()
    if usage.resource == "device_s":
        group.device_s.append(usage.quantity)
        return _device_line(usage, rates)
    if usage.resource == "energy_j":
        if usage.scope == "device":
            group.at_device_j.append(usage.quantity)
        elif usage.scope == "node":
            group.at_node_j.append(usage.quantity)
        return _energy_line(usage, usage.quantity, rates)
    if usage.resource == "storage_byte_s":
        from outlay.physics.storage import storage_energy_j

        return _drawing_line(usage, rates, group, derive(
            storage_energy_j, "storage energy", "J", byte_s=usage.quantity, w_per_byte=rates.storage_w_per_byte))
    if usage.resource == "core_s":
        return _drawing_line(usage, rates, group, derive(
            energy.device_energy_j, "core energy", "J", device_s=usage.quantity, power_w=rates.core_w))
    usd, note = _unit_price(usage, rates)
    if usage.resource not in ("usd", "person_s", "items"):
        note = "; ".join(filter(None, (note, "energy of the service is inside it and not counted")))
    return _money_line(usage, usd, rates, note)


# ---------------------------------------------------------------- one usage

def _device_line(usage: Usage, rates: Rates) -> Line:
    price: Num | None = rates.usd_per_device_s
    label = f"device rent, {usage.item}"
    if rates.owned is not None:
        price, label = rates.owned.usd_per_device_s()["device"], f"devices, owned, {usage.item}"
    usd = None
    if price is not None:
        usd = derive(money.cost_usd, label, "USD", amount=usage.quantity, usd_per_unit=price)
    hardware = add_all("embodied carbon of a device and its part of the server", "kg",
                       rates.embodied_kg_per_device, rates.embodied_kg_server_per_device)
    kg = derive(embodied.embodied_kg, "embodied carbon", "kg", device_s=usage.quantity,
                embodied_kg_per_device=hardware, lifetime_s=rates.embodied_lifetime_s,
                busy_share=rates.embodied_busy_share)
    return _money_line(usage, usd, rates, "" if usd is not None else rates.no_price, embodied_kg=kg)


def _energy_line(usage: Usage, energy_j: Quantity, rates: Rates, note: str = "") -> Line:
    it_j = energy_j
    if usage.scope == "facility":
        it_j = derive(energy.it_energy_j, "IT energy", "J", facility_j=energy_j, pue=rates.pue)
    usd, note = _electricity(energy_j, rates, note)
    return _line_of_energy(usage, energy_j, it_j, usd, rates, note)


def _line_of_energy(usage: Usage, energy_j: Quantity, it_j: Quantity, usd: Quantity | None, rates: Rates,
                    note: str) -> Line:
    """Carbon and water of energy drawn in the facility; on-site water follows the IT energy inside it."""
    onsite = derive(water.onsite_l, "water on site", "l", it_energy_j=it_j, wue_l_per_j=rates.wue_l_per_j)
    offsite = derive(water.offsite_l, "water off site", "l", facility_energy_j=energy_j,
                     grid_l_per_j=rates.grid_l_per_j)
    direct = None if rates.grid_direct_kgco2e_per_j is None else derive(
        carbon.operational_kg, "operational carbon, direct factor", "kg", energy_j=energy_j,
        kgco2e_per_j=rates.grid_direct_kgco2e_per_j)
    return Line(
        usage, usd, energy_j,
        derive(carbon.operational_kg, "operational carbon", "kg", energy_j=energy_j,
               kgco2e_per_j=rates.grid_kgco2e_per_j),
        _zero("kg", "embodied carbon"), add_all("water", "l", onsite, offsite), rates.price_basis,
        rates.carbon_basis, note, onsite, offsite, direct)


def _electricity(energy_j: Quantity, rates: Rates, note: str) -> tuple[Quantity | None, str]:
    if rates.usd_per_device_s is not None and rates.owned is None:
        return _zero("USD", "electricity"), "; ".join(filter(None, (note, IN_THE_PRICE)))
    if rates.owned is None or rates.usd_per_j is None:
        reason = rates.no_price if rates.owned is None else "no electricity price is known here"
        return None, reason
    return derive(money.energy_usd, "electricity", "USD", energy_j=energy_j, usd_per_j=rates.usd_per_j), note


def _drawing_line(usage: Usage, rates: Rates, group: _Group, drawn_j: Quantity) -> Line:
    """Stored bytes and processor cores: priced by the unit, and drawing power all the while."""
    group.at_node_j.append(drawn_j)
    usd, note = _unit_price(usage, rates)
    return _line_of_energy(usage, drawn_j, drawn_j, usd, rates, note)


def _unit_price(usage: Usage, rates: Rates) -> tuple[Quantity | None, str]:
    if usage.resource == "usd":
        return usage.quantity, ""
    rate = usage.tags.get("rate")
    price = rates.usd_per_unit.get(f"{usage.resource}@{rate}" if rate else usage.resource)
    if price is None:
        what = f"{rate}, {usage.resource}" if rate else usage.resource
        return None, f"no price is known for {what.replace('_', ' ')} here"
    return derive(money.cost_usd, usage.item, "USD", amount=usage.quantity, usd_per_unit=price), ""


def _money_line(usage: Usage, usd: Quantity | None, rates: Rates, note: str = "",
                embodied_kg: Quantity | None = None) -> Line:
    nothing = _zero("l", "water")
    built = _zero("kg", "embodied carbon") if embodied_kg is None else embodied_kg
    return Line(usage, usd, _zero("J", "energy"), _zero("kg", "operational carbon"), built, nothing,
                rates.price_basis, rates.carbon_basis, note, nothing, nothing, None)


# ---------------------------------------------------------------- what lies outside the usages

def _overheads(group: _Group, rates: Rates) -> Iterable[Line]:
    it_parts = list(group.at_node_j)
    if group.at_device_j:
        devices_j = add_all("device energy", "J", *group.at_device_j)
        host_j = _host_energy(devices_j, group, rates)
        nodes_j = add_all("node energy", "J", devices_j, host_j)
        network_j = derive(energy.network_energy_j, "network energy", "J", energy_j=nodes_j,
                           network_share=rates.network_share)
        it_parts += [nodes_j, network_j]
        for item, joules in (("host", host_j), ("network", network_j)):
            if value_of(joules) == 0.0 and rates.host_w is not None and value_of(rates.host_w) == 0.0:
                continue  # a machine of one piece, whose own power is the whole of it
            yield _energy_line(group.usage(item, "energy_j", joules, "J", "node"), joules, rates)
    if it_parts:
        it_j = add_all("IT energy", "J", *it_parts)
        cooling_j = derive(energy.overhead_energy_j, "cooling and losses", "J", energy_j=it_j, pue=rates.pue)
        usd, note = _electricity(cooling_j, rates, "cooling, conversion and distribution: PUE - 1")
        yield _line_of_energy(group.usage("cooling", "energy_j", cooling_j, "J", "facility"), cooling_j,
                              _zero("J", "IT energy"), usd, rates, note)
    if group.device_s and rates.owned is not None:
        devices_s = add_all("device-seconds", "s", *group.device_s)
        for item, price in rates.owned.usd_per_device_s().items():
            if item != "device":
                usd = derive(money.cost_usd, f"{item}, owned", "USD", amount=devices_s, usd_per_unit=price)
                yield _money_line(group.usage(item, "usd", usd, "USD", "facility"), usd, rates)


def _host_energy(devices_j: Quantity, group: _Group, rates: Rates) -> Quantity:
    """Host and supply over the time devices were held; where only joules are known, their usual ratio."""
    if rates.host_w is None or not group.device_s:
        return cast(Quantity, derive(energy.host_energy_j, "host energy", "J", energy_j=devices_j,
                                     host_factor=rates.host_factor))
    held = add_all("device-seconds", "s", *group.device_s)
    return cast(Quantity, derive(energy.host_and_supply_j, "host energy", "J", energy_j=devices_j, device_s=held,
                                 host_w=rates.host_w, supply_factor=rates.supply_factor))


def _zero(unit: str, label: str) -> Quantity:
    return exact(0.0, unit, label, basis="derived")


# ---------------------------------------------------------------- sums

def totals(lines: Sequence[Line]) -> dict[str, Quantity | None]:
    """Sums of lines, draw by draw.

    `usd` is None when a line's price is not known: see `why_no_price`. Energy, carbon and water are None when
    devices worked and nothing says what they drew.
    """
    def total(label: str, unit: str, parts: Sequence[Quantity | None]) -> Quantity:
        known = [p for p in parts if p is not None]
        return cast(Quantity, add_all(label, unit, *known)) if known else _zero(unit, label)

    operational = total("operational carbon", "kg", [x.co2e_operational_kg for x in lines])
    built = total("embodied carbon", "kg", [x.co2e_embodied_kg for x in lines])
    direct = [x.co2e_direct_kg for x in lines if x.co2e_direct_kg is not None]
    used = [x.usage.quantity for x in lines if x.usage.resource == "device_s"]
    unpriced = any(x.usd is None for x in lines)
    sums: dict[str, Quantity | None] = {
        "usd": None if unpriced else total("money", "USD", [x.usd for x in lines]),
        "energy_j": total("facility energy", "J", [x.energy_j for x in lines]),
        "co2e_kg": cast(Quantity, add_all("carbon", "kg", operational, built)),
        "co2e_operational_kg": operational,
        "co2e_embodied_kg": built,
        "co2e_direct_kg": total("operational carbon, direct factor", "kg", direct) if direct else None,
        "water_l": total("water", "l", [x.water_l for x in lines]),
        "water_onsite_l": total("water on site", "l", [x.water_onsite_l for x in lines]),
        "water_offsite_l": total("water off site", "l", [x.water_offsite_l for x in lines]),
        "device_hours": derive(_hours, "device-hours", "h", device_s=total("device-seconds", "s", used)),
    }
    return sums | dict.fromkeys(OF_ENERGY) if power_unknown(lines) else sums


def power_unknown(lines: Sequence[Line]) -> bool:
    """Whether a phase has device-seconds and no joules beside them."""
    kinds = {(x.usage.phase, x.usage.resource) for x in lines if "overhead" not in x.usage.tags}
    return any((phase, "energy_j") not in kinds for phase, resource in kinds if resource == "device_s")


def why_no_price(lines: Sequence[Line]) -> str:
    """Why the total has no money: the reasons of the lines without a price, each once."""
    return "; ".join(dict.fromkeys(x.note for x in lines if x.usd is None))


def _hours(device_s: Any) -> Any:
    """Seconds as hours."""
    return device_s / HOUR_S


# ---------------------------------------------------------------- the value of one unit of use

def unit_value(rates: Rates, power_w: Any, scope: Scope = "device") -> dict[str, Any]:
    """Money, energy, carbon and water of one device-second at a mean device power (a float or an array).

    A search that minimises device-seconds times this value finds the plan that `account` prices lowest: the
    same formulas, at nominal values. `usd` is None where no price is known.
    """
    joules, pue = _plain(power_w), _plain(rates.pue)
    facility_j = joules
    if scope == "device":
        node_j = joules + (
            energy.host_energy_j(joules, _plain(rates.host_factor)) if rates.host_w is None
            else energy.host_and_supply_j(joules, 1.0, _plain(rates.host_w), _plain(rates.supply_factor)))
        facility_j = energy.facility_energy_j(node_j, 1.0, _plain(rates.network_share), pue)
    elif scope == "node":
        facility_j = joules + energy.overhead_energy_j(joules, pue)
    it_j = energy.it_energy_j(facility_j, pue)
    hardware = _plain(rates.embodied_kg_per_device) + _plain(rates.embodied_kg_server_per_device)
    built = embodied.embodied_kg(1.0, hardware, _plain(rates.embodied_lifetime_s),
                                 _plain(rates.embodied_busy_share))
    operational = carbon.operational_kg(facility_j, _plain(rates.grid_kgco2e_per_j))
    return {
        "usd": _unit_usd(rates, facility_j),
        "energy_j": facility_j,
        "co2e_kg": carbon.total_kg(operational, built),
        "water_l": water.onsite_l(it_j, _plain(rates.wue_l_per_j))
        + water.offsite_l(facility_j, _plain(rates.grid_l_per_j)),
    }


def _unit_usd(rates: Rates, facility_j: Any) -> Any:
    if rates.owned is not None:
        if rates.usd_per_j is None:
            return None
        capital = sum(_plain(v) for v in rates.owned.usd_per_device_s().values())
        return capital + money.energy_usd(facility_j, _plain(rates.usd_per_j))
    return None if rates.usd_per_device_s is None else _plain(rates.usd_per_device_s) + 0.0 * facility_j


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, Quantity) else value
