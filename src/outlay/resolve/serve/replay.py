"""How a load is replayed: whether its own times are wanted, who gets the next request, how replicas come and go."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from outlay.errors import Inconsistent
from outlay.resolve.calendar import Defaults
from outlay.resolve.hourly import FIELD as HOURLY
from outlay.resolve.hourly import SCALING, START
from outlay.resolve.serve.scale import SCALE, Scale, read_scales
from outlay.scenario import Serve

FIELD, ROUTER = "serve.replay", "serve.router"
LEAST_LOADED = "least_loaded"  # of equal replicas the one with the fewest requests inside


class Replaying(Struct, frozen=True):
    """What is said of a replay.

    allowed: requests may be replayed at all. own: the plan's times are those of the replay, as they are of a trace;
    else it only spreads what the closed form says. router: None where the scenario names none.
    """

    allowed: bool = True
    own: bool = False
    router: str | None = None
    scales: tuple[Scale, ...] = ()  # of replicas that come and go; of two pools each

    @property
    def routed(self) -> str:
        return self.router or LEAST_LOADED


def resolve_replay(given: Serve, kind: str, load: dict[str, Any], defaults: Defaults) -> Replaying:
    """kind: which load the workload names, empty where none; load: as it is asked.

    Raises Inconsistent where a replay is asked for and cannot be, or refused and needed.
    """
    scales = _scales(given, kind, load, defaults)
    wants = ["router"] if given.router is not None else []
    wants += ["autoscale" if given.autoscale is not None else "scaling"] if scales else []
    wants += ["workload.trace"] if kind == "trace" else []
    if given.replay is False:
        if wants:
            raise Inconsistent(f"{FIELD}: false, but serve.{wants[0]} is of a replay; leave one out", FIELD)
        return Replaying(allowed=False)
    own = given.replay is True or bool(wants)
    if not own:
        return Replaying()
    field = FIELD if given.replay else f"serve.{wants[0]}"
    if not kind:
        raise Inconsistent(f"{field}: needs a load to replay; give serve.workload.users, rate, concurrency, batch or "
                           "trace", field)
    if load["kind"] == "queued" and (given.workload is None or given.workload.requests is None):
        raise Inconsistent(f"{field}: everything is queued at once; give serve.workload.requests, how many there are",
                           field)
    return Replaying(own=kind != "trace", router=given.router, scales=scales)


def _scales(given: Serve, kind: str, load: dict[str, Any], defaults: Defaults) -> tuple[Scale, ...]:
    """How replicas follow a replay, of two pools those of each.

    Empty where all stand, or where the load is known by the hour (`resolve.hourly`).
    """
    if given.workload is not None and given.workload.hourly is not None:
        if given.autoscale is not None:
            raise Inconsistent(f"{SCALE}: is of a replay, and {HOURLY} is followed by what each hour needs; leave one "
                               "out", SCALE)
        return ()
    comes = load["kind"] == "open"
    if given.scaling == "mixed" or (given.scaling is not None and not comes):
        other = "" if given.scaling == "mixed" else "; or requests that come by themselves: users, rate or trace"
        raise Inconsistent(f"{SCALING}: needs {HOURLY}, the load by the hour{other}", SCALING)
    if given.autoscale is None and given.scaling != "autoscale":
        if given.cold_start is not None:
            raise Inconsistent(f"{START}: needs {HOURLY}, the load by the hour, or {SCALE}", START)
        return ()
    if given.scaling == "fixed":
        raise Inconsistent(f"{SCALING}: fixed, but {SCALE} says how replicas come and go; leave one out", SCALING)
    field = SCALE if given.autoscale is not None else SCALING
    if not comes:
        raise Inconsistent(f"{field}: follows requests that come by themselves; give serve.workload.users, rate or "
                           "trace", field)
    return read_scales(given, defaults)
