"""Prefill and decode on devices of their own: each pool's memory, and both together."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from outlay.planner.serve import memory_values, shown_layout, speed, verdict
from outlay.resolve.record import Resolved
from outlay.steps.serve_memory import serve_memory


def plan_pools(resolved: Resolved) -> dict[str, Any]:
    """The decode pool's numbers with those of both pools beside; fits where both do."""
    phase, arch, hw = resolved.serve, resolved.architecture, resolved.hardware
    assert phase is not None and arch is not None and hw is not None
    pools: dict[str, Any] = {}
    for pool in phase.pools:
        recipe = phase.recipe
        if pool.sequences is not None:
            recipe = replace(recipe, max_num_seqs=float(pool.sequences))
        own = replace(phase, recipe=recipe, shown=phase.shown | {"max_num_seqs": int(recipe.max_num_seqs)})
        memory = serve_memory(arch, phase.usable_bytes, recipe, pool.layout)
        pools[pool.name] = {
            "layout": shown_layout(pool.layout),
            "replicas": pool.replicas,
            "devices": pool.devices,
            **memory_values(arch, own, memory),
            **verdict(own, memory),
            **speed(arch, own, pool.layout),
        }
    used = sum(pool.devices for pool in phase.pools)
    tight = min(pools.values(), key=lambda values: float(values["fits_probability"]))
    given = resolved.notes
    if hw.devices > used:
        given.warn(
            f"serve: {hw.devices - used} of {hw.devices} devices are left over; they idle and are billed"
        )
    given.assume(
        "serve.disaggregated",
        phase.shown["disaggregated"],
        "the cache's way between the pools takes time, which is not planned yet",
    )
    verdict_keys = ("fits", "fits_probability", "headroom_bytes", "verdict", "binding", "device_memory_bytes")
    return {
        **pools["decode"],
        **{key: tight[key] for key in verdict_keys if key in tight},
        "pools": pools,
        "devices_used": used,
        "devices_idle": hw.devices - used,
        "engine": f"{phase.engine.name} {phase.engine.version}",
        "nearest": [],
    }
