"""A serving plan replayed by the simulator: step times from the closed form, the engine's limits, the cache it has.

Everything handed over is plain numbers, so that a plan can be replayed in another process.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from outlay.architecture import Architecture
from outlay.derive import value_of
from outlay.errors import Unsupported
from outlay.physics.queueing import accepted_tokens
from outlay.planner.serve.pool_times import load_of_pools
from outlay.resolve.serve.phase import ServePhase
from outlay.resolve.serve.speed import Speed
from outlay.simulate import Pool, Power, SimResult, Slo, StepTime, System, simulate
from outlay.simulate.core_come import UNDER_WAY
from outlay.simulate.run import Workload
from outlay.simulate.workload import Batch
from outlay.steps.serve.attention import decode_attention_s, joint_attention_s, prompt_attention_s
from outlay.steps.serve.inputs import ServeLayout
from outlay.steps.serve.pools import HANDOVER_S, Side, pools_time
from outlay.steps.serve.time import HOP_S, serve_time
from outlay.steps.serve.time_costs import decode_step_s, inside_s, joint_s, launched_s, passes_s
from outlay.steps.serve.time_inputs import EngineTime, Load, TimeDevice, held_steps
from outlay.steps.serve.time_parts import PROMPT_SHARE, Parts, time_parts
from outlay.steps.serve.time_waits import let_pass

BLOCK_TOKENS = 16.0  # where an engine names no block size: sizes are then rounded finely enough not to matter
KNOTS = 2.0**0.25  # ratio of the prompt sizes at which a step is timed; linear between
PLACES = 4096  # of an engine that are kept, or as many as there are requests
MOST_PLACES = 20_000_000  # over all engines; each is held in memory
Floats = NDArray[np.float64]
FAR = 2.0**30  # tokens: beyond every window


def step_time(
    arch: Architecture, device: TimeDevice, engine: EngineTime, layout: ServeLayout, context: float, most: int,
    budget: int, slower: float = 1.0, slower_first: float = 1.0,
) -> StepTime:
    """Steps of one engine of a replica as the closed form has them.

    context: mean tokens a running request has cached, where sliding windows are taken straight; most: running
    requests; budget: tokens of a step. Times are multiplied by `slower`, prompts by slower_first.
    """
    hops = (layout.pipeline - 1) * HOP_S
    drafting = (1.0 + engine.drafted * engine.draft_share) * slower
    counts = np.arange(1, most + 1, dtype=np.float64)
    parts = _parts(arch, device, engine, layout, counts, 1.0)
    kept, slope, floor = _reading(arch, device, engine, layout, context)
    read = engine.constants["reading"]
    bare = decode_step_s(replace(parts, reading=counts * kept, reading_floor=floor), engine.constants) + hops
    tokens = _knots(budget, KNOTS)
    running = _knots(max(most, 2), 2.0)
    sizes = np.maximum(np.array(tokens), 1.0)
    alone = _alone_s(arch, device, engine, layout, sizes, hops)
    takes, of_all = (np.vstack(rows) for rows in zip(alone, _chunks_s(
        arch, device, engine, layout, np.array(running[1:]), sizes, context), strict=True))
    routed = parts.decode.routed(engine.constants.__getitem__) * drafting
    pair, window_pair, window, chosen, after = _attention(arch, device, layout)
    attention = _parts(arch, device, engine, layout, 1.0, 1.0)
    prompt = slower_first * float(
        inside_s(replace(attention, prompt_attention=1.0), engine.constants) - inside_s(attention, engine.constants))
    return StepTime(
        (0.0, *(float(s) for s in bare * drafting)), float(slope * read * drafting), tokens, running,
        tuple(map(tuple, (takes * slower_first).tolist())),
        pair * prompt, window_pair * prompt, window, chosen * prompt, after,
        (0.0, *(float(s) for s in routed * np.ones(most))),
        tuple(map(tuple, (of_all * slower_first).tolist())))


def _knots(most: float, ratio: float) -> tuple[float, ...]:
    """0, 1, and on by a ratio to a little beyond what is needed."""
    found = [0.0, 1.0]
    while found[-1] < most:
        found.append(max(float(round(found[-1] * ratio)), found[-1] + 1.0))
    return tuple(found) if len(found) > 2 else (0.0, 1.0, 2.0)


def _parts(arch: Architecture, device: TimeDevice, engine: EngineTime, layout: ServeLayout, running: Any, tokens: Any
           ) -> Parts:
    """Seconds by part with so many running on one engine and a chunk of so many prompt tokens, attention left out."""
    whole = replace(engine, max_num_batched_tokens=FAR**2, prefix_hit=0.0)
    # Answers without end: one prompt comes in a step, to each rank.
    found = time_parts(arch, device, whole, layout, Load("queued", tokens, FAR), running * layout.pipeline)
    return replace(found, prompt_attention=0.0, joint=0.0)


def _alone_s(
    arch: Architecture, device: TimeDevice, engine: EngineTime, layout: ServeLayout, tokens: Floats, hops: float
) -> tuple[Floats, Floats]:
    """Chunks of so many tokens in steps of their own, and of those what goes with the tokens of all attention ranks."""
    parts = _parts(arch, device, engine, layout, np.ones_like(tokens), tokens)
    routed = parts.alone.routed(engine.constants.__getitem__)
    return passes_s(parts, engine.constants) + hops + 0.0 * tokens, routed + 0.0 * tokens


def _chunks_s(
    arch: Architecture, device: TimeDevice, engine: EngineTime, layout: ServeLayout, running: Floats, tokens: Floats,
    context: float,
) -> tuple[Floats, Floats]:
    """What chunks of so many tokens add to a step beside as many as run, a row for each number of those; and of it what
    goes with the tokens of all attention ranks."""
    shape, c = (len(running), len(tokens)), engine.constants.__getitem__
    beside, sizes = np.repeat(running, len(tokens)), np.tile(tokens, len(running))
    parts = _parts(arch, device, engine, layout, beside, sizes)
    takes = inside_s(parts, engine.constants) + 0.0 * sizes
    if engine.joint_rows:
        joint = joint_attention_s(arch, device, layout, engine.joint_rows, beside, context, PROMPT_SHARE)
        reading = decode_attention_s(
            arch, device, engine.cache_bytes, layout, beside, context, 1.0 + engine.drafted)[0]
        takes = takes + joint_s(joint, reading, engine.constants)
    answers = 0.0 if engine.own_steps else parts.decode.routed(c)
    routed = np.clip(parts.mixed.routed(c) - answers, 0.0, takes)
    return takes.reshape(shape), np.broadcast_to(routed, takes.shape).reshape(shape)


def _reading(
    arch: Architecture, device: TimeDevice, engine: EngineTime, layout: ServeLayout, context: float
) -> tuple[float, float, float]:
    """Seconds of reading the cache of one request: a constant and a slope by tokens, its tangent at a context; and what
    a step's calls take beyond."""
    one = np.array([1.0, 1.0, 1.0])
    at = max(context, 2.0) * np.array([0.99, 1.0, 1.01])
    read, floor = decode_attention_s(arch, device, engine.cache_bytes, layout, one, at, 1.0 + engine.drafted)
    below, here, above = read
    slope = float((above - below) / (at[2] - at[0]))
    return max(float(here) - slope * float(at[1]), 0.0), slope, float(floor[1])


def _attention(
    arch: Architecture, device: TimeDevice, layout: ServeLayout
) -> tuple[float, float, float, float, float]:
    """Seconds of a prompt token per token it looks back to, in layers without a window and with one, and the window;
    and what it takes more once keys are selected, and from where on they are."""
    def one(span: Any) -> Any:
        return prompt_attention_s(arch, device, layout, 1.0, 2.0 * span, PROMPT_SHARE)

    pair = max(float(one(2.0 * FAR) - one(FAR)) / FAR, 0.0)
    windows = float(one(FAR)) - pair * FAR
    near = float(one(1.0)) - pair
    after = 0.5 * max((float(kind.indexer_topk * max(kind.compress, 1)) for kind, _ in arch.groups), default=0.0)
    if after:  # of longer prompts only; until there all is attended to
        near = max(near, 0.0)
        return pair, near, after, windows - near * after, after
    if near <= 1e-6 * pair or windows <= 0.0 or near <= 0.0:
        return pair, 0.0, 0.0, 0.0, 0.0
    return pair, near, windows / near, 0.0, 0.0


def pool_of(arch: Architecture, layout: ServeLayout, engine: EngineTime, replicas: int, cache_tokens: float,
            block_tokens: float, longest: float) -> Pool:
    """Schedulers of equal replicas: one for each attention rank and share of a pipeline.

    Where experts are cut over the ranks of a replica, those step together: vLLM and SGLang let ranks without work
    pass through the step. Of a model without experts they have nothing in common.
    """
    ranks = int(layout.data) * layout.pipeline
    most = max(int(engine.max_num_seqs / layout.pipeline), 1)
    tokens = min(cache_tokens / ranks, most * max(longest, 1.0) * 2.0)
    drafted = round(float(engine.drafted))
    budget = max(int(engine.max_num_batched_tokens), 1)
    most = max(min(most, budget // (1 + drafted)), 1)
    block = max(int(block_tokens), 1)
    together = int(layout.data) if any(kind.mlp == "moe" for kind, _ in arch.groups) else 1
    return Pool(replicas * ranks, most, budget, max(int(tokens), block), block, float(layout.devices) / ranks, together)


def _placed(engine: EngineTime, layout: ServeLayout, workload: Workload, phase: ServePhase) -> EngineTime:
    """An engine with no more places than requests could fill: what is told of millions of places costs their memory."""
    asked = getattr(workload, "requests", None)
    count = len(asked.arrival_s) if isinstance(asked, Batch) else asked or phase.asked.requests or np.inf
    most = max(float(count), PLACES) * layout.pipeline
    return replace(engine, max_num_seqs=min(float(engine.max_num_seqs), most))


def _fitting(*pools: Pool) -> None:
    places = sum(pool.engines * pool.max_num_seqs for pool in pools)
    if places > MOST_PLACES:
        raise Unsupported(f"serve.workload: a replay on {sum(pool.engines for pool in pools):,} engines is not built; "
                          "give a rate or concurrency instead of a trace", "serve.workload.trace")


def replay(
    arch: Architecture, phase: ServePhase, layout: ServeLayout, replicas: int, cache_tokens: float, workload: Workload,
    seed: int = 0, *, context: float | None = None, slower: float = 1.0, slower_first: float = 1.0,
    slo: Slo | None = None, power: Power | None = None, keep: str = "tables", **system: Any,
) -> SimResult:
    """A plan's deployment under a workload: nominal times, percentiles over its requests.

    cache_tokens: of one replica. context: mean tokens cached of a running request, by default of the load planned.
    system: fields of `simulate.System` beyond what the plan says (router, autoscale, prefix_cache …).
    """
    speed: Speed = phase.speed
    engine = _placed(speed.engine, layout, workload, phase)
    length = phase.recipe.max_model_len
    pool = pool_of(arch, layout, engine, replicas, cache_tokens, _block(phase), length)
    _fitting(pool)
    mean = _context(phase) if context is None else context
    steps = step_time(arch, speed.device, engine, layout, mean, pool.max_num_seqs, pool.max_num_batched_tokens, slower,
                      slower_first)
    inside = _inside(arch, phase, engine, layout, replicas, cache_tokens)
    told = _fields(arch, phase, engine, layout, pool.ranks, inside, slower_first)
    whole = System(**(told | {"pool": pool} | system))
    return simulate(workload, whole, steps, seed, slo=slo, power=power, keep=keep)


def replay_pools(
    arch: Architecture, phase: ServePhase, first: Side, second: Side, moved_bytes: float, link_bytes_per_s: float,
    workload: Workload, seed: int = 0, *, slower: float = 1.0, slower_first: float = 1.0, slo: Slo | None = None,
    power: Power | None = None, keep: str = "tables", **system: Any,
) -> SimResult:
    """The same for a pool that computes prompts and one that answers. moved_bytes: cache of a mean prompt, over a link
    of an engine's own; `Side.cache_tokens` and the rest are of one replica."""
    context = _context(phase)
    pools, length = [], phase.recipe.max_model_len
    for side in (first, second):
        cache = float(value_of(side.cache_tokens))
        held = _placed(side.engine, side.layout, workload, phase)
        pools.append(pool_of(arch, side.layout, held, int(value_of(side.replicas)), cache, _block(phase), length))
    _fitting(*pools)
    most, budget = max(p.max_num_seqs for p in pools), max(p.max_num_batched_tokens for p in pools)
    steps = tuple(step_time(arch, phase.speed.device, side.engine, side.layout, context, most, budget, slower,
                            slower_first) for side in (first, second))
    moving = moved_bytes / phase.asked.input / link_bytes_per_s
    inside = _answered(arch, phase, first, second, moved_bytes, link_bytes_per_s)
    answering = replace(second.engine, gathers=0.0)  # prompts come to it computed
    told = _fields(arch, phase, answering, second.layout, pools[1].ranks, inside, slower_first)
    whole = System(**(told
                      | {"pool": pools[0], "decode": pools[1], "move_s": HANDOVER_S, "move_token_s": moving} | system))
    return simulate(workload, whole, (steps[0], steps[1]), seed, slo=slo, power=power, keep=keep)


def _held(engine: EngineTime, inside: float) -> dict[str, float]:
    """Decode steps that requests are kept waiting on purpose, with as many in a replica as there are; those of them
    that pass from one look for requests to the next, half of which is waited for on average."""
    held = float(let_pass(engine, inside))
    polled = max(round(float(held_steps(engine, inside))), 1)
    return {"held": max(held - 0.5 * (polled - 1), 0.0), "polled": polled}


def _inside(arch: Architecture, phase: ServePhase, engine: EngineTime, layout: ServeLayout, replicas: int,
            cache_tokens: float) -> float:
    """Requests in a replica, as the closed form has it under the load planned."""
    asked = phase.asked
    if asked.kind != "open":
        return asked.concurrency / replicas
    load = Load("open", asked.input, asked.output, rate=asked.rate / replicas, cache_tokens=cache_tokens,
                spread=asked.output_lengths.spread)
    return float(serve_time(arch, phase.speed.device, engine, layout, load)["running"])


def _answered(arch: Architecture, phase: ServePhase, first: Side, second: Side, moved_bytes: float,
              link_bytes_per_s: float) -> float:
    """Requests in a replica of the pool that answers, as the closed form has them: those whose prompt is still in the
    other pool are not."""
    found = pools_time(arch, phase.speed.device, first, second, load_of_pools(phase.asked), moved_bytes,
                       link_bytes_per_s)
    return float(found["running"] / second.replicas)


def _context(phase: ServePhase) -> float:
    """Mean tokens in the cache of a running request, of the load planned."""
    asked = phase.asked
    return float(Load("closed", asked.input, asked.output, spread=asked.output_lengths.spread).context)


def _block(phase: ServePhase) -> float:
    """Of the cache; finer ones than this would take memory by the token and change nothing that is seen."""
    return max(float(value_of(phase.recipe.constant("block_tokens", BLOCK_TOKENS))), BLOCK_TOKENS)


def _fields(
    arch: Architecture, phase: ServePhase, engine: EngineTime, layout: ServeLayout, ranks: int, inside: float,
    slower_first: float,
) -> dict[str, Any]:
    """What a plan says of a deployment, in the simulator's words."""
    before = before_engine(arch, phase.speed.device, engine, layout)
    return {
        "max_model_len": int(phase.recipe.max_model_len), "prefix_hit": float(engine.prefix_hit),
        "accepted": float(accepted_tokens(engine.acceptance, engine.drafted)),
        "drafted": round(float(engine.drafted)),
        "policy": "prefill_first" if engine.own_steps else "mixed", "reserve": engine.reserve,
    } | {name: value * slower_first if name.endswith("_s") else value for name, value in before.items()} | (
        _held(engine, inside) | {"gathers": round(float(engine.gathers)) if ranks > 1 else 0})


def before_engine(arch: Architecture, device: TimeDevice, engine: EngineTime, layout: ServeLayout) -> dict[str, float]:
    """What passes before an engine works on a request, as the closed form has it, in the simulator's words."""
    constants = engine.constants
    launches = launched_s(_parts(arch, device, engine, layout, 1.0, 1.0), constants)
    return {"first_s": float(constants["first_s"]), "token_s": float(constants["token_s"]), "pass_s": float(launches),
            "take_up": max(float(constants["wait"]) - UNDER_WAY, 0.0)}


def contract_values(found: SimResult, percentile: float | None = None) -> dict[str, float | None]:
    """Numbers as a result names them: means, ttft_p50_s … e2e_p99_s, goodput; null where there is nothing to say.

    percentile: one more than the contract's, which a promise is held against.
    """
    values = found.summary()
    if percentile is not None:
        values |= {f"{name.removesuffix('_s')}_p{percentile:g}_s": measure.percentile(percentile)
                   for name, measure in found.measures.items()}
    return {name: (value if value == value else None) for name, value in values.items()}
