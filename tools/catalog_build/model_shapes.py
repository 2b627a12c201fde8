"""Shapes of models that have no configuration file: papers, training benchmarks and launch scripts."""

from __future__ import annotations

from typing import Any, NamedTuple

_NARAYANAN = "Narayanan et al. 2021, arXiv:2104.04473, Table 1"
_KORTHIKANTI = "Korthikanti et al. 2022, arXiv:2205.05198, Table 3"
_FOUNDRY = "mosaicml/llm-foundry scripts/train/yamls/pretrain @8c8dd48f (Apache-2.0)"
_MAXTEXT = "AI-Hypercomputer/maxtext src/maxtext/configs/tpu and base.yml @e591f30c (Apache-2.0)"
_GPT3 = "Brown et al. 2020, arXiv:2005.14165, Table 2.1"


class Shape(NamedTuple):
    id: str
    name: str
    aliases: tuple[str, ...]
    source: str
    fields: dict[str, Any]
    note: str = ""


def _gpt(layers: int, hidden: int, heads: int, vocab: int = 51_200, positions: int = 2048) -> dict[str, Any]:
    """A GPT as Megatron trains it: biases, layer norms, learned positions, head tied to the embedding."""
    return {"layers": layers, "hidden": hidden, "heads": heads, "kv_heads": heads,
            "head_dim": hidden // heads,
            "ffn": 4 * hidden, "gated": False, "vocab": vocab, "tied_embeddings": True, "biases": "all",
            "positions": "learned", "max_positions": positions, "norm": "layer"}


def _maxtext(scale: int) -> dict[str, Any]:
    """MaxText's base model grown by its `global_parameter_scale`, a power of two."""
    thirds, rest = divmod(scale.bit_length() - 1, 3)
    wide, tall, deep = thirds + (rest > 1), thirds + (rest > 0), thirds
    heads = 16 << tall
    return {"layers": 16 << deep, "hidden": 2048 << wide, "heads": heads, "kv_heads": heads, "head_dim": 128,
            "ffn": 7168 << tall, "gated": True, "vocab": 32_000, "tied_embeddings": False,
            "max_positions": 2048}


def _maxtext_v4(layers: int, hidden: int, heads: int) -> dict[str, Any]:
    return {"layers": layers, "hidden": hidden, "heads": heads, "kv_heads": heads, "head_dim": 256,
            "ffn": 4 * hidden, "gated": False, "vocab": 32_000, "tied_embeddings": False,
            "max_positions": 2048}


_GPTS = (
    ("gpt-1.7b", "GPT 1.7B", (24, 2304, 24), _NARAYANAN), ("gpt-3.6b", "GPT 3.6B", (30, 3072, 32),
                                                           _NARAYANAN),
    ("gpt-7.5b", "GPT 7.5B", (36, 4096, 32), _NARAYANAN), ("gpt-18b", "GPT 18B", (40, 6144, 48), _NARAYANAN),
    ("gpt-39b", "GPT 39B", (48, 8192, 64), _NARAYANAN), ("gpt-76b", "GPT 76B", (60, 10240, 80), _NARAYANAN),
    ("gpt-145b", "GPT 145B", (80, 12288, 96), _NARAYANAN), ("gpt-310b", "GPT 310B", (96, 16384, 128),
                                                            _NARAYANAN),
    ("gpt-530b", "GPT 530B", (105, 20480, 128), _NARAYANAN), ("gpt-1t", "GPT 1T", (128, 25600, 160),
                                                              _NARAYANAN),
    ("megatron-22b", "Megatron 22B", (48, 6144, 64), _KORTHIKANTI),
    ("gpt3-175b", "GPT-3 175B", (96, 12288, 96), _KORTHIKANTI),
)
_GPT_ALIASES = {
    "gpt3-175b": ("gpt-3", "gpt-3-175b", "openai/GPT3-175B", "GPT-3 175B"),
    "gpt-530b": ("mt-nlg-530b", "turing-530b", "megatron-turing-530b", "megatron-530b"),
    "gpt-1t": ("megatron-1t",),
}
_GPT3_FAMILY = (
    ("gpt3-125m", (12, 768, 12)), ("gpt3-350m", (24, 1024, 16)), ("gpt3-760m", (24, 1536, 16)),
    ("gpt3-1.3b", (24, 2048, 16)), ("gpt3-2.7b", (32, 2560, 32)), ("gpt3-6.7b", (32, 4096, 32)),
    ("gpt3-13b", (40, 5120, 40)),
)
_MPTS = (("125m", 12, 768, 12), ("350m", 24, 1024, 16), ("760m", 24, 1536, 12), ("1b", 24, 2048, 16),
         ("3b", 32, 2560, 20), ("7b", 32, 4096, 32), ("13b", 40, 5120, 40), ("30b", 48, 7168, 56),
         ("70b", 80, 8192, 64))


def shapes() -> list[Shape]:
    found = [Shape(i, name, _GPT_ALIASES.get(i, ()), source, _gpt(*dims), "vocabulary padded to 51,200")
             for i, name, dims, source in _GPTS]
    found += [Shape(i, i.upper().replace("GPT3", "GPT-3"), (i.replace("gpt3", "gpt-3"),), _GPT3,
                    _gpt(*dims, vocab=50_257), "head width as hidden / heads") for i, dims in _GPT3_FAMILY]
    for size, layers, hidden, heads in _MPTS:
        found.append(Shape(f"mpt-{size}", f"MPT-{size}", (f"mosaicml/mpt-{size}",), _FOUNDRY,
                           _gpt(layers, hidden, heads, vocab=50_368),
                           "as trained by llm-foundry: learned positions and biases; the released 7B and 30B "
                           "use "
                           "ALiBi and no biases"))
    for scale in (16, 32, 64, 128, 256, 512, 1024):
        found.append(Shape(f"maxtext-{scale}b", f"MaxText {scale}B", (), _MAXTEXT, _maxtext(scale)))
    for size, dims in (("22b", (48, 6144, 24)), ("52b", (32, 12288, 32))):
        found.append(Shape(f"maxtext-{size}", f"MaxText {size.upper()}", (), _MAXTEXT, _maxtext_v4(*dims),
                           "ungated MLP and heads of 256, which give the stated size"))
    found.append(Shape("qwen-7b", "Qwen-7B", ("Qwen/Qwen-7B", "Qwen/Qwen-7B-Chat"),
                       "genz-llm 0.0.16 GenZ/Models/Model_sets (MIT)", {
                           "layers": 32, "hidden": 4096, "heads": 32, "kv_heads": 32, "head_dim": 128,
                           "ffn": 11008,
                           "gated": True, "vocab": 151_936, "tied_embeddings": False, "biases": "qkv",
                           "max_positions": 8192}))
    found.append(Shape("grok-1", "Grok-1", ("xai-org/grok-1", "hpcai-tech/grok-1", "grok-1-314b"),
                       "xai-org/grok-1 run.py and model.py @7050ed20 (Apache-2.0)", {
                           "layers": 64, "hidden": 6144, "heads": 48, "kv_heads": 8, "head_dim": 128, "gated": True,
                           "experts": 8, "experts_per_token": 2, "expert_ffn": 32_768, "vocab": 131_072,
                           "tied_embeddings": True, "norms_per_layer": 4, "max_positions": 8192},
                       "experts of 8 x 6144 x 2 / 3; its maker states 314B"))
    return found
