"""What a power model is given of a device."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

Num = Any


class PowerFacts(Struct, frozen=True, eq=False):
    """Rated power and cap in watts; the rest are the constants of `physics.power`, as floats or draws.

    busy_plain and busy_narrow are the activity that experts of 16 bits and of narrower weights add; it falls
    with the tensor degree to the power of split_exponent, since ranks then wait for one another.
    measured_w replaces the model where the scenario gives it.
    """

    rated_w: Num
    cap_w: Num
    idle_share: Num
    ceiling_share: Num
    compute_weight: Num
    compute_exponent: Num
    memory_weight: Num
    memory_exponent: Num
    busy_plain: Num
    busy_narrow: Num
    split_exponent: Num
    residual: Num = 1.0
    measured_w: Num | None = None
