"""Adapters and quantised bases: parameters they add, bytes they keep, arithmetic they take.

Everything works on floats and on arrays.
"""

from __future__ import annotations

from typing import Any

Value = Any


def lora_parameters(inputs: Value, outputs: Value, rank: Value) -> Value:
    """Parameters of a low-rank update BA of one matrix: r (in + out). Hu et al. 2021 (arXiv:2106.09685).

    Llama-2 7B, rank 8 on queries and values of 32 layers: 4.19 million trainable parameters.

    >>> 32 * 2 * lora_parameters(4096, 4096, 8)
    4194304
    """
    return rank * (inputs + outputs)


def dora_parameters(inputs: Value, outputs: Value, rank: Value) -> Value:
    """LoRA's parameters and one magnitude an output. Liu et al. 2024 (arXiv:2402.09353), equation 5.

    >>> dora_parameters(4096, 4096, 8) - lora_parameters(4096, 4096, 8)
    4096
    """
    return lora_parameters(inputs, outputs, rank) + outputs


def prefix_parameters(virtual_tokens: Value, layers: Value, key_value_width: Value) -> Value:
    """Learned keys and values before every layer's own. Li and Liang 2021 (arXiv:2101.00190).

    GPT-2 medium (24 layers, width 1024), 5 virtual tokens, without the reparametrisation:

    >>> prefix_parameters(5, 24, 2 * 1024)
    245760
    """
    return virtual_tokens * layers * key_value_width


def prompt_parameters(virtual_tokens: Value, hidden: Value) -> Value:
    """Learned embeddings before the text. Lester et al. 2021 (arXiv:2104.08691): 20,480 for T5 small, 40 x 512.

    >>> prompt_parameters(40, 512)
    20480
    """
    return virtual_tokens * hidden


def lora_flop(tokens: Value, inputs: Value, outputs: Value, rank: Value) -> Value:
    """Forward arithmetic of a low-rank update: 2 r (in + out) a token.

    >>> lora_flop(1, 4096, 4096, 8) / (2 * 4096 * 4096)  # against the matrix itself
    0.00390625
    """
    return 2.0 * tokens * rank * (inputs + outputs)


def dequantise_bytes(parameters: Value, stored_bytes: Value, element: Value = 2.0) -> Value:
    """Traffic of making a matrix whole before a product: read what is stored, write 16 bits.

    >>> dequantise_bytes(1e9, 0.5625) / 1e9  # NF4 with an fp32 scale for 64 weights
    2.5625
    """
    return parameters * (stored_bytes + element)


def adapter_file_bytes(parameters: Value, element: Value) -> Value:
    """Bytes of saved adapters: their parameters alone.

    >>> adapter_file_bytes(4194304, 4.0) / 1e6  # the size of a rank-8 Llama-2 7B adapter in fp32
    16.777216
    """
    return parameters * element
