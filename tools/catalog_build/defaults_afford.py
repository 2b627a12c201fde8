"""What advice about a budget assumes: the scaling law, the usual sizes of work on each rung, how long one waits."""

from __future__ import annotations

from pathlib import Path

from catalog_build.common import CATALOG_DATE, Row
from catalog_build.defaults import KIND, OURS, Default

__all__ = ["KIND", "build"]

REFIT = "Besiroglu et al. 2024, Chinchilla Scaling: A replication attempt, arXiv:2404.10102"
Z = 1.2815515655446004  # a standard error to the edge of an 80 % interval
AFFORD = (
    Default("scaling.floor", 1.8172, "nat", REFIT, "published", "E of L = E + A/N^alpha + B/D^beta", 1.8172 - 0.03 * Z,
            1.8172 + 0.03 * Z),
    Default("scaling.a", 482.01, "", REFIT, "published", "A, standard error 124.58; moves with alpha"),
    Default("scaling.b", 2085.43, "", REFIT, "published", "B, standard error 1293.23; moves with beta"),
    Default("scaling.alpha", 0.3478, "", REFIT, "published", "standard error 0.02"),
    Default("scaling.beta", 0.3658, "", REFIT, "published", "standard error 0.02"),
    Default("afford.overtrained_tokens_per_parameter", 200.0, "", OURS, "assumed",
            "a smaller model trained longer, cheaper to use: ten times the compute-optimal ratio; Llama 3 8B had 1,875",
            60.0, 1875.0),
    Default("afford.tune_tokens", 1e7, "token", OURS, "assumed",
            "a usual fine-tuning set: 10,000 examples of 1,000 tokens", 1e6, 1e8),
    Default("afford.continue_tokens", 5e9, "token", OURS, "assumed",
            "continued pre-training on a domain: a few billion tokens", 1e9, 5e10),
    Default("afford.longest_days", 90.0, "day", OURS, "assumed",
            "the longest a person waits for one run where no deadline is given", 30.0, 180.0),
    Default("afford.least_rental_hours", 24.0, "h", OURS, "assumed",
            "the shortest time for which several nodes are had together", 1.0, 720.0),
    Default("afford.request_input_tokens", 1000.0, "token", OURS, "assumed", "prompt of a usual API request", 200.0,
            10000.0),
    Default("afford.request_output_tokens", 250.0, "token", OURS, "assumed", "answer of a usual API request", 50.0,
            1000.0),
)


def build(data_dir: Path, models_dir: Path) -> list[Row]:
    return [Row(d.id, "value", d.value, d.unit, d.source, CATALOG_DATE, d.how, d.low, d.high, d.note) for d in AFFORD]
