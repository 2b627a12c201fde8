"""What would fit when a serving plan does not, and what could grow when it does; every change is planned."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from msgspec.structs import replace

from outlay.physics.kvcache import ELEMENT_BYTES
from outlay.physics.weights import FORMATS
from outlay.planner.serve.trial import Outcome, Trial, headroom_bytes, run, tensor_degrees
from outlay.resolve.precision import precision_part_bytes
from outlay.steps.serve.stream import PACKED

GIB = 2.0**30
Step = tuple[str, Any, Any, str, Trial]
SHORTEST = 512
PROBES = 64  # lengths tried at once
LIGHTER = ("fp8", "awq-int4")
LIGHTER_GGUF = ("q8_0", "q6_k", "q5_k_m", "q4_k_m", "iq4_xs", "q3_k_m", "q2_k")
UTILIZATIONS = (0.92, 0.95, 0.97)
BATCHED = (4096, 2048, 1024, 512)
SEQUENCES = (256, 128, 64, 32)


def changes_that_fit(start: Trial, devices: int) -> list[dict[str, Any]]:
    """Of each kind the mildest step that fits, or a few together when none does alone."""
    before = run(start)
    found = [c for kind in _KINDS if (c := _first(kind, start, before, devices)) is not None]
    if not any(c["kind"] not in ("devices", "host") for c in found):
        found = _together(start, before, devices) + found
    return found


def _first(kind: str, start: Trial, before: Outcome, devices: int) -> dict[str, Any] | None:
    for field, old, new, price, changed in _KINDS[kind](start, devices):
        after = run(changed)
        if after.fits:
            steps = [(field, old, new), *(_degrees(start, changed) if kind == "devices" else ())]
            return _shown(kind, steps, [price], before, after)
    return None


def _degrees(start: Trial, changed: Trial) -> list[tuple[str, Any, Any]]:
    """The degrees that spread a replica over more devices, beside their number."""
    pairs = [
        (name, int(getattr(start.layout, name)), int(getattr(changed.layout, name)))
        for name in ("tensor", "pipeline")
    ]
    return [(f"serve.{name}", old, new) for name, old, new in pairs if old != new]


def _together(start: Trial, before: Outcome, devices: int) -> list[dict[str, Any]]:
    """Steps upon steps on the same devices: of a few short lists, the first that fits."""
    for kinds in _LISTS:
        current, taken = start, list[Step]()
        for kind in kinds:
            options = list(_KINDS[kind](current, devices))
            if options:
                step = next((o for o in options if run(o[-1]).fits), options[-1])
                current, taken = step[-1], [*taken, step]
                after = run(current)
                if after.fits:
                    return [_shown("combined", [t[:3] for t in taken], [t[3] for t in taken], before, after)]
    return []


_LISTS = (
    ("utilization", "sequences"),
    ("utilization", "sequences", "batched"),
    ("tensor", "utilization", "length"),
    ("kv", "length"),
    ("precision", "length"),
    ("precision", "kv", "sequences", "length"),
    ("tensor", "precision", "kv", "sequences", "length"),
)


def _shown(
    kind: str, steps: list[tuple[str, Any, Any]], prices: list[str], before: Outcome, after: Outcome
) -> dict[str, Any]:
    words = ", ".join(f"{field.removeprefix('serve.')} {old} → {new}" for field, old, new in steps)
    gained = after.headroom_bytes - before.headroom_bytes
    return {
        "change": words,
        "kind": kind,
        "set": {field: new for field, _, new in steps},
        "gain": f"{gained / GIB:+.1f} GiB",
        "price": "; ".join(prices),
        "memory_per_device_bytes": after.memory_bytes,
        "freed_bytes": gained,
        "headroom_bytes": after.headroom_bytes,
        "kv_cache_tokens": _whole(after.tokens),
        "max_concurrency": after.concurrency if after.concurrency != float("inf") else None,
    }


def _whole(tokens: float) -> int | None:
    return None if tokens == float("inf") else int(tokens)


def _utilization(start: Trial, devices: int) -> Iterator[Step]:
    own = float(start.recipe.memory_utilization)
    if start.recipe.pool not in ("utilization", "static", "free"):
        return
    for value in UTILIZATIONS:
        changed = replace(start, recipe=replace(start.recipe, memory_utilization=value))
        if value > own and run(changed).memory_bytes <= start.usable_bytes:
            yield "serve.memory_utilization", own, value, "less left for other programs", changed


def _eager(start: Trial, devices: int) -> Iterator[Step]:
    if start.recipe.graphs and start.recipe.constant("graphs_bytes"):
        yield (
            "serve.enforce_eager",
            False,
            True,
            "slower decoding: each kernel is launched by the host",
            replace(start, recipe=replace(start.recipe, graphs=False)),
        )


def _batched(start: Trial, devices: int) -> Iterator[Step]:
    own = int(start.recipe.max_num_batched_tokens)
    for value in BATCHED:
        if value < own and start.recipe.pool != "grows":
            yield (
                "serve.max_num_batched_tokens",
                own,
                value,
                "slower prefill",
                replace(start, recipe=replace(start.recipe, max_num_batched_tokens=float(value))),
            )


def _sequences(start: Trial, devices: int) -> Iterator[Step]:
    if start.recipe.pool == "context":
        yield from _slots(start)
        return
    own = int(start.recipe.max_num_seqs)
    for value in SEQUENCES:
        if value < own and start.recipe.pool in ("utilization", "free"):
            yield (
                "serve.max_num_seqs",
                own,
                value,
                "fewer requests at once",
                replace(start, recipe=replace(start.recipe, max_num_seqs=float(value))),
            )


def _slots(start: Trial) -> Iterator[Step]:
    """Fewer slots, each with a context of its own."""
    own = int(start.recipe.sequences)
    value = own // 2
    while value >= 1 and not start.recipe.shared_cache:
        changed = replace(start, recipe=replace(start.recipe, sequences=float(value)))
        yield "serve.max_num_seqs", own, value, "fewer requests at once", changed
        value //= 2


def _length(start: Trial, devices: int) -> Iterator[Step]:
    own = int(start.recipe.max_model_len)
    fit = longest(start, own)
    if fit is not None and fit < own and start.recipe.pool != "grows":
        yield ("serve.max_model_len", own, fit, "longer requests are refused", _with_length(start, fit))


def _cache(start: Trial, devices: int) -> Iterator[Step]:
    options = ("q8_0", "q4_0") if start.recipe.pool == "context" else ("fp8",)
    for value in options:
        if ELEMENT_BYTES[value] < float(start.recipe.cache_bytes):
            yield (
                "serve.kv_precision",
                start.recipe.cache_precision,
                value,
                "a little quality at long context",
                replace(
                    start,
                    recipe=replace(start.recipe, cache_bytes=ELEMENT_BYTES[value], cache_precision=value),
                ),
            )


def _precision(start: Trial, devices: int) -> Iterator[Step]:
    own = start.recipe.precision
    if start.recipe.layer_bytes or own in PACKED:
        return
    for value in LIGHTER_GGUF if own not in FORMATS else LIGHTER:
        changed = precision_part_bytes(value, start.arch)
        if _mean(changed) < _mean(start.recipe.part_bytes):
            yield (
                "serve.precision",
                own,
                value,
                "some quality",
                replace(start, recipe=replace(start.recipe, part_bytes=changed, precision=value)),
            )


def _mean(parts: Any) -> float:
    return float(parts["mlp"]) + float(parts["experts"]) + float(parts["attention"])


def _tensor(start: Trial, devices: int) -> Iterator[Step]:
    layout = start.layout
    for value in tensor_degrees(start.arch):
        grown = replace(layout, tensor=value)
        if value > int(layout.tensor) and int(grown.devices) <= devices:
            yield (
                "serve.tensor",
                int(layout.tensor),
                value,
                "fewer replicas on the same devices",
                replace(start, layout=grown),
            )


def _host(start: Trial, devices: int) -> Iterator[Step]:
    """So many whole GiB of a device's weights to the host that the rest fits; no more than the device itself holds."""
    recipe = start.recipe
    if not recipe.flag("weights_on_host"):
        return
    own = float(recipe.host_weight_bytes)
    size = GIB * math.ceil((own - run(start).headroom_bytes) / GIB)
    if own < size <= start.usable_bytes:
        yield (
            "serve.cpu_offload_bytes_per_device",
            f"{own / GIB:g}GiB",
            f"{size / GIB:g}GiB",
            "slower: every step reads them over the host's link",
            replace(start, recipe=replace(recipe, host_weight_bytes=size)),
        )


def _devices(start: Trial, devices: int) -> Iterator[Step]:
    layout = start.layout
    if start.recipe.flag("layer_split"):
        for value in range(layout.pipeline + 1, min(9, start.arch.layers) + 1):
            yield (
                "fleet.devices",
                devices,
                value,
                "more devices",
                replace(start, layout=replace(layout, pipeline=value)),
            )
        return
    for value in tensor_degrees(start.arch):
        grown = replace(layout, tensor=value)
        if int(grown.devices) > devices:
            yield "fleet.devices", devices, int(grown.devices), "more devices", replace(start, layout=grown)


_KINDS: dict[str, Callable[[Trial, int], Iterator[Step]]] = {
    "utilization": _utilization,
    "eager": _eager,
    "batched": _batched,
    "sequences": _sequences,
    "length": _length,
    "kv": _cache,
    "tensor": _tensor,
    "precision": _precision,
    "host": _host,
    "devices": _devices,
}


def longest(start: Trial, most: int) -> int | None:
    """The longest max_model_len that fits, to a whole 256 tokens; None when not even a short one does."""
    low, high = SHORTEST, max(SHORTEST, most)
    if not run(_with_length(start, low)).fits:
        return None
    if run(_with_length(start, high)).fits:
        return high
    while high - low > 1:  # what is needed grows with the length, so all up to one length fit and none beyond
        edges = sorted({low + (high - low) * part // PROBES for part in range(PROBES + 1)})
        spare = headroom_bytes(_with_length(start, np.array(edges[1:-1], dtype=float)))
        fitting = int(np.count_nonzero(spare >= 0))
        low, high = edges[fitting], edges[fitting + 1]
    return low // 256 * 256


def _with_length(start: Trial, length: Any) -> Trial:
    length = length if isinstance(length, np.ndarray) else float(length)
    tokens = length if start.recipe.pool == "grows" else start.recipe.sequence_tokens
    return replace(
        start,
        recipe=replace(
            start.recipe, max_model_len=length, sequence_tokens=tokens, needed_tokens=length
        ),
    )


def room_left(start: Trial) -> dict[str, Any]:
    """The longest sequence and the most sequences that would still fit."""
    most = start.arch.max_positions or int(start.recipe.max_model_len)
    found: dict[str, Any] = {"longest_sequence": longest(start, most), "longest_sequence_of_model": most}
    held = run(start).concurrency
    if held != float("inf"):
        found["most_sequences_of_max_model_len"] = int(held)
        lengths = [n for n in (2048, 8192, 32768, 131072) if n <= most]
        found["sequences_at"] = {str(n): int(run(_with_length(start, n)).concurrency) for n in lengths}
    return found
