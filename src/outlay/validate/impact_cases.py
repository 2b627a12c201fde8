"""Published power, energy and carbon as scenarios: what a run took, beside what its device-hours predict.

Two tables: node power at the wall of MLPerf Training runs, and the energy that model cards and papers print.
A published value can be wrong; `suspicious` finds such values by physics and arithmetic, never by name, and
they are shown and not scored.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from outlay.validate.case import Case, Outcome
from outlay.valuation import carbon, energy

Row = Mapping[str, str]
TABLES = ("mlperf_power_dell_h100", "published_impacts")
DEVICES = {"H100-SXM-80GB": "h100-sxm5-80gb", "H100-80": "h100-sxm5-80gb", "A100-80": "a100-sxm4-80gb",
           "V100": "v100-sxm2-32gb", "TPUv3": "tpu-v3"}
# What the papers say of these runs beside their energy: parameters and training tokens.
RUNS = {"Llama 2 7B": (6.74e9, 2e12), "Llama 2 13B": (13.02e9, 2e12), "Llama 2 70B": (68.98e9, 2e12),
        "Llama 3.3 70B": (70.55e9, 15e12), "GPT-3 175B": (174.6e9, 300e9), "BLOOM 176B": (176.25e9, 366e9)}
DEVICE_J = "lines.pretrain.training.energy_j.energy_j"
NODE_J = f"{DEVICE_J}+lines.pretrain.host.energy_j.energy_j"


def impact_cases(table: str, rows: Iterable[Row]) -> list[Case]:
    """All cases of one published table. `number` may be a sum of dotted names joined by "+".

    >>> impact_cases("published_impacts", [])
    []
    """
    kept = list(rows)
    if table == "mlperf_power_dell_h100":
        return [_node_power(table, row) for row in kept if row.get("status") == "success"]
    if table != "published_impacts":
        raise ValueError(f"no such table: {table}")
    wrong = set(suspicious(kept))
    return [case for i, row in enumerate(kept) if i not in wrong for case in _published_energy(table, row)]


def _node_power(table: str, row: Row) -> Case:
    """Energy of whole nodes over one run, at their plugs: accelerators and hosts, no switches, no cooling."""
    devices, minutes = int(row["n_gpus"]), float(row["minutes"])
    scenario = {"fleet": {"device": DEVICES[row["gpu"]], "devices": devices}, "site": {"pue": 1.0},
                "pretrain": {"device_hours": devices * minutes / 60}}
    measured = float(row["avg_node_W"]) * int(row["nodes"]) * minutes * 60
    return Case(table, row["source"].rsplit("/", 1)[-1], scenario, NODE_J, measured, "J", row["benchmark"],
                "node power", f"{float(row['avg_node_W']):.0f} W a node, AC")


def _published_energy(table: str, row: Row) -> list[Case]:
    """Energy from device-hours: of accelerators where a card prints hours x rating, else of the facility."""
    device = DEVICES.get(row["hardware"].split(" ")[0])
    partial = "total" in f"{row['model']} {row['phase']}" or row["phase"].endswith("overhead")
    if partial or not (row["gpu_hours"] and row["energy_kwh"] and device):
        return []
    hours, measured = float(row["gpu_hours"]), float(row["energy_kwh"]) * energy.J_PER_KWH
    pretrain: dict[str, Any] = {"device_hours": hours}
    scenario: dict[str, Any] = {"fleet": {"device": device}, "site": {"pue": float(row["pue"] or 1.0)},
                                "pretrain": pretrain}
    if row["model"] in RUNS:
        parameters, pretrain["tokens"] = RUNS[row["model"]]
        scenario["model"] = {"parameters": parameters}
    number = "totals.energy_j" if row["pue"] else DEVICE_J
    name = f"{row['model']}, {row['phase']}"
    cases = [Case(table, name, scenario, number, measured, "J", row["model"], "energy from device-hours",
                  row["scope_note"])]
    if row["power_w_per_gpu"]:
        known = {**scenario, "fleet": {"device": device, "power_w_per_device": float(row["power_w_per_gpu"])}}
        cases.append(Case(table, f"{name}, power given", known, number, measured, "J", row["model"],
                          "energy from device-hours and power", row["scope_note"]))
    return cases


def baseline_j(case: Case, rated_w: float) -> float:
    """What a model card would print: device-hours times rated power."""
    return float(energy.card_energy_j(case.scenario["pretrain"]["device_hours"] * 3600.0, rated_w))


# ---------------------------------------------------------------- published values that cannot be right

def suspicious(rows: Sequence[Row]) -> dict[int, str]:
    """Rows whose printed carbon cannot follow from what is printed with it, by index, with the reason.

    Two general checks: carbon per kilowatt-hour outside what any electricity has, and a total that its listed
    parts do not add up to.
    """
    found: dict[int, str] = {}
    for i, row in enumerate(rows):
        kwh, tonnes = _number(row, "energy_kwh"), _number(row, "co2e_t_location")
        if kwh and tonnes:
            intensity = float(carbon.implied_kg_per_kwh(tonnes * 1000, kwh * energy.J_PER_KWH))
            if not carbon.plausible_intensity(intensity):
                found[i] = f"{1000 * intensity:.1f} g/kWh is outside what electricity can have"
        reason = _total_mismatch(row, rows) if "total" in f"{row['model']} {row['phase']}" else ""
        if reason:
            found[i] = reason
    return found


def _total_mismatch(total: Row, rows: Sequence[Row]) -> str:
    """Why a total does not add up, or nothing when it does or has no listed parts."""
    family = re.sub(r"\s*(family)?\s*total$", "", total["model"])
    parts = [r for r in rows if r is not total and r["model"].startswith(family)
             and "total" not in f"{r['model']} {r['phase']}" and _number(r, "co2e_t_location")]
    printed = _number(total, "co2e_t_location")
    if not parts or not printed:
        return ""
    listed = sum(_number(r, "co2e_t_location") for r in parts)
    embodied = re.search(r"([0-9.]+)\s*embodied", total.get("scope_note") or "")
    listed += _number(total, "embodied_t") or (float(embodied.group(1)) if embodied else 0.0)
    matched = bool(carbon.parts_match(printed, listed))
    return "" if matched else f"printed total {printed:g} t, listed parts {listed:.0f} t"


def _number(row: Row, name: str) -> float:
    try:
        return float(row.get(name) or 0.0)
    except ValueError:
        return 0.0


# ---------------------------------------------------------------- predicting

def predict(case: Case) -> Outcome:
    """The plan of a case's scenario against its measured value; an error is an outcome, not a stop."""
    from outlay.api import plan
    from outlay.catalog import load
    from outlay.derive import add_all
    from outlay.errors import OutlayError

    try:
        result = plan(case.scenario)
        found = add_all(case.number, case.unit, *(result.explain(name) for name in case.number.split("+")))
    except OutlayError as error:
        return Outcome(case, float("nan"), float("nan"), float("nan"), error=f"{error.kind}: {error.message}")
    rated_w = load().find("device", case.scenario["fleet"]["device"]).value("power_w")
    return Outcome(case, found.value, found.low, found.high, baseline_j(case, float(rated_w)))
