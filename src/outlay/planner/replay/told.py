"""What a serving plan says of its replay: what was replayed, who got the next request, what could not matter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from outlay.resolve.hourly import START
from outlay.resolve.notes import Notes
from outlay.resolve.record import Resolved
from outlay.resolve.serve.phase import ServePhase
from outlay.resolve.serve.replay import FIELD, LEAST_LOADED, ROUTER
from outlay.resolve.serve.scale import SCALE
from outlay.resolve.workload import Asked

if TYPE_CHECKING:
    from outlay.planner.replay.scaling import Scaling

PREFIX = "prefix"  # the router that looks for what a replica has cached


def unfit(phase: ServePhase, notes: Notes) -> ServePhase:
    """The phase without times of a replay of its own: what does not fit answers no request."""
    replay = phase.asked.replay
    if not replay.own and not replay.scales:
        return phase
    notes.warn(f"{SCALE if replay.scales else FIELD}: what does not fit answers no request, so none is replayed")
    return replace(phase, asked=replace(phase.asked, replay=replace(replay, own=False, scales=())))


def tell_replay(
    resolved: Resolved, phase: ServePhase, values: Mapping[str, Any], engines: int, replicas: int
) -> None:
    """Assumptions and warnings of the replay in `values`; engines: schedulers that a request can go to; replicas: of
    the whole deployment."""
    asked, notes, found = phase.asked, resolved.notes, values.get("replay")
    if asked.replay.router is not None and (engines < 2 or found is None):
        why = "there is one replica to send requests to" if engines < 2 else "nothing is replayed"
        notes.warn(f"{ROUTER}: {why}; it changes nothing here")
    elif asked.replay.router == PREFIX and not asked.prefixes:
        notes.warn(f"{ROUTER}: no request's prefix is known, so prefix does as {LEAST_LOADED}; give a trace with "
                   "prefix_ids or hash_ids")
    if found is None:
        return
    if asked.replay.router is None and engines > 1:
        notes.assume(ROUTER, LEAST_LOADED, "replayed requests go to the replica with the fewest inside")
    if asked.trace is None and asked.own_times:
        notes.assume(FIELD, f"{found['requests']:,} requests, seed {found['seed']}",
                     "times are those of these requests, replayed one by one" + _part(found, asked, replicas))
    if asked.kind == "closed" and asked.own_times and asked.input_lengths.constant and asked.output_lengths.constant:
        notes.warn(f"{FIELD}: requests of one length in a loop end together, so their prompts come in groups: a later "
                   "first token and quicker further ones than where lengths differ; give workload.output as {mean, cv}")
    if asked.trace is None and asked.own_times and values.get("e2e_s") is None:
        notes.warn(f"{FIELD}: the queue grows as long as requests come, so times of the first {found['requests']:,} "
                   "say nothing of the next; a table holds them, the plan gives none")


def tell_scaling(resolved: Resolved, found: Mapping[str, Any], scaling: Scaling) -> None:
    """What the autoscaler of a replay aims at, and whether the replay was long enough to show it."""
    from outlay.planner.replay.scaling import STARTS

    notes, start = resolved.notes, scaling.start
    if not scaling.target_given:
        share = 100.0 * scaling.share
        notes.assume(f"{scaling.path}.target_requests", round(scaling.auto.target, 1),
                     f"inside a replica that is asked {share:.0f} % of what it takes within its promises")
    if scaling.auto.standing > scaling.auto.low:
        notes.assume(f"{scaling.path} at the first request", scaling.auto.standing, "replicas that the mean load keeps")
    if not scaling.start_given:
        of = f", of the {scaling.pool} pool" if scaling.pool else ""
        notes.assume(START, round(start.value), f"seconds: start of the engine, and its weights from storage{of}")
    if found["seconds"] < STARTS * start.value:
        notes.warn(f"{scaling.path}: the replay lasts {found['seconds']:,.0f} s, few times the {start.value:,.0f} s "
                   "that a start takes, so how replicas follow is hardly seen; give more requests")


def _part(found: Mapping[str, Any], asked: Asked, replicas: int) -> str:
    """What of the load and of the deployment is replayed, where that is not all."""
    if found["replicas"] < replicas:
        return f", on {found['replicas']} of {replicas:,} replicas with their part of the load"
    fewer = asked.requests is not None and found["requests"] < asked.requests
    return f", the first of {asked.requests:,.0f}" if fewer else ""
