"""Defaults of what surrounds a run: yields of cleaning, cores, people, annotation, upkeep."""

from __future__ import annotations

from pathlib import Path

from catalog_build.common import CATALOG_DATE, Row, shippable
from catalog_build.defaults import OURS, Default

KIND = "default"
FINEWEB = "FineWeb, arXiv:2406.17557"
CCNET = "CCNet, arXiv:1911.00359 (8.5 h on 5,000 cores a snapshot)"
ARCHIVE = "Common Crawl monthly archive, about 75 TB of WARC each (arXiv:2404.09770); up to 90 TB"
CCF = "Cloud Carbon Footprint methodology, cloudcarbonfootprint.org/docs/methodology (Apache-2.0), read 2026-11"
SNAPSHOTS, EXTRACTED, DEDUPLICATED, KEPT = 96, 36e12, 20e12, 15e12  # FineWeb: dumps; tokens after each stage
EDU, EDU_LOOSE = 1.3e12, 5.4e12  # FineWeb-Edu at its two thresholds
WARC_LOW, WARC, WARC_HIGH = 75e12, 82e12, 90e12
CCNET_CORE_HOURS = 8.5 * 5000

DATA = (
    Default(
        "data.raw_bytes_per_token",
        SNAPSHOTS * WARC / EXTRACTED,
        "byte",
        f"{FINEWEB}: 96 snapshots gave 36T tokens after extraction and base filters; {ARCHIVE}",
        "derived",
        "compressed web archive behind one extracted token",
        SNAPSHOTS * WARC_LOW / EXTRACTED,
        SNAPSHOTS * WARC_HIGH / EXTRACTED,
    ),
    Default(
        "data.yield_deduplicated",
        DEDUPLICATED / EXTRACTED,
        "",
        f"{FINEWEB}: 36T to 20T tokens, each snapshot by itself",
        "derived",
        "tokens kept by deduplication; across all snapshots far fewer are",
        0.25,
        0.7,
    ),
    Default(
        "data.yield_filtered",
        KEPT / DEDUPLICATED,
        "",
        f"{FINEWEB}: 20T to 15T tokens",
        "derived",
        "tokens kept by quality heuristics",
        0.5,
        0.9,
    ),
    Default(
        "data.yield_classified",
        EDU / KEPT,
        "",
        f"{FINEWEB}: FineWeb-Edu keeps 1.3T of 15T, 5.4T at its lower threshold",
        "derived",
        "tokens kept by a quality classifier",
        EDU / KEPT,
        EDU_LOOSE / KEPT,
    ),
    Default(
        "data.text_bytes_per_token",
        2.93,
        "byte",
        f"{FINEWEB}: 44 TB of Parquet for 15T tokens; Dolma 1.74 compressed; 4.5 plain English",
        "derived",
        "cleaned text at rest",
        1.7,
        4.5,
    ),
    Default(
        "data.core_hours_per_raw_byte",
        CCNET_CORE_HOURS / WARC_LOW,
        "h/byte",
        f"{CCNET}; {ARCHIVE}",
        "derived",
        "language, perplexity and paragraph deduplication of extracted text; high: extraction from HTML about "
        "twice as much again",
        CCNET_CORE_HOURS / WARC_HIGH,
        3 * CCNET_CORE_HOURS / WARC_LOW,
    ),
    Default(
        "data.classifier_parameters",
        109e6,
        "parameters",
        "FineWeb-Edu classifier: a head on Snowflake/snowflake-arctic-embed-m, 109M parameters (model card)",
        "published",
        "size of the scoring model",
    ),
    Default(
        "data.classifier_utilization",
        0.3,
        "",
        OURS,
        "assumed",
        "share of the arithmetic peak that a small encoder reaches on long batches",
        0.15,
        0.5,
    ),
    Default(
        "data.synthetic_input_per_output",
        1.0,
        "",
        OURS,
        "assumed",
        "prompt tokens for each token written; rewriting reads about what it writes",
        0.2,
        3.0,
    ),
    Default(
        "data.synthetic_keep", 1.0, "", OURS, "assumed", "share of written tokens kept; give what filtering leaves"
    ),
    Default(
        "data.object_bytes",
        1e9,
        "byte",
        "Common Crawl: 90,000 WARC files of about 1 GB a snapshot",
        "derived",
        "size of a stored object, which decides how many requests are paid",
        1e8,
        2e9,
    ),
    Default(
        "data.retention_s", 31_557_600.0, "s", OURS, "assumed", "how long the corpus is kept, without a life to last"
    ),
    Default(
        "data.duration_s",
        7_889_400.0,
        "s",
        OURS,
        "assumed",
        "three months to gather and clean a corpus",
        2_629_800.0,
        15_778_800.0,
    ),
)
CORES = (
    Default(
        "core.usd_per_hour",
        0.714 / 16,
        "usd/h",
        "AWS c7i.4xlarge, 16 vCPU, 0.714 USD/h on demand, us-east-1",
        "derived",
        "one rented processor core (vCPU) an hour; low: at the spot share of accelerators",
        0.0134,
        0.05,
    ),
    Default(
        "core.power_w",
        2.12,
        "W",
        f"{CCF}: AWS 0.74 W idle to 3.5 W full per vCPU, Azure 0.78 to 3.76",
        "published",
        "one busy core with its share of the processor, at half load; memory apart",
        0.74,
        3.5,
    ),
)
PEOPLE = (
    Default(
        "people.hours_per_year", 1_760.0, "h", OURS, "assumed", "hours one person works in a year: 220 days of 8 h"
    ),
    Default(
        "maintain.engineers",
        0.5,
        "",
        OURS,
        "assumed",
        "people who keep one model up, in full-time equivalents",
        0.25,
        2.0,
    ),
)
MAINTAIN = (
    Default("maintain.evaluate_every_s", 7_889_400.0, "s", OURS, "assumed", "evaluation each quarter"),
    Default("maintain.repeats", 1.0, "", OURS, "assumed", "one run; 8 give a reliable mean of an agentic suite"),
    Default(
        "maintain.replay",
        0.1,
        "",
        "arXiv:2403.08763 (Ibrahim et al.): 5 % replay for weak, more for strong shifts",
        "published",
        "old tokens read again beside each new one in continued pre-training",
        0.05,
        0.25,
    ),
    Default("maintain.monitor_retention_s", 2_629_800.0, "s", OURS, "assumed", "logs are kept for a month"),
    Default("maintain.years", 1.0, "year", OURS, "assumed", "without a life around it, one year of maintenance"),
)
LIFE = (
    Default("life.years", 3.0, "year", OURS, "assumed", "years that are looked at"),
    Default("life.growth_per_year", 0.0, "1/year", OURS, "assumed", "traffic stays as it is; give your own growth"),
)
PREFERENCE = "human preference comparison, skilled/vendor"
LABEL = "AI preference label"
MIGRATION = "migration cost per forced model change"


def build(data_dir: Path, models_dir: Path) -> list[Row]:
    raw = {row["item"]: row for row in shippable(data_dir / "people_and_process_costs.csv")}

    def of(me: str, item: str, unit: str, note: str, how: str = "published", scale: float = 1.0) -> Default:
        row = raw[item]
        low, value, high = (scale * float(row[k]) for k in ("low", "typical", "high"))
        source = row["verified_from"] if how != "assumed" else OURS
        return Default(me, value, unit, source, how, note, low, high)

    read = (
        of("annotation.usd_per_preference", PREFERENCE, "usd", "a person compares two answers, bought from a vendor"),
        of("annotation.usd_per_ai_label", LABEL, "usd", "a model compares two answers"),
        of("maintain.migration_engineer_weeks", MIGRATION, "week", "prompts tuned and evaluated again", "assumed"),
    )
    return [
        Row(d.id, "value", d.value, d.unit, d.source, CATALOG_DATE, d.how, d.low, d.high, d.note)
        for d in (*DATA, *CORES, *PEOPLE, *MAINTAIN, *LIFE, *read)
    ]
