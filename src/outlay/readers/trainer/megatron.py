"""Megatron-LM arguments (`pretrain_gpt.py …`) → `model:` and `pretrain:` with its layout."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from outlay.readers.launch.flag_table import Collected, Table, read_flags, table
from outlay.readers.trainer.names import optimizer, put

_ROWS = """
num-layers | int | @layers
hidden-size | int | @hidden
num-attention-heads | int | @heads
group-query-attention | flag | @grouped
num-query-groups | int | @groups
kv-channels | int | @head_dim
ffn-hidden-size | int | @ffn
swiglu | flag | @gated
vocab-size padded-vocab-size | int | @vocab
max-position-embeddings | int | @positions
position-embedding-type | text | @position
use-rotary-position-embeddings | flag | @rotary
normalization | text | @norm
untie-embeddings-and-output-weights | flag | @untied
disable-bias-linear | flag | @unbiased
add-qkv-bias | flag | @qkv_bias
qk-layernorm | flag | @qk_norm
num-experts | int | @experts
moe-router-topk | int | @top
moe-ffn-hidden-size | int | @expert_ffn
moe-shared-expert-intermediate-size | int | @shared
moe-layer-freq | text | @frequency
multi-latent-attention | flag | @latent
q-lora-rank | int | @q_rank
kv-lora-rank | int | @kv_rank
qk-head-dim | int | @nope
qk-pos-emb-head-dim | int | @rope
v-head-dim | int | @value
window-size | text | @window
mtp-num-layers | int | @mtp
seq-length | int | sequence_length
micro-batch-size | int | @micro
global-batch-size | int | global_batch
train-iters | int | @iterations
train-samples | int | @samples
tensor-model-parallel-size | int | tensor
pipeline-model-parallel-size | int | pipeline
num-layers-per-virtual-pipeline-stage | int | @virtual_layers
num-virtual-stages-per-pipeline-rank | int | virtual_pipeline
decoder-first-pipeline-num-layers | int | first_stage_layers
decoder-last-pipeline-num-layers | int | last_stage_layers
context-parallel-size | int | context
expert-model-parallel-size | int | expert
expert-tensor-parallel-size | int | expert_tensor
sequence-parallel | flag | sequence_parallel
use-distributed-optimizer | flag | @distributed
data-parallel-sharding-strategy | text | @sharding
use-torch-fsdp2 use-custom-fsdp use-megatron-fsdp | flag | @fsdp
recompute-activations | flag | @selective
recompute-granularity | text | @recompute
bf16 | flag | @bf16
fp16 | flag | @fp16
fp8-format fp8-hybrid fp8 | text | @fp8
fp8-recipe | text | @fp8_recipe
fp4-format | text | @fp4
optimizer | text | @optimizer
optimizer-cpu-offload | flag | @offload
cpu-offloading | flag | !
main-grads-dtype | text | @gradients
exp-avg-dtype | text | @moments
cross-entropy-loss-fusion | flag | fused_cross_entropy
use-flash-attn | flag | @flash
attention-backend | text | @attention
attention-softmax-in-fp32 no-masked-softmax-fusion accumulate-allreduce-grads-in-fp32 | flag | -
rampup-batch-size | list | !
moe-router-load-balancing-type moe-token-dispatcher-type moe-expert-capacity-factor | value | !
moe-pad-expert-input-to-capacity | value | !
moe-grouped-gemm moe-permute-fusion moe-router-padding-for-fp8 moe-enable-deepep | flag | !
moe-router-force-load-balancing | flag | !
moe-layer-recompute moe-use-upcycling overlap-moe-expert-parallel-comm delay-wgrad-compute | flag | !
recompute-method recompute-num-layers recompute-modules distribute-saved-activations | list | !
make-vocab-size-divisible-by hybrid-override-pattern hybrid-attention-ratio spec is-hybrid-model | list | !
mamba-state-dim mamba-head-dim mamba-num-groups mamba-num-heads linear-attention-type | value | !
linear-attention-freq | value | !
use-precision-aware-optimizer exp-avg-sq-dtype main-params-dtype optimizer-offload-fraction | value | !
fp8-param-gather | value | !
grad-reduce-in-bf16 keep-fp8-transpose-cache num-distributed-optimizer-instances enable-cuda-graph | flag | !
external-cuda-graph pipeline-model-parallel-layout account-for-embedding-in-pipeline-split | value | !
account-for-loss-in-pipeline-split moe-router-group-topk moe-router-num-groups | value | !
window-attn-skip-freq | value | !
tp-comm-overlap overlap-grad-reduce overlap-param-gather overlap-p2p-communication-warmup-flush | flag | !
overlap-param-gather-with-optimizer-step defer-embedding-wgrad-compute | flag | -
check-for-nan-in-loss-and-grad | flag | -
hierarchical-context-parallel-sizes cp-comm-type microbatch-group-size-per-virtual-pipeline-stage | list | !
transformer-impl init-method-std norm-epsilon layernorm-epsilon rotary-base rotary-percent | value | -
rotary-seq-len-interpolation-factor | value | -
attention-dropout hidden-dropout weight-decay adam-beta1 adam-beta2 adam-eps clip-grad lr min-lr | value | -
lr-decay-style | value | -
lr-decay-iters lr-decay-samples lr-warmup-iters lr-warmup-fraction lr-warmup-samples | value | -
lr-wsd-decay-style | value | -
lr-wsd-decay-iters seed data-path train-data-path valid-data-path data-cache-path split | list | -
tokenizer-type | list | -
tokenizer-model vocab-file merge-file data-args-path per-split-data-args-path eod-mask-loss | value | -
num-workers | value | -
save load save-interval eval-interval eval-iters log-interval tensorboard-dir | value | -
tensorboard-queue-size | value | -
tensorboard-log-interval wandb-project wandb-exp-name wandb-save-dir ckpt-format ckpt-step | value | -
exit-interval | value | -
exit-duration-in-mins distributed-backend distributed-timeout-minutes timing-log-level | value | -
timing-log-option | value | -
moe-aux-loss-coeff moe-z-loss-coeff moe-router-dtype moe-router-score-function | value | -
moe-router-topk-scaling-factor | value | -
moe-router-bias-update-rate moe-input-jitter-eps mtp-loss-scaling-factor rope-scaling-factor | value | -
rotary-scaling-factor | value | -
mscale mscale-all-dim manual-gc-interval fp8-margin fp8-interval fp8-amax-history-len | value | -
fp8-amax-compute-algo | value | -
apply-layernorm-1p no-position-embedding no-rope-fusion no-load-optim no-load-rng no-save-optim | flag | -
no-save-rng | flag | -
use-mcore-models use-legacy-models mock-data async-save use-dist-ckpt manual-gc log-throughput | flag | -
log-params-norm | flag | -
log-num-zeros-in-grad log-timers-to-tensorboard log-validation-ppl-to-tensorboard | flag | -
log-memory-to-tensorboard | flag | -
log-progress no-create-attention-mask-in-dataloader no-mmap-bin-files apply-rope-fusion | flag | -
use-rope-scaling | flag | -
no-gradient-accumulation-fusion no-bias-gelu-fusion no-bias-swiglu-fusion no-bias-dropout-fusion | flag | -
no-async-tensor-model-parallel-allreduce moe-router-pre-softmax moe-router-enable-expert-bias | flag | -
use-checkpoint-args finetune override-opt-param-scheduler use-checkpoint-opt_param-scheduler | flag | -
squared-relu | flag | -
auto-detect-ckpt-format dist-ckpt-strictness exit-signal-handler rotary-interleaved | flag | -
use-pytorch-profiler | flag | -
profile profile-step-start profile-step-end profile-ranks reset-position-ids reset-attention-mask | list | -
log-world-size-to-tensorboard | list | -
te-rng-tracker inference-rng-tracker create-attention-mask-in-dataloader | flag | -
no-check-for-nan-in-loss-and-grad | flag | -
"""


@lru_cache(maxsize=1)
def flags() -> Table:
    return table(_ROWS)


def read_megatron(words: Sequence[str], c: Collected) -> dict[str, Any]:
    """The words after the script's name."""
    read_flags(words, flags(), c)
    run: dict[str, Any] = {"framework": "megatron"}
    model = _model(c)
    run["layout"] = _layout(c, model)
    _precision(c, run)
    _length(c, run)
    put(run, optimizer=optimizer(c, str(c.take("@optimizer", "adam"))))
    if run.get("optimizer") == "adam":
        run["optimizer"] = "adamw"  # Megatron's "adam" decays weights apart from the gradient
    if c.take("@offload"):
        run["offload"] = "optimizer"
    backend = str(c.take("@attention", "")).lower()
    if c.take("@flash") or backend in ("flash", "fused"):
        run["attention"] = "flash"
    elif backend in ("unfused", "local"):
        run["attention"] = "unfused"
    if "sequence_length" in c.values:
        run["sequence_length"] = c.take("sequence_length")
    run.update({k: v for k, v in c.values.items() if not k.startswith("@")})
    c.unknown += [f"{word[:100]} (a word without a flag)" for word in c.positional[:20]]
    parts: dict[str, Any] = {"pretrain": run}
    if model:
        parts["model"] = model
    else:
        c.note("model", None, "the line does not give --num-layers and --hidden-size")
    return parts


def _model(c: Collected) -> dict[str, Any]:
    """Dimensions, with Megatron's defaults: layer norm, biases, tied embeddings, GELU unless told."""
    layers, hidden, heads = c.take("@layers"), c.take("@hidden"), c.take("@heads")
    if not layers or not hidden:
        return {}
    gated = bool(c.take("@gated", False))
    model: dict[str, Any] = {
        "layers": layers,
        "hidden": hidden,
        "gated": gated,
        "tied_embeddings": not c.take("@untied", False),
    }
    groups = c.take("@groups") if c.take("@grouped") else None
    put(model, heads=heads, kv_heads=groups or heads, head_dim=c.take("@head_dim"))
    ffn = c.take("@ffn")
    if ffn is None:
        ffn = int(4 * hidden * 2 / 3 / 64) * 64 if gated else 4 * hidden
        c.note("model.ffn", ffn, "Megatron's default")
    model["ffn"] = ffn
    vocab = c.take("@vocab")
    if vocab:
        model["vocab"] = vocab
    kind = str(c.take("@norm", "LayerNorm")).lower()
    model["norm"] = "rms" if "rms" in kind else "layer"
    unbiased, qkv = c.take("@unbiased", False), c.take("@qkv_bias", False)
    model["biases"] = "qkv" if unbiased and qkv else "none" if unbiased else "all"
    position = str(c.take("@position", "learned_absolute")).lower()
    rotary = c.take("@rotary", False) or position in ("rope", "yarn", "mrope")
    model["positions"] = "rope" if rotary else "none" if position == "none" else "learned"
    put(model, max_positions=c.take("@positions"), mtp_layers=c.take("@mtp"))
    if c.take("@qk_norm"):
        c.unplanned.append("qk-layernorm: a few parameters")
    _mixture(c, model)
    _latent(c, model)
    return model


def _mixture(c: Collected, model: dict[str, Any]) -> None:
    experts, frequency = c.take("@experts"), str(c.take("@frequency", "1"))
    top, wide, shared = c.take("@top", 2), c.take("@expert_ffn"), c.take("@shared")
    if not experts:
        return
    model |= {"experts": experts, "experts_per_token": top, "expert_ffn": wide or model["ffn"]}
    put(model, shared_expert_ffn=shared)
    dense = _leading_dense(frequency)
    if dense:
        model["dense_layers"] = dense
    elif dense is None:
        c.unplanned.append(f"moe-layer-freq {frequency[:60]}")


def _leading_dense(frequency: str) -> int | None:
    """Dense layers at the start: `1`, or `([0]*3+[1]*58)`; None when it is another pattern.

    >>> _leading_dense("([0]*3+[1]*58)"), _leading_dense("1"), _leading_dense("2")
    (3, 0, None)
    """
    plain = frequency.strip("()\"' ").replace(" ", "")
    if plain in ("1", "[1]"):
        return 0
    first, _, rest = plain.partition("+")
    number = first.removeprefix("[0]*")
    if (
        first.startswith("[0]*")
        and number.isascii()
        and number.isdigit()
        and len(number) < 5
        and rest.startswith("[1]*")
    ):
        return int(number)
    return None


def _latent(c: Collected, model: dict[str, Any]) -> None:
    latent = c.take("@latent")
    given = {
        "kv_lora_rank": c.take("@kv_rank", 32),
        "q_lora_rank": c.take("@q_rank"),
        "qk_nope_head_dim": c.take("@nope", 128),
        "qk_rope_head_dim": c.take("@rope", 64),
        "v_head_dim": c.take("@value", 128),
    }
    window = c.take("@window")
    if latent:
        model["mla"] = {k: v for k, v in given.items() if v is not None}
        model.pop("kv_heads", None)
        model.pop("head_dim", None)
    if window:
        first = str(window).strip("()").split(",")[0]
        if first.isascii() and first.isdigit() and len(first) < 8 and int(first):
            model["sliding_window"] = int(first)


def _layout(c: Collected, model: dict[str, Any]) -> dict[str, Any]:
    layout: dict[str, Any] = {}
    for name in (
        "tensor",
        "pipeline",
        "virtual_pipeline",
        "first_stage_layers",
        "last_stage_layers",
        "context",
        "expert",
        "expert_tensor",
        "sequence_parallel",
    ):
        put(layout, **{name: c.take(name)})
    for name in ("tensor", "pipeline", "context", "expert"):
        layout.setdefault(name, 1)
    put(layout, micro_batch=c.take("@micro"))
    per_stage = c.take("@virtual_layers")
    if per_stage and per_stage > 0 and model:
        layout["virtual_pipeline"] = max(1, model["layers"] // max(1, layout["pipeline"]) // per_stage)
    sharding, fsdp = str(c.take("@sharding", "")).lower(), c.take("@fsdp")
    distributed = c.take("@distributed", False)
    layout["zero"] = {"optim_grads_params": 3, "optim_grads": 2, "optim": 1}.get(
        sharding, 3 if fsdp and not sharding else 1 if distributed else 0
    )
    granularity, selective = str(c.take("@recompute", "")).lower(), c.take("@selective")
    layout["recompute"] = granularity if granularity in ("full", "selective") else "selective" if selective else "none"
    return layout


def _precision(c: Collected, run: dict[str, Any]) -> None:
    half, full, eight = c.take("@bf16"), c.take("@fp16"), c.take("@fp8")
    recipe, four = str(c.take("@fp8_recipe", "")).lower(), c.take("@fp4")
    if four:
        run["precision"] = "nvfp4"
    elif eight:
        run["precision"] = "mxfp8" if "mx" in recipe else "fp8"
    else:
        run["precision"] = "bf16" if half else "fp16" if full else "fp32"
    kinds = {"fp32": "fp32", "bf16": "bf16", "fp16": "fp16", "fp8": "fp8"}
    put(
        run,
        gradient_precision=kinds.get(str(c.take("@gradients", "")).lower()),
        optimizer_precision=kinds.get(str(c.take("@moments", "")).lower()),
    )


def _length(c: Collected, run: dict[str, Any]) -> None:
    """Tokens of the run, from iterations or samples."""
    iterations, samples = c.take("@iterations"), c.take("@samples")
    batch, length = c.values.get("global_batch"), c.values.get("sequence_length")
    if samples is None and iterations and batch:
        samples = iterations * batch
    if samples and length:
        run["tokens"] = samples * length
        c.note("pretrain.tokens", run["tokens"], f"{samples:,} sequences of {length:,}")
