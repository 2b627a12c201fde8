"""What the catalogue does not know and a user would look for: named, with what to do instead."""

from __future__ import annotations

from pathlib import Path

from catalog_build.common import CATALOG_DATE, Row

KIND = "hole"
OWN = "your own rows, --catalog FOLDER"
HOLES = {
    "models-unverified": (
        "models whose dimensions no text at hand confirmed: Yi 9B and 34B, DeepSeek LLM 7B and 67B, EuroLLM, "
        "Qwen1.5 32B, OPT 2.7B, BLOOM 1B1, 1B7 and 3B, StarCoder2, OLMo 2 32B, Granite 3.0, GLM-4 32B, "
        "Mamba-2 2.7B, Falcon Mamba, Command R, Seed-OSS, MiniMax-Text-01",
        "the model's config.json as a path, or model as a mapping",
    ),
    "models-without-known-total": (
        "Kimi-K3, MiniMax-M3, MiMo-7B, Llama-3.3-Nemotron-Super-49B: counted from their configurations, with "
        "no "
        "published exact total to hold the count to",
        "the .safetensors index of the model, which states it",
    ),
    "apple-devices": (
        "Apple M5 Pro, Max and Ultra, and chips with fewer GPU cores than the most: no source was read",
        "fleet.device as a mapping",
    ),
    "tpu-prices": (
        "Google TPU rents: no current price page could be read",
        "--prices FILE or fleet.usd_per_device_hour",
    ),
    "gcp-prices": (
        "Google Cloud GPU rents outside six regions",
        "--prices FILE or fleet.usd_per_device_hour",
    ),
    "aws-prices-by-region": (
        "AWS rents outside us-east-1, and all AWS spot rents",
        "--prices FILE or fleet.usd_per_device_hour",
    ),
    "purchase-prices": (
        "purchase prices of B200, RTX PRO 6000 and AMD parts after MI300X",
        "price_usd in your own rows, --catalog FOLDER",
    ),
    "utilization-donors": (
        "measured utilisation of AMD, TPU, GeForce, Gaudi, Trainium and Ascend: borrowed from a "
        "relative and widened",
        "validate on your own run",
    ),
    "server-carbon": (
        "embodied carbon of a GPU server: no vendor footprint was read; the interval is wide",
        OWN,
    ),
    "h200-carbon": ("embodied carbon of H200: no footprint is published; modelled", OWN),
    "building-carbon": (
        "embodied carbon of buildings, network and cooling plant: nobody publishes it per watt",
        OWN,
    ),
    "engineer-cost": ("loaded cost of an engineer by country", "maintain.usd_per_person_hour"),
    "storage-classes": ("prices of archive, block and parallel file storage at AWS, Google and Azure", OWN),
    "memory-only-devices": ("Cerebras, SambaNova, Tenstorrent, Maia 200, MI455X: no source was read", OWN),
    "ipcc-ranges": ("range of life-cycle carbon by technology: only medians were read", OWN),
}


def build(data_dir: Path, models_dir: Path) -> list[Row]:
    rows = []
    for me, (what, instead) in HOLES.items():
        for parameter, text in (("what", what), ("instead", instead)):
            rows.append(Row(me, parameter, text, "text", "review of this catalogue", CATALOG_DATE, "derived"))
    return rows
