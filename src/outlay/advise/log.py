"""A serving engine's start-up log beside the plan of what it says it runs: expected and seen, line by line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from outlay.derive import Quantity, value_of
from outlay.readers.log.file import LogReading, Observation
from outlay.result import Result

Number = Quantity | float | None
_HOST = ("CPU", "HOST")  # llama.cpp's names of what is not on a device
# What the engines take out of, or give to, the room of the cache before they size it; graphs come after.
SHARES = {"usable": 1, "weights": -1, "activations": -1, "outside": -1}


class Row(Struct, frozen=True):
    """One thing that both the log and the plan say. `off` is how far the plan is from the log, as a share of it."""

    name: str
    label: str
    unit: str
    expected: Quantity | float
    seen: float
    line: int
    rank: str = ""
    given: bool = False  # the log's own setting, which the plan was given

    @property
    def difference(self) -> float:
        return value_of(self.expected) - self.seen

    @property
    def off(self) -> float | None:
        return self.difference / self.seen if self.seen else None

    def to_dict(self) -> dict[str, Any]:
        expected = self.expected.to_dict() if isinstance(self.expected, Quantity) else self.expected
        return {"name": self.name, "label": self.label, "unit": self.unit, "expected": expected, "seen": self.seen,
                "line": self.line, "rank": self.rank, "off": self.off, "given": self.given,
                "moves_cache_bytes": SHARES[self.name] * self.difference if self.name in SHARES else None}


class Comparison(Struct, frozen=True):
    """The rows, and what else the log says that a plan cannot be held against."""

    engine: str
    version: str
    rows: tuple[Row, ...]
    failed: str = ""  # why the engine did not start, where the log says so

    def row(self, name: str) -> Row | None:
        return next((row for row in self.rows if row.name == name), None)

    @property
    def most(self) -> Row | None:
        """The part whose difference moves the room for the cache most; any other row where there is none."""
        parts = [row for row in self.rows if row.name in SHARES]
        if parts:
            return max(parts, key=lambda row: abs(row.difference))
        rest = [row for row in self.rows if row.off is not None and not row.given]
        return max(rest, key=lambda row: abs(row.off or 0.0), default=None)

    @property
    def unexplained_bytes(self) -> float | None:
        """Of the cache's difference, what no part that both sides name accounts for."""
        pool = self.row("kv_cache")
        if pool is None or self.engine == "llama.cpp":  # whose cache is as long as asked for, not what is left
            return None
        return pool.difference - sum(SHARES[row.name] * row.difference for row in self.rows if row.name in SHARES)


def compare_log(reading: LogReading, result: Result) -> Comparison:
    """What the log says beside what the plan of the same scenario says, in the order an engine starts."""
    phase = result.phases["serve"]
    serve = result.scenario.get("serve") or {}
    rows: list[Row] = []
    for name, label, unit, expected, seen in _PAIRS:
        found, value = seen(reading), expected(phase, serve)
        if found is None or value is None or not isinstance(found.value, float):
            continue
        given = name in ("max_model_len", "max_num_batched_tokens", "max_num_seqs", "memory_utilization")
        rows.append(Row(name, label, unit, value, found.value, found.line, found.rank, given))
    return Comparison(reading.engine, reading.version, tuple(rows), _failure(reading))


def _failure(reading: LogReading) -> str:
    """Why it did not start, in the log's own terms."""
    needed, longest = reading.first("kv_needed_bytes"), reading.first("longest_that_fits")
    if needed is not None and isinstance(needed.value, float):
        most = f"; up to {longest.value:,.0f} tokens would" if longest and isinstance(longest.value, float) else ""
        return (f"line {needed.line}: the longest request needs {needed.value / 2**30:.2f} GiB of cache and does not "
                f"find them{most}")
    memory = reading.first("out_of_memory")
    return f"line {memory.line}: the engine ran out of memory" if memory else ""



def _fullest(*names: str) -> Callable[[LogReading], Observation | None]:
    """The last that each rank says under the first of these names found; of these, the fullest device's."""

    def find(reading: LogReading) -> Observation | None:
        for name in names:
            last = {o.rank: o for o in reading.all(name)
                    if isinstance(o.value, float) and not o.rank.upper().startswith(_HOST) and "_Host" not in o.rank}
            if last:
                ranked = [o for rank, o in last.items() if rank] or list(last.values())
                return max(ranked, key=lambda o: (o.value if isinstance(o.value, float) else 0.0, -o.line))
        return None

    return find


def _graphs(reading: LogReading) -> Observation | None:
    """Graphs of decoding, and of prefill where an engine captures and prints them apart."""
    decode, prefill = _fullest("cuda_graph_bytes")(reading), _fullest("cuda_graph_prefill_bytes")(reading)
    if decode is None or prefill is None:
        return decode or prefill
    assert isinstance(decode.value, float) and isinstance(prefill.value, float)
    return Observation("cuda_graph_bytes", decode.value + prefill.value, "bytes", decode.line, decode.rank)


def _stated(name: str) -> Callable[[LogReading], Observation | None]:
    """The first that the log says in words, else in its settings."""

    def find(reading: LogReading) -> Observation | None:
        return reading.first(name) or reading.first(f"setting.{name}")

    return find


def _tokens(reading: LogReading) -> Observation | None:
    """Tokens in the cache; where only blocks are printed, blocks of the size the log says, or of sixteen."""
    said = [o for o in reading.all("kv_cache_tokens") if isinstance(o.value, float)]
    if said:
        return said[-1]
    blocks, size = reading.first("kv_blocks"), reading.first("block_size")
    if blocks is None or not isinstance(blocks.value, float) or reading.engine != "vllm":
        return None
    tokens = blocks.value * (size.value if size is not None and isinstance(size.value, float) else 16.0)
    return Observation("kv_cache_tokens", tokens, "tokens", blocks.line, blocks.rank)


def _a_token(reading: LogReading) -> Observation | None:
    """Bytes of the cache that a token takes on a device: the pool over its tokens."""
    pool, tokens = _fullest("kv_cache_bytes")(reading), _tokens(reading)
    if pool is None or tokens is None or not isinstance(pool.value, float) or not isinstance(tokens.value, float):
        return None
    return Observation("a_token", pool.value / tokens.value, "bytes", tokens.line) if tokens.value else None


def _of(name: str) -> Callable[[Mapping[str, Any], Mapping[str, Any]], Number]:
    return lambda phase, serve: phase.get(name)


def _part(name: str) -> Callable[[Mapping[str, Any], Mapping[str, Any]], Number]:
    return lambda phase, serve: (phase.get("memory_parts") or {}).get(name)


def _setting(name: str) -> Callable[[Mapping[str, Any], Mapping[str, Any]], Number]:
    def find(phase: Mapping[str, Any], serve: Mapping[str, Any]) -> Number:
        value = serve.get(name, phase.get(name))
        return float(value) if isinstance(value, (int, float)) else None

    return find


def _outside(phase: Mapping[str, Any], serve: Mapping[str, Any]) -> Number:
    """Communicators and what else the engine allocates outside its framework, without the driver's context."""
    parts = phase.get("memory_parts") or {}
    among = parts.get("framework")
    other = [q for q in among.inputs if q.label == "non torch bytes"] if isinstance(among, Quantity) else []
    return sum((value_of(q) for q in [parts.get("communication") or 0.0, *other]), 0.0)


def _usable(phase: Mapping[str, Any], serve: Mapping[str, Any]) -> Number:
    share, size = serve.get("memory_utilization"), phase.get("device_memory_bytes")
    return None if share is None or size is None else float(share) * value_of(size)


def _expected_token(phase: Mapping[str, Any], serve: Mapping[str, Any]) -> Number:
    pool, tokens = phase.get("kv_cache_bytes_per_device"), phase.get("kv_cache_tokens")
    if pool is None or tokens is None or not value_of(tokens):
        return None
    return value_of(pool) / value_of(tokens)


_PAIRS: tuple[tuple[str, str, str, Callable[[Mapping[str, Any], Mapping[str, Any]], Number],
                    Callable[[LogReading], Observation | None]], ...] = (
    ("device_memory", "device memory", "B", _of("device_memory_bytes"), _fullest("device_memory_bytes")),
    ("memory_utilization", "share the engine may use", "", _setting("memory_utilization"),
     _stated("memory_utilization")),
    ("usable", "memory it may use", "B", _usable, _fullest("usable_bytes")),
    ("max_model_len", "longest request", "tokens", _setting("max_model_len"), _stated("max_model_len")),
    ("max_num_batched_tokens", "tokens of a step, at most", "tokens", _setting("max_num_batched_tokens"),
     _stated("max_num_batched_tokens")),
    ("max_num_seqs", "requests at once, at most", "", _setting("max_num_seqs"), _stated("max_num_seqs")),
    ("weights", "weights", "B", _of("weights_bytes_per_device"), _fullest("weights_bytes")),
    ("activations", "activations, peak", "B", _part("activations"),
     _fullest("activation_peak_bytes", "compute_bytes")),
    ("outside", "outside the framework", "B", _outside, _fullest("non_torch_bytes")),
    ("cuda_graphs", "CUDA graphs", "B", _part("cuda_graphs"), _graphs),
    ("kv_cache", "KV cache", "B", _of("kv_cache_bytes_per_device"), _fullest("kv_cache_bytes", "context_bytes")),
    ("a_token", "KV cache of a token, a device", "bytes", _expected_token, _a_token),
    ("kv_cache_tokens", "tokens in the KV cache", "tokens", _of("kv_cache_tokens"), _tokens),
    ("max_concurrency", "longest requests at once", "", _of("max_concurrency"), _stated("max_concurrency")),
)
