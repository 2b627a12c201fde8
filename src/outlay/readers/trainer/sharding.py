"""DeepSpeed JSON, Accelerate YAML and FSDP settings → ZeRO stage, offload, precision, batches."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from outlay.errors import Unreadable
from outlay.readers.launch.flag_table import Collected, Table, read_keys, table
from outlay.readers.trainer.names import flat, optimizer, put

_DEEPSPEED = """
zero-optimization.stage | int | @zero
zero-optimization.offload-optimizer.device zero-optimization.cpu-offload | text | @offload_optimizer
zero-optimization.offload-param.device | text | @offload_parameters
bf16.enabled bfloat16.enabled | flag | @bf16
fp16.enabled | flag | @fp16
train-micro-batch-size-per-gpu | int | micro_batch
gradient-accumulation-steps | int | gradient_accumulation
train-batch-size | int | global_batch
optimizer.type | text | @optimizer
tensor-parallel.autotp-size | int | @tensor
zero-optimization.zero-hpz-partition-size zero-optimization.zero-quantized-weights | value | !
zero-optimization.zero-quantized-gradients zero-optimization.mics-shard-size | value | !
zero-optimization.reduce-bucket-size zero-optimization.allgather-bucket-size | value | !
zero-optimization.stage3-max-live-parameters zero-optimization.stage3-max-reuse-distance | value | !
zero-optimization.stage3-prefetch-bucket-size zero-optimization.stage3-param-persistence-threshold | value | !
zero-optimization.sub-group-size zero-optimization.round-robin-gradients aio.block-size | value | !
activation-checkpointing.partition-activations activation-checkpointing.cpu-checkpointing | value | !
data-types.grad-accum-dtype communication-data-type sparse-gradients | value | !
zero-optimization.overlap-comm zero-optimization.contiguous-gradients | value | -
zero-optimization.allgather-partitions | value | -
zero-optimization.reduce-scatter zero-optimization.stage3-gather-16bit-weights-on-model-save | value | -
zero-optimization.stage3-gather-fp16-weights-on-model-save | value | -
zero-optimization.offload-optimizer.pin-memory | value | -
zero-optimization.offload-param.pin-memory zero-optimization.offload-optimizer.nvme-path | value | -
zero-optimization.offload-param.nvme-path zero-allow-untested-optimizer | value | -
zero-force-ds-cpu-optimizer | value | -
zero-optimization.load-from-fp32-weights zero-optimization.ignore-unused-parameters | value | -
fp16.loss-scale fp16.loss-scale-window fp16.initial-scale-power fp16.hysteresis | value | -
fp16.min-loss-scale | value | -
fp16.auto-cast fp16.consecutive-hysteresis amp.enabled amp.opt-level gradient-clipping | value | -
steps-per-print | value | -
wall-clock-breakdown prescale-gradients gradient-predivide-factor optimizer.params.lr | value | -
optimizer.params.betas | value | -
optimizer.params.eps optimizer.params.weight-decay optimizer.params.torch-adam | value | -
optimizer.params.adam-w-mode | value | -
scheduler.type scheduler.params.warmup-min-lr scheduler.params.warmup-max-lr dump-state | value | -
scheduler.params.warmup-num-steps scheduler.params.total-num-steps scheduler.params.warmup-type | value | -
flops-profiler.enabled tensorboard.enabled wandb.enabled csv-monitor.enabled memory-breakdown | value | -
"""
_ACCELERATE = """
num-processes | int | @devices
num-machines | int | @nodes
mixed-precision | text | @mixed
distributed-type | text | @distributed
deepspeed-config.zero-stage | int | @zero
deepspeed-config.offload-optimizer-device | text | @offload_optimizer
deepspeed-config.offload-param-device | text | @offload_parameters
deepspeed-config.gradient-accumulation-steps gradient-accumulation-steps | int | gradient_accumulation
deepspeed-config.deepspeed-config-file deepspeed-config-file | text | @deepspeed
fsdp-config.fsdp-sharding-strategy fsdp-sharding-strategy sharding-strategy | text | @strategy
fsdp-config.fsdp-reshard-after-forward fsdp-reshard-after-forward reshard-after-forward | text | @reshard
fsdp-config.fsdp-offload-params fsdp-offload-params offload-params | flag | @fsdp_offload
fsdp-config.fsdp-activation-checkpointing fsdp-activation-checkpointing | flag | gradient_checkpointing
activation-checkpointing | flag | gradient_checkpointing
parallelism-config.parallelism-config-tp-size | int | @tensor
parallelism-config.parallelism-config-cp-size | int | @context
parallelism-config.parallelism-config-dp-replicate-size | value | !
parallelism-config.parallelism-config-dp-shard-size | value | !
fsdp-config.fsdp-version fsdp-version fsdp-config.fsdp-auto-wrap-policy fsdp-auto-wrap-policy | value | -
auto-wrap-policy | value | -
fsdp-config.fsdp-transformer-layer-cls-to-wrap fsdp-transformer-layer-cls-to-wrap | list | -
fsdp-config.fsdp-use-orig-params fsdp-use-orig-params fsdp-config.fsdp-state-dict-type | value | -
fsdp-state-dict-type state-dict-type fsdp-config.fsdp-sync-module-states fsdp-sync-module-states | value | -
fsdp-config.fsdp-cpu-ram-efficient-loading fsdp-cpu-ram-efficient-loading | value | -
cpu-ram-efficient-loading | value | -
fsdp-config.fsdp-backward-prefetch fsdp-backward-prefetch fsdp-backward-prefetch-policy | value | -
fsdp-config.fsdp-backward-prefetch-policy fsdp-config.fsdp-forward-prefetch fsdp-forward-prefetch | value | -
fsdp-config.fsdp-limit-all-gathers fsdp-limit-all-gathers transformer-layer-cls-to-wrap | list | -
fsdp-final-state-dict-type final-state-dict-type fsdp-config.fsdp-min-num-params | value | -
compute-environment machine-rank main-training-function rdzv-backend same-network use-cpu debug | value | -
tpu-env tpu-use-cluster tpu-use-sudo downcast-bf16 enable-cpu-affinity gpu-ids main-process-ip | list | -
main-process-port deepspeed-config.zero3-init-flag deepspeed-config.zero3-save-16bit-model | value | -
deepspeed-config.deepspeed-multinode-launcher deepspeed-config.gradient-clipping dynamo-backend | value | -
deepspeed-config.offload-optimizer-nvme-path deepspeed-config.offload-param-nvme-path | value | -
dynamo-config | value | -
"""
_STRATEGIES = {
    "full_shard": 3,
    "hybrid_shard": 3,
    "shard_grad_op": 2,
    "no_shard": 0,
    "hybrid_shard_zero2": 2,
    "_hybrid_shard_zero2": 2,
    "1": 3,
    "2": 2,
    "3": 0,
    "4": 3,
    "5": 2,
}


@lru_cache(maxsize=1)
def deepspeed_table() -> Table:
    return table(_DEEPSPEED)


@lru_cache(maxsize=1)
def accelerate_table() -> Table:
    return table(_ACCELERATE)


def read_deepspeed(settings: Mapping[Any, Any], c: Collected) -> None:
    """A DeepSpeed JSON into the collected values; what the trainer itself said stays."""
    inner = Collected(c.source)
    read_keys(flat(settings), deepspeed_table(), inner)
    inner.values.setdefault("@framework", "deepspeed")
    if c.source != "deepspeed":  # "auto" is what the trainer's own settings say
        inner.assumed = [note for note in inner.assumed if note["value"] != "auto"]
    merge(c, inner)


def read_accelerate(settings: Mapping[Any, Any], c: Collected) -> None:
    inner = Collected(c.source)
    read_keys(flat(settings), accelerate_table(), inner)
    merge(c, inner)


def merge(c: Collected, inner: Collected) -> None:
    c.values = inner.values | c.values
    for name in ("unknown", "without_effect", "unplanned", "assumed"):
        getattr(c, name).extend(getattr(inner, name))


def named_file(c: Collected, value: Any, folder: str | os.PathLike[str] | None) -> Mapping[str, Any] | None:
    """A configuration that the trainer's file names, when it is here."""
    from outlay.scenario_io import load_file

    if isinstance(value, Mapping):
        return value
    path = Path(str(value)[:1000])
    if folder is not None and not path.is_absolute():
        path = Path(folder) / path
    try:
        read = load_file(path) if path.is_file() else None
    except (Unreadable, OSError, ValueError):
        read = None
    if not isinstance(read, Mapping):
        c.note(
            "deepspeed",
            str(value)[:200],
            "the file that is named could not be read here" + _guess(c, str(value)),
        )
        return None
    return read


def _guess(c: Collected, name: str) -> str:
    """DeepSpeed files are commonly named by their stage."""
    lower = name.lower().rsplit("/", 1)[-1]
    for stage in (3, 2, 1):
        if any(f"{word}{stage}" in lower for word in ("z", "zero", "zero_", "stage", "stage_", "zero-")):
            c.values.setdefault("@zero", stage)
            c.values.setdefault("@framework", "deepspeed")
            if "offload" in lower:
                c.values.setdefault("@offload_optimizer", "cpu")
            return f"; ZeRO {stage} by its name"
    return ""


def finish_sharding(c: Collected, phase: dict[str, Any], folder: str | os.PathLike[str] | None = None) -> None:
    """Layout, offload, framework and precision out of the collected values."""
    given = c.take("@deepspeed")
    if given:
        settings = named_file(c, given, folder)
        if settings is not None:
            read_deepspeed(settings, c)
    _fsdp(c)
    layout: dict[str, Any] = phase.get("layout", {})
    put(layout, zero=c.take("@zero"), tensor=c.take("@tensor"), context=c.take("@context"))
    if layout:
        phase["layout"] = layout
    parameters = str(c.take("@offload_parameters", "")).lower()
    states = str(c.take("@offload_optimizer", "")).lower()
    if parameters in ("cpu", "nvme", "true"):
        phase["offload"] = "all"
    elif states in ("cpu", "nvme", "true"):
        phase["offload"] = "optimizer"
    put(phase, framework=c.take("@framework"))
    half, full = c.take("@bf16"), c.take("@fp16")
    mixed = str(c.take("@mixed", "")).lower()
    if half or mixed == "bf16":
        phase.setdefault("precision", "bf16")
    elif full or mixed == "fp16":
        phase.setdefault("precision", "fp16")
    elif mixed == "fp8":
        phase.setdefault("precision", "fp8")
    named = c.take("@optimizer")
    if named:
        put(phase, optimizer=optimizer(c, str(named)))


def _fsdp(c: Collected) -> None:
    strategy, reshard = c.take("@strategy"), c.take("@reshard")
    distributed = str(c.take("@distributed", "")).upper()
    if strategy is None and reshard is not None:
        strategy = {"true": "full_shard", "false": "shard_grad_op"}.get(str(reshard).lower(), reshard)
    if strategy is None and distributed == "FSDP":
        strategy = "full_shard"
        c.note("layout.zero", 3, "FSDP without a strategy: full sharding")
    if strategy is not None:
        stage = _STRATEGIES.get(str(strategy).lower())
        if stage is None:
            c.unplanned.append(f"fsdp strategy {str(strategy)[:60]}")
        else:
            c.values.setdefault("@zero", stage)
        if "hybrid" in str(strategy).lower():
            c.unplanned.append("hybrid sharding: give layout.shard, the devices of one group")
        c.values.setdefault("@framework", "fsdp")
    if distributed == "DEEPSPEED":
        c.values.setdefault("@framework", "deepspeed")
    elif distributed in ("MULTI_GPU", "NO"):
        c.values.setdefault("@zero", 0)
    if c.take("@fsdp_offload"):
        c.values.setdefault("@offload_parameters", "cpu")


def devices_of(c: Collected) -> tuple[int | None, int | None]:
    """All devices, and devices a node, as far as told."""
    devices, nodes = c.take("@devices"), c.take("@nodes")
    if devices and nodes and nodes > 0 and devices % nodes == 0:
        return devices, devices // nodes
    return devices, None
