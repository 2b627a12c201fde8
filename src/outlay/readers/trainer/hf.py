"""Transformers `TrainingArguments`, TRL, LLaMA-Factory and axolotl settings → `finetune:`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from outlay.readers.launch.flag_table import Collected, Table, read_keys, table
from outlay.readers.trainer.names import flat, matrices, model_name, optimizer, put, words
from outlay.readers.trainer.sharding import accelerate_table, finish_sharding, merge

_ROWS = """
model-name-or-path base-model model-id model-name | text | @model
per-device-train-batch-size micro-batch-size | int | micro_batch
gradient-accumulation-steps | int | gradient_accumulation
num-train-epochs num-epochs | real | epochs
max-seq-length max-length cutoff-len model-max-length sequence-len max-seq-len | int | sequence_length
packing sample-packing neat-packing | flag | packing
gradient-checkpointing | switch | @checkpointing
disable-gradient-checkpointing | noflag | @checkpointing
optim optimizer | text | @optimizer
bf16 bfloat16 | switch | @bf16_text
fp16 float16 | switch | @fp16_text
pure-bf16 | flag | @pure
torch-dtype dtype | text | @dtype
deepspeed | json_or_text | @deepspeed
fsdp | list | @fsdp
fsdp-config | json_or_text | @fsdp_config
stage | text | @stage
rl | text | @stage
finetuning-type adapter | text | @type
use-peft | flag | @peft
lora-rank lora-r r | int | rank
lora-target lora-target-modules target-modules | list | @targets
lora-target-linear | flag | @all_linear
additional-target lora-modules-to-save modules-to-save | list | @saved
use-dora peft-use-dora | flag | @dora
load-in-4bit | flag | @four
load-in-8bit | flag | @eight
quantization-bit | int | @bits
max-samples | real | examples
ref-model | text | reference
precompute-ref-log-probs | flag | @precomputed
num-generations | int | @samples
max-completion-length | int | @response
max-prompt-length | int | @prompt
use-vllm | flag | @vllm
vllm-mode | text | @vllm_mode
vllm-tensor-parallel-size | int | @vllm_tensor
pref-loss loss-type | text | @loss
sequence-parallel-degree context-parallel-size sequence-parallel-size | int | @context
tensor-parallel-size | int | @tensor
max-steps freeze-trainable-layers freeze-trainable-modules freeze-extra-modules unfrozen-parameters | list | !
lora-alpha lora-dropout lora-bias use-rslora lora-mlp-kernel lora-qkv-kernel lora-o-kernel | value | -
pissa-init loraplus-lr-ratio lora-fan-in-fan-out lora-on-cpu loftq-init create-new-adapter | value | -
use-unsloth unsloth lisa-n-layers relora-steps use-galore galore-rank use-apollo use-badam | value | !
use-llama-pro | value | !
enable-liger-kernel use-liger-kernel use-liger liger-fused-linear-cross-entropy liger-rope | value | !
liger-rms-norm | value | !
liger-glu-activation liger-layer-norm cut-cross-entropy torch-compile activation-offloading | value | !
upcast-layernorm upcast-lmhead-output quantization-method double-quantization bnb-4bit-quant-type | value | !
use-bnb-nested-quant bnb-4bit-compute-dtype bnb-4bit-use-double-quant bnb-4bit-quant-storage | value | !
per-device-eval-batch-size eval-batch-size eval-sample-packing group-by-length dataset-num-proc | value | -
reward-model reward-model-type reward-funcs vllm-gpu-memory-utilization vllm-max-model-length | list | !
value-model teacher-model-name-or-path freeze-vision-tower freeze-multi-modal-projector | value | !
train-on-inputs | value | !
flash-attn flash-attention attn-implementation xformers-attention sdp-attention s2-attention | value | -
eager-attention flex-attention use-flash-attention-2 gradient-checkpointing-kwargs.use-reentrant | value | -
learning-rate weight-decay adam-beta1 adam-beta2 adam-epsilon adam-epsilon2 max-grad-norm | value | -
lr-scheduler lr-scheduler-type lr-scheduler-kwargs cosine-min-lr-ratio warmup-steps warmup-ratio | value | -
seed data-seed | value | -
do-train do-eval do-predict eval-strategy evaluation-strategy eval-steps eval-on-start | value | -
evals-per-epoch | value | -
eval-max-new-tokens eval-table-size eval-causal-lm-metrics val-size val-set-size test-datasets | value | -
output-dir overwrite-output-dir overwrite-cache logging-steps logging-dir logging-first-step | value | -
logging-strategy save-steps save-strategy save-total-limit save-only-model save-safetensors | value | -
saves-per-epoch | value | -
report-to run-name plot-loss include-num-input-tokens-seen ddp-timeout ddp-find-unused-parameters | list | -
ddp-broadcast-buffers ddp-bucket-cap-mb local-rank dataloader-num-workers dataloader-pin-memory | value | -
dataloader-drop-last dataloader-prefetch-factor dataloader-persistent-workers | value | -
remove-unused-columns | value | -
dataset dataset-dir dataset-name dataset-config dataset-text-field dataset-path | list | -
dataset-prepared-path | list | -
datasets eval-dataset media-dir template preprocessing-num-workers tokenized-path cache-dir | list | -
chat-template special-tokens tokens push-to-hub hub-model-id hub-token hub-strategy | list | -
hub-private-repo trust-remote-code | list | -
resume-from-checkpoint auto-resume-from-checkpoints load-best-model-at-end metric-for-best-model | value | -
strict | value | -
greater-is-better early-stopping-patience tf32 beta pref-beta pref-ftx simpo-gamma | value | -
kto-chosen-weight | value | -
epsilon temperature top-p top-k num-iterations scale-rewards label-smoothing neftune-noise-alpha | value | -
use-fast-tokenizer tokenizer-type tokenizer-use-fast model-type type-of-model | value | -
is-llama-derived-model | value | -
bf16-full-eval fp16-full-eval pad-to-sequence-len pad-to-multiple-of shuffle-merged-datasets debug | value | -
wandb-project wandb-entity wandb-watch wandb-name wandb-log-model mlflow-tracking-uri use-swanlab | value | -
swanlab-project ray-run-name completion-only-loss assistant-only-loss reward-weights | list | -
log-completions | list | -
dataset-train-split dataset-test-split streaming mask-history cutoff enable-thinking system-prompt | value | -
bos-token unk-token eos-token pad-token revision model-revision adapter-name-or-path | value | -
lora-model-dir | value | -
image-max-pixels video-max-pixels rope-scaling generate-max-length predict-with-generate | value | -
infer-backend | value | -
noisy-embedding-alpha torch-empty-cache-steps ddp-backend average-tokens-across-devices use-cpu | value | -
local_rank logging-nan-inf-filter save-on-each-node include-tokens-per-second plugins | list | -
gpu-memory-limit | list | -
experts-implementation use-kernels use-scattermoe use-sonicmoe quantize-moe-experts | value | !
fused-attn-kernel | value | !
expert-parallel-size dp-shard-size dp-replicate-size tiled-mlp lora-target-parameters | value | !
qat.* ebft.* oft-block-size oft-target kt-config.* use-kt kt-cpu-activation fp8 fp8-backend | value | !
fp8-enable-fsdp-float8-all-gather use-adam-mini use-asft-loss cp-size export-quantization-bit | value | !
model-quantization-config model-quantization-config-kwargs.* bnb-config-kwargs.* | value | !
liger-rms-norm-gated | value | !
freeze-language-model freeze-mm-modules vllm-max-model-len vllm-enforce-eager | value | !
reward-processing-classes | value | !
model-class sample-backend kernel-config.* dist-config.* init-config.* batching-strategy | value | -
use-v1-kernels | value | -
gptq gptq-groupsize gptq-model-v1 max-packed-sequence-len flash-attn-fuse-mlp | value | !
flash-attn-cross-entropy | value | !
eot-tokens processor-type skip-prepare-dataset tokenizer-use-mistral-common loss-watchdog-threshold | list | -
loss-watchdog-patience trackio-project-name trackio-run-name trackio-space-id torchdistx-path | value | -
eta-min | value | -
cosine-constant-lr-ratio generation-kwargs.* chat-template-kwargs.* push-dataset-to-hub | value | -
wandb-run-id | value | -
use-tensorboard min-sample-len vllm-serve-module low-cpu-mem-usage flex-attn-compile-kwargs.* | value | -
experimental-skip-move-to-device video-fps video-maxlen image-maxlen export-dir export-size | value | -
export-device | value | -
export-legacy-format export-hf-on-finish export-hub-model-id asft-alpha ray-num-workers | value | -
max-new-tokens | value | -
test-split train-split accelerator-config.* gradient-checkpointing-kwargs.* lr-groups | value | -
unmask-token-ids | value | -
vllm-server-host vllm-server-port vllm-server-base-url vllm-server-timeout hf-hub-token | value | -
use-mps-device | value | -
"""
_ALGORITHMS = {
    "sft": "sft",
    "pt": "sft",
    "dpo": "dpo",
    "orpo": "orpo",
    "kto": "kto",
    "ppo": "ppo",
    "grpo": "grpo",
    "simpo": "orpo",
    "ipo": "dpo",
    "gkd": "distill",
    "rloo": "grpo",
}
_FALSE = ("false", "none", "no", "0", "")


@lru_cache(maxsize=1)
def flags() -> Table:
    return {**accelerate_table(), **table(_ROWS)}


def finish(c: Collected, kind: str, folder: str | os.PathLike[str] | None = None) -> dict[str, Any]:
    """Scenario parts; `kind` is hf, llamafactory or axolotl, whose defaults differ."""
    tune: dict[str, Any] = {"framework": "transformers"}
    model = model_name(c.take("@model"))
    _method(c, tune, kind)
    _algorithm(c, tune)
    _precision(c, tune)
    _fsdp(c, folder)
    finish_sharding(c, tune, folder)
    _checkpointing(c, tune, kind)
    if kind == "llamafactory" and tune.get("algorithm", "sft") == "sft":
        c.values.setdefault("sequence_length", 2048)
    _defaults(c, tune, kind)
    tune.update({k: v for k, v in c.values.items() if not k.startswith("@")})
    return {"finetune": tune} | ({"model": model} if model else {})


def _method(c: Collected, tune: dict[str, Any], kind: str) -> None:
    """Full, LoRA, QLoRA or DoRA, and what the base is kept in."""
    said, peft = str(c.take("@type", "") or "").lower(), c.take("@peft")
    bits = c.take("@bits")
    four, eight = c.take("@four") or bits == 4, c.take("@eight") or bits == 8
    dora = c.take("@dora")
    adapters = (
        said in ("lora", "qlora", "oft", "dora", "llama-adapter", "prefix", "ia3")
        or bool(peft)
        or (kind != "axolotl" and not said and ("rank" in c.values or four))
    )
    if kind == "llamafactory" and not said:
        adapters = True
        c.note("finetune.method", "lora", "LLaMA-Factory's default finetuning_type")
    if said in ("freeze", "llama-pro"):
        c.unplanned.append(f"finetuning_type {said}: planned as full")
    tune["method"] = ("dora" if dora else "qlora" if four or said == "qlora" else "lora") if adapters else "full"
    if adapters and (four or said == "qlora"):
        tune["base_precision"] = "nf4"
    elif eight:
        tune["base_precision"] = "int8"
    _adapter(c, tune, adapters, kind)


def _adapter(c: Collected, tune: dict[str, Any], adapters: bool, kind: str) -> None:
    targets, everything, saved = c.take("@targets"), c.take("@all_linear"), c.take("@saved")
    if not adapters:
        c.take("rank")
        return
    if "rank" not in c.values:
        c.values["rank"] = {"llamafactory": 8, "axolotl": 8}.get(kind, 16)
        c.note("finetune.rank", c.values["rank"], "the trainer's default")
    named = matrices(c, words(str(targets))) if targets else []
    if everything:
        named = ["all"]
    if not named:
        named = ["all"] if kind != "hf" else ["q", "v"]
        c.note("finetune.target_modules", named, "the trainer's default")
    tune["target_modules"] = named
    if saved:
        tune["modules_to_save"] = words(str(saved))[:50]


def _algorithm(c: Collected, tune: dict[str, Any]) -> None:
    stage, loss = str(c.take("@stage", "") or "").lower(), str(c.take("@loss", "") or "").lower()
    samples, response, prompt = c.take("@samples"), c.take("@response"), c.take("@prompt")
    named = _ALGORITHMS.get(stage) or ("grpo" if samples else None)
    if stage and named is None:
        c.unplanned.append(f"stage {stage[:40]}")
    if named == "dpo" and loss in ("orpo", "simpo"):
        named = "orpo"
    if stage == "simpo" or loss == "simpo":
        c.note("finetune.algorithm", "orpo", "SimPO needs no reference model, as ORPO")
    put(tune, algorithm=named)
    if c.take("@precomputed"):
        tune["reference"] = False
    vllm, mode, tensor = c.take("@vllm"), str(c.take("@vllm_mode", "")).lower(), c.take("@vllm_tensor")
    if named in ("grpo", "ppo"):
        rollout: dict[str, Any] = {"engine": "vllm" if vllm else "transformers"}
        put(rollout, samples=samples, max_response=response, tensor=tensor)
        if vllm and mode:
            rollout["colocate"] = mode == "colocate"
        tune["rollout"] = rollout
        if response and prompt and "sequence_length" not in c.values:
            c.values["sequence_length"] = response + prompt


def _truthy(value: Any) -> bool:
    return str(value).lower() not in _FALSE


def _precision(c: Collected, tune: dict[str, Any]) -> None:
    brain, half, pure = c.take("@bf16_text"), c.take("@fp16_text"), c.take("@pure")
    kind = str(c.take("@dtype", "") or "").lower().replace("torch.", "")
    if pure or _truthy(brain or ""):
        tune["precision"] = "bf16"
        if str(brain).lower() == "auto":
            c.note("finetune.precision", "bf16", "bf16: auto, on a device that has it")
    elif _truthy(half or ""):
        tune["precision"] = "fp16"
    elif kind in ("bfloat16", "bf16"):
        tune["precision"] = "bf16"
    elif kind in ("float16", "fp16", "half"):
        tune["precision"] = "fp16"
    elif kind in ("float32", "fp32", "float"):
        tune["precision"] = "fp32"
    if pure:
        c.unplanned.append("pure_bf16: no fp32 copy of trained weights")


def _fsdp(c: Collected, folder: str | os.PathLike[str] | None) -> None:
    """`fsdp: full_shard auto_wrap offload`, a list of these, or true; `fsdp_config` with more."""
    given, config = c.take("@fsdp"), c.take("@fsdp_config")
    if isinstance(config, Mapping):
        inner = Collected(c.source)
        read_keys(flat(config), accelerate_table(), inner)
        merge(c, inner)
        if not given:
            c.values.setdefault("@distributed", "FSDP")
    elif config:
        c.note("fsdp_config", str(config)[:200], "the file that is named was not read")
    if not given or str(given).lower() in _FALSE:
        return
    asked = words(str(given).lower())
    strategy = next((word for word in asked if word.startswith(("full", "shard", "hybrid", "no_"))), "full_shard")
    c.values.setdefault("@strategy", strategy)
    if "offload" in asked:
        c.values.setdefault("@fsdp_offload", True)


def _checkpointing(c: Collected, tune: dict[str, Any], kind: str) -> None:
    given = c.take("@checkpointing")
    if given is not None:
        c.values["gradient_checkpointing"] = _truthy(given)
        if str(given).lower() in ("offload", "offload_disk", "unsloth"):
            c.unplanned.append(f"gradient_checkpointing {given}: activations kept in host memory")
    elif "gradient_checkpointing" not in c.values:
        on = kind == "llamafactory"
        c.values["gradient_checkpointing"] = on
        c.note("finetune.gradient_checkpointing", on, "the trainer's default")


def _defaults(c: Collected, tune: dict[str, Any], kind: str) -> None:
    """The trainers' own defaults where they matter and nothing is said."""
    for name, value in (
        ("micro_batch", 1 if kind == "axolotl" else 8),
        ("gradient_accumulation", 1),
        ("epochs", 1.0 if kind == "axolotl" else 3.0),
    ):
        if name not in c.values and not (name == "gradient_accumulation" and "global_batch" in c.values):
            c.values[name] = value
            c.note(f"finetune.{name}", value, "the trainer's default")
    if "sequence_length" not in c.values:
        c.note("finetune.sequence_length", None, "not stated: the plan's default or the data decide")
    if "gradient_accumulation" in c.values and "global_batch" in c.values:
        c.note("finetune.global_batch", c.take("global_batch"), "not used: gradient accumulation is given")
    if "optimizer" not in tune:
        named = optimizer(c, str(c.take("@optimizer", "adamw")))
        put(tune, optimizer=named)


def _lifted(keys: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """Settings that axolotl (`trl`, `vllm`) and LLaMA-Factory's new format nest, written as TRL and the old do."""
    lifted: dict[Any, Any] = {}
    if isinstance(keys.get("model"), str) and not keys.get("model_name_or_path"):
        keys = _renamed(keys)
    for part, prefix in (("trl", ""), ("vllm", "vllm_")):
        inner = keys.get(part)
        if isinstance(inner, Mapping):
            lifted.update({f"{prefix}{name}": value for name, value in inner.items()})
    return lifted | {k: v for k, v in keys.items() if k not in ("trl", "vllm") or not isinstance(v, Mapping)}


_NEW_NAMES = {
    "model": "model_name_or_path", "peft_config.name": "finetuning_type", "peft_config.r": "lora_rank",
    "peft_config.target_modules": "lora_target", "peft_config.lora_alpha": "lora_alpha",
    "peft_config.lora_dropout": "lora_dropout", "quant_config.quantization_bit": "quantization_bit",
    "train_dataset": "dataset", "dist_config.name": "fsdp",
}  # fmt: skip


def _renamed(keys: Mapping[Any, Any]) -> dict[Any, Any]:
    """LLaMA-Factory's version 1 of its file in the names of version 0."""
    found = {_NEW_NAMES.get(name, name): value for name, value in flat(keys).items()}
    if not str(found.get("fsdp", "fsdp")).startswith("fsdp"):
        found["deepspeed"] = found.pop("dist_config.config_file", found.pop("fsdp"))
    elif "fsdp" in found:
        found["fsdp"] = "full_shard"
    found.setdefault("finetuning_type", "full")
    return found


def settings_in_line(keys: Mapping[Any, Any], c: Collected) -> None:
    """Settings of a file: nested only under fsdp_config, deepspeed and the like, which stay whole."""
    known = flags()
    keys = _lifted(keys)
    nested = {k: v for k, v in keys.items() if isinstance(v, Mapping) and str(k).replace("_", "-") not in known}
    whole_keys = {k: v for k, v in keys.items() if k not in nested}
    read_keys(whole_keys | flat(nested), flags(), c)


__all__ = ["finish", "flags", "settings_in_line"]
