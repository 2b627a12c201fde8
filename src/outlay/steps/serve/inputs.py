"""What serving compositions are given: how a model is kept and run by an engine, and over which devices.

Numbers may be plain floats, arrays of one common shape (a search) or `Quantity`; strings and booleans are
categories.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct, field

from outlay.architecture import LayerKind
from outlay.physics.roofline import Grid

Num = Any  # float, array or Quantity

POOLS = ("utilization", "static", "free", "context", "grows")


def part_names(kind: LayerKind) -> tuple[str, str]:
    """By which names `part_bytes` has the weights of a layer's mixer, and of the MLP that every token passes.

    >>> part_names(LayerKind(mixer="mla", mlp="moe")), part_names(LayerKind(mixer="gdn"))
    (('latent', 'shared'), ('mixer', 'mlp'))
    """
    mixer = {"attention": "attention", "mla": "latent"}.get(kind.mixer, "mixer")
    return mixer, "shared" if kind.mlp == "moe" else "mlp"


class ServeLayout(Struct, frozen=True):
    """One replica: tensor · data · pipeline devices; `data` are attention ranks with own sequences."""

    tensor: Num = 1
    pipeline: int = 1
    expert: Num = 1
    data: Num = 1
    context: Num = 1  # decode context parallel: ranks that share out one sequence's cache

    @property
    def devices(self) -> Num:
        return self.tensor * self.pipeline * self.data


class ServeRecipe(Struct, frozen=True):
    """How an engine keeps and runs a model.

    pool says how the engine sizes its cache: a share of the device less what it measured (utilization), a
    share for weights and cache (static), a share of what is free (free), the context asked for (context), or
    what the sequences at hand need (grows). constants are the engine's, by catalogue name.
    """

    engine: str
    pool: str
    part_bytes: Mapping[str, Num]  # bytes of a weight, by part of the model
    cache_bytes: Num  # bytes of a cached element
    constants: Mapping[str, Num]
    max_model_len: Num
    max_num_seqs: Num
    max_num_batched_tokens: Num
    memory_utilization: Num
    sequences: Num = 1.0  # held at once where the engine sizes by need
    shared_cache: bool = False  # one context for all sequences, where the engine allocates a context
    sequence_tokens: Num = 0.0  # of each; 0 = max_model_len
    needed_tokens: Num = 0.0  # of the one request a cache must hold, where an engine starts with less
    graphs: bool = True
    cache_given_bytes: Num | None = None
    adapters: int = 0
    adapter_rank: int = 0
    extra_bytes: Num = 0.0  # a vision tower, prediction layers or a draft model, split like the rest
    draft_kinds: tuple[tuple[LayerKind, int], ...] = ()  # layers of a drafter, whose cache stands beside
    device_layers: int | None = None  # layers on the device, the rest on the host
    host_weight_bytes: Num = 0.0  # of each device's weights, kept on the host and read over its link in every step
    layer_bytes: tuple[float, ...] = field(
        default=()
    )  # as a file holds them; then part_bytes is for the rest
    precision: str = "bf16"
    cache_precision: str = "bf16"

    def constant(self, name: str, default: Num = 0.0) -> Num:
        return self.constants.get(name, default)

    def flag(self, name: str) -> bool:
        """Whether the engine does something."""
        value = self.constants.get(name, 0.0)
        return bool(getattr(value, "value", value))


class StreamDevice(Struct, frozen=True, eq=False):
    """A device as one stream sees it: bandwidth, peak, and the shares of them that kernels reach."""

    memory_bytes_per_s: Num
    peak_flop_per_s: Num
    weights: Grid  # of matrix multiplications, by rows and weight bytes
    cache_sizes: tuple[float, ...]
    cache_shares: tuple[float, ...]
    weight_share: Num = (
        1.0  # of the measured shares, where fewer cores feed from more bandwidth than the donor's
    )
