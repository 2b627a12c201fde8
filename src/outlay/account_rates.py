"""What one unit of use costs in a place: the prices and factors that `account` applies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from outlay.derive import Num, derive
from outlay.valuation import money


@dataclass(frozen=True, slots=True)
class Owned:
    """The price of bought hardware, by component. Catalogue rows in brackets (kind default unless said)."""

    device_price_usd: Num  # [device: price_usd], or a price of kind purchase
    server_overhead: Num  # server over device price [own.server_overhead]
    network_share: Num  # network over the whole cluster's price [own.network_share]
    wacc_per_year: Num  # cost of capital [own.wacc_per_year]
    lifetime_s: Num  # depreciation, apart from the embodied lifetime [own.lifetime_years]
    upkeep_per_year: Num  # repair and operation over price [own.upkeep_per_year]
    utilization: Num  # used over calendar time [own.utilization]; the variable that decides
    usd_per_kw_month: Num  # building, cooling, power capacity, no energy [own.space_usd_per_kw_month]
    provisioned_w: Num  # facility power reserved for one device: rated power x host factor (x PUE)

    def usd_per_device_s(self) -> dict[str, Num]:
        """Price of one used device-second by component: device, host, network, building."""
        server = derive(money.server_price_usd, "server price per device", "USD",
                        device_price_usd=self.device_price_usd, server_overhead=self.server_overhead)
        both = derive(money.cost_usd, "device and server price", "USD", amount=self.server_overhead,
                      usd_per_unit=self.device_price_usd)
        network = derive(money.network_price_usd, "network price per device", "USD",
                         device_and_server_usd=both, network_share=self.network_share)
        space = derive(money.owned_space_usd_per_s, "building and cooling per device-second", "USD/s",
                       usd_per_kw_month=self.usd_per_kw_month, power_w=self.provisioned_w,
                       utilization=self.utilization)
        return {"device": self._capital("device", self.device_price_usd),
                "host": self._capital("server", server),
                "network": self._capital("network", network), "building": space}

    def _capital(self, what: str, price_usd: Num) -> Num:
        rate: Num = derive(money.owned_capital_usd_per_s, f"{what} per device-second", "USD/s",
                           price_usd=price_usd, wacc_per_year=self.wacc_per_year, lifetime_s=self.lifetime_s,
                           upkeep_per_year=self.upkeep_per_year, utilization=self.utilization)
        return rate


@dataclass(frozen=True, slots=True)
class Rates:
    """Prices and factors of one place and tenure, every value already resolved.

    Catalogue rows in brackets. Rented hardware has `usd_per_device_s` and its price covers host, network,
    building and energy; bought hardware has `owned` and pays its electricity; with neither, money is unknown
    and `no_price` says why.
    """

    # facility
    host_factor: Num  # node over device energy [energy.host_factor]
    network_share: Num  # switches outside nodes over node energy [power_constants energy.network_share]
    pue: Num  # [site, else provider, else energy.pue]
    # environment
    grid_kgco2e_per_j: Num  # life-cycle, location-based [site]
    grid_l_per_j: Num  # water consumed by generation [site, else technologies]
    wue_l_per_j: Num  # on-site water per joule of IT energy [site, else operator]
    embodied_kg_per_device: Num  # [vendor footprint, else valuation.embodied.accelerator_kg]
    embodied_kg_server_per_device: Num  # server without devices over devices a node
    embodied_lifetime_s: Num  # [embodied.lifetime_years]
    embodied_busy_share: Num = 1.0  # 1 = calendar amortisation; utilisation charges idle time to its users
    grid_direct_kgco2e_per_j: Num | None = None  # combustion only, shown beside [site]
    # money
    tenure: str = ""
    usd_per_device_s: Num | None = None  # rented [prices]
    owned: Owned | None = None
    usd_per_j: Num | None = None  # electricity, paid by owners [site]
    # by resource: storage_byte_s, transfer_bytes [storage], person_s [default], tokens_*, requests [prices]
    usd_per_unit: Mapping[str, Num] = field(default_factory=dict)
    no_price: str = "no price is known for this device here; give usd_per_device_hour"
    # energy of stored bytes [power_constants energy.storage_w_per_byte]
    storage_w_per_byte: Num = 0.0
    # what is printed beside the numbers
    price_basis: str = ""  # for example "on-demand, AWS eu-west-3, 2026-07-20"
    carbon_basis: str = ""  # for example "location-based, life-cycle, France 2024: nuclear 65 %, ..."
