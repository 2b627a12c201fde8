"""Stand-in hardware and models for the layout tests, with round constants: only the machinery is tested."""

from __future__ import annotations

import numpy as np

from outlay.architecture import Architecture, LayerKind
from outlay.physics.roofline import Grid
from outlay.steps.efficiency import Efficiency
from outlay.steps.inputs import Hardware, Recipe


class RoundEfficiency(Efficiency, frozen=True):
    """Answers for every constant the compositions may ask for."""

    def value(self, name: str, framework: str = "") -> float:
        if name.endswith("_s"):
            return 1e-5
        if name.startswith("flop_per_joule"):
            return 2e12
        return 0.003 if name == "step.jitter" else 0.7


GRID = Grid(0.0, 1.0, 10.0, 1.0, np.log(np.linspace(0.2, 0.8, 400).reshape(20, 20)))
EFFICIENCY = RoundEfficiency("hopper", dict.fromkeys(("bf16", "fp8", "nvfp4"), GRID), {})


def fleet(devices: int, memory_bytes: float = 80e9, per_node: int = 8) -> Hardware:
    return Hardware("h100", "nvidia", 989e12, 989e12, memory_bytes, 3.35e12, devices, per_node, per_node,
                    450e9, 50e9, 64e9, 2e12, power_w=700.0, efficiency=EFFICIENCY)


def dense(layers: int = 32, hidden: int = 4096, heads: int = 32, kv_heads: int = 8, ffn: int = 14336,
          vocab: int = 128256) -> Architecture:
    kind = LayerKind(heads=heads, kv_heads=kv_heads, head_dim=hidden // heads, ffn=ffn)
    each = hidden * (2 * hidden + 2 * kv_heads * (hidden // heads) + 3 * ffn + 2)
    total = layers * each + 2 * vocab * hidden + hidden
    return Architecture("dense", hidden, vocab, ((kind, layers),), False, total, total, 131072)


def mixture(layers: int = 32, experts: int = 64) -> Architecture:
    plain = LayerKind(heads=32, kv_heads=8, head_dim=128, ffn=14336)
    moe = LayerKind(heads=32, kv_heads=8, head_dim=128, mlp="moe", experts=experts, experts_per_token=4,
                    expert_ffn=2048, shared_ffn=2048)
    attention = 4096 * (2 * 4096 + 2 * 1024)
    total = layers * attention + 2 * 128256 * 4096 + 3 * 4096 * 14336
    total += (layers - 1) * (experts * 3 * 4096 * 2048 + 3 * 4096 * 2048 + 4096 * experts)
    return Architecture("mixture", 4096, 128256, ((plain, 1), (moe, layers - 1)), False, total, total, 131072)


def recipe(sequence: int = 4096, batch: int = 256, **more: object) -> Recipe:
    return Recipe(sequence, batch, **more)  # type: ignore[arg-type]
