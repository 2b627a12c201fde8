"""SGLang: `python -m sglang.launch_server …`, `sglang serve …`, and its YAML configuration."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from outlay.readers.launch.flag_table import Collected, Table, listed, table
from outlay.readers.launch.vllm import adapters, kv_precision, offloaded, weights

_ROWS = """
model-path model | text | model
tensor-parallel-size tp-size tp | int | @tp
pipeline-parallel-size pp-size pp | int | pipeline
data-parallel-size dp-size dp | int | @dp
expert-parallel-size ep-size ep | int | expert
decode-context-parallel-size dcp-size | int | decode_context_parallel
enable-dp-attention | flag | @dp_attention
enable-ep-moe enable-deepep-moe | flag | @ep_moe
context-length | human | max_model_len
mem-fraction-static | real | memory_utilization
max-running-requests | int | max_num_seqs
chunked-prefill-size | int | max_num_batched_tokens
max-prefill-tokens | int | @prefill
quantization | text | @quantization
dtype | text | @dtype
kv-cache-dtype | text | @kv
disable-cuda-graph | flag | enforce_eager
cpu-offload-gb | real | @offload
scheduler-recv-interval | int | hold_steps
speculative-algorithm speculative-algo | text | @algorithm
speculative-num-steps | int | @steps
speculative-num-draft-tokens | int | @draft_tokens
speculative-draft-model-path speculative-draft-model speculative-draft | text | @draft_model
enable-lora | flag | @lora
lora-paths | list | @lora_paths
max-loras-per-batch | int | @max_loras
max-lora-rank | int | @lora_rank
config | value | @config
"""
_DRAFTS = {
    "eagle": "eagle",
    "eagle3": "eagle",
    "nextn": "mtp",
    "mtp": "mtp",
    "standalone": "draft",
    "ngram": "ngram",
    "lookahead": "ngram",
}


@lru_cache(maxsize=1)
def flags() -> Table:
    return listed("sglang.txt") | table(_ROWS)


def finish(c: Collected) -> dict[str, Any]:
    """Scenario parts from the collected flags."""
    serve: dict[str, Any] = {"engine": "sglang"}
    model = c.take("model") or (c.positional.pop(0) if c.positional else None)
    weights(c, serve, model or "", c.take("@quantization"), c.take("@dtype"))
    kv_precision(c, serve, str(c.take("@kv", "auto")))
    _parallel(c, serve)
    _prefill(c)
    speculative = _speculative(c)
    if speculative:
        serve["speculative"] = speculative
    if c.take("@lora_paths"):
        c.values["@lora"] = True
    adapters(c, serve, 8, 16)
    offloaded(c, serve)
    if "memory_utilization" in c.values:
        c.note(
            "serve.memory_utilization",
            c.values["memory_utilization"],
            "SGLang's mem-fraction-static: the share for weights and KV pool, activations apart",
        )
    c.take("@config")
    c.values.setdefault("hold_steps", 1)  # what a line does not say is the engine's default, not that of recipes
    serve.update({k: v for k, v in c.values.items() if not k.startswith("@")})
    c.unknown += [f"{word} (a word without a flag)" for word in c.positional[:20]]
    return {"serve": serve} | ({"model": model} if model else {})


def _parallel(c: Collected, serve: dict[str, Any]) -> None:
    """With data-parallel attention the `dp` ranks share the `tp` devices; without it they are replicas."""
    tensor, data = c.take("@tp", 1), c.take("@dp", 1)
    attention, experts = c.take("@dp_attention"), c.take("@ep_moe")
    if experts and "expert" not in c.values:
        c.values["expert"] = tensor
    if data > 1 and attention and tensor % data == 0:
        serve |= {"tensor": tensor // data, "data": data}
        c.note("serve.data", data, f"enable-dp-attention: {data} attention ranks within {tensor} devices")
        return
    serve["tensor"] = tensor
    if data > 1:
        serve["replicas"] = data
        c.note("serve.replicas", data, "dp without dp-attention: whole copies behind one router")


def _prefill(c: Collected) -> None:
    chunk, prefill = c.values.get("max_num_batched_tokens"), c.take("@prefill")
    if chunk is not None and chunk <= 0:
        c.take("max_num_batched_tokens")
        chunk = None
        if prefill is None:
            c.note("serve.max_num_batched_tokens", "not set", "chunked prefill is off")
    if chunk is None and prefill is not None:
        c.values["max_num_batched_tokens"] = prefill


def _speculative(c: Collected) -> dict[str, Any] | None:
    said, steps = c.take("@algorithm"), c.take("@steps")
    tokens, draft = c.take("@draft_tokens"), c.take("@draft_model")
    if said is None or str(said).lower() == "none":
        return None
    method = _DRAFTS.get(str(said).lower())
    if method is None:
        c.unplanned.append(f"speculative-algorithm {str(said)[:60]}")
        return None
    found: dict[str, Any] = {"method": method}
    if steps or tokens:
        found["tokens"] = steps or max(1, tokens - 1)
    if draft and method in ("draft", "eagle"):
        found["draft_model"] = draft
    return found
