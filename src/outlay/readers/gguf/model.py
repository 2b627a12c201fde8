"""A GGUF header → the scenario's model fields: dimensions from its keys, layer kinds from its tensors."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from outlay.errors import Unreadable, Unsupported
from outlay.readers.gguf.header import GgufFile, GgufTensor, SkippedArray, layer_of
from outlay.readers.hf.keys import Config
from outlay.readers.hf.layers import Row, shortened

# Every n-th layer attends fully where the file gives a window but no pattern (as llama.cpp has it).
_FULL_EVERY = {
    "gemma2": 2,
    "gemma3": 6,
    "gemma3n": 5,
    "cohere2": 4,
    "gpt-oss": 2,
    "gpt_oss": 2,
    "exaone4": 4,
    "olmo2": 4,
    "llama4": 4,
    "smallthinker": 4,
}
_ALIBI = ("bloom", "mpt", "refact", "jais")
_NOT_READ = ("rwkv", "bert", "t5", "clip", "wavtokenizer", "diffusion", "dream", "llada", "arwkv", "lfm2")
_MAX_LAYERS = 10_000
Tensors = dict[str, GgufTensor]  # by the name inside the layer, without ".weight"


def model_from_gguf(file: GgufFile) -> tuple[dict[str, Any], list[str]]:
    """Model fields for `architecture_from_mapping`, and remarks on what was assumed."""
    arch = file.architecture
    if not arch:
        raise Unreadable(f"{file.path}: general.architecture is not there, so the shapes are not known")
    if arch.startswith(_NOT_READ) or "embedding" in arch:
        raise Unsupported(f"{file.path}: architecture {arch[:40]!r} is not a decoder that is read")
    kind = file.metadata.get("general.type", "model")
    if kind != "model":
        raise Unsupported(f"{file.path}: holds {str(kind)[:40]!r}, not a model")
    remarks = list(file.remarks)
    if not file.count("embedding_length") or not 0 < file.count("block_count") <= _MAX_LAYERS:
        raise Unreadable(f"{file.path}: {arch}.embedding_length or block_count is missing or too large")
    outer, layers = _by_layer(file)
    mtp = file.count("nextn_predict_layers")
    total = file.count("block_count") - mtp if mtp < file.count("block_count") else file.count("block_count")
    fields = _common(file, outer, layers.get(0, {}), total)
    if mtp and any("nextn" in name for name in layers.get(total, {})):
        fields["mtp_layers"] = mtp
    rows = [_row(file, layers.get(i, {}), i, fields, remarks) for i in range(total)]
    _window(file, rows, fields, remarks)
    shortened(rows, fields, Config({}, file.path))
    given = {k: v for k, v in fields.items() if v is not None}
    remarks += (
        _compared(file, given) if layers else ["no layer tensors in the file: layer kinds are those the keys describe"]
    )
    return given, remarks


def _compared(file: GgufFile, fields: dict[str, Any]) -> list[str]:
    """A remark when the file holds another number of weights than the fields describe."""
    from outlay.readers.mapping import architecture_from_mapping

    if file.missing_files:
        return []
    held = sum(t.elements for t in file.tensors if not t.name.startswith("rope"))
    built = architecture_from_mapping(fields)[0]
    described = built.parameters + built.mtp_parameters
    if held == described:
        return []
    return [
        f"the file holds {held:,} weights and its keys describe {described:,} ({100 * (described / held - 1):+.2g} %)"
    ]


def _by_layer(file: GgufFile) -> tuple[Tensors, dict[int, Tensors]]:
    outer: Tensors = {}
    layers: dict[int, Tensors] = defaultdict(dict)
    for tensor in file.tensors:
        layer = layer_of(tensor.name)
        if layer is None:
            outer[tensor.name.removesuffix(".weight")] = tensor
        else:
            layers[layer][tensor.name.split(".", 2)[2].removesuffix(".weight")] = tensor
    return outer, dict(layers)


def _at(file: GgufFile, key: str, layer: int, default: int = 0) -> int:
    """A key that is one number, or one a layer."""
    value = file.metadata.get(f"{file.architecture}.{key}")
    if isinstance(value, tuple):
        item = value[layer] if layer < len(value) else default
        return item if isinstance(item, int) and not isinstance(item, bool) and item >= 0 else default
    return file.count(key, default)


def _side(tensor: GgufTensor | None, axis: int) -> int:
    return tensor.shape[axis] if tensor is not None and len(tensor.shape) > axis else 0


def _vocab(file: GgufFile, outer: Tensors) -> int | None:
    tokens = file.metadata.get("tokenizer.ggml.tokens")
    listed = tokens.length if isinstance(tokens, SkippedArray) else 0
    return _side(outer.get("token_embd"), 1) or file.count("vocab_size") or listed or None


def _common(file: GgufFile, outer: Tensors, layer: Tensors, total: int) -> dict[str, Any]:
    """Fields that hold for the whole model."""
    hidden = file.count("embedding_length")
    learned = "position_embd" in outer
    fields: dict[str, Any] = {
        "layers": total,
        "hidden": hidden,
        "vocab": _vocab(file, outer),
        "max_positions": _side(outer.get("position_embd"), 1) or file.count("context_length") or None,
        "tied_embeddings": bool(outer) and "output" not in outer,
        "positions": "learned" if learned else "alibi" if file.architecture in _ALIBI else "rope",
        "norm": "layer" if "attn_norm.bias" in layer else "rms",
    }
    if layer:
        fields["gated"] = _gated(file, layer)
        fields["norms_per_layer"] = sum(_is_norm(t, hidden) for t in layer.values())
    if "token_embd_norm" in outer:
        fields["embedding_norm"] = True
    heads = _at(file, "attention.head_count", 0)
    per_layer = file.metadata.get(f"{file.architecture}.attention.head_count")
    if isinstance(per_layer, tuple):
        heads = max((n for n in per_layer if isinstance(n, int)), default=0)
    if heads:
        fields["heads"] = heads
    rank = file.count("attention.kv_lora_rank")
    if rank and heads:
        fields["mla"] = _mla(file, rank)
    elif heads:
        fields["head_dim"] = file.count("attention.key_length") or max(1, hidden // heads)
        value = file.count("attention.value_length")
        if value and value != fields["head_dim"]:
            fields["v_head_dim"] = value
    return fields


def _mla(file: GgufFile, rank: int) -> dict[str, int]:
    rope = file.count("rope.dimension_count", 64)
    key = file.count("attention.key_length_mla") or file.count("attention.key_length", 192)
    value = file.count("attention.value_length_mla") or file.count("attention.value_length", 128)
    return {
        "kv_lora_rank": rank,
        "q_lora_rank": file.count("attention.q_lora_rank"),
        "qk_rope_head_dim": rope,
        "qk_nope_head_dim": max(1, key - rope),
        "v_head_dim": value,
    }


def _gated(file: GgufFile, layer: Tensors) -> bool:
    if any(name in layer for name in ("ffn_gate", "ffn_gate_exps", "ffn_gate_up_exps", "ffn_gate_shexp")):
        return True
    return _side(layer.get("ffn_up"), 1) == 2 * _at(file, "feed_forward_length", 0) > 0  # gate and up as one


def _is_norm(tensor: GgufTensor, hidden: int) -> bool:
    return "norm" in tensor.name and not tensor.name.endswith(".bias") and tensor.shape == (hidden,)


def _row(file: GgufFile, layer: Tensors, index: int, fields: dict[str, Any], remarks: list[str]) -> Row:
    """What one layer is: the model-wide fields are set from the first layer that has the part."""
    row: Row = {}
    if any(name.startswith("ssm_") for name in layer):
        row |= _ssm(file, layer, fields)
    elif layer and not any(name.startswith("attn_") and "norm" not in name for name in layer):
        row["mixer"] = "none"
    else:
        _attention(file, layer, index, fields, row)
    _mlp(file, layer, index, fields, row)
    return row


def _settle(fields: dict[str, Any], row: Row, name: str, value: Any, in_row: str = "") -> None:
    """The model's own value from the first layer that has one; later layers note what differs."""
    if name not in fields:
        fields[name] = value
    elif fields[name] != value:
        row[in_row or name] = value


def _attention(file: GgufFile, layer: Tensors, index: int, fields: dict[str, Any], row: Row) -> None:
    if "heads" not in fields:
        return
    heads = _at(file, "attention.head_count", index) or fields["heads"]
    if heads != fields["heads"]:
        row["heads"] = heads
    if "mla" not in fields:
        _settle(fields, row, "kv_heads", _at(file, "attention.head_count_kv", index) or heads)
    if not layer:
        return
    qkv = any(f"attn_{part}.bias" in layer for part in ("q", "k", "v", "qkv"))
    _settle(fields, row, "qkv_bias", qkv)
    _settle(fields, row, "out_bias", "attn_output.bias" in layer)
    norm = layer.get("attn_q_norm")
    wide = fields.get("head_dim", 0)
    kind = "none" if norm is None or "mla" in fields else "head" if norm.shape == (wide,) else "full"
    _settle(fields, row, "qk_norm", kind)
    wide_q = 2 * heads * wide  # queries and a gate on the output, in one matrix
    gate = "channel" if "mla" not in fields and wide_q and _side(layer.get("attn_q"), 1) == wide_q else "none"
    _settle(fields, row, "output_gate", gate)
    if "attn_sinks" in layer:
        _settle(fields, row, "attention_sinks", True, "sinks")


def _mlp(file: GgufFile, layer: Tensors, index: int, fields: dict[str, Any], row: Row) -> None:
    up = layer.get("ffn_up_exps") or layer.get("ffn_gate_up_exps")
    experts = file.count("expert_count")
    lead = file.count("leading_dense_block_count")
    if up is not None or (not layer and experts and index >= lead):
        _experts(file, layer, up, experts, fields)
        return
    width = _at(file, "feed_forward_length", index)
    if layer and not any(name.startswith("ffn_") and "norm" not in name for name in layer):
        row["mlp"] = "none"
        return
    if experts:
        row["mlp"] = "dense"
    down = _side(layer.get("ffn_down"), 0)
    _settle(fields, row, "ffn", down or width or 4 * fields["hidden"])
    if layer:
        _settle(fields, row, "mlp_bias", "ffn_up.bias" in layer)


def _experts(file: GgufFile, layer: Tensors, up: GgufTensor | None, experts: int, fields: dict[str, Any]) -> None:
    wide = _side(layer.get("ffn_down_exps"), 0) or file.count("expert_feed_forward_length")
    fields.setdefault("experts", _side(up, 2) or experts)
    fields.setdefault("experts_per_token", min(file.count("expert_used_count", 2) or 2, fields["experts"]))
    fields.setdefault("expert_ffn", wide or _at(file, "feed_forward_length", 0) or fields["hidden"])
    fields.setdefault("gated", True)
    shared = _side(layer.get("ffn_down_shexp"), 0)
    shared = shared or (0 if layer else fields["expert_ffn"] * file.count("expert_shared_count"))
    if shared:
        fields.setdefault("shared_expert_ffn", shared)
    for name, field in (
        ("exp_probs_b.bias", "router_bias"),
        ("ffn_gate_inp.bias", "router_bias"),
        ("ffn_gate_inp_shexp", "shared_gate"),
        ("ffn_up_exps.bias", "mlp_bias"),
    ):
        if name in layer:
            fields.setdefault(field, True)


def _ssm(file: GgufFile, layer: Tensors, fields: dict[str, Any]) -> Row:
    """A state-space or linear-attention mixer, told apart by its keys and tensors."""
    inner, state = file.count("ssm.inner_size"), file.count("ssm.state_size", 16)
    ranks, groups = file.count("ssm.time_step_rank"), file.count("ssm.group_count")
    conv = file.count("ssm.conv_kernel", 4)
    wide = file.count("kda.head_dim")
    if wide:
        return {
            "mixer": "kda",
            "heads": fields.get("heads", 1),
            "head_dim": wide,
            "state": wide,
            "conv": conv,
        }
    if "ssm_beta" in layer or "ssm_ba" in layer or "ssm_beta_alpha" in layer:
        return {
            "mixer": "gdn",
            "heads": max(1, ranks),
            "head_dim": max(1, inner // max(1, ranks)),
            "state": state,
            "groups": max(1, groups),
            "conv": conv,
        }
    if "ssm_norm" in layer or (groups and "ssm_dt" not in layer):
        return {
            "mixer": "mamba2",
            "heads": max(1, ranks),
            "head_dim": max(1, inner // max(1, ranks)),
            "state": state,
            "conv": conv,
            "groups": max(1, groups),
        }
    return {
        "mixer": "mamba1",
        "heads": inner or 2 * fields["hidden"],
        "head_dim": 1,
        "state": state,
        "conv": conv,
        "dt_rank": ranks or -(-fields["hidden"] // 16),
    }


def _window(file: GgufFile, rows: list[Row], fields: dict[str, Any], remarks: list[str]) -> None:
    """Sliding windows: a pattern in the file, else the family's own."""
    window = file.count("attention.sliding_window")
    if not window or "heads" not in fields:
        return
    pattern = file.metadata.get(f"{file.architecture}.attention.sliding_window_pattern")
    every = pattern if isinstance(pattern, int) and not isinstance(pattern, bool) else None
    if every is None and not isinstance(pattern, tuple):
        every = _FULL_EVERY.get(file.architecture)
        if every is None:
            remarks.append(
                f"a sliding window of {window} is given without a pattern; llama.cpp keeps the "
                "whole context for this family, so the window is not used"
            )
            return
    for index, row in enumerate(rows):
        if row.get("mixer", "attention") != "attention":
            continue
        slides = (
            bool(pattern[index])
            if isinstance(pattern, tuple) and index < len(pattern)
            else bool(every and (index + 1) % every)
        )
        if slides:
            row["window"] = window
