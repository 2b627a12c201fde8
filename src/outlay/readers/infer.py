"""Typical shapes for a model of which only the totals are known."""

from __future__ import annotations

import math
from typing import Any

from outlay.errors import Inconsistent
from outlay.physics.parameters import attention_parameters
from outlay.readers.fields import Fields, Note

# (parameters, layers, hidden): published dense shapes from GPT-2 small to Llama 3.1 405B; the last extends
_ANCHORS = ((1.24e8, 12, 768), (1.3e9, 24, 2048), (6.7e9, 32, 4096), (1.3e10, 40, 5120), (6.9e10, 80, 8192),
            (4.05e11, 126, 16384), (1.8e12, 160, 30720))
HEADS_GRAIN, LAYERS_GRAIN, FFN_GRAIN = 8, 4, 128
_SOURCE = "GPT-3 (arXiv:2005.14165) Table 2.1; Llama 2 (arXiv:2307.09288); Llama 3 (arXiv:2407.21783) Table 3"


def shapes_from_totals(read: Fields, notes: list[Note]) -> dict[str, Any]:
    """Fields of a typical decoder with these totals; a mixture of experts when fewer are active than held."""
    total = read.count("parameters", least=10**5, most=10**16)
    active = read.count("active_parameters", total, most=10**16, silent=True)
    if active > total:
        raise Inconsistent(f"active_parameters {active:,} is more than parameters {total:,}",
                           read.at("active_parameters"))
    layers, hidden = _depth_and_width(active)
    vocab = read.count("vocab", 128_256 if active >= 5e9 else 32_000, most=10**8, silent=True)
    heads = max(1, hidden // _head_dim(hidden))
    kv_heads = heads if heads % 8 or active < 5e9 else min(8, heads)
    tied = 2 * vocab * hidden > 0.3 * active
    outside = (1 if tied else 2) * vocab * hidden
    attention = attention_parameters(hidden, heads, kv_heads, hidden // heads)
    mlp = max((active - outside) / layers - attention, 3.0 * hidden)
    fields: dict[str, Any] = {
        "layers": layers, "hidden": hidden, "heads": heads, "kv_heads": kv_heads,
        "head_dim": hidden // heads, "vocab": vocab, "gated": True, "tied_embeddings": tied,
        "ffn": _to_grain(mlp / (3 * hidden), FFN_GRAIN),
    }
    if total > active:
        fields |= _experts(total - active, layers, hidden, fields.pop("ffn"))
    fields |= read.given
    named = ("layers", "hidden", "heads", "ffn", "experts", "experts_per_token", "expert_ffn", "vocab")
    shown = {k: fields[k] for k in named if k in fields}
    notes.append({"what": read.path, "value": shown,
                  "why": "only totals were given; a typical shape stands in, and intervals widen",
                  "source": _SOURCE})
    return fields


def _depth_and_width(parameters: float) -> tuple[int, int]:
    """Layers and hidden by log-log interpolation between the anchors, extended along the end slopes."""
    x = math.log(max(parameters, 1e3))
    points = [(math.log(p), math.log(n), math.log(h)) for p, n, h in _ANCHORS]
    i = next((i for i in range(1, len(points) - 1) if x <= points[i][0]), len(points) - 1)
    (x0, n0, h0), (x1, n1, h1) = points[i - 1], points[i]
    t = (x - x0) / (x1 - x0)
    layers = max(1, round(math.exp(n0 + t * (n1 - n0))))
    width = math.exp(h0 + t * (h1 - h0))
    # heads in eighths and layers in fourths, as published models have them, so that the usual splits divide
    grain = HEADS_GRAIN * _head_dim(width) if width >= 512 else 16
    if layers > 8:
        layers = round(layers / LAYERS_GRAIN) * LAYERS_GRAIN
    return min(layers, 10_000), max(grain, round(width / grain) * grain)


def _head_dim(width: float) -> int:
    return 128 if width >= 2048 else 64


def _to_grain(value: float, grain: int) -> int:
    """The nearest multiple of the grain; a value smaller than that is only rounded.

    >>> _to_grain(11003.7, 128), _to_grain(37.2, 128)
    (11008, 37)
    """
    return round(value / grain) * grain if value >= grain else max(1, round(value))


def _experts(idle: float, layers: int, hidden: int, ffn: int) -> dict[str, Any]:
    """Routed experts that hold the idle parameters; a token's few, with the router, take the dense layer's place.

    With x parameters an expert, k experts a token and i idle parameters a layer there are k + i/x experts, and the
    token passes k x of them and a router of a row each: k x + hidden (k + i/x) = 3 hidden ffn. Where no x solves
    that, the router alone takes too much, and fewer, larger experts are tried.
    """
    per_token = 8 if ffn >= 64 else 1
    each = idle / layers
    while True:
        room = 3.0 * hidden * ffn - hidden * per_token
        square = room * room - 4.0 * per_token * hidden * each
        if square >= 0.0 or per_token == 1:
            break
        per_token //= 2
    size = (room + math.sqrt(max(square, 0.0))) / (2.0 * per_token)
    expert_ffn = _to_grain(size / (3 * hidden), _expert_grain(size / (3 * hidden)))
    more = _to_grain(each / (3 * hidden * expert_ffn), per_token)
    return {"experts": min(per_token + more, 10**5), "experts_per_token": per_token, "expert_ffn": expert_ffn}


def _expert_grain(ffn: float) -> int:
    """The grain of a dense layer, halved while it is more than an eighth of a small expert's width.

    >>> [_expert_grain(f) for f in (1408, 512, 190)]
    [128, 64, 16]
    """
    grain = FFN_GRAIN
    while grain > ffn / 8 and grain > 1:
        grain //= 2
    return grain
