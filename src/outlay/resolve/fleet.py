"""A fleet's short name or mapping → hardware: peaks, memory, links, each with its source."""

from __future__ import annotations

import re
from typing import Any

from msgspec import Struct

from outlay.catalog import Catalog, Entry
from outlay.derive import Quantity, exact
from outlay.errors import BadValue, Inconsistent, UnknownName
from outlay.resolve.notes import Notes
from outlay.scenario import Device, Fleet
from outlay.units import split_fleet

# compute precision → the peak that bounds it, best first
PEAKS = {
    "fp32": ("tf32", "fp32"), "bf16": ("bf16", "fp16"), "fp16": ("fp16", "bf16"),
    "fp8": ("fp8",), "mxfp8": ("fp8",), "nvfp4": ("fp4",), "mxfp4": ("fp4",), "fp4": ("fp4",),
}
MOST_DEVICES = 10_000_000
DESKTOP = ("consumer", "workstation", "apple", "edge", "soc")  # classes of devices that stand in one's own room
_PEAK_UNIT = "FLOP/s"


class DeviceFacts(Struct, frozen=True):
    """One device: where its numbers come from and what the user replaced."""

    id: str
    vendor: str
    entry: Entry | None
    peaks: dict[str, Quantity]
    memory_bytes: Quantity
    memory_bytes_per_s: Quantity
    power_w: Quantity | None
    link_bytes_per_s: Quantity | None
    per_instance: int = 1  # devices in the cloud instance that was named
    provider: str = ""  # of that instance

    @property
    def local_only(self) -> bool:
        """Whether the usual engines and trainers have no kernels measured for it: Apple's chips."""
        return self.entry is not None and self.entry.value("class", "") == "apple"

    @property
    def desktop(self) -> bool:
        """Whether it is one that people have at home or under a desk."""
        return self.entry is not None and self.entry.value("class", "") in DESKTOP

    @property
    def whole_machine(self) -> bool:
        """Whether its catalogued power is that of the machine around it, at the wall."""
        return self.entry is not None and self.entry.value("power_scope", "") == "node"


def given(value: float, unit: str, label: str) -> Quantity:
    """A number from the scenario itself."""
    return exact(value, unit, label, "given in the scenario", basis="given")


def in_own_room(fleet: Fleet | None, facts: DeviceFacts | None) -> bool:
    """Whether devices are taken to stand in one's own room: a desktop's worth of such that nobody is said to rent."""
    if fleet is None or facts is None:
        return False
    rented = fleet.tenure == "rent" or bool(fleet.provider or facts.provider) or fleet.usd_per_device_hour is not None
    most = 1 if facts.entry is None else int(facts.entry.value("devices_per_node", 1) or 1)
    return facts.desktop and not rented and fleet.devices <= most


def fleet_record(fleet: str | Fleet) -> Fleet:
    """The mapping behind a short spelling such as 64xh100-sxm5-80gb."""
    if isinstance(fleet, Fleet):
        return fleet
    count, device = split_fleet(fleet)
    if not 1 <= count <= MOST_DEVICES or not device or device.isdecimal():  # a bare number names no device
        raise BadValue(f"fleet: {fleet!r} is not a count (1 to {MOST_DEVICES:,}) and a device, such as "
                       "64xh100-sxm5-80gb", "fleet")
    return Fleet(device=device, devices=count)


def resolve_device(device: str | Device, catalog: Catalog, notes: Notes, seed: int) -> DeviceFacts:
    """A catalogued device, one with values replaced, or one wholly of the user's own."""
    if isinstance(device, str):
        return _catalogued(device, catalog, seed)
    own = _own_values(device)
    if device.name is not None:
        try:
            base = _catalogued(device.name, catalog, seed)
        except UnknownName as error:
            if not own.complete:
                raise UnknownName(f"{error.message}; a device of your own needs memory_bytes, memory_bytes_per_s and "
                                  "flops_per_s", "fleet.device.name") from None
            base = None
        if base is not None:
            return own.over(base)
    if not own.complete:
        missing = own.missing()
        raise BadValue(f"fleet.device.{missing}: needed for a device that is not in the catalogue; or give the "
                       "name of a catalogued one", f"fleet.device.{missing}")
    return own.alone(device.name or "custom")


class _OwnValues(Struct, frozen=True):
    peaks: dict[str, Quantity]
    memory_bytes: Quantity | None
    memory_bytes_per_s: Quantity | None
    power_w: Quantity | None
    link: Quantity | None

    @property
    def complete(self) -> bool:
        return bool(self.peaks) and self.memory_bytes is not None and self.memory_bytes_per_s is not None

    def missing(self) -> str:
        if self.memory_bytes is None:
            return "memory_bytes"
        return "memory_bytes_per_s" if self.memory_bytes_per_s is None else "flops_per_s"

    def over(self, base: DeviceFacts) -> DeviceFacts:
        return DeviceFacts(base.id, base.vendor, base.entry, base.peaks | self.peaks,
                           self.memory_bytes or base.memory_bytes,
                           self.memory_bytes_per_s or base.memory_bytes_per_s,
                           self.power_w or base.power_w, self.link or base.link_bytes_per_s, base.per_instance,
                           base.provider)

    def alone(self, name: str) -> DeviceFacts:
        assert self.memory_bytes is not None and self.memory_bytes_per_s is not None
        return DeviceFacts(name, "", None, self.peaks, self.memory_bytes, self.memory_bytes_per_s, self.power_w,
                           self.link)


def _own_values(device: Device) -> _OwnValues:
    known = sorted({p for options in PEAKS.values() for p in options} | {"int8"})
    peaks = {}
    for name, value in (device.flops_per_s or {}).items():
        if name not in known:
            raise BadValue(f"fleet.device.flops_per_s.{name}: not one of {', '.join(known)}",
                           f"fleet.device.flops_per_s.{name}")
        peaks[name] = given(value, _PEAK_UNIT, f"dense {name} peak")
    return _OwnValues(
        peaks,
        given(device.memory_bytes, "bytes", "device memory") if device.memory_bytes else None,
        given(device.memory_bytes_per_s, "bytes/s", "memory bandwidth") if device.memory_bytes_per_s else None,
        given(device.power_w, "W", "rated power") if device.power_w else None,
        given(device.link_bytes_per_s, "bytes/s", "link per direction") if device.link_bytes_per_s else None,
    )


def _catalogued(name: str, catalog: Catalog, seed: int) -> DeviceFacts:
    match = catalog.find_device(name, "fleet.device")
    entry = match.entry
    lacking = [name for name in ("memory_bytes", "memory_bytes_per_s") if name not in entry]
    if lacking:
        raise BadValue(f"fleet.device: the catalogue has no {' and no '.join(lacking)} of {entry.id}; describe it: "
                       "{memory_bytes, memory_bytes_per_s, flops_per_s: {bf16: ...}, power_w}", "fleet.device")
    peaks = {}
    for parameter in entry.facts:
        found = re.fullmatch(r"peak_(\w+)_(?:fl)?op_per_s", parameter)
        if found:
            peaks[found.group(1)] = entry.fact(parameter).quantity(seed)
    return DeviceFacts(
        entry.id, str(entry.value("vendor", "")), entry, peaks,
        entry.fact("memory_bytes").quantity(seed), entry.fact("memory_bytes_per_s").quantity(seed),
        entry.fact("power_w").quantity(seed) if "power_w" in entry else None,
        entry.fact("link_bytes_per_s").quantity(seed) if "link_bytes_per_s" in entry else None,
        match.devices or 1, str(match.instance.value("provider", "")) if match.instance else "",
    )


def peak(facts: DeviceFacts, precision: str, field: str) -> Quantity:
    """The dense peak that bounds a compute precision, or what this device has instead."""
    for name in PEAKS[precision]:
        if name in facts.peaks:
            return facts.peaks[name]
    able = [p for p, names in PEAKS.items() if any(n in facts.peaks for n in names)]
    raise BadValue(f"{field}: no {precision} rate of {facts.id} is known, only {', '.join(able) or 'none'}; where it "
                   f"has one, give fleet.device.flops_per_s.{precision}", field)


def check_counts(fleet: Fleet, per_node: int) -> None:
    """More than one node is counted in whole nodes; a part of one node is fine."""
    if fleet.devices > per_node and fleet.devices % per_node:
        lower = fleet.devices // per_node * per_node
        raise Inconsistent(f"fleet.devices: {fleet.devices} is not a whole number of nodes of {per_node}; "
                           f"nearest are {lower} and {lower + per_node}", "fleet.devices")


def plain_fleet(fleet: Fleet, facts: DeviceFacts, values: dict[str, Any]) -> dict[str, Any]:
    """The fleet as the resolved scenario writes it."""
    from outlay.scenario_io import to_plain

    written: dict[str, Any] = to_plain(fleet)
    if isinstance(fleet.device, Device):
        written["device"] = written["device"] | {"name": facts.id}
    else:
        written["device"] = facts.id
    return written | {k: v for k, v in values.items() if v is not None}
