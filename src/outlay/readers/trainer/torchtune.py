"""torchtune recipes and torchtitan job files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from outlay.readers.launch.flag_table import Collected, Table, read_keys, table
from outlay.readers.trainer.names import flat, matrices, model_name, optimizer, put, words

_ROWS = """
model.-component- | text | @component
model.lora-rank | int | rank
model.lora-attn-modules | list | @attention
model.apply-lora-to-mlp | flag | @mlp
model.apply-lora-to-output | flag | @output
model.use-dora | flag | @dora
model.quantize-base | flag | @quantize
checkpointer.checkpoint-dir | text | @folder
tokenizer.max-seq-len | int | sequence_length
dataset.packed | flag | packing
batch-size | int | micro_batch
gradient-accumulation-steps | int | gradient_accumulation
epochs | real | epochs
optimizer.-component- | text | @optimizer
enable-activation-checkpointing | flag | gradient_checkpointing
dtype | text | @dtype
fsdp-cpu-offload | flag | @offload
tensor-parallel-dim | int | @tensor
context-parallel-dim | int | @context
teacher-model.-component- | text | teacher
kd-ratio kd-loss.-component- teacher-checkpointer.checkpoint-dir | value | @distil
ref-checkpointer.checkpoint-dir | value | reference
ref-checkpointer.* teacher-checkpointer.* model.encoder-trainable model.decoder-trainable | value | !
model.fusion-trainable tensor-parallel-plan.* quantizer.* enable-kv-cache ppo-epochs num-steps | value | !
grpo-samples | value | !
forward-batch-size max-generated-tokens ppo-batch-size low-cpu-ram base-model-path | value | !
model.image-size fsdp.* | value | !
tokenizer.* dataset.* checkpointer.* metric-logger.* profiler.* lr-scheduler.* prompt.* loss.* | list | -
tasks limit | list | -
max-seq-length top-k temperature collate-fn max-new-tokens save-every-n-epochs reward-functions | list | -
max-steps-per-epoch optimizer-in-bwd enable-activation-offloading compile custom-sharded-layers | list | !
loss.-component- loss.num-output-chunks ac-mode ac-option data-parallel-shard-dim | list | !
data-parallel-replicate-dim | list | !
fsdp-reshard-after-forward model.lora-dropout quantizer.-component- enable-fp8-training | value | !
fp8-recipe-name | value | !
model.lora-alpha model.use-tied-embeddings tokenizer.-component- tokenizer.path | list | -
tokenizer.merges-file | list | -
tokenizer.prompt-template tokenizer.special-tokens-path dataset.-component- dataset.source | list | -
dataset.data-files | list | -
dataset.split dataset.column dataset.train-on-input dataset.split-across-pack | list | -
dataset.conversation-column | list | -
checkpointer.-component- checkpointer.checkpoint-files | list | -
checkpointer.checkpoint-files.filename-format | list | -
checkpointer.checkpoint-files.max-filename checkpointer.recipe-checkpoint checkpointer.output-dir | list | -
checkpointer.model-type checkpointer.adapter-checkpoint checkpointer.safe-serialization output-dir | list | -
resume-from-checkpoint save-adapter-weights-only seed shuffle device log-every-n-steps log-level | value | -
log-peak-memory-stats metric-logger.-component- metric-logger.log-dir metric-logger.project | value | -
max-grad-norm | value | -
clip-grad-norm optimizer.lr optimizer.fused optimizer.weight-decay optimizer.betas optimizer.eps | list | -
lr-scheduler.-component- lr-scheduler.num-warmup-steps lr-scheduler.num-cycles | value | -
cudnn-deterministic-mode | value | -
run-val-every-n-steps batch-size-val dataset-val.-component- dataset-val.split dataset-val.source | list | -
profiler.-component- profiler.enabled profiler.output-dir profiler.cpu profiler.cuda | value | -
profiler.profile-memory | value | -
profiler.with-stack profiler.record-shapes profiler.with-flops profiler.wait-steps | value | -
profiler.warmup-steps | value | -
profiler.active-steps profiler.num-cycles keep-last-n-checkpoints save-last-epoch-only | value | -
enable-async-checkpointing | value | -
"""
_TITAN = """
model.name | text | @name
model.flavor | text | @flavor
training.local-batch-size training.batch-size | int | @micro
training.global-batch-size | int | global_batch
training.seq-len | int | sequence_length
training.mixed-precision-param | text | @precision
training.dtype | text | @dtype
training.compile compile.enable | flag | compile
training.steps | int | @steps
training.enable-cpu-offload | flag | @offload
parallelism.data-parallel-replicate-degree training.data-parallel-replicate-degree | int | @replicate
parallelism.data-parallel-shard-degree training.data-parallel-shard-degree | int | @shard
parallelism.tensor-parallel-degree training.tensor-parallel-degree | int | tensor
parallelism.pipeline-parallel-degree experimental.pipeline-parallel-degree | int | pipeline
parallelism.context-parallel-degree experimental.context-parallel-degree | int | context
parallelism.expert-parallel-degree | int | expert
parallelism.expert-tensor-parallel-degree | int | expert_tensor
parallelism.pipeline-parallel-schedule experimental.pipeline-parallel-schedule | text | @schedule
parallelism.fsdp-reshard-after-forward | text | @reshard
activation-checkpoint.mode | text | @recompute
optimizer.name | text | @optimizer
model.converters quantize.linear.float8.enable-fsdp-float8-all-gather | list | @converters
parallelism.pipeline-parallel-microbatch-size experimental.pipeline-parallel-microbatch-size | int | !
parallelism.disable-loss-parallel training.disable-loss-parallel | value | !
parallelism.enable-async-tensor-parallel | value | !
parallelism.enable-compiled-autograd compile.components float8.enable-fsdp-float8-all-gather | list | !
float8.enable-float8-linear float8.precompute-float8-dynamic-scale-for-fsdp | value | !
float8.force-recompute-fp8-weight-in-bwd | value | !
float8.filter-fqns float8.recipe-name quantize.linear.float8.filter-fqns | list | !
quantize.linear.float8.recipe-name | list | !
quantize.linear.mx.recipe-name training.mixed-precision-reduce optimizer.early-step-in-backward | value | !
quantize.linear.float8.precompute-float8-dynamic-scale-for-fsdp | value | !
activation-checkpoint.selective-ac-option | value | !
activation-checkpoint.per-op-sac-force-recompute-mm-shapes-by-fqns activation-checkpoint.early-stop | list | !
quantize.* float8.* memory-estimation.* parallelism.* | value | !
profiling.* fault-tolerance.* validation.* comm.* metrics.* checkpoint.* job.* lr-scheduler.* debug.* | value | -
model.norm-type model.print-after-conversion model.tokenizer-path model.hf-assets-path | value | -
training.dataset | value | -
training.dataset-path training.max-norm training.warmup-steps training.seed training.deterministic | value | -
training.gc-freq training.gc-debug training.debug-moe-force-load-balance lr-scheduler.warmup-steps | value | -
lr-scheduler.decay-ratio lr-scheduler.decay-type lr-scheduler.min-lr-factor lr-scheduler.lr-min | value | -
optimizer.lr optimizer.eps optimizer.beta1 optimizer.beta2 optimizer.weight-decay | value | -
optimizer.implementation | value | -
optimizer.fused job.dump-folder job.description job.print-args job.use-for-integration-test | value | -
job.config-file | value | -
job.print-config job.custom-config-module profiling.enable-profiling profiling.save-traces-folder | value | -
profiling.profile-freq profiling.enable-memory-snapshot profiling.save-memory-snapshot-folder | value | -
metrics.log-freq | value | -
metrics.enable-tensorboard metrics.disable-color-printing metrics.save-tb-folder | value | -
metrics.enable-wandb | value | -
metrics.save-for-all-ranks metrics.enable-color-printing metrics.rank-0-only checkpoint.enable | value | -
checkpoint.enable-checkpoint checkpoint.folder checkpoint.interval checkpoint.interval-type | value | -
checkpoint.async-mode | value | -
checkpoint.model-weights-only checkpoint.last-save-model-only | value | -
checkpoint.last-save-model-weights-only | value | -
checkpoint.export-dtype checkpoint.keep-latest-k checkpoint.initial-load-path | value | -
checkpoint.initial-load-in-hf | value | -
checkpoint.load-step checkpoint.exclude-from-loading validation.enable validation.enabled | list | -
validation.dataset | list | -
validation.freq validation.steps validation.seq-len validation.local-batch-size | value | -
comm.init-timeout-seconds | value | -
comm.train-timeout-seconds comm.trace-buf-size fault-tolerance.enable memory-estimation.enabled | value | -
memory-estimation.disable-fake-mode experimental.custom-args-module experimental.custom-import | value | -
"""
# family, version, size, as recipe components spell them: lora_llama3_1_8b, qwen2_5_7b_instruct, phi3_mini
_COMPONENT = re.compile(r"^(llama|qwen|gemma|mistral|phi|code_llama)(\d?)(?:_(\d{1,2}))?_((?:\d{1,4}(?:_\d)?b|mini))")
_TITAN_FAMILIES = {"llama3": "llama-3.1", "llama2": "llama-2", "qwen3": "qwen3"}


@lru_cache(maxsize=2)
def flags(kind: str) -> Table:
    return table(_TITAN if kind == "torchtitan" else _ROWS)


def read_torchtune(settings: Mapping[Any, Any], c: Collected) -> dict[str, Any]:
    """A recipe: `_component_` names say the model, the method and the optimiser."""
    read_keys(
        {str(k).replace("_component_", "-component-"): v for k, v in flat(settings).items()},
        flags("torchtune"),
        c,
    )
    tune: dict[str, Any] = {"framework": "torchtune", "algorithm": "sft"}
    component = str(c.take("@component", "")).rsplit(".", 1)[-1].lower()
    quantised, dora = component.startswith("qlora_") or c.take("@quantize"), c.take("@dora")
    plain = component.removeprefix("qlora_").removeprefix("lora_").removeprefix("dora_")
    adapters = plain != component or "rank" in c.values
    tune["method"] = ("dora" if dora else "qlora" if quantised else "lora") if adapters else "full"
    if quantised:
        tune["base_precision"] = "nf4"
    named = matrices(c, words(str(c.take("@attention", ""))))
    named += ["gate", "up", "down"] if c.take("@mlp") else []
    if adapters and named:
        tune["target_modules"] = named
    if c.take("@output") and adapters:
        c.unplanned.append("model.apply_lora_to_output: an adapter on the head")
    if c.take("@distil"):
        tune["algorithm"] = "distill"
    if isinstance(c.values.get("teacher"), str):
        c.values["teacher"] = _model(c, c.values["teacher"].rsplit(".", 1)[-1].lower()) or c.values["teacher"]
    kind = str(c.take("@dtype", "")).lower()
    put(tune, precision={"bf16": "bf16", "fp32": "fp32", "fp16": "fp16"}.get(kind))
    put(tune, optimizer=optimizer(c, str(c.take("@optimizer", "adamw"))))
    layout: dict[str, Any] = {}
    put(layout, tensor=c.take("@tensor"), context=c.take("@context"))
    if layout:
        tune["layout"] = layout
    if c.take("@offload"):
        tune["offload"] = "all"
    if "sequence_length" not in c.values:
        c.note("finetune.sequence_length", None, "tokenizer.max_seq_len is not stated: the data decide")
    tune.update({k: v for k, v in c.values.items() if not k.startswith("@")})
    model = _model(c, plain) or model_name(c.take("@folder"))
    return {"finetune": tune} | ({"model": model} if model else {})


def _model(c: Collected, plain: str) -> str | None:
    """A catalogue-like name from a component's: llama3_1_8b → llama-3.1-8b."""
    plain = plain.removeprefix("qlora_").removeprefix("lora_")
    match = _COMPONENT.match(plain)
    if not match:
        return None
    family, major, minor, size = match.groups()
    version = f"{major}.{minor}" if minor else major
    joint = "-" if family in ("llama", "phi", "gemma") and version else ""
    name = f"{family.replace('_', '')}{joint}{version}-{size.replace('_', '.')}"
    c.note("model", name, f"from the component {plain[:60]}")
    return name


def read_torchtitan(settings: Mapping[Any, Any], c: Collected) -> dict[str, Any]:
    """A job file: pre-training with its layout."""
    read_keys(flat(settings), flags("torchtitan"), c)
    run: dict[str, Any] = {"framework": "torchtitan"}
    layout: dict[str, Any] = {}
    for name in ("tensor", "pipeline", "context", "expert", "expert_tensor"):
        put(layout, **{name: c.take(name)})
    put(layout, micro_batch=c.take("@micro"))
    replicate, shard = c.take("@replicate", 1), c.take("@shard", -1)
    if shard > 1 and replicate > 1:
        layout |= {"data": shard * replicate, "shard": shard}
    elif shard > 1:
        layout["data"] = shard
    layout["zero"] = {"never": 2}.get(str(c.take("@reshard", "")).lower(), 3) if shard != 1 else 0
    if layout["zero"] == 3:
        c.note("pretrain.layout.zero", 3, "FSDP shards everything (data_parallel_shard_degree is not 1)")
    _titan_rest(c, run, layout)
    run["layout"] = layout
    run.update({k: v for k, v in c.values.items() if not k.startswith("@")})
    name, flavor = str(c.take("@name", "")), str(c.take("@flavor", ""))
    model = f"{_TITAN_FAMILIES.get(name.lower(), name)}-{flavor.lower()}" if name and flavor else name or None
    if model:
        c.note("model", model, f"from model.name {name[:40]} and flavor {flavor[:40]}")
    return {"pretrain": run} | ({"model": model_name(model)} if model_name(model) else {})


def _titan_rest(c: Collected, run: dict[str, Any], layout: dict[str, Any]) -> None:
    schedule = str(c.take("@schedule", "")).lower()
    if schedule:
        known = {
            "1f1b": "1f1b",
            "interleaved1f1b": "interleaved",
            "gpipe": "gpipe",
            "interleavedzerobubble": "zero_bubble",
            "zbvzerobubble": "zero_bubble",
        }.get(schedule)
        put(layout, schedule=known)
        if known is None:
            c.unplanned.append(f"pipeline schedule {schedule[:40]}")
    put(
        layout,
        recompute={"none": "none", "selective": "selective", "full": "full"}.get(str(c.take("@recompute", "")).lower()),
    )
    precision, converters = str(c.take("@precision", "bfloat16")).lower(), str(c.take("@converters", ""))
    kind = str(c.take("@dtype", "")).lower()
    run["precision"] = (
        "fp8"
        if "float8" in converters
        else "mxfp8"
        if "mx" in converters
        else {"bfloat16": "bf16", "float32": "fp32", "float16": "fp16"}.get(precision, "bf16")
    )
    if kind == "bfloat16":
        run["master_weights"] = False
    put(run, optimizer=optimizer(c, str(c.take("@optimizer", "adamw"))))
    if c.take("@offload"):
        run["offload"] = "all"
    steps = c.take("@steps")
    batch, length = c.values.get("global_batch", 0), c.values.get("sequence_length", 0)
    if steps and batch > 0 and length > 0:
        run["tokens"] = steps * batch * length
        c.note("pretrain.tokens", run["tokens"], f"{steps:,} steps of {batch:,} sequences of {length:,}")
    elif steps:
        c.unplanned.append(f"training.steps {steps}: tokens need global_batch_size too")
    if batch < 0:
        c.take("global_batch")
