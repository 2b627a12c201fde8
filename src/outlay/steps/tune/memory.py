"""How fine-tuning changes the memory of a step: what frozen products no longer keep, what adapters add.

The counts of `memory_layers` are those of training every matrix under fused kernels; here are the differences,
as bytes a row (norms and residuals) and bytes a token (inside a tensor-parallel part) of one layer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from outlay.architecture import Architecture, LayerKind
from outlay.physics.activations import HALF
from outlay.steps.inputs import Recipe
from outlay.steps.tune.trained import ENTRY, MLP_ENTRY, Tuning, adapted_shapes, adapter_inputs, matrices, passes

if TYPE_CHECKING:
    from outlay.steps.train.memory_policy import MemoryPolicy


def layer_difference(kind: LayerKind, arch: Architecture, recipe: Recipe,
                     policy: MemoryPolicy) -> tuple[float, float]:
    """(bytes a row, bytes a token) that one layer keeps beyond the plain count; negative where frozen."""
    tuning: Tuning = recipe.tuning
    software, hidden = tuning.software, arch.hidden
    norms = (1 if kind.mixer != "none" else 0) + (1 if kind.mlp != "none" else 0)
    eager = policy.split_gate
    rows: float = 0.0
    if eager:
        rows = rows + norms * hidden * (software.norm_bytes - HALF)
        if tuning.norms_trained:
            rows = rows + norms * hidden * software.norm_output_bytes
    rows = rows + _shared_input(kind, hidden, tuning, ENTRY, kind.mixer != "none", policy.operand)
    rows = rows + _shared_input(kind, hidden, tuning, MLP_ENTRY, kind.mlp != "none", policy.operand)
    tokens = _attention_difference(kind, tuning, eager)
    tokens = tokens + _down_difference(kind, tuning, policy.operand)
    return rows, tokens + _adapter_bytes(kind, hidden, tuning)


def _shared_input(kind: LayerKind, hidden: int, tuning: Tuning, names: tuple[str, ...], there: bool,
                  operand: float) -> float:
    """The norm's output, operand of all products after it: dropped when none of them needs it."""
    if not there:
        return 0.0
    return 0.0 if _operand_kept(tuning, names) else -operand * hidden


def _operand_kept(tuning: Tuning, names: tuple[str, ...]) -> bool:
    """Whether a product of these names keeps its input as it is."""
    if tuning.trained & set(names):
        return True
    if tuning.quantised and tuning.software.quantised_keeps_input:
        return True
    return bool(tuning.adapted & set(names)) and not tuning.software.adapter_input_bytes


def _attention_difference(kind: LayerKind, tuning: Tuning, eager: bool) -> float:
    """Repeated keys and values, and a fused product that outlives its parts."""
    if kind.mixer != "attention":
        return 0.0
    value = kind.v_head_dim or kind.head_dim
    found: float = 0.0
    if tuning.software.repeats_kv:
        found = found + HALF * (kind.heads - kind.kv_heads) * (kind.head_dim + value)
    if eager and tuning.software.fused_qkv:
        found = found + HALF * (kind.heads + kind.kv_heads) * kind.head_dim
    return found


def _down_difference(kind: LayerKind, tuning: Tuning, operand: float) -> float:
    """The operand of the last product of a layer, dropped where its weight is frozen."""
    if _operand_kept(tuning, ("down",)):
        return 0.0
    if kind.mlp == "dense":
        return -operand * kind.ffn
    if kind.mlp == "moe":
        return -operand * (kind.shared_ffn + kind.experts_per_token * kind.expert_ffn)
    return 0.0


def _adapter_bytes(kind: LayerKind, hidden: int, tuning: Tuning) -> float:
    """Own copies and masks of adapter inputs, the low-rank rows, and what padding and magnitudes keep."""
    software = tuning.software
    found = 0.0
    if tuning.method.startswith("adapter"):  # attention over the learned prompt, scaled by its gate
        found = found + HALF * kind.heads * (kind.v_head_dim or kind.head_dim)
    if tuning.method == "adapter-v2":  # every product's result with its bias, scaled by a learned vector
        found = found + HALF * sum(o * passes(kind, n) for shapes in matrices(kind, hidden).values()
                                   for _, o, n in shapes)
    if not tuning.adapted:
        return found
    if software.fused_qkv:
        inputs = max((adapter_inputs(kind, hidden, tuning, (n,)) for n in ENTRY), default=0.0)
    else:
        inputs = adapter_inputs(kind, hidden, tuning, ENTRY)
    inputs += adapter_inputs(kind, hidden, tuning, ("o", *MLP_ENTRY, "down"))
    found = found + inputs * software.adapter_input_bytes
    for name, _, outputs, count in adapted_shapes(kind, hidden, tuning):
        often = passes(kind, count)
        found = found + HALF * tuning.rank * often
        if name in ENTRY:
            found = found + outputs * often * software.adapter_output_bytes
        if tuning.method == "dora":  # the base's result and the update's, for the magnitude's gradient
            found = found + 2 * HALF * outputs * often
    return found
