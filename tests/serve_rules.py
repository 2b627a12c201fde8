"""What must hold of the serving phase of any answer: shared by the property tests and the long run by hand."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

TIMES, PERCENTILES = ("ttft", "tpot", "itl", "e2e"), ("p50", "p90", "p99")
KEYS = (
    "fits", "fits_probability", "headroom_bytes", "memory_per_device_bytes", "memory_reserved_bytes",
    "memory_allocated_bytes", "memory_parts", "memory_peak_moment", "stages", "host_memory_bytes",
    "weights_bytes_per_device", "kv_bytes_per_token", "kv_cache_bytes_per_device", "kv_cache_tokens",
    "max_concurrency", "max_num_seqs", "ttft_s", "tpot_s", "itl_s", "e2e_s", "output_tokens_per_s",
    "output_tokens_per_s_per_device", "load", "saturated", "power_w_per_device", "energy_per_output_token_j",
    "usd_per_million_output_tokens", "usd_per_million_input_tokens_allocated",
    "usd_per_million_cached_tokens_allocated", "usd_per_million_output_tokens_allocated", "concurrency", "rate",
    "users", *(f"{name}_{p}_s" for name in TIMES for p in PERCENTILES),
)
WHOLE = ("data", "pretrain", "finetune", "maintain", "life")  # phases whose lines stand beside those of serving


def close(a: float, b: float, within: float = 1e-6) -> bool:
    return math.isclose(a, b, rel_tol=within, abs_tol=1e-9)


def serve_faults(found: Mapping[str, Any]) -> list[str]:
    """Every rule of the serving contract that an answer breaks, in words."""
    serve = found["serve"]
    faults = [f"serve: no {key}" for key in KEYS if key not in serve]
    if faults:
        return faults
    traced = bool((serve.get("replay") or {}).get("own"))
    values = {key: q["value"] for key, q in serve.items() if isinstance(q, Mapping) and "value" in q}
    return [*_memory(serve), *_load(serve, values, traced), *_energy(values, "day" in serve), *_bill(found, values)]


def _memory(serve: Mapping[str, Any]) -> Iterator[str]:
    sums = [(serve["memory_parts"], serve["memory_per_device_bytes"])]
    sums += [(stage["parts"], stage["memory_per_device_bytes"]) for stage in serve["stages"]]
    for parts, whole in sums:
        total = math.fsum(part["value"] for part in parts.values())
        if not close(total, whole["value"]):
            yield f"memory parts add up to {total}, not {whole['value']}"
        yield from (f"memory part {name} is negative" for name, part in parts.items() if part["value"] < 0)
    if not {"framework", "fragmentation"} <= set(serve["memory_parts"]):
        yield "memory_parts without framework or fragmentation"
    if serve["fits"] is False and not ("binding" in serve and "nearest" in serve):
        yield "does not fit, without binding constraint or nearest changes"
    chance = serve["fits_probability"]
    verdict = "borderline" if 0.1 <= chance <= 0.9 else "fits" if chance >= 0.5 else "does not fit"
    if serve["verdict"] != verdict or serve["fits"] is not (chance >= 0.5):
        yield f"{serve['verdict']!r} at a probability of {chance}"


def _load(serve: Mapping[str, Any], values: Mapping[str, float], traced: bool) -> Iterator[str]:
    out, output = values["output_tokens_per_s"], float(serve["output"])
    used = float(serve.get("devices_used", 0.0)) * _held(serve)
    if used and not close(out / used, values["output_tokens_per_s_per_device"]):
        yield "output_tokens_per_s_per_device is not over the devices in use"
    if not close(values["rate"] * output, out):
        yield f"rate x output {values['rate'] * output}, output_tokens_per_s {out}"
    if not 0.0 <= values["load"] <= 1.0 or serve["load"]["high"] > 1.0:
        yield f"a load of {serve['load']}"
    if not close(values.get("offered_load", values["load"]), values["load"]) and values["offered_load"] < 1.0:
        yield f"a load of {values['load']}, offered {values['offered_load']}"
    if serve["sustained"] is False and values["offered_load"] < 1.0:
        yield f"not sustained at a load of {values['load']}"
    if values["rate"] > values["capacity_requests_per_s"] * 1.0001 and values.get("concurrency", 2.0) > 1.0:
        yield f"answers {values['rate']}/s, sustains {values['capacity_requests_per_s']}/s"
    if {"ttft_s", "tpot_s", "e2e_s"} <= set(values):
        # the mean of quotients of requests replayed is no quotient of means
        each = (values["e2e_s"] - values["ttft_s"]) / ((output - 1.0) or 1.0)
        if output > 1 and not traced and not close(each, values["tpot_s"]):
            yield "TPOT is not (E2E - TTFT)/(output - 1)"
        if not close(values["rate"] * values["e2e_s"], values["concurrency"], 0.001):
            yield f"rate x e2e {values['rate'] * values['e2e_s']}, concurrency {values['concurrency']}"
    for name in TIMES:
        marks = [values[f"{name}_{p}_s"] for p in PERCENTILES if f"{name}_{p}_s" in values]
        if sorted(marks) != marks:
            yield f"percentiles of {name} fall: {marks}"


def _held(serve: Mapping[str, Any]) -> float:
    """The part of the devices in use that stands, where replicas come and go."""
    replay = serve.get("replay") or {}
    if "pools" in replay:
        means = {name: own["replicas_mean"]["value"] for name, own in replay["pools"].items()}
        held = sum(count * serve["pools"][name]["devices_per_replica"] for name, count in means.items())
        return float(held / serve["devices_used"])
    mean = replay.get("replicas_mean")
    return 1.0 if mean is None else float(mean["value"] / serve["replicas"])


def _energy(values: Mapping[str, float], hourly: bool) -> Iterator[str]:
    if "energy_per_output_token_j" not in values:
        return
    whole = values["energy_per_output_token_j"]
    parts = math.fsum(values[f"energy_{name}_per_output_token_j"] for name in ("prefill", "decode", "idle"))
    if not close(parts, whole):
        yield f"energy of a token by phase adds up to {parts}, not {whole}"
    per_device = values["power_w_per_device"] / values["output_tokens_per_s_per_device"]
    if not hourly and not close(per_device, whole, 0.001):  # power is that of the busiest hour, energy of them all
        yield "power over tokens is not the energy of a token"


def _bill(found: Mapping[str, Any], values: Mapping[str, float]) -> Iterator[str]:
    counted = (found["scenario"]["serve"].get("workload") or {}).get("requests")
    if counted and "requests" in values and not close(values["requests"], counted):
        yield f"{values['requests']} requests answered of {counted}"
    if "duration_s" not in values or not found["lines"] or any(name in found for name in WHOLE):
        return
    hours = values["duration_s"] * found["scenario"]["fleet"]["devices"] / 3600.0
    if "day" in found["serve"]:
        ways = {way["way"]: way["device_hours"]["value"] for way in found["serve"]["day"]["ways"]}
        hours = ways[found["serve"]["day"]["scaling"]]
    if {"replicas_mean", "pools"} & set(found["serve"].get("replay") or {}):  # what is left over is not held either
        hours = values["duration_s"] * found["serve"]["devices_used"] * _held(found["serve"]) / 3600.0
    billed = found["totals"]["device_hours"]["value"]
    if not close(hours, billed, 0.001):
        yield f"{billed} device-hours billed, {hours} kept"
