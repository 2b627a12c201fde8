"""Serving engines by version range: how they size their cache, their defaults, what they take themselves.

An entry without a range is the engine as of today; `NAME@FROM` holds what differed from version_from up to
version_before. Bytes per logit are counted from the buffers named in the notes and agree with start-up logs.
"""

from __future__ import annotations

from pathlib import Path

from catalog_build.common import CATALOG_DATE, Row
from catalog_build.engine_streams import stream_rows
from catalog_build.engine_values import FILTERED, GREEDY, OWN_FILTERS, SORTED, Value

KIND = "engine"
GIB, MIB = 2.0**30, 2.0**20


_VLLM_ATTENTION = (
    "vLLM source (Apache-2.0): get_flash_attn_version; FlashAttention source (BSD-3): flash_api, mha_varlen_fwd")
_VLLM = "vLLM documentation and source (Apache-2.0): EngineArgs, GPUModelRunner.profile_run"
_LOGS = "start-up logs in public issues (vllm-project/vllm#10517, #23278) and llm-d-planner's measurements"
_SGL = "SGLang source (Apache-2.0): ServerArgs memory settings"
_RECIPES = "SemiAnalysisAI/InferenceX benchmarks/single_node, 843c6254 (Apache-2.0): scheduler-recv-interval of SGLang"
_BALANCED = ("SemiAnalysisAI/InferenceX benchmarks/single_node, 843c6254 (Apache-2.0): attention_dp_config of "
             "TensorRT-LLM's DeepSeek R1 with attention ranks")
_TRT = "TensorRT-LLM documentation: KvCacheConfig, build and runtime defaults"
_PD = ("documentation of each engine: vLLM disaggregated prefilling, SGLang PD disaggregation, "
       "TensorRT-LLM disagg-serving")
_CPP = "llama.cpp source and start-up logs (MIT)"
_CPP_FIT = "one-request speeds of Llama 3 8B and 70B, GPU-Benchmarks-on-LLM-Inference (2024)"
_ALLREDUCE = Value(
    9e-6, "s", "small all-reduces in aiconfigurator-core 0.12.0 tables (Apache-2.0)", "measured", 6e-6, 2e-5
)
_HF = "Transformers documentation, DynamicCache; QwenLM/Qwen and Qwen3 memory tables"

# What every program on a CUDA device finds taken: the driver's reserve, and its own context.
_RESERVE = Value(
    0.42 * GIB,
    "byte",
    "nvidia-smi -q, FB memory reserved; torch total against nvidia-smi total",
    "measured",
    0.30 * GIB,
    0.62 * GIB,
    "taken by the driver before any program starts",
)
_CONTEXT = Value(
    0.45 * GIB,
    "byte",
    "nvidia-smi of an idle PyTorch process",
    "measured",
    0.30 * GIB,
    0.65 * GIB,
    "CUDA context and libraries of one process",
)
_EAGER = Value(
    1.0,
    "",
    "allocator peaks of eager runs",
    "measured",
    0.05,
    3.0,
    "what frees early, what kernels hold beside",
)
_COMPILED = Value(
    1.0, "", "profiled peaks in start-up logs", "measured", 0.97, 1.08, "kernels' own workspaces"
)
_LOADED = Value(
    1.0,
    "",
    "start-up logs against checkpoints",
    "measured",
    0.997,
    1.01,
    "workspaces and alignment beside weights",
)
_CONTEXT_EAGER = Value(
    0.45 * GIB,
    "byte",
    "nvidia-smi of an idle PyTorch process",
    "measured",
    0.25 * GIB,
    1.0 * GIB,
    "CUDA context, libraries loaded on first use, blocks rounded up by the allocator",
)
_COMM = Value(
    0.41 * GIB,
    "byte", _LOGS, "measured", 0.25 * GIB, 0.9 * GIB,
    "collective library buffers and graphs' all-reduce space, once devices work together",
)

_GDDR = "L40S and RTX PRO 6000"
_WIDENED = ("aiconfigurator-core 0.12.0 (Apache-2.0, NVIDIA), moe_perf tables of {}, power_law_1.2, to 16,384 tokens "
            "and 16 ranks: {}")


def _widened(value: float, tables: str, devices: str = "H100 and H200") -> Value:
    return Value(value, "ratio", _WIDENED.format(devices, tables), "derived", note="time of a row through experts "
                 "whose 4-bit weights are widened to 16 bits on the way, over that of 16-bit weights")


def _text(value: str, source: str, note: str = "") -> Value:
    return Value(value, "text", source, note=note)


def _count(value: float, source: str, note: str = "", how: str = "published") -> Value:
    return Value(value, "", source, how, note=note)


ENGINES: dict[str, dict[str, Value]] = {
    "vllm": {
        "activation_share": _COMPILED,
        "name": _text("vLLM", _VLLM),
        "pools": Value(1.0, "bool", _PD, note="prompts and answers on devices of their own"),
        "weights_on_host": Value(1.0, "bool", _VLLM, note="cpu-offload-gb: of each device, read over the host's link"),
        "version": _text("0.19", _VLLM, "taken when none is given: of the newest runs that constants are fitted to"),
        "pool": _text("utilization", _VLLM, "share of the device less weights, profiled peak and the rest"),
        "memory_utilization": _count(0.9, _VLLM),
        "max_num_seqs": _count(256, _VLLM),
        "max_num_batched_tokens": _count(2048, _VLLM, "chunked prefill"),
        "large_from_bytes": Value(
            70 * GIB, "byte", _VLLM, note="larger defaults from here on, A100 excepted"
        ),
        "max_num_seqs_large": _count(1024, _VLLM),
        "max_num_batched_tokens_large": _count(8192, _VLLM, "server; the offline class doubles it"),
        "block_tokens": _count(16, _VLLM),
        "window_ahead": Value(1.0, "bool", _VLLM, note="window layers keep what one step computes ahead"),
        "logit_bytes": Value(
            27.0,
            "byte",
            _LOGS,
            "measured",
            20.0,
            39.0,
            "fp32 and 16-bit logits, sort, probabilities; leaner sampling than before 0.14",
        ),
        "non_torch_bytes": Value(0.13 * GIB, "byte", _LOGS, "measured", 0.06 * GIB, 0.2 * GIB),
        "communicator_bytes": _COMM,
        "context_bytes": _CONTEXT,
        "reserved_bytes": _RESERVE,
        "loaded_share": _LOADED,
        "graphs_bytes": Value(
            0.55 * GIB, "byte", _LOGS, "measured", 0.25 * GIB, 1.1 * GIB, "beside the cache"
        ),
        "expert_ffn_multiple": _count(
            256, "vLLM MXFP4 kernels on Hopper; gpt-oss start-up logs", "MXFP4 experts only"
        ),
        "expert_scale_padded": Value(0.0, "bool", "gpt-oss start-up logs", "derived"),
        "rotary_table": Value(1.0, "bool", _VLLM, note="cosines and sines of every position, 16 bits"),
        "expert_hidden_multiple": _count(1, "vLLM MXFP4 kernels on Hopper; gpt-oss start-up logs"),
        "filter_logit_s": FILTERED,
        "sampling": GREEDY,
        "stream_allreduce_s": _ALLREDUCE,
        "widened_experts": _widened(2.3, "vllm 0.24.0, between w4a16_mxfp4 (1.8) and int4_wo (3.0)"),
        "widened_experts_gddr": _widened(1.2, "vllm 0.24.0, int4_wo; w4a16_mxfp4 to 1.7", _GDDR),
        "joint_attention_on": Value(
            "ampere|ampere-hbm|ada|blackwell-gddr", "list", _VLLM_ATTENTION,
            note="compute capabilities 8 and 12: one FlashAttention 2 call for a step's prompts and answers"),
        "joint_attention_rows": _count(
            64, _VLLM_ATTENTION, "query rows of a tile of its kernels over a paged cache; heads share one only where "
            "no prompt is in the step"),
    },
    "vllm@0.14": {
        "version_from": _text("0.14", _VLLM),
        "version_before": _text("0.17", "vLLM pull request 33538 (February 2026): filters without sorting", "about"),
        "filter_logit_s": SORTED,
        "sampling": OWN_FILTERS,
    },
    "vllm@0.11": {
        "version_from": _text("0.11", _VLLM),
        "version_before": _text("0.14", _VLLM),
        "filter_logit_s": SORTED,
        "sampling": OWN_FILTERS,
        "logit_bytes": Value(
            39.0,
            "byte",
            _LOGS,
            "measured",
            38.0,
            39.5,
            "2 + 4 logits, 12 values and indices sorted and 12 of sort space, 8 probabilities, 1 mask",
        ),
    },
    "vllm@0.8": {
        "version_from": _text("0.8", _VLLM),
        "version_before": _text("0.11", _VLLM),
        "filter_logit_s": SORTED,
        "sampling": OWN_FILTERS,
        "logit_bytes": Value(
            39.0,
            "byte",
            _LOGS,
            "measured",
            38.0,
            39.5,
            "2 + 4 logits, 12 values and indices sorted and 12 of sort space, 8 probabilities, 1 mask",
        ),
        "expert_scale_padded": Value(1.0, "bool", "gpt-oss start-up log vllm#23278", "derived"),
        "expert_ffn_multiple": _count(128, "vLLM Marlin MXFP4 kernel; gpt-oss start-up log vllm#23278"),
        "expert_hidden_multiple": _count(256, "vLLM Marlin MXFP4 kernel; gpt-oss start-up log vllm#23278"),
    },
    "vllm@0.4": {
        "version_from": _text("0", _VLLM),
        "version_before": _text("0.8", _VLLM),
        "filter_logit_s": SORTED,
        "pools": Value(0.0, "bool", _PD, note="an experiment of one prompt and one answer process, then"),
        "max_num_seqs_large": _count(256, _VLLM),
        "max_num_batched_tokens_large": _count(512, _VLLM),
        "max_num_batched_tokens": _count(512, _VLLM, "once prefill is chunked"),
        "batched_is_length_to": _count(32768, _VLLM, "profiles one prompt of max_model_len up to here"),
        "schedule": _text("whole_first", _VLLM, "prompts run in steps of their own unless they are chunked"),
        "logit_bytes": Value(2.0, "byte", _LOGS, "measured", 2.0, 4.0, "sampling is not profiled"),
        "window_ahead": Value(0.0, "bool", _VLLM),
        "non_torch_bytes": Value(
            0.35 * GIB, "byte", _LOGS, "measured", 0.2 * GIB, 0.5 * GIB, "context counted in"
        ),
        "context_bytes": Value(0.0, "byte", _LOGS, "derived", note="inside the share of the device"),
    },
    "sglang": {
        "activation_share": _COMPILED,
        "name": _text("SGLang", _SGL),
        "pools": Value(1.0, "bool", _PD, note="prompts and answers on devices of their own"),
        "weights_on_host": Value(1.0, "bool", _SGL, note="cpu-offload-gb: of each device, read over the host's link"),
        "version": _text("0.5", _SGL),
        "pool": _text("static", _SGL, "a share of the device for weights and cache together"),
        "filter_logit_s": FILTERED,
        "sampling": GREEDY,
        "schedule": _text("prefill_first", _SGL, "prompts run in steps of their own unless mixed chunks are asked for"),
        "schedule_reserve": _count(
            0.098, _SGL, "share of tokens still to come kept free: 0.7 at first, by 600 steps 0.14 of that", "derived"),
        "hold_steps_by_requests": _text(
            "0:10|16:30", _RECIPES,
            "scheduler-recv-interval as published serving recipes set it; SGLang's own default is 1"),
        "widened_experts": _widened(3.0, "sglang 0.5.14, int4_wo; w4a16_mxfp4 is two to three times as slow"),
        "widened_experts_gddr": _widened(2.2, "sglang 0.5.14, int4_wo", _GDDR),
        "static_reserve_bytes": Value(512 * MIB, "byte", _SGL, note="left free: constant part"),
        "static_token_bytes": Value(1.5 * MIB, "byte", _SGL, note="left free: for each token of a prefill chunk"),
        "static_graph_bytes": Value(2 * MIB, "byte", _SGL, note="left free: for each sequence of the largest graph"),
        "static_rank_bytes": Value(128 * MIB, "byte", _SGL, note="left free: for each tensor or pipeline rank"),
        "static_large_bytes": Value(10240 * MIB, "byte", _SGL, note="left free at least, above 60 GiB"),
        "max_num_seqs": _count(2048, _SGL, "requests at once, no fewer; cache tokens over context length x 512 beyond"),
        "largest_graph": _count(256, _SGL, "sequences of the largest CUDA graph; more run without one"),
        "max_num_batched_tokens": _count(8192, _SGL, "prefill chunk"),
        "max_num_batched_tokens_by_gib": _text("35:2048|60:4096|160:8192|100000:16384", _SGL),
        "largest_graph_by_gib": _text("20:8|35:24|60:32|100000:256", _SGL),
        "block_tokens": _count(1, _SGL),
        "logit_bytes": Value(
            8.0, "byte", _SGL, "assumed", 6.0, 16.0, "16-bit and fp32 logits, probabilities"
        ),
        "non_torch_bytes": Value(0.13 * GIB, "byte", "as vLLM", "assumed", 0.05 * GIB, 0.3 * GIB),
        "communicator_bytes": _COMM,
        "context_bytes": _CONTEXT,
        "reserved_bytes": _RESERVE,
        "loaded_share": _LOADED,
        "graphs_bytes": Value(1.0 * GIB, "byte", _SGL, "assumed", 0.4 * GIB, 2.0 * GIB),
        "stream_allreduce_s": _ALLREDUCE,
    },
    "tensorrt-llm": {
        "activation_share": _COMPILED,
        "name": _text("TensorRT-LLM", _TRT),
        "pools": Value(1.0, "bool", _PD, note="prompts and answers on devices of their own"),
        "version": _text("1.2", _TRT),
        "pool": _text("free", _TRT, "a share of what is free after loading and one run"),
        "memory_utilization": _count(0.9, _TRT, "free_gpu_memory_fraction"),
        "max_num_seqs": _count(2048, _TRT, "max_batch_size"),
        "schedule_reserve": _count(
            1.0, "TensorRT-LLM documentation: useful runtime options, capacity scheduler policy",
            "share of tokens still to come kept free: GUARANTEED_NO_EVICT is the default"),
        "hold_steps_by_requests": _text("0:0", _TRT, "batch_wait_timeout_iters, which is off unless set"),
        "gather_steps": _count(
            60, _BALANCED, "attention_dp_config.timeout_iters as published serving recipes set it; the engine's own "
            "default is to wait for no rank (enable_balance off)"),
        "widened_experts": _widened(3.0, "trtllm 1.3.0rc20, w4a16_mxfp4"),
        "kv_precision_quantized": _text(
            "fp8", _TRT, "dtype auto takes the checkpoint's; ModelOpt's fp8 and nvfp4 ones cache in fp8"
        ),
        "max_num_batched_tokens": _count(8192, _TRT, "max_num_tokens"),
        "block_tokens": _count(32, _TRT),
        "logit_bytes": Value(6.0, "byte", _TRT, "assumed", 4.0, 12.0),
        "non_torch_bytes": Value(
            0.3 * GIB, "byte", "as vLLM, plus workspaces", "assumed", 0.1 * GIB, 1.0 * GIB
        ),
        "communicator_bytes": _COMM,
        "context_bytes": _CONTEXT,
        "reserved_bytes": _RESERVE,
        "loaded_share": _LOADED,
        "graphs_bytes": Value(0.6 * GIB, "byte", "as vLLM", "assumed", 0.2 * GIB, 1.5 * GIB),
    },
    "llama.cpp": {
        "activation_share": _COMPILED,
        "name": _text("llama.cpp", _CPP),
        "version": _text("b9265", _CPP),
        "pool": _text("context", _CPP, "the cache is allocated for the context asked for"),
        "max_num_seqs": _count(4, _CPP, "slots the server makes when their number is not given"),
        "kv_unified": Value(1.0, "bool", _CPP, note="slots of the server's own number share one context"),
        "window_ahead": Value(1.0, "bool", _CPP, note="a sliding window and one physical batch are kept"),
        "max_num_batched_tokens": _count(512, _CPP, "physical batch"),
        "block_tokens": _count(256, _CPP, "contexts and windows are rounded up to so many cells"),
        "embedding_on_host": Value(1.0, "bool", _CPP, note="read by the host"),
        "kv_precision": _text("fp16", _CPP),
        "logits_for_batch": Value(1.0, "bool", _CPP),
        "logit_bytes": Value(4.0, "byte", _CPP, note="fp32 logits of every token of a physical batch"),
        "non_torch_bytes": Value(0.0, "byte", _CPP),
        "context_bytes": Value(
            0.4 * GIB, "byte", _CPP, "measured", 0.25 * GIB, 0.6 * GIB, "context and cuBLAS"
        ),
        "communicator_bytes": Value(0.0, "byte", _CPP, note="layers are split, activations copied"),
        "graphs_bytes": Value(0.0, "byte", _CPP),
        "reserved_bytes": _RESERVE,
        "loaded_share": _LOADED,
        "layer_split": Value(1.0, "bool", _CPP, note="several devices hold layers in turn"),
    },
    "llama.cpp@5430": {
        "version_from": _text("b5430", _CPP, "about: sliding windows are kept short since May 2025"),
        "version_before": _text("b6920", _CPP, "about: four slots by default since November 2025"),
        "max_num_seqs": _count(1, _CPP, "one slot by default"),
        "block_tokens": _count(32, _CPP),
    },
    "llama.cpp@0": {
        "version_from": _text("b0", _CPP),
        "version_before": _text("b5430", _CPP, "about: sliding windows are kept short since May 2025"),
        "window_whole": Value(1.0, "bool", _CPP, note="every layer keeps the whole context"),
        "max_num_seqs": _count(1, _CPP, "one slot by default"),
        "block_tokens": _count(32, _CPP),
    },
    "transformers": {
        "activation_share": _EAGER,
        "name": _text("Transformers", _HF),
        "version": _text("4.51", _HF),
        "pool": _text("grows", _HF, "the cache grows with the sequences at hand"),
        "max_num_seqs": _count(1, _HF),
        "max_num_batched_tokens": _count(1, _HF, "a prompt is run whole"),
        "block_tokens": _count(1, _HF),
        "cache_copies": Value(
            1.0,
            "",
            _HF,
            "derived",
            0.7,
            1.3,
            "growing by concatenation leaves freed blocks as large as the cache in the allocator",
        ),
        "logit_bytes": Value(6.0, "byte", _HF, note="16-bit and fp32 logits of the last token"),
        "non_torch_bytes": Value(0.0, "byte", _HF),
        "context_bytes": _CONTEXT_EAGER,
        "communicator_bytes": _COMM,
        "graphs_bytes": Value(0.0, "byte", _HF),
        "reserved_bytes": _RESERVE,
        "loaded_share": _LOADED,
    },
    "litgpt": {
        "activation_share": _EAGER,
        "name": _text("LitGPT", "LitGPT documentation (Apache-2.0)"),
        "version": _text("0.5", "LitGPT documentation (Apache-2.0)"),
        "pool": _text("grows", "LitGPT documentation (Apache-2.0)", "a fixed cache of prompt and new tokens"),
        "max_num_seqs": _count(1, _HF),
        "max_num_batched_tokens": _count(1, _HF, "a prompt is run whole"),
        "block_tokens": _count(1, _HF),
        "cache_copies": Value(0.0, "", "LitGPT: allocated once"),
        "logit_bytes": Value(6.0, "byte", _HF),
        "non_torch_bytes": Value(0.0, "byte", _HF),
        "context_bytes": _CONTEXT,
        "communicator_bytes": _COMM,
        "graphs_bytes": Value(0.0, "byte", _HF),
        "reserved_bytes": _RESERVE,
        "loaded_share": _LOADED,
    },
}
ALIASES = {
    "vllm": "vLLM",
    "sglang": "sgl|sgl-project",
    "tensorrt-llm": "trtllm|trt-llm|tensorrt_llm|tensorrt",
    "llama.cpp": "llamacpp|llama-cpp|llama-server|ollama|llama_cpp|lm-studio",
    "transformers": "hf|huggingface|hf-transformers",
    "litgpt": "lit-gpt",
}


def build(data_dir: Path, models_dir: Path) -> list[Row]:
    rows = []
    for name, values in ENGINES.items():
        rows += [
            Row(name, parameter, v.value, v.unit, v.source, CATALOG_DATE, v.how, v.low, v.high, v.note)
            for parameter, v in values.items()
        ]
        if name in ALIASES:
            rows.append(
                Row(
                    name,
                    "aliases",
                    ALIASES[name],
                    "list",
                    "names people and launchers use",
                    CATALOG_DATE,
                    "derived",
                )
            )
    return rows + stream_rows()
