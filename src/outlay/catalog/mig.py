"""Multi-Instance GPU slices: "3g.40gb" of a device is 3 of its 7 compute slices and a share of its memory.

NVIDIA's profiles divide memory and its bandwidth into halves, quarters or eighths, and compute into sevenths
or, on smaller parts, quarters (NVIDIA MIG user guide, device partitioning); "7g" is the whole device.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from outlay.catalog.records import Entry, Fact
from outlay.errors import UnknownName

_PROFILE = re.compile(
    r"^(?:(?P<device>.+?)[\s:/,]*(?:mig)?[\s:-]*)?(?P<slices>[1-7])g\.(?P<memory>\d+)gb(?:\+\w+)?$", re.I
)
MEMORY_SHARES = (1 / 8, 1 / 4, 1 / 2, 1.0)


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


def memory_share(memory_gib: float, slice_gb: int) -> float | None:
    """Share of the device's memory in a profile of `slice_gb`; None when it is no such profile.

    >>> memory_share(80, 40), memory_share(141, 18), memory_share(80, 30)
    (0.5, 0.125, None)
    """
    for share in MEMORY_SHARES:
        if abs(memory_gib * share - slice_gb) <= max(0.5, 0.04 * slice_gb):
            return share
    return None


def slice_of(entries: Sequence[Entry], profile: tuple[int, int], name: str, field: str) -> Entry:
    """The one slice `profile` can mean among `entries`, as an entry with scaled facts."""
    slices, slice_gb = profile
    fitting = []
    for entry in entries:
        if "mig_slices" in entry and slices <= entry.value("mig_slices"):
            share = memory_share(entry.value("memory_nominal_bytes", 0.0) / 2**30, slice_gb)
            if share is not None:
                fitting.append((entry, share))
    if not fitting:
        told = f"{entries[0].id} has no" if len(entries) == 1 else "no device has a"
        raise UnknownName(f"{name!r}: {told} MIG profile {slices}g.{slice_gb}gb", field)
    if len(fitting) > 1:
        listed = ", ".join(f"{e.id}:{slices}g.{slice_gb}gb" for e, _ in fitting)
        raise UnknownName(f"{name!r} can be any of: {listed}", field)
    return _scaled(*fitting[0], slices, slice_gb)


def _scaled(entry: Entry, memory: float, slices: int, slice_gb: int) -> Entry:
    identifier = f"{entry.id}:{slices}g.{slice_gb}gb"
    compute = slices / entry.value("mig_slices")
    shares = {
        "memory_bytes": memory,
        "memory_nominal_bytes": memory,
        "memory_bytes_per_s": memory,
        "power_w": compute,
        "price_usd": compute,
        "host_memory_bytes": memory,
        "host_link_bytes_per_s": memory,
    }
    facts = {}
    for parameter, fact in entry.facts.items():
        share = compute if parameter.startswith("peak_") else shares.get(parameter)
        facts[parameter] = fact if share is None else _share(fact, identifier, share)
    alone = _unlinked(entry.fact("scale_up_devices"), identifier)
    return Entry(
        identifier,
        entry.kind,
        f"{entry.name} MIG {slices}g.{slice_gb}gb",
        (),
        facts | {"scale_up_devices": alone},
    )


def _unlinked(fact: Fact, identifier: str) -> Fact:
    return Fact(
        identifier,
        fact.parameter,
        1.0,
        fact.unit,
        None,
        None,
        "NVIDIA MIG user guide",
        "2026-11-23",
        "vendor",
        "slices do not reach each other over NVLink",
    )


def _share(fact: Fact, identifier: str, share: float) -> Fact:
    low, high = (None if x is None else x * share for x in (fact.low, fact.high))
    return Fact(
        identifier,
        fact.parameter,
        float(fact.value) * share,
        fact.unit,
        low,
        high,
        fact.source,
        fact.retrieved,
        "derived",
        f"{share:.4g} of {fact.id}",
    )
