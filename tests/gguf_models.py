"""Tensor lists of published models as llama.cpp converts them, to hold counts against model cards."""

from __future__ import annotations

from typing import Any

Tensor = tuple[str, tuple[int, ...], str]
Model = tuple[str, dict[str, Any], list[Tensor]]


def bf16(name: str, *shape: int) -> Tensor:
    return (name if name.endswith((".bias", "_a", "_d")) else f"{name}.weight", shape, "bf16")


def ends(hidden: int, vocab: int, tied: bool = False) -> list[Tensor]:
    head = [] if tied else [bf16("output", hidden, vocab)]
    return [bf16("token_embd", hidden, vocab), bf16("output_norm", hidden), *head]


def experts(block: str, hidden: int, width: int, count: int, kind: str = "bf16") -> list[Tensor]:
    shapes = {"gate": (hidden, width, count), "up": (hidden, width, count), "down": (width, hidden, count)}
    return [(f"{block}ffn_{name}_exps.weight", shape, kind) for name, shape in shapes.items()]


def dense(block: str, hidden: int, width: int, suffix: str = "") -> list[Tensor]:
    shapes = {"gate": (hidden, width), "up": (hidden, width), "down": (width, hidden)}
    return [bf16(f"{block}ffn_{name}{suffix}", *shape) for name, shape in shapes.items()]


def attention(block: str, hidden: int, queries: int, keys: int, out: int, qk_norm: int = 0) -> list[Tensor]:
    found = [
        bf16(f"{block}attn_q", hidden, queries),
        bf16(f"{block}attn_k", hidden, keys),
        bf16(f"{block}attn_v", hidden, keys),
        bf16(f"{block}attn_output", out, hidden),
    ]
    return found + [bf16(f"{block}attn_{name}_norm", qk_norm) for name in ("q", "k") if qk_norm]


def norms(block: str, hidden: int, *names: str) -> list[Tensor]:
    return [bf16(f"{block}{name}", hidden) for name in names]


def qwen3_moe() -> Model:
    tensors = ends(2048, 151936)
    for i in range(48):
        b = f"blk.{i}."
        tensors += norms(b, 2048, "attn_norm", "ffn_norm") + attention(b, 2048, 4096, 512, 4096, 128)
        tensors += [bf16(f"{b}ffn_gate_inp", 2048, 128), *experts(b, 2048, 768, 128)]
    return (
        "qwen3moe",
        {
            "block_count": 48,
            "embedding_length": 2048,
            "feed_forward_length": 6144,
            "attention.head_count": 32,
            "attention.head_count_kv": 4,
            "attention.key_length": 128,
            "expert_count": 128,
            "expert_used_count": 8,
            "expert_feed_forward_length": 768,
        },
        tensors,
    )


def gpt_oss() -> Model:
    tensors = ends(2880, 201088)
    for i in range(24):
        b = f"blk.{i}."
        tensors += norms(b, 2880, "attn_norm", "post_attention_norm") + attention(b, 2880, 4096, 512, 4096)
        tensors += [
            bf16(f"{b}attn_{name}.bias", side) for name, side in (("q", 4096), ("k", 512), ("v", 512), ("output", 2880))
        ]
        tensors += [bf16(f"{b}attn_sinks", 64), bf16(f"{b}ffn_gate_inp", 2880, 32), bf16(f"{b}ffn_gate_inp.bias", 32)]
        tensors += experts(b, 2880, 2880, 32, "mxfp4")
        tensors += [bf16(f"{b}ffn_{name}_exps.bias", 2880, 32) for name in ("gate", "up", "down")]
    return (
        "gpt-oss",
        {
            "block_count": 24,
            "embedding_length": 2880,
            "attention.head_count": 64,
            "attention.head_count_kv": 8,
            "attention.key_length": 64,
            "attention.sliding_window": 128,
            "expert_count": 32,
            "expert_used_count": 4,
            "expert_feed_forward_length": 2880,
        },
        tensors,
    )


def deepseek_v3() -> Model:
    tensors = ends(7168, 129280)
    for i in range(61):
        b = f"blk.{i}."
        tensors += norms(b, 7168, "attn_norm", "ffn_norm")
        tensors += [
            bf16(f"{b}attn_q_a", 7168, 1536),
            bf16(f"{b}attn_q_a_norm", 1536),
            bf16(f"{b}attn_q_b", 1536, 24576),
            bf16(f"{b}attn_kv_a_mqa", 7168, 576),
            bf16(f"{b}attn_kv_a_norm", 512),
            bf16(f"{b}attn_output", 16384, 7168),
            bf16(f"{b}attn_k_b", 128, 512, 128),
            bf16(f"{b}attn_v_b", 512, 128, 128),
        ]
        tensors += (
            dense(b, 7168, 18432)
            if i < 3
            else [bf16(f"{b}ffn_gate_inp", 7168, 256), *experts(b, 7168, 2048, 256), *dense(b, 7168, 2048, "_shexp")]
        )
    return (
        "deepseek2",
        {
            "block_count": 61,
            "embedding_length": 7168,
            "feed_forward_length": 18432,
            "attention.head_count": 128,
            "attention.head_count_kv": 1,
            "attention.q_lora_rank": 1536,
            "attention.kv_lora_rank": 512,
            "attention.key_length": 576,
            "attention.value_length": 512,
            "attention.key_length_mla": 192,
            "attention.value_length_mla": 128,
            "rope.dimension_count": 64,
            "expert_count": 256,
            "expert_used_count": 8,
            "expert_feed_forward_length": 2048,
            "leading_dense_block_count": 3,
        },
        tensors,
    )


def gemma3() -> Model:
    tensors = ends(5376, 262208, tied=True)
    for i in range(62):
        b = f"blk.{i}."
        tensors += norms(b, 5376, "attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm")
        tensors += attention(b, 5376, 4096, 2048, 4096, 128) + dense(b, 5376, 21504)
    return (
        "gemma3",
        {
            "block_count": 62,
            "embedding_length": 5376,
            "feed_forward_length": 21504,
            "attention.head_count": 32,
            "attention.head_count_kv": 16,
            "attention.key_length": 128,
            "attention.sliding_window": 1024,
        },
        tensors,
    )


def mamba2() -> Model:
    tensors = ends(2560, 50288, tied=True)
    for i in range(64):
        b = f"blk.{i}."
        tensors += [
            bf16(f"{b}attn_norm", 2560),
            bf16(f"{b}ssm_in", 2560, 10576),
            bf16(f"{b}ssm_conv1d", 4, 5376),
            bf16(f"{b}ssm_conv1d.bias", 5376),
            bf16(f"{b}ssm_dt.bias", 80),
            bf16(f"{b}ssm_a", 1, 80),
            bf16(f"{b}ssm_d", 1, 80),
            bf16(f"{b}ssm_norm", 5120),
            bf16(f"{b}ssm_out", 5120, 2560),
        ]
    return (
        "mamba2",
        {
            "block_count": 64,
            "embedding_length": 2560,
            "ssm.conv_kernel": 4,
            "ssm.inner_size": 5120,
            "ssm.state_size": 128,
            "ssm.time_step_rank": 80,
            "ssm.group_count": 1,
        },
        tensors,
    )


def qwen3_next() -> Model:
    tensors = ends(2048, 151936)
    for i in range(48):
        b = f"blk.{i}."
        tensors += norms(b, 2048, "attn_norm", "post_attention_norm")
        tensors += (
            attention(b, 2048, 8192, 512, 4096, 256)
            if i % 4 == 3
            else [
                bf16(f"{b}ssm_in", 2048, 12288),
                bf16(f"{b}ssm_ba", 2048, 64),
                bf16(f"{b}ssm_conv1d", 4, 8192),
                bf16(f"{b}ssm_dt.bias", 32),
                bf16(f"{b}ssm_a", 32),
                bf16(f"{b}ssm_norm", 128),
                bf16(f"{b}ssm_out", 4096, 2048),
            ]
        )
        tensors += [
            bf16(f"{b}ffn_gate_inp", 2048, 512),
            bf16(f"{b}ffn_gate_inp_shexp", 2048),
            *experts(b, 2048, 512, 512),
            *dense(b, 2048, 512, "_shexp"),
        ]
    return (
        "qwen3next",
        {
            "block_count": 48,
            "embedding_length": 2048,
            "attention.head_count": 16,
            "attention.head_count_kv": 2,
            "attention.key_length": 256,
            "expert_count": 512,
            "expert_used_count": 10,
            "expert_feed_forward_length": 512,
            "ssm.conv_kernel": 4,
            "ssm.inner_size": 4096,
            "ssm.state_size": 128,
            "ssm.time_step_rank": 32,
            "ssm.group_count": 16,
        },
        tensors,
    )


# parameters as the weights on the hub hold them (prediction layers and correction biases of DeepSeek-V3 apart)
PUBLISHED = {
    "qwen3-30b-a3b": (qwen3_moe, 30_532_122_624),
    "gpt-oss-20b": (gpt_oss, 20_914_757_184),
    "deepseek-v3": (deepseek_v3, 671_026_404_352),
    "gemma-3-27b": (gemma3, 27_009_346_304),
    "mamba2-2.7b": (mamba2, 2_702_599_680),
    "qwen3-next-80b-a3b": (qwen3_next, 79_674_391_296),
}
