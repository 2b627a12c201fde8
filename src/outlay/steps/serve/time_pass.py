"""What one step of a serving engine takes by part, and what an engine's constants make of it."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from outlay.physics import num

Num = Any


class Pass(Struct, frozen=True, eq=False):
    """Seconds of one step by part, before what the engine makes of them: reading weights and arithmetic apart."""

    flow: Num  # matrix products at the rate weights are read
    least: Num  # the same at the most that the memory gives
    work: Num  # at the rate of arithmetic
    floor: Num  # what small kernels take beyond the slower of both
    experts: Num
    expert_work: Num
    copies: Num  # what experts are handed and give back, through memory
    exchange: Num
    away: Num = 0.0  # share of the weights of layers that stays on the host; else an array
    link: Num = 0.0  # reading those over its link; those of experts apart
    expert_link: Num = 0.0

    def total(self, constant: Any) -> Num:
        """The parts by the engine's constants."""
        return self.own(constant) + self.routed(constant)

    def own(self, constant: Any) -> Num:
        """What goes with the tokens of one attention rank."""
        read = num.maximum(constant("flow") * self.flow, self.least)
        work = constant("work") * self.work
        return self._with_host(num.maximum(read, work), work, self.link) + constant("floor") * self.floor

    def routed(self, constant: Any) -> Num:
        """What goes with the tokens of all ranks together."""
        work = constant("expert_work") * self.expert_work
        experts = self._with_host(num.maximum(constant("experts") * self.experts, work), work, self.expert_link)
        return experts + constant("copies") * self.copies + constant("exchange") * self.exchange

    def _with_host(self, here: Num, work: Num, link: Num) -> Num:
        """Kernels whose weights lie on the host compute while they read these: the longer of both is waited for."""
        if type(self.away) is float:  # nothing is there
            return here
        return (1.0 - self.away) * here + num.maximum(link, self.away * work)
