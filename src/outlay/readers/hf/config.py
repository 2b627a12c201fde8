"""Hugging Face `config.json` → the scenario's model fields."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from outlay.errors import Unreadable, Unsupported
from outlay.readers.fields import Note
from outlay.readers.hf.common import base_rows
from outlay.readers.hf.keys import Config
from outlay.readers.hf.layers import SLIDING, shortened
from outlay.readers.hf.special import SPECIAL
from outlay.readers.hf.traits import FAMILIES, SPELLINGS, Bias, Traits
from outlay.readers.hf.vision import vision_parameters
from outlay.readers.json_file import read_json

_NESTED = ("text_config", "llm_config", "language_config", "language_model_config")
_NOT_DECODERS = ("bert", "roberta", "deberta", "deberta-v2", "xlm-roberta", "electra", "albert", "distilbert",
                 "t5", "mt5", "bart", "mbart", "pegasus", "whisper", "clip", "vit", "marian", "longformer",
                 "modernbert")


def read_hf_config(source: str | os.PathLike[str] | Mapping[str, Any]) -> tuple[dict[str, Any], list[Note]]:
    """Fields in the scenario's vocabulary, and notes on what was assumed or found beside them.

    >>> fields, _ = read_hf_config({"model_type": "llama", "hidden_size": 4096, "num_hidden_layers": 32,
    ...     "num_attention_heads": 32, "num_key_value_heads": 8, "intermediate_size": 14336,
    ...     "vocab_size": 128256})
    >>> fields["kv_heads"], fields["tied_embeddings"]
    (8, False)
    """
    name = "config.json" if isinstance(source, Mapping) else str(source)
    values = source if isinstance(source, Mapping) else read_json(source)
    if not isinstance(values, Mapping):
        raise Unreadable(f"{name}: holds a {type(values).__name__}, not a mapping of settings")
    outer = Config(values, name)
    inner = _text_part(outer)
    notes: list[Note] = []
    family = _family(outer, inner, notes)
    traits = FAMILIES.get(family, FAMILIES["llama"])
    fields = _fields(inner, outer, family, traits, notes)
    _kinds(inner, fields, notes)
    tower = vision_parameters(outer, fields["hidden"])
    if tower:
        fields["vision_parameters"] = tower
    elif outer.has("vision_config"):
        _note(notes, "vision_parameters", 0, "the vision tower beside the text model is not counted")
    _quantization(outer, inner, notes)
    return fields, notes


def _note(notes: list[Note], what: str, value: Any, why: str) -> None:
    notes.append({"what": f"model.{what}", "value": value, "why": why, "source": "config.json"})


def _text_part(outer: Config) -> Config:
    """The language part of a multimodal configuration, or the configuration itself."""
    for key in _NESTED:
        part = outer.part(key)
        if part is not None and (part.has("hidden_size") or part.has("num_hidden_layers")):
            return part
    return outer


def _family(outer: Config, inner: Config, notes: list[Note]) -> str:
    named = inner.text("model_type").lower() or outer.text("model_type").lower()
    outer_name = outer.text("model_type").lower()
    if outer.get("is_encoder_decoder") is True or named in _NOT_DECODERS:
        raise Unsupported(f"{outer.name}: model_type {named or 'encoder-decoder'} is not a decoder-only "
                          "language model", "model_type")
    found = SPELLINGS.get(named, named)
    if found in FAMILIES:
        return found
    for hint, family in (("kv_lora_rank", "deepseek_v3"), ("o_lora_rank", "deepseek_v4")):
        if inner.has(hint):
            found = family
    if "minimaxm3" in "".join(map(str, outer.items("architectures"))).lower() or "minimax_m3" in outer_name:
        found = "minimax_m3"
    if inner.has("zero_expert_num"):
        raise Unsupported(f"{outer.name}: experts that compute nothing and two attentions a layer are not read",
                          "zero_expert_num")
    if found in FAMILIES:
        if found != "minimax_m3":
            _note(notes, "model_type", named or "(none)", f"family not known; read as {found} by what it holds")
        return found
    _note(notes, "model_type", named or "(none)",
          "family not known; read as a Llama-like decoder, so the count may differ by biases and norms")
    return "llama"


def _kinds(c: Config, fields: Mapping[str, Any], notes: list[Note]) -> None:
    """Layers of a kind that nothing here reads, told where they stand in as attention."""
    kinds = c.get("layer_types", c.get("layers_block_type"))
    if not isinstance(kinds, (list, tuple)) or "layer_kinds" in fields:
        return
    odd = [str(kind) for kind in kinds if "attention" not in str(kind) and kind not in SLIDING]
    if odd:
        _note(notes, "layer_types", odd[0][:40], f"{len(odd)} layers of this kind are not known; read as attention, so "
              "the cache and the count may be far off")


def _bias(config: Config, rule: Bias) -> bool:
    return rule if isinstance(rule, bool) else config.flag(*rule)


def _fields(c: Config, outer: Config, family: str, traits: Traits, notes: list[Note]) -> dict[str, Any]:
    """Fields common to every family, then the family's own."""
    hidden = c.count("hidden")
    tied = c.flag("tie_word_embeddings", outer.flag("tie_word_embeddings", traits.tied))
    fields: dict[str, Any] = {
        "layers": 0, "hidden": hidden, "vocab": c.count("vocab"), "tied_embeddings": tied,
        "gated": traits.gated, "positions": traits.positions,
        "max_positions": c.count("max_positions", 0, 0) or None,
        "norm": traits.norm, "norms_per_layer": traits.norms, "final_norm": traits.final_norm,
        "embedding_norm": traits.embedding_norm,
        "qkv_bias": _bias(c, traits.qkv_bias), "out_bias": _bias(c, traits.out_bias),
        "mlp_bias": _bias(c, traits.mlp_bias), "head_bias": _bias(c, traits.head_bias),
        "qk_norm": traits.qk_norm if not traits.qk_norm_key or c.flag(traits.qk_norm_key, False) else "none",
        "output_gate": traits.output_gate, "attention_sinks": traits.sinks,
        "mtp_layers": _mtp_layers(c),
    }
    if traits.positions == "learned":
        fields["max_positions"] = c.count("max_positions")
        fields["position_offset"] = traits.position_offset
    special = SPECIAL.get(family)
    if special is None:
        _decoder(c, traits, fields)
    else:
        special(c, traits, fields)
    _tidy(fields)
    return {k: v for k, v in fields.items() if v is not None and v != _SILENT.get(k, "")}


def _tidy(fields: dict[str, Any]) -> None:
    """Biases as the documented field where it can say them; no dense width where every layer has experts."""
    flags = tuple(fields[name] for name in ("qkv_bias", "out_bias", "mlp_bias"))
    said = {(True, False, False): "qkv", (True, True, True): "all"}.get(flags)
    if said:
        fields["biases"] = said
        for name in ("qkv_bias", "out_bias", "mlp_bias"):
            del fields[name]
    patterned = any(kind.get("mlp") == "dense" for kind in fields.get("layer_kinds", {}).values())
    if fields.get("experts") and not fields.get("dense_layers") and not patterned:
        fields.pop("ffn", None)


# Values that are the mapping's own defaults and need no line.
_SILENT: dict[str, Any] = {
    "norm": "rms", "norms_per_layer": 2, "final_norm": True, "embedding_norm": False, "qkv_bias": False,
    "out_bias": False, "mlp_bias": False, "head_bias": False, "qk_norm": "none", "output_gate": "none",
    "attention_sinks": False, "router_bias": False, "shared_gate": False, "mtp_layers": 0,
    "positions": "rope",
    "shared_expert_ffn": 0, "dense_layers": 0, "position_offset": 0,
}


def _mtp_layers(c: Config) -> int:
    for key in ("num_nextn_predict_layers", "mtp_num_hidden_layers", "num_mtp_modules"):
        if c.has(key):
            return c.count(key, least=0)
    return 0


def _decoder(c: Config, traits: Traits, fields: dict[str, Any]) -> None:
    shortened(base_rows(c, traits, fields), fields, c)


def _quantization(outer: Config, inner: Config, notes: list[Note]) -> None:
    part = outer.part("quantization_config") or inner.part("quantization_config")
    if part is not None:
        method = part.get("quant_algo") or part.get("quant_method") or "unknown"
        _note(notes, "quantization", str(method)[:60],
              "the published weights are quantised; counts are of weights, whatever their width")

