"""llama.cpp: `llama-server`, `llama-cli` and their older names."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from outlay.readers.launch_flags import Collected, Table, table
from outlay.readers.launch_names import KV, gguf_type_in_name

_ROWS = """
model m | text | model
hf-repo hf hfr | text | @repo
hf-file hff | text | @file
model-url mu | text | @url
ctx-size c n-ctx | int | @context
parallel np | int | max_num_seqs
ubatch-size ub n-ubatch | int | max_num_batched_tokens
batch-size b n-batch | value | -
cache-type-k ctk | text | @kv_k
cache-type-v ctv | text | @kv_v
kv-unified kvu | flag | @unified
model-draft md | text | @draft_model
draft-max draft draft-n spec-draft-n-max | int | @draft_tokens
gpu-layers ngl n-gpu-layers | text | @layers
tensor-split ts | text | @split
device dev | text | @devices
split-mode sm main-gpu mg override-tensor ot n-cpu-moe ncmoe override-tensor-draft otd rpc | value | !
gpu-layers-draft ngld ctx-size-draft cd device-draft devd rope-scaling rope-scale rope-freq-base | value | !
rope-freq-scale yarn-orig-ctx lora lora-scaled control-vector mmproj mm hf-repo-draft hfd | value | !
grp-attn-n | value | !
cache-type-k-draft ctkd cache-type-v-draft ctvd override-kv cache-ram cram ctx-checkpoints | value | !
spec-type fit-target | value | !
flash-attn fa | switch | @flash
fit | switch | -
spec-draft-n-min spec-draft-p-min spec-draft-ngl spec-draft-device spec-draft-ctx-size type-k | value | !
type-v | value | !
slot-save-auto no-telemetry chat-format | value | -
no-kv-offload nkvo cpu-moe cmoe swa-full no-mmproj embedding embeddings no-op-offload | flag | !
cont-batching cb no-cont-batching nocb mlock no-mmap mmap jinja no-warmup warmup no-webui metrics | flag | -
slots | flag | -
verbose v props no-slots log-disable conversation cnv no-conversation no-cnv interactive i color | flag | -
no-jinja | flag | -
ignore-eos special no-perf perf escape e simple-io single-turn st check-tensors no-context-shift | flag | -
context-shift log-timestamps log-prefix interactive-first no-display-prompt offline direct-io | flag | -
no-repack | flag | -
instruct ins reverse-prompt-off verbose-prompt no-prefill-assistant log-colors webui reranking | flag | -
host port threads t threads-batch tb threads-http alias a api-key api-key-file chat-template | value | -
prompt p | value | -
n-predict n predict seed s temp temperature top-k top-p min-p repeat-penalty repeat-last-n keep | value | -
file f | value | -
numa log-file timeout to slot-save-path grammar grammar-file json-schema path reasoning-format | value | -
samplers | value | -
chat-template-file chat-template-kwargs reasoning-budget cache-reuse slot-prompt-similarity prio | value | -
poll | value | -
cpu-mask cpu-range ssl-key-file ssl-cert-file hf-token hft draft-min draft-p-min sps lv | value | -
log-verbosity | value | -
presence-penalty frequency-penalty mirostat system-prompt sys defrag-thold dt dry-multiplier | value | -
in-prefix | value | -
reverse-prompt r models-dir api-prefix image sleep-idle-seconds verbosity models-max | value | -
xtc-probability | value | -
"""


@lru_cache(maxsize=1)
def flags() -> Table:
    return table(_ROWS)


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
    """The context is shared by the slots unless the KV pool is unified."""
    context, unified = c.take("@context"), c.take("@unified")
    slots = c.values.get("max_num_seqs", 1)
    if slots < 1:
        c.take("max_num_seqs")
        slots = 1
    if not context:
        c.note("serve.max_model_len", "the model's own", "no --ctx-size: the whole trained context is allocated")
        return
    if slots > 1 and not unified:
        serve["max_model_len"] = max(1, context // slots)
        c.note(
            "serve.max_model_len",
            serve["max_model_len"],
            f"--ctx-size {context:,} is divided among {slots} slots",
        )
    else:
        serve["max_model_len"] = context
    serve.setdefault("max_num_seqs", slots)


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
    if layers is not None and str(layers).lower() not in ("99", "999", "-1", "all", "auto", "1000", "9999"):
        c.unplanned.append(f"gpu-layers {str(layers)[:20]}: part of the model stays in host memory")
    if flash is not None and str(flash).lower() in ("off", "0", "false"):
        c.unplanned.append("flash-attn off: attention scores take compute buffer")
    number = max((text.count(",") + 1 for text in (split, devices) if text), default=1)
    if number > 1:
        serve["pipeline"] = number
        c.note("serve.pipeline", number, "layers are split over the devices (split-mode layer)")
