"""What the serving time model is given: a device as an engine's step sees it, an engine running a model, a load."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from msgspec import Struct

from outlay.physics import num
from outlay.physics.queueing import accepted_tokens, gathered, left_over, none_empty
from outlay.physics.roofline import Grid

Num = Any
HALVINGS = 6  # of the load at which steps between two looks are sought
# Seconds of launching a layer kernel by kernel, a layer's experts beyond it, and a mixer that is not plain attention:
# among an engine's constants where its decode steps are not captured in graphs.
LAUNCHES = ("launch_layer_s", "launch_expert_layer_s", "launch_mixer_layer_s")


class Links(Struct, frozen=True, eq=False):
    """A collective by the number of devices: latency and bus rate measured for each of `devices`."""

    devices: tuple[float, ...]
    latency_s: tuple[float, ...]
    bytes_per_s: tuple[float, ...]


class TimeDevice(Struct, frozen=True, eq=False):
    """A device as an engine's step sees it. grids and peaks go by bf16, fp8 and nvfp4, as far as it has them.

    attention_share and attention_floor_s are of decode attention: share of bandwidth at large reads and the
    time beyond it that a call takes. Links between scale-up domains are slow_bytes_per_s.
    """

    generation: str
    peaks: Mapping[str, Num]
    grids: Mapping[str, Grid]
    memory_bytes_per_s: Num
    attention_share: Num
    attention_floor_s: Num
    reduce: Links
    exchange: Links
    scale_up_devices: int
    slow_bytes_per_s: Num
    slow_latency_s: Num = 20e-6
    copied_bytes_per_s: Num = 1.8e12  # of tokens' copies between the kernels of a grouped product of experts
    host_bytes_per_s: Num = np.inf  # from the host's memory


class EngineTime(Struct, frozen=True, eq=False):
    """An engine running a model: bytes of weights by part and of a cached element, limits, constants."""

    part_bytes: Mapping[str, Num]
    cache_bytes: Num
    constants: Mapping[str, Num]
    max_num_batched_tokens: Num = 8192.0
    max_num_seqs: Num = 1024.0  # of one attention rank
    drafted: Num = 0.0
    acceptance: Num = 0.0
    prefix_hit: Num = 0.0
    draft_share: Num = 0.0  # a drafted token's time over that of a decode step
    joint_rows: float = 0.0  # a running request's token is padded to where one kernel attends for prompts and answers
    widened: float = 1.0  # time of a row through experts whose 4-bit weights are widened to 16 bits, over plain ones'
    reserve: Num = 0.0  # of an answer's tokens still to come, share set aside in the cache when it starts
    host_bytes: Num = 0.0  # of a device's weights that stay on the host and are read over its link
    own_steps: bool = False  # prompts run in steps of their own, between decode steps, not inside them
    holds: tuple[tuple[float, float], ...] = ()  # requests from which on the server lets so many decode steps pass
    gathers: Num = 0.0  # decode steps that prompts are held back at most, until every attention rank has one

    def held(self, prompt: Num, answer: Num, spread: Num = 0.0) -> Num:
        """Tokens in the cache of a running request, half answered on average, with what is set aside for the rest.

        spread: of answers' lengths, deviation over mean. Longer ones run longer: of those that run the mean is
        E[L²]/E[L].
        """
        return prompt + 0.5 * (1.0 + self.reserve) * answer * (1.0 + spread**2)

    def constant(self, name: str) -> Num:
        return self.constants[name]


class Load(Struct, frozen=True, eq=False):
    """What is asked of one replica. kind: closed (concurrency), open (requests/s), batch (together), queued (all).

    cache_tokens bounds how many sequences run at once; infinite where it is not known.
    """

    kind: str
    input: Num
    output: Num
    concurrency: Num = 1.0
    rate: Num = 0.0
    cache_tokens: Num = np.inf
    pool: str = "both"  # both | prefill | decode: what this replica does of a request
    requests: Num = np.inf  # of a replica, where everything is queued at once
    arrival_cv: Num = 1.0  # deviation of the gaps between arrivals over their mean; 1 is Poisson
    varied: bool = False  # requests differ in length; those of one length fill and empty all attention ranks in step
    spread: Num = 0.0  # of answers' lengths, deviation over mean

    @property
    def context(self) -> Num:
        """Tokens that a running request has in the cache on average: longer answers run longer."""
        return self.input + 0.5 * self.output * (1.0 + self.spread**2)


def gathered_steps(
    engine: EngineTime, ranks: Num, running: Num, output: Num, passing: tuple[Num, Num], by_chance: bool
) -> tuple[Num, Num]:
    """Decode steps from one look for prompts to the next where ranks that step together wait until each has one, and
    those that a prompt waits: half of that, and whole ones where more came than are taken.

    running: on each, as many of which ask anew in an answer's steps. A rank that has prompts left over needs no new
    one. passing: prompts that a pass takes, and passes of one; where these are two, and all ranks have one under way,
    each begins another. by_chance: requests come as they like and are dealt to the emptiest rank; else each comes to
    the rank of the one before. Where a rank has nobody to answer nobody waits.
    """
    if not num.any(engine.gathers):
        return 0.0, 0.0
    steps = 1.0 + output / accepted_tokens(engine.acceptance, engine.drafted)
    limit, met = engine.gathers, num.maximum(running - 1.0, 1e-3) / num.maximum(running, 1e-3)  # who comes meets others
    none_new, whole = num.exp(-running * limit / (steps + 0.5 * limit)), num.ceil(passing[0])
    low, high, above, below = 0.0, 1.0, gathered(running / steps, ranks, limit), 0.0
    for turn in range(HALVINGS + 1):  # of the load: the higher, the more are left over, and the sooner all have one
        load = 0.5 * (low + high) if turn < HALVINGS else low + (high - low) * above / num.maximum(above - below, 1e-9)
        all_have = (1.0 - none_new / (1.0 + left_over(load * met, whole, running))) ** ranks
        places = whole + num.where(passing[1] > 1.0, all_have, 0.0)
        left = left_over(load * met, places, running) / met
        asking = num.maximum(running - left - 0.5 * load * places, 1e-3)
        every, rate = load * places * steps / asking, asking / steps
        more = gathered(rate, ranks, limit, 1.0 / (1.0 + left)) - every
        low, above = num.where(more > 0.0, load, low), num.where(more > 0.0, more, above)
        high, below = num.where(more > 0.0, high, load), num.where(more > 0.0, below, more)
    answering = none_empty(running, ranks) if by_chance else num.clip(running - 1.0, 0.0, 1.0)
    every = num.where(ranks > 1.0, every * answering, 0.0)
    return every, every * (0.5 + left / num.maximum(load * places, 1e-9))


def held_steps(engine: EngineTime, inside: Num) -> Num:
    """Decode steps that a server is set to let pass before it takes up what has come, with `inside` requests in it."""
    held: Num = 0.0
    for start, steps in engine.holds:
        held = num.where(inside >= start, steps, held)
    return held
