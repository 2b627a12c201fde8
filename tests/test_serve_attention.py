"""Attention of answers: what drafted tokens share of it, and what an 8-bit cache is multiplied in."""

from __future__ import annotations

import pytest

from outlay.catalog import load
from outlay.resolve.serve.time import time_device
from outlay.scenario_io import scenario_from
from outlay.steps.serve.attention import attention_peak, decode_attention_s
from outlay.steps.serve.inputs import ServeLayout


@pytest.mark.parametrize("tensor, times", [(1, 4.0), (8, 1.0)])
def test_drafted_tokens_share_the_reading_of_a_cache_and_not_its_arithmetic(tensor: int, times: float) -> None:
    """Latent attention of 128 heads on one device is bound by arithmetic; of 16, by reading."""
    from outlay.resolve import resolve

    arch = resolve(scenario_from({"model": "deepseek-r1"}), load()).architecture
    hopper = time_device(load().find("device", "h200-sxm-141gb"))
    assert arch is not None
    one, four = (float(decode_attention_s(arch, hopper, 2.0, ServeLayout(tensor), 64.0, 4096.0, queries)[0])
                 for queries in (1.0, 4.0))
    assert four / one == pytest.approx(times, rel=0.1)


def test_blackwell_attends_to_an_8_bit_cache_in_8_bits() -> None:
    b200, h200 = (time_device(load().find("device", name)) for name in ("b200-sxm", "h200-sxm-141gb"))
    assert attention_peak(1.0, b200) == b200.peaks["fp8"] > attention_peak(2.0, b200)
    assert attention_peak(1.0, h200) == attention_peak(2.0, h200) == h200.peaks["bf16"]
