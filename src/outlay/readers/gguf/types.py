"""Tensor types of GGUF files: how many elements a block holds and how many bytes it takes.

Numbers are facts of the format (ggml project, MIT; its `GGML_QUANT_SIZES` table as of 2026-11). Types 4, 5,
31 to 33 and 36 to 38 were withdrawn and are not in files that llama.cpp still loads.
"""

from __future__ import annotations

from typing import NamedTuple


class GgmlType(NamedTuple):
    name: str  # as llama.cpp prints it
    block_elements: int
    block_bytes: int

    @property
    def bits_per_weight(self) -> float:
        """Scales and offsets of the block included.

        >>> GGML_TYPES[12].bits_per_weight
        4.5
        """
        return 8 * self.block_bytes / self.block_elements


GGML_TYPES: dict[int, GgmlType] = {
    0: GgmlType("f32", 1, 4),
    1: GgmlType("f16", 1, 2),
    2: GgmlType("q4_0", 32, 18),
    3: GgmlType("q4_1", 32, 20),
    6: GgmlType("q5_0", 32, 22),
    7: GgmlType("q5_1", 32, 24),
    8: GgmlType("q8_0", 32, 34),
    9: GgmlType("q8_1", 32, 40),
    10: GgmlType("q2_k", 256, 84),
    11: GgmlType("q3_k", 256, 110),
    12: GgmlType("q4_k", 256, 144),
    13: GgmlType("q5_k", 256, 176),
    14: GgmlType("q6_k", 256, 210),
    15: GgmlType("q8_k", 256, 292),
    16: GgmlType("iq2_xxs", 256, 66),
    17: GgmlType("iq2_xs", 256, 74),
    18: GgmlType("iq3_xxs", 256, 98),
    19: GgmlType("iq1_s", 256, 50),
    20: GgmlType("iq4_nl", 32, 18),
    21: GgmlType("iq3_s", 256, 110),
    22: GgmlType("iq2_s", 256, 82),
    23: GgmlType("iq4_xs", 256, 136),
    24: GgmlType("i8", 1, 1),
    25: GgmlType("i16", 1, 2),
    26: GgmlType("i32", 1, 4),
    27: GgmlType("i64", 1, 8),
    28: GgmlType("f64", 1, 8),
    29: GgmlType("iq1_m", 256, 56),
    30: GgmlType("bf16", 1, 2),
    34: GgmlType("tq1_0", 256, 54),
    35: GgmlType("tq2_0", 256, 66),
    39: GgmlType("mxfp4", 32, 17),
    40: GgmlType("nvfp4", 64, 36),
    41: GgmlType("q1_0", 128, 18),
    42: GgmlType("q2_0", 64, 18),
}

BY_NAME: dict[str, GgmlType] = {kind.name: kind for kind in GGML_TYPES.values()}


def tensor_bytes(kind: GgmlType, elements: int) -> int:
    """Bytes of a tensor whose first dimension is a whole number of blocks.

    >>> tensor_bytes(BY_NAME["q4_k"], 4096 * 4096)
    9437184
    """
    return elements // kind.block_elements * kind.block_bytes
