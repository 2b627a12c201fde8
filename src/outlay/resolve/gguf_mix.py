"""Which type every tensor of a llama.cpp quantisation mix gets, and the bytes that makes of each part.

The mixes raise some tensors above their base type; the rules are those of the llama.cpp quantiser (MIT) as of
2026-11, restated by tensor and layer.
"""

from __future__ import annotations

from collections.abc import Iterator

from outlay.architecture import Architecture, LayerKind
from outlay.physics.weights import PARTS, WIDE_BYTES
from outlay.readers.gguf.types import BY_NAME

_BASE = {
    "q2_k_s": "q2_k",
    "q3_k_s": "q3_k",
    "q3_k_m": "q3_k",
    "q3_k_l": "q3_k",
    "q4_k_s": "q4_k",
    "q4_k_m": "q4_k",
    "q5_k_s": "q5_k",
    "q5_k_m": "q5_k",
    "iq2_s": "iq2_xs",
    "iq2_m": "iq2_s",
    "iq3_xs": "iq3_s",
    "iq3_m": "iq3_s",
    "mxfp4_moe": "q8_0",
}
_ALIAS = {"q3_k": "q3_k_m", "q4_k": "q4_k_m", "q5_k": "q5_k_m"}
_PLAIN = (
    "f32",
    "f16",
    "bf16",
    "q4_0",
    "q4_1",
    "q5_0",
    "q5_1",
    "q8_0",
    "q2_k",
    "q6_k",
    "iq1_s",
    "iq1_m",
    "iq2_xxs",
    "iq2_xs",
    "iq3_xxs",
    "iq3_s",
    "iq4_nl",
    "iq4_xs",
    "tq1_0",
    "tq2_0",
    "q1_0",
    "q2_0",
)
MIXES = (*_PLAIN, *_BASE, *_ALIAS)
_WIDE = ("f32", "f16", "bf16")
_TWO_BITS = ("iq2_xxs", "iq2_xs", "iq2_s", "iq2_m", "iq1_s", "iq1_m")
_F32_BYTES = 4.0
_GROUPED = 4  # query heads a key head serves from which values earn more bits


def _more_bits(layer: int, layers: int) -> bool:
    """First and last eighth, and every third layer between."""
    return layer < layers // 8 or layer >= 7 * layers // 8 or (layer - layers // 8) % 3 == 2


def end_type(mix: str, part: str, tied: bool) -> str:
    """Type of the output matrix, or of the token embedding."""
    base = _BASE.get(mix, mix)
    if mix in _WIDE:
        return mix
    if part == "head" or tied:
        if mix == "mxfp4_moe":
            return "q8_0"
        if mix in _TWO_BITS or mix == "iq3_xxs":
            return "q5_k"
        return base if base == "q8_0" else "q6_k"
    if mix in ("iq2_xxs", "iq2_xs", "iq1_s", "iq1_m"):
        return "q2_k"
    if mix in ("iq2_s", "iq2_m", "iq3_xxs"):
        return "iq3_s"
    return "q4_k" if mix in ("tq1_0", "tq2_0", "q2_0") else base


def tensor_type(mix: str, tensor: str, layer: int, layers: int, grouped: bool, experts: int) -> str:
    """Type of one tensor of a layer: q, k, v, o, up (and gate), down.

    >>> [tensor_type("q4_k_m", t, 0, 32, True, 0) for t in ("q", "v", "down")]
    ['q4_k', 'q6_k', 'q6_k']
    """
    base = _BASE.get(mix, mix)
    if mix in _WIDE or mix in ("q6_k", "q8_0", "mxfp4_moe"):
        return base
    early = layer < layers // 8
    if mix in _TWO_BITS:
        return _two_bit(mix, base, tensor, early, grouped, experts)
    rules = {"v": _value_type, "down": _down_type, "o": _output_type}
    if tensor in rules:
        return rules[tensor](mix, base, layer, layers, grouped, experts)
    if tensor == "k" and experts == 8:
        return "q8_0"
    if tensor in ("q", "k") and mix in ("iq3_xs", "iq3_xxs"):
        return "iq3_xxs" if mix == "iq3_xs" else "iq2_s"
    if tensor == "up" and mix == "iq3_xs" and not early and layer < 7 * layers // 8:
        return "iq3_xxs"
    return base


def _two_bit(mix: str, base: str, tensor: str, early: bool, grouped: bool, experts: int) -> str:
    better = "iq3_s" if mix in ("iq2_s", "iq2_m") else "q2_k"
    if tensor == "v":
        return "q4_k" if grouped or experts >= 4 else better
    if tensor == "k" and experts == 8:
        return "q4_k"
    if tensor == "down" and early:
        return better
    if tensor == "o":
        if experts == 8:
            return "q5_k"
        return "iq2_xxs" if mix in ("iq1_s", "iq1_m") else "iq3_s" if mix in ("iq2_s", "iq2_m") else base
    return base


def _value_type(mix: str, base: str, layer: int, layers: int, grouped: bool, experts: int) -> str:
    if experts == 8:
        return "q8_0"
    found = base
    if mix in ("q2_k", "q2_k_s"):
        found = "q4_k" if grouped else "q3_k" if mix == "q2_k" else base
    elif mix in ("iq3_xxs", "iq3_xs", "iq3_s", "iq3_m") and (grouped or mix == "iq3_m"):
        found = "q4_k"
    elif mix == "q3_k_m":
        found = "q5_k" if layer < 2 else "q4_k"
    elif mix == "q3_k_l" or (mix in ("iq4_nl", "iq4_xs") and grouped) or (mix == "q4_k_s" and layer < 4):
        found = "q5_k"
    elif mix in ("q4_k_m", "q5_k_m") and _more_bits(layer, layers):
        found = "q6_k"
    return "q5_k" if layers == 80 and found in ("q3_k", "q4_k") else found


def _down_type(mix: str, base: str, layer: int, layers: int, grouped: bool, experts: int) -> str:
    early = layer < layers // 8
    if mix == "q2_k":
        return "q3_k"
    if mix == "q3_k_m":
        return "q5_k" if layer < layers // 16 else "q4_k"
    if mix == "q3_k_l":
        return "q5_k"
    if mix in ("q4_k_m", "q5_k_m") and _more_bits(layer, layers):
        return "q6_k"
    if early and mix in ("q2_k_s", "iq3_m"):
        return "q4_k"
    if early and mix in ("q4_k_s", "iq4_nl", "iq4_xs"):
        return "q5_k"
    return base


def _output_type(mix: str, base: str, layer: int, layers: int, grouped: bool, experts: int) -> str:
    if experts == 8 and mix not in ("q5_k_m", "q5_k_s", "q4_0", "q4_1", "q5_0", "q5_1"):
        return "q5_k"
    return {"q2_k": "q3_k", "iq3_xxs": "iq3_s", "q3_k_m": "q4_k", "iq3_m": "q4_k", "q3_k_l": "q5_k"}.get(
        mix, base
    )


def mix_part_bytes(mix: str, arch: Architecture) -> dict[str, float]:
    """Bytes of one weight in every part of a model, averaged over its layers.

    Llama 3 8B in Q4_K_M is 4.58 GiB (llama.cpp, quantize tool's own table).
    """
    mix = _ALIAS.get(mix, mix)
    found = dict.fromkeys(PARTS, WIDE_BYTES)
    found |= {"norms": _F32_BYTES, "router": _F32_BYTES, "bias": _F32_BYTES}
    found["embedding"] = _bytes(end_type(mix, "embedding", arch.tied_embeddings))
    found["head"] = _bytes(end_type(mix, "head", arch.tied_embeddings))
    sums: dict[str, list[float]] = {}
    for layer, kind in enumerate(_layers(arch)):
        for part, tensor, weights in _tensors(kind, arch.hidden):
            name = tensor_type(
                mix, tensor, layer, arch.layers, kind.kv_heads * _GROUPED <= kind.heads, kind.experts
            )
            if mix == "mxfp4_moe" and part == "experts":
                name = "mxfp4"
            total = sums.setdefault(part, [0.0, 0.0])
            total[0] += weights * _bytes(name)
            total[1] += weights
    base = _bytes(_BASE.get(mix, mix))
    found |= dict.fromkeys(("attention", "latent", "mixer", "mlp", "experts", "shared"), base)
    return found | {part: total / weights for part, (total, weights) in sums.items() if weights}


def _bytes(name: str) -> float:
    return BY_NAME[name].bits_per_weight / 8.0


def _layers(arch: Architecture) -> Iterator[LayerKind]:
    for kind, times in arch.runs:
        for _ in range(times):
            yield kind


def _tensors(kind: LayerKind, hidden: int) -> list[tuple[str, str, float]]:
    """Part, tensor and weights of what a layer has."""
    found: list[tuple[str, str, float]] = []
    if kind.mixer == "attention":
        value = kind.v_head_dim or kind.head_dim
        found += [
            ("attention", "q", hidden * kind.heads * kind.head_dim),
            ("attention", "k", hidden * kind.kv_heads * kind.head_dim),
            ("attention", "v", hidden * kind.kv_heads * value * (1 - kind.shared_kv)),
            ("attention", "o", kind.heads * value * hidden),
        ]
    blocks = {
        "dense": [("mlp", kind.ffn)],
        "none": [],
        "moe": [("experts", kind.experts * kind.expert_ffn), ("shared", kind.shared_ffn)],
    }[kind.mlp]
    for part, width in blocks:
        found += [(part, "up", (1 + kind.gated) * hidden * width), (part, "down", float(width * hidden))]
    return found
