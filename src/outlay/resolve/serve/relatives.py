"""A card whose kernels nobody measured runs those of a relative: what its own rates make of the relative's tables."""

from __future__ import annotations

import math
from functools import lru_cache

from msgspec.structs import replace

from outlay.catalog import Entry, load
from outlay.catalog.utilization import matmul_grids
from outlay.resolve.efficiency import DEFAULT_FAMILY
from outlay.resolve.power import capped_clock
from outlay.steps.serve.time_inputs import Links

FAMILY = "utilization_family"
PEAK, POWER, LINK = "peak_bf16_flop_per_s", "power_w", "link_bytes_per_s"


@lru_cache(maxsize=32)
def measured_card(family: str) -> Entry | None:
    """The card a family's tables were measured on; none where it is not in the catalogue.

    >>> measured_card("h100_sxm").id
    'h100-sxm5-80gb'
    """
    for entry in load().entries("device"):
        own = FAMILY in entry and entry.value(FAMILY) == family and entry.fact(FAMILY).how == "measured"
        if own and str(entry.value("architecture", "")) != "tpu":  # their level alone is fitted
            return entry
    return None


def reached_share(entry: Entry) -> float:
    """The largest multiplication measured on a card over its peak, as a share of what the card it borrows from reaches.

    One where none was measured. It is of 16 bit and taken for narrower arithmetic as well.

    >>> round(reached_share(load().find("device", "mi300x")), 2), reached_share(load().find("device", "h100-sxm5-80gb"))
    (0.61, 1.0)
    """
    reached = entry.value("utilization_compute_anchor", None)
    grid = matmul_grids(str(entry.value(FAMILY, DEFAULT_FAMILY))).get("bf16")
    if reached is None or grid is None:
        return 1.0
    return min(float(reached) / math.exp(float(grid.log_utilisation.max())), 1.0)


def full_power_w(entry: Entry, rated_w: float) -> float:
    """Power a card would draw at its full clock: its peak's part of the rated power of its generation's measured card.

    Cards of one generation differ in how many units they run and in the power they are given for them. Not below
    `rated_w`, nor for another generation.

    >>> round(full_power_w(load().find("device", "h100-pcie-80gb"), 350.0))
    535
    """
    known = measured_card(str(entry.value(FAMILY, "")))
    names = (PEAK, POWER, "architecture")
    if known is None or not all(name in entry and name in known for name in names):
        return rated_w
    if entry.value("architecture") != known.value("architecture"):
        return rated_w
    needed = float(known.value(POWER)) * float(entry.value(PEAK)) / float(known.value(PEAK))
    return max(needed, rated_w)


def held_clock(entry: Entry | None, rated_w: float, cap_w: float) -> float:
    """Share of its clock a card keeps under full work at its rated power or a cap, whichever is lower.

    Two A100 of one peak, at 300 and at 400 W, reach 81.1 and 86.9 % of it (largest 16-bit multiplication, MAMF table
    of ml-engineering): 0.93 of one another. This formula, not fitted to that:

    >>> round(held_clock(load().find("device", "a100-pcie-80gb"), 300.0, 300.0), 2)
    0.89
    """
    full_w = rated_w if entry is None else full_power_w(entry, rated_w)
    return capped_clock(full_w, min(cap_w, rated_w)) if min(cap_w, rated_w) < full_w else 1.0


def link_ratio(entry: Entry) -> float:
    """A card's link over that of the card whose collectives it borrows: PCIe is not NVLink.

    >>> round(link_ratio(load().find("device", "h100-pcie-80gb")), 2)
    0.14
    """
    known = measured_card(str(entry.value(FAMILY, "")))
    if known is None or LINK not in known or not entry.value(LINK, None):
        return 1.0
    return float(entry.value(LINK)) / float(known.value(LINK))


def meshed(links: Links, board: int) -> Links:
    """Collectives on a board without a switch: each two devices share a (board - 1)th part of a device's links.

    >>> meshed(Links((2.0, 4.0), (1e-5, 1e-5), (300e9, 300e9)), 4).bytes_per_s
    (100000000000.0, 300000000000.0)
    """
    shares = (min((n - 1.0) / (board - 1.0), 1.0) for n in links.devices)
    rates = zip(links.bytes_per_s, shares, strict=True)
    return replace(links, bytes_per_s=tuple(rate * share for rate, share in rates))
