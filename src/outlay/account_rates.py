"""What one unit of use costs in a place: the prices and factors that `account` applies."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct, field

from outlay.derive import Num, derive
from outlay.valuation import energy, money, ways


class Owned(Struct, frozen=True):
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
    # only where the ways to pay are compared: interest, upkeep, spares and resale as lines of their own
    detailed: bool = False
    spares_share: Num = 0.0  # bought beside, over the price of all [own.spares_share]
    resale_share: Num = 0.0  # of the price, got back at the end [own.depreciation_oom_per_year]

    def usd_per_device_s(self) -> dict[str, Num]:
        """Price of one used device-second by component: device, host, network, building.

        `detailed`: the first three are the purchase spread evenly; interest, upkeep, spares and resale (negative)
        stand beside. Without spares and resale both add up to the same.
        """
        server = derive(money.server_price_usd, "server price per device", "USD",
                        device_price_usd=self.device_price_usd, server_overhead=self.server_overhead)
        both = derive(money.cost_usd, "device and server price", "USD", amount=self.server_overhead,
                      usd_per_unit=self.device_price_usd)
        network = derive(money.network_price_usd, "network price per device", "USD",
                         device_and_server_usd=both, network_share=self.network_share)
        space = derive(money.owned_space_usd_per_s, "building and cooling per device-second", "USD/s",
                       usd_per_kw_month=self.usd_per_kw_month, power_w=self.provisioned_w,
                       utilization=self.utilization)
        bought = {"device": self.device_price_usd, "host": server, "network": network}
        if self.detailed:
            return self._details(bought) | {"building": space}
        return {item: self._capital("server" if item == "host" else item, price)
                for item, price in bought.items()} | {"building": space}

    def purchase_usd(self) -> Num:
        """What one device costs to buy with its server, network and part of the spares."""
        whole = self._cluster_usd()
        price: Num = derive(_with_spares, "purchase of a device with all around it", "USD", price_usd=whole,
                            spares_share=self.spares_share)
        return price

    def _cluster_usd(self) -> Num:
        price: Num = derive(money.cluster_price_usd, "device, server and network", "USD",
                            device_price_usd=self.device_price_usd, server_overhead=self.server_overhead,
                            network_share=self.network_share)
        return price

    def _details(self, bought: Mapping[str, Num]) -> dict[str, Num]:
        over = {"lifetime_s": self.lifetime_s, "utilization": self.utilization}
        found: dict[str, Num] = {
            item: derive(ways.straight_line_usd_per_s, f"{item}, spread over its life", "USD/s", price_usd=price,
                         **over)
            for item, price in bought.items()}
        whole, all_in = self._cluster_usd(), self.purchase_usd()
        found["spares"] = derive(_spares, "spares per device-second", "USD/s", price_usd=whole,
                                 spares_share=self.spares_share, **over)
        found["interest"] = derive(_interest, "cost of capital per device-second", "USD/s", price_usd=all_in,
                                   wacc_per_year=self.wacc_per_year, **over)
        found["upkeep"] = derive(_upkeep, "repair and operation per device-second", "USD/s", price_usd=all_in,
                                 upkeep_per_year=self.upkeep_per_year, utilization=self.utilization)
        found["resale"] = derive(_resale, "sold at the end, per device-second", "USD/s", price_usd=all_in,
                                 resale_share=self.resale_share, wacc_per_year=self.wacc_per_year, **over)
        return found

    def _capital(self, what: str, price_usd: Num) -> Num:
        rate: Num = derive(money.owned_capital_usd_per_s, f"{what} per device-second", "USD/s",
                           price_usd=price_usd, wacc_per_year=self.wacc_per_year, lifetime_s=self.lifetime_s,
                           upkeep_per_year=self.upkeep_per_year, utilization=self.utilization)
        return rate


def _with_spares(price_usd: Num, spares_share: Num) -> Num:
    """Price with the spares bought beside it."""
    return price_usd * (1.0 + spares_share)  # type: ignore[operator]


def _spares(price_usd: Num, spares_share: Num, lifetime_s: Num, utilization: Num) -> Num:
    """Spares, spread over their life."""
    spares: Num = ways.straight_line_usd_per_s(price_usd * spares_share, lifetime_s, utilization)  # type: ignore[operator]
    return spares


def _interest(price_usd: Num, wacc_per_year: Num, lifetime_s: Num, utilization: Num) -> Num:
    """Capital recovery less the purchase spread evenly."""
    paid = money.owned_capital_usd_per_s(price_usd, wacc_per_year, lifetime_s, 0.0, utilization)  # type: ignore[arg-type]
    interest: Num = paid - ways.straight_line_usd_per_s(price_usd, lifetime_s, utilization)
    return interest


def _upkeep(price_usd: Num, upkeep_per_year: Num, utilization: Num) -> Num:
    """Yearly upkeep over the seconds in use."""
    return price_usd * upkeep_per_year / (energy.YEAR_S * utilization)  # type: ignore[operator]


def _resale(price_usd: Num, resale_share: Num, wacc_per_year: Num, lifetime_s: Num, utilization: Num) -> Num:
    """What selling at the end takes off."""
    back: Num = -ways.resale_usd_per_s(price_usd * resale_share, wacc_per_year, lifetime_s, utilization)  # type: ignore[operator]
    return back


class Rates(Struct, frozen=True):
    """Prices and factors of one place and tenure, every value already resolved.

    Catalogue rows in brackets. Rented hardware has `usd_per_device_s` and its price covers host, network,
    building and energy; bought hardware has `owned` and pays its electricity; with neither, money is unknown
    and `no_price` says why.
    """

    # facility
    host_factor: Num  # node over device energy, where no time is known [energy.host_factor]
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
    # by resource: storage_byte_s, transfer_bytes [storage], person_s [default], tokens_*, requests [prices];
    # "resource@rate" where a usage names one of several
    usd_per_unit: Mapping[str, Num] = field(default_factory=dict)
    no_price: str = "no price is known for this device here; give usd_per_device_hour"
    # energy of stored bytes [power_constants energy.storage_w_per_byte]
    storage_w_per_byte: Num = 0.0
    # the host where device-seconds are known: watts a device, and drawn at the plug over delivered
    host_w: Num | None = None  # [energy.host_share of rated power]
    supply_factor: Num = 1.0  # [energy.supply_factor]
    core_w: Num = 0.0  # one busy processor core [default: core.power_w]
    # what is printed beside the numbers
    price_basis: str = ""  # for example "on-demand, AWS eu-west-3, 2026-07-20"
    carbon_basis: str = ""  # for example "location-based, life-cycle, France 2024: nuclear 65 %, ..."
