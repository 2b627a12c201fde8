"""What the plan assumes where the user says nothing: an entry a default, with an interval and a reason."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from catalog_build.common import CATALOG_DATE, Row, shippable

KIND = "default"


class Default(NamedTuple):
    id: str
    value: float
    unit: str
    source: str
    how: str
    note: str
    low: float | None = None
    high: float | None = None


LLAMA3 = "Llama 3 Herd of Models, arXiv:2407.21783"
RSC = "Revisiting Reliability in Large-Scale ML Clusters (Meta RSC), arXiv:2410.21680"
COTTIER = "Cottier et al. 2024, arXiv:2405.21015, cost_analysis_standalone.py @263c40a"
OURS = "no single source; a choice of this catalogue"
LLAMA3_FAILURES = 419 / (16384 * 54 * 24)

ENERGY = (
    Default(
        "energy.host_factor",
        1.35,
        "",
        "Dell MLPerf Training v4.1 node power (1.27 x TDP at the plug); Olmo 3, "
        "arXiv:2605.01158 (1.74); Gemini, arXiv:2508.15734 (1.72 with idle and PUE)",
        "derived",
        "node energy over accelerator energy: processors, memory, network cards, fans and supply losses",
        1.2,
        1.74,
    ),
    Default(
        "energy.pue",
        1.25,
        "",
        "Cottier et al. 2024, arXiv:2405.21015 (others than hyperscalers); "
        "Uptime Institute 2024 survey (industry 1.56)",
        "published",
        "PUE where neither operator nor region tells one",
        1.09,
        1.56,
    ),
)
GOODPUT = (
    Default(
        "goodput.failures_per_device_hour",
        LLAMA3_FAILURES,
        "1/h",
        f"{LLAMA3} (419 unexpected interruptions, 54 "
        f"days, 16,384 H100); {RSC} (2.34 and 6.5 per 1,000 node-days)",
        "derived",
        "interruptions that stop the job, per device and hour; low and high are the two RSC clusters",
        2.34 / 1000 / 8 / 24,
        6.5 / 1000 / 8 / 24,
    ),
    Default(
        "goodput.restart_s",
        600.0,
        "s",
        "NVIDIA resilience study, arXiv:2410.18124; Llama 3 effective time above 90 %",
        "derived",
        "from failure to the first new step: detect, reschedule, load, warm up",
        240.0,
        1800.0,
    ),
    Default(
        "goodput.checkpoint_write_bytes_per_device_s",
        2e12 / 16384,
        "byte/s",
        f"{LLAMA3}: 2 TB/s sustained, 7 TB/s peak for 16,384 GPUs",
        "derived",
        "storage bandwidth a device can count on while all write",
        0.5e8,
        7e12 / 16384,
    ),
    Default(
        "goodput.checkpoint_asynchronous",
        1.0,
        "bool",
        "torch.distributed.checkpoint.async_save; Megatron-LM --async-save",
        "published",
        "current frameworks copy to host memory and write behind the step",
    ),
    Default(
        "goodput.checkpoints_kept",
        3.0,
        "",
        OURS,
        "assumed",
        "full checkpoints kept at once; weights-only milestones come on top",
        1.0,
        10.0,
    ),
    Default(
        "goodput.evaluation_share",
        0.01,
        "",
        OURS,
        "assumed",
        "time in evaluation over training time",
        0.0,
        0.03,
    ),
    Default(
        "goodput.warmup_s",
        900.0,
        "s",
        OURS,
        "assumed",
        "start of a job: image, data, compilation, first steps",
        300.0,
        3600.0,
    ),
    Default(
        "goodput.straggler_spread",
        0.01,
        "",
        OURS,
        "assumed",
        "standard deviation over mean of one group's step time",
        0.003,
        0.03,
    ),
    Default(
        "goodput.manual_share",
        3 / 419,
        "",
        f"{LLAMA3}: 3 of 419 needed a person",
        "derived",
        "failures a person must handle",
    ),
    Default(
        "goodput.small_fleet_goodput",
        0.97,
        "",
        OURS,
        "assumed",
        "useful share of time on one node, where failures are rare",
        0.93,
        0.995,
    ),
)
EXPERIMENTS = "arXiv:2503.05804 (AI2, +50 %); Epoch AI Gradient Updates 2026-03 (3.3 to 10)"
BASELINE = (
    Default(
        "baseline.mfu",
        0.375,
        "",
        f"{COTTIER}; Epoch AI notable models, CC-BY 4.0: median 0.34, 10th-90th percentile 0.19-0.52",
        "published",
        "model FLOP utilisation where a run names none; the plan predicts its own",
        0.19,
        0.52,
    ),
    Default("baseline.pue_hyperscaler", 1.1, "", COTTIER, "published", "PUE of large clouds", 1.07, 1.2),
)
WORK = (
    Default(
        "experiments.multiplier",
        1.0,
        "",
        OURS,
        "assumed",
        "compute of all runs over the final run; 1 counts the final run alone and the result says so",
    ),
    Default(
        "experiments.replication", 1.5, "", EXPERIMENTS, "published", "repeating a known recipe", 1.1, 2.0
    ),
    Default(
        "experiments.follower", 3.3, "", EXPERIMENTS, "published", "a lab close behind the frontier", 2.0, 5.6
    ),
    Default("experiments.frontier", 10.0, "", EXPERIMENTS, "published", "a frontier lab's year", 3.3, 10.0),
)
OWN = (
    Default(
        "own.lifetime_years",
        5.0,
        "year",
        f"{COTTIER} (5 from 2023, 4 in 2021-22, 3 before)",
        "published",
        "years over which owned hardware is paid for",
        3.0,
        6.0,
    ),
    Default(
        "own.server_overhead",
        1.64,
        "",
        f"{COTTIER} (A100 1.66, V100 1.69, P100 1.54)",
        "published",
        "server price over the price of its chips",
        1.54,
        1.69,
    ),
    Default("own.network_share", 0.19, "", COTTIER, "published", "network over cluster price", 0.12, 0.25),
    Default("own.wacc_per_year", 0.10, "1/year", OURS, "assumed", "cost of capital", 0.06, 0.15),
    Default(
        "own.utilization",
        0.7,
        "",
        OURS,
        "assumed",
        "paid hours that do useful work; the variable that decides own or rent: give your own",
        0.4,
        0.95,
    ),
    Default("own.small_team_utilization", 0.4, "", OURS, "assumed", "the same for a small team", 0.2, 0.7),
    Default(
        "own.upkeep_per_year",
        0.03,
        "1/year",
        OURS,
        "assumed",
        "repair and operation over purchase price",
        0.02,
        0.06,
    ),
    Default(
        "own.space_usd_per_kw_month",
        130.0,
        "usd/kW/month",
        OURS,
        "assumed",
        "colocation: building, cooling and power capacity, energy apart; US quotes",
        110.0,
        200.0,
    ),
    Default(
        "own.depreciation_oom_per_year",
        0.14,
        "1/year",
        f"{COTTIER}; own fits 0.06 to 0.18",
        "published",
        "orders of magnitude a year by which the price of the same compute falls",
        0.06,
        0.18,
    ),
    Default(
        "own.chip_to_server_power",
        1.8,
        "",
        f"{COTTIER} (H100 1.82, A100 2.03)",
        "published",
        "rated server power over rated chip power",
        1.7,
        2.03,
    ),
    Default(
        "own.power_share",
        0.75,
        "",
        f"{COTTIER} (TPU 0.43)",
        "published",
        "mean over rated power in training",
        0.6,
        0.95,
    ),
    Default(
        "own.break_even_usd_per_device_hour",
        1.65,
        "usd/h",
        "Latent Space, 2024, through neighborhoodsf.com",
        "published",
        "an H100 rented out below this lost its 2024 owner money",
    ),
)
NETWORK = (
    Default(
        "network.inter_node_bytes_per_s",
        25e9,
        "byte/s",
        OURS,
        "assumed",
        "one 200 Gb/s port a device, one direction, where the device's usual machine is not known",
        6.25e9,
        50e9,
    ),
    Default(
        "network.host_link_bytes_per_s",
        31.5e9,
        "byte/s",
        "PCI-SIG, PCI Express 4.0, 16 lanes",
        "assumed",
        "PCIe 4.0 x16, one direction, where the device's usual machine is not known",
        15.8e9,
        63e9,
    ),
)
RESIDUAL = (
    Default(
        "residual.unseen_factor",
        1.2,
        "",
        "no single source; our own plans against production figures recalled and not checked",
        "assumed",
        "how much wider a step time's interval is where no published run of its kind was fitted or scored",
    ),
)
RENT = (
    Default(
        "rent.spot_share",
        0.4,
        "",
        "own reading of dated list prices: GCP H100 0.35-0.39, Nebius 0.41-0.53",
        "derived",
        "spot over on-demand price, where a provider names no spot price",
        0.3,
        0.6,
    ),
    Default("rent.price_stale_days", 90.0, "day", OURS, "assumed", "an older price carries a warning"),
)
EMBODIED = (
    Default(
        "embodied.lifetime_years",
        4.0,
        "year",
        "OLMo 4, EcoLogits 3, LLMCarbon 5, Google TPU 6",
        "published",
        "years over which embodied carbon is spread; apart from the financial lifetime",
        3.0,
        6.0,
    ),
    Default(
        "embodied.spread_factor",
        1.0,
        "",
        "embodied model against vendor footprints out of sample: B200 +6 %, A100 -18 %; geometric spread 1.6",
        "derived",
        "multiplies the model for an accelerator",
        1 / 1.6**1.2816,
        1.6**1.2816,
    ),
)
STORAGE = (
    Default(
        "storage.usd_per_byte_month",
        0.023e-9,
        "usd/byte/month",
        "AWS S3 Standard list price, us-east-1, 2026-05",
        "published",
        "object storage where no provider is named",
        0.0049e-9,
        0.06e-9,
    ),
    Default(
        "data.bytes_per_token",
        2.0,
        "byte",
        "tokenised as 16-bit integers; 4 above 65,536 tokens",
        "derived",
        "tokenised training data on disk; text is 1.7 (compressed) to 4.5 (raw)",
        2.0,
        4.5,
    ),
)


def build(data_dir: Path, models_dir: Path) -> list[Row]:
    rows = []
    chosen = (*ENERGY, *GOODPUT, *BASELINE, *WORK, *OWN, *NETWORK, *RESIDUAL, *RENT, *EMBODIED, *STORAGE)
    for d in (*chosen, *_capex(data_dir)):
        rows.append(Row(d.id, "value", d.value, d.unit, d.source, CATALOG_DATE, d.how, d.low, d.high, d.note))
    return rows


def _capex(data_dir: Path) -> list[Default]:
    """Frontier campuses' capital cost, median of the ten in Epoch AI's table."""
    import statistics

    per_watt = sorted(
        float(r["capex_musd_per_mw"]) for r in shippable(data_dir / "datacenter_capex_epoch.csv")
    )
    return [
        Default(
            "own.campus_usd_per_w",
            statistics.median(per_watt),
            "usd/W",
            "Epoch AI data centers 2025-12, CC-BY 4.0, median of ten",
            "derived",
            "frontier campus with its IT equipment, per watt of power",
            per_watt[0],
            per_watt[-1],
        )
    ]
