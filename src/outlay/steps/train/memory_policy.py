"""What a training framework keeps, allocates and pads: the categories behind the memory of one step."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from outlay.architecture import Architecture
from outlay.derive import Num
from outlay.steps.inputs import Recipe
from outlay.steps.tune.policy import TunedPolicy, tuned_policy

MEGATRON = frozenset(("megatron", "megatron-bridge", "nemo"))
WHOLE_GRAPH = frozenset(("maxtext", "axlearn"))  # XLA fuses what Transformer Engine fuses by hand
EIGHT_BIT = frozenset(("fp8", "mxfp8", "nvfp4", "mxfp4", "fp4"))
CORE_ATTENTION = ("core_attn",)
GIB = 2.0**30


class MemoryConstants(Struct, frozen=True):
    """Sizes no shape gives; the catalogue's memory_constants table holds them with their sources."""

    context_bytes: Num = 0.55 * GIB  # driver context and loaded kernels
    communication_bytes: Num = 0.9 * GIB  # communicator buffers outside the framework's allocator
    workspace_bytes: Num = 0.0625 * GIB  # matrix-library workspaces inside the allocator
    grouped_workspace_bytes: Num = 0.125 * GIB  # the same for grouped products of experts
    fragmentation_fraction: Num = 0.05  # reserved over allocated, less one
    host_process_bytes: Num = 6.0e9  # host memory of one training process without offload
    host_copy_factor: Num = 1.0  # host bytes per offloaded byte


class MemoryPolicy(Struct, frozen=True):
    """Choices of a framework that change what is alive."""

    split_gate: bool  # both halves, the gate's result and the product are kept (eager PyTorch)
    operand: float  # bytes an element of a saved matrix operand takes
    element: float  # bytes of an activation element
    dropout: bool
    logit_bytes: Num
    kept_logit_bytes: float  # of an extra prediction head, held until its backward
    megatron: bool  # padded vocabulary, one unused 16-bit weight gradient a matrix shape
    operator_recompute: bool  # selective = every second product saved (torchtitan) rather than modules
    recompute_modules: tuple[str, ...]  # what selective recomputes otherwise, in Megatron's words
    separate_step: bool  # the optimiser step makes temporaries as large as its parameters
    weight_copies: float  # bytes a parameter of 8-bit weight copies kept beside the weights
    constants: MemoryConstants
    tuned: TunedPolicy | None = None  # of a fine-tune


def policy_of(arch: Architecture, recipe: Recipe) -> MemoryPolicy:
    """The policy of a recipe's framework, with the constants `resolve` put into its options.

    Megatron's own default is dropout 0.1, which recipes with rotary positions turn off.
    """
    megatron = recipe.framework in MEGATRON
    fused = megatron or recipe.framework in WHOLE_GRAPH
    low = recipe.precision in EIGHT_BIT and fused  # torch float8 keeps 16-bit operands
    return MemoryPolicy(
        split_gate=not fused and not recipe.compile,
        operand=1.0 if low else 2.0,
        element=4.0 if recipe.precision == "fp32" else 2.0,
        dropout=bool(recipe.options.get("dropout", megatron and arch.positions != "rope")),
        logit_bytes=_logit_bytes(fused, recipe),
        kept_logit_bytes=4.0,
        megatron=megatron,
        operator_recompute=recipe.framework in ("torchtitan", "fsdp"),
        recompute_modules=tuple(recipe.options.get("recompute_modules", CORE_ATTENTION)),
        separate_step=not fused and recipe.framework != "torchtitan",
        weight_copies=2.0 if low else 0.0,
        constants=_constants(recipe.options.get("memory_constants")),
        tuned=tuned_policy(recipe.tuning, arch.hidden) if recipe.tuning is not None else None,
    )


def _logit_bytes(fused: bool, recipe: Recipe) -> Any:
    """Bytes a logit at the fullest moment of the loss; see physics.activations.logits_bytes."""
    if recipe.tuning is not None:
        software = recipe.tuning.software
        scaled = 2.0 if recipe.tuning.method == "adapter-v2" else 0.0  # the head's result, kept for its scale
        scaled += recipe.tuning.extra_logit_bytes
        return scaled + (software.fused_logit_bytes if recipe.fused_cross_entropy else software.logit_bytes)
    if recipe.fused_cross_entropy:
        return 2.0 if fused else 4.0
    return 6.0 if fused else 14.0


def _constants(given: Any) -> MemoryConstants:
    if not given:
        return MemoryConstants()
    if isinstance(given, MemoryConstants):
        return given
    known = set(MemoryConstants.__struct_fields__)
    return MemoryConstants(**{k: v for k, v in dict(given).items() if k in known})
