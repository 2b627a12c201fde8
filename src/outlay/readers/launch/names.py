"""Names of precisions as engines, trainers and model names spell them → the scenario's names."""

from __future__ import annotations

WEIGHTS = {
    "float32": "fp32",
    "float": "fp32",
    "fp32": "fp32",
    "f32": "fp32",
    "float16": "fp16",
    "half": "fp16",
    "fp16": "fp16",
    "f16": "fp16",
    "bfloat16": "bf16",
    "bf16": "bf16",
    "fp8": "fp8",
    "w8a8_fp8": "fp8",
    "fbgemm_fp8": "fp8",
    "ptpc_fp8": "fp8",
    "modelopt": "fp8",
    "modelopt_fp8": "fp8",
    "deepspeedfp": "fp8",
    "fp8_per_tensor": "fp8",
    "fp8_per_block": "fp8",
    "mxfp8": "mxfp8",
    "modelopt_mxfp8": "mxfp8",
    "mxfp4": "mxfp4",
    "modelopt_fp4": "nvfp4",
    "nvfp4": "nvfp4",
    "petit_nvfp4": "nvfp4",
    "awq": "awq-int4",
    "awq_marlin": "awq-int4",
    "gptq": "gptq-int4",
    "gptq_marlin": "gptq-int4",
    "gptq_marlin_24": "gptq-int4",
    "gptq_bitblas": "gptq-int4",
    "marlin": "gptq-int4",
    "moe_wna16": "int4",
    "bitsandbytes": "nf4",
    "w8a8_int8": "w8a8-int8",
    "experts_int8": "int8",
    "int8": "int8",
    "int4wo-128": "int4",
    "int8wo": "int8",
    "fp8wo": "fp8",
    "eetq": "int8",
}
KV = {
    "fp8": "fp8",
    "fp8_e4m3": "fp8",
    "fp8_e5m2": "fp8",
    "fp8_inc": "fp8",
    "fp8_ds_mla": "fp8",
    "bfloat16": "bf16",
    "bf16": "bf16",
    "float16": "fp16",
    "half": "fp16",
    "fp16": "fp16",
    "f16": "fp16",
    "int8": "int8",
    "q8_0": "q8_0",
    "q4_0": "q4_0",
    "q8": "q8_0",
    "q4": "q4_0",
}
# Endings and middles of published model names, longest first.
_IN_NAMES = (
    ("-bf16", "bf16"),
    ("nvfp4", "nvfp4"),
    ("-fp4", "nvfp4"),
    ("mxfp4", "mxfp4"),
    ("gpt-oss", "mxfp4"),
    ("gptq-int8", "gptq-int8"),
    ("gptq-8bit", "gptq-int8"),
    ("gptq", "gptq-int4"),
    ("awq", "awq-int4"),
    ("w4a16", "int4"),
    ("w8a8-int8", "w8a8-int8"),
    ("quantized.w8a8", "w8a8-int8"),
    ("int8-w8a8", "w8a8-int8"),
    ("w8a8", "w8a8-int8"),
    ("bnb-4bit", "nf4"),
    ("fp8", "fp8"),
    ("-int4", "int4"),
    ("-int8", "int8"),
    ("-4bit", "int4"),
    ("-8bit", "int8"),
)


def precision_in_name(model: str) -> str | None:
    """The precision a model's name states, if it does.

    >>> precision_in_name("Qwen/Qwen2.5-7B-Instruct-AWQ"), precision_in_name("meta-llama/Llama-3.1-8B")
    ('awq-int4', None)
    """
    lower = model.lower().rstrip("/").rsplit("/", 1)[-1]
    return next((precision for mark, precision in _IN_NAMES if mark in lower), None)


_MIXES = (
    "q2_k_s",
    "q3_k_s",
    "q3_k_m",
    "q3_k_l",
    "q4_k_s",
    "q4_k_m",
    "q5_k_s",
    "q5_k_m",
    "iq2_m",
    "iq3_xs",
    "iq3_m",
    "mxfp4_moe",
)


def gguf_type_in_name(model: str) -> str | None:
    """The quantisation in the name of a GGUF file: a mix of tensor types, or the one type.

    >>> gguf_type_in_name("/m/Qwen3-8B-Q4_K_M.gguf"), gguf_type_in_name("unsloth/gpt-oss-20b-GGUF:UD-Q2_K_XL")
    ('q4_k_m', 'q2_k')
    """
    from outlay.readers.gguf.types import BY_NAME

    lower = model.lower().rsplit("/", 1)[-1].removesuffix(".gguf")
    plain = [name for name in BY_NAME if name not in ("i8", "i16", "i32", "i64", "f64", "q8_k", "q8_1")]
    return max((name for name in (*plain, *_MIXES) if name in lower), key=len, default=None)
