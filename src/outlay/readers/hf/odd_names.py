"""Families that print their dimensions under names or in parts of their own."""

from __future__ import annotations

from outlay.errors import Unreadable
from outlay.readers.hf.common import Fields, base_rows
from outlay.readers.hf.keys import Config
from outlay.readers.hf.layers import Row, as_pattern, shortened
from outlay.readers.hf.traits import Traits


def falcon(c: Config, traits: Traits, fields: Fields) -> None:
    """Multi-query, or grouped with the new architecture, whose parallel block has two norms."""
    new = c.flag("new_decoder_architecture", False)
    heads = c.count("heads")
    hidden = fields["hidden"]
    parallel = c.flag("parallel_attn", True)
    kv_heads = c.count("kv_heads", heads) if new else (1 if c.flag("multi_query", True) else heads)
    fields.update(layers=c.count("layers"), heads=heads, kv_heads=kv_heads, head_dim=hidden // heads,
                  ffn=c.count("ffn", 4 * hidden), positions="alibi" if c.flag("alibi", False) else "rope",
                  norms_per_layer=c.count("num_ln_in_parallel_attn", 2) if new else (1 if parallel else 2))


def mpt(c: Config, traits: Traits, fields: Fields) -> None:
    part = c.part("attn_config") or Config({}, c.name)
    heads, hidden = c.count("heads"), fields["hidden"]
    alibi = part.flag("alibi", False)
    bias = not c.flag("no_bias", True)
    kv_heads = 1 if part.text("attn_type", "multihead_attention") == "multiquery_attention" else heads
    fields.update(layers=c.count("layers"), heads=heads, kv_heads=part.count("kv_n_heads", kv_heads),
                  head_dim=hidden // heads, ffn=c.count("expansion_ratio", 4) * hidden,
                  positions="alibi" if alibi else "learned", norm="layer" if bias else "layer_nobias",
                  qkv_bias=bias, out_bias=bias, mlp_bias=bias)
    if not alibi:
        fields["max_positions"] = c.count("max_positions")


def dbrx(c: Config, traits: Traits, fields: Fields) -> None:
    attention = c.part("attn_config") or Config({}, c.name)
    experts = c.part("ffn_config") or Config({}, c.name)
    heads, hidden = c.count("heads"), fields["hidden"]
    fields.update(layers=c.count("layers"), heads=heads, kv_heads=attention.count("kv_n_heads", heads),
                  head_dim=hidden // heads, experts=experts.count("experts"),
                  experts_per_token=experts.count("per_token"), expert_ffn=experts.count("ffn"),
                  ffn=experts.count("ffn"))


def chatglm(c: Config, traits: Traits, fields: Fields) -> None:
    heads = c.count("heads")
    grouped = c.flag("multi_query_attention", False)
    fields.update(layers=c.count("layers"), heads=heads, head_dim=c.count("head_dim"), ffn=c.count("ffn"),
                  kv_heads=c.count("multi_query_group_num") if grouped else heads)


def stablelm(c: Config, traits: Traits, fields: Fields) -> None:
    rows = base_rows(c, traits, fields)
    if c.flag("use_parallel_residual", False):
        fields["norms_per_layer"] = 1
    if c.flag("qk_layernorm", False):
        fields["qk_norm"] = "full"
    shortened(rows, fields, c)


def opt(c: Config, traits: Traits, fields: Fields) -> None:
    narrow = c.count("word_embed_proj_dim", fields["hidden"])
    if narrow != fields["hidden"] or not c.flag("do_layer_norm_before", True):
        raise Unreadable(f"{c.name}: an OPT model with projected embeddings (OPT-350m) is not read",
                         "word_embed_proj_dim")
    shortened(base_rows(c, traits, fields), fields, c)


def deci(c: Config, traits: Traits, fields: Fields) -> None:
    """Nemotron NAS: each block has its own attention grouping and MLP width, or none; one without both is no layer."""
    heads, hidden = c.count("heads"), fields["hidden"]
    blocks = c.items("block_configs", c.count("layers"))
    rows = [_deci_row(Config(block, c.name), heads, hidden) for block in blocks if isinstance(block, dict)]
    rows = [row for row in rows if row["norms"]]
    if not rows:
        raise Unreadable(f"{c.name} lacks block_configs", "block_configs")
    fields.update(layers=len(rows), heads=heads, kv_heads=heads, ffn=4 * hidden,
                  head_dim=c.count("head_dim", hidden // heads), **as_pattern(rows, c))


def _deci_row(block: Config, heads: int, hidden: int) -> Row:
    attention = block.part("attention") or Config({}, block.name)
    mlp = block.part("ffn") or Config({}, block.name)
    none, skip = attention.flag("no_op", False), mlp.flag("no_op", False)
    row: Row = {"norms": 2 - none - skip}
    row |= {"mixer": "none"} if none else {"kv_heads": heads // attention.count("n_heads_in_group")}
    if skip:
        return row | {"mlp": "none"}
    times = mlp.get("ffn_mult")
    if not isinstance(times, (int, float)) or not 0 < times < 100:
        raise Unreadable(f"{block.name}: ffn_mult must be a number above 0", "ffn_mult")
    return row | {"ffn": -(-int(2 * times * hidden / 3) // 256) * 256}
