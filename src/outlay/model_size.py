"""Parameters of a whole model and of the parts that parallelism splits differently."""

from __future__ import annotations

from msgspec import Struct

from outlay.architecture import Architecture, LayerKind, Norm
from outlay.physics import parameters as count

_NORM_PARAMETERS: dict[Norm, int] = {"rms": 1, "layer": 2, "layer_nobias": 1, "none": 0}


class LayerParts(Struct, frozen=True):
    """Parameters of one layer, by how they are laid out.

    attention and mlp and shared are split by tensor parallelism; experts by expert (and expert-tensor)
    parallelism; attention_replicated (latent down-projections, q/k norms), router and norms are on every
    rank.
    """

    attention: int = 0
    attention_replicated: int = 0
    mlp: int = 0
    experts: int = 0
    experts_active: int = 0  # of `experts`, those one token passes through
    shared: int = 0
    router: int = 0
    norms: int = 0

    @property
    def total(self) -> int:
        return (self.attention + self.attention_replicated + self.mlp + self.experts + self.shared
                + self.router + self.norms)

    @property
    def active(self) -> int:
        return self.total - self.experts + self.experts_active


class ModelParts(Struct, frozen=True):
    """Parameters of a model: embedding (with learned positions), layers, final norm, head (0 when tied)."""

    embedding: int
    layers: int
    final_norm: int
    head: int
    mtp: int
    layers_active: int

    @property
    def total(self) -> int:
        return self.embedding + self.layers + self.final_norm + self.head

    @property
    def active(self) -> int:
        return self.embedding + self.layers_active + self.final_norm + self.head


def norm_parameters(norm: Norm, width: int) -> int:
    return _NORM_PARAMETERS[norm] * width


def layer_parts(kind: LayerKind, hidden: int, norm: Norm = "rms") -> LayerParts:
    """The parts of one layer."""
    split, replicated = _mixer(kind, hidden)
    scalars = kind.extra_vectors * hidden + kind.extra_scalars
    if kind.streams > 1:
        scalars += 2 * count.hyper_connection_parameters(hidden, kind.streams)
    moe = kind.mlp == "moe"
    inner = kind.expert_hidden or hidden
    expert = count.mlp_parameters(inner, kind.expert_ffn, kind.gated, kind.mlp_bias) if moe else 0
    latent = 2 * hidden * inner if moe and kind.expert_hidden else 0
    shared = count.mlp_parameters(hidden, kind.shared_ffn, kind.gated) if moe and kind.shared_ffn else 0
    return LayerParts(
        attention=split,
        attention_replicated=replicated,
        mlp=count.mlp_parameters(hidden, kind.ffn, kind.gated, kind.mlp_bias) if kind.mlp == "dense" else 0,
        experts=kind.experts * expert,
        experts_active=kind.experts_per_token * expert,
        shared=shared,
        router=(count.router_parameters(hidden, kind.experts, kind.router_bias)
                + latent + hidden * kind.shared_gate) if moe else 0,
        norms=kind.norms * norm_parameters(norm, hidden) + scalars,
    )


def _mixer(kind: LayerKind, hidden: int) -> tuple[int, int]:
    """Parameters of the token mixer: what tensor parallelism splits, and what it replicates."""
    inner = kind.heads * kind.head_dim
    if kind.mixer == "attention":
        return _attention(kind, hidden)
    if kind.mixer == "mla":
        return _mla(kind, hidden)
    if kind.mixer == "mamba1":
        return count.mamba1_parameters(hidden, inner, kind.state, kind.conv, kind.dt_rank, kind.ssm_bias,
                                       kind.conv_bias, kind.ssm_norms), 0
    if kind.mixer == "mamba2":
        return count.mamba2_parameters(hidden, kind.heads, kind.head_dim, kind.state, kind.conv, kind.groups,
                                       kind.ssm_bias, kind.conv_bias), 0
    if kind.mixer == "gdn":
        return count.gdn_parameters(hidden, kind.heads, kind.head_dim, kind.state, kind.conv, kind.groups), 0
    if kind.mixer == "kda":
        return count.kda_parameters(hidden, kind.heads, kind.head_dim, kind.state, kind.conv,
                                    kind.output_gate != "none"), 0
    if kind.mixer == "lightning":
        return count.lightning_parameters(hidden, kind.heads, kind.head_dim), 0
    return 0, 0


def _attention(kind: LayerKind, hidden: int) -> tuple[int, int]:
    if kind.o_lora_rank:
        return _compressed(kind, hidden)
    split = count.attention_parameters(hidden, kind.heads, kind.kv_heads, kind.head_dim, kind.v_head_dim,
                                       kind.qkv_bias, kind.out_bias, kind.shared_kv)
    gate_width = {"none": 0, "channel": kind.heads * kind.head_dim, "head": kind.heads}[kind.output_gate]
    replicated = _qk_norm(kind)
    if kind.indexer_heads:
        replicated += count.block_indexer_parameters(hidden, kind.indexer_heads, kind.indexer_head_dim)
    return split + hidden * gate_width + kind.sinks * kind.heads, replicated


def _compressed(kind: LayerKind, hidden: int) -> tuple[int, int]:
    base = count.compressed_attention_parameters(hidden, kind.heads, kind.head_dim, kind.q_lora_rank,
                                                 kind.o_groups, kind.o_lora_rank)
    if not kind.compress:
        return base, 0
    overlap = 2 if kind.indexer_heads else 1
    more = count.compressor_parameters(hidden, kind.head_dim, kind.compress, overlap)
    if kind.indexer_heads:
        more += count.compressor_parameters(hidden, kind.indexer_head_dim, kind.compress, overlap)
        more += kind.indexer_heads * (kind.q_lora_rank * kind.indexer_head_dim + hidden)
    return base, more


def _qk_norm(kind: LayerKind) -> int:
    if kind.qk_norm == "none":
        return 0
    return 2 * kind.head_dim if kind.qk_norm == "head" else (kind.heads + kind.kv_heads) * kind.head_dim


def _mla(kind: LayerKind, hidden: int) -> tuple[int, int]:
    split = count.mla_up_parameters(hidden, kind.heads, kind.head_dim, kind.v_head_dim, kind.kv_lora_rank,
                                    kind.q_lora_rank, kind.qk_rope_head_dim)
    latents = kind.kv_lora_rank, kind.q_lora_rank
    replicated = count.mla_down_parameters(hidden, *latents, kind.qk_rope_head_dim) + sum(latents)
    if kind.indexer_heads:
        replicated += count.indexer_parameters(hidden, kind.q_lora_rank, kind.indexer_heads,
                                               kind.indexer_head_dim)
    gate_width = {"none": 0, "channel": kind.heads * kind.v_head_dim, "head": kind.heads}[kind.output_gate]
    return split + hidden * gate_width, replicated


def model_parts(arch: Architecture) -> ModelParts:
    """The parts of a whole model, counted from its shapes."""
    h = arch.hidden
    norm = norm_parameters(arch.norm, h)
    layers = active = 0
    for kind, times in arch.groups:
        parts = layer_parts(kind, h, arch.norm)
        layers += times * parts.total
        active += times * parts.active
    embedding = count.embedding_parameters(arch.vocab, h) + arch.position_rows * h
    embedding += arch.embedding_norm * norm
    head = 0 if arch.tied_embeddings else count.embedding_parameters(arch.vocab, h)
    streams = max((kind.streams for kind, _ in arch.runs), default=1)
    mixer = streams * streams * h + streams + 1 if streams > 1 else 0  # collapses the streams before the head
    return ModelParts(embedding, layers, arch.final_norm * norm + mixer, head + arch.head_bias * arch.vocab,
                      _mtp(arch), active)


def _mtp(arch: Architecture) -> int:
    """Multi-token-prediction layers: a layer like the last one, a 2h to h projection and three norms each.

    Embedding and head are shared with the main model. Source: DeepSeek-V3 (arXiv:2412.19437) section 2.2.
    """
    if not arch.mtp_layers:
        return 0
    block = layer_parts(arch.runs[-1][0], arch.hidden, arch.norm).total
    return arch.mtp_layers * (block + 2 * arch.hidden**2 + 3 * norm_parameters(arch.norm, arch.hidden))


def model_parameters(arch: Architecture) -> int:
    """All parameters, tied embeddings once, MTP layers and vision tower apart."""
    return arch.parameters


def active_parameters(arch: Architecture) -> int:
    """Parameters one token passes through (embedding and head counted whole)."""
    return arch.active_parameters
