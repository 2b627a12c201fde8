"""vLLM: `vllm serve …`, the API server module, and its YAML configuration."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from outlay.readers.launch.flag_table import Collected, Table, listed, mapping, table
from outlay.readers.launch.names import KV, WEIGHTS, gguf_type_in_name, precision_in_name

_ROWS = """
model | text | model
tensor-parallel-size tp | int | tensor
pipeline-parallel-size pp | int | pipeline
data-parallel-size dp | int | data
decode-context-parallel-size dcp | int | decode_context_parallel
enable-expert-parallel ep | flag | @expert
max-model-len | human | max_model_len
gpu-memory-utilization device-memory-utilization | real | memory_utilization
kv-cache-memory-bytes kv-cache-memory | human | kv_cache_bytes_per_device
kv-cache-dtype | text | @kv
quantization q | text | @quantization
dtype | text | @dtype
max-num-seqs | int | max_num_seqs
max-num-batched-tokens | human | max_num_batched_tokens
enforce-eager | flag | enforce_eager
cpu-offload-gb | real | @offload
speculative-config sc | json | @speculative
speculative-model spec-model | text | @draft_model
num-speculative-tokens spec-tokens | int | @draft_tokens
spec-method | text | @draft_method
enable-lora | flag | @lora
max-loras | int | @max_loras
max-lora-rank | int | @lora_rank
config | value | @config
"""
GIB = 2.0**30
_DRAFTS = {
    "mtp": "mtp",
    "deepseek_mtp": "mtp",
    "eagle": "eagle",
    "eagle3": "eagle",
    "ngram": "ngram",
    "draft_model": "draft",
    "medusa": "draft",
    "mlp_speculator": "draft",
    "suffix": "ngram",
}


@lru_cache(maxsize=1)
def flags() -> Table:
    return listed("vllm.txt") | table(_ROWS)


def finish(c: Collected) -> dict[str, Any]:
    """Scenario parts from the collected flags."""
    serve: dict[str, Any] = {"engine": "vllm"}
    model = c.take("model")
    if c.positional and not model:
        model = c.positional.pop(0)
    _precision(c, serve, model or "")
    tensor, data = c.values.get("tensor", 1), c.values.get("data", 1)
    if c.take("@expert"):
        serve["expert"] = tensor * data
        c.note("serve.expert", tensor * data, "--enable-expert-parallel spreads experts over tensor x data ranks")
    if c.values.get("max_model_len", 1) <= 0:
        c.take("max_model_len")
        c.note("serve.max_model_len", "as fits", "auto: the longest that fits is chosen at start")
    speculative = _speculative(c, c.take("@speculative"))
    if speculative:
        serve["speculative"] = speculative
    adapters(c, serve, 1, 16)
    offloaded(c, serve)
    c.take("@config")
    serve.update({k: v for k, v in c.values.items() if not k.startswith("@")})
    c.unknown += [f"{word} (a word without a flag)" for word in c.positional[:20]]
    return {"serve": serve} | ({"model": model} if model else {})


def offloaded(c: Collected, serve: dict[str, Any]) -> None:
    """GiB of each device's weights that stay on the host."""
    size = c.take("@offload")
    if size:
        serve["cpu_offload_bytes_per_device"] = size * GIB


def adapters(c: Collected, serve: dict[str, Any], count: int, rank: int) -> None:
    """LoRA slots; engine defaults where only the switch is given."""
    most, high, on = c.take("@max_loras"), c.take("@lora_rank"), c.take("@lora")
    if not on:
        if most or high:
            c.note("serve.adapters", "none", "adapter sizes are given and adapters are not switched on")
        return
    serve["adapters"] = {"count": most or count, "rank": high or rank}
    if not most or not high:
        c.note("serve.adapters", serve["adapters"], "the engine's defaults where not given")


def _precision(c: Collected, serve: dict[str, Any], model: str) -> None:
    quantization, dtype = c.take("@quantization"), c.take("@dtype")
    weights(c, serve, model, quantization, dtype)
    kv = str(c.take("@kv", "auto"))
    kv_precision(c, serve, kv)


def weights(c: Collected, serve: dict[str, Any], model: str, quantization: str | None, dtype: str | None) -> None:
    """The weights' precision: said by a flag, else by the model's name, else left to the plan."""
    if model.lower().endswith(".gguf"):
        c.note("serve.precision", None, "not set, so that the file's own tensors count")
        return
    named = gguf_type_in_name(model) if "gguf" in model.lower() else precision_in_name(model)
    method = (quantization or "").lower().replace("-", "_")
    if method and method not in ("none", "auto"):
        found = WEIGHTS.get(method) or WEIGHTS.get(method.replace("_", "-"))
        if named and (found is None or named.startswith(found.split("-")[0])):
            found = named  # the name is finer: int8 GPTQ, a GGUF type
        if found is None:
            c.note("serve.precision", method, "this quantisation does not say its bits: give serve.precision")
        else:
            serve["precision"] = found
        return
    kind = WEIGHTS.get((dtype or "auto").lower())
    if named and kind not in ("fp32",):
        serve["precision"] = named
        c.note("serve.precision", named, "from the model's name")
    elif kind:
        serve["precision"] = kind


def kv_precision(c: Collected, serve: dict[str, Any], kv: str) -> None:
    found = KV.get(kv.lower())
    if found:
        serve["kv_precision"] = found
    elif kv.lower() not in ("auto", "none"):
        c.unplanned.append(f"kv-cache-dtype {kv[:60]}")


def _speculative(c: Collected, given: Mapping[str, Any] | None) -> dict[str, Any] | None:
    apart = {
        "model": c.take("@draft_model"),
        "num_speculative_tokens": c.take("@draft_tokens"),
        "method": c.take("@draft_method"),
    }
    if given is None and not (apart["model"] or apart["method"]):
        return None
    raw = {key: value for key, value in apart.items() if value is not None} | dict(given or {})
    found: dict[str, Any] = {}
    model = raw.pop("model", None)
    said = str(raw.pop("method", "") or "").lower()
    method = _DRAFTS.get(said) or ("mtp" if said.endswith("_mtp") else None)
    if method is None:
        method = (
            "ngram"
            if str(model) in ("[ngram]", "ngram")
            else "eagle"
            if "eagle" in str(model).lower()
            else ("draft" if model else "ngram")
        )
        c.note("serve.speculative.method", method, "not stated: judged by the draft model")
    found["method"] = method
    number = raw.pop("num_speculative_tokens", None)
    if isinstance(number, int) and not isinstance(number, bool):
        found["tokens"] = number
    if isinstance(model, str) and method in ("draft", "eagle"):
        found["draft_model"] = model
    c.unplanned += [f"speculative-config {key}" for key in list(raw)[:20]]
    return found


def dotted(words: list[str]) -> list[str]:
    """`--speculative-config.method x` as one JSON object, as vLLM's parser allows.

    >>> dotted(["--speculative-config.num_speculative_tokens", "3"])
    ['--speculative-config', '{"num_speculative_tokens": 3}']
    """
    import json

    out: list[str] = []
    grouped: dict[str, dict[str, Any]] = {}
    at = 0
    while at < len(words):
        name, _, key = words[at].partition(".")
        if words[at].startswith("--") and key and "=" not in name and name[2:].replace("_", "-").endswith("-config"):
            key, equals, value = key.partition("=")
            if not equals:
                at += 1
                value = words[at] if at < len(words) else ""
            try:
                item = json.loads(value) if len(value) < 4000 else value
            except (ValueError, RecursionError):
                item = value
            grouped.setdefault(name, {})[key] = item
        elif words[at].startswith("-O") and len(words[at]) > 2:
            out += ["--compilation-config", words[at][2:].lstrip("=.")]
        else:
            out.append(words[at])
        at += 1
    for name, parts in grouped.items():
        out += [name, json.dumps(parts)]
    return out


def devices(serve: Mapping[str, Any]) -> int:
    """Devices of one replica times replicas."""
    number = 1
    for name in ("tensor", "pipeline", "data", "replicas"):
        size = serve.get(name, 1)
        number *= size if isinstance(size, int) and 0 < size <= 10**6 else 1
    return number


__all__ = ["adapters", "devices", "dotted", "finish", "flags", "kv_precision", "mapping", "offloaded", "weights"]
