"""Dense peaks per precision: read ones first, then what the architecture gives from a verified field."""

from __future__ import annotations

from catalog_build import device_rules
from catalog_build.common import CATALOG_DATE, Row

READ = CATALOG_DATE
PEAKS = {
    "fp32_tflops": ("peak_fp32_flop_per_s", "flop/s"),
    "tf32_tflops": ("peak_tf32_flop_per_s", "flop/s"),
    "fp16_tflops": ("peak_fp16_flop_per_s", "flop/s"),
    "bf16_tflops": ("peak_bf16_flop_per_s", "flop/s"),
    "fp8_tflops": ("peak_fp8_flop_per_s", "flop/s"),
    "fp4_tflops": ("peak_fp4_flop_per_s", "flop/s"),
    "int8_tops": ("peak_int8_op_per_s", "op/s"),
}
# Tensor rate with FP32 accumulation over the FP32 rate of the shader cores, by kind of card
GEFORCE = {
    "tf32_tflops": 1,
    "bf16_tflops": 2,
    "fp16_tflops": 2,
    "fp8_tflops": 4,
    "int8_tops": 8,
    "fp4_tflops": 16,
}
FULL_RATE = {
    "tf32_tflops": 2,
    "bf16_tflops": 4,
    "fp16_tflops": 4,
    "fp8_tflops": 8,
    "int8_tops": 8,
    "fp4_tflops": 16,
}
CDNA2 = {"bf16_tflops": 8, "fp16_tflops": 8, "int8_tops": 8}
GEFORCE_NOTE = (
    "tensor rate with FP32 accumulation, half of the FP16-accumulate figure often printed; "
    "{k} x the FP32 rate on GeForce"
)


def peaks(
    me: str, raw: dict[str, str], known: dict[str, str], specs: dict[str, dict[str, str]], source: str
) -> list[Row]:
    rows = []
    for field, (parameter, unit) in PEAKS.items():
        if field in specs:
            row = specs[field]
            rows.append(
                Row(
                    me,
                    parameter,
                    float(row["value"]) * 1e12,
                    unit,
                    row["source"],
                    row["retrieved"],
                    row["how"],
                    note=row["note"],
                )
            )
        elif field in known:
            rows.append(
                Row(
                    me,
                    parameter,
                    float(known[field]) * 1e12,
                    unit,
                    source,
                    READ,
                    "published",
                    note=_peak_note(raw, field),
                )
            )
        elif raw[field]:
            rule = _rule(me, raw, field)
            base = {r.parameter: r for r in rows}
            if rule and rule[0] in known:
                value = float(known[rule[0]]) * rule[1]
                rows.append(Row(me, parameter, value * 1e12, unit, source, READ, "derived", note=rule[2]))
            elif (
                field == "fp8_tflops"
                and "peak_bf16_flop_per_s" in base
                and device_rules.architecture(me)
                in ("ada", "hopper", "blackwell", "blackwell-ultra", "cdna3", "cdna4")
            ):
                rows.append(
                    Row(
                        me,
                        parameter,
                        2 * float(base["peak_bf16_flop_per_s"].value),
                        unit,
                        source,
                        READ,
                        "derived",
                        note="dense FP8 is twice BF16 on this architecture",
                    )
                )
    return rows


def _peak_note(raw: dict[str, str], field: str) -> str:
    if "accumulate" in raw["notes"] and field in ("fp16_tflops", "bf16_tflops"):
        return "with FP32 accumulation, as training needs"
    if field == "int8_tops" and "INT8" in raw["notes"]:
        return "INT8 is cut on this part: quantise to FP8 or FP4 instead"
    return ""


def _rule(me: str, raw: dict[str, str], field: str) -> tuple[str, float, str] | None:
    """(verified field, factor, note) that gives this peak on this architecture, or None."""
    family = device_rules.architecture(me)
    geforce = raw["class"] == "consumer" and raw["vendor"] == "NVIDIA"
    if geforce and family in ("ampere", "ada", "blackwell-gddr") and field in GEFORCE:
        k = GEFORCE[field]
        return "fp32_tflops", k, GEFORCE_NOTE.format(k=k)
    if (
        raw["vendor"] == "NVIDIA"
        and family in ("ampere", "ada", "blackwell-gddr")
        and raw["class"] in ("workstation", "datacenter")
        and raw["form_factor"].startswith("PCIe")
        and field in FULL_RATE
        and me not in ("l40", "l20", "a10g", "rtx-pro-6000-server")
    ):
        k = FULL_RATE[field] if not (family == "ampere" and field == "int8_tops") else 8
        return "fp32_tflops", k, f"{k} x the FP32 rate: full tensor rate of the professional cards, dense"
    if family == "cdna2" and me.startswith("mi2") and field in CDNA2:
        return "fp32_tflops", 8, "8 x the FP32 vector rate, as on MI250X"
    if family == "turing" and geforce and field == "fp16_tflops" and me == "rtx-2080-ti":
        return "fp32_tflops", 4, "FP32 accumulation: 4 x the FP32 rate on GeForce Turing"
    return None
