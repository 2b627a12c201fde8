"""Money: renting, owning, and what a training run cost by the common definitions."""

from __future__ import annotations

from math import log

import numpy as np
from numpy.typing import NDArray

from outlay.valuation.energy import YEAR_S

Num = float | NDArray[np.float64]

MONTH_S = YEAR_S / 12


# ---------------------------------------------------------------- owning, by components

def capital_recovery_per_year(wacc_per_year: Num, lifetime_years: Num) -> Num:
    """Yearly payment that returns one unit of capital with interest over its life: r / (1 - (1+r)^-n).

    >>> round(float(capital_recovery_per_year(0.10, 5.0)), 4)
    0.2638
    """
    rate = np.maximum(wacc_per_year, 1e-9)  # without interest: spread evenly
    recovery: Num = rate / (1.0 - (1.0 + rate) ** -lifetime_years)
    return recovery


def owned_capital_usd_per_s(price_usd: Num, wacc_per_year: Num, lifetime_s: Num, upkeep_per_year: Num,
                            utilization: Num) -> Num:
    """What a used second of bought equipment costs: capital recovery and upkeep over the seconds in use.

    price_usd: paid for it; upkeep_per_year: operation and repair as a share of price a year;
    utilization: used over calendar time. The part of an H100 server's price at 30,000 USD with full use:

    >>> round(float(3600 * owned_capital_usd_per_s(30_000.0, 0.10, 5 * YEAR_S, 0.03, 1.0)), 3)
    1.005
    """
    yearly = price_usd * (capital_recovery_per_year(wacc_per_year, lifetime_s / YEAR_S) + upkeep_per_year)
    return yearly / (YEAR_S * utilization)


def owned_space_usd_per_s(usd_per_kw_month: Num, power_w: Num, utilization: Num) -> Num:
    """What a used second of building, cooling and power capacity costs, rented by the kilowatt and month.

    power_w: provisioned facility power of one device with its share of host; the capacity is paid for
    whether used or not. At 130 USD per kW-month and 1.275 kW (10.2 kW / 8):

    >>> round(3600 * owned_space_usd_per_s(130.0, 1275.0, 1.0), 3)
    0.227
    """
    return usd_per_kw_month * power_w / 1000.0 / (MONTH_S * utilization)


def server_price_usd(device_price_usd: Num, server_overhead: Num) -> Num:
    """A device's part of the server around it; server_overhead: server over device price (1.64 on average).

    >>> round(server_price_usd(30_000.0, 1.64))
    19200
    """
    return device_price_usd * (server_overhead - 1.0)


def network_price_usd(device_and_server_usd: Num, network_share: Num) -> Num:
    """A device's part of the cluster network; network_share: network over the whole cluster's price (0.19).

    >>> round(network_price_usd(81.0, 0.19))
    19
    """
    return device_and_server_usd * network_share / (1.0 - network_share)


def owned_usd_per_device_s(device_and_server_usd: Num, network_share: Num, wacc_per_year: Num,
                           lifetime_s: Num, upkeep_per_year: Num, usd_per_kw_month: Num, power_w: Num,
                           utilization: Num) -> Num:
    """A used second of an owned device, all in: device, server, network, upkeep and colocation.

    An H100 at 30,000 USD with its server share, 19 % network, 5 years, 10 % a year, 3 % upkeep and
    130 USD per kW-month: 7.34, 3.67, 2.10, 1.55 USD an hour at 20, 40, 70, 95 % use. Utilisation is what
    decides between owning and renting.

    >>> use = np.array([0.20, 0.40, 0.70, 0.95])
    >>> usd = 3600 * owned_usd_per_device_s(30_000.0, 0.19, 0.10, 5 * YEAR_S, 0.03, 130.0, 1275.0, use)
    >>> [round(float(x), 2) for x in usd]
    [7.34, 3.67, 2.1, 1.55]
    """
    network = network_price_usd(device_and_server_usd, network_share)
    capital = owned_capital_usd_per_s(device_and_server_usd + network, wacc_per_year, lifetime_s,
                                      upkeep_per_year, utilization)
    return capital + owned_space_usd_per_s(usd_per_kw_month, power_w, utilization)


def energy_usd(energy_j: Num, usd_per_j: Num) -> Num:
    """Electricity bought.

    >>> round(energy_usd(1000 * 3.6e6, 0.0826 / 3.6e6), 1)
    82.6
    """
    return energy_j * usd_per_j


# ---------------------------------------------------------------- what a training run cost (Cottier et al.)

def depreciated_usd(price_usd: Num, age_years: Num, oom_per_year: Num = 0.14) -> Num:
    """What hardware bought earlier is worth, falling 0.14 orders of magnitude a year (arXiv:2405.21015).

    >>> round(depreciated_usd(100.0, 1.0), 1)
    72.4
    """
    return price_usd * 10.0 ** (-oom_per_year * age_years)


def depreciation_usd_per_s(value_usd: Num, oom_per_year: Num = 0.14) -> Num:
    """Value lost a second by hardware now worth value_usd: value x k ln 10 (arXiv:2405.21015).

    Equal to 32.2 % of the value a year:

    >>> round(depreciation_usd_per_s(1.0) * YEAR_S, 3)
    0.322
    """
    return value_usd * oom_per_year * log(10.0) / YEAR_S


def cluster_price_usd(device_price_usd: Num, server_overhead: Num = 1.64, network_share: Num = 0.19) -> Num:
    """Price of one device with its server and network: the definition "hardware acquired" divides by devices.

    Shares of training cost over 52 models come out as chip 44.5, server 29.0, network 17.2 (energy 9.2):
    server over chip is 0.65 and network over both 0.234, as these two constants say.

    >>> round(cluster_price_usd(1.0), 4), round(0.19 / 0.81, 3), round(17.2 / (44.5 + 29.0), 3)
    (2.0247, 0.235, 0.234)
    """
    server = device_price_usd * server_overhead
    return server + network_price_usd(server, network_share)


def amortised_training_usd(device_s: Num, device_price_usd: Num, age_years: Num, energy_j: Num,
                           usd_per_j: Num, server_overhead: Num = 1.64, network_share: Num = 0.19,
                           oom_per_year: Num = 0.14) -> Num:
    """Amortised cost of a run on owned hardware, as Cottier et al. define it (arXiv:2405.21015).

    The cluster's value at the start of training, times the value it loses over the device-seconds used,
    plus electricity. GPT-4: 25,000 A100 for 2,280 h at 15,700 USD a chip, 1.7 years old at the start, 400 W,
    server 2.03 x chip power at 75 %, PUE 1.1, 0.07 USD/kWh; Epoch prints 42.2 M USD (and 806 M acquired).

    >>> device_s = 25_000 * 2_280 * 3600
    >>> energy = device_s * 400 * 2.03 * 0.75 * 1.1
    >>> cost = amortised_training_usd(device_s, 15_700.0, 1.7, energy, 0.07 / 3.6e6, 1.66)
    >>> round(float(cost) / 1e6, 1), round(25_000 * cluster_price_usd(15_700.0, 1.66) / 1e6)
    (41.7, 804)
    """
    cluster = cluster_price_usd(device_price_usd, server_overhead, network_share)
    rate = depreciation_usd_per_s(depreciated_usd(cluster, age_years, oom_per_year), oom_per_year)
    return device_s * rate + energy_usd(energy_j, usd_per_j)


def break_even_utilization(owned_usd_per_calendar_s: Num, rented_usd_per_s: Num) -> Num:
    """Use above which owning is cheaper than renting only what is used.

    An owned H100 that costs 1.468 USD a calendar hour against a 2.35 USD contract breaks even at 62 %.

    >>> round(break_even_utilization(1.468, 2.35), 2)
    0.62
    """
    return owned_usd_per_calendar_s / rented_usd_per_s


def cost_usd(amount: Num, usd_per_unit: Num) -> Num:
    """An amount at a price. DeepSeek-V3's 2.788M H800-hours at 2 USD are 5.576 M USD (arXiv:2412.19437).

    >>> round(cost_usd(2.788e6 * 3600, 2.0 / 3600) / 1e6, 3)
    5.576
    """
    return amount * usd_per_unit
