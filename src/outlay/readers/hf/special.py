"""Families whose layers need more than one common rule: hybrids and state-space models."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from outlay.errors import Unreadable
from outlay.readers.hf import odd_names as odd
from outlay.readers.hf.common import Fields, base_rows
from outlay.readers.hf.keys import Config
from outlay.readers.hf.layers import Row, as_pattern, shortened
from outlay.readers.hf.traits import Traits


def _mamba_row(c: Config, **more: Any) -> Row:
    """The Mamba 1 mixer as its own families print it."""
    hidden = c.count("hidden")
    inner = c.count("intermediate_size", c.count("expand", c.count("mamba_expand", 2)) * hidden)
    state = c.count("state_size", c.count("mamba_d_state", c.count("ssm_state_size", 16)))
    conv = c.count("conv_kernel", c.count("mamba_d_conv", 4))
    rank = c.get("time_step_rank", c.get("mamba_dt_rank", "auto"))
    return {"mixer": "mamba1", "heads": inner, "head_dim": 1, "state": state, "conv": conv,
            "dt_rank": rank if isinstance(rank, int) else -(-hidden // 16),
            "ssm_bias": c.flag("use_bias", False), "conv_bias": c.flag("use_conv_bias", True)} | more


def _mamba(c: Config, traits: Traits, fields: Fields) -> None:
    fields["layers"] = c.count("layers")
    fields["positions"] = "none"
    fields.update(as_pattern([{"mlp": "none", **_mamba_row(c)}], c))


def _mamba2(c: Config, traits: Traits, fields: Fields) -> None:
    fields["layers"] = c.count("layers")
    fields["positions"] = "none"
    head_dim = c.count("head_dim")
    heads = c.count("num_heads", c.count("expand", 2) * fields["hidden"] // head_dim)
    row: Row = {"mlp": "none", "mixer": "mamba2", "heads": heads, "head_dim": head_dim,
                "state": c.count("state_size", 128), "conv": c.count("conv_kernel", 4),
                "groups": c.count("n_groups", 1), "ssm_bias": c.flag("use_bias", False),
                "conv_bias": c.flag("use_conv_bias", True)}
    fields.update(as_pattern([row], c))


def _jamba(c: Config, traits: Traits, fields: Fields) -> None:
    rows = base_rows(c, traits, fields)
    period, offset = c.count("attn_layer_period"), c.count("attn_layer_offset", least=0)
    mixer = _mamba_row(Config({**c.values, "intermediate_size": None}, c.name), ssm_norms=True,
                       ssm_bias=c.flag("mamba_proj_bias", False), conv_bias=c.flag("mamba_conv_bias", True))
    rows = [row if i % period == offset else row | mixer for i, row in enumerate(rows)]
    fields.update(as_pattern(rows, c))


def _granite_hybrid(c: Config, traits: Traits, fields: Fields) -> None:
    """Granite 4: Mamba 2 and attention layers by a list, each with its experts and a shared MLP, or that MLP alone."""
    if not c.count("experts", 0, 0) and c.has("shared_intermediate_size"):
        c = Config({**c.values, "intermediate_size": c.count("shared_intermediate_size")}, c.name)
    rows = base_rows(c, traits, fields)
    kinds = c.items("layer_types", fields["layers"]) or c.items("layers_block_type", fields["layers"])
    if "mamba" in kinds:
        heads = c.count("mamba_n_heads")
        inner = c.count("mamba_expand", 2) * fields["hidden"]
        mixer: Row = {"mixer": "mamba2", "heads": heads, "head_dim": _head_dim(c, inner // heads),
                      "state": c.count("mamba_d_state"), "conv": c.count("mamba_d_conv", 4),
                      "groups": c.count("mamba_n_groups", 1), "ssm_bias": c.flag("mamba_proj_bias", False),
                      "conv_bias": c.flag("mamba_conv_bias", True)}
        rows = [row | mixer if kind == "mamba" else row for row, kind in zip(rows, kinds)]
    shortened(rows, fields, c)


def _head_dim(c: Config, usual: int) -> int:
    """Width of a Mamba head, which may be written as "auto"."""
    return usual if c.get("mamba_d_head", "auto") == "auto" else c.count("mamba_d_head")


def _nemotron_h(c: Config, traits: Traits, fields: Fields) -> None:
    """One mixer or one MLP a block, by a pattern of letters or a list of words."""
    pattern: list[str] = [str(kind) for kind in c.items("layers_block_type")]
    if not pattern:
        letters = {"M": "mamba", "*": "attention", "-": "mlp", "E": "moe"}
        pattern = [letters.get(mark, mark) for mark in c.text("hybrid_override_pattern")]
    kinds = _nemotron_kinds(c)
    unknown = [kind for kind in pattern if kind not in kinds]
    if unknown or not pattern or len(pattern) > 10_000:
        raise Unreadable(f"{c.name}: layer pattern "
                         f"{f'holds {unknown[0][:20]!r}' if unknown else f'has {len(pattern)} entries'}",
                         "hybrid_override_pattern")
    heads = c.count("heads")
    fields.update(layers=len(pattern), heads=heads, kv_heads=c.count("kv_heads", heads),
                  head_dim=c.count("head_dim", c.count("attention_head_dim", 128)),
                  ffn=c.count("ffn"), qkv_bias=c.flag("attention_bias", False),
                  out_bias=c.flag("attention_bias", False))
    if "moe" in pattern:
        fields.update(experts=c.count("experts"), experts_per_token=c.count("per_token"),
                      expert_ffn=c.count("expert_ffn"),
                      expert_hidden=c.count("moe_latent_size", 0, 0) or None,
                      shared_expert_ffn=c.count("moe_shared_expert_intermediate_size", 0, 0)
                      * c.count("n_shared_experts", 1, 0))
    fields.update(as_pattern([kinds[kind] for kind in pattern], c))


def _nemotron_kinds(c: Config) -> dict[str, Row]:
    mamba: Row = {"mlp": "none", "mixer": "mamba2", "heads": c.count("mamba_num_heads"),
                  "head_dim": c.count("mamba_head_dim"), "state": c.count("ssm_state_size"),
                  "conv": c.count("conv_kernel", 4), "groups": c.count("n_groups", 1),
                  "ssm_bias": c.flag("use_bias", False), "conv_bias": c.flag("use_conv_bias", True)}
    return {"mamba": mamba, "attention": {"mlp": "none"}, "mlp": {"mixer": "none", "mlp": "dense"},
            "moe": {"mixer": "none", "mlp": "moe"}}


def _delta(c: Config, traits: Traits, fields: Fields) -> None:
    """Qwen3-Next and Qwen3.5: gated delta nets with full attention every few layers."""
    if not c.has("intermediate_size"):
        c = Config({**c.values, "intermediate_size": c.count("expert_ffn")}, c.name)
    rows = base_rows(c, traits, fields)
    total = fields["layers"]
    every = c.count("full_attention_interval", 4)
    kinds = c.items("layer_types", total) or [
        "full_attention" if (i + 1) % every == 0 else "linear_attention" for i in range(total)]
    mixer = {"mixer": "gdn", "heads": c.count("linear_num_value_heads"),
             "head_dim": c.count("linear_value_head_dim"),
             "state": c.count("linear_key_head_dim"), "groups": c.count("linear_num_key_heads"),
             "conv": c.count("linear_conv_kernel_dim", 4)}
    rows = [row | mixer if kind == "linear_attention" else row for row, kind in zip(rows, kinds)]
    fields.update(as_pattern(rows, c))


def _minimax(c: Config, traits: Traits, fields: Fields) -> None:
    """MiniMax-Text-01: lightning attention, softmax attention where the list says so."""
    rows = base_rows(c, traits, fields)
    total = fields["layers"]
    kinds = c.items("attn_type_list", total) or c.items("layer_types", total) or [i % 2 for i in range(total)]
    mixer = {"mixer": "lightning", "heads": fields["heads"], "head_dim": fields.get("head_dim", 0)}
    rows = [row if kind in (1, "full_attention") else row | mixer for row, kind in zip(rows, kinds)]
    shortened(rows, fields, c)


def _gemma4(c: Config, traits: Traits, fields: Fields) -> None:
    """Wider global heads, values from keys there, and experts beside a dense MLP."""
    if c.count("hidden_size_per_layer_input", 0, 0) or c.count("num_kv_shared_layers", 0, 0):
        raise Unreadable(f"{c.name}: per-layer embeddings and shared key-value layers are not read",
                         "hidden_size_per_layer_input")
    moe = c.flag("enable_moe_block", False)
    rows = base_rows(c if moe else Config({**c.values, "num_experts": None}, c.name), traits, fields)
    wide: Row = {"head_dim": c.count("global_head_dim", fields.get("head_dim", 0))}
    if c.flag("attention_k_eq_v", False):
        kv_heads = c.count("num_global_key_value_heads", fields.get("kv_heads", 0))
        wide |= {"shared_kv": True, "kv_heads": kv_heads}
    if moe:
        fields["shared_expert_ffn"] = fields["ffn"]
        fields["norms_per_layer"] = 7
        for row in rows:
            row |= {"extra_vectors": 1, "extra_scalars": fields.get("experts", 0)}
    kinds = c.items("layer_types", fields["layers"])
    kinds = kinds or ["sliding_attention"] * len(rows)
    rows = [row | wide if kind == "full_attention" else row for row, kind in zip(rows, kinds)]
    fields.update(as_pattern(rows, c))


def _mimo_v2(c: Config, traits: Traits, fields: Fields) -> None:
    rows = base_rows(c, traits, fields)
    total = fields["layers"]
    sliding = c.items("hybrid_layer_pattern", total) or [int(i and (i + 1) % 6 != 0) for i in range(total)]
    local: Row = {"heads": c.count("swa_num_attention_heads", fields["heads"]),
                  "kv_heads": c.count("swa_num_key_value_heads", fields.get("kv_heads", 0)),
                  "head_dim": c.count("swa_head_dim", fields.get("head_dim", 0)),
                  "v_head_dim": c.count("swa_v_head_dim", fields.get("v_head_dim", 0)),
                  "sinks": c.flag("add_swa_attention_sink_bias", True)}
    window = c.count("sliding_window")
    for row, is_local in zip(rows, sliding):
        row.pop("window", None)
        row |= {**local, "window": window} if is_local else {}
    fields["attention_sinks"] = c.flag("add_full_attention_sink_bias", False)
    fields.update(as_pattern(rows, c))


def _step(c: Config, traits: Traits, fields: Fields) -> None:
    """Step 3.5/3.7: sliding layers have more heads; experts are enumerated or follow dense layers."""
    marked = c.get("moe_layers_enum")
    if isinstance(marked, str):
        sparse = {int(n) for n in marked.split(",") if n.strip().isdigit()}
        kinds = ["sparse" if i in sparse else "dense" for i in range(c.count("layers"))]
        c = Config({**c.values, "mlp_layer_types": kinds}, c.name)
    rows = base_rows(c, traits, fields)
    other = c.part("attention_other_setting") or Config({}, c.name)
    heads = c.count("num_sliding_attention_heads", other.count("heads", fields["heads"]))
    if heads != fields["heads"]:
        for row in rows:
            row |= {"heads": heads} if "window" in row else {}
    shortened(rows, fields, c)


def _minimax_m3(c: Config, traits: Traits, fields: Fields) -> None:
    """Grouped-query attention with a block selector on the sparse layers."""
    rows = base_rows(c, traits, fields)
    part = c.part("sparse_attention_config") or Config({}, c.name)
    sparse = part.items("sparse_attention_freq", fields["layers"])
    for row, marked in zip(rows, sparse):
        if marked:
            row |= {"indexer_heads": part.count("sparse_num_index_heads"),
                    "indexer_head_dim": part.count("sparse_index_dim")}
            chosen = part.count("sparse_topk_blocks", 0, 0) * part.count("sparse_block_size", 0, 0)
            row |= {"indexer_topk": chosen} if chosen else {}
    shortened(rows, fields, c)


def _deepseek_v4(c: Config, traits: Traits, fields: Fields) -> None:
    """Shared-KV attention with compressed history, sinks, hyper-connections and experts in every layer."""
    width = c.count("expert_ffn")
    fields.update(layers=c.count("layers"), heads=c.count("heads"), kv_heads=1, head_dim=c.count("head_dim"),
                  shared_kv=True, ffn=width, experts=c.count("experts"),
                  experts_per_token=c.count("per_token"), expert_ffn=width,
                  shared_expert_ffn=width * c.count("n_shared_experts", 1, 0))
    same: Row = {"q_lora_rank": c.count("q_lora_rank"), "o_groups": c.count("o_groups"),
                 "o_lora_rank": c.count("o_lora_rank"), "streams": c.count("hc_mult", 1),
                 "window": c.count("sliding_window")}
    selector = {"indexer_heads": c.count("index_n_heads"), "indexer_head_dim": c.count("index_head_dim")}
    chosen = c.count("index_topk", 0, 0)
    selector |= {"indexer_topk": chosen} if chosen else {}
    rows = []
    for rate in c.items("compress_ratios", fields["layers"]):
        rows.append(same | ({"compress": rate} if rate else {}) | (selector if rate == 4 else {}))
    if not rows:
        raise Unreadable(f"{c.name} lacks compress_ratios", "compress_ratios")
    fields.update(as_pattern(rows, c))


def _kimi_linear(c: Config, traits: Traits, fields: Fields) -> None:
    """Kimi Linear and K3: Kimi delta attention, latent attention at listed layers (counted from 1)."""
    rows = base_rows(c, traits, fields)
    part = c.part("linear_attn_config")
    if part is None:
        raise Unreadable(f"{c.name} lacks linear_attn_config", "linear_attn_config")
    fields["expert_hidden"] = c.count("routed_expert_hidden_size", 0, 0) or None
    if c.flag("mla_use_output_gate", False):
        fields["output_gate"] = "channel"
    head_dim = part.count("head_dim")
    mixer: Row = {"mixer": "kda", "heads": part.count("num_heads"), "head_dim": head_dim, "state": head_dim,
                  "conv": part.count("short_conv_kernel_size", 4)}
    mixer["output_gate"] = "channel" if part.flag("use_full_rank_gate", False) else "none"
    full = {i - 1 for i in part.items("full_attn_layers") if isinstance(i, int)}
    fields.update(as_pattern([row if i in full else row | mixer for i, row in enumerate(rows)], c))


def _arctic(c: Config, traits: Traits, fields: Fields) -> None:
    """Arctic: beside the experts of every layer a dense MLP as wide as the model."""
    rows = base_rows(c, traits, fields)
    if c.flag("use_residual", True):
        fields["shared_expert_ffn"] = fields["hidden"]
    shortened(rows, fields, c)


SPECIAL: dict[str, Callable[[Config, Traits, Fields], None]] = {
    "falcon": odd.falcon, "mpt": odd.mpt, "dbrx": odd.dbrx, "chatglm": odd.chatglm, "stablelm": odd.stablelm,
    "opt": odd.opt, "nemotron-nas": odd.deci,
    "mamba": _mamba, "falcon_mamba": _mamba, "mamba2": _mamba2, "jamba": _jamba, "nemotron_h": _nemotron_h,
    "granitemoehybrid": _granite_hybrid,
    "qwen3_next": _delta, "qwen3_5_text": _delta, "qwen3_5_moe_text": _delta,
    "minimax": _minimax, "minimax_text_01": _minimax, "minimax_m3": _minimax_m3,
    "gemma4_text": _gemma4, "mimo_v2_flash": _mimo_v2, "step3p7": _step, "deepseek_v4": _deepseek_v4,
    "kimi_linear": _kimi_linear, "arctic": _arctic,
}
