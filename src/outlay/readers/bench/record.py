"""What one run of a benchmark client says, whichever client wrote it: a small record in SI units.

TPOT is (E2E - TTFT)/(output - 1): clients that call something else so are read by the field that is this.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct, field

TIMES = ("ttft_s", "tpot_s", "itl_s", "e2e_s")
PERCENTILES = ("p50", "p90", "p95", "p99")
APART = 1.5  # a request's own times against one another: beyond it, units or lengths are not what they seem
ENGINES = {"vllm": "vllm", "sglang": "sglang", "srt": "sglang", "trt": "tensorrt-llm", "tensorrt-llm": "tensorrt-llm",
           "llama.cpp": "llama.cpp"}
OPENAI = "openai"  # a client's word for any server of that interface: it names no engine


class Spread(Struct, frozen=True):
    """A time over requests, in seconds; None where the file does not say."""

    mean: float | None = None
    p50: float | None = None
    p90: float | None = None
    p95: float | None = None
    p99: float | None = None


class BenchRun(Struct, frozen=True):
    """One load put on one deployment.

    load: closed (so many always in flight), open (requests/s), queued (all there from the start), trace, or "".
    tokens_a_step is how many tokens a decode step accepts, of speculative decoding. `serve` holds what the file says of
    how the engine ran, in the scenario's words.
    """

    tool: str
    place: str = ""  # which run of its file, where there are several
    engine: str = ""
    model: str = ""
    tokenizer: str = ""  # whose id often says the model where a server has a name of its own for it
    date: str = ""
    load: str = ""
    concurrency: float | None = None
    rate: float | None = None
    arrivals: str = ""
    input_tokens: float | None = None
    output_tokens: float | None = None
    completed: float | None = None
    failed: float | None = None
    duration_s: float | None = None
    times: Mapping[str, Spread] = field(default_factory=dict)
    output_tokens_per_s: float | None = None
    requests_per_s: float | None = None
    in_flight: float | None = None  # requests, mean over the run, as the client counted them
    power_w_per_device: float | None = None
    devices: int | None = None
    device: str = ""  # as its driver names it
    prefix_hit: float | None = None
    tokens_a_step: float | None = None
    serve: Mapping[str, Any] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()  # fields no rule reads
    remarks: tuple[str, ...] = ()

    def seen(self, name: str) -> float | None:
        """ttft_s, ttft_p99_s, output_tokens_per_s … as measured; None where the file does not say."""
        if name in ("output_tokens_per_s", "requests_per_s", "power_w_per_device"):
            value: float | None = getattr(self, name)
            return value
        first, _, rest = name.removesuffix("_s").partition("_")
        spread = self.times.get(f"{first}_s")
        return None if spread is None else getattr(spread, rest or "mean", None)


def scenario_parts(run: BenchRun) -> dict[str, Any]:
    """The scenario a run describes: model, engine and workload, as far as its file says."""
    work: dict[str, Any] = {}
    if run.load == "closed":
        work["concurrency"] = _whole(run.concurrency or 1.0)
    elif run.load == "open":
        work["rate"] = run.rate
        work |= {"arrivals": run.arrivals} if run.arrivals else {}
    elif run.load == "queued":
        work["rate"] = math.inf
    work |= {name: _whole(value) for name, value in
             (("input", run.input_tokens), ("output", run.output_tokens), ("requests", run.completed)) if value}
    serve: dict[str, Any] = {**({"engine": run.engine} if run.engine else {}), **run.serve}
    if run.engine == "sglang":
        serve.setdefault("hold_steps", 1)  # of one's own server, where nothing is said, the engine's default
    if run.prefix_hit is not None:
        serve["prefix_cache_hit"] = run.prefix_hit
    return {**({"model": run.model} if run.model else {}), "serve": {**serve, "workload": work}}


def engine_of(backend: Any) -> str:
    """The engine behind a client's back end; "" where its word is for any server of one interface.

    >>> engine_of("sglang-oai-chat"), engine_of("vllm"), engine_of("openai-chat")
    ('sglang', 'vllm', '')
    """
    name = str(backend).lower()
    found = [engine for start, engine in ENGINES.items() if name == start or name.startswith(start + "-")]
    return found[0] if found else ""


def amount(value: Any, factor: float = 1.0, least: float = 0.0) -> float | None:
    """A number above `least` in SI units; None for what is no finite number, as clients print for what they lack.

    >>> amount(45.0, 1e-3), amount("8"), amount(0.0), amount(float("nan")), amount(True)
    (0.045, 8.0, None, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, str)) or len(str(value)) > 40:
        return None
    try:
        number = float(value) * factor
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) and number > least else None


def count_of(value: Any) -> int | None:
    """A whole number of at least one."""
    number = amount(value)
    return int(number) if number is not None and number == int(number) and number < 1e9 else None


def over(total: float | None, count: float | None) -> float | None:
    """A mean from a total; None where either is missing, or too far apart to be a number.

    >>> over(10.0, 4.0), over(1e300, 1e-300)
    (2.5, None)
    """
    mean = total / count if total is not None and count else None
    return mean if mean is not None and math.isfinite(mean) else None


def mapping(value: Any) -> Mapping[str, Any]:
    """A nested mapping, or an empty one."""
    return value if isinstance(value, Mapping) else {}


def text(value: Any, most: int = 200) -> str:
    """A short text, or nothing."""
    return value.strip()[:most] if isinstance(value, str) and value.isprintable() else ""


def not_read(given: Mapping[str, Any], known: Iterable[str]) -> tuple[str, ...]:
    """Names of fields that no rule reads."""
    names = frozenset(known)
    return tuple(sorted(str(key)[:60] for key in given if str(key) not in names))


NOBODY = "no request was answered"


def unanswered(answered: Any, failed: float | None) -> str:
    """What to say of a run whose count of answered requests is zero; nothing of others.

    >>> unanswered(0, 8.0), unanswered(8, None), unanswered(None, None)
    ('no request was answered, 8 failed', '', '')
    """
    if isinstance(answered, bool) or not isinstance(answered, (int, float)) or answered != 0:
        return ""
    return NOBODY + (f", {failed:,.0f} failed" if failed else "")


def doubts(run: BenchRun) -> tuple[str, ...]:
    """What does not agree within one run: its times with one another, its requests with those that failed."""
    found = []
    first, token, whole = (run.seen(f"{name}_s") for name in ("ttft", "tpot", "e2e"))
    if first and token and whole and run.output_tokens and run.output_tokens > 1:
        added = first + token * (run.output_tokens - 1.0)
        if not 1.0 / APART <= whole / added <= APART:
            found.append(f"a request took {whole:.3g} s, its first token and the others add up to {added:.3g} s: "
                         "the file's units or lengths are not what they seem")
    if run.failed and run.completed:
        share = run.failed / (run.failed + run.completed)
        if share > 0.01:
            found.append(f"{run.failed:,.0f} of {run.failed + run.completed:,.0f} requests failed: "
                         "what was measured is of a lighter load")
    return tuple(found)


def _whole(value: float) -> float | int:
    return int(value) if value == int(value) else value
