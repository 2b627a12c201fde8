"""Bytes per parameter a fine-tuning stack keeps: facts of the software, the optimiser asked for, the precision."""

from __future__ import annotations

from typing import Any

from outlay.catalog import Catalog
from outlay.derive import Quantity
from outlay.resolve.finetune.trained import Counts
from outlay.steps.tune.trained import Tuning

TABLE = "tune_constants"
ADAMW_STATE_BYTES = 8.0  # what the software's state bytes stand for
MASTER_BYTES = 4.0


class StateBytes:
    """Bytes per parameter of weights, gradients and optimiser, as means over the base's parameters."""

    def __init__(self, catalog: Catalog, precision: str) -> None:
        self.catalog, self.wide = catalog, 4.0 if precision == "fp32" else 2.0

    def mean(self, tuning: Tuning, counts: Counts, optimizer: str) -> dict[str, float]:
        software, total = tuning.software, counts.total
        full = tuning.method in ("full", "freeze")
        group = "full" if full else "saved"
        sizes = {part: {name: number(getattr(software, f"{part}_{name}_bytes"))
                        for name in ("weight", "gradient", "state")} for part in ("adapter", group)}
        if self.wide == 4.0:
            sizes = {part: {"weight": 4.0, "gradient": 4.0, "state": 8.0} for part in sizes}
        kept = counts.whole if (full or not number(software.keeps_originals)) else 0.0
        frozen = counts.total - counts.quantised - kept
        weights = (counts.quantised * number(tuning.stored_bytes) + max(frozen, 0.0) * self.wide
                   + counts.whole * sizes[group]["weight"] + counts.adapters * sizes["adapter"]["weight"])
        trained = ((counts.whole, sizes[group]), (counts.adapters, sizes["adapter"]))
        gradients = 0.0 if tuning.optimizer_in_backward else sum(n * size["gradient"] for n, size in trained)
        states = sum(n * self.state(size["state"], optimizer) for n, size in trained)
        return {"weight_bytes": weights / total, "gradient_bytes": gradients / total, "master_bytes": 0.0,
                "optimizer_bytes": states / total}

    def state(self, adamw_bytes: float, optimizer: str) -> float:
        """State bytes of a trained parameter, from what the software keeps under AdamW."""
        entry = self.catalog.find("optimizer", optimizer, "finetune.optimizer")
        own = float(entry.value("state_bytes"))
        master = MASTER_BYTES if adamw_bytes > ADAMW_STATE_BYTES else 0.0
        scale = (adamw_bytes - master) / ADAMW_STATE_BYTES
        return master + (own if own <= 2.0 else own * scale)


def software_rows(names: tuple[str, ...], catalog: Catalog) -> dict[str, Any]:
    """Facts of a fine-tuning stack: general ones and those of each name over them."""
    found: dict[str, Any] = {}
    known = catalog.ids(TABLE)
    for identifier in ("software", *(f"software.{name}" for name in names)):
        if identifier in known:
            found |= {fact.parameter: fact for fact in catalog.find(TABLE, identifier)}
    return found


def number(value: Any) -> float:
    return float(value.value) if isinstance(value, Quantity) else float(value)
