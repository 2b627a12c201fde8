"""The shape of a decoder as physics sees it: layer kinds with their counts, all dimensions known.

A frozen value, filled by `resolve` from a catalogue row, a reader or a user's mapping. No look-ups here.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Literal

from msgspec import Struct

Mixer = Literal["attention", "mla", "mamba1", "mamba2", "gdn", "kda", "lightning", "none"]
Mlp = Literal["dense", "moe", "none"]
QkNorm = Literal["none", "head", "full"]
OutputGate = Literal["none", "channel", "head"]
Norm = Literal["rms", "layer", "layer_nobias", "none"]


class LayerKind(Struct, frozen=True, cache_hash=True):
    """One kind of layer: a token mixer and a channel mixer. Widths are of the whole layer, before any split.

    window is the number of past tokens attended, 0 for all of them. For `mla` head_dim is the query/key width
    (nope + rope). For ssm mixers heads, head_dim, state, conv and groups are theirs (groups of B and C, or
    key heads of a linear attention whose values have `heads` heads of `head_dim` and keys `state` wide).
    expert_ffn is one routed expert's width; shared_ffn the summed width of shared experts; expert_hidden the
    latent width routed experts work in (0 = hidden). The fields from `norms` on are what exact counts need.
    """

    mixer: Mixer = "attention"
    heads: int = 0
    kv_heads: int = 0
    head_dim: int = 0
    v_head_dim: int = 0
    window: int = 0
    kv_lora_rank: int = 0
    q_lora_rank: int = 0
    qk_rope_head_dim: int = 0
    state: int = 0
    conv: int = 0
    groups: int = 0
    mlp: Mlp = "dense"
    ffn: int = 0
    gated: bool = True
    experts: int = 0
    experts_per_token: int = 0
    expert_ffn: int = 0
    shared_ffn: int = 0
    expert_hidden: int = 0
    norms: int = 2  # hidden-wide norms of the layer
    qk_norm: QkNorm = "none"
    qkv_bias: bool = False
    out_bias: bool = False
    mlp_bias: bool = False  # dense and expert matrices alike
    router_bias: bool = False
    shared_gate: bool = False  # a learned scalar gate on the shared expert
    output_gate: OutputGate = "none"  # gate on the attention output: per channel or per head
    sinks: bool = False  # one learned attention sink a head
    shared_kv: bool = False  # values reuse the key projection
    indexer_heads: int = 0  # sparse-attention key selector
    indexer_head_dim: int = 0
    indexer_topk: int = 0  # cached entries a query attends to, chosen by this layer's or another's; 0 = all
    dt_rank: int = 0  # mamba1
    ssm_norms: bool = False  # mamba1: norms on dt, B and C
    ssm_bias: bool = False
    conv_bias: bool = True
    o_groups: int = 0  # grouped low-rank output projection
    o_lora_rank: int = 0
    compress: int = 0  # past beyond `window` kept as one entry for each so many tokens; 0 = not kept
    streams: int = 1  # residual streams (hyper-connections)
    extra_vectors: int = 0  # further hidden-wide learned vectors (router or layer scales)
    extra_scalars: int = 0


class Architecture(Struct, frozen=True, dict=True):  # dict: what is kept of cached properties
    """A model: ordered runs of layer kinds between an embedding and a head.

    runs keeps the order of layers as (kind, count) runs, first to last, because pipeline stages cut it;
    `groups` sums equal kinds. parameters and active_parameters are the exact totals (embeddings and head
    included, tied ones once; the MTP layers apart in mtp_parameters). `inferred` says that the shapes were
    guessed from the totals alone.
    """

    name: str
    hidden: int
    vocab: int
    runs: tuple[tuple[LayerKind, int], ...]
    tied_embeddings: bool
    parameters: int
    active_parameters: int
    max_positions: int = 0
    positions: str = "rope"
    biases: str = "none"
    mtp_layers: int = 0
    mtp_parameters: int = 0
    expert_imbalance: float = 1.0
    inferred: bool = False
    norm: Norm = "rms"
    final_norm: bool = True
    embedding_norm: bool = False
    position_rows: int = 0  # rows of a learned position table
    head_bias: bool = False
    vision_parameters: int = 0  # a vision tower beside the text model, not in `parameters`

    @property
    def layers(self) -> int:
        return sum(count for _, count in self.runs)

    @cached_property
    def groups(self) -> tuple[tuple[LayerKind, int], ...]:
        """Equal kinds summed, in order of first appearance."""
        counts: dict[LayerKind, int] = {}
        for kind, count in self.runs:
            counts[kind] = counts.get(kind, 0) + count
        return tuple(counts.items())

    @cached_property
    def routed_groups(self) -> tuple[tuple[LayerKind, int], ...]:
        """Kinds summed whose layers route and exchange tokens alike, one of each standing for all."""
        return self._alike(lambda kind: (kind.mixer == "none", kind.mlp, kind.gated, kind.experts,
                                         kind.experts_per_token, kind.expert_ffn, kind.expert_hidden))

    @cached_property
    def mixer_groups(self) -> tuple[tuple[LayerKind, int], ...]:
        """Kinds summed whose mixers multiply alike, whatever they attend to, one of each standing for all."""
        return self._alike(lambda kind: (
            kind.mixer, kind.heads, kind.kv_heads, kind.head_dim, kind.v_head_dim, kind.kv_lora_rank, kind.q_lora_rank,
            kind.qk_rope_head_dim, kind.state, kind.groups, kind.output_gate, kind.shared_kv, kind.indexer_heads,
            kind.indexer_head_dim, kind.o_groups, kind.o_lora_rank))

    @cached_property
    def mlp_groups(self) -> tuple[tuple[LayerKind, int], ...]:
        """Kinds summed whose dense MLPs or shared experts are alike, one of each standing for all."""
        return self._alike(lambda kind: (kind.mlp, kind.ffn, kind.gated, kind.shared_ffn, kind.expert_hidden))

    def _alike(self, of: Callable[[LayerKind], object]) -> tuple[tuple[LayerKind, int], ...]:
        found: dict[object, tuple[LayerKind, int]] = {}
        for kind, count in self.groups:
            one, before = found.get(of(kind), (kind, 0))
            found[of(kind)] = one, before + count
        return tuple(found.values())
