"""verl (hydra overrides or YAML) and OpenRLHF launch lines → `finetune:` with its rollout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from outlay.readers.launch.flag_table import Collected, Table, read_flags, read_keys, spec_of, store, table
from outlay.readers.launch.words import Command
from outlay.readers.trainer.names import flat, matrices, model_name, put, words

_VERL = """
actor-rollout-ref.model.path model.partial-pretrain model.path | text | @model
data.train-batch-size data.gen-batch-size | int | @prompts
data.max-prompt-length data.max-length | int | @prompt
data.max-response-length | int | @response
actor-rollout-ref.actor.ppo-mini-batch-size | int | @mini
actor-rollout-ref.actor.ppo-micro-batch-size-per-gpu data.micro-batch-size-per-gpu | int | micro_batch
actor-rollout-ref.model.enable-gradient-checkpointing | flag | gradient_checkpointing
model.enable-gradient-checkpointing | flag | gradient_checkpointing
actor-rollout-ref.model.lora-rank model.lora-rank | int | rank
actor-rollout-ref.model.target-modules model.target-modules | list | @targets
actor-rollout-ref.actor.strategy actor-rollout-ref.hybrid-engine-strategy | text | @strategy
actor-rollout-ref.actor.fsdp-config.param-offload | flag | @offload_parameters
actor-rollout-ref.actor.fsdp-config.optimizer-offload | flag | @offload_optimizer
actor-rollout-ref.actor.megatron.param-offload | flag | @offload_parameters
actor-rollout-ref.actor.megatron.optimizer-offload | flag | @offload_optimizer
actor-rollout-ref.actor.fsdp-config.fsdp-size | int | @shard
actor-rollout-ref.actor.ulysses-sequence-parallel-size ulysses-sequence-parallel-size | int | @context
actor-rollout-ref.actor.megatron.tensor-model-parallel-size | int | @tensor
actor-rollout-ref.actor.megatron.pipeline-model-parallel-size | int | @pipeline
actor-rollout-ref.actor.megatron.expert-model-parallel-size | int | @expert
actor-rollout-ref.actor.megatron.context-parallel-size | int | @context
actor-rollout-ref.actor.use-kl-loss algorithm.use-kl-in-reward | flag | @kl
actor-rollout-ref.rollout.name | text | @engine
actor-rollout-ref.rollout.tensor-model-parallel-size | int | @rollout_tensor
actor-rollout-ref.rollout.n | int | @samples
algorithm.adv-estimator | text | @estimator
trainer.n-gpus-per-node | int | @node
trainer.nnodes | int | @nodes
trainer.total-epochs | real | epochs
actor-rollout-ref.actor.fsdp-config.offload-policy | value | !
actor-rollout-ref.actor.entropy-from-logits-with-chunking | value | !
actor-rollout-ref.rollout.gpu-memory-utilization actor-rollout-ref.rollout.max-model-len | value | !
actor-rollout-ref.rollout.max-num-batched-tokens actor-rollout-ref.rollout.max-num-seqs | value | !
actor-rollout-ref.rollout.log-prob-micro-batch-size-per-gpu | value | !
actor-rollout-ref.rollout.enforce-eager | value | !
actor-rollout-ref.rollout.log-prob-max-token-len-per-gpu | value | !
actor-rollout-ref.rollout.free-cache-engine | value | !
actor-rollout-ref.rollout.enable-chunked-prefill actor-rollout-ref.rollout.mode | value | !
actor-rollout-ref.rollout.dtype actor-rollout-ref.rollout.layered-summon | value | !
actor-rollout-ref.rollout.load-format | value | !
actor-rollout-ref.actor.use-dynamic-bsz actor-rollout-ref.actor.ppo-max-token-len-per-gpu | value | !
actor-rollout-ref.ref.log-prob-micro-batch-size-per-gpu | value | !
actor-rollout-ref.ref.fsdp-config.param-offload | value | !
actor-rollout-ref.ref.log-prob-max-token-len-per-gpu | value | !
actor-rollout-ref.ref.log-prob-use-dynamic-bsz | value | !
actor-rollout-ref.rollout.log-prob-use-dynamic-bsz actor-rollout-ref.ref.megatron.param-offload | value | !
actor-rollout-ref.ref.megatron.tensor-model-parallel-size | value | !
actor-rollout-ref.ref.megatron.pipeline-model-parallel-size | value | !
actor-rollout-ref.model.use-remove-padding actor-rollout-ref.model.use-liger | value | !
actor-rollout-ref.model.use-fused-kernels | value | !
actor-rollout-ref.model.enable-activation-offload actor-rollout-ref.actor.fsdp-config.model-dtype | value | !
critic.model.path critic.model.enable-gradient-checkpointing critic.ppo-micro-batch-size-per-gpu | value | !
critic.model.use-remove-padding critic.model.fsdp-config.param-offload critic.strategy | value | !
critic.model.fsdp-config.optimizer-offload critic.ppo-mini-batch-size | value | !
critic.forward-micro-batch-size-per-gpu | value | !
reward-model.enable reward-model.model.path reward-model.micro-batch-size-per-gpu | value | !
trainer.total-training-steps | value | !
actor-rollout-ref.actor.megatron.expert-tensor-parallel-size | int | @expert_tensor
actor-rollout-ref.actor.megatron.virtual-pipeline-model-parallel-size | int | @virtual_pipeline
actor-rollout-ref.actor.megatron.override-transformer-config.recompute-granularity | text | @recompute
actor-rollout-ref.model.lora.rank | int | rank
actor-rollout-ref.model.lora.target-modules | list | @targets
data.micro-batch-size | int | @total_micro
actor-rollout-ref.rollout.data-parallel-size actor-rollout-ref.rollout.expert-parallel-size | value | !
actor-rollout-ref.actor.megatron.* actor-rollout-ref.ref.megatron.* critic.* reward-model.* | value | !
actor-rollout-ref.actor.optim.override-optimizer-config.* actor-rollout-ref.ref.* | value | !
actor-rollout-ref.rollout.engine-kwargs.* actor-rollout-ref.rollout.multi-turn.* | value | !
use-remove-padding | value | !
actor-rollout-ref.actor.entropy-checkpointing actor-rollout-ref.actor.use-torch-compile | value | !
actor-rollout-ref.actor.fsdp-config.* actor-rollout-ref.rollout.* | value | !
algorithm.* global-profiler.* actor-rollout-ref.actor.profiler.* actor-rollout-ref.ref.profiler.* | value | -
actor-rollout-ref.actor.policy-loss.* actor-rollout-ref.actor.checkpoint.* | value | -
actor-rollout-ref.actor.optim.* | value | -
data.prompt-dict-keys data.response-dict-keys data.custom-cls.* data.path data.n-samples | value | -
data.output-path | value | -
trainer.use-legacy-worker-impl trainer.rollout-data-dir trainer.validation-data-dir | value | -
model.trust-remote-code | value | -
data.filter-overlong-prompts-workers data.apply-chat-template-kwargs.* data.multiturn.* | value | -
data.dataloader-num-workers | value | -
actor-rollout-ref.nccl-timeout ray-kwargs.* ray-init.* custom-reward-function.* transfer-queue.* | value | -
optim.* | value | -
reward-model.reward-kwargs.* reward-model.use-reward-loop reward-model.num-workers reward.* | value | -
actor-rollout-ref.rollout.val-kwargs.* actor-rollout-ref.rollout.agent.* | value | -
actor-rollout-ref.rollout.trace.* | value | -
actor-rollout-ref.rollout.calculate-log-probs actor-rollout-ref.rollout.over-sample-rate | value | -
actor-rollout-ref.rollout.val-kwargs.n actor-rollout-ref.rollout.agent.num-workers | value | -
actor-rollout-ref.model.lora-alpha model.lora-alpha actor-rollout-ref.model.external-lib | value | -
actor-rollout-ref.model.trust-remote-code actor-rollout-ref.hybrid-engine | value | -
actor-rollout-ref.actor.grad-clip | value | -
actor-rollout-ref.actor.optim.lr actor-rollout-ref.actor.optim.lr-warmup-steps | value | -
actor-rollout-ref.actor.optim.lr-warmup-steps-ratio actor-rollout-ref.actor.optim.weight-decay | value | -
actor-rollout-ref.actor.kl-loss-coef actor-rollout-ref.actor.kl-loss-type | value | -
actor-rollout-ref.actor.entropy-coeff | value | -
actor-rollout-ref.actor.clip-ratio actor-rollout-ref.actor.clip-ratio-low | value | -
actor-rollout-ref.actor.clip-ratio-high | value | -
actor-rollout-ref.actor.clip-ratio-c actor-rollout-ref.actor.ppo-epochs | value | -
actor-rollout-ref.actor.shuffle | value | -
actor-rollout-ref.actor.loss-agg-mode actor-rollout-ref.rollout.temperature | value | -
actor-rollout-ref.rollout.top-p | value | -
actor-rollout-ref.rollout.top-k actor-rollout-ref.rollout.val-kwargs.temperature | value | -
actor-rollout-ref.rollout.val-kwargs.top-p actor-rollout-ref.rollout.val-kwargs.do-sample | value | -
actor-rollout-ref.rollout.ignore-eos actor-rollout-ref.rollout.disable-log-stats | value | -
critic.optim.lr critic.optim.lr-warmup-steps-ratio critic.model.tokenizer-path | value | -
critic.cliprange-value | value | -
algorithm.kl-ctrl.kl-coef algorithm.kl-ctrl.type algorithm.gamma algorithm.lam | value | -
algorithm.kl-penalty | value | -
algorithm.norm-adv-by-std-in-grpo algorithm.filter-groups.enable data.train-files data.val-files | list | -
data.prompt-key data.response-key data.reward-fn-key data.filter-overlong-prompts data.truncation | value | -
data.val-batch-size data.shuffle data.return-raw-chat data.image-key data.trust-remote-code | value | -
data.seed | value | -
trainer.logger trainer.project-name trainer.experiment-name trainer.save-freq trainer.test-freq | list | -
trainer.critic-warmup trainer.val-before-train trainer.default-local-dir trainer.default-hdfs-dir | value | -
trainer.resume-mode trainer.log-val-generations trainer.balance-batch | value | -
trainer.max-actor-ckpt-to-keep | value | -
trainer.max-critic-ckpt-to-keep trainer.val-only trainer.device ray-init.num-cpus | value | -
custom-reward-function.path | value | -
custom-reward-function.name reward-model.reward-manager optim.lr optim.weight-decay | value | -
"""
_OPENRLHF = """
pretrain actor-pretrain actor.model-name-or-path model.model-name-or-path | text | @model
micro-train-batch-size train.micro-batch-size | int | micro_batch
train-batch-size train.batch-size | int | global_batch
rollout-batch-size rollout.batch-size | int | @prompts
n-samples-per-prompt rollout.n-samples-per-prompt | int | @samples
prompt-max-len | int | @prompt
generate-max-len rollout.max-new-tokens | int | @response
max-len data.max-len | int | sequence_length
max-epochs train.max-epochs | real | epochs
num-episodes train.num-episodes | real | @episodes
max-samples data.max-samples | real | examples
zero-stage ds.zero-stage | int | @zero
bf16 | flag | @bf16
param-dtype ds.param-dtype | text | @dtype
adam-offload ds.adam-offload | flag | @offload
gradient-checkpointing actor.gradient-checkpointing-enable | flag | gradient_checkpointing
model.gradient-checkpointing-enable | flag | gradient_checkpointing
packing-samples ds.packing-samples | flag | packing
lora-rank ds.lora.rank | int | rank
target-modules ds.lora.target-modules | list | @targets
load-in-4bit ds.load-in-4bit | flag | @four
advantage-estimator algo.advantage.estimator | text | @estimator
vllm-num-engines vllm.num-engines | int | @engines
vllm-tensor-parallel-size vllm.tensor-parallel-size | int | @rollout_tensor
colocate-all-models colocate-actor-ref train.colocate-all train.colocate-actor-ref | flag | @colocate
actor-num-nodes actor.num-nodes | int | @nodes
actor-num-gpus-per-node actor.num-gpus-per-node | int | @node
ring-attn-size ds.ring-attn-size | int | @context
ds-tensor-parallel-size ds.tensor-parallel-size | int | @tensor
ds.lora.alpha ds.lora.dropout ds.attn-implementation ds.value-head-prefix ds.use-universal-ckpt | value | -
ds.* ref.* critic.* train.* vllm.* rollout.micro-batch-size rollout.max-tokens-per-gpu | value | !
reward.offload | value | !
reward.model-name-or-path reward.num-nodes reward.num-gpus-per-node | value | !
data.* ckpt.* logger.* eval.* adam.* muon.* algo.* reward.* rollout.* actor.* model.* optim | value | -
min-lr-ratio | value | -
use-ms lr-scheduler lr-warmup-ratio max-norm | value | -
teacher-model | text | teacher
ref-pretrain ref-model | text | reference
reward-pretrain remote-rm-url critic-pretrain | value | !
ref-num-nodes ref-num-gpus-per-node critic-num-nodes critic-num-gpus-per-node reward-num-nodes | value | !
reward-num-gpus-per-node micro-rollout-batch-size vllm-gpu-memory-utilization zpg grad-accum-dtype | value | !
deepspeed-enable-sleep vllm-enable-sleep enforce-eager ref-reward-offload ref-offload async-train | flag | !
colocate-critic-reward overlap-comm enable-ema gradient-checkpointing-use-reentrant | flag | !
use-liger-kernel | flag | !
flash-attn attn-implementation normalize-reward apply-chat-template save-hf-ckpt | flag | -
disable-trace-cache | flag | -
adam-betas aux-loss-coef eval-steps save-steps logging-steps save-path ckpt-path max-ckpt-num | list | -
max-ckpt-mem | list | -
actor-learning-rate critic-learning-rate learning-rate init-kl-coef kl-target kl-estimator lambd | value | -
gamma | value | -
eps-clip l2 lr-scheduler lr-warmup-ratio max-norm seed prompt-data dataset eval-dataset | value | -
input-key output-key | value | -
label-key input-template prompt-data-probs dataset-probs use-wandb wandb-project wandb-run-name | value | -
wandb-org | value | -
wandb-group use-tensorboard top-p temperature vllm-sync-backend load-checkpoint local-rank beta | value | -
prompt-key chosen-key rejected-key tokenizer-chat-template lora-alpha lora-dropout head-prefix | value | -
ring-head-stride kd-coef use-kl-loss vllm-sync-with-ray dynamic-filtering multiturn | value | -
pretrain-mode value-head-prefix | value | -
"""
_ALGORITHMS = {"gae": "ppo", "ppo": "ppo"}
_TRAINERS = {
    "train_sft": "sft",
    "train_dpo": "dpo",
    "train_kto": "kto",
    "train_kd": "distill",
    "train_ppo_ray": "ppo",
    "train_ppo": "ppo",
}


@lru_cache(maxsize=2)
def flags(kind: str) -> Table:
    return table(_VERL if kind == "verl" else _OPENRLHF)


def read_verl(settings: Mapping[Any, Any], c: Collected) -> dict[str, Any]:
    """verl settings, nested or dotted."""
    read_keys(flat(settings), flags("verl"), c)
    return _verl_parts(c)


def read_verl_words(line: Sequence[str], c: Collected) -> dict[str, Any]:
    """Hydra overrides: `a.b=c`, `+a.b=c`."""
    known = flags("verl")
    for word in line:
        name, equals, value = word.lstrip("+~").partition("=")
        plain = name.replace("_", "-")
        if not equals:
            c.positional += [word] * (word not in ("$@", "${@}"))
        elif name in ("--config-path", "--config-name"):
            c.unplanned.append(f"{word[:120]}: the settings of that file are not read")
        elif (spec := spec_of(plain, known)) is None:
            c.unknown.append(word[:200])
        elif value.lower() not in ("null", "none", ""):
            store(spec, plain, value, c)
    c.unknown += [f"{word[:100]} (a word without a value)" for word in c.positional[:20]]
    return _verl_parts(c)


def _verl_parts(c: Collected) -> dict[str, Any]:
    estimator = str(c.take("@estimator", "")).lower()
    prompt, response = c.take("@prompt"), c.take("@response")
    supervised = response is None and not estimator
    tune: dict[str, Any] = {"algorithm": "sft" if supervised else _ALGORITHMS.get(estimator or "gae", "grpo")}
    strategy = str(c.take("@strategy", "fsdp")).lower()
    tune["framework"] = "megatron" if strategy == "megatron" else "fsdp"
    prompts, mini = c.take("@prompts"), c.take("@mini")
    samples, kl = c.take("@samples", 1), c.take("@kl")
    if not supervised:
        _rollout(c, tune, samples, response, colocate=True)
        put(tune, sequence_length=(prompt + response) if prompt and response else None)
        if mini is not None:
            c.note("finetune.global_batch", mini * samples, "ppo_mini_batch_size prompts times rollout.n")
            tune["global_batch"] = mini * samples
        elif prompts:
            tune["global_batch"] = prompts * samples
        if prompts and mini and prompts != mini:
            c.unplanned.append(f"data.train_batch_size {prompts}: {prompts // max(1, mini)} updates a rollout")
        if kl is False and tune["algorithm"] == "grpo":
            tune["reference"] = False
    else:
        put(tune, sequence_length=prompt, global_batch=prompts)
    layout: dict[str, Any] = {"zero": 1 if strategy == "megatron" else 3}
    for name in ("tensor", "pipeline", "expert", "context", "expert_tensor", "virtual_pipeline"):
        put(layout, **{name: c.take(f"@{name}")})
    recompute = str(c.take("@recompute", "")).lower()
    put(layout, recompute=recompute if recompute in ("full", "selective") else None)
    if "@total_micro" in c.values:
        c.unplanned.append(f"data.micro_batch_size {c.take('@total_micro')}: over all devices together")
    shard = c.take("@shard")
    if shard and shard > 0:
        layout["shard"] = shard
    tune["layout"] = layout
    parameters, states = c.take("@offload_parameters"), c.take("@offload_optimizer")
    if parameters or states:
        tune["offload"] = "all" if parameters else "optimizer"
    _adapters(c, tune)
    tune.update({k: v for k, v in c.values.items() if not k.startswith("@")})
    model = model_name(c.take("@model"))
    return {"finetune": tune} | ({"model": model} if model else {})


def _rollout(c: Collected, tune: dict[str, Any], samples: int, response: int | None, colocate: bool) -> None:
    engine = str(c.take("@engine", "vllm")).lower()
    rollout: dict[str, Any] = {"engine": engine, "colocate": colocate, "samples": samples}
    put(rollout, max_response=response, tensor=c.take("@rollout_tensor"))
    tune["rollout"] = rollout


def _adapters(c: Collected, tune: dict[str, Any]) -> None:
    targets = c.take("@targets")
    rank, four = c.take("rank"), c.take("@four")
    if not rank or rank < 1:
        tune["method"] = "full"
        return
    tune |= {"method": "qlora" if four else "lora", "rank": rank}
    named = matrices(c, words(str(targets))) if targets else ["all"]
    tune["target_modules"] = named or ["all"]
    if four:
        tune["base_precision"] = "nf4"


def read_openrlhf(line: Sequence[str], trainer: str, c: Collected) -> dict[str, Any]:
    """The words after `openrlhf.cli.train_…`."""
    read_flags(line, flags("openrlhf"), c)
    estimator = str(c.take("@estimator", "gae")).lower()
    algorithm = _TRAINERS.get(trainer, "sft")
    if trainer not in _TRAINERS:
        c.unplanned.append(f"{trainer[:40]}: planned as supervised")
    if algorithm == "ppo" and estimator not in ("gae", "ppo"):
        algorithm = "grpo"
    tune: dict[str, Any] = {"framework": "deepspeed", "algorithm": algorithm}
    prompt, response, samples = c.take("@prompt"), c.take("@response"), c.take("@samples", 1)
    engines, colocate = c.take("@engines", 0), c.take("@colocate", False)
    if algorithm in ("ppo", "grpo"):
        c.values["@engine"] = "vllm" if engines else "transformers"
        _rollout(c, tune, samples, response, bool(colocate))
        put(tune, sequence_length=(prompt + response) if prompt and response else None)
        if engines and not colocate:
            c.unplanned.append(f"vllm_num_engines {engines}: rollout devices apart from those that train")
        if "global_batch" not in c.values and c.values.get("@prompts"):
            c.values["global_batch"] = c.values["@prompts"] * samples
    if c.values.get("@episodes") and c.values["@episodes"] != 1:
        c.unplanned.append(f"num_episodes {c.values['@episodes']:g}")
    layout: dict[str, Any] = {}
    put(layout, zero=c.take("@zero"), context=c.take("@context"), tensor=c.take("@tensor"))
    if layout:
        tune["layout"] = layout
    if c.take("@bf16") or str(c.take("@dtype", "")).lower() == "bf16":
        tune["precision"] = "bf16"
    if c.take("@offload"):
        tune["offload"] = "optimizer"
    _adapters(c, tune)
    tune.update({k: v for k, v in c.values.items() if not k.startswith("@")})
    model = model_name(c.values.get("@model"))
    return {"finetune": tune} | ({"model": model} if model else {})


def devices_of(c: Collected, command: Command | None = None) -> tuple[int | None, int | None]:
    """All devices and devices a node."""
    node, nodes = c.values.get("@node"), c.values.get("@nodes", 1)
    if isinstance(node, int) and isinstance(nodes, int) and 0 < node <= 10**4 and 0 < nodes <= 10**6:
        return node * nodes, node
    return None, None
