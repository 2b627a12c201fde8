"""A fleet's facts and the user's own values → the hardware that physics is given; and the devices next in size."""

from __future__ import annotations

import re
from typing import Any

from msgspec.structs import replace

from outlay.catalog import Catalog, Entry
from outlay.derive import Quantity, derive, exact
from outlay.errors import BadValue, OutlayError
from outlay.resolve.calendar import Defaults
from outlay.resolve.efficiency import resolve_efficiency
from outlay.resolve.fleet import PEAKS, DeviceFacts, check_counts, given, peak, resolve_device
from outlay.resolve.notes import Notes
from outlay.scenario import Fleet, Pretrain
from outlay.steps.inputs import Hardware

BIGGER_OFFERED = 3
MACHINE = re.compile(r"\b(?:dgx|hgx|nvl\d+)\b", re.I)  # what servers and racks of devices are called
OPERATIONS_PER_BYTE = 50.0


def whole_instances(fleet: Fleet, facts: DeviceFacts) -> Fleet:
    """A cloud instance's name stands for all the devices in it."""

    return replace(fleet, devices=fleet.devices * facts.per_instance)


def tell_machines(named: str | Fleet, hardware: Hardware, notes: Notes) -> None:
    """A count before the name of a machine or a rack counts devices: what it would be of whole ones."""
    found = MACHINE.search(named) if isinstance(named, str) else None
    if found is None:
        return
    each = hardware.scale_up_devices if found[0][:3].lower() == "nvl" else hardware.devices_per_node
    if each > 1:
        notes.warn(f"fleet: {named!r} is read as {hardware.devices} of {hardware.device}; as many whole machines are "
                   f"{hardware.devices * each}x{hardware.device}")


def resolve_hardware(
    fleet: Fleet,
    facts: DeviceFacts,
    phase: Pretrain | None,
    catalog: Catalog,
    notes: Notes,
    seed: int,
    without: str,
    whole_nodes: bool = True,
) -> Hardware:
    defaults = Defaults(catalog, notes, seed)
    per_node = fleet.devices_per_node or int(_fact(facts, "devices_per_node", 8))
    if fleet.devices_per_node is None and fleet.devices > 1:
        _note(notes, facts, "devices_per_node", "fleet.devices_per_node", per_node)
    if whole_nodes:
        check_counts(fleet, per_node)
    scale_up = fleet.scale_up_devices or int(_fact(facts, "scale_up_devices", per_node))
    if fleet.scale_up_devices is None and fleet.devices > 1:
        _note(notes, facts, "scale_up_devices", "fleet.scale_up_devices", scale_up)
    precision = (phase.precision if phase is not None else None) or "bf16"
    peak_flop = (peak(facts, precision, "pretrain.precision") if whole_nodes
                 else _any_peak(facts, precision, notes))
    half = facts.peaks.get("bf16") or facts.peaks.get("fp16") or peak_flop
    memory = (given(fleet.device_memory_bytes, "bytes", "device memory") if fleet.device_memory_bytes
              else facts.memory_bytes)
    slow = _link(fleet.inter_node_bytes_per_s, facts, "inter_node_bytes_per_s", "network.inter_node_bytes_per_s",
                 defaults, fleet.devices > per_node)
    own_link = facts.link_bytes_per_s
    fast = (given(fleet.intra_node_bytes_per_s, "bytes/s", "link inside the fast domain")
            if fleet.intra_node_bytes_per_s else own_link or slow)
    return Hardware(
        device=facts.id, vendor=facts.vendor, peak_flop_per_s=peak_flop, peak_flop_per_s_16bit=half,
        memory_bytes=memory, memory_bytes_per_s=facts.memory_bytes_per_s, devices=fleet.devices,
        devices_per_node=per_node, scale_up_devices=scale_up, fast_bytes_per_s=fast, slow_bytes_per_s=slow,
        host_link_bytes_per_s=_link(fleet.host_link_bytes_per_s, facts, "host_link_bytes_per_s",
                                    "network.host_link_bytes_per_s", defaults, False),
        host_memory_bytes=_host_memory(fleet, facts, per_node),
        power_w=facts.power_w if facts.power_w is not None else 0.0,
        power_limit_ratio=_cap_over_rated(fleet, facts, catalog, notes),
        efficiency=resolve_efficiency(facts, catalog, notes, seed, without))


def _cap_over_rated(fleet: Fleet, facts: DeviceFacts, catalog: Catalog, notes: Notes) -> float:
    """A power cap over the rated power; BadValue outside of what the device can be held to."""
    field, cap, rated = "fleet.device_power_limit_w", fleet.device_power_limit_w, facts.power_w
    if cap is None:
        return 1.0
    if rated is None:
        notes.warn(f"{field}: not used, because the rated power of {facts.id} is unknown; give fleet.device.power_w")
        return 1.0
    if cap > rated.value * 1.0001:
        raise BadValue(f"{field}: {cap:g} W is above the {rated.value:g} W of {facts.id}", field)
    idle = rated.value * float(catalog.find("power_constants", "power").value("idle_share"))
    if cap <= idle:
        raise BadValue(f"{field}: {cap:g} W is not more than the {idle:.3g} W that {facts.id} takes without work; "
                       f"allowed is up to {rated.value:g} W", field)
    return float(cap / rated.value)


def _any_peak(facts: DeviceFacts, precision: str, notes: Notes) -> Quantity:
    """The peak of a device that only serves: 16 bits, or what an older or unlisted one has."""
    for name in PEAKS[precision]:
        if name in facts.peaks:
            return facts.peaks[name]
    for name in ("fp32", "fp8", "int8"):
        if name in facts.peaks:
            notes.assume(f"fleet.device.flops_per_s.{precision}", facts.peaks[name].value,
                         f"no {precision} rate of {facts.id} is known, so its {name} rate; only the time of prompts "
                         "and of large batches depends on it")
            return facts.peaks[name]
    notes.assume("fleet.device.flops_per_s", f"{OPERATIONS_PER_BYTE:g} operations a byte of bandwidth",
                 f"no peak of {facts.id} is known; only the time of prompts depends on it")
    found: Quantity = derive(_per_byte, "peak", "FLOP/s", memory_bytes_per_s=facts.memory_bytes_per_s,
                             each=OPERATIONS_PER_BYTE)
    return found


def _per_byte(memory_bytes_per_s: Any, each: Any) -> Any:
    """Arithmetic in proportion to bandwidth, where it is not known."""
    return memory_bytes_per_s * each


def _fact(facts: DeviceFacts, parameter: str, default: float) -> float:
    return float(facts.entry.value(parameter, default)) if facts.entry is not None else default


def _note(notes: Notes, facts: DeviceFacts, parameter: str, what: str, value: Any) -> None:
    if facts.entry is not None and parameter in facts.entry:
        fact = facts.entry.fact(parameter)
        notes.assume(what, value, fact.note or "of this device's usual machine", fact.source)
    else:
        notes.assume(what, value, "the usual machine", "")


def _link(own: float | None, facts: DeviceFacts, parameter: str, default: str, defaults: Defaults, told: bool) -> Any:
    """A bandwidth: given, else the device's usual machine's, else the default."""
    label = parameter.removesuffix("_bytes_per_s").replace("_", " ")
    if own is not None:
        return given(own, "bytes/s", label)
    if facts.entry is not None and parameter in facts.entry:
        if told:
            _note(defaults.notes, facts, parameter, f"fleet.{parameter}", facts.entry.value(parameter))
        return facts.entry.fact(parameter).quantity(defaults.seed)
    return defaults.quantity(default, f"fleet.{parameter}" if told else "")


def _host_memory(fleet: Fleet, facts: DeviceFacts, per_node: int) -> Any:
    """Host memory of one node."""
    if fleet.host_memory_bytes is not None:
        return given(fleet.host_memory_bytes, "bytes", "host memory of a node")
    each = _fact(facts, "host_memory_bytes", 0.0)
    return exact(each * per_node, "bytes", "host memory of a node", "of this device's usual machine", basis="derived")


def shown_hardware(hw: Hardware) -> dict[str, Any]:
    def number(value: Any) -> Any:
        return None if getattr(value, "samples", None) is not None else getattr(value, "value", value)

    return {
        "devices": hw.devices,
        "devices_per_node": hw.devices_per_node,
        "scale_up_devices": hw.scale_up_devices,
        "intra_node_bytes_per_s": number(hw.fast_bytes_per_s),
        "inter_node_bytes_per_s": number(hw.slow_bytes_per_s),
        "host_link_bytes_per_s": number(hw.host_link_bytes_per_s),
        "host_memory_bytes": number(hw.host_memory_bytes) or None,
        "device_memory_bytes": number(hw.memory_bytes),
    }


def bigger_hardware(fleet: Fleet, facts: DeviceFacts, phase: Pretrain | None, catalog: Catalog, seed: int,
                    least_bytes: float = 0.0) -> tuple[Hardware, ...]:
    """The same number of devices of the same maker with more memory, the nearest sizes first.

    Of the same class or for data centres; their links, nodes and hosts are their own.
    """
    if facts.entry is None or ":" in facts.id:
        return ()
    classes = {facts.entry.value("class"), "datacenter"}
    least = max(1.1 * facts.memory_bytes.value, least_bytes)
    found: dict[float, Entry] = {}
    for entry in catalog.entries("device"):
        size = entry.value("memory_bytes", 0.0)
        alike = entry.value("vendor") == facts.entry.value("vendor") and entry.value("class") in classes
        if alike and size >= least and _newer(entry, found.get(size)):
            found[size] = entry
    offered = []
    for size in sorted(found):
        other = Fleet(device=found[size].id, devices=fleet.devices)  # the change offered takes the old numbers out
        try:
            known = resolve_device(other.device, catalog, Notes(), seed)
            offered.append(
                replace(resolve_hardware(other, known, phase, catalog, Notes(), seed, ""), devices=fleet.devices)
            )
        except OutlayError:  # it lacks the precision, or does not come in such numbers
            continue
        if len(offered) == BIGGER_OFFERED:
            break
    return tuple(offered)


def _newer(entry: Entry, other: Entry | None) -> bool:
    return other is None or str(entry.value("release_date", "")) > str(other.value("release_date", ""))
