"""Flags that stand for one field of a phase: read by its verb, written by `Next:`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# flag, field of the scenario, metavar, help
TUNE: tuple[tuple[str, str, str, str], ...] = (
    ("--method", "method", "NAME", "full, lora, qlora, dora, qdora, prefix, prompt, adapter, freeze."),
    ("--rank", "rank", "N", "Rank of the adapters."),
    ("--targets", "target_modules", "LIST", "Matrices with adapters: q,v or all."),
    ("--base", "base_precision", "NAME", "What the frozen base is kept in: bf16, nf4-dq, gptq-int4, fp8."),
    ("--algorithm", "algorithm", "NAME", "sft, dpo, orpo, kto, distill, ppo, grpo."),
    ("--examples", "examples", "N", "Examples in one epoch: 50k."),
    ("--epochs", "epochs", "N", "Passes over the data."),
    ("--data", "data_file", "FILE", "JSON Lines, JSON or Parquet whose row lengths are read."),
    ("--replay", "replay_share", "SHARE", "Share of the tokens trained that replays the earlier mixture."),
    ("--longest", "longest", "N", "Tokens of the longest row: sets memory."),
    ("--mean", "mean", "N", "Tokens of the mean row: sets time."),
    ("--checkpointing", "gradient_checkpointing", "YES|NO", "Compute activations again in the backward pass."),
    ("--accumulate", "gradient_accumulation", "N", "Micro-batches a step."),
)

# spellings (ours, then the engines'), field of the scenario, metavar, help
SERVE: tuple[tuple[tuple[str, ...], str, str, str], ...] = (
    (("--engine",), "engine", "NAME", "vllm, sglang, tensorrt-llm, llama.cpp, transformers."),
    (("--engine-version",), "engine_version", "V", "What it differs by is known by version: 0.11.0."),
    (("--tp", "--tensor-parallel-size"), "tensor", "N", "Tensor parallel degree."),
    (("--pp", "--pipeline-parallel-size"), "pipeline", "N", "Pipeline stages."),
    (("--dp", "--data-parallel-size"), "data", "N", "Attention ranks with requests of their own."),
    (("--ep",), "expert", "N", "Expert parallel degree."),
    (
        ("--dcp", "--decode-context-parallel-size"),
        "decode_context_parallel",
        "N",
        "Ranks that share a cache.",
    ),
    (("--replicas",), "replicas", "N", "Replicas on the fleet."),
    (
        ("--max-model-len", "--ctx-size", "-c"),
        "max_model_len",
        "N",
        "Longest request, prompt and answer: 32k.",
    ),
    (
        ("--gpu-memory-utilization", "--mem-fraction-static"),
        "memory_utilization",
        "SHARE",
        "Of the device: 0.9.",
    ),
    (("--max-num-seqs",), "max_num_seqs", "N", "Requests run at once, at most."),
    (("--max-num-batched-tokens",), "max_num_batched_tokens", "N", "Tokens of one step, at most."),
    (("--kv", "--kv-cache-dtype"), "kv_precision", "NAME", "bf16, fp16, fp8, int8, q8_0, q4_0."),
    (("--n-gpu-layers", "-ngl"), "gpu_layers", "N", "Layers on devices, the rest on the host (llama.cpp)."),
    (("--cpu-offload",), "cpu_offload_bytes_per_device", "SIZE", "Weights of a device kept on the host: 10GiB."),
    (("--in",), "workload.input", "N", "Tokens of a prompt."),
    (("--out",), "workload.output", "N", "Tokens of an answer."),
    (("--batch",), "workload.batch", "N", "Requests started together."),
    (("--concurrency",), "workload.concurrency", "N", "Requests always in flight."),
    (("--rate",), "workload.rate", "R", "Requests a second; inf queues all at once."),
    (("--users",), "workload.users", "N", "People active in the busiest hour."),
    (("--hourly",), "workload.hourly", "SHAPE", "Loads by the hour, a CSV or office-hours, consumer, flat."),
    (("--scaling",), "scaling", "HOW", "fixed, autoscale or mixed: how replicas follow the load."),
    (("--min-replicas",), "autoscale.min_replicas", "N", "Of a replay whose replicas come and go: at least; 1."),
    (("--max-replicas",), "autoscale.max_replicas", "N", "At most: what the fleet holds."),
    (("--target-requests",), "autoscale.target_requests", "N", "Inside each when another is started."),
    (("--cold-start",), "cold_start", "TIME", "Until a replica that is started answers: 90s."),
    (("--trace",), "workload.trace", "FILE", "Requests of your own, replayed: CSV or JSON Lines."),
    (("--router",), "router", "HOW", "Of a replay: least_loaded, round_robin or prefix."),
    (("--requests",), "workload.requests", "N", "How many requests in all, instead of hours."),
    (("--cached",), "prefix_cache_hit", "SHARE", "Of prompt tokens found in the prefix cache."),
    (("--hours",), "hours", "H", "How long it is kept up; a year."),
    (("--ttft",), "slo.ttft", "TIME", "Promised time to the first token: 500ms."),
    (("--tpot",), "slo.tpot", "TIME", "Promised time per output token: 50ms."),
    (("--e2e",), "slo.e2e", "TIME", "Promised time of a whole request: 10s."),
    (("--among",), "options.devices", "A,B", "Devices to choose from where no fleet is given."),
    (("--disaggregated",), "options.disaggregated", "HOW", "Pools of prompts and of answers: true, false, only."),
    (("--max-devices",), "options.max_devices", "N", "Of a deployment that is searched for."),
    (("--at",), "slo.percentile", "P", "Of requests that the promise holds for: p99."),
)

# The flags of each phase, alike
OF_PHASE = {"serve": SERVE, "finetune": tuple(((flag,), *rest) for flag, *rest in TUNE)}

# Tables of a serving plan's replay, each with a flag that names its file
TABLES = {
    "requests": "Write every request of the replay there: .csv or .parquet.",
    "steps": "Write the engines' steps of the replay there, equal ones in one row: .csv or .parquet.",
}

# Of serving, without a value
SWITCHES = (
    ("--replay/--no-replay", "replay", "Times of a replay, request by request, or of the closed form alone."),
    ("--enforce-eager", "enforce_eager", "No CUDA graphs."),
)


def tables_asked(flags: Mapping[str, Any]) -> dict[str, str]:
    """The files that flags name for tables of the replay, by table."""
    return {name: flags[f"table_{name}"] for name in TABLES if flags.get(f"table_{name}")}
