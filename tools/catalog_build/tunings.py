"""What providers ask for fine-tuning by the token: single list prices, each with the page it was read on."""

from __future__ import annotations

from pathlib import Path

from catalog_build.common import CATALOG_DATE, Row

KIND = "tuning"
TOGETHER = ("https://www.together.ai/pricing, read 2026-07-13 as quoted in an open-source price module; billed by all "
            "tokens of all epochs (docs.together.ai/docs/fine-tuning/pricing)", "2026-07-13")
FIREWORKS = ("https://fireworks.ai/pricing, read in 2026-10 as quoted in an open-source price list", "2026-10")
ORI = ("https://docs.ori.co/fine-tuning/billing, read 2026-11", "2026-11")
OPENAI = ("OpenAI list price as quoted by artificial-intelligence-wiki.com, read 2026-11", "2026-11")
# provider, method, parameters up to (of the base model), USD per million training tokens, least charge, source
PRICES = (
    ("together", "lora", 16e9, 0.48, 4.0, TOGETHER), ("together", "full", 16e9, 0.54, 4.0, TOGETHER),
    ("together", "lora", 69e9, 1.50, 4.0, TOGETHER), ("together", "full", 69e9, 1.65, 4.0, TOGETHER),
    ("together", "lora", 100e9, 2.90, 4.0, TOGETHER), ("together", "full", 100e9, 3.20, 4.0, TOGETHER),
    ("fireworks", "lora", 16e9, 0.50, 0.0, FIREWORKS), ("fireworks", "lora", 80e9, 3.00, 0.0, FIREWORKS),
    ("fireworks", "lora", 300e9, 6.00, 0.0, FIREWORKS), ("fireworks", "lora", 1e13, 10.00, 0.0, FIREWORKS),
    ("ori", "lora", 10e9, 0.46, 0.0, ORI),
)
NAMED = (("openai", "gpt-4o", 25.0, OPENAI),)  # a provider's own model, tuned by a method it does not tell


def build(data_dir: Path, models_dir: Path) -> list[Row]:
    rows = []
    for provider, method, most, usd, least, (source, day) in PRICES:
        me = f"{provider}-{method}-{most / 1e9:g}b"
        told = (("name", f"{provider}, {method}, models of up to {most / 1e9:g}B parameters", "text"),
                ("provider", provider, "text"), ("method", method, "text"), ("parameters_up_to", most, "parameter"),
                ("usd_per_training_token", usd / 1e6, "usd/token"), ("least_usd", least, "usd"))
        rows += [Row(me, p, v, u, source, day, "published") for p, v, u in told]
    for provider, model, usd, (source, day) in NAMED:
        told = (("name", f"{provider}, {model}", "text"), ("provider", provider, "text"), ("model", model, "text"),
                ("usd_per_training_token", usd / 1e6, "usd/token"), ("least_usd", 0.0, "usd"))
        rows += [Row(f"{provider}-{model}", p, v, u, source, day, "published") for p, v, u in told]
    assert all(row.retrieved <= CATALOG_DATE for row in rows)
    return rows
