"""Published costs of training runs as scenarios: what the hardware and hours that are printed cost by each definition.

Epoch AI's figures (CC-BY 4.0), made with the definitions of Cottier et al. 2024 (arXiv:2405.21015): amortised, cloud,
hardware acquired. Ours take other prices: chip sale ranges by year, and today's list prices of clouds. Rows of
hardware without a price that may be shipped (TPUs, cards before V100) are not asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from math import gcd
from typing import Any

from outlay.validate.case import Case

Row = Mapping[str, str]
TABLES = ("training_costs",)
DEVICES = {
    "NVIDIA A100": "a100-sxm4-40gb",
    "NVIDIA A100 SXM4 40 GB": "a100-sxm4-40gb",
    "NVIDIA A100 SXM4 80 GB": "a100-sxm4-80gb",
    "NVIDIA A100 PCIe": "a100-pcie-40gb",
    "NVIDIA H100 SXM5 80GB": "h100-sxm5-80gb",
    "NVIDIA V100": "v100-sxm2-16gb",
    "NVIDIA Tesla V100 DGXS 16 GB": "v100-sxm2-16gb",
    "NVIDIA Tesla V100 DGXS 32 GB": "v100-sxm2-32gb",
    "NVIDIA Tesla V100S PCIe 32 GB": "v100-sxm2-32gb",
}
NUMBERS = (("cost_2023usd_amortised", "amortised"), ("cost_cloud", "cloud"), ("cost_upfront_hardware", "acquisition"))
NO_PURCHASE_PRICE = ("v100",)  # no price of theirs may be shipped, so only the cloud's definition can be asked
PAUSE = timedelta(days=60)  # from the end of training to publication, as in the paper's script
CLOUD_IN = "US"  # the paper's electricity


def cost_cases(table: str, rows: Iterable[Row]) -> list[Case]:
    """A case for each cost a row prints and our prices can be asked for.

    >>> cost_cases("training_costs", [])
    []
    """
    return [case for row in rows for case in _cases(table, row)]


def _cases(table: str, row: Row) -> list[Case]:
    device = DEVICES.get(row["hardware"])
    if device is None:
        return []
    count, hours = int(float(row["hardware_quantity"])), float(row["training_hours"])
    start = date.fromisoformat(row["published"]) - PAUSE - timedelta(hours=hours)
    scenario: dict[str, Any] = {
        "fleet": {"device": device, "devices": count, "devices_per_node": gcd(count, 8)}, "site": CLOUD_IN,
        "pretrain": {"device_hours": count * hours}, "pay": {"ways": ["rent"], "date": start.isoformat()},
    }
    found = []
    for column, name in NUMBERS:
        if row[column] and not (name != "cloud" and device.startswith(NO_PURCHASE_PRICE)):
            found.append(Case(f"training cost, {name}", f"{row['model']}, {name}", scenario,
                              f"pay.pretrain.definitions.{name}_usd", float(row[column]), "USD", row["model"],
                              f"cost {name}", row["source"]))
    return found


def baseline(case: Case, result: Any) -> float | None:
    """What it would cost to rent the same hours today, by the hour, at the middle of providers."""
    from statistics import median

    ways = result.phases["pay"]["pretrain"]["ways"]
    hourly = [w["usd"].value - w["parts"]["people"].value for w in ways
              if w.get("commitment") == "on_demand" and w["usd"] is not None]
    return median(hourly) if hourly else None
