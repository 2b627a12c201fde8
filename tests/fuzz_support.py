"""What must hold of any answer, and the values strangers write: shared by the fuzz test and the long run by hand."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace
from typing import Any

serve_rules = SimpleNamespace(**run_path(str(Path(__file__).with_name("serve_rules.py"))))
KINDS = {"unknown_name", "bad_value", "bad_unit", "unknown_field", "inconsistent", "unreadable", "unsupported"}
RELATIVE = 1e-6
Q_KEYS = {"value", "low", "high", "unit"}

WRONG_VALUES: tuple[Any, ...] = (
    -1, 0, 1, 2, 3, 7, 0.5, 1e-300, -0.0, 1e308, 10**30, -(10**30), 10**400, 2**63, True, False, None, "", " ", "x",
    "NaN", "inf", "-5", "80GB", "3 parsecs", "15T", "2h", "1e400", "90%", "$3", "fp8", "none", "all",
    "\u0000", "日本語", "🦙" * 50, "x" * 10_000, "../../etc/passwd",
    [], [1], [[]], {}, {"a": 1}, {"value": 3}, [None], {"": ""}, "1,000", "0x10", "1_000", "٣",
)


def answer(scenario: Any) -> dict[str, Any]:
    """One batch line, as text, through the batch's own reader and writer."""
    from outlay.cli.batch import answer_one, to_line

    line = json.dumps(scenario).encode()
    found: dict[str, Any] = json.loads(to_line(answer_one(line, {})), parse_constant=_constant)
    return found


def _constant(name: str) -> float:
    raise AssertionError(f"{name} in an answer")


def quantities(value: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every Q of an answer, with its path."""
    if isinstance(value, Mapping):
        if set(value) == Q_KEYS:
            yield path, dict(value)
            return
        for key, inner in value.items():
            yield from quantities(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from quantities(inner, f"{path}.{index}")


def error_faults(error: Mapping[str, Any]) -> list[str]:
    """What is wrong with an error answer itself."""
    faults = []
    if set(error) != {"kind", "message", "field"}:
        faults.append(f"error keys {sorted(error)}")
    if error.get("kind") not in KINDS:
        faults.append(f"error kind {error.get('kind')}: {error.get('message')}")
    message = str(error.get("message"))
    if len(message) > 1000:
        faults.append(f"a message of {len(message)} characters")
    if not message.strip():
        faults.append("an empty message")
    return faults


def faults_of(found: Mapping[str, Any]) -> list[str]:
    """Every rule of the contract that an answer breaks, in words; none for a good answer."""
    if "error" in found:
        return error_faults(found["error"])
    faults = [f"{p}: low {q['low']} value {q['value']} high {q['high']}" for p, q in quantities(found)
              if not _ordered(q)]
    for key in ("outlay", "catalog", "scenario", "model", "lines", "totals", "assumptions", "warnings"):
        if key not in found:
            faults.append(f"no {key}")
    for name in ("pretrain", "finetune"):
        if found.get(name) is not None:
            faults += [f"{name}: {fault}" for fault in _phase_faults(found[name])]
    if found.get("serve"):
        faults += serve_rules.serve_faults(found)
    if found.get("life"):
        faults += _life_faults(found["life"], found["totals"])
    return faults + _sign_faults(found) + _total_faults(found)


def _sign_faults(found: Mapping[str, Any]) -> list[str]:
    """Nothing physical is below zero; money may be, where something is sold again."""
    return [f"{path} is negative: {q['low']}" for path, q in quantities({k: v for k, v in found.items()
                                                                         if k not in ("scenario", "assumptions")})
            if _ordered(q) and q["low"] < 0 and q["unit"] != "USD" and "headroom" not in path and "short" not in path]


def _life_faults(life: Mapping[str, Any], totals: Mapping[str, Any]) -> list[str]:
    """Months, years, phases and items are the total, of every measure."""
    faults = []
    groups = {"months": life["months"], "years": life["by_year"], "phases": list(life["by_phase"].values()),
              "items": life["by_item"]}
    for measure in ("usd", "energy_j", "co2e_kg", "water_l", "device_hours"):
        for name, rows in groups.items():
            values = [row[measure] for row in rows if row.get(measure) is not None]
            if totals.get(measure) is None or len(values) < len(rows):
                continue
            total = math.fsum(v["value"] if isinstance(v, Mapping) else v for v in values)
            if not math.isclose(total, totals[measure]["value"], rel_tol=RELATIVE, abs_tol=1e-9):
                faults.append(f"life: {measure} of the {name} add up to {total}, not {totals[measure]['value']}")
    return faults


def _ordered(q: Mapping[str, Any]) -> bool:
    numbers = [q["low"], q["value"], q["high"]]
    if not all(isinstance(n, (int, float)) and not isinstance(n, bool) and math.isfinite(n) for n in numbers):
        return False
    return bool(numbers[0] <= numbers[1] <= numbers[2])


def _phase_faults(phase: Mapping[str, Any]) -> list[str]:
    faults: list[str] = []

    def adds_up(parts: Mapping[str, Any], whole: Mapping[str, Any], name: str) -> None:
        total = math.fsum(part["value"] for part in parts.values())
        if not math.isclose(total, whole["value"], rel_tol=RELATIVE, abs_tol=1e-9):
            faults.append(f"{name} add up to {total}, not {whole['value']}")
        faults.extend(f"{name}.{k} is negative: {v['value']}" for k, v in parts.items() if v["value"] < 0)

    for parts, whole in (("memory_parts", "memory_per_device_bytes"), ("time_parts", "step_time_s"),
                         ("elapsed_parts", "elapsed_s")):
        if parts in phase:
            adds_up(phase[parts], phase[whole], parts)
    for index, stage in enumerate(phase.get("stages", ())):
        adds_up(stage["parts"], stage["memory_per_device_bytes"], f"stages.{index}.parts")
    if phase.get("stages"):
        fullest = max(s["memory_per_device_bytes"]["value"] for s in phase["stages"])
        other = phase.get("memory_peak_moment") in ("rollout", "load", "save")  # stages are those of a step
        if not other and not math.isclose(fullest, phase["memory_per_device_bytes"]["value"], rel_tol=RELATIVE):
            faults.append("the headline memory is not the fullest stage")
        levels = [phase[f"memory_{name}_bytes"]["value"] for name in ("allocated", "reserved", "per_device")]
        if not levels[0] <= levels[1] * (1 + RELATIVE) or not levels[1] <= levels[2] * (1 + RELATIVE):
            faults.append("allocated <= reserved <= per device does not hold")
    if phase.get("fits") is False and ("binding" not in phase or "nearest" not in phase):
        faults.append("does not fit, without binding constraint or nearest changes")
    if "model_flops_utilization" in phase and not 0 < phase["model_flops_utilization"]["value"] <= 1:
        faults.append(f"model_flops_utilization {phase['model_flops_utilization']['value']}")
    if "goodput" in phase and not 0 < phase["goodput"]["value"] <= 1:
        faults.append(f"goodput {phase['goodput']['value']}")
    return faults


def _total_faults(found: Mapping[str, Any]) -> list[str]:
    faults = []
    lines, totals = found["lines"], found["totals"]
    for name in ("usd", "energy_j", "co2e_kg", "water_l", "co2e_operational_kg", "co2e_embodied_kg"):
        values = [line[name] for line in lines]
        if name not in totals:
            if lines:
                faults.append(f"totals has no {name}")
        elif totals[name] is not None and None not in values:
            total = math.fsum(v["value"] for v in values)
            if not math.isclose(total, totals[name]["value"], rel_tol=RELATIVE, abs_tol=1e-9):
                faults.append(f"lines' {name} add up to {total}, not {totals[name]['value']}")
        elif totals[name] is not None and values and all(v is None for v in values):
            faults.append(f"totals.{name} where every line is null")
    hours = found.get("pretrain", {}).get("device_hours")
    plain = not any(line["item"] == "experiments" or line["phase"] != "pretrain" for line in lines)
    if lines and plain and hours and not math.isclose(hours["value"], totals["device_hours"]["value"],
                                                      rel_tol=RELATIVE):
        faults.append(f"device_hours {hours['value']} in the phase, {totals['device_hours']['value']} in totals")
    return faults
