"""What a launch line says of drafting and of several machines, as each engine spells it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from outlay.resolve.record import Resolved
from outlay.resolve.serve.phase import ServePhase

Words = list[str]
GIB = 2.0**30

SGLANG_DRAFTS = {"mtp": "NEXTN", "eagle": "EAGLE", "draft": "STANDALONE", "ngram": "NGRAM"}
TRTLLM_DRAFTS = {"mtp": "MTP", "eagle": "Eagle", "draft": "DraftTarget", "ngram": "NGram"}
ONE_CONFIG = (0, 8)  # of vLLM, from which drafting is told in one JSON
OVER_MACHINES = {
    "vllm": "start a Ray cluster over them first, and add --distributed-executor-backend ray",
    "sglang": "on each of them, with --nnodes {count}, its own --node-rank and --dist-init-addr FIRST_HOST:PORT",
    "tensorrt-llm": "under mpirun or srun with a task for each device, through trtllm-llmapi-launch",
}


def offloaded(serve: Mapping[str, Any], whole: bool = False) -> Words:
    """Weights that stay on the host, in GiB as engines are told them; whole ones where an engine takes no others.

    >>> offloaded({"cpu_offload_bytes_per_device": 1.5 * GIB}), offloaded({"cpu_offload_bytes_per_device": 1e9}, True)
    (['--cpu-offload-gb', '1.5'], ['--cpu-offload-gb', '1'])
    """
    size = float(serve.get("cpu_offload_bytes_per_device") or 0.0) / GIB
    return ["--cpu-offload-gb", f"{math.ceil(size - 1e-9) if whole else size:.4g}"] if size else []


def vllm_drafts(spec: Mapping[str, Any], version: tuple[int, ...]) -> Words:
    """One JSON, or the flags of versions before it."""
    tokens, draft = int(spec.get("tokens") or 1), spec.get("draft_model")
    method = {"draft": "draft_model"}.get(spec["method"], spec["method"])
    if version and version < ONE_CONFIG:
        named = "[ngram]" if method == "ngram" else draft
        looked = ["--ngram-prompt-lookup-max", "4"] if method == "ngram" else []
        model = ["--speculative-model", str(named)] if named else []
        return [*model, "--num-speculative-tokens", str(tokens), *looked]
    told = {"method": method, "num_speculative_tokens": tokens} | ({"model": draft} if draft else {})
    return ["--speculative-config", json.dumps(told)]


def sglang_drafts(spec: Mapping[str, Any]) -> Words:
    """A chain of drafted tokens: the engine wants its three numbers together; the token verified first is one more."""
    tokens, draft = int(spec.get("tokens") or 1), spec.get("draft_model")
    words = ["--speculative-algorithm", SGLANG_DRAFTS[spec["method"]]]
    if spec["method"] != "ngram":
        words += ["--speculative-num-steps", str(tokens), "--speculative-eagle-topk", "1"]
    words += ["--speculative-num-draft-tokens", str(tokens + 1)]
    return words + (["--speculative-draft-model-path", draft] if draft else [])


def trtllm_drafts(spec: Mapping[str, Any]) -> str:
    """A line of the options file; kinds are told apart by case."""
    length = "num_nextn_predict_layers" if spec["method"] == "mtp" else "max_draft_len"
    told = [f"decoding_type: {TRTLLM_DRAFTS[spec['method']]}", f"{length}: {int(spec.get('tokens') or 1)}"]
    if spec.get("draft_model"):
        told.append(f"speculative_model_dir: {spec['draft_model']}")
    return f"speculative_config: {{{', '.join(told)}}}"


def beside(engine: str, serve: Mapping[str, Any]) -> list[str]:
    """What the words cannot hold: a drafter that nobody named, machines beyond the first, a split not spelled."""
    spec, notes = serve.get("speculative") or {}, []
    if spec.get("method") == "eagle" and not spec.get("draft_model"):
        notes.append("name the EAGLE head that was trained for this model, as serve.speculative.draft_model")
    devices = 1
    for name in ("tensor", "pipeline", "data"):
        devices *= int(serve.get(name) or 1)
    each = int(serve.get("devices_per_node") or devices)
    if devices > each and engine in OVER_MACHINES:
        count = -(-devices // each)
        notes.append(f"one replica lies over {count} machines: " + OVER_MACHINES[engine].format(count=count))
    spread, most = int(serve.get("expert") or 1), int(serve.get("tensor") or 1) * int(serve.get("data") or 1)
    if engine == "vllm" and 1 < spread < most:
        notes.append(f"planned with experts over {spread} devices, which this line does not ask for: vLLM spreads them "
                     f"over all {most} of a replica or over none")
    split = int(serve.get("decode_context_parallel") or 1)
    if split > 1 and engine != "vllm":
        notes.append(f"planned with the cache of a request over {split} devices, which this line does not ask for")
    return notes


def as_started(resolved: Resolved, phase: ServePhase) -> dict[str, Any]:
    """The serving section as resolved, with the machine's size and the drafting model as an engine is told it."""
    told: dict[str, Any] = dict(resolved.scenario["serve"])
    if phase.draft_id:
        told["speculative"] = {**told["speculative"], "draft_model": phase.draft_id}
    if told.get("hold_steps") is None and not phase.speed.engine.holds and phase.engine.text("hold_steps_by_requests"):
        told["hold_steps"] = 1  # what the plan counts on, whatever the engine's default becomes
    if told.get("gather_steps") is None and not phase.speed.engine.gathers:
        told["gather_steps"] = 0
    return told | ({} if resolved.hardware is None else {"devices_per_node": resolved.hardware.devices_per_node})
