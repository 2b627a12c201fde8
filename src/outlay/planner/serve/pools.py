"""Prefill and decode on devices of their own: each pool's memory, and both together."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from outlay.architecture import Architecture
from outlay.derive import value_of
from outlay.planner.capacity.rate import within_promises
from outlay.planner.replay.spread import of_trace, spread_pools
from outlay.planner.replay.told import tell_replay, unfit
from outlay.planner.replay.use import own_load_of_pools
from outlay.planner.serve.day import plan_day
from outlay.planner.serve.extras import with_extras
from outlay.planner.serve.launch import launch_pools
from outlay.planner.serve.launch_more import as_started
from outlay.planner.serve.memory import memory_values, replica_weights, shown_layout, verdict
from outlay.planner.serve.pool_hours import most_within, standing_of_pools
from outlay.planner.serve.pool_times import Pools, load_of_pools, pooled_power, pooled_times
from outlay.planner.serve.replicas import Replicas
from outlay.planner.serve.speed import alone, finish, held_to_one_stream, held_tokens
from outlay.resolve.power import serve_power_facts
from outlay.resolve.record import Resolved
from outlay.resolve.serve.layout import PoolLayout
from outlay.resolve.serve.phase import ServePhase
from outlay.steps.serve.memory import ServeMemory, serve_memory
from outlay.steps.serve.pools import Side
from outlay.usage import Line

VERDICT = ("fits", "fits_probability", "headroom_bytes", "verdict", "binding", "device_memory_bytes")


def plan_pools(resolved: Resolved) -> tuple[dict[str, Any], list[Line]]:
    """The decode pool's memory with that of both pools beside, and the times of a request through both."""
    phase, arch, hw = resolved.serve, resolved.architecture, resolved.hardware
    assert phase is not None and arch is not None and hw is not None
    if phase.asked.trace is not None:
        phase = replace(phase, asked=of_trace(phase.asked, resolved.notes))
    phase, pools, both = pools_of(phase, arch)
    used = sum(pool.devices for pool in phase.pools)
    tight = min(pools.values(), key=lambda values: float(values["fits_probability"]))
    if hw.devices > used and not phase.asked.replay.scales:
        resolved.notes.warn(
            f"serve: {hw.devices - used} of {hw.devices} devices are left over; they idle and are billed"
        )
    phase = phase if tight["fits"] else unfit(phase, resolved.notes)
    found, traffic = pooled_times(phase.asked, both)
    replay = None
    if phase.asked.own_times:
        replay = own_load_of_pools(resolved, phase, both, found, traffic, _weights(pools))
        found |= replay.values
        traffic, both = replay.traffic, replay.deployed
        phase = replace(phase, asked=replay.asked)
    elif phase.asked.replayed and found.get("e2e_s") is not None:
        found |= spread_pools(phase.asked, phase, both, found, resolved.seed)
    tell_replay(resolved, phase, found, max(pool.replicas * int(pool.layout.data) * pool.layout.pipeline
                                            for pool in phase.pools), sum(pool.replicas for pool in phase.pools))
    watts, held = pooled_power(resolved.power, both, phase.asked, traffic), used
    if replay is not None:
        traffic, watts = replay.watts(phase.asked, watts)
        held = replay.held
    idle, billed = 0 if phase.asked.replay.scales else hw.devices - used, None
    if phase.asked.hourly is not None and resolved.rates is not None:
        facts = None if resolved.power is None else serve_power_facts(resolved.power)
        standing = standing_of_pools(phase.asked, both, facts)
        weights = max(_weights(pools).values(), key=value_of)
        way, found["day"] = plan_day(resolved, phase, standing, found, traffic, watts, idle, weights)
        traffic, watts, billed = way.traffic, way.watts, way.lines
    found, lines = finish(resolved, phase, found, traffic, watts, held, idle, billed)
    found |= within_promises(phase.asked, both.at, load_of_pools(phase.asked), lambda at: most_within(at, both), 1,
                             found)
    return {
        **pools["decode"],
        **{key: tight[key] for key in VERDICT if key in tight},
        **found,
        "pools": pools,
        "devices_used": used,
        "devices_idle": hw.devices - used,
        "engine": f"{phase.engine.name} {phase.engine.version}",
        "nearest": [],
        "launch": launch_pools(phase.engine.id, phase.model_id, as_started(resolved, phase), {
            pool.name: shown_layout(pool.layout) | {"replicas": pool.replicas} |
            ({} if pool.sequences is None else {"max_num_seqs": pool.sequences}) for pool in phase.pools},
            phase.checkpoint),
    }, lines


def _weights(pools: dict[str, Any]) -> dict[str, Any]:
    """Bytes that a replica of each pool reads when it starts."""
    return {name: replica_weights(own, own["devices_per_replica"]) for name, own in pools.items()}


def pools_of(phase: ServePhase, arch: Architecture) -> tuple[ServePhase, dict[str, Any], Pools]:
    """The phase with what adapters and images add, memory and layout of each pool, both as the time model has them."""
    phase = with_extras(phase, arch, phase.pools[-1].layout)
    pools: dict[str, Any] = {}
    sides: dict[str, Side] = {}
    held: dict[str, Replicas] = {}
    for pool in phase.pools:
        own = _own(phase, pool)
        memory = serve_memory(arch, phase.usable_bytes, own.recipe, pool.layout)
        single = alone(arch, own, pool.layout)
        tokens = _tokens(arch, own, pool, memory)
        held[pool.name] = held_to_one_stream(Replicas(arch, own.speed, pool.layout, 1, tokens, single=single), own)
        sides[pool.name] = _side(own, pool, tokens, held[pool.name])
        pools[pool.name] = {
            "layout": shown_layout(pool.layout),
            "replicas": pool.replicas,
            "devices": pool.devices,
            "devices_per_replica": int(pool.layout.devices),
            **memory_values(arch, own, memory),
            **verdict(own, memory),
            "one_stream": single,
        }
    moved = value_of(pools["decode"]["kv_bytes_per_token"]) * phase.asked.input
    both = Pools(arch, phase.speed, sides["prefill"], sides["decode"], moved, value_of(phase.link_bytes_per_s),
                 phase.untold, held["decode"].slower, held["prefill"].slower_first)
    return phase, pools, both


def _own(phase: ServePhase, pool: PoolLayout) -> ServePhase:
    """The phase as one pool runs it."""
    if pool.sequences is None:
        return phase
    recipe = replace(phase.recipe, max_num_seqs=float(pool.sequences))
    return replace(phase, recipe=recipe, shown=phase.shown | {"max_num_seqs": pool.sequences})


def _tokens(arch: Architecture, phase: ServePhase, pool: PoolLayout, memory: ServeMemory) -> float:
    held = held_tokens(arch, phase, pool.layout, value_of(memory.kv_cache_tokens))
    return max(held, phase.asked.input + phase.asked.output)


def _side(phase: ServePhase, pool: PoolLayout, tokens: float, one: Replicas) -> Side:
    """one: a replica of it, held to its one stream."""
    engine = phase.speed.engine
    if pool.sequences is not None:
        engine = replace(engine, max_num_seqs=float(pool.sequences))
    slower = value_of(one.slower_first if pool.name == "prefill" else one.slower)
    return Side(pool.layout, float(pool.replicas), engine, tokens, slower)
