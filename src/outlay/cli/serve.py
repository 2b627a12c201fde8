"""`outlay serve`: plan the serving of a model."""

from __future__ import annotations

from typing import Any

import click

from outlay.cli.options import OF_TRAINING, shared_flags
from outlay.cli.subjects import Launching

# spellings (ours, then the engines'), field of the scenario, metavar, help
FIELDS: tuple[tuple[tuple[str, ...], str, str, str], ...] = (
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
    (("--in",), "workload.input", "N", "Tokens of a prompt."),
    (("--out",), "workload.output", "N", "Tokens of an answer."),
    (("--batch",), "workload.batch", "N", "Requests started together."),
    (("--concurrency",), "workload.concurrency", "N", "Requests always in flight."),
    (("--rate",), "workload.rate", "R", "Requests a second; inf queues all at once."),
    (("--users",), "workload.users", "N", "People active in the busiest hour."),
    (("--hourly",), "workload.hourly", "SHAPE", "Loads by the hour, a CSV or office-hours, consumer, flat."),
    (("--scaling",), "scaling", "HOW", "fixed, autoscale or mixed: how replicas follow the hours."),
    (("--trace",), "workload.trace", "FILE", "Requests of your own, replayed: CSV or JSON Lines."),
    (("--requests",), "workload.requests", "N", "How many requests in all, instead of hours."),
    (("--cached",), "prefix_cache_hit", "SHARE", "Of prompt tokens found in the prefix cache."),
    (("--hours",), "hours", "H", "How long it is kept up; a year."),
    (("--ttft",), "slo.ttft", "TIME", "Promised time to the first token: 500ms."),
    (("--tpot",), "slo.tpot", "TIME", "Promised time per output token: 50ms."),
    (("--e2e",), "slo.e2e", "TIME", "Promised time of a whole request: 10s."),
    (("--among",), "options.devices", "A,B", "Devices to choose from where no fleet is given."),
    (("--max-devices",), "options.max_devices", "N", "Of a deployment that is searched for."),
    (("--at",), "slo.percentile", "P", "Of requests that the promise holds for: p99."),
)
PERCENTILE, LISTED = "slo.percentile", "options.devices"
NOT_SHARED = (*OF_TRAINING, "--deadline", "--top-k")


def _flags(function: Any) -> Any:
    for spellings, field, metavar, text in reversed(FIELDS):
        name = "serve_" + field.replace(".", "__")
        function = click.option(*spellings, name, metavar=metavar, help=text)(function)
    return click.option("--enforce-eager", "serve_enforce_eager", is_flag=True, help="No CUDA graphs.")(
        function
    )


@click.command(cls=Launching, name="serve", short_help="Plan the serving of a model.")
@click.argument("subject", required=False)
@_flags
@shared_flags(*NOT_SHARED)
def command(subject: str | None, **flags: Any) -> int:
    """What serving takes: memory, latency and throughput under a load, devices, money, energy and carbon.

    SUBJECT is a model name or id, a path to config.json or a .gguf, a scenario file or a result; or put an
    engine's own launch line after --. Leaves with 0 when it fits, sustains the load and keeps its promises, 1 when
    it does not, 2 on bad input.

    Without -g every device that can be rented is planned under the load, and the cheapest that keeps the promises
    is named.

    \b
    outlay serve llama-3.1-70b --users 2000 --ttft 500ms --tpot 50ms --at p99
    outlay serve llama-3.1-8b -g rtx-4090 -p fp8 --max-model-len 16k
    outlay serve llama-3.1-70b -g 4xh100-sxm --tp 4 --kv fp8 --users 500 --ttft 1s --tpot 50ms
    outlay serve -g 8xh200-sxm -- vllm serve deepseek-ai/DeepSeek-V3 --tensor-parallel-size 8
    """
    from outlay.cli.plan_verb import answer

    flags["opt_set"] = (*assignments(flags), *(flags.get("opt_set") or ()))
    return answer(subject, flags, "serve")


def assignments(flags: dict[str, Any]) -> list[str]:
    """The serve flags as --set would write them; --set itself comes after and wins."""
    found = []
    for _, field, _, _ in FIELDS:
        value = flags.pop("serve_" + field.replace(".", "__"), None)
        if value is not None:
            if field == PERCENTILE:
                value = value.removeprefix("p").removeprefix("P")
            if field == LISTED:
                value = "[" + value + "]"
            found.append(f"serve.{field}={value}")
    if flags.pop("serve_enforce_eager", False):
        found.append("serve.enforce_eager=true")
    return found
