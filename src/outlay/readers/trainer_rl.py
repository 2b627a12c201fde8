"""verl (hydra overrides or YAML) and OpenRLHF launch lines → `finetune:` with its rollout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from outlay.readers.launch_flags import Collected, Table, read_flags, read_keys, store, table
from outlay.readers.launch_words import Command
from outlay.readers.trainer_names import flat, matrices, model_name, put, words

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
pretrain actor-pretrain | text | @model
micro-train-batch-size | int | micro_batch
train-batch-size | int | global_batch
rollout-batch-size | int | @prompts
n-samples-per-prompt | int | @samples
prompt-max-len | int | @prompt
generate-max-len | int | @response
max-len | int | sequence_length
max-epochs | real | epochs
num-episodes | real | @episodes
max-samples | real | examples
zero-stage | int | @zero
bf16 | flag | @bf16
param-dtype | text | @dtype
adam-offload | flag | @offload
gradient-checkpointing | flag | gradient_checkpointing
packing-samples | flag | packing
lora-rank | int | rank
target-modules | list | @targets
load-in-4bit | flag | @four
advantage-estimator | text | @estimator
vllm-num-engines | int | @engines
vllm-tensor-parallel-size | int | @rollout_tensor
colocate-all-models colocate-actor-ref | flag | @colocate
actor-num-nodes | int | @nodes
actor-num-gpus-per-node | int | @node
ring-attn-size | int | @context
ds-tensor-parallel-size | int | @tensor
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
            c.positional.append(word)
        elif plain not in known:
            c.unknown.append(word[:200])
        elif value.lower() not in ("null", "none", ""):
            store(known[plain], plain, value, c)
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
            c.unplanned.append(
                f"data.train_batch_size {prompts}: {prompts // max(1, mini)} updates a rollout"
            )
        if kl is False and tune["algorithm"] == "grpo":
            tune["reference"] = False
    else:
        put(tune, sequence_length=prompt, global_batch=prompts)
    layout: dict[str, Any] = {"zero": 1 if strategy == "megatron" else 3}
    for name in ("tensor", "pipeline", "expert", "context"):
        put(layout, **{name: c.take(f"@{name}")})
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
