"""Dimensions every family of decoders prints, read the same way for all."""

from __future__ import annotations

from typing import Any

from outlay.errors import Unreadable
from outlay.readers.hf.keys import NAMES, Config
from outlay.readers.hf.layers import Row, layer_rows
from outlay.readers.hf.traits import Traits

Fields = dict[str, Any]


def base_rows(c: Config, traits: Traits, fields: Fields) -> list[Row]:
    """The common fields written into `fields`; one row a layer."""
    attention_fields(c, fields)
    fields["ffn"] = ffn_width(c, traits)
    if c.count("experts", 0, 0):
        expert_fields(c, traits, fields)
    return layer_rows(c, traits, fields)


def attention_fields(c: Config, fields: dict[str, Any]) -> None:
    fields["layers"] = c.count("layers")
    heads = fields["heads"] = c.count("heads")
    if c.has("kv_lora_rank"):
        fields["mla"] = {
            "kv_lora_rank": c.count("kv_lora_rank"), "q_lora_rank": c.count("q_lora_rank", 0, 0),
            "qk_rope_head_dim": c.count("qk_rope_head_dim", least=0),
            "qk_nope_head_dim": c.count("qk_nope_head_dim"), "v_head_dim": c.count("v_head_dim"),
        }
        return
    fields["kv_heads"] = 1 if c.flag("multi_query", False) else c.count("kv_heads", heads)
    head_dim = c.count("head_dim", 0, 0)
    if not head_dim:
        if fields["hidden"] % heads:
            raise Unreadable(f"{c.name}: hidden_size {fields['hidden']} is not a multiple of the {heads} "
                             "heads and head_dim is not given", "head_dim")
        head_dim = fields["hidden"] // heads
    fields["head_dim"] = head_dim
    if c.has("v_head_dim"):
        fields["v_head_dim"] = c.count("v_head_dim")


def ffn_width(c: Config, traits: Traits) -> int:
    if traits.dense_ffn_key and c.has(traits.dense_ffn_key):
        return c.count(traits.dense_ffn_key)
    if traits.wide_ffn and not any(c.has(key) for key in NAMES["ffn"]):
        return traits.wide_ffn * c.count("hidden")
    width = c.count("ffn")
    # Qwen 1 prints both halves of the gated pair.
    return width // 2 if c.text("model_type") == "qwen" else width


def expert_fields(c: Config, traits: Traits, fields: dict[str, Any]) -> None:
    width = c.count("expert_ffn", c.count("ffn", 0, 0), least=0) or c.count("ffn")
    shared = 0
    for key in ("shared_expert_intermediate_size", "share_expert_dim", "shared_intermediate_size"):
        if c.has(key):
            shared = c.count(key, least=0)
            break
    else:
        if c.text("model_type").startswith("llama4"):
            shared = width  # one shared expert, as wide as a routed one
        copies = c.count("shared_experts", 0, 0)
        shared = shared or copies * width
    fields.update(experts=c.count("experts"), experts_per_token=c.count("per_token"), expert_ffn=width,
                  shared_expert_ffn=shared, shared_gate=traits.shared_gate, router_bias=traits.router_bias)
