"""Multi-Instance GPU slices: "3g.40gb" of a device is 3 of its 7 compute slices and a share of its memory.

NVIDIA's profiles divide memory and its bandwidth into eighths and compute into sevenths
(NVIDIA MIG user guide, device partitioning); "7g" is the whole device.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from outlay.catalog.records import Entry, Fact
from outlay.errors import UnknownName

_PROFILE = re.compile(r"^(?:(?P<device>.+?)[\s:/,]*(?:mig)?[\s:-]*)?(?P<slices>[1-7])g\.(?P<memory>\d+)gb(?:\+\w+)?$", re.I)
COMPUTE_SLICES = 7
MEMORY_SLICES = 8
_COMPUTE = ("peak_", )
_NO_LINK = ("link_bytes_per_s", "scale_up_devices")


def split(name: str) -> tuple[str, tuple[int, int]] | None:
    """The device part and (compute slices, GB) of a MIG name, or None.

    >>> split("h100-sxm5-80gb:3g.40gb")
    ('h100-sxm5-80gb', (3, 40))
    >>> split("NVIDIA A100-SXM4-40GB MIG 1g.5gb")
    ('NVIDIA A100-SXM4-40GB', (1, 5))
    >>> split("1g.10gb")
    ('', (1, 10))
    """
    found = _PROFILE.match(name.strip())
    if found is None:
        return None
    return (found["device"] or "").strip(), (int(found["slices"]), int(found["memory"]))


def memory_eighths(memory_gb: float, slice_gb: int) -> int | None:
    """How many eighths of the device's memory a profile of `slice_gb` holds; None when it is no such profile.

    >>> memory_eighths(80, 40), memory_eighths(141, 18), memory_eighths(80, 30)
    (4, 1, None)
    """
    for eighths in (1, 2, 4, 8):
        if abs(memory_gb * eighths / MEMORY_SLICES - slice_gb) <= max(0.5, 0.04 * slice_gb):
            return eighths
    return None


def slice_of(entries: Sequence[Entry], profile: tuple[int, int], name: str, field: str) -> Entry:
    """The one slice `profile` can mean among `entries`, as an entry with scaled facts."""
    slices, slice_gb = profile
    fitting = [(e, eighths) for e in entries if "mig_slices" in e
               and (eighths := memory_eighths(e.value("memory_bytes") / 1e9, slice_gb)) is not None]
    if not fitting:
        held = entries[0].id if len(entries) == 1 else "any device"
        raise UnknownName(f"{name!r}: {held} has no MIG profile {slices}g.{slice_gb}gb", field)
    if len(fitting) > 1:
        listed = ", ".join(f"{e.id}:{slices}g.{slice_gb}gb" for e, _ in fitting)
        raise UnknownName(f"{name!r} can be any of: {listed}", field)
    return _scaled(*fitting[0], slices, slice_gb)


def _scaled(entry: Entry, eighths: int, slices: int, slice_gb: int) -> Entry:
    identifier = f"{entry.id}:{slices}g.{slice_gb}gb"
    shares = {"memory_bytes": eighths / MEMORY_SLICES, "memory_bytes_per_s": eighths / MEMORY_SLICES,
              "power_w": slices / COMPUTE_SLICES, "price_usd": slices / COMPUTE_SLICES}
    facts = {}
    for parameter, fact in entry.facts.items():
        share = slices / COMPUTE_SLICES if parameter.startswith(_COMPUTE) else shares.get(parameter)
        if parameter in _NO_LINK:
            continue
        facts[parameter] = fact if share is None else _share(fact, identifier, share)
    facts["scale_up_devices"] = Fact(identifier, "scale_up_devices", 1.0, "", source="NVIDIA MIG user guide",
                                     retrieved="2026-11-23", how="vendor", note="no NVLink between slices")
    return Entry(identifier, entry.kind, f"{entry.name} MIG {slices}g.{slice_gb}gb", (), facts)


def _share(fact: Fact, identifier: str, share: float) -> Fact:
    low, high = (None if x is None else x * share for x in (fact.low, fact.high))
    return Fact(identifier, fact.parameter, float(fact.value) * share, fact.unit, low, high, fact.source,
                fact.retrieved, "derived", f"{share:.4g} of {fact.id}")
