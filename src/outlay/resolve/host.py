"""What a machine draws beside its devices: host, supply and switches; nothing where a rated power holds the machine."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from outlay.derive import Quantity, derive, exact
from outlay.resolve.calendar import Defaults
from outlay.resolve.fleet import DeviceFacts


class Beside(Struct, frozen=True):
    """Power outside the devices of a machine, in the terms that `account` adds it by."""

    host_factor: Quantity  # node over device energy, where no time is known
    host_w: Quantity | None  # of a device's share of its host; None where the device's rating is unknown
    supply_factor: Quantity
    network_share: Quantity


def beside(facts: DeviceFacts, defaults: Defaults) -> Beside:
    """Host, supply and network of a device's usual machine.

    A rating that is the whole machine's at the wall leaves nothing to add: it would be counted twice.
    """
    if facts.whole_machine:
        source = "the device's rated power is the whole machine's, at the wall"
        defaults.notes.assume("host power", 0, source)
        nothing = exact(0.0, "", "beside the machine", source, basis="derived")
        whole = exact(1.0, "", "the machine over its own power", source, basis="derived")
        none_w = exact(0.0, "W", "host power of a device", source, basis="derived")
        return Beside(host_factor=whole, host_w=none_w, supply_factor=whole, network_share=nothing)
    energy = defaults.catalog.find("power_constants", "energy")
    return Beside(
        host_factor=defaults.quantity("energy.host_factor", "host power over device power"),
        host_w=_host_w(facts, defaults),
        supply_factor=defaults.quantity("energy.supply_factor", "supply losses"),
        network_share=energy.fact("network_share").quantity(defaults.seed))


def _host_w(facts: DeviceFacts, defaults: Defaults) -> Quantity | None:
    """Power of a device's share of its host, which grows with the device's rating; None where that is unknown."""
    if facts.power_w is None:
        return None
    share = defaults.quantity("energy.host_share", "host power over rated power of its devices")
    found: Quantity = derive(_times, "host power of a device", "W", rated_w=facts.power_w, share=share)
    return found


def _times(rated_w: Any, share: Any) -> Any:
    """A share of rated power."""
    return rated_w * share
