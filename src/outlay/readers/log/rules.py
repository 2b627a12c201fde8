"""What start-up lines of serving engines say: one rule a message, over several versions of each engine.

Engines print GiB under the names GiB, GB and G alike (vLLM, SGLang and TensorRT-LLM divide by 2**30,
llama.cpp by 2**20 also where it writes MB), so sizes are read as binary for all of them.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

GIB, MIB = 2.0**30, 2.0**20
UNITS = {
    "gib": GIB,
    "gb": GIB,
    "g": GIB,
    "mib": MIB,
    "mb": MIB,
    "m": MIB,
    "kib": 1024.0,
    "kb": 1024.0,
    "bytes": 1.0,
    "b": 1.0,
    "": 1.0,
}


class Rule(NamedTuple):
    """A message: text that the line must hold, a pattern, and a name for each group.

    A name ends in its unit: `_bytes` takes a number and its printed unit, `_mib` a number of MiB; other names
    take the group as a number, or as text where it starts with "="; "@rank" says whose line it is.
    """

    engine: str
    mark: str
    pattern: re.Pattern[str]
    names: tuple[str, ...]


_N = r"(-?\d(?:[\d.,]{0,22}\d)?)"
_S = r"(-?\d(?:[\d.,]{0,22}\d)?) ?(GiB|GB|MiB|MB|KiB|KB|bytes|G|M|B)?"  # a size and its unit
# engine | mark | pattern | names
_RULES = rf"""
vllm | vLLM API server version | version ([\w.+-]{{1,60}}) | =engine_version
vllm | LLM engine (v | engine \(v([\w.+-]{{1,60}})\) | =engine_version
vllm | model weights took | model weights took {_S} | weights_bytes
vllm | Loading model weights took | weights took {_S} | weights_bytes
vllm | Model loading took | loading took {_S} (?:memory )?and {_N} s | weights_bytes load_s
vllm | Loading weights took | weights took {_N} seconds | load_s
vllm | model weights take | weights take ?{_S}; non_torch_memory takes {_S}; PyTorch activation peak
    memory takes {_S}; the rest of the memory reserved for KV Cache is {_S} | weights_bytes non_torch_bytes
    activation_peak_bytes kv_cache_bytes
vllm | total_gpu_memory ( | total_gpu_memory \({_S}\) x gpu_memory_utilization \({_N}\) = {_S} |
    device_memory_bytes memory_utilization usable_bytes
vllm | total_gpu_memory  | total_gpu_memory {{2,20}}{_S} | device_memory_bytes
vllm | gpu_memory_utilization  | gpu_memory_utilization {{2,20}}{_N} | memory_utilization
vllm | the current vLLM instance can use  | can use {{2,20}}{_S} | usable_bytes
vllm | model weights take  | weights take {{2,20}}{_S} | weights_bytes
vllm | non_torch_memory  | non_torch_memory {{2,20}}{_S} | non_torch_bytes
vllm | PyTorch activation peak memory  | peak memory {{2,20}}{_S} | activation_peak_bytes
vllm | available_kv_cache_memory  | available_kv_cache_memory {{2,20}}{_S} | kv_cache_bytes
vllm | torch peak memory increase | non KV cache memory: {_S}; torch peak memory increase: {_S}; non-torch
    forward increase memory: {_S}; weights memory: {_S} | non_kv_bytes activation_peak_bytes non_torch_bytes
    weights_bytes
vllm | peak_torch_memory= | initial_memory_usage={_S} peak_torch_memory={_S}
    memory_usage_post_profile={_S} non_torch_memory={_S} kv_cache_size={_S} gpu_memory_utilization={_N} |
    initial_bytes torch_peak_bytes after_profile_bytes non_torch_bytes kv_cache_bytes memory_utilization
vllm | Memory profiling takes | profiling takes {_N} seconds | profile_s
vllm | Initial free memory | free memory:? ?{_S}[;,] ?[Rr]equested memory:? ?{_N} \(util\), {_S} |
    free_bytes memory_utilization usable_bytes
vllm | Available KV cache memory | cache memory: {_S} | kv_cache_bytes
vllm | KV cache size: | GPU[\w +]{{0,30}} KV cache size: {_N} tokens | kv_cache_tokens
vllm | Free memory after profiling | profiling: {_S} \(total\), {_S} \(within requested\) |
    free_after_profile_bytes unused_bytes
vllm | is less than the engine's budget | \({_S} ?/ ?{_S}\) on startup is less than the engine's budget after
    excluding external process's weights \({_N}, {_S}\) | free_bytes device_memory_bytes memory_utilization
    usable_bytes
vllm | Maximum concurrency for | concurrency for {_N} tokens per request: {_N}x | max_model_len max_concurrency
vllm | GPU blocks: | # GPU blocks: {_N}, # CPU blocks: {_N} | kv_blocks kv_host_blocks
vllm | GPU blocks: | # GPU blocks: {_N} | kv_blocks
vllm | cuda blocks: | # cuda blocks: {_N}, # CPU blocks: {_N} | kv_blocks kv_host_blocks
vllm | CUDA blocks: | # CUDA blocks: {_N}, # CPU blocks: {_N} | kv_blocks kv_host_blocks
vllm | rocm blocks: | # rocm blocks: {_N}, # CPU blocks: {_N} | kv_blocks kv_host_blocks
vllm | Graph capturing finished | finished in {_N} secs?(?:onds)?, took {_S} | graph_capture_s cuda_graph_bytes
vllm | Graph capturing finished | finished in {_N} secs | graph_capture_s
vllm | Estimated CUDA graph memory | graph memory: {_S} total | cuda_graph_estimated_bytes
vllm | CUDA graph pool memory | pool memory: {_S} \(actual\), {_S} \(estimated\) | cuda_graph_bytes
    cuda_graph_estimated_bytes
vllm | for consumed memory | device \({_S} ?/ ?{_S}\) on startup. Desired GPU memory utilization is
    \({_N}, {_S}\). Actual usage is {_S} for consumed memory \(weights \+ non-torch\), {_S} for peak
    activation, and {_S} for CUDAGraph | free_bytes device_memory_bytes memory_utilization usable_bytes
    consumed_bytes activation_peak_bytes cuda_graph_bytes
vllm | Free memory on device | device \({_S} ?/ ?{_S}\) on startup. Desired GPU memory utilization is
    \({_N}, {_S}\). Actual usage is {_S} for weight, {_S} for peak activation, {_S} for non-torch memory, and
    {_S} for CUDAGraph | free_bytes device_memory_bytes memory_utilization usable_bytes weights_bytes
    activation_peak_bytes non_torch_bytes cuda_graph_bytes
vllm | Free memory on device | on device [\w:]{{0,12}} ?\({_S} ?/ ?{_S}\) on startup is less than desired
    GPU memory utilization \({_N}, {_S}\) | free_bytes device_memory_bytes memory_utilization usable_bytes
vllm | is needed, which is larger than | max seq len \({_N}\), \(?{_S} KV cache is needed, which is larger
    than the available KV cache memory \({_S}\) | max_model_len kv_needed_bytes kv_cache_bytes
vllm | estimated maximum model length | model length is {_N} | longest_that_fits
vllm | is larger than the maximum number of tokens | max seq len \({_N}\) is larger than the maximum
    number of tokens that can be stored in KV cache \({_N}\) | max_model_len kv_cache_tokens
vllm | Current kv cache memory in use | cache memory in use is {_S} | kv_cache_bytes
vllm | init engine (profile | took {_N} s | init_s
vllm | with max_num_batched_tokens= | with max_num_batched_tokens={_N} | max_num_batched_tokens
vllm | Setting attention block size to | block size to {_N} tokens | block_size
vllm | No available memory for the cache blocks | No available memory for the cache (blocks) | =out_of_memory
sglang | Load weight begin | avail mem={_S} | free_bytes
sglang | Load weight end | dtype=torch.(\w{{1,20}}), avail mem={_S}, mem usage={_S} | =dtype
    free_after_weights_bytes weights_bytes
sglang | Load weight end | avail mem={_S}, mem usage={_S} | free_after_weights_bytes weights_bytes
sglang | Load weight end | avail mem={_S} | free_after_weights_bytes
sglang | Init torch distributed ends | mem usage={_S} | distributed_bytes
sglang | Draft KV Cache is allocated | #tokens: {_N}, K size: {_S}, V size: {_S} | draft_tokens
    draft_keys_bytes draft_values_bytes
sglang | Post-capture KV sizing: KV cache allocated | #tokens: {_N}, KV size: {_S}, avail mem={_S} |
    kv_cache_tokens kv_cache_bytes free_after_pool_bytes
sglang | Post-capture KV sizing: draft | #tokens: {_N}, KV size: {_S} | draft_tokens draft_cache_bytes
sglang | KV Cache VA upper bound | upper bound. dtype: torch.(\w{{1,20}}) | =kv_dtype
sglang | SWAKVPool mem usage | mem usage: {_S}, swa size: {_N}, full size: {_N} | kv_cache_bytes
    window_tokens kv_cache_tokens
sglang | KV Cache is allocated | #tokens: {_N}, K size: {_S}, V size: {_S} | kv_cache_tokens kv_keys_bytes
    kv_values_bytes
sglang | KV Cache is allocated | #tokens: {_N}, KV size: {_S} | kv_cache_tokens kv_cache_bytes
sglang | Mamba Cache is allocated | conv_state size: {_S}, ssm_state size: {_S} | conv_state_bytes
    ssm_state_bytes
sglang | Memory pool end | avail mem={_S} | free_after_pool_bytes
sglang | Using KV cache dtype | dtype: torch.(\w{{1,20}}) | =kv_dtype
sglang | prefill CUDA graph end | mem usage={_S}, avail mem={_S} | cuda_graph_prefill_bytes
    free_after_graphs_bytes
sglang | CUDA graph end | mem usage={_S}, avail mem={_S} | cuda_graph_bytes free_after_graphs_bytes
sglang | CUDA graph begin | avail mem={_S} | free_before_graphs_bytes
sglang | uda graph end | mem usage={_S}. avail mem={_S} | cuda_graph_bytes free_after_graphs_bytes
sglang | uda graph end | avail mem={_S} | free_after_graphs_bytes
sglang | uda graph begin | avail mem={_S} | free_before_graphs_bytes
sglang | max_total_num_tokens= | max_total_num_tokens={_N}, chunked_prefill_size=(-?\d{{1,12}}),
    max_prefill_tokens={_N}, max_running_requests={_N}, context_len={_N}(?:, available_gpu_mem={_S})? |
    kv_cache_tokens max_num_batched_tokens max_prefill_tokens max_num_seqs max_model_len free_at_start_bytes
sglang | max_total_num_tokens= | max_total_num_tokens={_N}, max_prefill_tokens={_N},
    max_running_requests={_N}, context_len={_N} | kv_cache_tokens max_prefill_tokens max_num_seqs
    max_model_len
sglang | Not enough memory | Not enough memory. (Please try to increase --mem-fraction-static) | =out_of_memory
sglang | SGLang version | version:? ([\w.+-]{{1,40}}) | =engine_version
llama.cpp | build | build:? (\d{{1,6}}) \([0-9a-f]{{6,12}}\) with | =engine_version
llama.cpp | model size | model size {{0,12}}= {{0,6}}{_S} \({_N} BPW | file_bytes bits_per_weight
llama.cpp | file size | file size {{0,12}}= {{0,6}}{_S} \({_N} BPW | file_bytes bits_per_weight
llama.cpp | model params | params {{0,12}}= {{0,6}}{_N} B | parameters_billion
llama.cpp | model ftype | ftype {{0,12}}= {{0,6}}([\w .-]{{1,40}}) | =file_type
llama.cpp | file type | file type {{0,12}}= {{0,6}}([\w .-]{{1,40}}) | =file_type
llama.cpp | general.name | general.name {{0,12}}= {{0,6}}(.{{1,120}}) | =model
llama.cpp | offloaded | offloaded (\d{{1,6}})/(\d{{1,6}}) layers | gpu_layers layers_and_output
llama.cpp | model buffer size | (\S{{1,30}}) model buffer size = {{0,12}}{_S} | @rank weights_bytes
llama.cpp | llm_load_tensors: | (\S{{1,30}}) buffer size = {{0,12}}{_S} | @rank weights_bytes
llama.cpp | KV buffer size | (\S{{1,30}}) KV buffer size = {{0,12}}{_S} | @rank kv_cache_bytes
llama.cpp | RS buffer size | (\S{{1,30}}) RS buffer size = {{0,12}}{_S} | @rank state_bytes
llama.cpp | compute buffer size | (\S{{1,30}}) compute buffer size = {{0,12}}{_S} | @rank compute_bytes
llama.cpp | output buffer size | (\S{{1,30}}) {{1,4}}output buffer size = {{0,12}}{_S} | @rank output_bytes
llama.cpp | elf size | self size {{0,4}}= {{0,8}}{_S}, K \((\w{{1,12}})\): {{0,8}}{_S}, V
    \((\w{{1,12}})\): {{0,8}}{_S} | kv_total_bytes =kv_keys_type kv_keys_bytes =kv_values_type kv_values_bytes
llama.cpp | elf size | self size {{0,4}}= {{0,8}}{_S} | kv_total_bytes
llama.cpp | cells, | size = {{0,8}}{_S} \( {{0,8}}(\d{{1,12}}) cells, {{0,4}}(\d{{1,6}}) layers,
    {{0,4}}(\d{{1,6}})/ {{0,4}}\d{{1,6}} seqs\), K \((\w{{1,12}})\): {{0,8}}{_S}, V \((\w{{1,12}})\):
    {{0,8}}{_S} | kv_total_bytes kv_cells kv_layers sequences =kv_keys_type kv_keys_bytes =kv_values_type
    kv_values_bytes
llama.cpp | rs_seq), R ( | size = {{0,8}}{_S} \( {{0,8}}\d{{1,12}} cells, {{0,4}}\d{{1,6}} layers,
    {{0,4}}(\d{{1,6}}) seqs | state_total_bytes sequences
llama.cpp | seqs), R ( | size = {{0,8}}{_S} \( {{0,8}}\d{{1,12}} cells, {{0,4}}\d{{1,6}} layers,
    {{0,4}}(\d{{1,6}}) seqs\), R | state_total_bytes sequences
llama.cpp | state buffer size | (\S{{1,30}}) DSV4 .{{1,30}} state buffer size = {{0,12}}{_S} | @rank state_bytes
llama.cpp | creating | creating {{1,6}}(?:non-)?SWA KV cache, size = (\d{{1,12}}) cells | kv_cells_made
llama.cpp | kv_unified | kv_unified {{1,30}}= (\w{{1,12}}) | =kv_unified
llama.cpp | n_slots = | n_slots = (\d{{1,6}}), n_ctx_slot = (\d{{1,12}}), kv_unified = '(\w{{1,8}})' | sequences
    slot_tokens =kv_unified
llama.cpp | cells, | size = {{0,8}}{_S} \( {{0,8}}(\d{{1,12}}) cells, {{0,4}}(\d{{1,6}}) layers(?!.{{1,30}}R \() |
    kv_total_bytes kv_cells kv_layers
llama.cpp | n_ctx  | : n_ctx {{1,30}}= {{0,4}}(\d{{1,12}}) | context_tokens
llama.cpp | n_ctx_per_seq = | n_ctx_per_seq = (\d{{1,12}}) | max_model_len
llama.cpp | n_ctx_seq  | n_ctx_seq {{1,30}}= (\d{{1,12}}) | max_model_len
llama.cpp | n_seq_max | n_seq_max {{1,30}}= (\d{{1,12}}) | max_num_seqs
llama.cpp | n_batch | n_batch {{1,30}}= (\d{{1,12}}) | batch_tokens
llama.cpp | n_ubatch | n_ubatch {{1,30}}= (\d{{1,12}}) | max_num_batched_tokens
llama.cpp | flash_attn | flash_attn {{1,30}}= (\w{{1,12}}) | =flash_attention
llama.cpp | graph splits | graph splits = (\d{{1,9}}) | graph_splits
llama.cpp | MiB free | using device (\w{{1,20}}) \(.{{1,120}}\) (?:\([\w:.]{{1,40}}\) )?- {_N} MiB free |
    @rank free_mib
llama.cpp | emory_breakdown_print | - (\w{{1,20}}) ?(?:\([^)]{{1,120}}\))? {{0,80}}\| {{0,12}}{_N} =
    {{0,8}}{_N} \+ {{0,4}}\( {{0,8}}{_N} = {{0,8}}{_N} \+ {{0,8}}{_N} \+ {{0,8}}{_N}\) \+ {{0,12}}{_N} | @rank
    device_memory_mib free_mib self_mib weights_mib context_mib compute_mib unaccounted_mib
llama.cpp | emory_breakdown_print | - (Host) {{0,90}}\| {{0,40}}{_N} = {{0,8}}{_N} \+ {{0,8}}{_N} \+
    {{0,8}}{_N} | @rank self_mib weights_mib context_mib compute_mib
llama.cpp | cudaMalloc failed | allocating {_S} on device (\d{{1,3}}): (cudaMalloc failed) | wanted_bytes
    @rank =out_of_memory
tensorrt-llm | TensorRT-LLM version | version: ([\w.+-]{{1,40}}) | =engine_version
tensorrt-llm | found in the config file | Engine version ([\w.+-]{{1,40}}) found | =engine_version
tensorrt-llm | Memory usage when calculating max tokens | total: {_S}, available: {_S} | device_memory_bytes free_bytes
tensorrt-llm | Max KV cache pages per sequence | per sequence: {_N} | kv_blocks_per_sequence
tensorrt-llm | Loaded engine size | engine size: {_S} | weights_bytes
tensorrt-llm | for model weights | Rank (\d{{1,5}}) uses {_S} for model weights | @rank weights_bytes
tensorrt-llm | Total Weights Memory | Weights Memory: (\d{{1,18}}) | weights_bytes_plain
tensorrt-llm | Total Activation Memory | Activation Memory: (\d{{1,18}}) | activation_peak_bytes_plain
tensorrt-llm | weights (inside torch) | profiling: {_S} | weights_bytes
tensorrt-llm | weights (outside torch) | profiling: {_S} | non_torch_at_load_bytes
tensorrt-llm | dynamically allocated during inference | profiling: {_S} | activation_peak_bytes
tensorrt-llm | Memory used outside torch | profiling: {_S} | non_torch_bytes
tensorrt-llm | Peak memory during memory usage profiling | non-torch\): {_S}, available KV cache memory
    when calculating max tokens: {_S}, fraction is set {_N}, kv size (?:per token )?is {_N}. device total
    memory {_S} | peak_bytes kv_cache_bytes memory_utilization kv_bytes_per_token device_memory_bytes
tensorrt-llm | Estimated max memory in KV cache | KV cache ?: {_S} | kv_cache_bytes
tensorrt-llm | Estimated max tokens in KV cache | KV cache ?: {_N} | kv_cache_tokens
tensorrt-llm | for max tokens in paged KV cache | Allocated {_S} for max tokens in paged KV cache \({_N}\)
    | kv_cache_bytes kv_cache_tokens
tensorrt-llm | Max tokens in paged KV cache | paged KV cache: {_N} | kv_cache_tokens
tensorrt-llm | tokens in paged KV cache | Using {_N} tokens in paged | kv_cache_tokens
tensorrt-llm | tokens per block | tokens per block[:=] ?{_N} | block_size
tensorrt-llm | Number of blocks in KV cache primary pool | primary pool: {_N} | kv_blocks
tensorrt-llm | primary blocks= | tokens per block={_N}, primary blocks={_N} | block_size kv_blocks
tensorrt-llm | KV cache block reuse | KV cache block reuse is (\w{{1,12}}) | =block_reuse
tensorrt-llm | TRTGptModel maxBatchSize | maxBatchSize: {_N} | max_num_seqs
tensorrt-llm | TRTGptModel maxNumTokens | maxNumTokens: {_N} | max_num_batched_tokens
tensorrt-llm | TRTGptModel maxSequenceLen | maxSequenceLen: {_N} | max_model_len
tensorrt-llm | TRTGptModel mMaxAttentionWindowSize | WindowSize: {_N} | attention_window
tensorrt-llm | MPI size: | MPI size: (\d{{1,6}}) | ranks
tensorrt-llm | [MemUsageChange] Allocated | Allocated {_S} GPU memory for runtime buffers |
    runtime_buffers_bytes
tensorrt-llm | [MemUsageChange] Allocated | Allocated {_S} GPU memory for decoder | decoder_bytes
tensorrt-llm | [MemUsageChange] Allocated | Allocated {_S} for execution context | execution_context_bytes
tensorrt-llm | [MS] Running engine with multi stream | (multi stream) info | =multi_stream
any | CUDA out of memory | (CUDA out of memory)\. Tried to allocate {_S} | =out_of_memory wanted_bytes
"""


@lru_cache(maxsize=1)
def rules() -> tuple[Rule, ...]:
    """Every rule, compiled once."""
    found = []
    for line in _RULES.strip().replace("\n    ", " ").splitlines():  # a long rule goes on, indented
        engine, mark, rest = line.split(" | ", 2)
        pattern, names = rest.rsplit(" | ", 1)
        found.append(Rule(engine.strip(), mark, re.compile(pattern), tuple(names.split())))
    return tuple(found)
