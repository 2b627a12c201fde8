"""Parameters of a vision tower beside a text model, where its configuration says enough."""

from __future__ import annotations

from collections.abc import Callable

from outlay.physics.parameters import attention_parameters, mlp_parameters
from outlay.readers.hf.keys import Config


def vision_parameters(outer: Config, text_hidden: int) -> int:
    """Exact count of the tower and its projector, or 0 where the family is not known."""
    tower = outer.part("vision_config")
    count = _TOWERS.get(outer.text("model_type").lower())
    return count(tower, text_hidden) if tower is not None and count is not None else 0


def _block(hidden: int, ffn: int) -> int:
    """A pre-norm transformer block with biases and two layer norms."""
    heads_are_free = attention_parameters(hidden, 1, 1, hidden, qkv_bias=1, out_bias=1)
    return int(heads_are_free + mlp_parameters(hidden, ffn, gated=0, bias=1) + 4 * hidden)


def _linear(inputs: int, outputs: int) -> int:
    return inputs * outputs + outputs


def _qwen(tower: Config, text_hidden: int) -> int:
    """Qwen3-VL and Qwen3.5: patches over space and time, blocks, a merger, one more a deep-stack level."""
    hidden, ffn = tower.count("hidden_size"), tower.count("intermediate_size")
    channels = tower.count("in_channels", 3) * tower.count("temporal_patch_size", 2)
    patch = channels * tower.count("patch_size") ** 2
    merged = hidden * tower.count("spatial_merge_size", 2) ** 2
    out = tower.count("out_hidden_size", text_hidden)
    merger = _linear(merged, merged) + _linear(merged, out)
    deep = len(tower.items("deepstack_visual_indexes")) * (merger + 2 * merged)
    return (_linear(patch, hidden) + tower.count("num_position_embeddings") * hidden
            + tower.count("depth") * _block(hidden, ffn) + merger + 2 * hidden + deep)


def _qwen2(tower: Config, text_hidden: int) -> int:
    """Qwen2-VL: blocks of biases and layer norms, four patches merged to one token."""
    hidden = tower.count("embed_dim")
    return _merged_patches(tower, hidden, text_hidden, 2 * hidden,
                           _block(hidden, tower.count("mlp_ratio", 4) * hidden))


def _qwen2_5(tower: Config, text_hidden: int) -> int:
    """Qwen2.5-VL: gated blocks of biases and RMS norms, four patches merged to one token."""
    hidden = tower.count("hidden_size")
    block = (attention_parameters(hidden, 1, 1, hidden, qkv_bias=1, out_bias=1)
             + mlp_parameters(hidden, tower.count("intermediate_size"), bias=1) + 2 * hidden)
    return _merged_patches(tower, hidden, text_hidden, hidden, int(block))


def _merged_patches(tower: Config, hidden: int, text_hidden: int, norm: int, block: int) -> int:
    """Patches over space and time, the blocks, and a merger behind its norm."""
    patch = tower.count("in_chans", 3) * tower.count("temporal_patch_size", 2) * tower.count("patch_size") ** 2
    merged = hidden * tower.count("spatial_merge_size", 2) ** 2
    return (patch * hidden + tower.count("depth") * block
            + norm + _linear(merged, merged) + _linear(merged, tower.count("out_hidden_size", text_hidden)))


def _pixtral(tower: Config, text_hidden: int) -> int:
    """Mistral Small 3.1 and Ministral 3: a Pixtral tower, a patch merger behind its norm and two projections."""
    hidden = tower.count("hidden_size")
    merged = hidden * tower.count("spatial_merge_size", 2) ** 2
    return _pixtral_blocks(tower, hidden) + hidden + merged * hidden + hidden * text_hidden + text_hidden**2


def _pixtral_12b(tower: Config, text_hidden: int) -> int:
    """Pixtral 12B: the same tower at its own sizes, and two projections with biases."""
    if tower.text("model_type") != "pixtral":
        return 0
    hidden = tower.count("hidden_size", 1024)
    return _pixtral_blocks(tower, hidden) + _linear(hidden, text_hidden) + _linear(text_hidden, text_hidden)


def _pixtral_blocks(tower: Config, hidden: int) -> int:
    """Patches, a norm and gated blocks, all without biases."""
    block = (attention_parameters(hidden, 1, 1, hidden)
             + mlp_parameters(hidden, tower.count("intermediate_size", 4096)) + 2 * hidden)
    patch = tower.count("num_channels", 3) * tower.count("patch_size") ** 2
    return int(patch * hidden + hidden + tower.count("num_hidden_layers", 24) * block)


def _kimi(tower: Config, text_hidden: int) -> int:
    """Kimi-K2.5: a MoonViT tower with a learned position grid and a patch merger."""
    hidden, ffn = tower.count("vt_hidden_size"), tower.count("vt_intermediate_size")
    grid = tower.count("init_pos_emb_height") * tower.count("init_pos_emb_width")
    merged = hidden
    for side in tower.items("merge_kernel_size") or [2, 2]:
        merged *= side if isinstance(side, int) and 0 < side < 100 else 1
    return (_linear(3 * tower.count("patch_size") ** 2, hidden) + grid * hidden + 2 * hidden
            + tower.count("vt_num_hidden_layers") * _block(hidden, ffn)
            + 2 * hidden + _linear(merged, merged) + _linear(merged, text_hidden))


def _gemma4(tower: Config, text_hidden: int) -> int:
    """Gemma 4: gated blocks with four norms and q/k norms, a two-axis position table, one projection."""
    hidden, head_dim = tower.count("hidden_size"), tower.count("head_dim")
    heads, kv_heads = tower.count("heads"), tower.count("kv_heads")
    block = (attention_parameters(hidden, heads, kv_heads, head_dim) + 2 * head_dim
             + mlp_parameters(hidden, tower.count("intermediate_size")) + 4 * hidden)
    inputs = 3 * tower.count("patch_size") ** 2 + 2 * tower.count("position_embedding_size")
    return int(inputs * hidden + tower.count("num_hidden_layers") * block + hidden * text_hidden)


_TOWERS: dict[str, Callable[[Config, int], int]] = {
    "qwen3_vl": _qwen, "qwen3_vl_moe": _qwen, "qwen3_5": _qwen, "qwen3_5_moe": _qwen,
    "qwen2_vl": _qwen2, "qwen2_5_vl": _qwen2_5, "mistral3": _pixtral, "llava": _pixtral_12b,
    "kimi_k25": _kimi, "gemma4": _gemma4,
}
