"""Which layouts training software offers: what a search looks through when the user left a field open.

A field the user gave is never held against these rules, because versions and forks differ; they only keep a
search from answering with something its framework cannot run.
"""

from __future__ import annotations

from msgspec import Struct


class FrameworkRules(Struct, frozen=True):
    """ZeRO stages without and with pipeline stages, schedules, axes it can split, sharding inside data."""

    zero: tuple[int, ...]
    zero_with_pipeline: tuple[int, ...]
    schedules: tuple[str, ...]
    axes: frozenset[str]
    hybrid_shard: bool = False
    experts_need_sequence_parallel: bool = False


_ALL_AXES = frozenset({"tensor", "pipeline", "context", "expert", "expert_tensor"})

# Megatron-Core: the distributed optimiser is ZeRO-1; its FSDP (stages 2 and 3) excludes pipeline stages.
# Several optimiser instances inside data exist there but are rare, so a search leaves shard = data. It refuses
# expert with tensor parallelism unless sequence parallelism is on.
MEGATRON = FrameworkRules((0, 1, 2, 3), (0, 1), ("1f1b", "interleaved"), _ALL_AXES,
                          experts_need_sequence_parallel=True)
# DeepSpeed: the pipeline engine asserts ZeRO stage < 2 and has one schedule; MiCS and hpZ shard inside data.
DEEPSPEED = FrameworkRules((0, 1, 2, 3), (0, 1), ("1f1b",),
                           frozenset({"tensor", "pipeline", "context", "expert"}), hybrid_shard=True)
# PyTorch FSDP: SHARD_GRAD_OP = 2, FULL_SHARD = 3, NO_SHARD = 0, HYBRID_SHARD inside data; tensor by DTensor.
FSDP = FrameworkRules((0, 2, 3), (), ("1f1b",), frozenset({"tensor"}), hybrid_shard=True)
# Trainers over FSDP or DDP without a tensor-parallel path of their own.
TRAINER = FrameworkRules((0, 2, 3), (), ("1f1b",), frozenset(), hybrid_shard=True)
# torchtitan composes FSDP2 with pipeline stages and ships zero-bubble schedules.
TORCHTITAN = FrameworkRules((3,), (3,), ("1f1b", "interleaved", "zero_bubble"), _ALL_AXES, hybrid_shard=True)
# MaxText: data and fsdp mesh axes; its pipeline is circular and seldom used on a slice.
MAXTEXT = FrameworkRules((0, 3), (), ("1f1b",), frozenset({"tensor", "context", "expert"}), hybrid_shard=True)

RULES = {
    "megatron": MEGATRON, "nemo": MEGATRON, "megatron-bridge": MEGATRON, "deepspeed": DEEPSPEED, "fsdp": FSDP,
    "torchtitan": TORCHTITAN, "maxtext": MAXTEXT, "llm-foundry": TRAINER, "transformers": TRAINER,
    "torchtune": TRAINER, "litgpt": TRAINER,
}


def rules_of(framework: str) -> FrameworkRules:
    """Rules of a framework; one that is not listed is taken as Megatron, which offers the most.

    >>> rules_of("deepspeed").zero_with_pipeline
    (0, 1)
    """
    return RULES.get(framework, MEGATRON)
