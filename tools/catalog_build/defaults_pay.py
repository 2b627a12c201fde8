"""What the ways to pay assume where the user says nothing: people, peaks, interruptions, spares."""

from __future__ import annotations

from pathlib import Path

from catalog_build.common import CATALOG_DATE, Row
from catalog_build.defaults import KIND, OURS, Default

__all__ = ["KIND", "build"]

# mean and 10th-90th percentile of the yearly wage; wages' part of what an employer pays
WAGE_USD, WAGE_LOW_USD, WAGE_HIGH_USD, WAGE_SHARE = 144_570.0, 79_850.0, 211_450.0, 0.701
BLS = ("US Bureau of Labor Statistics: software developers, national wages 2024 (mean 144,570; 10th-90th percentile "
       "79,850-211,450, as printed by ler.me); wages are 70.1 % of compensation (ECEC, USDL-20-0451, December 2019)")
PAY = (
    Default("people.usd_per_year", WAGE_USD / WAGE_SHARE, "usd/yr", BLS, "derived",
            "an engineer with benefits and taxes, United States; give your own", WAGE_LOW_USD / WAGE_SHARE,
            WAGE_HIGH_USD / WAGE_SHARE),
    Default("people.api_fte", 0.1, "", OURS, "assumed",
            "people who keep an application on somebody else's models running", 0.02, 0.5),
    Default("people.rent_fte", 0.5, "", OURS, "assumed",
            "people who keep models running on rented machines, nights included", 0.25, 2.0),
    Default("people.own_extra_fte", 0.25, "", OURS, "assumed",
            "more people than renting takes: the machines themselves, their parts, vendors and contracts", 0.1, 1.0),
    Default("people.train_fte", 1.0, "", OURS, "assumed",
            "people who look after a training run for as long as it takes", 0.25, 4.0),
    Default("pay.peak", 2.0, "", OURS, "assumed",
            "requests of the busiest hour over the month's mean; day and night alone make about two", 1.3, 4.0),
    Default("pay.load", 0.7, "", OURS, "assumed",
            "how full machines are run in the busiest hour, so that replies stay quick", 0.5, 0.85),
    Default("rent.spot_interruptions_per_hour", 0.02, "1/h", OURS, "assumed",
            "how often a spare-capacity machine is taken back; from once in months to several times a day", 0.0003,
            0.2),
    Default("own.spares_share", 0.03, "", OURS, "assumed", "machines and parts bought as spares, over the rest", 0.01,
            0.10),
)


def build(data_dir: Path, models_dir: Path) -> list[Row]:
    return [Row(d.id, "value", d.value, d.unit, d.source, CATALOG_DATE, d.how, d.low, d.high, d.note) for d in PAY]
