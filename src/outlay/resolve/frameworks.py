"""What a training framework and an optimiser keep per parameter, from the catalogue."""

from __future__ import annotations

from outlay.catalog import Catalog
from outlay.errors import BadValue

PARTS = ("weight", "gradient", "master")
STATE_BYTES = {"fp32": 4.0, "bf16": 2.0, "fp16": 2.0, "fp8": 1.0, "int8": 1.0, "none": 0.0}


def framework_bytes(framework: str, precision: str, catalog: Catalog) -> dict[str, float]:
    """weight_bytes, gradient_bytes and master_bytes of a framework at a compute precision.

    Raises BadValue when the framework has no such precision, naming those it has.
    """
    entry = catalog.find("framework", framework, "pretrain.framework")
    name = "nvfp4" if precision in ("mxfp4", "fp4") else precision
    if f"{name}.weight_bytes" not in entry:
        able = sorted(p.split(".")[0] for p in entry.facts if p.endswith(".weight_bytes"))
        raise BadValue(f"pretrain.precision: {framework} does not train in {precision}; it has {', '.join(able)}",
                       "pretrain.precision")
    return {f"{part}_bytes": float(entry.value(f"{name}.{part}_bytes")) for part in PARTS}


def framework_flag(framework: str, flag: str, catalog: Catalog) -> bool:
    """Whether a framework does something unless told otherwise."""
    return bool(catalog.find("framework", framework, "pretrain.framework").value(flag, 0.0))


def optimizer_states(optimizer: str, precision: str | None, catalog: Catalog) -> tuple[float, bool]:
    """Bytes per parameter of an optimiser's states, and whether it needs a full-precision copy of the weights.

    A precision given for the states scales states that are fp32 by default; 8-bit states stay as they are.
    """
    entry = catalog.find("optimizer", optimizer, "pretrain.optimizer")
    size = float(entry.value("state_bytes"))
    if precision is not None and size >= 4:
        size *= STATE_BYTES[precision] / 4.0
    return size, bool(entry.value("master_needed", 1.0))
