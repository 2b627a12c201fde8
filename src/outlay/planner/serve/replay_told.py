"""What a serving plan says of its replay: what was replayed, who got the next request, what could not matter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from outlay.resolve.record import Resolved
from outlay.resolve.serve.phase import ServePhase
from outlay.resolve.serve.replay import FIELD, LEAST_LOADED, ROUTER

PREFIX = "prefix"  # the router that looks for what a replica has cached


def kept_of(resolved: Resolved) -> dict[str, Any]:
    """What a replay is to keep beside its measures."""
    return {"keep": "tables"} if resolved.notes.tables else {}


def tell_replay(resolved: Resolved, phase: ServePhase, values: Mapping[str, Any], engines: int) -> None:
    """Assumptions and warnings of the replay in `values`; engines: schedulers that a request can go to."""
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
                     "times are those of these requests, replayed one by one" + _part(found, values))
    if asked.trace is None and asked.own_times and values.get("e2e_s") is None:
        notes.warn(f"{FIELD}: the queue grows as long as requests come, so times of the first {found['requests']:,} "
                   "say nothing of the next; a table holds them, the plan gives none")


def _part(found: Mapping[str, Any], values: Mapping[str, Any]) -> str:
    whole = values.get("replicas", found["replicas"])
    return "" if found["replicas"] >= whole else (
        f", on {found['replicas']} of {whole} replicas with their part of the load")
