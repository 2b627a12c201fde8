"""What a model family's name says about its structure beyond the dimensions its configuration prints.

One row a `model_type`. A bias given as ("key", default) is read from the configuration.
"""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

Bias = bool | tuple[str, bool]


class Traits(Struct, frozen=True):
    norm: str = "rms"
    norms: int = 2  # hidden-wide norms a layer
    final_norm: bool = True
    embedding_norm: bool = False
    gated: bool = True
    tied: bool = False  # when the configuration does not say
    qkv_bias: Bias = ("attention_bias", False)
    out_bias: Bias = ("attention_bias", False)
    mlp_bias: Bias = ("mlp_bias", False)
    head_bias: Bias = False
    router_bias: bool = False
    shared_gate: bool = False
    qk_norm: str = "none"
    qk_norm_key: str = ""  # flag that switches qk_norm on
    output_gate: str = "none"
    sinks: bool = False
    positions: str = "rope"
    position_offset: int = 0  # rows of the position table beyond max_positions
    wide_ffn: int = 0  # ffn = this times hidden when not printed
    window_every: int = 0  # every n-th layer attends fully, where layer_types does not say
    window_default: int = 0
    dense_ffn_key: str = ""  # width of dense layers where intermediate_size is an expert's
    first_dense: int = 0


_PLAIN = Traits(qkv_bias=False, out_bias=False, mlp_bias=False)
_GPT = Traits(norm="layer", gated=False, tied=True, qkv_bias=True, out_bias=True, mlp_bias=True,
              positions="learned", wide_ffn=4)
_GEMMA = Traits(tied=True)
_LLAMA = Traits()
_QWEN2 = replace(_PLAIN, qkv_bias=True)
_QWEN3 = Traits(qk_norm="head")
_GLM4 = Traits(qkv_bias=("attention_bias", True), out_bias=False, mlp_bias=False)
_ERNIE = replace(_PLAIN, qkv_bias=("use_bias", False), out_bias=("use_bias", False), mlp_bias=("use_bias", False),
                 tied=True)
_BAILING = Traits(qkv_bias=("use_qkv_bias", False), out_bias=("use_bias", False), mlp_bias=("use_bias", False),
                  qk_norm="head", qk_norm_key="use_qk_norm")
_HUNYUAN = replace(_LLAMA, tied=True, qk_norm="head", qk_norm_key="use_qk_norm")

FAMILIES: dict[str, Traits] = {
    "llama": _LLAMA, "mistral": _PLAIN, "ministral": _PLAIN, "ministral3": _PLAIN, "mistral3": _PLAIN,
    "mixtral": _PLAIN, "internlm3": replace(_PLAIN, qkv_bias=("qkv_bias", False), out_bias=("bias", False)),
    "internlm2": replace(_PLAIN, qkv_bias=("bias", False), out_bias=("bias", False)),
    "internlm": replace(_PLAIN, qkv_bias=("bias", True), out_bias=("bias", True)),
    "baichuan": _PLAIN, "xverse": _PLAIN, "minicpm": _LLAMA, "aquila": _LLAMA, "yi": _LLAMA,
    "exaone": replace(_PLAIN, wide_ffn=4), "arcee": replace(_PLAIN, gated=False), "helium": _LLAMA,
    "apertus": replace(_PLAIN, gated=False, qk_norm="head"),
    "ernie4_5": _ERNIE, "ernie4_5_moe": replace(_ERNIE, tied=False, router_bias=True),
    "exaone4": replace(_PLAIN, qk_norm="head"),
    "qwen": replace(_PLAIN, qkv_bias=True),
    "qwen2": _QWEN2, "qwen2_vl": _QWEN2, "qwen2_5_vl": _QWEN2, "qwen2_vl_text": _QWEN2,
    "qwen2_5_vl_text": _QWEN2, "mimo": _QWEN2,
    "qwen2_moe": replace(_PLAIN, qkv_bias=("qkv_bias", True), shared_gate=True),
    "qwen3": _QWEN3, "qwen3_moe": _QWEN3, "qwen3_vl_text": _QWEN3, "qwen3_vl_moe_text": _QWEN3,
    "qwen3_next": replace(_QWEN3, shared_gate=True, output_gate="channel"),
    "qwen3_5_text": replace(_QWEN3, output_gate="channel"),
    "qwen3_5_moe_text": replace(_QWEN3, shared_gate=True, output_gate="channel"),
    "gemma": _GEMMA,
    "gemma2": replace(_GEMMA, norms=4, window_every=2, window_default=4096),
    "gemma3_text": replace(_GEMMA, norms=4, qk_norm="head", window_every=6, window_default=4096),
    "gemma4_text": replace(_GEMMA, norms=4, qk_norm="head"),
    "phi": Traits(norm="layer", norms=1, gated=False, qkv_bias=True, out_bias=True, mlp_bias=True,
                  head_bias=True, wide_ffn=4),
    "phi3": _PLAIN,
    "phimoe": replace(_LLAMA, norm="layer", head_bias=("lm_head_bias", False)),
    "gpt_neox": Traits(norm="layer", gated=False, qkv_bias=("attention_bias", True),
                       out_bias=("attention_bias", True), mlp_bias=True, wide_ffn=4),
    "gptj": Traits(norm="layer", norms=1, gated=False, qkv_bias=False, out_bias=False, mlp_bias=True,
                   head_bias=True, wide_ffn=4),
    "codegen": Traits(norm="layer", norms=1, gated=False, qkv_bias=False, out_bias=False, mlp_bias=True,
                      head_bias=True, wide_ffn=4),
    "gpt2": _GPT, "gpt_bigcode": _GPT,
    "gpt_neo": replace(_GPT, qkv_bias=False),
    "opt": replace(_GPT, position_offset=2),
    "bloom": replace(_GPT, positions="alibi", embedding_norm=True),
    "mpt": Traits(norm="layer_nobias", gated=False, tied=True, qkv_bias=False, out_bias=False, mlp_bias=False,
                  positions="alibi", wide_ffn=4),
    "falcon": Traits(norm="layer", gated=False, tied=True, qkv_bias=("bias", False), out_bias=("bias", False),
                     mlp_bias=("bias", False), wide_ffn=4),
    "starcoder2": Traits(norm="layer", gated=False, tied=True, qkv_bias=("use_bias", True),
                         out_bias=("use_bias", True), mlp_bias=("use_bias", True)),
    "stablelm": Traits(norm="layer", qkv_bias=("use_qkv_bias", False), out_bias=False, mlp_bias=False),
    "olmo": replace(_LLAMA, norm="none"),
    "olmo2": replace(_LLAMA, qk_norm="full"),
    "olmo3": replace(_LLAMA, qk_norm="full", window_every=4, window_default=4096),
    "olmoe": replace(_LLAMA, qk_norm="full"),
    "granite": _LLAMA, "granitemoe": _LLAMA, "granitemoeshared": _LLAMA, "granitemoehybrid": _LLAMA,
    "glm": _GLM4, "glm4": replace(_GLM4, norms=4),
    "chatglm": replace(_PLAIN, qkv_bias=("add_qkv_bias", False)),
    "glm4_moe": replace(_PLAIN, qkv_bias=("attention_bias", False), qk_norm="head", qk_norm_key="use_qk_norm",
                        first_dense=1),
    "deepseek": _LLAMA, "deepseek_v2": _LLAMA, "deepseek_v3": _LLAMA, "deepseek_v32": _LLAMA,
    "kimi_k2": _LLAMA, "glm_moe_dsa": _LLAMA, "glm4_moe_lite": _LLAMA,
    "deepseek_v4": replace(_PLAIN, sinks=True),
    "cohere": Traits(norm="layer_nobias", norms=1, tied=True, qk_norm="full", qk_norm_key="use_qk_norm"),
    "cohere2": Traits(norm="layer_nobias", norms=1, tied=True, window_every=4, window_default=4096),
    "smollm3": replace(_LLAMA, tied=True),
    "bailing_moe": _BAILING, "bailing_moe_v2": _BAILING, "arctic": replace(_PLAIN, norms=3), "dots1": _QWEN3,
    "hunyuan_v1_dense": _HUNYUAN, "hunyuan_v1_moe": _HUNYUAN,
    "seed_oss": replace(_LLAMA, qkv_bias=("attention_bias", True), out_bias=("attention_out_bias", False)),
    "minimax": _PLAIN, "minimax_text_01": _PLAIN,
    "minimax_m2": replace(_PLAIN, qk_norm="full", qk_norm_key="use_qk_norm"),
    "minimax_m3": replace(_PLAIN, qk_norm="head", qk_norm_key="use_qk_norm",
                          dense_ffn_key="dense_intermediate_size"),
    "gpt_oss": Traits(qkv_bias=("attention_bias", True), out_bias=("attention_bias", True), mlp_bias=True,
                      router_bias=True, sinks=True, window_every=2, window_default=128),
    "llama4_text": replace(_LLAMA, dense_ffn_key="intermediate_size_mlp"),
    "dbrx": Traits(norm="layer_nobias", qkv_bias=False, out_bias=False, mlp_bias=False),
    "nemotron": Traits(norm="layer", gated=False),
    "nemotron_h": Traits(norms=1, gated=False, qkv_bias=False, out_bias=False),
    "nemotron-nas": _LLAMA,
    "jamba": _PLAIN,
    "mamba": replace(_PLAIN, norms=1, tied=True), "mamba2": replace(_PLAIN, norms=1, tied=True),
    "falcon_mamba": replace(_PLAIN, norms=1),
    "mimo_v2_flash": Traits(qkv_bias=("attention_bias", False), out_bias=False, mlp_bias=False),
    "step3p7": Traits(qk_norm="head", output_gate="head"),
    "kimi_linear": _PLAIN,
}
# Spellings found in configuration files for families above.
SPELLINGS = {
    "refinedweb": "falcon", "refinedwebmodel": "falcon", "gpt-neox": "gpt_neox", "gemma3": "gemma3_text",
    "gemma4": "gemma4_text", "llama4": "llama4_text", "minimax_text": "minimax", "step3p5": "step3p7",
    "qwen3_5": "qwen3_5_text", "qwen3_5_moe": "qwen3_5_moe_text", "kimi_k25": "kimi_k2",
    "kimi_k3": "kimi_linear",
    "deci": "nemotron-nas",
    "qwen3_vl": "qwen3_vl_text", "qwen3_vl_moe": "qwen3_vl_moe_text",
}
