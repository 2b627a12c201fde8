"""A serving plan as the words that start it: vLLM, SGLang, TensorRT-LLM, llama.cpp.

The readers of launch lines read back what is written here (a test holds it), so a line can be planned again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from outlay.planner.serve.launch_more import beside, offloaded, sglang_drafts, trtllm_drafts, vllm_drafts
from outlay.resolve.engines import version_of

Words = list[str]
Serve = Mapping[str, Any]

ONLINE = ("fp8",)  # precisions an engine makes of a 16-bit checkpoint while loading
WIDE = ("bf16", "fp16", "fp32")
DTYPES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}
KV_ROLES = {"prefill": "kv_producer", "decode": "kv_consumer"}
LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # that vLLM takes (vllm/config/lora.py)
KEPT_APART = (0, 11)  # of vLLM, from which the cache's bytes can be told


def launch(engine: str, model: str, serve: Serve, checkpoint: str = "") -> dict[str, Any] | None:
    """`words` of one replica's launch line and `notes` on what it needs beside; None for an engine without one.

    model: a hub id or path; serve: the serving section as resolved, degrees and limits in it; checkpoint: precision of
    the weights behind `model`, where it is known.
    """
    write = _ENGINES.get(engine)
    if write is None:
        return None
    words, notes = write(model, serve, (serve.get("speculative") or {}).get("draft_model"))
    notes += beside(engine, serve)
    precision = str(serve.get("precision") or "bf16")
    made = WIDE if engine == "tensorrt-llm" else (*WIDE, *ONLINE)  # while loading
    makes = precision in made and checkpoint in ("", *WIDE)
    if precision != checkpoint and not makes and engine != "llama.cpp":
        notes.append(f"name a checkpoint published in {precision}; the weights decide the precision")
    if int(serve.get("replicas") or 1) > 1:
        follows = serve.get("autoscale") is not None or serve.get("scaling") in ("autoscale", "mixed")
        times = f"up to {serve['replicas']} times, as the load asks" if follows else f"{serve['replicas']} times"
        notes.append(f"start it {times}, on devices of its own each, behind a router")
    return {"words": words, "notes": notes}


def launch_pools(
    engine: str, model: str, serve: Serve, pools: Mapping[str, Serve], checkpoint: str = ""
) -> dict[str, Any] | None:
    """The same of two pools: a launch line for a replica of each, and what sends requests from one to the other.

    pools: by name (prefill, decode), the degrees, limits and replicas of each. `words` is the router's line, empty for
    an engine that brings none.
    """
    each = {name: launch(engine, model, {**serve, **own, "pool": name}, checkpoint) for name, own in pools.items()}
    found = {name: line for name, line in each.items() if line is not None}
    if len(found) < len(pools) or engine not in _ROUTERS:
        return None
    words, notes = _ROUTERS[engine](model, {name: int(own.get("replicas") or 1) for name, own in pools.items()})
    said = [f"{name}: {note}" for name, line in found.items() for note in line["notes"]]
    return {"words": words, "notes": [*said, *notes], "pools": found}


def _hosts(counts: Mapping[str, int], port: int) -> dict[str, list[str]]:
    """A name for the first device's host of every replica, to be filled in."""
    return {name: [f"http://{name}-{place + 1}:{port}" for place in range(count)] for name, count in counts.items()}


def _vllm_router(model: str, counts: Mapping[str, int]) -> tuple[Words, list[str]]:
    return [], ["a proxy asks a prefill server for one token and hands its kv_transfer_params to a decode server; vLLM "
                "has an example of one beside its NixlConnector, production stacks bring their own"]


def _sglang_router(model: str, counts: Mapping[str, int]) -> tuple[Words, list[str]]:
    hosts = _hosts(counts, 30000)
    words = ["python", "-m", "sglang_router.launch_router", "--pd-disaggregation"]
    words += [word for host in hosts["prefill"] for word in ("--prefill", host, "8998")]
    words += [word for host in hosts["decode"] for word in ("--decode", host)]
    return words, ["fill the hosts in; every server is started with --host 0.0.0.0, and prefill servers tell decode "
                   "servers of their caches on port 8998"]


def _trtllm_router(model: str, counts: Mapping[str, int]) -> tuple[Words, list[str]]:
    hosts = {name: [host.removeprefix("http://") for host in found] for name, found in _hosts(counts, 8000).items()}
    sides = "; ".join(f"{key}: {{num_instances: {counts[name]}, urls: [{', '.join(hosts[name])}]}}"
                      for key, name in (("context_servers", "prefill"), ("generation_servers", "decode")))
    return ["trtllm-serve", "disaggregated", "-c", "pools.yaml"], [
        f"pools.yaml, hosts to be filled in: backend: pytorch; hostname: 0.0.0.0; port: 8000; {sides}"]


def _some(serve: Serve, pairs: Mapping[str, str]) -> Words:
    """Flags of the fields that are there; degrees of one are left out."""
    words: Words = []
    for field, flag in pairs.items():
        value = serve.get(field)
        if value is None or (field in ("tensor", "pipeline", "decode_context_parallel") and int(value) == 1):
            continue
        words += [flag, f"{value:g}" if isinstance(value, float) and value != int(value) else f"{int(value)}"]
    return words


def _vllm(model: str, serve: Serve, draft: str | None) -> tuple[Words, list[str]]:
    data, tensor = int(serve.get("data") or 1), int(serve.get("tensor") or 1)
    degrees = {
        "tensor": "--tensor-parallel-size",
        "pipeline": "--pipeline-parallel-size",
        "decode_context_parallel": "--decode-context-parallel-size",
    }
    words = ["vllm", "serve", model, *_some(serve, degrees)]
    words += ["--data-parallel-size", str(data)] if data > 1 else []
    words += ["--enable-expert-parallel"] if int(serve.get("expert") or 1) == tensor * data > 1 else []
    words += _weights(serve, "--quantization", "--dtype") + _cache(serve, "--kv-cache-dtype", "fp8")
    words += _some(
        serve,
        {
            "max_model_len": "--max-model-len",
            "memory_utilization": "--gpu-memory-utilization",
            "max_num_seqs": "--max-num-seqs",
            "max_num_batched_tokens": "--max-num-batched-tokens",
        },
    )
    words += ["--enforce-eager"] if serve.get("enforce_eager") else []
    version = version_of(str(serve.get("engine_version") or ""))
    if not version or version >= KEPT_APART:
        words += _some(serve, {"kv_cache_bytes_per_device": "--kv-cache-memory-bytes"})
    words += offloaded(serve)
    if serve.get("speculative"):
        words += vllm_drafts(serve["speculative"], version)
    if serve.get("pool"):
        role = {"kv_connector": "NixlConnector", "kv_role": KV_ROLES[serve["pool"]]}
        words += ["--kv-transfer-config", json.dumps(role)]
    return words + _adapters(serve, "--max-loras", LORA_RANKS), []


def _sglang(model: str, serve: Serve, draft: str | None) -> tuple[Words, list[str]]:
    data, tensor = int(serve.get("data") or 1), int(serve.get("tensor") or 1)
    words = ["python", "-m", "sglang.launch_server", "--model-path", model]
    words += ["--tp-size", str(tensor * data)] if tensor * data > 1 else []
    words += ["--dp-size", str(data), "--enable-dp-attention"] if data > 1 else []
    words += ["--ep-size", str(serve["expert"])] if int(serve.get("expert") or 1) > 1 else []
    words += _some(serve, {"pipeline": "--pp-size"})
    words += _weights(serve, "--quantization", "--dtype") + _cache(serve, "--kv-cache-dtype", "fp8_e4m3")
    words += _some(
        serve,
        {
            "max_model_len": "--context-length",
            "memory_utilization": "--mem-fraction-static",
            "max_num_seqs": "--max-running-requests",
            "max_num_batched_tokens": "--chunked-prefill-size",
            "hold_steps": "--scheduler-recv-interval",
        },
    )
    words += offloaded(serve, whole=True)
    words += ["--disable-cuda-graph"] if serve.get("enforce_eager") else []
    words += ["--disaggregation-mode", serve["pool"]] if serve.get("pool") else []
    if serve.get("speculative"):
        words += sglang_drafts(serve["speculative"])
    notes = [] if serve.get("hold_steps") is not None else [
        "planned with --scheduler-recv-interval as published recipes set it; its default of 1 answers sooner"]
    adapters = _adapters(serve, "--max-loras-per-batch")
    return words + adapters + (["--lora-target-modules", "all"] if adapters else []), notes


def _trtllm(model: str, serve: Serve, draft: str | None) -> tuple[Words, list[str]]:
    data, tensor = int(serve.get("data") or 1), int(serve.get("tensor") or 1)
    words, notes, options = ["trtllm-serve", model], [], []
    words += ["--tp_size", str(tensor * data)] if tensor * data > 1 else []
    words += ["--ep_size", str(serve["expert"])] if int(serve.get("expert") or 1) > 1 else []
    words += _some(
        serve,
        {
            "pipeline": "--pp_size",
            "max_model_len": "--max_seq_len",
            "max_num_seqs": "--max_batch_size",
            "max_num_batched_tokens": "--max_num_tokens",
            "memory_utilization": "--kv_cache_free_gpu_memory_fraction",
        },
    )
    if data > 1:
        options.append("enable_attention_dp: true")
        if serve.get("gather_steps"):
            most = int(serve["gather_steps"])
            options.append(f"attention_dp_config: {{enable_balance: true, timeout_iters: {most}}}")
        elif serve.get("gather_steps") is None:
            notes.append("planned with attention_dp_config.enable_balance as published recipes set it; without it no "
                         "rank's prompts wait for another's (serve.gather_steps: 0)")
    if int(serve.get("max_model_len") or 0) > int(serve.get("max_num_batched_tokens") or 0) > 0:
        options.append("enable_chunked_prefill: true")  # else longer prompts than a step are refused
    if serve.get("pool"):  # its buffer is to hold a whole prompt
        longest = int(serve.get("max_model_len") or 0)
        size = f", max_tokens_in_buffer: {longest}" if longest else ""
        options.append(f"cache_transceiver_config: {{backend: DEFAULT{size}}}")
    if serve.get("pool") == "prefill":
        options.append("disable_overlap_scheduler: true")
    if serve.get("kv_precision") == "fp8":
        options.append("kv_cache_config: {dtype: fp8}")
    if serve.get("hold_steps"):
        options.append(f"batch_wait_timeout_iters: {int(serve['hold_steps'])}")
    if serve.get("enforce_eager"):
        options.append("cuda_graph_config: null")
    if serve.get("adapters"):
        told = serve["adapters"]
        options.append(f"lora_config: {{max_loras: {told['count']}, max_lora_rank: {told.get('rank') or 16}}}")
    if serve.get("speculative"):
        options.append(trtllm_drafts(serve["speculative"]))
    if options:
        notes.append("with --extra_llm_api_options FILE, a file of: " + "; ".join(options))
    return words, notes


def _llamacpp(model: str, serve: Serve, draft: str | None) -> tuple[Words, list[str]]:
    file = model.lower().endswith(".gguf")
    words = ["llama-server", "-m" if file else "-hf", model]
    slots, shared = int(serve.get("max_num_seqs") or 1), bool(serve.get("kv_unified"))
    if serve.get("max_model_len"):
        words += ["-c", str(int(serve["max_model_len"]) * (1 if shared else slots))]
    words += ["-np", str(slots), *(["--kv-unified"] if shared and slots > 1 else [])]
    kv = serve.get("kv_precision")
    words += ["-ctk", kv, "-ctv", kv] if kv in ("q8_0", "q4_0") else []
    layers = serve.get("gpu_layers")
    words += ["-ngl", "all" if layers is None else str(layers)]
    words += ["-md", draft] if draft else []
    note = f"it reads GGUF files: name a repository that has this model in {serve.get('precision') or 'bf16'}"
    return words, [] if file else [note]


def _adapters(serve: Serve, count: str, ranks: Sequence[int] = ()) -> Words:
    """LoRA slots, by the engine's flag for how many; ranks: those it takes, of which the next larger holds a rank."""
    found = serve.get("adapters")
    if not found:
        return []
    rank = int(found.get("rank") or 16)
    rank = next((each for each in ranks if each >= rank), rank)
    return ["--enable-lora", count, str(found["count"]), "--max-lora-rank", str(rank)]


def _weights(serve: Serve, quantization: str, dtype: str) -> Words:
    precision = str(serve.get("precision") or "")
    if precision in ONLINE:
        return [quantization, precision]
    return [dtype, DTYPES[precision]] if precision in DTYPES else []


def _cache(serve: Serve, flag: str, name: str) -> Words:
    return [flag, name] if serve.get("kv_precision") == "fp8" else []


_ENGINES: dict[str, Callable[[str, Serve, str | None], tuple[Words, list[str]]]] = {
    "vllm": _vllm,
    "sglang": _sglang,
    "tensorrt-llm": _trtllm,
    "llama.cpp": _llamacpp,
}
_ROUTERS: dict[str, Callable[[str, Mapping[str, int]], tuple[Words, list[str]]]] = {
    "vllm": _vllm_router,
    "sglang": _sglang_router,
    "tensorrt-llm": _trtllm_router,
}
