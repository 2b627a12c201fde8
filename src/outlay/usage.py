"""What is consumed (`Usage`) and what that costs (`Line`): the waist of the whole program."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct, field

from outlay.derive import Quantity

Resource = Literal[
    "device_s", "energy_j", "storage_byte_s", "transfer_bytes", "tokens_in", "tokens_cached", "tokens_out",
    "requests", "person_s", "core_s", "items", "usd",
]
Scope = Literal["device", "node", "facility"]
Basis = Literal["measured", "derived", "published", "assumed"]


class Usage(Struct, frozen=True):
    """So much of one resource, by one item of one phase, somewhere and at some time.

    A resource with several prices (storage by tier, requests by kind, work bought by the piece) names its price
    in the tag "rate"; usages of one "run" share their overheads. `scope` says where the quantity was taken, so that
    `account` adds only what lies outside it: energy at `device` scope still lacks host share and PUE, at `node` only
    PUE, at `facility` nothing.
    """

    id: str
    phase: str
    item: str
    resource: Resource
    scope: Scope
    quantity: Quantity
    unit: str
    start_s: float = 0.0
    duration_s: float = 0.0
    place: str = ""
    basis: Basis = "derived"
    tags: dict[str, str] = field(default_factory=dict)
    profile: tuple[float, ...] = ()  # its shares in equal parts of the duration; empty: spread evenly


class Line(Struct, frozen=True):
    """A `Usage` with its money, facility energy, carbon and water. Lines add up; totals are sums.

    A value that cannot be known from what was given (a price where none exists) is None, with the reason in
    `note`; it is never zero in silence.
    """

    usage: Usage
    usd: Quantity | None
    energy_j: Quantity
    co2e_operational_kg: Quantity
    co2e_embodied_kg: Quantity
    water_l: Quantity
    price_basis: str = ""
    carbon_basis: str = ""
    note: str = ""
    water_onsite_l: Quantity | None = None  # the two parts of water_l
    water_offsite_l: Quantity | None = None
    co2e_direct_kg: Quantity | None = None  # operational, with the grid's direct factor: beside, never added

    def to_dict(self) -> dict[str, object]:
        u = self.usage
        return {
            "id": u.id, "phase": u.phase, "item": u.item, "resource": u.resource, "scope": u.scope,
            "quantity": u.quantity.to_dict(), "unit": u.unit, "start_s": u.start_s,
            "duration_s": u.duration_s, "place": u.place, "basis": u.basis, "tags": dict(u.tags),
            "usd": _optional(self.usd),
            "energy_j": self.energy_j.to_dict(),
            "co2e_kg": (self.co2e_operational_kg + self.co2e_embodied_kg).to_dict(),
            "co2e_operational_kg": self.co2e_operational_kg.to_dict(),
            "co2e_embodied_kg": self.co2e_embodied_kg.to_dict(),
            "water_l": self.water_l.to_dict(),
            "water_onsite_l": _optional(self.water_onsite_l),
            "water_offsite_l": _optional(self.water_offsite_l),
            "co2e_direct_kg": _optional(self.co2e_direct_kg),
            "price_basis": self.price_basis, "carbon_basis": self.carbon_basis, "note": self.note,
        } | ({"profile": list(u.profile)} if u.profile else {})


def _optional(quantity: Quantity | None) -> dict[str, object] | None:
    return None if quantity is None else quantity.to_dict()
