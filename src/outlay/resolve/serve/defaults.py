"""Lengths, batches and share of the device of a serving phase: given, else the engine's defaults."""

from __future__ import annotations

from typing import Any

from outlay.architecture import Architecture
from outlay.errors import Inconsistent
from outlay.resolve.engines import Engine
from outlay.resolve.lengths import parse_lengths
from outlay.resolve.notes import Notes
from outlay.scenario import Serve

PATH = "serve."
_UNKNOWN_LENGTH = 8192
STARTS_WITH_LESS = (
    "static",
    "free",
)  # SGLang and TensorRT-LLM refuse what is too long instead of not starting
STARTING_TOKENS = 4096.0


def serve_length(given: Serve, arch: Architecture, notes: Notes, shown: dict[str, Any]) -> int:
    """The longest sequence served: given, or all the model can and no less than the workload needs."""
    length = given.max_model_len
    if length is None:
        length = arch.max_positions or _UNKNOWN_LENGTH
        why = "the longest the model was made for" if arch.max_positions else "the model's limit is not known"
        work = given.workload
        asked = (mean_length(work.input), mean_length(work.output, PATH + "workload.output")) if work else ()
        needed = int(sum(tokens or 0 for tokens in asked))
        if needed > length:
            length, why = needed, "input and output of the workload"
            notes.warn(f"serve.workload: {needed} tokens are more than the {arch.max_positions} of the model")
        notes.assume(PATH + "max_model_len", length, why)
    elif arch.max_positions and length > arch.max_positions:
        notes.warn(
            f"serve.max_model_len: {length} is more than the {arch.max_positions} the model was made for"
        )
    shown["max_model_len"] = int(length)
    return int(length)


def sequences_at_hand(given: Serve, length: int) -> tuple[int, float, float]:
    """Sequences held at once, tokens of each at its end, and of its prompt."""
    work = given.workload
    if work is None:
        return 1, float(length), float(length)
    sequences = int(work.batch or work.concurrency or 1)
    prompt = mean_length(work.input)
    output = mean_length(work.output, PATH + "workload.output")
    if prompt is None and output is None:
        return sequences, float(length), float(length)
    tokens = (prompt or 0.0) + (output or 0.0)
    if tokens > length and given.max_model_len is not None:
        raise Inconsistent(
            f"serve.workload: input and output are {tokens:g} tokens together, longer than "
            f"serve.max_model_len {length}",
            "serve.max_model_len",
        )
    return sequences, tokens, prompt or 1.0


def needed_tokens(given: Serve, pool: str, tokens: float, length: int) -> float:
    """Tokens of the one request the cache must hold: the longest, unless the engine starts with less."""
    if pool not in STARTS_WITH_LESS or given.max_model_len is not None:
        return float(length)
    return min(float(length), tokens if given.workload is not None else STARTING_TOKENS)


def mean_length(length: Any, field: str = "serve.workload.input") -> float | None:
    """The mean of a length or a distribution of lengths."""
    return None if length is None else parse_lengths(length, field).mean


def batching(
    given: Serve,
    engine: Engine,
    memory_bytes: float,
    device: str,
    length: int,
    sequences: int,
    prompt: float,
    notes: Notes,
    shown: dict[str, Any],
) -> tuple[float, float]:
    """Tokens of one step and sequences that may run at once."""
    large = engine.number("large_from_bytes", float("inf")) <= memory_bytes and "a100" not in device
    grows = engine.text("pool") == "grows"

    def default(name: str) -> float:
        stepped = engine.by_memory(name, memory_bytes)
        if stepped is not None:
            return stepped
        return (
            engine.number(name + "_large")
            if large and name + "_large" in engine.facts
            else engine.number(name, 1.0)
        )

    context = engine.text("pool") == "context"  # slots are allocated at start: no fewer than are asked for
    chosen = sequences if grows else max(default("max_num_seqs"), sequences if context else 0)
    seqs = float(given.max_num_seqs or chosen)
    batched = given.max_num_batched_tokens
    tokens = float(batched or default("max_num_batched_tokens"))
    if batched is None and length <= engine.number("batched_is_length_to"):
        tokens = float(length)
    if batched is None and grows:
        tokens = max(prompt * sequences, 1.0)
    for name, value, own in (
        ("max_num_seqs", seqs, given.max_num_seqs),
        ("max_num_batched_tokens", tokens, batched),
    ):
        if own is None:
            notes.assume(
                PATH + name,
                int(value),
                f"{engine.name}'s default on this device"
                if not grows
                else "the sequences at hand run together, prompts whole",
                engine.source(name),
            )
        shown[name] = int(value)
    return tokens, seqs


def captured(engine: Engine, memory_bytes: float, seqs: float) -> float:
    """Sequences an engine keeps memory ready for: of its largest graph where it runs more without one."""
    if "largest_graph" not in engine.facts:
        return seqs
    return min(seqs, engine.by_memory("largest_graph", memory_bytes) or engine.number("largest_graph"))


def shares_cache(given: Serve, engine: Engine, notes: Notes, shown: dict[str, Any]) -> bool:
    """Whether all slots share one context; only an engine that allocates contexts can be asked to."""
    if engine.text("pool") != "context":
        if given.kv_unified is not None:
            raise Inconsistent(
                f"serve.kv_unified: {engine.name} keeps its cache in blocks that all requests share; leave it out",
                "serve.kv_unified",
            )
        return False
    if given.kv_unified is not None:
        return given.kv_unified
    # slots asked for by number have a context each, the engine's own number shares one
    shared = bool(engine.number("kv_unified")) and given.max_num_seqs is None
    why = (
        "the slots share one cache of max_model_len tokens, unless their number is given"
        if shared
        else "every slot has its own cache of max_model_len tokens"
    )
    notes.assume(PATH + "kv_unified", shared, why, engine.source("kv_unified"))
    shown["kv_unified"] = shared
    return shared


def memory_share(
    given: Serve,
    engine: Engine,
    memory_bytes: float,
    batched: float,
    seqs: float,
    notes: Notes,
    shown: dict[str, Any],
) -> float:
    """The share of the device the engine may use, in its own sense of the word."""
    if given.memory_utilization is not None:
        if engine.text("pool") in ("context", "grows"):
            notes.assume(
                PATH + "memory_utilization",
                given.memory_utilization,
                f"{engine.name} has no such setting: it takes what it needs",
            )
        return float(given.memory_utilization)
    if engine.text("pool") == "static":
        value = _static_fraction(
            engine, memory_bytes, batched, seqs, int(given.tensor or 1) * int(given.pipeline or 1)
        )
    elif "memory_utilization" in engine.facts:
        value = engine.number("memory_utilization")
    else:
        return 1.0
    notes.assume(PATH + "memory_utilization", value, f"{engine.name}'s default", engine.source("pool"))
    shown["memory_utilization"] = value
    return value


def _static_fraction(engine: Engine, memory_bytes: float, batched: float, seqs: float, ranks: int) -> float:
    """What SGLang leaves for weights and cache when it is not told."""
    left = (
        engine.number("static_reserve_bytes")
        + max(batched, 2048.0) * engine.number("static_token_bytes")
        + seqs * engine.number("static_graph_bytes")
        + ranks * engine.number("static_rank_bytes")
    )
    if memory_bytes > 60 * 2**30:
        left = max(left, engine.number("static_large_bytes"))
    return round((memory_bytes - left) / memory_bytes, 3)
