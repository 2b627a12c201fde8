"""What a fine-tune trains of a model, and what its software keeps while it does.

`Tuning` rides in `Recipe.tuning`; the bytes per parameter of the recipe are then means over all parameters of
the base. The compositions of a step ask this module which products keep their operand, which make a weight
gradient, and which carry an adapter.
"""

from __future__ import annotations

from functools import lru_cache

from msgspec import Struct

from outlay.architecture import Architecture, LayerKind
from outlay.derive import Num

MATRICES = ("q", "k", "v", "o", "gate", "up", "down")
ENTRY = ("q", "k", "v")  # products fed by the mixer's norm
MLP_ENTRY = ("gate", "up")


class Software(Struct, frozen=True):
    """Facts of a fine-tuning stack that no shape gives; rows of the catalogue's tune_constants."""

    norm_bytes: float = 2.0  # kept of a norm's input, bytes an element (4: an fp32 copy)
    norm_output_bytes: float = 0.0  # kept of the normed value for the norm's own weight, where it is trained
    logit_bytes: float = 14.0  # a logit at the fullest moment of the loss
    fused_logit_bytes: float = 4.0  # the same with a fused or chunked loss
    chunked_head: float = 0.0  # 1: the loss runs over chunks, so the head's gradient is twice there
    repeats_kv: float = 0.0  # 1: keys and values are repeated to every query head
    fused_qkv: float = 0.0  # 1: one product for q, k and v, which stays whole while one of them lives
    adapter_input_bytes: float = 0.0  # kept an adapted matrix and input element (own copy, dropout mask)
    adapter_output_bytes: float = 0.0  # kept an adapted output element of the attention entry
    quantised_keeps_input: float = 0.0  # 1: a quantised product keeps its input though the weight is frozen
    quantised_head: float = 0.0  # 1: the output head is quantised with the rest
    nf4_double: float = 1.0  # 1: scales are quantised too
    dequantise_ratio: Num = 1.0  # traffic of making a quantised matrix whole over the least
    quantised_launch: Num = 0.0  # host time of one quantised product over that of a layer
    adapter_launch: Num = 0.2  # host time of one adapter over that of a layer
    gather_launch: Num = 0.0  # host time of one sharded weight gathered by itself, over that of a layer
    adapter_weight_bytes: float = 4.0
    adapter_gradient_bytes: float = 4.0
    adapter_state_bytes: float = 8.0  # of AdamW with its master copy, if any
    saved_weight_bytes: float = 2.0  # modules trained whole beside adapters
    saved_gradient_bytes: float = 2.0
    saved_state_bytes: float = 4.0
    keeps_originals: float = 0.0  # 1: such a module's original stays beside its trained copy
    full_weight_bytes: float = 2.0
    full_gradient_bytes: float = 2.0
    full_state_bytes: float = 4.0
    step_temporary_bytes: float = 0.0  # of the optimiser step, a trained parameter
    gathers_root: float = 1.0


class Tuning(Struct, frozen=True):
    """What is trained. `adapted` and `trained` name matrices of a layer (see MATRICES)."""

    method: str  # full | lora | qlora | dora | prefix | prompt
    software: Software
    rank: float = 0.0
    adapted: frozenset[str] = frozenset()
    fused: tuple[tuple[str, ...], ...] = ()  # matrices that are one product in this software, with one adapter
    trained: frozenset[str] = frozenset()  # matrices trained whole
    norms_trained: bool = False
    head_trained: bool = False
    embedding_trained: bool = False
    live_share: float = 1.0  # layers a gradient passes through, over all layers
    trained_share: float = 1.0  # matrix parameters of the layers whose own gradient is made
    trainable_parameters: float = 0.0
    adapter_parameters: float = 0.0
    stored_bytes: float = 2.0  # of one quantised parameter
    quantised: bool = False
    made_whole: bool = False  # its products need it written out in 16 bits first
    weight_copies: float | None = None  # bytes a parameter of 8-bit copies beside a frozen base
    wire_bytes: float = 2.0  # of one base parameter when shards are gathered
    reduce_share: float = 1.0  # trained parameters over all
    extra_logit_bytes: float = 0.0  # of other models' logits, alive at the loss, a logit
    optimizer_in_backward: bool = False
    offload_activations: bool = False


class Companion(Struct, frozen=True):
    """A model beside the one that is trained: it reads `forwards` times the sequences a step trains."""

    role: str  # reference | teacher | critic | reward
    architecture: Architecture
    forwards: float
    trained: bool = False
    own_weights: bool = True  # False: the trained model with its adapters off


class Rollout(Struct, frozen=True):
    """How responses are written before a step of reinforcement learning."""

    engine: str
    tensor: int
    devices: int
    colocate: bool
    sequences: float  # of one step
    prompt: float  # tokens of the mean prompt
    mean: float  # tokens of a response
    longest: float  # the same, at most
    step_s: Num  # what the engine takes for a step beside the device's work
    utilisation: Num  # of the arithmetic peak, when many sequences are computed together
    longest_prompt: float


class Procedure(Struct, frozen=True):
    """What an algorithm does in a step beside training: who reads, who writes."""

    algorithm: str = "sft"
    rows: int = 1  # sequences of an example that are trained together
    samples: int = 1  # responses trained for an example
    own_forwards: float = 0.0  # passes of the trained model without gradient, over the sequences trained
    companions: tuple[Companion, ...] = ()
    rollout: Rollout | None = None


@lru_cache(maxsize=256)
def matrices(kind: LayerKind, hidden: int) -> dict[str, tuple[tuple[float, float, float], ...]]:
    """(inputs, outputs, how many) of every matrix of a layer, by the name people target.

    >>> from outlay.architecture import LayerKind
    >>> matrices(LayerKind(heads=32, kv_heads=8, head_dim=128, ffn=14336), 4096)["k"]
    ((4096.0, 1024.0, 1.0),)
    """
    found: dict[str, list[tuple[float, float, float]]] = {}

    def add(name: str, inputs: float, outputs: float, count: float = 1.0) -> None:
        if inputs and outputs and count:
            found.setdefault(name, []).append((float(inputs), float(outputs), float(count)))

    _mixer(kind, hidden, add)
    width = kind.ffn if kind.mlp == "dense" else kind.shared_ffn if kind.mlp == "moe" else 0
    _mlp(hidden, width, kind.gated, 1, add)
    if kind.mlp == "moe":
        _mlp(kind.expert_hidden or hidden, kind.expert_ffn, kind.gated, kind.experts, add)
    return {name: tuple(shapes) for name, shapes in found.items()}


def _mixer(kind: LayerKind, hidden: int, add: object) -> None:
    assert callable(add)
    value = kind.v_head_dim or kind.head_dim
    if kind.mixer == "attention":
        gates = 1 if kind.output_gate == "none" else 2
        add("q", hidden, gates * kind.heads * kind.head_dim)
        add("k", hidden, kind.kv_heads * kind.head_dim)
        if not kind.shared_kv:
            add("v", hidden, kind.kv_heads * value)
        add("o", kind.heads * value, hidden)
    elif kind.mixer == "mla":
        if kind.q_lora_rank:
            add("q", hidden, kind.q_lora_rank)
        add("q", kind.q_lora_rank or hidden, kind.heads * kind.head_dim)
        add("k", hidden, kind.kv_lora_rank + kind.qk_rope_head_dim)
        add("v", kind.kv_lora_rank, kind.heads * (kind.head_dim - kind.qk_rope_head_dim + value))
        add("o", kind.heads * value, hidden)
    elif kind.mixer != "none":
        inner, keys = kind.heads * kind.head_dim, (kind.groups or kind.heads) * kind.state
        add("q", hidden, inner + 2 * keys)
        add("o", inner, hidden)


def _mlp(hidden: int, width: int, gated: bool, count: int, add: object) -> None:
    assert callable(add)
    if gated:
        add("gate", hidden, width, count)
    add("up", hidden, width, count)
    add("down", width, hidden, count)


def adapter_inputs(kind: LayerKind, hidden: int, tuning: Tuning, names: tuple[str, ...]) -> float:
    """Input elements a token of the adapters on these matrices; a mixture's token passes its chosen experts."""
    return sum(i * _passes(kind, n) for name, i, _, n in adapted_shapes(kind, hidden, tuning) if name in names)


def adapted_shapes(kind: LayerKind, hidden: int, tuning: Tuning) -> list[tuple[str, float, float, float]]:
    """(name, inputs, outputs, how many) of every matrix, or fused product, with an adapter."""
    return adapter_shapes(kind, hidden, tuning.adapted, tuning.fused)


@lru_cache(maxsize=256)
def adapter_shapes(kind: LayerKind, hidden: int, adapted: frozenset[str],
                   fused: tuple[tuple[str, ...], ...]) -> list[tuple[str, float, float, float]]:
    """The same for given names; a fused product takes one adapter over all its outputs.

    >>> from outlay.architecture import LayerKind
    >>> kind = LayerKind(heads=32, kv_heads=32, head_dim=128, ffn=11008)
    >>> adapter_shapes(kind, 4096, frozenset("qkv"), (("q", "k", "v"),))
    [('q', 4096.0, 12288.0, 1.0)]
    """
    shapes = matrices(kind, hidden)
    inside = {name: group for group in fused for name in group if adapted >= set(group) & set(shapes)}
    found = []
    for name in MATRICES:
        if name not in adapted or name not in shapes:
            continue
        group = inside.get(name)
        if group is None or any(len(shapes.get(other, ())) != len(shapes[name]) for other in group if other in shapes):
            found += [(name, i, o, n) for i, o, n in shapes[name]]
        elif name == next(other for other in group if other in shapes):
            for at, (i, _, n) in enumerate(shapes[name]):
                found.append((name, i, sum(shapes[other][at][1] for other in group if other in shapes), n))
    return found


def weight_tensors(kind: LayerKind, hidden: int, fused: tuple[tuple[str, ...], ...] = ()) -> float:
    """Weights of a layer that are tensors of their own: every expert's, a fused product once.

    >>> from outlay.architecture import LayerKind
    >>> kind = LayerKind(heads=32, kv_heads=32, head_dim=128, ffn=11008)
    >>> weight_tensors(kind, 4096), weight_tensors(kind, 4096, (("q", "k", "v"),))
    (7.0, 5.0)
    """
    shapes = matrices(kind, hidden)
    joined = sum(shapes[name][0][2] for group in fused for name in [n for n in group if n in shapes][1:])
    return sum(count for group in shapes.values() for _, _, count in group) - joined


def _passes(kind: LayerKind, count: float) -> float:
    """How many of `count` equal matrices one token passes through."""
    return float(kind.experts_per_token) if count > 1 and kind.mlp == "moe" else count


def passes(kind: LayerKind, count: float) -> float:
    return _passes(kind, count)
