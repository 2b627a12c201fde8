"""Bytes of model weights at rest in a device, by the format they are kept in.

A quantised format stores elements in groups that share a scale and perhaps a zero point; published
checkpoints leave some parts of a model in 16 bits. Sources stand at each row; a row is a fact of the format.
"""

from __future__ import annotations

from typing import Any, NamedTuple

Value = Any  # float or array

PARTS = (
    "embedding",
    "head",
    "attention",
    "latent",
    "mixer",
    "mlp",
    "experts",
    "shared",
    "router",
    "bias",
    "norms",
)
LINEAR = frozenset({"attention", "latent", "mixer", "mlp", "experts", "shared"})
MXFP4_ELEMENT_BITS = 4.0
WIDE_BYTES = 2.0  # what is not quantised is kept in 16 bits


def bits_per_weight(element_bits: Value, group: Value, scale_bits: Value, zero_bits: Value = 0.0) -> Value:
    """Stored bits of one weight: its own and its share of the group's scale and zero point.

    AWQ with groups of 128, a 16-bit scale and a 4-bit zero point (Lin et al. 2023, arXiv:2306.00978):

    >>> bits_per_weight(4, 128, 16, 4)
    4.15625
    """
    return element_bits + (scale_bits + zero_bits) / group


def double_quantised_bits(
    element_bits: Value, group: Value, scale_bits: Value, outer_group: Value, outer_scale_bits: Value
) -> Value:
    """Bits of one weight whose scales are quantised themselves, in groups of their own.

    NF4 with 8-bit scales of 64 weights and one 32-bit scale of 256 of them: 0.127 bits beside the four
    (Dettmers et al. 2023, arXiv:2305.14314, section 3):

    >>> round(double_quantised_bits(4, 64, 8, 256, 32), 3)
    4.127
    """
    return element_bits + scale_bits / group + outer_scale_bits / (group * outer_group)


class WeightFormat(NamedTuple):
    """Bits of a quantised weight, the parts that are quantised, and who says so.

    latent_output: latent attention is kept wide but for its output projection.
    """

    bits: float
    parts: frozenset[str]
    source: str
    latent_output: bool = False


_BNB = "bitsandbytes; arXiv:2305.14314"
_ALL = frozenset(PARTS)
FORMATS: dict[str, WeightFormat] = {
    "fp32": WeightFormat(32.0, _ALL, "IEEE 754"),
    "bf16": WeightFormat(16.0, _ALL, "bfloat16"),
    "fp16": WeightFormat(16.0, _ALL, "IEEE 754"),
    "fp8": WeightFormat(
        bits_per_weight(8, 128 * 128, 32),
        LINEAR,
        "blocks of 128 x 128 with a 32-bit scale, DeepSeek-V3 (arXiv:2412.19437) section 3.3",
    ),
    "mxfp8": WeightFormat(
        bits_per_weight(8, 32, 8), LINEAR, "OCP Microscaling formats v1.0: 32 elements a scale"
    ),
    "int8": WeightFormat(8.0, LINEAR, "LLM.int8(), one scale a row (arXiv:2208.07339)"),
    "w8a8-int8": WeightFormat(8.0, LINEAR, "SmoothQuant, one scale a channel (arXiv:2211.10438)"),
    "nvfp4": WeightFormat(
        bits_per_weight(4, 16, 8),
        LINEAR - {"latent"},
        "NVIDIA NVFP4: 16 elements an fp8 scale; its DeepSeek checkpoints keep latent attention in 16 bits, the second "
        "version (nvidia/DeepSeek-R1-0528-FP4-v2) but for the output projection",
        True,
    ),
    "mxfp4": WeightFormat(
        bits_per_weight(4, 32, 8), LINEAR, "OCP Microscaling formats v1.0: 32 elements a scale"
    ),
    "nf4": WeightFormat(bits_per_weight(4, 64, 32), LINEAR, _BNB),
    "nf4-dq": WeightFormat(double_quantised_bits(4, 64, 8, 256, 32), LINEAR, _BNB),
    "fp4": WeightFormat(bits_per_weight(4, 64, 32), LINEAR, _BNB),
    "fp4-dq": WeightFormat(double_quantised_bits(4, 64, 8, 256, 32), LINEAR, _BNB),
    "int4": WeightFormat(bits_per_weight(4, 128, 16), LINEAR, "weight-only, symmetric, groups of 128"),
    "awq-int4": WeightFormat(bits_per_weight(4, 128, 16, 4), LINEAR, "AWQ, groups of 128 (arXiv:2306.00978)"),
    "gptq-int4": WeightFormat(
        bits_per_weight(4, 128, 16, 4), LINEAR, "GPTQ, groups of 128 (arXiv:2210.17323)"
    ),
    "gptq-int8": WeightFormat(
        bits_per_weight(8, 128, 16, 8), LINEAR, "GPTQ, groups of 128 (arXiv:2210.17323)"
    ),
}


def part_bytes(name: str, has_experts: bool, latent_output: float = 0.0) -> dict[str, float]:
    """Bytes of one weight in every part of a model kept in a format.

    MXFP4 checkpoints of expert models quantise the experts alone (gpt-oss model card, arXiv:2508.10925).
    latent_output: share of latent attention's weights in its output projection.

    >>> found = part_bytes("mxfp4", True)
    >>> found["experts"], found["attention"], part_bytes("awq-int4", False)["head"]
    (0.53125, 2.0, 2.0)
    """
    form = FORMATS[name]
    parts = frozenset({"experts"}) if name == "mxfp4" and has_experts else form.parts
    found = {part: form.bits / 8.0 if part in parts else WIDE_BYTES for part in PARTS}
    if form.latent_output:
        found["latent"] = latent_output * form.bits / 8.0 + (1.0 - latent_output) * WIDE_BYTES
    return found


def weight_bytes(parameters: Value, bytes_per_weight: Value, split: Value = 1.0) -> Value:
    """Bytes one device keeps of parameters split evenly over `split` devices.

    Llama 3.1 8B, 8,030,261,248 parameters in bf16, is 14.96 GiB whole (meta-llama/Llama-3.1-8B):

    >>> round(weight_bytes(8_030_261_248, 2.0) / 2**30, 2)
    14.96
    """
    return parameters * bytes_per_weight / split


def expert_parameters_held(
    experts: Value, parameters_each: Value, expert_split: Value, tensor_split: Value
) -> Value:
    """Expert parameters of the fullest device: whole experts dealt out, each then split.

    256 experts over 72 ranks: the fullest has four.

    >>> float(expert_parameters_held(256, 10.0, 72, 1))
    40.0
    """
    import numpy as np

    return np.ceil(experts / expert_split) * parameters_each / tensor_split


def padded_share(width: Value, multiple: Value) -> Value:
    """How much longer a dimension becomes when a kernel needs whole multiples.

    >>> round(float(padded_share(2880, 256)), 4)
    1.0667
    """
    import numpy as np

    return np.ceil(width / multiple) * multiple / width


def adapter_parameters(rank: Value, inputs: Value, outputs: Value) -> Value:
    """Parameters of one low-rank adapter of a matrix (Hu et al. 2021, arXiv:2106.09685).

    >>> adapter_parameters(16, 4096, 4096)
    131072
    """
    return rank * (inputs + outputs)
