"""Who wants a model and what a year of theirs holds: budgets as ranges, each with its source.

A budget is what the persona can spend on one model in a year. It is an order of magnitude; a user's own replaces it.
"""

from __future__ import annotations

from pathlib import Path

from catalog_build.common import CATALOG_DATE, Row, shippable

KIND = "persona"
SURVEY = "arXiv:2410.23261, $100K or 100 Days: survey of 50 academics in 35 institutions"
EPOCH = "Epoch AI Gradient Updates 2026-03, OpenAI's compute in 2024; thetradable.com summary of the Epoch breakdown"
NSF = "NSF 20-593 CISE Research Initiation Initiative: awards up to 175,000 USD for 24 months"
CREDITS = "cloudroutehq.com/aws-credits/aws-credits-for-ai-ml-startups, read 2026-11"
A16Z = "Andreessen Horowitz, a16z.com/generative-ai-enterprise-2024 (2024-03)"
CARD_YEARS = (3.0, 4.0, 5.0)  # the depreciation that clouds used up to 2020, in 2021-22 and since

WHO = (
    # id, name, aliases, fleet it has, why that fleet, how, what it is
    ("student", "student with one card", "hobbyist|individual|one-card", "1xrtx-4090",
     "a desktop card of the 24 GB class", "assumed", "one person, evenings, no budget for clouds"),
    ("university-lab", "university lab", "lab|academic|university|academia", "4xrtx-a6000",
     "typical access is 1-8 desktop, workstation or data-centre GPUs for days to weeks", "published",
     "a research group with one starting grant"),
    ("startup", "start-up", "start-up|seed|small-company", "8xh100-sxm5-80gb", "one rented node", "assumed",
     "a funded company at seed to series A that rents"),
    ("enterprise", "enterprise", "company|large-company", "64xh100-sxm5-80gb", "eight rented nodes", "assumed",
     "a large company's whole spending on models"),
    ("frontier", "frontier lab", "frontier-lab|hyperscaler", "", "", "", "one of the few that set the frontier"),
)


def build(data_dir: Path, models_dir: Path) -> list[Row]:
    devices = {row["id"]: row for row in shippable(data_dir / "accelerators.csv")}
    card = float(devices["nvidia-rtx-4090"]["price_usd"])
    short, usual, long = CARD_YEARS
    budgets = {
        "student": (card / usual, card / long, card / short, "derived",
                    "launch price of an RTX 4090 (Epoch AI ml_hardware.csv, CC-BY 4.0) over 3 to 5 years; " + SURVEY,
                    "the card's price a year; 85 % of surveyed academics have no cloud budget at all"),
        "university-lab": (87_500.0, 33_000.0, 175_000.0, "derived", f"{NSF}; {SURVEY}",
                           "the whole award a year, people included; low: 100k USD of hardware over 3 years; high: "
                           "the award in one year"),
        "startup": (330_000.0, 100_000.0, 480_000.0, "published", CREDITS,
                    "15-40k USD a month at series A; low: one standard award of cloud credits"),
        "enterprise": (14e6, 7e6, 35e6, "derived", A16Z,
                       "7 M USD a year over APIs, hosting and fine-tuning in 2023, times the growth of 2-5x planned"),
        "frontier": (5e9, 5e9, 7e9, "published", EPOCH,
                     "5 G USD of research compute in 2024; high: with 2 G of inference"),
    }
    rows = []
    for me, name, aliases, fleet, why, how, what in WHO:
        value, low, high, told, source, note = budgets[me]
        rows += [
            Row(me, "name", name, "text", source, CATALOG_DATE, "published", note=what),
            Row(me, "aliases", aliases, "list", "outlay", CATALOG_DATE, "assumed"),
            Row(me, "budget_usd_per_year", value, "usd/yr", source, CATALOG_DATE, told, low, high, note),
        ]
        if fleet:
            rows.append(Row(me, "fleet", fleet, "text", SURVEY if how == "published" else "outlay", CATALOG_DATE, how,
                            note=why))
    return rows
