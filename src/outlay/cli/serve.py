"""`outlay serve`: plan the serving of a model."""

from __future__ import annotations

from typing import Any

import click

from outlay.cli.options import Shared, shared_flags

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
)
NOT_SHARED = (
    "--tokens",
    "--seq",
    "--global-batch",
    "--optimizer",
    "--framework",
    "--device-hours",
    "--tp",
    "--pp",
    "--dp",
    "--ep",
    "--cp",
    "--vpp",
    "--zero",
    "--micro-batch",
    "--recompute",
    "--deadline",
    "--budget",
    "--top-k",
    "--for",
)


def _flags(function: Any) -> Any:
    for spellings, field, metavar, text in reversed(FIELDS):
        name = "serve_" + field.replace(".", "__")
        function = click.option(*spellings, name, metavar=metavar, help=text)(function)
    return click.option("--enforce-eager", "serve_enforce_eager", is_flag=True, help="No CUDA graphs.")(
        function
    )


@click.command(cls=Shared, name="serve", short_help="Plan the serving of a model.")
@click.argument("subject", required=False)
@_flags
@shared_flags(*NOT_SHARED)
@click.argument("launch", nargs=-1, type=click.UNPROCESSED)
def command(subject: str | None, launch: tuple[str, ...], **flags: Any) -> int:
    """What serving takes of a device: weights, cache, the engine itself; how many requests it holds.

    SUBJECT is a model name or id, a path to config.json or a .gguf, a scenario file or a result; or put an
    engine's own launch line after --. Leaves with 0 when it fits, 1 when it does not, 2 on bad input.

    \b
    outlay serve llama-3.1-8b -g rtx-4090 -p fp8 --max-model-len 16k
    outlay serve llama-3.1-70b -g 4xh100-sxm --tp 4 --kv fp8
    outlay serve -g 8xh200-sxm -- vllm serve deepseek-ai/DeepSeek-V3 --tensor-parallel-size 8
    """
    from outlay.cli.plan_verb import answer

    words = ((subject,) if subject else ()) + launch
    parts: dict[str, Any] = {}
    if len(words) > 1:
        parts, subject = _launch(words), None
        subject = parts.get("model")
    flags["opt_set"] = (*_of_launch(parts), *assignments(flags), *(flags.get("opt_set") or ()))
    flags["serve_words"] = words
    return answer(subject, flags, "serve")


def _launch(words: tuple[str, ...]) -> dict[str, Any]:
    """What a launch line says; what it says that is not planned is told on standard error."""
    from outlay.cli.shell import say
    from outlay.readers.launch_line import read_launch

    parts, notes = read_launch(list(words))
    for title, found in (("not known to this reader", notes.unknown), ("not planned", notes.unplanned)):
        if found:
            say(f"note: {title}: {', '.join(found)}")
    return _without_file(parts)


def _without_file(parts: dict[str, Any]) -> dict[str, Any]:
    """A GGUF that is not at hand stands for the model and the quantisation its name says."""
    import re
    from pathlib import Path

    from outlay.cli.shell import say
    from outlay.readers.launch_names import gguf_type_in_name

    given = str(parts.get("model") or "")
    if "gguf" not in given.lower() or Path(given).expanduser().exists():
        return parts
    kind, name = gguf_type_in_name(given), given.rsplit("/", 1)[-1]
    name = re.sub(r"(?i)(-\d{5}-of-\d{5})?\.gguf$|[-_.]gguf$", "", name)
    if kind is not None:
        name = re.sub(rf"(?i)[-_.](ud-)?{kind}(_xl)?$", "", name)
    serve = dict(parts.get("serve") or {})
    if kind is not None:
        serve.setdefault("precision", kind)
    say(f"note: {given} is not here, so sizes are those of {name}" + (f" in {kind}" if kind else ""))
    return {**parts, "model": name, "serve": serve}


def _of_launch(parts: dict[str, Any]) -> list[str]:
    import json

    return [
        f"serve.{name}={json.dumps(value) if not isinstance(value, str) else value}"
        for name, value in (parts.get("serve") or {}).items()
    ]


def assignments(flags: dict[str, Any]) -> list[str]:
    """The serve flags as --set would write them; --set itself comes after and wins."""
    found = []
    for _, field, _, _ in FIELDS:
        value = flags.pop("serve_" + field.replace(".", "__"), None)
        if value is not None:
            found.append(f"serve.{field}={value}")
    if flags.pop("serve_enforce_eager", False):
        found.append("serve.enforce_eager=true")
    return found
