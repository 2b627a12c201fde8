"""TensorRT-LLM: `trtllm-serve`, `trtllm-build`, `trtllm-bench` and the extra LLM API options file."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from outlay.readers.launch.flag_table import Collected, Table, human, listed, real, store, table, truth, whole
from outlay.readers.launch.vllm import adapters, kv_precision, weights

_ROWS = """
model model-path checkpoint-dir model-dir engine-dir | text | model
tp-size tp tensor-parallel-size | int | @tp
pp-size pp pipeline-parallel-size | int | pipeline
ep-size ep moe-expert-parallel-size | int | expert
max-batch-size | int | max_num_seqs
max-num-tokens | human | max_num_batched_tokens
max-seq-len max-model-len | human | max_model_len
kv-cache-free-gpu-memory-fraction kv-cache-free-gpu-mem-fraction | real | memory_utilization
free-gpu-memory-fraction | real | memory_utilization
kv-cache-dtype | text | @kv
dtype | text | @dtype
quantization | text | @quantization
enable-attention-dp | flag | @dp_attention
batch-wait-timeout-iters | int | hold_steps
attention-dp-config | json | @balance
enable-lora | flag | @lora
max-loras | int | @max_loras
max-lora-rank | int | @lora_rank
lora-config | json | @lora_config
extra-llm-api-options extra-llm-api-config config | value | @config
kv-cache-config | json | @kv_config
cuda-graph-config | json | @graphs
speculative-config | json | @speculative
quant-config | json | @quant
"""
_DRAFTS = {
    "mtp": "mtp",
    "eagle": "eagle",
    "eagle3": "eagle",
    "ngram": "ngram",
    "drafttarget": "draft",
    "draft_target": "draft",
    "lookahead": "ngram",
}


@lru_cache(maxsize=1)
def flags() -> Table:
    return listed("trtllm.txt") | table(_ROWS)


def finish(c: Collected) -> dict[str, Any]:
    """Scenario parts from the collected flags and options."""
    serve: dict[str, Any] = {"engine": "tensorrt-llm"}
    model = c.take("model") or (c.positional.pop(0) if c.positional else None)
    _quant(c)
    weights(c, serve, model or "", c.take("@quantization"), c.take("@dtype"))
    _kv(c)
    kv_precision(c, serve, str(c.take("@kv", "auto")))
    _lora(c)
    adapters(c, serve, 4, 64)
    tensor = c.take("@tp", 1)
    if c.take("@dp_attention") and tensor > 1:
        serve |= {"tensor": 1, "data": tensor, "gather_steps": _gathered(c)}
        c.note("serve.data", tensor, "enable_attention_dp: each of the tensor ranks attends its own requests")
    else:
        serve["tensor"] = tensor
    c.take("@balance", {})
    if "@graphs" in c.values:
        c.unplanned.append("cuda_graph_config")
        c.take("@graphs")
    speculative = _speculative(c)
    if speculative:
        serve["speculative"] = speculative
    if "memory_utilization" in c.values:
        c.note(
            "serve.memory_utilization",
            c.values["memory_utilization"],
            "TensorRT-LLM's fraction is of the memory free after weights and activations",
        )
    c.take("@config")
    serve.update({k: v for k, v in c.values.items() if not k.startswith("@")})
    c.unknown += [f"{word} (a word without a flag)" for word in c.positional[:20]]
    return {"serve": serve} | ({"model": model} if model else {})


def _gathered(c: Collected) -> int:
    """Steps that prompts wait at most until every attention rank has one: none unless balancing is on, then 50
    (AttentionDpConfig of TensorRT-LLM's LLM API)."""
    given: Mapping[str, Any] = c.take("@balance", {})
    for key in given:
        if key not in ("enable_balance", "timeout_iters"):
            c.unplanned.append(f"attention_dp_config.{str(key)[:60]}")
    if not truth(given.get("enable_balance", False), "attention_dp_config.enable_balance"):
        return 0
    return whole(given.get("timeout_iters", 50), "attention_dp_config.timeout_iters")


def _quant(c: Collected) -> None:
    given: Mapping[str, Any] = c.take("@quant", {})
    algorithms = {
        "fp8": "fp8",
        "nvfp4": "nvfp4",
        "fp8_block_scales": "fp8",
        "w4a16_awq": "awq",
        "w4a16": "int4wo-128",
        "w8a16": "int8",
        "w4a8_awq": "awq",
        "int8": "int8",
        "w4a16_gptq": "gptq",
        "mxfp4": "mxfp4",
    }
    named = algorithms.get(str(given.get("quant_algo", "")).lower())
    if named:
        c.values.setdefault("@quantization", named)
    if given.get("kv_cache_quant_algo"):
        c.values.setdefault("@kv", str(given["kv_cache_quant_algo"]))


def _lora(c: Collected) -> None:
    """Adapters on the device: how many and of which rank (LoraConfig)."""
    given: Mapping[str, Any] = c.take("@lora_config", {})
    if given:
        c.values["@lora"] = True
    for key, value in given.items():
        if key in ("max_loras", "max_lora_rank") and value is not None:
            c.values.setdefault("@max_loras" if key == "max_loras" else "@lora_rank", whole(value, key))
        elif value is not None:
            c.without_effect.append(f"lora_config.{str(key)[:60]}")


def _kv(c: Collected) -> None:
    given: Mapping[str, Any] = c.take("@kv_config", {})
    for key, value in given.items():
        if value is None:
            continue
        if key == "free_gpu_memory_fraction":
            c.values.setdefault("memory_utilization", real(value, key))
        elif key == "dtype":
            c.values.setdefault("@kv", str(value))
        elif key == "enable_block_reuse":
            truth(value, key)
            c.without_effect.append(f"kv_cache_config.{key} {value}")
        elif (spec := flags().get("kv-cache-config." + str(key).replace("_", "-"))) is not None:
            store(spec, f"kv_cache_config.{key}", str(value)[:60], c)
        else:
            c.unknown.append(f"kv_cache_config.{str(key)[:60]}")


def _speculative(c: Collected) -> dict[str, Any] | None:
    given: Mapping[str, Any] = c.take("@speculative", {})
    method = _DRAFTS.get(str(given.get("decoding_type", "")).lower())
    if not given or method is None:
        c.unplanned += ["speculative_config"] * bool(given)
        return None
    found: dict[str, Any] = {"method": method}
    tokens = given.get("num_nextn_predict_layers") or given.get("max_draft_len")
    if tokens:
        found["tokens"] = whole(human(tokens, "max_draft_len"), "max_draft_len")
    draft = given.get("speculative_model_dir") or given.get("speculative_model")
    if isinstance(draft, str) and method in ("draft", "eagle"):
        found["draft_model"] = draft
    return found
