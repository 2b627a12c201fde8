"""llama.cpp: `llama-server`, `llama-cli` and their older names."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from outlay.readers.launch.flag_table import Collected, Table, listed, table, whole
from outlay.readers.launch.names import KV, gguf_type_in_name

ALL_LAYERS = 99  # what people write for "all of them"
SLOTS = 4  # the server's own choice (tools/server/server.cpp, since November 2025)
_ROWS = """
model m | text | model
hf-repo hf hfr | text | @repo
hf-file hff | text | @file
model-url mu | text | @url
ctx-size c n-ctx | int | @context
parallel np | int | max_num_seqs
kv-unified kvu | flag | @unified
kv-unified-per-slot | int | @per_slot
ubatch-size ub n-ubatch | int | max_num_batched_tokens
cache-type-k ctk | text | @kv_k
cache-type-v ctv | text | @kv_v
model-draft md spec-draft-model | text | @draft_model
draft-max draft draft-n spec-draft-n-max | int | @draft_tokens
gpu-layers ngl n-gpu-layers | text | @layers
tensor-split ts | text | @split
device dev | text | @devices
flash-attn fa | switch | @flash
fit | switch | @fit
"""


@lru_cache(maxsize=1)
def flags() -> Table:
    return listed("llamacpp.txt") | table(_ROWS)


def finish(c: Collected) -> dict[str, Any]:
    """Scenario parts from the collected flags."""
    serve: dict[str, Any] = {"engine": "llama.cpp"}
    model, repo = c.take("model"), c.take("@repo")
    named = " ".join(str(x) for x in (model, repo, c.take("@file"), c.take("@url")) if x)
    if not model and repo:
        model = str(repo).partition(":")[0]
    kind = gguf_type_in_name(named) if named else None
    if kind and str(model).lower().endswith(".gguf"):
        c.note("serve.precision", kind, "by the file's name; not set, so that the file's own tensors count")
    elif kind:
        serve["precision"] = kind
        c.note("serve.precision", kind, "from the name of the repository or file")
    _context(c, serve)
    _kv(c, serve)
    draft, tokens = c.take("@draft_model"), c.take("@draft_tokens")
    if draft:
        serve["speculative"] = {"method": "draft", "draft_model": draft} | ({"tokens": tokens} if tokens else {})
    _offload(c, serve)
    serve.update({k: v for k, v in c.values.items() if not k.startswith("@")})
    c.unknown += [f"{word} (a word without a flag)" for word in c.positional[:20]]
    return {"serve": serve} | ({"model": model} if model else {})


def _context(c: Collected, serve: dict[str, Any]) -> None:
    """The context is divided among the slots asked for, unless they share one cache."""
    context, unified, own = c.take("@context"), c.take("@unified"), c.take("@per_slot")
    slots = c.values.get("max_num_seqs", 0)
    if slots < 1:  # -1: the server chooses
        c.take("max_num_seqs")
        slots = 0 if c.values.get("@program", "llama-server") == "llama-server" else 1
    if slots:
        serve["max_num_seqs"] = slots
    if own and own > 0 and (not context or context >= own * (slots or SLOTS)):
        serve |= {"max_model_len": own, "max_num_seqs": slots or SLOTS, "kv_unified": False}
        c.note("serve.max_model_len", own, "each slot's own limit, and the cache holds as much for every slot")
        return
    if unified is not None or slots > 1:
        serve["kv_unified"] = bool(unified)
    if not context or context < 0:
        fits = "" if str(c.take("@fit", "on")).lower() in ("off", "0", "false") else ", less where that does not fit"
        c.note("serve.max_model_len", "the model's own", f"no --ctx-size: the whole trained context{fits}")
    elif slots > 1 and not unified:
        serve["max_model_len"] = max(1, context // slots)
        c.note(
            "serve.max_model_len",
            serve["max_model_len"],
            f"--ctx-size {context:,} is divided among {slots} slots",
        )
    else:
        serve["max_model_len"] = context


def _kv(c: Collected, serve: dict[str, Any]) -> None:
    kinds = [str(c.take(name, "f16")).lower() for name in ("@kv_k", "@kv_v")]
    known = [KV.get(kind) for kind in kinds]
    if known[0] and known[0] == known[1]:
        serve["kv_precision"] = known[0]
    else:
        c.unplanned.append(f"cache types k {kinds[0][:20]}, v {kinds[1][:20]}: one KV precision is planned")


def _offload(c: Collected, serve: dict[str, Any]) -> None:
    layers, flash = c.take("@layers"), c.take("@flash")
    split, devices = c.take("@split"), c.take("@devices")
    if layers is not None and str(layers).lower() not in ("-1", "all", "auto"):
        number = whole(layers, "gpu-layers")
        if 0 <= number < ALL_LAYERS:
            serve["gpu_layers"] = number
            c.note("serve.gpu_layers", number, "the other layers stay in host memory")
    if flash is not None and str(flash).lower() in ("off", "0", "false"):
        c.unplanned.append("flash-attn off: attention scores take compute buffer")
    number = max((text.count(",") + 1 for text in (split, devices) if text), default=1)
    if number > 1:
        serve["pipeline"] = number
        c.note("serve.pipeline", number, "layers are split over the devices (split-mode layer)")
