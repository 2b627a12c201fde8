"""Who rents hardware out: names and what a commitment of one or three years takes off the list price."""

from __future__ import annotations

from pathlib import Path

from catalog_build.common import CATALOG_DATE, Row

KIND = "provider"
COTTIER = "Epoch AI, cost_analysis_standalone.py @263c40a, with Cottier et al. 2024, arXiv:2405.21015"
PROVIDERS = {  # id: (name, aliases, discount of 1 year, of 3 years)
    "aws": ("Amazon Web Services", "amazon|ec2|amazon web services", 0.41, 0.64),
    "gcp": ("Google Cloud", "google|google-cloud|gce|google cloud platform", 0.37, 0.56),
    "azure": ("Microsoft Azure", "microsoft|msft", 0.25, 0.49),
    "lambda": ("Lambda", "lambda-labs|lambdalabs|lambda cloud", 0.34, 0.56),
    "runpod": ("RunPod", "", None, None),
    "nebius": ("Nebius", "nebius ai cloud", None, None),
    "coreweave": ("CoreWeave", "", None, None),
    "vast": ("Vast.ai", "vastai|vast-ai", None, None),
}


LARGE = ("aws", "azure", "gcp")  # first choice of the published definition


def build(data_dir: Path, models_dir: Path) -> list[Row]:
    rows = []
    for me, (name, aliases, one, three) in PROVIDERS.items():
        rows.append(Row(me, "name", name, "text", "the provider's own name", CATALOG_DATE, "published"))
        if aliases:
            rows.append(Row(me, "aliases", aliases, "list", "names people use", CATALOG_DATE, "derived"))
        if me in LARGE:
            rows.append(Row(me, "large_cloud", 1.0, "bool", COTTIER, CATALOG_DATE, "published",
                            note="whose contracts the published cost of a run in the cloud is taken at"))
        for term, share in (("1y", one), ("3y", three)):
            if share is not None:
                rows.append(
                    Row(
                        me,
                        f"commitment_discount_{term}",
                        share,
                        "",
                        COTTIER,
                        CATALOG_DATE,
                        "published",
                        low=share - 0.08,
                        high=share + 0.08,
                        note="off the on-demand price; negotiated contracts differ",
                    )
                )
    return rows
