"""What a piece of hardware can do with a model: run it, fine-tune it, train it; and the smallest that could.

Every row is a plan of its own, verified by the same planners; nothing here is a rule of thumb.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from statistics import median
from typing import Any

import numpy as np
from msgspec.structs import replace

from outlay.catalog import Catalog, Entry
from outlay.catalog.prices import by_provider
from outlay.derive import value_of
from outlay.errors import OutlayError
from outlay.planner.serve.plan import plan_serve
from outlay.planner.serve.trial import Trial, headroom_bytes, nominal_recipe
from outlay.resolve import Resolved, resolve
from outlay.resolve.fleet import DESKTOP
from outlay.resolve.precision import is_gguf
from outlay.scenario_io import scenario_from

USUAL_LENGTH = 8192  # tokens of a request that users are counted at
WELL_TOKENS_PER_S = 10.0  # about reading speed; slower is waiting
METHODS = ("full", "lora", "qlora")
TUNE_LENGTH = 2048
LENGTHS = tuple(2**n for n in range(9, 21))
_FEW_BITS = ("mxfp4", "int4", "nvfp4")
_SERVER_FORMS = (("vllm", "bf16"), ("vllm", "fp8"), ("vllm", "awq-int4"))
_LOCAL_FORMS = (("llama.cpp", "q8_0"), ("llama.cpp", "q6_k"), ("llama.cpp", "q4_k_m"))
APPLE = "apple"
NO_TRAINER = "fine-tuning on Apple's chips is not planned: the trainers known here have no kernels for them"
_APPLE_FORMS = (("llama.cpp", "bf16"), *_LOCAL_FORMS)  # the usual servers and trainers have no kernels for it
Ways = list[dict[str, Any]]


def fit_model(model: Any, fleet: str, catalog: Catalog) -> dict[str, Any]:
    """Ways to run, fine-tune and train one model on one fleet, best first."""
    device = catalog.find_device(_device_name(fleet), "fleet").entry
    ways = [
        way
        for engine, precision in forms(device, model, catalog)
        if (way := run_way(model, fleet, engine, precision, catalog)) is not None
    ]
    return {
        "fleet": fleet,
        **facts(device, fleet, catalog),
        "parameters": parameters(model, catalog),
        "run": ways,
        "best": best_way(ways),
        "tune": [] if device.value("class", "") == APPLE else tune_ways(model, fleet, catalog),
        "tune_unplanned": NO_TRAINER if device.value("class", "") == APPLE else None,
    }


def parameters(model: Any, catalog: Catalog) -> float:
    """All parameters of the model; raises what is wrong with its name or path."""
    architecture = resolve(scenario_from({"model": model}), catalog).architecture
    assert architecture is not None
    return float(architecture.parameters)


def _device_name(fleet: str) -> str:
    from outlay.units import split_fleet

    return split_fleet(fleet)[1]


def forms(device: Entry, model: Any, catalog: Catalog) -> list[tuple[str, str]]:
    """Engines and precisions people use on such a device; the published precision of the model comes first."""
    if is_gguf(model):
        return [("llama.cpp", "")]
    found = list(_SERVER_FORMS)
    if str(device.value("class", "")) == APPLE:
        return list(_APPLE_FORMS)
    if str(device.value("class", "")) in DESKTOP:
        found = [("vllm", "bf16"), *_LOCAL_FORMS, ("vllm", "awq-int4")]
    if "peak_fp8_flop_per_s" not in device.facts:
        found = [form for form in found if form[1] != "fp8"]
    native = published_in(model, catalog)
    if native is None:
        return found
    if native in _FEW_BITS:  # nothing is gained by widening again
        return [("vllm", native), *_native_local(found, native)]
    return [("vllm", native), *[form for form in found if form[1] not in ("bf16", native)]]


def _native_local(found: list[tuple[str, str]], native: str) -> list[tuple[str, str]]:
    local = any(engine == "llama.cpp" for engine, _ in found)
    return [("llama.cpp", "mxfp4_moe" if native == "mxfp4" else "q4_k_m")] if local else []


def published_in(model: Any, catalog: Catalog) -> str | None:
    """The precision a catalogued model was published in, where that is not 16 bits."""
    known = catalog.get("model", str(model))
    entry = None if known is None else catalog.get("checkpoint", known.id)
    return None if entry is None else str(entry.value("precision"))


def run_way(model: Any, fleet: str, engine: str, precision: str, catalog: Catalog) -> dict[str, Any] | None:
    """One way to run: whether it fits, the longest request, users at the usual length, speed of one stream."""
    length = USUAL_LENGTH
    resolved = _serving(model, fleet, engine, precision, length, catalog)
    if resolved is None or resolved.architecture is None:
        return None
    most = resolved.architecture.max_positions
    if most and most < length:
        length = most
        resolved = _serving(model, fleet, engine, precision, length, catalog)
        assert resolved is not None
    values, _ = plan_serve(resolved, under=False)
    room = values.get("room") or {}
    held = values["max_concurrency"]
    each = room.get("most_sequences_of_max_model_len", 0 if held is None else int(held.value))
    users = each * values["replicas"] if values["fits"] else 0
    return {
        "engine": engine,
        "precision": precision or resolved.serve.recipe.precision if resolved.serve else precision,
        "fits": values["fits"],
        "verdict": values["verdict"],
        "fits_probability": values["fits_probability"],
        "weights_bytes_per_device": values["weights_bytes_per_device"],
        "devices": values["devices_used"] // values["replicas"],
        "replicas": values["replicas"],
        "longest_sequence": room.get("longest_sequence"),
        "length": length,
        "users": users,
        "output_tokens_per_s": values["one_stream"]["output_tokens_per_s"],
    }


def _serving(
    model: Any, fleet: str, engine: str, precision: str, length: int, catalog: Catalog
) -> Resolved | None:
    serve: dict[str, Any] = {"engine": engine, "max_model_len": length}
    own = {"precision": precision} if precision else {}  # a file's own otherwise
    return _resolved({"model": model, "fleet": fleet, "serve": serve | own}, catalog)


def best_way(ways: Ways) -> dict[str, Any] | None:
    """The way of the best precision that fits and is not slow; else the fastest that fits."""
    good = [way for way in ways if way["fits"]]
    well = [way for way in good if way["output_tokens_per_s"].value >= WELL_TOKENS_PER_S]
    if well:
        return well[0]
    return max(good, key=lambda way: way["output_tokens_per_s"].value, default=None)


def tune_ways(model: Any, fleet: str, catalog: Catalog) -> Ways:
    """Fine-tuning by method: whether a step fits, the longest sequence, tokens a second."""
    found = []
    for method in METHODS:
        document = {
            "model": model,
            "fleet": fleet,
            "finetune": {
                "method": method,
                "sequence_length": TUNE_LENGTH,
                "micro_batch": 1,
                "gradient_checkpointing": True,
            },
        }
        resolved = _resolved(document, catalog)
        if resolved is not None:
            found.append({"method": method, **_tuned(resolved)})
    return found


def _tuned(resolved: Resolved) -> dict[str, Any]:
    from outlay.planner.finetune.choose import as_training, choose_tune
    from outlay.planner.pretrain.plan import step_values

    phase: Any = resolved.finetune
    chosen = choose_tune(resolved, phase)
    at = as_training(resolved, phase)
    values = step_values(at, phase.training, chosen.layout)
    return {
        "fits": values["fits"],
        "verdict": values["verdict"],
        "fits_probability": values["fits_probability"],
        "memory_per_device_bytes": values["memory_per_device_bytes"],
        "tokens_per_s": values["tokens_per_s_per_device"],
        "sequence_length": TUNE_LENGTH,
        "longest_sequence": _longest_tuned(phase, resolved, chosen.layout) if values["fits"] else None,
    }


def _longest_tuned(phase: Any, resolved: Resolved, layout: Any) -> int | None:
    """The longest power of two tokens a row that still fits at nominal numbers."""
    from outlay.steps.train.memory import train_memory

    found = None
    limit = value_of(phase.hardware.memory_bytes)
    residual = value_of(phase.training.residual_memory)
    most = resolved.architecture.max_positions if resolved.architecture is not None else 0
    for length in LENGTHS:
        if most and length > most:
            break
        recipe = replace(phase.training.recipe, sequence_length=length)
        memory = train_memory(resolved.architecture, phase.hardware, recipe, layout)  # type: ignore[arg-type]
        if value_of(memory.fullest.memory_per_device_bytes) * residual > limit:
            break
        found = length
    return found



def _resolved(document: Mapping[str, Any], catalog: Catalog) -> Resolved | None:
    """The scenario resolved, or None where these settings cannot be on this hardware."""
    try:
        return resolve(scenario_from(document), catalog)
    except OutlayError as error:
        if error.field.startswith(("serve", "finetune", "pretrain")):
            return None
        raise


def facts(device: Entry, fleet: str, catalog: Catalog) -> dict[str, Any]:
    """Price and power of a fleet, as far as they are known."""
    from outlay.units import split_fleet

    count = split_fleet(fleet)[0]
    rents = by_provider(catalog.prices(device=device.id, kind="on_demand"))
    watts, price = device.value("power_w"), device.value("price_usd")
    return {
        "device": device.id,
        "devices": count,
        "memory_bytes": device.value("memory_bytes"),
        "usd_per_hour": count * median(rents) if rents else None,
        "usd": count * price if price is not None else None,
        "power_w": count * watts if watts is not None else None,
    }


def smallest(model: Any, catalog: Catalog) -> Ways:
    """For each precision the catalogued device with the least memory that runs the model alone."""
    found = []
    devices = sorted(
        _usual_devices(catalog),
        key=lambda e: (float(e.value("memory_bytes")), float(e.value("power_w", 0.0))),
    )
    if not devices:
        return []
    native = published_in(model, catalog)
    small = "mxfp4_moe" if native == "mxfp4" else "q4_k_m"
    own = [("vllm", native)] if native else [("vllm", "bf16"), ("vllm", "fp8")]
    for engine, precision in (*own, ("llama.cpp", small)):
        slots = {"max_num_seqs": 64} if engine == "vllm" else {}
        resolved = _resolved(
            {
                "model": model,
                "fleet": devices[-1].id,
                "serve": {
                    "engine": engine,
                    "precision": precision,
                    "max_model_len": USUAL_LENGTH,
                    "max_num_batched_tokens": 2048,
                    "tensor": 1,
                }
                | slots,
            },
            catalog,
        )
        if resolved is None or resolved.serve is None or resolved.architecture is None:
            continue
        recipe, layout = nominal_recipe(resolved.serve.recipe), resolved.serve.layout
        reserve = value_of(recipe.constant("reserved_bytes"))
        usable = np.array([float(device.value("memory_bytes")) for device in devices]) - reserve
        spare = headroom_bytes(Trial(resolved.architecture, usable, recipe, layout))
        able = [device for device, left, most in zip(devices, spare, usable, strict=True)
                if left > 0.01 * most and _runs(device, precision)]
        if able:
            found.append({"engine": engine, "precision": precision, **facts(able[0], able[0].id, catalog)})
    return found


def _runs(device: Entry, precision: str) -> bool:
    return precision != "fp8" or "peak_fp8_flop_per_s" in device.facts


def _usual_devices(catalog: Catalog) -> Iterator[Entry]:
    """Devices people buy or rent today: those with a price, or current data-centre parts."""
    priced = {p.device for p in catalog.prices(kind="on_demand")}
    for entry in catalog.entries("device"):
        if entry.value("memory_bytes_per_s") and (entry.id in priced or "price_usd" in entry):
            yield entry


def fit_fleet(fleet: str, catalog: Catalog, most: int = 12) -> dict[str, Any]:
    """Without a model: the largest catalogued models that run well on a fleet, one precision each."""
    from outlay.units import split_fleet

    count = split_fleet(fleet)[0]
    device = catalog.find_device(_device_name(fleet), "fleet").entry
    room = count * float(device.value("memory_bytes"))
    rows: Ways = []
    sized = sorted(
        ((float(e.value("parameters", 0.0)), e) for e in catalog.entries("model")), key=lambda p: -p[0]
    )
    for size, entry in sized:
        if "hf_id" not in entry or not 0.05 * room < size * 0.56 < 0.95 * room:
            continue
        ways = [
            run_way(entry.id, fleet, engine, precision, catalog)
            for engine, precision in forms(device, entry.id, catalog)
        ]
        chosen = best_way([way for way in ways if way is not None and way["fits_probability"] >= 0.5])
        if chosen is not None and chosen["output_tokens_per_s"].value >= WELL_TOKENS_PER_S:
            rows.append(
                {
                    "model": entry.id,
                    "parameters": size,
                    "active_parameters": float(entry.value("active_parameters", size)),
                    **chosen,
                }
            )
        if len(rows) >= most:
            break
    return {"fleet": fleet, **facts(device, fleet, catalog), "models": rows}
