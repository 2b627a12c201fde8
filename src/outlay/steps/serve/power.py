"""Power and energy of serving: what the arithmetic units and the memory do in each phase, and what they draw.

A replica's time goes to prompts, to answers, and to waiting for requests. In each the share of the dense peak
and of the memory's bandwidth in use follows from the work that must be done and the time it takes, so waiting on
collectives or on the host lowers both. Power follows from them (`physics.power`); energy is power times time
over the tokens that were answered. Everything is a float, an array of one shape, or a Quantity's draws.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from outlay.architecture import Architecture, LayerKind
from outlay.physics import num
from outlay.physics import power as pw
from outlay.physics.flops import attention_flop
from outlay.physics.queueing import accepted_tokens, experts_touched
from outlay.physics.sparse import attended_span
from outlay.steps.layers import Shape, Split, mixer_shapes, mlp_shapes, weights_of
from outlay.steps.power_inputs import PowerFacts
from outlay.steps.serve.attention import STATE_BYTES, attended_by, cache_read, index_work
from outlay.steps.serve.inputs import ServeLayout, part_names
from outlay.steps.serve.time_costs import prompt_s
from outlay.steps.serve.time_inputs import EngineTime, Load, TimeDevice
from outlay.steps.serve.time_parts import ROUTING_SPREAD, time_parts
from outlay.steps.serve.time_products import arithmetic

Num = Any
NARROW_BYTES = 1.5  # of a weight: below, 8 bits or fewer
NARROW = 0.5  # energy of 8-bit arithmetic over 16-bit


class Work(Struct, frozen=True, eq=False):
    """What one pass asks of one device of a replica: seconds of arithmetic at the dense peak, bytes moved."""

    peak_s: Num
    moved_bytes: Num

    def __add__(self, other: Work) -> Work:
        return Work(self.peak_s + other.peak_s, self.moved_bytes + other.moved_bytes)

    def times(self, count: Num) -> Work:
        return Work(self.peak_s * count, self.moved_bytes * count)


NOTHING = Work(0.0, 0.0)


def pass_work(
    arch: Architecture, device: TimeDevice, part_bytes: Mapping[str, Num], layout: ServeLayout, rows: Num, sampled: Num
) -> Work:
    """Matrix products of one pass of `rows` tokens a rank through all layers, on one device of each stage."""
    split = Split(rows, layout.tensor, 1.0, 1.0, 1.0, False)
    total = NOTHING
    for kind, count in arch.groups:
        mixer, dense = part_names(kind)
        one = _products(mixer_shapes(kind, arch.hidden, split), part_bytes[mixer], device)
        one += _products(mlp_shapes(kind, arch.hidden, split), part_bytes[dense], device)
        if kind.mlp == "moe":
            one += _experts(kind, arch.hidden, device, part_bytes["experts"], layout, rows)
        total += one.times(count)
    head: tuple[Shape, ...] = ((sampled, arch.vocab / layout.tensor, arch.hidden, 1.0, 2.0),)
    return total + _products(head, part_bytes["head"], device)


def _products(shapes: tuple[Shape, ...], element_bytes: Num, device: TimeDevice) -> Work:
    if not shapes:
        return NOTHING
    peak, _ = arithmetic(element_bytes, device)
    flop: Num = 0.0
    moved: Num = 0.0
    for m, n, k, count, result in shapes:
        flop = flop + 2.0 * m * n * k * count
        moved = moved + count * m * (k * 2.0 + n * result)
    return Work(flop / peak, moved + weights_of(shapes) * element_bytes)


def _experts(
    kind: LayerKind, hidden: int, device: TimeDevice, element_bytes: Num, layout: ServeLayout, rows: Num
) -> Work:
    """Routed experts of one layer on one device: the weights of those touched, the arithmetic of their tokens."""
    tokens = rows * layout.data
    touched = experts_touched(kind.experts, kind.experts_per_token, tokens, ROUTING_SPREAD)
    held = num.maximum(touched / layout.expert, 1.0)
    cut = layout.tensor * layout.data / layout.expert
    inner, wide = kind.expert_hidden or hidden, (3.0 if kind.gated else 2.0) * kind.expert_ffn / cut
    peak, _ = arithmetic(element_bytes, device)
    copies = tokens * kind.experts_per_token / layout.expert
    return Work(2.0 * copies * inner * wide / peak, inner * wide * held * element_bytes + 4.0 * copies * inner)


def cache_work(
    arch: Architecture, device: TimeDevice, cache_bytes: Num, layout: ServeLayout, sequences: Num, context: Num,
    queries: Num = 1.0,
) -> Work:
    """Attention of a decode step over what is cached for `sequences` of one rank, and states read and written.

    queries: tokens of a sequence that attend at once, drafted ones with it.
    """
    total = NOTHING
    for kind, count in arch.groups:
        if kind.mixer == "none":
            continue
        if kind.mixer in ("attention", "mla"):
            size, flop = cache_read(kind, layout, sequences * attended_by(kind, context), cache_bytes)
            read, scored = index_work(kind, sequences, queries, context)
            one = Work((queries * flop + NARROW * scored) / device.peaks["bf16"], size + read)
        else:
            state = kind.heads * kind.head_dim * max(kind.state, 1) / layout.tensor
            one = Work(0.0, 2.0 * STATE_BYTES * sequences * state)
        total += one.times(count)
    return total


def prompt_work(
    arch: Architecture, device: TimeDevice, part_bytes: Mapping[str, Num], layout: ServeLayout, rows: Num, length: Num,
    passes: Num
) -> Work:
    """`rows` prompt tokens of prompts `length` long, in so many passes that read the weights anew."""
    linear = pass_work(arch, device, part_bytes, layout, rows / passes, 1.0).times(passes)
    flop: Num = 0.0
    for kind, count in arch.groups:
        if kind.mixer in ("attention", "mla"):
            value = kind.v_head_dim or kind.head_dim
            span = attended_span(length, float(kind.window), float(kind.compress), float(kind.indexer_topk))
            _, scored = index_work(kind, rows, 1.0, 0.5 * length)
            own = attention_flop(rows, kind.heads / layout.tensor, kind.head_dim, value, span)
            flop = flop + count * (own + NARROW * scored)
    return linear + Work(flop / device.peaks["bf16"], 0.0)


def serve_power(
    arch: Architecture,
    device: TimeDevice,
    engine: EngineTime,
    layout: ServeLayout,
    load: Load,
    result: Mapping[str, Num],
    facts: PowerFacts,
) -> dict[str, Num]:
    """Mean power of a device of one replica and joules an output token, of all the replica's devices.

    result: of one replica, as `serve_time` gives it for the same arguments; read are `output_tokens_per_s` and
    `running` (give measured ones to know the energy of a measured run). Of a pool that only prefills or only
    decodes (`load.pool`), the replica's own share of both, tokens counted as those the deployment answers.
    facts: `resolve.power.serve_power_facts`.

    power_w_per_device is the mean over all time, waiting included; prefill_w, decode_w and idle_w the power
    within each phase; the shares of time stand beside. Energies add up to energy_per_output_token_j. Accelerators
    alone: host, network and cooling are the account's. Saturated loads are those of full work.
    """
    rate, running = num.maximum(result["output_tokens_per_s"], 1e-12), num.maximum(result["running"], 1e-12)
    spent, idle = phases(arch, device, engine, layout, load, rate, running)
    watts = {name: _power_w(facts, arch, engine, layout, one) for name, one in spent.items()}
    watts["idle"] = _within(facts, facts.idle_share * facts.rated_w)
    share = {name: one.share for name, one in spent.items()} | {"idle": idle}
    if facts.measured_w is not None:
        watts = dict.fromkeys(watts, facts.measured_w)
    each = {name: watts[name] * share[name] * layout.devices / rate for name in watts}
    total = sum(each.values())
    return {
        "power_w_per_device": total * rate / layout.devices,
        **{f"{name}_w": watts[name] for name in watts},
        **{f"{name}_share": share[name] for name in share},
        "energy_per_output_token_j": total,
        **{f"energy_{name}_per_output_token_j": each[name] for name in each},
    }


class Phase(Struct, frozen=True, eq=False):
    """Share of all time that a device spends in a phase, and its activities within it."""

    share: Num
    compute: Num
    memory: Num


def phases(
    arch: Architecture, device: TimeDevice, engine: EngineTime, layout: ServeLayout, load: Load, rate: Num, running: Num
) -> tuple[dict[str, Phase], Num]:
    """Prompts and answers of one device, and the share of time in which nothing is asked of it.

    Requests that come by themselves find the replica empty as often as a Poisson number of mean `running` is 0.
    """
    alone = load.kind == "open" or load.pool == "decode"
    idle = num.exp(-running) if alone else 0.0 * running
    inside = running / num.maximum(1.0 - idle, 1e-9)  # of those times when there is any
    rank = inside / layout.data
    requests = rate / load.output / layout.data / layout.pipeline  # of one rank and stage, a second
    parts = time_parts(arch, device, engine, layout, load, rank)
    together = num.maximum(rank / layout.pipeline, 1.0) if load.kind == "batch" else 1.0
    own = num.maximum(load.input * (1.0 - engine.prefix_hit), 1.0)
    each_s = prompt_s(parts, engine.constants, load.kind == "batch" or load.pool == "prefill") / together
    prefill = num.minimum(requests * each_s, 1.0) if load.pool != "decode" else 0.0 * requests
    if load.pool == "prefill":
        idle, decode = 1.0 - prefill, 0.0 * prefill
    else:
        idle = num.minimum(idle, 1.0 - prefill)
        decode = 1.0 - prefill - idle
    asked = prompt_work(arch, device, engine.part_bytes, layout, own * together, load.input, parts.chunks)
    spent = {"prefill": _activity(prefill, requests / together, asked, device)}
    busy = num.maximum(rank / layout.pipeline, 1.0)
    rows = busy * (1.0 + engine.drafted)
    step = pass_work(arch, device, engine.part_bytes, layout, rows, rows)
    context = load.context
    step += cache_work(arch, device, engine.cache_bytes, layout, busy, context, 1.0 + engine.drafted)
    made = accepted_tokens(engine.acceptance, engine.drafted) * busy * layout.data * layout.pipeline
    spent["decode"] = _activity(decode, rate / made, step, device)
    return spent, idle


def _activity(share: Num, passes_per_s: Num, work: Work, device: TimeDevice) -> Phase:
    """Activities while a device is in a phase; none where it never is."""
    per_s = num.where(share > 0.0, passes_per_s / num.maximum(share, 1e-12), 0.0)
    return Phase(
        share,
        num.minimum(per_s * work.peak_s, 1.0),
        num.minimum(per_s * work.moved_bytes / device.memory_bytes_per_s, 1.0),
    )


def _power_w(facts: PowerFacts, arch: Architecture, engine: EngineTime, layout: ServeLayout, phase: Phase) -> Num:
    """Power of a device in a phase."""
    busy: Num = 0.0
    if any(kind.mlp == "moe" for kind, _ in arch.groups):
        narrow = num.mean(engine.part_bytes["experts"]) < NARROW_BYTES
        busy = (facts.busy_narrow if narrow else facts.busy_plain) / num.power(
            1.0 * layout.tensor, facts.split_exponent
        )
    level = pw.activity_level(
        phase.compute, phase.memory, facts.compute_weight, facts.memory_weight, facts.memory_exponent,
        facts.compute_exponent, busy,
    )
    return _within(
        facts, pw.device_power_w(facts.rated_w, level, facts.idle_share, facts.ceiling_share, facts.cap_w)
    )


def _within(facts: PowerFacts, power_w: Num) -> Num:
    """Modelled power times what measured devices drew beyond it, never above the cap."""
    return num.minimum(power_w * facts.residual, facts.cap_w)
