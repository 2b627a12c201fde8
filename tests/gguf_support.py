"""Writes GGUF headers for tests, in the format's own order; tensor data is left as a hole in the file."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

from outlay.readers.gguf.types import BY_NAME, GGML_TYPES, tensor_bytes

NUMBERS = {name: number for number, kind in GGML_TYPES.items() for name in (kind.name,)}
Tensor = tuple[str, tuple[int, ...], str]


def text(value: str | bytes) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(raw)) + raw


def value(item: Any) -> bytes:
    """Type number and value."""
    if isinstance(item, bool):
        return struct.pack("<I?", 7, item)
    if isinstance(item, int):
        return struct.pack("<IQ", 10, item) if item >= 2**32 else struct.pack("<II", 4, item)
    if isinstance(item, float):
        return struct.pack("<If", 6, item)
    if isinstance(item, (str, bytes)):
        return struct.pack("<I", 8) + text(item)
    if item and isinstance(item[0], str):
        return struct.pack("<IIQ", 9, 8, len(item)) + b"".join(text(i) for i in item)
    if item and isinstance(item[0], bool):
        return struct.pack(f"<IIQ{len(item)}?", 9, 7, len(item), *item)
    return struct.pack(f"<IIQ{len(item)}i", 9, 5, len(item), *item)


def header(keys: dict[str, Any], tensors: list[Tensor], version: int = 3) -> tuple[bytes, int]:
    """The header, padded, and how many bytes of data follow it."""
    out = [b"GGUF", struct.pack("<IQQ", version, len(tensors), len(keys))]
    out += [text(key) + value(item) for key, item in keys.items()]
    offset = 0
    for name, shape, kind in tensors:
        elements = 1
        for side in shape:
            elements *= side
        out.append(text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, NUMBERS[kind], offset))
        offset += -(-tensor_bytes(BY_NAME[kind], elements) // 32) * 32
    whole = b"".join(out)
    return whole + bytes(-len(whole) % 32), offset


def write(path: Path, keys: dict[str, Any], tensors: list[Tensor], version: int = 3) -> Path:
    start, data = header(keys, tensors, version)
    with path.open("wb") as file:
        file.write(start)
        file.truncate(len(start) + data)
    return path


def llama(
    layers: int = 32,
    hidden: int = 4096,
    heads: int = 32,
    kv_heads: int = 8,
    ffn: int = 14336,
    vocab: int = 128256,
    kind: str = "q4_k",
    more: str = "q6_k",
) -> tuple[dict[str, Any], list[Tensor]]:
    """A Llama-3 model as llama.cpp quantises it "M": more bits in some value and down projections."""
    keys: dict[str, Any] = {
        "general.architecture": "llama",
        "general.name": "test",
        "llama.block_count": layers,
        "llama.context_length": 131072,
        "llama.embedding_length": hidden,
        "llama.feed_forward_length": ffn,
        "llama.attention.head_count": heads,
        "llama.attention.head_count_kv": kv_heads,
        "llama.rope.freq_base": 500000.0,
        "llama.rope.dimension_count": hidden // heads,
        "llama.vocab_size": vocab,
        "tokenizer.ggml.tokens": ["a", "bc"] * 50,
    }
    wide = hidden // heads * kv_heads
    tensors: list[Tensor] = [
        ("token_embd.weight", (hidden, vocab), kind),
        ("output_norm.weight", (hidden,), "f32"),
        ("output.weight", (hidden, vocab), more),
    ]
    for i in range(layers):
        bits = more if i < layers // 8 or i >= 7 * layers // 8 or (i - layers // 8) % 3 == 2 else kind
        for name, shape, used in (
            ("attn_norm", (hidden,), "f32"),
            ("attn_q", (hidden, hidden), kind),
            ("attn_k", (hidden, wide), kind),
            ("attn_v", (hidden, wide), bits),
            ("attn_output", (hidden, hidden), kind),
            ("ffn_norm", (hidden,), "f32"),
            ("ffn_gate", (hidden, ffn), kind),
            ("ffn_up", (hidden, ffn), kind),
            ("ffn_down", (ffn, hidden), bits),
        ):
            tensors.append((f"blk.{i}.{name}.weight", shape, used))
    return keys, tensors
