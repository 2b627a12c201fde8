"""The rungs between using a model and making one: the people, the skill and the tie each brings."""

from __future__ import annotations

from pathlib import Path

from catalog_build.common import CATALOG_DATE, Row, shippable
from catalog_build.defaults import OURS

KIND = "rung"
RUNGS = (
    # id, name, people at work on it (low, usual, high), skill, tie
    ("api-call", "API call", (0.02, 0.1, 0.5), "any programmer", "the provider's model, price and shutdown date"),
    ("api-finetune", "API fine-tune", (0.1, 0.25, 1.0), "a programmer who can judge data",
     "the provider's: the tuned weights stay there and end with the base model"),
    ("lora", "LoRA", (0.1, 0.5, 1.0), "an engineer who has trained a network", "none but the base model's licence"),
    ("full-finetune", "full fine-tune", (0.25, 0.5, 2.0), "an engineer at home with several devices",
     "none but the base model's licence"),
    ("continued-pretraining", "continued pre-training", (0.5, 1.0, 4.0),
     "a team that cleans data, runs clusters and measures forgetting", "none but the base model's licence"),
    ("from-scratch", "from scratch", (1.0, 3.0, 10.0),
     "a team for data, training and evaluation, and runs that fail before one succeeds", "none"),
)
BY_PROVIDER = ("api-call", "api-finetune")


def build(data_dir: Path, models_dir: Path) -> list[Row]:
    people = {row["item"]: row for row in shippable(data_dir / "people_and_process_costs.csv")}
    life = people["model API lifetime release->shutdown"]
    rows = []
    for order, (me, name, fte, skill, tie) in enumerate(RUNGS):
        low, usual, high = fte
        rows += [
            Row(me, "name", name, "text", OURS, CATALOG_DATE, "assumed"),
            Row(me, "order", float(order), "", OURS, CATALOG_DATE, "assumed"),
            Row(me, "people", usual, "person", OURS, CATALOG_DATE, "assumed", low, high,
                "people at work on it for as long as it takes"),
            Row(me, "skill", skill, "text", OURS, CATALOG_DATE, "assumed"),
            Row(me, "tie", tie, "text", OURS, CATALOG_DATE, "assumed"),
        ]
        if me in BY_PROVIDER:
            rows.append(Row(me, "lifetime_days", float(life["typical"]), "day", life["verified_from"], CATALOG_DATE,
                            "derived", float(life["low"]), float(life["high"]),
                            "from release to announced shutdown, 98 models; survivors are missing, so too short"))
    return rows
