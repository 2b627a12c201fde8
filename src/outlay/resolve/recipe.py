"""How a training step is computed: the user's recipe over the framework's own defaults."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from outlay.architecture import Architecture
from outlay.catalog import Catalog
from outlay.errors import BadValue
from outlay.resolve.notes import Notes
from outlay.scenario import Pretrain
from outlay.steps.inputs import Recipe

DEFAULT_DOCUMENT_TOKENS = 1000.0
TOKENS_A_STEP = 4e6


class RecipeDefaults(Struct, frozen=True):
    """What a recipe becomes where the user said nothing."""

    precision: str = "bf16"
    optimizer: str = "adamw"
    framework: str = "megatron"
    attention: str = "flash"


def resolve_recipe(given: Pretrain, architecture: Architecture, devices: int, fused_default: bool, catalog: Catalog,
                   notes: Notes) -> tuple[Recipe, dict[str, object]]:
    """The full recipe, and its fields as the resolved scenario shows them."""
    base = RecipeDefaults()
    shown: dict[str, object] = {}

    def choose(name: str, value: object, default: object, why: str) -> object:
        if value is None:
            notes.assume(f"pretrain.{name}", default, why)
            value = default
        shown[name] = value
        return value

    framework = str(choose("framework", given.framework, base.framework, "the most used at this scale"))
    precision = str(choose("precision", given.precision, base.precision, "the common training precision"))
    optimizer = str(choose("optimizer", given.optimizer, base.optimizer, "the common optimiser"))
    attention = str(choose("attention", given.attention, base.attention, "default of current frameworks"))
    sequence = _sequence(given, architecture, choose)
    batch = _batch(given, sequence, devices, choose)
    fused = bool(choose("fused_cross_entropy", given.fused_cross_entropy, fused_default, f"default of {framework}"))
    compiled = bool(choose("compile", given.compile, False, "off unless asked for"))
    offload = str(choose("offload", given.offload, "none", "everything stays on the device"))
    packing = bool(choose("packing", given.packing, False, "one document a row, attended in full"))
    states: dict[str, Any] = dict(_state_bytes(given, framework, precision, optimizer, catalog, shown))
    if given.framework_version is not None:
        shown["framework_version"] = given.framework_version
        notes.assume("pretrain.framework_version", given.framework_version, f"recorded; time and memory of {framework} "
                     "are calibrated over several versions, none of them apart")
    recipe = Recipe(
        sequence_length=sequence, global_batch=batch, precision=precision, optimizer=optimizer, framework=framework,
        attention=attention, fused_cross_entropy=fused, compile=compiled, offload=offload, packing=packing,
        packed_lengths=_packed(given, packing, sequence, notes, shown), **states)
    return recipe, shown


def _sequence(given: Pretrain, architecture: Architecture, choose: object) -> int:
    limit = architecture.max_positions or 4096
    assert callable(choose)
    length = int(choose("sequence_length", given.sequence_length, min(limit, 8192),
                        "the model's context, at most 8,192 as in most pre-training"))
    if architecture.positions == "learned" and architecture.max_positions and length > architecture.max_positions:
        raise BadValue(f"pretrain.sequence_length: {length} is more than the {architecture.max_positions} learned "
                       "positions of this model", "pretrain.sequence_length")
    return length


def _batch(given: Pretrain, sequence: int, devices: int, choose: object) -> int:
    assert callable(choose)
    return int(choose("global_batch", given.global_batch, _even_batch(TOKENS_A_STEP / sequence, devices),
                      "about 4 million tokens a step, rounded to divide over the fleet"))


def _even_batch(wanted: float, devices: int) -> int:
    """The batch nearest to what is wanted that halves as often as it can and divides over the whole fleet.

    >>> _even_batch(488.3, 64), _even_batch(488.3, 24), _even_batch(488.3, 16384)
    (512, 384, 512)
    """
    import math

    odd = devices // (devices & -devices)
    return int(odd * 2 ** max(0, round(math.log2(max(wanted / odd, 1.0)))))


def _packed(
    given: Pretrain, packing: bool, sequence: int, notes: Notes, shown: dict[str, object]
) -> tuple[float, float]:
    """Mean and mean square of the documents in a packed row; (0, 0) when a row is one document."""
    if not packing:
        if given.document_tokens is not None:
            raise BadValue(
                "pretrain.document_tokens: has a meaning only with packing: true", "pretrain.document_tokens"
            )
        return (0.0, 0.0)
    mean = given.document_tokens
    if mean is None:
        mean = DEFAULT_DOCUMENT_TOKENS
        notes.assume("pretrain.document_tokens", mean, "web documents are about a thousand tokens long; lengths "
                     "taken as exponential, cut at the row")
    shown["document_tokens"] = mean
    if mean >= sequence:
        return (float(sequence), float(sequence) ** 2)
    import math

    # exponential lengths cut at the row length S: E[L] and E[L^2] of min(X, S), X ~ Exp(mean)
    ratio = sequence / mean
    tail = math.exp(-ratio)
    first = mean * (1 - tail)
    second = 2 * mean**2 * (1 - tail * (1 + ratio))
    return (first, second)


def _state_bytes(given: Pretrain, framework: str, precision: str, optimizer: str, catalog: Catalog,
                 shown: dict[str, object]) -> dict[str, float]:
    """Bytes per parameter of weights, gradients, master copy and optimiser states."""
    from outlay.resolve.frameworks import STATE_BYTES, framework_bytes, optimizer_states

    states = framework_bytes(framework, precision, catalog)
    optimizer_bytes, master_needed = optimizer_states(optimizer, given.optimizer_precision, catalog)
    states["optimizer_bytes"] = optimizer_bytes
    if not master_needed:
        states["master_bytes"] = 0.0
    if given.gradient_precision is not None:
        states["gradient_bytes"] = STATE_BYTES[given.gradient_precision]
        shown["gradient_precision"] = given.gradient_precision
    if given.optimizer_precision is not None:
        shown["optimizer_precision"] = given.optimizer_precision
    if given.master_weights is not None:
        master = given.master_weights
        states["master_bytes"] = (STATE_BYTES[master] if isinstance(master, str) else (4.0 if master else 0.0))
        shown["master_weights"] = master
    return states
