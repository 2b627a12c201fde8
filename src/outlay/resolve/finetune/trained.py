"""What a fine-tune trains: the names people target, and the parameters behind them."""

from __future__ import annotations

from msgspec import Struct

from outlay.architecture import Architecture, LayerKind
from outlay.errors import BadValue, suggestion
from outlay.model_size import layer_parts, norm_parameters
from outlay.physics import adapters
from outlay.steps.tune.trained import MATRICES, adapter_shapes, matrices

METHODS = ("full", "lora", "qlora", "dora", "qdora", "prefix", "prompt", "adapter", "adapter-v2", "freeze")
LOW_RANK = ("lora", "qlora", "dora", "qdora")
ALL = frozenset(MATRICES)
ATTENTION, MLP = frozenset("qkvo"), frozenset(("gate", "up", "down"))
GROUPS = {
    "all": ALL, "all-linear": ALL, "attention": ATTENTION, "attn": ATTENTION, "mlp": MLP, "ffn": MLP,
    "qkv": frozenset("qkv"), "c_attn": frozenset("qkv"), "query_key_value": frozenset("qkv"),
    "linear_qkv": frozenset("qkv"), "attention_qkv": frozenset("qkv"), "linear_proj": frozenset("o"),
    "attention_dense": frozenset("o"), "linear_fc1": frozenset(("gate", "up")), "linear_fc2": frozenset(("down",)),
    "gate_up": frozenset(("gate", "up")), "w1": frozenset(("gate", "up")), "w2": frozenset(("gate", "up")),
    "w3": frozenset(("down",)), "c_proj": frozenset(("o", "down")), "out": frozenset("o"), "output": frozenset("o"),
    "fc1": frozenset(("up",)), "fc2": frozenset(("down",)), "experts": MLP,
}
SAVED = {
    "embedding": "embedding", "embed_tokens": "embedding", "embeddings": "embedding", "wte": "embedding",
    "tok_embeddings": "embedding", "head": "head", "lm_head": "head", "output": "head", "norm": "norms",
    "norms": "norms", "layernorm": "norms", "input_layernorm": "norms",
}


def targets(names: list[str]) -> frozenset[str]:
    """Matrices of a layer that target names stand for; BadValue with the names there are.

    >>> sorted(targets(["q_proj", "v_proj"])), targets(["all"]) == ALL
    (['q', 'v'], True)
    """
    found: set[str] = set()
    for name in names:
        plain = name.lower().strip().removesuffix("_proj")
        if plain in ALL:
            found.add(plain)
        elif name.lower().strip() in GROUPS or plain in GROUPS:
            found |= GROUPS.get(name.lower().strip()) or GROUPS[plain]
        else:
            known = (*MATRICES, *GROUPS)
            raise BadValue(f"finetune.target_modules: {name!r} is not a matrix of a layer{suggestion(plain, known)}; "
                           f"give {', '.join(MATRICES)} or all", "finetune.target_modules")
    if not found:
        raise BadValue(f"finetune.target_modules: give at least one of {', '.join(MATRICES)} or all",
                       "finetune.target_modules")
    return frozenset(found)


FUSED_NAMES = {"c_attn": ("q", "k", "v"), "qkv": ("q", "k", "v"), "query_key_value": ("q", "k", "v"),
               "linear_qkv": ("q", "k", "v"), "attention_qkv": ("q", "k", "v"), "gate_up": ("gate", "up"),
               "linear_fc1": ("gate", "up")}
MEGATRON_FUSED = (("q", "k", "v"), ("gate", "up"))


def fused_products(names: list[str]) -> tuple[tuple[str, ...], ...]:
    """Products that the names say are one in this model, such as c_attn."""
    plain = (name.lower().strip().removesuffix("_proj") for name in names)
    return tuple(dict.fromkeys(FUSED_NAMES[name] for name in plain if name in FUSED_NAMES))


def saved_modules(names: list[str]) -> frozenset[str]:
    """embedding, head and norms behind the names in modules_to_save."""
    found = set()
    for name in names:
        plain = name.lower().strip().rsplit(".", 1)[-1]
        if plain not in SAVED:
            raise BadValue(f"finetune.modules_to_save: {name!r} is not known{suggestion(plain, SAVED)}; "
                           "give embedding, head or norms", "finetune.modules_to_save")
        found.add(SAVED[plain])
    return frozenset(found)


class Counts(Struct, frozen=True):
    """Parameters by what happens to them."""

    adapters: float  # added and trained
    whole: float  # of the model, trained
    quantised: float  # of the model, kept in few bits
    total: float
    matrices: float  # of the model's layers
    layers_trained: float  # layer matrices trained whole


def count(arch: Architecture, *, method: str, rank: float, adapted: frozenset[str],
          fused: tuple[tuple[str, ...], ...], saved: frozenset[str], frozen_layers: int, virtual_tokens: int,
          quantised: bool, quantised_head: bool) -> Counts:
    """Parameters of a model by what a fine-tune does with them."""
    total = float(arch.parameters)
    layers = [(kind, float(number)) for kind, number in arch.groups]
    inside = sum(n * _matrix_parameters(kind, arch.hidden) for kind, n in layers)
    table = float(arch.vocab) * arch.hidden
    head_table = 0.0 if arch.tied_embeddings else table
    norms = sum(n * layer_parts(kind, arch.hidden, arch.norm).norms for kind, n in layers)
    norms += arch.final_norm * norm_parameters(arch.norm, arch.hidden)
    whole = 0.0
    layers_trained = 0.0
    added = adapter_parameters(arch, method, rank, adapted, virtual_tokens, fused)
    if method in ("full", "freeze"):
        above = 1.0 - frozen_layers / max(arch.layers, 1)
        layers_trained = inside * above
        whole = total if not frozen_layers else (total - table - head_table) * above + (head_table or table)
    else:
        whole += table if "embedding" in saved or ("head" in saved and arch.tied_embeddings) else 0.0
        whole += head_table if "head" in saved else 0.0
        whole += norms if "norms" in saved or method == "adapter-v2" else 0.0
    held = (inside + (head_table if quantised_head else 0.0)) if quantised else 0.0
    return Counts(added, whole, held, total, inside, layers_trained)


def adapter_parameters(arch: Architecture, method: str, rank: float, adapted: frozenset[str],
                       virtual_tokens: int, fused: tuple[tuple[str, ...], ...] = ()) -> float:
    """Parameters added to a model."""
    if method == "prefix":
        width = sum(n * kind.kv_heads * (kind.head_dim + (kind.v_head_dim or kind.head_dim))
                    for kind, n in arch.groups if kind.mixer == "attention")
        return float(adapters.prefix_parameters(virtual_tokens, 1, width))
    if method in ("adapter", "adapter-v2"):
        return _llama_adapter(arch, virtual_tokens, method == "adapter-v2")
    if method == "prompt":
        return float(adapters.prompt_parameters(virtual_tokens, arch.hidden))
    if method not in LOW_RANK:
        return 0.0
    formula = adapters.dora_parameters if method.endswith("dora") else adapters.lora_parameters
    return float(sum(layers * often * formula(inputs, outputs, rank)
                     for kind, layers in arch.groups
                     for _, inputs, outputs, often in adapter_shapes(kind, arch.hidden, adapted, fused)))


ADAPTER_START = 2  # layers below have no learned prompt (arXiv:2303.16199)


def _llama_adapter(arch: Architecture, virtual_tokens: int, second: bool) -> float:
    """LLaMA-Adapter: a learned prompt and a gate a head from the third layer on; the second version adds a bias
    and a scale to every product and trains the norms (arXiv:2304.15010).

    Llama-2 7B with 10 virtual tokens: 1,229,760 and 4,279,744.
    """
    above = (arch.layers - ADAPTER_START) / arch.layers
    heads = round(above * sum(n * kind.heads for kind, n in arch.groups))
    found = float(virtual_tokens * arch.hidden * max(arch.layers - ADAPTER_START, 0) + max(heads, 0))
    if second:
        found += 2.0 * arch.vocab
        found += sum(n * 2.0 * sum(o * often for shapes in matrices(kind, arch.hidden).values()
                                   for _, o, often in shapes) for kind, n in arch.groups)
    return found


def _matrix_parameters(kind: LayerKind, hidden: int) -> float:
    return sum(i * o * n for shapes in matrices(kind, hidden).values() for i, o, n in shapes)
